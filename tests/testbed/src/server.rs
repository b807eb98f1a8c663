//! One server process with a folder of its own, of which nothing is left behind, however we end.
//!
//! Three things see to that, each for a case that the others miss:
//! - `Drop` kills the server and removes the folder: the ordinary end.
//! - The *reaper*, a shell that waits for the other end of a pipe that we hold, does the same when we
//!   are gone without `Drop` (a panic that aborts, a time-out's SIGKILL).
//! - `PR_SET_PDEATHSIG`, in case the reaper itself was killed.
//!
//! A server's processes are found by their working folder, which lies in the server's folder: the
//! workers of PostgreSQL are sessions of their own, so a process group would miss them. The processes of a
//! cluster's containers may work elsewhere, and are found by a variable of their environment ([`CONTAINER`]).

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use rustix::process::{Pid, Signal, kill_process};

use crate::tools::is_root;

/// The user and group `nobody`, as numbers: what root's servers run as.
const NOBODY: u32 = 65534;

/// In a server's folder: the files that it makes elsewhere, one a line.
pub(crate) const LEFTOVERS: &str = "leftovers";
/// The variable of a container's processes that names its folder (tests/testbed/cluster/node/container.go).
const CONTAINER: &str = "ROTA_CONTAINER";
/// PostgreSQL's own record of what it holds. Its seventh line names a System V shared memory segment
/// (the lock against a second server), which stays after a SIGKILL.
const POSTMASTER: &str = "data/postmaster.pid";

/// What the reaper does for the folder `$1`: see the module's head.
const REAPER: &str = r#"
read -r word || :
[ "$word" = done ] && exit
while :; do
    found=
    for process in /proc/[0-9]*; do
        case "$(readlink "$process/cwd")" in
            "$1"|"$1"/*) kill -KILL "${process#/proc/}" && found=1 ;;
        esac
    done
    for process in $(grep -lsF "ROTA_CONTAINER=$1/" /proc/[0-9]*/environ); do
        process=${process%/environ}
        kill -KILL "${process#/proc/}" && found=1
    done
    [ -n "$found" ] || break
done
[ ! -f "$1/leftovers" ] || xargs rm -f <"$1/leftovers"
find "$1" -name postmaster.pid | while read -r file; do
    ipcrm -m "$(sed -n 7p "$file" | tr -s ' ' | cut -d' ' -f3)"
done
mountpoint -q "$1" && umount -l "$1"
rm -rf "$1"
"#;

/// A folder that is removed, with the processes in it, when we end: by `Drop` or by the reaper.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    reaper: Option<Child>,
}

impl Folder {
    /// A new folder below `parent` (by default the system's folder for temporary files) that `nobody`
    /// owns when we are root.
    pub(crate) fn create(name: &str, parent: Option<&Path>) -> anyhow::Result<Self> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let path = tempfile::Builder::new()
            .prefix(&format!("rota-{name}-"))
            .tempdir_in(&parent)
            .with_context(|| format!("no folder can be made in {}", parent.display()))?
            .keep()
            .canonicalize()?;
        if is_root() {
            std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY))?;
        }
        let reaper = spawn(
            Command::new("setsid")
                .args(["sh", "-c", REAPER, "rota-reaper"])
                .arg(&path)
                .current_dir("/")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )?;
        Ok(Self { path, reaper: Some(reaper) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The processes of this folder.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| self.holds(*pid))
            .filter_map(Pid::from_raw)
            .collect()
    }

    fn holds(&self, pid: i32) -> bool {
        if std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&self.path)) {
            return true;
        }
        let marker = format!("{CONTAINER}={}/", self.path.display());
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|variables| variables.split(|byte| *byte == 0).any(|one| one.starts_with(marker.as_bytes())))
    }

    /// Signals every process in this folder.
    pub(crate) fn signal(&self, signal: Signal) {
        for pid in self.processes() {
            // One that has just ended is no error.
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills every process in this folder and waits until they are gone.
    pub(crate) fn kill(&self) {
        let start = Instant::now();
        while !self.processes().is_empty() && start.elapsed() < Duration::from_secs(10) {
            self.signal(Signal::KILL);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.kill();
        let read = |name| std::fs::read_to_string(self.path.join(name)).unwrap_or_default();
        for file in read(LEFTOVERS).lines() {
            let _ = std::fs::remove_file(file);
        }
        if let Some(id) = read(POSTMASTER).lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
            let _ = Command::new("ipcrm").args(["-m", id]).stderr(Stdio::null()).status();
        }
        if std::fs::remove_dir_all(&self.path).is_ok()
            && let Some(mut reaper) = self.reaper.take()
        {
            if let Some(mut pipe) = reaper.stdin.take() {
                let _ = pipe.write_all(b"done\n");
            }
            let _ = reaper.wait();
        }
        // Where the folder could not be removed, the reaper's pipe closes now and it tries too.
    }
}

/// A server process.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `command` in `folder`, as `nobody` when we are root, its output appended to `<folder>/log`.
    /// `death` is the signal that it gets when we die.
    pub(crate) fn start(name: &'static str, command: &Command, folder: &Folder, death: &str) -> anyhow::Result<Self> {
        Self::start_wrapped(name, as_nobody(command, Some(death)), folder, "log")
    }

    /// The same with a log of another name, for one of several servers in a folder.
    pub(crate) fn start_one_of(name: &'static str, command: &Command, folder: &Folder) -> anyhow::Result<Self> {
        Self::start_wrapped(name, as_nobody(command, Some("KILL")), folder, &format!("{name}.log"))
    }

    /// The same as ourselves, root or not.
    pub(crate) fn start_as_us(name: &'static str, command: &Command, folder: &Folder) -> anyhow::Result<Self> {
        Self::start_wrapped(name, as_user(command, None, Some("KILL")), folder, &format!("{name}.log"))
    }

    fn start_wrapped(name: &'static str, mut wrapped: Command, folder: &Folder, log: &str) -> anyhow::Result<Self> {
        let log = folder.path().join(log);
        let output = File::options().create(true).append(true).open(&log)?;
        // In the folder, so that it is found there; a group of its own, so that Ctrl-C is not for it.
        wrapped.current_dir(folder.path()).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        std::os::unix::process::CommandExt::process_group(&mut wrapped, 0);
        let child = spawn(&mut wrapped).with_context(|| format!("{name} did not start"))?;
        Ok(Self { name, child, log })
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// An error with the end of the log when the server has ended.
    pub(crate) fn check_running(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(anyhow!("{} ended with {status}:\n{}", self.name, last_lines(&self.log, 15))),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process number")?;
        kill_process(pid, signal).with_context(|| format!("{} cannot be signalled", self.name))
    }

    /// Waits until the process has ended.
    pub(crate) async fn ended(&mut self, deadline: Duration) -> anyhow::Result<()> {
        let what = format!("the end of {}", self.name);
        let child = &mut self.child;
        crate::wait::eventually(deadline, &what, async || Ok(child.try_wait()?)).await?;
        Ok(())
    }

    /// Asks the server to end and waits a little, without a runtime: for `Drop`.
    pub(crate) fn end_blocking(&mut self, signal: Signal, deadline: Duration) {
        let start = Instant::now();
        let _ = self.signal(signal);
        while self.is_running() && start.elapsed() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Collects the ended child, so that no zombie stays.
    pub(crate) fn collect(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command, run as `nobody` when we are root. `death` names the signal that it gets when we die.
pub(crate) fn as_nobody(command: &Command, death: Option<&str>) -> Command {
    as_user(command, is_root().then_some(NOBODY), death)
}

fn as_user(command: &Command, user: Option<u32>, death: Option<&str>) -> Command {
    // setpriv sets the signal after it has given up root, which would unset it.
    let mut wrapped = Command::new("setpriv");
    if let Some(death) = death {
        wrapped.args(["--pdeathsig", death]);
    }
    if let Some(user) = user {
        wrapped.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--clear-groups");
    }
    wrapped.arg("--").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}

/// Starts a process from a thread that never ends.
///
/// `PR_SET_PDEATHSIG` speaks of the parent *thread*: a server started from a test's thread, or from one
/// of tokio's that are ended when idle, would be killed in the middle of its use.
fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    type Request = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in requests {
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, child) = mpsc::channel();
    let program = command.get_program().to_owned();
    spawner.send((std::mem::replace(command, Command::new("true")), answer))?;
    child.recv()?.with_context(|| format!("{} cannot be run", program.display()))
}

/// The end of a log, for an error's text.
fn last_lines(path: &Path, count: usize) -> String {
    let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
