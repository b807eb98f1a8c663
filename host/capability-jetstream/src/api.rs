//! Answers of JetStream's API, as far as they are told.

use crate::facts;
use crate::wit::{AccountFacts, ClusterFacts, ConsumerFacts, StreamFacts};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// An answer, or why there is none.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Answer<A> {
    Error { error: Said },
    Of(A),
}

#[derive(Deserialize)]
pub(crate) struct Said {
    #[serde(default)]
    pub(crate) err_code: u64,
    #[serde(default)]
    pub(crate) description: String,
}

/// An instant of NATS; the year 1 stands for never.
pub(crate) fn microseconds(at: DateTime<Utc>) -> Option<i64> {
    Some(at.timestamp_micros()).filter(|at| *at > 0)
}

/// A limit: -1 and 0 stand for none.
pub(crate) fn limit(limit: i64) -> Option<u64> {
    u64::try_from(limit).ok().filter(|limit| *limit > 0)
}

#[derive(Deserialize)]
pub(crate) struct Account {
    #[serde(flatten)]
    whole: Tier,
    #[serde(default)]
    api: Requests,
    #[serde(default)]
    tiers: BTreeMap<String, Tier>,
}

#[derive(Deserialize)]
struct Tier {
    #[serde(default)]
    memory: u64,
    #[serde(default)]
    storage: u64,
    #[serde(default)]
    streams: u64,
    #[serde(default)]
    consumers: u64,
    #[serde(default)]
    limits: Limits,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Limits {
    max_memory: i64,
    max_storage: i64,
    max_streams: i64,
    max_consumers: i64,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Requests {
    pub(crate) total: u64,
    pub(crate) errors: u64,
}

impl Account {
    pub(crate) fn facts(self) -> Vec<AccountFacts> {
        let requests = self.api;
        let facts = |tier: Option<String>, of: Tier| AccountFacts {
            tier,
            memory: of.memory,
            memory_limit: limit(of.limits.max_memory),
            storage: of.storage,
            storage_limit: limit(of.limits.max_storage),
            streams: of.streams,
            streams_limit: limit(of.limits.max_streams),
            consumers: of.consumers,
            consumers_limit: limit(of.limits.max_consumers),
            api_requests: requests.total,
            api_errors: requests.errors,
        };
        if self.tiers.is_empty() {
            return vec![facts(None, self.whole)];
        }
        self.tiers.into_iter().map(|(name, tier)| facts(Some(facts::text(&name)), tier)).collect()
    }
}

#[derive(Deserialize)]
pub(crate) struct Streams {
    #[serde(default)]
    pub(crate) total: u64,
    #[serde(default, deserialize_with = "or_default")]
    streams: Vec<Stream>,
    /// Those for which nobody answered.
    #[serde(default, deserialize_with = "or_default")]
    missing: Vec<String>,
    /// Those that this version of a server cannot run.
    #[serde(default, deserialize_with = "or_default")]
    offline: BTreeMap<String, String>,
}

impl Streams {
    pub(crate) fn facts(self) -> Vec<StreamFacts> {
        let silent = self.missing.into_iter().chain(self.offline.into_keys());
        let mut all: Vec<StreamFacts> = self.streams.into_iter().map(Stream::facts).collect();
        let known: BTreeSet<String> = all.iter().map(|stream| stream.name.clone()).collect();
        all.extend(silent.map(|name| facts::text(&name)).filter(|name| !known.contains(name)).map(unanswered));
        all
    }
}

/// A stream of which only the name is known.
fn unanswered(name: String) -> StreamFacts {
    StreamFacts {
        name,
        answered: false,
        retention: String::new(),
        storage: String::new(),
        discard: String::new(),
        replicas: 0,
        messages: 0,
        messages_limit: None,
        bytes: 0,
        bytes_limit: None,
        age_limit: None,
        first_sequence: 0,
        last_sequence: 0,
        first_at: None,
        last_at: None,
        consumers: 0,
        cluster: None,
        sealed: false,
    }
}

/// `null` for an empty list.
fn or_default<'d, D: serde::Deserializer<'d>, T: Default + Deserialize<'d>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[derive(Deserialize)]
pub(crate) struct Stream {
    config: StreamConfig,
    state: StreamState,
    cluster: Option<Cluster>,
}

#[derive(Deserialize)]
struct StreamConfig {
    name: String,
    #[serde(default)]
    retention: String,
    #[serde(default)]
    storage: String,
    #[serde(default)]
    discard: String,
    #[serde(default)]
    num_replicas: u32,
    #[serde(default)]
    max_msgs: i64,
    #[serde(default)]
    max_bytes: i64,
    #[serde(default)]
    max_age: i64,
    #[serde(default)]
    sealed: bool,
}

#[derive(Deserialize)]
struct StreamState {
    messages: u64,
    bytes: u64,
    first_seq: u64,
    last_seq: u64,
    first_ts: Option<DateTime<Utc>>,
    last_ts: Option<DateTime<Utc>>,
    #[serde(default)]
    consumer_count: u64,
}

/// Who has copies.
#[derive(Deserialize)]
pub(crate) struct Cluster {
    #[serde(default)]
    pub(crate) leader: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) replicas: Vec<facts::Replica>,
}

impl Cluster {
    fn facts(self) -> ClusterFacts {
        ClusterFacts {
            leader: Some(facts::text(&self.leader)).filter(|leader| !leader.is_empty()),
            replicas: self.replicas.into_iter().map(facts::Replica::facts).collect(),
        }
    }
}

impl Stream {
    pub(crate) fn facts(self) -> StreamFacts {
        let Self { config, state, cluster } = self;
        StreamFacts {
            name: facts::text(&config.name),
            answered: true,
            retention: facts::text(&config.retention),
            storage: facts::text(&config.storage),
            discard: facts::text(&config.discard),
            replicas: config.num_replicas,
            messages: state.messages,
            messages_limit: limit(config.max_msgs),
            bytes: state.bytes,
            bytes_limit: limit(config.max_bytes),
            age_limit: limit(config.max_age),
            first_sequence: state.first_seq,
            last_sequence: state.last_seq,
            first_at: state.first_ts.and_then(microseconds).filter(|_| state.messages > 0),
            last_at: state.last_ts.and_then(microseconds),
            consumers: state.consumer_count,
            cluster: cluster.map(Cluster::facts),
            sealed: config.sealed,
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Consumers {
    #[serde(default)]
    pub(crate) total: u64,
    #[serde(default, deserialize_with = "or_default")]
    consumers: Vec<Consumer>,
    /// Those for which nobody answered.
    #[serde(default, deserialize_with = "or_default")]
    missing: Vec<String>,
}

impl Consumers {
    pub(crate) fn facts(self, stream: &str) -> Vec<ConsumerFacts> {
        let mut all: Vec<ConsumerFacts> = self.consumers.into_iter().map(Consumer::facts).collect();
        all.extend(self.missing.into_iter().map(|name| {
            let nothing = Consumer {
                stream_name: stream.to_owned(),
                name,
                config: ConsumerConfig::default(),
                delivered: Position::default(),
                ack_floor: Position::default(),
                num_pending: 0,
                num_ack_pending: 0,
                num_redelivered: 0,
                num_waiting: 0,
                push_bound: false,
                paused: false,
                cluster: None,
            };
            ConsumerFacts { answered: false, ..nothing.facts() }
        }));
        all
    }
}

#[derive(Deserialize)]
pub(crate) struct Consumer {
    stream_name: String,
    name: String,
    config: ConsumerConfig,
    delivered: Position,
    ack_floor: Position,
    #[serde(default)]
    num_pending: u64,
    #[serde(default)]
    num_ack_pending: u64,
    #[serde(default)]
    num_redelivered: u64,
    #[serde(default)]
    num_waiting: u64,
    #[serde(default)]
    push_bound: bool,
    #[serde(default)]
    paused: bool,
    cluster: Option<Cluster>,
}

#[derive(Default, Deserialize)]
struct ConsumerConfig {
    durable_name: Option<String>,
    deliver_subject: Option<String>,
    #[serde(default)]
    ack_policy: String,
    filter_subject: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    filter_subjects: Vec<String>,
    #[serde(default)]
    max_ack_pending: i64,
    #[serde(default)]
    max_deliver: i64,
}

#[derive(Default, Deserialize)]
struct Position {
    #[serde(default)]
    stream_seq: u64,
    last_active: Option<DateTime<Utc>>,
}

impl Consumer {
    pub(crate) fn facts(self) -> ConsumerFacts {
        let config = self.config;
        let push = config.deliver_subject.is_some_and(|subject| !subject.is_empty());
        let one = config.filter_subject.filter(|subject| !subject.is_empty());
        let subjects = one.into_iter().chain(config.filter_subjects);
        ConsumerFacts {
            stream: facts::text(&self.stream_name),
            name: facts::text(&self.name),
            answered: true,
            durable: config.durable_name.is_some_and(|name| !name.is_empty()),
            push,
            ack_policy: facts::text(&config.ack_policy),
            subjects: subjects.map(|subject| facts::text(&subject)).collect(),
            delivered: self.delivered.stream_seq,
            acknowledged: self.ack_floor.stream_seq,
            delivered_at: self.delivered.last_active.and_then(microseconds),
            acknowledged_at: self.ack_floor.last_active.and_then(microseconds),
            pending: self.num_pending,
            ack_pending: self.num_ack_pending,
            ack_pending_limit: limit(config.max_ack_pending),
            redelivered: self.num_redelivered,
            deliver_limit: limit(config.max_deliver),
            waiting: self.num_waiting,
            push_bound: push.then_some(self.push_bound),
            paused: self.paused,
            cluster: self.cluster.map(Cluster::facts),
        }
    }
}

/// Of a message, nothing but when it was stored.
#[derive(Deserialize)]
pub(crate) struct Message {
    pub(crate) message: Stored,
}

#[derive(Deserialize)]
pub(crate) struct Stored {
    pub(crate) time: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_from_an_answer() {
        let text = r#"{"type":"io.nats...","error":{"code":404,"err_code":10059,"description":"stream not found"}}"#;
        let Answer::Error { error } = serde_json::from_str::<Answer<Streams>>(text).unwrap() else { panic!() };
        assert_eq!((error.err_code, error.description.as_str()), (10059, "stream not found"));
        let text = r#"{"type":"io.nats...","total":0,"offset":0,"limit":256,"streams":null}"#;
        assert!(
            matches!(serde_json::from_str::<Answer<Streams>>(text), Ok(Answer::Of(page)) if page.streams.is_empty())
        );
    }

    #[test]
    fn what_has_no_limit_has_none() {
        assert_eq!((limit(-1), limit(0), limit(5)), (None, None, Some(5)));
        assert_eq!(microseconds("0001-01-01T00:00:00Z".parse().unwrap()), None);
    }
}
