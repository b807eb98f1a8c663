//! Schedules: what a configuration makes of them, pausing, and repair.

use super::hold::text_of;
use crate::StoreError;
use crate::rows::{Hint, Pause, ScheduleChanges, ScheduleDefinition, micros, shard_of};
use crate::session::{Engine, Session, args, sql};
use crate::writer::{Op, PATIENCE};
use chrono::{DateTime, Utc};
use serde_json::json;
use std::time::Duration;

/// As many schedules as one statement concerns.
const CHUNK: usize = 5_000;

/// All schedules of a configuration.
pub(crate) struct Apply {
    /// By job, in order.
    pub(crate) all: Vec<ScheduleDefinition>,
}

impl Op for Apply {
    type Answer = ScheduleChanges;

    async fn apply(&self, session: &mut Session<'_>) -> Result<ScheduleChanges, StoreError> {
        if session.engine() == Engine::Postgres {
            // One configuration at a time.
            session.all(sql!("select count(pg_advisory_xact_lock(1380930625, -1)) as locked"), &[]).await?;
        }
        let mut changes = ScheduleChanges::default();
        let mut write = Vec::new();
        let mut disable = Vec::new();
        let mut given = self.all.iter().peekable();
        let mut after: Option<String> = None;
        // What is on record and what is configured, side by side, both by job.
        loop {
            let page = session
                .all(
                    sql!(
                        "select job, hash, enabled from rota.schedules where ($1 is null or job > $1) order by job limit $2"
                    ),
                    args![after.as_deref(), CHUNK as u64],
                )
                .await?;
            let last = page.len() < CHUNK;
            for row in &page {
                let job = row.text("job")?;
                while let Some(new) = given.next_if(|given| given.job < job) {
                    changes.new.push(new.job.clone());
                    write.push(new);
                }
                let enabled = row.truth("enabled")?;
                match given.next_if(|given| given.job == job) {
                    Some(_) if enabled && row.text("hash")? == given_hash(&self.all, &job) => changes.unchanged += 1,
                    Some(found) => {
                        if enabled { &mut changes.changed } else { &mut changes.new }.push(job.clone());
                        write.push(found);
                    }
                    None if enabled => disable.push(job.clone()),
                    None => {}
                }
                after = Some(job);
            }
            if last {
                break;
            }
        }
        for new in given {
            changes.new.push(new.job.clone());
            write.push(new);
        }
        for chunk in write.chunks(CHUNK) {
            upsert(session, chunk).await?;
        }
        for chunk in disable.chunks(CHUNK) {
            let list = json!(chunk.iter().map(|job| json!({ "job": job })).collect::<Vec<_>>()).to_string();
            session
                .run(
                    sql!(
                        "update rota.schedules set enabled = 0, version = version + 1
                         where job in (select each.value ->> 'job' from @each($1))"
                    ),
                    args![&list],
                )
                .await?;
        }
        changes.disabled = disable;
        session.hints.push(Hint::Schedules);
        Ok(changes)
    }

    fn patience(&self) -> Duration {
        PATIENCE + Duration::from_millis(self.all.len() as u64)
    }
}

/// The hash of a job that is configured; `all` is in order.
fn given_hash<'a>(all: &'a [ScheduleDefinition], job: &str) -> &'a str {
    all.binary_search_by(|given| given.job.as_str().cmp(job))
        .ok()
        .and_then(|at| all.get(at))
        .map_or("", |found| &found.hash)
}

async fn upsert(session: &mut Session<'_>, chunk: &[&ScheduleDefinition]) -> Result<(), StoreError> {
    let list: Vec<_> = chunk
        .iter()
        .map(|new| {
            json!({
                "job": new.job,
                "definition": new.definition,
                "hash": new.hash,
                "next": new.next.map(micros),
                "fire_at": new.next.and(new.fire_at.or(new.next)).map(micros),
                "shard": shard_of(&new.job),
            })
        })
        .collect();
    // Should the next instant be one that was decided about, deciding refuses it, and the sweep over schedules sets another.
    session
        .run(
            sql!(
                "insert into rota.schedules (job, definition, hash, version, next, fire_at, enabled, shard)
                 select each.value ->> 'job', each.value ->> 'definition', each.value ->> 'hash', 1, cast(each.value ->> 'next' as bigint),
                        cast(each.value ->> 'fire_at' as bigint), 1, cast(each.value ->> 'shard' as bigint)
                 from @each($1) where true
                 on conflict (job) do update
                   set definition = excluded.definition, hash = excluded.hash, version = schedules.version + 1, next = excluded.next,
                       fire_at = excluded.fire_at, enabled = 1, failures = 0, shard = excluded.shard"
            ),
            args![&json!(list).to_string()],
        )
        .await?;
    Ok(())
}

/// Pause a schedule, or let it go on.
pub(crate) struct SetPause {
    pub(crate) job: String,
    pub(crate) pause: Option<Pause>,
}

impl Op for SetPause {
    type Answer = ();

    async fn apply(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        let pause = self.pause.as_ref().map(text_of);
        let written = session
            .run(
                sql!(
                    "update rota.schedules set paused = $2, version = version + 1,
                            failures = case when $2 is null then 0 else failures end
                     where job = $1"
                ),
                args![&self.job, pause.as_deref()],
            )
            .await?;
        if written == 0 {
            return Err(StoreError::NoSchedule(self.job.clone()));
        }
        session.hints.push(Hint::Schedules);
        Ok(())
    }
}

/// Set the next instant without a decision.
pub(crate) struct Reschedule {
    pub(crate) job: String,
    pub(crate) read: i64,
    pub(crate) next: Option<DateTime<Utc>>,
    pub(crate) fire_at: Option<DateTime<Utc>>,
}

impl Op for Reschedule {
    type Answer = ();

    async fn apply(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        let written = session
            .run(
                sql!(
                    "update rota.schedules set next = $3, fire_at = $4, version = version + 1
                     where job = $1 and version = $2 and (decided is null or $3 is null or $3 > decided)"
                ),
                args![
                    &self.job,
                    self.read,
                    self.next.map(micros),
                    self.next.and(self.fire_at.or(self.next)).map(micros)
                ],
            )
            .await?;
        if written > 0 {
            session.hints.push(Hint::Schedules);
            return Ok(());
        }
        let known =
            session.one(sql!("select version, decided from rota.schedules where job = $1"), args![&self.job]).await?;
        match known {
            None => Err(StoreError::NoSchedule(self.job.clone())),
            Some(row) if row.number("version")? == self.read => {
                Err(StoreError::Misfit(format!("the instant of the job `{}` was decided about already", self.job)))
            }
            Some(_) => Err(StoreError::Stale(format!("the schedule of the job `{}`", self.job))),
        }
    }
}

/// A run of the schedule failed, or did not.
pub(crate) struct CountFailure {
    pub(crate) job: String,
    pub(crate) failed: bool,
}

impl Op for CountFailure {
    type Answer = u32;

    async fn apply(&self, session: &mut Session<'_>) -> Result<u32, StoreError> {
        let row = session
            .one(
                sql!(
                    "update rota.schedules set failures = case when $2 = 1 then failures + 1 else 0 end where job = $1 returning failures"
                ),
                args![&self.job, self.failed],
            )
            .await?;
        row.map_or_else(|| Err(StoreError::NoSchedule(self.job.clone())), |row| row.small("failures"))
    }
}
