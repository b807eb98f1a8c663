//! What a plugin must not do, and what ends it.

use crate::bindings::rota::runbook::sql::{Isolation, Session, TransactionOptions};
use crate::bindings::rota::runbook::storage::{Bucket, PutOptions};
use crate::bindings::rota::runbook::{bytes, run, tools};
use crate::bindings::wit_stream;
use crate::calls::stream_of;
use serde_json::{Value, json};

/// Do it.
pub(crate) async fn misbehave(what: &str, parameters: &Value) -> Value {
    match what {
        "spin" => spin(),
        "allocate" => allocate(),
        "recurse" => json!(recurse(u64::MAX)),
        "overflow" => json!(overflow(u64::MAX)),
        "trap" => core::arch::wasm32_unreachable(),
        "panic" => panic!("the probe panics as it was told"),
        "exit" => std::process::exit(3),
        "flood-log" => flood_log(parameters),
        "flood-stdout" => flood_stdout(parameters),
        "print" => {
            println!("{}", parameters["text"].as_str().unwrap_or_default());
            json!({})
        }
        "open-without-end" => open_without_end().await,
        "large-call" => {
            run::log(run::Level::Info, &"x".repeat(64 << 20), &[]);
            json!({})
        }
        "large-report" => {
            json!("x".repeat(usize::try_from(parameters["size"].as_u64().unwrap_or(8 << 20)).unwrap_or(8 << 20)))
        }
        "never-read" => never_read().await,
        "never-finish" => never().await,
        "sleep" => {
            std::thread::sleep(std::time::Duration::from_secs(3600));
            json!({})
        }
        "many-calls" => many_calls(parameters).await,
        "environment" => environment(),
        "hold" => hold().await,
        "leave" => leave().await,
        "streams-without-end" => streams_without_end(),
        "filters-without-end" => filters_without_end(),
        "flood-metric" => flood_metric(parameters),
        "ticks" => ticks(parameters).await,
        other => crate::durable::misuse(other, parameters).await,
    }
}

mod core {
    pub(super) mod arch {
        pub(in super::super) fn wasm32_unreachable() -> ! {
            #[cfg(target_arch = "wasm32")]
            ::core::arch::wasm32::unreachable();
            #[cfg(not(target_arch = "wasm32"))]
            unreachable!()
        }
    }
}

fn spin() -> Value {
    let mut x = 0_u64;
    loop {
        x = std::hint::black_box(x.wrapping_add(1));
    }
}

fn allocate() -> Value {
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        all.push(vec![1; 1 << 20]);
        std::hint::black_box(&all);
    }
}

/// Deep in calls whose frames are the engine's alone: not a byte of linear memory.
#[inline(never)]
fn recurse(n: u64) -> u64 {
    if n == 0 { 1 } else { recurse(n - 1).wrapping_mul(3) ^ n }
}

/// Deep in calls with frames in linear memory, of which the guest has little: it leaves it before the engine's stack is used up.
#[inline(never)]
fn overflow(n: u64) -> u64 {
    let local = std::hint::black_box([n; 64]);
    if n == 0 { 0 } else { overflow(n - 1).wrapping_add(local[3]) }
}

fn flood_log(parameters: &Value) -> Value {
    let lines = parameters["lines"].as_u64().unwrap_or(100_000);
    for n in 0..lines {
        run::log(run::Level::Info, &format!("line {n}"), &[]);
    }
    json!({ "lines": lines })
}

fn flood_stdout(parameters: &Value) -> Value {
    let lines = parameters["lines"].as_u64().unwrap_or(100_000);
    for n in 0..lines {
        println!("line {n}");
    }
    json!({ "lines": lines })
}

/// Handles without end.
async fn open_without_end() -> Value {
    let mut held = Vec::new();
    loop {
        match Bucket::open("bucket".into()).await {
            Ok(bucket) => held.push(bucket),
            Err(error) => return json!({ "held": held.len(), "error": error.to_string() }),
        }
    }
}

/// Streams without end, of which the host is told nothing but that they are there.
fn streams_without_end() -> Value {
    let mut held = Vec::new();
    loop {
        held.push(wit_stream::new::<u8>());
    }
}

/// Filters without end: each holds a stream and a future, and something in the host.
fn filters_without_end() -> Value {
    let mut held = Vec::new();
    loop {
        let (writer, reader) = wit_stream::new::<u8>();
        held.push((writer, bytes::count(reader)));
    }
}

fn flood_metric(parameters: &Value) -> Value {
    let lines = parameters["lines"].as_u64().unwrap_or(100_000);
    for n in 0..lines {
        run::metric("flood", &[("n".into(), n.to_string())], 1.0, run::MetricKind::Counter);
    }
    json!({ "lines": lines })
}

/// A good neighbour: many small calls, each answered.
async fn ticks(parameters: &Value) -> Value {
    let count = parameters["count"].as_u64().unwrap_or(100);
    let mut bytes = 0;
    for _ in 0..count {
        if let Ok(passed) = bytes::drain(stream_of(vec![0; 1000])).await {
            bytes += passed.bytes_in;
        }
    }
    json!({ "bytes": bytes })
}

/// Hold everything that a run can hold, of what is bound: an open transaction that has written, a running program, a half-written
/// object. Then say so and wait to be ended.
async fn hold() -> Value {
    let session = Session::open("database".into()).await;
    let mut transaction = None;
    if let Ok(session) = &session {
        let options = TransactionOptions { isolation: Isolation::ReadCommitted, read_only: false, lock_timeout: None };
        let begun = session.begin(options).await.expect("a transaction");
        begun.execute("insert into probe values (7)".into(), vec![]).await.expect("an insert");
        transaction = Some(begun);
    }
    let child = tools::spawn("program".into(), vec!["1000".into()], None, None).await;
    if let Ok(bucket) = Bucket::open("bucket".into()).await {
        let (mut writer, reader) = wit_stream::new::<u8>();
        let options = PutOptions { if_absent: true, size_estimate: None, media_type: None, sha256: None };
        wit_bindgen::spawn_local(async move {
            let _ = bucket.put("held.bin".into(), reader, options).await;
        });
        // The second write begins when the first was taken: by then the upload is under way.
        writer.write_all(vec![1; 12 << 20]).await;
        std::mem::forget(writer);
    }
    run::log(run::Level::Info, "everything is held", &[]);
    never().await;
    drop((transaction, child));
    json!({})
}

/// Return while an object is half written.
async fn leave() -> Value {
    let bucket = Bucket::open("bucket".into()).await.expect("a bucket");
    let (mut writer, reader) = wit_stream::new::<u8>();
    let options = PutOptions { if_absent: true, size_estimate: None, media_type: None, sha256: None };
    wit_bindgen::spawn_local(async move {
        let _ = bucket.put("left.bin".into(), reader, options).await;
    });
    writer.write_all(vec![1; 1 << 20]).await;
    std::mem::forget(writer);
    json!({ "left": true })
}

/// A stream that the host fills and nobody reads.
async fn never_read() -> Value {
    let held = bytes::count(stream_of(vec![0; 1 << 20]));
    never().await;
    drop(held);
    json!({})
}

/// A host call that is never answered. (A guest that awaits nothing at all breaks off by itself.)
async fn never() -> Value {
    let (_writer, reader) = wit_stream::new::<u8>();
    json!({ "drained": bytes::drain(reader).await.is_ok() })
}

async fn many_calls(parameters: &Value) -> Value {
    let count = parameters["count"].as_u64().unwrap_or(1000);
    let mut writers = Vec::new();
    for _ in 0..count {
        let (writer, reader) = wit_stream::new::<u8>();
        writers.push(writer);
        wit_bindgen::spawn_local(async move {
            let _ = bytes::drain(reader).await;
        });
        wit_bindgen::yield_async().await;
    }
    json!({ "calls": count })
}

fn environment() -> Value {
    json!({
        "variables": std::env::vars().count(),
        "arguments": std::env::args().count(),
        "root": std::fs::read_dir("/").map(|d| d.count()).map_err(|e| e.to_string()).unwrap_or(0),
        "passwd": std::fs::read_to_string("/etc/passwd").is_ok(),
        "connects": std::net::TcpStream::connect("127.0.0.1:5432").is_ok(),
        "clock": std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).is_ok(),
    })
}
