//! A run with a gate, a ledger and a log, for the tests of this crate.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test uses some of it")]

use async_trait::async_trait;
use rota_authority::{Gate, Grant, MemoryLedger, Mode, Quotas, RunIdentity};
use rota_capability::{Limits, LogLevel, MetricKind, Observer, RunContext, RunFacts, Transient, Trigger};
use rota_capability_tools::{Client, Settings, Shared};
use rota_config::{Binding, ToolProfile};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// Keeps log lines.
#[derive(Default)]
pub struct Log(Mutex<Vec<(LogLevel, String, String)>>);

impl Log {
    pub fn lines(&self) -> Vec<(LogLevel, String, String)> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Observer for Log {
    fn log(&self, level: LogLevel, source: &str, message: &str, _: &[(String, String)]) {
        self.0.lock().unwrap().push((level, source.into(), message.into()));
    }
    fn dropped(&self, _: u64) {}
    fn progress(&self, _: u64, _: Option<u64>, _: &str, _: &str) {}
    fn metric(&self, _: &str, _: &[(String, String)], _: f64, _: MetricKind) {}
    fn artifact_path(&self, _: &str) -> Option<PathBuf> {
        None
    }
    async fn artifact(&self, _: &str, _: &str, _: u64, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// One run of a test.
pub struct Run {
    pub client: Client,
    pub gate: Arc<Gate>,
    pub ledger: Arc<MemoryLedger>,
    pub log: Arc<Log>,
    pub folder: tempfile::TempDir,
}

impl Run {
    pub fn new(mode: Mode, grants: Vec<Grant>) -> Self {
        Self::with_launcher(mode, grants, Path::new(env!("CARGO_BIN_EXE_rota-launch")))
    }

    pub fn with_launcher(mode: Mode, grants: Vec<Grant>, launcher: &Path) -> Self {
        let (ledger, log) = (Arc::new(MemoryLedger::default()), Arc::new(Log::default()));
        let identity = RunIdentity { run: "r1".into(), job: "tests".into() };
        let gate = Gate::new(identity, mode, Quotas::default(), ledger.clone(), grants);
        let facts = RunFacts {
            id: "r1".into(),
            attempt: 1,
            job: None,
            trigger: Trigger::Manual,
            started_at: SystemTime::now(),
            slots: Vec::new(),
        };
        let context =
            RunContext::new(gate.clone(), facts, Limits::default(), log.clone(), Arc::new(Transient::default()));
        let folder = tempfile::tempdir().unwrap();
        let shared = Shared::new(Settings { launcher: launcher.into(), folder: folder.path().into() });
        Self { client: Client::new(context, Arc::new(shared)), gate, ledger, log, folder }
    }

    /// The private folders that are there now.
    pub fn private_folders(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// The outcome words of all effects.
    pub fn outcomes(&self) -> Vec<String> {
        self.ledger
            .effects()
            .iter()
            .map(|effect| effect.outcome.as_ref().map_or("under way", |outcome| outcome.word()).to_owned())
            .collect()
    }
}

pub fn tool(slot: &str, path: &Path, profile: ToolProfile, arguments: &[&str]) -> Grant {
    let text = format!(
        "[bindings.it]\nkind = \"tool\"\npath = {path:?}\nprofile = \"{profile}\"\narguments = {arguments:?}\n"
    );
    let config = rota_config::Config::load(&rota_config::Source::empty().with_text("rota.toml", text)).unwrap();
    let binding = config.bindings.values().next().unwrap().clone();
    Grant { slot: slot.into(), binding_name: format!("{slot}-binding"), binding, accesses: vec!["run".into()] }
}

pub fn sql(slot: &str, url: &str, accesses: &[&str]) -> Grant {
    let binding = Binding::parse_ad_hoc(url).unwrap();
    Grant {
        slot: slot.into(),
        binding_name: format!("{slot}-binding"),
        binding,
        accesses: accesses.iter().map(ToString::to_string).collect(),
    }
}

/// A program of a test's own: a script, in a folder that goes with the returned value.
pub struct Script {
    folder: tempfile::TempDir,
    pub path: PathBuf,
}

pub fn script(text: &str) -> Script {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tool");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Script { folder, path }
}

/// A run with one script in slot `tool`, to which every argument is allowed.
pub fn scripted(text: &str) -> (Run, Script) {
    let script = script(text);
    let run = Run::new(Mode::Execute, vec![tool("tool", &script.path, ToolProfile::Custom, &["86400.*"])]);
    (run, script)
}

/// The processes on whose command line a marker stands.
pub fn processes_with(marker: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if pid != std::process::id() && line.windows(marker.len()).any(|window| window == marker.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

/// A word that no other process has on its command line, and that `sleep` takes for about a day.
pub fn marker() -> String {
    let random = rota_testbed::random_secret().unwrap();
    format!("86400.{}", random.bytes().map(|byte| char::from(b'0' + byte % 10)).collect::<String>())
}

pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    rota_testbed::eventually(Duration::from_secs(20), what, async || Ok(condition().then_some(()))).await.unwrap();
}

pub fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(ToString::to_string).collect()
}
