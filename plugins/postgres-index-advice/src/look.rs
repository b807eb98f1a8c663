//! What the catalog and the statistics say.

use rota_sdk::prelude::*;
use rota_sdk_index::Index;
use std::collections::BTreeMap;

/// A table, and how it is read.
#[data]
#[derive(FromRow)]
pub(crate) struct Scanned {
    /// Its object id.
    pub(crate) oid: i64,
    /// The table, quoted by the server.
    pub(crate) table: String,
    /// About how many rows it has.
    pub(crate) rows: i64,
    /// Its size without indexes, in bytes.
    pub(crate) bytes: i64,
    /// How often it was read whole.
    pub(crate) seq_scans: i64,
    /// How many rows that gave.
    pub(crate) seq_rows: i64,
    /// How often an index of it was used; null where it has none.
    pub(crate) index_scans: Option<i64>,
}

/// A foreign key without an index on the side that refers: each change of the other side reads the whole table.
#[data]
#[derive(FromRow)]
pub(crate) struct ForeignKey {
    /// Its name.
    pub(crate) name: String,
    /// The table that refers, quoted by the server.
    pub(crate) table: String,
    /// The table that is referred to.
    pub(crate) refers_to: String,
    /// The columns that refer, each quoted by the server.
    pub(crate) columns: Vec<String>,
    /// About how many rows the table that refers has.
    pub(crate) rows: i64,
    /// The table's kind: `p` where it is partitioned.
    pub(crate) kind: String,
}

/// How often an object was used on one server.
#[derive(FromRow)]
pub(crate) struct Use {
    pub(crate) oid: i64,
    pub(crate) scans: i64,
    pub(crate) rows: i64,
    pub(crate) is_index: bool,
}

/// What was seen.
pub(crate) struct Looked {
    pub(crate) indexes: Vec<Index>,
    pub(crate) tables: Vec<Scanned>,
    pub(crate) foreign_keys: Vec<ForeignKey>,
    /// Indexes that are the only ones under a foreign key, on the side that refers.
    pub(crate) covers: Vec<i64>,
    /// Indexes of partitions, which belong to one of the partitioned table.
    pub(crate) attached: Vec<i64>,
    pub(crate) standbys: i64,
}

const TABLES: &str = "\
    select s.relid::int8 as oid, format('%I.%I', s.schemaname, s.relname) as table, \
           greatest(c.reltuples::int8, s.n_live_tup, 0) as rows, pg_table_size(s.relid) as bytes, \
           coalesce(s.seq_scan, 0) as seq_scans, coalesce(s.seq_tup_read, 0) as seq_rows, s.idx_scan as index_scans \
    from pg_catalog.pg_stat_user_tables s join pg_catalog.pg_class c on c.oid = s.relid where c.relkind in ('r', 'm') \
      and not (s.relid::int8 = any ($1::int8[])) order by s.seq_tup_read desc";

// Covered: some valid index without a condition begins with the key's columns, in whatever order.
const FOREIGN_KEYS: &str = "\
    select k.conname::text as name, format('%I.%I', n.nspname, c.relname) as table, format('%I.%I', rn.nspname, r.relname) as refers_to, \
           array(select format('%I', a.attname) from unnest(k.conkey) with ordinality u (attnum, place) \
                 join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum order by u.place) as columns, \
           greatest(c.reltuples::int8, 0) as rows, c.relkind::text as kind \
    from pg_catalog.pg_constraint k join pg_catalog.pg_class c on c.oid = k.conrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
      join pg_catalog.pg_class r on r.oid = k.confrelid join pg_catalog.pg_namespace rn on rn.oid = r.relnamespace \
    where k.contype = 'f' and k.conparentid = 0 and not exists (select from pg_catalog.pg_index i where i.indrelid = k.conrelid and i.indisvalid and i.indpred is null \
      and (select bool_and(i.indkey[p - 1] = any (k.conkey)) from generate_series(1, cardinality(k.conkey)) p)) \
    order by rows desc, 2, 1";

const COVERS: &str = "\
    select min(i.indexrelid::int8) as oid from pg_catalog.pg_constraint k join pg_catalog.pg_index i on i.indrelid = k.conrelid and i.indisvalid and i.indpred is null \
      and (select bool_and(i.indkey[p - 1] = any (k.conkey)) from generate_series(1, cardinality(k.conkey)) p) \
    where k.contype = 'f' group by k.oid having count(*) = 1";

const USE: &str = "\
    select s.indexrelid::int8 as oid, s.idx_scan as scans, 0::int8 as rows, true as is_index from pg_catalog.pg_stat_user_indexes s \
    union all select t.relid::int8, coalesce(t.seq_scan, 0), coalesce(t.seq_tup_read, 0), false from pg_catalog.pg_stat_user_tables t";

/// A table or an index that somebody has locked exclusively, or waits to: to look at its size or definition waits behind them.
#[data]
#[derive(FromRow)]
pub(crate) struct Locked {
    /// Its object id.
    pub(crate) oid: i64,
    /// It, quoted by the server.
    pub(crate) name: String,
    /// Who holds it, and who waits for it.
    pub(crate) who: String,
}

const LOCKED: &str = "\
    select c.oid::int8 as oid, format('%I.%I', n.nspname, c.relname) as name, \
           string_agg(coalesce('pid ' || l.pid, 'a prepared transaction') || coalesce(' (' || concat_ws(', ', a.usename::text, nullif(a.application_name, '')) || ')', '') \
                      || case when l.granted then '' else ', which waits for it' end, '; ' order by l.granted desc, l.pid) as who \
    from pg_catalog.pg_locks l join pg_catalog.pg_class c on c.oid = l.relation join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
      left join pg_catalog.pg_stat_activity a on a.pid = l.pid \
    where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock' and l.pid is distinct from pg_backend_pid() \
      and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database()) and n.nspname !~ '^pg_' \
    group by c.oid, n.nspname, c.relname order by 2";

/// How often it is looked again where a lock was taken meanwhile.
const TRIES: usize = 3;

/// Look at everything but what is locked exclusively; and at that, who has it.
pub(crate) async fn look(session: &mut Session) -> Result<(Looked, Vec<Locked>)> {
    // Whoever is not there yet when the locks are looked at is not waited for as long as the binding would.
    session.configure("lock_timeout", "2s").await?;
    let mut tries = 0;
    loop {
        tries += 1;
        let locked: Vec<Locked> =
            session.query_all(LOCKED, params![]).await.context("looking for what is locked exclusively")?;
        let oids: Vec<i64> = locked.iter().map(|one| one.oid).collect();
        match Looked::on(session, &oids).await {
            Ok(looked) => return Ok((looked, locked)),
            Err(error) if error.code() == Some("55P03") && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

impl Looked {
    async fn on(session: &mut Session, locked: &[i64]) -> Result<Self> {
        let one = "select inhrelid::int8 as oid from pg_catalog.pg_inherits h join pg_catalog.pg_class c on c.oid = h.inhrelid where c.relkind in ('i', 'I')";
        Ok(Self {
            indexes: Index::all_but(session, locked).await?,
            tables: session
                .query_all(TABLES, params![locked.to_vec()])
                .await
                .context("looking at how tables are read")?,
            foreign_keys: session.query_all(FOREIGN_KEYS, params![]).await.context("looking for foreign keys")?,
            covers: session.query_all(COVERS, params![]).await.context("looking at what foreign keys lean on")?,
            attached: session.query_all(one, params![]).await.context("looking at partitions")?,
            standbys: session
                .query_one("select count(*)::int8 from pg_catalog.pg_stat_replication", params![])
                .await
                .context("counting standbys")?,
        })
    }

    /// Add what another server saw: object ids are the same on a standby.
    pub(crate) fn add(&mut self, seen: Vec<Use>) {
        let by = |is_index: bool| -> BTreeMap<i64, (i64, i64)> {
            seen.iter().filter(|one| one.is_index == is_index).map(|one| (one.oid, (one.scans, one.rows))).collect()
        };
        let (indexes, tables) = (by(true), by(false));
        for index in &mut self.indexes {
            index.scans += indexes.get(&index.oid).map_or(0, |(scans, _)| *scans);
        }
        for table in &mut self.tables {
            let (scans, rows) = tables.get(&table.oid).copied().unwrap_or_default();
            table.seq_scans += scans;
            table.seq_rows += rows;
        }
    }
}

/// What a server has seen of use.
pub(crate) async fn use_of(session: &mut Session) -> Result<Vec<Use>> {
    session.query_all(USE, params![]).await.context("looking at the standby's statistics")
}
