//! The testbed's PostgreSQL: it answers, it can be broken, and it leaves nothing behind.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use rota_testbed::{Postgres, PostgresOptions, PostgresVersion, SmallDisk, TcpProxy, eventually};
use sqlx::{Connection as _, Row as _};

async fn own(version: PostgresVersion) -> Postgres {
    Postgres::start(PostgresOptions {
        version,
        config: vec!["log_statement = all".to_owned()],
        ..PostgresOptions::default()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn both_versions_have_pgvector_and_keep_data_over_stop_and_crash() {
    for version in [PostgresVersion::V16, PostgresVersion::V18] {
        let mut postgres = own(version).await;
        postgres.create_database("an odd \"name\" % 😀").await.unwrap();
        let mut connection = postgres.connect("an odd \"name\" % 😀").await.unwrap();
        let row = sqlx::query("select current_setting('server_version_num')::int / 10000, ('[1,2]'::vector)::text")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(row.get::<i32, _>(0), i32::try_from(version.major()).unwrap());
        assert_eq!(row.get::<String, _>(1), "[1,2]");
        connection.close().await.unwrap();
        postgres.execute("postgres", "create table t as select 7 as n").await.unwrap();

        postgres.stop().await.unwrap();
        assert!(!postgres.is_running());
        postgres.connect("postgres").await.unwrap_err();
        postgres.restart().await.unwrap();
        postgres.kill();
        postgres.connect("postgres").await.unwrap_err();
        postgres.restart().await.unwrap();
        let mut connection = postgres.connect("postgres").await.unwrap();
        assert_eq!(sqlx::query_scalar::<_, i32>("select n from t").fetch_one(&mut connection).await.unwrap(), 7);
        assert!(postgres.log().contains("not properly shut down"), "{}", postgres.log());

        let data = postgres.data();
        drop(postgres);
        assert!(!data.parent().unwrap().exists());
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_a_role_gets_in_with_its_own() {
    let shared = Postgres::shared().await.unwrap();
    let database = shared.fresh_database("roles").await.unwrap();
    let (name, password) = shared.fresh_role("reader", "nocreatedb").await.unwrap();
    let mut connection = sqlx::PgConnection::connect(&database.url_as(&name, &password)).await.unwrap();
    let row =
        sqlx::query("select current_user::text, current_database()::text").fetch_one(&mut connection).await.unwrap();
    assert_eq!((row.get::<String, _>(0), row.get::<String, _>(1)), (name.clone(), database.name().to_owned()));
    let refused = sqlx::PgConnection::connect(&database.url_as(&name, "wrong")).await.unwrap_err();
    assert!(refused.to_string().contains("password authentication failed"), "{refused}");
}

#[tokio::test]
async fn a_fresh_database_is_dropped_with_its_handle_even_while_in_use() {
    let shared = Postgres::shared().await.unwrap();
    let database = shared.fresh_database("dropped").await.unwrap();
    let name = database.name().to_owned();
    let _in_use = database.connect().await.unwrap();
    drop(database);
    let mut connection = shared.connect("postgres").await.unwrap();
    let left: i64 = sqlx::query_scalar("select count(*) from pg_database where datname = $1")
        .bind(name)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_paused_server_does_not_answer_and_goes_on_afterwards() {
    let postgres = own(PostgresVersion::V16).await;
    let mut connection = postgres.connect("postgres").await.unwrap();
    postgres.pause();
    let query = async { sqlx::query("select 1").execute(&mut connection).await };
    let mut query = std::pin::pin!(query);
    tokio::time::timeout(Duration::from_millis(300), &mut query).await.expect_err("it answered");
    postgres.resume();
    query.await.unwrap();
}

#[tokio::test]
async fn a_proxy_stalls_cuts_in_mid_stream_throttles_and_refuses() {
    let shared = Postgres::shared().await.unwrap();
    let proxy = TcpProxy::to_port(shared.port()).await.unwrap();
    let url = shared.url("postgres").replace(&format!(":{}/", shared.port()), &format!(":{}/", proxy.port()));
    let megabytes =
        |count: u32| sqlx::AssertSqlSafe(format!("select repeat('x', 1000000) from generate_series(1, {count})"));

    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    assert_eq!(proxy.connections(), 1);
    proxy.stall();
    {
        let mut stalled = std::pin::pin!(sqlx::query("select 1").execute(&mut connection));
        tokio::time::timeout(Duration::from_millis(300), &mut stalled).await.expect_err("it passed");
        proxy.pass();
        stalled.await.unwrap();
    }

    let before = proxy.forwarded();
    proxy.cut_after(2_500_000);
    let rows = sqlx::query(megabytes(50)).fetch_all(&mut connection).await;
    assert!(rows.is_err(), "the stream was not cut");
    assert_eq!(proxy.forwarded() - before, 2_500_000);
    eventually(Duration::from_secs(5), "the end of the connection", async || {
        Ok((proxy.connections() == 0).then_some(()))
    })
    .await
    .unwrap();

    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    proxy.throttle(4_000_000);
    let start = Instant::now();
    sqlx::query(megabytes(2)).execute(&mut connection).await.unwrap();
    assert!(start.elapsed() > Duration::from_millis(450), "{:?}", start.elapsed());

    proxy.refuse();
    sqlx::query("select 1").execute(&mut connection).await.unwrap_err();
    sqlx::PgConnection::connect(&url).await.unwrap_err();
    proxy.pass();
    sqlx::PgConnection::connect(&url).await.unwrap();
}

#[tokio::test]
async fn a_server_on_a_full_disk_says_so() {
    let Some(disk) = SmallDisk::mount(200).unwrap() else {
        eprintln!("skipped: mounting needs root");
        return;
    };
    let options = PostgresOptions { parent: Some(disk.path().to_owned()), ..PostgresOptions::default() };
    let postgres = Postgres::start(options).await.unwrap();
    disk.fill(1 << 20).unwrap();
    assert!(disk.free().unwrap() <= 1 << 20);
    let error = postgres
        .execute("postgres", "create table t as select repeat(md5(n::text), 50) from generate_series(1, 50000) n");
    let error = format!("{:#}", error.await.unwrap_err());
    assert!(error.contains("No space left on device"), "{error}");
    drop(postgres);
    let path = disk.path().to_owned();
    drop(disk);
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_clock_is_stepped_believes_it() {
    let server = Postgres::start(PostgresOptions { steppable: true, ..PostgresOptions::default() }).await.unwrap();
    let mut connection = server.connect("postgres").await.unwrap();
    for hours in [0, 1, -1, 0] {
        server.step_clock(hours * 3_600).unwrap();
        let query = "select extract(epoch from clock_timestamp())::float8";
        let seconds: f64 = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
        let here = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let off = seconds - here - f64::from(i32::try_from(hours).unwrap()) * 3_600.0;
        assert!(off.abs() < 5.0, "{hours} h: {off}");
    }
}
