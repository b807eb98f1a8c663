//! One run: a store, an instance, a call, an end.

use crate::engine::Sandbox;
use crate::load::Plugin;
use crate::meter::Meter;
use crate::stdio::LogStream;
use rota_authority::{Gate, MemoryLedger, Mode, Quotas, RunIdentity};
use rota_capability::{Guest, LimitExceeded, Limits, Quiet, RunContext, RunFacts, Trigger};
use rota_contract::{Descriptor, Failure, Report};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use wasmtime::{Store, Trap, UpdateDeadline};
use wasmtime_wasi::WasiCtxBuilder;

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// The procedure reported.
    Reported(Report),
    /// The procedure said why it could not.
    Failed(Failure),
    /// It went over a limit.
    Limit(LimitExceeded),
    /// It trapped (a panic, an unreachable, an exit); what the engine says of it.
    Trapped(String),
    /// Its wall time was over.
    TimedOut(Duration),
    /// It was cancelled.
    Cancelled,
    /// The host could not run it: no free instance, or the store is broken.
    Host(String),
}

/// How a run ended, and what it used.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub ended: Ended,
    /// Time in which guest code ran.
    pub cpu: Duration,
    /// Linear memory at the end, bytes.
    pub memory: u64,
}

/// Cancels a run.
#[derive(Clone, Debug)]
pub struct Cancel(watch::Sender<bool>);

impl Default for Cancel {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Cancel {
    /// Cancel it: the guest and every call of its are dropped.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when it is cancelled.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut receiver = self.0.subscribe();
        async move {
            // The sender lives as long as `self`; one that is gone never cancels.
            if receiver.wait_for(|cancelled| *cancelled).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Sandbox {
    /// Run a plugin: one store, dropped at the end with every resource, stream and call that the guest still held.
    pub async fn run(&self, plugin: &Plugin, context: Arc<RunContext>, parameters: &str, cancel: &Cancel) -> Finished {
        let limits = context.limits.clone();
        let meter = Meter::new(limits.cpu);
        let _ticking = self.ticker.run();
        let (mut store, stdio) = self.store(context, &meter);
        let call = meter.metered(async {
            let instance = plugin.pre.instantiate_async(&mut store).await?;
            store.run_concurrent(async |accessor| instance.call_run(accessor, parameters.to_owned()).await).await?
        });
        let ended = tokio::select! {
            // A run that is over its time and has ended at once counts as ended.
            biased;
            result = call => end_of(result, &limits, self.stack),
            () = cancel.cancelled() => Ended::Cancelled,
            () = tokio::time::sleep(limits.wall) => Ended::TimedOut(limits.wall),
        };
        for stream in &stdio {
            stream.finish();
        }
        let memory = store.data().limiter.memory();
        Finished { ended, cpu: meter.used(), memory }
    }

    /// What a plugin says of itself: run without any grant, for at most two seconds of CPU.
    ///
    /// # Errors
    /// What it did instead of saying it.
    pub async fn describe(&self, plugin: &Plugin) -> Result<Descriptor, String> {
        let limits = Limits { cpu: Duration::from_secs(2), wall: Duration::from_secs(10), ..Limits::default() };
        let meter = Meter::new(limits.cpu);
        let _ticking = self.ticker.run();
        let context = nothing_granted(limits.clone());
        let (mut store, _) = self.store(context, &meter);
        let call = meter.metered(async {
            let instance = plugin.pre.instantiate_async(&mut store).await?;
            instance.call_describe(&mut store).await
        });
        let described = tokio::time::timeout(limits.wall, call).await;
        match described {
            Ok(Ok(descriptor)) => Ok(descriptor),
            Ok(Err(error)) => Err(match end_of_error(&error, &limits, self.stack) {
                Ended::Limit(limit) => limit.to_string(),
                Ended::Trapped(said) | Ended::Host(said) => said,
                _ => error.to_string(),
            }),
            Err(_) => Err(format!("it did not describe itself within {:?}", limits.wall)),
        }
    }

    fn store(&self, context: Arc<RunContext>, meter: &Meter) -> (Store<Guest>, [LogStream; 2]) {
        let stdio = [LogStream::new(context.clone(), "stdout"), LogStream::new(context.clone(), "stderr")];
        let wasi = WasiCtxBuilder::new()
            .stdout(stdio[0].clone())
            .stderr(stdio[1].clone())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        let call_bytes = context.limits.call_bytes;
        let mut store = Store::new(&self.engine, Guest::new(context, self.services.clone(), wasi));
        store.limiter(|guest| &mut guest.limiter);
        store.set_hostcall_fuel(call_bytes);
        store.set_epoch_deadline(1);
        let meter = meter.clone();
        store.epoch_deadline_callback(move |_| {
            meter.check()?;
            // Others get their turn at each tick.
            Ok(UpdateDeadline::Yield(1))
        });
        (store, stdio)
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
    RunContext::new(gate, facts, limits, Arc::new(Quiet))
}

fn end_of(result: wasmtime::Result<Result<Report, Failure>>, limits: &Limits, stack: usize) -> Ended {
    let mut result = match result {
        Ok(result) => result,
        Err(error) => return end_of_error(&error, limits, stack),
    };
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
        return Ended::Limit(LimitExceeded::new("report_bytes", format!("{} bytes", limits.report), "of report"));
    }
    match result {
        Ok(report) => Ended::Reported(report),
        Err(failure) => Ended::Failed(failure),
    }
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

fn end_of_error(error: &wasmtime::Error, limits: &Limits, stack: usize) -> Ended {
    if let Some(limit) = error.downcast_ref::<LimitExceeded>() {
        return Ended::Limit(limit.clone());
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Ended::Host(
            "all instances of the sandbox are in use; raise [sandbox] instances, or run fewer at once".into(),
        );
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
