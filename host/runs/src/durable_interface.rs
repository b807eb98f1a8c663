//! The durable part of the interface `run`: steps and compensations.
//!
//! | call | execute | plan |
//! | --- | --- | --- |
//! | `step.begin`, `step.complete` | kept by the run's [`Durable`](rota_capability::Durable) | kept in memory, for the run |
//! | `compensation.register` | kept, durably, before it answers | listed as an effect, not kept |
//! | `compensation.dismiss` | kept | nothing |

use crate::run_interface::{Run, begun, of_begun, shown, wit};
use rota_authority::{Effect, EffectClass, Exact};
use rota_capability::tape::{Handle, Parts, Plain, Shape, Shown, ask, called_through};
use rota_capability::{Begun, EffectSeen, Guest, RunContext, SeenOutcome, Undoing, begin, refused};
use rota_contract::Error;
use serde::de::IgnoredAny;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wasmtime::component::{Access, Accessor, HasData, Resource};

type Answered<T> = wasmtime::Result<Result<T, Error>>;

/// The longest name of a step or a compensation, bytes.
const NAME: usize = 200;
/// How many effects a guest in doubt is shown.
const EFFECTS: usize = 1_000;
/// How much of a compensation's state a plan shows.
const STATE: usize = 64 * 1024;

/// A step in a guest's hands. Clones are the same step.
#[derive(Clone)]
#[allow(unreachable_pub, reason = "the generated interface re-exports it")]
pub struct Step {
    /// The name on record.
    name: Arc<str>,
    /// It is completed, or being completed.
    completed: Arc<AtomicBool>,
}

/// A compensation in a guest's hands.
#[derive(Clone, Copy)]
#[allow(unreachable_pub, reason = "the generated interface re-exports it")]
pub struct Compensation {
    /// Its number; none in a plan, where it is only listed.
    sequence: Option<u32>,
}

/// `Err` as the guest's answer.
macro_rules! answer {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Ok(Err(Error::from(error))),
        }
    };
}

/// A name fit for records: something, not too long, one line.
fn check_name(name: &str, what: &str) -> Result<(), Error> {
    let why = match name.len() {
        0 => "is empty",
        length if length > NAME => "is longer than 200 bytes",
        _ if name.chars().any(char::is_control) => "holds control characters",
        _ => return Ok(()),
    };
    Err(Error::InvalidArgument(format!("the name of a {what} {why}: `{}`", shown(name, 60))))
}

/// What is kept must be readable as what it says it is.
fn check_json(text: &str, what: &str) -> Result<(), Error> {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::InvalidArgument(format!("the {what} is not JSON: {error}"))),
    }
}

fn over(limit: rota_capability::LimitExceeded) -> Error {
    Error::Quota(limit.to_string())
}

/// The name on record: a compensation's steps never meet the run's own, nor those of another compensation, because of a character that no
/// guest can put into a name.
fn on_record(undoing: &Undoing, name: String) -> Arc<str> {
    match undoing {
        Undoing::CarriesOut(compensation) => format!("undo {compensation}\u{1f}{name}").into(),
        Undoing::Registers | Undoing::NotExported => name.into(),
    }
}

fn recorded(effect: EffectSeen) -> wit::RecordedEffect {
    let EffectSeen { operation, target, detail, outcome } = effect;
    let outcome = match outcome {
        SeenOutcome::Done(said) => wit::EffectOutcome::Done(said),
        SeenOutcome::Failed(said) => wit::EffectOutcome::Failed(said),
        SeenOutcome::Unknown => wit::EffectOutcome::Unknown,
    };
    wit::RecordedEffect { operation, target, detail, outcome }
}

/// The last effects, and how many older ones there are.
fn last(mut effects: Vec<EffectSeen>) -> (Vec<wit::RecordedEffect>, u64) {
    let unlisted = effects.len().saturating_sub(EFFECTS);
    (effects.drain(unlisted..).map(recorded).collect(), unlisted as u64)
}

impl<T: Send + 'static> wit::HostStepWithStore<T> for Run {
    async fn begin(accessor: &Accessor<T, Self>, name: String) -> Answered<wit::Begun> {
        let asking = ask(accessor, "run.step.begin", None, |asked| asked.with("name", &name));
        called_through(accessor, asking, BegunStep, begin_step(accessor, name)).await
    }

    async fn complete(accessor: &Accessor<T, Self>, step: Resource<Step>, result: String) -> Answered<()> {
        let asking = ask(accessor, "run.step.complete", Some(step.rep()), |asked| asked.with("result", &result));
        called_through(accessor, asking, Plain, async {
            let (call, step) = begin(accessor, |guest| Ok(guest.table.get(&step)?.clone()))?;
            if step.completed.swap(true, Ordering::Relaxed) {
                return Ok(Err(Error::Conflict(format!("the step `{}` is completed already", step.name))));
            }
            let completed = complete(call.run(), &step.name, &result).await;
            // It may be completed with something else, or later.
            step.completed.store(completed.is_ok(), Ordering::Relaxed);
            Ok(completed)
        })
        .await
    }
}

async fn begin_step<T: Send + 'static>(accessor: &Accessor<T, Run>, name: String) -> Answered<wit::Begun> {
    let (call, undoing) = begin(accessor, |guest| Ok(guest.undoing.clone()))?;
    answer!(goes_on(call.run()));
    answer!(check_name(&name, "step"));
    answer!(call.run().charge_step().map_err(over));
    let name = on_record(&undoing, name);
    let begun = answer!(call.run().durable.begin_step(&name).await);
    let step = |accessor: &Accessor<T, Run>| {
        accessor.with(|mut access| access.get().push(Step { name, completed: Arc::default() }))
    };
    Ok(Ok(match begun {
        Begun::Done(result) => wit::Begun::Done(result),
        Begun::Fresh => wit::Begun::Fresh(step(accessor)?),
        Begun::InDoubt(effects) => {
            let (effects, unlisted) = last(effects);
            wit::Begun::InDoubt(wit::Doubt { step: step(accessor)?, effects, unlisted })
        }
    }))
}

/// How the answer of `step.begin` is shown and made.
#[derive(Clone, Copy)]
struct BegunStep;

impl Shape<wit::Begun> for BegunStep {
    fn show(self, answer: &wit::Begun) -> Shown {
        let (value, handle) = begun(answer);
        Shown { value, handle }
    }

    fn make<T: 'static, D>(self, access: &mut Access<'_, T, D>, parts: Parts) -> wasmtime::Result<wit::Begun>
    where
        D: for<'a> HasData<Data<'a> = &'a mut Guest>,
    {
        of_begun(parts.value, || Handle::place(access.get(), parts.call))
    }
}

/// What is told to stop begins nothing new: no step, and no undo, which would have effects of its own.
fn goes_on(run: &RunContext) -> Result<(), Error> {
    if run.is_stopped() { Err(Error::Cancelled) } else { Ok(()) }
}

async fn complete(run: &RunContext, name: &str, result: &str) -> Result<(), Error> {
    check_json(result, "result of a step")?;
    run.charge_result(result.len()).map_err(over)?;
    Ok(run.durable.complete_step(name, result).await?)
}

impl<T: Send + 'static> wit::HostCompensationWithStore<T> for Run {
    async fn register(accessor: &Accessor<T, Self>, name: String, state: String) -> Answered<Resource<Compensation>> {
        let asking =
            ask(accessor, "run.compensation.register", None, |asked| asked.with("name", &name).with("state", &state));
        called_through(accessor, asking, Handle, async {
            let (call, undoing) = begin(accessor, |guest| Ok(guest.undoing.clone()))?;
            answer!(goes_on(call.run()));
            let sequence = answer!(register(call.run(), &undoing, &name, &state).await);
            accessor.with(|mut access| access.get().push(Compensation { sequence })).map(Ok)
        })
        .await
    }

    async fn dismiss(accessor: &Accessor<T, Self>, compensation: Resource<Compensation>) -> Answered<()> {
        let asking = ask(accessor, "run.compensation.dismiss", Some(compensation.rep()), |asked| asked);
        called_through(accessor, asking, Plain, async {
            let (call, compensation) = begin(accessor, |guest| Ok(*guest.table.get(&compensation)?))?;
            let Some(sequence) = compensation.sequence else { return Ok(Ok(())) };
            Ok(call.run().durable.dismiss_compensation(sequence).await.map_err(Error::from))
        })
        .await
    }
}

async fn register(run: &RunContext, undoing: &Undoing, name: &str, state: &str) -> Result<Option<u32>, Error> {
    match undoing {
        Undoing::Registers => {}
        Undoing::NotExported => {
            return Err(Error::InvalidArgument(
                "the component does not export `compensate`, so that nobody could carry the compensation out; build it for the world undoable-procedure".into(),
            ));
        }
        Undoing::CarriesOut(current) => {
            return Err(Error::Conflict(format!(
                "`{current}` is being compensated, and a compensation registers no others; use steps, and make it harmless to repeat"
            )));
        }
    }
    check_name(name, "compensation")?;
    check_json(state, "state of a compensation")?;
    run.charge_compensation(state.len()).map_err(over)?;
    let exact = Exact::of([name, state]);
    let mut detail = shown(state, STATE);
    if state.len() > STATE {
        detail.push_str(&format!(" ... (the first {STATE} of {} bytes)", state.len()));
    }
    let effect = Effect { object: name.to_owned(), detail, class: EffectClass::Write, exact };
    if run.gate.list_in_plan("run", "run.compensation", effect).await.map_err(refused)? {
        return Ok(None);
    }
    Ok(Some(run.durable.register_compensation(name, state).await?))
}

impl wit::HostStep for &mut Guest {
    fn drop(&mut self, step: Resource<Step>) -> wasmtime::Result<()> {
        self.release(step)
    }
}

impl wit::HostCompensation for &mut Guest {
    fn drop(&mut self, compensation: Resource<Compensation>) -> wasmtime::Result<()> {
        self.release(compensation)
    }
}
