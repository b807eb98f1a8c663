//! Caches that speak RESP: Dragonfly, Redis, Valkey.

use crate::bytes::{RawEnding, RawStream, read_some};
use crate::host;
use crate::{Error, ErrorContext, Result};
use std::time::Duration;

pub use crate::bindings::rota::runbook::cache::{
    ClientFacts, CommandShape, DatabaseFacts, KeyUsage, Lifetime, MemoryFacts, NodeInfo, Pattern, PersistenceFacts,
    Pong, Readiness, ReplicationFacts, SeenCommand, ServerFacts, SetCondition, SlowCommand, TrafficFacts,
    UnlinkOptions, UnlinkPhase, UnlinkProgress,
};

/// How many items come at a time.
const BATCH: usize = 512;

impl Pattern {
    /// Keys that begin with exactly this, whatever is in it.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        Self::Prefix(prefix.into())
    }

    /// Keys that a glob matches: `user:*`.
    pub fn glob(glob: impl Into<Vec<u8>>) -> Self {
        Self::Glob(glob.into())
    }
}

impl UnlinkOptions {
    /// All that match, at most so many, in batches of 500, as fast as the server answers.
    pub fn new(pattern: Pattern, maximum_keys: u64) -> Self {
        Self {
            pattern,
            maximum_keys,
            minimum_literal: 1,
            protected: Vec::new(),
            expected: None,
            drift_percent: 0,
            batch: 500,
            keys_per_second: None,
            drain_above: None,
        }
    }
}

/// Bytes for people: printable ASCII as it is, everything else escaped, cut at 80 characters.
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        text.extend(std::ascii::escape_default(*byte).map(char::from));
        if text.len() > 80 {
            text.push_str("...");
            break;
        }
    }
    text
}

/// A cache, open for this run.
#[derive(Debug)]
pub struct Cache(host::cache::Session);

impl Cache {
    pub(crate) fn new(session: host::cache::Session) -> Self {
        Self(session)
    }

    /// Whether every node answers commands. A server that is loading its data is no error here.
    ///
    /// # Errors
    /// `denied` without `read`; `unavailable`, `timed-out` when it cannot be reached.
    pub async fn ping(&self) -> Result<Vec<Pong>> {
        self.0.ping().await.context("pinging the cache")
    }

    /// What every node says of itself.
    ///
    /// # Errors
    /// `denied` without `read`; what the server said.
    pub async fn info(&self) -> Result<Vec<NodeInfo>> {
        self.0.info().await.context("asking the cache for its state")
    }

    /// The databases that hold keys.
    ///
    /// # Errors
    /// `denied` without `read`; what the server said.
    pub async fn keyspace(&self) -> Result<Vec<DatabaseFacts>> {
        self.0.keyspace().await.context("counting keys")
    }

    /// Slow commands, the newest first, at most `limit` a node.
    ///
    /// # Errors
    /// `denied` without `read`; what the server said.
    pub async fn slowlog(&self, limit: u32) -> Result<Vec<SlowCommand>> {
        self.0.slowlog(limit).await.context("reading the slow log")
    }

    /// What keys hold; none for a key that is not there. At most 1,000 keys.
    ///
    /// # Errors
    /// `denied` without `read`; what the server said.
    pub async fn memory_usage(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Option<KeyUsage>>> {
        self.0.memory_usage(keys).await.context("measuring keys")
    }

    /// The keys that match, each once, as they are found.
    ///
    /// # Errors
    /// `denied` without `read`; what the server said.
    pub async fn scan(&self, pattern: Pattern) -> Result<Scanning> {
        let (stream, ending) = self.0.scan(pattern).await.context("looking for keys")?;
        Ok(Items::new(stream, ending, "looking for keys"))
    }

    /// Unlink the keys that match, within bounds; `progress` hears how far it is. A plan counts, and answers what it would come to.
    ///
    /// # Errors
    /// `conflict` when a bound does not hold (nothing is unlinked then); `invalid-argument` for a pattern that is too wide; `denied` without
    /// `delete`; what the server said.
    pub async fn unlink_matching(
        &self,
        options: UnlinkOptions,
        mut progress: impl FnMut(&UnlinkProgress),
    ) -> Result<UnlinkProgress> {
        let (mut reports, ending) = self.0.unlink_matching(options).await.context("unlinking keys")?;
        while let Some(some) = read_some(&mut reports, BATCH).await {
            if let Some(last) = some.last() {
                progress(last);
            }
        }
        ending.await.context("unlinking keys")
    }

    /// Unlink keys by name, and say how many there were. An effect; a plan answers how many there are.
    ///
    /// # Errors
    /// `denied` without `delete`, and for protected keys; what the server said.
    pub async fn unlink(&self, keys: Vec<Vec<u8>>) -> Result<u64> {
        self.0.unlink(keys).await.context("unlinking keys")
    }

    /// Watch every command for at most so long and so many. An effect, since it costs the server; a plan sees none.
    ///
    /// # Errors
    /// `denied` without `debug`; what the server said.
    pub async fn monitor(&self, seconds: u32, limit: u32) -> Result<Items<SeenCommand>> {
        let (stream, ending) = self.0.monitor(seconds, limit).await.context("watching commands")?;
        Ok(Items::new(stream, ending, "watching commands"))
    }

    /// The value of a string; none where there is no such key.
    ///
    /// # Errors
    /// `denied` without `read`; `invalid-argument` for another kind of value; `quota` for one that is too long.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.get(key.to_vec()).await.with_context(|| format!("reading {}", shown(key)))
    }

    /// Set a string; without a lifetime it stays. False: the condition did not hold. An effect.
    ///
    /// # Errors
    /// `denied` without `write`, and for protected keys; what the server said.
    pub async fn set(
        &self,
        key: &[u8],
        value: impl Into<Vec<u8>>,
        lifetime: Option<Duration>,
        condition: SetCondition,
    ) -> Result<bool> {
        let lifetime = lifetime.map(milliseconds);
        self.0
            .set(key.to_vec(), value.into(), lifetime, condition)
            .await
            .with_context(|| format!("setting {}", shown(key)))
    }

    /// How long a key lives.
    ///
    /// # Errors
    /// `denied` without `read`; what the server said.
    pub async fn ttl(&self, key: &[u8]) -> Result<Lifetime> {
        self.0.ttl(key.to_vec()).await.with_context(|| format!("asking how long {} lives", shown(key)))
    }

    /// Let a key expire, or (none) never. False: there is no such key. An effect.
    ///
    /// # Errors
    /// `denied` without `write`, and for protected keys; what the server said.
    pub async fn expire(&self, key: &[u8], lifetime: Option<Duration>) -> Result<bool> {
        let lifetime = lifetime.map(milliseconds);
        self.0.expire(key.to_vec(), lifetime).await.with_context(|| format!("limiting how long {} lives", shown(key)))
    }

    /// A field of a hash; none where there is none.
    ///
    /// # Errors
    /// As for [`Cache::get`].
    pub async fn hash_get(&self, key: &[u8], field: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.hash_get(key.to_vec(), field.to_vec()).await.with_context(|| format!("reading {}", shown(key)))
    }

    /// All fields of a hash with their values.
    ///
    /// # Errors
    /// As for [`Cache::get`].
    pub async fn hash_entries(&self, key: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.0.hash_entries(key.to_vec()).await.with_context(|| format!("reading {}", shown(key)))
    }

    /// Set fields of a hash, and say how many are new. An effect; a plan answers 0.
    ///
    /// # Errors
    /// `denied` without `write`, and for protected keys; what the server said.
    pub async fn hash_set(&self, key: &[u8], entries: Vec<(Vec<u8>, Vec<u8>)>) -> Result<u64> {
        self.0.hash_set(key.to_vec(), entries).await.with_context(|| format!("setting fields of {}", shown(key)))
    }

    /// Remove fields of a hash, and say how many there were. An effect; a plan answers 0.
    ///
    /// # Errors
    /// `denied` without `delete`, and for protected keys; what the server said.
    pub async fn hash_delete(&self, key: &[u8], fields: Vec<Vec<u8>>) -> Result<u64> {
        self.0.hash_delete(key.to_vec(), fields).await.with_context(|| format!("removing fields of {}", shown(key)))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Keys as they are found.
pub type Scanning = Items<Vec<u8>>;

/// Items as they arrive.
#[derive(Debug)]
pub struct Items<T: 'static> {
    stream: RawStream<T>,
    ending: Option<RawEnding<u64>>,
    doing: &'static str,
}

impl<T: 'static> Items<T> {
    fn new(stream: RawStream<T>, ending: RawEnding<u64>, doing: &'static str) -> Self {
        Self { stream, ending: Some(ending), doing }
    }

    /// Some more of them; none at the end.
    ///
    /// # Errors
    /// When they broke off.
    pub async fn next(&mut self) -> Result<Option<Vec<T>>> {
        if let Some(batch) = read_some(&mut self.stream, BATCH).await {
            return Ok(Some(batch));
        }
        if let Some(ending) = self.ending.take() {
            ending.await.map_err(|error| Error::from(error).context(self.doing))?;
        }
        Ok(None)
    }
}
