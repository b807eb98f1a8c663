//! Long statements and transactions: shown, cancelled, ended.

use crate::{rota, run};
use rota_testbed::{Database, Postgres, PostgresOptions, PostgresVersion, eventually};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(15);

/// A session of a role, and its process id.
async fn client(url: &str) -> (PgConnection, i64) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
    (connection, pid.into())
}

/// Wait until a session is in a state.
async fn in_state(database: &Database, pid: i64, wanted: &str) {
    eventually(DEADLINE, wanted, async || {
        let mut connection = database.connect().await?;
        let state: Option<Option<String>> =
            sqlx::query_scalar("select state from pg_stat_activity where pid = $1::int8")
                .bind(pid)
                .fetch_optional(&mut connection)
                .await?;
        Ok((state.flatten().as_deref() == Some(wanted)).then_some(()))
    })
    .await
    .unwrap();
}

fn outcome(answer: &Value, pid: i64) -> &Value {
    let ended = answer["report"]["data"]["ended"].as_array().unwrap();
    ended.iter().find(|one| one["pid"] == pid).map_or(&Value::Null, |one| &one["outcome"])
}

fn listed(answer: &Value) -> Vec<i64> {
    answer["report"]["data"]["long"].as_array().unwrap().iter().map(|one| one["pid"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn statements_are_cancelled_and_idle_transactions_are_not() {
    for version in [PostgresVersion::V16, PostgresVersion::V18] {
        let server = Postgres::shared_version(version).await.unwrap();
        let database = server.fresh_database("long").await.unwrap();
        database.execute("create table cards (number text)").await.unwrap();
        let (app, password) = server.fresh_role("app", "").await.unwrap();
        let url = database.url_as(&app, &password);
        let (mut running, statement) = client(&url).await;
        let cancelled =
            tokio::spawn(async move { running.execute("select pg_sleep(60), 'c4nary-4711'").await.map(drop) });
        let (mut idle, in_transaction) = client(&url).await;
        idle.execute("begin; select 'c4nary-4712'").await.unwrap();
        in_state(&database, statement, "active").await;
        in_state(&database, in_transaction, "idle in transaction").await;
        // A cancel of the second is a success that does nothing (seen).
        let mut admin = database.connect().await.unwrap();
        let told: bool = sqlx::query_scalar("select pg_cancel_backend($1::int4)")
            .bind(in_transaction as i32)
            .fetch_one(&mut admin)
            .await
            .unwrap();
        assert!(told);
        in_state(&database, in_transaction, "idle in transaction").await;

        let rota = rota();
        let bind = format!("database={}", database.url());
        let zero = [
            "--bind",
            bind.as_str(),
            "--grant",
            "declared",
            "-p",
            "min_statement_seconds=0",
            "-p",
            "min_transaction_seconds=0",
        ];
        let here = format!(r#"databases=["{}"]"#, database.name());
        let common = [&zero[..], &["-p", here.as_str()]].concat();
        let (status, seen) = run(&rota, "postgres-long-queries", &common).await;
        assert_eq!(status, Some(0), "{seen}");
        let mut found = listed(&seen);
        found.sort_unstable();
        let mut expected = vec![statement, in_transaction];
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert!(!seen.to_string().contains("c4nary"), "values of statements are somebody's data: {seen}");
        assert!(seen.to_string().contains("pg_sleep(?)"), "{seen}");
        let (_, plan) =
            run(&rota, "postgres-long-queries", &[&common[..], &["-p", "act=terminate", "--plan"]].concat()).await;
        assert_eq!(
            (outcome(&plan, statement), outcome(&plan, in_transaction)),
            (&json!("planned"), &json!("planned")),
            "{plan}"
        );
        assert_eq!(plan["effects"].as_array().unwrap().len(), 2);

        let (_, done) = run(&rota, "postgres-long-queries", &[&common[..], &["-p", "act=cancel"]].concat()).await;
        assert_eq!(
            (outcome(&done, statement), outcome(&done, in_transaction)),
            (&json!("cancelled"), &json!("left")),
            "{done}"
        );
        let why = cancelled.await.unwrap().unwrap_err().to_string();
        assert!(why.contains("canceling statement due to user request"), "{why}");
        in_state(&database, in_transaction, "idle in transaction").await;

        // The remedy names pid and start; another start is another session.
        let start = done["report"]["data"]["ended"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["pid"] == in_transaction)
            .unwrap()["backend_start"]
            .clone();
        let named = |start: &str| format!("backend_start={start}");
        let pid = format!("pid={in_transaction}");
        let other = named("2001-01-01T00:00:00Z");
        let act = ["--bind", bind.as_str(), "--grant", "declared", "-p", "act=terminate", "-p", pid.as_str(), "-p"];
        let (_, nobody) = run(&rota, "postgres-long-queries", &[&act[..], &[other.as_str()]].concat()).await;
        assert_eq!(nobody["report"]["data"]["ended"], json!([]), "{nobody}");
        let this = named(start.as_str().unwrap());
        let (_, done) = run(&rota, "postgres-long-queries", &[&act[..], &[this.as_str()]].concat()).await;
        assert_eq!(outcome(&done, in_transaction), "ended", "{done}");
        assert!(idle.execute("select 1").await.is_err());
    }
}

/// A session that takes no notice of a cancel is ended, and a superuser's is not touched.
#[tokio::test]
async fn what_minds_no_cancel_is_ended_and_superusers_are_not() {
    let server = Postgres::shared().await.unwrap();
    let database = server.fresh_database("stubborn").await.unwrap();
    let (app, password) = server.fresh_role("app", "").await.unwrap();
    let (mut stubborn, pid) = client(&database.url_as(&app, &password)).await;
    // It catches the cancel and sleeps on: only query_canceled named by itself can be caught.
    let work = tokio::spawn(async move {
        let block = "do $$ begin loop begin perform pg_sleep(60); exception when query_canceled then null; end; end loop; end $$";
        stubborn.execute(block).await.map(drop)
    });
    let (mut own, superuser) = client(&database.url()).await;
    let superusers = tokio::spawn(async move { own.execute("select pg_sleep(60)").await.map(drop) });
    in_state(&database, pid, "active").await;
    in_state(&database, superuser, "active").await;
    let rota = rota();
    let bind = format!("database={}", database.url());
    let common =
        ["--bind", bind.as_str(), "--grant", "declared", "-p", "min_statement_seconds=0", "-p", "wait_seconds=1", "-p"];
    let (_, said) = run(&rota, "postgres-long-queries", &[&common[..], &["act=cancel"]].concat()).await;
    assert_eq!(
        (outcome(&said, pid), outcome(&said, superuser)),
        (&json!("still_there"), &json!("protected")),
        "{said}"
    );
    let (_, said) = run(&rota, "postgres-long-queries", &[&common[..], &["act=cancel-then-terminate"]].concat()).await;
    assert_eq!(outcome(&said, pid), "ended", "{said}");
    assert!(work.await.unwrap().is_err());
    in_state(&database, superuser, "active").await;
    superusers.abort();
}

/// `state <> 'idle'` finds the walsender, which feeds a standby or an archive (seen); it is no client.
#[tokio::test]
async fn the_walsender_is_no_long_query() {
    let server = Postgres::start(PostgresOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = tokio::process::Command::new(server.program("pg_receivewal").unwrap());
    receiver
        .args(["--host=127.0.0.1", "--username=postgres", "--no-loop"])
        .arg(format!("--port={}", server.port()))
        .arg(format!("--directory={}", folder.path().display()))
        .env("PGPASSWORD", server.password())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true);
    let mut receiver = receiver.spawn().unwrap();
    let walsender = "select pid::int8 from pg_stat_activity where backend_type = 'walsender' and state <> 'idle'";
    let pid: i64 = eventually(DEADLINE, "a walsender", async || {
        let mut connection = server.connect("postgres").await?;
        Ok(sqlx::query_scalar(walsender).fetch_optional(&mut connection).await?)
    })
    .await
    .unwrap();
    let rota = rota();
    let bind = format!("database={}", server.url("postgres"));
    let all = [
        "--bind",
        bind.as_str(),
        "--grant",
        "declared",
        "-p",
        "min_statement_seconds=0",
        "-p",
        "min_transaction_seconds=0",
        "-p",
        "all_databases=true",
    ];
    let (status, said) = run(&rota, "postgres-long-queries", &[&all[..], &["-p", "act=terminate"]].concat()).await;
    assert_eq!((status, listed(&said)), (Some(0), Vec::new()), "{said}");
    let pid_given = format!("pid={pid}");
    let (_, said) =
        run(&rota, "postgres-long-queries", &[&all[..], &["-p", "act=terminate", "-p", pid_given.as_str()]].concat())
            .await;
    assert_eq!(said["report"]["data"]["ended"], json!([]), "not even when it is named: {said}");
    let mut connection = server.connect("postgres").await.unwrap();
    let still: Option<i64> = sqlx::query_scalar(walsender).fetch_optional(&mut connection).await.unwrap();
    assert_eq!(still, Some(pid));
    receiver.kill().await.unwrap();
}
