//! Which processes there are, by what is told of them in /proc.

use std::collections::BTreeSet;

/// A process, as /proc shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its command line.
    pub command: String,
}

/// The processes whose environment or arguments hold a text: those of one test, where each has a folder of its own. Zombies do
/// not count: nothing of them is left but their parent's duty.
#[must_use]
pub fn holding(text: &str) -> BTreeSet<Process> {
    let holds = |path: String| {
        std::fs::read(path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    };
    all()
        .filter(|pid| *pid != rustix::process::getpid().as_raw_nonzero().get() && !is_zombie(*pid))
        .filter(|pid| holds(format!("/proc/{pid}/cmdline")) || holds(format!("/proc/{pid}/environ")))
        .map(|pid| Process { pid, command: command(pid) })
        .collect()
}

/// All descendants of a process that live.
#[must_use]
pub fn below(root: i32) -> BTreeSet<Process> {
    let mut found = BTreeSet::new();
    let mut look = vec![root];
    while let Some(parent) = look.pop() {
        let children = std::fs::read_dir(format!("/proc/{parent}/task"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        for children in children {
            for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
                look.push(child);
                if !is_zombie(child) {
                    found.insert(Process { pid: child, command: command(child) });
                }
            }
        }
    }
    found
}

/// Whether a process with this id and command lives.
#[must_use]
pub fn lives(process: &Process) -> bool {
    std::path::Path::new(&format!("/proc/{}", process.pid)).exists()
        && !is_zombie(process.pid)
        && command(process.pid) == process.command
}

fn all() -> impl Iterator<Item = i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
}

fn is_zombie(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_or(true, |stat| stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X'])))
}

fn command(pid: i32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ")
}
