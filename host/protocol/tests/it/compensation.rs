//! The compensation protocol, checked with a crash at every point, on small bounds.
//!
//! A procedure registers a compensation, performs its effect, then the next pair; it may dismiss the first one, report, fail, or be
//! cancelled. Whoever next holds the run retries it or carries the compensations out; a person retries or settles what
//! fails. The world counts each effect and each undo. (That one worker at a time holds the run is what `lease.rs` checks.)

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::check;

use rota_protocol::compensation::{self, after_settling, any_open};
use rota_protocol::{
    AfterAttempt, AfterCompensation, AttemptEnd, CompensationState as Undo, End, Event, Fault, RetryPolicy, RunState,
    Span, UndoPolicy,
};
use stateright::{Model, Property};

const PAIRS: u8 = 2;
const POLICY: UndoPolicy = UndoPolicy { attempts: 2, backoff: Span(1), timeout: Span(1) };

#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// The effect first, then the compensation.
    RecordedAfter,
    /// What was registered first is undone first.
    FirstInFirstOut,
    /// Settling one compensation by hand ends the run.
    SettledEnds,
}

struct Compensations {
    broken: Broken,
    idempotent: bool,
}

impl Compensations {
    /// How often a worker crashes, and an undo fails. (A run that is retried has more states of its own.)
    fn faults(&self) -> u8 {
        if self.idempotent { 2 } else { 4 }
    }
}

/// A compensation on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    state: Undo,
    /// How often it was begun.
    begun: u32,
    /// The effect that it undoes, once that is performed.
    effect: Option<usize>,
}

/// What the worker does that holds the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Worker {
    Nobody,
    /// Between two pairs; so many are done.
    At(u8),
    /// In the middle of a pair.
    Within(u8),
    /// It looks for what is next to undo.
    Undoing,
    /// It has put on record that it begins.
    Begun(usize),
    /// It has carried it out (or not), which is not on record yet.
    CarriedOut(usize, bool),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    run: RunState,
    attempt: u32,
    /// How the run is to end after its undo.
    to_end: Option<End>,
    entries: Vec<Entry>,
    /// The effects that happened, and how often each was undone.
    world: Vec<u8>,
    worker: Worker,
    crashes: u8,
    failed_undos: u8,
    person: u8,
    cancelled: bool,
    /// Something was undone while what came after it was not.
    out_of_order: bool,
    /// Something was undone that nobody wanted undone.
    unwanted: bool,
    /// An undo was begun again that might have been carried out.
    again: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Claim,
    Crash,
    First,
    Second,
    DismissFirst,
    Attempt(AttemptEnd),
    BeginUndo,
    CarryOut(bool),
    Record,
    RetryUndo,
    Settle,
}

impl State {
    fn states(&self) -> Vec<Undo> {
        self.entries.iter().map(|entry| entry.state).collect()
    }

    fn happens(&mut self, event: Event) -> Option<()> {
        self.run = self.run.after(event).ok()?;
        Some(())
    }

    /// An attempt is over: another, an undo, or the end.
    fn attempt_ends(&mut self, how: AttemptEnd, idempotent: bool) -> Option<()> {
        let retry = RetryPolicy { limit: 1, ..RetryPolicy::default() };
        let after = retry.after(how, self.attempt, idempotent, 0.5);
        let event = after.event(&self.states());
        self.happens(event)?;
        if let (Event::Undo, AfterAttempt::End(end)) = (event, after) {
            self.to_end = Some(end);
        }
        if self.run == RunState::Succeeded {
            for entry in self.entries.iter_mut().filter(|entry| entry.state.is_open()) {
                entry.state = Undo::Dismissed;
            }
        }
        self.worker = Worker::Nobody;
        Some(())
    }

    fn perform(&mut self) -> usize {
        self.world.push(0);
        self.world.len() - 1
    }

    fn carry_out(&mut self, which: usize) {
        let entry = self.entries[which];
        self.unwanted |= entry.state == Undo::Dismissed || self.run != RunState::Compensating;
        self.out_of_order |=
            self.entries[which + 1..].iter().any(|later| later.state.is_open() || later.state == Undo::Failed);
        if let Some(effect) = entry.effect {
            self.world[effect] = (self.world[effect] + 1).min(2);
        }
    }

    fn give_up(&mut self, which: usize) -> Option<()> {
        self.entries[which].state = Undo::Failed;
        self.worker = Worker::Nobody;
        self.happens(Event::UndoFailed)
    }
}

impl Compensations {
    fn next(&self, states: &[Undo]) -> Option<usize> {
        if self.broken == Broken::FirstInFirstOut {
            return states.iter().position(|state| state.is_open());
        }
        compensation::next(states)
    }
}

impl Model for Compensations {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            run: RunState::Queued,
            attempt: 0,
            to_end: None,
            entries: vec![],
            world: vec![],
            worker: Worker::Nobody,
            crashes: 0,
            failed_undos: 0,
            person: 0,
            cancelled: false,
            out_of_order: false,
            unwanted: false,
            again: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.worker == Worker::Nobody {
            actions.push(Action::Claim);
        } else if state.crashes < self.faults() {
            actions.push(Action::Crash);
        }
        match state.worker {
            Worker::Nobody if state.run == RunState::Queued && !state.cancelled => {
                actions.push(Action::Attempt(AttemptEnd::Cancelled));
            }
            Worker::At(done) => {
                if done < PAIRS {
                    actions.push(Action::First);
                } else {
                    actions.extend([Action::Attempt(AttemptEnd::Reported), Action::Attempt(AttemptEnd::InDoubt)]);
                    if state.entries[0].state == Undo::Registered {
                        actions.push(Action::DismissFirst);
                    }
                }
                actions.extend([Fault::Retryable, Fault::Lasting].map(|f| Action::Attempt(AttemptEnd::Failed(f))));
                if state.attempt == 1 {
                    actions.push(Action::Attempt(AttemptEnd::HandedBack));
                }
            }
            Worker::Within(_) => actions.push(Action::Second),
            Worker::Undoing => actions.push(Action::BeginUndo),
            Worker::Begun(_) => {
                actions.push(Action::CarryOut(true));
                if state.failed_undos < self.faults() {
                    actions.push(Action::CarryOut(false));
                }
            }
            Worker::CarriedOut(..) => actions.push(Action::Record),
            Worker::Nobody => {}
        }
        if state.run == RunState::CompensationFailed && state.person < 2 {
            actions.extend([Action::RetryUndo, Action::Settle]);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match (action, before.worker) {
            (Action::Claim, _) => {
                if state.run == RunState::Running {
                    state.attempt_ends(AttemptEnd::Vanished, self.idempotent)?;
                } else {
                    state.happens(Event::Claim)?;
                    let undoing = state.run == RunState::Compensating;
                    state.worker = if undoing { Worker::Undoing } else { Worker::At(0) };
                    state.attempt += u32::from(!undoing);
                }
            }
            (Action::Crash, _) => {
                state.crashes += 1;
                state.worker = Worker::Nobody;
            }
            (Action::First, Worker::At(done)) => {
                if self.broken == Broken::RecordedAfter {
                    state.perform();
                } else {
                    state.entries.push(Entry { state: Undo::Registered, begun: 0, effect: None });
                }
                state.worker = Worker::Within(done);
            }
            (Action::Second, Worker::Within(done)) => {
                if self.broken == Broken::RecordedAfter {
                    let effect = Some(state.world.len() - 1);
                    state.entries.push(Entry { state: Undo::Registered, begun: 0, effect });
                } else {
                    let effect = state.perform();
                    state.entries.last_mut()?.effect = Some(effect);
                }
                state.worker = Worker::At(done + 1);
            }
            (Action::DismissFirst, _) => state.entries[0].state = Undo::Dismissed,
            (Action::Attempt(how), _) => {
                state.cancelled |= how == AttemptEnd::Cancelled;
                state.attempt_ends(how, self.idempotent)?;
            }
            (Action::BeginUndo, _) => match self.next(&state.states()) {
                Some(which) if !POLICY.may_begin(state.entries[which].begun) => state.give_up(which)?,
                Some(which) => {
                    let entry = &mut state.entries[which];
                    state.again |= entry.state == Undo::Running;
                    entry.state = Undo::Running;
                    entry.begun += 1;
                    state.worker = Worker::Begun(which);
                }
                None => {
                    state.happens(Event::Undone(state.to_end?))?;
                    state.worker = Worker::Nobody;
                }
            },
            (Action::CarryOut(well), Worker::Begun(which)) => {
                state.failed_undos += u8::from(!well);
                if well {
                    state.carry_out(which);
                }
                state.worker = Worker::CarriedOut(which, well);
            }
            (Action::Record, Worker::CarriedOut(which, well)) => match POLICY.after(well, state.entries[which].begun) {
                AfterCompensation::Next => {
                    state.entries[which].state = Undo::Done;
                    state.worker = Worker::Undoing;
                }
                AfterCompensation::Again { .. } => state.worker = Worker::Undoing,
                AfterCompensation::GiveUp => state.give_up(which)?,
            },
            (Action::RetryUndo, _) => {
                state.person += 1;
                let failed = state.entries.iter_mut().find(|entry| entry.state == Undo::Failed)?;
                (failed.state, failed.begun) = (Undo::Registered, 0);
                state.happens(Event::RetryUndo)?;
            }
            (Action::Settle, _) => {
                state.person += 1;
                state.entries.iter_mut().find(|entry| entry.state == Undo::Failed)?.state = Undo::Settled;
                let end = state.to_end?;
                let settled = self.broken == Broken::SettledEnds;
                let event = if settled { Event::Settle(end) } else { after_settling(&state.states(), end) };
                state.happens(event)?;
            }
            _ => return None,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(UNDONE, |_, state: &State| {
                let excused = |effect: usize| {
                    state.entries.iter().any(|entry| {
                        entry.effect == Some(effect) && matches!(entry.state, Undo::Dismissed | Undo::Settled)
                    })
                };
                !state.run.is_final()
                    || matches!(state.run, RunState::Succeeded | RunState::CompensationFailed)
                    || (0..state.world.len()).all(|effect| state.world[effect] > 0 || excused(effect))
            }),
            Property::always("no effect without its compensation on record", |_, state: &State| {
                let on_record = |effect| state.entries.iter().any(|entry| entry.effect == Some(effect));
                (0..state.world.len()).all(on_record)
            }),
            Property::always(ORDER, |_, state: &State| !state.out_of_order),
            Property::always("nothing unwanted is undone", |_, state: &State| !state.unwanted),
            Property::always("what has succeeded is not undone", |_, state: &State| {
                state.run != RunState::Succeeded || state.world.iter().all(|undone| *undone == 0)
            }),
            Property::always("a run that is over has nothing open", |_, state: &State| {
                !state.run.is_final() || state.run == RunState::CompensationFailed || !any_open(&state.states())
            }),
            Property::always("a failed compensation is loud", |_, state: &State| {
                (state.run == RunState::CompensationFailed) == state.states().contains(&Undo::Failed)
            }),
            Property::eventually("a run ends", |_, state: &State| {
                state.run.is_final() && (state.run != RunState::CompensationFailed || state.person == 2)
            }),
            Property::sometimes("undone in full, after a crash", |_, state: &State| {
                state.run.is_final()
                    && state.crashes > 0
                    && state.world.iter().filter(|undone| **undone > 0).count() >= 2
            }),
            Property::sometimes("an undo that might have happened is carried out again", |_, state: &State| {
                state.again && state.world.contains(&2)
            }),
            Property::sometimes("a compensation keeps failing", |_, state: &State| {
                state.run == RunState::CompensationFailed
            }),
            Property::sometimes("settled by hand, and the others are undone", |_, state: &State| {
                state.run == RunState::Failed && state.states() == [Undo::Done, Undo::Settled]
            }),
            Property::sometimes("success dismisses", |_, state: &State| {
                state.run == RunState::Succeeded && state.states().contains(&Undo::Dismissed)
            }),
            Property::sometimes("retried, or unknown after its compensations", |model, state: &State| {
                if model.idempotent {
                    state.attempt == 2 && state.run == RunState::Succeeded && state.entries.len() == 4
                } else {
                    state.run == RunState::Unknown && state.states() == [Undo::Done, Undo::Done]
                }
            }),
            Property::sometimes("cancelled between two attempts, and undone", |model, state: &State| {
                !model.idempotent || (state.run == RunState::Cancelled && state.states().contains(&Undo::Done))
            }),
        ]
    }
}

const UNDONE: &str = "what did not succeed is undone";
const ORDER: &str = "last in, first out";

#[test]
fn what_does_not_finish_is_undone() {
    check::holds("compensation", Compensations { broken: Broken::Nothing, idempotent: false }, 1_000);
    check::holds("compensation, idempotent", Compensations { broken: Broken::Nothing, idempotent: true }, 50_000);
}

#[test]
fn what_is_recorded_after_its_effect_is_caught() {
    check::caught("recorded after", Compensations { broken: Broken::RecordedAfter, idempotent: false }, UNDONE);
}

#[test]
fn another_order_is_caught() {
    check::caught("first in, first out", Compensations { broken: Broken::FirstInFirstOut, idempotent: false }, ORDER);
}

#[test]
fn a_settlement_that_forgets_the_others_is_caught() {
    check::caught("settled ends", Compensations { broken: Broken::SettledEnds, idempotent: false }, UNDONE);
}
