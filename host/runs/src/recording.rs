//! Recording an attempt: the file is among those that the run keeps, and with it the component, so that it can be replayed when the plugin
//! has long become another.

use crate::artifacts::Artifacts;
use crate::attempt::{Doing, mask_texts};
use crate::host::Host;
use crate::observer::Recorder as Saying;
use rota_capability::tape::{Tape, shown};
use rota_capability::{LogLevel, Observer as _, RunContext};
use rota_config::Record;
use rota_contract::{CONTRACT_VERSION, Failure, Report};
use rota_recording::{End, FORMAT, Header, MEDIA_TYPE, Recorder, Slot, file_name};
use rota_sandbox::{Ended, Finished};
use serde_json::{Value, json};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The component of a recorded run, beside its recording. No artifact of a guest can have this name.
pub(crate) const COMPONENT: &str = ".plugin.wasm";

/// The recording of an attempt that is under way.
pub(crate) struct Recording {
    recorder: Arc<Recorder>,
    observer: Arc<Saying>,
    name: String,
    path: PathBuf,
    record: Record,
}

impl Host {
    /// Begin to record an attempt, where it is to be. What cannot be recorded is run all the same, and its log says so.
    pub(crate) async fn begin_recording(&self, doing: &Doing, observer: &Arc<Saying>) -> Option<Recording> {
        let record = doing.prepared.record;
        if record == Record::Never {
            return None;
        }
        let name = file_name(doing.claimed.attempt);
        let path = observer.artifact_path(&name)?;
        let seed: [u8; 32] = rand::random();
        let header = header(doing, seed);
        let component = doing.prepared.loaded.component.clone();
        let (most, at, shared) = (doing.prepared.limits.record, path.clone(), self.components());
        let begun = tokio::task::spawn_blocking(move || {
            if let Some(folder) = at.parent() {
                keep_component(folder, &shared, &header.digest, &component)
                    .map_err(|error| format!("its component could not be kept: {error}"))?;
            }
            Recorder::begin(&at, &header, seed, most).map_err(|error| error.to_string())
        });
        match begun.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(recorder) => Some(Recording { recorder, observer: observer.clone(), name, path, record }),
            Err(error) => {
                let said = rota_telemetry::mask(&format!("the run is not recorded: {error}")).into_owned();
                observer.log(LogLevel::Warn, "host", &said, &[]);
                None
            }
        }
    }

    /// Where components of recorded runs are, one of each.
    fn components(&self) -> PathBuf {
        self.state_dir().join("components")
    }
}

impl Recording {
    pub(crate) fn tape(&self) -> Tape {
        Tape::Recording(self.recorder.clone())
    }

    /// The attempt has ended: make the recording whole, and keep it or not.
    pub(crate) async fn finish(self, end: &End, succeeded: bool, run: &RunContext) {
        let Self { recorder, observer, name, path, record } = self;
        let end = end.clone();
        let finished = tokio::task::spawn_blocking(move || recorder.finish(Some(&end))).await;
        let warn = |said: String| run.log(LogLevel::Warn, "host", &rota_telemetry::mask(&said), &[]);
        let finished = match finished {
            Ok(Ok(Some(finished))) => finished,
            Ok(Ok(None)) => return,
            Ok(Err(error)) => return warn(error.to_string()),
            Err(error) => return warn(format!("the recording could not be ended: {error}")),
        };
        if record == Record::OnFailure && succeeded {
            let _ = tokio::fs::remove_file(&path).await;
            if let Some(folder) = path.parent().filter(|folder| !has_recording(folder)) {
                let _ = tokio::fs::remove_file(folder.join(COMPONENT)).await;
                // With nothing else in it, it goes.
                let _ = tokio::fs::remove_dir(folder).await;
            }
            return;
        }
        if finished.too_large {
            warn(format!(
                "the recording ends before the run: what came next is larger than a line of a recording may be ({} MiB, and {} MiB in memory)",
                rota_recording::LONGEST_LINE >> 20,
                rota_recording::HEAVIEST_LINE >> 20
            ));
        } else if finished.full {
            warn(format!(
                "the recording ends before the run: it was as large as it may be (limit `record_bytes`, {} bytes)",
                run.limits.record
            ));
        }
        if let Err(error) = observer.artifact(&name, MEDIA_TYPE, finished.size, &finished.sha256).await {
            warn(format!("the recording could not be put on record: {error}"));
        }
    }
}

fn has_recording(folder: &Path) -> bool {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    names.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(rota_recording::FILE))
}

fn header(doing: &Doing, seed: [u8; 32]) -> Header {
    let Doing { claimed, prepared, .. } = doing;
    let descriptor = &prepared.loaded.descriptor;
    let slot = |slot: &rota_contract::reports::Slot| {
        let grant = prepared.grants.iter().find(|grant| grant.slot == slot.name);
        Slot {
            name: slot.name.clone(),
            binding: grant.map(|grant| rota_telemetry::mask(&grant.binding_name).into_owned()),
            accesses: grant.map(|grant| grant.accesses.clone()).unwrap_or_default(),
        }
    };
    let parameters: Value = serde_json::from_str(&prepared.parameters).unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Header {
        format: FORMAT,
        host: env!("CARGO_PKG_VERSION").into(),
        contract: CONTRACT_VERSION.into(),
        plugin: descriptor.name.clone(),
        version: descriptor.version.clone(),
        digest: prepared.loaded.plugin.digest().to_owned(),
        run: claimed.row.run.id.clone(),
        attempt: claimed.attempt,
        job: claimed.row.run.job.clone(),
        parameters: shown(&parameters),
        mode: prepared.mode.as_str().into(),
        slots: descriptor.slots.iter().map(slot).collect(),
        limits: prepared.limits.clone(),
        seed: hex::encode(seed),
        started_at: i64::try_from(now.as_micros()).unwrap_or(i64::MAX),
    }
}

/// How a call into a plugin ended, as a recording keeps it, and as a replay is compared with it.
pub(crate) fn end_of(finished: &Finished) -> End {
    let end = |ended: &str, report: Option<&Report>, said: Option<Value>| {
        let end = masked(json!({ "report": report.map(Report::to_json), "said": said }));
        // As it is read back: what a text makes of a float, it makes of both.
        let mut end: Value = serde_json::from_str(&end.to_string()).unwrap_or_default();
        let mut field = |name: &str| Some(end[name].take()).filter(|value| !value.is_null());
        End { ended: ended.to_owned(), report: field("report"), said: field("said") }
    };
    let said = |text: &str| Some(Value::from(text));
    match &finished.ended {
        Ended::Reported(report) => end("reported", Some(report), None),
        Ended::Failed(failure) => end("failed", failure.report.as_ref(), Some(failed(failure))),
        Ended::Limit(limit) => end("limit", None, said(&limit.to_string())),
        Ended::UsedUp(used_up) => end("quota", None, said(&used_up.to_string())),
        Ended::Trapped(text) => end("trapped", None, said(text)),
        Ended::TimedOut(after) => end("timed-out", None, said(&format!("ended after {after:?}"))),
        Ended::Cancelled(report) => end("cancelled", report.as_ref(), None),
        Ended::Host(text) => end("host", None, said(text)),
    }
}

/// Secrets in what is said of an end, also in names that the guest has chosen: behind the store is a wall that hides those, and behind a
/// recording is none.
fn masked(mut end: Value) -> Value {
    mask_texts(&mut end);
    if let Some(data) = end.pointer_mut("/report/data") {
        mask_names(data);
    }
    end
}

fn mask_names(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask_names),
        Value::Object(fields) => {
            let one = |(name, mut value): (String, Value)| {
                mask_names(&mut value);
                (rota_telemetry::mask(&name).into_owned(), value)
            };
            *fields = std::mem::take(fields).into_iter().map(one).collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn failed(failure: &Failure) -> Value {
    json!({ "message": failure.message, "hint": failure.hint, "cause": failure.cause.as_ref().map(shown) })
}

/// Keep a component in the folder of a run: one copy for all runs that were recorded with it, which goes with the last of them.
fn keep_component(folder: &Path, shared: &Path, digest: &str, component: &[u8]) -> io::Result<()> {
    let (mine, ours) = (folder.join(COMPONENT), shared.join(format!("{digest}.wasm")));
    std::fs::create_dir_all(folder)?;
    std::fs::create_dir_all(shared)?;
    sweep(shared, &ours);
    let linked = match std::fs::hard_link(&ours, &mine) {
        // Only what is whole and what it says it is.
        Ok(()) => std::fs::metadata(&mine)?.len() == component.len() as u64,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(_) => false,
    };
    if linked {
        return Ok(());
    }
    let part = folder.join(format!("{COMPONENT}-{}", uuid::Uuid::now_v7()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(component)?;
    std::fs::rename(&part, &mine)?;
    // Another run may have put it there meanwhile, and a file system without links keeps a copy for each.
    let _ = std::fs::hard_link(&mine, &ours);
    Ok(())
}

/// Components that no recording needs any more go, but for the one that is needed now.
fn sweep(shared: &Path, needed: &Path) {
    for entry in std::fs::read_dir(shared).into_iter().flatten().flatten() {
        let unneeded = entry.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1);
        if unneeded && entry.path() != needed {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The component that this host kept with a recording. The run's id may be somebody else's word, and leads nowhere but to a folder of a run.
pub(crate) fn component_of(artifacts: &Artifacts, run: &str) -> Option<Vec<u8>> {
    let is_name = Path::new(run).file_name().is_some_and(|name| name == run);
    if !is_name {
        return None;
    }
    rota_catalog::read_file(&artifacts.folder(run).join(COMPONENT)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_in_all_that_is_kept_of_an_end() {
        let _secrets = [rota_telemetry::Secret::new("c4nary-of-ends"), rota_telemetry::Secret::new("8240617395")];
        let end = masked(json!({
            "report": {
                "summary": "is c4nary-of-ends",
                "data": [{ "c4nary-of-ends": { "a c4nary%2Dof%2Dends": 1 } }, 8240617395_u64, 17],
            },
            "said": "c4nary-of-ends",
        }));
        let expected = json!({
            "report": { "summary": "is ***", "data": [{ "***": { "a ***": 1 } }, "***", 17] },
            "said": "***",
        });
        assert_eq!(end, expected);
        assert_eq!(masked(json!({ "report": null, "said": null })), json!({ "report": null, "said": null }));
    }
}
