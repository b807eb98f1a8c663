//! Claims: which runs a worker gets.
//!
//! Candidates are read without a lock, the fair choice among them is made here, and only what was chosen is locked, past what others have
//! locked. A candidate that another worker got meanwhile is simply missing; the next claim finds others.

use super::candidates::{Blocked, candidate, candidates, choose, held_by_job};
use super::enqueue;
use super::hold::text_of;
use super::keys::Holders;
use super::once;
use crate::read::run::{run_columns, run_row};
use crate::rows::{Claimed, Hint, NewRun, RunRow};
use crate::session::{Engine, Session, args, sql, together};
use crate::writer::Op;
use crate::{RunState, StoreError};
use rota_protocol::{Event, Incarnation, Instant, Lease, LeaseNumber, Span, WaitReason};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A worker asks for runs.
pub(crate) struct ClaimRuns {
    pub(crate) by: Incarnation,
    pub(crate) host: String,
    pub(crate) lease: Span,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) most: u32,
    pub(crate) only: Option<String>,
    pub(crate) unable: Vec<String>,
}

impl Op for ClaimRuns {
    type Answer = Vec<Claimed>;

    async fn apply(&self, session: &mut Session<'_>) -> Result<Vec<Claimed>, StoreError> {
        self.claim(session, self.most).await
    }

    async fn apply_all(ops: &[&Self], session: &mut Session<'_>) -> Vec<Result<Vec<Claimed>, StoreError>> {
        let mut answers: Vec<Option<Result<_, _>>> = ops.iter().map(|_| None).collect();
        for first in 0..ops.len() {
            if answers[first].is_some() || session.failed.is_some() {
                continue;
            }
            // What one worker asks for at several places is one choice, dealt out.
            let of_one: Vec<usize> = (first..ops.len()).filter(|n| ops[first].is_like(ops[*n])).collect();
            let most = of_one.iter().map(|n| ops[*n].most).fold(0, u32::saturating_add);
            match ops[first].claim(session, most).await {
                Ok(claimed) => {
                    let mut claimed = claimed.into_iter();
                    for n in of_one {
                        answers[n] = Some(Ok(claimed.by_ref().take(ops[n].most as usize).collect()));
                    }
                }
                Err(error) => of_one.into_iter().for_each(|n| answers[n] = Some(Err(error.clone()))),
            }
        }
        answers.into_iter().map(|answer| answer.unwrap_or(Err(StoreError::Closed))).collect()
    }
}

impl ClaimRuns {
    /// Whether another asks for the same, but for how many.
    fn is_like(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || self.only.is_none()
                && other.only.is_none()
                && (&self.by, &self.host, self.lease, &self.labels, &self.unable)
                    == (&other.by, &other.host, other.lease, &other.labels, &other.unable)
    }

    async fn claim(&self, session: &mut Session<'_>, most: u32) -> Result<Vec<Claimed>, StoreError> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let mut candidates = match &self.only {
            None => candidates(session, &text_of(&self.labels), most).await?,
            Some(run) => candidate(session, run).await?,
        };
        candidates.retain(|candidate| !self.unable.contains(&candidate.job));
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: BTreeSet<&str> = candidates.iter().flat_map(|c| &c.keys).map(|key| key.key.as_str()).collect();
        let held = held_by_job(session, &candidates).await?;
        let mut holders = Holders::lock(session, &wanted).await?;
        let (chosen, blocked) = choose(&candidates, held, &mut holders, most as usize);
        block(session, &blocked).await?;
        if chosen.is_empty() {
            return Ok(Vec::new());
        }
        let list = json!(chosen.iter().map(|c| json!({ "run": c.run })).collect::<Vec<_>>()).to_string();
        let mut rows = match session.engine() {
            Engine::Sqlite => lock(session, &list).await?,
            Engine::Postgres => {
                let taker = once::Taker { holder: self.by.0.as_str(), host: &self.host, lease: self.lease };
                once::take(session, &list, &taker).await?
            }
        };
        // In the order in which they were chosen.
        let places: HashMap<&str, usize> =
            chosen.iter().enumerate().map(|(place, c)| (c.run.as_str(), place)).collect();
        rows.sort_by_key(|(row, ..)| places.get(row.run.id.as_str()).copied());
        let claimed = self.claimed(rows)?;
        match session.engine() {
            Engine::Sqlite => write(session, &claimed, &self.host).await?,
            Engine::Postgres => hint(session, &claimed),
        }
        Ok(claimed)
    }

    /// What runs that are locked are as this worker's, by the rules.
    fn claimed(&self, rows: Vec<(RunRow, Instant, LeaseNumber)>) -> Result<Vec<Claimed>, StoreError> {
        let mut claimed = Vec::with_capacity(rows.len());
        for (mut row, now, last) in rows {
            let id = row.run.id.clone();
            let state = row.state.after(Event::Claim).map_err(StoreError::transition(&id))?;
            // Nobody holds what is in the queue.
            let Some(lease) = Lease::claim(None, last, self.by.clone(), now, self.lease) else { continue };
            let undo = state == RunState::Compensating;
            row.attempt += u32::from(!undo);
            row.state = state;
            row.wait = None;
            row.host.clone_from(&self.host);
            row.started_at = row.started_at.or(Some(crate::rows::date(now)));
            row.lease = Some(lease.clone());
            claimed.push(Claimed { attempt: row.attempt, row, lease, undo });
        }
        Ok(claimed)
    }
}

/// What a key holds back is on record as waiting, once, and is not looked at again before the key lets somebody in.
async fn block(session: &mut Session<'_>, blocked: &[Blocked]) -> Result<(), StoreError> {
    if blocked.is_empty() {
        return Ok(());
    }
    let list =
        json!(blocked.iter().map(|b| json!({ "run": b.run, "key": b.key, "limit": b.limit })).collect::<Vec<_>>())
            .to_string();
    let rows = session
        .all(
            sql!(
                "select q.run as run, r.state as state, each.value ->> 'key' as key, cast(each.value ->> 'limit' as bigint) as most
                 from @each($1) join rota.queue q on q.run = each.value ->> 'run' join rota.runs r on r.id = q.run"
            ),
            args![&list],
        )
        .await?;
    for row in rows {
        let run = row.text("run")?;
        let locked =
            session.one(sql!("select run from rota.queue where run = $1 and hold is null @skip"), args![&run]).await?;
        if locked.is_none() {
            continue;
        }
        session
            .run(
                sql!("update rota.queue set blocked = $2, blocked_limit = $3 where run = $1"),
                args![&run, &row.text("key")?, row.number("most")?],
            )
            .await?;
        let state: RunState = row.text("state")?.parse().map_err(StoreError::Database)?;
        if state == RunState::Queued {
            let waiting =
                state.after(Event::HoldBack(WaitReason::Concurrency)).map_err(StoreError::transition(&run))?;
            session
                .run(
                    sql!("update rota.runs set state = $2, wait = $3 where id = $1 and state = 'queued'"),
                    args![&run, waiting.as_str(), WaitReason::Concurrency.as_str()],
                )
                .await?;
        }
    }
    Ok(())
}

/// Lock what was chosen, past what others have locked.
async fn lock(session: &mut Session<'_>, list: &str) -> Result<Vec<(RunRow, Instant, LeaseNumber)>, StoreError> {
    let rows = session
        .all(
            sql!(
                "select ",
                run_columns!(),
                ", r.lease_number, @now as now
                 from rota.queue q join rota.runs r on r.id = q.run where @in(q.run, $1) and q.hold is null @skip"
            ),
            args![list],
        )
        .await?;
    rows.iter().map(|row| Ok((run_row(row)?, row.instant("now")?, LeaseNumber(row.number("lease_number")?)))).collect()
}

/// Put claims on record.
pub(super) async fn write(session: &mut Session<'_>, claimed: &[Claimed], host: &str) -> Result<(), StoreError> {
    let list: Vec<_> = claimed
        .iter()
        .map(|claim| {
            json!({
                "run": claim.row.run.id,
                "job": claim.row.run.job.as_deref().unwrap_or_default(),
                "holder": claim.lease.holder.0,
                "number": claim.lease.number.0,
                "expires": claim.lease.expires.0,
                "attempt": claim.attempt,
                "begins": i64::from(!claim.undo),
                "state": claim.row.state.as_str(),
                "host": host,
                "started": claim.row.started_at.map(crate::rows::micros),
            })
        })
        .collect();
    let list = json!(list).to_string();
    session
        .run_together(
            together!(
                sql!("delete from rota.queue where @in(run, $1)"),
                sql!(
                    "insert into rota.leases (run, job, holder, number, expires)
                     select each.value ->> 'run', each.value ->> 'job', each.value ->> 'holder', cast(each.value ->> 'number' as bigint),
                            cast(each.value ->> 'expires' as bigint) from @each($1)"
                ),
                sql!(
                    "update rota.runs set state = each.value ->> 'state', wait = null, attempt = cast(each.value ->> 'attempt' as bigint),
                            lease_number = cast(each.value ->> 'number' as bigint), host = each.value ->> 'host',
                            started_at = cast(each.value ->> 'started' as bigint)
                     from @each($1) where runs.id = each.value ->> 'run'"
                ),
                sql!(
                    "insert into rota.attempts (run, number, host, incarnation, lease, started_at)
                     select each.value ->> 'run', cast(each.value ->> 'attempt' as bigint), each.value ->> 'host', each.value ->> 'holder',
                            cast(each.value ->> 'number' as bigint), @now from @each($1)
                     where cast(each.value ->> 'begins' as bigint) = 1"
                ),
            ),
            args![&list],
        )
        .await?;
    let keys: Vec<_> = claimed
        .iter()
        .flat_map(|claim| {
            let run = &claim.row.run.id;
            claim.row.run.policy.keys.iter().map(move |key| json!({ "run": run, "key": key.key }))
        })
        .collect();
    if !keys.is_empty() {
        let keys = json!(keys).to_string();
        session
            .run(
                sql!(
                    "insert into rota.held_keys (key, run) select each.value ->> 'key', each.value ->> 'run' from @each($1) where true
                     on conflict (key, run) do nothing"
                ),
                args![&keys],
            )
            .await?;
    }
    hint(session, claimed);
    Ok(())
}

fn hint(session: &mut Session<'_>, claimed: &[Claimed]) {
    session.hints.extend(claimed.iter().map(|claim| Hint::Run(claim.row.run.id.clone())));
}

/// A run that is made and taken at once.
pub(crate) struct BeginHeld {
    pub(crate) run: NewRun,
    pub(crate) claim: ClaimRuns,
}

impl Op for BeginHeld {
    type Answer = Claimed;

    async fn apply(&self, session: &mut Session<'_>) -> Result<Claimed, StoreError> {
        let keys = &self.run.policy.keys;
        let wanted: BTreeSet<&str> = keys.iter().map(|key| key.key.as_str()).collect();
        let holders = Holders::lock(session, &wanted).await?;
        if let Some((key, holder)) = holders.bars(&self.run.id, keys) {
            return Err(StoreError::Conflict { key: key.key.clone(), holder: holder.to_owned() });
        }
        let run = NewRun { hold: None, ..self.run.clone() };
        enqueue::insert_unqueued(session, &run).await?;
        let row = session.one(sql!("select created_at from rota.runs where id = $1"), args![&run.id]).await?;
        let now = row.map_or(Err(StoreError::Closed), |row| row.instant("created_at"))?;
        let row = RunRow::new(run, now);
        let claimed = self.claim.claimed(vec![(row, now, LeaseNumber(0))])?;
        write(session, &claimed, &self.claim.host).await?;
        claimed.into_iter().next().ok_or(StoreError::Closed)
    }
}
