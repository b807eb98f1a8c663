//! A run as it is shown: the one object of `rota run --output json`, and what the human form is made from.

use chrono::{DateTime, SecondsFormat, Utc};
use rota_contract::Report;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A run with its effects.
#[derive(Clone, Debug)]
pub struct RunView {
    /// Its id.
    pub id: String,
    /// Its job.
    pub job: Option<String>,
    /// The plugin.
    pub plugin: String,
    /// The plugin's version.
    pub version: String,
    /// The plugin's digest.
    pub digest: String,
    /// `plan` or `execute`.
    pub mode: String,
    /// The run's state.
    pub status: String,
    /// What holds it back, where it is waiting.
    pub waiting_for: Option<String>,
    /// What others have that it waits for, where it waits for concurrency: `job:NAME`, `binding:NAME`, `team:NAME`, `exclusive:TARGET`.
    pub waiting_on: Option<String>,
    /// The team whose job it is.
    pub team: Option<String>,
    /// 1 for the first attempt, 0 before it.
    pub attempt: u32,
    /// What set it off.
    pub trigger: String,
    /// The nominal instant, where it was scheduled.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// The run that it retries, or that set it off.
    pub parent: Option<String>,
    /// Words to find it by.
    pub labels: BTreeMap<String, String>,
    /// The host it ran on; empty before it ran.
    pub host: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it is (or was) to begin at the earliest.
    pub due: DateTime<Utc>,
    /// When it started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// How long it took.
    pub duration_ms: Option<i64>,
    /// Who wanted it cancelled.
    pub cancelled_by: Option<String>,
    /// How far it is, as its host said last.
    pub progress: Option<Value>,
    /// What the person noted who settled it; or why a person has to: whoever alone could have gone on undoing it is gone.
    pub note: Option<String>,
    /// What stood in its slots, and what it was granted there.
    pub slots: Vec<SlotView>,
    /// What it reported.
    pub report: Option<Report>,
    /// Its effects, in order.
    pub effects: Vec<EffectView>,
    /// Why it did not succeed.
    pub error: Option<ErrorView>,
    /// Log lines that were dropped.
    pub dropped_log_lines: u64,
    /// What it kept.
    pub artifacts: Vec<ArtifactView>,
    /// Its attempts, in order.
    pub attempts: Vec<AttemptView>,
    /// Its durable steps, in the order in which they began.
    pub steps: Vec<StepView>,
    /// Its compensations, in the order in which they were registered.
    pub compensations: Vec<CompensationView>,
}

/// A slot of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SlotView {
    /// Its name.
    pub slot: String,
    /// The binding in it; where `ad_hoc` says so, only a name for what was given on the command line.
    pub binding: String,
    /// What was granted.
    pub access: Vec<String>,
    /// A URL or a program was given on the command line, which is on no record.
    pub ad_hoc: bool,
}

/// An attempt of a run.
#[derive(Clone, Debug, Serialize)]
pub struct AttemptView {
    /// 1 for the first.
    pub number: u32,
    /// The host.
    pub host: String,
    /// When it began.
    #[serde(serialize_with = "instant")]
    pub started_at: DateTime<Utc>,
    /// When it ended.
    #[serde(serialize_with = "maybe_instant")]
    pub finished_at: Option<DateTime<Utc>>,
    /// `reported`, `in-doubt`, `failed`, `denied`, `timed-out`, `cancelled`, `vanished` or `handed-back`.
    pub outcome: Option<String>,
    /// Why it did not report.
    pub error: Option<ErrorView>,
}

/// A durable step of a run.
#[derive(Clone, Debug, Serialize)]
pub struct StepView {
    /// Its name.
    pub name: String,
    /// The last attempt that began it.
    pub attempt: u32,
    /// When it was begun, for the first time.
    #[serde(serialize_with = "instant")]
    pub started_at: DateTime<Utc>,
    /// When it was completed.
    #[serde(serialize_with = "maybe_instant")]
    pub finished_at: Option<DateTime<Utc>>,
    /// Its result, once it is completed.
    pub result: Option<Value>,
}

/// A compensation of a run.
#[derive(Clone, Debug, Serialize)]
pub struct CompensationView {
    /// 1 for the first registered.
    pub sequence: u32,
    /// Its name.
    pub name: String,
    /// `registered`, `dismissed`, `running`, `done`, `failed` or `settled`.
    pub status: String,
    /// How often it was begun.
    pub attempts: u32,
    /// Why it failed last.
    pub error: Option<String>,
    /// When it was registered.
    #[serde(serialize_with = "instant")]
    pub registered_at: DateTime<Utc>,
    /// When it was over.
    #[serde(serialize_with = "maybe_instant")]
    pub finished_at: Option<DateTime<Utc>>,
    /// What the person noted who settled it.
    pub note: Option<String>,
}

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EffectView {
    /// Its number in the run.
    pub sequence: u64,
    /// `sql`, `storage`, `tool`.
    pub capability: String,
    /// The import.
    pub operation: String,
    /// The binding and object.
    pub target: String,
    /// The accesses it needed.
    pub access: String,
    /// What a person judges it by.
    pub detail: String,
    /// `planned`, `done`, `failed`, `interrupted`, `unknown` or `running`.
    pub outcome: String,
    /// What the target said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
}

/// Why a run did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct ErrorView {
    /// One word: `denied`, `limit`, `trap`, `timed-out`, `cancelled`, `failed`, `unavailable` ...
    pub kind: String,
    /// What happened, to what.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A file that the run kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArtifactView {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// Its hash.
    pub sha256: String,
}

/// An instant as JSON has it.
pub(crate) fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn instant<S: serde::Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

fn maybe_instant<S: serde::Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_some(&time.map(rfc3339))
}

impl RunView {
    /// The `run` of the object, and an element of `rota runs list --output json`.
    pub fn run_json(&self) -> Value {
        json!({
            "id": self.id,
            "job": self.job,
            "plugin": self.plugin,
            "version": self.version,
            "digest": self.digest,
            "mode": self.mode,
            "status": self.status,
            "attempt": self.attempt,
            "started_at": self.started_at.map(rfc3339),
            "finished_at": self.finished_at.map(rfc3339),
            "duration_ms": self.duration_ms,
            "scheduled_for": self.scheduled_for.map(rfc3339),
            "trigger": self.trigger,
            "host": self.host,
            "waiting_for": self.waiting_for,
            "waiting_on": self.waiting_on,
            "team": self.team,
            "parent": self.parent,
            "labels": self.labels,
            "created_at": rfc3339(self.created_at),
            "due": rfc3339(self.due),
            "progress": self.progress,
            "note": self.note,
        })
    }

    /// The report, each remedy with the command that plans it.
    fn report_json(&self) -> Option<Value> {
        let mut report = self.report.as_ref()?.to_json();
        for (place, finding) in report["findings"].as_array_mut().into_iter().flatten().enumerate() {
            if finding["remedy"]["plugin"].as_str().is_some_and(|plugin| !plugin.is_empty()) {
                finding["remedy"]["command"] = Value::String(self.remedy_command(place));
            }
        }
        Some(report)
    }

    /// The command that plans the remedy of a finding, by its place from 0.
    pub fn remedy_command(&self, place: usize) -> String {
        crate::remedy::command(&self.id, place + 1, &self.slots)
    }

    /// The whole object.
    pub fn to_json(&self) -> Value {
        json!({
            "run": self.run_json(),
            "slots": self.slots,
            "report": self.report_json(),
            "effects": self.effects,
            "error": self.error,
            "artifacts": self.artifacts,
            "dropped_log_lines": self.dropped_log_lines,
            "attempts": self.attempts,
            "steps": self.steps,
            "compensations": self.compensations,
        })
    }

    /// The exit status of product.md for how it ended.
    pub fn exit_status(&self) -> u8 {
        match self.status.as_str() {
            "succeeded" => 0,
            "denied" => 3,
            // What is not over has no outcome yet.
            "unknown" | "running" | "queued" | "waiting" | "compensating" => 5,
            "timed-out" => 124,
            "cancelled" => 130,
            _ => 1,
        }
    }
}
