//! Unlinking the keys that match a pattern, in two parts: look which (that changes nothing, and a plan does it too), then unlink
//! exactly those. A bound that does not hold stops it before the first key is unlinked.

use crate::client::{Client, Command, call, length_of};
use crate::connect::Connected;
use crate::info::is_dragonfly;
use crate::matching::{Found, Matching};
use crate::pace::Pace;
use crate::scan::Ahead;
use crate::wit::{UnlinkPhase, UnlinkProgress};
use bytes::Bytes;
use fred::interfaces::ClientLike as _;
use fred::prelude::Value;
use futures::StreamExt as _;
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;
use indexmap::IndexSet;
use rota_authority::{Authorized, Cache, Permit};
use rota_contract::Error;
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The most bytes of keys that are held at a time.
const MOST_BYTES: usize = 256 << 20;
/// Keys in one command, where the server is slow or nothing is known of it yet.
const LEAST_KEYS: usize = 64;
/// Collections with more elements than this are emptied first on a server whose UNLINK frees in place.
const DRAIN_ABOVE: u64 = 10_000;
/// Elements that are removed from a collection at a time.
const DRAIN: u64 = 1_000;
/// How often it is said how far it is.
const EVERY: Duration = Duration::from_millis(500);

/// Where it is told how far the work is. Nobody need listen.
pub type Progress = mpsc::Sender<Result<UnlinkProgress, Error>>;

struct Teller {
    progress: Progress,
    last: Instant,
}

impl Teller {
    fn new(progress: Progress) -> Self {
        Self { progress, last: Instant::now() }
    }

    fn tell(&mut self, now: &UnlinkProgress) {
        if self.last.elapsed() >= EVERY {
            self.last = Instant::now();
            // One that does not read as fast misses some.
            let _ = self.progress.try_send(Ok(*now));
        }
    }
}

/// What became of some keys.
struct Batch {
    keys: usize,
    unlinked: u64,
    /// Collections that were emptied first, and their elements.
    drained: (u64, u64),
    /// What the UNLINK took.
    took: Duration,
}

impl Client {
    /// Look which keys match, and whether the bounds hold. Changes nothing.
    ///
    /// # Errors
    /// `conflict` when more match than may, or the count has drifted; what the server says.
    pub async fn find(
        &self,
        authorized: &Authorized<Cache>,
        matching: &Matching,
        progress: Progress,
    ) -> Result<Found, Error> {
        self.check(authorized)?;
        let mut teller = Teller::new(progress);
        let mut found = Found { keys: IndexSet::new(), protected: 0 };
        let mut protected: HashSet<Bytes> = HashSet::new();
        let mut bytes = 0;
        let mut scan = Ahead::begin(self.clone(), self.session().await?, matching.pattern.clone());
        while let Some(keys) = scan.next().await? {
            for key in keys {
                let length = key.len();
                let new = match matching.protected.of(&key) {
                    Some(_) => protected.insert(key),
                    None => found.keys.insert(key),
                };
                bytes += if new { length } else { 0 };
            }
            found.protected = protected.len() as u64;
            matching.check_count(found.count())?;
            if bytes > MOST_BYTES {
                return Err(Error::Quota(format!(
                    "the {} have more than {} MiB of names together; narrow the pattern",
                    matching.pattern.describe(),
                    MOST_BYTES >> 20
                )));
            }
            teller.tell(&found.progress());
        }
        matching.check_drift(found.count())?;
        Ok(found)
    }

    /// Unlink the keys that were found.
    ///
    /// # Errors
    /// What the server says; the keys of earlier batches are unlinked then.
    pub async fn unlink_found(
        &self,
        permit: &Permit<Cache>,
        matching: &Matching,
        found: Found,
        progress: Progress,
    ) -> Result<UnlinkProgress, Error> {
        self.check(permit.authorized())?;
        let session = self.session().await?;
        let drain_above = match matching.drain_above {
            Some(above) => Some(above),
            None => self.nodes_info().await?.iter().any(is_dragonfly).then_some(DRAIN_ABOVE),
        };
        let mut done = UnlinkProgress { phase: UnlinkPhase::Unlinking, ..found.progress() };
        let mut teller = Teller::new(progress);
        let begun = Instant::now();
        let mut keys = found.keys.into_iter();
        let mut pace = Pace::new(self.way(&session).await?, LEAST_KEYS, matching.batch);
        let mut started = 0_u64;
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < pace.at_once() {
                let batch: Vec<Bytes> = keys.by_ref().take(pace.amount()).collect();
                if batch.is_empty() {
                    break;
                }
                let rate = matching.keys_per_second.map(f64::from);
                let due = rate.map(|rate| begun + Duration::from_secs_f64(started as f64 / rate));
                started += batch.len() as u64;
                under_way.push(self.one_batch(&session, batch, due, drain_above));
            }
            let Some(batch) = under_way.next().await else { break };
            let Batch { keys, unlinked, drained: (drained, elements), took } =
                batch.map_err(|error| half_way(error, &done))?;
            pace.saw(keys, took);
            done.unlinked += unlinked;
            done.vanished += (keys as u64).saturating_sub(unlinked);
            done.drained += drained;
            done.drained_elements += elements;
            teller.tell(&done);
        }
        Ok(done)
    }

    /// Unlink a batch when it is due, the big collections in it emptied before.
    async fn one_batch(
        &self,
        session: &Connected,
        batch: Vec<Bytes>,
        due: Option<Instant>,
        drain_above: Option<u64>,
    ) -> Result<Batch, Error> {
        if let Some(due) = due {
            tokio::time::sleep_until(due.into()).await;
        }
        let drained = match drain_above {
            Some(above) => self.drain(session, &batch, above).await?,
            None => (0, 0),
        };
        let (keys, begun) = (batch.len(), Instant::now());
        let unlinked = self.unlink_batch(session, batch).await?;
        Ok(Batch { keys, unlinked, drained, took: begun.elapsed() })
    }

    /// Unlink some keys, and say how many there were.
    pub(crate) async fn unlink_batch(&self, session: &Connected, keys: Vec<Bytes>) -> Result<u64, Error> {
        let mut groups: BTreeMap<u16, Vec<Bytes>> = BTreeMap::new();
        if session.client.is_clustered() {
            // One command reaches one slot of a cluster.
            for key in keys {
                groups.entry(fred::util::redis_keyslot(&key)).or_default().push(key);
            }
        } else {
            groups.insert(0, keys);
        }
        let unlinks = groups.into_values().map(|keys| {
            let command = keys.into_iter().fold(Command::new("UNLINK"), Command::arg);
            async move { self.send(session, command).await?.as_u64().ok_or_else(|| self.settings.place.nonsense()) }
        });
        Ok(try_join_all(unlinks).await?.into_iter().sum())
    }

    /// Empty the big collections among some keys, step by step: how many there were, and how many elements they had.
    async fn drain(&self, session: &Connected, keys: &[Bytes], above: u64) -> Result<(u64, u64), Error> {
        let kinds = keys.iter().map(|key| self.send(session, Command::new("TYPE").arg(key.clone())));
        let kinds = try_join_all(kinds).await?;
        let (mut drained, mut elements) = (0, 0);
        for (key, kind) in keys.iter().zip(kinds) {
            let kind = kind.into_string().unwrap_or_default();
            let Some(length) = length_of(&kind).filter(|_| kind != "string") else { continue };
            // What has become another kind meanwhile is left to UNLINK.
            let length = call(session, Command::new(length).arg(key.clone())).await.ok().and_then(|n| n.as_u64());
            let Some(length) = length.filter(|length| *length > above) else { continue };
            self.empty(session, key, &kind, length).await?;
            (drained, elements) = (drained + 1, elements + length);
        }
        Ok((drained, elements))
    }

    async fn empty(&self, session: &Connected, key: &Bytes, kind: &str, length: u64) -> Result<(), Error> {
        let on = |name| Command::new(name).arg(key.clone());
        let steps = length.div_ceil(DRAIN);
        for step in 1..=steps {
            match kind {
                "set" => self.send(session, on("SPOP").number(DRAIN)).await?,
                "zset" => self.send(session, on("ZREMRANGEBYRANK").number(0).number(DRAIN - 1)).await?,
                "list" => self.send(session, on("LTRIM").number(DRAIN).arg("-1")).await?,
                "stream" => {
                    self.send(session, on("XTRIM").arg("MAXLEN").number(length.saturating_sub(step * DRAIN))).await?
                }
                "hash" => {
                    // From the start each time: what was found is gone by then.
                    let scanned = self.send(session, on("HSCAN").number(0).arg("COUNT").number(DRAIN)).await?;
                    let pairs = scanned.into_array().pop().map(Value::into_array).unwrap_or_default();
                    let fields: Vec<Bytes> = pairs.into_iter().step_by(2).filter_map(Value::into_bytes).collect();
                    if fields.is_empty() {
                        return Ok(());
                    }
                    self.send(session, fields.into_iter().fold(on("HDEL"), Command::arg)).await?
                }
                _ => return Ok(()),
            };
        }
        Ok(())
    }
}

/// An error that came when some keys were unlinked already says so.
fn half_way(error: Error, done: &UnlinkProgress) -> Error {
    if done.unlinked == 0 {
        return error;
    }
    let more = format!("; {} of {} keys were unlinked before", done.unlinked, done.matched);
    match error {
        Error::Unavailable(text) => Error::Unavailable(text + &more),
        Error::TimedOut(text) => Error::TimedOut(text + &more),
        Error::Failed(mut fault) => {
            fault.message += &more;
            Error::Failed(fault)
        }
        other => other,
    }
}
