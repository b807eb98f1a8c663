//! Vacuums the tables that need it, names who holds dead rows back, and proves that they went.

use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;

mod ages;
mod choose;
mod holders;
mod judge;
mod measure;
#[cfg(test)]
mod tests;
mod watch;
mod work;

procedure! {
    name: "postgres-vacuum",
    summary: "Vacuums the tables that need it, names who holds dead rows back, and proves that they went.",
    description: include_str!("../README.md"),
    risk: change,
    idempotent: true,
    slots: {
        database: sql [read, maintain] "Finds tables with dead or old rows, vacuums them one by one, and measures them again.",
    },
    examples: [
        "What needs it, for at most an hour" => json!({}),
        "Two tables, whatever their state" => json!({ "tables": ["public.orders", "public.\"Order Lines\""] }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// What to vacuum, and for how long.
#[parameters]
pub struct Parameters {
    /// Only these tables, whatever their state: `orders`, `public.orders` or `public."Odd name"`.
    #[parameter(default)]
    tables: Vec<String>,
    /// Only tables in these schemas.
    #[parameter(default)]
    schemas: Vec<String>,
    /// Also the system's catalogs (only a superuser may vacuum them).
    #[parameter(default = false)]
    catalogs: bool,
    /// A table needs vacuuming when it has more dead rows than this, and the share below.
    #[parameter(default = 10_000, range = 0..)]
    min_dead_rows: i64,
    /// The share of dead rows in all rows from which a table needs vacuuming.
    #[parameter(default = 0.1, range = 0.0..=1.0)]
    min_dead_share: f64,
    /// Warn, and vacuum a table, when it holds transaction ids older than this.
    #[parameter(default = 300_000_000, range = 1..=2_000_000_000)]
    warn_age: i64,
    /// Critical when a database holds transaction ids older than this.
    #[parameter(default = 1_000_000_000, range = 1..=2_000_000_000)]
    critical_age: i64,
    /// Name whoever keeps a transaction open for more seconds than this, whether rows were held back or not.
    #[parameter(default = 300.0, range = 0.0..)]
    holder_seconds: f64,
    /// Begin no further table after so many seconds, and end the one under way.
    #[parameter(default = 3600, range = 1..=604_800)]
    budget_seconds: u32,
    /// Collect the planner's statistics as well.
    #[parameter(default = true)]
    analyze: bool,
}

/// What was found and done.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// Whether everything that matters could be seen. If not, the status is never ok.
    visibility_complete: bool,
    /// Who kept dead rows from being removed when the run began, the oldest first.
    holders: Vec<holders::Holder>,
    /// The age of each database's oldest transaction id, after the work.
    databases: Vec<ages::Database>,
    /// How many tables were looked at.
    tables_seen: usize,
    /// The tables that needed it, in the order of their turn.
    tables: Vec<work::Worked>,
    /// How long it took, in seconds.
    seconds: f64,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let started = cx.now();
    let mut worker = cx.database().open().await?;
    let mut watcher = cx.database().open().await?;
    let mut server = Server::inspect(&mut watcher).await?;
    if server.in_recovery {
        return Err(Error::new("this server is a standby, and only a primary can be vacuumed")
            .hint("bind the primary; its vacuum reaches the standbys"));
    }
    let holders = holders::look(&mut watcher).await?;
    let chosen = choose::choose(&mut watcher, &server, &parameters).await?;
    let mut run = work::Run::new(&cx, &parameters, server.major(), &mut worker, &mut watcher);
    let ended = run.all(chosen.tables).await;
    let tables = run.finish();

    let databases = match ended {
        Ok(()) => ages::look(&mut watcher).await?,
        Err(_) => Vec::new(),
    };
    let mut report = Report::new();
    let planned = cx.is_plan();
    judge::names(&chosen.unknown, &mut report);
    judge::holders(&holders, &parameters, &mut report);
    judge::tables(&tables, &parameters, &mut server, &mut report);
    judge::ages(&databases, &server, &parameters, &mut report);
    judge::show(&holders, &tables, &databases, &mut report);
    server.report_visibility(&mut report);
    let seconds = cx.now().seconds_since(started);
    report.summary(judge::summary(&tables, chosen.seen, seconds, planned));
    let data = Data {
        visibility_complete: server.visibility_complete,
        server,
        holders,
        databases,
        tables_seen: chosen.seen,
        tables,
        seconds,
    };
    match ended {
        Ok(()) => Ok(report.data(data)),
        Err(error) => Err(error.with_report(report.data(data))),
    }
}
