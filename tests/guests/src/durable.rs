//! Steps and compensations, called as a test asks and misused; and what the export `compensate` does.

use crate::bindings::rota::runbook::run::{self, Begun, Compensation, EffectOutcome, RecordedEffect, Step};
use crate::bindings::rota::runbook::sql::Session;
use crate::bindings::rota::runbook::types::Error;
use crate::bindings::{Failure, wit_stream};
use crate::calls::{answer, said, text};
use crate::misbehave;
use serde_json::{Value, json};

fn name(call: &Value) -> String {
    call["name"].as_str().unwrap_or("probe").to_owned()
}

fn state(call: &Value) -> String {
    call["state"].as_str().unwrap_or(r#"{"probe":true}"#).to_owned()
}

fn seen(effects: &[RecordedEffect]) -> Value {
    let one = |effect: &RecordedEffect| {
        let outcome = match &effect.outcome {
            EffectOutcome::Done(said) => format!("done: {said}"),
            EffectOutcome::Failed(said) => format!("failed: {said}"),
            EffectOutcome::Unknown => "unknown".to_owned(),
        };
        json!({ "operation": effect.operation, "target": effect.target, "detail": effect.detail, "outcome": outcome })
    };
    effects.iter().map(one).collect()
}

/// What a step answered when it was begun; and the step, where there is one to do.
fn begun(begun: Begun) -> (Value, Option<Step>) {
    match begun {
        Begun::Fresh(step) => (json!("fresh"), Some(step)),
        Begun::Done(result) => (json!({ "done": result }), None),
        Begun::InDoubt(doubt) => {
            (json!({ "in-doubt": seen(&doubt.effects), "unlisted": doubt.unlisted }), Some(doubt.step))
        }
    }
}

/// One import.
pub(crate) async fn call(import: &str, call: &Value) -> Value {
    match import {
        "run.sleep" => answer(run::sleep(call["milliseconds"].as_u64().unwrap_or(1)).await, |()| json!(null)),
        "run.step.begin" => answer(Step::begin(name(call)).await, |step| begun(step).0),
        "run.step.complete" => complete(call).await,
        "run.compensation.register" => answer(Compensation::register(name(call), state(call)).await, |_| json!(null)),
        "run.compensation.dismiss" => match Compensation::register(name(call), state(call)).await {
            Ok(registered) => answer(registered.dismiss().await, |()| json!(null)),
            Err(error) => said(&error),
        },
        _ => json!({ "error": "no such import", "text": import }),
    }
}

/// Begin a step, have the effect of `statement` where there is one, and complete it; with `twice`, complete it again.
async fn complete(call: &Value) -> Value {
    let name = call["name"].as_str().unwrap_or("completed").to_owned();
    let (was, step) = match Step::begin(name).await {
        Ok(step) => begun(step),
        Err(error) => return said(&error),
    };
    let Some(step) = step else { return json!({ "ok": was }) };
    if let Some(statement) = call["statement"].as_str() {
        let session = Session::open("database".into()).await.expect("a session");
        if let Err(error) = session.execute(statement.into(), vec![]).await {
            return said(&error);
        }
    }
    if call["leave"].as_bool() == Some(true) {
        return json!({ "ok": was });
    }
    let result = call["result"].as_str().unwrap_or("1").to_owned();
    let first = step.complete(result.clone()).await;
    let last = if call["twice"].as_bool() == Some(true) { step.complete(result).await } else { first };
    answer(last, |()| was)
}

/// What a plugin must not do with steps and compensations.
pub(crate) async fn misuse(what: &str, parameters: &Value) -> Value {
    let count = parameters["count"].as_u64().unwrap_or(1_000_000);
    let size = usize::try_from(parameters["size"].as_u64().unwrap_or(2 << 20)).unwrap_or(2 << 20);
    match what {
        "steps-without-end" => {
            let (mut done, mut refused, mut last) = (0, 0, String::new());
            for n in 0..count {
                match Step::begin(format!("step {n}")).await {
                    Ok(_) => done += 1,
                    Err(error) => {
                        refused += 1;
                        last = kind(&error);
                    }
                }
            }
            json!({ "done": done, "refused": refused, "last": last })
        }
        "compensations-without-end" => {
            let (mut done, mut refused, mut last) = (0, 0, String::new());
            for n in 0..count {
                match Compensation::register(format!("undo {n}"), "{}".into()).await {
                    Ok(_) => done += 1,
                    Err(error) => {
                        refused += 1;
                        last = kind(&error);
                    }
                }
            }
            json!({ "done": done, "refused": refused, "last": last })
        }
        "hold-steps" => {
            let mut held = Vec::new();
            for n in 0..count {
                held.push(Step::begin(format!("step {n}")).await);
            }
            json!({ "held": held.len() })
        }
        "large-state" => {
            answer(Compensation::register("large".into(), json!("x".repeat(size)).to_string()).await, |_| json!(null))
        }
        "large-result" => match Step::begin("large".into()).await {
            Ok(Begun::Fresh(step)) => {
                let large = answer(step.complete(json!("x".repeat(size)).to_string()).await, |()| json!(null));
                // What was refused leaves the step as it was.
                json!({ "large": large, "small": answer(step.complete("1".into()).await, |()| json!(null)) })
            }
            _ => json!({ "error": "the step is not fresh" }),
        },
        "large-results" => {
            let (mut kept, mut last) = (0, String::new());
            for n in 0..count {
                let Ok(Begun::Fresh(step)) = Step::begin(format!("step {n}")).await else { break };
                match step.complete(json!("x".repeat(size)).to_string()).await {
                    Ok(()) => kept += 1,
                    Err(error) => last = kind(&error),
                }
            }
            json!({ "kept": kept, "last": last })
        }
        // A handle that was never given.
        "forged-step" => {
            let forged = unsafe { Step::from_handle(4242) };
            answer(forged.complete("1".into()).await, |()| json!(null))
        }
        // A handle of something else.
        "mistaken-step" => {
            let other = Compensation::register("other".into(), "{}".into()).await.expect("it registers");
            let forged = unsafe { Step::from_handle(other.handle()) };
            answer(forged.complete("1".into()).await, |()| json!(null))
        }
        "sleep-async" => {
            let slept = run::sleep(parameters["count"].as_u64().unwrap_or(3_600_000)).await;
            answer(slept, |()| json!(null))
        }
        other => json!({ "error": format!("no such behaviour: {other}") }),
    }
}

fn kind(error: &Error) -> String {
    let said = said(error);
    format!("{}: {}", text(&said, "error"), text(&said, "text"))
}

/// The export: the state says what to do.
pub(crate) async fn compensate(name: &str, state: &str) -> Result<(), Failure> {
    let state: Value = serde_json::from_str(state).unwrap_or_default();
    run::log(run::Level::Info, &format!("undoing {name}"), &[]);
    let failed = |message: String| Failure { message, hint: None, cause: None, report: None };
    match text(&state, "do") {
        "fail" => Err(failed(format!("{name} could not be undone"))),
        "call" => {
            let (answer, cause) = crate::calls::call(&state["call"]).await;
            match cause {
                Some(_) => Err(Failure { cause, ..failed(answer.to_string()) }),
                None => Ok(()),
            }
        }
        "never" => {
            let (writer, reader) = wit_stream::new::<u8>();
            let _ = crate::bindings::rota::runbook::bytes::drain(reader).await;
            drop(writer);
            Ok(())
        }
        "" => Ok(()),
        other => {
            misbehave::misbehave(other, &state).await;
            Ok(())
        }
    }
}
