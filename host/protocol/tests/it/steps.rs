//! Durable steps, checked with a crash at every point over up to four attempts: what is completed is never done again, what was only
//! begun is in doubt, a name stands for one step.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::check;

use proptest::prelude::*;
use rota_protocol::step::{begin, begun, complete};
use rota_protocol::{StepBegin, StepRefused, StepState};
use stateright::{Model, Property};

const STEPS: usize = 3;
const ATTEMPTS: u32 = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// A step that was begun before is begun as if nobody had.
    NeverInDoubt,
    /// A completed step answers only the attempt that completed it.
    Forgotten,
}

struct Steps {
    broken: Broken,
}

/// What the procedure does next in its present step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Begin,
    /// It looks whether the effect happened.
    Look,
    Effect,
    Complete,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    attempt: u32,
    /// The present step, and where in it; none between two attempts.
    at: Option<(usize, At)>,
    records: [Option<StepState>; STEPS],
    /// How often each step's effect happened.
    effects: [u8; STEPS],
    /// A name that this attempt had begun before was begun again: that was told, or it was not.
    busy: bool,
    taken_twice: bool,
    /// What a step answered was not what its first completion recorded.
    changed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    NewAttempt,
    Begin,
    BeginAgain,
    Look,
    Effect,
    Complete,
    Crash,
}

impl Steps {
    fn begin(&self, record: Option<&StepState>, attempt: u32) -> StepBegin {
        match begin(record, attempt) {
            StepBegin::InDoubt if self.broken == Broken::NeverInDoubt => StepBegin::Fresh,
            StepBegin::Done(result) if self.broken == Broken::Forgotten && !result.ends_with(&attempt.to_string()) => {
                StepBegin::InDoubt
            }
            answer => answer,
        }
    }
}

fn result(step: usize, attempt: u32) -> String {
    format!("{step} in {attempt}")
}

impl Model for Steps {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            attempt: 0,
            at: None,
            records: [const { None }; STEPS],
            effects: [0; STEPS],
            busy: false,
            taken_twice: false,
            changed: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        match state.at {
            None if state.attempt < ATTEMPTS => actions.push(Action::NewAttempt),
            None => {}
            Some((STEPS, _)) => {}
            Some((_, at)) => {
                actions.push(match at {
                    At::Begin => Action::Begin,
                    At::Look => Action::Look,
                    At::Effect => Action::Effect,
                    At::Complete => Action::Complete,
                });
                if at != At::Begin {
                    actions.push(Action::BeginAgain);
                }
                actions.push(Action::Crash);
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        if action == Action::NewAttempt {
            state.attempt += 1;
            state.at = Some((0, At::Begin));
            return Some(state);
        }
        let (step, _) = state.at?;
        let record = state.records[step].clone();
        match action {
            Action::Begin => {
                let answer = self.begin(record.as_ref(), state.attempt);
                state.at = Some(match &answer {
                    StepBegin::Fresh => (step, At::Effect),
                    StepBegin::InDoubt => (step, At::Look),
                    StepBegin::Done(_) => (step + 1, At::Begin),
                    StepBegin::Busy => return None,
                });
                state.records[step] = match (&answer, record) {
                    (StepBegin::InDoubt, Some(StepState::Completed { .. })) => {
                        Some(StepState::Begun { attempt: state.attempt })
                    }
                    (_, record) => Some(begun(record, state.attempt)),
                };
                if let (StepBegin::Done(said), Some(StepState::Completed { result })) = (answer, &before.records[step])
                {
                    state.changed |= said != *result;
                }
            }
            Action::BeginAgain => {
                let told = self.begin(record.as_ref(), state.attempt) == StepBegin::Busy;
                state.busy |= told;
                state.taken_twice |= !told;
            }
            // It happened, or it did not: a look tells.
            Action::Look => state.at = Some((step, if state.effects[step] > 0 { At::Complete } else { At::Effect })),
            Action::Effect => {
                state.effects[step] += 1;
                state.at = Some((step, At::Complete));
            }
            Action::Complete => {
                let completed = complete(record.as_ref(), state.attempt, result(step, state.attempt)).ok()?;
                state.records[step] = Some(completed);
                state.at = Some((step + 1, At::Begin));
            }
            Action::Crash => state.at = None,
            Action::NewAttempt => {}
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONCE, |_, state: &State| state.effects.iter().all(|effect| *effect <= 1)),
            Property::always(KEPT, |_, state: &State| match state.at {
                Some((step, at)) if step < STEPS && at != At::Begin => {
                    // Whatever is being done now was never completed: its record says begun, by this attempt.
                    state.records[step] == Some(StepState::Begun { attempt: state.attempt })
                        && state.records[step + 1..].iter().all(|later| {
                            state.attempt > 1 && !matches!(later, Some(StepState::Completed { .. })) || later.is_none()
                        })
                }
                _ => true,
            }),
            Property::always("a name is begun once in an attempt", |_, state: &State| !state.taken_twice),
            Property::always("a result stays what it was", |_, state: &State| !state.changed),
            Property::eventually("the procedure ends, or its attempts are used up", |_, state: &State| {
                state.at.is_some_and(|(step, _)| step == STEPS) || (state.at.is_none() && state.attempt == ATTEMPTS)
            }),
            Property::sometimes("done over three attempts", |_, state: &State| {
                (0..STEPS).all(|step| {
                    matches!(&state.records[step], Some(StepState::Completed { result })
                        if result.ends_with(&(step + 1).to_string()))
                })
            }),
            Property::sometimes("the effect of a step in doubt had happened", |_, state: &State| {
                state.attempt == 2 && matches!(state.at, Some((step, At::Look)) if state.effects[step] == 1)
            }),
            Property::sometimes("the effect of a step in doubt had not happened", |_, state: &State| {
                state.attempt == 2 && matches!(state.at, Some((step, At::Look)) if state.effects[step] == 0)
            }),
            Property::sometimes("a name used twice is told", |_, state: &State| state.busy),
        ]
    }
}

const ONCE: &str = "an effect happens once, where it is looked for";
const KEPT: &str = "a completed step is not entered again";

#[test]
fn a_completed_step_never_runs_again() {
    check::holds("steps", Steps { broken: Broken::Nothing }, 300);
}

#[test]
fn a_step_that_is_never_in_doubt_is_caught() {
    check::caught("never in doubt", Steps { broken: Broken::NeverInDoubt }, ONCE);
}

#[test]
fn a_forgotten_completion_is_caught() {
    check::caught("forgotten", Steps { broken: Broken::Forgotten }, KEPT);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is asked of one name, in whatever order: its first result stays, and only who began it completes it.
    #[test]
    fn one_name_is_one_step(asked in prop::collection::vec((1_u32..5, any::<bool>()), 0..40)) {
        let mut record: Option<StepState> = None;
        let mut first: Option<String> = None;
        for (n, (attempt, is_begin)) in asked.into_iter().enumerate() {
            let before = record.clone();
            if is_begin {
                let answer = begin(record.as_ref(), attempt);
                prop_assert_eq!(answer == StepBegin::Fresh, before.is_none());
                prop_assert_eq!(first.clone().map(StepBegin::Done), first.as_ref().map(|_| answer.clone()));
                prop_assert_eq!(answer == StepBegin::Busy, before == Some(StepState::Begun { attempt }));
                record = Some(begun(record, attempt));
            } else {
                match complete(record.as_ref(), attempt, n.to_string()) {
                    Ok(completed) => {
                        prop_assert_eq!(before, Some(StepState::Begun { attempt }));
                        prop_assert!(first.replace(n.to_string()).is_none());
                        record = Some(completed);
                    }
                    Err(why) => prop_assert_eq!(why == StepRefused::Completed, first.is_some()),
                }
            }
        }
    }
}
