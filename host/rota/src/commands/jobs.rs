//! `rota jobs`: what is configured, when it runs, and what became of its instants.

use super::{Printing, print, print_json};
use crate::cli::JobsCommand;
use crate::output::{bold, coloured, dim, format, safe, table};
use crate::settings::UsageError;
use chrono::{DateTime, Utc};
use rota_authority::Mode;
use rota_capability::Trigger;
use rota_runs::{Host, JobView, NextView, Occasion, Request};
use serde_json::{Value, json};

pub(crate) async fn jobs(host: &Host, command: JobsCommand, printing: Printing) -> anyhow::Result<u8> {
    match command {
        JobsCommand::List => list(host, printing).await,
        JobsCommand::Show { job } => show(host, &job, printing).await,
        JobsCommand::Next { job, count } => next(host, job.as_deref(), count as usize, printing).await,
        JobsCommand::Pause { job, note: Some(note) } => pause(host, &job, Some(note), printing).await,
        JobsCommand::Pause { job, note: None } => Err(unexplained(&job).into()),
        JobsCommand::Resume { job } => pause(host, &job, None, printing).await,
        JobsCommand::Run { job, parameters, plan, watch } => run(host, job, parameters, plan, watch, printing).await,
        JobsCommand::Backfill { job, from, to, limit, plan } => {
            backfill(host, &job, instant(&from)?, instant(&to)?, limit as usize, plan, printing).await
        }
    }
}

fn instant(text: &str) -> anyhow::Result<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(text);
    let instant = read.map_err(|error| {
        UsageError(format!(
            "`{text}` is no instant ({error}): write it as 2026-11-25T02:00:00Z or 2026-11-25T10:00:00+08:00"
        ))
    })?;
    Ok(instant.with_timezone(&Utc))
}

fn shown(instant: Option<DateTime<Utc>>) -> String {
    instant.map_or_else(|| "-".into(), |at| at.format("%Y-%m-%d %H:%M:%SZ").to_string())
}

fn state(job: &JobView) -> String {
    match (&job.paused, job.enabled) {
        (_, false) => "disabled".into(),
        (Some(_), true) => coloured("waiting").replace("waiting", "paused"),
        (None, true) => "on".into(),
    }
}

/// A schedule that rests is looked at by whoever has not paused it.
fn unexplained(job: &str) -> UsageError {
    let job = safe(job);
    UsageError::new(format!(
        "--note is missing: say why `{job}` is paused, for whoever finds it so; for example: rota jobs pause {job} --note \"moving the table\""
    ))
}

async fn list(host: &Host, printing: Printing) -> anyhow::Result<u8> {
    let jobs = host.jobs().await?;
    if !printing.human() {
        print_json(&Value::Array(jobs.iter().map(JobView::to_json).collect()))?;
        return Ok(0);
    }
    if jobs.is_empty() {
        print("no jobs are configured; rota.toml.example shows how")?;
        return Ok(0);
    }
    let row = |job: &JobView| {
        vec![
            safe(&job.name),
            safe(&job.plugin),
            job.when.clone().map_or_else(|| "-".into(), |when| safe(&when)),
            state(job),
            shown(job.next),
            job.last_status.as_deref().map_or_else(|| "-".into(), coloured),
            shown(job.last_at),
        ]
    };
    print(&table::plain(
        &["job", "plugin", "when", "schedule", "next", "last", "at"],
        &jobs.iter().map(row).collect::<Vec<_>>(),
    ))?;
    Ok(0)
}

async fn show(host: &Host, job: &str, printing: Printing) -> anyhow::Result<u8> {
    let view = host.job(job).await?;
    let fires = host.fires(job, 20).await?;
    if !printing.human() {
        let mut object = view.to_json();
        object["fires"] = json!(fires);
        print_json(&object)?;
        return Ok(0);
    }
    let mut text = format!("{} {}", bold(&safe(&view.name)), dim(&safe(&view.plugin)));
    if let Some(description) = &view.description {
        text.push_str(&format!("\n{}", safe(description)));
    }
    let mut facts: Vec<Vec<String>> = Vec::new();
    let mut fact = |name: &str, value: String| facts.push(vec![dim(name), value]);
    fact("when", view.when.clone().map_or_else(|| "only when somebody starts it".into(), |when| safe(&when)));
    for (other, on) in &view.after {
        fact("after", format!("{} ({on})", safe(other)));
    }
    fact("schedule", state(&view));
    if let Some(pause) = &view.paused {
        fact("paused", format!("by {} since {}: {}", safe(&pause.by), shown(Some(pause.at)), safe(&pause.note)));
    }
    fact("next", shown(view.next));
    fact(
        "last",
        format!("{} {}", view.last_status.as_deref().map_or_else(|| "-".into(), coloured), shown(view.last_at)),
    );
    if view.failures > 0 {
        fact("failed in a row", view.failures.to_string());
    }
    for (slot, binding, accesses) in &view.slots {
        fact(&format!("slot {slot}"), format!("{} ({})", safe(binding), accesses.join(", ")));
    }
    text.push_str(&format!("\n{}", table::plain(&["", ""], &facts)));
    if !fires.is_empty() {
        let rows: Vec<Vec<String>> = fires
            .iter()
            .map(|fire| {
                let what = fire.run.clone().unwrap_or_else(|| fire.reason.clone().unwrap_or_default());
                vec![
                    shown(Some(fire.nominal)),
                    coloured(if fire.run.is_some() { "done" } else { "skipped" }).replace("done", "fired"),
                    safe(&what),
                    format::seconds(fire.late_ms as f64 / 1000.0),
                    safe(&fire.by),
                ]
            })
            .collect();
        text.push_str(&format!(
            "\n\n{}\n{}",
            bold("Instants"),
            table::plain(&["instant", "decided", "run or reason", "late", "by"], &rows)
        ));
        // What is wrong is mostly the same each time: it is told once.
        let mut told = std::collections::BTreeSet::new();
        for fire in &fires {
            if let (Some(reason), Some(detail)) = (&fire.reason, &fire.detail)
                && told.insert((reason, detail))
            {
                text.push_str(&format!("\n  {}: {}", safe(reason), safe(detail)));
            }
        }
    }
    print(&text)?;
    Ok(0)
}

async fn next(host: &Host, job: Option<&str>, count: usize, printing: Printing) -> anyhow::Result<u8> {
    let all = host.next(job, count).await?;
    if !printing.human() {
        print_json(&Value::Array(all.iter().map(NextView::to_json).collect()))?;
        return Ok(0);
    }
    if all.is_empty() {
        print("nothing is scheduled")?;
        return Ok(0);
    }
    let row = |next: &NextView| {
        vec![
            safe(&next.job),
            next.local.clone(),
            shown(Some(next.nominal)),
            shown(Some(next.due)),
            safe(&next.notes.join("; ")),
        ]
    };
    print(&table::plain(&["job", "local", "instant", "due", "notes"], &all.iter().map(row).collect::<Vec<_>>()))?;
    Ok(0)
}

async fn pause(host: &Host, job: &str, note: Option<String>, printing: Printing) -> anyhow::Result<u8> {
    let paused = note.is_some();
    host.pause(job, note).await?;
    if printing.human() {
        let what = if paused { "is paused; what falls due is recorded as skipped" } else { "goes on" };
        print(&format!("the schedule of {} {what}", safe(job)))?;
    } else {
        print_json(&host.job(job).await?.to_json())?;
    }
    Ok(0)
}

async fn run(
    host: &Host,
    job: String,
    parameters: Vec<String>,
    plan: bool,
    watch: bool,
    printing: Printing,
) -> anyhow::Result<u8> {
    host.job(&job).await?;
    let request = Request {
        what: job,
        parameters,
        mode: if plan { Mode::Plan } else { Mode::Execute },
        confirm: None,
        bind: Vec::new(),
        grant: Vec::new(),
        timeout: None,
        limits: Vec::new(),
        trigger: Trigger::Manual,
        record: None,
    };
    let prepared = host.prepare(&request).await?;
    let occasion = Occasion { trigger: "manual".into(), ..Occasion::default() };
    let id = host.enqueue(&prepared, &occasion).await?;
    super::runs::queued(host.records(), &id, watch, printing).await
}

async fn backfill(
    host: &Host,
    job: &str,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    limit: usize,
    plan: bool,
    printing: Printing,
) -> anyhow::Result<u8> {
    let instants = host.backfill(job, from, to, limit, plan).await?;
    if printing.human() {
        for (instant, run) in &instants {
            print(&format!("{} {}", shown(Some(*instant)), run.as_deref().unwrap_or("would be run")))?;
        }
        let what = if plan { "would be queued" } else { "are queued" };
        print(&format!("{} runs {what}", instants.len()))?;
    } else {
        let object = |(instant, run): &(DateTime<Utc>, Option<String>)| json!({ "instant": instant, "run": run });
        print_json(&Value::Array(instants.iter().map(object).collect()))?;
    }
    Ok(0)
}
