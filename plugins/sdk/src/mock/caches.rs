//! A cache in memory.

use super::stream::{Ending, Stream};
use crate::HostError;
use crate::bindings::rota::runbook::cache::{
    ClientFacts, DatabaseFacts, KeyUsage, MemoryFacts, NodeInfo, Pattern, PersistenceFacts, Pong, Readiness,
    ReplicationFacts, SeenCommand, ServerFacts, SlowCommand, TrafficFacts, UnlinkOptions, UnlinkPhase, UnlinkProgress,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Keys with what they hold, and how it ended.
pub(super) type Found = (Stream<Vec<u8>>, Ending<u64>);

struct Inner {
    keys: BTreeMap<Vec<u8>, (KeyUsage, Vec<u8>)>,
    pongs: Vec<Pong>,
    nodes: Vec<NodeInfo>,
    slow: Vec<SlowCommand>,
    seen: Vec<SeenCommand>,
    failing: BTreeMap<String, HostError>,
}

/// The cache in a slot. Clones are the same cache. It has one node, which is well, unless the test says otherwise.
#[derive(Clone)]
pub struct CacheMock(Rc<RefCell<Inner>>);

impl Default for CacheMock {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(Inner {
            keys: BTreeMap::new(),
            pongs: vec![Pong { node: 0, state: Readiness::Ready, microseconds: 300 }],
            nodes: vec![well()],
            slow: Vec::new(),
            seen: Vec::new(),
            failing: BTreeMap::new(),
        })))
    }
}

/// A node that is well.
fn well() -> NodeInfo {
    NodeInfo {
        node: 0,
        server: ServerFacts { product: "dragonfly".into(), version: "1.15.0".into(), uptime_seconds: Some(86_400) },
        clients: ClientFacts { connected: Some(10), blocked: Some(0), maximum: Some(64_000), rejected: None },
        memory: MemoryFacts {
            used: Some(1 << 30),
            peak: Some(1 << 30),
            resident: Some(1 << 30),
            limit: Some(4 << 30),
            policy: Some("noeviction".into()),
        },
        traffic: TrafficFacts {
            commands: Some(1_000_000),
            hits: Some(900),
            misses: Some(100),
            evicted: Some(0),
            expired: Some(0),
        },
        replication: ReplicationFacts {
            is_replica: Some(false),
            link_up: None,
            syncing: None,
            replicas: Some(0),
            lag: None,
        },
        persistence: PersistenceFacts {
            loading: Some(false),
            snapshot_ok: Some(true),
            snapshot_at: None,
            unsaved_changes: Some(0),
            log_ok: None,
        },
        databases: vec![DatabaseFacts { database: 0, keys: 100, expiring: 50 }],
    }
}

impl CacheMock {
    /// Put a string there beforehand.
    pub fn key(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &Self {
        let length = value.as_ref().len() as u64;
        let usage =
            KeyUsage { kind: "string".into(), bytes: Some(length + 50), length: Some(length), expires_in: None };
        self.0.borrow_mut().keys.insert(key.as_ref().to_vec(), (usage, value.as_ref().to_vec()));
        self
    }

    /// Put a collection there beforehand: `hash`, `set` ... with so many elements.
    pub fn collection(&self, key: impl AsRef<[u8]>, kind: &str, length: u64) -> &Self {
        let usage = KeyUsage { kind: kind.into(), bytes: Some(length * 40), length: Some(length), expires_in: None };
        self.0.borrow_mut().keys.insert(key.as_ref().to_vec(), (usage, Vec::new()));
        self
    }

    /// The keys, in order.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.0.borrow().keys.keys().cloned().collect()
    }

    /// Change what the node says of itself: `cache.node(|node| node.memory.used = Some(0))`.
    pub fn node(&self, change: impl FnOnce(&mut NodeInfo)) -> &Self {
        change(&mut self.0.borrow_mut().nodes[0]);
        self
    }

    /// Answer pings so.
    pub fn answers(&self, state: Readiness) -> &Self {
        self.0.borrow_mut().pongs = vec![Pong { node: 0, state, microseconds: 300 }];
        self
    }

    /// What is in the slow log, the newest first.
    pub fn slow(&self, commands: Vec<SlowCommand>) -> &Self {
        self.0.borrow_mut().slow = commands;
        self
    }

    /// What is seen by whoever watches.
    pub fn seen(&self, commands: Vec<SeenCommand>) -> &Self {
        self.0.borrow_mut().seen = commands;
        self
    }

    /// Fail every call of a name: `info`, `scan`, `unlink-matching` ...
    pub fn fails(&self, call: &str, error: HostError) -> &Self {
        self.0.borrow_mut().failing.insert(call.to_owned(), error);
        self
    }

    pub(super) fn failing(&self, call: &str) -> Result<(), HostError> {
        self.0.borrow().failing.get(call).cloned().map_or(Ok(()), Err)
    }

    pub(super) fn pongs(&self) -> Vec<Pong> {
        self.0.borrow().pongs.clone()
    }

    pub(super) fn nodes(&self) -> Vec<NodeInfo> {
        self.0.borrow().nodes.clone()
    }

    pub(super) fn slowlog(&self, limit: u32) -> Vec<SlowCommand> {
        self.0.borrow().slow.iter().take(limit as usize).cloned().collect()
    }

    pub(super) fn watched(&self, limit: u32) -> Vec<SeenCommand> {
        self.0.borrow().seen.iter().take(limit as usize).cloned().collect()
    }

    pub(super) fn usage(&self, key: &[u8]) -> Option<KeyUsage> {
        self.0.borrow().keys.get(key).map(|(usage, _)| usage.clone())
    }

    pub(super) fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.borrow().keys.get(key).map(|(_, value)| value.clone())
    }

    pub(super) fn expires(&self, key: &[u8], milliseconds: Option<u64>) -> bool {
        let mut inner = self.0.borrow_mut();
        inner.keys.get_mut(key).map(|(usage, _)| usage.expires_in = milliseconds).is_some()
    }

    pub(super) fn remove(&self, key: &[u8]) -> bool {
        self.0.borrow_mut().keys.remove(key).is_some()
    }

    pub(super) fn matching(&self, pattern: &Pattern) -> Vec<Vec<u8>> {
        let fits = |key: &[u8]| match pattern {
            Pattern::Prefix(prefix) => key.starts_with(prefix),
            Pattern::Glob(glob) => matches(glob, key),
        };
        self.keys().into_iter().filter(|key| fits(key)).collect()
    }

    pub(super) fn scan(&self, pattern: &Pattern) -> Found {
        let keys = self.matching(pattern);
        let count = keys.len() as u64;
        (Stream::whole(keys), Ending::new(Ok(count)))
    }

    /// Find what may be unlinked, or which bound does not hold.
    pub(super) fn find(&self, options: &UnlinkOptions) -> Result<(Vec<Vec<u8>>, UnlinkProgress), HostError> {
        let protects = |key: &[u8]| options.protected.iter().any(|prefix| key.starts_with(prefix));
        let (kept, keys): (Vec<_>, Vec<_>) = self.matching(&options.pattern).into_iter().partition(|key| protects(key));
        let matched = keys.len() as u64;
        if matched > options.maximum_keys {
            return Err(HostError::Conflict(format!("more than {} keys match", options.maximum_keys)));
        }
        if let Some(expected) = options.expected
            && matched.abs_diff(expected) * 100 > expected * u64::from(options.drift_percent)
        {
            return Err(HostError::Conflict(format!("{matched} keys match, and {expected} were planned")));
        }
        let progress = UnlinkProgress {
            phase: UnlinkPhase::Counting,
            matched,
            protected: kept.len() as u64,
            unlinked: 0,
            vanished: 0,
            drained: 0,
            drained_elements: 0,
        };
        Ok((keys, progress))
    }
}

/// Whether a glob of `*`, `?` and escapes matches.
fn matches(glob: &[u8], key: &[u8]) -> bool {
    match (glob.split_first(), key.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => matches(rest, key) || key.split_first().is_some_and(|(_, key)| matches(glob, key)),
        (Some((b'?', rest)), Some((_, key))) => matches(rest, key),
        (Some((b'\\', rest)), Some((one, key))) => {
            rest.split_first().is_some_and(|(g, rest)| g == one && matches(rest, key))
        }
        (Some((g, rest)), Some((one, key))) => g == one && matches(rest, key),
        _ => false,
    }
}
