//! `ROTA_SECTION__KEY` variables over what the files say.
//!
//! | variable | key |
//! | --- | --- |
//! | `ROTA_LIMITS__MEMORY=64MiB` | `limits.memory` |
//! | `ROTA_BINDINGS__KOSMOS__URL=...` | `bindings.kosmos.url` |
//! | `ROTA_JOBS__NIGHTLY_BACKUP__TIMEOUT=2h` | `jobs.nightly-backup.timeout`, if a file names that job |
//! | `ROTA_JOBS__VACUUM__SLOTS__DATABASE__ACCESS=read,maintain` | a list, with commas or as TOML |
//! | `ROTA_JOBS__VACUUM__SCHEDULE={ every = "15m" }` | a table, as TOML |
//! | `ROTA_STATE_DIR`, `ROTA_LOG`, `ROTA_LISTEN` | `state_dir`, `telemetry.log`, `server.listen` |
//!
//! Variables without `__` are others' business, but for those three.

use std::ffi::OsStr;

use crate::nearest::nearest;
use crate::problem::Problem;
use crate::source::{Source, Sources};
use crate::tree::{Entry, Node, Origin, Table, Value, join};

const PREFIX: &str = "ROTA_";

/// Variables whose names do not say their keys.
const SHORT: [(&str, &[&str]); 3] =
    [("ROTA_STATE_DIR", &["state_dir"]), ("ROTA_LOG", &["telemetry", "log"]), ("ROTA_LISTEN", &["server", "listen"])];

/// Sets the keys that variables name.
pub(crate) fn apply(source: &Source, sources: &mut Sources, table: &mut Table, problems: &mut Vec<Problem>) {
    let mut variables: Vec<_> = source.variables().iter().collect();
    // The order of the environment is nobody's intention.
    variables.sort();
    for (name, value) in variables {
        let Some(name) = name.to_str() else { continue };
        let Some(path) = key_path(name) else {
            problems.extend(mistyped(name));
            continue;
        };
        // An empty variable is how shells and unit files say "not set".
        if value.is_empty() {
            continue;
        }
        set(name, value, &path, source, sources, table, problems);
    }
}

fn key_path(name: &str) -> Option<Vec<String>> {
    if let Some((_, path)) = SHORT.iter().find(|(short, _)| *short == name) {
        return Some(path.iter().map(|key| (*key).to_owned()).collect());
    }
    let keys = name.strip_prefix(PREFIX).filter(|keys| keys.contains("__"))?;
    Some(keys.split("__").map(str::to_lowercase).collect())
}

/// A warning about `ROTA_LIMITS_MEMORY`, which one underscore makes nobody's key.
fn mistyped(name: &str) -> Option<Problem> {
    let keys = name.strip_prefix(PREFIX)?;
    let (section, key) = keys.split_once('_')?;
    let section = nearest(section, ["limits", "sandbox", "server", "store", "telemetry"])?;
    let known = crate::schema::keys_of(section);
    let key = known.iter().find(|known| known.eq_ignore_ascii_case(key))?;
    let meant = format!("{PREFIX}{}__{}", section.to_uppercase(), key.to_uppercase());
    let message = format!("the environment variable {name} is not read");
    Some(Problem::warning(None, message).help(format!("did you mean {meant}?")))
}

fn set(
    name: &str,
    value: &OsStr,
    path: &[String],
    source: &Source,
    sources: &mut Sources,
    table: &mut Table,
    problems: &mut Vec<Problem>,
) {
    let text = value.to_string_lossy();
    let id = sources.add(name, &format!("{name}={text}"), source.folder().to_owned(), false);
    let key = Origin { source: id, span: 0..name.len() };
    let origin = Origin { source: id, span: name.len() + 1..name.len() + 1 + text.len() };
    let mut refuse = |message: String| problems.push(Problem::error(sources.place(&key), message));
    if value.to_str().is_none() {
        return refuse(format!("the environment variable {name} is not UTF-8 text"));
    }
    if path.iter().any(String::is_empty) {
        return refuse(format!("the environment variable {name} names no key between two \"__\""));
    }
    let Some((last, tables)) = path.split_last() else { return };
    let mut at = String::new();
    let mut into = table;
    for segment in tables {
        let segment = match existing(into, segment) {
            Ok(found) => found,
            Err(message) => return refuse(format!("the environment variable {name} {message}")),
        };
        at = join(&at, &segment);
        let entry = into.or_insert_with(segment, || Entry {
            key: key.clone(),
            node: Node { value: Value::Table(Table::default()), origin: origin.clone() },
        });
        match &mut entry.node.value {
            Value::Table(table) => into = table,
            other => {
                return refuse(format!(
                    "the environment variable {name} sets a key of {at}, which is {}",
                    other.kind()
                ));
            }
        }
    }
    match existing(into, last) {
        Ok(last) => {
            into.insert(last, Entry { key, node: Node { value: Value::Untyped(text.into_owned()), origin } });
        }
        Err(message) => refuse(format!("the environment variable {name} {message}")),
    }
}

/// The key in the table that a variable's segment means: variables have neither small letters nor `-`.
fn existing(table: &Table, segment: &str) -> Result<String, String> {
    if table.contains(segment) {
        return Ok(segment.to_owned());
    }
    let same = |key: &&String| key.to_lowercase().replace('-', "_") == segment;
    let mut found = table.keys().filter(same);
    match (found.next(), found.next()) {
        (None, _) => Ok(segment.to_owned()),
        (Some(only), None) => Ok(only.clone()),
        (Some(one), Some(other)) => Err(format!("could mean \"{one}\" or \"{other}\"; rename one of them")),
    }
}
