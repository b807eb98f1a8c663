//! Programs that the operator declared.

use crate::bytes::ByteStream;
use crate::host;
use crate::{Error, ErrorContext, Result};

pub use crate::bindings::rota::runbook::process::{Ended, ExitStatus};
pub use crate::bindings::rota::runbook::tools::{Connection, ToolInfo};

/// A program that runs for this run. Dropped, it is killed with its children.
#[derive(Debug)]
pub struct Child {
    raw: host::process::Child,
    name: &'static str,
}

impl Child {
    pub(crate) fn new(raw: host::process::Child, name: &'static str) -> Self {
        Self { raw, name }
    }

    /// Its standard output, once. The stream fails at its end when the program exits non-zero, so that no store keeps half an
    /// output as a whole one.
    ///
    /// # Errors
    /// `conflict` on a second call.
    pub fn stdout(&self) -> Result<ByteStream> {
        Ok(ByteStream::new(self.raw.stdout().with_context(|| format!("reading the output of `{}`", self.name))?))
    }

    /// Wait until it ends.
    ///
    /// # Errors
    /// When that cannot be told. A non-zero exit is an answer, not an error: see [`Ended::success`].
    pub async fn wait(&self) -> Result<Ended> {
        self.raw.wait().await.with_context(|| format!("waiting for `{}`", self.name))
    }

    /// Wait until it ends, and take anything but success for an error.
    ///
    /// # Errors
    /// When it exits non-zero or a signal ends it, with the end of what it wrote to stderr.
    pub async fn success(&self) -> Result<Ended> {
        self.wait().await?.success(self.name)
    }

    /// Kill it and its children at once.
    ///
    /// # Errors
    /// When that fails; one that has ended is no error.
    pub async fn kill(&self) -> Result<()> {
        self.raw.kill().await.with_context(|| format!("killing `{}`", self.name))
    }
}

impl Ended {
    /// Itself, when the program exited with 0 or was only planned.
    ///
    /// # Errors
    /// Otherwise, with the last lines of its stderr.
    pub fn success(self, program: &str) -> Result<Self> {
        let how = match self.status {
            ExitStatus::Code(0) | ExitStatus::Planned => return Ok(self),
            ExitStatus::Code(code) => format!("exited with {code}"),
            ExitStatus::Signal(signal) => format!("was ended by signal {signal}"),
        };
        let said = tail(&self.stderr, 5);
        Err(Error::new(if said.is_empty() {
            format!("{program} {how} and said nothing")
        } else {
            format!("{program} {how}: {said}")
        }))
    }

    /// Whether it was not started because the run is a plan.
    pub fn is_planned(&self) -> bool {
        self.status == ExitStatus::Planned
    }
}

/// The last lines that say something, on one line.
fn tail(text: &str, lines: usize) -> String {
    let said: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    said[said.len().saturating_sub(lines)..].join("; ")
}
