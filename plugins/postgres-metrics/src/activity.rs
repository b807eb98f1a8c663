//! Two looks at the counters, and what lies between them.

use crate::Parameters;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use std::collections::BTreeMap;

/// A database.
#[data]
pub(crate) struct Database {
    /// Its name.
    pub(crate) name: String,
    /// Transactions a second between the two looks; null where the counters went back or it is new.
    pub(crate) transactions_per_second: Option<f64>,
    /// Commits a second.
    pub(crate) commits_per_second: Option<f64>,
    /// Rollbacks a second.
    pub(crate) rollbacks_per_second: Option<f64>,
    /// Bytes of temporary files a second.
    pub(crate) temporary_bytes_per_second: Option<f64>,
    /// Deadlocks between the two looks.
    pub(crate) deadlocks_now: Option<i64>,
    /// The share of blocks found in memory between the two looks; null with too few reads.
    pub(crate) cache_hit_ratio: Option<f64>,
    /// The same since its statistics began; null where nothing was read.
    pub(crate) cache_hit_ratio_all_time: Option<f64>,
    /// Blocks that were read between the two looks, from memory or not.
    pub(crate) reads: Option<i64>,
    /// Commits since its statistics began.
    pub(crate) commits: i64,
    /// Rollbacks since its statistics began.
    pub(crate) rollbacks: i64,
    /// Deadlocks since its statistics began.
    pub(crate) deadlocks: i64,
    /// Connections now.
    pub(crate) connections: i64,
    /// Since when its statistics count; null when they were never reset.
    pub(crate) statistics_since: Option<Timestamp>,
    /// Whether its counters went back between the two looks (a reset, or a restart).
    pub(crate) reset: bool,
}

/// Tables and indexes of one database.
#[data]
pub(crate) struct Tables {
    /// The database.
    pub(crate) database: String,
    /// The share of blocks of tables found in memory between the two looks; null with too few reads.
    pub(crate) table_hit_ratio: Option<f64>,
    /// The same since the statistics began; null where nothing was read.
    pub(crate) table_hit_ratio_all_time: Option<f64>,
    /// The share of blocks of indexes found in memory between the two looks; null with too few reads.
    pub(crate) index_hit_ratio: Option<f64>,
    /// The same since the statistics began; null where nothing was read.
    pub(crate) index_hit_ratio_all_time: Option<f64>,
}

/// One look.
pub(crate) struct Look {
    whole: Whole,
    databases: BTreeMap<String, Counters>,
    more: bool,
}

#[derive(FromRow)]
struct Whole {
    database: String,
    at: Timestamp,
    started_at: Timestamp,
    table_hit: i64,
    table_read: i64,
    index_hit: i64,
    index_read: i64,
}

#[derive(Clone, FromRow)]
struct Counters {
    name: String,
    commits: i64,
    rollbacks: i64,
    hit: i64,
    read: i64,
    temporary_bytes: i64,
    deadlocks: i64,
    connections: i64,
    reset: Option<Timestamp>,
}

/// What lies between two looks.
pub(crate) struct Measured {
    pub(crate) seconds: f64,
    pub(crate) databases: Vec<Database>,
    pub(crate) tables: Tables,
}

// Sums of no rows are null, and a fresh database has none.
const WHOLE: &str = "\
    select current_database()::text as database, clock_timestamp() as at, pg_postmaster_start_time() as started_at, \
           coalesce((select sum(t.heap_blks_hit) from pg_catalog.pg_statio_user_tables t), 0)::int8 as table_hit, \
           coalesce((select sum(t.heap_blks_read) from pg_catalog.pg_statio_user_tables t), 0)::int8 as table_read, \
           coalesce((select sum(i.idx_blks_hit) from pg_catalog.pg_statio_user_indexes i), 0)::int8 as index_hit, \
           coalesce((select sum(i.idx_blks_read) from pg_catalog.pg_statio_user_indexes i), 0)::int8 as index_read";

const DATABASES: &str = "\
    select d.datname::text as name, d.xact_commit as commits, d.xact_rollback as rollbacks, d.blks_hit as hit, d.blks_read as read, \
           d.temp_bytes as temporary_bytes, d.deadlocks, d.numbackends::int8 as connections, d.stats_reset as reset \
    from pg_catalog.pg_stat_database d \
    where d.datname is not null and ($1::text[] is null or d.datname = any ($1::text[])) order by d.datname limit $2";

pub(crate) async fn look(session: &mut Session, parameters: &Parameters) -> Result<Look> {
    let whole: Whole = session.query_one(WHOLE, params![]).await.context("reading the counters of tables")?;
    let most = parameters.maximum_databases as usize;
    let values = params![parameters.databases.clone(), i64::from(parameters.maximum_databases) + 1];
    let mut all: Vec<Counters> =
        session.query_all(DATABASES, values).await.context("reading the counters of databases")?;
    let more = all.len() > most;
    all.truncate(most);
    Ok(Look { whole, databases: all.into_iter().map(|one| (one.name.clone(), one)).collect(), more })
}

pub(crate) fn measure(
    before: &Look,
    after: &Look,
    parameters: &Parameters,
    server: &mut Server,
    report: &mut Report,
) -> Measured {
    let seconds = after.whole.at.seconds_since(before.whole.at);
    let restarted = before.whole.started_at != after.whole.started_at;
    if restarted {
        report.warning("the server restarted between the two looks").detail("There is no rate over a restart.");
    }
    if after.more {
        let most = parameters.maximum_databases;
        server.hide(format!("there are more than {most} databases (maximum_databases)"));
    }
    for name in parameters.databases.iter().flatten().filter(|name| !after.databases.contains_key(*name)) {
        report.critical(format!("database {name}: there is none of this name"));
    }
    let databases: Vec<Database> = after
        .databases
        .values()
        .map(|now| {
            let earlier = before.databases.get(&now.name).filter(|_| !restarted);
            let one = database(earlier, now, seconds, restarted, parameters);
            judge(&one, parameters, report);
            one
        })
        .collect();
    let (now, then) = (&after.whole, &before.whole);
    let ratio_now = |hit: (i64, i64), read: (i64, i64)| {
        let (hit, read) = (hit.0 - hit.1, read.0 - read.1);
        if restarted || hit < 0 || read < 0 { None } else { enough(hit, read, parameters) }
    };
    let tables = Tables {
        database: now.database.clone(),
        table_hit_ratio: ratio_now((now.table_hit, then.table_hit), (now.table_read, then.table_read)),
        table_hit_ratio_all_time: ratio(now.table_hit, now.table_read),
        index_hit_ratio: ratio_now((now.index_hit, then.index_hit), (now.index_read, then.index_read)),
        index_hit_ratio_all_time: ratio(now.index_hit, now.index_read),
    };
    if let Some(share) = tables.index_hit_ratio.filter(|share| *share < parameters.warn_index_hit_ratio) {
        report
            .warning(format!(
                "{}: {:.1} % of the blocks of indexes were found in memory",
                tables.database,
                share * 100.0
            ))
            .detail("Indexes that do not fit into memory are read from the disk again and again.")
            .remedy("postgres-index-advice", &json!({}), "finds indexes that nobody uses");
    }
    Measured { seconds, databases, tables }
}

fn database(
    earlier: Option<&Counters>,
    now: &Counters,
    seconds: f64,
    restarted: bool,
    parameters: &Parameters,
) -> Database {
    let went_back = |earlier: &Counters| {
        earlier.reset != now.reset || now.commits < earlier.commits || now.hit < earlier.hit || now.read < earlier.read
    };
    let reset = restarted || earlier.is_some_and(went_back);
    let earlier = earlier.filter(|_| !reset && seconds > 0.0);
    let grown = |of: fn(&Counters) -> i64| earlier.map(|earlier| (of(now) - of(earlier)).max(0));
    let a_second = |of: fn(&Counters) -> i64| grown(of).map(|grown| grown as f64 / seconds);
    let (hit, read) = (grown(|one| one.hit), grown(|one| one.read));
    Database {
        name: now.name.clone(),
        transactions_per_second: a_second(|one| one.commits + one.rollbacks),
        commits_per_second: a_second(|one| one.commits),
        rollbacks_per_second: a_second(|one| one.rollbacks),
        temporary_bytes_per_second: a_second(|one| one.temporary_bytes),
        deadlocks_now: grown(|one| one.deadlocks),
        cache_hit_ratio: hit.zip(read).and_then(|(hit, read)| enough(hit, read, parameters)),
        cache_hit_ratio_all_time: ratio(now.hit, now.read),
        reads: hit.zip(read).map(|(hit, read)| hit + read),
        commits: now.commits,
        rollbacks: now.rollbacks,
        deadlocks: now.deadlocks,
        connections: now.connections,
        statistics_since: now.reset,
        reset,
    }
}

/// None of nothing.
fn ratio(hit: i64, read: i64) -> Option<f64> {
    Some(hit + read).filter(|all| *all > 0).map(|all| hit as f64 / all as f64)
}

fn enough(hit: i64, read: i64, parameters: &Parameters) -> Option<f64> {
    ratio(hit, read).filter(|_| hit + read >= parameters.minimum_reads)
}

fn judge(database: &Database, parameters: &Parameters, report: &mut Report) {
    let name = &database.name;
    if database.reset {
        report.note(format!("{name}: its counters went back between the two looks; they give no rate"));
    }
    if let Some(share) = database.cache_hit_ratio.filter(|share| *share < parameters.warn_cache_hit_ratio) {
        report
            .warning(format!(
                "{name}: {:.1} % of {} blocks were found in memory",
                share * 100.0,
                database.reads.unwrap_or(0)
            ))
            .detail("The rest was asked of the operating system, or of the disk.")
            .remedy("postgres-tuning", &json!({}), "says whether shared_buffers fits the machine");
    }
    if let Some(deadlocks) = database.deadlocks_now.filter(|deadlocks| *deadlocks > 0) {
        report
            .warning(format!("{name}: {deadlocks} deadlocks between the two looks"))
            .detail("One transaction of each was aborted.")
            .remedy("postgres-locks", &json!({}), "shows who waits for whom");
    }
}
