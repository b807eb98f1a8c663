//! What a run may use. Exceeding a limit ends the run with an error that names the limit.

use crate::section::{record, section};
use crate::{ByteSize, Duration};

/// Defines [`Limits`] and, key by key, [`LimitOverrides`].
macro_rules! limits {
    ($($(#[doc = $doc:literal])* $key:ident : $type:ty = $default:expr, within($least:expr, $most:expr);)*) => {
        section! {
            /// What a run may use. A job can set each of these for itself.
            pub struct Limits {
                $($(#[doc = $doc])* pub $key: $type = $default, within($least, $most);)*
            }
        }

        record! {
            /// The limits of one job, over those for all.
            pub struct LimitOverrides {
                $($(#[doc = $doc])* pub $key: Option<$type> = None, within($least, $most);)*
            }
        }

        impl Limits {
            /// These limits with a job's own over them.
            #[must_use]
            pub fn with(&self, overrides: &LimitOverrides) -> Self {
                Self { $($key: overrides.$key.unwrap_or(self.$key)),* }
            }

            /// Whether each limit is one that a run can have.
            ///
            /// # Errors
            /// The first that is not: its key, the least and the most.
            pub fn check(&self) -> Result<(), (&'static str, String, String)> {
                $(if !($least..=$most).contains(&self.$key) {
                    return Err((stringify!($key), $least.to_string(), $most.to_string()));
                })*
                Ok(())
            }

            /// These limits, none of them beyond what is set there.
            #[must_use]
            pub fn within(&self, most: &LimitOverrides) -> Self {
                Self { $($key: most.$key.map_or(self.$key, |most| self.$key.min(most))),* }
            }

            /// Each limit with its key and its value as it is written, for an error or a table.
            pub fn entries(&self) -> Vec<(&'static str, String)> {
                vec![$((stringify!($key), self.$key.to_string())),*]
            }
        }

        impl LimitOverrides {
            /// Those that are more than is set there: key, value and the most, as they are written.
            pub fn beyond(&self, most: &Self) -> Vec<(&'static str, String, String)> {
                let mut beyond = Vec::new();
                $(if let (Some(asked), Some(most)) = (self.$key, most.$key)
                    && asked > most
                {
                    beyond.push((stringify!($key), asked.to_string(), most.to_string()));
                })*
                beyond
            }

            /// Each limit that is set, with its key and its value as it is written.
            pub fn entries(&self) -> Vec<(&'static str, String)> {
                let mut set = Vec::new();
                $(if let Some(value) = self.$key {
                    set.push((stringify!($key), value.to_string()));
                })*
                set
            }
        }

        impl Default for LimitOverrides {
            fn default() -> Self {
                Self { $($key: None),* }
            }
        }
    };
}

limits! {
    /// The most linear memory.
    memory: ByteSize = ByteSize::mib(256), within(ByteSize::mib(1), ByteSize::gib(4));
    /// The most elements of all tables of a component together.
    table_elements: u32 = 100_000, within(1_000, 10_000_000);
    /// The most CPU time of the plugin itself; time in host calls does not count.
    cpu: Duration = Duration::from_secs(60), within(Duration::from_millis(10), Duration::from_secs(86_400));
    /// The longest that a run may take; a job's timeout sets the same.
    wall: Duration = Duration::from_secs(3_600), within(Duration::from_millis(100), Duration::from_secs(30 * 86_400));
    /// How long a procedure may go on once its run is cancelled; its calls are ended at once.
    grace: Duration = Duration::from_secs(5), within(Duration::from_secs(0), Duration::from_secs(600));
    /// The most host calls at a time.
    host_calls_in_flight: u32 = 64, within(1, 10_000);
    /// The most sessions, streams, processes and other handles at a time.
    handles: u32 = 256, within(8, 1_000_000);
    /// The most bytes that one host call may carry.
    host_call_bytes: ByteSize = ByteSize::mib(16), within(ByteSize::kib(64), ByteSize::gib(1));
    /// The most lines of log in a second; more are counted and left out.
    log_lines_per_second: u32 = 200, within(1, 100_000);
    /// The most bytes of log.
    log_bytes: ByteSize = ByteSize::mib(16), within(ByteSize::kib(4), ByteSize::gib(4));
    /// The largest report.
    report_bytes: ByteSize = ByteSize::mib(4), within(ByteSize::kib(64), ByteSize::gib(1));
    /// The most effects, planned ones included.
    effects: u32 = 100_000, within(0, 100_000_000);
    /// The most bytes of all artifacts of a run together.
    artifact_bytes: ByteSize = ByteSize::mib(256), within(ByteSize::bytes(0), ByteSize::gib(1024));
    /// The most steps that one attempt begins.
    steps: u32 = 10_000, within(0, 1_000_000);
    /// The largest result of a step.
    step_result_bytes: ByteSize = ByteSize::mib(1), within(ByteSize::bytes(64), ByteSize::mib(64));
    /// The most compensations that one attempt registers.
    compensations: u32 = 1_000, within(0, 100_000);
    /// The largest state of a compensation.
    compensation_state_bytes: ByteSize = ByteSize::mib(1), within(ByteSize::bytes(64), ByteSize::mib(64));
    /// The most bytes of step results and compensation states that one attempt records.
    durable_bytes: ByteSize = ByteSize::mib(64), within(ByteSize::kib(4), ByteSize::gib(4));
    /// The most bytes of the recording of one attempt, compressed; one that would be larger ends there, and the run goes on.
    record_bytes: ByteSize = ByteSize::mib(64), within(ByteSize::kib(64), ByteSize::gib(16));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_limits_go_over_those_for_all() {
        let overrides = LimitOverrides { memory: Some(ByteSize::gib(1)), handles: Some(16), ..Default::default() };
        let limits = Limits::default().with(&overrides);
        assert_eq!((limits.memory, limits.handles, limits.cpu), (ByteSize::gib(1), 16, Duration::from_secs(60)));
        assert!(limits.entries().contains(&("memory", "1GiB".to_owned())));
    }
}
