//! A JavaScript of the operator's: under exactly what is granted, like any other procedure.

mod bucket;
mod cache;
mod cluster;
mod desk;
mod engine;
mod sql;
mod stream;
mod tell;
#[cfg(test)]
mod tests;
mod value;
mod work;

use desk::Desk;
use engine::Source;
use rota_sdk::prelude::*;
use std::rc::Rc;
use value::Js;

procedure! {
    name: "script",
    summary: "Runs a JavaScript of yours against databases, caches, clusters and buckets, under exactly what is granted.",
    description: include_str!("../README.md"),
    risk: change,
    idempotent: false,
    slots: {
        database: sql [read, write, maintain, index, ddl, signal] optional "`db` in the script.",
        standby: sql [read] optional "`standby` in the script.",
        cache: cache [read, write, delete] optional "`cache` in the script.",
        bucket: storage [read, write, delete] optional "`bucket` in the script.",
        cluster: kubernetes [read, write, delete, scale, exec] optional "`cluster` in the script.",
        stream: jetstream [read] optional "`stream` in the script.",
    },
    examples: [
        "Print something" => json!({ "script": "print(1 + 1)" }),
        "The largest tables" => json!({ "script": "table(await db.query('select relname, pg_table_size(oid) as bytes from pg_class order by 2 desc limit 5'))" }),
    ],
    parameters: Parameters,
    report: Data,
    undo: Undoing => compensate,
    run
}

/// What to run.
#[parameters]
pub struct Parameters {
    /// The script: JavaScript (ES2023), with `await` anywhere.
    script: String,
    /// What it is called in messages: a file's name.
    #[parameter(default = "script.js".to_owned())]
    name: String,
    /// What the script finds as `args`.
    #[parameter(default)]
    arguments: Json,
}

/// What came of it.
#[data]
pub struct Data {
    /// The lines that it printed, at most 4 MiB.
    output: Vec<String>,
    /// Whether it printed more.
    truncated: bool,
    /// The value of its last expression.
    result: Json,
    /// What it gave to `report.data`.
    data: Json,
    /// Where it failed: message, line, column, the line, and its calls.
    error: Option<Failed>,
}

/// Where a script failed.
#[data]
pub struct Failed {
    /// What was thrown.
    message: String,
    /// The line, from 1.
    line: Option<u64>,
    /// The column, from 1.
    column: Option<u64>,
    /// The line itself.
    source: Option<String>,
    /// The script's calls, the innermost first.
    stack: Vec<String>,
}

/// What is to be undone: a function of a script, and what it is given.
#[data]
pub struct Undoing {
    /// Its text.
    function: String,
    /// Its argument.
    state: Json,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let desk = Rc::new(Desk::new(cx));
    let source = Source { name: &parameters.name, text: &parameters.script };
    let ended = engine::run(desk.clone(), source, Js::from_json(parameters.arguments)).await;
    let source = Source { name: &parameters.name, text: &parameters.script };
    let told = desk.told.take();
    let mut report = told.report;
    let mut data = Data {
        output: told.output,
        truncated: told.truncated,
        result: Json::Null,
        data: told.data.unwrap_or_default(),
        error: None,
    };
    match ended {
        Ok(result) => {
            data.result = result.into_json();
            if !told.summarised && report.status() == Severity::Ok {
                report.summary(format!("{} ended", parameters.name));
            }
            Ok(report.data(data))
        }
        Err(thrown) => {
            let at = |place: fn((usize, usize)) -> usize| thrown.at.map(|at| place(at) as u64);
            data.error = Some(Failed {
                message: thrown.message.clone(),
                line: at(|(line, _)| line),
                column: at(|(_, column)| column),
                source: thrown.at.and_then(|(line, _)| source.text.lines().nth(line - 1)).map(str::to_owned),
                stack: thrown.stack.clone(),
            });
            Err(thrown.into_error(&source).with_report(report.data(data)))
        }
    }
}

/// Call the function that the script left, with the state that it left.
async fn compensate(cx: Context, undo: Undo<Undoing>) -> Result<()> {
    let name = format!("undo of {}", undo.name);
    let text = format!("({})(args)", undo.state.function);
    let source = Source { name: &name, text: &text };
    let ended = engine::run(Rc::new(Desk::new(cx)), source, Js::from_json(undo.state.state)).await;
    ended.map(drop).map_err(|thrown| thrown.into_error(&Source { name: &name, text: &text }))
}
