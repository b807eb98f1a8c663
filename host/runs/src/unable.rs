//! What this host cannot begin, and leaves to hosts that can.
//!
//! During a rolling upgrade, a host may be asked for a plugin that imports what it does not know yet; with configurations that differ, for a
//! binding that it does not have. That is no fault of the run: it goes back to the queue, and this host does not claim the job's runs for a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For so long a job's runs are not claimed; then it is tried anew, because what was missing may have come.
const A_WHILE: Duration = Duration::from_secs(60);

/// The jobs whose runs this host could not begin.
#[derive(Debug, Default)]
pub(crate) struct Unable {
    jobs: Mutex<HashMap<String, Instant>>,
}

impl Unable {
    /// It could not begin a run of this job (empty: of no job). Whether that is news: false where it is still being left to others, or was
    /// a short while ago, so that what nobody can do is not handed round for ever.
    pub(crate) fn note(&self, job: &str) -> bool {
        let now = Instant::now();
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.retain(|_, since| now.duration_since(*since) < 2 * A_WHILE);
        jobs.insert(job.to_owned(), now).is_none()
    }

    /// The jobs to leave alone.
    pub(crate) fn jobs(&self) -> Vec<String> {
        let now = Instant::now();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left: Vec<String> = jobs
            .iter()
            .filter(|(_, since)| now.duration_since(**since) < A_WHILE)
            .map(|(job, _)| job.clone())
            .collect();
        left.sort();
        left
    }

    /// With another configuration, everything is tried anew.
    pub(crate) fn forget(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_left_alone_once_it_could_not_be_begun_and_that_is_news_once() {
        let unable = Unable::default();
        assert_eq!(unable.jobs(), Vec::<String>::new());
        assert!(unable.note("a"));
        assert!(!unable.note("a"));
        assert!(unable.note("b"));
        assert_eq!(unable.jobs(), ["a", "b"]);
        unable.forget();
        assert_eq!(unable.jobs(), Vec::<String>::new());
        assert!(unable.note("a"));
    }
}
