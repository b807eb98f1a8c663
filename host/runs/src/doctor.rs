//! `rota doctor`: reach every binding as a run would, say what is missing, and mend what a crash left behind.

use crate::bindings::kind;
use crate::host::Host;
use rota_authority::{
    Cache, CacheAccess, Decision, Effect, EffectClass, Exact, Gate, Grant, Jetstream, JetstreamAccess, Key, Kubernetes,
    MemoryLedger, Mode, Quotas, RunIdentity, Sql, Storage, StorageAccess, ToolAccess,
};
use rota_capability::{Limits, Quiet, RunContext, RunFacts, Transient, Trigger};
use rota_config::Binding;
use rota_contract::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What was looked at, and how it is.
#[derive(Clone, Debug)]
pub struct Check {
    /// What: a binding's name, or a part of the host.
    pub what: String,
    /// Its kind.
    pub kind: &'static str,
    /// Whether it serves.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What to do.
    pub hint: Option<String>,
    /// What was mended.
    pub mended: Vec<String>,
}

/// Unfinished uploads younger than this may belong to a run on another host.
const UNFINISHED_AFTER: Duration = Duration::from_secs(24 * 3600);
const SLOT: &str = "doctor";

impl Host {
    /// The host's own parts: records, private folders of programs.
    pub async fn check_host(&self, fix: bool) -> Vec<Check> {
        let mut checks = vec![self.check_records().await];
        let (found, mended, ok) = match fix.then(|| rota_capability_tools::sweep(&self.private_folder())) {
            None => ("private folders of programs are swept with --fix".to_owned(), Vec::new(), true),
            Some(Ok(removed)) => (
                format!("{} stale folders", removed.len()),
                removed.iter().map(|p| format!("removed {}", p.display())).collect(),
                true,
            ),
            Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                ("nothing is left".to_owned(), Vec::new(), true)
            }
            Some(Err(error)) => (error.to_string(), Vec::new(), false),
        };
        checks.push(Check { what: "tools".into(), kind: "host", ok, found, hint: None, mended });
        checks
    }

    async fn check_records(&self) -> Check {
        let what = "records".to_owned();
        match self.records().reap().await {
            Ok(gone) => Check {
                what,
                kind: "host",
                ok: true,
                found: format!("in {}", self.settings().state_dir.display()),
                hint: None,
                mended: gone
                    .into_iter()
                    .map(|(run, state)| format!("run {run} is {}: its process is gone", state.as_str()))
                    .collect(),
            },
            Err(error) => {
                Check { what, kind: "host", ok: false, found: error.to_string(), hint: None, mended: Vec::new() }
            }
        }
    }

    /// Reach one configured binding. With `fix`, unfinished uploads in a bucket or folder are removed.
    pub async fn check_binding(&self, name: &str, fix: bool) -> Check {
        match self.settings().bindings.get(name) {
            Some(binding) => self.check(name, binding, fix).await,
            None => Check {
                what: name.into(),
                kind: "-",
                ok: false,
                found: "it is not configured".into(),
                hint: None,
                mended: Vec::new(),
            },
        }
    }

    /// Reach a binding, configured or not.
    pub async fn check(&self, name: &str, binding: &Binding, fix: bool) -> Check {
        let context = context(name, binding, fix);
        let mut mended = Vec::new();
        let reached = match binding {
            Binding::Sql(_) => self.reach_sql(&context).await,
            Binding::Storage(_) => self.reach_storage(&context, fix, &mut mended).await,
            Binding::Tool(_) => self.reach_tool(&context).await,
            Binding::Key(_) => reach_key(&context),
            Binding::Cache(_) => reach_cache(&context).await,
            Binding::Kubernetes(_) => self.reach_cluster(&context).await,
            Binding::Jetstream(_) => reach_jetstream(&context).await,
        };
        let (ok, found) = match reached {
            Ok(found) => (true, found),
            Err(error) => (false, rota_telemetry::mask(&error.to_string()).into_owned()),
        };
        let hint = (!ok).then(|| hint(binding).to_owned());
        Check { what: name.into(), kind: kind(binding), ok, found, hint, mended }
    }

    async fn reach_sql(&self, context: &RunContext) -> Result<String, Error> {
        let authorized = context.gate.authorise::<Sql>("doctor", SLOT, &[]).map_err(rota_capability::denied)?;
        let session = self.sessions().open(&authorized).await?;
        let server = session.server(&authorized).await?;
        let privileges = session.privileges(&authorized).await?;
        let missing =
            crate::manifests::missing(&self.settings(), authorized.binding_name(), &privileges, server.in_recovery);
        if !missing.is_empty() {
            return Err(Error::InvalidArgument(format!(
                "role {} may not do what jobs are granted on it: {}",
                server.role,
                missing.join("; ")
            )));
        }
        let standby = if server.in_recovery { ", a standby" } else { "" };
        let superuser = if privileges.superuser {
            ", a superuser: give the binding a `role` with less (rota doctor --manifests prints one)"
        } else {
            ""
        };
        Ok(format!(
            "PostgreSQL {}, database {}, role {}{standby}{superuser}",
            server.version, server.database, server.role
        ))
    }

    async fn reach_storage(&self, context: &RunContext, fix: bool, mended: &mut Vec<String>) -> Result<String, Error> {
        let authorized = context
            .gate
            .authorise::<Storage>("doctor", SLOT, &[StorageAccess::Read])
            .map_err(rota_capability::denied)?;
        let connections = self
            .plugins()
            .sandbox()
            .services()
            .get::<rota_capability_storage::Connections>()
            .ok_or(Error::Cancelled)?;
        let client = rota_capability_storage::Client::connect(&connections, &authorized).await?;
        // Whether it is there does not matter, only that the store answers.
        let name = rota_capability_storage::Name::parse("rota-doctor")
            .map_err(|error| Error::InvalidArgument(error.to_string()))?;
        match client.stat(&authorized, &name).await {
            Ok(_) | Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let left = match client.leftovers(&authorized, UNFINISHED_AFTER).await {
            Ok(left) => left.len(),
            Err(error) => return Ok(format!("reached; unfinished uploads cannot be listed: {error}")),
        };
        if left > 0 && fix {
            let authorized = context
                .gate
                .authorise::<Storage>("doctor", SLOT, &[StorageAccess::Delete])
                .map_err(rota_capability::denied)?;
            let effect = Effect {
                object: String::new(),
                detail: format!("remove {left} unfinished uploads"),
                class: EffectClass::Write,
                exact: Exact::shown(),
            };
            if let Decision::Perform(permit) = authorized.effect(effect).await.map_err(rota_capability::refused)? {
                let swept = client.sweep(&permit, UNFINISHED_AFTER).await;
                let swept = permit.conclude(swept, |swept| format!("{} removed", swept.len())).await?;
                mended.extend(swept.into_iter().map(|left| format!("removed the unfinished {}", left.name)));
            }
            return Ok("reached".into());
        }
        Ok(if left == 0 {
            "reached".into()
        } else {
            format!("reached; {left} unfinished uploads, which --fix removes")
        })
    }

    async fn reach_tool(&self, context: &Arc<RunContext>) -> Result<String, Error> {
        let shared =
            self.plugins().sandbox().services().get::<rota_capability_tools::Shared>().ok_or(Error::Cancelled)?;
        let remotes = self.plugins().sandbox().services().get::<rota_capability::Remotes>();
        let client = rota_capability_tools::Client::new(context.clone(), shared).through(remotes);
        // What the account may do first: it says more than a program that could not be started.
        let place = client.look_at_place(SLOT).await?;
        let version = client.info(SLOT).await?;
        Ok(format!("version {}{}", version.text, place.map_or_else(String::new, |place| format!(", {place}"))))
    }

    async fn reach_cluster(&self, context: &RunContext) -> Result<String, Error> {
        let authorized = context.gate.authorise::<Kubernetes>("doctor", SLOT, &[]).map_err(rota_capability::denied)?;
        let clusters = self
            .plugins()
            .sandbox()
            .services()
            .get::<rota_capability_kubernetes::Clusters>()
            .ok_or(Error::Cancelled)?;
        let client = clusters.open(&authorized).await?;
        client.review(&authorized).await?;
        let all = if client.may_do_everything(&authorized).await? {
            "; its account may do everything on the cluster: give it a role with less (rota doctor --manifests prints one)"
        } else {
            ""
        };
        Ok(format!("Kubernetes {}, namespace {}{all}", client.version(&authorized).await?, client.namespace()))
    }
}

async fn reach_cache(context: &RunContext) -> Result<String, Error> {
    let authorized =
        context.gate.authorise::<Cache>("doctor", SLOT, &[CacheAccess::Read]).map_err(rota_capability::denied)?;
    let client = rota_capability_cache::Client::connect(&authorized).await?;
    let nodes = client.info(&authorized).await?;
    let keys: u64 = nodes.iter().flat_map(|node| &node.databases).map(|database| database.keys).sum();
    let server = nodes.first().map(|node| format!("{} {}", node.server.product, node.server.version));
    Ok(format!("{}, nodes {}, keys {keys}", server.unwrap_or_default(), nodes.len()))
}

async fn reach_jetstream(context: &RunContext) -> Result<String, Error> {
    let authorized = context
        .gate
        .authorise::<Jetstream>("doctor", SLOT, &[JetstreamAccess::Read])
        .map_err(rota_capability::denied)?;
    let client = rota_capability_jetstream::Client::connect(&authorized).await?;
    let server = client.server(&authorized).await?;
    let account = client.account(&authorized).await?;
    let streams: u64 = account.iter().map(|account| account.streams).sum();
    let asked = client.monitoring(&authorized).await?;
    let (all, lost) = (asked.len(), asked.iter().filter(|one| rota_capability_jetstream::unreached(one)).count());
    if lost > 0 {
        return Err(Error::Unavailable(format!("{lost} of {all} monitoring addresses do not answer")));
    }
    Ok(format!("NATS {}, streams {streams}, monitoring of {all} servers", server.version))
}

fn reach_key(context: &RunContext) -> Result<String, Error> {
    let authorized = context.gate.authorise::<Key>("doctor", SLOT, &[]).map_err(rota_capability::denied)?;
    let secret = authorized.binding().identity.resolve().map_err(|error| Error::Unavailable(error.to_string()))?;
    let identities = secret.expose().lines().filter(|line| line.starts_with("AGE-SECRET-KEY-1")).count();
    if identities == 0 {
        Err(Error::InvalidArgument("there is no line AGE-SECRET-KEY-1... in it".into()))
    } else {
        Ok(format!("{identities} age identities"))
    }
}

fn hint(binding: &Binding) -> &'static str {
    match binding {
        Binding::Sql(sql) if sql.through.is_some() => {
            "look at `url`, `role`, `password` and `tls` of the binding, at the pod that `through` leads to, and whether the cluster binding's account may create pods/portforward there"
        }
        Binding::Sql(_) => {
            "look at `url`, `role`, `password` and `tls` of the binding, and at pg_hba.conf of the server"
        }
        Binding::Storage(_) => {
            "look at `url`, `endpoint`, `access_key` and `secret_key` of the binding, and at the bucket's policy"
        }
        Binding::Tool(tool) if tool.place.is_some() => {
            "look at `path` and `place` of the binding, at the pods there, and at the roles of the cluster binding's account"
        }
        Binding::Tool(_) => "look at `path` of the binding; `which PROGRAM` tells the path",
        Binding::Cache(_) => {
            "look at `url`, `username`, `password`, `mode` and `tls` of the binding, and at the ACL of the server (ACL WHOAMI, ACL LOG)"
        }
        Binding::Jetstream(_) => {
            "look at `url`, the login, `tls`, `domain` and `monitoring` of the binding, and at the user's permissions ($JS.API.>, _INBOX.>)"
        }
        Binding::Key(_) => "look at `identity` of the binding; age-keygen makes one",
        Binding::Kubernetes(_) => {
            "look at `kubeconfig`, `context`, `service_account` and `allow` of the binding, and at the roles of its account"
        }
    }
}

/// A run of the doctor's own: it may read, and, to mend, delete.
fn context(name: &str, binding: &Binding, fix: bool) -> Arc<RunContext> {
    let accesses: Vec<String> = match binding {
        Binding::Sql(_) => vec!["read".into()],
        Binding::Storage(_) if fix => vec![StorageAccess::Read.to_string(), StorageAccess::Delete.to_string()],
        Binding::Storage(_) => vec![StorageAccess::Read.to_string()],
        Binding::Tool(_) => vec![ToolAccess::Run.to_string()],
        Binding::Key(_) => vec!["decrypt".into()],
        Binding::Cache(_) => vec![CacheAccess::Read.to_string()],
        // It only asks whether the rest would be let through.
        Binding::Kubernetes(_) => binding.ceiling().iter().map(ToString::to_string).collect(),
        Binding::Jetstream(_) => vec![JetstreamAccess::Read.to_string()],
    };
    let grant = Grant { slot: SLOT.into(), binding_name: name.into(), binding: binding.clone(), accesses };
    let identity = RunIdentity { run: uuid::Uuid::now_v7().to_string(), job: "doctor".into() };
    let gate = Gate::new(identity, Mode::Execute, Quotas::default(), Arc::new(MemoryLedger::default()), [grant]);
    let facts = RunFacts {
        id: gate.identity().run.clone(),
        attempt: 1,
        job: None,
        trigger: Trigger::Manual,
        started_at: SystemTime::now(),
        slots: vec![SLOT.into()],
    };
    RunContext::new(gate, facts, Limits::default(), Arc::new(Quiet), Arc::new(Transient::default()))
}
