//! Figures of the store alone: its own measures (`host/store/tests/it/measure.rs`), which print each as a line of JSON.

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// What each figure's line begins with.
const MARK: &str = "figure: ";

/// One of them, as the store says it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct StoreFigure {
    what: String,
    ours: Value,
    #[serde(default)]
    theirs: Value,
    unit: String,
    #[serde(default)]
    goal: Value,
}

impl StoreFigure {
    /// The line of the table.
    pub(crate) fn line(&self) -> String {
        let unit = &self.unit;
        let side = |value: &Value| match value {
            Value::Null => "-".to_owned(),
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or(f64::NAN);
                if number.abs() < 100.0 { format!("{number:.2} {unit}") } else { format!("{number:.0} {unit}") }
            }
            other => text(other),
        };
        let times = match (self.ours.as_f64(), self.theirs.as_f64()) {
            (Some(ours), Some(theirs)) if theirs != 0.0 => format!("{:.2}x", ours / theirs),
            _ => "-".into(),
        };
        format!("| {} | {} | {} | {times} | {} |", self.what, side(&self.ours), side(&self.theirs), text(&self.goal))
    }
}

/// A text without quotation marks.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Build and run the measures, one after the other.
pub(crate) async fn measure() -> anyhow::Result<Vec<StoreFigure>> {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("no workspace above tests/bench")?;
    let output = Command::new("cargo")
        .current_dir(workspace)
        .args(["test", "--release", "--quiet", "--package", "rota-store", "--test", "it"])
        .args(["--", "--ignored", "--nocapture", "--test-threads", "1", "measure::"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .context("cargo")?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "the store's measures failed: {said}");
    // A test's own output may stand in front.
    let lines = said.lines().filter_map(|line| line.split_once(MARK));
    let figures: Vec<StoreFigure> = lines
        .map(|(_, figure)| serde_json::from_str(figure).with_context(|| format!("`{figure}` is no figure")))
        .collect::<Result<_, _>>()?;
    ensure!(!figures.is_empty(), "the store's measures printed no figure: {said}");
    Ok(figures)
}
