//! Effects, steps, compensations, log lines, artifacts.

use crate::StoreError;
use crate::rows::{ArtifactRow, CompensationRow, EffectRow, LogRow, NewLogLine, StepRow};
use crate::session::{Row, Session, args, sql};
use crate::write::hold::compensation_state;
use crate::write::step;

/// Lines of a log at once, at most.
const LINES: u32 = 10_000;

/// The columns of [`effect_row`].
macro_rules! effect_columns {
    () => {
        "e.sequence, e.capability, e.operation, e.target, e.access, e.detail, e.class, e.planned, e.started_at, e.finished_at, e.outcome, e.said,
         e.lease"
    };
}
pub(crate) use effect_columns;

/// The columns of [`compensation_row`].
macro_rules! compensation_columns {
    () => {
        "c.sequence, c.name, c.state, c.status, c.attempts, c.error, c.due, c.digest, c.registered_at, c.finished_at, c.note"
    };
}
pub(crate) use compensation_columns;

pub(crate) fn effect_row(row: &Row) -> Result<EffectRow, StoreError> {
    Ok(EffectRow {
        sequence: row.count("sequence")?,
        capability: row.text("capability")?,
        operation: row.text("operation")?,
        target: row.text("target")?,
        access: row.text("access")?,
        detail: row.text("detail")?,
        class: row.text("class")?,
        planned: row.truth("planned")?,
        outcome: row.text("outcome")?,
        said: row.maybe_text("said")?,
        started_at: row.date("started_at")?,
        finished_at: row.maybe_date("finished_at")?,
        lease: row.number("lease")?,
    })
}

pub(crate) fn compensation_row(row: &Row) -> Result<CompensationRow, StoreError> {
    Ok(CompensationRow {
        sequence: row.small("sequence")?,
        name: row.text("name")?,
        state: row.text("state")?,
        status: compensation_state(row)?,
        attempts: row.small("attempts")?,
        error: row.maybe_text("error")?,
        due: row.maybe_date("due")?,
        digest: row.text("digest")?,
        registered_at: row.date("registered_at")?,
        finished_at: row.maybe_date("finished_at")?,
        note: row.maybe_text("note")?,
    })
}

/// A run's effects.
pub(crate) async fn effects(session: &mut Session<'_>, run: &str) -> Result<Vec<EffectRow>, StoreError> {
    let rows = session
        .all(
            sql!("select ", effect_columns!(), " from rota.effects e where e.run = $1 order by e.sequence"),
            args![run],
        )
        .await?;
    rows.iter().map(effect_row).collect()
}

/// A run's compensations.
pub(crate) async fn compensations(session: &mut Session<'_>, run: &str) -> Result<Vec<CompensationRow>, StoreError> {
    let rows = session
        .all(
            sql!("select ", compensation_columns!(), " from rota.compensations c where c.run = $1 order by c.sequence"),
            args![run],
        )
        .await?;
    rows.iter().map(compensation_row).collect()
}

/// A run's steps.
pub(crate) async fn steps(session: &mut Session<'_>, run: &str) -> Result<Vec<StepRow>, StoreError> {
    let rows = session
        .all(
            sql!(
                "select s.name, s.attempt, s.started_at, s.finished_at, s.first_effect, s.last_effect, s.result from rota.steps s
                 where s.run = $1 order by s.started_at, s.first_effect, s.name"
            ),
            args![run],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let last = row.maybe_number("last_effect")?;
            Ok(StepRow {
                name: row.text("name")?,
                state: step::state(row)?,
                attempt: row.small("attempt")?,
                started_at: row.date("started_at")?,
                finished_at: row.maybe_date("finished_at")?,
                first_effect: row.count("first_effect")?,
                last_effect: last.map(i64::unsigned_abs),
            })
        })
        .collect()
}

/// A run's log lines after a number.
pub(crate) async fn logs(
    session: &mut Session<'_>,
    run: &str,
    after: u64,
    limit: u32,
) -> Result<Vec<LogRow>, StoreError> {
    let rows = session
        .all(
            sql!(
                "select sequence, time, level, source, message, fields from rota.logs where run = $1 and sequence > $2
                 order by sequence limit $3"
            ),
            args![run, after, limit.min(LINES)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let line = NewLogLine {
                time: row.date("time")?,
                level: row.text("level")?,
                source: row.text("source")?,
                message: row.text("message")?,
                fields: row.json("fields")?,
            };
            Ok(LogRow { sequence: row.count("sequence")?, line })
        })
        .collect()
}

/// What a run keeps.
pub(crate) async fn artifacts(session: &mut Session<'_>, run: &str) -> Result<Vec<ArtifactRow>, StoreError> {
    let rows = session
        .all(sql!("select name, media_type, size, sha256 from rota.artifacts where run = $1 order by name"), args![run])
        .await?;
    rows.iter()
        .map(|row| {
            Ok(ArtifactRow {
                name: row.text("name")?,
                media_type: row.text("media_type")?,
                size: row.count("size")?,
                sha256: row.text("sha256")?,
            })
        })
        .collect()
}

/// A component that was kept.
pub(crate) async fn component(session: &mut Session<'_>, digest: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let row = session.one(sql!("select content from rota.components where digest = $1"), args![digest]).await?;
    row.map_or(Ok(None), |row| row.maybe_bytes("content"))
}
