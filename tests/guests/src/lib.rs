//! The probe: one component that does what a test asks for. `{"do": "call", "call": {"import": "sql.session.execute", ...}}` calls an import
//! and reports what came back; `{"do": "spin"}` and its like misbehave.

#![allow(
    unsafe_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a guest of tests: generated bindings, and traps are its trade"
)]

mod bindings {
    #![allow(missing_docs, clippy::all)]
    wit_bindgen::generate!({
        path: "../../wit",
        world: "undoable-procedure",
        generate_all,
    });
    export!(Component with_types_in self);
    use super::Component;
}

mod caches;
mod calls;
mod cluster;
mod durable;
mod memory;
mod misbehave;
mod streams;
mod workload;

use bindings::rota::runbook::reports::{Risk, Severity, Slot};
use bindings::rota::runbook::types::Error;
use bindings::{Descriptor, Failure, Guest, Report};
use serde_json::{Value, json};

struct Component;

fn slot(name: &str, capability: &str, accesses: &[&str]) -> Slot {
    Slot {
        name: name.into(),
        capability: capability.into(),
        accesses: accesses.iter().map(|a| (*a).to_owned()).collect(),
        purpose: "Whatever the test asks for.".into(),
        optional: true,
    }
}

impl Guest for Component {
    fn describe() -> Descriptor {
        Descriptor {
            name: "probe".into(),
            version: "0.1.0".into(),
            summary: "Calls every import, and misbehaves in every way.".into(),
            description: "For tests.".into(),
            parameters: parameters(),
            report: json!({ "type": "object" }).to_string(),
            slots: vec![
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
                ),
                slot("bucket", "storage", &["read", "write", "delete"]),
                slot("program", "tool", &["run"]),
                slot("key", "key", &["decrypt"]),
                slot("cache", "cache", &["read", "write", "delete", "debug"]),
                slot("stream", "jetstream", &["read"]),
                slot("cluster", "kubernetes", &["read", "write", "delete", "scale", "exec", "run", "secrets"]),
            ],
            risk: Risk::Change,
            confirmation: None,
            idempotent: true,
            examples: vec![],
        }
    }

    async fn run(parameters: String) -> Result<Report, Failure> {
        let parameters: Value = serde_json::from_str(&parameters).unwrap_or_default();
        let mut cause = None;
        let mut data = match parameters["do"].as_str().unwrap_or("nothing") {
            "nothing" => json!({}),
            "call" => {
                let (data, error) = calls::call(&parameters["call"]).await;
                cause = error;
                data
            }
            "calls" => {
                let mut answers = Vec::new();
                for one in parameters["calls"].as_array().into_iter().flatten() {
                    answers.push(calls::call(one).await.0);
                }
                Value::Array(answers)
            }
            "work" => {
                let data = workload::work(&parameters).await;
                // What went wrong on the way is a failure that may pass, as a procedure's own would be.
                cause = data.get("error").map(|_| Error::Unavailable(data.to_string()));
                if cause.is_some() {
                    let message = format!("the work broke off: {data}");
                    return Err(Failure { message, hint: None, cause, report: None });
                }
                data
            }
            other => misbehave::misbehave(other, &parameters).await,
        };
        if let Some(wanted) = parameters["search"].as_array() {
            let found: Vec<usize> = wanted.iter().map(memory::count).collect();
            data = json!({ "answers": data, "found": found });
        }
        if parameters["fail"].as_bool() == Some(true) {
            return Err(Failure {
                message: "the probe fails as it was told".into(),
                hint: None,
                cause,
                report: Some(report(&data)),
            });
        }
        let status = match parameters["status"].as_str() {
            Some("warning") => Severity::Warning,
            Some("critical") => Severity::Critical,
            Some("unknown") => Severity::Unknown,
            _ => Severity::Ok,
        };
        Ok(Report { status, ..report(&data) })
    }

    async fn compensate(name: String, state: String) -> Result<(), Failure> {
        durable::compensate(&name, &state).await
    }
}

/// Every parameter that some behaviour reads: the host refuses others.
fn parameters() -> String {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "do": { "type": "string", "description": "What to do.", "default": "nothing" },
            "call": { "type": "object", "description": "One import to call, with its arguments." },
            "calls": { "type": "array", "items": { "type": "object" }, "description": "Imports to call one after the other." },
            "fail": { "type": "boolean", "description": "End as a failure; a failed call is its cause." },
            "search": { "type": "array", "description": "Pairs of halves to search this guest's memory for, each joined." },
            "text": { "type": "string", "description": "What to print." },
            "lines": { "type": "integer", "minimum": 1, "description": "How many lines to write." },
            "size": { "type": "integer", "minimum": 0, "description": "How many bytes." },
            "pause": { "type": "integer", "minimum": 0, "description": "Milliseconds after each step." },
            "status": { "type": "string", "description": "What the report says of the state it found." },
            "count": { "type": "integer", "minimum": 0, "description": "How many." },
        },
    })
    .to_string()
}

fn report(data: &Value) -> Report {
    Report {
        status: Severity::Ok,
        summary: "done".into(),
        findings: vec![],
        tables: vec![],
        metrics: vec![],
        data: data.to_string(),
    }
}
