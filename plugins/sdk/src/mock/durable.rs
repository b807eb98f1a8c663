//! Steps and compensations of the mock host.

use super::{Failed, MockEffect, MockHost, Reported, block_on, current};
use crate::HostError;
use crate::bindings::rota::runbook::run::{EffectOutcome, RecordedEffect};
use crate::durable::{Undoable, compensate};
use crate::procedure::Procedure;
use serde_json::Value as Json;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// A compensation that the procedure registered.
#[derive(Clone, Debug, PartialEq)]
pub struct MockCompensation {
    /// The name.
    pub name: String,
    /// The state.
    pub state: Json,
    /// Whether it was dismissed.
    pub dismissed: bool,
}

/// What is on record of a step.
#[derive(Clone)]
enum OnRecord {
    /// Begun in an attempt, when so many effects were on record; with further effects that the test made up.
    Begun {
        attempt: u32,
        effects_before: usize,
        made_up: Vec<RecordedEffect>,
    },
    Done(Json),
}

/// What the mock keeps of a run.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) attempt: Cell<u32>,
    steps: RefCell<BTreeMap<String, OnRecord>>,
    compensations: RefCell<Vec<MockCompensation>>,
    /// What the test says is on record before a run begins.
    given: RefCell<BTreeMap<String, OnRecord>>,
    /// The compensation that is carried out.
    undoing: RefCell<Option<String>>,
}

impl Kept {
    /// Another run: of the one before nothing is left.
    pub(super) fn begin_run(&self) {
        let given = self.given.borrow();
        self.attempt.set(if given.is_empty() { 1 } else { 2 });
        self.steps.replace(given.clone());
        self.compensations.borrow_mut().clear();
    }

    fn key(&self, name: &str) -> String {
        match &*self.undoing.borrow() {
            Some(compensation) => format!("undo {compensation}: {name}"),
            None => name.to_owned(),
        }
    }
}

fn check_name(name: &str) -> Result<(), HostError> {
    if (1..=200).contains(&name.len()) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(HostError::InvalidArgument(format!("a name has 1 to 200 bytes and no control characters: {name:?}")))
}

fn json(text: &str) -> Json {
    serde_json::from_str(text).expect("what is kept is JSON")
}

#[derive(Debug)]
pub(crate) struct Step {
    key: String,
}

#[derive(Debug)]
pub(crate) struct Doubt {
    pub(crate) step: Step,
    pub(crate) effects: Vec<RecordedEffect>,
    pub(crate) unlisted: u64,
}

#[derive(Debug)]
pub(crate) enum Begun {
    Fresh(Step),
    Done(String),
    InDoubt(Doubt),
}

#[allow(clippy::unused_async, reason = "as on wasm")]
impl Step {
    pub(crate) async fn begin(name: String) -> Result<Begun, HostError> {
        check_name(&name)?;
        let state = current();
        let kept = &state.durable;
        let (key, attempt) = (kept.key(&name), kept.attempt.get());
        let mut steps = kept.steps.borrow_mut();
        let step = Step { key: key.clone() };
        let effects = state.effects.borrow();
        match steps.get_mut(&key) {
            None => {
                let begun = OnRecord::Begun { attempt, effects_before: effects.len(), made_up: Vec::new() };
                steps.insert(key, begun);
                Ok(Begun::Fresh(step))
            }
            Some(OnRecord::Done(result)) => Ok(Begun::Done(result.to_string())),
            Some(OnRecord::Begun { attempt: before, .. }) if *before == attempt => {
                Err(HostError::Conflict(format!("the step `{name}` is under way in this attempt already")))
            }
            Some(OnRecord::Begun { attempt: before, effects_before, made_up }) => {
                *before = attempt;
                let effects = made_up.iter().cloned().chain(effects.iter().skip(*effects_before).map(recorded));
                Ok(Begun::InDoubt(Doubt { step, effects: effects.collect(), unlisted: 0 }))
            }
        }
    }

    pub(crate) async fn complete(&self, result: String) -> Result<(), HostError> {
        let state = current();
        match state.durable.steps.borrow_mut().get_mut(&self.key) {
            Some(step @ OnRecord::Begun { .. }) => {
                *step = OnRecord::Done(json(&result));
                Ok(())
            }
            _ => Err(HostError::Conflict(format!("the step `{}` is completed already", self.key))),
        }
    }
}

fn recorded(effect: &MockEffect) -> RecordedEffect {
    RecordedEffect {
        operation: effect.operation.to_owned(),
        target: effect.slot.clone(),
        detail: effect.detail.clone(),
        outcome: EffectOutcome::Unknown,
    }
}

#[derive(Debug)]
pub(crate) struct Compensation {
    /// Its place; none in a plan.
    place: Option<usize>,
}

#[allow(clippy::unused_async, reason = "as on wasm")]
impl Compensation {
    pub(crate) async fn register(name: String, state: String) -> Result<Self, HostError> {
        check_name(&name)?;
        let host = current();
        let kept = &host.durable;
        if kept.undoing.borrow().is_some() {
            return Err(HostError::Conflict("a compensation registers no others".to_owned()));
        }
        if host.plan.get() {
            host.effect("run.compensation", "", name);
            return Ok(Self { place: None });
        }
        let state = json(&state);
        let mut all = kept.compensations.borrow_mut();
        let place = match all.iter().position(|known| known.name == name && !known.dismissed) {
            Some(place) => {
                all[place].state = state;
                place
            }
            None => {
                all.push(MockCompensation { name, state, dismissed: false });
                all.len() - 1
            }
        };
        Ok(Self { place: Some(place) })
    }

    pub(crate) async fn dismiss(&self) -> Result<(), HostError> {
        if let Some(place) = self.place {
            current().durable.compensations.borrow_mut()[place].dismissed = true;
        }
        Ok(())
    }
}

impl MockHost {
    /// An earlier attempt completed this step. Counts for every run on this host, which is a second attempt then.
    pub fn step_done(&self, name: &str, result: Json) -> &Self {
        self.0.durable.given.borrow_mut().insert(name.to_owned(), OnRecord::Done(result));
        self
    }

    /// An earlier attempt began this step, had these effects, and vanished.
    pub fn step_in_doubt(&self, name: &str, effects: Vec<RecordedEffect>) -> &Self {
        let begun = OnRecord::Begun { attempt: 1, effects_before: usize::MAX, made_up: effects };
        self.0.durable.given.borrow_mut().insert(name.to_owned(), begun);
        self
    }

    /// The next attempt of the run before: its completed steps answer, its others are in doubt, its compensations stay.
    ///
    /// # Errors
    /// The procedure's failure.
    #[allow(clippy::result_large_err, reason = "tests take it apart")]
    pub fn retry<P: Procedure>(&self, parameters: Json) -> Result<Reported, Failed> {
        let attempt = &self.0.durable.attempt;
        attempt.set(attempt.get() + 1);
        self.attempt::<P>(parameters)
    }

    /// The steps on record, by name, each with its result once it is completed. Those of a compensation begin with `undo NAME: `.
    pub fn steps(&self) -> Vec<(String, Option<Json>)> {
        let result = |step: &OnRecord| match step {
            OnRecord::Done(result) => Some(result.clone()),
            OnRecord::Begun { .. } => None,
        };
        self.0.durable.steps.borrow().iter().map(|(name, step)| (name.clone(), result(step))).collect()
    }

    /// The compensations that were registered, in order.
    pub fn compensations(&self) -> Vec<MockCompensation> {
        self.0.durable.compensations.borrow().clone()
    }

    /// Carry out one compensation, as the host does for a run that did not succeed.
    ///
    /// # Errors
    /// The procedure's failure.
    #[allow(clippy::result_large_err, reason = "tests take it apart")]
    pub fn compensate<P: Undoable>(&self, name: &str, state: Json) -> Result<(), Failed> {
        let state = state.to_string();
        self.0.durable.undoing.replace(Some(name.to_owned()));
        let undone = self.with::<P, _>(|| block_on(compensate::<P>(name.to_owned(), state)));
        self.0.durable.undoing.replace(None);
        undone.map_err(Failed::from)
    }

    /// Carry out what is registered and not dismissed, the last first.
    ///
    /// # Errors
    /// The first failure; what was registered before it is not carried out then.
    #[allow(clippy::result_large_err, reason = "tests take it apart")]
    pub fn undo<P: Undoable>(&self) -> Result<(), Failed> {
        for MockCompensation { name, state, .. } in self.compensations().into_iter().rev().filter(|c| !c.dismissed) {
            self.compensate::<P>(&name, state)?;
        }
        Ok(())
    }
}
