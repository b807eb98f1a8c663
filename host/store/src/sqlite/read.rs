//! Queries. A run whose process is gone is shown as unknown even where that could not be written.

use crate::process::Process;
use crate::rows::micros;
use crate::{ArtifactRow, EffectRow, Filter, LogRow, NewLogLine, NewRun, RunRow, RunStatus};
use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::sqlite::{SqlitePool, SqliteRow};

/// A page when nothing is asked for, and the largest.
const PAGE: (u32, u32) = (50, 1_000);

/// Lines of a log at once, at most.
const LINES: u32 = 10_000;

/// The fewest characters that name a run by a part of its id.
const PART: usize = 4;

/// The processes that runs under way belong to.
pub(super) async fn processes(pool: &SqlitePool) -> sqlx::Result<Vec<Process>> {
    let rows =
        sqlx::query("SELECT DISTINCT host, boot, pid_namespace, pid, pid_started FROM runs WHERE status = 'running'")
            .fetch_all(pool)
            .await?;
    rows.iter().map(process).collect()
}

/// The ids that what is given could mean: `last`, a whole id, or a part of several; at most six.
pub(super) async fn ids(pool: &SqlitePool, given: &str) -> sqlx::Result<Vec<String>> {
    if given == "last" {
        return sqlx::query_scalar("SELECT id FROM runs ORDER BY id DESC LIMIT 1").fetch_all(pool).await;
    }
    let whole: Vec<String> = sqlx::query_scalar("SELECT id FROM runs WHERE id = ?").bind(given).fetch_all(pool).await?;
    if !whole.is_empty() || given.len() < PART {
        return Ok(whole);
    }
    sqlx::query_scalar("SELECT id FROM runs WHERE instr(id, ?) > 0 ORDER BY id DESC LIMIT 6")
        .bind(given.to_ascii_lowercase())
        .fetch_all(pool)
        .await
}

pub(super) async fn runs(pool: &SqlitePool, filter: &Filter) -> sqlx::Result<Vec<RunRow>> {
    let limit = if filter.limit == 0 { PAGE.0 } else { filter.limit.min(PAGE.1) };
    let rows = sqlx::query(
        "SELECT * FROM runs
         WHERE (?1 IS NULL OR job = ?1) AND (?2 IS NULL OR plugin = ?2) AND (?3 IS NULL OR status = ?3)
           AND (?4 IS NULL OR started_at >= ?4) AND (?5 IS NULL OR id < ?5)
         ORDER BY id DESC LIMIT ?6",
    )
    .bind(filter.job.as_deref())
    .bind(filter.plugin.as_deref())
    .bind(filter.status.map(RunStatus::as_str))
    .bind(filter.since.map(micros))
    .bind(filter.before.as_deref())
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter().map(row_of_run).collect()
}

pub(super) async fn run(pool: &SqlitePool, id: &str) -> sqlx::Result<Option<RunRow>> {
    sqlx::query("SELECT * FROM runs WHERE id = ?")
        .bind(id)
        .fetch_optional(pool)
        .await?
        .as_ref()
        .map(row_of_run)
        .transpose()
}

pub(super) async fn effects(pool: &SqlitePool, run: &str) -> sqlx::Result<Vec<EffectRow>> {
    let lost = self::run(pool, run).await?.is_some_and(|run| run.status == RunStatus::Unknown);
    let rows = sqlx::query("SELECT * FROM effects WHERE run = ? ORDER BY sequence").bind(run).fetch_all(pool).await?;
    let mut effects = rows.iter().map(effect).collect::<sqlx::Result<Vec<_>>>()?;
    if lost {
        effects
            .iter_mut()
            .filter(|effect| effect.outcome == "running")
            .for_each(|effect| effect.outcome = "unknown".into());
    }
    Ok(effects)
}

pub(super) async fn logs(pool: &SqlitePool, run: &str, after: u64, limit: u32) -> sqlx::Result<Vec<LogRow>> {
    let rows = sqlx::query("SELECT * FROM logs WHERE run = ? AND sequence > ? ORDER BY sequence LIMIT ?")
        .bind(run)
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(limit.min(LINES))
        .fetch_all(pool)
        .await?;
    rows.iter().map(line).collect()
}

pub(super) async fn artifacts(pool: &SqlitePool, run: &str) -> sqlx::Result<Vec<ArtifactRow>> {
    let rows = sqlx::query("SELECT * FROM artifacts WHERE run = ? ORDER BY name").bind(run).fetch_all(pool).await?;
    rows.iter().map(artifact).collect()
}

fn wrong(what: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("a record holds {what}, which Rota never writes").into())
}

fn number(row: &SqliteRow, column: &str) -> sqlx::Result<u64> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| wrong("a negative number"))
}

fn instant(row: &SqliteRow, column: &str) -> sqlx::Result<Option<DateTime<Utc>>> {
    let micros: Option<i64> = row.try_get(column)?;
    micros
        .map(|micros| DateTime::from_timestamp_micros(micros).ok_or_else(|| wrong("an instant out of range")))
        .transpose()
}

fn known_instant(row: &SqliteRow, column: &str) -> sqlx::Result<DateTime<Utc>> {
    instant(row, column)?.ok_or_else(|| wrong("no instant"))
}

fn process(row: &SqliteRow) -> sqlx::Result<Process> {
    Ok(Process {
        host: row.try_get("host")?,
        boot: row.try_get("boot")?,
        namespace: row.try_get("pid_namespace")?,
        pid: row.try_get("pid")?,
        started: row.try_get("pid_started")?,
    })
}

fn row_of_run(row: &SqliteRow) -> sqlx::Result<RunRow> {
    let process = process(row)?;
    let mut status: RunStatus =
        row.try_get::<String, _>("status")?.parse().map_err(|_| wrong("a state that does not exist"))?;
    if !status.is_final() && process.is_gone() {
        status = RunStatus::Unknown;
    }
    let run = NewRun {
        id: row.try_get("id")?,
        job: row.try_get("job")?,
        plugin: row.try_get("plugin")?,
        version: row.try_get("version")?,
        digest: row.try_get("digest")?,
        mode: row.try_get("mode")?,
        trigger: row.try_get("trigger")?,
        parameters: row.try_get("parameters")?,
        grants: row.try_get("grants")?,
        scheduled_for: instant(row, "scheduled_for")?,
        attempt: row.try_get("attempt")?,
    };
    Ok(RunRow {
        run,
        status,
        host: process.host,
        started_at: known_instant(row, "started_at")?,
        finished_at: instant(row, "finished_at")?,
        report: row.try_get("report")?,
        error: row.try_get("error")?,
        dropped_log_lines: number(row, "dropped_log_lines")?,
    })
}

fn effect(row: &SqliteRow) -> sqlx::Result<EffectRow> {
    Ok(EffectRow {
        sequence: number(row, "sequence")?,
        capability: row.try_get("capability")?,
        operation: row.try_get("operation")?,
        target: row.try_get("target")?,
        access: row.try_get("access")?,
        detail: row.try_get("detail")?,
        class: row.try_get("class")?,
        planned: row.try_get("planned")?,
        outcome: row.try_get("outcome")?,
        said: row.try_get("said")?,
        started_at: known_instant(row, "started_at")?,
        finished_at: instant(row, "finished_at")?,
    })
}

fn artifact(row: &SqliteRow) -> sqlx::Result<ArtifactRow> {
    Ok(ArtifactRow {
        name: row.try_get("name")?,
        media_type: row.try_get("media_type")?,
        size: number(row, "size")?,
        sha256: row.try_get("sha256")?,
    })
}

fn line(row: &SqliteRow) -> sqlx::Result<LogRow> {
    let fields = serde_json::from_str(row.try_get("fields")?).map_err(|_| wrong("broken fields"))?;
    let line = NewLogLine {
        time: known_instant(row, "time")?,
        level: row.try_get("level")?,
        source: row.try_get("source")?,
        message: row.try_get("message")?,
        fields,
    };
    Ok(LogRow { sequence: number(row, "sequence")?, line })
}
