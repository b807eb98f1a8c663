//! Signs of life: extends the leases of the runs that this process holds, and stops those whose lease it cannot prove.
//!
//! A lease is extended three times within its length. While the store does not answer, runs go on as long as their lease certainly
//! lasts by this process's own clock, counted from before the last request that was answered; a fifth of the lease before that, they
//! are stopped, so that nothing of them is under way when another host may take them over. The fence in each write is what makes it safe;
//! stopping in time is what keeps an effect that is under way from overlapping with its successor's.

use crate::held::{HeldRuns, Stop};
use rota_protocol::{Incarnation, Span};
use rota_store::{Beat, Store};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often is looked for wishes to cancel what is held, where no hint comes: one may be lost, and files have none.
const LOOK: Duration = Duration::from_millis(400);

/// The heart of a process that works on runs.
pub(crate) struct Heart {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) incarnation: Incarnation,
    pub(crate) lease: Duration,
    pub(crate) held: Arc<HeldRuns>,
    /// Set when the store says that this host is to take nothing more.
    pub(crate) drain: watch::Sender<bool>,
    /// Whether the last sign of life was answered; and when, by the monotonic clock.
    pub(crate) answered: watch::Sender<Option<Instant>>,
    /// When the last one was tried.
    pub(crate) beaten: Mutex<Instant>,
}

impl Heart {
    /// Beat, and look for wishes, until dropped. Beside each other: no look may hold up what stops a run whose lease cannot be proven.
    pub(crate) async fn beat_for_ever(&self) {
        tokio::select! {
            () = self.beats() => {}
            () = self.looks() => {}
        }
    }

    async fn beats(&self) {
        let mut hints = self.store.hints();
        let every = self.lease / 3;
        loop {
            let asked = Instant::now();
            self.beat(asked).await;
            let next = asked + every;
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(self.next_look(next).into()) => {}
                    hint = hints.recv() => {
                        // A wish to cancel is learned of at once.
                        match hint {
                            Ok(rota_store::Hint::Cancel(run)) if self.held.get(&run).is_some() => self.beat(Instant::now()).await,
                            Err(tokio::sync::broadcast::error::RecvError::Closed) => hints = self.store.hints(),
                            _ => {}
                        }
                    }
                }
                self.stop_unproven();
                if Instant::now() >= next {
                    break;
                }
            }
        }
    }

    /// Extend everything once.
    pub(crate) async fn beat(&self, asked: Instant) {
        *self.beaten.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        let (leases, progress) = self.held.said();
        let beat =
            Beat { incarnation: &self.incarnation, lease: Span::from(self.lease), held: &leases, progress: &progress };
        let answer = tokio::time::timeout(self.lease / 3, self.store.beat(beat)).await;
        match answer {
            Ok(Ok(answer)) => {
                for (run, _) in &leases {
                    let Some(held) = self.held.get(run) else { continue };
                    if answer.lost.contains(run) {
                        held.stop(Stop::LeaseLost);
                    } else {
                        held.proven(asked, self.lease);
                    }
                }
                for (run, wish) in answer.cancels {
                    if let Some(held) = self.held.get(&run) {
                        held.stop(Stop::Wish(wish));
                    }
                }
                self.drain.send_if_modified(|drain| std::mem::replace(drain, answer.drain) != answer.drain);
                self.answered.send_replace(Some(asked));
            }
            Ok(Err(error)) => tracing::warn!(%error, "the store did not take this host's sign of life"),
            Err(_) => tracing::warn!("the store did not answer this host's sign of life in time"),
        }
    }

    async fn looks(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.look().await;
        }
    }

    /// Tell what is held and wanted cancelled. What the store does not answer, the next sign of life asks again.
    async fn look(&self) {
        let held: Vec<String> = self.held.each().iter().map(|held| held.run.clone()).collect();
        if held.is_empty() {
            return;
        }
        let Ok(Ok(wishes)) = tokio::time::timeout(LOOK, self.store.cancelled(&held)).await else { return };
        for (run, wish) in wishes {
            if let Some(held) = self.held.get(&run) {
                held.stop(Stop::Wish(wish));
            }
        }
    }

    /// When the last sign of life was tried.
    pub(crate) fn last_beat(&self) -> Instant {
        *self.beaten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a lease has to be looked at, at the latest at `latest`.
    fn next_look(&self, latest: Instant) -> Instant {
        let first = self.held.each().into_iter().filter(|held| held.stopped() != Some(Stop::LeaseLost));
        first.map(|held| held.proven_until() - self.margin()).min().map_or(latest, |look| look.min(latest))
    }

    fn margin(&self) -> Duration {
        self.lease / 5
    }

    fn stop_unproven(&self) {
        let now = Instant::now();
        for held in self.held.each() {
            if now + self.margin() >= held.proven_until() && held.stopped() != Some(Stop::LeaseLost) {
                tracing::warn!(
                    run = held.run,
                    "the lease on the run cannot be proven any longer; the run is stopped here"
                );
                held.stop(Stop::LeaseLost);
            }
        }
    }
}
