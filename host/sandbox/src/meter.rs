//! CPU time of guests: a clock of epochs on a thread of its own, and a meter a run.
//!
//! The clock is an OS thread because a guest that spins can pin the thread that drives tokio's timers. It sleeps while no
//! run is under way. At each tick a running guest asks its [`Meter`] whether it may go on, and yields to other runs.

use rota_capability::LimitExceeded;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use wasmtime::Engine;

/// How often a running guest is looked at, and the longest that it keeps a thread from others: a small run that takes its turn thirty
/// times behind guests that spin on every thread is late by so many ticks, not more.
pub(crate) const TICK: Duration = Duration::from_millis(2);

/// The epoch clock of an engine.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
}

struct Shared {
    /// Runs under way, or `None` when the sandbox is gone.
    active: Mutex<Option<usize>>,
    changed: Condvar,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { active: Mutex::new(Some(0)), changed: Condvar::new() });
        let (theirs, engine) = (shared.clone(), engine.weak());
        std::thread::Builder::new().name("rota-epochs".into()).spawn(move || {
            while theirs.wait_for_runs() {
                std::thread::sleep(TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })?;
        Ok(Self { shared })
    }

    /// Keep the clock going until the guard is dropped.
    pub(crate) fn run(&self) -> Ticking {
        self.shared.change(|active| active + 1);
        Ticking(self.shared.clone())
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        *self.shared.active.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// Wait until there is a run; false when there will be none any more.
    fn wait_for_runs(&self) -> bool {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        while *active == Some(0) {
            active = self.changed.wait(active).unwrap_or_else(PoisonError::into_inner);
        }
        active.is_some()
    }

    fn change(&self, by: impl FnOnce(usize) -> usize) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let was = *active;
        *active = was.map(by);
        if was == Some(0) {
            self.changed.notify_all();
        }
    }
}

/// Keeps the clock going.
pub(crate) struct Ticking(Arc<Shared>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.change(|active| active.saturating_sub(1));
    }
}

/// The time that one run's guest has been running.
#[derive(Clone)]
pub(crate) struct Meter(Arc<Times>);

struct Times {
    base: Instant,
    limit: Duration,
    /// Nanoseconds used by finished polls.
    used: AtomicU64,
    /// When the current poll began, in nanoseconds since `base`.
    polling_since: AtomicU64,
}

impl Meter {
    pub(crate) fn new(limit: Duration) -> Self {
        Self(Arc::new(Times { base: Instant::now(), limit, used: AtomicU64::new(0), polling_since: AtomicU64::new(0) }))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.base.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Time used by now; called from within a poll.
    pub(crate) fn check(&self) -> Result<Duration, LimitExceeded> {
        let current = self.now().saturating_sub(self.0.polling_since.load(Ordering::Relaxed));
        let used = Duration::from_nanos(self.0.used.load(Ordering::Relaxed) + current);
        if used > self.0.limit {
            Err(LimitExceeded::new("cpu", format!("{:?}", self.0.limit), "of CPU time"))
        } else {
            Ok(used)
        }
    }

    /// Time used by finished polls.
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.0.used.load(Ordering::Relaxed))
    }

    /// Meter a future: the time of its polls.
    pub(crate) fn metered<F: Future>(&self, future: F) -> impl Future<Output = F::Output> {
        let meter = self.clone();
        let mut future = Box::pin(future);
        std::future::poll_fn(move |cx: &mut Context<'_>| -> Poll<F::Output> {
            let began = meter.now();
            meter.0.polling_since.store(began, Ordering::Relaxed);
            let result = Pin::new(&mut future).poll(cx);
            meter.0.used.fetch_add(meter.now().saturating_sub(began), Ordering::Relaxed);
            result
        })
    }
}
