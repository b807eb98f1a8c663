//! A run's effects in the store, written down by whoever holds the run.

use crate::write::effect::{BeginEffect, FinishEffect};
use crate::writer::Writer;
use crate::{StoreError, masked};
use async_trait::async_trait;
use rota_authority::{EffectRecord, Ledger, LedgerError, Outcome};
use rota_protocol::Fence;

pub(crate) struct RunLedger {
    pub(crate) run: String,
    pub(crate) fence: Fence,
    pub(crate) writer: Writer,
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
        let op = BeginEffect { run: self.run.clone(), fence: self.fence.clone(), effect };
        self.writer.ask_of(&self.run, op).await.map_err(said)
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
