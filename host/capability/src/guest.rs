//! The state of one guest: what its store holds.

use crate::dialogue::Dialogue;
use crate::durable::{Durable, Transient};
use crate::limits::{LimitExceeded, Limiter, Limits};
use crate::observer::{LogLevel, MetricKind, Observer};
use crate::sending::Counted;
use crate::services::Services;
use crate::streams::{Reader, run_over};
use crate::tape::{Handles, Placeholder, Tape};
use rota_authority::{AllowanceError, Denied, EffectRefused, Gate, LedgerError, Mode};
use rota_contract::Error;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use wasmtime::component::{Accessor, HasData, Resource, ResourceTable, ResourceTableError};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// What set a run off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A person at a command line.
    Manual,
    /// A schedule.
    Schedule,
    /// The HTTP API.
    Api,
}

impl Trigger {
    /// The word in records and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Schedule => "schedule",
            Self::Api => "api",
        }
    }
}

/// What a guest may know of its run.
#[derive(Clone, Debug)]
pub struct RunFacts {
    /// The run's id.
    pub id: String,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The job.
    pub job: Option<String>,
    /// What set it off.
    pub trigger: Trigger,
    /// When it started.
    pub started_at: SystemTime,
    /// The slots that the plugin declared, bound or not.
    pub slots: Vec<String>,
}

/// One run: shared by everything that works for it.
pub struct RunContext {
    /// The choke point.
    pub gate: Arc<Gate>,
    /// What the guest may know.
    pub facts: RunFacts,
    /// The limits.
    pub limits: Limits,
    /// Where what the run says goes.
    pub observer: Arc<dyn Observer>,
    /// Where its steps and compensations are kept.
    pub durable: Arc<dyn Durable>,
    /// What becomes of its calls.
    pub tape: Tape,
    /// Which call gave what the guest holds; empty where the tape is live.
    pub(crate) handles: Handles,
    calls: AtomicUsize,
    log: LogBudget,
    artifact_bytes: AtomicU64,
    steps: AtomicU64,
    compensations: AtomicU64,
    durable_bytes: AtomicU64,
    stopping: CancellationToken,
    /// What is under way: ended with the run, or by an interruption, after which another takes its place.
    under_way: Mutex<CancellationToken>,
    interrupted: AtomicBool,
    dialogue: OnceLock<Arc<Dialogue>>,
}

impl RunContext {
    /// A run that has not begun. Of a plan nothing is kept: its steps are in memory, whatever `durable` is.
    pub fn new(
        gate: Arc<Gate>,
        facts: RunFacts,
        limits: Limits,
        observer: Arc<dyn Observer>,
        durable: Arc<dyn Durable>,
    ) -> Arc<Self> {
        Self::taped(gate, facts, limits, observer, durable, Tape::Live)
    }

    /// The same, of a run whose calls are kept, or answered.
    pub fn taped(
        gate: Arc<Gate>,
        facts: RunFacts,
        limits: Limits,
        observer: Arc<dyn Observer>,
        durable: Arc<dyn Durable>,
        tape: Tape,
    ) -> Arc<Self> {
        let log = LogBudget::new(&limits);
        let durable = if gate.mode() == Mode::Plan { Arc::new(Transient::default()) } else { durable };
        let stopping = CancellationToken::new();
        let under_way = Mutex::new(stopping.child_token());
        Arc::new(Self {
            gate,
            facts,
            limits,
            observer,
            durable,
            tape,
            handles: Handles::default(),
            calls: AtomicUsize::new(0),
            log,
            artifact_bytes: AtomicU64::new(0),
            steps: AtomicU64::new(0),
            compensations: AtomicU64::new(0),
            durable_bytes: AtomicU64::new(0),
            stopping,
            under_way,
            interrupted: AtomicBool::new(false),
            dialogue: OnceLock::new(),
        })
    }

    /// Let somebody talk with the guest while it runs. At most once, and before it begins.
    pub fn converse(self: &Arc<Self>, dialogue: &Arc<Dialogue>) {
        if self.dialogue.set(dialogue.clone()).is_ok() {
            dialogue.attach(self);
        }
    }

    /// What is said with the guest; none of almost every run.
    pub fn dialogue(&self) -> Option<&Arc<Dialogue>> {
        self.dialogue.get()
    }

    /// End what is under way, and whatever is begun, until [`RunContext::resume`]: each call answers `cancelled`, which tells its target. The
    /// run itself goes on, and its guest sees a deadline that is over.
    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Release);
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }

    /// Let calls be made again.
    pub fn resume(&self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if self.interrupted.swap(false, Ordering::AcqRel) {
            *under_way = self.stopping.child_token();
        }
    }

    /// Whether what is under way is being interrupted.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }

    /// Resolves when the run is told to stop.
    pub fn over(&self) -> WaitForCancellationFutureOwned {
        self.stopping.clone().cancelled_owned()
    }

    /// End what is under way for the run: each call answers `cancelled`, those to come too, streams break off, and programs are killed. The
    /// guest itself goes on.
    pub fn stop(&self) {
        // First: nothing that is under way may get a permit meanwhile, and it need not be polled to be stopped.
        self.gate.close();
        self.stopping.cancel();
    }

    /// Whether what is under way is to end.
    pub fn is_stopped(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Do work that the guest's own pace must not keep from being stopped: on the runtime, dropped when what is under way is to end.
    pub fn unless_stopped<R, F: Future<Output = Result<R, Error>> + Send>(
        &self,
        work: F,
    ) -> impl Future<Output = Result<R, Error>> + Send + use<R, F> {
        let stopped = self.stopped();
        async move {
            tokio::select! {
                biased;
                () = stopped => Err(Error::Cancelled),
                result = work => result,
            }
        }
    }

    /// Resolves when what is under way is to end.
    pub fn stopped(&self) -> WaitForCancellationFutureOwned {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).clone().cancelled_owned()
    }

    /// A reader that breaks off when what is under way is to end.
    pub fn until_stopped(&self, reader: impl AsyncRead + Send + 'static) -> impl AsyncRead + Send + 'static {
        Breaking { reader: Some(Box::pin(reader)), stopped: Box::pin(self.stopped()) }
    }

    /// A reader whose bytes go to a target: they are counted for the run's team before they are handed on, and it breaks off with `quota`
    /// when no more may leave.
    pub fn sending(&self, reader: Reader) -> Reader {
        match self.gate.allowance() {
            Some(allowance) => Box::pin(Counted::new(reader, allowance.clone())),
            None => reader,
        }
    }

    /// Write a line to the run's log, within its rate and size; the text must be masked and sanitised by the caller.
    pub fn log(&self, level: LogLevel, source: &str, message: &str, fields: &[(String, String)]) {
        let bytes = message.len() + fields.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>();
        if self.log.take(bytes as u64) {
            self.observer.log(level, source, message, fields);
        } else {
            self.observer.dropped(1);
        }
    }

    /// Publish a value. It counts as a line of the log, so that values without end fill nothing; the texts must be masked and sanitised
    /// by the caller.
    pub fn metric(&self, name: &str, labels: &[(String, String)], value: f64, kind: MetricKind) {
        let bytes = name.len() + labels.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>();
        if self.log.take(bytes as u64) {
            self.observer.metric(name, labels, value, kind);
        } else {
            self.observer.dropped(1);
        }
    }

    /// Charge bytes to the run's artifacts; false when they are used up.
    pub fn charge_artifact(&self, bytes: u64) -> bool {
        self.artifact_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limits.artifacts
    }

    /// Count a step in.
    ///
    /// # Errors
    /// When the attempt has begun as many as it may.
    pub fn charge_step(&self) -> Result<(), LimitExceeded> {
        count(&self.steps, 1, self.limits.steps, "steps", "steps")
    }

    /// Charge the result of a step, before it is recorded.
    ///
    /// # Errors
    /// When it, or all that the attempt records, is too large.
    pub fn charge_result(&self, bytes: usize) -> Result<(), LimitExceeded> {
        fits(bytes, self.limits.step_result, "step_result_bytes", "for the result of a step")?;
        self.charge_durable(bytes)
    }

    /// Count a compensation in, and charge its state, before it is recorded.
    ///
    /// # Errors
    /// When there are as many as there may be, or the state, or all that the attempt records, is too large.
    pub fn charge_compensation(&self, bytes: usize) -> Result<(), LimitExceeded> {
        let what = "for the state of a compensation";
        fits(bytes, self.limits.compensation_state, "compensation_state_bytes", what)?;
        count(&self.compensations, 1, self.limits.compensations, "compensations", "compensations")?;
        self.charge_durable(bytes)
    }

    fn charge_durable(&self, bytes: usize) -> Result<(), LimitExceeded> {
        let what = "bytes of step results and compensation states together";
        count(&self.durable_bytes, bytes as u64, self.limits.durable, "durable_bytes", what)
    }

    /// Log lines that were dropped.
    pub fn dropped_log_lines(&self) -> u64 {
        self.log.dropped.load(Ordering::Relaxed)
    }
}

/// Add to what was used, unless it would be more than the limit.
fn count(
    used: &AtomicU64,
    more: u64,
    limit: u64,
    setting: &'static str,
    what: &'static str,
) -> Result<(), LimitExceeded> {
    let within = |used: u64| used.checked_add(more).filter(|total| *total <= limit);
    let counted = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within);
    counted.map(drop).map_err(|_| LimitExceeded::new(setting, limit, what))
}

fn fits(bytes: usize, limit: usize, setting: &'static str, what: &'static str) -> Result<(), LimitExceeded> {
    if bytes > limit { Err(LimitExceeded::new(setting, format!("{limit} bytes"), what)) } else { Ok(()) }
}

/// A token bucket for log lines, and a total for their bytes.
struct LogBudget {
    started: Instant,
    per_second: u64,
    bytes_limit: u64,
    lines: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
}

impl LogBudget {
    fn new(limits: &Limits) -> Self {
        Self {
            started: Instant::now(),
            per_second: u64::from(limits.log_lines_per_second),
            bytes_limit: limits.log_bytes,
            lines: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// A burst of one second's lines is let through at once.
    fn take(&self, bytes: u64) -> bool {
        let allowed = self.per_second.saturating_mul(self.started.elapsed().as_secs() + 1);
        let fits = self.lines.load(Ordering::Relaxed) < allowed
            && self.bytes.load(Ordering::Relaxed) + bytes <= self.bytes_limit;
        if fits {
            self.lines.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            // What was missed is not made up for later: the lines that were dropped count as used.
            let _ = self.lines.fetch_max(allowed.saturating_sub(self.per_second), Ordering::Relaxed);
        }
        fits
    }
}

/// What a guest may do about compensations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undoing {
    /// Register them: the component exports `compensate`.
    Registers,
    /// Nothing: the component does not export `compensate`.
    NotExported,
    /// Carry out the one of this name.
    CarriesOut(String),
}

/// What a store holds.
pub struct Guest {
    /// The resources that the guest holds.
    pub table: ResourceTable,
    /// WASI, offered empty.
    pub wasi: WasiCtx,
    /// Memory and tables.
    pub limiter: Limiter,
    /// The run.
    pub run: Arc<RunContext>,
    /// What all runs share.
    pub services: Arc<Services>,
    /// What it may do about compensations.
    pub undoing: Undoing,
}

impl Guest {
    /// A new guest for a run, of a component that cannot undo.
    pub fn new(run: Arc<RunContext>, services: Arc<Services>, wasi: WasiCtx) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(run.limits.handles);
        Self { table, wasi, limiter: Limiter::new(&run.limits), run, services, undoing: Undoing::NotExported }
    }

    /// The same, of one that may do this about compensations.
    #[must_use]
    pub fn undoing(mut self, undoing: Undoing) -> Self {
        self.undoing = undoing;
        self
    }

    /// Count a host call in; the guard counts it out.
    ///
    /// # Errors
    /// A trap, when the run has too many in flight.
    pub fn enter(&self) -> wasmtime::Result<CallGuard> {
        let limit = self.run.limits.calls_in_flight;
        if self.run.calls.fetch_add(1, Ordering::Relaxed) >= limit {
            self.run.calls.fetch_sub(1, Ordering::Relaxed);
            return Err(LimitExceeded::new("host_calls_in_flight", limit, "host calls in flight").into());
        }
        Ok(CallGuard(self.run.clone()))
    }

    /// Hold a resource for the guest.
    ///
    /// # Errors
    /// A trap, when the guest holds too many.
    pub fn push<R: Send + 'static>(&mut self, resource: R) -> wasmtime::Result<Resource<R>> {
        self.table.push(resource).map_err(|error| match error {
            ResourceTableError::Full => LimitExceeded::new("handles", self.run.limits.handles, "handles held").into(),
            other => other.into(),
        })
    }
}

impl Guest {
    /// Let go of a resource that the guest drops, whether a call made it or it only stands for one.
    ///
    /// # Errors
    /// When the guest does not hold it, or others still need it.
    pub fn release<R: Send + 'static>(&mut self, resource: Resource<R>) -> wasmtime::Result<()> {
        let rep = resource.rep();
        match &self.run.tape {
            Tape::Live => {
                self.table.delete(resource)?;
            }
            Tape::Recording(record) => {
                if let Some(call) = self.run.handles.forget(rep) {
                    record.note(call, crate::tape::Event::Released);
                }
                self.table.delete(resource)?;
            }
            Tape::Answering(answers) => {
                if let Some(call) = self.run.handles.forget(rep) {
                    answers.released(call);
                    self.table.delete(Resource::<Placeholder>::new_own(rep))?;
                } else {
                    self.table.delete(resource)?;
                }
            }
        }
        Ok(())
    }
}

/// A host call in flight.
pub struct CallGuard(Arc<RunContext>);

impl CallGuard {
    /// The run.
    pub fn run(&self) -> &Arc<RunContext> {
        &self.0
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The projection that capabilities link with: the whole guest.
pub fn guest(guest: &mut Guest) -> &mut Guest {
    guest
}

/// Begin an async host call: count it in, and hand out what it needs from the guest.
///
/// # Errors
/// A trap, when the run has too many calls in flight.
pub fn begin<T, D, R>(
    accessor: &Accessor<T, D>,
    take: impl FnOnce(&mut Guest) -> wasmtime::Result<R>,
) -> wasmtime::Result<(CallGuard, R)>
where
    T: Send + 'static,
    D: for<'a> HasData<Data<'a> = &'a mut Guest>,
{
    accessor.with(|mut access| {
        let guest = access.get();
        Ok((guest.enter()?, take(guest)?))
    })
}

/// Do what a host call asks for, unless its run is told to stop: then the call is dropped, which tells its target, and answers `cancelled`.
///
/// # Errors
/// What the call traps with.
pub async fn unless_stopped<T, D, R>(
    accessor: &Accessor<T, D>,
    call: impl Future<Output = wasmtime::Result<Result<R, Error>>>,
) -> wasmtime::Result<Result<R, Error>>
where
    T: Send + 'static,
    D: for<'a> HasData<Data<'a> = &'a mut Guest>,
{
    let stopped = accessor.with(|mut access| access.get().run.stopped());
    tokio::select! {
        biased;
        () = stopped => Ok(Err(Error::Cancelled)),
        answer = call => answer,
    }
}

/// A reader that is dropped when its run is told to stop.
struct Breaking {
    reader: Option<Reader>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl AsyncRead for Breaking {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.stopped.as_mut().poll(cx).is_ready() {
            self.reader = None;
        }
        match &mut self.reader {
            Some(reader) => reader.as_mut().poll_read(cx, buffer),
            None => Poll::Ready(Err(run_over())),
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// A denial, as the guest sees it.
pub fn denied(denied: Denied) -> Error {
    Error::Denied(denied.to_string())
}

/// An effect that was refused, as the guest sees it.
pub fn refused(refused: EffectRefused) -> Error {
    match refused {
        EffectRefused::Quota { .. } => Error::Quota(refused.to_string()),
        EffectRefused::Stopped => Error::Cancelled,
        EffectRefused::NotPlanned(_) => Error::Denied(refused.to_string()),
        EffectRefused::Ledger(LedgerError::UsedUp(_)) => Error::Quota(refused.to_string()),
        EffectRefused::Ledger(_) => Error::Unavailable(refused.to_string()),
        EffectRefused::UsedUp(error) => not_allowed(error),
    }
}

/// What a run may not have of what its team shares, as the guest sees it.
pub(crate) fn not_allowed(error: AllowanceError) -> Error {
    match error {
        AllowanceError::UsedUp(used_up) => Error::Quota(used_up.to_string()),
        AllowanceError::Away(_) => Error::Unavailable(error.to_string()),
    }
}

/// When a run that starts now ends at the latest. (Of one that is interrupted it is over: see [`RunContext::interrupt`].)
pub fn deadline(facts: &RunFacts, limits: &Limits) -> SystemTime {
    facts.started_at.checked_add(limits.wall).unwrap_or(facts.started_at + Duration::from_secs(86_400 * 365))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{RunContext, RunFacts, Trigger};
    use crate::{Limits, Quiet, Transient};
    use rota_authority::{Gate, MemoryLedger, Mode, Quotas, RunIdentity};
    use std::sync::Arc;
    use std::time::SystemTime;

    /// A run of nothing.
    pub(crate) fn run() -> Arc<RunContext> {
        let identity = RunIdentity { run: "run".into(), job: "job".into() };
        let ledger = Arc::new(MemoryLedger::default());
        let gate = Gate::new(identity, Mode::Execute, Quotas::default(), ledger, []);
        let facts = RunFacts {
            id: "run".into(),
            attempt: 1,
            job: None,
            trigger: Trigger::Manual,
            started_at: SystemTime::now(),
            slots: Vec::new(),
        };
        RunContext::new(gate, facts, Limits::default(), Arc::new(Quiet), Arc::new(Transient::default()))
    }
}
