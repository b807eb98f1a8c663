//! Runs on record, as they are shown.

use crate::view::{ArtifactView, EffectView, ErrorView, RunView, rfc3339};
use chrono::{DateTime, Utc};
use rota_contract::Report;
use rota_store::{EffectRow, Filter, LogRow, RunRow, RunStatus, SqliteStore, Store, StoreError};
use serde_json::{Value, json};
use std::path::Path;
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
#[derive(Clone, Debug)]
pub struct RunFilter {
    /// Of this job.
    pub job: Option<String>,
    /// Of this plugin.
    pub plugin: Option<String>,
    /// In this state.
    pub status: Option<String>,
    /// Begun within this time.
    pub since: Option<Duration>,
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
    pub(crate) store: Arc<SqliteStore>,
}

impl RunRecords {
    /// Open the records of a state directory. Runs whose process is gone become `unknown`.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub async fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let store = Arc::new(SqliteStore::open(state_dir).await?);
        store.sweep().await?;
        Ok(Self { store })
    }

    /// Runs, the newest first, without their effects.
    ///
    /// # Errors
    /// When the filter names no state, or the store cannot be read.
    pub async fn list(&self, filter: &RunFilter) -> Result<Vec<RunView>, RecordsError> {
        let status = filter.status.as_deref().map(str::parse::<RunStatus>).transpose().map_err(RecordsError::Filter)?;
        let since =
            filter.since.and_then(|since| chrono::Duration::from_std(since).ok()).map(|since| Utc::now() - since);
        let filter = Filter {
            job: filter.job.clone(),
            plugin: filter.plugin.clone(),
            status,
            since,
            before: None,
            limit: filter.limit,
        };
        Ok(self.store.runs(&filter).await?.into_iter().map(|row| view(row, Vec::new(), Vec::new())).collect())
    }

    /// One run with its effects and artifacts: by id, by a part of it, or `last`.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn find(&self, id: &str) -> Result<RunView, RecordsError> {
        let row = self.store.run(id).await?;
        let effects = self.store.effects(&row.run.id).await?.into_iter().map(effect).collect();
        let artifacts = self.store.artifacts(&row.run.id).await?;
        let artifacts = artifacts
            .into_iter()
            .map(|a| ArtifactView { name: a.name, media_type: a.media_type, size: a.size, sha256: a.sha256 })
            .collect();
        Ok(view(row, effects, artifacts))
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

    /// Whether a run is under way; one whose process is gone is not.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn is_running(&self, id: &str) -> Result<bool, RecordsError> {
        self.store.sweep().await?;
        Ok(!self.store.run(id).await?.status.is_final())
    }

    /// Runs whose process is gone become `unknown`; answers their ids.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn sweep(&self) -> Result<Vec<String>, RecordsError> {
        Ok(self.store.sweep().await?)
    }

    /// Close the store.
    pub async fn close(self) {
        self.store.close().await;
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

fn view(row: RunRow, effects: Vec<EffectView>, artifacts: Vec<ArtifactView>) -> RunView {
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
        status: row.status.as_str().into(),
        attempt: row.run.attempt,
        trigger: row.run.trigger,
        scheduled_for: row.run.scheduled_for,
        host: row.host,
        started_at: Some(row.started_at),
        finished_at: row.finished_at,
        duration_ms: row.finished_at.map(|end| (end - row.started_at).num_milliseconds()),
        report,
        effects,
        error,
        dropped_log_lines: row.dropped_log_lines,
        artifacts,
    }
}
