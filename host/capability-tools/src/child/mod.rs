//! A program that runs for a run: started through the launcher, watched until it ends, gone when dropped.

mod control;
mod monitor;
mod pipe;
mod stderr;
mod stdin;
mod stdout;

use crate::connection::PrivateFolder;
use crate::launch::{Confinement, Reply, Request, WORD, read_reply, send_request};
use crate::limits::{KILL, PIPE, START};
use crate::program::Program;
use control::Control;
use monitor::Monitor;
use rota_authority::{Authorized, Permit, Tool};
use rota_capability::streams::{Offloaded, Reader};
use rota_capability::{ChildEnded, ChildStatus, Forward, RunContext};
use rota_contract::{Error, Fault};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use stderr::Stderr;
pub(crate) use stdout::Stdout;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe as tokio_pipe;
use tokio::sync::watch;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Ended {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

/// How a program ended, with the last it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How.
    pub status: Ended,
    /// The end of its standard error, masked.
    pub stderr: String,
}

impl Finished {
    /// Of what ran elsewhere.
    pub(crate) fn of(ended: ChildEnded) -> Option<Self> {
        let status = match ended.status {
            ChildStatus::Code(code) => Ended::Code(code),
            ChildStatus::Signal(signal) => Ended::Signal(signal),
            ChildStatus::Planned => return None,
        };
        Some(Self { status, stderr: ended.stderr })
    }

    /// What went wrong, if anything did: the status, and why, as the program said.
    pub(crate) fn fault(&self, name: &str) -> Option<Fault> {
        let (code, how) = match self.status {
            Ended::Code(0) => return None,
            Ended::Code(code) => (format!("exit-{code}"), format!("exited with {code}")),
            Ended::Signal(signal) => {
                (format!("signal-{signal}"), format!("was ended by signal {signal}{}", meaning(signal)))
            }
        };
        let message = self
            .complaint()
            .map_or_else(|| format!("{name} {how}"), |line| format!("{name} {how}: {}", beginning(line, 1000)));
        let all = self.stderr.trim();
        let detail = (all.lines().count() > 1).then(|| end(all, 4000).to_owned());
        Some(Fault { code, message, detail, retryable: false })
    }

    /// The line that tells why: the first that says it is an error, for what follows only explains it; else the last.
    fn complaint(&self) -> Option<&str> {
        let lines = || self.stderr.lines().filter(|line| !line.trim().is_empty());
        let telling = |line: &&str| ["error:", "fatal:"].iter().any(|word| line.to_ascii_lowercase().contains(word));
        lines().find(telling).or(lines().next_back())
    }
}

/// The signals that a person can do something about.
fn meaning(signal: i32) -> &'static str {
    match signal {
        libc::SIGKILL => " (killed)",
        libc::SIGXCPU => " (its CPU time is used up; raise `cpu` in the binding)",
        libc::SIGPIPE => " (nobody read its output to the end)",
        libc::SIGXFSZ => " (it wrote too large a file)",
        libc::SIGSEGV => " (it crashed)",
        libc::SIGABRT => " (it aborted)",
        _ => "",
    }
}

fn beginning(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn end(text: &str, most: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(most))..]
}

/// The right to start a program: that it only reads, or that its effect is on record.
pub(crate) enum Warrant {
    /// For arguments that change nothing and reach no server.
    Reads(#[expect(dead_code, reason = "a proof, which is held and never looked at")] Authorized<Tool>),
    /// For all others.
    Effect(Permit<Tool>),
}

impl Warrant {
    /// Put on record that the effect failed before the program ran; hands the error on.
    pub(crate) async fn unused(self, error: Error) -> Error {
        match self {
            Self::Reads(_) => error,
            Self::Effect(permit) => {
                permit.conclude(Err::<(), _>(error.clone()), |()| String::new()).await.err().unwrap_or(error)
            }
        }
    }
}

/// What is to be started.
pub(crate) struct Start {
    pub(crate) program: Program,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) folder: PrivateFolder,
    pub(crate) confinement: Confinement,
    pub(crate) stdin: Option<Reader>,
    /// What it needs for as long as it runs: a way to its server.
    pub(crate) keep: Option<Forward>,
    /// Whether what it is fed is written to a file first, whose name is its last argument.
    pub(crate) spooled: bool,
}

/// The file of a program that reads in any order.
const ARCHIVE: &str = "archive";

pub(crate) type Outcome = watch::Receiver<Option<Result<Finished, Error>>>;

/// A started program, as a guest holds it. Dropped, it and all its children are killed.
pub(crate) struct Running {
    name: String,
    control: Control,
    outcome: Outcome,
    stdout: Option<Stdout>,
    drain: Option<Offloaded<()>>,
    monitor: tokio::task::AbortHandle,
}

impl Running {
    /// Start a program; answers when it runs.
    pub(crate) async fn start(
        launcher: &Path,
        run: &Arc<RunContext>,
        warrant: Warrant,
        mut start: Start,
    ) -> Result<Self, Error> {
        let name = start.program.name();
        if start.spooled
            && let Err(error) = spool(&mut start).await
        {
            return Err(warrant.unused(error).await);
        }
        match begin(launcher, start).await {
            Ok(begun) => Ok(watch_over(name, begun, run.clone(), warrant)),
            Err(error) => Err(warrant.unused(error).await),
        }
    }

    /// The standard output, once.
    pub(crate) fn take_stdout(&mut self) -> Option<Stdout> {
        self.stdout.take()
    }

    /// What waits for the end. An output that nobody took is discarded from now on: the program could not end else.
    pub(crate) fn wait(&mut self) -> impl Future<Output = Result<Finished, Error>> + Send + use<> {
        if let Some(mut stdout) = self.stdout.take() {
            self.drain = Some(Offloaded::spawn(async move {
                // How the program ended is told by the outcome.
                let _ = tokio::io::copy_buf(stdout.raw(), &mut tokio::io::sink()).await;
                Ok(())
            }));
        }
        outcome(self.outcome.clone())
    }

    /// Kill it and its children, and wait until they are gone.
    pub(crate) fn kill(&mut self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        self.control.kill();
        let (end, name) = (outcome(self.outcome.clone()), self.name.clone());
        async move {
            match tokio::time::timeout(KILL, end).await {
                Ok(_) => Ok(()),
                Err(_) => Err(Error::TimedOut(format!(
                    "{name} was killed, but is not gone after {} s; it may wait for a device",
                    KILL.as_secs()
                ))),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // At once, not when the runtime comes to drop the monitor.
        self.control.hang_up();
        self.monitor.abort();
    }
}

/// Wait for the outcome; `cancelled` when the child was dropped before it ended.
async fn outcome(mut outcome: Outcome) -> Result<Finished, Error> {
    match outcome.wait_for(Option::is_some).await {
        Ok(result) => result.clone().unwrap_or(Err(Error::Cancelled)),
        Err(_) => Err(Error::Cancelled),
    }
}

/// Write what the program is fed into its private folder. A stream that fails starts nothing: the program would take what came until then for the whole.
async fn spool(start: &mut Start) -> Result<(), Error> {
    let Some(reader) = start.stdin.take() else {
        return Err(Error::InvalidArgument(
            "a program that works in parallel needs its archive on standard input".into(),
        ));
    };
    let path = start.folder.path().join(ARCHIVE);
    Offloaded::spawn(stdin::write_to(reader, path.clone())).await?;
    start.arguments.push(path.to_string_lossy().into_owned());
    Ok(())
}

/// A program that runs, not yet watched.
struct Begun {
    folder: PrivateFolder,
    launcher: tokio::process::Child,
    control: Control,
    replies: tokio::io::BufReader<tokio::net::UnixStream>,
    stdout: pipe::Pipe,
    stderr: tokio_pipe::Receiver,
    stdin: Option<(Reader, tokio_pipe::Sender)>,
    keep: Option<Forward>,
}

async fn begin(launcher: &Path, start: Start) -> Result<Begun, Error> {
    let name = start.program.name();
    let broken = |error: io::Error| Error::Unavailable(format!("{name} could not be started: {error}"));
    let mut begun = hand_over(launcher, start).await.map_err(broken)?;
    let reply = tokio::time::timeout(START, read_reply(&mut begun.replies)).await;
    match reply {
        Ok(Ok(Some(Reply::Started))) => Ok(begun),
        Ok(Ok(Some(Reply::Refused(why)))) => Err(Error::Unavailable(why)),
        Ok(Ok(Some(Reply::Ended(_)) | None)) => {
            let said = last_words(&mut begun.stderr).await;
            Err(Error::Unavailable(format!(
                "{name} could not be started: {} is no launcher, or it was killed: {said}",
                launcher.display()
            )))
        }
        Ok(Err(error)) => Err(broken(error)),
        Err(_) => Err(Error::TimedOut(format!("{name} was not started within {} s", START.as_secs()))),
    }
}

/// What a launcher said that went before it answered.
async fn last_words(stderr: &mut tokio_pipe::Receiver) -> String {
    let mut said = Vec::new();
    let _ = tokio::time::timeout(KILL, stderr.take(1000).read_to_end(&mut said)).await;
    rota_telemetry::mask(&rota_telemetry::sanitize_line(String::from_utf8_lossy(&said).trim())).into_owned()
}

/// Start the launcher and tell it what to start.
async fn hand_over(launcher: &Path, start: Start) -> io::Result<Begun> {
    let (ours, theirs) = UnixStream::pair()?;
    let (stdout, stdout_end) = pipe_pair()?;
    let (stderr, stderr_end) = pipe_pair()?;
    let mut command = tokio::process::Command::new(launcher);
    command.arg0(format!("rota: {}", start.program.name())).arg(WORD).env_clear().current_dir("/");
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::from(stdout_end)).stderr(Stdio::from(stderr_end));
    let process = command.spawn()?;
    // The command holds the other ends of the pipes.
    drop(command);
    let (stdin_end, stdin) = match start.stdin {
        Some(reader) => {
            let (end, sender) = pipe_pair()?;
            (Some(end), Some((reader, tokio_pipe::Sender::from_owned_fd(sender)?)))
        }
        None => (None, None),
    };
    let request = Request {
        program: start.program.path,
        arguments: start.arguments,
        environment: start.environment,
        folder: start.folder.path().to_owned(),
        confinement: start.confinement,
        stdin: stdin.is_some(),
    };
    let control = Control::new(ours.try_clone()?);
    // In a thread: the launcher may take its time to read.
    let ours = tokio::task::spawn_blocking(move || {
        send_request(&ours, &request, stdin_end.as_ref().map(|end| end.as_fd())).map(|()| ours)
    })
    .await
    .map_err(io::Error::other)??;
    ours.set_nonblocking(true)?;
    Ok(Begun {
        folder: start.folder,
        launcher: process,
        control,
        replies: tokio::io::BufReader::new(tokio::net::UnixStream::from_std(ours)?),
        stdout: pipe::Pipe::new(stdout)?,
        stderr: tokio_pipe::Receiver::from_owned_fd(stderr)?,
        stdin,
        keep: start.keep,
    })
}

/// A pipe, its reading end first, that holds as much as the system allows.
fn pipe_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // Refused where the user's pipes hold too much already; the pipe is smaller then.
    let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE);
    Ok((read, write))
}

fn watch_over(name: String, begun: Begun, run: Arc<RunContext>, warrant: Warrant) -> Running {
    let (tell, outcome) = watch::channel(None);
    let stdin = begun.stdin.map(|(reader, pipe)| Offloaded::spawn(stdin::pump(reader, pipe)));
    let monitor = Monitor {
        name: name.clone(),
        folder: begun.folder,
        launcher: begun.launcher,
        control: begun.control.clone(),
        replies: begun.replies,
        stderr: Stderr::new(begun.stderr, run.clone(), name.clone()),
        run,
        stdin,
        warrant,
        keep: begun.keep,
    };
    let monitor = tokio::spawn(monitor.watch(tell)).abort_handle();
    let stdout = Stdout::new(begun.stdout, name.clone(), outcome.clone());
    Running { name, control: begun.control, outcome, stdout: Some(stdout), drain: None, monitor }
}
