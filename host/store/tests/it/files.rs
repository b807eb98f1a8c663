//! The state directory and its file: who may use them, and what happens to one that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support;

use rota_authority::Outcome;
use rota_protocol::{AttemptEnd, End};
use rota_store::{AttemptRecord, Filter, RunState, SqliteOptions, SqliteStore, Store, StoreError};
use sqlx::{ConnectOptions as _, Connection as _};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use support::{Worker, line, record, run, state};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

async fn refusal(path: &Path) -> StoreError {
    match SqliteStore::open(path).await {
        Ok(_) => panic!("{} must be refused", path.display()),
        Err(error) => error,
    }
}

/// A file with one run in it.
async fn filled(path: &Path) -> String {
    let store = support::store(path).await;
    let held = Worker::on(store.clone(), "host").await.begin(run("p")).await.unwrap();
    held.succeed().await;
    store.close().await;
    held.id
}

async fn raw(path: &Path) -> sqlx::SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path.join(SqliteStore::FILE))
        .create_if_missing(true)
        .connect()
        .await
        .unwrap()
}

#[tokio::test]
async fn everything_is_made_for_its_owner_alone() {
    let (_outer, path) = state();
    let path = path.join("deep/er");
    let store = support::store(&path).await;
    store.enqueue(vec![run("p")]).await.unwrap();
    assert_eq!(mode(&path), 0o700);
    for entry in fs::read_dir(&path).unwrap() {
        let file = entry.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    assert!(path.join("rota.db-wal").exists(), "the journal is among those that were looked at");
}

#[tokio::test]
async fn what_is_on_record_is_there_after_closing_and_opening() {
    let (_outer, path) = state();
    let id = filled(&path).await;
    let store = support::store(&path).await;
    assert_eq!(store.run(&id).await.unwrap().state, RunState::Succeeded);
}

#[tokio::test]
async fn a_folder_that_others_may_write_to_is_refused() {
    let (_outer, path) = state();
    filled(&path).await;
    for bad in [0o777, 0o770, 0o702] {
        fs::set_permissions(&path, Permissions::from_mode(bad)).unwrap();
        let error = refusal(&path).await;
        assert!(matches!(error, StoreError::Folder { .. }) && error.to_string().contains("chmod go-w"), "{error}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    support::store(&path).await;
}

#[tokio::test]
async fn a_folder_of_somebody_else_is_refused() {
    let (_outer, path) = state();
    let foreign = if rustix::process::geteuid().is_root() {
        filled(&path).await;
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        path
    } else {
        "/usr".into()
    };
    let error = refusal(&foreign).await;
    assert!(matches!(error, StoreError::Folder { .. }) && error.to_string().contains("belongs to user"), "{error}");
}

#[tokio::test]
async fn a_file_in_the_way_of_the_folder_is_said() {
    let (_outer, path) = state();
    fs::write(&path, "a file").unwrap();
    assert!(matches!(refusal(&path).await, StoreError::Folder { .. }));
    assert_eq!(fs::read(&path).unwrap(), b"a file");
}

#[tokio::test]
async fn a_file_that_others_may_read_is_closed_and_one_that_they_may_write_is_refused() {
    let (_outer, path) = state();
    filled(&path).await;
    let file = path.join(SqliteStore::FILE);
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    support::store(&path).await.close().await;
    assert_eq!(mode(&file), 0o600);
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, StoreError::Corrupt { .. }) && error.to_string().contains("somebody else"), "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    let (_outer, path) = state();
    filled(&path).await;
    let file = path.join(SqliteStore::FILE);
    let good = fs::read(&file).unwrap();
    let cut = good[..4096 + 1000].to_vec();
    let mut scribbled = good.clone();
    scribbled[..100].fill(b'x');
    let mut inside = good.clone();
    inside[100..4096].fill(0xff);
    for (what, content) in
        [("empty", Vec::new()), ("text", b"hello\n".repeat(3000)), ("cut", cut), ("head", scribbled), ("page", inside)]
    {
        fs::write(&file, &content).unwrap();
        let error = refusal(&path).await;
        assert!(matches!(error, StoreError::Corrupt { .. }), "{what}: {error:?}");
        let text = error.to_string();
        assert!(
            text.contains("rota.db") && text.contains("rota store restore") && text.contains("move it away"),
            "{what}: {text}"
        );
        assert!(fs::read(&file).unwrap() == content, "{what}: the file is as it was");
    }
}

#[tokio::test]
async fn a_file_that_is_gone_but_for_its_journal_is_not_replaced() {
    let (_outer, path) = state();
    filled(&path).await;
    fs::rename(path.join(SqliteStore::FILE), path.join("elsewhere")).unwrap();
    fs::write(path.join("rota.db-wal"), "journal").unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, StoreError::Corrupt { .. }) && error.to_string().contains("rota.db-wal"), "{error}");
    assert!(!path.join(SqliteStore::FILE).exists());
}

#[tokio::test]
async fn a_link_and_a_file_of_another_program_are_refused() {
    let (outer, path) = state();
    filled(&path).await;
    let file = path.join(SqliteStore::FILE);
    let elsewhere = outer.path().join("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    assert!(matches!(refusal(&path).await, StoreError::Corrupt { .. }));
    fs::remove_file(&file).unwrap();
    let mut other = raw(&path).await;
    sqlx::query("CREATE TABLE theirs (x)").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let error = refusal(&path).await;
    assert!(error.to_string().contains("another program"), "{error}");
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_a_changed_one_too() {
    let (_outer, path) = state();
    filled(&path).await;
    let mut connection = raw(&path).await;
    sqlx::query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 0)").execute(&mut connection).await.unwrap();
    let error = refusal(&path).await;
    assert!(
        matches!(error, StoreError::Newer { found: 9999, .. }) && error.to_string().contains("newer Rota"),
        "{error}"
    );
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 9999").execute(&mut connection).await.unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET checksum = x'00'").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert!(matches!(refusal(&path).await, StoreError::Corrupt { .. }));
}

#[tokio::test]
async fn what_a_process_left_that_died_while_making_the_file_does_not_matter() {
    let (_outer, path) = state();
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    for leftover in ["rota.db.new", "rota.db.new-wal", "rota.db.new-shm"] {
        fs::write(path.join(leftover), "half").unwrap();
    }
    let id = filled(&path).await;
    assert_eq!(support::store(&path).await.run(&id).await.unwrap().state, RunState::Succeeded);
    assert!(!path.join("rota.db.new").exists());
}

#[tokio::test]
async fn a_full_disk_stops_effects_says_so_and_lets_one_read() {
    let (_outer, path) = state();
    filled(&path).await;
    let options = SqliteOptions { largest: Some(320 * 1024), ..SqliteOptions::default() };
    let store = Arc::new(SqliteStore::open_with(&path, options).await.unwrap());
    let held = Worker::on(store.clone(), "host").await.begin(run("p")).await.unwrap();
    let id = held.id.clone();
    let mut recorded = 0;
    let error = loop {
        match held.effect(&"a long statement ".repeat(500)).await {
            Ok(_) => recorded += 1,
            Err(error) => break error.to_string(),
        }
        assert!(recorded < 1_000, "320 KiB are full some time");
    };
    assert!(error.contains("disk") && error.contains("full") && error.contains("not performed"), "{error}");
    assert_eq!(store.effects(&id).await.unwrap().len(), recorded, "what was answered is on record, and nothing else");
    assert_eq!(store.runs(&Filter::default()).await.unwrap().len(), 2);
    // Lines that are lost are counted when there is room again.
    for _ in 0..10 {
        store.log(&id, line(&"x".repeat(20_000)));
    }
    let _ = store.flush().await;
    store.close().await;
    let store = support::store(&path).await;
    assert_eq!(store.effects(&id).await.unwrap().len(), recorded);
    store.ledger(&id, &held.fence).finish(1, Outcome::Done(String::new())).await.unwrap();
    let end = record(AttemptEnd::InDoubt, End::Unknown);
    store.end_attempt(&id, &held.fence, end).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_said() {
    let (outer, path) = state();
    filled(&path).await;
    fs::set_permissions(path.join(SqliteStore::FILE), Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o500)).unwrap();
    if !rustix::process::geteuid().is_root() {
        assert!(matches!(refusal(&path).await, StoreError::ReadOnly { .. }));
        return;
    }
    // Modes do not bind root: a child looks at it as nobody.
    use std::os::unix::process::CommandExt as _;
    let program = outer.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(outer.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(&path).unwrap() {
        std::os::unix::fs::chown(entry.unwrap().path(), Some(65_534), Some(65_534)).unwrap();
    }
    std::os::unix::fs::chown(&path, Some(65_534), Some(65_534)).unwrap();
    let child = Command::new(program)
        .args(["--ignored", "--exact", "files::child_finds_it_read_only", "--nocapture"])
        .env("STATE", &path)
        .current_dir("/")
        .uid(65_534)
        .gid(65_534)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}

#[tokio::test]
#[ignore = "the child of a_folder_that_cannot_be_written_is_said"]
async fn child_finds_it_read_only() {
    let Some(path) = std::env::var_os("STATE") else { return };
    let error = refusal(Path::new(&path)).await;
    assert!(matches!(error, StoreError::ReadOnly { .. }) && error.to_string().contains("read-only"), "{error:?}");
}

#[tokio::test]
async fn secrets_do_not_reach_the_file() {
    let (_outer, path) = state();
    let secret = rota_telemetry::Secret::new("c4nary-of-the-store");
    let store = support::store(&path).await;
    let held = Worker::on(store.clone(), "host").await.begin(run("p")).await.unwrap();
    let id = held.id.clone();
    let number = held.effect(&format!("password={}", secret.expose())).await.unwrap();
    let outcome = Outcome::Failed(format!("wrong password {}", secret.expose()));
    store.ledger(&id, &held.fence).finish(number, outcome).await.unwrap();
    store.log(&id, line(&format!("trying {}", secret.expose())));
    let json = format!(r#"{{"summary":"used {}"}}"#, secret.expose());
    store.begin_step(&id, &held.fence, "s").await.unwrap();
    store.complete_step(&id, &held.fence, "s", &json).await.unwrap();
    store.register_compensation(&id, &held.fence, "c", &json, "sha256:00").await.unwrap();
    let end = AttemptRecord { report: Some(json.clone()), error: Some(json), ..support::reported() };
    held.end(end).await.unwrap();
    assert_eq!(store.logs(&id, 0, 10).await.unwrap().len(), 1);
    assert_eq!(store.effects(&id).await.unwrap()[0].detail, "password=***");
    for entry in fs::read_dir(&path).unwrap() {
        let content = fs::read(entry.unwrap().path()).unwrap();
        assert!(!content.windows(19).any(|part| part == secret.expose().as_bytes()));
    }
}
