//! Schedules, decisions and hosts.

use crate::StoreError;
use crate::process::Process;
use crate::rows::{EndedRow, FireRow, HostRow, NewHost, ScheduleRow, micros};
use crate::session::{Row, Session, args, sql};
use chrono::{DateTime, Utc};
use rota_protocol::{Cursor, FireOutcome, Incarnation, Instant, Span};

/// Decisions at once, at most.
const FIRES: u32 = 10_000;

/// The columns of [`schedule_row`].
macro_rules! schedule_columns {
    () => {
        "s.job, s.definition, s.version, s.decided, s.next, s.fire_at, s.enabled, s.paused, s.failures, s.shard"
    };
}

fn schedule_row(row: &Row) -> Result<ScheduleRow, StoreError> {
    Ok(ScheduleRow {
        job: row.text("job")?,
        definition: row.text("definition")?,
        cursor: Cursor {
            version: row.number("version")?,
            decided: row.maybe_number("decided")?.map(Instant),
            next: row.maybe_number("next")?.map(Instant),
        },
        fire_at: row.maybe_date("fire_at")?,
        enabled: row.truth("enabled")?,
        paused: row.maybe_json("paused")?,
        failures: row.small("failures")?,
        // Below 1024.
        shard: i32::try_from(row.number("shard")?).unwrap_or(0),
    })
}

/// Schedules to be decided about within a time.
pub(crate) async fn due(
    session: &mut Session<'_>,
    within: Span,
    most: u32,
) -> Result<(Instant, Vec<ScheduleRow>), StoreError> {
    // One row at least, which says what time it is.
    let rows = session
        .all(
            sql!(
                "select clock.now, ",
                schedule_columns!(),
                " from (select @now as now) clock left join (
                    select * from rota.schedules d
                    where d.enabled = 1 and d.fire_at is not null and d.fire_at <= @now + $1
                    order by d.fire_at limit $2) s on 1 = 1
                  order by s.fire_at"
            ),
            args![within.0, most],
        )
        .await?;
    let now = rows.first().map_or(Ok(Instant(0)), |row| row.instant("now"))?;
    let mut due = Vec::with_capacity(rows.len());
    for row in &rows {
        if row.maybe_text("job")?.is_some() {
            due.push(schedule_row(row)?);
        }
    }
    Ok((now, due))
}

/// All schedules.
pub(crate) async fn schedules(session: &mut Session<'_>) -> Result<Vec<ScheduleRow>, StoreError> {
    let rows = session.all(sql!("select ", schedule_columns!(), " from rota.schedules s order by s.job"), &[]).await?;
    rows.iter().map(schedule_row).collect()
}

/// Enabled schedules that no decision will reach. Those with an instant first: the others may just be over.
pub(crate) async fn astray(session: &mut Session<'_>, most: u32) -> Result<Vec<ScheduleRow>, StoreError> {
    let rows = session
        .all(
            sql!(
                "select ",
                schedule_columns!(),
                " from rota.schedules s
                 where s.enabled = 1 and (s.next is null or s.fire_at is null or s.next <= s.decided)
                 order by case when s.next is null then 1 else 0 end, s.job limit $1"
            ),
            args![most],
        )
        .await?;
    rows.iter().map(schedule_row).collect()
}

/// One schedule.
pub(crate) async fn schedule(session: &mut Session<'_>, job: &str) -> Result<ScheduleRow, StoreError> {
    let row = session
        .one(sql!("select ", schedule_columns!(), " from rota.schedules s where s.job = $1"), args![job])
        .await?;
    row.as_ref().map(schedule_row).transpose()?.ok_or_else(|| StoreError::NoSchedule(job.to_owned()))
}

/// Runs that are over and whose end is waited for.
pub(crate) async fn ended(session: &mut Session<'_>, most: u32) -> Result<Vec<EndedRow>, StoreError> {
    let rows = session
        .all(sql!("select run, job, state, ended_at from rota.ended order by ended_at, run limit $1"), args![most])
        .await?;
    let ended = |row: &crate::session::Row| {
        let state = row.text("state")?.parse().map_err(StoreError::Database)?;
        Ok(EndedRow { run: row.text("run")?, job: row.text("job")?, state, ended_at: row.date("ended_at")? })
    };
    rows.iter().map(ended).collect()
}

/// Decisions about a schedule's instants.
pub(crate) async fn fires(
    session: &mut Session<'_>,
    job: &str,
    before: Option<DateTime<Utc>>,
    limit: u32,
) -> Result<Vec<FireRow>, StoreError> {
    let rows = session
        .all(
            sql!(
                "select job, nominal, run, reason, decided_at, decided_by, missed_more from rota.fires
                 where job = $1 and ($2 is null or nominal < $2) order by nominal desc limit $3"
            ),
            args![job, before.map(micros), limit.min(FIRES)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let outcome = match row.maybe_text("run")? {
                Some(run) => FireOutcome::Fired { run },
                None => FireOutcome::Skipped { reason: row.maybe_text("reason")?.unwrap_or_default() },
            };
            Ok(FireRow {
                job: row.text("job")?,
                nominal: row.date("nominal")?,
                outcome,
                decided_at: row.date("decided_at")?,
                by: row.text("decided_by")?,
                late: row.instant("decided_at")?.since(row.instant("nominal")?),
                missed_more: row.count("missed_more")?,
            })
        })
        .collect()
}

/// A host that was not heard of for three leases is not alive; one that never said how long its leases are, after this time.
const FIRST_SIGN: i64 = Span::seconds(60).0;

/// The hosts that have not left.
pub(crate) async fn hosts(session: &mut Session<'_>) -> Result<Vec<HostRow>, StoreError> {
    let rows = session
        .all(
            sql!(
                "select h.incarnation, h.name, h.version, h.labels, h.configuration, h.capacity, h.machine, h.boot, h.pid_namespace, h.pid,
                        h.pid_started, h.started_at, h.seen_at, h.lease, h.draining, @now as now,
                        (select count(*) from rota.leases l where l.holder = h.incarnation) as running
                 from rota.hosts h where h.left_at is null order by h.started_at, h.incarnation"
            ),
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let lease = row.number("lease")?;
            let silence = row.instant("now")?.since(row.instant("seen_at")?);
            let patience = if lease > 0 { lease.saturating_mul(3) } else { FIRST_SIGN };
            Ok(HostRow {
                host: NewHost {
                    incarnation: Incarnation(row.text("incarnation")?),
                    name: row.text("name")?,
                    version: row.text("version")?,
                    labels: row.json("labels")?,
                    configuration: row.text("configuration")?,
                    capacity: row.small("capacity")?,
                    process: process(row)?,
                },
                started_at: row.date("started_at")?,
                seen_at: row.date("seen_at")?,
                draining: row.truth("draining")?,
                running: row.small("running")?,
                alive: silence.0 <= patience,
            })
        })
        .collect()
}

fn process(row: &Row) -> Result<Process, StoreError> {
    Ok(Process {
        host: row.text("machine")?,
        boot: row.text("boot")?,
        namespace: row.text("pid_namespace")?,
        pid: row.number("pid")?,
        started: row.number("pid_started")?,
    })
}

/// The processes that hold runs.
pub(crate) async fn holders(session: &mut Session<'_>) -> Result<Vec<(Incarnation, Process)>, StoreError> {
    let rows = session
        .all(
            sql!(
                "select h.incarnation, h.machine, h.boot, h.pid_namespace, h.pid, h.pid_started from rota.hosts h
                 where h.incarnation in (select l.holder from rota.leases l)"
            ),
            &[],
        )
        .await?;
    rows.iter().map(|row| Ok((Incarnation(row.text("incarnation")?), process(row)?))).collect()
}
