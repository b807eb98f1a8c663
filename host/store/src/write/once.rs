//! Claims and ends as a server does them: proof and writes are one statement, which is one trip and, by itself, one transaction.
//!
//! SQLite has no trips to save, and no statements that write to several tables; it says the same one by one (`claim.rs`, `hold.rs`).
//! What is rare (a try again, something to undo, an effect without an outcome, a lease that is not proven) is not done here, but step
//! by step under the same locks.

use super::attempt::{EndAttempt, word};
use crate::read::run::{run_columns, run_row};
use crate::rows::{AfterRun, Hint, RunRow};
use crate::session::{Session, args, sql};
use crate::{RunState, StoreError};
use rota_protocol::{Event, Instant, LeaseNumber, Span};
use serde_json::json;
use std::collections::HashMap;

/// Who takes runs.
pub(super) struct Taker<'a> {
    pub(super) holder: &'a str,
    pub(super) host: &'a str,
    pub(super) lease: Span,
}

/// Take runs out of the queue that nobody has locked, with all that is written of a claim. Answers the runs as they were before, the time that
/// their leases count from, and the numbers of their last leases.
pub(super) async fn take(
    session: &mut Session<'_>,
    runs: &str,
    taker: &Taker<'_>,
) -> Result<Vec<(RunRow, Instant, LeaseNumber)>, StoreError> {
    let rows = session
        // By itself a transaction of its own; in one that was begun, a part of it.
        .look(
            sql!(
                "with moves as (
                   select each.value ->> 'from' as before, each.value ->> 'to' as after, cast(each.value ->> 'begins' as bigint) as begins
                   from @each($2)),
                 locked as materialized (
                   select ",
                run_columns!(),
                ", r.lease_number, q.keys as queue_keys, @now as now
                   from rota.queue q join rota.runs r on r.id = q.run where @in(q.run, $1) and q.hold is null
                   for update of q, r skip locked),
                 mine as materialized (
                   select locked.*, moves.after, moves.begins from locked join moves on moves.before = locked.state),
                 gone as (delete from rota.queue q using mine where q.run = mine.id),
                 leased as (
                   insert into rota.leases (run, job, holder, number, expires)
                   select mine.id, coalesce(mine.job, ''), $3, mine.lease_number + 1, mine.now + $5 from mine),
                 changed as (
                   update rota.runs r set state = mine.after, wait = null, attempt = mine.attempt + mine.begins,
                          lease_number = mine.lease_number + 1, host = $4, started_at = coalesce(mine.started_at, mine.now)
                   from mine where r.id = mine.id),
                 begun as (
                   insert into rota.attempts (run, number, host, incarnation, lease, started_at)
                   select mine.id, mine.attempt + 1, $4, $3, mine.lease_number + 1, mine.now from mine where mine.begins = 1),
                 kept as (
                   insert into rota.held_keys (key, run)
                   select key.value ->> 'key', mine.id from mine, jsonb_array_elements(cast(mine.queue_keys as jsonb)) as key(value)
                   on conflict (key, run) do nothing)
                 select * from mine"
            ),
            args![runs, &moves(), taker.holder, taker.host, taker.lease.0],
        )
        .await?;
    rows.iter().map(|row| Ok((run_row(row)?, row.instant("now")?, LeaseNumber(row.number("lease_number")?)))).collect()
}

/// What a claim makes of each state, by the table of states. A run that is to be undone begins no attempt.
fn moves() -> String {
    let moves = RunState::ALL.into_iter().filter_map(|state| {
        let after = state.after(Event::Claim).ok()?;
        let begins = i64::from(after != RunState::Compensating);
        Some(json!({ "from": state.as_str(), "to": after.as_str(), "begins": begins }))
    });
    serde_json::Value::Array(moves.collect()).to_string()
}

/// Attempts after which their runs are over, as far as nothing stands in the way of that; the others are not answered.
pub(super) async fn end(
    session: &mut Session<'_>,
    ops: &[&EndAttempt],
) -> Result<HashMap<String, RunState>, StoreError> {
    // One that is told twice, by whoever, is for the others to judge.
    let alone = |op: &EndAttempt| ops.iter().filter(|other| other.run == op.run).count() == 1;
    let mut ends: Vec<_> = ops.iter().filter(|op| alone(op)).filter_map(|op| Some((*op, over(op)?))).collect();
    if ends.is_empty() {
        return Ok(HashMap::new());
    }
    // Everybody locks several runs in the order of their ids.
    ends.sort_by(|(a, _), (b, _)| a.run.cmp(&b.run));
    let list: Vec<_> = ends
        .iter()
        .map(|(op, state)| {
            json!({
                "run": op.run,
                "holder": op.fence.holder.0,
                "number": op.fence.number.0,
                "state": state.as_str(),
                "outcome": word(op.record.outcome),
                "report": op.record.report,
                "error": op.record.error,
                "lines": op.record.dropped_log_lines,
            })
        })
        .collect();
    let rows = session
        .look(
            sql!(
                "with held as materialized (
                   select r.id, r.attempt, coalesce(r.job, '') as job, each.value as said, @now as now,
                          (cast(r.policy as jsonb) -> 'followed') is not distinct from cast('true' as jsonb) as followed
                   from @each($1) join rota.runs r on r.id = each.value ->> 'run' join rota.leases l on l.run = r.id
                   where l.holder = each.value ->> 'holder' and l.number = cast(each.value ->> 'number' as bigint) and l.expires > @now
                     and r.state = $2
                     and not exists (select 1 from rota.effects e where e.run = r.id and e.outcome = 'running')
                     and not exists (select 1 from rota.compensations c where c.run = r.id and c.status in ('registered', 'running'))
                   order by r.id for update of r, l),
                 gone as (delete from rota.leases l using held where l.run = held.id),
                 freed as (delete from rota.held_keys h using held where h.run = held.id returning h.run),
                 changed as (
                   update rota.runs r set state = held.said ->> 'state', wait = null, finished_at = held.now,
                          report = coalesce(held.said ->> 'report', r.report),
                          error = case when held.said ->> 'state' = 'succeeded' then held.said ->> 'error'
                                       else coalesce(held.said ->> 'error', r.error) end,
                          dropped_log_lines = r.dropped_log_lines + cast(held.said ->> 'lines' as bigint), pending_end = null
                   from held where r.id = held.id),
                 told as (
                   insert into rota.ended (run, job, state, ended_at)
                   select held.id, held.job, held.said ->> 'state', held.now from held where held.followed and held.job <> ''),
                 closed as (
                   update rota.attempts a set finished_at = held.now, outcome = held.said ->> 'outcome', error = held.said ->> 'error'
                   from held where a.run = held.id and a.number = held.attempt and a.finished_at is null)
                 select held.id, held.said ->> 'state' as state, cast(cast(held.followed as int) as bigint) as followed,
                        (select count(*) from freed where freed.run = held.id) as keys
                 from held"
            ),
            args![&json!(list).to_string(), RunState::Running.as_str()],
        )
        .await?;
    let mut over = HashMap::with_capacity(rows.len());
    let (mut followed, mut keyed) = (false, false);
    for row in &rows {
        let run = row.text("id")?;
        followed |= row.truth("followed")?;
        keyed |= row.number("keys")? > 0;
        session.hints.push(Hint::Run(run.clone()));
        over.insert(run, super::hold::state_of(row)?);
    }
    if followed {
        session.hints.push(Hint::Schedules);
    }
    if keyed {
        session.hints.push(Hint::Queue);
    }
    Ok(over)
}

/// How the run is over with the attempt, where it is.
fn over(op: &EndAttempt) -> Option<RunState> {
    let AfterRun::End(end) = op.record.after else { return None };
    RunState::Running.after(Event::End(end)).ok()
}
