//! One session against a real server: what it is set to, what it may do, and what is left for the next one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test says so by a panic")]

use crate::support;

use rota_authority::{Mode, SqlAccess};
use rota_capability_sql::Sessions;
use rota_capability_sql::wit::Value;
use rota_config::Duration;
use support::{ALL, Run, all, binding, code, database, error, text};

#[tokio::test]
async fn a_session_is_named_and_bounded() {
    let database = database("settings").await;
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    for (setting, expected) in [
        ("application_name", "rota/nightly/run-1"),
        ("statement_timeout", "1min"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "10min"),
        ("default_transaction_read_only", "off"),
        ("standard_conforming_strings", "on"),
        ("client_connection_check_interval", "10s"),
        ("timezone", "UTC"),
    ] {
        assert_eq!(
            run.value(&session, &format!("select current_setting('{setting}')")).await,
            text(expected),
            "{setting}"
        );
    }
    assert_eq!(run.value(&session, "select pg_backend_pid()").await, Value::Int32(session.backend_pid() as i32));
    let server = session.server(&run.token(&[])).await.unwrap();
    assert_eq!(
        (server.version_num / 10_000, server.database.as_str(), server.role.as_str()),
        (16, database.name(), "postgres")
    );
    assert!(!server.in_recovery);
    assert!(server.system_identifier.is_some_and(|id| id.parse::<u64>().is_ok()));
}

#[tokio::test]
async fn the_role_of_the_binding_is_in_force_whatever_its_name() {
    let database = database("role").await;
    let (role, _) = database.server().fresh_role("odd", "nosuperuser").await.unwrap();
    let odd = format!("{role}\"; drop table t; --");
    database
        .execute(&format!(
            "create table t (id int); create role \"{}\"; grant select on t to \"{0}\"",
            odd.replace('"', "\"\"")
        ))
        .await
        .unwrap();
    let mut wanted = binding(&database.url());
    wanted.role = Some(odd.clone());
    let run = Run::new(wanted, Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    assert_eq!(run.value(&session, "select current_user::text").await, text(&odd));
    assert_eq!(session.server(&run.token(&[])).await.unwrap().role, odd);
    assert!(run.rows(&session, "select * from t", vec![]).await.unwrap().is_empty());
    assert_eq!(code(&error(run.execute(&session, "insert into t values (1)", &[]).await)), "42501");
    drop(session);
    run.sessions.quiesce().await;
    database
        .execute(&format!("revoke all on t from \"{0}\"; drop role \"{0}\"", odd.replace('"', "\"\"")))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_query_cannot_write_even_when_the_classifier_let_it_through() {
    let database = database("read_only").await;
    database.execute("create table t (id int); create function f() returns int language sql as 'insert into t values (1) returning id'").await.unwrap();
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    let token = run.token(&[SqlAccess::Read]);
    for statement in [
        "insert into t values (1) returning id",
        "select f()",
        "with x as (delete from t returning *) select * from x",
        "create table u (id int)",
        "select nextval('s')",
        "select * from t for update",
        "explain analyze insert into t values (1)",
    ] {
        let refused = error(session.query(&token, statement.into(), vec![], false, support::ROW).await);
        let expected = if statement.contains("nextval") { "42P01" } else { "25006" };
        assert_eq!(code(&refused), expected, "{statement}: {refused:?}");
    }
    assert_eq!(run.value(&session, "select count(*) from t").await, Value::Int64(0));
}

#[tokio::test]
async fn a_plan_and_a_reading_grant_have_read_only_sessions() {
    let database = database("plan").await;
    let plan = Run::new(binding(&database.url()), Mode::Plan, &ALL);
    let reader = Run::new(binding(&database.url()), Mode::Execute, &["read", "copy-out", "signal"]);
    for run in [&plan, &reader] {
        let session = run.open().await.unwrap();
        assert_eq!(run.value(&session, "select current_setting('default_transaction_read_only')").await, text("on"));
    }
    let session = reader.open().await.unwrap();
    let refused = error(reader.execute(&session, "create table t (id int)", &[]).await);
    assert_eq!(code(&refused), "25006", "{refused:?}");
}

#[tokio::test]
async fn execute_runs_outside_of_a_transaction_and_counts_rows() {
    let database = database("execute").await;
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    assert_eq!(run.execute(&session, "create table t (id int primary key, v text)", &[]).await.unwrap(), 0);
    let sql = "insert into t select n, $1 from generate_series(1, $2) n";
    assert_eq!(run.execute(&session, sql, &[text("x"), Value::Int32(5)]).await.unwrap(), 5);
    assert_eq!(
        run.execute(&session, sql.replace("(1,", "(6,").as_str(), &[Value::Null, Value::Int32(7)]).await.unwrap(),
        2
    );
    assert_eq!(run.execute(&session, "vacuum (analyze) t", &[]).await.unwrap(), 0);
    assert_eq!(run.execute(&session, "create index concurrently i on t (v)", &[]).await.unwrap(), 0);
    assert_eq!(run.execute(&session, "update t set v = 'y' where v is null", &[]).await.unwrap(), 2);
    let effects = run.ledger.effects();
    assert_eq!(effects.len(), 6);
    assert_eq!(effects[1].outcome, Some(rota_authority::Outcome::Done("5 rows".into())));
    // Two statements in one string are one too many for the extended protocol.
    assert_eq!(code(&error(run.execute(&session, "select 1; select 2", &[]).await)), "42601");
    let failed = error(run.execute(&session, "insert into t values (1)", &[]).await);
    let rota_contract::Error::Failed(fault) = &failed else { panic!("{failed:?}") };
    assert_eq!((fault.code.as_str(), fault.detail.as_deref()), ("23505", Some("Key (id)=(1) already exists.")));
    assert!(matches!(&run.ledger.effects()[7].outcome, Some(rota_authority::Outcome::Failed(_))));
}

#[tokio::test]
async fn nothing_of_a_run_is_left_for_the_next_one() {
    let database = database("reset").await;
    let sessions = Sessions::default();
    let first = Run::on(sessions.clone(), "first", binding(&database.url()), Mode::Execute, &ALL);
    let session = first.open().await.unwrap();
    let pid = session.backend_pid();
    first.execute(&session, "create temp table leak (id int)", &[]).await.unwrap();
    first.execute(&session, "select pg_advisory_lock(42)", &[]).await.unwrap();
    first.execute(&session, "set work_mem = '123MB'", &[]).await.unwrap();
    first.execute(&session, "prepare leaked as select 1", &[]).await.unwrap();
    first.execute(&session, "listen leaked", &[]).await.unwrap();
    first
        .execute(&session, "set session characteristics as transaction isolation level serializable", &[])
        .await
        .unwrap();
    session.configure(&first.token(&[]), "search_path", "pg_toast").await.unwrap();
    let transaction = session.begin(&first.token(&[]), options(false)).await.unwrap();
    transaction.execute(first.permit().await, "create table public.not_there (id int)", &[]).await.unwrap();
    drop((session, transaction));
    sessions_settled(&sessions).await;

    let second = Run::on(sessions.clone(), "second", binding(&database.url()), Mode::Execute, &["read"]);
    let session = second.open().await.unwrap();
    assert_eq!(session.backend_pid(), pid, "the connection was not used again, so that this test shows nothing");
    for (expression, expected) in [
        ("to_regclass('pg_temp.leak') is null", Value::Boolean(true)),
        ("to_regclass('public.not_there') is null", Value::Boolean(true)),
        ("(select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())", Value::Int64(0)),
        ("current_setting('work_mem')", text("4MB")),
        ("(select count(*) from pg_prepared_statements where name = 'leaked')", Value::Int64(0)),
        ("(select count(*) from pg_listening_channels())", Value::Int64(0)),
        ("current_setting('default_transaction_isolation')", text("read committed")),
        ("current_setting('search_path')", text("\"$user\", public")),
        ("current_setting('application_name')", text("rota/nightly/second")),
        ("current_setting('default_transaction_read_only')", text("on")),
        ("current_setting('statement_timeout')", text("1min")),
    ] {
        assert_eq!(second.value(&session, &format!("select {expression}")).await, expected, "{expression}");
    }
    assert!(session.notices().is_empty());
}

/// Wait until connections are back in the pool, without closing them.
async fn sessions_settled(sessions: &Sessions) {
    rota_testbed::eventually(std::time::Duration::from_secs(10), "a pooled connection", async || {
        Ok((sessions.idle() > 0).then_some(()))
    })
    .await
    .unwrap();
}

fn options(read_only: bool) -> rota_capability_sql::TransactionOptions {
    rota_capability_sql::TransactionOptions {
        isolation: rota_capability_sql::wit::Isolation::ReadCommitted,
        read_only,
        lock_timeout: None,
    }
}

#[tokio::test]
async fn another_role_or_password_is_another_pool() {
    let database = database("pools").await;
    let (user, password) = database.server().fresh_role("other", "superuser").await.unwrap();
    let sessions = Sessions::default();
    let first = Run::on(sessions.clone(), "1", binding(&database.url()), Mode::Execute, &ALL);
    let session = first.open().await.unwrap();
    let pid = session.backend_pid();
    drop(session);
    sessions_settled(&sessions).await;
    let second = Run::on(sessions.clone(), "2", binding(&database.url_as(&user, &password)), Mode::Execute, &ALL);
    let session = second.open().await.unwrap();
    assert_ne!(session.backend_pid(), pid);
    assert_eq!(second.value(&session, "select session_user::text").await, text(&user));
}

#[tokio::test]
async fn a_session_in_another_database_is_closed_and_not_kept() {
    let (own, other) = (database("own").await, database("other").await);
    let run = Run::new(binding(&own.url()), Mode::Execute, &ALL);
    let session = run.sessions.open_database(&run.token(&[]), other.name()).await.unwrap();
    assert_eq!(run.value(&session, "select current_database()::text").await, text(other.name()));
    drop(session);
    run.sessions.settled().await;
    assert_eq!(run.sessions.idle(), 0);
    // Which could not be done while somebody is in it.
    own.execute(&format!("alter database {0} rename to {0}_new", other.name())).await.unwrap();
    own.execute(&format!("drop database {}_new", other.name())).await.unwrap();
}

#[tokio::test]
async fn a_busy_session_says_conflict_until_the_rows_are_read_or_dropped() {
    let database = database("busy").await;
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    let rows = run.ask(&session, "select n from generate_series(1, 100000) n", vec![]).await.unwrap();
    assert_eq!(error(run.ask(&session, "select 1", vec![]).await).kind(), "conflict");
    assert_eq!(error(run.execute(&session, "create table t (id int)", &[]).await).kind(), "conflict");
    assert_eq!(all(rows).await.unwrap().len(), 100_000);
    assert_eq!(run.value(&session, "select 1").await, Value::Int32(1));
    // Calls that are not streams wait for each other instead.
    let token = run.token(&[]);
    let (one, two) = tokio::join!(session.server(&token), run.execute(&session, "create table t (id int)", &[]));
    assert!(one.is_ok() && two.is_ok());
}

#[tokio::test]
async fn rows_are_read_with_backpressure() {
    let database = database("backpressure").await;
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    let mut rows = run
        .ask(&session, "select repeat('x', 10000) from (select generate_series(1, 1000000)) s", vec![])
        .await
        .unwrap();
    assert!(rows.batches.recv().await.is_some_and(|batch| batch.len() <= 27));
    // Ten gigabytes are not read for a reader who does not read: the server waits for us.
    let state = "select wait_event from pg_stat_activity where pid = $1";
    let other = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let watcher = other.open().await.unwrap();
    rota_testbed::eventually(std::time::Duration::from_secs(10), "a server that waits for its client", async || {
        let found = other.rows(&watcher, state, vec![Value::Int32(session.backend_pid() as i32)]).await.unwrap();
        Ok((found == [vec![text("ClientWrite")]]).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_row_over_the_limit_ends_the_answer() {
    let database = database("wide").await;
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    let token = run.token(&[SqlAccess::Read]);
    let refused = error(session.query(&token, "select repeat('x', 2000)".into(), vec![], true, 1000).await);
    assert_eq!(refused.kind(), "quota", "{refused:?}");
    assert!(format!("{refused:?}").contains("host_call_bytes"));
    assert_eq!(run.value(&session, "select 1").await, Value::Int32(1));
}

#[tokio::test]
async fn limits_of_time_say_what_they_are() {
    let database = database("timeouts").await;
    database.execute("create table t (id int)").await.unwrap();
    let mut short = binding(&database.url());
    short.statement_timeout = Duration::from_millis(200);
    short.lock_timeout = Duration::from_millis(100);
    let run = Run::new(short, Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    let late = error(run.ask(&session, "select pg_sleep(60)", vec![]).await);
    assert_eq!(late.kind(), "timed-out", "{late:?}");
    assert!(format!("{late:?}").contains("statement_timeout"), "{late:?}");

    let other = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let holder = other.open().await.unwrap();
    let transaction = holder.begin(&other.token(&[]), options(false)).await.unwrap();
    transaction.execute(other.permit().await, "lock table t", &[]).await.unwrap();
    let rota_contract::Error::Failed(fault) = error(run.execute(&session, "drop table t", &[]).await) else {
        panic!("no fault")
    };
    assert_eq!((fault.code.as_str(), fault.retryable), ("55P03", true));
    let transaction_of_ours = session
        .begin(&run.token(&[]), rota_capability_sql::TransactionOptions { lock_timeout: Some(10), ..options(false) })
        .await
        .unwrap();
    assert_eq!(code(&error(transaction_of_ours.execute(run.permit().await, "lock table t", &[]).await)), "55P03");
    drop(transaction_of_ours);
    assert_eq!(run.value(&session, "select 1").await, Value::Int32(1));
}

#[tokio::test]
async fn only_listed_parameters_are_configured() {
    let database = database("configure").await;
    let run = Run::new(binding(&database.url()), Mode::Execute, &["read"]);
    let session = run.open().await.unwrap();
    let token = run.token(&[]);
    session.configure(&token, "work_mem", "7MB").await.unwrap();
    session.configure(&token, "hnsw.ef_search", "123").await.unwrap();
    session.configure(&token, "search_path", "\"Odd schema\", public").await.unwrap();
    for (setting, expected) in
        [("work_mem", "7MB"), ("hnsw.ef_search", "123"), ("search_path", "\"Odd schema\", public")]
    {
        assert_eq!(run.value(&session, &format!("select current_setting('{setting}')")).await, text(expected));
    }
    for (name, value) in [
        ("role", "postgres"),
        ("default_transaction_read_only", "off"),
        ("search_path", "evil, pg_catalog"),
        ("work_mem", "much"),
        ("work_mem", "2TB"),
    ] {
        assert_eq!(error(session.configure(&token, name, value).await).kind(), "invalid-argument", "{name}");
    }
    assert_eq!(code(&error(session.configure(&token, "hnsw.ef_search", "0").await)), "22023");
    assert_eq!(run.value(&session, "select current_setting('work_mem')").await, text("7MB"));
}

#[tokio::test]
async fn a_run_has_no_more_sessions_than_its_binding_allows() {
    let database = database("quota").await;
    let mut few = binding(&database.url());
    few.max_connections = 2;
    let run = Run::new(few, Mode::Execute, &["read"]);
    let one = run.open().await.unwrap();
    let _two = run.open().await.unwrap();
    let refused = error(run.open().await);
    assert_eq!(refused.kind(), "quota", "{refused:?}");
    drop(one);
    run.open().await.unwrap();
}

#[tokio::test]
async fn a_run_waits_for_the_sessions_of_another() {
    let database = database("places").await;
    let mut one = binding(&database.url());
    one.max_connections = 1;
    one.connect_timeout = Duration::from_millis(500);
    let sessions = Sessions::default();
    let first = Run::on(sessions.clone(), "first", one.clone(), Mode::Execute, &["read"]);
    let second = Run::on(sessions, "second", one, Mode::Execute, &["read"]);
    let held = first.open().await.unwrap();
    let refused = error(second.open().await);
    assert_eq!(refused.kind(), "unavailable", "{refused:?}");
    assert!(format!("{refused:?}").contains("max_connections"), "{refused:?}");
    let (opened, ()) = tokio::join!(second.open(), async { drop(held) });
    opened.unwrap();
}

#[tokio::test]
async fn what_the_server_says_besides_is_kept_masked_and_bounded() {
    use tracing_subscriber::layer::SubscriberExt as _;
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(rota_telemetry::notice_layer()))
        .unwrap();
    let database = database("notices").await;
    let secret = rota_telemetry::Secret::new("c4nary-of-notice");
    database
        .execute(
            "create function speak(times int, what text) returns int language plpgsql stable as
             $$ begin for i in 1..times loop raise notice '% %', i, what; end loop; raise warning 'done'; return times; end $$",
        )
        .await
        .unwrap();
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    run.rows(&session, "select speak(2, $1)", vec![text(secret.expose())]).await.unwrap();
    let said: Vec<(String, String)> = session.notices().into_iter().map(|n| (n.severity, n.message)).collect();
    let expected = [("NOTICE", "1 ***"), ("NOTICE", "2 ***"), ("WARNING", "done")];
    assert_eq!(said, expected.map(|(severity, message)| (severity.to_owned(), message.to_owned())));
    assert!(session.notices().is_empty());
    run.execute(&session, "select speak(1500, 'x')", &[]).await.unwrap();
    let said = session.notices();
    assert_eq!(said.len(), 1_000);
    assert_eq!(said.last().unwrap().message, "done");
    run.execute(&session, "create table if not exists pg_temp.t (id int)", &[]).await.unwrap();
    run.execute(&session, "vacuum (verbose) pg_temp.t", &[]).await.unwrap();
    assert!(
        session.notices().iter().any(|n| n.severity == "INFO" && n.message.contains("vacuum")),
        "VACUUM VERBOSE says nothing"
    );
}
