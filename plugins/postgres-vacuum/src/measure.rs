//! The state of tables, as the server's statistics have it.

use rota_sdk::prelude::*;

/// A table's state at one moment.
#[derive(Clone, FromRow)]
pub(crate) struct State {
    /// Its object id, which stays when it is renamed.
    pub(crate) oid: i64,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// Schema and name, quoted by the server.
    pub(crate) quoted: Quoted,
    /// About how many pages it has.
    pub(crate) pages: i64,
    pub(crate) live: i64,
    pub(crate) dead: i64,
    /// Rows of its large values.
    pub(crate) toast_live: i64,
    pub(crate) toast_dead: i64,
    /// Of its oldest transaction id, its large values included.
    pub(crate) age: i64,
    /// How often it was vacuumed by hand.
    pub(crate) vacuum_count: i64,
    pub(crate) last_vacuum: Option<Timestamp>,
    /// Whether the role may vacuum it.
    pub(crate) allowed: bool,
}

impl State {
    /// Dead rows, those of large values included.
    pub(crate) fn all_dead(&self) -> i64 {
        self.dead + self.toast_dead
    }

    /// Whether dead rows are too many and too large a share, in the table or in its large values.
    pub(crate) fn bloated(&self, min_rows: i64, min_share: f64) -> bool {
        let over = |dead: i64, live: i64| dead > min_rows && share(dead, live) >= min_share;
        over(self.dead, self.live) || over(self.toast_dead, self.toast_live)
    }

    /// Whether a vacuum came between the other state and this one.
    pub(crate) fn vacuumed_since(&self, before: &Self) -> bool {
        self.vacuum_count > before.vacuum_count || self.last_vacuum > before.last_vacuum
    }
}

/// The share of dead rows in all rows.
#[allow(clippy::cast_precision_loss, reason = "a share")]
pub(crate) fn share(dead: i64, live: i64) -> f64 {
    if dead <= 0 { 0.0 } else { dead as f64 / (dead + live.max(0)) as f64 }
}

/// What every look at tables begins with. The `{}` is who may vacuum beside owners: since PostgreSQL 17, whoever may `MAINTAIN`.
fn statement(major: u32, which: &'static str) -> Sql {
    let others: &'static str = if major >= 17 { "has_table_privilege(c.oid, 'maintain')" } else { "false" };
    sql!(
        "select c.oid::int8 as oid, n.nspname::text as schema, c.relname::text as name, \
                format('%I.%I', n.nspname, c.relname) as quoted, c.relpages::int8 as pages, \
                coalesce(s.n_live_tup, 0) as live, coalesce(s.n_dead_tup, 0) as dead, \
                coalesce(ts.n_live_tup, 0) as toast_live, coalesce(ts.n_dead_tup, 0) as toast_dead, \
                greatest(case when c.relfrozenxid <> '0' then age(c.relfrozenxid) end, \
                         case when t.relfrozenxid <> '0' then age(t.relfrozenxid) end, 0)::int8 as age, \
                coalesce(s.vacuum_count, 0) as vacuum_count, s.last_vacuum, \
                pg_has_role(c.relowner, 'usage') or (not c.relisshared and pg_has_role(d.datdba, 'usage')) or {} as allowed \
         from pg_catalog.pg_class c \
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         join pg_catalog.pg_database d on d.datname = current_database() \
         left join pg_catalog.pg_class t on t.oid = c.reltoastrelid \
         left join pg_catalog.pg_stat_all_tables s on s.relid = c.oid \
         left join pg_catalog.pg_stat_all_tables ts on ts.relid = c.reltoastrelid \
         where {}",
        Sql::from(others),
        Sql::from(which)
    )
}

/// All tables that could be vacuumed by themselves. Partitioned tables hold no rows: their partitions are here.
pub(crate) fn every_table(major: u32, catalogs: bool) -> Sql {
    statement(
        major,
        if catalogs {
            "c.relkind in ('r', 'm') and c.relpersistence <> 't' and n.nspname <> 'information_schema' order by c.oid"
        } else {
            "c.relkind in ('r', 'm') and c.relpersistence <> 't' and n.nspname not in ('pg_catalog', 'information_schema') order by c.oid"
        },
    )
}

/// One table now; none when it is gone.
pub(crate) async fn one(session: &mut Session, major: u32, oid: i64) -> Result<Option<State>> {
    session.query_optional(statement(major, "c.oid = $1::int8::oid"), params![oid]).await.context("measuring a table")
}
