//! What holds when everything is at rest.

use crate::store::Store;
use crate::world::World;
use rota_protocol::compensation::any_open;
use rota_protocol::{CompensationState, Instant, RunState, StepState};

/// # Errors
/// What does not hold.
pub(crate) fn hold(store: &Store, world: &World) -> Result<(), String> {
    schedules(store)?;
    for (id, run) in store.runs.iter().enumerate() {
        let states: Vec<_> = run.entries.iter().map(|entry| entry.state).collect();
        let failed = states.contains(&CompensationState::Failed);
        if failed != (run.state == RunState::CompensationFailed) {
            return Err(format!("run {id}: is {} with {states:?}", run.state.as_str()));
        }
        if !failed && any_open(&states) {
            return Err(format!("run {id}: has ended with {states:?}"));
        }
        for (step, record) in run.steps.iter().enumerate() {
            let effects = world.steps.get(&(id, step)).copied().unwrap_or(0);
            if effects > 1 || (effects == 0 && matches!(record, Some(StepState::Completed { .. }))) {
                return Err(format!("run {id}: step {step} was done {effects} times"));
            }
        }
    }
    for effect in &world.pairs {
        let run = &store.runs[effect.run];
        let excused = effect.entry.is_some_and(|entry| {
            matches!(run.entries[entry].state, CompensationState::Dismissed | CompensationState::Settled)
        });
        let loud = matches!(run.state, RunState::Succeeded | RunState::CompensationFailed);
        if effect.undone == 0 && !excused && !loud {
            return Err(format!("run {}: is {}, and an effect was not undone", effect.run, run.state.as_str()));
        }
        if effect.undone > 0 && run.state == RunState::Succeeded && !run.settled {
            return Err(format!("run {}: has succeeded, and was undone", effect.run));
        }
    }
    Ok(())
}

/// Every instant from a schedule's first to its last was decided about once, and each decision that says so has its run.
fn schedules(store: &Store) -> Result<(), String> {
    for (id, schedule) in store.schedules.iter().enumerate() {
        let decided: Vec<_> = store.decisions.range((id, Instant(i64::MIN))..=(id, Instant(i64::MAX))).collect();
        for ((_, instant), outcomes) in &decided {
            if outcomes.len() != 1 {
                return Err(format!("schedule {id}: instant {} was decided about {} times", instant.0, outcomes.len()));
            }
            if outcomes[0].is_some_and(|run| run >= store.runs.len()) {
                return Err(format!("schedule {id}: the run of instant {} is lost", instant.0));
            }
        }
        for pair in decided.windows(2) {
            let (before, after) = (pair[0].0.1, pair[1].0.1);
            if after.since(before) != schedule.every {
                return Err(format!("schedule {id}: nothing was decided between {} and {}", before.0, after.0));
            }
        }
    }
    Ok(())
}
