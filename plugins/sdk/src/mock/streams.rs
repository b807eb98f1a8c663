//! A JetStream in memory.

use crate::HostError;
use crate::bindings::rota::runbook::jetstream::{
    AccountFacts, ConsumerFacts, Monitored, ServerFacts, ServerState, StreamFacts,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What happens between two looks, by the number of the look.
type Change = Box<dyn FnMut(&mut JetstreamState, u32)>;

/// What a mock of JetStream says. A test changes it as it likes.
pub struct JetstreamState {
    /// The server.
    pub server: ServerFacts,
    /// The account.
    pub account: Vec<AccountFacts>,
    /// Its streams.
    pub streams: Vec<StreamFacts>,
    /// The consumers of all streams.
    pub consumers: Vec<ConsumerFacts>,
    /// When messages were stored, by stream and sequence.
    pub stored: BTreeMap<(String, u64), i64>,
    /// What monitoring says.
    pub monitoring: Vec<Monitored>,
    looks: u32,
    changes: Vec<Change>,
    failing: BTreeMap<String, HostError>,
}

/// The JetStream in a slot. Clones are the same. It is one server that is well and has no stream, unless the test says otherwise.
#[derive(Clone)]
pub struct JetstreamMock(Rc<RefCell<JetstreamState>>);

impl Default for JetstreamMock {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(JetstreamState {
            server: ServerFacts {
                name: "nats-0".into(),
                version: "2.10.20".into(),
                cluster: None,
                domain: None,
                leaving: false,
                microseconds: 300,
            },
            account: vec![AccountFacts {
                tier: None,
                memory: 0,
                memory_limit: None,
                storage: 0,
                storage_limit: None,
                streams: 0,
                streams_limit: None,
                consumers: 0,
                consumers_limit: None,
                api_requests: 10,
                api_errors: 0,
            }],
            streams: Vec::new(),
            consumers: Vec::new(),
            stored: BTreeMap::new(),
            monitoring: Vec::new(),
            looks: 0,
            changes: Vec::new(),
            failing: BTreeMap::new(),
        })))
    }
}

impl JetstreamMock {
    /// A stream that is well and empty.
    pub fn stream(&self, name: &str) -> StreamFacts {
        StreamFacts {
            name: name.into(),
            answered: true,
            retention: "limits".into(),
            storage: "file".into(),
            discard: "old".into(),
            replicas: 1,
            messages: 0,
            messages_limit: None,
            bytes: 0,
            bytes_limit: None,
            age_limit: None,
            first_sequence: 1,
            last_sequence: 0,
            first_at: None,
            last_at: None,
            consumers: 0,
            cluster: None,
            sealed: false,
        }
    }

    /// A consumer that has nothing to do.
    pub fn consumer(&self, stream: &str, name: &str) -> ConsumerFacts {
        ConsumerFacts {
            stream: stream.into(),
            name: name.into(),
            answered: true,
            durable: true,
            push: false,
            ack_policy: "explicit".into(),
            subjects: Vec::new(),
            delivered: 0,
            acknowledged: 0,
            delivered_at: None,
            acknowledged_at: None,
            pending: 0,
            ack_pending: 0,
            ack_pending_limit: Some(1_000),
            redelivered: 0,
            deliver_limit: None,
            waiting: 0,
            push_bound: None,
            paused: false,
            cluster: None,
        }
    }

    /// A server that is well, as its monitoring says.
    pub fn server_state(&self, number: u32, name: &str) -> ServerState {
        ServerState {
            number,
            name: name.into(),
            version: "2.10.20".into(),
            healthy: true,
            trouble: None,
            started_at: None,
            connections: 10,
            connections_limit: Some(65_536),
            slow_consumers: 0,
            jetstream: true,
            memory: 0,
            memory_limit: None,
            storage: 0,
            storage_limit: Some(1 << 30),
            api_requests: 10,
            api_errors: 0,
            cluster_size: None,
            cluster_leader: None,
            offline: Vec::new(),
            leaderless: Vec::new(),
            leaderless_count: 0,
        }
    }

    /// Change what it says.
    pub fn set(&self, change: impl FnOnce(&mut JetstreamState)) -> &Self {
        change(&mut self.0.borrow_mut());
        self
    }

    /// Change what it says before each list of streams; the number counts them from 1.
    pub fn before_each_look(&self, change: impl FnMut(&mut JetstreamState, u32) + 'static) -> &Self {
        self.0.borrow_mut().changes.push(Box::new(change));
        self
    }

    /// Fail every call of a name: `account`, `streams` ...
    pub fn fails(&self, call: &str, error: HostError) -> &Self {
        self.0.borrow_mut().failing.insert(call.to_owned(), error);
        self
    }

    pub(super) fn failing(&self, call: &str) -> Result<(), HostError> {
        self.0.borrow().failing.get(call).cloned().map_or(Ok(()), Err)
    }

    pub(super) fn get<T>(&self, read: impl FnOnce(&JetstreamState) -> T) -> T {
        read(&self.0.borrow())
    }

    pub(super) fn look(&self) -> Vec<StreamFacts> {
        let mut state = self.0.borrow_mut();
        state.looks += 1;
        let look = state.looks;
        let mut changes = std::mem::take(&mut state.changes);
        for change in &mut changes {
            change(&mut state, look);
        }
        state.changes = changes;
        state.streams.clone()
    }
}
