//! The tape: where every call of a guest passes, and may be kept, or answered by somebody else than its target.
//!
//! | [`Tape`] | what a call does |
//! | --- | --- |
//! | `Live` | its work; nothing is kept, and what it costs is a branch |
//! | `Recording` | its work; what was asked and what the guest was given goes to a [`Record`] |
//! | `Answering` | nothing: [`Answers`] says what the guest is given, and no target is reached |
//!
//! A host function asks ([`ask`], [`ask_with`]) and then calls ([`called`], [`called_through`], [`now`], [`now_with`]) with the
//! [`Shape`] of its answer, which says how the answer is shown as JSON and made of it again. Values are shown in the words of the contract
//! ([`shown`], [`made`]): records as objects, variants as `"case"` or `{"case": value}`, bytes as `{"$bytes": BASE64}`, secrets masked.
//!
//! Calls are numbered by whoever records or answers. What a call gave to the guest (a session, a stream) is known by the number of that
//! call: [`Asked::handle`] is the call that gave the resource on which this one is made, and a stream that is handed on is shown as
//! `{"$stream": CALL}`; one that the guest writes itself as `{"$stream": "guest"}`.

mod call;
mod shape;
mod tap;
mod words;

pub use call::{Arguments, Asking, ask, ask_with, called, called_through, now, now_with, now_with_infallible};
pub use shape::{By, Bytes, Handle, HeadBytes, HeadItems, Items, OnlyBytes, Parts, Plain, Plainly, Shape, Shown};
pub use words::{made, shown};

pub use tap::{Tap, current};

pub(crate) use tap::Hashed;

use crate::RunContext;
use crate::streams::Reader;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use rota_contract::Error;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use wasmtime_wasi::WasiCtxBuilder;

/// What becomes of the calls of a run.
#[derive(Clone, Default)]
pub enum Tape {
    /// They do their work, and nothing is kept.
    #[default]
    Live,
    /// They do their work, and are kept.
    Recording(Arc<dyn Record>),
    /// They are answered, and do nothing.
    Answering(Arc<dyn Answers>),
}

impl Tape {
    /// Give the guest the clocks and the random numbers that belong to it. Of a live run they are the system's.
    pub fn prepare(&self, wasi: &mut WasiCtxBuilder) {
        match self {
            Self::Live => {}
            Self::Recording(record) => record.prepare(wasi),
            Self::Answering(answers) => answers.prepare(wasi),
        }
    }
}

/// A call, as it was asked.
pub struct Asked {
    /// The import, as the contract names it: `sql.session.execute`, `storage.bucket.get`, `run.step.begin`, `tools.spawn`.
    pub operation: &'static str,
    /// The call that gave the resource on which it is made; none for a function.
    pub handle: Option<u64>,
    /// The arguments by name: an object, in the words of the contract.
    pub arguments: Value,
    /// The stream among the arguments, where calls are answered: there is nobody else who could read it. (No import takes two.)
    pub incoming: Option<Incoming>,
    /// Whether the import answers at once (it is no async function).
    pub now: bool,
}

/// A stream that a guest gave to a call that is answered. Dropped, its writer learns that nobody reads it.
pub struct Incoming {
    /// The call that gave it to the guest; none for one that the guest writes itself.
    pub from: Option<u64>,
    /// Its bytes. It fails at its end when the guest broke off.
    pub reader: Reader,
}

/// What happened to a call, or to what it gave. The order in which it is noted is the order in which the guest saw it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'e> {
    /// It was answered: by a value, or by an error of the contract.
    Answered(Result<&'e Value, &'e Error>),
    /// It ended the run: what the host said.
    Trapped(&'e str),
    /// The guest, or the run's end, dropped it before there was an answer.
    Dropped,
    /// The stream that it gave offered these to the guest, at once.
    Items(Vec<Value>),
    /// The same of a stream of bytes. Secrets are masked; what may be a secret's beginning at the end of a piece comes with the next one, or with
    /// the end of the stream.
    Bytes(&'e [u8]),
    /// The stream that it gave ended by itself.
    Ended,
    /// The future that it gave says how the stream ended.
    Outcome(Result<&'e Value, &'e Error>),
    /// The stream that it gave was handed on to another call: from here on the guest sees nothing of it.
    HandedOn,
    /// The call has read a stream that the guest wrote: so much of it, and the SHA-256 of that in lower-case hex.
    Written {
        /// Bytes.
        bytes: u64,
        /// Of these bytes.
        sha256: &'e str,
        /// Whether to its end; otherwise the call did not read on.
        whole: bool,
    },
    /// The guest dropped the resource that it gave.
    Released,
}

/// Keeps what a guest asks and is given. Must not block for long, and never fail: what cannot be kept is lost.
pub trait Record: Send + Sync + 'static {
    /// A call begins: its number, which no other call of the run has.
    fn call(&self, asked: &Asked) -> u64;

    /// Something happened to a call.
    fn note(&self, call: u64, event: Event<'_>);

    /// Whether it still keeps anything; where it does not, nothing need be made for it.
    fn keeps(&self) -> bool {
        true
    }

    /// Give the guest clocks and random numbers that can be given again.
    fn prepare(&self, wasi: &mut WasiCtxBuilder);
}

/// What a call is answered with.
pub struct Given {
    /// The number of the call, by which what it gives is known from here on.
    pub call: u64,
    /// The answer. Of a call that gives a resource, `null`; of one that gives a stream, what comes before the stream (columns, the object),
    /// or `null`.
    pub answer: Result<Value, Error>,
    /// What comes out of the stream that it gives.
    pub source: Source,
    /// What the future that it gives resolves to, and when; without one it is `cancelled`.
    pub outcome: Option<BoxFuture<'static, Result<Value, Error>>>,
}

impl Given {
    /// A value, or an error.
    pub fn answer(call: u64, answer: Result<Value, Error>) -> Self {
        Self { call, answer, source: Source::Empty, outcome: None }
    }
}

/// What comes out of a stream.
#[derive(Default)]
pub enum Source {
    /// Nothing: it ends at once.
    #[default]
    Empty,
    /// Items, those of one batch offered to the guest at once.
    Items(BoxStream<'static, Vec<Value>>),
    /// Bytes: each read is offered to the guest as it comes. An error ends the stream, as it does where the host made it of a target.
    Bytes(Reader),
}

/// There is no answer, and the guest is ended: whoever answers knows why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Stop(pub String);

/// Answers the calls of a guest.
pub trait Answers: Send + Sync + 'static {
    /// Whether a call does its own work all the same, as in a live run: it is not asked about then. For what needs no target
    /// (filters of bytes, the run's own log).
    fn performs(&self, operation: &'static str) -> bool {
        let _ = operation;
        false
    }

    /// Answer a call. Dropped before, the guest has dropped the call, or was ended.
    fn answer(&self, run: &Arc<RunContext>, asked: Asked) -> BoxFuture<'static, Result<Given, Stop>>;

    /// Answer a call of an import that waits for nothing.
    ///
    /// # Errors
    /// When there is no answer: the guest is ended.
    fn answer_now(&self, run: &Arc<RunContext>, asked: Asked) -> Result<Given, Stop>;

    /// The guest dropped the resource that a call gave.
    fn released(&self, call: u64) {
        let _ = call;
    }

    /// Give the guest clocks and random numbers; by default the system's.
    fn prepare(&self, wasi: &mut WasiCtxBuilder) {
        let _ = wasi;
    }
}

/// Which call gave the resources that a guest holds, by their place in its table.
#[derive(Default)]
pub(crate) struct Handles(Mutex<HashMap<u32, u64>>);

impl Handles {
    pub(crate) fn remember(&self, rep: u32, call: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(rep, call);
    }

    pub(crate) fn of(&self, rep: u32) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&rep).copied()
    }

    pub(crate) fn forget(&self, rep: u32) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&rep)
    }
}

/// What a guest holds of a resource that was answered: nothing.
pub(crate) struct Placeholder;
