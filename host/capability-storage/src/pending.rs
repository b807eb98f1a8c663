//! What goes on after the run that began it: puts that have yet to learn of their end, uploads that are being aborted, files that
//! are being removed.

use std::sync::LazyLock;
use std::time::Duration;
use tokio_util::task::TaskTracker;

static PENDING: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

pub(crate) fn tasks() -> &'static TaskTracker {
    &PENDING
}

/// Wait until no put is under way and nothing of a dropped one is left to be undone, at most so long; false when time was over. A
/// process that has cancelled its runs calls this before it ends, so that it leaves no unfinished upload behind.
pub async fn settled(at_most: Duration) -> bool {
    PENDING.close();
    let settled = tokio::time::timeout(at_most, PENDING.wait()).await.is_ok();
    PENDING.reopen();
    settled
}
