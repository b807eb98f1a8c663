//! The interface `run`: who am I, and what the host keeps for me. Needs no grant.

use rota_authority::Mode;
use rota_capability::tape::{self, By, Plain, ask, called, called_through};
use rota_capability::{
    Capability, Guest, LogLevel, MetricKind, RunContext, Services, Trigger, begin, deadline, guest, streams,
};
use rota_contract::{Error, Fault};
use rota_telemetry::clean_line;
use sha2::Digest as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wasmtime::component::{Accessor, HasData, Linker, StreamReader};

mod shown_facts;

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package rota:host-run; world host { import rota:runbook/run@0.1.0; }",
        world: "rota:host-run/host",
        with: {
            "rota:runbook/types": rota_contract::types,
            "rota:runbook/run.step": crate::durable_interface::Step,
            "rota:runbook/run.compensation": crate::durable_interface::Compensation,
        },
        imports: { default: trappable },
    });
}

pub(crate) use generated::rota::runbook::run as wit;
pub(crate) use shown_facts::{begun, of_begun};

/// The interface.
pub struct Run;

impl HasData for Run {
    type Data<'a> = &'a mut Guest;
}

impl Capability for Run {
    fn name(&self) -> &'static str {
        "run"
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["run"]
    }

    fn link(&self, linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
        wit::add_to_linker::<Guest, Run>(linker, guest)
    }

    fn provide(&self, _: &mut Services) {}
}

/// Names and values of a field, at most so long; more is cut.
const FIELD: usize = 4 * 1024;
const MESSAGE: usize = 16 * 1024;
const FIELDS: usize = 32;

/// Text of a guest as it may be shown: bounded, masked, one line, without control characters.
pub(crate) fn shown(text: &str, max: usize) -> String {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    clean_line(&text[..end])
}

fn pairs(fields: &[(String, String)]) -> Vec<(String, String)> {
    fields.iter().take(FIELDS).map(|(k, v)| (shown(k, 200), shown(v, FIELD))).collect()
}

fn micros(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_micros()).ok()).unwrap_or(0)
}

impl wit::Host for &mut Guest {
    fn mode(&mut self) -> wasmtime::Result<wit::RunMode> {
        let shape = By { show: shown_facts::mode, make: shown_facts::of_mode };
        tape::now(
            self,
            "run.mode",
            None,
            |asked| asked,
            shape,
            |guest| {
                Ok(match guest.run.gate.mode() {
                    Mode::Plan => wit::RunMode::Plan,
                    Mode::Execute => wit::RunMode::Execute,
                })
            },
        )
    }

    fn info(&mut self) -> wasmtime::Result<wit::RunInfo> {
        let shape = By { show: shown_facts::info, make: shown_facts::of_info };
        tape::now(
            self,
            "run.info",
            None,
            |asked| asked,
            shape,
            |guest| {
                let facts = &guest.run.facts;
                Ok(wit::RunInfo {
                    id: facts.id.clone(),
                    attempt: facts.attempt,
                    job: facts.job.clone(),
                    trigger: match facts.trigger {
                        Trigger::Manual => wit::Trigger::Manual,
                        Trigger::Schedule => wit::Trigger::Schedule,
                        Trigger::Api => wit::Trigger::Api,
                    },
                    started_at: micros(facts.started_at),
                    // What is interrupted has no time left.
                    deadline: if guest.run.is_interrupted() { 0 } else { micros(deadline(facts, &guest.run.limits)) },
                })
            },
        )
    }

    fn slots(&mut self) -> wasmtime::Result<Vec<wit::SlotInfo>> {
        let shape = By { show: shown_facts::slots, make: shown_facts::of_slots };
        tape::now(
            self,
            "run.slots",
            None,
            |asked| asked,
            shape,
            |guest| {
                let run = &guest.run;
                let info = |name: &String| {
                    let bound = run.gate.bound(name);
                    wit::SlotInfo {
                        name: name.clone(),
                        binding: bound.as_ref().map(|grant| grant.binding_name.clone()),
                        accesses: bound.map(|grant| grant.accesses.clone()).unwrap_or_default(),
                    }
                };
                Ok(run.facts.slots.iter().map(info).collect())
            },
        )
    }

    fn log(&mut self, level: wit::Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        let level = match level {
            wit::Level::Debug => LogLevel::Debug,
            wit::Level::Info => LogLevel::Info,
            wit::Level::Warn => LogLevel::Warn,
            wit::Level::Error => LogLevel::Error,
        };
        let arguments = |asked: tape::Arguments| {
            asked.with("level", level.as_str()).with("message", &message).with("fields", &fields)
        };
        tape::now(self, "run.log", None, arguments, Plain, |guest| {
            guest.run.log(level, "procedure", &shown(&message, MESSAGE), &pairs(&fields));
            Ok(())
        })
    }

    fn progress(&mut self, done: u64, total: Option<u64>, unit: String, note: String) -> wasmtime::Result<()> {
        let arguments = |asked: tape::Arguments| {
            asked.with("done", &done).with("total", &total).with("unit", &unit).with("note", &note)
        };
        tape::now(self, "run.progress", None, arguments, Plain, |guest| {
            guest.run.observer.progress(done, total, &shown(&unit, 40), &shown(&note, 400));
            Ok(())
        })
    }

    fn metric(
        &mut self,
        name: String,
        labels: Vec<(String, String)>,
        value: f64,
        kind: wit::MetricKind,
    ) -> wasmtime::Result<()> {
        let (kind, word) = match kind {
            wit::MetricKind::Gauge => (MetricKind::Gauge, "gauge"),
            wit::MetricKind::Counter => (MetricKind::Counter, "counter"),
        };
        let arguments = |asked: tape::Arguments| {
            asked.with("name", &name).with("labels", &labels).with("value", &value).with("kind", word)
        };
        tape::now(self, "run.metric", None, arguments, Plain, |guest| {
            guest.run.metric(&shown(&name, 200), &pairs(&labels), value, kind);
            Ok(())
        })
    }
}

impl<T: Send + 'static> wit::HostWithStore<T> for Run {
    async fn artifact(
        accessor: &Accessor<T, Self>,
        name: String,
        media_type: String,
        data: StreamReader<u8>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        let asking =
            ask(accessor, "run.artifact", None, |asked| asked.with("name", &name).with("media-type", &media_type));
        let (asking, data) = accessor.with(|mut access| asking.stream(&mut access, "data", data))?;
        called_through(accessor, asking, Plain, async {
            let (call, run) = begin(accessor, |guest| Ok(guest.run.clone()))?;
            let taken = accessor.with(|mut access| streams::take_bytes(&mut access, data))?;
            let result = match artifact_path(&run, &name) {
                Ok(path) => keep(run, taken, path, name, shown(&media_type, 100)).await,
                Err(error) => Err(error),
            };
            drop(call);
            Ok(result)
        })
        .await
    }

    async fn sleep(accessor: &Accessor<T, Self>, milliseconds: u64) -> wasmtime::Result<Result<(), Error>> {
        let asking = ask(accessor, "run.sleep", None, |asked| asked.with("milliseconds", &milliseconds));
        called(accessor, asking, Plain, async {
            let (_call, ()) = begin(accessor, |_| Ok(()))?;
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            Ok(Ok(()))
        })
        .await
    }
}

/// One path segment of plain characters, so that the name is the file's name.
fn artifact_path(run: &RunContext, name: &str) -> Result<PathBuf, Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 120 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(Error::InvalidArgument(format!(
            "`{}` is no artifact name: use letters, digits, `.`, `_` and `-`, at most 120, not beginning with a dot",
            shown(name, 120)
        )));
    }
    // What a replay believes is written by the host alone.
    if name == "recording" || name.starts_with("recording-") || name.starts_with("recording.") {
        return Err(Error::InvalidArgument(format!(
            "`{}` is what the host calls a run's own recording",
            shown(name, 120)
        )));
    }
    run.observer.artifact_path(name).ok_or_else(|| Error::Unavailable("artifacts are not kept for this run".into()))
}

async fn keep(
    run: Arc<RunContext>,
    taken: streams::Taken,
    path: PathBuf,
    name: String,
    media_type: String,
) -> Result<u64, Error> {
    let context = run.clone();
    let (size, sha256) = taken.offload(move |reader| async move { write(&context, reader, &path).await }).await?;
    match run.observer.artifact(&name, &media_type, size, &sha256).await {
        Ok(()) => Ok(size),
        Err(reason) => Err(failed("the artifact could not be recorded", &reason)),
    }
}

/// A file that is not whole yet: gone when the call is dropped or fails.
struct Part(Option<PathBuf>);

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

async fn write(run: &RunContext, mut reader: streams::Reader, path: &Path) -> Result<(u64, String), Error> {
    let io = |error: std::io::Error| failed("the artifact could not be written", &error.to_string());
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await.map_err(io)?;
    }
    let part_path = path.with_file_name(format!(".part-{}", uuid::Uuid::now_v7()));
    let mut file =
        tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part_path).await.map_err(io)?;
    let mut part = Part(Some(part_path.clone()));
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        let read = reader.read(&mut buffer).await.map_err(|error| streams::error_of(&error))?;
        if read == 0 {
            break;
        }
        if !run.charge_artifact(read as u64) {
            return Err(Error::Quota(format!(
                "the run's artifacts are over their {} bytes (limit `artifact_bytes`)",
                run.limits.artifacts
            )));
        }
        hash.update(&buffer[..read]);
        file.write_all(&buffer[..read]).await.map_err(io)?;
        size += read as u64;
    }
    file.sync_all().await.map_err(io)?;
    // A link fails where the name is taken, and never replaces what another call kept.
    tokio::fs::hard_link(&part_path, path).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Conflict("the run has an artifact of this name already".into()),
        _ => io(error),
    })?;
    tokio::fs::remove_file(&part_path).await.map_err(io)?;
    part.0 = None;
    Ok((size, hex::encode(hash.finalize())))
}

fn failed(what: &str, reason: &str) -> Error {
    Error::Failed(Fault {
        code: "artifact".into(),
        message: format!("{what}: {reason}"),
        detail: None,
        retryable: false,
    })
}
