//! A run's sayings on their way to the store and to whoever watches.

use crate::artifacts::Artifacts;
use crate::held::Held;
use crate::metrics::{Metrics, Publisher};
use async_trait::async_trait;
use chrono::Utc;
use rota_capability::{LogLevel, MetricKind, Observer};
use rota_store::{ArtifactRow, NewLogLine, Store};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Watches a run while it goes on: a terminal, for example. Must not block.
pub trait Watcher: Send + Sync + 'static {
    /// A log line.
    fn log(&self, level: LogLevel, source: &str, message: &str, fields: &[(String, String)]);
    /// How far it is.
    fn progress(&self, done: u64, total: Option<u64>, unit: &str, note: &str);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watcher for Unwatched {
    fn log(&self, _: LogLevel, _: &str, _: &str, _: &[(String, String)]) {}
    fn progress(&self, _: u64, _: Option<u64>, _: &str, _: &str) {}
}

/// Writes everything down and tells the watcher.
pub(crate) struct Recorder {
    pub(crate) run: String,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) watcher: Arc<dyn Watcher>,
    pub(crate) held: Arc<Held>,
    pub(crate) metrics: Arc<Metrics>,
    /// What its values are published under; none in a plan, which publishes nothing.
    pub(crate) publisher: Option<Publisher>,
    pub(crate) artifacts: Artifacts,
    pub(crate) dropped: AtomicU64,
}

#[async_trait]
impl Observer for Recorder {
    fn log(&self, level: LogLevel, source: &str, message: &str, fields: &[(String, String)]) {
        let line = NewLogLine {
            time: Utc::now(),
            level: level.as_str().into(),
            source: source.into(),
            message: message.into(),
            fields: fields.to_vec(),
        };
        if !self.store.log(&self.run, line) {
            self.dropped(1);
        }
        self.watcher.log(level, source, message, fields);
    }

    fn dropped(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    fn progress(&self, done: u64, total: Option<u64>, unit: &str, note: &str) {
        self.watcher.progress(done, total, unit, note);
        self.held.progress(json!({ "done": done, "total": total, "unit": unit, "note": note }).to_string());
    }

    fn metric(&self, name: &str, labels: &[(String, String)], value: f64, kind: MetricKind) {
        // Served at /metrics while the host serves; and in the log, for whoever looks at the run.
        if let Some(publisher) = &self.publisher {
            self.metrics.publish(publisher, name, labels, value, kind);
        }
        let kind = match kind {
            MetricKind::Gauge => "gauge",
            MetricKind::Counter => "counter",
        };
        let mut fields = labels.to_vec();
        fields.push(("value".into(), value.to_string()));
        fields.push(("kind".into(), kind.into()));
        let line = NewLogLine {
            time: Utc::now(),
            level: "debug".into(),
            source: "metric".into(),
            message: name.into(),
            fields,
        };
        if !self.store.log(&self.run, line) {
            self.dropped(1);
        }
    }

    fn artifact_path(&self, name: &str) -> Option<PathBuf> {
        Some(self.artifacts.folder(&self.run).join(name))
    }

    async fn artifact(&self, name: &str, media_type: &str, size: u64, sha256: &str) -> Result<(), String> {
        let path = self.artifacts.folder(&self.run).join(name);
        self.artifacts.share(&self.run, &path, sha256).await.map_err(|error| error.to_string())?;
        let row = ArtifactRow { name: name.into(), media_type: media_type.into(), size, sha256: sha256.into() };
        self.store.add_artifact(&self.run, row).await.map_err(|error| error.to_string())
    }
}
