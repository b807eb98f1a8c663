//! The commands, one file each. A command answers the exit status.

pub(crate) mod approvals;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod hosts;
pub(crate) mod jobs;
pub(crate) mod plugins;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod store;

use crate::cli::Output;
use serde_json::Value;

/// Print a JSON value on stdout, indented on a terminal.
pub(crate) fn print_json(value: &Value) -> anyhow::Result<()> {
    use std::io::{IsTerminal as _, Write as _};
    let mut out = std::io::stdout().lock();
    if out.is_terminal() {
        serde_json::to_writer_pretty(&mut out, value)?;
    } else {
        serde_json::to_writer(&mut out, value)?;
    }
    writeln!(out)?;
    Ok(())
}

/// Print text on stdout; a reader that went away (a pager) is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Where and how to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printing {
    /// The form.
    pub(crate) output: Output,
}

impl Printing {
    /// Human on a terminal, JSON elsewhere, unless told.
    pub(crate) fn new(told: Option<Output>) -> Self {
        use std::io::IsTerminal as _;
        let output = told.unwrap_or(if std::io::stdout().is_terminal() { Output::Human } else { Output::Json });
        Self { output }
    }

    /// Whether for people.
    pub(crate) fn human(self) -> bool {
        self.output == Output::Human
    }
}
