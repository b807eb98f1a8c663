//! The run as the procedure sees it. [`procedure!`](crate::procedure) adds a method for each slot.

use crate::bytes::ByteStream;
use crate::host;
use crate::{MetricKind, Mode, Result, RunInfo, Timestamp};
use std::time::Duration;

/// The run. Carries no authority: what a procedure may do hangs on its slots.
#[derive(Clone, Debug, Default)]
pub struct Context(());

impl Context {
    /// The run's context. The host's functions are the same for the whole run.
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// Whether effects happen. The host enforces it; ask only to explain a plan better.
    pub fn mode(&self) -> Mode {
        host::run::mode()
    }

    /// Whether effects are only listed.
    pub fn is_plan(&self) -> bool {
        self.mode() == Mode::Plan
    }

    /// The run's id, attempt, job, trigger and deadline.
    pub fn info(&self) -> RunInfo {
        host::run::info()
    }

    /// When the host ends the run at the latest.
    pub fn deadline(&self) -> Timestamp {
        Timestamp(self.info().deadline)
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        #[cfg(target_arch = "wasm32")]
        {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
        }
        #[cfg(not(target_arch = "wasm32"))]
        crate::mock::now()
    }

    /// Wait, at least so long (in whole milliseconds). It costs no CPU time, and what is driven beside it ([`join`](crate::join)) goes on.
    ///
    /// # Errors
    /// When the run is being cancelled.
    pub async fn sleep(&self, time: Duration) -> Result<()> {
        let milliseconds = time.as_micros().div_ceil(1_000);
        Ok(host::run::sleep(u64::try_from(milliseconds).unwrap_or(u64::MAX)).await?)
    }

    /// Keep a file with the run. The name is one path segment. Says how many bytes were kept.
    ///
    /// # Errors
    /// `quota` beyond the run's artifact size.
    pub async fn artifact(&self, name: &str, media_type: &str, data: impl Into<ByteStream>) -> Result<u64> {
        Ok(host::run::artifact(name.to_owned(), media_type.to_owned(), data.into().into_raw()).await?)
    }

    /// Publish a value that goes up and down under the job's labels.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        publish(name, labels, value, MetricKind::Gauge);
    }

    /// Publish a value that only grows under the job's labels.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        publish(name, labels, value, MetricKind::Counter);
    }
}

fn publish(name: &str, labels: &[(&str, &str)], value: f64, kind: MetricKind) {
    let labels: Vec<(String, String)> = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    host::run::metric(name, &labels, value, kind);
}
