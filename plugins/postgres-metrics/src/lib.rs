//! What a PostgreSQL server does in a second, how well its memory serves, and how far its replicas are behind.

use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use std::time::Duration;

mod activity;
mod lag;
#[cfg(test)]
mod tests;

procedure! {
    name: "postgres-metrics",
    summary: "Measures transactions, hit ratios and replication lag of PostgreSQL, for a report and for /metrics.",
    description: include_str!("../README.md"),
    risk: observe,
    idempotent: true,
    slots: {
        database: sql [read] "Reads the statistics views twice; the role needs pg_monitor to see everything.",
        standby: sql [read] optional "A standby of that server: how far it has replayed is measured against the primary.",
    },
    examples: [
        "A quick look" => json!({ "sample_seconds": 1 }),
        "One database" => json!({ "databases": ["kosmos"], "minimum_reads": 10_000 }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// What to measure, and what is still well.
#[parameters]
pub struct Parameters {
    /// The databases to measure. Without it, all of the server.
    databases: Option<Vec<String>>,
    /// How long to wait between the two looks, in seconds.
    #[parameter(default = 10, range = 1..=300)]
    sample_seconds: u32,
    /// With fewer reads between the two looks, a hit ratio says nothing and is not given.
    #[parameter(default = 1_000, range = 1..)]
    minimum_reads: i64,
    /// Warn when a smaller share of the blocks was found in memory.
    #[parameter(default = 0.99, range = 0.0..=1.0)]
    warn_cache_hit_ratio: f64,
    /// Warn when a smaller share of the blocks of indexes was found in memory.
    #[parameter(default = 0.99, range = 0.0..=1.0)]
    warn_index_hit_ratio: f64,
    /// Warn when a replica is so many bytes behind.
    #[parameter(default = 100 << 20, range = 0..)]
    warn_lag_bytes: i64,
    /// Critical when a replica is so many bytes behind.
    #[parameter(default = 1 << 30, range = 0..)]
    critical_lag_bytes: i64,
    /// Warn when a replica is so many seconds behind.
    #[parameter(default = 30.0, range = 0.0..)]
    warn_lag_seconds: f64,
    /// Critical when a replica is so many seconds behind.
    #[parameter(default = 300.0, range = 0.0..)]
    critical_lag_seconds: f64,
    /// Measure so many databases at most; with more, not everything was seen.
    #[parameter(default = 200, range = 1..=10_000)]
    maximum_databases: u32,
}

/// What was measured.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// Whether everything that matters could be seen. If not, the status is never ok.
    visibility_complete: bool,
    /// How long it was between the two looks, by the server's clock.
    sample_seconds: f64,
    /// Each database.
    databases: Vec<activity::Database>,
    /// The tables and indexes of the database that was connected to.
    tables: activity::Tables,
    /// How far replicas are behind.
    replication: lag::Replication,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let mut session = cx.database().open().await?;
    let mut server = Server::inspect(&mut session).await?;
    let mut report = Report::new();
    let before = activity::look(&mut session, &parameters).await?;
    cx.sleep(Duration::from_secs(parameters.sample_seconds.into())).await?;
    let after = activity::look(&mut session, &parameters).await?;
    let activity::Measured { seconds, databases, tables } =
        activity::measure(&before, &after, &parameters, &mut server, &mut report);
    let replication = lag::check(&cx, &mut session, &parameters, &mut server, &mut report).await?;

    let binding = cx.database().binding().unwrap_or_default();
    publish(&cx, &mut report, &binding, &databases, &tables, &replication);
    show(&mut report, &databases, &tables, &replication);
    server.report_visibility(&mut report);
    let rate: f64 = databases.iter().filter_map(|database| database.transactions_per_second).sum();
    let kind = if server.in_recovery { "standby" } else { "primary" };
    report.summary(format!(
        "PostgreSQL {} ({kind}): {rate:.1} transactions a second in {} databases, {}",
        server.release(),
        databases.len(),
        replication.spoken()
    ));
    let visibility_complete = server.visibility_complete;
    Ok(report.data(Data { server, visibility_complete, sample_seconds: seconds, databases, tables, replication }))
}

/// The same values for the report and for /metrics. What is not known is left out.
fn publish(
    cx: &Context,
    report: &mut Report,
    binding: &str,
    databases: &[activity::Database],
    tables: &activity::Tables,
    replication: &lag::Replication,
) {
    let mut gauge = |name: &str, labels: &[(&str, &str)], value: Option<f64>| {
        let Some(value) = value else { return };
        report.metric(name, labels, value);
        let mut labels = labels.to_vec();
        labels.push(("binding", binding));
        cx.gauge(&format!("postgres_{name}"), &labels, value);
    };
    gauge("in_recovery", &[], Some(f64::from(u8::from(replication.is_standby()))));
    for database in databases {
        let of = [("database", database.name.as_str())];
        gauge("transactions_per_second", &of, database.transactions_per_second);
        gauge("commits_per_second", &of, database.commits_per_second);
        gauge("rollbacks_per_second", &of, database.rollbacks_per_second);
        gauge("cache_hit_ratio", &of, database.cache_hit_ratio);
        gauge("temporary_bytes_per_second", &of, database.temporary_bytes_per_second);
        gauge("connections", &of, Some(database.connections as f64));
    }
    let of = [("database", tables.database.as_str())];
    gauge("table_hit_ratio", &of, tables.table_hit_ratio);
    gauge("index_hit_ratio", &of, tables.index_hit_ratio);
    for replica in &replication.replicas {
        let of = [("replica", replica.name.as_str())];
        gauge("replication_lag_bytes", &of, replica.lag_bytes.map(|bytes| bytes as f64));
        gauge("replication_lag_seconds", &of, replica.lag_seconds);
    }
    for database in databases {
        let labels = [("database", database.name.as_str()), ("binding", binding)];
        for (outcome, value) in [("commit", database.commits), ("rollback", database.rollbacks)] {
            let labels = [labels[0], labels[1], ("outcome", outcome)];
            cx.counter("postgres_transactions", &labels, value as f64);
        }
        cx.counter("postgres_deadlocks", &labels, database.deadlocks as f64);
    }
}

fn show(
    report: &mut Report,
    databases: &[activity::Database],
    tables: &activity::Tables,
    replication: &lag::Replication,
) {
    let columns = ["database", "transactions/s", "rollbacks/s", "cache hits", "cache hits, all time", "connections"];
    let mut table = report.table("databases", "Databases", columns);
    for database in databases {
        table.row(cells![
            &database.name,
            database.transactions_per_second,
            database.rollbacks_per_second,
            database.cache_hit_ratio.map(Ratio),
            database.cache_hit_ratio_all_time.map(Ratio),
            database.connections
        ]);
    }
    let title = format!("Tables and indexes of {}", tables.database);
    let mut table = report.table("tables", &title, ["what", "hits", "hits, all time"]);
    table.row(cells!["tables", tables.table_hit_ratio.map(Ratio), tables.table_hit_ratio_all_time.map(Ratio)]);
    table.row(cells!["indexes", tables.index_hit_ratio.map(Ratio), tables.index_hit_ratio_all_time.map(Ratio)]);
    if !replication.replicas.is_empty() {
        let mut table = report.table("replicas", "Replicas", ["replica", "state", "behind", "behind for"]);
        for replica in &replication.replicas {
            let behind = replica.lag_bytes.map(|bytes| Bytes(u64::try_from(bytes).unwrap_or(0)));
            table.row(cells![&replica.name, &replica.state, behind, replica.lag_seconds.map(Seconds)]);
        }
    }
}
