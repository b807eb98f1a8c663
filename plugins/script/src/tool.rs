//! `tool`, and what else runs a program: commands in pods, jobs of a cluster.

use crate::desk::{Desk, Slab};
use crate::flow::{Flow, Source, Watch, text};
use crate::value::Js;
use rota_sdk::prelude::*;
use rota_sdk::tools::{Child, Ended, ExitStatus};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What a script holds of programs.
#[derive(Default)]
pub(crate) struct Programs(RefCell<Slab<Rc<Program>>>);

/// A program that runs for the script.
pub(crate) struct Program {
    child: Child,
    name: String,
    /// What it is given to read.
    stdin: RefCell<Option<Watch>>,
    /// Whether somebody has asked for its output.
    read: Cell<bool>,
    /// Whether somebody has asked how it ended.
    awaited: Cell<bool>,
    planned: bool,
}

impl Program {
    /// The script knows how it ended.
    pub(crate) fn was_told(&self) {
        self.awaited.set(true);
    }

    /// How it ended, which was well.
    ///
    /// # Errors
    /// When it did not end with 0, or what it was given to read broke off.
    pub(crate) async fn success(&self) -> Result<Ended> {
        self.awaited.set(true);
        let ended = self.child.success().await?;
        if let Some(watch) = self.stdin.take() {
            watch.up_to_where_wanted(self.planned).await?;
        }
        Ok(ended)
    }
}

impl Programs {
    /// Keep one.
    pub(crate) fn insert(&self, desk: &Desk, name: impl Into<String>, child: Child, stdin: Option<Watch>) -> Js {
        let program = Program {
            child,
            name: name.into(),
            stdin: RefCell::new(stdin),
            read: Cell::new(false),
            awaited: Cell::new(false),
            planned: desk.cx.is_plan(),
        };
        self.0.borrow_mut().insert(Rc::new(program))
    }

    /// Let go of everything: what runs is killed.
    pub(crate) fn forget(&self) {
        self.0.borrow_mut().clear();
    }

    fn get(&self, handle: &Js) -> Result<Rc<Program>> {
        self.0.borrow().get(handle).cloned()
    }

    /// Wait for those that were started and that nobody asked about: what they do is the script's as well.
    ///
    /// # Errors
    /// When one did not end well.
    pub(crate) async fn finish(&self) -> Result<Vec<String>> {
        let programs = self.0.borrow_mut().drain();
        let mut unread = Vec::new();
        for program in programs.iter().filter(|program| !program.awaited.get()) {
            if program.read.get() {
                // Its output was asked for and not read to its end: it would wait for ever.
                program.child.kill().await?;
                unread.push(program.name.clone());
            } else {
                program.success().await?;
            }
        }
        Ok(unread)
    }
}

/// What a program is given to read, and what to look at afterwards.
pub(crate) fn stdin(desk: &Desk, flow: &Js) -> Result<(Option<ByteStream>, Option<Watch>)> {
    if flow.is_nothing() {
        return Ok((None, None));
    }
    let (stream, watch) = desk.flows.take(flow)?.into_parts();
    Ok((Some(stream), Some(watch)))
}

/// Calls of `tool`.
pub(crate) async fn call(desk: &Desk, what: &str, args: &[Js]) -> Result<Js> {
    match (what, args) {
        ("info", [slot]) => {
            let info = desk.tool_slot(slot)?.info().await?;
            Ok(Js::object([("version", Js::Text(info.version)), ("major", Js::Number(info.major.into()))]))
        }
        ("spawn", [slot, Js::List(words), options, stdin]) => {
            let slot = desk.tool_slot(slot)?;
            let words = words.iter().map(text).collect::<Result<Vec<_>>>();
            let words = words.map_err(|_| Error::new("the arguments of a program are texts"))?;
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let connection = match options.member("connection") {
                Js::Undefined | Js::Null => None,
                slot => {
                    let slot = desk.sql_slot(slot)?;
                    Some(match options.member("database") {
                        Js::Undefined | Js::Null => slot.connection(),
                        database => slot.connection_to(text(database)?),
                    })
                }
            };
            let (stream, watch) = self::stdin(desk, stdin)?;
            let child = slot.spawn(&words, connection, stream).await?;
            Ok(desk.programs.insert(desk, slot.name(), child, watch))
        }
        ("spawn", _) => Err(Error::new("the arguments of a program are an array of texts")
            .hint("tool(\"pg_dump\").run([\"--format=custom\"], { connection: db })")),
        ("stdout", [program]) => {
            let program = desk.programs.get(program)?;
            let stream = program.child.stdout()?;
            program.read.set(true);
            let flow = Flow::new(format!("the output of {}", program.name), stream);
            Ok(desk.flows.insert(flow.from(Source::Program(program))))
        }
        ("wait", [program]) => desk.programs.get(program)?.success().await.map(shown),
        ("ended", [program]) => {
            let program = desk.programs.get(program)?;
            program.awaited.set(true);
            program.child.wait().await.map(shown)
        }
        ("kill", [program]) => {
            let program = desk.programs.get(program)?;
            program.awaited.set(true);
            program.child.kill().await.map(|()| Js::Undefined)
        }
        _ => Err(Desk::unknown("tool", what)),
    }
}

fn shown(ended: Ended) -> Js {
    let (code, signal) = match ended.status {
        ExitStatus::Code(code) => (Js::Number(code.into()), Js::Null),
        ExitStatus::Signal(signal) => (Js::Null, Js::Number(signal.into())),
        ExitStatus::Planned => (Js::Null, Js::Null),
    };
    let planned = ended.is_planned();
    Js::object([("code", code), ("signal", signal), ("planned", Js::Flag(planned)), ("stderr", Js::Text(ended.stderr))])
}
