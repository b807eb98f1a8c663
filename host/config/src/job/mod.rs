//! Jobs: a plugin with its parameters, its slots bound and granted, and its policy.

mod plugin;
mod policy;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use plugin::{JobError, PluginRef};
pub use policy::{After, AfterEnd, FailOn, Record, Retries, RetryOn, Undo};

use crate::access::Access;
use crate::section::record;
use crate::{BindingName, Duration, Labels, LimitOverrides, Limits, Schedule, SlotName};

record! {
    /// A plugin with its parameters, its slots bound and granted, and its policy.
    pub struct Job {
        /// The plugin: its name, NAME@VERSION, or the path of a component.
        pub plugin: PluginRef;
        /// What it is for, in a line.
        pub description: Option<String> = None;
        /// Whether it runs by itself; without, it runs only when somebody starts it.
        pub enabled: bool = true;
        /// What the plugin is given; its own schema says what it takes.
        pub parameters: Map<String, Value> = Map::new();
        /// What stands in the plugin's slots, and what it may do there.
        pub slots: BTreeMap<SlotName, SlotBinding> = BTreeMap::new();
        /// When it runs by itself.
        pub schedule: Option<Schedule> = None;
        /// Runs of other jobs after which it runs by itself.
        pub after: Vec<After> = Vec::new();
        /// The longest that a run may take, all its attempts together; the same as limits.wall.
        pub timeout: Option<Duration> = None, within(Duration::from_millis(100), Duration::from_secs(30 * 86_400));
        /// The longest that one attempt may take; without it, as long as the run.
        pub attempt_timeout: Option<Duration> = None, within(Duration::from_millis(100), Duration::from_secs(30 * 86_400));
        /// What is tried again.
        pub retries: Retries = Retries::default();
        /// How what a run had begun is undone if it does not finish.
        pub undo: Undo = Undo::default();
        /// What its runs carry, to find them by.
        pub labels: Labels = Labels::new();
        /// Labels that a host must have to carry out its runs.
        pub hosts: Labels = Labels::new();
        /// Which runs are taken first: the higher.
        pub priority: i32 = 0, within(-100, 100);
        /// The most runs of it at once, on all hosts together.
        pub concurrency: u32 = 1, within(1, 1_000);
        /// Whether its runs have their targets to themselves. Without it: those targets on which an access is granted that maintains, changes structure or promotes (maintain, index, ddl, promote).
        pub exclusive: Option<bool> = None;
        /// Whether a run of it waits until somebody approves it.
        pub approval: bool = false;
        /// How bad a report must be for its run to count as failed: jobs after it, pauses after failures and whoever looks see that. What the run did stays.
        pub fail_on: FailOn = FailOn::Never;
        /// Which of its runs are recorded: every call of the plugin with its answer, so that `rota runs replay` can run it again without reaching anything.
        pub record: Record = Record::Never;
        /// Limits of this job, over those for all.
        pub limits: LimitOverrides = LimitOverrides::default();
        /// The word that a plugin which can lose data asks for, given in advance by whoever writes this; without it, a person is asked.
        pub confirm: Option<String> = None;
    }
}

record! {
    /// What stands in a slot, and what the plugin may do there.
    pub struct SlotBinding {
        /// The name of a binding.
        pub binding: BindingName;
        /// What is granted; nothing is without it.
        pub access: Vec<Access> = Vec::new();
    }
}

impl Job {
    /// Whether something starts it by itself.
    pub fn runs_by_itself(&self) -> bool {
        self.enabled && (self.schedule.is_some() || !self.after.is_empty())
    }

    /// The longest that a run may take, all its attempts together.
    pub fn run_timeout(&self, limits: &Limits) -> Duration {
        self.timeout.unwrap_or_else(|| limits.with(&self.limits).wall)
    }

    /// The longest that one attempt may take: never longer than the run.
    pub fn longest_attempt(&self, limits: &Limits) -> Duration {
        let run = self.run_timeout(limits);
        self.attempt_timeout.map_or(run, |attempt| attempt.min(run))
    }

    /// The slots whose targets its runs have to themselves: no other run that has the same target to itself runs meanwhile.
    ///
    /// | `exclusive` | |
    /// | --- | --- |
    /// | not set | the slots with an access that maintains, changes structure or promotes ([`Access::is_exclusive`]) |
    /// | `true` | every slot with a target: programs and keys have none |
    /// | `false` | none |
    pub fn exclusive_slots(&self) -> impl Iterator<Item = (&SlotName, &SlotBinding)> {
        self.slots.iter().filter(|(_, put)| match self.exclusive {
            Some(exclusive) => exclusive && put.access.iter().any(|access| access.has_target()),
            None => put.access.iter().any(|access| access.is_exclusive()),
        })
    }
}
