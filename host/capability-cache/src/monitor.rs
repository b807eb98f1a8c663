//! Watching every command for a while: a connection of its own to each node, bounded, and seen closed.

use crate::client::Client;
use crate::scan::Work;
use crate::wire::{Line, Monitor};
use crate::wit::SeenCommand;
use rota_authority::{Cache, Permit};
use rota_contract::Error;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The most seconds and commands.
pub const MOST_SECONDS: u32 = 60;
/// The most commands of a node.
pub const MOST_COMMANDS: u32 = 100_000;

/// Commands as they are seen.
pub struct Commands {
    /// The commands; ends at the first error.
    pub commands: mpsc::Receiver<Result<SeenCommand, Error>>,
    /// Ends the watching when it is dropped.
    pub work: Work,
}

/// Who sent it, as a number that is no address.
#[derive(Default)]
struct Clients(HashMap<String, u32>);

impl Clients {
    fn number(&mut self, client: String) -> u32 {
        if client == "lua" {
            return 0;
        }
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX).saturating_add(1);
        *self.0.entry(client).or_insert(next)
    }
}

/// Whether the bounds are ones.
pub(crate) fn check(seconds: u32, limit: u32) -> Result<(), Error> {
    if !(1..=MOST_SECONDS).contains(&seconds) {
        return Err(Error::InvalidArgument(format!("watching takes 1 to {MOST_SECONDS} seconds, not {seconds}")));
    }
    if !(1..=MOST_COMMANDS).contains(&limit) {
        return Err(Error::InvalidArgument(format!("watching sees 1 to {MOST_COMMANDS} commands, not {limit}")));
    }
    Ok(())
}

impl Client {
    /// Watch. The permit is concluded when the last connection is closed.
    ///
    /// # Errors
    /// When a node cannot be reached or refuses; what goes wrong later comes out of the commands.
    pub async fn monitor(&self, permit: Permit<Cache>, seconds: u32, limit: u32) -> Result<Commands, Error> {
        match self.begin(&permit).await {
            Ok(nodes) => {
                // A server's buffers grow without end for one that does not read: so there is always room.
                let (sender, commands) = mpsc::channel(limit as usize * nodes.len() + 1);
                let work = Work::spawn(watch(self.clone(), permit, nodes, (seconds, limit), sender));
                Ok(Commands { commands, work })
            }
            Err(error) => permit.conclude(Err(error), |_: &Commands| String::new()).await,
        }
    }

    async fn begin(&self, permit: &Permit<Cache>) -> Result<Vec<Monitor>, Error> {
        self.check(permit.authorized())?;
        let addresses = self.session().await?.addresses();
        let begin = addresses.iter().map(|(host, port)| Monitor::begin(&self.settings, host, *port));
        futures::future::try_join_all(begin).await
    }
}

async fn watch(
    client: Client,
    permit: Permit<Cache>,
    nodes: Vec<Monitor>,
    (seconds, limit): (u32, u32),
    sender: mpsc::Sender<Result<SeenCommand, Error>>,
) {
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let clients = Arc::new(Mutex::new(Clients::default()));
    let each = nodes.into_iter().zip(0..).map(|(monitor, node)| {
        let (sender, clients, client) = (sender.clone(), clients.clone(), client.clone());
        async move { watch_one(&client, monitor, node, end, limit, &clients, &sender).await }
    });
    let seen = futures::future::try_join_all(each).await.map(|seen| seen.iter().sum::<u64>());
    let seen = permit.conclude(seen, |seen| format!("{seen} commands seen, and no longer watched")).await;
    if let Err(error) = seen {
        let _ = sender.send(Err(error)).await;
    }
}

async fn watch_one(
    client: &Client,
    mut monitor: Monitor,
    node: u32,
    end: Instant,
    limit: u32,
    clients: &Mutex<Clients>,
    sender: &mpsc::Sender<Result<SeenCommand, Error>>,
) -> Result<u64, Error> {
    let mut seen = 0;
    while seen < u64::from(limit) {
        let Ok(line) = tokio::time::timeout_at(end, monitor.next()).await else { break };
        let Line { at, database, client: who, command } =
            line.map_err(|error| client.settings.place.unreachable(&error.to_string()))?;
        let who = clients.lock().unwrap_or_else(PoisonError::into_inner).number(who);
        seen += 1;
        if sender.send(Ok(SeenCommand { node, at, database, client: who, command })).await.is_err() {
            break;
        }
    }
    if monitor.close().await {
        return Ok(seen);
    }
    Err(Error::TimedOut(format!(
        "the cache of binding `{}` did not close the connection that watched; look at CLIENT LIST for one in MONITOR (flags O), and end it with CLIENT KILL",
        client.settings.place.binding
    )))
}
