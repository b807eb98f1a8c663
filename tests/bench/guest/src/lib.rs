//! The guest of the benches. Its parameters are `WHAT [NUMBER] [TEXT]` as plain text, so that `nothing` calls no import and parses
//! nothing; its report's data is one number. What a host that serves runs has a JSON object for parameters: `{}` is nothing, too, and
//! `{"do":"clock"}` tells when the guest's first instruction was.

#![allow(unsafe_code, unreachable_pub, reason = "generated bindings")]

mod bindings {
    #![allow(missing_docs, clippy::all)]
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "procedure",
        generate_all,
    });
    export!(Component with_types_in self);
    use super::Component;
}

use bindings::rota::runbook::reports::{Risk, Severity, Slot};
use bindings::rota::runbook::sql::{Session, Value};
use bindings::rota::runbook::storage::Bucket;
use bindings::rota::runbook::types::Error;
use bindings::rota::runbook::{bytes, tools};
use bindings::{Descriptor, Failure, Guest, Report};
use wit_bindgen::StreamResult;

struct Component;

/// The parameters that ask for the time.
const CLOCK: &str = r#"{"do":"clock"}"#;

/// As many rows at a time as the SDK asks for.
const ROWS: usize = 256;

fn slot(name: &str, capability: &str, access: &str) -> Slot {
    Slot {
        name: name.into(),
        capability: capability.into(),
        accesses: vec![access.into()],
        purpose: "What the bench asks for.".into(),
        optional: true,
    }
}

impl Guest for Component {
    fn describe() -> Descriptor {
        Descriptor {
            name: "bench".into(),
            version: "0.1.0".into(),
            summary: "The guest of the benches.".into(),
            description: "For benches.".into(),
            parameters: r#"{"type":"object","properties":{"do":{"type":"string"}}}"#.into(),
            report: r#"{"type":"integer"}"#.into(),
            slots: vec![
                slot("database", "sql", "read"),
                slot("bucket", "storage", "read"),
                slot("program", "tool", "run"),
            ],
            risk: Risk::Observe,
            confirmation: None,
            idempotent: true,
            examples: vec![],
        }
    }

    async fn run(parameters: String) -> Result<Report, Failure> {
        if parameters == CLOCK {
            return Ok(report(clock()));
        }
        let mut words = parameters.splitn(3, ' ');
        let what = words.next().unwrap_or_default();
        let number = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let text = words.next().unwrap_or_default();
        let result = match what {
            "nothing" | "{}" => Ok(0),
            "pump" => pump().await,
            "rows" => rows(text).await,
            "denied-sql" => denied_sql(number, text).await,
            "stat" => stat(number, text).await,
            "denied-storage" => denied_storage(number, text).await,
            _ => Err(Error::InvalidArgument(what.into())),
        };
        match result {
            Ok(number) => Ok(report(number)),
            Err(error) => {
                Err(Failure { message: format!("{what}: {error:?}"), hint: None, cause: Some(error), report: None })
            }
        }
    }
}

fn report(number: u64) -> Report {
    Report {
        status: Severity::Ok,
        summary: String::new(),
        findings: vec![],
        tables: vec![],
        metrics: vec![],
        data: number.to_string(),
    }
}

/// The machine's clock, microseconds since 1970.
fn clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0)
}

/// Hand a stream that the host made to a sink in the host: how many bytes passed.
async fn pump() -> Result<u64, Error> {
    let child = tools::spawn("program".into(), vec![], None, None).await?;
    Ok(bytes::drain(child.stdout()?).await?.bytes_in)
}

/// Ask so often what is known of an object: a sum of its sizes.
async fn stat(times: u64, name: &str) -> Result<u64, Error> {
    let bucket = Bucket::open("bucket".into()).await?;
    let mut sum = 0_u64;
    for _ in 0..times {
        sum = sum.wrapping_add(bucket.stat(name.into()).await?.size);
    }
    Ok(sum)
}

/// Read rows and look at every value: a sum over all of them.
async fn rows(statement: &str) -> Result<u64, Error> {
    let session = Session::open("database".into()).await?;
    let (_, mut stream, end) = session.query(statement.into(), vec![]).await?;
    let mut sum = 0_u64;
    let mut room = Vec::with_capacity(ROWS);
    loop {
        let (result, mut batch) = stream.read(room).await;
        for row in batch.drain(..) {
            for value in &row {
                sum = sum.wrapping_add(weigh(value));
            }
        }
        room = batch;
        if !matches!(result, StreamResult::Complete(_)) {
            break;
        }
    }
    end.await?;
    Ok(sum)
}

/// The same number as `rows.rs` of the bench makes of the value.
fn weigh(value: &Value) -> u64 {
    match value {
        Value::Int64(n) | Value::Timestamptz(n) => n.cast_unsigned(),
        Value::Float64(x) => x.to_bits(),
        Value::Text(text) => text.len() as u64,
        Value::Boolean(flag) => u64::from(*flag),
        _ => 0,
    }
}

/// Calls that are denied: how many were.
async fn denied_sql(times: u64, slot: &str) -> Result<u64, Error> {
    let mut denied = 0;
    for _ in 0..times {
        denied += u64::from(matches!(Session::open(slot.to_owned()).await, Err(Error::Denied(_))));
    }
    Ok(denied)
}

async fn denied_storage(times: u64, slot: &str) -> Result<u64, Error> {
    let mut denied = 0;
    for _ in 0..times {
        denied += u64::from(matches!(Bucket::open(slot.to_owned()).await, Err(Error::Denied(_))));
    }
    Ok(denied)
}
