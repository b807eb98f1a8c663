//! A prepared run, executed and recorded.

use crate::host::Host;
use crate::observer::{Recorder, Watcher};
use crate::prepare::Prepared;
use crate::records::RecordsError;
use crate::view::{ErrorView, RunView};
use rota_authority::{Denied, Gate, Quotas, RunIdentity};
use rota_capability::{LogLevel, RunContext, RunFacts};
use rota_contract::{Error, Failure, Report};
use rota_sandbox::{Cancel, Ended, Finished};
use rota_store::{EffectRow, NewRun, RunEnd, RunStatus, Store, StoreError};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// Why a run could not be executed, or is not on record.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The beginning could not be recorded: nothing was run.
    #[error("the run was not begun: {0}")]
    NotBegun(StoreError),
    /// The end could not be recorded: it was run.
    #[error("the run ended, but that could not be recorded: {0}")]
    NotRecorded(StoreError),
    /// The record could not be read back.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl Host {
    /// Execute a prepared run.
    ///
    /// # Errors
    /// Only when it cannot be recorded: how the run itself ended is in the view.
    pub async fn execute(
        &self,
        prepared: Prepared,
        watcher: Arc<dyn Watcher>,
        cancel: &Cancel,
    ) -> Result<RunView, ExecuteError> {
        let id = uuid::Uuid::now_v7().to_string();
        let store = &self.records().store;
        store.begin_run(new_run(&id, &prepared)).await.map_err(ExecuteError::NotBegun)?;
        let recorder = Arc::new(Recorder {
            run: id.clone(),
            store: store.clone(),
            watcher,
            artifacts: self.settings().state_dir.join("artifacts").join(&id),
            dropped: AtomicU64::new(0),
        });
        let context = self.context(&id, prepared.mode, &prepared, recorder.clone());
        let finished =
            self.plugins().sandbox().run(&prepared.loaded.plugin, context.clone(), &prepared.parameters, cancel).await;
        // What was dropped with the store tells its targets now.
        self.settle().await;
        store.flush().await.map_err(ExecuteError::NotRecorded)?;
        let (mut status, report, mut error) = end_of(finished, &context, &prepared);
        if status == RunStatus::Succeeded
            && let Some(doubt) = doubt(&store.effects(&id).await.map_err(ExecuteError::NotRecorded)?)
        {
            (status, error) = (RunStatus::Unknown, Some(doubt));
        }
        if let Some(error) = &error {
            context.log(LogLevel::Error, "host", &rota_telemetry::mask(&error.message), &[]);
        }
        let end = RunEnd {
            status,
            report: report.as_ref().and_then(masked),
            error: error.and_then(|error| serde_json::to_string(&error).ok()),
            dropped_log_lines: recorder.dropped.load(Ordering::Relaxed),
        };
        store.end_run(&id, end).await.map_err(ExecuteError::NotRecorded)?;
        Ok(self.records().find(&id).await?)
    }

    fn context(
        &self,
        id: &str,
        mode: rota_authority::Mode,
        prepared: &Prepared,
        recorder: Arc<Recorder>,
    ) -> Arc<RunContext> {
        let descriptor = &prepared.loaded.descriptor;
        let identity =
            RunIdentity { run: id.to_owned(), job: prepared.job.clone().unwrap_or_else(|| descriptor.name.clone()) };
        let quotas = Quotas { effects: prepared.limits.effects };
        let ledger = self.records().store.ledger(id);
        let grants = prepared.grants.iter().map(|g| rota_authority::Grant {
            slot: g.slot.clone(),
            binding_name: g.binding_name.clone(),
            binding: g.binding.clone(),
            accesses: g.accesses.clone(),
        });
        let gate = Gate::new(identity, mode, quotas, ledger, grants);
        let facts = RunFacts {
            id: id.to_owned(),
            attempt: 1,
            job: prepared.job.clone(),
            trigger: prepared.trigger,
            started_at: SystemTime::now(),
            slots: descriptor.slots.iter().map(|slot| slot.name.clone()).collect(),
        };
        RunContext::new(gate, facts, prepared.limits.clone(), recorder)
    }
}

/// Why a procedure that has reported has not succeeded all the same: it returned while effects of it were under way, and what
/// became of them is not known. Its report cannot speak for them.
fn doubt(effects: &[EffectRow]) -> Option<ErrorView> {
    let open = effects.iter().filter(|effect| matches!(effect.outcome.as_str(), "running" | "interrupted"));
    let named: Vec<String> = open.map(|effect| format!("{} ({})", effect.operation, effect.target)).collect();
    let shown = named.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    if named.is_empty() {
        return None;
    }
    error(
        "unknown",
        format!("the procedure reported while {} of its effects were under way: {shown}", named.len()),
        Some("look whether they happened; the procedure should wait for each of its calls before it returns".into()),
    )
}

fn new_run(id: &str, prepared: &Prepared) -> NewRun {
    let grants: serde_json::Map<String, serde_json::Value> = prepared
        .grants
        .iter()
        .map(|g| (g.slot.clone(), json!({ "binding": g.binding_name, "access": g.accesses })))
        .collect();
    NewRun {
        id: id.to_owned(),
        job: prepared.job.clone(),
        plugin: prepared.loaded.descriptor.name.clone(),
        version: prepared.loaded.descriptor.version.clone(),
        digest: prepared.loaded.plugin.digest().to_owned(),
        mode: prepared.mode.as_str().into(),
        trigger: prepared.trigger.as_str().into(),
        parameters: prepared.parameters.clone(),
        grants: serde_json::Value::Object(grants).to_string(),
        scheduled_for: None,
        attempt: 1,
    }
}

/// A report with secrets masked: what a guest read may hold what it was never given. Only texts are masked, never the names
/// of fields, so that a secret that is also a field's name cannot break the report.
fn masked(report: &Report) -> Option<String> {
    let mut value = serde_json::to_value(report).ok()?;
    mask_texts(&mut value);
    serde_json::to_string(&value).ok()
}

fn mask_texts(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::String(text) => {
            if let std::borrow::Cow::Owned(masked) = rota_telemetry::mask(text) {
                *text = masked;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask_texts),
        Value::Object(fields) => fields.values_mut().for_each(mask_texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn error(kind: &str, message: impl Into<String>, hint: Option<String>) -> Option<ErrorView> {
    let message: String = message.into();
    Some(ErrorView {
        kind: kind.into(),
        message: rota_telemetry::mask(&message).into_owned(),
        hint: hint.map(|h| rota_telemetry::mask(&h).into_owned()),
    })
}

fn end_of(
    finished: Finished,
    context: &RunContext,
    prepared: &Prepared,
) -> (RunStatus, Option<Report>, Option<ErrorView>) {
    match finished.ended {
        Ended::Reported(report) => (RunStatus::Succeeded, Some(report), None),
        Ended::Failed(failure) => failed(failure, context, prepared),
        Ended::Limit(limit) => (RunStatus::Failed, None, error("limit", limit.to_string(), None)),
        Ended::Trapped(said) => (
            RunStatus::Failed,
            None,
            error(
                "trap",
                format!("the plugin broke off: {said}"),
                Some("this is a defect of the plugin; its log may say more (rota runs logs last)".into()),
            ),
        ),
        Ended::TimedOut(limit) => (
            RunStatus::TimedOut,
            None,
            error(
                "timed-out",
                format!("the run was ended after {limit:?} (limit `timeout`)"),
                Some("raise it with --timeout, or `timeout` of the job".into()),
            ),
        ),
        Ended::Cancelled => (RunStatus::Cancelled, None, error("cancelled", "the run was cancelled", None)),
        Ended::Host(said) => (RunStatus::Failed, None, error("host", said, None)),
    }
}

/// A failure that a denial caused is a denial: the exit status and the hint say so.
fn failed(
    failure: Failure,
    context: &RunContext,
    prepared: &Prepared,
) -> (RunStatus, Option<Report>, Option<ErrorView>) {
    let Failure { message, hint, cause, report } = failure;
    let (denials, _) = context.gate.denials();
    match &cause {
        Some(Error::Denied(_)) if !denials.is_empty() => {
            let hint = denials.iter().find_map(|denied| flag(denied, prepared)).or(hint);
            (RunStatus::Denied, report, error("denied", message, hint))
        }
        Some(cause) => (RunStatus::Failed, report, error(cause.kind(), message, hint)),
        None => (RunStatus::Failed, report, error("failed", message, hint)),
    }
}

/// The flag that would give what was denied.
fn flag(denied: &Denied, prepared: &Prepared) -> Option<String> {
    let declared = |slot: &str| {
        prepared.loaded.descriptor.slots.iter().find(|s| s.name == slot).map(|s| s.accesses.clone()).unwrap_or_default()
    };
    match denied {
        Denied::Missing { slot, missing, granted, .. } => {
            let all: Vec<String> = granted.iter().chain(missing).cloned().collect();
            if missing.iter().any(|word| !declared(slot).contains(word)) {
                return Some(format!(
                    "the plugin does not declare {} on slot {slot}, so it cannot be granted",
                    missing.join(" + ")
                ));
            }
            Some(format!(
                "add --grant {slot}={} (or --grant declared for all that the plugin declares); in a job: slots.{slot}.access",
                all.join(",")
            ))
        }
        Denied::Unbound { slot, .. } => {
            Some(format!("add --bind {slot}=... and --grant {slot}={}", declared(slot).join(",")))
        }
        Denied::WrongKind { .. } | Denied::Never { .. } => None,
    }
}
