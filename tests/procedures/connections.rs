//! Who is connected, and ending what may be ended.

use crate::{rota, run};
use rota_testbed::{Database, Postgres, PostgresVersion, eventually};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(15);

/// A client's session with an application's name, and its process id.
async fn client(url: &str, application: &str) -> (PgConnection, i64) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(format!("set application_name = '{application}'"))).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
    (connection, pid.into())
}

/// The process ids of a database's clients, as the server has them.
async fn pids(database: &Database) -> Vec<i64> {
    let mut connection = database.server().connect("postgres").await.unwrap();
    sqlx::query_scalar("select pid::int8 from pg_stat_activity where datname = $1 order by pid")
        .bind(database.name())
        .fetch_all(&mut connection)
        .await
        .unwrap()
}

fn outcome(answer: &Value, pid: i64) -> &Value {
    let ended = answer["report"]["data"]["ended"].as_array().unwrap();
    ended.iter().find(|one| one["pid"] == pid).map_or(&Value::Null, |one| &one["outcome"])
}

/// The runbook's statement ends what it reaches before a superuser's row and then fails as a whole; nobody can say whom it ended.
#[tokio::test]
async fn idle_sessions_are_ended_one_by_one_and_itemised() {
    for version in [PostgresVersion::V16, PostgresVersion::V18] {
        let server = Postgres::shared_version(version).await.unwrap();
        let database = server.fresh_database("connections").await.unwrap();
        let (app, app_password) = server.fresh_role("app", "").await.unwrap();
        let (ops, ops_password) = server.fresh_role("ops", "in role pg_monitor, pg_signal_backend").await.unwrap();
        let url = database.url_as(&app, &app_password);
        let (_idle, idle) = client(&url, "web").await;
        let (_pool, pool) = client(&url, "pgbouncer-3").await;
        let (_super, superuser) = client(&database.url(), "psql").await;
        let (mut open, in_transaction) = client(&url, "worker").await;
        open.execute("begin").await.unwrap();
        open.execute("select 1").await.unwrap();
        let (mut busy, active) = client(&url, "report").await;
        let busy = tokio::spawn(async move { busy.execute("select pg_sleep(60)").await.map(drop) });
        eventually(DEADLINE, "the busy session", async || {
            let mut connection = database.connect().await?;
            let state: Option<String> = sqlx::query_scalar("select state from pg_stat_activity where pid = $1::int8")
                .bind(active)
                .fetch_one(&mut connection)
                .await?;
            Ok((state.as_deref() == Some("active")).then_some(()))
        })
        .await
        .unwrap();

        // The statement of the runbook, run by the same role: it fails at the superuser's row.
        let as_ops = format!("database={}", database.url_as(&ops, &ops_password));
        let mut script = PgConnection::connect(&database.url_as(&ops, &ops_password)).await.unwrap();
        let seen =
            sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where pid = $1::int8").bind(superuser);
        let seen = seen.execute(&mut script).await.unwrap_err().to_string();
        assert!(seen.contains("permission denied") || seen.contains("must be a superuser"), "{seen}");
        script.close().await.unwrap();

        let rota = rota();
        let common = [
            "--bind",
            as_ops.as_str(),
            "--grant",
            "declared",
            "-p",
            "idle_seconds=0",
            "-p",
            "idle_in_transaction_seconds=0",
        ];
        let protected = ["-p", "end_idle=true", "-p", r#"protected_applications=["pgbouncer*"]"#];
        // Observed only.
        let (status, seen) = run(&rota, "postgres-connections", &common).await;
        assert_eq!(status, Some(0), "{seen}");
        assert_eq!((&seen["effects"], &seen["report"]["data"]["ended"]), (&json!([]), &json!([])));
        assert_eq!(seen["report"]["status"], "critical", "{seen}");
        let (_, plan) = run(&rota, "postgres-connections", &[&common[..], &protected, &["--plan"]].concat()).await;
        assert_eq!(outcome(&plan, idle), "planned", "{plan}");
        assert_eq!(plan["effects"].as_array().unwrap().len(), 1, "{plan}");
        let before = pids(&database).await;
        assert!([idle, pool, superuser, in_transaction, active].iter().all(|pid| before.contains(pid)), "{before:?}");

        let (status, done) = run(&rota, "postgres-connections", &[&common[..], &protected].concat()).await;
        assert_eq!(status, Some(0), "{done}");
        assert_eq!(outcome(&done, idle), "ended", "{done}");
        assert_eq!((outcome(&done, pool), outcome(&done, superuser)), (&"protected".into(), &"protected".into()));
        assert_eq!(
            (outcome(&done, in_transaction), outcome(&done, active)),
            (&Value::Null, &Value::Null),
            "those are apart"
        );
        let after = pids(&database).await;
        assert!(!after.contains(&idle), "{after:?}");
        assert!([pool, superuser, in_transaction, active].iter().all(|pid| after.contains(pid)), "{after:?}");
        let mut connection = database.connect().await.unwrap();
        let limits: (i64, i64) = sqlx::query_as(
            "select current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8 \
             - current_setting('reserved_connections')::int8, current_setting('max_connections')::int8",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        let said = &done["report"]["data"]["limits"];
        assert_eq!((said["ceiling"].as_i64(), said["max_connections"].as_i64()), (Some(limits.0), Some(limits.1)));

        let also = ["-p", "end_idle_in_transaction=true"];
        let (_, done) = run(&rota, "postgres-connections", &[&common[..], &also].concat()).await;
        assert_eq!(outcome(&done, in_transaction), "ended", "{done}");
        assert!(open.execute("select 1").await.is_err());
        busy.abort();
    }
}

/// A role that may not signal gets an outcome for each, and no success.
#[tokio::test]
async fn without_privileges_each_is_said_and_nothing_is_ok() {
    let server = Postgres::shared().await.unwrap();
    let database = server.fresh_database("unprivileged").await.unwrap();
    let (app, app_password) = server.fresh_role("app", "").await.unwrap();
    let (watcher, watcher_password) = server.fresh_role("watcher", "in role pg_monitor").await.unwrap();
    let (blind, blind_password) = server.fresh_role("blind", "").await.unwrap();
    let (_one, one) = client(&database.url_as(&app, &app_password), "web").await;
    let (_two, two) = client(&database.url_as(&app, &app_password), "web").await;
    let rota = rota();
    let end = ["--grant", "declared", "-p", "idle_seconds=0", "-p", "end_idle=true"];
    let bind = format!("database={}", database.url_as(&watcher, &watcher_password));
    let (status, said) = run(&rota, "postgres-connections", &[&["--bind", bind.as_str()][..], &end].concat()).await;
    assert_eq!((status, &said["report"]["status"]), (Some(0), &json!("warning")), "{said}");
    assert_eq!(
        (outcome(&said, one), outcome(&said, two)),
        (&json!("not_permitted"), &json!("not_permitted")),
        "{said}"
    );
    let bind = format!("database={}", database.url_as(&blind, &blind_password));
    let (_, said) = run(&rota, "postgres-connections", &[&["--bind", bind.as_str()][..], &end].concat()).await;
    assert_eq!(
        (&said["report"]["status"], &said["report"]["data"]["visibility_complete"]),
        (&json!("unknown"), &json!(false)),
        "{said}"
    );
    // Without the grant nothing is ended: the default grants what only reads.
    let bind = format!("database={}", database.url());
    let read_only = ["--bind", bind.as_str(), "-p", "idle_seconds=0", "-p", "end_idle=true"];
    let said = rota.run(&[&["run", "postgres-connections"][..], &read_only].concat()).await.unwrap();
    assert_eq!(said.status, Some(3), "{said:?}");
    assert!(said.all().contains("signal"), "{said:?}");
    assert!(pids(&database).await.contains(&one));
}
