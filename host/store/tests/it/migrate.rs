//! A file of the version before: its records stay, and what was under way is unknown.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support;

use rota_store::{RunState, SqliteStore, Store};
use sqlx::{ConnectOptions as _, Connection as _};
use std::os::unix::fs::PermissionsExt as _;
use support::{Worker, run, state};

const OLD: &str = include_str!("../../migrations/sqlite/0001_runs.sql");

#[tokio::test]
async fn records_of_the_version_before_are_kept() {
    let (_outer, path) = state();
    // A file of this version tells what sqlx writes down of the first migration.
    let (_other, fresh) = state();
    support::store(&fresh).await.close().await;
    let open = |path: std::path::PathBuf| {
        sqlx::sqlite::SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
    };
    let mut connection = open(fresh.join(SqliteStore::FILE)).connect().await.unwrap();
    let (description, checksum): (String, Vec<u8>) =
        sqlx::query_as("select description, checksum from _sqlx_migrations where version = 1")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    let file = path.join(SqliteStore::FILE);
    let mut old = open(file.clone()).pragma("application_id", "1380930625").connect().await.unwrap();
    sqlx::raw_sql(OLD).execute(&mut old).await.unwrap();
    sqlx::raw_sql(
        "create table _sqlx_migrations (version bigint primary key, description text not null, installed_on timestamp not null default current_timestamp,
                                        success boolean not null, checksum blob not null, execution_time bigint not null);
         insert into runs values ('0190-over', 'nightly', 'p', '0.1.0', 'sha256:00', 'execute', 'manual', 1, null, '{}', '{}', 'succeeded',
                                  'machine', 'boot', 'pid', 7, 8, 1700000000000000, 1700000001000000, '{\"status\":\"ok\"}', null, 3);
         insert into runs values ('0191-open', null, 'q', '0.1.0', 'sha256:00', 'plan', 'manual', 1, null, '{}', '{}', 'running',
                                  'machine', 'boot', 'pid', 7, 8, 1700000002000000, null, null, null, 0);
         insert into effects values ('0190-over', 1, 'sql', 'sql.execute', 't', 'write', 'd', 'write', 0, 1700000000000001, 1700000000000002, 'done', 's');
         insert into effects values ('0191-open', 1, 'sql', 'sql.execute', 't', 'write', 'd', 'write', 0, 1700000000000001, null, 'running', null);
         insert into logs values ('0190-over', 1, 1700000000000001, 'info', 'procedure', 'said', '[]');
         insert into artifacts values ('0190-over', 'a', 'text/plain', 1, '00');",
    )
    .execute(&mut old)
    .await
    .unwrap();
    sqlx::query("insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (1, $1, true, $2, 0)")
        .bind(description)
        .bind(checksum)
        .execute(&mut old)
        .await
        .unwrap();
    old.close().await.unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();

    let store = support::store(&path).await;
    let over = store.run("0190-over").await.unwrap();
    assert_eq!(
        (over.state, over.attempt, over.host.as_str(), over.dropped_log_lines),
        (RunState::Succeeded, 1, "machine", 3)
    );
    assert_eq!(over.report.as_deref(), Some(r#"{"status":"ok"}"#));
    assert_eq!(over.run.policy, rota_store::RunPolicy::default());
    assert_eq!(store.effects("0190-over").await.unwrap().len(), 1, "nothing went with the table that was made anew");
    assert_eq!(store.logs("0190-over", 0, 10).await.unwrap().len(), 1);
    assert_eq!(store.artifacts("0190-over").await.unwrap().len(), 1);
    assert_eq!(store.attempts("0190-over").await.unwrap()[0].outcome.as_deref(), Some("reported"));
    assert_eq!(store.reap().await.unwrap(), [("0191-open".to_owned(), RunState::Unknown)]);
    assert_eq!(store.effects("0191-open").await.unwrap()[0].outcome, "unknown");
    Worker::on(store.clone(), "host").await.begin(run("p")).await.unwrap().succeed().await;
    let usage = store.team_usage(&["growth".into()]).await.unwrap();
    assert_eq!((usage.len(), usage[0].runs), (1, 0), "tables that came later are there");
}
