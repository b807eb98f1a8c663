//! The fire protocol, checked in every interleaving of three deciders on small bounds.
//!
//! Deciders read a schedule's cursor, decide, and write by compare-and-set in one transaction. Any of them may be delayed between the two
//! for as long as it likes, crash, or write again because the answer to its commit was lost. Meanwhile database time goes on, steps
//! back or forward, and a person pauses, resumes or redefines the schedule.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::check;

use rota_protocol::{Cursor, Instant};
use stateright::{Model, Property};

/// A step of the clock, in ticks ("an hour").
const STEP: i64 = 2;
/// How often the clock ticks by itself.
const TICKS: u8 = 5;
const DECIDERS: usize = 3;
/// The instants of the schedule as it is first, and after it was redefined.
const DEFINITIONS: [&[i64]; 2] = [&[1, 3, 5], &[1, 2, 5]];

/// What is broken; nothing in the right variant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// The cursor is written without comparing it, and decisions have no primary key.
    PlainWrite,
    /// The instant after a change is looked for from the clock alone, and written unchecked.
    RedefinedByClock,
}

struct Fire {
    broken: Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Decider {
    Idle,
    /// It has read the schedule, and is about to write.
    Read {
        version: i64,
        nominal: i64,
        definition: usize,
        paused: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    now: i64,
    cursor: Cursor,
    definition: usize,
    paused: bool,
    /// Rows of the table of decisions: the instant, and whether a run was made.
    decisions: Vec<(i64, bool)>,
    /// In order: which of them is which does not matter.
    deciders: [Decider; DECIDERS],
    /// Every instant that was due as the schedule's next one (and was not taken from it while it lay ahead).
    owed: u8,
    /// A decision was written that is not what the schedule was at that time.
    outdated: bool,
    /// A decision was written before its instant.
    early: bool,
    /// The latest that the clock ever showed.
    latest: i64,
    ticks: u8,
    crashes: u8,
    lost_answers: u8,
    steps_back: u8,
    steps_forward: u8,
    changes: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Tick,
    StepBack,
    StepForward,
    Read(usize),
    Write(usize),
    /// It is written, but the decider is not told, and will write again.
    WriteAnswerLost(usize),
    Crash(usize),
    PauseOrResume,
    Redefine,
}

fn next_of(definition: usize, after: i64) -> Option<Instant> {
    DEFINITIONS[definition].iter().copied().find(|instant| *instant > after).map(Instant)
}

impl State {
    fn due(&self) -> Option<i64> {
        self.cursor.next.map(|next| next.0).filter(|next| *next <= self.now)
    }

    fn counted(&self, instant: i64) -> usize {
        self.decisions.iter().filter(|(nominal, _)| *nominal == instant).count()
    }

    /// Nothing is under way, and time has come to its end.
    fn quiescent(&self) -> bool {
        self.ticks == TICKS && self.due().is_none() && self.deciders.iter().all(|decider| *decider == Decider::Idle)
    }
}

impl Fire {
    /// The transaction of a decider: the cursor and the decision, or nothing.
    fn write(&self, state: &mut State, decider: Decider) {
        let Decider::Read { version, nominal, definition, paused } = decider else { return };
        let next = next_of(definition, nominal);
        if self.broken == Broken::PlainWrite {
            state.cursor = Cursor { version: version + 1, decided: Some(Instant(nominal)), next };
        } else if let Ok(cursor) = state.cursor.decide(version, Instant(nominal), next, Instant(state.now)) {
            state.cursor = cursor;
        } else {
            return;
        }
        state.decisions.push((nominal, !paused));
        state.early |= nominal > state.now;
        state.outdated |= (definition, paused) != (state.definition, state.paused);
        state.decisions.sort_unstable();
    }

    /// The transaction of a person's change.
    fn change(&self, state: &mut State) -> Option<()> {
        let now = Instant(state.now);
        // What lies ahead is no longer owed, also where it was due before the clock was set back.
        state.owed &= (1_u16 << (now.0 + 1).clamp(0, 8)).wrapping_sub(1) as u8;
        if self.broken == Broken::RedefinedByClock {
            state.cursor.version += 1;
            state.cursor.next = next_of(state.definition, now.0);
            return Some(());
        }
        let next = next_of(state.definition, state.cursor.look_after(now).0);
        state.cursor = state.cursor.redefine(state.cursor.version, next, now).ok()?;
        Some(())
    }
}

impl Model for Fire {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: 0,
            cursor: Cursor { version: 0, decided: None, next: next_of(0, 0) },
            definition: 0,
            paused: false,
            decisions: vec![],
            deciders: [Decider::Idle; DECIDERS],
            owed: 0,
            outdated: false,
            early: false,
            latest: 0,
            ticks: 0,
            crashes: 0,
            lost_answers: 0,
            steps_back: 0,
            steps_forward: 0,
            changes: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.ticks < TICKS {
            actions.push(Action::Tick);
        }
        if state.steps_back < 1 {
            actions.push(Action::StepBack);
        }
        if state.steps_forward < 1 {
            actions.push(Action::StepForward);
        }
        if state.changes < 2 {
            actions.extend([Action::PauseOrResume, Action::Redefine]);
        }
        for (who, decider) in state.deciders.iter().enumerate() {
            if *decider == Decider::Idle {
                if state.due().is_some() {
                    actions.push(Action::Read(who));
                }
                continue;
            }
            actions.push(Action::Write(who));
            if state.crashes < 1 {
                actions.push(Action::Crash(who));
            }
            if state.lost_answers < 1 {
                actions.push(Action::WriteAnswerLost(who));
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Tick => {
                state.ticks += 1;
                state.now += 1;
            }
            Action::StepBack => {
                state.steps_back += 1;
                state.now -= STEP;
            }
            Action::StepForward => {
                state.steps_forward += 1;
                state.now += STEP;
            }
            Action::Read(who) => {
                state.deciders[who] = Decider::Read {
                    version: state.cursor.version,
                    nominal: state.due()?,
                    definition: state.definition,
                    paused: state.paused,
                };
            }
            Action::Write(who) => {
                self.write(&mut state, before.deciders[who]);
                state.deciders[who] = Decider::Idle;
            }
            Action::WriteAnswerLost(who) => {
                state.lost_answers += 1;
                self.write(&mut state, before.deciders[who]);
            }
            Action::Crash(who) => {
                state.crashes += 1;
                state.deciders[who] = Decider::Idle;
            }
            Action::PauseOrResume => {
                state.changes += 1;
                state.paused = !state.paused;
                self.change(&mut state)?;
            }
            Action::Redefine => {
                state.changes += 1;
                state.definition = 1 - state.definition;
                self.change(&mut state)?;
            }
        }
        state.deciders.sort_unstable();
        state.latest = state.latest.max(state.now);
        if let Some(due) = state.due() {
            state.owed |= 1 << due;
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("an instant is decided about once", |_, state: &State| {
                state.decisions.windows(2).all(|pair| pair[0].0 != pair[1].0)
            }),
            Property::always("what is due can be decided about", |_, state: &State| {
                state.due().is_none_or(|due| {
                    let next = next_of(state.definition, due);
                    state.cursor.decide(state.cursor.version, Instant(due), next, Instant(state.now)).is_ok()
                })
            }),
            Property::always("the next instant is after all that were decided about", |_, state: &State| {
                state.cursor.next.is_none_or(|next| state.decisions.iter().all(|(nominal, _)| *nominal < next.0))
            }),
            Property::always("a schedule that is not over has a next instant", |_, state: &State| {
                let passed = state.cursor.look_after(Instant(state.latest)).0;
                state.cursor.next.is_some() || next_of(state.definition, passed).is_none()
            }),
            Property::always("nothing is decided about before it is due", |_, state: &State| !state.early),
            Property::always("a decision is of the schedule as it is when it is written", |_, state: &State| {
                !state.outdated
            }),
            Property::eventually("what was due is decided about", |_, state: &State| {
                state.quiescent()
                    && (0..8).all(|instant| state.owed & (1 << instant) == 0 || state.counted(instant) == 1)
            }),
            Property::eventually("without a change, every instant that came is decided about", |_, state: &State| {
                state.quiescent()
                    && (state.changes > 0
                        || DEFINITIONS[0].iter().all(|instant| *instant > state.now || state.counted(*instant) == 1))
            }),
            Property::sometimes("a decider comes too late", |_, state: &State| {
                state.deciders.iter().any(
                    |decider| matches!(decider, Decider::Read { version, .. } if *version + 2 <= state.cursor.version),
                )
            }),
            Property::sometimes("an instant that was decided about lies ahead again", |_, state: &State| {
                state.decisions.iter().any(|(nominal, _)| *nominal > state.now)
            }),
            Property::sometimes("skipped while paused", |_, state: &State| state.decisions.iter().any(|(_, run)| !run)),
            Property::sometimes("two definitions have fired", |_, state: &State| {
                state.counted(2) == 1 && state.counted(3) == 1
            }),
            Property::sometimes("the schedule is over", |_, state: &State| state.cursor.next.is_none()),
        ]
    }
}

#[test]
fn exactly_one_decision_for_each_instant() {
    check::holds("fire", Fire { broken: Broken::Nothing }, 100_000);
}

#[test]
fn a_plain_write_is_caught() {
    check::caught("plain write", Fire { broken: Broken::PlainWrite }, "an instant is decided about once");
    check::caught(
        "plain write, outdated",
        Fire { broken: Broken::PlainWrite },
        "a decision is of the schedule as it is when it is written",
    );
}

#[test]
fn an_instant_written_twice_or_never_after_a_change_is_caught() {
    let broken = || Fire { broken: Broken::RedefinedByClock };
    check::caught("redefined by the clock, stuck", broken(), "what is due can be decided about");
    check::caught("redefined by the clock, lost", broken(), "what was due is decided about");
}
