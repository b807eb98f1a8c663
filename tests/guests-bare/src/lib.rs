//! A component of the world `procedure`, without the export `compensate`: it tries to register a compensation all the same, and reports
//! what came back.

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

use bindings::rota::runbook::reports::{Risk, Severity};
use bindings::rota::runbook::run::Compensation;
use bindings::{Descriptor, Failure, Guest, Report};
use serde_json::json;

struct Component;

impl Guest for Component {
    fn describe() -> Descriptor {
        Descriptor {
            name: "probe-bare".into(),
            version: "0.1.0".into(),
            summary: "Registers a compensation that it could not carry out.".into(),
            description: "For tests.".into(),
            parameters: json!({ "type": "object", "additionalProperties": false }).to_string(),
            report: json!({ "type": "object" }).to_string(),
            slots: vec![],
            risk: Risk::Change,
            confirmation: None,
            idempotent: true,
            examples: vec![],
        }
    }

    async fn run(_: String) -> Result<Report, Failure> {
        let answer = match Compensation::register("bare".into(), "{}".into()).await {
            Ok(_) => "registered".to_owned(),
            Err(error) => error.to_string(),
        };
        Ok(Report {
            status: Severity::Ok,
            summary: answer,
            findings: vec![],
            tables: vec![],
            metrics: vec![],
            data: "{}".into(),
        })
    }
}
