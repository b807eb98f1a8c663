//! What survives a crash and a retry: steps, which are done once, and compensations, which undo what a run that did not succeed
//! left behind.

use crate::host::run as host;
use crate::procedure::Procedure;
use crate::{Context, Error, HostError, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Write as _;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;

pub use crate::bindings::rota::runbook::run::{EffectOutcome, RecordedEffect};

/// How many effects an error about a step in doubt names.
const NAMED: usize = 5;

/// What can be the result of a step, or the state of a compensation: kept as JSON, and read back by a later attempt.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept by the run",
    label = "results of steps and states of compensations are kept as JSON and read back",
    note = "put `#[data]` on the type, or derive serde's `Serialize` and `Deserialize`"
)]
pub trait Kept: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Kept for T {}

/// What is known of a step when it is begun. [`Context::step`] is the shorter way, where no one need look.
#[derive(Debug)]
#[must_use = "a step that is begun is to be completed"]
pub enum Step<T> {
    /// Nobody did it before: do it, and complete it.
    Fresh(OpenStep<T>),
    /// It was completed, in this attempt or an earlier one, with this result.
    Done(T),
    /// An earlier attempt began it, and nobody knows whether it was done: look, then complete it or do it again.
    InDoubt(Doubt<T>),
}

/// A step that is under way. Dropped without [`OpenStep::complete`], it is in doubt in the next attempt.
#[derive(Debug)]
#[must_use = "complete the step, or it is in doubt in the next attempt"]
pub struct OpenStep<T> {
    handle: host::Step,
    result: PhantomData<fn(T)>,
}

/// A step that an earlier attempt began and did not complete.
#[derive(Debug)]
#[must_use = "look whether it was done, then complete it or do it again"]
pub struct Doubt<T> {
    step: OpenStep<T>,
    effects: Vec<RecordedEffect>,
    unlisted: u64,
}

impl<T: Kept> Step<T> {
    /// Begin a step. Its name tells it from the others of the run, in every attempt: at most 200 bytes, no control characters.
    ///
    /// # Errors
    /// `conflict` while this attempt is at it; `quota` beyond the run's steps; `cancelled` and `unavailable` when it cannot be
    /// recorded: do not do it then.
    pub async fn begin(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let doing = format!("beginning the step `{name}`");
        match host::Step::begin(name.clone()).await {
            Ok(host::Begun::Fresh(handle)) => Ok(Self::Fresh(OpenStep::new(handle))),
            Ok(host::Begun::Done(result)) => match serde_json::from_str(&result) {
                Ok(result) => Ok(Self::Done(result)),
                Err(error) => Err(Error::new(format!(
                    "the step `{name}` was completed with a result that this version of the procedure cannot read: {error}"
                ))),
            },
            Ok(host::Begun::InDoubt(host::Doubt { step, effects, unlisted })) => {
                Ok(Self::InDoubt(Doubt { step: OpenStep::new(step), effects, unlisted }))
            }
            Err(error) => Err(Error::from(error).context(doing)),
        }
    }
}

impl<T: Kept> OpenStep<T> {
    fn new(handle: host::Step) -> Self {
        Self { handle, result: PhantomData }
    }

    /// It is done: record the result, which every later attempt gets instead of doing it.
    ///
    /// # Errors
    /// `quota` when the result is larger than allowed; what is said when it cannot be recorded.
    pub async fn complete(self, result: T) -> Result<T> {
        let json = serde_json::to_string(&result)?;
        match self.handle.complete(json).await {
            Ok(()) => Ok(result),
            Err(error) => Err(Error::from(error).context("recording the result of a step")),
        }
    }
}

impl<T: Kept> Doubt<T> {
    /// The effects on record since it was begun, the oldest first.
    pub fn effects(&self) -> &[RecordedEffect] {
        &self.effects
    }

    /// How many older effects are on record and not among them.
    pub fn unlisted(&self) -> u64 {
        self.unlisted
    }

    /// It was not done, or doing it again is harmless: do it, and complete what this gives.
    pub fn redo(self) -> OpenStep<T> {
        self.step
    }

    /// It was done, as a look at the target shows: record the result.
    ///
    /// # Errors
    /// As for [`OpenStep::complete`].
    pub async fn complete(self, result: T) -> Result<T> {
        self.step.complete(result).await
    }

    /// The error of a step that nobody can decide.
    #[doc(hidden)]
    pub fn undecided(&self, name: &str) -> Error {
        let mut text =
            format!("the step `{name}` was begun by an earlier attempt, and whether it was done is not known");
        let skipped = self.effects.len().saturating_sub(NAMED);
        for (place, effect) in self.effects[skipped..].iter().enumerate() {
            let outcome = match &effect.outcome {
                EffectOutcome::Done(_) => "done",
                EffectOutcome::Failed(_) => "failed",
                EffectOutcome::Unknown => "unknown",
            };
            let before = if place == 0 { "; on record: " } else { ", " };
            // Writing to a string does not fail.
            let _ = write!(text, "{before}{} {} ({outcome})", effect.operation, effect.target);
        }
        let more = self.unlisted + skipped as u64;
        if more > 0 {
            let _ = write!(text, ", and {more} before");
        }
        Error::from(HostError::Conflict(text)).hint(
            "look at the target and settle the run by hand; the procedure's author can decide it beforehand: \
             `.repeatable()` where doing the step again is harmless, `Step::begin` to look first",
        )
    }
}

/// A step and its work: done once, when it is awaited. [`Context::step`] makes it.
#[must_use = "a step is done when it is awaited: `cx.step(...).await?`"]
pub struct StepCall<'w, T, F> {
    name: String,
    work: F,
    repeatable: bool,
    result: PhantomData<&'w fn() -> T>,
}

impl<T, F> StepCall<'_, T, F> {
    /// Doing it again is harmless: a step that an earlier attempt left in doubt is done again. Without it such a step is a
    /// `conflict`, which says what is on record of it.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }
}

impl<'w, T, F> IntoFuture for StepCall<'w, T, F>
where
    T: Kept + 'w,
    F: AsyncFnOnce() -> Result<T> + 'w,
{
    type Output = Result<T>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<T>> + 'w>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { name, work, repeatable, .. } = self;
        Box::pin(async move {
            let step = match Step::begin(name.clone()).await? {
                Step::Done(result) => return Ok(result),
                Step::Fresh(step) => step,
                Step::InDoubt(doubt) if repeatable => doubt.redo(),
                Step::InDoubt(doubt) => return Err(doubt.undecided(&name)),
            };
            step.complete(work().await?).await
        })
    }
}

impl Context {
    /// Do something once, whatever is killed or retried meanwhile: completed, its result is kept, and every later attempt of the run gets
    /// that instead of doing it again.
    ///
    /// ```no_run
    /// # use rota_sdk::prelude::*;
    /// # async fn work(cx: &rota_sdk::Context, session: &mut Session, table: &Quoted) -> Result<()> {
    /// let rows: u64 = cx.step("archive orders", async || session.execute(sql!("DELETE FROM {}", table), params![]).await).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// The name tells the step from the others of the run, so a loop puts what it works on into it. A step whose work fails is not completed;
    /// in a later attempt it is in doubt, as one that was interrupted: see [`StepCall::repeatable`], and [`Step::begin`] to look first.
    pub fn step<'w, T, F>(&self, name: impl Into<String>, work: F) -> StepCall<'w, T, F>
    where
        T: Kept + 'w,
        F: AsyncFnOnce() -> Result<T> + 'w,
    {
        StepCall { name: name.into(), work, repeatable: false, result: PhantomData }
    }
}

/// What is to be undone.
#[derive(Clone, Debug)]
pub struct Undo<S> {
    /// The name under which it was registered.
    pub name: String,
    /// The state that was registered.
    pub state: S,
}

/// What `procedure!` implements for a procedure that can undo (`undo: State => function`).
pub trait Undoable: Procedure {
    /// What it must know to undo.
    type State: Kept;
    /// Undo. Harmless to repeat, and when what it undoes never happened.
    fn compensate(context: Context, undo: Undo<Self::State>) -> impl Future<Output = Result<()>>;
}

/// What `procedure!` implements for the state that a procedure can undo.
#[diagnostic::on_unimplemented(
    message = "this procedure does not say how it undoes a `{S}`",
    label = "`undo` needs a state that `procedure!` declares",
    note = "declare it: `procedure! {{ ..., undo: {S} => compensate, run }}` and `async fn compensate(cx: Context, undo: Undo<{S}>) -> Result<()>`; several kinds of state are one enum"
)]
pub trait Undoes<S> {}

/// A registered compensation: carried out if the run does not succeed, unless it is dismissed.
#[derive(Debug)]
pub struct Compensation(host::Compensation);

impl Compensation {
    /// It is no longer wanted: what it would undo is to stay.
    ///
    /// # Errors
    /// When that cannot be recorded; then it stays registered.
    pub async fn dismiss(self) -> Result<()> {
        self.0.dismiss().await.map_err(|error| Error::from(error).context("dismissing a compensation"))
    }
}

/// For `procedure!`: its context's method `undo`.
#[doc(hidden)]
pub async fn register<S: Serialize>(name: String, state: &S) -> Result<Compensation> {
    let state = serde_json::to_string(state)?;
    let doing = format!("registering the compensation `{name}`");
    match host::Compensation::register(name, state).await {
        Ok(compensation) => Ok(Compensation(compensation)),
        Err(error) => Err(Error::from(error).context(doing)),
    }
}

/// The export `compensate`.
#[doc(hidden)]
pub async fn compensate<P: Undoable>(name: String, state: String) -> Result<(), crate::bindings::Failure> {
    let state = serde_json::from_str(&state).map_err(|error| {
        Error::new(format!("the state of `{name}` is not one that this version of the procedure undoes: {error}"))
            .into_failure()
    })?;
    P::compensate(Context::new(), Undo { name, state }).await.map_err(Error::into_failure)
}
