//! One guest that is talked with: asked line by line, answered line by line, interrupted.

use super::show::Shown;
use rota_capability::{Dialogue, LogLevel, RunContext};
use rota_runs::{ExecuteError, Host, Occasion, Prepared, RunView, Watcher};
use rota_sandbox::Cancel;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How long a line of a guest may be.
const LONGEST: u64 = 32 << 20;
/// How long a statement that is stopped may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// A guest.
pub(super) struct Link {
    dialogue: Arc<Dialogue>,
    to: Option<DuplexStream>,
    from: BufReader<DuplexStream>,
    run: JoinHandle<Result<RunView, ExecuteError>>,
    cancel: Cancel,
    /// The run's id.
    pub(super) id: String,
}

/// The session is over: how it ended, or why it could not begin.
pub(super) type Over = Box<Result<RunView, ExecuteError>>;

/// What a statement ended with.
pub(super) struct Answer {
    /// The guest's last line.
    pub(super) done: Value,
    /// It was stopped since its time was over.
    pub(super) timed_out: bool,
}

/// Who may stop a statement: whoever sends here.
pub(super) type Interrupts = mpsc::UnboundedReceiver<()>;

/// Log lines of a guest that is talked with are on record; what matters of them is said by its answers.
struct OnRecord;

impl Watcher for OnRecord {
    fn log(&self, level: LogLevel, source: &str, message: &str, _: &[(String, String)]) {
        if source == "host" && level == LogLevel::Warn {
            eprintln!("  {}", crate::output::safe(message));
        }
    }

    fn progress(&self, _: u64, _: Option<u64>, _: &str, _: &str) {}
}

impl Link {
    /// Begin the run, and wait until its guest listens.
    ///
    /// # Errors
    /// How it ended instead.
    pub(super) async fn begin(host: &Arc<Host>, mut prepared: Prepared, parent: Option<String>) -> Result<Self, Over> {
        let (dialogue, to, from) = Dialogue::new();
        prepared.dialogue = Some(dialogue.clone());
        let occasion = Occasion { trigger: prepared.trigger.as_str().into(), parent, ..Occasion::default() };
        let (host, cancel) = (host.clone(), Cancel::default());
        let cancelled = cancel.clone();
        let run =
            tokio::spawn(async move { host.execute_on(prepared, &occasion, Arc::new(OnRecord), &cancelled).await });
        let mut link = Self { dialogue, to: Some(to), from: BufReader::new(from), run, cancel, id: String::new() };
        link.send(&json!({ "hello": 1 })).await;
        while link.line().await?["ready"] != true {}
        link.id = link.context().map(|run| run.facts.id.clone()).unwrap_or_default();
        Ok(link)
    }

    /// The run; none once it has ended.
    pub(super) fn context(&self) -> Option<Arc<RunContext>> {
        self.dialogue.run()
    }

    /// Grant more on a slot.
    pub(super) fn grant(&self, slot: &str, accesses: &[String]) -> bool {
        self.dialogue.grant(slot, accesses)
    }

    async fn send(&mut self, line: &Value) {
        if let Some(to) = &mut self.to {
            // One who is gone is found out by who waits for an answer.
            let _ = to.write_all(format!("{line}\n").as_bytes()).await;
        }
    }

    /// The guest's next line.
    async fn line(&mut self) -> Result<Value, Over> {
        let mut line = Vec::new();
        let read = {
            let mut bounded = (&mut self.from).take(LONGEST);
            tokio::select! {
                biased;
                read = bounded.read_until(b'\n', &mut line) => read.unwrap_or(0),
                ended = &mut self.run => return Err(over(ended)),
            }
        };
        if read == 0 || !line.ends_with(b"\n") {
            if read > 0 {
                self.cancel.terminate();
            }
            return Err(over((&mut self.run).await));
        }
        // What is no JSON is the engine's own.
        Ok(serde_json::from_slice(&line).unwrap_or_default())
    }

    /// Ask, show what is said meanwhile, and wait for the end of it. An interruption ends what is asked, a second one the session. One that
    /// came before is about this as well: between a plan and what is done by it, somebody may have said no.
    ///
    /// # Errors
    /// When the session is over.
    pub(super) async fn ask(
        &mut self,
        request: &Value,
        shown: &mut dyn Shown,
        interrupts: &mut Interrupts,
        longest: Duration,
    ) -> Result<Answer, Over> {
        if interrupts.try_recv().is_ok() {
            return Ok(Answer { done: json!({ "state": "interrupted" }), timed_out: false });
        }
        self.send(request).await;
        let mut timed_out = false;
        let mut stopped = 0;
        let mut time = Box::pin(tokio::time::sleep(longest));
        loop {
            let (dialogue, cancel) = (self.dialogue.clone(), self.cancel.clone());
            // A line that is read in part must not be lost: the same future is waited for until it is whole.
            let line = {
                let mut reading = Box::pin(self.line());
                loop {
                    tokio::select! {
                        biased;
                        line = &mut reading => break line?,
                        Some(()) = interrupts.recv() => {
                            stopped += 1;
                            if stopped == 1 {
                                stop(&dialogue);
                                time.as_mut().reset(tokio::time::Instant::now() + PATIENCE);
                            } else {
                                cancel.terminate();
                            }
                        }
                        () = &mut time => {
                            if stopped == 0 {
                                (timed_out, stopped) = (true, 1);
                                stop(&dialogue);
                            } else if timed_out {
                                shown.note("it does not stop: the session ends");
                                cancel.terminate();
                            } else {
                                shown.note("it does not stop; Ctrl-C once more ends the session");
                            }
                            time.as_mut().reset(tokio::time::Instant::now() + PATIENCE);
                        }
                    }
                }
            };
            if let Some(done) = line.get("done") {
                if let Some(run) = self.context() {
                    run.resume();
                }
                return Ok(Answer { done: done.clone(), timed_out });
            }
            shown.said(&line);
        }
    }

    /// Ask for what nobody need see, and that takes no time to speak of.
    ///
    /// # Errors
    /// When the session is over.
    pub(super) async fn quietly(&mut self, request: &Value, longest: Duration) -> Result<Value, Over> {
        let (_never, mut interrupts) = mpsc::unbounded_channel();
        Ok(self.ask(request, &mut super::show::Nobody, &mut interrupts, longest).await?.done)
    }

    /// Nothing more is asked: the run ends by itself.
    pub(super) async fn end(mut self) -> Over {
        self.to = None;
        let ended = tokio::time::timeout(PATIENCE * 2, &mut self.run).await;
        match ended {
            Ok(ended) => over(ended),
            Err(_) => {
                self.cancel.terminate();
                over(self.run.await)
            }
        }
    }

    /// Tell the run to stop, as a signal does: what it registered to be undone is.
    pub(super) fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Resolves when the run has ended by itself.
    pub(super) async fn ended(&mut self) -> Over {
        over((&mut self.run).await)
    }
}

/// End what is under way. Nothing that somebody agreed to may begin any more.
fn stop(dialogue: &Dialogue) {
    if let Some(run) = dialogue.run() {
        run.gate.hold(Some(Vec::new()));
        run.interrupt();
    }
}

fn over(ended: Result<Result<RunView, ExecuteError>, tokio::task::JoinError>) -> Over {
    match ended {
        Ok(ended) => Box::new(ended),
        // A panic of the host's, which the hook has told.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
