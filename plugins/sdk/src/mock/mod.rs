//! A host in memory, for unit tests of a procedure's logic.
//!
//! ```
//! # use rota_sdk::prelude::*;
//! # procedure! { name: "demo", summary: "Counts.", description: "Counts.", risk: observe, idempotent: true,
//! #   slots: { database: sql [read] "Reads." }, parameters: (), report: (), run }
//! # async fn run(cx: Context, _: ()) -> Outcome { let mut s = cx.database().open().await?;
//! #   let n: i64 = s.query_one("select count(*) from pg_catalog.pg_tables", params![]).await?;
//! #   let mut r = Report::new(); r.summary(format!("{n} tables")); Ok(r) }
//! # fn main() {
//! use rota_sdk::mock::*;
//!
//! let host = MockHost::new();
//! host.sql("database").on("from pg_catalog.pg_tables", rows! { ["count"] => [3_i64] });
//! let report = host.run::<Plugin>(json!({})).expect("it succeeds");
//! assert_eq!(report.summary, "3 tables");
//! # }
//! ```
//!
//! A call without an answer panics and names the statement, so that a test cannot pass by accident. Plan mode is imitated: effects are
//! listed and not carried out. Grants too, by a statement's first words; the real classifier is the host's.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a mock tells the test's author by panicking"
)]

mod answers;
mod buckets;
mod caches;
mod clusters;
mod durable;
mod filters;
pub(crate) mod host;
mod programs;
mod reported;
mod stream;
mod streams;

pub use crate::rows;
pub use answers::{MockRows, SqlMock};
pub use buckets::StorageMock;
pub use caches::CacheMock;
pub use clusters::ClusterMock;
pub use durable::MockCompensation;
pub use programs::{ToolMock, ToolOutput};
pub use reported::{Failed, Reported};
pub(crate) use stream::{Ending, Stream};
pub use streams::{JetstreamMock, JetstreamState};

use crate::bindings::rota::runbook::run::{Level, RunMode, SlotInfo};
use crate::procedure::{Procedure, SlotDeclaration, describe, run};
use crate::{Fault, HostError, Timestamp};
use serde_json::Value as Json;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// An effect that a run had, or would have had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MockEffect {
    /// `sql.execute`, `storage.put` ...
    pub operation: &'static str,
    /// The slot.
    pub slot: String,
    /// The statement, the object's name, the arguments.
    pub detail: String,
    /// Whether it was only listed, because the run is a plan.
    pub planned: bool,
}

/// How far the run said it was: done, total, unit, note.
pub type Progress = (u64, Option<u64>, String, String);

/// What is in a slot.
#[derive(Clone)]
enum Bound {
    Sql(SqlMock),
    Storage(StorageMock),
    Tool(ToolMock),
    Cluster(ClusterMock),
    Key,
    Cache(CacheMock),
    Jetstream(JetstreamMock),
}

#[derive(Default)]
struct State {
    plan: Cell<bool>,
    now: Cell<i64>,
    declared: RefCell<&'static [SlotDeclaration]>,
    bound: RefCell<BTreeMap<String, Bound>>,
    grants: RefCell<BTreeMap<String, Vec<String>>>,
    effects: RefCell<Vec<MockEffect>>,
    log: RefCell<Vec<(Level, String)>>,
    progress: RefCell<Vec<Progress>>,
    artifacts: RefCell<BTreeMap<String, Vec<u8>>>,
    metrics: RefCell<Vec<(String, f64)>>,
    durable: durable::Kept,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<State>>> = const { RefCell::new(None) };
}

fn current() -> Rc<State> {
    CURRENT.with_borrow(|state| state.clone()).expect("a host's function was called outside of MockHost::run")
}

/// The mock's clock.
pub(crate) fn now() -> Timestamp {
    Timestamp(current().now.get())
}

/// Let time pass on the mock's clock.
pub(crate) fn advance(time: Duration) {
    let state = current();
    state.now.set(state.now.get() + i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
}

impl State {
    fn slots(&self) -> Vec<SlotInfo> {
        let bound = self.bound.borrow();
        let declared = self.declared.borrow();
        let slot = |slot: &SlotDeclaration| SlotInfo {
            name: slot.name.to_owned(),
            binding: bound.contains_key(slot.name).then(|| format!("mock-{}", slot.name)),
            accesses: if bound.contains_key(slot.name) { self.granted(slot) } else { Vec::new() },
        };
        declared.iter().map(slot).collect()
    }

    fn granted(&self, slot: &SlotDeclaration) -> Vec<String> {
        let narrowed = self.grants.borrow().get(slot.name).cloned();
        narrowed.unwrap_or_else(|| slot.accesses.iter().map(|access| (*access).to_owned()).collect())
    }

    /// Refuse what the slot does not grant, as the host would.
    fn authorise(&self, slot: &str, access: Option<&str>) -> Result<Bound, HostError> {
        let Some(bound) = self.bound.borrow().get(slot).cloned() else {
            return Err(HostError::Denied(format!("slot `{slot}` is not bound; bind it with --bind {slot}=...")));
        };
        let declared = self.declared.borrow();
        let Some(declaration) = declared.iter().find(|declared| declared.name == slot) else {
            return Err(HostError::InvalidArgument(format!("the plugin declares no slot `{slot}`")));
        };
        let granted = self.granted(declaration);
        match access {
            Some(access) if !granted.iter().any(|g| g == access) => Err(HostError::Denied(format!(
                "`{access}` on slot `{slot}` is not granted; grant it with --grant {slot}={access}"
            ))),
            None if granted.is_empty() => Err(HostError::Denied(format!("nothing is granted on slot `{slot}`"))),
            _ => Ok(bound),
        }
    }

    /// List an effect; true when it is to be carried out.
    fn effect(&self, operation: &'static str, slot: &str, detail: impl Into<String>) -> bool {
        let planned = self.plan.get();
        self.effects.borrow_mut().push(MockEffect { operation, slot: slot.to_owned(), detail: detail.into(), planned });
        !planned
    }
}

/// A host in memory.
#[derive(Clone, Default)]
pub struct MockHost(Rc<State>);

impl MockHost {
    /// A host with nothing bound, that executes. Its clock stands at 2026-01-01T00:00Z.
    pub fn new() -> Self {
        let host = Self::default();
        host.set_now(Timestamp(1_767_225_600_000_000));
        host
    }

    /// Only list effects.
    #[must_use]
    pub fn plan(self) -> Self {
        self.0.plan.set(true);
        self
    }

    /// Set the clock.
    pub fn set_now(&self, now: Timestamp) {
        self.0.now.set(now.0);
    }

    /// What the clock says: it stands, except for what the procedure sleeps.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.0.now.get())
    }

    fn bind(&self, slot: &str, fresh: impl FnOnce() -> Bound) -> Bound {
        self.0.bound.borrow_mut().entry(slot.to_owned()).or_insert_with(fresh).clone()
    }

    /// The database in a slot; binds it.
    pub fn sql(&self, slot: &str) -> SqlMock {
        match self.bind(slot, || Bound::Sql(SqlMock::default())) {
            Bound::Sql(mock) => mock,
            _ => panic!("slot `{slot}` is bound to something else than a database"),
        }
    }

    /// The bucket in a slot; binds it.
    pub fn storage(&self, slot: &str) -> StorageMock {
        match self.bind(slot, || Bound::Storage(StorageMock::default())) {
            Bound::Storage(mock) => mock,
            _ => panic!("slot `{slot}` is bound to something else than a bucket"),
        }
    }

    /// The program in a slot; binds it.
    pub fn tool(&self, slot: &str) -> ToolMock {
        match self.bind(slot, || Bound::Tool(ToolMock::default())) {
            Bound::Tool(mock) => mock,
            _ => panic!("slot `{slot}` is bound to something else than a program"),
        }
    }

    /// The cache in a slot; binds it.
    pub fn cache(&self, slot: &str) -> CacheMock {
        match self.bind(slot, || Bound::Cache(CacheMock::default())) {
            Bound::Cache(mock) => mock,
            _ => panic!("slot `{slot}` is bound to something else than a cache"),
        }
    }

    /// The JetStream in a slot; binds it.
    pub fn jetstream(&self, slot: &str) -> JetstreamMock {
        match self.bind(slot, || Bound::Jetstream(JetstreamMock::default())) {
            Bound::Jetstream(mock) => mock,
            _ => panic!("slot `{slot}` is bound to something else than a JetStream"),
        }
    }

    /// The cluster in a slot; binds it.
    pub fn cluster(&self, slot: &str) -> ClusterMock {
        match self.bind(slot, || Bound::Cluster(ClusterMock::default())) {
            Bound::Cluster(mock) => mock,
            _ => panic!("slot `{slot}` is bound to something else than a cluster"),
        }
    }

    /// Bind a key that decrypts what the mock's `encrypt` made.
    pub fn key(&self, slot: &str) {
        self.bind(slot, || Bound::Key);
    }

    /// Grant only these accesses on a slot. Without it, what the procedure declares is granted.
    pub fn grant(&self, slot: &str, accesses: &[&str]) {
        self.0
            .grants
            .borrow_mut()
            .insert(slot.to_owned(), accesses.iter().map(|access| (*access).to_owned()).collect());
    }

    /// Run a procedure to its end: another run, which knows nothing of the one before (see [`MockHost::retry`]).
    ///
    /// # Errors
    /// The procedure's failure.
    #[allow(clippy::result_large_err, reason = "tests take it apart")]
    pub fn run<P: Procedure>(&self, parameters: Json) -> Result<Reported, Failed> {
        self.0.durable.begin_run();
        self.attempt::<P>(parameters)
    }

    #[allow(clippy::result_large_err, reason = "tests take it apart")]
    fn attempt<P: Procedure>(&self, parameters: Json) -> Result<Reported, Failed> {
        let outcome = self.with::<P, _>(|| block_on(run::<P>(parameters.to_string())));
        outcome.map(Reported::from).map_err(Failed::from)
    }

    /// Call into a procedure, with this host behind it.
    fn with<P: Procedure, R>(&self, call: impl FnOnce() -> R) -> R {
        *self.0.declared.borrow_mut() = P::DECLARATION.slots;
        let before = CURRENT.replace(Some(self.0.clone()));
        let answer = call();
        CURRENT.set(before);
        answer
    }

    /// The effects so far.
    pub fn effects(&self) -> Vec<MockEffect> {
        self.0.effects.borrow().clone()
    }

    /// The log's lines of a level or worse.
    pub fn log(&self, level: Level) -> Vec<String> {
        self.0.log.borrow().iter().filter(|(l, _)| *l >= level).map(|(_, line)| line.clone()).collect()
    }

    /// The progress so far: done, total, unit, note.
    pub fn progress(&self) -> Vec<Progress> {
        self.0.progress.borrow().clone()
    }

    /// An artifact's bytes.
    pub fn artifact(&self, name: &str) -> Option<Vec<u8>> {
        self.0.artifacts.borrow().get(name).cloned()
    }

    /// The metrics published so far.
    pub fn metrics(&self) -> Vec<(String, f64)> {
        self.0.metrics.borrow().clone()
    }
}

/// The mock's futures are always ready: one that is not waits for something that never comes.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("the procedure waits for something that never happens");
}

/// An error of the target, for answers that fail: `failed("40P01", "deadlock detected")`.
pub fn failed(code: &str, message: &str) -> HostError {
    HostError::Failed(Fault { code: code.to_owned(), message: message.to_owned(), detail: None, retryable: false })
}

/// Check what a procedure says of itself: lengths, schemas, and that each example is valid.
///
/// # Panics
/// When something is wrong, saying what.
pub fn check_declaration<P: Procedure>() {
    let descriptor = describe::<P>();
    let schema: Json = serde_json::from_str(&descriptor.parameters).expect("the schema is JSON");
    let unit = schema.get("type") == Some(&Json::from("null"));
    assert!(unit || schema["type"] == "object", "the parameters must be an object: {schema}");
    assert!(
        unit || schema["additionalProperties"] == Json::Bool(false),
        "the parameters must refuse unknown properties: use #[parameters]"
    );
    assert!(descriptor.summary.chars().count() <= 120, "the summary is longer than 120 characters");
    assert!(!descriptor.description.trim().is_empty(), "the description is empty");
    for example in &descriptor.examples {
        if let Err(error) = crate::procedure::read_parameters::<P::Parameters>(&example.parameters) {
            panic!("the example `{}` is not valid: {error}", example.title);
        }
    }
}

fn mode(state: &State) -> RunMode {
    if state.plan.get() { RunMode::Plan } else { RunMode::Execute }
}
