//! The log: what the host says on standard error.
//!
//! | wall | why |
//! | --- | --- |
//! | every line masked | no secret in a log, whoever wrote it |
//! | every line sanitized | a server's or a guest's text cannot steer the terminal or forge a line |
//! | libraries that see statements, keys or bodies speak from `warn` up, unless they are named in `ROTA_LOG` | `ROTA_LOG=debug` must not print SQL |
//! | `sqlx::query` is silent | its warning about a slow statement carries the statement |
//! | notices are not logged at all | they belong to the run that caused them ([`notice_layer`]) |
//!
//! Records of the `log` crate are not taken up: what writes them here (wasmtime, reqwest) says
//! nothing that its errors do not say, and sqlx writes statements there too.

use std::fmt::{self, Write as _};
use std::io;
use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::{DefaultFields, Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, fmt as log_layer};

use crate::clean_line;
use crate::notice::{NOTICE_TARGET, notice_layer};

/// Libraries whose debug output shows statements, object keys, headers or bodies.
const QUIET: [&str; 12] = [
    "sqlx",
    "hyper",
    "hyper_util",
    "h2",
    "reqwest",
    "rustls",
    "tower",
    "opendal",
    "want",
    "mio",
    "wasmtime",
    "cranelift",
];

/// What the log shows if it is not told.
const DEFAULT: LevelFilter = LevelFilter::WARN;

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people, coloured or not.
    Human {
        /// Whether level and time are coloured.
        colour: bool,
    },
    /// One JSON object a line.
    Json,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter cannot be read.
    #[error(
        "the log filter \"{filter}\" cannot be read: {reason}; write for example ROTA_LOG=info or ROTA_LOG=warn,rota_runs=debug"
    )]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The process has a log already.
    #[error("the log was set up before")]
    AlreadySet,
}

/// Sets up the log of the process: `filter` as in `ROTA_LOG` (empty: warnings), each line (without
/// its end) to `sink`.
///
/// # Errors
/// If the filter cannot be read, or the process has a log already.
pub fn init(format: LogFormat, filter: &str, sink: impl Fn(&str) + Send + Sync + 'static) -> Result<(), InitError> {
    tracing::subscriber::set_global_default(subscriber(format, filter, sink)?).map_err(|_| InitError::AlreadySet)
}

/// A sink for [`init`] that writes to standard error.
pub fn stderr() -> impl Fn(&str) + Send + Sync + 'static {
    |line| {
        // Nobody is left to tell that standard error is gone.
        let _ = io::Write::write_all(&mut io::stderr().lock(), format!("{line}\n").as_bytes());
    }
}

/// The subscriber that [`init`] sets for the process, for a test to set for a scope.
///
/// # Errors
/// If the filter cannot be read.
pub fn subscriber(
    format: LogFormat,
    filter: &str,
    sink: impl Fn(&str) + Send + Sync + 'static,
) -> Result<impl Subscriber + Send + Sync + 'static, InitError> {
    let sink = Sink(Arc::new(sink));
    let layer = log_layer::layer().with_ansi(false).log_internal_errors(false).with_writer(sink);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Human { colour } => {
            Box::new(layer.fmt_fields(DefaultFields::new()).event_format(HumanLine { colour }))
        }
        LogFormat::Json => {
            let format = log_layer::format().json().flatten_event(false).with_current_span(false).with_span_list(true);
            Box::new(layer.fmt_fields(JsonFields::new()).event_format(JsonLine(format)))
        }
    };
    // Each layer brings its own filter, so that the log's does not keep notices from runs.
    let no_notice = filter_fn(|metadata| metadata.target() != NOTICE_TARGET).with_max_level_hint(LevelFilter::TRACE);
    Ok(tracing_subscriber::registry().with(lines.with_filter(parse(filter)?.and(no_notice))).with(notice_layer()))
}

/// Writes a panic to standard error as one masked and sanitized line: the default hook would show a
/// secret that the message carries.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line())).unwrap_or_default();
        let line = format!("rota: a defect of Rota{place}: {message}");
        stderr()(&clean_line(&line));
    }));
}

fn parse(filter: &str) -> Result<EnvFilter, InitError> {
    let given: Vec<&str> = filter.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let refuse = |reason: String| InitError::Filter { filter: filter.to_owned(), reason };
    let mut general = DEFAULT;
    for part in &given {
        match part.parse::<LevelFilter>() {
            Ok(level) => general = level,
            // `tracing` would take a mistyped level for a module of that name, and show nothing.
            Err(_) => match nearest_level(part) {
                Some(level) => return Err(refuse(format!("\"{part}\" is no level; the nearest is \"{level}\""))),
                None => continue,
            },
        }
    }
    // Later directives replace earlier ones of the same target, so a library that is named speaks.
    let ceiling = general.min(LevelFilter::WARN);
    // What async-nats says of a refused login is the error of the call, too, and there without an address.
    let mut directives = vec![general.to_string(), "sqlx::query=off".to_owned(), "async_nats=off".to_owned()];
    directives.extend(QUIET.iter().map(|library| format!("{library}={ceiling}")));
    directives.extend(given.iter().map(|part| (*part).to_owned()));
    EnvFilter::builder().with_regex(false).parse(directives.join(",")).map_err(|error| refuse(error.to_string()))
}

fn nearest_level(word: &str) -> Option<&'static str> {
    if word.contains(['=', ':', '[', '_']) {
        return None;
    }
    let word = word.to_lowercase();
    let levels = ["off", "error", "warn", "info", "debug", "trace", "warning", "verbose"];
    let near = levels.into_iter().min_by_key(|level| strsim::damerau_levenshtein(&word, level))?;
    if strsim::damerau_levenshtein(&word, near) > 2 || near.len() < 4 {
        return None;
    }
    Some(match near {
        "warning" => "warn",
        "verbose" => "debug",
        level => level,
    })
}

/// Takes whole events from the formatter.
#[derive(Clone)]
struct Sink(Arc<dyn Fn(&str) + Send + Sync>);

impl MakeWriter<'_> for Sink {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl io::Write for Sink {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let event_text = String::from_utf8_lossy(event);
        (self.0)(event_text.trim_end_matches('\n'));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `2026-11-23T16:28:32.123Z WARN rota_runs: run{id=7}: message field=1`
struct HumanLine {
    colour: bool,
}

impl HumanLine {
    fn coloured(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

impl<S, N> FormatEvent<S, N> for HumanLine
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut said = format!("{}: ", event.metadata().target());
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            said.push_str(span.name());
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>().filter(|fields| !fields.is_empty()) {
                write!(said, "{{{fields}}}")?;
            }
            said.push_str(": ");
        }
        context.format_fields(Writer::new(&mut said), event)?;
        let level = *event.metadata().level();
        let code = match level {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            Level::DEBUG | Level::TRACE => "34",
        };
        let time = self.coloured("2", &Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true));
        let level = self.coloured(code, &format!("{level:5}"));
        writeln!(writer, "{time} {level} {}", clean_line(&said))
    }
}

/// What `tracing-subscriber` makes of an event, masked and sanitized.
struct JsonLine(Format<Json>);

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        writeln!(writer, "{}", clean_line(&line))
    }
}

#[cfg(test)]
mod tests;
