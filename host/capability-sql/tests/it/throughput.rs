//! How long rows take from the server to a batch, against sqlx alone. A measurement, not a check:
//! `cargo test --release -p rota-capability-sql --test throughput -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test says so by a panic")]

use crate::support;

use futures::TryStreamExt as _;
use rota_authority::Mode;
use sqlx::Row as _;
use std::time::{Duration, Instant};
use support::{Run, binding, database};

const SQL: &str = "select id, small, name, ratio, at from wide";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn a_million_rows() {
    let database = database("throughput").await;
    database
        .execute(
            "create table wide as select n::int8 as id, (n % 1000)::int4 as small, 'name of ' || n as name, n / 7.0::float8 as ratio,
             timestamptz '2026-01-01' + n * interval '1 second' as at from generate_series(1, 1000000) n",
        )
        .await
        .unwrap();
    database.execute("vacuum analyze wide").await.unwrap();
    let run = Run::new(binding(&database.url()), Mode::Execute, &["read"]);
    let session = run.open().await.unwrap();
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        let mut connection = database.connect().await.unwrap();
        let start = Instant::now();
        let mut rows = sqlx::query(SQL).fetch(&mut connection);
        let (mut count, mut sum) = (0, 0);
        while let Some(row) = rows.try_next().await.unwrap() {
            let (id, small, name): (i64, i32, String) = (row.get(0), row.get(1), row.get(2));
            let (ratio, at): (f64, sqlx::types::chrono::DateTime<sqlx::types::chrono::Utc>) = (row.get(3), row.get(4));
            sum += id + i64::from(small) + name.len() as i64 + ratio as i64 + at.timestamp();
            count += 1;
        }
        theirs = theirs.min(start.elapsed());
        assert_eq!(count, 1_000_000);
        assert_ne!(sum, 0);

        let start = Instant::now();
        let mut rows = run.ask(&session, SQL, vec![]).await.unwrap();
        let (mut count, mut batches) = (0, 0);
        while let Some(batch) = rows.batches.recv().await {
            count += batch.len();
            batches += 1;
        }
        rows.outcome.await.unwrap().unwrap();
        ours = ours.min(start.elapsed());
        assert_eq!(count, 1_000_000);
        println!("batches of {:.0} rows", count as f64 / batches as f64);
    }
    println!("sqlx {theirs:?}, batches {ours:?}: {:.2} of it", ours.as_secs_f64() / theirs.as_secs_f64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn small_questions() {
    let database = database("latency").await;
    let run = Run::new(binding(&database.url()), Mode::Execute, &["read"]);
    let start = Instant::now();
    let session = run.open().await.unwrap();
    println!("open, new connection: {:?}", start.elapsed());
    const COUNT: u32 = 300;
    let start = Instant::now();
    for n in 0..COUNT {
        run.rows(&session, &format!("select relname, relkind, oid::regclass from pg_class limit {n}"), vec![])
            .await
            .unwrap();
    }
    println!("a question: {:?}", start.elapsed() / COUNT);
    let mut connection = database.connect().await.unwrap();
    let start = Instant::now();
    for n in 0..COUNT {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "select relname, relkind, oid::regclass::text from pg_class limit {n}"
        )))
        .fetch_all(&mut connection)
        .await
        .unwrap();
    }
    println!("by sqlx: {:?}", start.elapsed() / COUNT);
    drop(session);
    run.sessions.quiesce().await;
}
