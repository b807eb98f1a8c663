//! What a test looks at after a run.

use crate::bindings::rota::runbook::reports as wit;
use crate::{HostError, Severity};
use serde_json::Value as Json;

/// A report with its data as JSON.
#[derive(Clone, Debug)]
pub struct Reported {
    /// The worst of what was found.
    pub status: Severity,
    /// One line.
    pub summary: String,
    /// The findings, the worst first.
    pub findings: Vec<wit::Finding>,
    /// The tables.
    pub tables: Vec<wit::Table>,
    /// The metrics.
    pub metrics: Vec<wit::Metric>,
    /// The data.
    pub data: Json,
}

impl Reported {
    /// The first finding whose title contains a text.
    pub fn finding(&self, title: &str) -> Option<&wit::Finding> {
        self.findings.iter().find(|finding| finding.title.contains(title))
    }

    /// The titles of the findings of a severity.
    pub fn titles(&self, severity: Severity) -> Vec<&str> {
        self.findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .map(|finding| finding.title.as_str())
            .collect()
    }

    /// A table by its name.
    pub fn table(&self, name: &str) -> Option<&wit::Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// A metric's value by its name and one label's value.
    pub fn metric(&self, name: &str, label: Option<&str>) -> Option<f64> {
        let labelled =
            |metric: &&wit::Metric| label.is_none_or(|label| metric.labels.iter().any(|(_, value)| value == label));
        self.metrics.iter().filter(|metric| metric.name == name).find(labelled).map(|metric| metric.value)
    }
}

impl From<wit::Report> for Reported {
    fn from(report: wit::Report) -> Self {
        let wit::Report { status, summary, findings, tables, metrics, data } = report;
        let data = serde_json::from_str(&data).expect("a report's data is JSON");
        Self { status, summary, findings, tables, metrics, data }
    }
}

/// A failure, with what was found until then.
#[derive(Clone, Debug)]
pub struct Failed {
    /// What happened, to what.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The call that failed.
    pub cause: Option<HostError>,
    /// What was found and done until then.
    pub report: Option<Reported>,
}

impl From<wit::Failure> for Failed {
    fn from(failure: wit::Failure) -> Self {
        let wit::Failure { message, hint, cause, report } = failure;
        Self { message, hint, cause, report: report.map(Reported::from) }
    }
}
