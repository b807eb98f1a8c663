//! The interface `jetstream`, by the mock.

use super::super::streams::JetstreamMock;
use super::super::{Bound, current};
use crate::HostError;
use crate::bindings::rota::runbook::jetstream::{AccountFacts, ConsumerFacts, Monitored, ServerFacts, StreamFacts};
use crate::mock::{Ending, Stream};

#[derive(Debug)]
pub(crate) struct Session(String);

fn listed<T: 'static>(items: Vec<T>) -> (Stream<T>, Ending<u64>) {
    let count = items.len() as u64;
    (Stream::whole(items), Ending::new(Ok(count)))
}

impl Session {
    pub(crate) async fn open(slot: String) -> Result<Self, HostError> {
        let session = Self(slot);
        session.bound("open", None)?;
        Ok(session)
    }

    fn bound(&self, call: &str, access: Option<&str>) -> Result<JetstreamMock, HostError> {
        match current().authorise(&self.0, access)? {
            Bound::Jetstream(mock) => mock.failing(call).map(|()| mock),
            _ => Err(HostError::InvalidArgument(format!("slot `{}` holds no JetStream", self.0))),
        }
    }

    fn reads(&self, call: &str) -> Result<JetstreamMock, HostError> {
        self.bound(call, Some("read"))
    }

    pub(crate) async fn server(&self) -> Result<ServerFacts, HostError> {
        Ok(self.reads("server")?.get(|state| state.server.clone()))
    }

    pub(crate) async fn account(&self) -> Result<Vec<AccountFacts>, HostError> {
        Ok(self.reads("account")?.get(|state| state.account.clone()))
    }

    pub(crate) async fn streams(&self) -> Result<(Stream<StreamFacts>, Ending<u64>), HostError> {
        Ok(listed(self.reads("streams")?.look()))
    }

    pub(crate) async fn consumers(&self, stream: String) -> Result<(Stream<ConsumerFacts>, Ending<u64>), HostError> {
        let all = self.reads("consumers")?.get(|state| state.consumers.clone());
        Ok(listed(all.into_iter().filter(|consumer| consumer.stream == stream).collect()))
    }

    pub(crate) async fn stored_at(
        &self,
        stream: String,
        sequence: u64,
        _subject: String,
    ) -> Result<Option<i64>, HostError> {
        Ok(self.reads("stored-at")?.get(|state| state.stored.get(&(stream.clone(), sequence)).copied()))
    }

    pub(crate) async fn monitoring(&self) -> Result<Vec<Monitored>, HostError> {
        Ok(self.reads("monitoring")?.get(|state| state.monitoring.clone()))
    }
}
