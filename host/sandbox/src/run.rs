//! One run, or one compensation of it: a store, an instance, a call, an end.

use crate::engine::Sandbox;
use crate::load::Plugin;
use crate::meter::{Meter, Ticking};
use crate::stdio::LogStream;
use rota_authority::{Gate, MemoryLedger, Mode, Quotas, RunIdentity, UsedUp};
use rota_capability::{Guest, LimitExceeded, Limits, Quiet, RunContext, RunFacts, Transient, Trigger, Undoing};
use rota_contract::{Descriptor, Failure, Report};
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use wasmtime::{Store, Trap, UpdateDeadline};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::cli::{AsyncStdinStream, AsyncStdoutStream};

/// How many bytes a guest that is talked with may write before it waits until they are heard.
const SPOKEN: usize = 64 << 10;

/// How a run ended, or a compensation of it, which has nothing to report.
#[derive(Debug)]
pub enum Ended<R = Report> {
    /// The procedure reported; or it has undone what it should.
    Reported(R),
    /// The procedure said why it could not.
    Failed(Failure),
    /// It went over a limit.
    Limit(LimitExceeded),
    /// Its team has no more of what it shares.
    UsedUp(UsedUp),
    /// It trapped (a panic, an unreachable, an exit); what the engine says of it.
    Trapped(String),
    /// Its wall time was over.
    TimedOut(Duration),
    /// It was cancelled; with what it reported in the time that it was given to end, if it did.
    Cancelled(Option<R>),
    /// The host could not run it: no free instance, or the store is broken.
    Host(String),
}

/// How a run ended, and what it used.
#[derive(Debug)]
pub struct Finished<R = Report> {
    /// How it ended.
    pub ended: Ended<R>,
    /// Time in which guest code ran.
    pub cpu: Duration,
    /// Linear memory at the end, bytes.
    pub memory: u64,
}

/// Cancels a run.
#[derive(Clone, Debug)]
pub struct Cancel(watch::Sender<Stage>);

/// How far a run is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    GoesOn,
    Cancelled,
    Terminated,
}

impl Default for Cancel {
    fn default() -> Self {
        Self(watch::Sender::new(Stage::GoesOn))
    }
}

impl Cancel {
    /// Cancel it: every call of its is dropped, and the guest has its limit of grace to end by itself.
    pub fn cancel(&self) {
        self.reach(Stage::Cancelled);
    }

    /// End it at once: the guest and every call of its are dropped.
    pub fn terminate(&self) {
        self.reach(Stage::Terminated);
    }

    fn reach(&self, stage: Stage) {
        self.0.send_if_modified(|now| {
            let further = *now < stage;
            *now = stage.max(*now);
            further
        });
    }

    /// Whether it was cancelled, or ended.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow() >= Stage::Cancelled
    }

    /// Whether it was told to end at once.
    pub fn is_terminated(&self) -> bool {
        *self.0.borrow() == Stage::Terminated
    }

    /// Resolves when it is cancelled, or ended.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + 'static {
        self.reached(Stage::Cancelled)
    }

    fn reached(&self, stage: Stage) -> impl Future<Output = ()> + Send + 'static {
        let mut receiver = self.0.subscribe();
        async move {
            // The sender lives as long as `self`; one that is gone never cancels.
            if receiver.wait_for(|now| *now >= stage).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Sandbox {
    /// Run a plugin: one store, dropped at the end with every resource, stream and call that the guest still held.
    pub async fn run(&self, plugin: &Plugin, context: Arc<RunContext>, parameters: &str, cancel: &Cancel) -> Finished {
        let undoing = if plugin.undoable() { Undoing::Registers } else { Undoing::NotExported };
        let mut held = self.hold(context.clone(), undoing);
        let (meter, store) = (held.meter.clone(), &mut held.store);
        let call = meter.metered(async {
            let instance = plugin.pre.instantiate_async(&mut *store).await?;
            store.run_concurrent(async |accessor| instance.call_run(accessor, parameters.to_owned()).await).await?
        });
        let ended = self.end(call, &context, cancel, report_end).await;
        held.finish(ended)
    }

    /// Carry out a compensation of a run: its plugin's export `compensate`, in a store and instance of its own, with what the context
    /// grants and under its limits. It may register no compensations; its steps are its own.
    pub async fn compensate(
        &self,
        plugin: &Plugin,
        context: Arc<RunContext>,
        name: &str,
        state: &str,
        cancel: &Cancel,
    ) -> Finished<()> {
        let mut held = self.hold(context.clone(), Undoing::CarriesOut(name.to_owned()));
        let Some(undo) = &plugin.undo else {
            let said = "the plugin does not export `compensate`, so that nothing of it can be undone";
            return held.finish(Ended::Host(said.into()));
        };
        let (meter, store) = (held.meter.clone(), &mut held.store);
        let (name, state) = (name.to_owned(), state.to_owned());
        let call = meter.metered(async {
            let instance = undo.instantiate_async(&mut *store).await?;
            store.run_concurrent(async |accessor| instance.call_compensate(accessor, name, state).await).await?
        });
        let ended = self.end(call, &context, cancel, compensation_end).await;
        held.finish(ended)
    }

    /// Wait for a call's end, or for what ends it.
    async fn end<R>(
        &self,
        call: impl Future<Output = wasmtime::Result<Result<R, Failure>>>,
        run: &RunContext,
        cancel: &Cancel,
        end_of: fn(Result<R, Failure>, &Limits) -> Ended<R>,
    ) -> Ended<R> {
        let limits = &run.limits;
        let mut call = std::pin::pin!(call);
        let mut over = std::pin::pin!(tokio::time::sleep(limits.wall));
        tokio::select! {
            // A run that is over its time and has ended at once counts as ended.
            biased;
            result = &mut call => return match result {
                Ok(result) => end_of(result, limits),
                Err(error) => end_of_error(&error, limits, self.stack),
            },
            () = cancel.cancelled() => {}
            () = &mut over => return Ended::TimedOut(limits.wall),
        }
        run.stop();
        tokio::select! {
            biased;
            () = cancel.reached(Stage::Terminated) => Ended::Cancelled(None),
            result = &mut call => Ended::Cancelled(result.ok().and_then(|result| match end_of(result, limits) {
                Ended::Reported(report) => Some(report),
                _ => None,
            })),
            () = tokio::time::sleep(limits.grace) => Ended::Cancelled(None),
            () = &mut over => Ended::Cancelled(None),
        }
    }

    /// What a plugin says of itself: run without any grant, for at most two seconds of CPU.
    ///
    /// # Errors
    /// What it did instead of saying it.
    pub async fn describe(&self, plugin: &Plugin) -> Result<Descriptor, String> {
        let limits = Limits { cpu: Duration::from_secs(2), wall: Duration::from_secs(10), ..Limits::default() };
        let mut held = self.hold(nothing_granted(limits.clone()), Undoing::NotExported);
        let (meter, store) = (held.meter.clone(), &mut held.store);
        let call = meter.metered(async {
            let instance = plugin.pre.instantiate_async(&mut *store).await?;
            instance.call_describe(&mut *store).await
        });
        let described = tokio::time::timeout(limits.wall, call).await;
        match described {
            Ok(Ok(descriptor)) => Ok(descriptor),
            Ok(Err(error)) => Err(match end_of_error::<Report>(&error, &limits, self.stack) {
                Ended::Limit(limit) => limit.to_string(),
                Ended::Trapped(said) | Ended::Host(said) => said,
                _ => error.to_string(),
            }),
            Err(_) => Err(format!("it did not describe itself within {:?}", limits.wall)),
        }
    }

    fn hold(&self, context: Arc<RunContext>, undoing: Undoing) -> Held {
        let limits = context.limits.clone();
        let meter = Meter::new(limits.cpu);
        let allowance = context.gate.allowance().cloned();
        let stdio = [LogStream::new(context.clone(), "stdout"), LogStream::new(context.clone(), "stderr")];
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(stdio[0].clone()).stderr(stdio[1].clone());
        wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        // Of a run that somebody talks with, these two are the conversation.
        if let Some(ends) = context.dialogue().and_then(|dialogue| dialogue.take()) {
            wasi.stdin(AsyncStdinStream::new(ends.stdin)).stdout(AsyncStdoutStream::new(SPOKEN, ends.stdout));
        }
        context.tape.prepare(&mut wasi);
        let guest = Guest::new(context, self.services.clone(), wasi.build()).undoing(undoing);
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| &mut guest.limiter);
        store.set_hostcall_fuel(limits.call_bytes);
        store.set_epoch_deadline(1);
        let watched = meter.clone();
        let shared = allowance.map(|allowance| (allowance, Arc::new(OnceLock::new())));
        store.epoch_deadline_callback(move |_| {
            let used = watched.check()?;
            if let Some((allowance, refused)) = &shared {
                if let Some(used_up) = refused.get() {
                    return Err(UsedUp::clone(used_up).into());
                }
                if !allowance.covers(used) {
                    let (allowance, refused) = (allowance.clone(), refused.clone());
                    // It waits meanwhile, which costs no CPU time.
                    return Ok(UpdateDeadline::YieldCustom(
                        1,
                        Box::pin(async move {
                            if let Err(used_up) = allowance.cover(used).await {
                                let _ = refused.set(used_up);
                            }
                        }),
                    ));
                }
            }
            // Others get their turn at each tick.
            Ok(UpdateDeadline::Yield(1))
        });
        Held { store, stdio, meter, _ticking: self.ticker.run() }
    }
}

/// The store of one call into a plugin, and what watches it.
struct Held {
    store: Store<Guest>,
    stdio: [LogStream; 2],
    meter: Meter,
    _ticking: Ticking,
}

impl Held {
    fn finish<R>(self, ended: Ended<R>) -> Finished<R> {
        for stream in &self.stdio {
            stream.finish();
        }
        Finished { ended, cpu: self.meter.used(), memory: self.store.data().limiter.memory() }
    }
}

fn nothing_granted(limits: Limits) -> Arc<RunContext> {
    let identity = RunIdentity { run: "describe".into(), job: "describe".into() };
    let gate = Gate::new(identity, Mode::Plan, Quotas { effects: 0 }, Arc::new(MemoryLedger::default()), []);
    let facts = RunFacts {
        id: "describe".into(),
        attempt: 1,
        job: None,
        trigger: Trigger::Manual,
        started_at: SystemTime::now(),
        slots: Vec::new(),
    };
    RunContext::new(gate, facts, limits, Arc::new(Quiet), Arc::new(Transient::default()))
}

fn report_end(mut result: Result<Report, Failure>, limits: &Limits) -> Ended {
    match &mut result {
        Ok(report) => only_numbers(report),
        Err(failure) => failure.report.iter_mut().for_each(only_numbers),
    }
    // As it will be stored: what escaping makes of it counts too.
    let size = match &result {
        Ok(report) => serde_json::to_string(report),
        Err(failure) => serde_json::to_string(failure),
    };
    if size.map_or(usize::MAX, |text| text.len()) > limits.report {
        return too_large(limits);
    }
    match result {
        Ok(report) => Ended::Reported(report),
        Err(failure) => Ended::Failed(failure),
    }
}

fn compensation_end(result: Result<(), Failure>, limits: &Limits) -> Ended<()> {
    let Err(mut failure) = result else { return Ended::Reported(()) };
    failure.report.iter_mut().for_each(only_numbers);
    if serde_json::to_string(&failure).map_or(usize::MAX, |text| text.len()) > limits.report {
        return too_large(limits);
    }
    Ended::Failed(failure)
}

fn too_large<R>(limits: &Limits) -> Ended<R> {
    Ended::Limit(LimitExceeded::new("report_bytes", format!("{} bytes", limits.report), "of report"))
}

/// JSON has no NaN and no infinity: such a cell becomes empty, such a metric goes, and the rest of the report stays.
fn only_numbers(report: &mut Report) {
    use rota_contract::reports::Cell;
    report.metrics.retain(|metric| metric.value.is_finite());
    for cell in report.tables.iter_mut().flat_map(|table| &mut table.rows).flatten() {
        if let Cell::Number(x) | Cell::Seconds(x) | Cell::Ratio(x) = cell
            && !x.is_finite()
        {
            *cell = Cell::None;
        }
    }
}

fn end_of_error<R>(error: &wasmtime::Error, limits: &Limits, stack: usize) -> Ended<R> {
    if let Some(limit) = error.downcast_ref::<LimitExceeded>() {
        return Ended::Limit(limit.clone());
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Ended::Host(
            "all instances of the sandbox are in use; raise [sandbox] pool_instances, or run fewer at once".into(),
        );
    }
    if let Some(used_up) = error.downcast_ref::<UsedUp>() {
        return Ended::UsedUp(used_up.clone());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => {
            return Ended::Limit(LimitExceeded::new("stack", format!("{} KiB", stack >> 10), "of stack"));
        }
        Some(trap) => return Ended::Trapped(format!("{trap}{}", place(error))),
        None => {}
    }
    let text = format!("{error:#}");
    // wasmtime's own type for this is private; its text is the only sign.
    if text.contains("fuel allocated for hostcalls has been exhausted") {
        return Ended::Limit(LimitExceeded::new(
            "host_call_bytes",
            format!("{} bytes", limits.call_bytes),
            "in one host call",
        ));
    }
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return Ended::Trapped(format!("it called exit({})", exit.0));
    }
    Ended::Trapped(text)
}

/// The innermost guest function of a trap, where the plugin kept its names.
fn place(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<wasmtime::WasmBacktrace>() else { return String::new() };
    let named = backtrace.frames().iter().filter_map(|frame| frame.func_name()).take(3).collect::<Vec<_>>();
    if named.is_empty() { String::new() } else { format!(" in {}", named.join(" < ")) }
}
