//! A host in this process: what is measured within a run is not blurred by a process's start.

use crate::probe;
use anyhow::Context;
use rota_authority::Mode;
use rota_capability::{Limits, Trigger};
use rota_runs::{Host, Request, RunView, Settings, Unwatched};
use rota_sandbox::{Cancel, SandboxOptions};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The largest memory limit that the host's sandbox is set up for.
const MAX_MEMORY: u64 = 1 << 30;

/// A host with a state directory of its own.
pub struct InProcess {
    /// The host.
    pub host: Host,
    /// Kept because it goes with it.
    _state: tempfile::TempDir,
}

impl InProcess {
    /// Opens one. Compiled plugins are kept in `compiled`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(compiled: &str) -> anyhow::Result<Self> {
        let state = tempfile::Builder::new().prefix("rota-e2e-host-").tempdir()?;
        let settings = Settings {
            artifacts: None,
            bindings: BTreeMap::new(),
            jobs: BTreeMap::new(),
            teams: BTreeMap::new(),
            limits: Limits::default(),
            max_memory: MAX_MEMORY,
            state_dir: state.path().to_owned(),
            store: rota_runs::StoreChoice::Sqlite { folder: state.path().to_owned() },
        };
        let sandbox = SandboxOptions {
            instances: 8,
            max_memory: MAX_MEMORY,
            cache: Some(Path::new(compiled).to_owned()),
            ..SandboxOptions::default()
        };
        Ok(Self { host: Host::open(settings, sandbox, None).await?, _state: state })
    }

    /// Runs the probe with these limits (`cpu=300ms`) and bindings (`database=postgres://...`), everything declared granted.
    ///
    /// # Errors
    /// When it cannot be begun.
    pub async fn run(
        &self,
        what: &str,
        parameters: &Value,
        limits: &[&str],
        bind: &[String],
    ) -> anyhow::Result<RunView> {
        let request = Request {
            what: probe::path().display().to_string(),
            parameters: probe::arguments(what, parameters).into_iter().filter(|word| word != "-p").collect(),
            mode: Mode::Execute,
            confirm: None,
            bind: bind.to_vec(),
            grant: vec!["declared".to_owned()],
            timeout: None,
            limits: limits.iter().map(|limit| (*limit).to_owned()).collect(),
            trigger: Trigger::Manual,
            record: None,
        };
        let prepared = self.host.prepare(&request).await?;
        let view = self.host.execute(prepared, Arc::new(Unwatched), &Cancel::default()).await;
        view.context("the run is not on record")
    }
}
