//! Between a prepared run and what is on record of it: enough for any host with the same bindings to do it.

use crate::grants::{Recorded, regrant};
use crate::host::Host;
use crate::prepare::{PrepareError, Prepared};
use crate::settings::Settings;
use crate::teams::TeamOf;
use rota_authority::{Agreement, Grant, Mode};
use rota_capability::{Limits, Trigger};
use rota_config::{Binding, Record};
use rota_protocol::{RetryPolicy, Span, UndoPolicy, WaitReason};
use rota_sandbox::Plugin;
use rota_store::{ConcurrencyKey, NewRun, RunPolicy};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Accesses that let a run change what others on the same database rely on: at most one run holds one of them.
const ALONE: [&str; 5] = ["maintain", "ddl", "index", "promote", "alter-system"];

/// What a new run is beside what it does.
#[derive(Clone, Debug, Default)]
pub struct Occasion {
    /// The word of what set it off: `manual`, `schedule`, `api`, `job`, `retry`, `backfill`.
    pub trigger: String,
    /// The nominal instant.
    pub scheduled_for: Option<chrono::DateTime<chrono::Utc>>,
    /// Not before.
    pub due: Option<chrono::DateTime<chrono::Utc>>,
    /// The run that it retries, or that set it off.
    pub parent: Option<String>,
    /// What holds it back at first.
    pub hold: Option<WaitReason>,
}

/// Why a run on record cannot be done here.
#[derive(Debug, thiserror::Error)]
pub enum ReviveError {
    /// The plugin.
    #[error(transparent)]
    Catalog(#[from] rota_catalog::CatalogError),
    /// A slot, a grant.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// A binding that only the process knew which began it.
    #[error(
        "slot `{0}` was bound on a command line, which is on no record; only the process that began the run could go on with it"
    )]
    AdHoc(String),
    /// An approval is for one build of a plugin.
    #[error(
        "the run was approved for the build {0} of the plugin, which is not here; queue it again and have that approved"
    )]
    OtherBuild(String),
    /// More than the team of its job may, by the configuration that is in force now.
    #[error("{}", .0.with_advice())]
    Team(rota_config::Beyond),
    /// The record.
    #[error("the run's record cannot be read: {0}")]
    Record(String),
}

/// Whether no other process could go on with it: it has what was given on the command line, the plan that it is held to, or somebody to talk with.
fn alone(prepared: &Prepared) -> bool {
    !prepared.ad_hoc.is_empty() || matches!(prepared.agreement, Agreement::Held(_)) || prepared.dialogue.is_some()
}

/// A run for the record.
pub fn new_run(prepared: &Prepared, settings: &Settings, occasion: &Occasion) -> NewRun {
    let grants: serde_json::Map<String, Value> = prepared
        .grants
        .iter()
        .map(|g| {
            let mut grant = json!({ "binding": g.binding_name, "access": g.accesses });
            if prepared.ad_hoc.contains(&g.slot) {
                grant["ad_hoc"] = Value::Bool(true);
            }
            (g.slot.clone(), grant)
        })
        .collect();
    NewRun {
        id: uuid::Uuid::now_v7().to_string(),
        job: prepared.job.clone(),
        plugin: prepared.loaded.descriptor.name.clone(),
        version: prepared.loaded.descriptor.version.clone(),
        digest: prepared.loaded.plugin.digest().to_owned(),
        mode: prepared.mode.as_str().into(),
        trigger: occasion.trigger.clone(),
        parameters: prepared.parameters.clone(),
        grants: Value::Object(grants).to_string(),
        scheduled_for: occasion.scheduled_for,
        labels: prepared
            .job
            .as_ref()
            .and_then(|job| settings.jobs.get(job))
            .map(|job| job.labels.clone())
            .unwrap_or_default(),
        policy: policy(prepared, settings),
        due: occasion.due,
        parent: occasion.parent.clone(),
        hold: approval(prepared, settings).or(occasion.hold),
    }
}

/// A plan shows what an approval is asked for; it needs none.
fn approval(prepared: &Prepared, settings: &Settings) -> Option<WaitReason> {
    let job = prepared.job.as_ref().and_then(|job| settings.jobs.get(job))?;
    (job.approval && prepared.mode == Mode::Execute).then_some(WaitReason::Approval)
}

fn policy(prepared: &Prepared, settings: &Settings) -> RunPolicy {
    let job = prepared.job.as_ref().and_then(|name| settings.jobs.get(name));
    let idempotent = prepared.loaded.descriptor.idempotent;
    let limits = serde_json::to_value(&prepared.limits).unwrap_or_default();
    let keys = keys(prepared, settings);
    let (team, reference) =
        prepared.team.as_ref().map(|(team, reference)| (team.name.clone(), reference.clone())).unzip();
    let ceiling = prepared.team.as_ref().map(|(team, _)| &*team.team);
    match job {
        None => RunPolicy { idempotent, limits, keys, alone: alone(prepared), team, reference, ..RunPolicy::default() },
        Some(job) => RunPolicy {
            idempotent,
            retry: RetryPolicy {
                limit: ceiling.map_or(job.retry.limit, |team| team.retries.min(job.retry.limit)),
                ..job.retry.clone()
            },
            undo: UndoPolicy {
                attempts: ceiling.map_or(job.undo.attempts, |team| team.undo_attempts.min(job.undo.attempts)),
                ..job.undo
            },
            run_timeout: job.run_timeout.map(Span::from),
            priority: job.priority,
            keys,
            host_labels: job.host_labels.clone(),
            // A plan is followed by nothing.
            alone: alone(prepared),
            followed: prepared.mode == Mode::Execute && job.followed,
            limits,
            team,
            reference,
        },
    }
}

/// What the run may not run beside. A plan changes nothing: it runs beside everything but its own job's limit.
fn keys(prepared: &Prepared, settings: &Settings) -> Vec<ConcurrencyKey> {
    let mut keys: BTreeMap<String, u32> = BTreeMap::new();
    let job = prepared.job.as_ref().and_then(|name| Some((name, settings.jobs.get(name)?)));
    if prepared.mode == Mode::Execute {
        if let Some((name, job)) = job {
            keys.insert(format!("job:{name}"), job.concurrency);
        }
        let alone = job.is_none_or(|(_, job)| job.exclusive != Some(false));
        for grant in prepared.grants.iter().filter(|_| alone) {
            if grant.accesses.iter().any(|access| ALONE.contains(&access.as_str())) {
                keys.insert(format!("exclusive:{}", target(grant)), 1);
            }
        }
    }
    for grant in &prepared.grants {
        if let Some(limit) = settings.bindings.get(&grant.binding_name).and_then(Binding::concurrency) {
            keys.insert(format!("binding:{}", grant.binding_name), limit);
        }
    }
    // Plans, too: they use what the team has as well. Without a bound it says how many there are.
    if let Some((team, _)) = &prepared.team {
        keys.insert(rota_store::team_key(&team.name), team.team.quotas.runs_at_once.unwrap_or(u32::MAX));
    }
    keys.into_iter().map(|(key, limit)| ConcurrencyKey { key, limit }).collect()
}

/// A name for the database that two bindings lead to, which tells no address: keys are shown.
fn target(grant: &Grant) -> String {
    let address = match &grant.binding {
        Binding::Sql(sql) => {
            sql.target().ok().map(|target| format!("{:?}:{}/{:?}", target.host, target.port, target.database))
        }
        _ => None,
    };
    match address {
        Some(address) => format!("database-{}", hex(&Sha256::digest(address.as_bytes())[..6])),
        None => grant.binding_name.clone(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The team of a run on record, if that may still do it. What a run left is undone, whatever became of its team.
#[allow(clippy::result_large_err)] // Once a run.
fn team_of(
    settings: &Settings,
    run: &NewRun,
    grants: &Recorded,
    undo: bool,
) -> Result<Option<(TeamOf, String)>, ReviveError> {
    let team = match TeamOf::of_run(settings, run.job.as_deref(), run.policy.team.as_deref()) {
        Err(_) if undo => return Ok(None),
        team => team.map_err(ReviveError::Team)?,
    };
    let Some(team) = team else { return Ok(None) };
    let reference = run.policy.reference.clone().unwrap_or_else(|| run.plugin.clone());
    if undo {
        return Ok(Some((team, reference)));
    }
    team.may_run(&reference).map_err(ReviveError::Team)?;
    // Its job may name another plugin by now, whose build is what is done.
    if let Some(job) = run.job.as_ref().and_then(|job| settings.jobs.get(job)) {
        team.may_run(&job.plugin).map_err(ReviveError::Team)?;
    }
    team.may_try(&run.policy.retry, &run.policy.undo).map_err(ReviveError::Team)?;
    // All that it was made with: what it may no more have, it is not done without.
    for (slot, grant) in grants {
        team.may_have_one(slot, &grant.binding, &grant.access, grant.ad_hoc).map_err(ReviveError::Team)?;
    }
    Ok(Some((team, reference)))
}

impl Host {
    /// The job of a run that has to be approved before it begins.
    pub(crate) fn asks_for_approval(&self, prepared: &Prepared) -> Option<String> {
        approval(prepared, &self.settings()).and(prepared.job.clone())
    }

    /// What it takes to do a run that is on record. One that is to be undone needs its bindings, whatever became of its plugin.
    ///
    /// # Errors
    /// Why it cannot be done here.
    pub async fn revive(&self, run: &NewRun, undo: bool) -> Result<Prepared, ReviveError> {
        let settings = self.settings();
        let grants: Recorded =
            serde_json::from_str(&run.grants).map_err(|error| ReviveError::Record(format!("its grants: {error}")))?;
        // Before anything of it is looked at: its team's ceiling, as it is now.
        let team = team_of(&settings, run, &grants, undo)?;
        // Others are asked only where this host has another build than the one that the run was made for: the lock, which knows some that were
        // before, and the store.
        let reference = self.reference_of(run);
        let here = self.plugins().load(&reference).await;
        let loaded = match here {
            Ok(loaded) if loaded.plugin.digest() == run.digest => loaded,
            here => match self.plugins().build(&run.digest).await {
                Some(before) => before,
                None => match self.kept_for(run, &reference, undo).await {
                    Some(component) => self.plugins().load_bytes(&run.plugin, component).await?,
                    None => here?,
                },
            },
        };
        if loaded.plugin.digest() != run.digest && !undo {
            if run.hold == Some(WaitReason::Approval) {
                return Err(ReviveError::OtherBuild(run.digest.clone()));
            }
            tracing::info!(
                run = run.id,
                plugin = run.plugin,
                version = loaded.descriptor.version,
                "the run was made for another build of the plugin, and is done by this one"
            );
        }
        let mut limits: Limits = serde_json::from_value(run.policy.limits.clone())
            .map_err(|error| ReviveError::Record(format!("its limits: {error}")))?;
        if let Some((slot, _)) = grants.iter().find(|(_, grant)| grant.ad_hoc) {
            return Err(ReviveError::AdHoc(slot.clone()));
        }
        if let Some((team, _)) = team.as_ref().filter(|_| !undo) {
            team.cap(&mut limits);
        }
        let mut grants = regrant(&settings, &run.plugin, &loaded.descriptor.slots, &grants)?;
        // What the job was granted when the run was made, as far as it still is. An undo keeps what it needs to undo what was done.
        if let Some(job) = run.job.as_ref().and_then(|job| settings.jobs.get(job)).filter(|_| !undo) {
            for grant in &mut grants {
                let now = job.slots.get(&grant.slot).map(|(_, access)| access.as_slice()).unwrap_or_default();
                grant.accesses.retain(|access| now.contains(access));
            }
        }
        Ok(Prepared {
            loaded,
            job: run.job.clone(),
            parameters: run.parameters.clone(),
            grants,
            limits,
            mode: if run.mode == "plan" { Mode::Plan } else { Mode::Execute },
            trigger: match run.trigger.as_str() {
                "schedule" | "backfill" | "job" => Trigger::Schedule,
                "api" => Trigger::Api,
                _ => Trigger::Manual,
            },
            wanted: Vec::new(),
            team,
            ad_hoc: Vec::new(),
            agreement: Agreement::None,
            record: run.job.as_ref().and_then(|job| settings.jobs.get(job)).map_or(Record::Never, |job| job.record),
            dialogue: None,
        })
    }

    /// How the catalog knows the plugin of a run: as its job names it, where it still does.
    fn reference_of(&self, run: &NewRun) -> String {
        let settings = self.settings();
        let job = run.job.as_ref().and_then(|job| settings.jobs.get(job));
        job.map_or_else(|| run.plugin.clone(), |job| job.plugin.clone())
    }

    /// The component that was kept with a run, if it may still do it. What undoes was found good when the run began, and is needed whatever
    /// the rules of trust say by now; what goes on is held against them as they are.
    async fn kept_for(&self, run: &NewRun, reference: &str, undo: bool) -> Option<Vec<u8>> {
        let component = self.component_of(&run.digest).await?;
        let lets = |reference: &str| self.plugins().may_go_on(reference, &component);
        // What a person ran is on record by its plugin's name, also where that was a file's by its path.
        let by_path = || run.job.is_none() && lets(&format!("./{}.wasm", run.plugin));
        if undo || lets(reference) || by_path() {
            return Some(component);
        }
        tracing::warn!(
            run = run.id,
            plugin = run.plugin,
            "the build that was kept with the run is not let in by the rules of trust any more, and does not go on with it"
        );
        None
    }

    /// A component that was kept with runs which may need it.
    async fn component_of(&self, digest: &str) -> Option<Vec<u8>> {
        let component = self.store().component(digest).await.ok().flatten()?;
        // What stands in the store under a digest may have been put there by somebody else (a restored backup): it is code only if it is
        // what the digest says.
        if rota_sandbox::digest(&component) != digest {
            tracing::error!(digest, "the component that is kept under this digest is another one, and is not used");
            return None;
        }
        Some(component)
    }

    /// The plugin that registered a compensation: exactly that build.
    pub(crate) async fn plugin_of(&self, digest: &str, prepared: &Prepared) -> Result<Plugin, String> {
        if prepared.loaded.plugin.digest() == digest {
            return Ok(prepared.loaded.plugin.clone());
        }
        let component = self.component_of(digest).await.ok_or_else(|| {
            format!("the build {digest} of the plugin, which registered it, is not kept in the store any more")
        })?;
        let name = &prepared.loaded.descriptor.name;
        Ok(self.plugins().load_bytes(name, component).await.map_err(|error| error.to_string())?.plugin)
    }
}
