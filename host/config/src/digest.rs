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
use crate::{Job, SqlBinding};

/// What is each host's own: hosts may differ in it.
const OWN: [&str; 6] = ["server", "state_dir", "store.path", "store.url", "sandbox", "telemetry"];

impl Config {
    /// A digest (`sha256:` and 64 hexadecimal digits) of what all hosts with one store must agree on: limits, bindings, jobs, and how
    /// long records are kept. What is a host's own (its `[server]`, `[sandbox]`, `[telemetry]`, folders and way to the store) is not in it,
    /// nor are the values of secrets. Keys with their default value do not count, so that it stays the same when a
    /// later version adds keys.
    pub fn digest(&self) -> String {
        self.digest_of(|key| !OWN.iter().any(|own| is_within(key, own)))
    }

    /// A digest of one job's configuration, the bindings that it uses included; none if there is no such job.
    pub fn job_digest(&self, job: &str) -> Option<String> {
        let uses: Vec<String> =
            self.jobs.get(job)?.slots.values().map(|put| format!("bindings.{}", put.binding)).collect();
        let at = format!("jobs.{job}");
        Some(self.digest_of(|key| {
            is_within(key, &at) || is_within(key, "limits") || uses.iter().any(|own| is_within(key, own))
        }))
    }

    fn digest_of(&self, counts: impl Fn(&str) -> bool) -> String {
        let mut hash = Sha256::new();
        hash.update("rota configuration 1\n");
        for (key, value) in said(self).into_iter().filter(|(key, _)| counts(key)) {
            hash.update(format!("{key} = {value}\n"));
        }
        format!("sha256:{}", hex::encode(hash.finalize()))
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
    let mut forget = |at: &str, defaults: Value| {
        let mut flat = BTreeMap::new();
        flatten(at, defaults, &mut flat);
        for (key, value) in flat {
            if keys.get(&key) == Some(&value) {
                keys.remove(&key);
            }
        }
    };
    forget("", serde_json::to_value(Settings::default()).unwrap_or_default());
    let job = of_one_key::<Job>("plugin", "-").and_then(|job| serde_json::to_value(job).ok()).unwrap_or_default();
    let sql = of_one_key::<SqlBinding>("url", "-").and_then(|sql| serde_json::to_value(sql).ok()).unwrap_or_default();
    for name in settings.jobs.keys() {
        forget(&format!("jobs.{name}"), job.clone());
    }
    for name in settings.bindings.keys() {
        forget(&format!("bindings.{name}"), sql.clone());
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
