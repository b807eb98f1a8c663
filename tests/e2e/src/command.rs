//! The real binary, run as a user runs it.

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};

/// No command of a test takes longer; one that does has failed.
const LONGEST: Duration = Duration::from_secs(60);

/// The binary with a home, a state directory and an environment of its own, all in one folder that goes with it.
#[derive(Debug)]
pub struct Rota {
    program: PathBuf,
    folder: tempfile::TempDir,
    environment: BTreeMap<OsString, OsString>,
}

/// What a command said, and how it ended.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its exit status; none where a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Rota {
    /// The binary at `program`; compiled plugins are kept in `compiled`, which tests share because compiling is what takes time.
    ///
    /// # Errors
    /// When no folder can be made.
    pub fn new(program: &str, compiled: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("rota-e2e-").tempdir()?;
        for name in ["home", "state", "tmp", "work"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        let mut rota = Self { program: program.into(), folder, environment: BTreeMap::new() };
        let (home, state, tmp) = (rota.path("home"), rota.path("state"), rota.path("tmp"));
        rota.set("HOME", home);
        rota.set("TMPDIR", tmp);
        rota.set("ROTA_STATE_DIR", state);
        rota.set("PATH", "/usr/local/bin:/usr/bin:/bin");
        rota.set("ROTA_SANDBOX__CACHE_DIR", compiled);
        Ok(rota)
    }

    /// Sets a variable of its environment, which holds nothing of the test's own.
    pub fn set(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.environment.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Takes a variable out of its environment.
    pub fn unset(&mut self, name: &str) -> &mut Self {
        self.environment.remove(OsStr::new(name));
        self
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Writes a configuration file into its working folder, where it is found by itself.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, toml: &str) -> anyhow::Result<&Self> {
        std::fs::write(self.path("work/rota.toml"), toml)?;
        Ok(self)
    }

    /// Its environment, for another program that is to have the same.
    #[must_use]
    pub fn environment(&self) -> &BTreeMap<OsString, OsString> {
        &self.environment
    }

    fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.path("work"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it cannot be run, or does not end in a minute.
    pub async fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> anyhow::Result<Said> {
        self.run_within(arguments, LONGEST).await
    }

    /// The same, for a command that compiles something.
    ///
    /// # Errors
    /// When it cannot be run, or takes longer.
    pub async fn run_within<A: AsRef<OsStr>>(&self, arguments: &[A], longest: Duration) -> anyhow::Result<Said> {
        let output = tokio::time::timeout(longest, self.command(arguments).output())
            .await
            .with_context(|| format!("{} did not end in {longest:?}", shown(arguments)))??;
        Ok(Said {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a command that reads a text from its standard input.
    ///
    /// # Errors
    /// When it cannot be run, or does not end in a minute.
    pub async fn run_with<A: AsRef<OsStr>>(&self, arguments: &[A], input: &str) -> anyhow::Result<Said> {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().context("stdin is piped")?;
        let written = async {
            // One that ends before it has read all is no error of the text's.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
        };
        let both = async { tokio::join!(written, child.wait_with_output()).1 };
        let output = tokio::time::timeout(LONGEST, both)
            .await
            .with_context(|| format!("{} did not end in {LONGEST:?}", shown(arguments)))??;
        Ok(Said {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a command that must succeed, and reads what it says as JSON.
    ///
    /// # Errors
    /// When it fails, or says something else.
    pub async fn json<A: AsRef<OsStr>>(&self, arguments: &[A]) -> anyhow::Result<Value> {
        let said = self.run(arguments).await?;
        ensure!(said.status == Some(0), "{} ended with {said:?}", shown(arguments));
        said.json()
    }

    /// Starts a command and leaves it running.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn start<A: AsRef<OsStr>>(&self, arguments: &[A]) -> anyhow::Result<Running> {
        let mut child = self.command(arguments).spawn()?;
        let stderr = BufReader::new(child.stderr.take().context("stderr is piped")?);
        Ok(Running { child, stderr, heard: String::new() })
    }
}

impl Said {
    /// Standard output, which must be exactly one JSON value.
    ///
    /// # Errors
    /// When it is not.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("standard output is not one JSON value: {self:?}"))
    }

    /// Both outputs together.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

/// A command under way.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    heard: String,
}

impl Running {
    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.child.id().and_then(|pid| i32::try_from(pid).ok())
    }

    /// Waits until it says a text on standard error, and gives the line.
    ///
    /// # Errors
    /// When it ends without, or takes a minute.
    pub async fn line_with(&mut self, text: &str) -> anyhow::Result<String> {
        self.says(text).await?;
        self.heard.lines().rev().find(|line| line.contains(text)).map(str::to_owned).context("it was heard")
    }

    /// Waits until it says a text on standard error.
    ///
    /// # Errors
    /// When it ends without, or takes a minute.
    pub async fn says(&mut self, text: &str) -> anyhow::Result<()> {
        let hear = async {
            loop {
                let mut line = String::new();
                if self.stderr.read_line(&mut line).await? == 0 {
                    let mut rest = String::new();
                    if let Some(stdout) = self.child.stdout.as_mut() {
                        stdout.read_to_string(&mut rest).await?;
                    }
                    bail!("it ended and did not say `{text}`: {}{rest}", self.heard);
                }
                self.heard.push_str(&line);
                if line.contains(text) {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(LONGEST, hear).await.with_context(|| format!("it did not say `{text}`"))?
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn signal(&self, signal: rustix::process::Signal) -> anyhow::Result<()> {
        let pid = self.pid().and_then(rustix::process::Pid::from_raw).context("it has ended already")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end in a minute.
    pub async fn end(mut self) -> anyhow::Result<Said> {
        let finish = async {
            let mut stdout = String::new();
            let mut out = self.child.stdout.take().context("stdout is piped")?;
            // Both at once: a full pipe would hold it up.
            tokio::try_join!(out.read_to_string(&mut stdout), self.stderr.read_to_string(&mut self.heard))?;
            let status = self.child.wait().await?.code();
            anyhow::Ok(Said { status, stdout, stderr: std::mem::take(&mut self.heard) })
        };
        tokio::time::timeout(LONGEST, finish).await.context("it did not end in a minute")?
    }
}

fn shown<A: AsRef<OsStr>>(arguments: &[A]) -> String {
    arguments.iter().map(|a| a.as_ref().to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
