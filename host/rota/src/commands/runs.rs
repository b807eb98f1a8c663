//! `rota runs`: what was run, and what became of it.

use super::{Printing, print, print_json};
use crate::cli::{RunsCommand, RunsList, Settled};
use crate::output::{coloured, dim, format, report, safe, table, timeline};
use anyhow::Context as _;
use rota_protocol::End;
use rota_runs::{ArtifactError, Artifacts, LogLine, RunFilter, RunRecords, RunView};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

/// How often is looked for news of a run that is followed, where no hint comes: a hint may be lost, and files have none.
const LOOK: Duration = Duration::from_millis(200);

/// How long a cancelled run is waited for, to say how it ended.
const CANCELLED_WITHIN: Duration = Duration::from_secs(10);

pub(crate) async fn runs(
    records: &RunRecords,
    artifacts: &Artifacts,
    command: RunsCommand,
    printing: Printing,
) -> anyhow::Result<u8> {
    match command {
        RunsCommand::List(args) => list(records, args, printing).await,
        RunsCommand::Show { run } => show(records, artifacts, &run, printing).await,
        RunsCommand::Logs { run, follow } => logs(records, &run, follow, printing).await,
        RunsCommand::Watch { run } => watch(records, &run, printing).await,
        RunsCommand::Cancel { run, terminate, note } => cancel(records, &run, terminate, note, printing).await,
        RunsCommand::Replay { .. } => anyhow::bail!("a replay needs the plugins, and is begun where they are at hand"),
        RunsCommand::Retry { run, .. } => retry_undo(records, &run, printing).await,
        RunsCommand::Settle { run, settled, note } => settle(records, &run, settled, &note, printing).await,
        RunsCommand::Artifacts { run, name, to } => {
            self::artifacts(records, artifacts, &run, name.as_deref(), to.as_deref(), printing).await
        }
    }
}

async fn list(records: &RunRecords, args: RunsList, printing: Printing) -> anyhow::Result<u8> {
    let since = args.since.as_deref().map(crate::settings::duration).transpose()?;
    let label = |text: &String| {
        let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        pair.ok_or_else(|| crate::settings::UsageError(format!("`{text}` is no label: write --label KEY=VALUE")))
    };
    let before = match &args.before {
        Some(run) => Some(records.find(run).await?.id),
        None => None,
    };
    let filter = RunFilter {
        job: args.job,
        plugin: args.plugin,
        status: args.status,
        trigger: args.trigger,
        labels: args.label.iter().map(label).collect::<Result<_, _>>()?,
        since,
        before,
        limit: args.limit,
    };
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
            safe(&view.id),
            view.job.as_deref().map_or_else(|| "-".into(), safe),
            safe(&format!("{} {}", view.plugin, view.version)),
            safe(&view.mode),
            coloured(&view.status),
            view.started_at.unwrap_or(view.due).format("%Y-%m-%d %H:%M:%SZ").to_string(),
            view.duration_ms.map_or_else(|| "-".into(), |ms| format::seconds(ms as f64 / 1000.0)),
        ]
    };
    print(&table::plain(
        &["run", "job", "plugin", "mode", "status", "started", "took"],
        &views.iter().map(row).collect::<Vec<_>>(),
    ))?;
    Ok(0)
}

async fn watch(records: &RunRecords, run: &str, printing: Printing) -> anyhow::Result<u8> {
    let id = records.find(run).await?.id;
    let live =
        crate::output::live::Live::new("", printing.human() && std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let mut news = records.news(&id);
    let mut after = 0;
    loop {
        // Asked before the log is read, so that the last lines are not missed.
        let running = records.is_running(&id).await?;
        loop {
            let lines = records.logs(&id, after).await?;
            for line in &lines {
                after = line.sequence;
                if line.level != "debug" {
                    live.say(&human(line));
                }
            }
            if lines.is_empty() {
                break;
            }
        }
        if !running {
            break;
        }
        let view = records.find(&id).await?;
        if let Some(progress) = &view.progress {
            live.progress(
                progress["done"].as_u64().unwrap_or_default(),
                progress["total"].as_u64(),
                progress["unit"].as_str().unwrap_or_default(),
                progress["note"].as_str().unwrap_or_default(),
            );
        }
        news.wait(LOOK).await;
    }
    live.finish();
    let view = records.find(&id).await?;
    if printing.human() {
        print(&report::run(&view, view.report.as_ref()))?;
    } else {
        print_json(&view.to_json())?;
    }
    Ok(view.exit_status())
}

/// A run was put into the queue: say so, or follow it.
pub(crate) async fn queued(records: &RunRecords, id: &str, follow: bool, printing: Printing) -> anyhow::Result<u8> {
    if follow {
        return watch(records, id, printing).await;
    }
    if printing.human() {
        let served = records.is_served().await?;
        let who = if served { "" } else { "; no host serves now, so it waits until `rota serve` runs somewhere" };
        print(&format!("run {id} is queued{who}"))?;
    } else {
        print_json(&records.find(id).await?.run_json())?;
    }
    Ok(0)
}

async fn cancel(
    records: &RunRecords,
    run: &str,
    terminate: bool,
    note: Option<String>,
    printing: Printing,
) -> anyhow::Result<u8> {
    let id = records.find(run).await?.id;
    let mut state = records.cancel(&id, terminate, note).await?;
    let mut news = records.news(&id);
    let deadline = tokio::time::Instant::now() + CANCELLED_WITHIN;
    while !state.is_final() && tokio::time::Instant::now() < deadline {
        news.wait(LOOK).await;
        if !records.is_running(&id).await? {
            break;
        }
        state = records.find(&id).await?.status.parse().unwrap_or(state);
    }
    let view = records.find(&id).await?;
    if printing.human() {
        let over = matches!(view.exit_status(), 5) && view.status != "unknown";
        let rest = match (over, view.status.as_str()) {
            (true, "compensating") => {
                "; what it left is being undone, which is not cancelled; `rota runs watch` follows it"
            }
            (true, _) => "; it is told to stop, and `rota runs watch` follows it",
            (false, _) => "",
        };
        print(&format!("run {id}: {}{rest}", coloured(&view.status)))?;
    } else {
        print_json(&view.run_json())?;
    }
    Ok(0)
}

async fn retry_undo(records: &RunRecords, run: &str, printing: Printing) -> anyhow::Result<u8> {
    let id = records.find(run).await?.id;
    records.retry_undo(&id).await?;
    let served = records.is_served().await?;
    if printing.human() {
        let who = if served {
            "a serving host takes it up"
        } else {
            "no host serves now: start `rota serve` to have it carried out"
        };
        print(&format!("run {id}: its undo is tried again; {who}"))?;
    } else {
        print_json(&records.find(&id).await?.run_json())?;
    }
    Ok(0)
}

async fn settle(
    records: &RunRecords,
    run: &str,
    settled: Settled,
    note: &str,
    printing: Printing,
) -> anyhow::Result<u8> {
    let id = records.find(run).await?.id;
    let end = match settled {
        Settled::Succeeded => End::Succeeded,
        Settled::Failed => End::Failed,
        Settled::Cancelled => End::Cancelled,
    };
    records.settle(&id, end, note).await?;
    let view = records.find(&id).await?;
    if printing.human() {
        print(&format!("run {id}: settled as {}", coloured(&view.status)))?;
    } else {
        print_json(&view.run_json())?;
    }
    Ok(0)
}

/// Whether a name of a record stays in its folder.
fn is_one_segment(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(_)), None))
}

async fn artifacts(
    records: &RunRecords,
    kept: &Artifacts,
    run: &str,
    name: Option<&str>,
    to: Option<&Path>,
    printing: Printing,
) -> anyhow::Result<u8> {
    let view = records.find(run).await?;
    let Some(name) = name else {
        if printing.human() {
            let rows: Vec<Vec<String>> = view
                .artifacts
                .iter()
                .map(|a| vec![safe(&a.name), safe(&a.media_type), format::bytes(a.size), a.sha256.clone()])
                .collect();
            let shown = if rows.is_empty() {
                "it kept no files".into()
            } else {
                table::plain(&["name", "type", "size", "sha256"], &rows)
            };
            print(&shown)?;
        } else {
            print_json(&json!(view.artifacts))?;
        }
        return Ok(0);
    };
    let known = view.artifacts.iter().find(|artifact| artifact.name == name);
    let known = known.with_context(|| {
        format!("run {} kept no file `{name}`; `rota runs artifacts {}` lists them", view.id, view.id)
    })?;
    anyhow::ensure!(
        is_one_segment(&view.id) && is_one_segment(&known.name),
        "the record names a file outside of the run's folder"
    );
    let bytes = kept.read(&view.id, &known.name).await.map_err(|error| match error {
        ArtifactError::Elsewhere { .. } => {
            anyhow::anyhow!("{error} ({}); `store.artifacts` names a binding for all hosts", view.host)
        }
        other => other.into(),
    })?;
    anyhow::ensure!(
        rota_sandbox::digest(&bytes) == known.sha256,
        "the file `{name}` of run {} is not what the run kept: its hash differs",
        view.id
    );
    match to {
        Some(to) => std::fs::write(to, &bytes).with_context(|| format!("{} could not be written", to.display()))?,
        None => std::io::stdout().lock().write_all(&bytes)?,
    }
    Ok(0)
}

async fn show(records: &RunRecords, kept: &Artifacts, run: &str, printing: Printing) -> anyhow::Result<u8> {
    let view = records.find(run).await?;
    if printing.human() {
        let mut text = report::run(&view, view.report.as_ref());
        if let Some(timeline) = timeline::timeline(&view) {
            text.push_str(&format!("\n\n{timeline}"));
        }
        for artifact in &view.artifacts {
            text.push_str(&format!(
                "\n  artifact {} ({}, {})",
                safe(&artifact.name),
                safe(&artifact.media_type),
                format::bytes(artifact.size)
            ));
        }
        // Of a run that goes on it is being written.
        for (name, size) in kept.unfinished_recordings(&view).iter().filter(|_| view.finished_at.is_some()) {
            text.push_str(&format!(
                "\n  artifact {} ({}, not whole: its host ended before the run did; `rota runs replay` goes as far)",
                safe(name),
                format::bytes(*size)
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
    let mut news = records.news(&id);
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
        news.wait(LOOK).await;
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
        safe(&line.level),
        safe(&line.source),
        safe(&line.message)
    )
}
