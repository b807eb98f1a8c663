//! The commands, one file each. A command answers the exit status.

pub(crate) mod approvals;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod exec;
pub(crate) mod hosts;
pub(crate) mod jobs;
pub(crate) mod packages;
pub(crate) mod plugin;
pub(crate) mod plugins;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod shell;
pub(crate) mod sign;
pub(crate) mod store;
pub(crate) mod teams;

use crate::cli::Output;
use serde_json::Value;

/// Print a JSON value on stdout, indented on a terminal.
pub(crate) fn print_json(value: &Value) -> anyhow::Result<()> {
    use std::io::{IsTerminal as _, Write as _};
    let mut out = std::io::stdout().lock();
    let text = if out.is_terminal() { serde_json::to_string_pretty(value)? } else { serde_json::to_string(value)? };
    writeln!(out, "{}", escaped(&text))?;
    Ok(())
}

/// JSON with what a terminal may obey, or shows in another order, as `\uXXXX`: such characters stand in strings only, and mean the same so.
fn escaped(json: &str) -> String {
    let obeyed = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if obeyed(c) { text.push_str(&format!("\\u{:04x}", u32::from(c))) } else { text.push(c) }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn json_holds_nothing_that_a_terminal_obeys_and_means_the_same() {
        let value = serde_json::json!({ "a": "x\u{9b}31m\u{202e}y\u{7f}" });
        let text = super::escaped(&value.to_string());
        assert_eq!(text, r#"{"a":"x\u009b31m\u202ey\u007f"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
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
