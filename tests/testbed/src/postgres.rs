//! A real PostgreSQL server for a test or the demo.

use std::io::Write as _;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;
use sqlx::Connection as _;

use crate::postgres_access::PostgresAccess;
use crate::server::{Folder, Server, as_nobody};
use crate::tools::{free_port, random_secret, tool};
use crate::wait::eventually;

/// How long a server may take to answer after its start, and to end when asked to.
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);

/// Settings of every server: nothing outside its folder, and no waiting for the disk.
const CONFIG: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
dynamic_shared_memory_type = mmap
password_encryption = scram-sha-256
fsync = off
shared_buffers = 64MB
max_connections = 200
timezone = UTC
log_timezone = UTC
log_line_prefix = '%m [%p] %q%u@%d %a '
";

/// In a server's folder: how far its clock is off, where it can be stepped.
const CLOCK: &str = "clock";

/// The program with a clock of its own, which `clock` says how far it is off (see clock.c).
fn with_clock(program: &Path, clock: &Path) -> anyhow::Result<Command> {
    let library = clock.with_extension("so");
    if !library.exists() {
        let mut compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-x", "c", "-", "-o"])
            .arg(&library)
            .stdin(Stdio::piped())
            .spawn()
            .context("no C compiler: run scripts/setup packages")?;
        compiler.stdin.take().context("stdin is piped")?.write_all(include_bytes!("clock.c"))?;
        if !compiler.wait()?.success() {
            bail!("clock.c does not compile");
        }
    }
    let mut command = Command::new("env");
    command
        .arg(format!("LD_PRELOAD={}", library.display()))
        .arg(format!("ROTA_CLOCK={}", clock.display()))
        .arg(program);
    Ok(command)
}

/// Which PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostgresVersion {
    /// 16
    V16,
    /// 18
    V18,
}

impl PostgresVersion {
    /// The major version.
    #[must_use]
    pub fn major(self) -> u32 {
        match self {
            Self::V16 => 16,
            Self::V18 => 18,
        }
    }

    /// The folder of this version's programs (`pg_dump`, `psql`, `pg_restore` ...).
    ///
    /// # Errors
    /// When `scripts/setup` has not put it there.
    pub fn programs(self) -> anyhow::Result<PathBuf> {
        tool(format!("postgres-{}/bin", self.major()))
    }
}

/// What server to start.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Its version; 16 unless told.
    pub version: PostgresVersion,
    /// Further lines of postgresql.conf, like `wal_level = logical`.
    pub config: Vec<String>,
    /// Whether new databases have the extension `vector` (they do unless told otherwise).
    pub pgvector: bool,
    /// Whether its clock can be stepped ([`Postgres::step_clock`]).
    pub steppable: bool,
    /// Where its folder is made: a [`crate::SmallDisk`], or the folder for temporary files.
    pub parent: Option<PathBuf>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { version: PostgresVersion::V16, config: Vec::new(), pgvector: true, steppable: false, parent: None }
    }
}

/// A PostgreSQL server of our own, on a port of 127.0.0.1, with scram passwords and without SSL. It and
/// its files are gone when this is dropped, or the process ends in any way.
///
/// For a test that needs no server of its own, [`Postgres::shared`] is faster.
#[derive(Debug)]
pub struct Postgres {
    pub(crate) access: PostgresAccess,
    pub(crate) programs: PathBuf,
    /// None after `stop` and `kill`.
    pub(crate) server: Option<Server>,
    pub(crate) folder: Folder,
}

impl Deref for Postgres {
    type Target = PostgresAccess;

    fn deref(&self) -> &PostgresAccess {
        &self.access
    }
}

impl Postgres {
    /// Makes a new cluster and starts it. Takes about a second.
    ///
    /// # Errors
    /// When the server's programs are missing, or it does not answer in a minute.
    pub async fn start(options: PostgresOptions) -> anyhow::Result<Self> {
        let programs = options.version.programs()?;
        let folder = Folder::create("postgres", options.parent.as_deref())?;
        if options.steppable {
            std::fs::write(folder.path().join(CLOCK), 0_i64.to_ne_bytes())?;
        }
        let password = random_secret()?;
        init_cluster(&programs, folder.path(), &password, &options.config).await?;
        let mut postgres = Self {
            access: PostgresAccess::new(options.version, free_port()?, password),
            programs,
            server: None,
            folder,
        };
        postgres.run().await?;
        if options.pgvector {
            postgres.execute("template1", "create extension vector").await?;
            postgres.execute("postgres", "create extension vector").await?;
        }
        Ok(postgres)
    }

    /// Starts the server again after [`Postgres::stop`] or [`Postgres::kill`], on the same port.
    ///
    /// # Errors
    /// When it does not answer in a minute.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        if self.server.is_some() {
            self.stop().await?;
        }
        self.run().await
    }

    /// Ends the server in the ordinary way: connections are closed, the cluster is left consistent
    /// (`pg_ctl stop -m fast`).
    ///
    /// # Errors
    /// When it does not end in half a minute.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        self.resume();
        server.signal(Signal::INT)?;
        server.ended(STOP).await
    }

    /// Kills every process of the server, as a crash of the machine would (but the disk's cache stays).
    pub fn kill(&mut self) {
        self.folder.kill();
        if let Some(mut server) = self.server.take() {
            server.collect();
        }
    }

    /// Stops every process of the server where it is (SIGSTOP): it accepts connections and answers nothing.
    pub fn pause(&self) {
        self.folder.signal(Signal::STOP);
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        self.folder.signal(Signal::CONT);
    }

    /// Sets the server's clock so many seconds off the machine's; its processes see it at once.
    ///
    /// # Errors
    /// When the server was started without [`PostgresOptions::steppable`].
    pub fn step_clock(&self, seconds: i64) -> anyhow::Result<()> {
        let clock = self.folder.path().join(CLOCK);
        anyhow::ensure!(clock.exists(), "the server was started with the machine's clock");
        // In place: it is mapped by every process of the server.
        let file = std::fs::File::options().write(true).open(clock)?;
        Ok(std::os::unix::fs::FileExt::write_all_at(&file, &seconds.to_ne_bytes(), 0)?)
    }

    /// Whether the server runs.
    pub fn is_running(&mut self) -> bool {
        self.server.as_mut().is_some_and(Server::is_running)
    }

    /// The folder of the cluster (PGDATA).
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What the server has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(self.folder.path().join("log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    pub(crate) async fn run(&mut self) -> anyhow::Result<()> {
        let program = self.programs.join("postgres");
        let clock = self.folder.path().join(CLOCK);
        let mut command = if clock.exists() { with_clock(&program, &clock)? } else { Command::new(program) };
        command.arg("-D").arg(self.data()).args(["-p", &self.access.port().to_string()]);
        // SIGQUIT: an immediate shutdown, in which the postmaster takes its children along.
        let mut server = Server::start("PostgreSQL", &command, &self.folder, "QUIT")?;
        let access = &self.access;
        let ready = eventually(START, "PostgreSQL's first answer", async || {
            // An outer error means that there is nothing to wait for.
            if let Err(ended) = server.check_running() {
                return Ok(Some(Err(ended)));
            }
            access.connect("postgres").await?.close().await?;
            Ok(Some(Ok(())))
        })
        .await?;
        ready?;
        self.server = Some(server);
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            self.resume();
            server.end_blocking(Signal::QUIT, Duration::from_secs(5));
            self.folder.kill();
            server.collect();
        }
    }
}

/// A new cluster in `folder/data`.
pub(crate) async fn init_cluster(
    programs: &Path,
    folder: &Path,
    password: &str,
    config: &[String],
) -> anyhow::Result<()> {
    let data = folder.join("data");
    let password_file = folder.join("password");
    tokio::fs::write(&password_file, password).await?;
    let mut initdb = Command::new(programs.join("initdb"));
    initdb
        .args([
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        ])
        .arg(format!("--pwfile={}", password_file.display()))
        .arg(format!("--pgdata={}", data.display()));
    finished("initdb", &initdb, folder).await?;
    tokio::fs::remove_file(&password_file).await?;
    let path = data.join("postgresql.conf");
    let mut text = tokio::fs::read_to_string(&path).await?;
    text.push_str(CONFIG);
    for line in config {
        text.push_str(line);
        text.push('\n');
    }
    tokio::fs::write(&path, text).await?;
    Ok(())
}

/// Runs a program as the servers' user to its end.
pub(crate) async fn finished(name: &str, command: &Command, folder: &Path) -> anyhow::Result<()> {
    let mut command = as_nobody(command, None);
    command.current_dir(folder).stdin(Stdio::null());
    let run = tokio::process::Command::from(command).kill_on_drop(true).output();
    let output = run.await.with_context(|| format!("{name} cannot be run"))?;
    if !output.status.success() {
        bail!("{name} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
