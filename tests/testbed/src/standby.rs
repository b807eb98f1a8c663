//! A streaming standby of a server, made by `pg_basebackup -R` with a replication slot.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sqlx::Connection as _;

use crate::postgres::{Postgres, finished};
use crate::postgres_access::PostgresAccess;
use crate::server::Folder;
use crate::tools::free_port;
use crate::wait::eventually;

/// How long a standby may take to stream, to replay, and to be promoted, on a machine that is busy with other things.
const FOLLOW: Duration = Duration::from_secs(60);

/// What standby to start.
#[derive(Clone, Debug, Default)]
pub struct StandbyOptions {
    /// The primary's replication slot that it makes and uses; `standby` unless told.
    pub slot: Option<String>,
    /// A port of 127.0.0.1 over which it reaches the primary: that of a [`crate::TcpProxy`], for lag and partitions. The
    /// primary's own unless told.
    pub through: Option<u16>,
    /// Further lines of its postgresql.conf, which is a copy of the primary's otherwise.
    pub config: Vec<String>,
    /// Where its folder is made: a [`crate::SmallDisk`], or the folder for temporary files.
    pub parent: Option<PathBuf>,
}

/// Copies a running primary into `folder/data`, as its standby.
pub(crate) async fn base_backup(
    programs: &Path,
    folder: &Path,
    port: u16,
    password: &str,
    slot: &str,
) -> anyhow::Result<()> {
    let mut command = Command::new(programs.join("pg_basebackup"));
    command
        .args(["--host=127.0.0.1", "--username=postgres", "--no-password", "--checkpoint=fast", "--no-sync"])
        .args(["--wal-method=stream", "--write-recovery-conf", "--create-slot"])
        .arg(format!("--port={port}"))
        .arg(format!("--slot={slot}"))
        .arg(format!("--pgdata={}", folder.join("data").display()))
        // It is written into the standby's primary_conninfo as well.
        .env("PGPASSWORD", password);
    finished("pg_basebackup", &command, folder).await
}

impl Postgres {
    /// Makes a standby of a primary and waits until it streams from it. Has the primary's version, roles and passwords, and a port and a
    /// folder of its own; it is killed, paused and started again like any other server, and [`PostgresAccess::promote`] promotes it.
    ///
    /// # Errors
    /// When the primary is away or its slot is taken, or the standby does not stream in a minute.
    pub async fn standby(primary: &Self, options: StandbyOptions) -> anyhow::Result<Self> {
        let slot = options.slot.as_deref().unwrap_or("standby");
        let folder = Folder::create("postgres", options.parent.as_deref())?;
        let through = options.through.unwrap_or(primary.port());
        base_backup(&primary.programs, folder.path(), through, primary.password(), slot).await?;
        let path = folder.path().join("data/postgresql.conf");
        let mut text = tokio::fs::read_to_string(&path).await?;
        for line in &options.config {
            text.push_str(line);
            text.push('\n');
        }
        tokio::fs::write(&path, text).await?;
        let access = PostgresAccess::new(primary.version(), free_port()?, primary.password().to_owned());
        let mut standby = Self { access, programs: primary.programs.clone(), server: None, folder };
        standby.run().await?;
        standby.streams().await?;
        Ok(standby)
    }
}

impl PostgresAccess {
    /// Whether it is a standby now.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn in_recovery(&self) -> anyhow::Result<bool> {
        self.ask("select pg_is_in_recovery()").await
    }

    /// Waits until it receives WAL from its primary.
    ///
    /// # Errors
    /// When it does not in a minute.
    pub async fn streams(&self) -> anyhow::Result<()> {
        eventually(FOLLOW, "a standby that streams", async || {
            let streams: bool =
                self.ask("select exists (select from pg_stat_wal_receiver where status = 'streaming')").await?;
            Ok(streams.then_some(()))
        })
        .await
    }

    /// Waits until it has replayed all that a primary has written until now.
    ///
    /// # Errors
    /// When it has not in a minute.
    pub async fn catches_up(&self, primary: &Self) -> anyhow::Result<()> {
        let written: String = primary.ask("select pg_current_wal_flush_lsn()::text").await?;
        eventually(FOLLOW, "a standby that has replayed it all", async || {
            let mut connection = self.connect("postgres").await?;
            let behind: bool = sqlx::query_scalar("select coalesce(pg_last_wal_replay_lsn() < $1::text::pg_lsn, true)")
                .bind(&written)
                .fetch_one(&mut connection)
                .await?;
            connection.close().await?;
            Ok((!behind).then_some(()))
        })
        .await
    }

    /// Promotes a standby and waits until it has left recovery.
    ///
    /// # Errors
    /// When it is none, or does not leave recovery in a minute.
    pub async fn promote(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.ask::<bool>("select pg_promote(true, 60)").await?, "it was not promoted in a minute");
        anyhow::ensure!(!self.in_recovery().await?, "it is in recovery still");
        Ok(())
    }

    /// The only value of a statement's only row, for the superuser in the database `postgres`.
    ///
    /// # Errors
    /// When the server is away or the statement fails.
    pub async fn ask<T>(&self, sql: &str) -> anyhow::Result<T>
    where
        T: Send + Unpin + sqlx::Type<sqlx::Postgres> + for<'r> sqlx::Decode<'r, sqlx::Postgres>,
    {
        let mut connection = self.connect("postgres").await?;
        let value = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(value)
    }
}
