//! The client of one binding. Every function takes the token of an authorised call: there is no other way in.

use crate::api;
use crate::connect::Settings;
use crate::error::clean;
use crate::monitoring;
use crate::wit::{AccountFacts, ConsumerFacts, Monitored, ServerFacts, StreamFacts};
use rota_authority::{Authorized, Jetstream};
use rota_capability::streams::Offloaded;
use rota_contract::{Error, Fault};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// The most streams, or consumers of a stream, that one call lists.
const MOST: u64 = 1_000_000;
/// How many are fetched ahead of who reads them.
const AHEAD: usize = 1_024;
/// The longest subject.
const SUBJECT: usize = 1_000;

/// The client of one binding, for the time in which a guest holds it open. Clones share the connection.
#[derive(Clone)]
pub struct Client {
    settings: Arc<Settings>,
    nats: async_nats::Client,
}

/// What is listed, as it arrives.
pub struct Listing<I> {
    /// The items, or why they broke off.
    pub items: mpsc::Receiver<Result<I, Error>>,
    /// What fetches them; dropped, it ends.
    pub work: Offloaded<()>,
}

impl Client {
    /// Open a binding.
    ///
    /// # Errors
    /// When the binding cannot be used as it is configured, or no server can be reached.
    pub async fn connect(authorized: &Authorized<Jetstream>) -> Result<Self, Error> {
        let (binding, settings) = (authorized.binding_name().to_owned(), authorized.binding().clone());
        let read = tokio::task::spawn_blocking(move || Settings::read(&binding, &settings));
        let settings = Arc::new(read.await.unwrap_or(Err(Error::Cancelled))?);
        let nats = settings.connect().await?;
        Ok(Self { settings, nats })
    }

    /// A token of one binding opens no other.
    fn check(&self, authorized: &Authorized<Jetstream>) -> Result<(), Error> {
        if authorized.binding_name() == self.settings.place.binding {
            return Ok(());
        }
        let message = format!(
            "the slot `{}` is bound to `{}` now, and was opened on `{}`; please report this",
            authorized.slot(),
            authorized.binding_name(),
            self.settings.place.binding
        );
        Err(Error::Failed(Fault { code: "host-binding".into(), message, detail: None, retryable: false }))
    }

    /// The server that the connection is with.
    ///
    /// # Errors
    /// When it cannot be reached any more.
    pub async fn server(&self, authorized: &Authorized<Jetstream>) -> Result<ServerFacts, Error> {
        self.check(authorized)?;
        let begun = Instant::now();
        let flushed = tokio::time::timeout(self.settings.request_timeout, self.nats.flush()).await;
        flushed
            .map_err(|_| self.settings.place.timed_out())?
            .map_err(|_| self.settings.place.unreachable("the connection broke"))?;
        let microseconds = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let info = self.nats.server_info();
        let some = |text: Option<String>| text.map(|text| clean(&text)).filter(|text| !text.is_empty());
        Ok(ServerFacts {
            name: clean(&info.server_name),
            version: clean(&info.version),
            cluster: some(info.cluster),
            domain: some(info.domain),
            leaving: info.lame_duck_mode,
            microseconds,
        })
    }

    /// What the account uses of what it may.
    ///
    /// # Errors
    /// `not-found` where the account has no JetStream; what the server says.
    pub async fn account(&self, authorized: &Authorized<Jetstream>) -> Result<Vec<AccountFacts>, Error> {
        self.check(authorized)?;
        let account: api::Account = self.ask("INFO", json!(null)).await?;
        Ok(account.facts())
    }

    /// The streams.
    ///
    /// # Errors
    /// What the server says.
    pub async fn streams(&self, authorized: &Authorized<Jetstream>) -> Result<Listing<StreamFacts>, Error> {
        self.check(authorized)?;
        self.list("STREAM.LIST".to_owned(), |page: api::Streams| (page.total, page.facts())).await
    }

    /// The consumers of a stream.
    ///
    /// # Errors
    /// `not-found` where there is no such stream; what the server says.
    pub async fn consumers(
        &self,
        authorized: &Authorized<Jetstream>,
        stream: &str,
    ) -> Result<Listing<ConsumerFacts>, Error> {
        self.check(authorized)?;
        let of = name(stream)?.to_owned();
        self.list(format!("CONSUMER.LIST.{of}"), move |page: api::Consumers| (page.total, page.facts(&of))).await
    }

    /// When the first message from a sequence on was stored.
    ///
    /// # Errors
    /// `not-found` where there is no such stream; what the server says.
    pub async fn stored_at(
        &self,
        authorized: &Authorized<Jetstream>,
        stream: &str,
        sequence: u64,
        subject: &str,
    ) -> Result<Option<i64>, Error> {
        self.check(authorized)?;
        if subject.is_empty() || subject.len() > SUBJECT || subject.chars().any(|c| c.is_whitespace() || c.is_control())
        {
            return Err(Error::InvalidArgument("a subject is a text without spaces; `>` stands for all".into()));
        }
        let request = json!({ "seq": sequence.max(1), "next_by_subj": subject });
        match self.ask::<api::Message>(&format!("STREAM.MSG.GET.{}", name(stream)?), request).await {
            Ok(message) => Ok(api::microseconds(message.message.time)),
            Err(Error::NotFound(said)) if said.contains("message") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the servers' monitoring says.
    ///
    /// # Errors
    /// When the client for it cannot be made.
    pub async fn monitoring(&self, authorized: &Authorized<Jetstream>) -> Result<Vec<Monitored>, Error> {
        self.check(authorized)?;
        monitoring::ask(&self.settings).await
    }

    /// One request of JetStream.
    async fn ask<A: DeserializeOwned>(&self, what: &str, request: serde_json::Value) -> Result<A, Error> {
        let (settings, place) = (&self.settings, &self.settings.place);
        let subject = match &settings.target.domain {
            Some(domain) => format!("$JS.{domain}.API.{what}"),
            None => format!("$JS.API.{what}"),
        };
        let payload = if request.is_null() { bytes::Bytes::new() } else { request.to_string().into() };
        let asked = tokio::time::timeout(settings.request_timeout, self.nats.request(subject, payload)).await;
        let message = asked.map_err(|_| place.timed_out())?.map_err(|error| place.request(error.kind()))?;
        match serde_json::from_slice(&message.payload).map_err(|_| place.nonsense())? {
            api::Answer::Error { error } => Err(place.said(error.err_code, &error.description)),
            api::Answer::Of(answer) => Ok(answer),
        }
    }

    /// Every page of a list: the first is waited for, so that a refusal is an error of the call.
    async fn list<P, I>(
        &self,
        what: String,
        read: impl Fn(P) -> (u64, Vec<I>) + Send + 'static,
    ) -> Result<Listing<I>, Error>
    where
        P: DeserializeOwned + Send,
        I: Send + 'static,
    {
        let mut page = read(self.ask(&what, json!({ "offset": 0 })).await?);
        let (sender, items) = mpsc::channel(AHEAD);
        let client = self.clone();
        let work = Offloaded::spawn(async move {
            let mut given = 0_u64;
            loop {
                let (total, some) = page;
                let none = some.is_empty();
                for item in some {
                    given += 1;
                    if sender.send(Ok(item)).await.is_err() {
                        return Ok(());
                    }
                }
                if none || given >= total {
                    return Ok(());
                }
                if given >= MOST {
                    let error = Error::Quota(format!("there are more than {MOST}"));
                    let _ = sender.send(Err(error)).await;
                    return Ok(());
                }
                page = match client.ask(&what, json!({ "offset": given })).await {
                    Ok(next) => read(next),
                    Err(error) => {
                        let _ = sender.send(Err(error)).await;
                        return Ok(());
                    }
                };
            }
        });
        Ok(Listing { items, work })
    }
}

/// A stream's name as a word of a subject.
fn name(stream: &str) -> Result<&str, Error> {
    let wrong = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '.' | '*' | '>' | '/' | '\\');
    if stream.is_empty() || stream.len() > 255 || stream.contains(wrong) {
        return Err(Error::InvalidArgument("a stream's name has 1 to 255 bytes, without spaces and . * > / \\".into()));
    }
    Ok(stream)
}
