//! Where the durable figures are measured: a store that waits for its disk, and the configuration of hosts over it.

use crate::host::GUEST;
use anyhow::{Context as _, bail};
use rota_config::{Config, Source};
use rota_testbed::{Postgres, PostgresOptions};
use sqlx::{ConnectOptions as _, Connection as _};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The store's database.
pub(crate) const DATABASE: &str = "rota";

/// A store of its own, and the guest in a file.
pub(crate) struct Place {
    folder: TempDir,
    server: Option<Postgres>,
}

impl Place {
    /// A file with full synchronisation, which is how the store opens it.
    pub(crate) fn sqlite() -> anyhow::Result<Self> {
        Self::new(None)
    }

    /// A server that waits for its disk, as one does whose records count; with further lines of postgresql.conf.
    pub(crate) async fn postgres(more: &[&str]) -> anyhow::Result<Self> {
        let mut config: Vec<String> =
            ["fsync = on", "shared_buffers = 256MB", "max_wal_size = 4GB"].map(str::to_owned).to_vec();
        config.extend(more.iter().map(|line| (*line).to_owned()));
        let options = PostgresOptions { config, ..PostgresOptions::default() };
        let server = Postgres::start(options).await.context("PostgreSQL")?;
        server.create_database(DATABASE).await?;
        Self::new(Some(server))
    }

    fn new(server: Option<Postgres>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("rota-bench-").tempdir()?;
        std::fs::write(folder.path().join("bench.wasm"), GUEST)?;
        if let Some(server) = &server {
            // A configuration must not hold a password.
            private(&folder.path().join("store-url"), &server.url(DATABASE))?;
        }
        Ok(Self { folder, server })
    }

    /// The name of the engine.
    pub(crate) fn engine(&self) -> &'static str {
        if self.server.is_some() { "PostgreSQL" } else { "SQLite" }
    }

    /// The server of a store on PostgreSQL.
    pub(crate) fn server(&self) -> anyhow::Result<&Postgres> {
        self.server.as_ref().context("this store has no server")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The guest's file.
    pub(crate) fn guest(&self) -> PathBuf {
        self.folder.path().join("bench.wasm")
    }

    /// Where the host in this process keeps its files, the SQLite store among them.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// A configuration over this store, whose runs are all kept; in `jobs`, GUEST stands for the guest's file.
    pub(crate) fn configuration(&self, jobs: &str) -> String {
        let url = match &self.server {
            Some(_) => format!("url = \"file:{}\"\n", self.folder.path().join("store-url").display()),
            None => String::new(),
        };
        let jobs = jobs.replace("GUEST", &self.guest().display().to_string());
        format!(
            "state_dir = {:?}\n[server]\nname = \"bench\"\nlisten = \"none\"\nworkers = 16\n\
             [store]\n{url}keep = {{ runs_per_job = 10_000_000 }}\n[sandbox]\ncache_dir = {:?}\n{jobs}",
            self.state(),
            self.folder.path().join("compiled"),
        )
    }

    /// The same, read.
    pub(crate) fn config(&self, jobs: &str) -> anyhow::Result<Config> {
        Ok(Config::load(&Source::empty().with_text("bench.toml", self.configuration(jobs)))?)
    }

    /// What autovacuum does within a minute: a server that has planned for empty tables goes on to do so until then.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        match &self.server {
            Some(server) => server.execute(DATABASE, "vacuum analyze").await,
            None => Ok(()),
        }
    }

    /// How many runs on record are in a state: what was not measured is found out here.
    pub(crate) async fn runs(&self, state: &str) -> anyhow::Result<u64> {
        let count: i64 = match &self.server {
            Some(server) => {
                let mut connection = server.connect(DATABASE).await?;
                let count = sqlx::query_scalar("select count(*) from rota.runs where state = $1")
                    .bind(state)
                    .fetch_one(&mut connection)
                    .await?;
                connection.close().await?;
                count
            }
            None => {
                let options =
                    sqlx::sqlite::SqliteConnectOptions::new().filename(self.state().join("rota.db")).read_only(true);
                let mut connection = options.connect().await?;
                let count = sqlx::query_scalar("select count(*) from runs where state = $1")
                    .bind(state)
                    .fetch_one(&mut connection)
                    .await?;
                connection.close().await?;
                count
            }
        };
        Ok(u64::try_from(count)?)
    }

    /// That so many runs have succeeded since there were `before`, and none has ended otherwise.
    pub(crate) async fn expect(&self, before: u64, expected: u64) -> anyhow::Result<()> {
        let succeeded = self.runs("succeeded").await?;
        if succeeded != before + expected {
            bail!("{expected} runs were to succeed, and {} did", succeeded.saturating_sub(before));
        }
        for state in ["failed", "unknown", "timed-out", "cancelled", "denied"] {
            let others = self.runs(state).await?;
            anyhow::ensure!(others == 0, "{others} runs are {state}");
        }
        Ok(())
    }
}

/// A file that only its owner can read.
fn private(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}
