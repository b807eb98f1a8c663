//! Who waits for whose locks?

use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;

mod look;
mod modes;
mod tell;
#[cfg(test)]
mod tests;
mod tree;

procedure! {
    name: "postgres-locks",
    summary: "Shows who waits for whose locks, as trees below those who hold everybody up.",
    description: include_str!("../README.md"),
    risk: observe,
    idempotent: true,
    slots: {
        database: sql [read] "Reads locks, sessions and prepared transactions; the role needs pg_monitor to see everything.",
    },
    examples: ["Who waits now" => json!({}), "A wait of a second is worth a warning" => json!({ "warn_wait_seconds": 1.0 })],
    parameters: Parameters,
    report: Data,
    run
}

/// From when on a wait matters.
#[parameters]
pub struct Parameters {
    /// Warn when a session waits for so many seconds.
    #[parameter(default = 10.0, range = 0.0..)]
    warn_wait_seconds: f64,
    /// Critical when a session waits for so many seconds.
    #[parameter(default = 300.0, range = 0.0..)]
    critical_wait_seconds: f64,
    /// Critical when a root holds up so many sessions.
    #[parameter(default = 20, range = 1..)]
    critical_waiters: u32,
    /// Only trees in which a session of one of these databases waits; without any, all.
    #[parameter(default)]
    databases: Vec<String>,
}

/// Who waits for whom.
#[data]
pub struct Data {
    /// The server.
    server: Server,
    /// Whether everything that matters could be seen. If not, the status is never ok.
    visibility_complete: bool,
    /// How many sessions wait for a lock.
    waiting: usize,
    /// How many edges there are: waiting session to whoever blocks it.
    edge_count: usize,
    /// The edges.
    edges: Vec<look::Edge>,
    /// Everybody in an edge.
    nodes: Vec<look::Node>,
    /// Those who hold others up and wait for nobody, the one with the most waiters first; and circles.
    roots: Vec<tree::Root>,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let mut session = cx.database().open().await?;
    let server = Server::inspect(&mut session).await?;
    let seen = look::look(&mut session).await?;
    let seen = if parameters.databases.is_empty() { seen } else { seen.of_databases(&parameters.databases) };
    let forest = tree::grow(&seen);

    let mut report = Report::new();
    tell::roots(&forest, &seen, &parameters, &mut report);
    tell::show(&forest, &seen, &mut report);
    server.report_visibility(&mut report);
    let waiting = seen.waiters().len();
    report.metric("lock_waiters", &[], f64::from(u32::try_from(waiting).unwrap_or(u32::MAX)));
    report.summary(tell::summary(&forest, waiting));
    let (edges, nodes) = (seen.edges, seen.nodes);
    Ok(report.data(Data {
        visibility_complete: server.visibility_complete,
        server,
        waiting,
        edge_count: edges.len(),
        edges,
        nodes,
        roots: forest.roots,
    }))
}
