//! The host of the benches that run in this process: a sandbox with the real capabilities, and the guest in it.

use crate::source::SourceCapability;
use anyhow::{Context as _, bail};
use rota_authority::{Gate, Grant, MemoryLedger, Mode, Quotas, RunIdentity};
use rota_capability::tape::Tape;
use rota_capability::{Capability, Limits, Quiet, RunContext, RunFacts, Transient, Trigger};
use rota_capability_bytes::BytesCapability;
use rota_capability_sql::SqlCapability;
use rota_capability_storage::StorageCapability;
use rota_config::Binding;
use rota_sandbox::{Cancel, Ended, Plugin, Sandbox, SandboxOptions};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The guest's component.
pub(crate) const GUEST: &[u8] = include_bytes!(env!("ROTA_BENCH_GUEST"));

/// A host with the guest loaded.
pub(crate) struct Host {
    sandbox: Arc<Sandbox>,
    pub(crate) plugin: Plugin,
}

impl Host {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        let capabilities: [Arc<dyn Capability>; 4] = [
            Arc::new(SqlCapability::default()),
            Arc::new(StorageCapability),
            Arc::new(BytesCapability),
            Arc::new(SourceCapability),
        ];
        let sandbox = Arc::new(Sandbox::new(SandboxOptions::default(), &capabilities)?);
        let plugin = sandbox.load(GUEST.to_vec()).await?;
        Ok(Self { sandbox, plugin })
    }

    /// One run, with a gate, limits and grants of its own. Gives the number that the guest reports.
    pub(crate) async fn run(&self, parameters: &str, grants: Vec<Grant>) -> anyhow::Result<u64> {
        self.run_on(parameters, grants, Tape::Live).await
    }

    /// The same, with its calls kept or answered.
    pub(crate) async fn run_on(&self, parameters: &str, grants: Vec<Grant>, tape: Tape) -> anyhow::Result<u64> {
        let finished = self.sandbox.run(&self.plugin, context(grants, tape), parameters, &Cancel::default()).await;
        match finished.ended {
            Ended::Reported(report) => report.data.parse().context("the guest reported no number"),
            Ended::Failed(failure) => bail!("the guest failed: {}", failure.message),
            other => bail!("the run ended: {other:?}"),
        }
    }
}

pub(crate) fn context(grants: Vec<Grant>, tape: Tape) -> Arc<RunContext> {
    let identity = RunIdentity { run: "bench".into(), job: "bench".into() };
    let gate = Gate::new(identity, Mode::Execute, Quotas::default(), Arc::new(MemoryLedger::default()), grants);
    let facts = RunFacts {
        id: "bench".into(),
        attempt: 1,
        job: None,
        trigger: Trigger::Manual,
        started_at: SystemTime::now(),
        slots: vec!["database".into(), "bucket".into(), "program".into()],
    };
    // A million calls take as long as they take.
    let limits = Limits { cpu: Duration::from_secs(3_600), ..Limits::default() };
    RunContext::taped(gate, facts, limits, Arc::new(Quiet), Arc::new(Transient::default()), tape)
}

/// A grant of some accesses on the binding that an address makes.
pub(crate) fn grant(slot: &str, address: &str, accesses: &[&str]) -> anyhow::Result<Grant> {
    Ok(Grant {
        slot: slot.into(),
        binding_name: "bench".into(),
        binding: Binding::parse_ad_hoc(address)?,
        accesses: accesses.iter().map(|access| (*access).to_owned()).collect(),
    })
}
