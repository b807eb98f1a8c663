//! What takes the space. What the role may not see is left out by name, because asking for its size would abort the whole query.

use crate::Parameters;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;

/// A database.
#[data]
#[derive(FromRow)]
pub(crate) struct Database {
    /// Its name.
    pub(crate) name: String,
    /// Its size in bytes; null where the role may not see it.
    pub(crate) bytes: Option<i64>,
}

/// A tablespace.
#[data]
#[derive(FromRow)]
pub(crate) struct Tablespace {
    /// Its name.
    pub(crate) name: String,
    /// Its size in bytes; null where the role may not see it.
    pub(crate) bytes: Option<i64>,
    /// Where it lies, as the server sees it; null for those in the data directory.
    pub(crate) location: Option<String>,
}

/// A table.
#[data]
#[derive(FromRow)]
pub(crate) struct Table {
    /// Schema and name, quoted by the server.
    pub(crate) table: String,
    /// With indexes and large values, in bytes.
    pub(crate) total_bytes: i64,
    /// The table with its large values alone.
    pub(crate) table_bytes: i64,
    /// Its indexes.
    pub(crate) index_bytes: i64,
    /// About how many rows; null when that was never counted.
    pub(crate) rows: Option<i64>,
    /// About how many of them are dead.
    pub(crate) dead_rows: Option<i64>,
}

const DATABASES: &str = "\
    select d.datname::text as name, \
           case when has_database_privilege(d.oid, 'connect') or pg_has_role('pg_read_all_stats', 'usage') \
                then pg_database_size(d.oid) end as bytes \
    from pg_catalog.pg_database d order by bytes desc nulls last, name";

const TABLESPACES: &str = "\
    select t.spcname::text as name, nullif(pg_tablespace_location(t.oid), '') as location, \
           case when has_tablespace_privilege(t.oid, 'create') or pg_has_role('pg_read_all_stats', 'usage') \
                  or t.oid = (select dattablespace from pg_catalog.pg_database where datname = current_database()) \
                then pg_tablespace_size(t.oid) end as bytes \
    from pg_catalog.pg_tablespace t order by bytes desc nulls last, name";

const TABLES: &str = "\
    select format('%I.%I', n.nspname, c.relname) as \"table\", \
           pg_total_relation_size(c.oid) as total_bytes, pg_table_size(c.oid) as table_bytes, pg_indexes_size(c.oid) as index_bytes, \
           case when c.reltuples >= 0 then c.reltuples::int8 end as rows, pg_stat_get_dead_tuples(c.oid) as dead_rows \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema') and c.relpersistence <> 't' \
    order by total_bytes desc nulls last, 1 limit $1";

// Takes no lock on any table. Pages are those of the last vacuum or analyze.
const ESTIMATED: &str = "\
    with measured as ( \
        select c.oid, c.relnamespace, c.relname, c.reltuples, \
               (c.relpages::int8 + coalesce(t.relpages, 0) + coalesce((select sum(i.relpages) from pg_catalog.pg_index x \
                   join pg_catalog.pg_class i on i.oid = x.indexrelid where x.indrelid = c.reltoastrelid), 0)::int8) \
                 * current_setting('block_size')::int8 as table_bytes, \
               coalesce((select sum(i.relpages) from pg_catalog.pg_index x join pg_catalog.pg_class i on i.oid = x.indexrelid \
                         where x.indrelid = c.oid), 0)::int8 * current_setting('block_size')::int8 as index_bytes \
        from pg_catalog.pg_class c left join pg_catalog.pg_class t on t.oid = c.reltoastrelid \
        where c.relkind in ('r', 'm') and c.relpersistence <> 't') \
    select format('%I.%I', n.nspname, m.relname) as \"table\", m.table_bytes + m.index_bytes as total_bytes, m.table_bytes, m.index_bytes, \
           case when m.reltuples >= 0 then m.reltuples::int8 end as rows, pg_stat_get_dead_tuples(m.oid) as dead_rows \
    from measured m join pg_catalog.pg_namespace n on n.oid = m.relnamespace \
    where n.nspname not in ('pg_catalog', 'information_schema') order by total_bytes desc, 1 limit $1";

const TEMPORARY: &str = "select coalesce(sum(f.size), 0)::int8 from pg_catalog.pg_tablespace t, lateral pg_ls_tmpdir(t.oid) f \
     where t.spcname <> 'pg_global'";

pub(crate) async fn databases(session: &mut Session, server: &mut Server) -> Result<Vec<Database>> {
    let databases: Vec<Database> = session.query_all(DATABASES, params![]).await.context("measuring databases")?;
    for hidden in databases.iter().filter(|database| database.bytes.is_none()) {
        server.hide(format!("the size of database {}: role {} may not connect to it", hidden.name, server.role));
    }
    Ok(databases)
}

pub(crate) async fn tablespaces(session: &mut Session, server: &mut Server) -> Result<Vec<Tablespace>> {
    let tablespaces: Vec<Tablespace> =
        session.query_all(TABLESPACES, params![]).await.context("measuring tablespaces")?;
    for hidden in tablespaces.iter().filter(|tablespace| tablespace.bytes.is_none()) {
        server.hide(format!("the size of tablespace {}: role {} has no privilege on it", hidden.name, server.role));
    }
    Ok(tablespaces)
}

/// The largest tables, and whether their sizes are exact.
pub(crate) async fn tables(
    session: &mut Session,
    parameters: &Parameters,
    server: &mut Server,
) -> Result<(Vec<Table>, bool)> {
    let limit = i64::from(parameters.largest);
    match session.query_all(TABLES, params![limit]).await {
        Ok(tables) => Ok((tables, true)),
        // Measuring waits for whoever has a table locked exclusively; the lock timeout ends that. One locked table must not hide all the others.
        Err(error) if error.is_timed_out() || error.code() == Some("55P03") => {
            server.hide(
                "the exact sizes of tables: one is locked exclusively, so they are those of the last vacuum or analyze",
            );
            Ok((session.query_all(ESTIMATED, params![limit]).await.context("estimating the sizes of tables")?, false))
        }
        Err(error) => Err(error.context("measuring tables")),
    }
}

pub(crate) async fn temporary(session: &mut Session, server: &mut Server) -> Result<Option<i64>> {
    match session.query_one(TEMPORARY, params![]).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if may_not(&error) => {
            server.hide(format!("temporary files: role {} is not a member of pg_monitor", server.role));
            Ok(None)
        }
        Err(error) => Err(error.context("measuring temporary files")),
    }
}

/// Whether the role lacks the privilege.
pub(crate) fn may_not(error: &Error) -> bool {
    error.code() == Some("42501")
}
