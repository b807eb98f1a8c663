//! How large is it? A database that the role may not connect to is left out by name, because its size would abort the whole query.

use crate::{Parameters, size};
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;

/// Sizes of what the server holds.
#[data]
pub(crate) struct Sizes {
    /// The databases, the largest first.
    databases: Vec<Database>,
    /// The sum over the databases whose size could be read.
    total_bytes: i64,
    /// The largest tables of the database that was looked at; null where their sizes could not be read.
    largest: Option<Vec<Table>>,
}

/// A database.
#[data]
#[derive(FromRow)]
pub(crate) struct Database {
    /// Its name.
    name: String,
    /// Its size in bytes; null where the role may not see it.
    bytes: Option<i64>,
    /// Whether one may connect to it at all.
    allows_connections: bool,
}

/// A table.
#[data]
#[derive(FromRow)]
pub(crate) struct Table {
    /// Its schema.
    schema: String,
    /// Its name.
    name: String,
    /// Schema and name, quoted by the server.
    quoted: String,
    /// With indexes and large values, in bytes.
    total_bytes: i64,
    /// The table with its large values alone.
    table_bytes: i64,
    /// Its indexes.
    index_bytes: i64,
    /// About how many rows; null when that was never counted.
    rows: Option<i64>,
}

const DATABASES: &str = "\
    select d.datname::text as name, d.datallowconn as allows_connections, \
           case when has_database_privilege(d.oid, 'connect') or pg_has_role('pg_read_all_stats', 'usage') \
                then pg_database_size(d.oid) end as bytes \
    from pg_catalog.pg_database d order by bytes desc nulls last, name";

const LARGEST: &str = "\
    select n.nspname::text as schema, c.relname::text as name, format('%I.%I', n.nspname, c.relname) as quoted, \
           pg_total_relation_size(c.oid) as total_bytes, pg_table_size(c.oid) as table_bytes, pg_indexes_size(c.oid) as index_bytes, \
           case when c.reltuples >= 0 then c.reltuples::int8 end as rows \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema') and c.relpersistence <> 't' \
    order by total_bytes desc nulls last, quoted limit $1";

pub(crate) async fn check(
    session: &mut Session,
    parameters: &Parameters,
    server: &mut Server,
    report: &mut Report,
) -> Result<Sizes> {
    let databases: Vec<Database> =
        session.query_all(DATABASES, params![]).await.context("checking the sizes of databases")?;
    for hidden in databases.iter().filter(|database| database.bytes.is_none()) {
        server.hide(format!("the size of database {}: role {} may not connect to it", hidden.name, server.role));
    }
    let total_bytes = databases.iter().filter_map(|database| database.bytes).sum();
    let largest = match session.query_all::<Table>(LARGEST, params![i64::from(parameters.largest)]).await {
        Ok(tables) => Some(tables),
        // Measuring waits for whoever has a table locked exclusively; the lock timeout ends that.
        Err(error) if error.is_timed_out() || error.code() == Some("55P03") => {
            server.hide("the sizes of tables: one is locked exclusively for longer than the lock timeout");
            None
        }
        Err(error) => return Err(error.context("checking the sizes of tables")),
    };
    show(&databases, largest.as_deref(), report);
    Ok(Sizes { databases, total_bytes, largest })
}

fn show(databases: &[Database], largest: Option<&[Table]>, report: &mut Report) {
    let mut table = report.table("databases", "Databases", ["database", "size"]);
    for database in databases {
        table.row(cells![&database.name, database.bytes.map(bytes)]);
    }
    for (name, size) in databases.iter().filter_map(|database| Some((&database.name, database.bytes?))) {
        #[allow(clippy::cast_precision_loss, reason = "a metric")]
        report.metric("database_bytes", &[("database", name)], size as f64);
    }
    let largest = largest.unwrap_or_default();
    if !largest.is_empty() {
        let title =
            format!("Largest tables (all listed: {})", size(largest.iter().map(|table| table.total_bytes).sum()));
        let mut table =
            report.table("largest_tables", &title, ["table", "total", "table alone", "indexes", "rows, about"]);
        for one in largest {
            table.row(cells![
                &one.quoted,
                bytes(one.total_bytes),
                bytes(one.table_bytes),
                bytes(one.index_bytes),
                one.rows
            ]);
        }
    }
}

fn bytes(count: i64) -> Bytes {
    Bytes(u64::try_from(count).unwrap_or(0))
}
