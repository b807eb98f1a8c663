//! Calls that a store may answer when they are made again.

use super::http::Broken;
use std::error::Error as _;
use std::time::Duration;

/// How long to wait before each further try.
pub(super) const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// Make a call until it succeeds or fails for good.
pub(super) async fn again<T, F: Future<Output = opendal::Result<T>>>(
    mut call: impl FnMut() -> F,
) -> opendal::Result<T> {
    let mut tries = Tries::default();
    loop {
        match call().await {
            Err(error) if tries.again(&error).await => {}
            result => return result,
        }
    }
}

/// How often something failed in a row.
#[derive(Default)]
pub(super) struct Tries(usize);

impl Tries {
    /// Wait, where another try may help; false where it cannot, or there were enough.
    pub(super) async fn again(&mut self, error: &opendal::Error) -> bool {
        if !error.is_temporary() {
            return false;
        }
        // A store that says nothing costs a minute each time: once more, in case it was the connection.
        let silent = error
            .source()
            .and_then(|source| source.downcast_ref::<Broken>())
            .is_some_and(|broken| matches!(broken, Broken::TimedOut(_)));
        let Some(pause) = PAUSES.get(self.0).filter(|_| !silent || self.0 == 0) else { return false };
        self.0 += 1;
        tokio::time::sleep(*pause).await;
        true
    }

    /// It went on.
    pub(super) fn reset(&mut self) {
        self.0 = 0;
    }
}
