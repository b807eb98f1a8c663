//! What people see: the report, tables, the live line. JSON is made elsewhere; this is for eyes.

pub(crate) mod format;
pub(crate) mod live;
pub(crate) mod report;
pub(crate) mod table;
pub(crate) mod timeline;

use owo_colors::{OwoColorize as _, Stream};

/// A status or severity word in its colour.
pub(crate) fn coloured(word: &str) -> String {
    let paint = |s: &str| match s {
        "ok" | "succeeded" | "done" => s.if_supports_color(Stream::Stdout, |t| t.green()).to_string(),
        "warning" | "planned" | "cancelled" | "running" | "compensating" | "waiting" | "queued" | "skipped" => {
            s.if_supports_color(Stream::Stdout, |t| t.yellow()).to_string()
        }
        "critical" | "failed" | "denied" | "timed-out" | "interrupted" | "compensation-failed" | "vanished" => {
            s.if_supports_color(Stream::Stdout, |t| t.red()).to_string()
        }
        "unknown" | "in-doubt" => s.if_supports_color(Stream::Stdout, |t| t.magenta()).to_string(),
        _ => s.to_owned(),
    };
    paint(word)
}

/// Emphasised.
pub(crate) fn bold(text: &str) -> String {
    text.if_supports_color(Stream::Stdout, |t| t.bold()).to_string()
}

/// In the background.
pub(crate) fn dim(text: &str) -> String {
    text.if_supports_color(Stream::Stdout, |t| t.dimmed()).to_string()
}

/// Text that came from a database, a plugin or a file, as it may be put on a terminal.
pub(crate) fn safe(text: &str) -> String {
    // Masked as well: what control characters had kept apart is a secret again once they are gone.
    rota_telemetry::clean_line(text)
}
