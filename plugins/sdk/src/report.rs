//! What a run found and did, built up as it goes.

use crate::bindings::rota::runbook::reports as wit;
use crate::{Error, Timestamp};
use serde::Serialize;

pub use wit::{Cell, Severity};

/// A report: findings, tables and metrics for people, and data for programs. Its status is the worst of its findings.
///
/// `Report::new()` has no data; [`Report::data`] adds it at the end, in the type that the procedure declared.
#[derive(Clone, Debug)]
pub struct Report<D = ()> {
    summary: Option<String>,
    findings: Vec<wit::Finding>,
    tables: Vec<wit::Table>,
    metrics: Vec<wit::Metric>,
    incomplete: bool,
    data: D,
}

impl Default for Report<()> {
    fn default() -> Self {
        Self::new()
    }
}

impl Report<()> {
    /// An empty report: status ok.
    pub fn new() -> Self {
        Self {
            summary: None,
            findings: Vec::new(),
            tables: Vec::new(),
            metrics: Vec::new(),
            incomplete: false,
            data: (),
        }
    }
}

/// Names may hold line breaks; a title may not.
fn one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// How much a severity matters: what cannot be told is worse than ok and better than a known problem.
fn rank(severity: Severity) -> u8 {
    match severity {
        Severity::Ok => 0,
        Severity::Unknown => 1,
        Severity::Warning => 2,
        Severity::Critical => 3,
    }
}

impl Severity {
    /// The worse of two.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        if rank(other) > rank(self) { other } else { self }
    }

    /// The word, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    /// Where a measured value stands against two thresholds.
    pub fn of(value: f64, warn: f64, critical: f64) -> Self {
        if value.is_nan() {
            Self::Unknown
        } else if value >= critical {
            Self::Critical
        } else if value >= warn {
            Self::Warning
        } else {
            Self::Ok
        }
    }
}

impl Serialize for Severity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl schemars::JsonSchema for Severity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Severity".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "enum": ["ok", "warning", "critical", "unknown"] })
    }
}

impl<D> Report<D> {
    /// Say the whole in one line. Without it, the worst finding's title is taken.
    pub fn summary(&mut self, text: impl Into<String>) -> &mut Self {
        self.summary = Some(one_line(text.into()));
        self
    }

    /// Add a finding. The title is one line that names the object: `public.orders: 60,112 dead rows`.
    pub fn finding(&mut self, severity: Severity, title: impl Into<String>) -> FindingBuilder<'_> {
        let finding = wit::Finding { severity, title: one_line(title.into()), detail: String::new(), remedy: None };
        self.findings.push(finding);
        let last = self.findings.len() - 1;
        FindingBuilder(&mut self.findings[last])
    }

    /// Somebody should look.
    pub fn warning(&mut self, title: impl Into<String>) -> FindingBuilder<'_> {
        self.finding(Severity::Warning, title)
    }

    /// Somebody must act.
    pub fn critical(&mut self, title: impl Into<String>) -> FindingBuilder<'_> {
        self.finding(Severity::Critical, title)
    }

    /// It could not be told.
    pub fn unknown(&mut self, title: impl Into<String>) -> FindingBuilder<'_> {
        self.finding(Severity::Unknown, title)
    }

    /// Worth saying, nothing to do.
    pub fn note(&mut self, title: impl Into<String>) -> FindingBuilder<'_> {
        self.finding(Severity::Ok, title)
    }

    /// Something that matters could not be seen: the report is never ok from here on.
    pub fn incomplete(&mut self) {
        self.incomplete = true;
    }

    /// Add a table. The name is for programs, the title for people.
    pub fn table<const N: usize>(&mut self, name: &str, title: &str, columns: [&str; N]) -> TableBuilder<'_> {
        self.table_of(name, title, columns.iter().map(|column| (*column).to_owned()).collect())
    }

    /// The same with columns that are known only now.
    pub fn table_of(&mut self, name: &str, title: &str, columns: Vec<String>) -> TableBuilder<'_> {
        self.tables.push(wit::Table { name: name.to_owned(), title: title.to_owned(), columns, rows: Vec::new() });
        let last = self.tables.len() - 1;
        TableBuilder(&mut self.tables[last])
    }

    /// Add a measured value. The name has the unit last: `lag_bytes`.
    pub fn metric(&mut self, name: &str, labels: &[(&str, &str)], value: f64) -> &mut Self {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.metrics.push(wit::Metric { name: name.to_owned(), labels, value });
        self
    }

    /// The worst of what was found; never ok when something could not be seen.
    pub fn status(&self) -> Severity {
        let floor = if self.incomplete { Severity::Unknown } else { Severity::Ok };
        self.findings.iter().fold(floor, |worst, finding| worst.worst(finding.severity))
    }

    /// How many findings there are of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Add the data for programs, in the declared type.
    pub fn data<E>(self, data: E) -> Report<E> {
        let Self { summary, findings, tables, metrics, incomplete, data: _ } = self;
        Report { summary, findings, tables, metrics, incomplete, data }
    }

    /// The same report with its data seen as JSON.
    pub(crate) fn into_wit(self) -> wit::Report
    where
        D: Serialize,
    {
        self.into_wit_or("nothing found")
    }

    /// The same of one that failed: what nobody summarised and has no finding is what went wrong.
    pub(crate) fn into_failed_wit(self, error: &Error) -> wit::Report
    where
        D: Serialize,
    {
        let said = error.to_string();
        self.into_wit_or(said.lines().next().unwrap_or("failed"))
    }

    fn into_wit_or(self, otherwise: &str) -> wit::Report
    where
        D: Serialize,
    {
        let status = self.status();
        let Self { summary, mut findings, tables, metrics, data, .. } = self;
        findings.sort_by_key(|finding| std::cmp::Reverse(rank(finding.severity)));
        let summary = summary
            .or_else(|| findings.first().map(|finding| finding.title.clone()))
            .unwrap_or_else(|| one_line(otherwise.to_owned()));
        let data = serde_json::to_string(&data)
            .unwrap_or_else(|error| serde_json::json!({ "unserialisable": error.to_string() }).to_string());
        wit::Report { status, summary, findings, tables, metrics, data }
    }
}

impl<D: Serialize> From<Report<D>> for wit::Report {
    fn from(report: Report<D>) -> Self {
        report.into_wit()
    }
}

/// A finding being told.
#[derive(Debug)]
pub struct FindingBuilder<'r>(&'r mut wit::Finding);

impl FindingBuilder<'_> {
    /// Why it matters and what was measured.
    pub fn detail(self, text: impl Into<String>) -> Self {
        self.0.detail = text.into();
        self
    }

    /// What would mend it: a plugin with its parameters, and what that does in one line.
    pub fn remedy(self, plugin: &str, parameters: &serde_json::Value, note: impl Into<String>) -> Self {
        self.0.remedy =
            Some(wit::Remedy { plugin: plugin.to_owned(), parameters: parameters.to_string(), note: note.into() });
        self
    }

    /// What the operator can do by hand.
    pub fn advice(self, note: impl Into<String>) -> Self {
        self.remedy("", &serde_json::json!({}), note)
    }

    /// Detail from an error.
    pub fn because(self, error: &Error) -> Self {
        self.detail(error.to_string())
    }
}

/// A table being filled.
#[derive(Debug)]
pub struct TableBuilder<'r>(&'r mut wit::Table);

impl TableBuilder<'_> {
    /// Add a row: [`cells!`](crate::cells) makes one. Missing cells are left empty.
    pub fn row(&mut self, mut cells: Vec<Cell>) -> &mut Self {
        debug_assert_eq!(
            cells.len(),
            self.0.columns.len(),
            "table `{}`: a row needs a cell for each column",
            self.0.name
        );
        cells.resize(self.0.columns.len(), Cell::None);
        self.0.rows.push(cells);
        self
    }
}

/// A size, for a cell.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);
/// A length of time, for a cell.
#[derive(Clone, Copy, Debug)]
pub struct Seconds(pub f64);
/// A share between 0 and 1, for a cell.
#[derive(Clone, Copy, Debug)]
pub struct Ratio(pub f64);

/// What can stand in a table.
pub trait IntoCell {
    /// As a cell.
    fn into_cell(self) -> Cell;
}

macro_rules! into_cell {
    ($($type:ty => |$value:ident| $cell:expr;)+) => { $(
        impl IntoCell for $type {
            fn into_cell(self) -> Cell {
                let $value = self;
                $cell
            }
        }
    )+ };
}

into_cell! {
    Cell => |value| value;
    String => |value| Cell::Text(value);
    &String => |value| Cell::Text(value.clone());
    &str => |value| Cell::Text(value.to_owned());
    bool => |value| Cell::Flag(value);
    i16 => |value| Cell::Integer(value.into());
    i32 => |value| Cell::Integer(value.into());
    u32 => |value| Cell::Integer(value.into());
    i64 => |value| Cell::Integer(value);
    u64 => |value| Cell::Integer(i64::try_from(value).unwrap_or(i64::MAX));
    usize => |value| Cell::Integer(i64::try_from(value).unwrap_or(i64::MAX));
    f64 => |value| Cell::Number(value);
    Bytes => |value| Cell::Bytes(value.0);
    Seconds => |value| Cell::Seconds(value.0);
    Ratio => |value| Cell::Ratio(value.0);
    Timestamp => |value| Cell::Instant(value.0);
    Severity => |value| Cell::Text(value.word().to_owned());
}

impl<T: IntoCell> IntoCell for Option<T> {
    fn into_cell(self) -> Cell {
        self.map_or(Cell::None, IntoCell::into_cell)
    }
}

/// A row of a table: `cells![name, Bytes(size), Seconds(age)]`. An `Option` that is none leaves the cell empty.
#[macro_export]
macro_rules! cells {
    ($($value:expr),* $(,)?) => { ::std::vec![$($crate::IntoCell::into_cell($value)),*] };
}
