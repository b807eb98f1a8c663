//! A run that this process holds: its fence, until when the lease is certainly its own, and how it is told to stop.

use rota_protocol::{Fence, LeaseNumber};
use rota_sandbox::Cancel;
use rota_store::{CancelWish, Claimed};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Why a run is told to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Somebody wants it cancelled.
    Wish(CancelWish),
    /// Its lease is another's, or cannot be proven to be ours much longer.
    LeaseLost,
    /// Its host drains and hands it back.
    HandBack,
}

/// A held run.
pub(crate) struct Held {
    /// Its id.
    pub(crate) run: String,
    /// What is shown with each write.
    pub(crate) fence: Fence,
    /// Stops its guest.
    pub(crate) cancel: Cancel,
    /// Stops its undo, which goes on although the guest was stopped.
    pub(crate) cancel_undo: Cancel,
    state: Mutex<State>,
    /// Whether this attempt has asked for an effect to be written down.
    effects: AtomicBool,
}

struct State {
    /// By this process's monotonic clock: counted from before the request that was answered, so never too late.
    proven_until: Instant,
    stop: Option<Stop>,
    progress: Option<String>,
    /// It is being undone: a wish to cancel it changes nothing any more.
    undoing: bool,
}

impl Held {
    /// From a claim that was asked for at `asked`.
    pub(crate) fn new(claimed: &Claimed, asked: Instant, lease: Duration, cancel: Cancel) -> Arc<Self> {
        Arc::new(Self {
            run: claimed.row.run.id.clone(),
            fence: claimed.lease.fence(),
            cancel,
            cancel_undo: Cancel::default(),
            state: Mutex::new(State { proven_until: asked + lease, stop: None, progress: None, undoing: claimed.undo }),
            effects: AtomicBool::new(false),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lease was extended by a request that was made at `asked`.
    pub(crate) fn proven(&self, asked: Instant, lease: Duration) {
        let mut state = self.state();
        state.proven_until = state.proven_until.max(asked + lease);
    }

    /// Until when the lease is certainly ours.
    pub(crate) fn proven_until(&self) -> Instant {
        self.state().proven_until
    }

    /// Tell it to stop; the first reason counts, but a lost lease goes over all.
    pub(crate) fn stop(&self, why: Stop) {
        let mut state = self.state();
        let wish = matches!(why, Stop::Wish(_));
        // A wish may give it time to end by itself; whatever else stops it cannot.
        let at_once = !matches!(&why, Stop::Wish(wish) if !wish.terminate);
        if state.undoing && wish {
            return;
        }
        if state.stop.is_none() || why == Stop::LeaseLost {
            state.stop = Some(why);
        }
        drop(state);
        if at_once {
            self.cancel.terminate();
        } else {
            self.cancel.cancel();
        }
        if !wish {
            self.cancel_undo.terminate();
        }
    }

    /// Why it was told to stop.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.state().stop.clone()
    }

    /// An effect is to be written down.
    pub(crate) fn has_effect(&self) {
        self.effects.store(true, Ordering::Release);
    }

    /// Whether this attempt may have effects on record.
    pub(crate) fn may_have_effects(&self) -> bool {
        self.effects.load(Ordering::Acquire)
    }

    /// What is left of it is undone from here on; that somebody wanted it cancelled is done with.
    pub(crate) fn undoing(&self) {
        let mut state = self.state();
        state.undoing = true;
        if matches!(state.stop, Some(Stop::Wish(_))) {
            state.stop = None;
        }
    }

    /// How far it is, JSON, for whoever looks from another host.
    pub(crate) fn progress(&self, progress: String) {
        self.state().progress = Some(progress);
    }

    fn take_progress(&self) -> Option<String> {
        self.state().progress.take()
    }
}

/// A held run with the number of its lease.
pub(crate) type Leased = (String, LeaseNumber);

/// A held run and how far it is, JSON.
pub(crate) type Progress = (String, String);

/// All runs that this process holds.
#[derive(Default)]
pub(crate) struct HeldRuns(Mutex<BTreeMap<String, Arc<Held>>>);

impl HeldRuns {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Held>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more; it counts as held until what is answered is dropped.
    pub(crate) fn add(self: &Arc<Self>, held: Arc<Held>) -> Holding {
        let run = held.run.clone();
        self.all().insert(run.clone(), held);
        Holding { runs: self.clone(), run }
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.all().len()
    }

    /// Each of them.
    pub(crate) fn each(&self) -> Vec<Arc<Held>> {
        self.all().values().cloned().collect()
    }

    /// One of them.
    pub(crate) fn get(&self, run: &str) -> Option<Arc<Held>> {
        self.all().get(run).cloned()
    }

    /// What a sign of life says of them: runs with the numbers of their leases, and how far they are.
    pub(crate) fn said(&self) -> (Vec<Leased>, Vec<Progress>) {
        let all = self.all();
        let leases = all.values().map(|held| (held.run.clone(), held.fence.number)).collect();
        let progress = all.values().filter_map(|held| Some((held.run.clone(), held.take_progress()?))).collect();
        (leases, progress)
    }
}

/// Keeps a run among the held ones.
pub(crate) struct Holding {
    runs: Arc<HeldRuns>,
    run: String,
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.runs.all().remove(&self.run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(terminate: bool) -> Stop {
        Stop::Wish(CancelWish { by: "ada".into(), at: chrono::Utc::now(), terminate, note: None })
    }

    #[test]
    fn only_a_wish_gives_time_to_end() {
        for (why, at_once, undo) in [
            (wish(false), false, false),
            (wish(true), true, false),
            (Stop::LeaseLost, true, true),
            (Stop::HandBack, true, true),
        ] {
            let held = Held {
                run: "run".into(),
                fence: Fence { holder: rota_protocol::Incarnation("host".into()), number: LeaseNumber(1) },
                cancel: Cancel::default(),
                cancel_undo: Cancel::default(),
                state: Mutex::new(State { proven_until: Instant::now(), stop: None, progress: None, undoing: false }),
                effects: AtomicBool::new(false),
            };
            held.stop(why.clone());
            assert!(held.cancel.is_cancelled(), "{why:?}");
            assert_eq!((held.cancel.is_terminated(), held.cancel_undo.is_terminated()), (at_once, undo), "{why:?}");
        }
    }
}
