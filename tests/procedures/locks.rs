//! Who waits for whom, compared with what the server itself says.

use crate::{rota, run};
use rota_testbed::{Database, Postgres, PostgresAccess, PostgresOptions, PostgresVersion, eventually};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};
use std::collections::BTreeSet;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(15);

/// The runbook's query, as it stands there.
const RUNBOOK: &str = "\
    SELECT blocked_locks.pid::int8, blocking_locks.pid::int8 FROM pg_catalog.pg_locks blocked_locks \
    JOIN pg_catalog.pg_stat_activity blocked_activity ON blocked_activity.pid = blocked_locks.pid \
    JOIN pg_catalog.pg_locks blocking_locks ON blocking_locks.locktype = blocked_locks.locktype \
    AND blocking_locks.database IS NOT DISTINCT FROM blocked_locks.database AND blocking_locks.relation IS NOT DISTINCT FROM blocked_locks.relation \
    AND blocking_locks.page IS NOT DISTINCT FROM blocked_locks.page AND blocking_locks.tuple IS NOT DISTINCT FROM blocked_locks.tuple \
    AND blocking_locks.virtualxid IS NOT DISTINCT FROM blocked_locks.virtualxid \
    AND blocking_locks.transactionid IS NOT DISTINCT FROM blocked_locks.transactionid \
    AND blocking_locks.classid IS NOT DISTINCT FROM blocked_locks.classid AND blocking_locks.objid IS NOT DISTINCT FROM blocked_locks.objid \
    AND blocking_locks.objsubid IS NOT DISTINCT FROM blocked_locks.objsubid AND blocking_locks.pid != blocked_locks.pid \
    JOIN pg_catalog.pg_stat_activity blocking_activity ON blocking_activity.pid = blocking_locks.pid \
    WHERE NOT blocked_locks.granted AND blocked_activity.datname = $1";

/// Edges as the server gives them.
const EDGES: &str = "\
    select distinct a.pid::int8, b::int8 from pg_stat_activity a, unnest(pg_blocking_pids(a.pid)) b where a.datname = $1";

async fn session(server: &PostgresAccess, database: &str) -> (PgConnection, i64) {
    let mut connection = server.connect(database).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
    (connection, pid.into())
}

/// A session that holds what a statement locks.
async fn holder(server: &PostgresAccess, database: &str, statement: &'static str) -> (PgConnection, i64) {
    let (mut connection, pid) = session(server, database).await;
    connection.execute("begin").await.unwrap();
    connection.execute(statement).await.unwrap();
    (connection, pid)
}

/// A session that waits, until it is ended; it is waiting when this returns.
async fn waiter(
    server: &PostgresAccess,
    database: &str,
    mut connection: PgConnection,
    pid: i64,
    statement: &'static str,
) -> tokio::task::JoinHandle<()> {
    let task = tokio::spawn(async move {
        let _ = connection.execute(statement).await;
        std::future::pending::<()>().await;
    });
    eventually(DEADLINE, "a wait", async || {
        let mut admin = server.connect(database).await?;
        let waits = "select exists (select from pg_locks where pid = $1::int8 and not granted)";
        Ok(sqlx::query_scalar::<_, bool>(waits).bind(pid).fetch_one(&mut admin).await?.then_some(()))
    })
    .await
    .unwrap();
    task
}

async fn begun(server: &PostgresAccess, database: &str, first: &'static str) -> (PgConnection, i64) {
    let (mut connection, pid) = session(server, database).await;
    connection.execute("begin").await.unwrap();
    connection.execute(first).await.unwrap();
    (connection, pid)
}

async fn pairs(database: &Database, query: &'static str) -> Vec<(i64, i64)> {
    let mut admin = database.connect().await.unwrap();
    sqlx::query_as(query).bind(database.name()).fetch_all(&mut admin).await.unwrap()
}

fn edges(answer: &Value) -> BTreeSet<(i64, i64)> {
    let number = |value: &Value| value.as_str().unwrap().parse::<i64>().unwrap();
    let edges = answer["report"]["data"]["edges"].as_array().unwrap();
    edges.iter().map(|edge| (number(&edge["waiter"]), number(&edge["blocker"]))).collect()
}

async fn look(database: &Database, more: &[&str]) -> Value {
    let bind = format!("database={}", database.url());
    let only = format!(r#"databases=["{}"]"#, database.name());
    let arguments = [&["--bind", bind.as_str(), "-p", only.as_str(), "-p", "warn_wait_seconds=0"][..], more].concat();
    let (status, answer) = run(&rota(), "postgres-locks", &arguments).await;
    assert_eq!(status, Some(0), "{answer}");
    answer
}

#[tokio::test]
async fn edges_are_what_the_server_says_where_the_runbook_gives_pairs() {
    for version in [PostgresVersion::V16, PostgresVersion::V18] {
        let server = Postgres::shared_version(version).await.unwrap();
        let database = server.fresh_database("locks").await.unwrap();
        database
            .execute("create table \"Odd orders\" (id int primary key); insert into \"Odd orders\" values (1)")
            .await
            .unwrap();
        let nobody = look(&database, &[]).await;
        assert_eq!(
            (&nobody["report"]["status"], &nobody["report"]["data"]["edges"]),
            (&json!("ok"), &json!([])),
            "{nobody}"
        );

        let (app, password) = server.fresh_role("app", "").await.unwrap();
        database.execute(&format!("grant all on \"Odd orders\" to {app}")).await.unwrap();
        let mut holding = PgConnection::connect(&database.url_as(&app, &password)).await.unwrap();
        let root: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut holding).await.unwrap();
        let root = i64::from(root);
        holding.execute("begin").await.unwrap();
        holding.execute("insert into \"Odd orders\" values (2)").await.unwrap();
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let (connection, pid) = begun(&server, database.name(), "select 1").await;
            tasks.push(
                waiter(&server, database.name(), connection, pid, "lock table \"Odd orders\" in share mode").await,
            );
        }
        let runbook = pairs(&database, RUNBOOK).await;
        assert_eq!(runbook.len(), 16, "as seen: {runbook:?}");
        let answer = look(&database, &[]).await;
        let ours = edges(&answer);
        assert_eq!(ours, pairs(&database, EDGES).await.into_iter().collect());
        assert_eq!(ours.len(), 4, "{answer}");
        assert!(ours.iter().all(|(_, blocker)| *blocker == root));
        let backwards = runbook.iter().filter(|(_, blocking)| *blocking != root).count();
        assert_eq!(backwards, 12, "most of the runbook's rows blame one that waits");
        let data = &answer["report"]["data"];
        assert_eq!((data["roots"].as_array().unwrap().len(), &data["roots"][0]["waiters"]), (1, &json!(4)), "{answer}");
        assert_eq!(data["edges"][0]["object"], "public.\"Odd orders\"");
        let finding = &answer["report"]["findings"][0];
        assert_eq!(finding["remedy"]["plugin"], "postgres-long-queries", "{answer}");

        // The remedy as it stands ends the root, and with it the queue.
        let remedy: Value = match &finding["remedy"]["parameters"] {
            Value::String(text) => serde_json::from_str(text).unwrap(),
            object => object.clone(),
        };
        assert_eq!((&remedy["pid"], &remedy["act"]), (&json!(root), &json!("terminate")), "{answer}");
        let bind = format!("database={}", database.url());
        let mut arguments = vec!["--bind".to_owned(), bind, "--grant".to_owned(), "declared".to_owned()];
        for (name, value) in remedy.as_object().unwrap() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            arguments.extend(["-p".to_owned(), format!("{name}={value}")]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (_, done) = run(&rota(), "postgres-long-queries", &arguments).await;
        assert_eq!(done["report"]["data"]["ended"][0]["outcome"], "ended", "{done}");
        assert!(holding.execute("select 1").await.is_err());
        eventually(DEADLINE, "the end of the queue", async || {
            Ok(pairs(&database, EDGES).await.is_empty().then_some(()))
        })
        .await
        .unwrap();
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Two hold one up, which holds another up; and an exclusive queue, in which one only waits ahead of another.
#[tokio::test]
async fn several_blockers_and_queues() {
    let server = Postgres::shared().await.unwrap();
    let database = server.fresh_database("dag").await.unwrap();
    database.execute("create table t (id int); create table u (id int)").await.unwrap();
    let (_a, first) = holder(&server, database.name(), "lock table t in access share mode").await;
    let (_b, second) = holder(&server, database.name(), "lock table t in access share mode").await;
    let (c, third) = begun(&server, database.name(), "lock table u in exclusive mode").await;
    let c = waiter(&server, database.name(), c, third, "lock table t in access exclusive mode").await;
    let (d, fourth) = begun(&server, database.name(), "select 1").await;
    let d = waiter(&server, database.name(), d, fourth, "lock table u in exclusive mode").await;
    let (e, fifth) = begun(&server, database.name(), "select 1").await;
    let e = waiter(&server, database.name(), e, fifth, "lock table t in access share mode").await;
    let answer = look(&database, &[]).await;
    assert_eq!(edges(&answer), pairs(&database, EDGES).await.into_iter().collect(), "{answer}");
    assert_eq!(edges(&answer), BTreeSet::from([(third, first), (third, second), (fourth, third), (fifth, third)]));
    let roots = answer["report"]["data"]["roots"].as_array().unwrap();
    assert_eq!(roots.iter().map(|root| root["waiters"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 3], "{answer}");
    let lines = |root: usize| roots[root]["tree"].as_array().unwrap().len();
    assert_eq!((lines(0), lines(1)), (4, 2), "what is below both is listed once: {answer}");
    let ahead: Vec<String> = answer["report"]["data"]["edges"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|edge| edge["only_ahead"] == true)
        .map(|edge| edge["waiter"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ahead, [fifth.to_string()], "it waits behind one that waits: {answer}");
    [c, d, e].iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_circle_is_told_as_one() {
    let server = Postgres::shared().await.unwrap();
    let database = server.fresh_database("circle").await.unwrap();
    database.execute("create table t (id int); create table u (id int)").await.unwrap();
    let (mut a, first) = begun(&server, database.name(), "lock table t in exclusive mode").await;
    let (mut b, second) = begun(&server, database.name(), "lock table u in exclusive mode").await;
    for connection in [&mut a, &mut b] {
        connection.execute("set local deadlock_timeout = '10min'").await.unwrap();
    }
    let a = waiter(&server, database.name(), a, first, "lock table u in exclusive mode").await;
    let b = waiter(&server, database.name(), b, second, "lock table t in exclusive mode").await;
    let answer = look(&database, &[]).await;
    let mut circle: Vec<i64> = answer["report"]["data"]["roots"][0]["circle"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key.as_str().unwrap().parse().unwrap())
        .collect();
    circle.sort_unstable();
    let mut expected = vec![first, second];
    expected.sort_unstable();
    assert_eq!(circle, expected, "{answer}");
    [a, b].iter().for_each(tokio::task::JoinHandle::abort);
}

/// A prepared transaction has no session: the server calls it pid 0, and the runbook's join with pg_stat_activity does not show it at all.
#[tokio::test]
async fn prepared_transactions_are_named_with_what_ends_them() {
    for version in [PostgresVersion::V16, PostgresVersion::V18] {
        let config = vec!["max_prepared_transactions = 5".to_owned()];
        let mut server =
            Postgres::start(PostgresOptions { version, config, ..PostgresOptions::default() }).await.unwrap();
        let database = server.fresh_database("prepared").await.unwrap();
        database.execute("create table t (id int)").await.unwrap();
        for statement in [
            "begin; insert into t values (1); prepare transaction 'order ''17'''",
            "begin; create table other (); prepare transaction 'innocent'",
        ] {
            let (mut connection, _) = session(&server, database.name()).await;
            connection.execute(statement).await.unwrap();
            connection.close().await.unwrap();
        }
        for restarted in [false, true] {
            if restarted {
                server.restart().await.unwrap();
            }
            let (connection, pid) = begun(&server, database.name(), "select 1").await;
            let task = waiter(&server, database.name(), connection, pid, "lock table t in access exclusive mode").await;
            assert_eq!(pairs(&database, EDGES).await, [(pid, 0)]);
            assert_eq!(pairs(&database, RUNBOOK).await, [], "the runbook shows nobody");
            let answer = look(&database, &[]).await;
            let edges = answer["report"]["data"]["edges"].as_array().unwrap();
            assert_eq!((edges.len(), &edges[0]["blocker"]), (1, &json!("prepared order '17'")), "{answer}");
            let note = answer["report"]["findings"][0]["remedy"]["note"].as_str().unwrap();
            assert!(note.contains("ROLLBACK PREPARED 'order ''17''';"), "{note}");
            task.abort();
            database.execute(&format!("select pg_terminate_backend({pid})")).await.unwrap();
        }
        // What the note says, as it stands.
        let (mut admin, _) = session(&server, database.name()).await;
        admin.execute("ROLLBACK PREPARED 'order ''17'''").await.unwrap();
        admin.execute("rollback prepared 'innocent'").await.unwrap();
        admin.close().await.unwrap();
        assert_eq!(look(&database, &[]).await["report"]["data"]["edges"], json!([]));
    }
}
