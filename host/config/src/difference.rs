//! What changes from one configuration to another, key by key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::JobName;
use crate::config::Config;
use crate::digest::{is_within, keys};

/// Keys that take effect only when the host starts.
const AT_START: [&str; 10] = [
    "state_dir",
    "store.path",
    "store.url",
    "sandbox",
    "telemetry",
    "server.name",
    "server.listen",
    "server.lease",
    "server.scheduler",
    "server.worker",
];

/// One key that changes. It prints as `jobs.nightly-backup.schedule.cron: "0 2 * * *" -> "0 3 * * *"`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The key.
    pub key: String,
    /// What it said, as JSON; none if nothing.
    pub before: Option<String>,
    /// What it says now, as JSON; none if nothing.
    pub after: Option<String>,
}

impl Change {
    /// Whether it takes effect only when the host starts again.
    pub fn needs_restart(&self) -> bool {
        AT_START.iter().any(|table| is_within(&self.key, table))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said =
            |value: &Option<String>| value.as_deref().map_or_else(|| "not set".to_owned(), rota_telemetry::clean_line);
        write!(f, "{}: {} -> {}", rota_telemetry::clean_line(&self.key), said(&self.before), said(&self.after))
    }
}

/// What changes from one configuration to another. It prints one line for each change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// The changes, in the order of their keys.
    pub changes: Vec<Change>,
    /// Jobs that are new.
    pub added_jobs: Vec<JobName>,
    /// Jobs that are gone.
    pub removed_jobs: Vec<JobName>,
    /// Jobs that are otherwise than before, through what they say themselves.
    pub changed_jobs: Vec<JobName>,
}

impl Difference {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Those changes that take effect only when the host starts again.
    pub fn needs_restart(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.needs_restart())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))
    }
}

impl Config {
    /// What changes from this configuration to another. Of a secret it says where it is, never what it is.
    pub fn difference(&self, after: &Self) -> Difference {
        let (old, new) = (keys(self), keys(after));
        let mut changes = Vec::new();
        for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let (was, is) = (old.get(key), new.get(key));
            // Of a table that comes or goes, only what was written is of interest.
            let silent = (was.is_none() && !after.wrote(key)) || (is.is_none() && !self.wrote(key));
            if was != is && !silent {
                changes.push(Change { key: key.clone(), before: was.cloned(), after: is.cloned() });
            }
        }
        changes.extend(self.other_secrets(after, &changes));
        changes.sort();
        let names = |jobs: &BTreeMap<JobName, crate::Job>, others: &BTreeMap<JobName, crate::Job>| {
            jobs.keys().filter(|name| !others.contains_key(*name)).cloned().collect()
        };
        let changed = self.jobs.iter().filter(|(name, job)| after.jobs.get(*name).is_some_and(|other| other != *job));
        Difference {
            added_jobs: names(&after.jobs, &self.jobs),
            removed_jobs: names(&self.jobs, &after.jobs),
            changed_jobs: changed.map(|(name, _)| name.clone()).collect(),
            changes,
        }
    }

    /// Whether a key was written rather than left to its default. A parameter of a plugin has none.
    fn wrote(&self, key: &str) -> bool {
        let mut table = key;
        while self.place(table).is_none() {
            let Some((around, _)) = table.rsplit_once('.') else { return false };
            table = around;
        }
        // A variable can hold a whole table as text, within which nothing has a place of its own.
        table == key || key.contains(".parameters.") || !self.has_places_within(table)
    }

    /// Bindings that differ in nothing but secrets given by variables, which are not shown.
    fn other_secrets(&self, after: &Self, changes: &[Change]) -> Vec<Change> {
        const ONE: &str = "a secret";
        let other =
            |key: String| Change { key, before: Some(ONE.to_owned()), after: Some("another secret".to_owned()) };
        let mut found = Vec::new();
        for (name, binding) in &self.bindings {
            let at = format!("bindings.{name}");
            let differs = after.bindings.get(name).is_some_and(|now| now != binding);
            if differs && !changes.iter().any(|change| is_within(&change.key, &at)) {
                found.push(other(at));
            }
        }
        if self.store.url != after.store.url && !changes.iter().any(|change| change.key == "store.url") {
            found.push(other("store.url".to_owned()));
        }
        found
    }
}
