//! Where a run's log lines, progress, metrics and artifacts go.

use async_trait::async_trait;
use std::path::PathBuf;

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For whoever debugs the procedure.
    Debug,
    /// The course of things.
    Info,
    /// Unexpected, survived.
    Warn,
    /// Fails the run or a part of it.
    Error,
}

impl LogLevel {
    /// The word in logs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// How a metric behaves over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Goes up and down.
    Gauge,
    /// Only grows.
    Counter,
}

/// Sees what a run says. Texts arrive masked, bounded, without control characters. Must not block.
#[async_trait]
pub trait Observer: Send + Sync + 'static {
    /// A log line; `source` is `procedure`, `stdout`, `stderr` or `host`.
    fn log(&self, level: LogLevel, source: &str, message: &str, fields: &[(String, String)]);
    /// Log lines were dropped because the run said too much.
    fn dropped(&self, lines: u64);
    /// How far the run is.
    fn progress(&self, done: u64, total: Option<u64>, unit: &str, note: &str);
    /// A value to publish.
    fn metric(&self, name: &str, labels: &[(String, String)], value: f64, kind: MetricKind);
    /// Where to write an artifact; none where artifacts are not kept.
    fn artifact_path(&self, name: &str) -> Option<PathBuf>;
    /// An artifact is complete.
    async fn artifact(&self, name: &str, media_type: &str, size: u64, sha256: &str) -> Result<(), String>;
}

/// Sees nothing, for benches and tests.
#[derive(Debug, Default, Clone, Copy)]
pub struct Quiet;

#[async_trait]
impl Observer for Quiet {
    fn log(&self, _: LogLevel, _: &str, _: &str, _: &[(String, String)]) {}
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
