//! A finished run, as people read it: status, findings with remedies, tables, effects.

use super::{bold, coloured, dim, format, safe, table};
use rota_contract::Report;
use rota_contract::reports::{Finding, Severity, Table};
use rota_runs::{EffectView, RunView};

/// The whole answer of `rota run` and `rota runs show`.
pub(crate) fn run(view: &RunView, report: Option<&Report>) -> String {
    let mut blocks = vec![headline(view)];
    if let Some(report) = report {
        blocks.push(format!("{} {}", mark(report.status), safe(&report.summary)));
        if !report.findings.is_empty() {
            let numbered = report.findings.iter().enumerate();
            blocks.push(numbered.map(|(place, each)| finding(view, place, each)).collect::<Vec<_>>().join("\n"));
        }
        for each in report.tables.iter().filter(|t| !t.rows.is_empty()) {
            blocks.push(titled(each));
        }
    }
    if !view.effects.is_empty() {
        blocks.push(effects(view));
    }
    if let Some(error) = &view.error {
        blocks.push(failure(&error.kind, &error.message, error.hint.as_deref()));
    }
    blocks.join("\n\n")
}

/// A table under its title, where it has one.
pub(crate) fn titled(each: &Table) -> String {
    if each.title.is_empty() {
        table::report(each)
    } else {
        format!("{}\n{}", bold(&safe(&each.title)), table::report(each))
    }
}

/// Everything of a run but its tables and data, and its effects where those are elsewhere as well.
pub(crate) fn aside(view: &RunView, with_effects: bool) -> String {
    let mut blocks = Vec::new();
    if let Some(report) = view.report.as_ref().filter(|report| !report.findings.is_empty()) {
        let numbered = report.findings.iter().enumerate();
        blocks.push(numbered.map(|(place, each)| finding(view, place, each)).collect::<Vec<_>>().join("\n"));
    }
    if with_effects && !view.effects.is_empty() {
        blocks.push(effects(view));
    }
    if let Some(error) = &view.error {
        blocks.push(failure(&error.kind, &error.message, error.hint.as_deref()));
    }
    blocks.push(dim(&headline(view)));
    blocks.join("\n\n")
}

fn headline(view: &RunView) -> String {
    let what = safe(&match &view.job {
        Some(job) => format!("{job} ({} {})", view.plugin, view.version),
        None => format!("{} {}", view.plugin, view.version),
    });
    let mode = if view.mode == "plan" { " plan" } else { "" };
    let took = view.duration_ms.map(|ms| format!(" in {}", format::seconds(ms as f64 / 1000.0))).unwrap_or_default();
    let waits = view.waiting_for.as_deref().map(|reason| waits(reason, view.waiting_on.as_deref())).unwrap_or_default();
    format!(
        "{}{mode}: {}{waits}{took}  {}",
        bold(&what),
        coloured(&view.status),
        dim(&safe(&format!("run {}", view.id)))
    )
}

/// What a run waits for.
fn waits(reason: &str, on: Option<&str>) -> String {
    match (reason, on.and_then(|key| key.split_once(':'))) {
        (_, Some(("team", team))) => {
            format!(" for others of the team {} to end (teams.{}.quotas.runs_at_once)", safe(team), safe(team))
        }
        (_, Some((what, name))) => format!(" for others to end ({} {})", safe(what), safe(name)),
        (reason, None) => format!(" for {}", safe(reason)),
    }
}

fn mark(severity: Severity) -> String {
    coloured(severity.as_str())
}

fn finding(view: &RunView, place: usize, finding: &Finding) -> String {
    let number = dim(&format!("{}.", place + 1));
    let mut lines = vec![format!("  {number} {} {}", mark(finding.severity), bold(&safe(&finding.title)))];
    if !finding.detail.is_empty() {
        lines.extend(finding.detail.lines().map(|line| format!("      {}", safe(line))));
    }
    if let Some(remedy) = &finding.remedy {
        lines.push(format!("      {} {}", dim("->"), safe(&remedy.note)));
        if !remedy.plugin.is_empty() {
            lines.push(format!("         {}", view.remedy_command(place)));
            lines.push(format!("         {}", dim(&format!("({})", command(&remedy.plugin, &remedy.parameters)))));
        }
    }
    lines.join("\n")
}

/// The command line that a remedy stands for.
pub(crate) fn command(plugin: &str, parameters: &str) -> String {
    let mut words = vec!["rota run".to_owned(), quoted(plugin)];
    if let Ok(serde_json::Value::Object(map)) = serde_json::from_str(parameters) {
        for (key, value) in map {
            let value = match value {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            words.push(format!("-p {}", quoted(&format!("{key}={value}"))));
        }
    }
    safe(&words.join(" "))
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:@,+".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// How many effects are shown before the rest is only counted.
const EFFECTS_SHOWN: usize = 40;

pub(crate) fn effects(view: &RunView) -> String {
    let heading = if view.mode == "plan" { "Would have these effects" } else { "Effects" };
    let row = |effect: &EffectView| {
        vec![
            effect.sequence.to_string(),
            effect.operation.clone(),
            safe(&effect.target),
            safe(&one_line(&effect.detail)),
            coloured(&effect.outcome),
        ]
    };
    let rows: Vec<Vec<String>> = view.effects.iter().take(EFFECTS_SHOWN).map(row).collect();
    let mut text =
        format!("{}\n{}", bold(heading), table::plain(&["#", "operation", "target", "detail", "outcome"], &rows));
    if view.effects.len() > EFFECTS_SHOWN {
        text.push_str(&format!(
            "\n  ... and {} more (rota runs show {} --output json)",
            view.effects.len() - EFFECTS_SHOWN,
            view.id
        ));
    }
    text
}

/// All effects of a plan, each with everything that is on record of it: for whoever is asked whether they may happen.
pub(crate) fn effects_whole(view: &RunView) -> String {
    effects_listed(&view.effects)
}

/// The same, of some of them.
pub(crate) fn effects_listed(effects: &[EffectView]) -> String {
    let each = effects.iter().enumerate().map(|(place, effect)| {
        let detail: Vec<String> = effect.detail.lines().map(|line| format!("       {}", safe(line))).collect();
        format!("  {:>3}. {} {}\n{}", place + 1, bold(&effect.operation), safe(&effect.target), detail.join("\n"))
    });
    format!("{}\n{}", bold("Would have these effects"), each.collect::<Vec<_>>().join("\n"))
}

fn one_line(text: &str) -> String {
    // A line's end is shown: what stands behind a comment is none.
    let text = text.lines().collect::<Vec<_>>().join(" \u{21b5} ");
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > 160 { format!("{}...", line.chars().take(157).collect::<String>()) } else { line }
}

/// An error with what to do about it.
pub(crate) fn failure(kind: &str, message: &str, hint: Option<&str>) -> String {
    let mut text = format!("{} {}", coloured_error(&safe(kind)), safe_lines(message));
    if let Some(hint) = hint {
        text.push_str(&format!("\n  {} {}", dim("->"), safe_lines(hint)));
    }
    text
}

fn coloured_error(kind: &str) -> String {
    use owo_colors::{OwoColorize as _, Stream};
    format!("{kind}:").if_supports_color(Stream::Stdout, |t| t.red()).to_string()
}

fn safe_lines(text: &str) -> String {
    text.lines().map(safe).collect::<Vec<_>>().join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_a_command_that_can_be_pasted() {
        assert_eq!(
            command("postgres-vacuum", r#"{"tables":"a b","limit":3}"#),
            "rota run postgres-vacuum -p 'tables=a b' -p limit=3"
        );
    }
}
