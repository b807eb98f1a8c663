//! Work whose effects can be counted from outside: so many steps, each a row in the table `done`, under an undo that is a row in the
//! table `undone`. What is done twice, lost or not undone shows there.

use crate::bindings::rota::runbook::run::{self, Begun, Compensation, Step};
use crate::bindings::rota::runbook::sql::{Session, Value as Parameter};
use crate::calls::said;
use serde_json::{Value, json};

/// The attempt says that it has begun. The number of the attempt is the fencing token, and this table is what compares it: what an earlier
/// attempt has under way, with the proof of its lease behind it and its effect still before it, is refused from here on. Without that, a
/// worker that is frozen at that very instant would act when it thaws (docs/runs.md).
const FENCE: &str = "insert into fence (run, attempt) values ($1, $2)";

/// A step's row, where it is not there yet: what a step in doubt asks.
const MISSING: &str = "insert into done (run, step, attempt) select $1, $2, $3 \
                       where not exists (select from done where run = $1 and step = $2) \
                         and not exists (select from fence where run = $1 and attempt > $3)";
const FRESH: &str = "insert into done (run, step, attempt) select $1, $2, $3 \
                     where not exists (select from fence where run = $1 and attempt > $3)";

/// Do it; with `fail`, the caller fails afterwards and leaves the undo.
pub(crate) async fn work(parameters: &Value) -> Value {
    let info = run::info();
    let count = parameters["count"].as_u64().unwrap_or(3);
    let pause = parameters["pause"].as_u64().unwrap_or(0);
    let session = match Session::open("database".into()).await {
        Ok(session) => session,
        Err(error) => return said(&error),
    };
    let statement = format!("insert into undone (run) values ('{}')", info.id);
    let state = json!({ "do": "call", "call": { "import": "sql.session.execute", "statement": statement } });
    let undo = match Compensation::register("undo".into(), state.to_string()).await {
        Ok(undo) => undo,
        Err(error) => return said(&error),
    };
    let token = vec![Parameter::Text(info.id.clone()), Parameter::Int64(i64::from(info.attempt))];
    if let Err(error) = session.execute(FENCE.into(), token).await {
        return said(&error);
    }
    let mut steps = Vec::new();
    for step in 0..count {
        let (begun, statement) = match Step::begin(format!("step {step}")).await {
            Ok(Begun::Done(_)) => {
                steps.push("done");
                continue;
            }
            Ok(Begun::Fresh(begun)) => {
                steps.push("fresh");
                (begun, FRESH)
            }
            Ok(Begun::InDoubt(doubt)) => {
                steps.push("in-doubt");
                (doubt.step, MISSING)
            }
            Err(error) => return said(&error),
        };
        let parameters = vec![
            Parameter::Text(info.id.clone()),
            Parameter::Int64(i64::try_from(step).unwrap_or(-1)),
            Parameter::Int64(i64::from(info.attempt)),
        ];
        if let Err(error) = session.execute(statement.into(), parameters).await {
            return said(&error);
        }
        if let Err(error) = begun.complete(json!(step).to_string()).await {
            return said(&error);
        }
        run::progress(step + 1, Some(count), "steps", "working");
        if pause > 0
            && let Err(error) = run::sleep(pause).await
        {
            return said(&error);
        }
    }
    if parameters["fail"].as_bool() != Some(true)
        && let Err(error) = undo.dismiss().await
    {
        return said(&error);
    }
    json!({ "steps": steps })
}
