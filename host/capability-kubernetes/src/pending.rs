//! What goes on after the run that began it: jobs that are being removed, locks that are being given back.

use std::sync::LazyLock;
use std::time::Duration;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

static PENDING: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

pub(crate) fn token() -> TaskTrackerToken {
    PENDING.token()
}

/// Wait until nothing that a run left in a cluster is still being removed, at most so long; false when time was over.
pub async fn settled(at_most: Duration) -> bool {
    PENDING.close();
    let settled = tokio::time::timeout(at_most, PENDING.wait()).await.is_ok();
    PENDING.reopen();
    settled
}
