//! What can be written, one statement or few each. Runs inside the writer's transaction.

use crate::process::Process;
use crate::rows::micros;
use crate::{ArtifactRow, NewLogLine, NewRun, RunEnd, RunStatus, StoreError};
use chrono::Utc;
use rota_authority::{EffectRecord, Outcome};
use serde_json::json;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteQueryResult};
use sqlx::{Row as _, Sqlite};
use std::path::Path;

/// Something to write.
pub(crate) enum Op {
    BeginRun {
        run: Box<NewRun>,
        process: Process,
    },
    EndRun {
        run: String,
        end: Box<RunEnd>,
    },
    BeginEffect {
        run: String,
        effect: Box<EffectRecord>,
    },
    FinishEffect {
        run: String,
        sequence: u64,
        outcome: Outcome,
    },
    Log {
        run: String,
        line: Box<NewLogLine>,
    },
    Artifact {
        run: String,
        artifact: Box<ArtifactRow>,
    },
    /// All runs under way of a process that is gone.
    Lose {
        process: Process,
    },
    /// To wait for what was written before.
    Nothing,
}

/// What a write answers.
pub(crate) enum Answer {
    Done,
    Number(u64),
    Runs(Vec<String>),
}

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// A connection and the name of its file, for errors.
struct Target<'a> {
    connection: &'a mut SqliteConnection,
    path: &'a Path,
}

impl Target<'_> {
    fn wrong(&self, error: &sqlx::Error) -> StoreError {
        StoreError::from_sqlx(self.path, error)
    }

    async fn run(&mut self, query: Query<'_>) -> Result<SqliteQueryResult, StoreError> {
        query.execute(&mut *self.connection).await.map_err(|error| self.wrong(&error))
    }

    async fn status(&mut self, run: &str) -> Result<Option<RunStatus>, StoreError> {
        let row =
            sqlx::query("SELECT status FROM runs WHERE id = ?").bind(run).fetch_optional(&mut *self.connection).await;
        let word = row
            .and_then(|row| row.map(|row| row.try_get::<String, _>(0)).transpose())
            .map_err(|error| self.wrong(&error))?;
        word.map(|word| word.parse().map_err(|reason| StoreError::Corrupt { path: self.path.to_owned(), reason }))
            .transpose()
    }
}

/// Write one thing.
pub(super) async fn apply(connection: &mut SqliteConnection, path: &Path, op: &Op) -> Result<Answer, StoreError> {
    let mut target = Target { connection, path };
    match op {
        Op::BeginRun { run, process } => target.run(begin_run(run, process)).await.map(|_| Answer::Done),
        Op::EndRun { run, end } => end_run(&mut target, run, end).await,
        Op::BeginEffect { run, effect } => begin_effect(&mut target, run, effect).await,
        Op::FinishEffect { run, sequence, outcome } => finish_effect(&mut target, run, *sequence, outcome).await,
        Op::Log { run, line } => target.run(log(run, line)).await.map(|_| Answer::Done),
        Op::Artifact { run, artifact } => target.run(keep(run, artifact)).await.map(|_| Answer::Done),
        Op::Lose { process } => lose(&mut target, process).await,
        Op::Nothing => Ok(Answer::Done),
    }
}

/// Numbers of the domain are far below the largest that SQLite holds.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn now() -> i64 {
    micros(Utc::now())
}

fn begin_run<'q>(run: &'q NewRun, process: &'q Process) -> Query<'q> {
    sqlx::query(
        "INSERT INTO runs (id, job, plugin, version, digest, mode, trigger, attempt, scheduled_for, parameters, grants, status,
                           host, boot, pid_namespace, pid, pid_started, started_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&run.id)
    .bind(run.job.as_deref())
    .bind(&run.plugin)
    .bind(&run.version)
    .bind(&run.digest)
    .bind(&run.mode)
    .bind(&run.trigger)
    .bind(run.attempt)
    .bind(run.scheduled_for.map(micros))
    .bind(&run.parameters)
    .bind(&run.grants)
    .bind(RunStatus::Running.as_str())
    .bind(&process.host)
    .bind(&process.boot)
    .bind(&process.namespace)
    .bind(process.pid)
    .bind(process.started)
    .bind(now())
}

async fn end_run(target: &mut Target<'_>, run: &str, end: &RunEnd) -> Result<Answer, StoreError> {
    let status = target.status(run).await?.ok_or_else(|| StoreError::NotFound(run.into()))?.end(end.status)?;
    let now = now();
    // What was begun and never concluded was dropped with the run.
    let open = sqlx::query(
        "UPDATE effects SET outcome = 'interrupted', finished_at = ? WHERE run = ? AND outcome = 'running'",
    )
    .bind(now)
    .bind(run);
    target.run(open).await?;
    let query = sqlx::query("UPDATE runs SET status = ?, finished_at = ?, report = ?, error = ?, dropped_log_lines = dropped_log_lines + ? WHERE id = ?")
        .bind(status.as_str())
        .bind(now)
        .bind(end.report.as_deref())
        .bind(end.error.as_deref())
        .bind(integer(end.dropped_log_lines))
        .bind(run);
    target.run(query).await.map(|_| Answer::Done)
}

async fn begin_effect(target: &mut Target<'_>, run: &str, effect: &EffectRecord) -> Result<Answer, StoreError> {
    let status = target.status(run).await?;
    if status != Some(RunStatus::Running) {
        return Err(StoreError::NotRunning { run: run.into(), status });
    }
    let now = now();
    let query = sqlx::query(
        "INSERT INTO effects (run, sequence, capability, operation, target, access, detail, class, planned, started_at, finished_at, outcome)
         VALUES (?1, (SELECT coalesce(max(sequence), 0) + 1 FROM effects WHERE run = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         RETURNING sequence",
    )
    .bind(run)
    .bind(effect.capability)
    .bind(effect.operation)
    .bind(&effect.target)
    .bind(&effect.access)
    .bind(&effect.detail)
    .bind(effect.class.as_str())
    .bind(effect.planned)
    .bind(now)
    .bind(effect.planned.then_some(now))
    .bind(if effect.planned { "planned" } else { "running" });
    let row = query.fetch_one(&mut *target.connection).await;
    let sequence: i64 = row.and_then(|row| row.try_get(0)).map_err(|error| target.wrong(&error))?;
    Ok(Answer::Number(sequence.unsigned_abs()))
}

async fn finish_effect(
    target: &mut Target<'_>,
    run: &str,
    sequence: u64,
    outcome: &Outcome,
) -> Result<Answer, StoreError> {
    let said = match outcome {
        Outcome::Done(said) | Outcome::Failed(said) => Some(said.as_str()),
        Outcome::Planned | Outcome::Interrupted => None,
    };
    let query = sqlx::query("UPDATE effects SET outcome = ?, said = ?, finished_at = ? WHERE run = ? AND sequence = ? AND outcome = 'running'")
        .bind(outcome.word())
        .bind(said)
        .bind(now())
        .bind(run)
        .bind(integer(sequence));
    if target.run(query).await?.rows_affected() > 0 {
        return Ok(Answer::Done);
    }
    // It has an outcome already, which stays, or there is no such effect.
    let known = sqlx::query("SELECT 1 FROM effects WHERE run = ? AND sequence = ?")
        .bind(run)
        .bind(integer(sequence))
        .fetch_optional(&mut *target.connection)
        .await;
    match known.map_err(|error| target.wrong(&error))? {
        Some(_) => Ok(Answer::Done),
        None => Err(StoreError::NoEffect { run: run.into(), sequence }),
    }
}

fn log<'q>(run: &'q str, line: &'q NewLogLine) -> Query<'q> {
    // A line of a run that is not there has nowhere to go.
    sqlx::query(
        "INSERT INTO logs (run, sequence, time, level, source, message, fields)
         SELECT id, (SELECT coalesce(max(sequence), 0) + 1 FROM logs WHERE run = ?1), ?2, ?3, ?4, ?5, ?6 FROM runs WHERE id = ?1",
    )
    .bind(run)
    .bind(micros(line.time))
    .bind(&line.level)
    .bind(&line.source)
    .bind(&line.message)
    .bind(json!(line.fields).to_string())
}

/// Count lines that were lost.
pub(super) async fn dropped(
    connection: &mut SqliteConnection,
    path: &Path,
    run: &str,
    lines: u64,
) -> Result<(), StoreError> {
    let query = sqlx::query("UPDATE runs SET dropped_log_lines = dropped_log_lines + ? WHERE id = ?")
        .bind(integer(lines))
        .bind(run);
    Target { connection, path }.run(query).await.map(drop)
}

fn keep<'q>(run: &'q str, artifact: &'q ArtifactRow) -> Query<'q> {
    sqlx::query("INSERT OR REPLACE INTO artifacts (run, name, media_type, size, sha256) VALUES (?, ?, ?, ?, ?)")
        .bind(run)
        .bind(&artifact.name)
        .bind(&artifact.media_type)
        .bind(integer(artifact.size))
        .bind(&artifact.sha256)
}

async fn lose(target: &mut Target<'_>, process: &Process) -> Result<Answer, StoreError> {
    let error = json!({
        "kind": "unknown",
        "message": format!("the process {} on {} that worked on the run is gone; what it had begun may or may not have happened", process.pid, process.host),
        "hint": "look at the effects whose outcome is unknown before the job runs again",
    });
    let lost = sqlx::query(
        "UPDATE runs SET status = 'unknown', error = ?
         WHERE status = 'running' AND host = ? AND boot = ? AND pid_namespace = ? AND pid = ? AND pid_started = ? RETURNING id",
    )
    .bind(error.to_string())
    .bind(&process.host)
    .bind(&process.boot)
    .bind(&process.namespace)
    .bind(process.pid)
    .bind(process.started);
    let rows = lost.fetch_all(&mut *target.connection).await.map_err(|error| target.wrong(&error))?;
    let mut runs = Vec::with_capacity(rows.len());
    for row in rows {
        let run: String = row.try_get(0).map_err(|error| target.wrong(&error))?;
        let open = sqlx::query(
            "UPDATE effects SET outcome = 'unknown', finished_at = ? WHERE run = ? AND outcome = 'running'",
        )
        .bind(now())
        .bind(&run);
        target.run(open).await?;
        runs.push(run);
    }
    Ok(Answer::Runs(runs))
}
