//! Keys that occur more than once, of which no unique index can be built.

use rota_sdk::prelude::*;
use rota_sdk_index::create::conflict;
use rota_sdk_index::{Creation, tell};

/// Keys that occur more than once.
#[data]
pub(crate) struct Duplicates {
    /// How many keys.
    pub(crate) keys: i64,
    /// How many rows would have to go so that each key is there once.
    pub(crate) rows: i64,
    /// The most frequent ones.
    pub(crate) shown: Vec<Key>,
}

/// One of them.
#[data]
#[derive(FromRow)]
pub(crate) struct Key {
    /// Its values, joined by commas.
    pub(crate) key: String,
    /// How often it occurs.
    pub(crate) rows: i64,
}

/// Look for them: one pass over the table.
pub(crate) async fn look(creation: &mut Creation, limit: u32) -> Result<Duplicates> {
    let keys: Vec<&str> = creation.spec.elements.iter().map(|element| element.key.as_str()).collect();
    let mut conditions: Vec<String> =
        creation.spec.predicate.iter().map(|predicate| format!("({predicate})")).collect();
    if !creation.spec.nulls_not_distinct {
        conditions.extend(keys.iter().map(|key| format!("{key} is not null")));
    }
    if conditions.is_empty() {
        conditions.push("true".to_owned());
    }
    let conditions = Sql::from_operator(conditions.join(" and "));
    let group = Sql::from_operator(keys.join(", "));
    let shown: Vec<String> = keys.iter().map(|key| format!("({key})::text")).collect();
    let shown = Sql::from_operator(shown.join(", "));
    let table = creation.table.quoted.clone();
    let counted = sql!(
        "select count(*)::int8 as keys, coalesce(sum(d.n - 1), 0)::int8 as rows from (select count(*) as n from {} where {} group by {} having count(*) > 1) d",
        table,
        conditions,
        group
    );
    let (keys, rows): (i64, i64) =
        creation.worker.query_one(counted, params![]).await.context("looking for keys that occur more than once")?;
    let mut found = Duplicates { keys, rows, shown: Vec::new() };
    if keys > 0 && limit > 0 {
        let each = sql!(
            "select left(concat_ws(', ', {}), 200) as key, count(*)::int8 as rows from {} where {} group by {} having count(*) > 1 order by 2 desc, 1 limit {}",
            shown,
            table,
            conditions,
            group,
            limit
        );
        found.shown =
            creation.worker.query_all(each, params![]).await.context("reading keys that occur more than once")?;
    }
    Ok(found)
}

/// Where there are any, no unique index can be built. In a plan they are shown only.
pub(crate) fn refuse(creation: &mut Creation, found: Option<&Duplicates>) -> Result<()> {
    let Some(Duplicates { keys, rows, .. }) = found.filter(|found| found.keys > 0) else { return Ok(()) };
    show(creation, found);
    if creation.cx.is_plan() {
        return Ok(());
    }
    let why = format!(
        "{keys} keys occur more than once ({rows} rows too many), so no unique index can be built. Nothing was begun"
    );
    Err(conflict(why, "remove or change those rows first; the report shows some"))
}

/// In the report.
pub(crate) fn show(creation: &mut Creation, found: Option<&Duplicates>) {
    let Some(found) = found.filter(|found| found.keys > 0) else { return };
    let table = creation.table.quoted.clone();
    creation
        .report
        .critical(format!("{table}: {} keys occur more than once", tell::count(found.keys)))
        .detail(format!(
            "{} rows would have to go or change before a unique index can be built.",
            tell::count(found.rows)
        ))
        .advice("Remove or change those rows, then run this again");
    if !found.shown.is_empty() {
        let mut table = creation.report.table("duplicates", "Keys that occur more than once", ["key", "rows"]);
        for Key { key, rows } in &found.shown {
            table.row(cells![key, *rows]);
        }
    }
}
