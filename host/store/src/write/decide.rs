//! Decisions about instants of schedules: each is written only if nobody decided first, with its run in the same transaction.

use super::control::cancel;
use super::enqueue::insert;
use super::hold::Locked;
use crate::StoreError;
use crate::rows::{CancelWish, Decision, DecisionOutcome, NewRun, instant, micros};
use crate::session::{Session, args, sql};
use crate::writer::{Op, PATIENCE};
use rota_protocol::{Cursor, FireRefused, Instant};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// Decisions.
pub(crate) struct Decide {
    pub(crate) decisions: Vec<Decision>,
    pub(crate) by: String,
}

/// The last wall in front of the disk.
pub(crate) fn masked_decision(mut decision: Decision) -> Decision {
    use super::enqueue::masked_run;
    decision.outcome = match decision.outcome {
        DecisionOutcome::Fire(run) => DecisionOutcome::Fire(Box::new(masked_run(*run))),
        DecisionOutcome::Buffer(run) => DecisionOutcome::Buffer(Box::new(masked_run(*run))),
        DecisionOutcome::FireAndCancel { run, cancel, terminate } => {
            DecisionOutcome::FireAndCancel { run: Box::new(masked_run(*run)), cancel, terminate }
        }
        DecisionOutcome::Skip(reason) => DecisionOutcome::Skip(crate::masked::text(reason)),
    };
    decision
}

/// What may be written: the cursors that follow, the decisions, the runs.
#[derive(Default)]
struct Outcome<'d> {
    /// One for each job, where its last decision leaves it: a statement that is given two for a row takes either of them.
    cursors: BTreeMap<&'d str, Value>,
    fires: Vec<Value>,
    runs: Vec<&'d NewRun>,
    cancels: Vec<(&'d str, &'d str, bool)>,
}

impl<'d> Outcome<'d> {
    /// Where a decision leaves the cursor of its job.
    fn move_to(&mut self, decision: &'d Decision, after: Cursor) {
        let cursor = json!({
            "job": decision.job,
            "version": after.version,
            "decided": after.decided.map(|at| at.0),
            "next": after.next.map(|at| at.0),
            "fire_at": decision.next.and(decision.fire_at.or(decision.next)).map(micros),
        });
        self.cursors.insert(&decision.job, cursor);
    }
}

impl Op for Decide {
    type Answer = Vec<Result<(), FireRefused>>;

    async fn apply(&self, session: &mut Session<'_>) -> Result<Self::Answer, StoreError> {
        let mut cursors = self.lock(session).await?;
        let decided = self.decided(session).await?;
        let now = session.now().await?;
        let mut answers = Vec::with_capacity(self.decisions.len());
        let mut outcome = Outcome::default();
        for decision in &self.decisions {
            let answer = self.decide(decision, &mut cursors, &decided, now, &mut outcome);
            answers.push(answer);
        }
        write(session, &outcome).await?;
        insert(session, outcome.runs.iter().copied()).await?;
        for (run, job, terminate) in outcome.cancels {
            self.cancel(session, run, job, terminate).await?;
        }
        Ok(answers)
    }

    fn patience(&self) -> Duration {
        PATIENCE + Duration::from_millis(10 * self.decisions.len() as u64)
    }
}

impl Decide {
    /// The cursors, under their lock.
    async fn lock(&self, session: &mut Session<'_>) -> Result<HashMap<String, Cursor>, StoreError> {
        let list = json!(self.decisions.iter().map(|d| json!({ "job": d.job })).collect::<Vec<_>>()).to_string();
        let rows = session
            .all(
                sql!(
                    "select s.job, s.version, s.decided, s.next from rota.schedules s
                     where s.job in (select each.value ->> 'job' from @each($1)) and s.enabled = 1
                     order by s.job @lock"
                ),
                args![&list],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let cursor = Cursor {
                    version: row.number("version")?,
                    decided: row.maybe_number("decided")?.map(Instant),
                    next: row.maybe_number("next")?.map(Instant),
                };
                Ok((row.text("job")?, cursor))
            })
            .collect()
    }

    /// Which of the instants are decided about already, whatever the cursors say. Read under the cursors' locks.
    async fn decided(&self, session: &mut Session<'_>) -> Result<HashSet<(String, i64)>, StoreError> {
        let list = json!(
            self.decisions.iter().map(|d| json!({ "job": d.job, "nominal": micros(d.nominal) })).collect::<Vec<_>>()
        )
        .to_string();
        let rows = session
            .all(
                sql!(
                    "select f.job as job, f.nominal as nominal from @each($1)
                     join rota.fires f on f.job = each.value ->> 'job' and f.nominal = cast(each.value ->> 'nominal' as bigint)"
                ),
                args![&list],
            )
            .await?;
        rows.iter().map(|row| Ok((row.text("job")?, row.number("nominal")?))).collect()
    }

    fn decide<'d>(
        &self,
        decision: &'d Decision,
        cursors: &mut HashMap<String, Cursor>,
        decided: &HashSet<(String, i64)>,
        now: Instant,
        outcome: &mut Outcome<'d>,
    ) -> Result<(), FireRefused> {
        let nominal = instant(decision.nominal);
        let cursor = cursors.get_mut(&decision.job).ok_or(FireRefused::Stale)?;
        let mut after = cursor.decide(decision.read, nominal, decision.next.map(instant), now)?;
        if decided.contains(&(decision.job.clone(), nominal.0)) {
            // The cursor fell behind what is on record. It moves on, and nothing else comes of it: it would stay there for good.
            *cursor = after;
            outcome.move_to(decision, after);
            return Err(FireRefused::NotNext);
        }
        // What was decided with it is decided, too.
        let last = decision.also.iter().map(|(also, _)| instant(*also)).chain([nominal]).max();
        after.decided = last;
        if after.next.is_some_and(|next| last.is_some_and(|last| next <= last)) {
            return Err(FireRefused::NotNext);
        }
        *cursor = after;
        outcome.move_to(decision, after);
        let mut fire = |nominal: i64, run: Option<&str>, reason: Option<&str>, more: u64| {
            outcome.fires.push(json!({
                "job": decision.job,
                "nominal": nominal,
                "outcome": if run.is_some() { "fired" } else { "skipped" },
                "run": run,
                "reason": reason,
                "at": now.0,
                "by": self.by,
                "more": more,
            }));
        };
        for (also, reason) in &decision.also {
            fire(micros(*also), None, Some(reason), 0);
        }
        let run = match &decision.outcome {
            DecisionOutcome::Skip(reason) => {
                fire(nominal.0, None, Some(reason), decision.missed_more);
                return Ok(());
            }
            DecisionOutcome::Fire(run) | DecisionOutcome::Buffer(run) => run,
            DecisionOutcome::FireAndCancel { run, cancel, terminate } => {
                outcome.cancels.extend(cancel.iter().map(|other| (other.as_str(), decision.job.as_str(), *terminate)));
                run
            }
        };
        fire(nominal.0, Some(&run.id), None, decision.missed_more);
        outcome.runs.push(run);
        Ok(())
    }

    /// Another run of the job is to end. One that has ended meanwhile does not have to.
    async fn cancel(&self, session: &mut Session<'_>, run: &str, job: &str, terminate: bool) -> Result<(), StoreError> {
        let locked = match Locked::any(session, run).await {
            Err(StoreError::NotFound(_)) => return Ok(()),
            locked => locked?,
        };
        let wish = CancelWish {
            by: self.by.clone(),
            at: crate::rows::date(locked.now),
            terminate,
            note: Some(format!("the next run of the job `{job}` begins")),
        };
        match cancel(session, &locked, &wish).await {
            Ok(_) | Err(StoreError::Transition { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

async fn write(session: &mut Session<'_>, outcome: &Outcome<'_>) -> Result<(), StoreError> {
    if outcome.cursors.is_empty() {
        return Ok(());
    }
    session
        .run(
            sql!(
                "insert into rota.fires (job, nominal, outcome, run, reason, decided_at, decided_by, missed_more)
                 select each.value ->> 'job', cast(each.value ->> 'nominal' as bigint), each.value ->> 'outcome', each.value ->> 'run',
                        each.value ->> 'reason', cast(each.value ->> 'at' as bigint), each.value ->> 'by',
                        cast(each.value ->> 'more' as bigint)
                 from @each($1) where true
                 on conflict (job, nominal) do nothing"
            ),
            args![&json!(outcome.fires).to_string()],
        )
        .await?;
    session
        .run(
            sql!(
                "update rota.schedules set version = cast(each.value ->> 'version' as bigint),
                        decided = cast(each.value ->> 'decided' as bigint), next = cast(each.value ->> 'next' as bigint),
                        fire_at = cast(each.value ->> 'fire_at' as bigint)
                 from @each($1) where schedules.job = each.value ->> 'job'"
            ),
            args![&json!(outcome.cursors.values().collect::<Vec<_>>()).to_string()],
        )
        .await?;
    Ok(())
}
