//! A procedure that is written in JavaScript: its source stands in a place of this component that `rota plugin build` fills. The component is
//! then that procedure, and says and does what the source says.

use crate::desk::{Desk, Slot};
use crate::engine::{self, Code, Source};
use crate::value::Js;
use rota_sdk::bindings::rota::runbook::reports as wit;
use rota_sdk::prelude::*;
use rota_sdk::{__private as sdk, Risk};
use std::rc::Rc;

/// How long a source may be, in bytes.
const LONGEST: usize = 512 << 10;
/// Where the place begins. `rota plugin build` looks for it; it stands nowhere else in the component.
const MARK: [u8; 32] = *b"<rota:javascript-program:1>\0\0\0\0\x01";

/// The mark, the source's length (little endian), the source.
#[repr(C)]
struct Place {
    mark: [u8; 32],
    length: [u8; 4],
    text: [u8; LONGEST],
}

static PLACE: Place = Place { mark: MARK, length: [0; 4], text: [0; LONGEST] };

/// The source.
#[derive(Clone, Copy)]
pub(crate) struct Program(&'static str);

impl Program {
    /// What was built in, if anything was.
    pub(crate) fn embedded() -> Option<Self> {
        // What the compiler knows of the place is not what is there when it is read.
        let place = std::hint::black_box(&PLACE);
        let length = u32::from_le_bytes(std::hint::black_box(place.length)) as usize;
        if length == 0 || place.mark[0] != b'<' {
            return None;
        }
        place.text.get(..length).and_then(|text| std::str::from_utf8(text).ok()).map(Self)
    }

    fn source(&self) -> Source<'static> {
        Source { name: "procedure.js", text: self.0 }
    }

    fn said(&self) -> Result<Js> {
        engine::describe(self.source()).map_err(|thrown| (*thrown).into_error(&self.source()))
    }

    /// The declared slots; none where the source does not even say what it is.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let Ok(said) = self.said() else { return Vec::new() };
        let Js::Object(slots) = said.member("slots").clone() else { return Vec::new() };
        let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        slots
            .into_iter()
            .map(|(name, slot)| Slot { name: leak(name), capability: leak(text(slot.member("capability"))) })
            .collect()
    }

    /// What it says of itself. Of a source that cannot be read, why: by the contract's convention in the summary of nothing.
    pub(crate) fn describe(&self) -> wit::Descriptor {
        let said = match self.said() {
            Ok(said) => said,
            Err(error) => {
                let mut nothing = descriptor(&Js::Undefined);
                nothing.summary = match error.hinted() {
                    Some(hint) => format!("{error} ({hint})"),
                    None => error.to_string(),
                };
                return nothing;
            }
        };
        descriptor(&said)
    }

    /// Run it: what its `run` answers is the report's data.
    pub(crate) async fn run(&self, parameters: String) -> Result<wit::Report> {
        let parameters: Json = parameters.parse()?;
        let desk = Rc::new(Desk::new(sdk::context(), self.slots()));
        let ended = engine::run(desk.clone(), Code::Module(self.source()), Js::from_json(parameters)).await;
        let told = desk.told.take();
        let mut report = told.report;
        match ended {
            Ok(answer) => {
                let data = if answer.is_nothing() { told.data.unwrap_or(json!({})) } else { answer.into_json() };
                if !told.summarised && report.status() == Severity::Ok {
                    report.summary("done");
                }
                Ok(report.data(data).into())
            }
            Err(thrown) => {
                report.incomplete();
                Err(thrown.into_error(&self.source()).with_report(report.data(told.data.unwrap_or(json!({})))))
            }
        }
    }
}

fn text(value: &Js) -> String {
    match value {
        Js::Text(text) => text.clone(),
        _ => String::new(),
    }
}

fn texts(value: &Js) -> Vec<String> {
    match value {
        Js::List(items) => items.iter().map(text).collect(),
        _ => Vec::new(),
    }
}

fn descriptor(said: &Js) -> wit::Descriptor {
    let schema = |value: &Js, otherwise: Json| if value.is_nothing() { otherwise } else { value.clone().into_json() };
    let none = json!({ "type": "object", "properties": {}, "additionalProperties": false });
    let slots = match said.member("slots") {
        Js::Object(slots) => slots
            .iter()
            .map(|(name, slot)| wit::Slot {
                name: name.clone(),
                capability: text(slot.member("capability")),
                accesses: texts(slot.member("accesses")),
                purpose: text(slot.member("purpose")),
                optional: matches!(slot.member("optional"), Js::Flag(true)),
            })
            .collect(),
        _ => Vec::new(),
    };
    let examples = match said.member("examples") {
        Js::List(examples) => examples
            .iter()
            .map(|example| wit::Example {
                title: text(example.member("title")),
                parameters: example.member("parameters").clone().into_json().to_string(),
            })
            .collect(),
        _ => Vec::new(),
    };
    wit::Descriptor {
        name: text(said.member("name")),
        version: text(said.member("version")),
        summary: text(said.member("summary")),
        description: text(said.member("description")),
        parameters: schema(said.member("parameters"), none).to_string(),
        report: schema(said.member("report"), json!({})).to_string(),
        slots,
        // What does not say how much harm it can do can do the most.
        risk: match said.member("risk") {
            Js::Text(word) if word == "observe" => Risk::Observe,
            Js::Text(word) if word == "change" => Risk::Change,
            _ => Risk::Destroy,
        },
        confirmation: match said.member("confirmation") {
            Js::Text(word) => Some(word.clone()),
            _ => None,
        },
        idempotent: matches!(said.member("idempotent"), Js::Flag(true)),
        examples,
    }
}
