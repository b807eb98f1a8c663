//! What a guest is told of its run, as a recording keeps it. The generated types cannot say it themselves: one of the interface holds a
//! resource, and what is derived is derived for all of them.

use super::wit;
use rota_capability::tape::{made, shown};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A word and back.
fn word<T: Copy>(words: &[(&str, T)], value: &Value) -> Result<T, String> {
    let known = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    let found = value.as_str().and_then(|text| words.iter().find(|(word, _)| *word == text));
    found.map(|(_, of)| *of).ok_or_else(|| format!("{value} is none of {}", known()))
}

const MODES: [(&str, wit::RunMode); 2] = [("plan", wit::RunMode::Plan), ("execute", wit::RunMode::Execute)];

pub(super) fn mode(mode: &wit::RunMode) -> Value {
    Value::from(match mode {
        wit::RunMode::Plan => "plan",
        wit::RunMode::Execute => "execute",
    })
}

pub(super) fn of_mode(value: Value) -> Result<wit::RunMode, String> {
    word(&MODES, &value)
}

const TRIGGERS: [(&str, wit::Trigger); 3] =
    [("manual", wit::Trigger::Manual), ("schedule", wit::Trigger::Schedule), ("api", wit::Trigger::Api)];

#[derive(Serialize, Deserialize)]
struct Info {
    id: String,
    attempt: u32,
    job: Option<String>,
    trigger: String,
    started_at: i64,
    deadline: i64,
}

pub(super) fn info(info: &wit::RunInfo) -> Value {
    shown(&Info {
        id: info.id.clone(),
        attempt: info.attempt,
        job: info.job.clone(),
        trigger: match info.trigger {
            wit::Trigger::Manual => "manual",
            wit::Trigger::Schedule => "schedule",
            wit::Trigger::Api => "api",
        }
        .to_owned(),
        started_at: info.started_at,
        deadline: info.deadline,
    })
}

pub(super) fn of_info(value: Value) -> Result<wit::RunInfo, String> {
    let Info { id, attempt, job, trigger, started_at, deadline } = made(value)?;
    let trigger = word(&TRIGGERS, &Value::from(trigger))?;
    Ok(wit::RunInfo { id, attempt, job, trigger, started_at, deadline })
}

#[derive(Serialize, Deserialize)]
struct Slot {
    name: String,
    binding: Option<String>,
    accesses: Vec<String>,
}

#[allow(clippy::ptr_arg)] // As a shape shows what a call answers.
pub(super) fn slots(slots: &Vec<wit::SlotInfo>) -> Value {
    let slot = |slot: &wit::SlotInfo| Slot {
        name: slot.name.clone(),
        binding: slot.binding.clone(),
        accesses: slot.accesses.clone(),
    };
    shown(&slots.iter().map(slot).collect::<Vec<_>>())
}

pub(super) fn of_slots(value: Value) -> Result<Vec<wit::SlotInfo>, String> {
    let slots: Vec<Slot> = made(value)?;
    let slot = |Slot { name, binding, accesses }| wit::SlotInfo { name, binding, accesses };
    Ok(slots.into_iter().map(slot).collect())
}

#[derive(Serialize, Deserialize)]
enum Outcome {
    Done(String),
    Failed(String),
    Unknown,
}

#[derive(Serialize, Deserialize)]
struct Effect {
    operation: String,
    target: String,
    detail: String,
    outcome: Outcome,
}

/// A step in doubt, without the step.
#[derive(Serialize, Deserialize)]
struct Doubt {
    effects: Vec<Effect>,
    unlisted: u64,
}

/// How a step stands, without the step.
#[derive(Serialize, Deserialize)]
enum Begun {
    Fresh,
    Done(String),
    InDoubt(Doubt),
}

/// How a step stands: `"fresh"`, `{"done": RESULT}`, `{"in-doubt": {effects, unlisted}}`; and the step, where the guest got one.
pub(crate) fn begun(begun: &wit::Begun) -> (Value, Option<u32>) {
    let outcome = |outcome: &wit::EffectOutcome| match outcome {
        wit::EffectOutcome::Done(said) => Outcome::Done(said.clone()),
        wit::EffectOutcome::Failed(said) => Outcome::Failed(said.clone()),
        wit::EffectOutcome::Unknown => Outcome::Unknown,
    };
    let effect = |effect: &wit::RecordedEffect| Effect {
        operation: effect.operation.clone(),
        target: effect.target.clone(),
        detail: effect.detail.clone(),
        outcome: outcome(&effect.outcome),
    };
    match begun {
        wit::Begun::Fresh(step) => (shown(&Begun::Fresh), Some(step.rep())),
        wit::Begun::Done(result) => (shown(&Begun::Done(result.clone())), None),
        wit::Begun::InDoubt(doubt) => {
            let effects = doubt.effects.iter().map(effect).collect();
            (shown(&Begun::InDoubt(Doubt { effects, unlisted: doubt.unlisted })), Some(doubt.step.rep()))
        }
    }
}

/// How a step stands, with a step where there is one.
pub(crate) fn of_begun(
    value: Value,
    step: impl FnOnce() -> wasmtime::Result<wasmtime::component::Resource<crate::durable_interface::Step>>,
) -> wasmtime::Result<wit::Begun> {
    let outcome = |outcome| match outcome {
        Outcome::Done(said) => wit::EffectOutcome::Done(said),
        Outcome::Failed(said) => wit::EffectOutcome::Failed(said),
        Outcome::Unknown => wit::EffectOutcome::Unknown,
    };
    let effect = |Effect { operation, target, detail, outcome: of }| wit::RecordedEffect {
        operation,
        target,
        detail,
        outcome: outcome(of),
    };
    let begun = made(value).map_err(|why| rota_capability::tape::Stop(format!("the answer does not fit: {why}")))?;
    Ok(match begun {
        Begun::Fresh => wit::Begun::Fresh(step()?),
        Begun::Done(result) => wit::Begun::Done(result),
        Begun::InDoubt(Doubt { effects, unlisted }) => {
            let effects = effects.into_iter().map(effect).collect();
            wit::Begun::InDoubt(wit::Doubt { step: step()?, effects, unlisted })
        }
    })
}
