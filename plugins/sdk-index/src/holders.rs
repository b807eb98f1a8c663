//! Whose transactions a concurrent build has to wait for.
//!
//! `CREATE INDEX CONCURRENTLY` waits twice for everybody who has the table locked, and once for everybody in the database who could still see what was there before;
//! `REINDEX` and `DROP ... CONCURRENTLY` likewise. One transaction that was left open holds it up without end, and meanwhile the index is INVALID.

use rota_sdk::prelude::*;

/// Somebody whose transaction is open.
#[data]
#[derive(FromRow)]
pub struct Holder {
    /// The backend; none for a prepared transaction.
    pub pid: Option<i64>,
    /// When the backend started: with it, a later one of the same number is told apart.
    #[column(optional)]
    pub backend_start: Option<Timestamp>,
    /// The prepared transaction's name.
    pub prepared: Option<String>,
    /// Who that is, in words: role, application, state.
    pub who: String,
    /// For how long the transaction has been open, in seconds.
    pub seconds: f64,
    /// Whether it has the table locked.
    pub locks_table: bool,
}

// Vacuums and other concurrent builds hold no build up by what they see; that they lock the table does.
const STATEMENT: &str = "\
    select a.pid::int8 as pid, a.backend_start, null::text as prepared, concat_ws(', ', a.usename, nullif(a.application_name, ''), a.state, nullif(a.backend_type, 'client backend')) as who, \
           extract(epoch from clock_timestamp() - coalesce(a.xact_start, a.query_start, a.backend_start))::float8 as seconds, l.pid is not null as locks_table \
    from pg_catalog.pg_stat_activity a \
      left join (select distinct l.pid from pg_catalog.pg_locks l where l.locktype = 'relation' and l.relation = $1::int8::oid and l.granted \
                   and ($2 or l.mode not in ('AccessShareLock', 'RowShareLock')) \
                   and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())) l on l.pid = a.pid \
    where a.datname = current_database() and a.pid <> pg_backend_pid() \
      and (l.pid is not null or (a.backend_xmin is not null and a.backend_type <> 'walsender' \
           and not exists (select from pg_catalog.pg_stat_progress_vacuum v where v.pid = a.pid))) \
    union all \
    select null, null, p.gid, 'prepared by ' || p.owner::text, extract(epoch from clock_timestamp() - p.prepared)::float8, \
           exists (select from pg_catalog.pg_locks l where l.pid is null and l.locktype = 'relation' and l.relation = $1::int8::oid \
                   and ($2 or l.mode not in ('AccessShareLock', 'RowShareLock'))) \
    from pg_catalog.pg_prepared_xacts p where p.database = current_database() \
    order by seconds desc";

impl Holder {
    /// Everybody, the oldest first, but the run's own sessions. A build waits for those who write; what drops an index at its end (a rebuild) also for
    /// those who only read: `readers`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn look(session: &mut Session, table: i64, readers: bool, own: &[u32]) -> Result<Vec<Self>> {
        let all: Vec<Self> =
            session.query_all(STATEMENT, params![table, readers]).await.context("looking for old transactions")?;
        Ok(all.into_iter().filter(|holder| !own.iter().any(|pid| holder.pid == Some(i64::from(*pid)))).collect())
    }

    /// In one line: `pid 311 (app, idle in transaction), 12 min`.
    pub fn told(&self) -> String {
        let name = match (self.pid, &self.prepared) {
            (Some(pid), _) => format!("pid {pid}"),
            (None, Some(name)) => format!("prepared transaction {name:?}"),
            (None, None) => "a transaction".to_owned(),
        };
        format!("{name} ({}), {}", self.who, rota_sdk::text::spoken(self.seconds))
    }
}

/// Say who holds a build up, with what ends it.
pub fn report<D>(holders: &[Holder], over_seconds: f64, report: &mut Report<D>) {
    for holder in holders.iter().filter(|holder| holder.seconds >= over_seconds) {
        let finding = report.warning(format!("{} holds the build up", holder.told())).detail(
            "A concurrent build waits for transactions that began before it, and its index is INVALID until they end.",
        );
        match holder.pid {
            Some(pid) => finding.remedy(
                "postgres-connections",
                &json!({ "pids": [pid] }),
                format!("End the session of pid {pid}, or its transaction"),
            ),
            None => finding.advice("COMMIT PREPARED or ROLLBACK PREPARED it by its name"),
        };
    }
}
