//! NATS JetStream: its state, and nothing that messages hold.

use crate::bytes::{RawEnding, RawStream, read_some};
use crate::host;
use crate::{ErrorContext, Result};

pub use crate::bindings::rota::runbook::jetstream::{
    AccountFacts, ClusterFacts, ConsumerFacts, Monitored, ReplicaFacts, ServerFacts, ServerState, StreamFacts,
};

/// How many items come at a time.
const BATCH: usize = 256;

/// JetStream, open for this run.
#[derive(Debug)]
pub struct JetStream(host::jetstream::Session);

impl JetStream {
    pub(crate) fn new(session: host::jetstream::Session) -> Self {
        Self(session)
    }

    /// The server that the session is connected to.
    ///
    /// # Errors
    /// `denied` without `read`; `unavailable`, `timed-out` when it cannot be reached any more.
    pub async fn server(&self) -> Result<ServerFacts> {
        self.0.server().await.context("asking the server who it is")
    }

    /// What the account uses of what it may: one record, or one a tier.
    ///
    /// # Errors
    /// `denied` without `read`; `not-found` where the account has no JetStream; `unavailable`, `timed-out` when JetStream does not answer.
    pub async fn account(&self) -> Result<Vec<AccountFacts>> {
        self.0.account().await.context("asking JetStream for the account")
    }

    /// The account's streams, at most so many; and whether there are more.
    ///
    /// # Errors
    /// `denied` without `read`; `unavailable`, `timed-out` when JetStream does not answer.
    pub async fn streams(&self, most: usize) -> Result<(Vec<StreamFacts>, bool)> {
        let (stream, ending) = self.0.streams().await.context("listing streams")?;
        some(stream, ending, most, || "listing streams".to_owned()).await
    }

    /// The consumers of a stream, at most so many; and whether there are more.
    ///
    /// # Errors
    /// `denied` without `read`; `not-found` where there is no such stream; `unavailable`, `timed-out` when JetStream does not answer.
    pub async fn consumers(&self, of: &str, most: usize) -> Result<(Vec<ConsumerFacts>, bool)> {
        let doing = || format!("listing the consumers of {of}");
        let (stream, ending) = self.0.consumers(of.to_owned()).await.with_context(doing)?;
        some(stream, ending, most, doing).await
    }

    /// When the first message from a sequence on was stored whose subject matches (`>`: all), in microseconds since 1970; none where there
    /// is none.
    ///
    /// # Errors
    /// `denied` without `read`; `not-found` where there is no such stream; `unavailable`, `timed-out` when JetStream does not answer.
    pub async fn stored_at(&self, of: &str, sequence: u64, subject: &str) -> Result<Option<i64>> {
        let asked = self.0.stored_at(of.to_owned(), sequence, subject.to_owned()).await;
        asked.with_context(|| format!("asking when message {sequence} of {of} was stored"))
    }

    /// What the servers' own monitoring says; empty where the binding has none. It answers when JetStream has no leader, too.
    ///
    /// # Errors
    /// `denied` without `read`. A server that does not answer is no error.
    pub async fn monitoring(&self) -> Result<Vec<Monitored>> {
        self.0.monitoring().await.context("asking the servers' monitoring")
    }
}

/// The first of a list: dropped, the host stops fetching more.
async fn some<T: 'static>(
    mut stream: RawStream<T>,
    ending: RawEnding<u64>,
    most: usize,
    doing: impl FnOnce() -> String,
) -> Result<(Vec<T>, bool)> {
    let mut all = Vec::new();
    while let Some(batch) = read_some(&mut stream, BATCH).await {
        all.extend(batch);
        if all.len() > most {
            all.truncate(most);
            return Ok((all, true));
        }
    }
    ending.await.with_context(doing)?;
    Ok((all, false))
}
