//! A session: somebody on the host asks by lines of JSON on stdin, and is answered by lines of JSON on stdout. Only a host that runs this
//! component as a session of `rota shell` connects the two.
//!
//! | asked | done |
//! | --- | --- |
//! | `{"js": text, "name": "[1]", "shown": text}` | a statement of JavaScript |
//! | `{"sql": text, "slot": "database", "read": true, "shown": text}` | one of SQL; with `read` only if it reads, otherwise `needs` is answered |
//! | `{"dump": true}`, `{"load": [[name, text]]}` | the session's variables as text, and back |
//! | `{"look": "database"}` | the names of tables, columns and functions |
//! | `{"fresh": true}` | lets go of open sessions |
//!
//! Answers are any number of `print`, `table` and `finding`, and one `done`.

mod look;
mod statement;

use crate::desk::Desk;
use crate::engine::{Source, Thrown};
use crate::prompt::Prompt;
use crate::value::Js;
use crate::{Data, Stated, own_slots};
use rota_sdk::prelude::*;
use rota_sdk::{Context, HostError};
use statement::Transactions;
use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::rc::Rc;

/// How many statements are kept for the report, and how many bytes of them.
const KEPT: usize = 1_000;
const KEPT_BYTES: usize = 1 << 20;

/// Say a line.
pub(crate) fn say(line: &Json) {
    let mut out = std::io::stdout().lock();
    // Whoever listened is gone: the run ends by itself then.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Serve a session until nobody asks any more.
pub(crate) async fn session(cx: Context, arguments: BTreeMap<String, Json>) -> Outcome<Data> {
    let mut asked = std::io::stdin().lock().lines().map_while(Result::ok);
    if asked.next().as_deref() != Some(r#"{"hello":1}"#) {
        let error = Error::new("this is a session of `rota shell`, and nobody is there to talk with it");
        return Err(error.hint("begin another one: rota shell"));
    }
    let desk = Rc::new(Desk::of_session(cx.clone(), own_slots()));
    let arguments = Js::from_json(Json::Object(arguments.into_iter().collect()));
    let prompt = Prompt::new(desk.clone(), arguments).await;
    let prompt = prompt.map_err(|thrown| thrown.into_error(&Source { name: "<rota>", text: "" }))?;
    let mut session = Session { cx, desk, prompt, transactions: Transactions::default(), kept: Kept::default() };
    say(&json!({ "ready": true }));
    for line in asked {
        let Ok(request) = line.parse::<Json>() else { continue };
        let done = session.answer(&request).await;
        say(&json!({ "done": done }));
    }
    if let Err(error) = session.desk.finish().await {
        rota_sdk::warn!("{error}");
    }
    Ok(session.report())
}

struct Session {
    cx: Context,
    desk: Rc<Desk>,
    prompt: Prompt,
    transactions: Transactions,
    kept: Kept,
}

/// What the report says of the session.
#[derive(Default)]
struct Kept {
    statements: Vec<Stated>,
    bytes: usize,
    all: u64,
    failed: u64,
}

fn text<'r>(request: &'r Json, name: &str) -> Option<&'r str> {
    request.get(name).and_then(Json::as_str)
}

impl Session {
    async fn answer(&mut self, request: &Json) -> Json {
        if let Some(script) = text(request, "js") {
            let name = text(request, "name").unwrap_or("[script]").to_owned();
            let source = Source { name: &name, text: script };
            let began = self.begin(request, script);
            let ended = self.prompt.evaluate(source).await;
            let failed = ended.err().map(|thrown| failed_script(thrown, &source));
            return self.end(request, began, failed, json!({}));
        }
        if let (Some(statement), Some(slot)) = (text(request, "sql"), text(request, "slot")) {
            let read = request["read"] == true;
            let began = self.begin(request, statement);
            return match self.transactions.run(&self.desk, slot, statement, read).await {
                // It is asked again, when somebody has agreed to it.
                Ok(done) if done["needs"] == true => done,
                Ok(done) => self.end(request, began, None, done),
                Err(error) => self.end(request, began, Some(failed(&error)), json!({})),
            };
        }
        if request["dump"] == true {
            return match self.prompt.dump().await {
                Ok(variables) => json!({ "variables": variables.into_json() }),
                Err(_) => json!({ "variables": null }),
            };
        }
        if let Some(variables) = request.get("load") {
            let _ = self.prompt.load(Js::from_json(variables.clone())).await;
            return json!({});
        }
        if let Some(slot) = text(request, "look") {
            let names = look::names(&self.desk, slot).await;
            return names.unwrap_or_else(|error| json!({ "error": failed(&error) }));
        }
        if request["fresh"] == true && self.transactions.is_empty() {
            self.desk.forget();
        }
        json!({})
    }

    fn begin(&self, request: &Json, statement: &str) -> Timestamp {
        // What is planned first is on record as the plan's.
        if request["read"] != true {
            let shown = text(request, "shown").unwrap_or(statement);
            rota_sdk::log(rota_sdk::Level::Info, shown, &[("statement", (self.kept.all + 1).to_string())]);
        }
        self.cx.now()
    }

    fn end(&mut self, request: &Json, began: Timestamp, failed: Option<Json>, mut done: Json) -> Json {
        let interrupted = self.desk.is_interrupted();
        if interrupted {
            // What was under way is in no known state.
            let was_open = self.desk.forget();
            self.transactions.clear();
            done["rolled_back"] = json!(was_open);
        }
        let state = match (&failed, interrupted) {
            (_, true) => "interrupted",
            (Some(_), _) => "failed",
            (None, _) => "done",
        };
        let seconds = self.cx.now().seconds_since(began).max(0.0);
        self.kept.keep(text(request, "shown").unwrap_or_default(), state, seconds);
        if request["read"] == true {
            let shown = text(request, "shown").unwrap_or_default();
            rota_sdk::log(rota_sdk::Level::Info, shown, &[("statement", self.kept.all.to_string())]);
        }
        if let Some(failed) = &failed {
            let message = text(failed, "message").unwrap_or_default();
            rota_sdk::log(rota_sdk::Level::Warn, message, &[("statement", self.kept.all.to_string())]);
        }
        done["state"] = json!(state);
        done["error"] = failed.unwrap_or_default();
        done["seconds"] = json!(seconds);
        done["transactions"] = json!(self.transactions.slots());
        done
    }

    fn report(self) -> Report<Data> {
        let told = self.desk.told.take();
        let mut report = told.report;
        let Kept { statements, all, failed, .. } = self.kept;
        if !told.summarised {
            report.summary(match (all, failed) {
                (1, 0) => "1 statement".to_owned(),
                (all, 0) => format!("{all} statements"),
                (all, failed) => format!("{all} statements, {failed} of them not done"),
            });
        }
        report.data(Data {
            output: Vec::new(),
            truncated: false,
            result: Json::Null,
            data: told.data.unwrap_or_default(),
            unused: Vec::new(),
            error: None,
            statements,
        })
    }
}

impl Kept {
    fn keep(&mut self, text: &str, state: &str, seconds: f64) {
        self.all += 1;
        self.failed += u64::from(state != "done");
        self.bytes += text.len();
        if self.statements.len() < KEPT && self.bytes <= KEPT_BYTES {
            self.statements.push(Stated { text: text.to_owned(), state: state.to_owned(), seconds });
        }
    }
}

fn failed_script(thrown: Thrown, source: &Source<'_>) -> Json {
    let at = thrown.at;
    let error = thrown.into_error(source);
    let mut said = failed(&error);
    said["line"] = json!(at.map(|(line, _)| line));
    said
}

fn failed(error: &Error) -> Json {
    let kind = match error.cause() {
        Some(HostError::Denied(_)) => "denied",
        Some(HostError::Cancelled) => "cancelled",
        _ => "failed",
    };
    json!({ "message": error.to_string(), "hint": error.hinted(), "kind": kind, "code": error.code() })
}
