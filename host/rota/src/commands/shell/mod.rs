//! `rota shell`: a prompt that keeps one sandboxed session.
//!
//! | module | what it does |
//! | --- | --- |
//! | `split`, `tokens` | what is typed, into commands, statements of SQL and JavaScript |
//! | `link` | talks with a guest |
//! | `session` | two guests in step: one plans, one does |
//! | `granted` | what the session may do |
//! | `command` | what begins with a backslash |
//! | `terminal` | the prompt |
//! | `editor`, `complete`, `history` | reads lines, completes them, remembers them |
//! | `piped` | statements from a pipe |
//! | `save` | a plugin's folder of what worked |
//! | `show` | what a guest says, for people and for programs |

mod command;
mod complete;
mod editor;
mod granted;
mod history;
mod link;
mod piped;
mod save;
mod session;
mod show;
mod split;
mod terminal;
mod tokens;

use super::Printing;
use super::run::may_ask;
use crate::cli::ShellArgs;
use crate::output::report;
use link::{Interrupts, Over};
use rota_runs::{Host, RunView};
use session::{Fault, Session};
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

pub(crate) async fn shell(host: &Arc<Host>, args: ShellArgs, printing: Printing) -> anyhow::Result<u8> {
    // Before anything begins: what is wrong with an option is said at once.
    let idle = crate::settings::duration(&args.idle_timeout)?;
    let is_terminal = may_ask(&args.means) && std::io::stdout().is_terminal() && printing.human();
    let signals = Signals::listen()?;
    let session = match Session::begin(host, &args).await {
        Ok(session) => session,
        Err(Fault::Host(error)) => return Err(error),
        Err(Fault::Over(over)) => return finished(over, printing),
    };
    if is_terminal {
        terminal::talk(session, &args, idle, signals).await
    } else {
        piped::talk(session, &args, idle, signals, printing).await
    }
}

/// The session ended by itself: said as for any run.
fn finished(over: Over, printing: Printing) -> anyhow::Result<u8> {
    let view = (*over)?;
    if printing.human() {
        eprintln!("{}", ending(&view));
    } else {
        super::print_json(&view.to_json())?;
    }
    Ok(view.exit_status())
}

/// How a session ended, in a line or two.
fn ending(view: &RunView) -> String {
    let mut text = String::new();
    if let Some(error) = &view.error {
        text.push_str(&report::failure(&error.kind, &error.message, error.hint.as_deref()));
        text.push('\n');
    }
    let said = view.report.as_ref().map_or(view.status.as_str(), |report| report.summary.as_str());
    let effects = match view.effects.len() {
        0 => String::new(),
        1 => ", 1 effect".to_owned(),
        effects => format!(", {effects} effects"),
    };
    let line = format!("{}{effects}; rota runs show {}", crate::output::safe(said), view.id);
    text.push_str(&crate::output::dim(&line));
    text
}

/// What a person or the system tells this process by signals.
struct Signals {
    interrupts: Interrupts,
    quits: Arc<AtomicBool>,
    told_to_quit: Arc<tokio::sync::Notify>,
}

impl Signals {
    /// Ctrl-C stops a statement; the end of the terminal, and a termination, the session as well.
    fn listen() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let (send, interrupts) = mpsc::unbounded_channel();
        let quits = Arc::new(AtomicBool::new(false));
        let told_to_quit = Arc::new(tokio::sync::Notify::new());
        let (quit, tell) = (quits.clone(), told_to_quit.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => quit.store(true, Ordering::SeqCst),
                    _ = hang_up.recv() => quit.store(true, Ordering::SeqCst),
                }
                if quit.load(Ordering::SeqCst) {
                    tell.notify_one();
                }
                if send.send(()).is_err() {
                    return;
                }
            }
        });
        Ok(Self { interrupts, quits, told_to_quit })
    }

    /// Whether the session is to end.
    fn quits(&self) -> bool {
        self.quits.load(Ordering::SeqCst)
    }
}
