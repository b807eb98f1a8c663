//! A JavaScript of the operator's: under exactly what is granted, like any other procedure.

#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "the exports are those of the component"))]

mod ahead;
mod bucket;
mod cache;
mod cluster;
mod desk;
mod engine;
mod flow;
mod genuine;
mod job;
mod program;
mod prompt;
mod sql;
mod stream;
mod talk;
mod tell;
#[cfg(test)]
mod tests;
mod tool;
mod value;
mod work;
mod written;

use desk::{Desk, Slot};
use engine::{Code, Source, Thrown};
use rota_sdk::prelude::*;
use rota_sdk::{Context, Declaration, Procedure, Risk, SlotDeclaration};
use std::collections::BTreeMap;
use std::rc::Rc;
use value::Js;

/// The procedure that runs a script which is a parameter.
#[derive(Clone, Copy, Debug)]
pub struct Plugin;

const fn slot(
    name: &'static str,
    capability: &'static str,
    accesses: &'static [&'static str],
    purpose: &'static str,
) -> SlotDeclaration {
    SlotDeclaration { name, capability, accesses, purpose, optional: true }
}

// By hand instead of by `procedure!`: the same component is every procedure that is written in JavaScript, and says then what that one says.
impl Procedure for Plugin {
    type Parameters = Parameters;
    type Data = Data;
    const DECLARATION: Declaration = Declaration {
        name: "script",
        version: env!("CARGO_PKG_VERSION"),
        summary: "Runs a JavaScript of yours against databases, caches, clusters and buckets, under exactly what is granted.",
        description: include_str!("../README.md"),
        risk: Risk::Change,
        confirmation: None,
        idempotent: false,
        slots: &[
            slot(
                "database",
                "sql",
                &[
                    "read",
                    "write",
                    "maintain",
                    "index",
                    "ddl",
                    "signal",
                    "promote",
                    "copy-out",
                    "copy-in",
                    "alter-system",
                ],
                "`db` in the script.",
            ),
            slot("standby", "sql", &["read", "copy-out"], "`standby` in the script."),
            slot("cache", "cache", &["read", "write", "delete", "debug"], "`cache` in the script."),
            slot("bucket", "storage", &["read", "write", "delete"], "`bucket` in the script."),
            slot(
                "cluster",
                "kubernetes",
                &["read", "write", "delete", "scale", "exec", "run"],
                "`cluster` in the script.",
            ),
            slot("stream", "jetstream", &["read"], "`stream` in the script."),
            slot("tool", "tool", &["run"], "`tool()` in the script: any program that is declared."),
            slot("pg_dump", "tool", &["run"], "`tool(\"pg_dump\")` in the script."),
            slot("pg_restore", "tool", &["run"], "`tool(\"pg_restore\")` in the script."),
            slot("key", "key", &["decrypt"], "What `bytes.decrypt` decrypts with."),
        ],
    };

    fn examples() -> Vec<(&'static str, Json)> {
        let tables = "table(await db.query('select relname, pg_table_size(oid) as bytes from pg_class order by 2 desc limit 5'))";
        vec![
            ("Print something", json!({ "script": "print(1 + 1)" })),
            ("The largest tables", json!({ "script": tables })),
        ]
    }

    async fn run(context: Context, parameters: Parameters) -> Outcome<Data> {
        run(context, parameters).await
    }
}

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, reason = "the component's exports are foreign functions")]
mod component {
    use crate::program::Program;
    use rota_sdk::__private as sdk;
    use rota_sdk::bindings::{Descriptor, Failure, Report};

    struct Component;

    impl rota_sdk::bindings::undoable::Guest for Component {
        fn describe() -> Descriptor {
            match Program::embedded() {
                Some(program) => program.describe(),
                None => sdk::describe::<crate::Plugin>(),
            }
        }

        async fn run(parameters: String) -> Result<Report, Failure> {
            match Program::embedded() {
                Some(program) => program.run(parameters).await.map_err(sdk::failure),
                None => sdk::run::<crate::Plugin>(parameters).await,
            }
        }

        async fn compensate(name: String, state: String) -> Result<(), Failure> {
            let slots = Program::embedded().map(|program| program.slots());
            crate::compensate(sdk::context(), &name, &state, slots).await.map_err(sdk::failure)
        }
    }

    rota_sdk::bindings::undoable::__export_undoable_procedure!(Component with_types_in rota_sdk::bindings::undoable);

    impl rota_sdk::bindings::prepared::Guest for Component {
        fn prepare() {
            crate::ahead::prepare();
        }
    }

    rota_sdk::bindings::prepared::__export_prepared!(Component with_types_in rota_sdk::bindings::prepared);
}

/// What to run.
#[parameters]
pub struct Parameters {
    /// The script: JavaScript (ES2023), with `await` anywhere. Of a session, which is told what to run, nothing.
    script: String,
    /// What it is called in messages: a file's name.
    #[parameter(default = "script.js".to_owned())]
    name: String,
    /// What the script finds as `args`.
    #[parameter(default)]
    arguments: BTreeMap<String, Json>,
    /// Whether it is a session of `rota shell`, which runs one statement after the other.
    #[parameter(default)]
    session: bool,
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
    /// Arguments that it never looked at.
    unused: Vec<String>,
    /// Where it failed: message, line, column, the line, and its calls.
    error: Option<Failed>,
    /// Of a session: its statements, the first 1,000 (of 1 MiB together).
    statements: Vec<Stated>,
}

/// A statement of a session.
#[data]
pub struct Stated {
    /// As it was typed.
    text: String,
    /// `done`, `failed` or `interrupted`.
    state: String,
    /// How long it took, in seconds.
    seconds: f64,
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

/// The slots of `script`.
fn own_slots() -> Vec<Slot> {
    Plugin::DECLARATION.slots.iter().map(|slot| Slot { name: slot.name, capability: slot.capability }).collect()
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    if parameters.session {
        return talk::session(cx, parameters.arguments).await;
    }
    let desk = Rc::new(Desk::new(cx, own_slots()));
    let source = Source { name: &parameters.name, text: &parameters.script };
    let given: Vec<String> = parameters.arguments.keys().cloned().collect();
    let ended = engine::run(
        desk.clone(),
        Code::Script(source),
        Js::from_json(Json::Object(parameters.arguments.into_iter().collect())),
    )
    .await;
    let told = desk.told.take();
    let mut report = told.report;
    let mut data = Data {
        output: told.output,
        truncated: told.truncated,
        result: Json::Null,
        data: told.data.unwrap_or_default(),
        unused: Vec::new(),
        error: None,
        statements: Vec::new(),
    };
    match ended {
        Ok(result) => {
            data.result = result.into_json();
            // Of a script that failed nobody knows what it would have looked at.
            data.unused = given.into_iter().filter(|name| !told.used.contains(name)).collect();
            for name in &data.unused {
                let text = format!("the script never looked at the argument {name}: is it misspelt?");
                rota_sdk::log(rota_sdk::Level::Warn, &text, &[]);
            }
            if !told.summarised && report.status() == Severity::Ok {
                report.summary(format!("{} ended", parameters.name));
            }
            Ok(report.data(data))
        }
        Err(thrown) => {
            data.error = Some(failed(&thrown, &source));
            report.incomplete();
            Err(thrown.into_error(&source).with_report(report.data(data)))
        }
    }
}

fn failed(thrown: &Thrown, source: &Source<'_>) -> Failed {
    let at = |place: fn((usize, usize)) -> usize| thrown.at.map(|at| place(at) as u64);
    Failed {
        message: thrown.message.clone(),
        line: at(|(line, _)| line),
        column: at(|(_, column)| column),
        source: thrown.at.and_then(|(line, _)| source.text.lines().nth(line - 1)).map(str::to_owned),
        stack: thrown.stack.clone(),
    }
}

/// Call the function that the script left, with the state that it left.
async fn compensate(cx: Context, name: &str, state: &str, slots: Option<Vec<Slot>>) -> Result<()> {
    let undoing: Undoing = serde_json::from_str(state)?;
    let name = format!("undo of {name}");
    let text = format!("({})(args)", undoing.function);
    let source = Source { name: &name, text: &text };
    let desk = Rc::new(Desk::new(cx, slots.unwrap_or_else(own_slots)));
    let ended = engine::run(desk, Code::Script(source), Js::from_json(undoing.state)).await;
    ended.map(drop).map_err(|thrown| thrown.into_error(&source))
}
