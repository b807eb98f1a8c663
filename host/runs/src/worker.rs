//! The worker: claims runs that are due, makes their attempts, undoes what did not finish, and drains.
//!
//! | part | how |
//! | --- | --- |
//! | claim | as many as there is room for, at each hint and at each poll: the hint may be lost, the poll is the truth |
//! | hold | the heart (`heart.rs`) extends the leases and stops what cannot be proven |
//! | reap | runs whose lease is over are taken from their vanished workers, by every worker, a few times within a lease |
//! | drain | nothing more is claimed; what runs may finish for a while, then is handed back or cancelled |

use crate::attempt::Doing;
use crate::heart::Heart;
use crate::held::{Held, HeldRuns, Stop};
use crate::host::Host;
use crate::job::ReviveError;
use crate::observer::Unwatched;
use futures::FutureExt as _;
use rota_protocol::{Incarnation, Span};
use rota_sandbox::Cancel;
use rota_store::{AttemptEnded, Claim, Claimed, Hint, NewHost, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Notify, watch};
use tokio_util::task::TaskTracker;

/// Between two claims while runs are under way: a claim costs the store about as much for one run as for many, and what ended or came
/// together is replaced by one. A host that has nothing to do claims at once.
const PACE: Duration = Duration::from_millis(4);

/// How often within a lease is looked for leases that are over: as often as they are extended.
const REAPS: u32 = 3;

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The name that people know the host by.
    pub name: String,
    /// What runs may ask for.
    pub labels: BTreeMap<String, String>,
    /// Runs at once; 0 takes none.
    pub capacity: u32,
    /// How long a lease lasts without a sign of life.
    pub lease: Duration,
    /// How often is looked for work when no hint comes.
    pub poll: Duration,
    /// How long runs may go on when the host is to stop.
    pub drain_timeout: Duration,
    /// The digest of the host's configuration.
    pub configuration: String,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            name: crate::host_name(),
            labels: BTreeMap::new(),
            capacity: 8,
            lease: Duration::from_secs(15),
            poll: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(60),
            configuration: String::new(),
        }
    }
}

/// A worker of this process.
pub struct Worker {
    host: Arc<Host>,
    options: WorkerOptions,
    incarnation: Incarnation,
    held: Arc<HeldRuns>,
    heart: Arc<Heart>,
    attempts: TaskTracker,
    room: Arc<Notify>,
    drain: watch::Receiver<bool>,
    answered: watch::Receiver<Option<Instant>>,
}

impl Worker {
    /// Register this process with the store. Its incarnation is new.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn register(host: Arc<Host>, options: WorkerOptions) -> Result<Self, StoreError> {
        let incarnation = Incarnation(uuid::Uuid::new_v4().to_string());
        let new = NewHost {
            incarnation: incarnation.clone(),
            name: options.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            labels: options.labels.clone(),
            configuration: options.configuration.clone(),
            capacity: options.capacity,
            process: rota_store::Process::this(),
        };
        host.store().register_host(new).await?;
        let held = Arc::new(HeldRuns::default());
        let (drain_sender, drain) = watch::channel(false);
        let (answered_sender, answered) = watch::channel(Some(Instant::now()));
        let heart = Arc::new(Heart {
            store: host.store().clone(),
            incarnation: incarnation.clone(),
            lease: options.lease,
            held: held.clone(),
            drain: drain_sender,
            answered: answered_sender,
            beaten: std::sync::Mutex::new(Instant::now()),
        });
        Ok(Self {
            host,
            options,
            incarnation,
            held,
            heart,
            attempts: TaskTracker::new(),
            room: Arc::new(Notify::new()),
            drain,
            answered,
        })
    }

    /// Which start of this process it is.
    pub fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    /// How many runs it holds.
    pub fn running(&self) -> usize {
        self.held.count()
    }

    /// When the store last answered this process, by the monotonic clock.
    pub fn last_answer(&self) -> Option<Instant> {
        *self.answered.borrow()
    }

    /// When it last tried to show a sign of life.
    pub fn last_beat(&self) -> Instant {
        self.heart.last_beat()
    }

    /// Whether the store wants this host to take nothing more.
    pub fn is_draining(&self) -> bool {
        *self.drain.borrow()
    }

    /// Work until `stop` says so, then drain.
    pub async fn work(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let heart = self.heart.clone();
        let beating = tokio::spawn(async move { heart.beat_for_ever().await });
        let claiming = self.clone().claim_for_ever();
        tokio::select! {
            () = claiming => {}
            // Beside the claims: none of them is to wait for it.
            () = self.reap_for_ever() => {}
            () = crate::told(stop) => {}
        }
        self.finish().await;
        beating.abort();
        if let Err(error) = self.host.store().leave(&self.incarnation).await {
            tracing::warn!(%error, "the host could not sign off; its leases end by themselves");
        }
    }

    async fn claim_for_ever(self: Arc<Self>) {
        let mut hints = self.host.store().hints();
        let mut trouble = Duration::ZERO;
        let mut claimed = Instant::now();
        loop {
            self.pace(claimed).await;
            // What was hinted at until now, this claim finds.
            while !matches!(hints.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
            let _ = self.room.notified().now_or_never();
            claimed = Instant::now();
            match self.claim().await {
                Ok(more) => {
                    trouble = Duration::ZERO;
                    if more {
                        continue;
                    }
                }
                Err(error) => {
                    trouble = (trouble * 2).clamp(self.options.poll, Duration::from_secs(30));
                    tracing::warn!(%error, "no runs can be claimed now; tried again in {trouble:?}");
                    tokio::time::sleep(trouble).await;
                    continue;
                }
            }
            let poll = tokio::time::sleep(self.options.poll);
            tokio::pin!(poll);
            loop {
                tokio::select! {
                    () = &mut poll => break,
                    () = self.room.notified() => break,
                    hint = hints.recv() => match hint {
                        Ok(Hint::Queue) | Err(RecvError::Lagged(_)) => break,
                        Ok(_) => {}
                        Err(RecvError::Closed) => {
                            hints = self.host.store().hints();
                            poll.as_mut().await;
                            break;
                        }
                    },
                }
            }
        }
    }

    /// Wait until it is worth claiming again, since the last claim began.
    async fn pace(&self, claimed: Instant) {
        let wait = PACE.saturating_sub(claimed.elapsed());
        // Even a timer of nothing waits for its next tick.
        if self.held.count() > 0 && !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Claim what there is room for; whether there may be more.
    async fn claim(self: &Arc<Self>) -> Result<bool, StoreError> {
        let room = (self.options.capacity as usize).saturating_sub(self.held.count());
        if room == 0 || self.is_draining() {
            return Ok(false);
        }
        let most = u32::try_from(room).unwrap_or(u32::MAX);
        let asked = Instant::now();
        let mut unable = self.host.unable().jobs();
        if !unable.is_empty() && !self.host.others_serve(&self.incarnation).await {
            // Nobody is left to leave it to: it says why it cannot.
            unable.clear();
        }
        let claim = Claim {
            by: &self.incarnation,
            host: &self.options.name,
            lease: Span::from(self.options.lease),
            labels: &self.options.labels,
            most,
            only: None,
            unable: &unable,
        };
        let claimed = self.host.store().claim(claim).await?;
        let got = claimed.len();
        for claimed in claimed {
            self.begin(claimed, asked);
        }
        Ok(got == room)
    }

    /// Take the runs of vanished workers from them, for ever.
    async fn reap_for_ever(&self) {
        loop {
            self.reap().await;
            tokio::time::sleep(self.options.poll.max(self.options.lease / REAPS)).await;
        }
    }

    async fn reap(&self) {
        match self.host.store().reap().await {
            Ok(reaped) => {
                for (run, state) in reaped {
                    tracing::warn!(run, state = state.as_str(), "the worker of the run has vanished");
                }
            }
            Err(error) => tracing::warn!(%error, "runs of vanished workers could not be looked for"),
        }
    }

    fn begin(self: &Arc<Self>, claimed: Claimed, asked: Instant) {
        let held = Held::new(&claimed, asked, self.options.lease, Cancel::default());
        let holding = self.held.add(held.clone());
        let worker = self.clone();
        let metrics = self.host.metrics().clone();
        metrics
            .pickup
            .observe((chrono::Utc::now() - claimed.row.due).num_microseconds().unwrap_or(0).max(0) as f64 / 1e6);
        metrics.held.inc();
        self.attempts.spawn(async move {
            let (job, plugin) = (claimed.row.run.job.clone(), claimed.row.run.plugin.clone());
            let ended = worker.host.do_claimed(claimed, held, Arc::new(Unwatched)).await;
            drop(holding);
            metrics.held.dec();
            if let Some(AttemptEnded::Final(state)) = ended {
                metrics.run_ended(job.as_deref(), &plugin, state.as_str(), asked.elapsed());
            }
            worker.room.notify_one();
        });
    }

    /// Let what runs finish for a while; then hand it back. The leases go on being extended meanwhile.
    async fn finish(&self) {
        self.attempts.close();
        if self.held.count() > 0 {
            tracing::info!(
                runs = self.held.count(),
                "waiting up to {:?} for runs to finish",
                self.options.drain_timeout
            );
        }
        if tokio::time::timeout(self.options.drain_timeout, self.attempts.wait()).await.is_ok() {
            return;
        }
        for held in self.held.each() {
            tracing::warn!(run = held.run, "the run is handed back");
            held.stop(Stop::HandBack);
        }
        // What was stopped ends within a moment; a store that is away must not keep the process.
        if tokio::time::timeout(self.options.lease, self.attempts.wait()).await.is_err() {
            tracing::warn!("runs that were stopped have not ended; their leases end by themselves");
        }
    }
}

impl Host {
    /// Do what was claimed, to its end here. A run that goes on is claimed again, by whoever does next.
    pub(crate) async fn do_claimed(
        &self,
        claimed: Claimed,
        held: Arc<Held>,
        watcher: Arc<dyn crate::observer::Watcher>,
    ) -> Option<AttemptEnded> {
        let prepared = match self.revive(&claimed.row.run, claimed.undo).await {
            Ok(prepared) => prepared,
            Err(error) if claimed.undo => {
                // Nothing can be undone without the run's parts: each try of it fails, and says why.
                let said = error.to_string();
                return self.undo_fails(&claimed, &held, &said).await;
            }
            Err(ReviveError::Team(beyond)) => {
                return self.deny(&claimed, &held, "denied", &beyond.with_advice()).await;
            }
            Err(error) => return self.refuse(&claimed, &held, &error.to_string()).await,
        };
        let doing = Doing { claimed, prepared, held, watcher };
        self.do_all(&doing).await
    }

    /// The attempt, and the undo where it did not finish.
    pub(crate) async fn do_all(&self, doing: &Doing) -> Option<AttemptEnded> {
        let ended = if doing.claimed.undo { Some(AttemptEnded::ToUndo) } else { self.attempt(doing).await };
        match ended {
            Some(AttemptEnded::ToUndo) => match self.undo(doing).await {
                crate::undo::Undone::Final(state) => Some(AttemptEnded::Final(state)),
                crate::undo::Undone::Later => Some(AttemptEnded::Requeued),
                crate::undo::Undone::Lost => None,
            },
            other => other,
        }
    }
}
