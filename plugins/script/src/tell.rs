//! What the script printed and reported.

use crate::value::Js;
use rota_sdk::Cell;
use rota_sdk::prelude::*;
use std::collections::BTreeSet;

/// How many bytes of output are kept.
const OUTPUT: usize = 4 << 20;
/// How many rows of a table are kept.
const ROWS: usize = 10_000;
/// How many findings of a session are kept.
const FINDINGS: usize = 200;
/// How long a line may be that is shown while the script runs.
const LIVE: usize = 1_000;

/// The report that grows.
pub(crate) struct Told {
    pub(crate) report: Report,
    pub(crate) output: Vec<String>,
    bytes: usize,
    pub(crate) truncated: bool,
    pub(crate) data: Option<Json>,
    pub(crate) summarised: bool,
    /// The arguments that the script looked at.
    pub(crate) used: BTreeSet<String>,
    /// Of a session: what is told is said at once, and not kept.
    pub(crate) speaks: bool,
    findings: usize,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            report: Report::new(),
            output: Vec::new(),
            bytes: 0,
            truncated: false,
            data: None,
            summarised: false,
            used: BTreeSet::new(),
            speaks: false,
            findings: 0,
        }
    }
}

impl Told {
    pub(crate) fn print(&mut self, line: &str) {
        if self.speaks {
            crate::talk::say(&json!({ "print": line }));
            return;
        }
        if self.truncated || self.bytes + line.len() > OUTPUT {
            self.truncated = true;
            return;
        }
        // For whoever looks on: lines that the log may shorten or split are shown at the end instead.
        if line.len() <= LIVE && !line.contains(char::is_control) {
            rota_sdk::log(rota_sdk::Level::Info, line, &[("output", self.output.len().to_string())]);
        }
        self.bytes += line.len() + 1;
        self.output.push(line.to_owned());
    }

    pub(crate) fn table(&mut self, title: &str, columns: &[Js], rows: &[Js]) -> Result<()> {
        let columns: Vec<String> = columns.iter().map(plain).collect();
        if columns.is_empty() {
            return Ok(());
        }
        if self.speaks {
            let rows: Vec<Json> = rows.iter().take(ROWS).map(|row| row.clone().into_json()).collect();
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            crate::talk::say(&json!({ "table": { "title": title, "columns": columns, "rows": rows } }));
            return Ok(());
        }
        let name: String =
            title.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
        let name = name.trim_matches('_');
        let width = columns.len();
        let mut table = self.report.table_of(if name.is_empty() { "table" } else { name }, title, columns);
        for row in rows.iter().take(ROWS) {
            let Js::List(cells) = row else { return Err(Error::new("the rows of a table are arrays")) };
            let mut cells: Vec<Cell> = cells.iter().map(cell).collect();
            cells.resize(width, Cell::None);
            table.row(cells);
        }
        if rows.len() > ROWS {
            self.report.note(format!("{title}: the first {ROWS} of {} rows are shown", rows.len()));
        }
        Ok(())
    }

    pub(crate) fn finding(&mut self, severity: &str, title: &str, detail: &str) {
        let word = severity;
        let severity = match severity {
            "warning" => Severity::Warning,
            "critical" => Severity::Critical,
            "unknown" => Severity::Unknown,
            _ => Severity::Ok,
        };
        if self.speaks {
            crate::talk::say(&json!({ "finding": { "severity": word, "title": title, "detail": detail } }));
        }
        self.findings += 1;
        if !self.speaks || self.findings <= FINDINGS {
            self.report.finding(severity, title).detail(detail);
        }
    }

    pub(crate) fn summary(&mut self, text: &str) {
        self.summarised = true;
        self.report.summary(text);
    }

    pub(crate) fn data(&mut self, data: Json) {
        self.data = Some(data);
    }
}

fn cell(value: &Js) -> Cell {
    match value {
        Js::Undefined | Js::Null => Cell::None,
        Js::Flag(flag) => Cell::Flag(*flag),
        Js::Big(number) => Cell::Integer(*number),
        Js::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => Cell::Integer(*number as i64),
        Js::Number(number) => Cell::Number(*number),
        Js::Instant(micros) => Cell::Instant(*micros),
        other => Cell::Text(plain(other)),
    }
}

/// As text.
pub(crate) fn plain(value: &Js) -> String {
    match value {
        Js::Text(text) => text.clone(),
        Js::Undefined => "undefined".to_owned(),
        other => other.clone().into_json().to_string(),
    }
}
