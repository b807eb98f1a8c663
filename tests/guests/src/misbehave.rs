//! What a plugin must not do, and what ends it.

use crate::bindings::rota::runbook::sql::Session;
use crate::bindings::rota::runbook::{bytes, run};
use crate::bindings::wit_stream;
use crate::calls::stream_of;
use serde_json::{Value, json};

/// Do it.
pub(crate) async fn misbehave(what: &str, parameters: &Value) -> Value {
    match what {
        "spin" => spin(),
        "allocate" => allocate(),
        "recurse" => json!(recurse(u64::MAX)),
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
        "never-finish" => never_finish().await,
        "wait" => never().await,
        "many-calls" => many_calls(parameters).await,
        "environment" => environment(),
        "memory" => {
            // Everything that this guest's memory holds of a canary would be found by the host's search of it.
            json!(std::env::vars().count())
        }
        other => json!({ "error": format!("no such behaviour: {other}") }),
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

fn recurse(n: u64) -> u64 {
    let local = std::hint::black_box([n; 16]);
    if n == 0 { 0 } else { recurse(n - 1).wrapping_add(local[3]) }
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

/// Handles without end: each filter holds a stream and a future.
async fn open_without_end() -> Value {
    let mut held = Vec::new();
    loop {
        match Session::open("database".into()).await {
            Ok(session) => held.push(session),
            Err(_) => return json!({ "held": held.len() }),
        }
    }
}

/// A stream that the host fills and nobody reads.
async fn never_read() -> Value {
    let held = bytes::count(stream_of(vec![0; 1 << 20]));
    never().await;
    drop(held);
    json!({})
}

/// A stream that the host reads and nobody ends.
async fn never_finish() -> Value {
    let (_writer, reader) = wit_stream::new::<u8>();
    let drained = bytes::drain(reader).await;
    json!({ "drained": drained.is_ok() })
}

async fn never() -> Value {
    std::future::pending().await
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
