//! What a store can do at best: a bare loop that inserts a row and finishes it, in two commits, each synced to the disk.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::postgres_access::PostgresAccess;
use crate::tools::random_secret;

/// What is inserted into.
const TABLE: &str =
    "create table if not exists bare (id text primary key, state text not null, at bigint not null, done bigint)";
const INSERT: &str = "insert into bare values ($1, 'running', 1, null)";
const FINISH: &str = "update bare set state = 'done', done = 2 where id = $1";

/// Rows a second on PostgreSQL, by so many connections at once.
///
/// # Errors
/// When a statement fails.
pub async fn postgres(
    server: &PostgresAccess,
    database: &str,
    at_once: usize,
    length: Duration,
) -> anyhow::Result<f64> {
    server.execute(database, TABLE).await?;
    let mut connections = Vec::new();
    for _ in 0..at_once {
        connections.push(server.connect(database).await?);
    }
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for mut connection in connections {
        let own = random_secret()?;
        tasks.spawn(async move {
            let mut rows = 0_u32;
            while began.elapsed() < length {
                let id = format!("{own} {rows:010}");
                sqlx::query(INSERT).bind(&id).execute(&mut connection).await?;
                sqlx::query(FINISH).bind(&id).execute(&mut connection).await?;
                rows += 1;
            }
            connection.close().await?;
            anyhow::Ok(rows)
        });
    }
    let mut rows = 0;
    while let Some(some) = tasks.join_next().await {
        rows += some??;
    }
    Ok(f64::from(rows) / began.elapsed().as_secs_f64())
}

/// Rows a second on SQLite, which has one writer, however many there are at once.
///
/// # Errors
/// When a statement fails.
pub async fn sqlite(folder: &Path, length: Duration) -> anyhow::Result<f64> {
    let mut file = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(folder.join("bare.db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
        .connect()
        .await
        .with_context(|| format!("a database in {}", folder.display()))?;
    file.execute(TABLE).await?;
    let own = random_secret()?;
    let began = Instant::now();
    let mut rows = 0_u32;
    while began.elapsed() < length {
        let id = format!("{own} {rows:010}");
        sqlx::query(INSERT).bind(&id).execute(&mut file).await?;
        sqlx::query(FINISH).bind(&id).execute(&mut file).await?;
        rows += 1;
    }
    let rate = f64::from(rows) / began.elapsed().as_secs_f64();
    file.close().await?;
    Ok(rate)
}
