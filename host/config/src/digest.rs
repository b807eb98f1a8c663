//! The effective configuration as keys and values, without secrets, and a digest of what hosts must agree on.

use std::collections::BTreeMap;

use rota_telemetry::MASK;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::decode::of_one_key;
use crate::redact::{is_sensitive, redact};
use crate::secret_ref::SecretRef;
use crate::settings::Settings;
use crate::tree::join;
use crate::{Job, JobName, SqlBinding};

/// What is each host's own: hosts may differ in it.
const OWN: [&str; 6] = ["server", "state_dir", "store.path", "store.url", "sandbox", "telemetry"];

impl Config {
    /// A digest (`sha256:` and 64 hexadecimal digits) of what all hosts with one store must agree on: limits, bindings, jobs, and how
    /// long records are kept. What is a host's own (its `[server]`, `[sandbox]`, `[telemetry]`, folders and way to the store) is not in it,
    /// nor are the values of secrets. Keys with their default value do not count, so that it stays the same when a
    /// later version adds keys.
    pub fn digest(&self) -> String {
        self.digest_of(self.jobs.iter(), |key| !OWN.iter().any(|own| is_within(key, own)))
    }

    /// A digest of one job's configuration, the bindings that it uses included; none if there is no such job.
    pub fn job_digest(&self, job: &str) -> Option<String> {
        let (name, job) = self.jobs.iter().find(|(name, _)| name.as_str() == job)?;
        let uses: Vec<String> = job.slots.values().map(|put| format!("bindings.{}", put.binding)).collect();
        Some(self.digest_of(std::iter::once((name, job)), |key| {
            is_within(key, "limits") || uses.iter().any(|own| is_within(key, own))
        }))
    }

    /// The digest of these jobs and of those other keys that count. Jobs are hashed one by one, in the order that their keys
    /// would have among all keys: there may be so many that all their keys at once would be most of what a start takes.
    fn digest_of<'a>(
        &self,
        jobs: impl Iterator<Item = (&'a JobName, &'a Job)>,
        counts: impl Fn(&str) -> bool,
    ) -> String {
        let mut hash = Sha256::new();
        hash.update("rota configuration 1\n");
        let mut others = said(&without_jobs(self));
        others.retain(|key, _| counts(key));
        let after = others.split_off(JOBS);
        for (key, value) in others {
            hash.update(format!("{key} = {value}\n"));
        }
        hash_jobs(&mut hash, jobs);
        for (key, value) in after {
            hash.update(format!("{key} = {value}\n"));
        }
        format!("sha256:{}", hex::encode(hash.finalize()))
    }
}

/// What the keys of jobs begin with.
const JOBS: &str = "jobs.";

fn without_jobs(settings: &Settings) -> Settings {
    Settings {
        server: settings.server.clone(),
        store: settings.store.clone(),
        state_dir: settings.state_dir.clone(),
        limits: settings.limits.clone(),
        sandbox: settings.sandbox.clone(),
        telemetry: settings.telemetry.clone(),
        trust: settings.trust.clone(),
        bindings: settings.bindings.clone(),
        jobs: BTreeMap::new(),
        teams: settings.teams.clone(),
    }
}

fn hash_jobs<'a>(hash: &mut Sha256, jobs: impl Iterator<Item = (&'a JobName, &'a Job)>) {
    // No table's key with its dot begins another's, so that this order of tables is the order of all their keys.
    let mut tables: Vec<(String, &Job)> =
        jobs.map(|(name, job)| (format!("{JOBS}{}.", written(name.as_str().to_owned())), job)).collect();
    tables.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let default = default_job();
    for (table, job) in tables {
        let mut keys = BTreeMap::new();
        match serde_json::to_value(job).unwrap_or_default() {
            Value::Object(values) => {
                for (key, value) in values {
                    // Equal tables have equal keys: those of a default need not be made to be forgotten.
                    if default.get(&key) != Some(&value) {
                        flatten(&written(key), value, &mut keys);
                    }
                }
            }
            other => flatten("", other, &mut keys),
        }
        forget(&mut keys, "", default.clone());
        for (key, value) in keys {
            for part in [&table, &key, " = ", &value, "\n"] {
                hash.update(part);
            }
        }
    }
}

fn default_job() -> Value {
    of_one_key::<Job>("plugin", "-").and_then(|job| serde_json::to_value(job).ok()).unwrap_or_default()
}

/// Removes the keys of a table that say what these do.
fn forget(keys: &mut BTreeMap<String, String>, at: &str, defaults: Value) {
    let mut flat = BTreeMap::new();
    flatten(at, defaults, &mut flat);
    for (key, value) in flat {
        if keys.get(&key) == Some(&value) {
            keys.remove(&key);
        }
    }
}

/// Whether a key is another, or one of its table.
pub(crate) fn is_within(key: &str, table: &str) -> bool {
    key.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Every key that has a value, with the value as JSON, secrets blotted out. Lists are values.
pub(crate) fn keys(settings: &Settings) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    flatten("", serde_json::to_value(settings).unwrap_or_default(), &mut keys);
    keys
}

/// Those of the keys that do not say the default.
fn said(settings: &Settings) -> BTreeMap<String, String> {
    let mut keys = keys(settings);
    forget(&mut keys, "", serde_json::to_value(Settings::default()).unwrap_or_default());
    let job = default_job();
    let sql = of_one_key::<SqlBinding>("url", "-").and_then(|sql| serde_json::to_value(sql).ok()).unwrap_or_default();
    for name in settings.jobs.keys() {
        forget(&mut keys, &format!("jobs.{name}"), job.clone());
    }
    for name in settings.bindings.keys() {
        forget(&mut keys, &format!("bindings.{name}"), sql.clone());
    }
    keys
}

fn flatten(at: &str, value: Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Null => {}
        Value::Object(table) if !table.is_empty() || at.is_empty() => {
            for (key, value) in table {
                flatten(&join(at, &written(key)), value, into);
            }
        }
        Value::Object(_) => {}
        other => {
            let key = at.rsplit('.').next().unwrap_or(at);
            into.insert(at.to_owned(), shown(key, other).to_string());
        }
    }
}

/// A key as TOML writes it: in quotes unless it is plain.
fn written(key: String) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(plain) { key } else { Value::String(key).to_string() }
}

/// A value without secrets: a parameter may hold what looks like one.
fn shown(key: &str, value: Value) -> Value {
    match value {
        Value::String(text) if is_sensitive(key) && !SecretRef::is_reference(&text) => MASK.into(),
        Value::String(text) => redact(&text).into(),
        Value::Array(values) => values.into_iter().map(|value| shown(key, value)).collect(),
        Value::Object(table) => {
            let mut entries: Vec<_> = table.into_iter().collect();
            // In one order, however they were written.
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            entries.into_iter().map(|(key, value)| (key.clone(), shown(&key, value))).collect()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Source;

    /// The digest as it was first made, of all keys at once: hosts of the version before compare with it.
    fn at_once(config: &Config, counts: impl Fn(&str) -> bool) -> String {
        let mut hash = Sha256::new();
        hash.update("rota configuration 1\n");
        for (key, value) in said(config).into_iter().filter(|(key, _)| counts(key)) {
            hash.update(format!("{key} = {value}\n"));
        }
        format!("sha256:{}", hex::encode(hash.finalize()))
    }

    /// Keys of a job: defaults that are written out, defaults within tables that say more, secrets, and keys that need quotes.
    const LINES: [&str; 14] = [
        "enabled = true",
        "enabled = false",
        "priority = 3",
        "description = \"see postgres://u:hunter2@h/d\"",
        "parameters = { a = 1, \"b.c\" = \"d\", \"\" = [1, { z = 1, a = 2 }], password = \"hunter2\", empty = {} }",
        "slots.database = { binding = \"kosmos\", access = [\"read\"] }",
        "slots.database-2 = { binding = \"mir\" }",
        "schedule.cron = \"0 2 * * *\"",
        "schedule = { every = \"1h\", misfire = \"all\" }",
        "timeout = \"5m\"",
        "retries = { limit = 0 }",
        "retries = { limit = 2 }",
        "labels = { team = \"a\" }",
        "limits.memory = \"64MiB\"",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn job_by_job_is_the_digest_of_all_keys_at_once(
            jobs in prop::collection::btree_map("[ab]([a-b0-1-]{0,3}[a0])?", prop::sample::subsequence(&LINES[..], 0..6), 0..8),
            head in prop::sample::subsequence(
                &["[limits]\nmemory = \"32MiB\"\n", "[server]\nworkers = 3\n", "[store.keep]\nruns_per_job = 7\n", "[telemetry]\nlog = \"info\"\n"][..], 0..=4),
        ) {
            let mut text = head.concat();
            text += "[bindings.kosmos]\nkind = \"sql\"\nurl = \"postgres://rota@kosmos/a\"\n[bindings.mir]\nkind = \"sql\"\nurl = \"postgres://rota@mir/a\"\naccess = [\"read\"]\n";
            for (name, lines) in &jobs {
                text += &format!("[jobs.{name}]\nplugin = \"p\"\n");
                let mut seen = std::collections::BTreeSet::new();
                for line in lines {
                    // One line a key: the others would be set twice.
                    if seen.insert(line.split([' ', '.']).next().unwrap_or_default().to_owned()) {
                        text += &format!("{line}\n");
                    }
                }
            }
            let config = Config::load(&Source::empty().with_text("rota.toml", text.clone()))
                .map_err(|error| TestCaseError::fail(format!("{:?} of {text}", error.problems())))?;
            prop_assert_eq!(config.digest(), at_once(&config, |key| !OWN.iter().any(|own| is_within(key, own))));
            for (name, job) in &config.jobs {
                let at = format!("jobs.{name}");
                let uses: Vec<String> = job.slots.values().map(|put| format!("bindings.{}", put.binding)).collect();
                let once = at_once(&config, |key| {
                    is_within(key, &at) || is_within(key, "limits") || uses.iter().any(|own| is_within(key, own))
                });
                prop_assert_eq!(config.job_digest(name.as_str()), Some(once));
            }
        }
    }
}
