//! Keys that occur more than once, of which no unique index can be built.

use crate::Work;
use rota_sdk::prelude::*;

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

impl Work {
    /// Look for them: one pass over the table.
    pub(crate) async fn duplicates(&mut self) -> Result<Duplicates> {
        let keys: Vec<&str> = self.spec.elements.iter().map(|element| element.key.as_str()).collect();
        let mut conditions: Vec<String> =
            self.spec.predicate.iter().map(|predicate| format!("({predicate})")).collect();
        if !self.spec.nulls_not_distinct {
            conditions.extend(keys.iter().map(|key| format!("{key} is not null")));
        }
        if conditions.is_empty() {
            conditions.push("true".to_owned());
        }
        let conditions = Sql::from_operator(conditions.join(" and "));
        let group = Sql::from_operator(keys.join(", "));
        let shown: Vec<String> = keys.iter().map(|key| format!("({key})::text")).collect();
        let shown = Sql::from_operator(shown.join(", "));
        let table = self.table.quoted.clone();
        let counted = sql!(
            "select count(*)::int8 as keys, coalesce(sum(d.n - 1), 0)::int8 as rows from (select count(*) as n from {} where {} group by {} having count(*) > 1) d",
            table,
            conditions,
            group
        );
        let (keys, rows): (i64, i64) =
            self.worker.query_one(counted, params![]).await.context("looking for keys that occur more than once")?;
        let limit = self.parameters.duplicates_shown;
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
                self.worker.query_all(each, params![]).await.context("reading keys that occur more than once")?;
        }
        Ok(found)
    }
}
