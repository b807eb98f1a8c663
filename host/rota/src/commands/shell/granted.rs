//! What a session may do, and what it is granted meanwhile.

use super::session::{ASIDE, Fault, Session};
use crate::cli::ShellArgs;
use crate::settings::UsageError;
use rota_catalog::Origin;
use rota_runs::{Host, Prepared, Request};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What guest code may use of a session, where nothing else is said: it is there for hours, and works for moments.
const CPU: &str = "cpu=30m";
/// How long a session lasts at most, where nothing else is said.
const LONGEST: Duration = Duration::from_secs(8 * 3600);

/// What is bound to a slot, and granted there.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    pub(super) slot: String,
    pub(super) capability: String,
    pub(super) binding: String,
    pub(super) accesses: Vec<String>,
}

impl Granted {
    pub(super) fn only_reads(&self) -> bool {
        self.accesses.iter().all(|access| rota_catalog::changes_nothing(&self.capability, access))
    }
}

impl Session {
    /// Grant more on slots, for what follows.
    ///
    /// # Errors
    /// When that cannot be granted.
    pub(super) async fn grant(&mut self, more: &[(String, Vec<String>)]) -> Result<(), Fault> {
        // First: a session that only reads is held to no plan, and must not be when it may do more.
        self.hold_still();
        for (slot, accesses) in more {
            if !self.doing.grant(slot, accesses) {
                let error = UsageError::new(format!("nothing is bound to the slot `{slot}`"));
                return Err(Fault::Host(error.into()));
            }
            if let Some(planner) = &self.planning {
                planner.link.grant(slot, accesses);
            }
            for grant in self.grants.iter_mut().filter(|grant| grant.slot == *slot) {
                let new: Vec<String> = accesses.iter().filter(|it| !grant.accesses.contains(it)).cloned().collect();
                grant.accesses.extend(new);
            }
        }
        // Sessions that were opened for reading only are opened anew.
        self.doing.quietly(&json!({ "fresh": true }), ASIDE).await?;
        if let Some(planner) = &mut self.planning
            && planner.link.quietly(&json!({ "fresh": true }), ASIDE).await.is_err()
        {
            self.planning = None;
        }
        Ok(())
    }

    /// What would be granted: checked as `--grant` is.
    ///
    /// # Errors
    /// When the plugin does not declare it, or the binding does not allow it.
    pub(super) async fn grantable(&self, text: &str) -> anyhow::Result<Vec<(String, Vec<String>)>> {
        let mut all: Vec<String> = Vec::new();
        let (slot, accesses) = text.split_once('=').unwrap_or((text, ""));
        let Some(known) = self.grants.iter().find(|grant| grant.slot == slot) else {
            let bound: Vec<&str> = self.grants.iter().map(|grant| grant.slot.as_str()).collect();
            anyhow::bail!(UsageError::new(format!(
                "nothing is bound to the slot `{slot}` (bound: {}); write \\grant SLOT=ACCESS,..., and bind with --bind when the shell is begun",
                if bound.is_empty() { "nothing".to_owned() } else { bound.join(", ") }
            )));
        };
        let wanted: Vec<String> =
            accesses.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        if wanted.is_empty() {
            anyhow::bail!(UsageError::new("write \\grant SLOT=ACCESS,... (\\grant database=write)"));
        }
        for grant in &self.grants {
            let mut words = grant.accesses.clone();
            if grant.slot == known.slot {
                words.extend(wanted.iter().filter(|word| !grant.accesses.contains(word)).cloned());
            }
            all.push(format!("{}={}", grant.slot, words.join(",")));
        }
        let mut request = self.request.clone();
        request.grant = all;
        prepare(&self.host, &request).await?;
        let new: Vec<String> = wanted.into_iter().filter(|word| !known.accesses.contains(word)).collect();
        Ok(if new.is_empty() { Vec::new() } else { vec![(known.slot.clone(), new)] })
    }
}

/// What a run was prepared with.
pub(super) fn granted(prepared: &Prepared) -> Vec<Granted> {
    let capability = |slot: &str| {
        let declared = prepared.loaded.descriptor.slots.iter().find(|declared| declared.name == slot);
        declared.map(|declared| declared.capability.clone()).unwrap_or_default()
    };
    let one = |grant: &rota_authority::Grant| Granted {
        slot: grant.slot.clone(),
        capability: capability(&grant.slot),
        binding: grant.binding_name.clone(),
        accesses: grant.accesses.clone(),
    };
    prepared.grants.iter().map(one).collect()
}

/// The plugin that runs sessions is the one in this binary: nobody else's is talked with.
pub(super) async fn prepare(host: &Host, request: &Request) -> anyhow::Result<Prepared> {
    let prepared = host.prepare(request).await?;
    if !matches!(prepared.loaded.origin, Origin::FirstParty(_)) {
        anyhow::bail!(UsageError::new(format!(
            "the plugin `script` is {}, and a shell talks only with the one in this binary; take the other away",
            prepared.loaded.origin
        )));
    }
    Ok(prepared)
}

/// What a session is begun with.
pub(super) fn request(args: &ShellArgs) -> anyhow::Result<Request> {
    let mut given = Map::new();
    for argument in &args.arguments {
        let (name, value) = crate::commands::exec::argument(argument)?;
        if given.insert(name.clone(), value).is_some() {
            anyhow::bail!(UsageError::new(format!("--arg {name} is given twice")));
        }
    }
    let parameters = vec![
        "script=".to_owned(),
        "name=shell".to_owned(),
        "session=true".to_owned(),
        format!("arguments={}", Value::Object(given)),
    ];
    let mut means = args.means.clone();
    if !means.limit.iter().any(|limit| limit.starts_with("cpu=")) {
        means.limit.push(CPU.to_owned());
    }
    let mut request = crate::commands::run::requested(parameters, &means)?;
    request.what = "script".to_owned();
    request.timeout.get_or_insert(LONGEST);
    Ok(request)
}
