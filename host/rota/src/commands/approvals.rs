//! `rota approvals`: runs that wait until somebody lets them begin.

use super::{Printing, print, print_json};
use crate::cli::ApprovalsCommand;
use crate::output::{safe, table};
use rota_runs::{RunFilter, RunRecords, RunView};
use serde_json::{Value, json};

/// As many are looked through.
const MOST: u32 = 1_000;

pub(crate) async fn approvals(
    records: &RunRecords,
    command: ApprovalsCommand,
    printing: Printing,
) -> anyhow::Result<u8> {
    match command {
        ApprovalsCommand::List => list(records, printing).await,
        ApprovalsCommand::Approve { run, note } => {
            let id = records.find(&run).await?.id;
            records.approve(&id, note.as_deref()).await?;
            said(records, &id, "is approved, and queued", printing).await
        }
        ApprovalsCommand::Reject { run, note } => {
            let id = records.find(&run).await?.id;
            records.reject(&id, &note).await?;
            said(records, &id, "is refused, and will not begin", printing).await
        }
    }
}

async fn list(records: &RunRecords, printing: Printing) -> anyhow::Result<u8> {
    let filter = RunFilter { status: vec!["waiting".into()], limit: MOST, ..RunFilter::default() };
    let mut waiting = records.list(&filter).await?;
    waiting.retain(|view| view.waiting_for.as_deref() == Some("approval"));
    waiting.reverse();
    if !printing.human() {
        print_json(&Value::Array(waiting.iter().map(RunView::run_json).collect()))?;
        return Ok(0);
    }
    if waiting.is_empty() {
        print("no run waits for an approval")?;
        return Ok(0);
    }
    let row = |view: &RunView| {
        vec![
            view.id.clone(),
            safe(view.job.as_deref().unwrap_or_default()),
            safe(&format!("{} {}", view.plugin, view.version)),
            view.trigger.clone(),
            view.created_at.format("%Y-%m-%d %H:%M:%SZ").to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = waiting.iter().map(row).collect();
    print(&table::plain(&["run", "job", "plugin", "set off by", "since"], &rows))?;
    print(
        "`rota runs show RUN` has its parameters, `rota run JOB --plan` what it would do, `rota approvals approve RUN` lets it begin",
    )?;
    Ok(0)
}

async fn said(records: &RunRecords, run: &str, what: &str, printing: Printing) -> anyhow::Result<u8> {
    if printing.human() {
        print(&format!("run {run} {what}"))?;
    } else {
        print_json(&json!(records.find(run).await?.run_json()))?;
    }
    Ok(0)
}
