//! Attempts of one run in this process, straight in the sandbox: what is kept of steps and compensations is in memory, and a test
//! looks at it.

#![allow(clippy::expect_used, clippy::panic, reason = "a test is told by a panic")]

use crate::probe;
use rota_authority::{Gate, Grant, MemoryLedger, Mode, Quotas, RunIdentity};
use rota_capability::{Limits, Quiet, RunContext, RunFacts, Transient, Trigger};
use rota_config::Binding;
use rota_runs::Capabilities;
use rota_sandbox::{Cancel, Ended, Finished, Plugin, Sandbox, SandboxOptions};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// One run of the probe, attempt by attempt.
pub struct Attempts {
    /// The sandbox.
    pub sandbox: Arc<Sandbox>,
    /// The probe.
    pub plugin: Plugin,
    /// What is kept of the run.
    pub kept: Transient,
    /// The effects on record.
    pub ledger: Arc<MemoryLedger>,
    /// Its mode.
    pub mode: Mode,
    /// Its limits.
    pub limits: Limits,
    /// The address of the database in the slot `database`, which it may read and write.
    pub database: Option<String>,
}

impl Attempts {
    /// A run of a component that has not begun: it executes, and nothing is granted. Compiled plugins are kept in `compiled`.
    ///
    /// # Errors
    /// When the component cannot be loaded.
    pub async fn of(component: &[u8], compiled: &str) -> anyhow::Result<Self> {
        let options =
            SandboxOptions { instances: 8, cache: Some(Path::new(compiled).to_owned()), ..SandboxOptions::default() };
        let sandbox = Arc::new(Sandbox::new(options, &Capabilities::default().all())?);
        let plugin = sandbox.load(component.to_vec()).await?;
        let ledger = Arc::new(MemoryLedger::default());
        Ok(Self {
            sandbox,
            plugin,
            kept: Transient::with_ledger(ledger.clone()),
            ledger,
            mode: Mode::Execute,
            limits: Limits::default(),
            database: None,
        })
    }

    /// The same, of the probe.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub async fn of_probe(compiled: &str) -> anyhow::Result<Self> {
        Self::of(probe::BYTES, compiled).await
    }

    fn context(&self) -> Arc<RunContext> {
        let identity = RunIdentity { run: "run-1".into(), job: "probe".into() };
        let quotas = Quotas { effects: self.limits.effects };
        let grants = self.database.iter().map(|address| Grant {
            slot: "database".into(),
            binding_name: "shop".into(),
            binding: Binding::parse_ad_hoc(address).expect("the test's address is one"),
            accesses: vec!["read".into(), "write".into()],
        });
        let gate = Gate::new(identity, self.mode, quotas, self.ledger.clone(), grants);
        let facts = RunFacts {
            id: "run-1".into(),
            attempt: 1,
            job: None,
            trigger: Trigger::Manual,
            started_at: SystemTime::now(),
            slots: vec!["database".into(), "bucket".into()],
        };
        RunContext::new(gate, facts, self.limits.clone(), Arc::new(Quiet), Arc::new(self.kept.clone()))
    }

    /// An attempt of the run, and how it ended.
    pub async fn run(&self, what: &str, parameters: Value) -> Finished {
        self.run_until(what, parameters, &Cancel::default()).await
    }

    /// The same, until it is cancelled.
    pub async fn run_until(&self, what: &str, mut parameters: Value, cancel: &Cancel) -> Finished {
        parameters["do"] = json!(what);
        self.sandbox.run(&self.plugin, self.context(), &parameters.to_string(), cancel).await
    }

    /// An attempt that must report; its data.
    ///
    /// # Panics
    /// When it does not report.
    pub async fn data(&self, what: &str, parameters: Value) -> Value {
        match self.run(what, parameters).await.ended {
            Ended::Reported(report) => serde_json::from_str(&report.data).unwrap_or_default(),
            other => panic!("{what} did not report: {other:?}"),
        }
    }

    /// An attempt that makes one call.
    pub async fn call(&self, import: &str, arguments: Value) -> Value {
        self.data("call", json!({ "call": probe::call(import, arguments) })).await
    }

    /// The same, and how it ended.
    pub async fn call_ended(&self, import: &str, arguments: Value) -> Ended {
        self.run("call", json!({ "call": probe::call(import, arguments) })).await.ended
    }

    /// The run's next attempt.
    pub fn again(&mut self) {
        self.kept = self.kept.again();
    }

    /// Carry out a compensation.
    pub async fn compensate(&self, name: &str, state: Value) -> Finished<()> {
        self.compensate_until(name, state, &Cancel::default()).await
    }

    /// The same, until it is cancelled.
    pub async fn compensate_until(&self, name: &str, state: Value, cancel: &Cancel) -> Finished<()> {
        self.sandbox.compensate(&self.plugin, self.context(), name, &state.to_string(), cancel).await
    }
}
