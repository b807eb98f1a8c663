//! The interface `cache`, by the mock.

use super::super::caches::{CacheMock, Found};
use super::super::{Bound, current};
use crate::HostError;
use crate::bindings::rota::runbook::cache::{
    DatabaseFacts, KeyUsage, Lifetime, NodeInfo, Pattern, Pong, SeenCommand, SetCondition, SlowCommand, UnlinkOptions,
    UnlinkPhase, UnlinkProgress,
};
use crate::cache::shown;
use crate::mock::{Ending, Stream};

#[derive(Debug)]
pub(crate) struct Session(String);

impl Session {
    pub(crate) async fn open(slot: String) -> Result<Self, HostError> {
        let session = Self(slot);
        session.bound("open", None)?;
        Ok(session)
    }

    fn bound(&self, call: &str, access: Option<&str>) -> Result<CacheMock, HostError> {
        match current().authorise(&self.0, access)? {
            Bound::Cache(mock) => mock.failing(call).map(|()| mock),
            _ => Err(HostError::InvalidArgument(format!("slot `{}` holds no cache", self.0))),
        }
    }

    fn reads(&self, call: &str) -> Result<CacheMock, HostError> {
        self.bound(call, Some("read"))
    }

    /// List an effect; none in a plan.
    fn effect(&self, operation: &'static str, detail: impl Into<String>) -> bool {
        current().effect(operation, &self.0, detail)
    }

    pub(crate) async fn ping(&self) -> Result<Vec<Pong>, HostError> {
        Ok(self.reads("ping")?.pongs())
    }

    pub(crate) async fn info(&self) -> Result<Vec<NodeInfo>, HostError> {
        Ok(self.reads("info")?.nodes())
    }

    pub(crate) async fn keyspace(&self) -> Result<Vec<DatabaseFacts>, HostError> {
        Ok(self.reads("keyspace")?.nodes().into_iter().flat_map(|node| node.databases).collect())
    }

    pub(crate) async fn slowlog(&self, limit: u32) -> Result<Vec<SlowCommand>, HostError> {
        Ok(self.reads("slowlog")?.slowlog(limit))
    }

    pub(crate) async fn memory_usage(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Option<KeyUsage>>, HostError> {
        let mock = self.reads("memory-usage")?;
        Ok(keys.iter().map(|key| mock.usage(key)).collect())
    }

    pub(crate) async fn scan(&self, pattern: Pattern) -> Result<Found, HostError> {
        Ok(self.reads("scan")?.scan(&pattern))
    }

    pub(crate) async fn unlink_matching(
        &self,
        options: UnlinkOptions,
    ) -> Result<(Stream<UnlinkProgress>, Ending<UnlinkProgress>), HostError> {
        let mock = self.bound("unlink-matching", Some("delete"))?;
        let ended = mock.find(&options).map(|(keys, mut progress)| {
            if self.effect("cache.unlink-matching", format!("unlinks {} keys", keys.len())) {
                progress.phase = UnlinkPhase::Unlinking;
                progress.unlinked = keys.iter().filter(|key| mock.remove(key)).count() as u64;
            }
            progress
        });
        Ok((Stream::whole(ended.iter().copied().collect()), Ending::new(ended)))
    }

    pub(crate) async fn unlink(&self, keys: Vec<Vec<u8>>) -> Result<u64, HostError> {
        let mock = self.bound("unlink", Some("delete"))?;
        let unlinks = self.effect("cache.unlink", format!("unlinks {} keys", keys.len()));
        let there = |key: &&Vec<u8>| if unlinks { mock.remove(key) } else { mock.usage(key).is_some() };
        Ok(keys.iter().filter(there).count() as u64)
    }

    pub(crate) async fn monitor(
        &self,
        seconds: u32,
        limit: u32,
    ) -> Result<(Stream<SeenCommand>, Ending<u64>), HostError> {
        let mock = self.bound("monitor", Some("debug"))?;
        let watches = self.effect("cache.monitor", format!("watches for {seconds} s"));
        let seen = if watches { mock.watched(limit) } else { Vec::new() };
        let count = seen.len() as u64;
        Ok((Stream::whole(seen), Ending::new(Ok(count))))
    }

    pub(crate) async fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, HostError> {
        Ok(self.reads("get")?.value(&key))
    }

    pub(crate) async fn set(
        &self,
        key: Vec<u8>,
        value: Vec<u8>,
        lifetime: Option<u64>,
        condition: SetCondition,
    ) -> Result<bool, HostError> {
        let mock = self.bound("set", Some("write"))?;
        let there = mock.usage(&key).is_some();
        let holds = match condition {
            SetCondition::Always => true,
            SetCondition::IfAbsent => !there,
            SetCondition::IfPresent => there,
        };
        if !self.effect("cache.set", shown(&key)) {
            return Ok(true);
        }
        if holds {
            mock.key(&key, value);
            mock.expires(&key, lifetime);
        }
        Ok(holds)
    }

    pub(crate) async fn ttl(&self, key: Vec<u8>) -> Result<Lifetime, HostError> {
        Ok(match self.reads("ttl")?.usage(&key) {
            None => Lifetime::Missing,
            Some(usage) => usage.expires_in.map_or(Lifetime::Unlimited, Lifetime::ExpiresIn),
        })
    }

    pub(crate) async fn expire(&self, key: Vec<u8>, milliseconds: Option<u64>) -> Result<bool, HostError> {
        let mock = self.bound("expire", Some("write"))?;
        if self.effect("cache.expire", shown(&key)) {
            return Ok(mock.expires(&key, milliseconds));
        }
        Ok(mock.usage(&key).is_some())
    }

    pub(crate) async fn hash_get(&self, _key: Vec<u8>, _field: Vec<u8>) -> Result<Option<Vec<u8>>, HostError> {
        self.reads("hash-get").map(|_| None)
    }

    pub(crate) async fn hash_entries(&self, _key: Vec<u8>) -> Result<Vec<(Vec<u8>, Vec<u8>)>, HostError> {
        self.reads("hash-entries").map(|_| Vec::new())
    }

    pub(crate) async fn hash_set(&self, key: Vec<u8>, entries: Vec<(Vec<u8>, Vec<u8>)>) -> Result<u64, HostError> {
        let mock = self.bound("hash-set", Some("write"))?;
        if !self.effect("cache.hash-set", shown(&key)) {
            return Ok(0);
        }
        mock.collection(&key, "hash", entries.len() as u64);
        Ok(entries.len() as u64)
    }

    pub(crate) async fn hash_delete(&self, key: Vec<u8>, fields: Vec<Vec<u8>>) -> Result<u64, HostError> {
        self.bound("hash-delete", Some("delete"))?;
        Ok(if self.effect("cache.hash-delete", shown(&key)) { fields.len() as u64 } else { 0 })
    }
}
