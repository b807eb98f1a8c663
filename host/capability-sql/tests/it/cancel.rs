//! What happens on the server when the caller goes away, and to the caller when the server does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test says so by a panic")]

use crate::support;

use rota_authority::{Mode, Outcome, SqlAccess};
use rota_capability_sql::wit::Value;
use rota_capability_sql::{Sessions, Signal};
use rota_testbed::{Database, Postgres, PostgresOptions, TcpProxy, eventually};
use std::time::{Duration, Instant};
use support::{ALL, Run, binding, code, database, error};

const DEADLINE: Duration = Duration::from_secs(10);

/// Wait until a backend runs (or no longer runs) a statement with this text.
async fn active(database: &Database, text: &str, wanted: bool) {
    let sql = "select count(*) from pg_stat_activity where state = 'active' and query like '%' || $1 || '%' and pid <> pg_backend_pid()";
    let mut connection = database.connect().await.unwrap();
    eventually(DEADLINE, if wanted { "a running statement" } else { "its end" }, async || {
        let count: i64 = sqlx::query_scalar(sql).bind(text).fetch_one(&mut connection).await?;
        Ok(((count > 0) == wanted).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn rows_dropped_half_way_stop_the_statement_and_free_the_session() {
    let database = database("drop_rows").await;
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    let pid = session.backend_pid();
    let mut rows = run
        .ask(&session, "select n, 'mark_rows' from (select generate_series(1, 100000000) n) s", vec![])
        .await
        .unwrap();
    rows.batches.recv().await.unwrap();
    active(&database, "mark_rows", true).await;
    drop(rows);
    active(&database, "mark_rows", false).await;
    // The next call waits for that, on the same connection.
    assert_eq!(run.value(&session, "select pg_backend_pid()").await, Value::Int32(pid as i32));
    drop(session);
    run.sessions.quiesce().await;
    // But it is not kept for another run.
    assert_eq!(run.sessions.idle(), 0);
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_on_the_server() {
    let database = database("drop_call").await;
    database.execute("create table t (id int)").await.unwrap();
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    for (mark, statement) in [
        ("mark_one", "select pg_sleep(600), 'mark_one'"),
        ("mark_two", "insert into t select 1 from pg_sleep(600) where 'mark_two' <> ''"),
    ] {
        tokio::select! {
            result = run.execute(&session, statement, &[]) => panic!("{result:?}"),
            () = active(&database, mark, true) => {}
        }
        active(&database, mark, false).await;
    }
    tokio::select! {
        result = run.ask(&session, "select pg_sleep(600), 'mark_three'", vec![]) => drop(result.map(|_| panic!("it ended"))),
        () = active(&database, "mark_three", true) => {}
    }
    active(&database, "mark_three", false).await;
    assert_eq!(run.value(&session, "select count(*) from t").await, Value::Int64(0));
    assert!(run.ledger.effects().iter().all(|effect| effect.outcome == Some(Outcome::Interrupted)));
}

#[tokio::test]
async fn a_run_that_ends_takes_its_statements_along() {
    let database = database("run_ends").await;
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let (one, two, three) = (run.open().await.unwrap(), run.open().await.unwrap(), run.open().await.unwrap());
    let token = run.token(&[]);
    let options = rota_capability_sql::TransactionOptions {
        isolation: rota_capability_sql::wit::Isolation::ReadCommitted,
        read_only: false,
        lock_timeout: None,
    };
    let transaction = three.begin(&token, options).await.unwrap();
    transaction.execute(run.permit().await, "create table t (id int)", &[]).await.unwrap();
    let rows =
        run.ask(&one, "select n, 'mark_ends' from (select generate_series(1, 100000000) n) s", vec![]).await.unwrap();
    tokio::select! {
        result = run.execute(&two, "select pg_sleep(600), 'mark_ends'", &[]) => panic!("{result:?}"),
        () = active(&database, "pg_sleep(600), 'mark_ends'", true) => {}
    }
    // All that the store of the run holds goes, in any order.
    drop((rows, one, two, transaction, three));
    let start = Instant::now();
    run.sessions.quiesce().await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // After that, nothing of it is on the server any more.
    let mut connection = database.connect().await.unwrap();
    let left: i64 = sqlx::query_scalar("select count(*) from pg_stat_activity where application_name like 'rota/%' and datname = current_database() and state <> 'idle'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, 0);
    let there: bool =
        sqlx::query_scalar("select to_regclass('t') is not null").fetch_one(&mut connection).await.unwrap();
    assert!(!there, "the transaction was committed");
}

#[tokio::test]
async fn a_server_that_dies_mid_stream_is_an_error_and_never_an_end() {
    let mut server = Postgres::start(PostgresOptions::default()).await.unwrap();
    let run = Run::new(binding(&server.url("postgres")), Mode::Execute, &["read"]);
    let session = run.open().await.unwrap();
    let mut rows = run.ask(&session, "select n from (select generate_series(1, 100000000) n) s", vec![]).await.unwrap();
    rows.batches.recv().await.unwrap();
    server.kill();
    while rows.batches.recv().await.is_some() {}
    let outcome = error(rows.outcome.await.unwrap());
    assert!(matches!(outcome.kind(), "unavailable" | "failed"), "{outcome:?}");
    let next = error(run.ask(&session, "select 1", vec![]).await);
    assert_eq!(next.kind(), "unavailable", "{next:?}");
    // A session that has done nothing but read goes on when the server is back.
    server.restart().await.unwrap();
    assert_eq!(run.value(&session, "select 1").await, Value::Int32(1));
}

#[tokio::test]
async fn a_connection_cut_mid_stream_is_an_error() {
    let database = database("cut").await;
    let proxy = TcpProxy::to_port(database.server().port()).await.unwrap();
    let url = database.url().replace(&format!(":{}/", database.server().port()), &format!(":{}/", proxy.port()));
    let run = Run::new(binding(&url), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    proxy.cut_after(300_000);
    let mut rows = run
        .ask(&session, "select n, repeat('x', 100) from (select generate_series(1, 1000000) n) s", vec![])
        .await
        .unwrap();
    while rows.batches.recv().await.is_some() {}
    assert_eq!(error(rows.outcome.await.unwrap()).kind(), "unavailable");
    // Where more than reading was done, another connection would not be the same session.
    let session = run.open().await.unwrap();
    run.execute(&session, "create temp table mine (id int)", &[]).await.unwrap();
    proxy.cut();
    assert_eq!(error(run.ask(&session, "select * from mine", vec![]).await).kind(), "unavailable");
    assert_eq!(error(run.ask(&session, "select * from mine", vec![]).await).kind(), "unavailable");
}

#[tokio::test]
async fn a_server_that_does_not_answer_holds_nobody_up() {
    let database = database("stalled").await;
    let proxy = TcpProxy::to_port(database.server().port()).await.unwrap();
    let url = database.url().replace(&format!(":{}/", database.server().port()), &format!(":{}/", proxy.port()));
    let run = Run::new(binding(&url), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    let rows = run.ask(&session, "select n from (select generate_series(1, 100000000) n) s", vec![]).await.unwrap();
    proxy.stall();
    drop((rows, session));
    let start = Instant::now();
    run.sessions.quiesce().await;
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    let refused = error(
        Run::new(
            rota_config::SqlBinding { connect_timeout: rota_config::Duration::from_millis(300), ..binding(&url) },
            Mode::Execute,
            &ALL,
        )
        .open()
        .await,
    );
    assert_eq!(refused.kind(), "unavailable");
    assert!(format!("{refused:?}").contains("connect_timeout"), "{refused:?}");
}

#[tokio::test]
async fn a_backend_that_the_server_ends_is_an_error() {
    let database = database("killed").await;
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let (victim, other) = (run.open().await.unwrap(), run.open().await.unwrap());
    let start = run
        .value(
            &other,
            &format!(
                "select (extract(epoch from backend_start) * 1000000)::int8 from pg_stat_activity where pid = {}",
                victim.backend_pid()
            ),
        )
        .await;
    let Value::Int64(start) = start else { panic!("{start:?}") };

    // Another start is another backend.
    assert!(!other.signal(run.permit().await, Signal::Terminate, victim.backend_pid(), start + 1).await.unwrap());
    assert!(!other.signal(run.permit().await, Signal::Cancel, 1, start).await.unwrap());
    assert_eq!(
        error(other.signal(run.permit().await, Signal::Cancel, other.backend_pid(), start).await).kind(),
        "invalid-argument"
    );

    let (cancelled, ()) = tokio::join!(run.execute(&victim, "select pg_sleep(600), 'mark_victim'", &[]), async {
        active(&database, "mark_victim", true).await;
        assert!(other.signal(run.permit().await, Signal::Cancel, victim.backend_pid(), start).await.unwrap());
    });
    assert_eq!(error(cancelled).kind(), "cancelled");
    assert!(other.signal(run.permit().await, Signal::Terminate, victim.backend_pid(), start).await.unwrap());
    let ended = error(run.ask(&victim, "select 1", vec![]).await);
    assert!(code(&ended) == "57P01" || ended.kind() == "unavailable", "{ended:?}");
}

#[tokio::test]
async fn a_role_that_may_not_see_a_backend_is_told_so() {
    let database = database("blind").await;
    let (user, password) =
        database.server().fresh_role("blind", "nosuperuser in role pg_signal_backend").await.unwrap();
    let run = Run::new(binding(&database.url_as(&user, &password)), Mode::Execute, &["read", "signal"]);
    let session = run.open().await.unwrap();
    let target = database.connect().await.unwrap();
    let pid = run
        .value(
            &session,
            "select min(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
        )
        .await;
    let Value::Int32(pid) = pid else { panic!("{pid:?}") };
    let refused = error(session.signal(run.permit().await, Signal::Terminate, pid as u32, 0).await);
    assert_eq!(code(&refused), "42501", "{refused:?}");
    drop(target);
}

#[tokio::test]
async fn a_token_for_another_run_opens_nothing() {
    let database = database("tokens").await;
    let sessions = Sessions::default();
    let mine = Run::on(sessions.clone(), "mine", binding(&database.url()), Mode::Execute, &["read"]);
    let theirs = Run::on(sessions, "theirs", binding(&database.url()), Mode::Execute, &["read"]);
    let session = mine.open().await.unwrap();
    let refused =
        error(session.query(&theirs.token(&[SqlAccess::Read]), "select 1".into(), vec![], true, support::ROW).await);
    assert_eq!(refused.kind(), "denied");
}
