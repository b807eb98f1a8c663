//! What is tried again, what is undone, and what follows another job.

use rota_protocol::{RetryPolicy, UndoPolicy};

use crate::section::{record, section, words};
use crate::{Duration, JobName};

record! {
    /// A job after whose runs another one runs.
    pub struct After {
        /// The job that comes before.
        pub job: JobName;
        /// Which end of its runs counts.
        pub on: AfterEnd = AfterEnd::Success;
    }
}

words! {
    /// Which end of a run another job follows.
    pub enum AfterEnd ("an end that a job can follow") {
        /// It succeeded.
        Success = "success",
        /// It ended otherwise, but was not skipped or cancelled.
        Failure = "failure",
        /// It ended.
        Any = "any",
    }
}

words! {
    /// How bad a report must be for its run to count as failed.
    pub enum FailOn ("how bad a report must be") {
        /// However bad it is, the run succeeded: it did what it was to do.
        Never = "never",
        /// warning, unknown or critical.
        Warning = "warning",
        /// unknown or critical.
        Unknown = "unknown",
        /// critical.
        Critical = "critical",
    }
}

words! {
    /// Which runs are recorded, so that they can be replayed.
    pub enum Record ("a word for which runs are recorded") {
        /// None.
        Never = "never",
        /// Those that do not succeed: each is recorded, and the recording of one that succeeds is deleted.
        OnFailure = "on-failure",
        /// All.
        Always = "always",
    }
}

section! {
    /// What is tried again: faults that may pass, of procedures that may be repeated.
    pub struct Retries {
        /// How often; 0 is never.
        pub limit: u32 = 0, within(0, 100);
        /// How long until the first of them; each further one waits twice as long.
        pub backoff: Duration = Duration::from_secs(60), within(Duration::from_millis(100), Duration::from_secs(86_400));
        /// The longest wait; one that is not set is never shorter than backoff.
        pub cap: Duration = Duration::from_secs(3_600), within(Duration::from_millis(100), Duration::from_secs(7 * 86_400));
        /// The share of each wait that is random.
        pub jitter: f64 = 0.2, within(0.0, 1.0);
        /// Which faults.
        pub on: RetryOn = RetryOn::Retryable;
    }
}

words! {
    /// Which faults are tried again.
    pub enum RetryOn ("what can be tried again") {
        /// Those that may pass by themselves: a connection that was cut, a lock that was not had in time.
        Retryable = "retryable",
        /// Every fault, and attempts that took too long.
        Any = "any",
    }
}

section! {
    /// How what a run had begun is undone if it does not finish.
    pub struct Undo {
        /// How often each undo is tried.
        pub attempts: u32 = 5, within(1, 100);
        /// How long until it is tried again; each further time waits twice as long.
        pub backoff: Duration = Duration::from_secs(5), within(Duration::from_millis(100), Duration::from_secs(3_600));
        /// The longest that one attempt may take.
        pub timeout: Duration = Duration::from_secs(600), within(Duration::from_secs(1), Duration::from_secs(86_400));
    }
}

impl Retries {
    /// The same as the rules of runs take it.
    pub fn policy(&self) -> RetryPolicy {
        let span = |duration: Duration| std::time::Duration::from(duration).into();
        RetryPolicy {
            limit: self.limit,
            backoff: span(self.backoff),
            cap: span(self.cap.max(self.backoff)),
            jitter: self.jitter,
            any_fault: self.on == RetryOn::Any,
        }
    }
}

impl Undo {
    /// The same as the rules of runs take it.
    pub fn policy(&self) -> UndoPolicy {
        let span = |duration: Duration| std::time::Duration::from(duration).into();
        UndoPolicy { attempts: self.attempts, backoff: span(self.backoff), timeout: span(self.timeout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_rules() {
        assert_eq!(Retries::default().policy(), RetryPolicy::default());
        assert_eq!(Undo::default().policy(), UndoPolicy::default());
    }

    #[test]
    fn a_wait_is_never_shorter_than_the_first() {
        let retries = Retries { backoff: Duration::from_secs(7_200), on: RetryOn::Any, ..Retries::default() };
        let policy = retries.policy();
        assert_eq!((policy.cap, policy.backoff, policy.any_fault), (policy.backoff, policy.cap, true));
    }
}
