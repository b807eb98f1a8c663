//! `rota runs`: what was run, and what became of it.

use super::{Printing, print, print_json};
use crate::cli::{RunsCommand, RunsList};
use crate::output::{coloured, dim, format, report, safe, table};
use rota_runs::{LogLine, RunFilter, RunRecords, RunView};
use serde_json::Value;

pub(crate) async fn runs(records: &RunRecords, command: RunsCommand, printing: Printing) -> anyhow::Result<u8> {
    match command {
        RunsCommand::List(args) => list(records, args, printing).await,
        RunsCommand::Show { run } => show(records, &run, printing).await,
        RunsCommand::Logs { run, follow } => logs(records, &run, follow, printing).await,
    }
}

async fn list(records: &RunRecords, args: RunsList, printing: Printing) -> anyhow::Result<u8> {
    let since = args.since.as_deref().map(crate::settings::duration).transpose()?;
    let filter = RunFilter { job: args.job, plugin: args.plugin, status: args.status, since, limit: args.limit };
    let views = records.list(&filter).await?;
    if !printing.human() {
        print_json(&Value::Array(views.iter().map(RunView::run_json).collect()))?;
        return Ok(0);
    }
    if views.is_empty() {
        print("no runs")?;
        return Ok(0);
    }
    let row = |view: &RunView| {
        vec![
            short(&view.id),
            view.job.clone().unwrap_or_else(|| "-".into()),
            format!("{} {}", view.plugin, view.version),
            view.mode.clone(),
            coloured(&view.status),
            view.started_at.map_or_else(|| "-".into(), |t| t.format("%Y-%m-%d %H:%M:%SZ").to_string()),
            view.duration_ms.map_or_else(|| "-".into(), |ms| format::seconds(ms as f64 / 1000.0)),
        ]
    };
    print(&table::plain(
        &["run", "job", "plugin", "mode", "status", "started", "took"],
        &views.iter().map(row).collect::<Vec<_>>(),
    ))?;
    Ok(0)
}

/// The end of a time-ordered id tells runs apart; its beginning is the time.
fn short(id: &str) -> String {
    id.to_owned()
}

async fn show(records: &RunRecords, run: &str, printing: Printing) -> anyhow::Result<u8> {
    let view = records.find(run).await?;
    if printing.human() {
        let mut text = report::run(&view, view.report.as_ref());
        for artifact in &view.artifacts {
            text.push_str(&format!(
                "\n  artifact {} ({}, {})",
                safe(&artifact.name),
                safe(&artifact.media_type),
                format::bytes(artifact.size)
            ));
        }
        if view.dropped_log_lines > 0 {
            text.push_str(&format!("\n\n{}", dim(&format!("{} log lines were dropped", view.dropped_log_lines))));
        }
        print(&text)?;
    } else {
        print_json(&view.to_json())?;
    }
    Ok(0)
}

async fn logs(records: &RunRecords, run: &str, follow: bool, printing: Printing) -> anyhow::Result<u8> {
    let id = records.find(run).await?.id;
    let mut after = 0;
    let mut all = Vec::new();
    loop {
        let lines = records.logs(&id, after).await?;
        for line in &lines {
            after = line.sequence;
            if printing.human() {
                print(&human(line))?;
            } else if follow {
                print_json(&line.to_json())?;
            } else {
                all.push(line.to_json());
            }
        }
        if !lines.is_empty() {
            continue;
        }
        if !follow || !records.is_running(&id).await? {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    if !printing.human() && !follow {
        print_json(&Value::Array(all))?;
    }
    Ok(0)
}

fn human(line: &LogLine) -> String {
    let fields: String = line.fields.iter().map(|(k, v)| format!(" {k}={}", safe(v))).collect();
    format!(
        "{} {:>5} {:<9} {}{fields}",
        dim(&line.time.format("%H:%M:%S%.3f").to_string()),
        line.level,
        line.source,
        safe(&line.message)
    )
}
