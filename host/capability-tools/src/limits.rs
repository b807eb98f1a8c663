//! What a program may use.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The limits of one program, set with `setrlimit` before it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramLimits {
    /// CPU time of each of its processes, seconds; over it a process ends by SIGXCPU.
    pub cpu_seconds: Option<u64>,
    /// Address space of each of its processes, bytes.
    pub memory: Option<u64>,
    /// Files and connections open at once.
    pub open_files: u64,
    /// The largest file it may write, into its private folder, bytes.
    pub file_bytes: u64,
}

impl Default for ProgramLimits {
    fn default() -> Self {
        Self { cpu_seconds: None, memory: None, open_files: 1024, file_bytes: 64 << 20 }
    }
}

/// How long a launcher may take to start a program.
pub(crate) const START: Duration = Duration::from_secs(20);
/// How long `--version` may take.
pub(crate) const VERSION: Duration = Duration::from_secs(20);
/// How long a killed program may take to be gone.
pub(crate) const KILL: Duration = Duration::from_secs(20);
/// What is kept of a program's standard error, bytes.
pub(crate) const STDERR: usize = 64 << 10;
/// The longest line of it in the run's log, bytes; the rest of the line is left out there.
pub(crate) const LOG_LINE: usize = 4 << 10;
/// What a pipe is asked to hold, and the most that is read at once.
pub(crate) const PIPE: usize = 1 << 20;
/// The least that is read at once, bytes.
pub(crate) const READ: usize = 256 << 10;
