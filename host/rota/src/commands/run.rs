//! `rota run`: prepare, ask where a person is there to be asked, run, show.

use super::{Printing, print, print_json};
use crate::cli::{FailOn, Means, RunArgs};
use crate::output::{bold, live::Live, report, safe};
use rota_authority::Mode;
use rota_capability::{LogLevel, Trigger};
use rota_contract::Severity;
use rota_runs::{Host, Occasion, PrepareError, Prepared, Request, RunView, Wanted, Watcher};
use rota_sandbox::Cancel;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::sync::Arc;

pub(crate) async fn run(host: &Host, args: RunArgs, printing: Printing) -> anyhow::Result<u8> {
    let mut request = request(&args)?;
    let parent = match &args.remedy {
        Some(_) => Some(host.remedy(&mut request).await?),
        None => None,
    };
    let mut prepared = prepare(host, &mut request, &args).await?;
    if !prepared.wanted.is_empty()
        && may_ask(&args.means)
        && request.grant.is_empty()
        && prepared.job.is_none()
        && ask_grants(&prepared)?
    {
        request.grant = vec!["declared".into()];
        prepared = host.prepare(&request).await?;
    }
    let occasion = Occasion { trigger: prepared.trigger.as_str().into(), parent, ..Occasion::default() };
    let view = watched(host, prepared, &occasion, args.means.quiet).await?;
    shown(&view, printing)?;
    Ok(exit_status(&view, args.fail_on))
}

/// A past run again, here or by whoever serves.
pub(crate) async fn again(host: &Host, run: &str, queue: bool, printing: Printing) -> anyhow::Result<u8> {
    let (prepared, occasion) = host.prepare_again(run).await?;
    if queue {
        let id = host.enqueue(&prepared, &occasion).await?;
        return super::runs::queued(host.records(), &id, false, printing).await;
    }
    let view = watched(host, prepared, &occasion, false).await?;
    shown(&view, printing)?;
    Ok(view.exit_status())
}

fn shown(view: &RunView, printing: Printing) -> anyhow::Result<()> {
    if printing.human() { print(&report::run(view, view.report.as_ref())) } else { print_json(&view.to_json()) }
}

/// Do it here, with a live line where somebody looks, cancelled by the first signal.
async fn watched(host: &Host, prepared: Prepared, occasion: &Occasion, quiet: bool) -> anyhow::Result<RunView> {
    let live = Arc::new(Live::new(&prepared.loaded.descriptor.name, !quiet && std::io::stderr().is_terminal()));
    let watcher = Arc::new(OnTerminal { live: live.clone(), quiet });
    carry_out(host, prepared, occasion, watcher, live).await
}

/// The same, watched by somebody else.
pub(super) async fn carry_out(
    host: &Host,
    prepared: Prepared,
    occasion: &Occasion,
    watcher: Arc<dyn Watcher>,
    live: Arc<Live>,
) -> anyhow::Result<RunView> {
    let cancel = Cancel::default();
    let signals = tokio::spawn(cancel_on_signal(cancel.clone(), live.clone()));
    let view = host.execute_on(prepared, occasion, watcher, &cancel).await;
    signals.abort();
    live.finish();
    Ok(view?)
}

/// How the run ended; or 1 where a report this bad was to count as a failure.
fn exit_status(view: &RunView, fail_on: Option<FailOn>) -> u8 {
    let rank = |severity: Severity| match severity {
        Severity::Ok => 0,
        Severity::Warning => 1,
        Severity::Unknown => 2,
        Severity::Critical => 3,
    };
    let limit = match fail_on {
        None => 4,
        Some(FailOn::Warning) => 1,
        Some(FailOn::Unknown) => 2,
        Some(FailOn::Critical) => 3,
    };
    let status = view.exit_status();
    // A report that is not there cannot be called good.
    let bad = fail_on.is_some() && view.report.as_ref().is_none_or(|report| rank(report.status) >= limit);
    if status == 0 && bad { 1 } else { status }
}

fn request(args: &RunArgs) -> anyhow::Result<Request> {
    Ok(Request {
        what: args.remedy.clone().or_else(|| args.what.clone()).unwrap_or_default(),
        mode: if args.plan { Mode::Plan } else { Mode::Execute },
        confirm: args.confirm.clone(),
        ..requested(args.parameters.clone(), &args.means)?
    })
}

/// What a person asks for, by what it is given; of what plugin is still to be said.
pub(super) fn requested(parameters: Vec<String>, means: &Means) -> anyhow::Result<Request> {
    Ok(Request {
        what: String::new(),
        parameters,
        mode: Mode::Execute,
        confirm: None,
        bind: means.bind.clone(),
        grant: means.grant.clone(),
        timeout: means.timeout.as_deref().map(crate::settings::duration).transpose()?,
        limits: means.limit.clone(),
        trigger: Trigger::Manual,
        record: means.record,
    })
}

/// Whether somebody is there to be asked.
pub(super) fn may_ask(means: &Means) -> bool {
    !means.no_input && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Prepare, asking for the typed confirmation where one is missing and somebody is there.
async fn prepare(host: &Host, request: &mut Request, args: &RunArgs) -> anyhow::Result<Prepared> {
    match host.prepare(request).await {
        Err(PrepareError::Unconfirmed { plugin, word, given: false }) if may_ask(&args.means) => {
            let typed =
                ask(&format!("{} can lose data or availability. Type {} to go on: ", bold(&plugin), bold(&word)))?;
            if typed != word {
                anyhow::bail!(PrepareError::Unconfirmed { plugin, word, given: true });
            }
            request.confirm = Some(typed);
            Ok(host.prepare(request).await?)
        }
        other => Ok(other?),
    }
}

/// What was typed before a question was asked is no answer to it: a script decides how long its plan takes. Nothing where that is no terminal.
pub(super) fn forget_typed_ahead() {
    let _ = rustix::termios::tcflush(std::io::stdin(), rustix::termios::QueueSelector::IFlush);
}

fn ask(question: &str) -> std::io::Result<String> {
    forget_typed_ahead();
    // Nothing is held while somebody thinks: a signal that ends the wait has something to say there.
    eprint!("{question}");
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Ask whether to go on; anything but yes is no.
pub(super) fn told_yes(question: &str) -> std::io::Result<bool> {
    Ok(matches!(ask(&format!("{question} [y/N] "))?.as_str(), "y" | "Y" | "yes"))
}

/// List what the plugin wants beyond reading, and ask.
fn ask_grants(prepared: &Prepared) -> std::io::Result<bool> {
    let descriptor = &prepared.loaded.descriptor;
    eprintln!("{} {} asks for more than reading:", bold(&descriptor.name), descriptor.version);
    for Wanted { slot, binding, accesses, purpose } in &prepared.wanted {
        eprintln!("  {} on {} ({}): {}", bold(&accesses.join(" + ")), slot, safe(binding), safe(purpose));
    }
    let what = if prepared.mode == Mode::Plan { "Grant it for this plan" } else { "Grant it for this run" };
    told_yes(&format!("{what}?"))
}

/// The first signal cancels, which gives the procedure time to end; the second ends the run at once, the third the process.
async fn cancel_on_signal(cancel: Cancel, live: Arc<Live>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    let mut signals = 0;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        signals += 1;
        match signals {
            1 => {
                live.say("cancelling: telling the targets, ending children (again: at once)");
                cancel.cancel();
            }
            2 => cancel.terminate(),
            _ => std::process::exit(130),
        }
    }
}

/// Shows a run on stderr while it goes on.
pub(super) struct OnTerminal {
    pub(super) live: Arc<Live>,
    pub(super) quiet: bool,
}

impl Watcher for OnTerminal {
    fn log(&self, level: LogLevel, source: &str, message: &str, fields: &[(String, String)]) {
        if self.quiet || level == LogLevel::Debug {
            return;
        }
        let fields: String = fields.iter().map(|(k, v)| format!(" {k}={v}")).collect();
        let source = if source == "procedure" { String::new() } else { format!("{source}: ") };
        // One line, and nothing in it that a terminal obeys: names and messages come from plugins and from servers.
        let line = format!("{source}{message}{fields}").replace(['\n', '\r'], " ");
        self.live.say(&format!("  {:<5} {}", level.as_str(), safe(&line)));
    }

    fn progress(&self, done: u64, total: Option<u64>, unit: &str, note: &str) {
        self.live.progress(done, total, &safe(unit), &safe(note));
    }
}
