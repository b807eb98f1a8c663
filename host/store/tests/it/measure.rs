//! Figures, not tests: `cargo test --release -p rota-store --test measure -- --ignored --nocapture --test-threads 1`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support;

use futures::future::join_all;
use rota_authority::Outcome;
use rota_protocol::Span;
use rota_store::{Decision, DecisionOutcome, Hint, PostgresStore, ScheduleDefinition, SqliteStore, Store};
use rota_testbed::{Postgres, PostgresOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Worker, effect, line, of_job, run, state};

const SECONDS: u64 = 5;

/// A server that waits for its disk, as one does whose records count.
async fn durable_server() -> Postgres {
    let config = vec![
        "log_min_duration_statement = 20".into(),
        "fsync = on".into(),
        "shared_buffers = 256MB".into(),
        "max_wal_size = 4GB".into(),
    ];
    let server = Postgres::start(PostgresOptions { config, ..PostgresOptions::default() }).await.unwrap();
    server.create_database("rota").await.unwrap();
    server
}

async fn on_postgres(server: &Postgres) -> Arc<dyn Store> {
    Arc::new(PostgresStore::open(&server.url("rota")).await.unwrap())
}

/// How often a second `task` was done by so many at once.
async fn rate<F: Future<Output = ()>>(at_once: usize, task: impl Fn(usize) -> F) -> f64 {
    let began = Instant::now();
    let counts = join_all((0..at_once).map(|n| {
        let task = &task;
        async move {
            let mut count = 0_u32;
            while began.elapsed() < Duration::from_secs(SECONDS) {
                task(n).await;
                count += 1;
            }
            count
        }
    }))
    .await;
    f64::from(counts.iter().sum::<u32>()) / began.elapsed().as_secs_f64()
}

/// Runs that do nothing: made, claimed one by one, ended.
async fn noop_runs(store: &Arc<dyn Store>, at_once: usize) -> f64 {
    let worker = Worker::on(store.clone(), "host").await;
    rate(at_once, |n| {
        let (store, worker) = (store.clone(), worker.clone());
        async move {
            store.enqueue(vec![of_job(&format!("job {n}"))]).await.unwrap();
            loop {
                if let Some(held) = worker.claim(1).await.pop() {
                    held.succeed().await;
                    return;
                }
            }
        }
    })
    .await
}

/// The same, with one claim for as many runs as there are places.
async fn noop_runs_batched(store: &Arc<dyn Store>, places: usize) -> f64 {
    let worker = Worker::on(store.clone(), "host").await;
    let made = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let maker = tokio::spawn({
        let (store, made) = (store.clone(), made.clone());
        async move {
            while made.load(std::sync::atomic::Ordering::Relaxed) {
                join_all((0..places).map(|n| store.enqueue(vec![of_job(&format!("job {n}"))]))).await;
            }
        }
    });
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed() < Duration::from_secs(SECONDS) {
        let held = worker.claim(u32::try_from(places).unwrap()).await;
        done += held.len();
        join_all(held.iter().map(support::Held::succeed)).await;
    }
    let rate = done as f64 / began.elapsed().as_secs_f64();
    made.store(false, std::sync::atomic::Ordering::Relaxed);
    maker.await.unwrap();
    rate
}

/// How long each of the three takes, by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measure"]
async fn parts_of_a_run() {
    let server = durable_server().await;
    let (_outer, path) = state();
    let sqlite: Arc<dyn Store> = Arc::new(SqliteStore::open(&path).await.unwrap());
    for (what, store) in [("postgres", on_postgres(&server).await), ("sqlite", sqlite)] {
        let worker = Worker::on(store.clone(), "host").await;
        let mut parts = [Duration::ZERO; 3];
        const RUNS: u32 = 500;
        for _ in 0..RUNS {
            let began = Instant::now();
            store.enqueue(vec![of_job("job")]).await.unwrap();
            parts[0] += began.elapsed();
            let began = Instant::now();
            let held = worker.claim_one().await;
            parts[1] += began.elapsed();
            let began = Instant::now();
            held.succeed().await;
            parts[2] += began.elapsed();
        }
        println!("{what}: enqueue, claim, end {:?}", parts.map(|part| part / RUNS));
        store.close().await;
    }
}

const BARE: &str = "create table bare (id text primary key, state text not null, at bigint not null, done bigint)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measure"]
async fn noop_runs_on_postgres() {
    let server = durable_server().await;
    server.execute("rota", BARE).await.unwrap();
    for at_once in [1, 16] {
        let mut connections = Vec::new();
        for _ in 0..at_once {
            connections.push(tokio::sync::Mutex::new(server.connect("rota").await.unwrap()));
        }
        let bare = rate(at_once, |n| {
            let connection = &connections[n];
            async move {
                let mut connection = connection.lock().await;
                let id = uuid::Uuid::now_v7().to_string();
                sqlx::query("insert into bare values ($1, 'running', 1)")
                    .bind(&id)
                    .execute(&mut *connection)
                    .await
                    .unwrap();
                sqlx::query("update bare set state = 'done', done = 2 where id = $1")
                    .bind(&id)
                    .execute(&mut *connection)
                    .await
                    .unwrap();
            }
        })
        .await;
        let store = on_postgres(&server).await;
        let ours = noop_runs(&store, at_once).await;
        println!(
            "postgres, {at_once} at once: bare loop of two commits {bare:.0}/s, runs {ours:.0}/s ({:.0} %)",
            ours / bare * 100.0
        );
        if at_once > 1 {
            let batched = noop_runs_batched(&store, at_once).await;
            println!(
                "postgres, {at_once} places, claimed together: runs {batched:.0}/s ({:.0} %)",
                batched / bare * 100.0
            );
        }
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measure"]
async fn noop_runs_on_sqlite() {
    let (_outer, path) = state();
    let (outer, _) = state();
    let mut bare_file = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(outer.path().join("bare.db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
        .connect()
        .await
        .unwrap();
    bare_file.execute(BARE).await.unwrap();
    let bare_file = tokio::sync::Mutex::new(bare_file);
    let store: Arc<dyn Store> = support::store(&path).await;
    for at_once in [1, 16] {
        let bare = rate(at_once, |_| async {
            let id = uuid::Uuid::now_v7().to_string();
            let mut connection = bare_file.lock().await;
            sqlx::query("insert into bare values ($1, 'running', 1, null)")
                .bind(&id)
                .execute(&mut *connection)
                .await
                .unwrap();
            drop(connection);
            let mut connection = bare_file.lock().await;
            sqlx::query("update bare set state = 'done', done = 2 where id = $1")
                .bind(&id)
                .execute(&mut *connection)
                .await
                .unwrap();
        })
        .await;
        let ours = noop_runs(&store, at_once).await;
        println!(
            "sqlite, {at_once} at once: bare loop of two commits {bare:.0}/s, runs {ours:.0}/s ({:.0} %)",
            ours / bare * 100.0
        );
        if at_once > 1 {
            let batched = noop_runs_batched(&store, at_once).await;
            println!(
                "sqlite, {at_once} places, claimed together: runs {batched:.0}/s ({:.0} %)",
                batched / bare * 100.0
            );
        }
    }
    bare_file.into_inner().close().await.unwrap();
}

fn percentiles(what: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times[times.len() * share / 1000];
    println!("{what}: p50 {:.2} ms, p99 {:.2} ms", at(500), at(990));
}

/// From before the enqueue until a worker of another store, hinted, has the run.
async fn pickup(what: &str, store: Arc<dyn Store>, other: Arc<dyn Store>) {
    let mut hints = other.hints();
    let worker = Worker::on(other, "host").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut times = Vec::new();
    for _ in 0..300 {
        while hints.try_recv().is_ok() {}
        let began = Instant::now();
        store.enqueue(vec![run("p")]).await.unwrap();
        let held = loop {
            while hints.recv().await.unwrap() != Hint::Queue {}
            if let Some(held) = worker.claim(1).await.pop() {
                break held;
            }
        };
        times.push(began.elapsed().as_secs_f64() * 1e3);
        held.succeed().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    percentiles(what, times);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measure"]
async fn pickup_latency() {
    let (_outer, path) = state();
    let store: Arc<dyn Store> = support::store(&path).await;
    pickup("sqlite, enqueue to claimed, one process", store.clone(), store).await;
    let server = durable_server().await;
    let (store, other) = (on_postgres(&server).await, on_postgres(&server).await);
    pickup("postgres, enqueue to claimed, one process", store.clone(), store.clone()).await;
    pickup("postgres, enqueue to claimed, two hosts", store, other).await;
}

async fn schedules(what: &str, store: Arc<dyn Store>) {
    const ALL: usize = 1_000_000;
    const OVERDUE: usize = 100_000;
    let now = rota_store::date(store.now().await.unwrap());
    let definitions = || {
        (0..ALL)
            .map(|n| {
                let next =
                    if n < OVERDUE { now - chrono::TimeDelta::minutes(5) } else { now + chrono::TimeDelta::hours(1) };
                ScheduleDefinition {
                    job: format!("job {n:07}"),
                    definition: r#"{"cron":"*/5 * * * *","zone":"Europe/Berlin","overlap":"skip"}"#.into(),
                    hash: format!("{n:032x}"),
                    next: Some(next),
                    fire_at: None,
                }
            })
            .collect::<Vec<_>>()
    };
    let began = Instant::now();
    store.apply_schedules(definitions(), "ada").await.unwrap();
    println!("{what}: 1M schedules applied, new: {:.1} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    store.apply_schedules(definitions(), "ada").await.unwrap();
    println!("{what}: 1M schedules applied, unchanged: {:.1} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    let mut first = None;
    let mut decided = 0;
    loop {
        let (_, due) = store.due_schedules(Span(0), 1_000).await.unwrap();
        if due.is_empty() {
            break;
        }
        let decisions: Vec<_> = due
            .iter()
            .map(|row| {
                let nominal = rota_store::date(row.cursor.next.unwrap());
                Decision {
                    job: row.job.clone(),
                    read: row.cursor.version,
                    nominal,
                    outcome: DecisionOutcome::Fire(Box::new(of_job(&row.job))),
                    next: Some(now + chrono::TimeDelta::hours(1)),
                    fire_at: None,
                    also: Vec::new(),
                    missed_more: 0,
                }
            })
            .collect();
        let answers = store.decide(decisions, "host").await.unwrap();
        decided += answers.iter().filter(|answer| answer.is_ok()).count();
        first.get_or_insert_with(|| began.elapsed());
    }
    println!(
        "{what}: {decided} overdue decided: {:.1} s, the first after {:.0} ms",
        began.elapsed().as_secs_f64(),
        first.unwrap().as_secs_f64() * 1e3
    );
    // A claim among 100,000 jobs that wait.
    let worker = Worker::on(store.clone(), "host").await;
    let mut times = Vec::new();
    for _ in 0..50 {
        let began = Instant::now();
        assert_eq!(worker.claim(16).await.len(), 16);
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    percentiles(&format!("{what}: claim of 16 of 100,000 queued runs of as many jobs"), times);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measure"]
async fn a_million_schedules() {
    let (_outer, path) = state();
    schedules("sqlite", Arc::new(SqliteStore::open(&path).await.unwrap())).await;
    let server = durable_server().await;
    schedules("postgres", on_postgres(&server).await).await;
}

async fn effects(what: &str, store: Arc<dyn Store>) {
    let held = Worker::on(store.clone(), "host").await.begin(run("p")).await.unwrap();
    let ledger = store.ledger(&held.id, &held.fence);
    let mut times = Vec::new();
    for _ in 0..500 {
        let began = Instant::now();
        let number = ledger.begin(effect("vacuum (analyze) public.orders")).await.unwrap();
        ledger.finish(number, Outcome::Done("3 rows".into())).await.unwrap();
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    percentiles(&format!("{what}: begin + finish of an effect, both synced"), times);
    let began = Instant::now();
    join_all((0..1000).map(|_| ledger.begin(effect("at once")))).await;
    println!("{what}: 1000 effects begun at once: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    let began = Instant::now();
    for n in 0..10_000 {
        store.log(&held.id, line(&format!("line {n}")));
    }
    store.flush().await.unwrap();
    println!("{what}: 10,000 log lines: {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    let began = Instant::now();
    store.run(&held.id).await.unwrap();
    println!("{what}: show: {:.2} ms", began.elapsed().as_secs_f64() * 1e3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measure"]
async fn overhead() {
    let (_outer, path) = state();
    let began = Instant::now();
    let store = support::store(&path).await;
    println!("sqlite: open, new: {:.2} ms", began.elapsed().as_secs_f64() * 1e3);
    store.close().await;
    let began = Instant::now();
    let store = support::store(&path).await;
    println!("sqlite: open, there: {:.2} ms", began.elapsed().as_secs_f64() * 1e3);
    effects("sqlite", store).await;
    let server = durable_server().await;
    effects("postgres", on_postgres(&server).await).await;
}
