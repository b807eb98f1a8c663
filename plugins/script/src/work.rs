//! What every script has: steps, undo, waiting, artifacts, printing.

use crate::cache::bytes;
use crate::desk::{Desk, Slab};
use crate::value::Js;
use crate::{Undoing, tell};
use rota_sdk::prelude::*;
use rota_sdk::{Compensation, OpenStep};
use std::cell::RefCell;
use std::time::Duration;

/// What a script holds of its run.
#[derive(Default)]
pub(crate) struct Work {
    steps: RefCell<Slab<OpenStep<Json>>>,
    compensations: RefCell<Slab<Compensation>>,
}

/// Calls that wait for the host.
pub(crate) async fn call(desk: &Desk, what: &str, args: &[Js]) -> Result<Js> {
    let work = &desk.work;
    match (what, args) {
        ("sleep", [Js::Number(seconds)]) if (0.0..1e9).contains(seconds) => {
            desk.cx.sleep(Duration::from_secs_f64(*seconds)).await.map(|()| Js::Undefined)
        }
        ("artifact", [Js::Text(name), data, media_type]) => {
            let media_type = match media_type {
                Js::Text(media_type) => media_type.as_str(),
                _ => "application/octet-stream",
            };
            Ok(Js::count(desk.cx.artifact(name, media_type, bytes(data)?).await?))
        }
        ("step", [Js::Text(name), Js::Flag(repeatable)]) => {
            let open = match Step::<Json>::begin(name.clone()).await? {
                Step::Done(result) => return Ok(Js::object([("done", Js::from_json(result))])),
                Step::Fresh(open) => open,
                Step::InDoubt(doubt) if *repeatable => doubt.redo(),
                Step::InDoubt(doubt) => return Err(doubt.undecided(name)),
            };
            Ok(Js::object([("handle", work.steps.borrow_mut().insert(open))]))
        }
        ("complete", [handle, result]) => {
            let open = work.steps.borrow_mut().remove(handle)?;
            open.complete(result.clone().into_json()).await.map(|_| Js::Undefined)
        }
        ("compensate", [Js::Text(name), Js::Text(function), state]) => {
            let undoing = Undoing { function: function.clone(), state: state.clone().into_json() };
            let registered = rota_sdk::__private::register(name.clone(), &undoing).await?;
            Ok(work.compensations.borrow_mut().insert(registered))
        }
        ("dismiss", [handle]) => {
            let registered = work.compensations.borrow_mut().remove(handle)?;
            registered.dismiss().await.map(|()| Js::Undefined)
        }
        _ => Err(Desk::unknown("run", what)),
    }
}

/// Calls that only tell something, and are done at once.
pub(crate) fn tell(desk: &Desk, what: &str, args: &[Js]) -> Result<Js> {
    let mut told = desk.told.borrow_mut();
    match (what, args) {
        ("print", [Js::Text(line)]) => told.print(line),
        ("log", [Js::Text(level), Js::Text(message)]) => {
            let level = match level.as_str() {
                "debug" => rota_sdk::Level::Debug,
                "warn" => rota_sdk::Level::Warn,
                "error" => rota_sdk::Level::Error,
                _ => rota_sdk::Level::Info,
            };
            rota_sdk::log(level, message, &[]);
        }
        ("progress", [Js::Number(done), total, unit, note]) => {
            let total = match total {
                Js::Number(total) => Some(*total as u64),
                _ => None,
            };
            progress(*done as u64, total, &word(unit), word(note));
        }
        ("table", [Js::Text(title), Js::List(columns), Js::List(rows)]) => told.table(title, columns, rows)?,
        ("finding", [Js::Text(severity), Js::Text(title), detail]) => told.finding(severity, title, &word(detail)),
        ("used", [Js::Text(name)]) => {
            told.used.insert(name.clone());
        }
        ("summary", [Js::Text(text)]) => told.summary(text),
        ("data", [data]) => told.data(data.clone().into_json()),
        ("metric", [Js::Text(name), Js::Number(value), Js::Object(labels)]) => {
            let labels: Vec<(&str, String)> =
                labels.iter().map(|(label, value)| (label.as_str(), word(value))).collect();
            let labels: Vec<(&str, &str)> = labels.iter().map(|(label, value)| (*label, value.as_str())).collect();
            desk.cx.gauge(name, &labels, *value);
        }
        _ => return Err(Desk::unknown("run", what)),
    }
    Ok(Js::Undefined)
}

fn word(value: &Js) -> String {
    match value {
        Js::Text(text) => text.clone(),
        Js::Undefined | Js::Null => String::new(),
        other => tell::plain(other),
    }
}
