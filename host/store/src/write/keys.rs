//! Concurrency keys: at most so many runs that are held carry one.
//!
//! What is counted are rows of `held_keys`. Claims that share a key must not count at the same time; SQLite has one writer, and on PostgreSQL
//! they take an advisory lock for each key, in one order, before they count.

use crate::StoreError;
use crate::rows::ConcurrencyKey;
use crate::session::{Engine, Session, args, sql};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Who holds keys, and how many.
#[derive(Default)]
pub(crate) struct Holders(BTreeMap<String, Vec<String>>);

impl Holders {
    /// Lock keys and read who holds them.
    pub(crate) async fn lock(session: &mut Session<'_>, keys: &BTreeSet<&str>) -> Result<Self, StoreError> {
        if keys.is_empty() {
            return Ok(Self::default());
        }
        let list = json!(keys.iter().map(|key| json!({ "key": key })).collect::<Vec<_>>()).to_string();
        if session.engine() == Engine::Postgres {
            // By itself: the next statement sees what was committed by whoever had the locks before.
            lock(session, keys).await?;
        }
        let rows = session
            .all(
                sql!(
                    "select h.key as key, h.run as run from @each($1) join rota.held_keys h on h.key = each.value ->> 'key' order by h.key, h.run"
                ),
                args![&list],
            )
            .await?;
        let mut holders = Self::default();
        for row in rows {
            holders.0.entry(row.text("key")?).or_default().push(row.text("run")?);
        }
        Ok(holders)
    }

    /// The first key that does not let a run in, and who holds it. One that it holds already does not stand in its way.
    pub(crate) fn bars<'k>(&self, run: &str, keys: &'k [ConcurrencyKey]) -> Option<(&'k ConcurrencyKey, &str)> {
        keys.iter().find_map(|key| {
            let holders = self.0.get(&key.key).map(Vec::as_slice).unwrap_or_default();
            let full = holders.len() >= key.limit as usize && !holders.iter().any(|holder| holder == run);
            full.then(|| (key, holders.first().map_or("", String::as_str)))
        })
    }

    /// A run takes its keys.
    pub(crate) fn take(&mut self, run: &str, keys: &[ConcurrencyKey]) {
        for key in keys {
            let holders = self.0.entry(key.key.clone()).or_default();
            if !holders.iter().any(|holder| holder == run) {
                holders.push(run.to_owned());
            }
        }
    }
}

/// Lock keys, in one order, until the transaction ends. It begins with that where it has not begun, in the same trip.
async fn lock(session: &mut Session<'_>, keys: &BTreeSet<&str>) -> Result<(), StoreError> {
    // A text without arguments can be sent along with `begin`. What is not ours to write into a text is written as the digits of its bytes.
    let digits: Vec<String> = keys
        .iter()
        .map(|key| format!("'{}'", key.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()))
        .collect();
    let locks = format!(
        "select count(pg_advisory_xact_lock(1380930625, hash)) from (
           select distinct hashtext(convert_from(decode(each.digits, 'hex'), 'UTF8')) as hash
           from unnest(array[{}]) as each(digits) order by 1 offset 0) hashes",
        digits.join(", ")
    );
    session.begin_with(locks).await
}

/// Runs give their keys back; `runs` is a list as by [`super::hold::list`].
pub(crate) async fn free(session: &mut Session<'_>, runs: &str) -> Result<(), StoreError> {
    session.run(sql!("delete from rota.held_keys where @in(run, $1)"), args![runs]).await?;
    Ok(())
}
