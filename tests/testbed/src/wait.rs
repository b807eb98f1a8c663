//! Waiting for a condition with a deadline. Tests never sleep for a fixed time.

use std::time::{Duration, Instant};

use anyhow::bail;

const PAUSE: Duration = Duration::from_millis(10);

/// Asks `condition` again and again until it gives a value, which is returned.
///
/// An error of `condition` means "not yet"; the last one is told when `deadline` has passed.
///
/// # Errors
/// When `what` has not come about within `deadline`.
pub async fn eventually<T>(
    deadline: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        let last = match tokio::time::timeout(deadline.saturating_sub(start.elapsed()), condition()).await {
            Ok(Ok(Some(value))) => return Ok(value),
            Ok(Ok(None)) => String::new(),
            Ok(Err(error)) => format!(": {error:#}"),
            Err(_) => ": no answer".to_owned(),
        };
        if start.elapsed() >= deadline {
            bail!("waited {deadline:?} in vain for {what}{last}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
