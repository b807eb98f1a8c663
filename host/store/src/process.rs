//! Which process works on a run, told apart from one that uses its pid again.

use std::io;

/// A process on a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The machine's name.
    pub host: String,
    /// The machine's boot id.
    pub boot: String,
    /// The namespace in which the pid counts: each container has its own.
    pub namespace: String,
    /// Its number.
    pub pid: i64,
    /// When it started, in clock ticks since boot.
    pub started: i64,
}

impl Process {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        let pid = i64::from(std::process::id());
        Self {
            host: host_name(),
            boot: boot(),
            namespace: namespace(),
            pid,
            started: started(pid).ok().flatten().unwrap_or(0),
        }
    }

    /// Whether it is certain that it is gone. A process on another machine, in another container or that cannot be looked at never is.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        if self.host != host_name() {
            return false;
        }
        if self.boot != boot() {
            return true;
        }
        self.namespace == namespace() && started(self.pid).is_ok_and(|found| found != Some(self.started))
    }
}

fn host_name() -> String {
    read("/proc/sys/kernel/hostname")
}

fn boot() -> String {
    read("/proc/sys/kernel/random/boot_id")
}

fn namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid").map(|link| link.to_string_lossy().into_owned()).unwrap_or_default()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).map(|s| s.trim().to_owned()).unwrap_or_default()
}

/// The 22nd field of `/proc/PID/stat` (proc_pid_stat(5)); none when there is no such process. A zombie counts as gone.
fn started(pid: i64) -> io::Result<Option<i64>> {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => parse(&stat).ok_or_else(|| io::Error::other("/proc/PID/stat has an unknown form")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // It ended between the opening and the reading.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The second field is in brackets and may hold anything, so what follows the last bracket is counted.
fn parse(stat: &str) -> Option<Option<i64>> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return Some(None);
    }
    fields.nth(18)?.parse().ok().map(Some)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn this_process_lives_and_its_namesakes_do_not() {
        let this = Process::this();
        assert!(this.started > 0);
        assert!(!this.is_gone());
        assert!(Process { started: this.started + 1, ..this.clone() }.is_gone());
        assert!(Process { boot: "another".into(), ..this.clone() }.is_gone());
        assert!(!Process { host: "another".into(), boot: "another".into(), ..this.clone() }.is_gone());
        assert!(!Process { namespace: "pid:[1]".into(), pid: 4_000_000, ..this }.is_gone());
    }

    #[test]
    fn a_killed_process_is_gone_before_it_is_collected() {
        let mut child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let pid = i64::from(child.id());
        let process = Process { pid, started: started(pid).unwrap().unwrap(), ..Process::this() };
        assert!(!process.is_gone());
        child.kill().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !process.is_gone() {
            assert!(std::time::Instant::now() < deadline, "a killed process is gone");
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(process.is_gone());
    }

    #[test]
    fn brackets_in_a_name_do_not_confuse() {
        let stat = "7 (a) b) R 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1";
        assert_eq!(parse(stat), Some(Some(4711)));
    }
}
