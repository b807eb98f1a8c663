//! Effects: written down before they happen, by whoever holds the run.

use super::hold::not_held;
use crate::StoreError;
use crate::session::{Session, args, sql};
use crate::writer::{Late, Op};
use rota_authority::{EffectRecord, Outcome};
use rota_protocol::{Fence, Incarnation, Lease, LeaseNumber};

/// An effect is about to happen; answers its number. One statement: the lease is locked and proven by what inserts.
pub(crate) struct BeginEffect {
    pub(crate) run: String,
    pub(crate) fence: Fence,
    pub(crate) effect: EffectRecord,
}

impl Op for BeginEffect {
    type Answer = u64;

    async fn apply(&self, session: &mut Session<'_>) -> Result<u64, StoreError> {
        let effect = &self.effect;
        let row = session
            .one(
                sql!(
                    "with proof as (
                       select l.run as run, @now as now from rota.leases l
                       where l.run = $1 and l.holder = $2 and l.number = $3 and l.expires > @now @lock)
                     insert into rota.effects
                       (run, sequence, capability, operation, target, access, detail, class, planned, started_at, finished_at, outcome, lease)
                     select proof.run, (select coalesce(max(e.sequence), 0) + 1 from rota.effects e where e.run = $1), $4, $5, $6, $7, $8, $9, $10,
                            proof.now, case when $10 = 1 then proof.now end, $11, $3
                     from proof
                     returning sequence"
                ),
                args![
                    &self.run,
                    self.fence.holder.0.as_str(),
                    self.fence.number.0,
                    effect.capability,
                    effect.operation,
                    &effect.target,
                    &effect.access,
                    &effect.detail,
                    effect.class.as_str(),
                    effect.planned,
                    if effect.planned { "planned" } else { "running" }
                ],
            )
            .await?;
        match row {
            Some(row) => row.count("sequence"),
            None => Err(why_not(session, &self.run, &self.fence).await?),
        }
    }

    // Where the connection broke before the answer came, the effect may be on record twice; it ends as interrupted, which is the truth.
    fn is_one_statement(&self) -> bool {
        true
    }
}

/// An effect has an outcome.
pub(crate) struct FinishEffect {
    pub(crate) run: String,
    pub(crate) fence: Fence,
    pub(crate) sequence: u64,
    pub(crate) outcome: Outcome,
}

impl Op for FinishEffect {
    type Answer = ();
    // An interrupted effect is told, not asked, and must be on record before the attempt ends.
    const ORDER: u8 = 0;

    async fn apply(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        let said = match &self.outcome {
            Outcome::Done(said) | Outcome::Failed(said) => Some(said.as_str()),
            Outcome::Planned | Outcome::Interrupted => None,
        };
        let written = session
            .run(
                sql!(
                    "with proof as (
                       select l.run as run, @now as now from rota.leases l
                       where l.run = $1 and l.holder = $2 and l.number = $3 and l.expires > @now @lock)
                     update rota.effects set outcome = $5, said = $6, finished_at = (select now from proof)
                     where run = $1 and sequence = $4 and outcome = 'running' and exists (select 1 from proof)"
                ),
                args![
                    &self.run,
                    self.fence.holder.0.as_str(),
                    self.fence.number.0,
                    self.sequence,
                    self.outcome.word(),
                    said
                ],
            )
            .await?;
        if written > 0 {
            return Ok(());
        }
        let known = session
            .one(
                sql!("select outcome from rota.effects where run = $1 and sequence = $2"),
                args![&self.run, self.sequence],
            )
            .await?;
        match known {
            None => Err(StoreError::NoEffect { run: self.run.clone(), sequence: self.sequence }),
            // It has an outcome already, which stays: this is the second word of the same worker.
            Some(row) if row.text("outcome")? != "running" && !self.is_lost(session).await? => Ok(()),
            Some(_) => Err(why_not(session, &self.run, &self.fence).await?),
        }
    }

    fn is_one_statement(&self) -> bool {
        true
    }

    fn late(&self) -> Option<(Late, ())> {
        let said = match &self.outcome {
            Outcome::Done(said) | Outcome::Failed(said) => Some(said.clone()),
            Outcome::Planned | Outcome::Interrupted => None,
        };
        let late = Late::Outcome {
            run: self.run.clone(),
            lease: self.fence.number.0,
            sequence: self.sequence,
            outcome: self.outcome.word().to_owned(),
            said,
        };
        Some((late, ()))
    }
}

impl FinishEffect {
    async fn is_lost(&self, session: &mut Session<'_>) -> Result<bool, StoreError> {
        Ok(lease(session, &self.run).await?.is_none_or(|(lease, now)| lease.proves(&self.fence, now).is_err()))
    }
}

/// Who holds a run, and the database's time.
async fn lease(session: &mut Session<'_>, run: &str) -> Result<Option<(Lease, rota_protocol::Instant)>, StoreError> {
    let row = session
        .one(sql!("select holder, number, expires, @now as now from rota.leases where run = $1"), args![run])
        .await?;
    row.map(|row| {
        let lease = Lease {
            holder: Incarnation(row.text("holder")?),
            number: LeaseNumber(row.number("number")?),
            expires: row.instant("expires")?,
        };
        Ok((lease, row.instant("now")?))
    })
    .transpose()
}

/// Why a write of a worker was refused, by the rule.
async fn why_not(session: &mut Session<'_>, run: &str, fence: &Fence) -> Result<StoreError, StoreError> {
    match lease(session, run).await? {
        None => not_held(session, run).await,
        Some((lease, now)) => match lease.proves(fence, now) {
            Err(lost) => Ok(session.refuse(run, lost)),
            // It was not so when the statement looked; nothing but this moment changed.
            Ok(()) => Ok(session.refuse(run, rota_protocol::LeaseLost::TakenOver)),
        },
    }
}
