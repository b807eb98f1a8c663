//! The line editor, on a thread of its own: it waits for keys, and nothing else may wait for it.

use super::complete::Assist;
use super::history::{LINES, Remembered};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor as Rustyline, Helper};
use std::path::PathBuf;
use tokio::sync::{Notify, mpsc, oneshot};

/// What comes of reading a line.
#[derive(Debug)]
pub(super) enum Heard {
    /// What was typed.
    Line(String),
    /// Ctrl-C: what was typed is given up.
    Interrupted,
    /// Ctrl-D.
    Left,
    /// The terminal is gone.
    Failed(String),
}

enum Order {
    Read { prompt: String, keeps: bool, tell: oneshot::Sender<Heard> },
    KeepHistory(bool),
}

/// A line editor.
pub(super) struct Editor(mpsc::UnboundedSender<Order>);

impl Editor {
    /// Begin it.
    ///
    /// # Errors
    /// When there is no terminal.
    pub(super) fn begin(state: PathBuf, assist: Assist) -> anyhow::Result<Self> {
        let config = Config::builder()
            .max_history_size(LINES)?
            .history_ignore_dups(true)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor: Rustyline<Help, DefaultHistory> = Rustyline::with_config(config)?;
        editor.set_helper(Some(Help { assist, judges: true }));
        let (send, mut orders) = mpsc::unbounded_channel();
        std::thread::Builder::new().name("prompt".into()).spawn(move || {
            let mut remembered = Remembered::open(&state, editor.history_mut());
            while let Some(order) = orders.blocking_recv() {
                match order {
                    Order::KeepHistory(keeps) => remembered.keeps = keeps,
                    Order::Read { prompt, keeps, tell } => {
                        if let Some(help) = editor.helper_mut() {
                            help.judges = keeps;
                        }
                        let heard = heard(editor.readline(&prompt));
                        if let (Heard::Line(line), true) = (&heard, keeps)
                            && !line.trim().is_empty()
                        {
                            remembered.add(line.trim_end(), editor.history_mut());
                        }
                        let _ = tell.send(heard);
                    }
                }
            }
        })?;
        Ok(Self(send))
    }

    /// Read a line, or several where one is not whole.
    pub(super) async fn read(&self, prompt: &str) -> Heard {
        self.ordered(prompt, true).await.unwrap_or(Heard::Left)
    }

    /// Ask a question: its answer is one line, and not remembered. Blocks, until the process is told to quit: nobody agrees any more then.
    pub(super) fn ask(&self, question: &str, told_to_quit: &Notify) -> bool {
        crate::commands::run::forget_typed_ahead();
        let answer = self.ordered(&format!("{question} [y/N] "), false);
        let answered = async {
            tokio::select! {
                biased;
                () = told_to_quit.notified() => None,
                heard = answer => heard.ok(),
            }
        };
        let heard = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(answered));
        matches!(heard, Some(Heard::Line(line)) if matches!(line.trim(), "y" | "Y" | "yes"))
    }

    /// Whether what is typed from here on is kept.
    pub(super) fn keep_history(&self, keeps: bool) {
        let _ = self.0.send(Order::KeepHistory(keeps));
    }

    fn ordered(&self, prompt: &str, keeps: bool) -> oneshot::Receiver<Heard> {
        let (tell, hear) = oneshot::channel();
        let _ = self.0.send(Order::Read { prompt: prompt.to_owned(), keeps, tell });
        hear
    }
}

fn heard(read: rustyline::Result<String>) -> Heard {
    match read {
        Ok(line) => Heard::Line(line),
        Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => Heard::Interrupted,
        Err(ReadlineError::Eof) => Heard::Left,
        Err(error) => Heard::Failed(error.to_string()),
    }
}

/// What the editor asks while keys are pressed.
struct Help {
    assist: Assist,
    /// Whether a line is judged: an answer to a question is none.
    judges: bool,
}

impl Helper for Help {}
impl Highlighter for Help {}

impl Hinter for Help {
    type Hint = String;
}

impl Validator for Help {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if !self.judges || super::split::is_whole(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Completer for Help {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        if !self.judges {
            return Ok((at, Vec::new()));
        }
        let (from, names) = self.assist.complete(line, at);
        Ok((from, names.into_iter().map(|name| Pair { display: name.clone(), replacement: name }).collect()))
    }
}
