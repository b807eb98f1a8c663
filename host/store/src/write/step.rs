//! Durable steps.

use super::hold::Locked;
use crate::StoreError;
use crate::read::record::{effect_columns, effect_row};
use crate::rows::EffectRow;
use crate::session::{Row, Session, args, sql};
use crate::writer::Op;
use rota_protocol::{Fence, StepBegin, StepState, step};

/// A step begins, for the first time or again.
pub(crate) struct BeginStep {
    pub(crate) run: String,
    pub(crate) fence: Fence,
    pub(crate) name: String,
}

/// What is on record of a step.
pub(crate) fn state(row: &Row) -> Result<StepState, StoreError> {
    Ok(match row.maybe_text("result")? {
        Some(result) => StepState::Completed { result },
        None => StepState::Begun { attempt: row.small("attempt")? },
    })
}

impl Op for BeginStep {
    type Answer = (StepBegin, Vec<EffectRow>);

    async fn apply(&self, session: &mut Session<'_>) -> Result<Self::Answer, StoreError> {
        let run = Locked::held(session, &self.run, &self.fence).await?;
        let row = session
            .one(
                sql!("select attempt, result, first_effect from rota.steps where run = $1 and name = $2"),
                args![&self.run, &self.name],
            )
            .await?;
        let before = row.as_ref().map(state).transpose()?;
        let begin = step::begin(before.as_ref(), run.attempt);
        match (&begin, row) {
            (StepBegin::Fresh, _) => {
                session
                    .run(
                        sql!(
                            "insert into rota.steps (run, name, attempt, started_at, first_effect)
                             values ($1, $2, $3, $4, (select coalesce(max(e.sequence), 0) + 1 from rota.effects e where e.run = $1))"
                        ),
                        args![&self.run, &self.name, run.attempt, run.now],
                    )
                    .await?;
                Ok((begin, Vec::new()))
            }
            (StepBegin::InDoubt, Some(row)) => {
                let first = row.number("first_effect")?;
                session
                    .run(
                        sql!("update rota.steps set attempt = $3 where run = $1 and name = $2"),
                        args![&self.run, &self.name, run.attempt],
                    )
                    .await?;
                // Steps do not overlap, so what follows its begin was its own, up to the next step's.
                let rows = session
                    .all(
                        sql!(
                            "select ",
                            effect_columns!(),
                            " from rota.effects e where e.run = $1 and e.sequence >= $2
                               and not exists (select 1 from rota.steps s where s.run = $1 and s.name <> $3
                                               and s.first_effect > $2 and e.sequence >= s.first_effect)
                             order by e.sequence"
                        ),
                        args![&self.run, first, &self.name],
                    )
                    .await?;
                Ok((begin, rows.iter().map(effect_row).collect::<Result<_, _>>()?))
            }
            _ => Ok((begin, Vec::new())),
        }
    }
}

/// A step is done.
pub(crate) struct CompleteStep {
    pub(crate) run: String,
    pub(crate) fence: Fence,
    pub(crate) name: String,
    pub(crate) result: String,
}

impl Op for CompleteStep {
    type Answer = ();

    async fn apply(&self, session: &mut Session<'_>) -> Result<(), StoreError> {
        let run = Locked::held(session, &self.run, &self.fence).await?;
        let row = session
            .one(
                sql!("select attempt, result from rota.steps where run = $1 and name = $2"),
                args![&self.run, &self.name],
            )
            .await?;
        match row.as_ref().map(state).transpose()? {
            Some(StepState::Begun { attempt }) if attempt == run.attempt => {}
            // Said twice.
            Some(StepState::Completed { result }) if result == self.result => return Ok(()),
            Some(StepState::Completed { .. }) => {
                return Err(StoreError::Misfit(format!(
                    "the step `{}` of the run `{}` is completed already",
                    self.name, self.run
                )));
            }
            Some(StepState::Begun { .. }) | None => {
                return Err(StoreError::Misfit(format!(
                    "the step `{}` of the run `{}` was not begun in this attempt",
                    self.name, self.run
                )));
            }
        }
        session
            .run(
                sql!(
                    "update rota.steps set result = $3, finished_at = $4,
                            last_effect = (select max(e.sequence) from rota.effects e where e.run = $1 and e.sequence >= first_effect)
                     where run = $1 and name = $2"
                ),
                args![&self.run, &self.name, &self.result, run.now],
            )
            .await?;
        Ok(())
    }
}
