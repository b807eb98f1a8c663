//! Opening, making and migrating the file.
//!
//! The file is made beside its place, with its schema, and renamed: whoever finds a file there finds a whole one, and an empty
//! or half one is damage, not a new installation. A lock file keeps two processes from doing it at once.

use crate::StoreError;
use crate::additions::ADDITIONS;
use crate::folder::StateFolder;
use crate::session::understand_sqlite;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The schema's history. Forward only.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

/// Tells our files from other SQLite files: "ROTA".
const APPLICATION: i64 = 0x524f_5441;

/// How long a locked file is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// Connections for reading.
const READERS: u32 = 4;

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        // As in PostgreSQL's schema. And a table that is made anew must not take the rows with it that refer to it.
        .foreign_keys(false)
        .log_statements(tracing::log::LevelFilter::Off)
        .log_slow_statements(tracing::log::LevelFilter::Off, Duration::ZERO)
}

fn wrong(path: &Path, error: &sqlx::Error) -> StoreError {
    understand_sqlite(&path.display().to_string(), error)
}

/// The connections for reading, opened when they are needed.
pub(super) fn readers(path: &Path) -> SqlitePool {
    let options = options(path).pragma("query_only", "on");
    SqlitePoolOptions::new().max_connections(READERS).min_connections(0).connect_lazy_with(options)
}

/// The connection for writing, to a file with the newest schema.
pub(super) async fn writer(
    folder: &StateFolder,
    path: &Path,
    largest: Option<u64>,
) -> Result<SqliteConnection, StoreError> {
    let _lock = lock(folder).await?;
    match std::fs::symlink_metadata(path) {
        Ok(_) => folder.check_file(path)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(path).await?,
        Err(error) => return Err(StoreError::from_io(path, &error)),
    }
    let mut options = options(path);
    if let Some(bytes) = largest {
        // SQLite counts pages of 4 KiB.
        options = options.pragma("max_page_count", (bytes / 4096).max(1).to_string());
    }
    let mut connection = options.connect().await.map_err(|error| wrong(path, &error))?;
    check_schema(&mut connection, path).await?;
    Ok(connection)
}

/// One process at a time makes or migrates the file. Dropping the file unlocks it, as does the process's end.
pub(super) async fn lock(folder: &StateFolder) -> Result<File, StoreError> {
    let path = folder.path().join("rota.lock");
    let failed = |error: std::io::Error| StoreError::from_io(&path, &error);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed)?;
    let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
    locked.map_err(|_| StoreError::Closed)?.map_err(|error| StoreError::from_io(folder.path(), &error))
}

/// Make a file with the newest schema.
async fn make(path: &Path) -> Result<(), StoreError> {
    let journal = with_suffix(path, "-wal");
    if journal.exists() {
        return Err(StoreError::Corrupt {
            place: path.display().to_string(),
            reason: format!("the file is gone, and its journal {} is still there", journal.display()),
        });
    }
    let new = with_suffix(path, ".new");
    let connection = make_beside(&new).await?;
    connection.close().await.map_err(|error| wrong(path, &error))?;
    put(&new, path)
}

/// Make a file that is not in its place yet, with the newest schema and nothing in it.
pub(super) async fn make_beside(new: &Path) -> Result<SqliteConnection, StoreError> {
    let failed = |error: std::io::Error| StoreError::from_io(new, &error);
    // What a process left that died here; the lock says that none is at it now.
    for leftover in with_journals(new) {
        match std::fs::remove_file(leftover) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(new).map_err(failed)?;
    let mut connection = options(new)
        .pragma("application_id", APPLICATION.to_string())
        .connect()
        .await
        .map_err(|error| wrong(new, &error))?;
    MIGRATIONS.run_direct(None, &mut connection, false).await.map_err(|error| migration_failed(new, error))?;
    add(&mut connection, new).await?;
    Ok(connection)
}

/// Add the tables that are beside the history, where they are not there.
async fn add(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let failed_at = |error: sqlx::Error| wrong(path, &error);
    for addition in &ADDITIONS {
        let there: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = $1")
            .bind(addition.table)
            .fetch_one(&mut *connection)
            .await
            .map_err(failed_at)?;
        if there == 0 {
            let text = format!("begin immediate; {} commit;", addition.sqlite);
            sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut *connection).await.map_err(failed_at)?;
        }
    }
    Ok(())
}

/// Put a file that is closed in its place.
pub(super) fn put(new: &Path, path: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| StoreError::from_io(path, &error);
    std::fs::rename(new, path).map_err(failed)?;
    // The name is on disk when its folder is.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all()).map_err(failed)
}

/// A file and its journals.
pub(super) fn with_journals(path: &Path) -> [PathBuf; 3] {
    [path.to_owned(), with_suffix(path, "-wal"), with_suffix(path, "-shm")]
}

/// Refuse what is not ours or newer than we are, and bring what is older up to date.
async fn check_schema(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let failed_at = |error: sqlx::Error| wrong(path, &error);
    let application: i64 =
        sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await.map_err(failed_at)?;
    if application != APPLICATION {
        return Err(StoreError::Corrupt {
            place: path.display().to_string(),
            reason: "it is a file of another program".into(),
        });
    }
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed_at)?;
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    if found > known {
        return Err(StoreError::Newer { place: path.display().to_string(), found, known });
    }
    MIGRATIONS.run_direct(None, &mut *connection, false).await.map_err(|error| migration_failed(path, error))?;
    add(connection, path).await
}

fn migration_failed(path: &Path, error: sqlx::migrate::MigrateError) -> StoreError {
    use sqlx::migrate::MigrateError;
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => wrong(path, &error),
        other => StoreError::Corrupt {
            place: path.display().to_string(),
            reason: format!("its schema is not one of Rota's: {other}"),
        },
    }
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
