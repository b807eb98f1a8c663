//! What the database says: its version, and its invalid indexes.

use crate::scripts::Migration;
use crate::{Layout, Parameters};
use rota_sdk::prelude::*;

/// The most versions that are read; a table has one a migration at most.
const MOST: usize = 100_000;

/// What the tool's table holds.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The versions, the oldest first.
    pub(crate) versions: Vec<String>,
    /// Whether the tool noted that it was stopped half-way.
    pub(crate) dirty: bool,
}

/// Which columns the table has.
const COLUMNS: &str = "\
    select a.attname::text from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid \
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped";

/// Where else a table of the name is.
const ELSEWHERE: &str = "\
    select n.nspname::text from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where c.relname = $1 and c.relkind in ('r', 'p') and n.nspname !~ '^pg_' order by 1";

/// Read the table; none where there is no such table.
pub(crate) async fn read(session: &mut Session, parameters: &Parameters) -> Result<Option<State>> {
    let (schema, table) = (&parameters.schema, parameters.table());
    let columns: Vec<String> =
        session.query_all(COLUMNS, params![schema, table]).await.context("looking for the table of versions")?;
    if columns.is_empty() {
        return Ok(None);
    }
    let has = |name: &str| columns.iter().any(|column| column == name);
    let column = if parameters.layout == Layout::Alembic { "version_num" } else { "version" };
    if !has(column) {
        return Err(Error::new(format!("{schema}.{table} has no column {column}"))
            .hint("say with `layout` which tool the table belongs to"));
    }
    let name = session.quote_qualified(schema, table).await?;
    // Numbers in the order of numbers, whatever the type of the column.
    let statement = match column {
        "version_num" => sql!("select version_num::text from {} order by 1", name),
        _ => sql!("select version::text from {} order by length(version::text), version::text", name),
    };
    let versions = session.query(statement, params![]).await?.collect(MOST).await.context("reading the versions")?;
    let dirty = if has("dirty") {
        let statement = sql!("select coalesce(bool_or(dirty), false) from {}", name);
        session.query_one(statement, params![]).await.context("looking whether a version is dirty")?
    } else {
        false
    };
    Ok(Some(State { versions, dirty }))
}

/// That there is no such table: it may be called otherwise, or be in another schema, and then nothing may be begun from the beginning.
pub(crate) async fn absent(session: &mut Session, parameters: &Parameters) -> Result<Error> {
    let (schema, table) = (&parameters.schema, parameters.table());
    let elsewhere: Vec<String> = session
        .query_all(ELSEWHERE, params![table])
        .await
        .context("looking for the table of versions in other schemas")?;
    let hint = match elsewhere.as_slice() {
        [] => "say where it is with `schema` and `table`, and which tool's it is with `layout`; or, where the database was never migrated, -p new_database=true".to_owned(),
        some => format!("there is one in schema {}: -p schema=NAME; or, where this schema was never migrated, -p new_database=true", some.join(", ")),
    };
    let message = format!("there is no table {schema}.{table}, so where the schema stands is not known");
    Ok(Error::new(message).hint(hint))
}

impl State {
    /// The newest version.
    pub(crate) fn newest(&self) -> Option<String> {
        self.versions.last().cloned()
    }

    /// The one version that a database can go on from.
    pub(crate) fn single(&self, parameters: &Parameters) -> Result<Option<String>> {
        let table = format!("{}.{}", parameters.schema, parameters.table());
        if self.dirty {
            return Err(Error::new(format!("{table} says that version {} is dirty: a migration was stopped half-way", self.newest().unwrap_or_default()))
                .hint("look at what it did, bring the schema to one of the two versions by hand, and tell the tool which (migrate force VERSION)"));
        }
        if parameters.layout == Layout::Alembic && self.versions.len() > 1 {
            return Err(Error::new(format!("{table} holds {} versions ({}), and a database that can go on has one", self.versions.len(), self.versions.join(", ")))
                .hint("the branches of the scripts need a merge revision (alembic merge heads) that the database is then brought to"));
        }
        Ok(self.newest())
    }

    /// How many rows there must be afterwards: one with alembic; with others, what there are.
    pub(crate) fn expected_rows(&self, after: &Self, layout: Layout) -> usize {
        if layout == Layout::Alembic { 1 } else { after.versions.len() }
    }
}

/// What was applied between two looks, in order.
pub(crate) fn applied(before: &State, after: &State, pending: Option<&[Migration]>) -> Vec<String> {
    match pending {
        // Up to where it is now; nowhere when it is where it was.
        Some(pending) => {
            let reached =
                after.versions.iter().filter_map(|version| pending.iter().position(|one| one.version == *version));
            let count = reached.max().map_or(0, |place| place + 1);
            pending[..count].iter().map(|one| one.version.clone()).collect()
        }
        None => after.versions.iter().filter(|version| !before.versions.contains(version)).cloned().collect(),
    }
}

/// The first one that is still to come; or the one that is dirty.
pub(crate) fn failed_at(pending: Option<&[Migration]>, applied: &[String], after: &State) -> Option<String> {
    match pending {
        Some(pending) => pending.get(applied.len()).map(|one| one.version.clone()),
        None => after.newest().filter(|_| after.dirty),
    }
}

/// Invalid indexes, by their whole names.
pub(crate) async fn invalid_indexes(session: &mut Session) -> Result<Vec<String>> {
    let statement = "select format('%I.%I', n.nspname, c.relname) from pg_catalog.pg_index i \
                     join pg_catalog.pg_class c on c.oid = i.indexrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
                     where not (i.indisvalid and i.indisready) and n.nspname !~ '^pg_' order by 1";
    session.query_all(statement, params![]).await.context("looking for invalid indexes")
}
