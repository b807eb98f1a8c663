//! The client of one binding. Every function takes the token of an authorised call, or the permit of a recorded effect: there is
//! no other way in.

use crate::connect::{Connected, Settings};
use crate::error::code;
use crate::info;
use crate::pattern::Protected;
use crate::slow::slow;
use crate::wit::{DatabaseFacts, KeyUsage, NodeInfo, Pong, Readiness, SlowCommand};
use fred::interfaces::ClientLike as _;
use fred::prelude::{Server, Value};
use fred::types::config::Options;
use fred::types::{ClusterHash, CustomCommand};
use futures::future::try_join_all;
use rota_authority::{Authorized, Cache};
use rota_contract::{Error, Fault};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Mutex;

/// The most keys that one call may name.
pub const MOST_KEYS: usize = 1_000;

/// The client of one binding, for the time in which a guest holds it open. Clones share the connection, which is made anew when it broke.
#[derive(Clone)]
pub struct Client {
    pub(crate) settings: Arc<Settings>,
    /// The prefixes that the operator protects.
    pub(crate) protected: Arc<Protected>,
    connected: Arc<Mutex<Option<Arc<Connected>>>>,
}

/// A command, and where it goes.
pub(crate) struct Command {
    name: &'static str,
    hash: ClusterHash,
    arguments: Vec<Value>,
    node: Option<Server>,
}

impl Command {
    /// A command on the key that is its first argument.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, hash: ClusterHash::FirstKey, arguments: Vec::new(), node: None }
    }

    /// One more argument: bytes as they are.
    pub(crate) fn arg(mut self, bytes: impl Into<bytes::Bytes>) -> Self {
        self.arguments.push(Value::Bytes(bytes.into()));
        self
    }

    /// A number as an argument.
    pub(crate) fn number(self, number: u64) -> Self {
        self.arg(number.to_string())
    }

    /// To one node.
    pub(crate) fn on(mut self, node: Option<&Server>) -> Self {
        self.node = node.cloned();
        self
    }

    /// On a key that is not its first argument.
    pub(crate) fn about(mut self, key: &[u8]) -> Self {
        self.hash = ClusterHash::Custom(fred::util::redis_keyslot(key));
        self
    }
}

impl Client {
    /// Open a binding. A server that is there but not ready is no error yet: [`Client::ping`] tells.
    ///
    /// # Errors
    /// When the binding cannot be used as it is configured, or its server cannot be reached.
    pub async fn connect(authorized: &Authorized<Cache>) -> Result<Self, Error> {
        let (binding, settings) = (authorized.binding_name().to_owned(), authorized.binding().clone());
        let protected = settings.protected.clone().unwrap_or_default().into_iter().map(String::into_bytes);
        let protected = Arc::new(Protected::new(protected));
        let read = tokio::task::spawn_blocking(move || Settings::read(&binding, &settings));
        let settings = Arc::new(read.await.unwrap_or(Err(Error::Cancelled))?);
        let client = Self { settings, protected, connected: Arc::default() };
        match client.connected().await {
            Err(error) if readiness(error.details()).is_none() => Err(client.settings.place.error(&error)),
            _ => Ok(client),
        }
    }

    /// A token of one binding opens no other.
    pub(crate) fn check(&self, authorized: &Authorized<Cache>) -> Result<(), Error> {
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

    /// The connection, made where there is none (any more).
    async fn connected(&self) -> Result<Arc<Connected>, fred::error::Error> {
        let mut connected = self.connected.lock().await;
        if let Some(connected) = connected.as_ref().filter(|connected| connected.lives()) {
            return Ok(connected.clone());
        }
        let fresh = Arc::new(self.settings.connect().await?);
        *connected = Some(fresh.clone());
        Ok(fresh)
    }

    /// The same, an error as the guest sees it.
    pub(crate) async fn session(&self) -> Result<Arc<Connected>, Error> {
        self.connected().await.map_err(|error| self.settings.place.error(&error))
    }

    /// Send a command and wait for its answer.
    pub(crate) async fn send(&self, session: &Connected, command: Command) -> Result<Value, Error> {
        call(session, command).await.map_err(|error| {
            let place = &self.settings.place;
            if session.lives() { place.error(&error) } else { place.unreachable("the connection broke") }
        })
    }

    /// Connect where needed, and send one command.
    pub(crate) async fn once(&self, command: Command) -> Result<Value, Error> {
        let session = self.session().await?;
        self.send(&session, command).await
    }

    /// Whether every node answers commands.
    ///
    /// # Errors
    /// When a server cannot be reached, or says something else.
    pub async fn ping(&self, authorized: &Authorized<Cache>) -> Result<Vec<Pong>, Error> {
        self.check(authorized)?;
        let begun = Instant::now();
        let elapsed = |since: Instant| u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let session = match self.connected().await {
            Ok(session) => session,
            Err(error) => match readiness(error.details()) {
                Some(state) => return Ok(vec![Pong { node: 0, state, microseconds: elapsed(begun) }]),
                None => return Err(self.settings.place.error(&error)),
            },
        };
        let pings = session.nodes().into_iter().zip(0..).map(|(server, node)| {
            let session = &session;
            async move {
                let begun = Instant::now();
                let state = match call(session, Command::new("PING").on(server.as_ref())).await {
                    Ok(_) => Readiness::Ready,
                    Err(error) => match readiness(error.details()) {
                        Some(state) => state,
                        None => return Err(self.settings.place.error(&error)),
                    },
                };
                Ok(Pong { node, state, microseconds: elapsed(begun) })
            }
        });
        try_join_all(pings).await
    }

    /// What every node says of itself.
    ///
    /// # Errors
    /// When a server cannot be reached or refuses.
    pub async fn info(&self, authorized: &Authorized<Cache>) -> Result<Vec<NodeInfo>, Error> {
        self.check(authorized)?;
        self.nodes_info().await
    }

    pub(crate) async fn nodes_info(&self) -> Result<Vec<NodeInfo>, Error> {
        let session = self.session().await?;
        let infos = session.nodes().into_iter().zip(0..).map(|(server, node)| {
            let session = &session;
            async move {
                let answer = self.send(session, Command::new("INFO").on(server.as_ref())).await?;
                let text = answer.as_bytes().map(String::from_utf8_lossy);
                text.map(|text| info::node(node, &text)).ok_or_else(|| self.settings.place.nonsense())
            }
        });
        try_join_all(infos).await
    }

    /// The databases that hold keys, of all nodes together.
    ///
    /// # Errors
    /// As for [`Client::info`].
    pub async fn keyspace(&self, authorized: &Authorized<Cache>) -> Result<Vec<DatabaseFacts>, Error> {
        Ok(info::together(&self.info(authorized).await?))
    }

    /// Slow commands, the newest first.
    ///
    /// # Errors
    /// When a server cannot be reached or refuses.
    pub async fn slowlog(&self, authorized: &Authorized<Cache>, limit: u32) -> Result<Vec<SlowCommand>, Error> {
        self.check(authorized)?;
        if !(1..=10_000).contains(&limit) {
            return Err(Error::InvalidArgument(format!("the limit of a slow log is 1 to 10,000, not {limit}")));
        }
        let session = self.session().await?;
        let logs = session.nodes().into_iter().zip(0..).map(|(server, node)| {
            let session = &session;
            async move {
                let command = Command::new("SLOWLOG").arg("GET").number(limit.into()).on(server.as_ref());
                let entries = self.send(session, command).await?.into_array();
                let read: Option<Vec<SlowCommand>> = entries.into_iter().map(|entry| slow(node, entry)).collect();
                read.ok_or_else(|| self.settings.place.nonsense())
            }
        });
        let mut all = try_join_all(logs).await?.concat();
        all.sort_by_key(|command| std::cmp::Reverse((command.at, command.id)));
        Ok(all)
    }

    /// What keys hold; none for one that is not there.
    ///
    /// # Errors
    /// `invalid-argument` for more than 1,000 keys; when a server cannot be reached or refuses.
    pub async fn usage(
        &self,
        authorized: &Authorized<Cache>,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<KeyUsage>>, Error> {
        self.check(authorized)?;
        few(keys.len())?;
        let session = self.session().await?;
        try_join_all(keys.iter().map(|key| self.one_usage(&session, key))).await
    }

    async fn one_usage(&self, session: &Connected, key: &[u8]) -> Result<Option<KeyUsage>, Error> {
        let key = || bytes::Bytes::copy_from_slice(key);
        let (kind, bytes, lifetime) = tokio::join!(
            self.send(session, Command::new("TYPE").arg(key())),
            call(session, Command::new("MEMORY").arg("USAGE").arg(key()).about(&key())),
            self.send(session, Command::new("PTTL").arg(key())),
        );
        let kind = kind?.into_string().unwrap_or_default();
        if kind == "none" {
            return Ok(None);
        }
        let length = match length_of(&kind) {
            // Another kind has it by now: then its length is not known.
            Some(command) => call(session, Command::new(command).arg(key())).await.ok().and_then(|n| n.as_u64()),
            None => None,
        };
        // A server without MEMORY USAGE, or a user without the right, leaves it unknown.
        let bytes = bytes.ok().and_then(|bytes| bytes.as_u64());
        Ok(Some(KeyUsage { kind, bytes, length, expires_in: lifetime?.as_u64() }))
    }
}

/// Refuse more keys than one call may name.
pub(crate) fn few(keys: usize) -> Result<(), Error> {
    if keys <= MOST_KEYS {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!("one call takes at most {MOST_KEYS} keys, not {keys}; make several")))
}

/// The command that tells how long a kind of value is.
pub(crate) fn length_of(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "string" => "STRLEN",
        "list" => "LLEN",
        "set" => "SCARD",
        "zset" => "ZCARD",
        "hash" => "HLEN",
        "stream" => "XLEN",
        _ => return None,
    })
}

/// Send a command, an error as fred gives it.
pub(crate) async fn call(session: &Connected, command: Command) -> Result<Value, fred::error::Error> {
    let Command { name, hash, arguments, node } = command;
    let custom = CustomCommand::new_static(name, hash, false);
    match node {
        None => session.client.custom(custom, arguments).await,
        Some(_) => {
            let options = Options { cluster_node: node, ..Options::default() };
            session.client.with_options(&options).custom(custom, arguments).await
        }
    }
}

/// What a server's refusal says of its state; none where it is about something else.
fn readiness(said: &str) -> Option<Readiness> {
    match code(said) {
        "LOADING" => Some(Readiness::Loading),
        "MASTERDOWN" => Some(Readiness::Stale),
        "BUSY" => Some(Readiness::Busy),
        _ => None,
    }
}
