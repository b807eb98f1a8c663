//! A run's effects in the store.

use crate::masked;
use crate::sqlite::apply::{Answer, Op};
use crate::sqlite::writer::Writer;
use async_trait::async_trait;
use rota_authority::{EffectRecord, Ledger, LedgerError, Outcome};

pub(crate) struct RunLedger {
    pub(crate) run: String,
    pub(crate) writer: Writer,
}

#[async_trait]
impl Ledger for RunLedger {
    async fn begin(&self, mut effect: EffectRecord) -> Result<u64, LedgerError> {
        effect.target = masked::text(effect.target);
        effect.detail = masked::text(effect.detail);
        match self.writer.ask(Op::BeginEffect { run: self.run.clone(), effect: Box::new(effect) }).await {
            Ok(Answer::Number(sequence)) => Ok(sequence),
            Ok(_) => Err(LedgerError("it got no number".into())),
            Err(error) => Err(LedgerError(error.to_string())),
        }
    }

    async fn finish(&self, sequence: u64, outcome: Outcome) -> Result<(), LedgerError> {
        let outcome = match outcome {
            Outcome::Done(said) => Outcome::Done(masked::text(said)),
            Outcome::Failed(said) => Outcome::Failed(masked::text(said)),
            other => other,
        };
        let written = self.writer.ask(Op::FinishEffect { run: self.run.clone(), sequence, outcome }).await;
        written.map(drop).map_err(|error| LedgerError(error.to_string()))
    }

    fn interrupted(&self, sequence: u64) {
        self.writer.tell(Op::FinishEffect { run: self.run.clone(), sequence, outcome: Outcome::Interrupted });
    }
}
