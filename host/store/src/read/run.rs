//! Runs and their attempts.

use crate::rows::{AttemptRow, Filter, Load, NewRun, RunRow, micros};
use crate::session::{Row, Session, args, sql};
use crate::write::hold::{end_of, lease_of, state_of, text_of};
use crate::{RunState, StoreError};
use rota_protocol::{Incarnation, LeaseNumber, Span, WaitReason};
use serde_json::json;

/// A page when nothing is asked for, and the largest.
const PAGE: (u32, u32) = (50, 1_000);

/// The fewest characters that name a run by a part of its id.
const PART: usize = 4;

/// The columns of [`run_row`]. Named one by one: a later version may add some while this one runs.
macro_rules! run_columns {
    () => {
        "r.id, r.job, r.plugin, r.version, r.digest, r.mode, r.trigger, r.parameters, r.grants, r.scheduled_for, r.labels, r.policy, r.parent,
         r.not_before, r.hold, r.created_at, r.state, r.wait, r.due, r.attempt, r.host, r.started_at, r.finished_at, r.cancel, r.pending_end,
         r.report, r.error, r.dropped_log_lines, r.progress, r.note"
    };
}
pub(crate) use run_columns;

fn wait_of(row: &Row, column: &str) -> Result<Option<WaitReason>, StoreError> {
    row.maybe_text(column)?
        .map(|word| {
            [WaitReason::Approval, WaitReason::Window, WaitReason::Concurrency]
                .into_iter()
                .find(|reason| reason.as_str() == word)
                .ok_or_else(|| StoreError::Database(format!("a run waits for `{word}`, which does not exist")))
        })
        .transpose()
}

/// A run without its lease.
pub(crate) fn run_row(row: &Row) -> Result<RunRow, StoreError> {
    let run = NewRun {
        id: row.text("id")?,
        job: row.maybe_text("job")?,
        plugin: row.text("plugin")?,
        version: row.text("version")?,
        digest: row.text("digest")?,
        mode: row.text("mode")?,
        trigger: row.text("trigger")?,
        parameters: row.text("parameters")?,
        grants: row.text("grants")?,
        scheduled_for: row.maybe_date("scheduled_for")?,
        labels: row.json("labels")?,
        policy: row.json("policy")?,
        due: row.maybe_date("not_before")?,
        parent: row.maybe_text("parent")?,
        hold: wait_of(row, "hold")?,
    };
    Ok(RunRow {
        run,
        state: state_of(row)?,
        wait: wait_of(row, "wait")?,
        blocked: None,
        attempt: row.small("attempt")?,
        host: row.text("host")?,
        lease: None,
        cancel: row.maybe_json("cancel")?,
        pending_end: end_of(row, "pending_end")?,
        created_at: row.date("created_at")?,
        started_at: row.maybe_date("started_at")?,
        finished_at: row.maybe_date("finished_at")?,
        due: row.date("due")?,
        report: row.maybe_text("report")?,
        error: row.maybe_text("error")?,
        dropped_log_lines: row.count("dropped_log_lines")?,
        progress: row.maybe_text("progress")?,
        note: row.maybe_text("note")?,
    })
}

fn run_with_lease(row: &Row) -> Result<RunRow, StoreError> {
    Ok(RunRow { lease: lease_of(row)?, ..run_row(row)? })
}

/// The ids that what is given could mean: `last`, a whole id, or a part of several; at most six.
pub(crate) async fn ids(session: &mut Session<'_>, given: &str) -> Result<Vec<String>, StoreError> {
    let ids = |rows: Vec<Row>| rows.iter().map(|row| row.text("id")).collect::<Result<Vec<_>, _>>();
    if given == "last" {
        return ids(session.all(sql!("select id from rota.runs order by id desc limit 1"), &[]).await?);
    }
    if given.contains('\0') {
        return Ok(Vec::new());
    }
    let whole = ids(session.all(sql!("select id from rota.runs where id = $1"), args![given]).await?)?;
    if !whole.is_empty() || given.len() < PART {
        return Ok(whole);
    }
    let part = given.to_ascii_lowercase();
    ids(session
        .all(sql!("select id from rota.runs where @position(id, $1) > 0 order by id desc limit 6"), args![&part])
        .await?)
}

/// One run.
pub(crate) async fn run(session: &mut Session<'_>, id: &str) -> Result<Option<RunRow>, StoreError> {
    let row = session
        .one(
            sql!(
                "select ",
                run_columns!(),
                ", l.holder, l.number, l.expires, (select q.blocked from rota.queue q where q.run = r.id) as blocked
                 from rota.runs r left join rota.leases l on l.run = r.id where r.id = $1"
            ),
            args![id],
        )
        .await?;
    row.map(|row| Ok(RunRow { blocked: row.maybe_text("blocked")?, ..run_with_lease(&row)? })).transpose()
}

/// The query for a list, with what makes an index useful.
macro_rules! list {
    ($further:literal) => {
        sql!(
            "select ",
            run_columns!(),
            ", l.holder, l.number, l.expires from rota.runs r left join rota.leases l on l.run = r.id
             where ($1 is null or r.job = $1) and ($2 is null or r.plugin = $2) and ($3 = '[]' or r.state in (
                     select each.value ->> 'state' from @each($3)))
               and ($4 is null or r.created_at >= $4) and ($5 is null or r.id < $5) and ($6 is null or r.trigger = $6)
               and ($7 is null or r.parent = $7) and ($8 = '{}' or @suits($8, r.labels)) and ($9 = 0 or r.scheduled_for is not null) ",
            $further,
            " order by r.id desc limit $10"
        )
    };
}

/// Runs, the newest first.
pub(crate) async fn runs(session: &mut Session<'_>, filter: &Filter) -> Result<Vec<RunRow>, StoreError> {
    let limit = if filter.limit == 0 { PAGE.0 } else { filter.limit.min(PAGE.1) };
    let open = !filter.states.is_empty() && filter.states.iter().all(|state| !state.is_final());
    let statement = match (open, filter.job.is_some(), filter.parent.is_some()) {
        // What is not over is in one of two small tables.
        (true, ..) => list!("and r.id in (select q.run from rota.queue q union all select h.run from rota.leases h)"),
        (false, true, _) => list!("and r.job = $1"),
        (false, false, true) => list!("and r.parent = $7"),
        (false, false, false) => list!(""),
    };
    let states = json!(filter.states.iter().map(|state| json!({ "state": state.as_str() })).collect::<Vec<_>>());
    let rows = session
        .all(
            statement,
            args![
                filter.job.as_deref(),
                filter.plugin.as_deref(),
                &states.to_string(),
                filter.since.map(micros),
                filter.before.as_deref(),
                filter.trigger.as_deref(),
                filter.parent.as_deref(),
                &text_of(&filter.labels),
                filter.scheduled_only,
                limit
            ],
        )
        .await?;
    rows.iter().map(run_with_lease).collect()
}

/// A run's attempts.
pub(crate) async fn attempts(session: &mut Session<'_>, run: &str) -> Result<Vec<AttemptRow>, StoreError> {
    let rows = session
        .all(
            sql!(
                "select number, host, incarnation, lease, started_at, finished_at, outcome, error from rota.attempts where run = $1
                 order by number"
            ),
            args![run],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(AttemptRow {
                number: row.small("number")?,
                host: row.text("host")?,
                incarnation: Incarnation(row.text("incarnation")?),
                lease: LeaseNumber(row.number("lease")?),
                started_at: row.date("started_at")?,
                finished_at: row.maybe_date("finished_at")?,
                outcome: row.maybe_text("outcome")?,
                error: row.maybe_text("error")?,
            })
        })
        .collect()
}

/// How long the last succeeded runs of a job took.
pub(crate) async fn durations(session: &mut Session<'_>, job: &str, last: u32) -> Result<Vec<Span>, StoreError> {
    let rows = session
        .all(
            sql!(
                "select r.finished_at - r.started_at as took from rota.runs r
                 where r.job = $1 and r.state = 'succeeded' and r.started_at is not null and r.finished_at is not null
                 order by r.id desc limit $2"
            ),
            args![job, last],
        )
        .await?;
    rows.iter().map(|row| row.number("took").map(Span)).collect()
}

/// What a job has under way.
pub(crate) async fn load(session: &mut Session<'_>, job: &str) -> Result<Load, StoreError> {
    let rows = session
        .all(
            sql!(
                "select r.id, r.state, r.wait from (
                   select q.run as run from rota.queue q where q.job = $1 union all select l.run as run from rota.leases l where l.job = $1) open
                 join rota.runs r on r.id = open.run order by r.id"
            ),
            args![job],
        )
        .await?;
    let mut load = Load::default();
    for row in &rows {
        let waits = state_of(row)? == RunState::Waiting && wait_of(row, "wait")? == Some(WaitReason::Concurrency);
        if waits { &mut load.buffered } else { &mut load.active }.push(row.text("id")?);
    }
    Ok(load)
}
