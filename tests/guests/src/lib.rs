//! The probe: one component that does what a test asks for. `{"do": "call", "import": "sql.session.execute", ...}` calls an import
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
        world: "procedure",
        generate_all,
    });
    export!(Component with_types_in self);
    use super::Component;
}

mod calls;
mod misbehave;

use bindings::rota::runbook::reports::{Risk, Severity, Slot};
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
            parameters: json!({ "type": "object" }).to_string(),
            report: json!({ "type": "object" }).to_string(),
            slots: vec![
                slot(
                    "database",
                    "sql",
                    &["read", "write", "maintain", "index", "ddl", "signal", "promote", "copy-out", "copy-in"],
                ),
                slot("bucket", "storage", &["read", "write", "delete"]),
                slot("program", "tool", &["run"]),
                slot("key", "key", &["decrypt"]),
            ],
            risk: Risk::Change,
            confirmation: None,
            idempotent: true,
            examples: vec![],
        }
    }

    async fn run(parameters: String) -> Result<Report, Failure> {
        let parameters: Value = serde_json::from_str(&parameters).unwrap_or_default();
        let data = match parameters["do"].as_str().unwrap_or("nothing") {
            "nothing" => json!({}),
            "call" => calls::call(&parameters).await,
            "calls" => {
                let mut answers = Vec::new();
                for one in parameters["calls"].as_array().into_iter().flatten() {
                    answers.push(calls::call(one).await);
                }
                Value::Array(answers)
            }
            other => misbehave::misbehave(other, &parameters).await,
        };
        Ok(Report {
            status: Severity::Ok,
            summary: "done".into(),
            findings: vec![],
            tables: vec![],
            metrics: vec![],
            data: data.to_string(),
        })
    }
}
