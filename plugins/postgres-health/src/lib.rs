//! Is a PostgreSQL server ready, replicated, within its space, and free of stuck sessions?

use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;

mod activity;
mod databases;
mod readiness;
mod replication;
mod sizes;
#[cfg(test)]
mod tests;

procedure! {
    name: "postgres-health",
    summary: "Checks readiness, replication, sizes and activity of a PostgreSQL server.",
    description: include_str!("../README.md"),
    risk: observe,
    idempotent: true,
    slots: {
        database: sql [read] "Reads the catalog and the statistics views; the role needs pg_monitor to see everything.",
        canary: sql [read, write, ddl] optional "Proves that the primary takes writes, with a temporary table that is gone at commit.",
    },
    examples: [
        "Everything, on a server without replicas" => json!({ "expected_replicas": 0 }),
        "Every database of a server" => json!({ "databases": ["*"], "expected_replicas": 0 }),
        "Only replication, with two replicas expected" => json!({ "checks": ["replication"], "expected_replicas": 2 }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// What to check, and what is still well.
#[parameters]
pub struct Parameters {
    /// The checks to run, in any order.
    #[parameter(default = vec![Check::Readiness, Check::Replication, Check::Sizes, Check::Activity])]
    checks: Vec<Check>,
    /// How many physical replicas must be streaming from this server. Without it, a server that has none is `unknown`: zero rows are
    /// no proof of health.
    expected_replicas: Option<u32>,
    /// Warn when a replica is so many bytes behind (or a slot keeps so many).
    #[parameter(default = 100 << 20, range = 0..)]
    warn_lag_bytes: i64,
    /// Critical when a replica is so many bytes behind (or an inactive slot keeps so many).
    #[parameter(default = 1 << 30, range = 0..)]
    critical_lag_bytes: i64,
    /// Warn when a replica is so many seconds behind.
    #[parameter(default = 30.0, range = 0.0..)]
    warn_lag_seconds: f64,
    /// Critical when a replica is so many seconds behind.
    #[parameter(default = 300.0, range = 0.0..)]
    critical_lag_seconds: f64,
    /// Critical when a session is idle in a transaction for so many seconds.
    #[parameter(default = 300.0, range = 0.0..)]
    idle_in_transaction_seconds: f64,
    /// Warn when a transaction is open for so many seconds.
    #[parameter(default = 3600.0, range = 0.0..)]
    warn_transaction_seconds: f64,
    /// Warn when a session waits for a lock for so many seconds.
    #[parameter(default = 60.0, range = 0.0..)]
    warn_lock_seconds: f64,
    /// Warn when so large a share of the connections is used.
    #[parameter(default = 0.8, range = 0.0..=1.0)]
    warn_connections: f64,
    /// Critical when so large a share of the connections is used.
    #[parameter(default = 0.95, range = 0.0..=1.0)]
    critical_connections: f64,
    /// Look into these databases of the server as well, each by a session of its own; `*`: all that may be connected to.
    #[parameter(default = Vec::new())]
    databases: Vec<String>,
    /// How many of them are looked into at once; fewer where the binding allows fewer sessions (`max_connections`).
    #[parameter(default = 6, range = 1..=64)]
    concurrency: u32,
    /// How many of the largest tables to list.
    #[parameter(default = 10, range = 0..=1000)]
    largest: u32,
}

/// A check.
#[parameters]
pub enum Check {
    /// Log in, see whether it is a primary, and since when it runs; write a canary where the slot is bound.
    Readiness,
    /// Replicas and slots of a primary, the receiver of a standby.
    Replication,
    /// Sizes of databases and of the largest tables.
    Sizes,
    /// Sessions, waits, and transactions that stay open.
    Activity,
}

/// What was seen. A check that was not asked for is null.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// Whether everything that matters could be seen. If not, the status is never ok.
    visibility_complete: bool,
    /// Can it be used?
    readiness: Option<readiness::Readiness>,
    /// Is what it holds elsewhere, too?
    replication: Option<replication::Replication>,
    /// How large is it?
    sizes: Option<sizes::Sizes>,
    /// What goes on in it?
    activity: Option<activity::Activity>,
    /// What is in each database that was asked for?
    databases: Option<Vec<databases::InDatabase>>,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let before = cx.now();
    let mut session = cx.database().open().await?;
    let login_seconds = cx.now().seconds_since(before);
    let mut server = Server::inspect(&mut session).await?;
    let mut report = Report::new();
    let wanted = |check| parameters.checks.contains(&check);

    let mut readiness = None;
    if wanted(Check::Readiness) {
        readiness = Some(readiness::check(&cx, &server, login_seconds, &mut report).await?);
    }
    let mut replication = None;
    if wanted(Check::Replication) {
        replication = Some(replication::check(&mut session, &parameters, &mut server, &mut report).await?);
    }
    let mut sizes = None;
    if wanted(Check::Sizes) {
        sizes = Some(sizes::check(&mut session, &parameters, &mut server, &mut report).await?);
    }
    let mut activity = None;
    if wanted(Check::Activity) {
        activity = Some(activity::check(&mut session, &parameters, &mut report).await?);
    }

    let mut databases = None;
    if !parameters.databases.is_empty() {
        databases = Some(databases::check(&cx, &mut session, &parameters, &mut server, &mut report).await?);
    }

    server.report_visibility(&mut report);
    report.summary(summary(&server, &report));
    let visibility_complete = server.visibility_complete;
    Ok(report.data(Data { server, visibility_complete, readiness, replication, sizes, activity, databases }))
}

fn summary(server: &Server, report: &Report) -> String {
    let kind = if server.in_recovery { "standby" } else { "primary" };
    let subject = format!("PostgreSQL {} ({kind}, database {})", server.release(), server.database);
    let counted = |severity, word| match report.count(severity) {
        0 => None,
        n => Some(format!("{n} {word}")),
    };
    let parts: Vec<String> = [
        counted(Severity::Critical, "critical"),
        counted(Severity::Warning, "to look at"),
        counted(Severity::Unknown, "unknown"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() { format!("{subject}: healthy") } else { format!("{subject}: {}", parts.join(", ")) }
}

/// A length of time as people say it.
pub(crate) fn spoken(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// A size as people say it.
#[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
pub(crate) fn size(bytes: i64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in ["kB", "MB", "GB", "TB"] {
        if value.abs() < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}
