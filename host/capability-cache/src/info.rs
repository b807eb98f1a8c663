//! What a server says in INFO, typed. What it does not say, or says in a way that means nothing, is none.

use crate::wit::{
    ClientFacts, DatabaseFacts, MemoryFacts, NodeInfo, PersistenceFacts, ReplicationFacts, ServerFacts, TrafficFacts,
};
use std::collections::BTreeMap;
use std::str::FromStr;

/// The lines of INFO.
struct Fields<'t>(BTreeMap<&'t str, &'t str>);

impl<'t> Fields<'t> {
    fn of(text: &'t str) -> Self {
        Self(text.lines().filter_map(|line| line.trim_end().split_once(':')).collect())
    }

    fn text(&self, key: &str) -> Option<&'t str> {
        self.0.get(key).copied().filter(|value| !value.is_empty())
    }

    /// A number. Dragonfly's -1, for what it does not count, is none: it does not parse as one without a sign.
    fn number<N: FromStr>(&self, key: &str) -> Option<N> {
        self.text(key)?.parse().ok()
    }

    fn is(&self, key: &str, yes: &str) -> Option<bool> {
        self.text(key).map(|value| value == yes)
    }
}

/// Whether the server is Dragonfly, whose UNLINK frees in place.
pub(crate) fn is_dragonfly(info: &NodeInfo) -> bool {
    info.server.product == "dragonfly"
}

/// What a node says of itself.
pub(crate) fn node(node: u32, text: &str) -> NodeInfo {
    let fields = Fields::of(text);
    NodeInfo {
        node,
        server: server(&fields),
        clients: ClientFacts {
            connected: fields.number("connected_clients"),
            blocked: fields.number("blocked_clients"),
            maximum: fields.number("maxclients"),
            rejected: fields.number("rejected_connections"),
        },
        memory: MemoryFacts {
            used: fields.number("used_memory"),
            peak: fields.number("used_memory_peak"),
            resident: fields.number("used_memory_rss"),
            limit: fields.number("maxmemory"),
            policy: fields.text("maxmemory_policy").or_else(|| fields.text("cache_mode")).map(word),
        },
        traffic: TrafficFacts {
            commands: fields.number("total_commands_processed"),
            hits: fields.number("keyspace_hits"),
            misses: fields.number("keyspace_misses"),
            evicted: fields.number("evicted_keys"),
            expired: fields.number("expired_keys"),
        },
        replication: replication(&fields),
        persistence: persistence(&fields),
        databases: databases(&fields),
    }
}

fn server(fields: &Fields<'_>) -> ServerFacts {
    let (product, version) = if let Some(version) = fields.text("dragonfly_version") {
        ("dragonfly", Some(version.trim_start_matches("df-").trim_start_matches('v')))
    } else if let Some(version) = fields.text("valkey_version") {
        ("valkey", Some(version))
    } else {
        ("redis", fields.text("redis_version"))
    };
    ServerFacts {
        product: product.to_owned(),
        version: version.map(word).unwrap_or_default(),
        uptime_seconds: fields.number("uptime_in_seconds"),
    }
}

fn replication(fields: &Fields<'_>) -> ReplicationFacts {
    let role = fields.text("role");
    let is_replica = role.map(|role| matches!(role, "slave" | "replica"));
    let replicas: Option<u32> = fields.number("connected_slaves").filter(|_| is_replica == Some(false));
    let lags: Vec<Option<u64>> = (0..replicas.unwrap_or(0)).map(|n| replica_lag(fields, n)).collect();
    ReplicationFacts {
        is_replica,
        link_up: fields.is("master_link_status", "up").filter(|_| is_replica == Some(true)),
        syncing: fields.is("master_sync_in_progress", "1").filter(|_| is_replica == Some(true)),
        replicas,
        // One that is not known makes the slowest unknown.
        lag: lags.into_iter().collect::<Option<Vec<u64>>>().and_then(|lags| lags.into_iter().max()),
    }
}

/// `slave0:ip=...,port=...,state=online,offset=123,lag=0`: bytes between the primary's offset and its own; Dragonfly says
/// `lag=` in changes, and has no offset.
fn replica_lag(fields: &Fields<'_>, number: u32) -> Option<u64> {
    let line = fields.text(&format!("slave{number}"))?;
    let part =
        |key: &str| line.split(',').find_map(|part| part.strip_prefix(key)?.strip_prefix('=')?.parse::<u64>().ok());
    match (fields.number::<u64>("master_repl_offset"), part("offset")) {
        (Some(primary), Some(own)) => Some(primary.saturating_sub(own)),
        _ => part("lag"),
    }
}

fn persistence(fields: &Fields<'_>) -> PersistenceFacts {
    let at: Option<i64> = fields.number("rdb_last_save_time").or_else(|| fields.number("last_success_save"));
    PersistenceFacts {
        loading: fields.is("loading", "1"),
        snapshot_ok: fields.is("rdb_last_bgsave_status", "ok"),
        snapshot_at: at.filter(|at| *at > 0).and_then(|at| at.checked_mul(1_000_000)),
        unsaved_changes: fields
            .number("rdb_changes_since_last_save")
            .or_else(|| fields.number("rdb_changes_since_last_success_save")),
        log_ok: fields.is("aof_last_write_status", "ok").filter(|_| fields.is("aof_enabled", "1") == Some(true)),
    }
}

/// `db0:keys=3,expires=1,avg_ttl=0`.
fn databases(fields: &Fields<'_>) -> Vec<DatabaseFacts> {
    let mut found: Vec<DatabaseFacts> = fields
        .0
        .iter()
        .filter_map(|(key, value)| {
            let database = key.strip_prefix("db")?.parse().ok()?;
            let part = |key: &str| {
                value.split(',').find_map(|part| part.strip_prefix(key)?.strip_prefix('=')?.parse::<u64>().ok())
            };
            Some(DatabaseFacts { database, keys: part("keys")?, expiring: part("expires")? })
        })
        .collect();
    found.sort_by_key(|facts| facts.database);
    found
}

/// The databases of several nodes together.
pub(crate) fn together(nodes: &[NodeInfo]) -> Vec<DatabaseFacts> {
    let mut sums: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for facts in nodes.iter().flat_map(|node| &node.databases) {
        let (keys, expiring) = sums.entry(facts.database).or_default();
        *keys += facts.keys;
        *expiring += facts.expiring;
    }
    let facts = |(database, (keys, expiring))| DatabaseFacts { database, keys, expiring };
    sums.into_iter().map(facts).collect()
}

/// A word of a server's: printable, short.
fn word(text: &str) -> String {
    rota_telemetry::sanitize_line(text).chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dragonflys_stubs_are_unknown() {
        let said = node(
            0,
            "redis_version:7.2.0\r\ndragonfly_version:df-v1.15.0\r\nrejected_connections:-1\r\nused_memory:10\r\nrole:master\r\n\
             connected_slaves:1\r\nslave0:ip=10.0.0.9,port=6379,state=online,lag=7\r\n",
        );
        assert_eq!((said.server.product.as_str(), said.server.version.as_str()), ("dragonfly", "1.15.0"));
        assert_eq!((said.clients.rejected, said.memory.used, said.memory.limit), (None, Some(10), None));
        assert_eq!((said.replication.replicas, said.replication.lag), (Some(1), Some(7)));
        assert_eq!(said.persistence.snapshot_ok, None);
        assert!(!format!("{said:?}").contains("10.0.0.9"), "no address");
    }

    #[test]
    fn a_replica_that_lost_its_primary_says_so() {
        let said = node(0, "role:slave\nmaster_link_status:down\nmaster_sync_in_progress:0\nconnected_slaves:0\n");
        assert_eq!((said.replication.is_replica, said.replication.link_up), (Some(true), Some(false)));
        assert_eq!(said.replication.replicas, None);
    }

    #[test]
    fn the_slowest_replica_counts_and_an_unknown_one_makes_it_unknown() {
        let base = "role:master\nconnected_slaves:2\nmaster_repl_offset:100\nslave0:state=online,offset=40,lag=0\n";
        assert_eq!(node(0, &format!("{base}slave1:offset=90\n")).replication.lag, Some(60));
        assert_eq!(node(0, &format!("{base}slave1:state=wait\n")).replication.lag, None);
    }

    #[test]
    fn databases_are_read_and_added_up() {
        let one = node(0, "db0:keys=3,expires=1,avg_ttl=0\ndb12:keys=1,expires=0,avg_ttl=5\ndbx:keys=9\n");
        let sum = together(&[one.clone(), one]);
        let flat: Vec<_> = sum.iter().map(|f| (f.database, f.keys, f.expiring)).collect();
        assert_eq!(flat, [(0, 6, 2), (12, 2, 0)]);
    }
}
