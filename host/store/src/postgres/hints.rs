//! Hints between hosts, by LISTEN and NOTIFY.
//!
//! They are sent after the commit, by a connection of their own: a NOTIFY within a transaction makes all such commits wait for each other,
//! sync of the disk included. What is lost with a connection or a process is lost: whoever waits for a hint polls, too.

use super::open::Target;
use crate::rows::Hint;
use crate::session::Shared;
use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

const CHANNEL: &str = "rota";

/// How long hints are gathered that are not urgent, and how far apart those are that are: the first of them waits for nothing.
const GATHER: Duration = Duration::from_millis(50);
const APART: Duration = Duration::from_millis(4);

/// How long until it is tried again to listen.
const AGAIN: Duration = Duration::from_secs(1);

/// PostgreSQL takes fewer than 8,000 bytes.
const PAYLOAD: usize = 7_000;

/// The tasks that send and hear hints. They end with it.
pub(super) struct Hinting {
    sender: Sender,
    tasks: [JoinHandle<()>; 2],
    pool: PgPool,
}

/// Where hints of this process go.
#[derive(Clone)]
pub(super) struct Sender {
    here: broadcast::Sender<Hint>,
    there: mpsc::UnboundedSender<Hint>,
}

impl Sender {
    /// Hint here, now, and there, soon.
    pub(super) fn send(&self, hint: Hint) {
        // Nobody may be listening, and the store may be closing.
        let _ = self.here.send(hint.clone());
        let _ = self.there.send(hint);
    }
}

impl Hinting {
    pub(super) fn start(target: &Target, shared: &Shared, here: broadcast::Sender<Hint>) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .min_connections(0)
            // A question whether a connection lives would be a trip before each hint.
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(target.hinting());
        let (there, waiting) = mpsc::unbounded_channel();
        // Tells this process's own hints from those of others.
        let own = format!("{:x}", rand_id());
        let tasks = [
            tokio::spawn(tell(pool.clone(), own.clone(), waiting)),
            tokio::spawn(listen(pool.clone(), own, here.clone(), shared.place.to_string())),
        ];
        Self { sender: Sender { here, there }, tasks, pool }
    }

    pub(super) fn sender(&self) -> Sender {
        self.sender.clone()
    }

    pub(super) fn close(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        // Its connections close as they are dropped.
        drop(self.pool.close());
    }
}

impl Drop for Hinting {
    fn drop(&mut self) {
        self.close();
    }
}

/// A number that no other process has, but by chance: a lost hint is all that comes of it.
fn rand_id() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

fn word(hint: &Hint) -> String {
    match hint {
        Hint::Queue => "q".into(),
        Hint::Schedules => "s".into(),
        Hint::Cancel(run) => format!("c{run}"),
        Hint::Log(run) => format!("l{run}"),
        Hint::Run(run) => format!("r{run}"),
    }
}

fn hint(word: &str) -> Option<Hint> {
    let (kind, run) = word.split_at_checked(1)?;
    match kind {
        "q" => Some(Hint::Queue),
        "s" => Some(Hint::Schedules),
        "c" => Some(Hint::Cancel(run.into())),
        "l" => Some(Hint::Log(run.into())),
        "r" => Some(Hint::Run(run.into())),
        _ => None,
    }
}

fn is_urgent(hint: &Hint) -> bool {
    matches!(hint, Hint::Queue | Hint::Cancel(_) | Hint::Schedules)
}

async fn tell(pool: PgPool, own: String, mut waiting: mpsc::UnboundedReceiver<Hint>) {
    let mut sent: Option<Instant> = None;
    while let Some(first) = waiting.recv().await {
        let begun = Instant::now();
        let soonest = sent.map_or(begun, |sent| begun.max(sent + APART));
        let mut urgent = is_urgent(&first);
        let mut hints = HashSet::from([first]);
        while hints.len() < 1_000 {
            let hint = if urgent && soonest <= begun {
                // Not even a timer that is over already: it would wait for its next tick, a millisecond.
                waiting.try_recv().ok()
            } else {
                let deadline = if urgent { soonest } else { begun + GATHER };
                timeout_at(deadline, waiting.recv()).await.ok().flatten()
            };
            let Some(hint) = hint else { break };
            urgent |= is_urgent(&hint);
            hints.insert(hint);
        }
        let mut payload = own.clone();
        for hint in &hints {
            let word = word(hint);
            if payload.len() + word.len() >= PAYLOAD {
                send(&pool, &std::mem::replace(&mut payload, own.clone())).await;
            }
            payload.push(' ');
            payload.push_str(&word);
        }
        send(&pool, &payload).await;
        sent = Some(Instant::now());
    }
}

async fn send(pool: &PgPool, payload: &str) {
    let sent = sqlx::query("select pg_catalog.pg_notify($1, $2)").bind(CHANNEL).bind(payload).execute(pool).await;
    if let Err(error) = sent {
        tracing::debug!(%error, "other hosts were not hinted at changes; they see them when they look");
    }
}

async fn listen(pool: PgPool, own: String, here: broadcast::Sender<Hint>, place: String) {
    loop {
        if let Err(error) = hear(&pool, &own, &here).await {
            tracing::debug!(%error, place, "hints are not heard; changes are seen by looking");
        }
        sleep(AGAIN).await;
    }
}

async fn hear(pool: &PgPool, own: &str, here: &broadcast::Sender<Hint>) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    // What was missed before counts as hinted.
    let _ = here.send(Hint::Queue);
    loop {
        // None: the connection broke, and is made again by the next call; hints may be missing.
        let Some(notification) = listener.try_recv().await? else {
            let _ = here.send(Hint::Queue);
            continue;
        };
        let mut words = notification.payload().split(' ');
        if words.next() == Some(own) {
            continue;
        }
        for hint in words.filter_map(hint) {
            let _ = here.send(hint);
        }
    }
}
