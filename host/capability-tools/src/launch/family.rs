//! The end of a program and of everything that descends from it.

use crate::Ended;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, kill_process_group, pidfd_open, pidfd_send_signal, wait,
};
use std::collections::HashMap;
use std::io;

/// Kill every descendant of this process and reap it; answers how `main` ended.
///
/// A descendant can fork until it is dead, and what it forked becomes our child then. So each death that is reaped is
/// followed by another look, and the end is when the system says that there is no child left.
pub(super) fn end(main: Pid) -> io::Result<Option<Ended>> {
    let mut ended = None;
    let mut keep = |pid: Pid, status: WaitStatus| {
        if pid == main {
            ended = status_of(status);
        }
    };
    // What has ended by itself keeps its own status.
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        keep(pid, status);
    }
    loop {
        kill_descendants(main);
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => keep(pid, status),
            Ok(None) | Err(Errno::INTR) => {}
            Err(Errno::CHILD) => return Ok(ended),
            Err(error) => return Err(error.into()),
        }
    }
}

fn status_of(status: WaitStatus) -> Option<Ended> {
    let code = status.exit_status().map(Ended::Code);
    code.or_else(|| status.terminating_signal().map(Ended::Signal))
}

fn kill_descendants(main: Pid) {
    // The group first, at one stroke; then those who left it.
    let _ = kill_process_group(main, Signal::KILL);
    let parents = parents();
    for (&process, &parent) in &parents {
        if !descends(process, &parents) {
            continue;
        }
        // The number may have gone to another process since: what is killed is what the descriptor holds, when it still has
        // the parent that it had, or has become ours.
        let Some(pid) = Pid::from_raw(process) else { continue };
        if let Ok(held) = pidfd_open(pid, PidfdFlags::empty())
            && parent_of(process).is_some_and(|now| now == parent || now == me())
        {
            let _ = pidfd_send_signal(held, Signal::KILL);
        }
    }
}

fn me() -> i32 {
    getpid().as_raw_nonzero().get()
}

/// Whether the way up from a process leads to this one.
fn descends(process: i32, parents: &HashMap<i32, i32>) -> bool {
    let mut at = process;
    // A way longer than there are processes would be a circle, made of numbers that changed hands while we read.
    for _ in 0..parents.len() {
        match parents.get(&at) {
            Some(&parent) if parent == me() => return true,
            Some(&parent) => at = parent,
            None => return false,
        }
    }
    false
}

/// Every process and its parent.
fn parents() -> HashMap<i32, i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return HashMap::new() };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    numbers.filter_map(|process| Some((process, parent_of(process)?))).collect()
}

/// The fourth field of a process's `stat`; the second is its name in parentheses, which may hold anything.
fn parent_of(process: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
