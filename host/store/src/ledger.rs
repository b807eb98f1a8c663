//! A run's effects in the store, written down by whoever holds the run.

use crate::write::effect::{BeginEffect, FinishEffect};
use crate::write::team::BeginTeamEffect;
use crate::writer::Writer;
use crate::{StoreError, masked};
use async_trait::async_trait;
use rota_authority::{EffectRecord, Ledger, LedgerError, Outcome, UsedUp};
use rota_protocol::Fence;

pub(crate) struct RunLedger {
    pub(crate) run: String,
    pub(crate) fence: Fence,
    pub(crate) writer: Writer,
    /// The team that its effects count for, and how many those of a day may be.
    pub(crate) team: Option<(String, Option<u64>)>,
}

impl RunLedger {
    fn finish_op(&self, sequence: u64, outcome: Outcome) -> FinishEffect {
        FinishEffect { run: self.run.clone(), fence: self.fence.clone(), sequence, outcome }
    }
}

fn said(error: StoreError) -> LedgerError {
    let text = error.to_string();
    match error {
        error if error.is_passing() => LedgerError::Away(text),
        StoreError::LeaseLost { .. } => LedgerError::LeaseLost(text),
        _ => LedgerError::Other(text),
    }
}

#[async_trait]
impl Ledger for RunLedger {
    async fn begin(&self, mut effect: EffectRecord) -> Result<u64, LedgerError> {
        effect.target = masked::text(effect.target);
        effect.detail = masked::text(effect.detail);
        let planned = effect.planned;
        let op = BeginEffect { run: self.run.clone(), fence: self.fence.clone(), effect };
        let Some((team, most)) = self.team.as_ref().filter(|_| !planned) else {
            return self.writer.ask_of(&self.run, op).await.map_err(said);
        };
        let op = BeginTeamEffect { effect: op, team: team.clone(), most: *most };
        self.writer.ask_of(&self.run, op).await.map_err(said)?.ok_or_else(|| {
            let limit = most.unwrap_or_default().to_string();
            UsedUp { team: team.clone(), setting: "effects_per_day", limit, what: "effects" }.into()
        })
    }

    async fn finish(&self, sequence: u64, outcome: Outcome) -> Result<(), LedgerError> {
        let outcome = match outcome {
            Outcome::Done(said) => Outcome::Done(masked::text(said)),
            Outcome::Failed(said) => Outcome::Failed(masked::text(said)),
            other => other,
        };
        let written = self.writer.ask_of(&self.run, self.finish_op(sequence, outcome)).await;
        written.map_err(said)
    }

    fn interrupted(&self, sequence: u64) {
        self.writer.tell_of(&self.run, self.finish_op(sequence, Outcome::Interrupted));
    }
}
