//! Does a cache answer, within its memory, replicated and saved?

use rota_sdk::cache::{DatabaseFacts, NodeInfo, Pong, Readiness};
use rota_sdk::prelude::*;
use std::time::Duration;

mod judge;
#[cfg(test)]
mod tests;

procedure! {
    name: "cache-health",
    summary: "Checks answers, memory, connections, evictions, replication and persistence of a cache.",
    description: include_str!("../README.md"),
    risk: observe,
    idempotent: true,
    slots: {
        cache: cache [read] "Pings every node and reads what it says of itself (PING, INFO).",
    },
    examples: [
        "A cache without replicas" => json!({ "expected_replicas": 0 }),
        "A server whose own limit is not set" => json!({ "expected_replicas": 1, "memory_limit_bytes": 4_294_967_296_u64 }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// What is still well.
#[parameters]
pub struct Parameters {
    /// How many replicas each primary must have. Without it, a primary that has none is `unknown`: none may be too few.
    expected_replicas: Option<u32>,
    /// What memory is measured against where the server has no limit of its own, in bytes.
    memory_limit_bytes: Option<u64>,
    /// Warn when so large a share of the memory is used.
    #[parameter(default = 0.75, range = 0.0..=1.0)]
    warn_memory: f64,
    /// Critical when so large a share of the memory is used.
    #[parameter(default = 0.9, range = 0.0..=1.0)]
    critical_memory: f64,
    /// Warn when so large a share of the connections is used.
    #[parameter(default = 0.8, range = 0.0..=1.0)]
    warn_connections: f64,
    /// Critical when so large a share of the connections is used.
    #[parameter(default = 0.95, range = 0.0..=1.0)]
    critical_connections: f64,
    /// Warn when a ping takes so many milliseconds.
    #[parameter(default = 100.0, range = 0.0..)]
    warn_ping_ms: f64,
    /// Warn when less than this share of the reads found its key. Without it, it is only reported.
    warn_hit_ratio: Option<f64>,
    /// Warn when a replica is so far behind (bytes; on Dragonfly, changes).
    #[parameter(default = 16 << 20, range = 0..)]
    warn_lag: i64,
    /// How long evictions are watched, in seconds.
    #[parameter(default = 1, range = 0..=60)]
    sample_seconds: u32,
}

/// What was seen.
#[data]
pub struct Data {
    /// Each node.
    nodes: Vec<Node>,
    /// The databases that hold keys.
    databases: Vec<Database>,
    /// Whether everything that matters could be seen. If not, the status is never ok.
    visibility_complete: bool,
}

/// A node.
#[data]
pub struct Node {
    /// Its number, from 0.
    node: u32,
    /// `ready`, `loading`, `stale` or `busy`.
    state: String,
    /// How long its answer to a ping took, in milliseconds.
    ping_ms: f64,
    /// `dragonfly`, `redis` or `valkey`.
    product: Option<String>,
    /// Its version.
    version: Option<String>,
    /// Bytes in use.
    memory_used: Option<u64>,
    /// The share of the limit that is in use.
    memory_share: Option<f64>,
    /// Clients that are connected.
    clients: Option<u64>,
    /// Connections that were refused since it started; null where it does not count them.
    rejected: Option<u64>,
    /// Keys that were evicted since it started.
    evicted: Option<u64>,
    /// Keys that were evicted while this run watched.
    evicted_now: Option<u64>,
    /// The share of reads that found their key, since it started.
    hit_ratio: Option<f64>,
    /// Whether it is a replica.
    replica: Option<bool>,
    /// Replicas that it has.
    replicas: Option<u32>,
}

/// A database.
#[data]
pub struct Database {
    /// Its number.
    database: u32,
    /// Keys in it.
    keys: u64,
    /// Of them, those that expire.
    expiring: u64,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let cache = cx.cache().open().await?;
    let mut report = Report::new();
    let pongs = cache.ping().await?;
    for pong in &pongs {
        judge::ping(pong, &parameters, &mut report);
    }
    if pongs.iter().any(|pong| pong.state != Readiness::Ready) {
        // Such a server refuses every other question.
        report.incomplete();
        report.summary(format!("{} of {} nodes answer commands", ready(&pongs), pongs.len()));
        let nodes = pongs.iter().map(|pong| node(pong, None, None, &parameters)).collect();
        return Ok(report.data(Data { nodes, databases: Vec::new(), visibility_complete: false }));
    }
    let before = cache.info().await?;
    cx.sleep(Duration::from_secs(parameters.sample_seconds.into())).await?;
    let after = cache.info().await?;
    let databases = cache.keyspace().await?;

    let mut complete = true;
    let mut nodes = Vec::new();
    for (place, info) in after.iter().enumerate() {
        let evicted = before.get(place).and_then(|before| since(before.traffic.evicted, info.traffic.evicted));
        complete &= judge::node(info, evicted, &parameters, &mut report);
        if let Some(pong) = pongs.get(place) {
            nodes.push(node(pong, Some(info), evicted, &parameters));
        }
    }
    if !complete {
        report.incomplete();
    }
    tables(&nodes, &databases, &mut report);
    report.summary(summary(&after, &databases));
    let databases =
        databases.into_iter().map(|DatabaseFacts { database, keys, expiring }| Database { database, keys, expiring });
    Ok(report.data(Data { nodes, databases: databases.collect(), visibility_complete: complete }))
}

fn ready(pongs: &[Pong]) -> usize {
    pongs.iter().filter(|pong| pong.state == Readiness::Ready).count()
}

/// How much a counter grew; a server that restarted in between began anew.
fn since(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    Some(after?.checked_sub(before?).unwrap_or(after?))
}

fn state(state: Readiness) -> &'static str {
    match state {
        Readiness::Ready => "ready",
        Readiness::Loading => "loading",
        Readiness::Stale => "stale",
        Readiness::Busy => "busy",
    }
}

fn node(pong: &Pong, info: Option<&NodeInfo>, evicted_now: Option<u64>, parameters: &Parameters) -> Node {
    Node {
        node: pong.node,
        state: state(pong.state).to_owned(),
        ping_ms: pong.microseconds as f64 / 1_000.0,
        product: info.map(|info| info.server.product.clone()),
        version: info.map(|info| info.server.version.clone()),
        memory_used: info.and_then(|info| info.memory.used),
        memory_share: info.and_then(|info| judge::memory_share(info, parameters)),
        clients: info.and_then(|info| info.clients.connected),
        rejected: info.and_then(|info| info.clients.rejected),
        evicted: info.and_then(|info| info.traffic.evicted),
        evicted_now,
        hit_ratio: info.and_then(judge::hit_ratio),
        replica: info.and_then(|info| info.replication.is_replica),
        replicas: info.and_then(|info| info.replication.replicas),
    }
}

fn tables(nodes: &[Node], databases: &[DatabaseFacts], report: &mut Report) {
    for node in nodes {
        let name = node.node.to_string();
        let labels = [("node", name.as_str())];
        for (metric, value) in [
            ("memory_used_bytes", node.memory_used.map(|bytes| bytes as f64)),
            ("memory_used_ratio", node.memory_share),
            ("connected_clients", node.clients.map(|count| count as f64)),
            ("hit_ratio", node.hit_ratio),
            ("ping_milliseconds", Some(node.ping_ms)),
        ] {
            if let Some(value) = value {
                report.metric(metric, &labels, value);
            }
        }
    }
    let mut table = report.table(
        "nodes",
        "Nodes",
        ["node", "state", "product", "memory", "of limit", "clients", "hit ratio", "evicted", "replicas"],
    );
    for node in nodes {
        table.row(cells![
            u64::from(node.node),
            &node.state,
            node.product.as_deref(),
            node.memory_used.map(Bytes),
            node.memory_share.map(Ratio),
            node.clients,
            node.hit_ratio.map(Ratio),
            node.evicted,
            node.replicas.map(u64::from)
        ]);
    }
    let mut table = report.table("databases", "Keys by database", ["database", "keys", "expiring"]);
    for facts in databases {
        table.row(cells![u64::from(facts.database), facts.keys, facts.expiring]);
    }
}

fn summary(nodes: &[NodeInfo], databases: &[DatabaseFacts]) -> String {
    let keys: u64 = databases.iter().map(|facts| facts.keys).sum();
    let server =
        nodes.first().map(|node| format!("{} {}", node.server.product, node.server.version)).unwrap_or_default();
    let nodes = if nodes.len() == 1 { String::new() } else { format!(", {} primaries", nodes.len()) };
    format!("{server}{nodes}: {keys} keys")
}
