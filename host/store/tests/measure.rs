//! Figures, not tests: `cargo test --release -p rota-store --test measure -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use futures::future::join_all;
use rota_authority::Outcome;
use rota_store::Store;
use std::time::Instant;
use support::{effect, line, run, state};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measure"]
async fn overhead() {
    let (_outer, path) = state();
    let started = Instant::now();
    let store = support::store(&path).await;
    println!("open, new: {:.2} ms", started.elapsed().as_secs_f64() * 1e3);
    store.close().await;
    let started = Instant::now();
    let store = support::store(&path).await;
    println!("open, there: {:.2} ms", started.elapsed().as_secs_f64() * 1e3);
    let run = run("p");
    let id = run.id.clone();
    let started = Instant::now();
    store.begin_run(run).await.unwrap();
    println!("begin a run: {:.2} ms", started.elapsed().as_secs_f64() * 1e3);
    let ledger = store.ledger(&id);
    let mut times = Vec::new();
    for _ in 0..500 {
        let started = Instant::now();
        let number = ledger.begin(effect("vacuum (analyze) public.orders")).await.unwrap();
        ledger.finish(number, Outcome::Done("3 rows".into())).await.unwrap();
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!("begin + finish of an effect, both synced: median {:.2} ms, 99% {:.2} ms", times[250], times[495]);
    let started = Instant::now();
    join_all((0..1000).map(|_| ledger.begin(effect("at once")))).await;
    println!("1000 effects begun at once: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    let started = Instant::now();
    for n in 0..10_000 {
        store.log(&id, line(&format!("line {n}")));
    }
    store.flush().await.unwrap();
    println!("10,000 log lines: {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    let started = Instant::now();
    store.run(&id).await.unwrap();
    println!("show: {:.2} ms", started.elapsed().as_secs_f64() * 1e3);
}
