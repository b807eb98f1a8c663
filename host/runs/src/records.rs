//! Runs on record, as they are shown.

use crate::view::{ArtifactView, AttemptView, CompensationView, EffectView, ErrorView, RunView, StepView, rfc3339};
use chrono::{DateTime, Utc};
use rota_contract::Report;
use rota_protocol::{RunState, StepState};
use rota_store::{AttemptRow, CompensationRow, EffectRow, Filter, LogRow, RunRow, StepRow, Store, StoreError};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Why records could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The filter.
    #[error("{0}")]
    Filter(String),
}

/// Which runs.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Of this job.
    pub job: Option<String>,
    /// Of this plugin.
    pub plugin: Option<String>,
    /// In one of these states.
    pub status: Vec<String>,
    /// Set off by this.
    pub trigger: Option<String>,
    /// With all of these labels.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Made within this time.
    pub since: Option<Duration>,
    /// Before this run, for the next page.
    pub before: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// A line of a run's log.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// Its number in the run.
    pub sequence: u64,
    /// When.
    pub time: DateTime<Utc>,
    /// How much it matters.
    pub level: String,
    /// Who said it.
    pub source: String,
    /// What.
    pub message: String,
    /// More of it.
    pub fields: Vec<(String, String)>,
}

impl LogLine {
    /// As JSON.
    pub fn to_json(&self) -> Value {
        let fields: serde_json::Map<String, Value> = self.fields.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        json!({ "sequence": self.sequence, "time": rfc3339(self.time), "level": self.level, "source": self.source, "message": self.message, "fields": fields })
    }
}

/// The records of a host.
#[derive(Clone)]
pub struct RunRecords {
    pub(crate) store: Arc<dyn Store>,
}

/// Waits for what may be new about a run.
pub struct News {
    run: String,
    hints: tokio::sync::broadcast::Receiver<rota_store::Hint>,
}

impl News {
    /// Wait until something may be new, at most so long. Other hosts' hints come through PostgreSQL; a file of records has none of other
    /// processes.
    pub async fn wait(&mut self, at_most: Duration) {
        let hinted = async {
            loop {
                match self.hints.recv().await {
                    Ok(rota_store::Hint::Log(run) | rota_store::Hint::Run(run)) if run == self.run => return,
                    Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        let _ = tokio::time::timeout(at_most, hinted).await;
    }
}

impl RunRecords {
    /// News of a run from here on.
    pub fn news(&self, run: &str) -> News {
        News { run: run.to_owned(), hints: self.store.hints() }
    }

    /// The records that a store keeps.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Runs, the newest first, without their effects.
    ///
    /// # Errors
    /// When the filter names no state, or the store cannot be read.
    pub async fn list(&self, filter: &RunFilter) -> Result<Vec<RunView>, RecordsError> {
        let states = filter.status.iter().map(|word| word.parse::<RunState>().map_err(RecordsError::Filter));
        let since =
            filter.since.and_then(|since| chrono::Duration::from_std(since).ok()).map(|since| Utc::now() - since);
        let filter = Filter {
            job: filter.job.clone(),
            plugin: filter.plugin.clone(),
            states: states.collect::<Result<_, _>>()?,
            trigger: filter.trigger.clone(),
            labels: filter.labels.clone(),
            since,
            before: filter.before.clone(),
            limit: filter.limit,
            ..Filter::default()
        };
        Ok(self.store.runs(&filter).await?.into_iter().map(view).collect())
    }

    /// One run with its effects and artifacts: by id, by a part of it, or `last`.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn find(&self, id: &str) -> Result<RunView, RecordsError> {
        let row = self.store.run(id).await?;
        let id = row.run.id.clone();
        let mut view = view(row);
        view.effects = self.store.effects(&id).await?.into_iter().map(effect).collect();
        view.artifacts = self
            .store
            .artifacts(&id)
            .await?
            .into_iter()
            .map(|a| ArtifactView { name: a.name, media_type: a.media_type, size: a.size, sha256: a.sha256 })
            .collect();
        view.attempts = self.store.attempts(&id).await?.into_iter().map(attempt).collect();
        view.steps = self.store.steps(&id).await?.into_iter().map(step).collect();
        view.compensations = self.store.compensations(&id).await?.into_iter().map(compensation).collect();
        Ok(view)
    }

    /// Log lines after a number.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn logs(&self, id: &str, after: u64) -> Result<Vec<LogLine>, RecordsError> {
        let line = |row: LogRow| LogLine {
            sequence: row.sequence,
            time: row.line.time,
            level: row.line.level,
            source: row.line.source,
            message: row.line.message,
            fields: row.line.fields,
        };
        Ok(self.store.logs(id, after, 1000).await?.into_iter().map(line).collect())
    }

    /// Whether a run is not over; one whose worker is gone is looked after first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn is_running(&self, id: &str) -> Result<bool, RecordsError> {
        self.store.reap().await?;
        Ok(!self.store.run(id).await?.state.is_final())
    }

    /// Runs whose worker is gone are taken from it; answers what became of them.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn reap(&self) -> Result<Vec<(String, RunState)>, RecordsError> {
        Ok(self.store.reap().await?)
    }
}

fn attempt(row: AttemptRow) -> AttemptView {
    AttemptView {
        number: row.number,
        host: row.host,
        started_at: row.started_at,
        finished_at: row.finished_at,
        outcome: row.outcome,
        error: row.error.as_deref().and_then(|text| serde_json::from_str(text).ok()),
    }
}

fn step(row: StepRow) -> StepView {
    let result = match row.state {
        StepState::Completed { result } => Some(result),
        StepState::Begun { .. } => None,
    };
    StepView {
        name: row.name,
        attempt: row.attempt,
        started_at: row.started_at,
        finished_at: row.finished_at,
        result: result.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))),
    }
}

fn compensation(row: CompensationRow) -> CompensationView {
    CompensationView {
        sequence: row.sequence,
        name: row.name,
        status: row.status.as_str().into(),
        attempts: row.attempts,
        error: row.error,
        registered_at: row.registered_at,
        finished_at: row.finished_at,
        note: row.note,
    }
}

fn effect(row: EffectRow) -> EffectView {
    EffectView {
        sequence: row.sequence,
        capability: row.capability,
        operation: row.operation,
        target: row.target,
        access: row.access,
        detail: row.detail,
        outcome: row.outcome,
        said: row.said,
    }
}

fn view(row: RunRow) -> RunView {
    // What cannot be read back is left out rather than hiding the run.
    let report: Option<Report> = row.report.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let error: Option<ErrorView> = row.error.as_deref().and_then(|text| serde_json::from_str(text).ok());
    RunView {
        id: row.run.id,
        job: row.run.job,
        plugin: row.run.plugin,
        version: row.run.version,
        digest: row.run.digest,
        mode: row.run.mode,
        status: row.state.as_str().into(),
        waiting_on: row.blocked.filter(|_| row.wait == Some(rota_protocol::WaitReason::Concurrency)),
        team: row.run.policy.team,
        waiting_for: row.wait.map(|reason| reason.as_str().into()),
        attempt: row.attempt,
        trigger: row.run.trigger,
        scheduled_for: row.run.scheduled_for,
        parent: row.run.parent,
        labels: row.run.labels,
        host: row.host,
        created_at: row.created_at,
        due: row.due,
        started_at: row.started_at,
        finished_at: row.finished_at,
        duration_ms: row.started_at.zip(row.finished_at).map(|(start, end)| (end - start).num_milliseconds()),
        cancelled_by: row.cancel.map(|wish| wish.by),
        progress: row.progress.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        note: row.note,
        slots: crate::grants::slots_of(&row.run.grants),
        report,
        effects: Vec::new(),
        error,
        dropped_log_lines: row.dropped_log_lines,
        artifacts: Vec::new(),
        attempts: Vec::new(),
        steps: Vec::new(),
        compensations: Vec::new(),
    }
}
