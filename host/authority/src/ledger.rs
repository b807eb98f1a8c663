//! Where effects are written down before they happen.

use crate::{EffectClass, Outcome};
use async_trait::async_trait;
use std::sync::Mutex;

/// One effect, as it is written down before it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectRecord {
    /// `sql`, `storage`, `tool` ...
    pub capability: &'static str,
    /// The import that asked for it: `sql.execute`, `storage.put` ...
    pub operation: &'static str,
    /// The binding's name and the object: `kosmos: public.orders`.
    pub target: String,
    /// The accesses it needed, in words: `maintain`, `write + delete`.
    pub access: String,
    /// What a person needs to judge it: the statement, the key and size, the arguments. Secrets masked.
    pub detail: String,
    /// How much harm it does at worst.
    pub class: EffectClass,
    /// True when the run is a plan: recorded, not performed.
    pub planned: bool,
}

/// Why an effect could not be written down. It is not performed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The ledger is away for now: the same may succeed later.
    #[error("the effect could not be recorded now, so it was not performed: {0}")]
    Away(String),
    /// Whoever asks does not hold the run any more.
    #[error("the effect was not performed, since this worker does not hold the run any more: {0}")]
    LeaseLost(String),
    /// The team of the run has had its effects of the day.
    #[error(transparent)]
    UsedUp(#[from] crate::UsedUp),
    /// Anything else.
    #[error("the effect could not be recorded, so it was not performed: {0}")]
    Other(String),
}

/// Where a run's effects are written down. Numbers start at 1 and have no gaps.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Write an effect down, durably, before it happens; answers its number.
    async fn begin(&self, effect: EffectRecord) -> Result<u64, LedgerError>;
    /// Write down how it ended.
    async fn finish(&self, sequence: u64, outcome: Outcome) -> Result<(), LedgerError>;
    /// The call was dropped before it ended (cancel, time-out): write down `interrupted` as soon as possible, without waiting.
    fn interrupted(&self, sequence: u64);
}

/// An effect with its number and outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEffect {
    /// Its number in the run.
    pub sequence: u64,
    /// What was written down before.
    pub record: EffectRecord,
    /// How it ended; none while it is under way.
    pub outcome: Option<Outcome>,
}

/// A ledger in memory, for tests and benches.
#[derive(Debug, Default)]
pub struct MemoryLedger(Mutex<Vec<RecordedEffect>>);

impl MemoryLedger {
    /// What was recorded so far.
    pub fn effects(&self) -> Vec<RecordedEffect> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<RecordedEffect>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn end(&self, sequence: u64, outcome: Outcome) {
        if let Some(effect) = self.lock().iter_mut().find(|e| e.sequence == sequence) {
            effect.outcome = Some(outcome);
        }
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn begin(&self, record: EffectRecord) -> Result<u64, LedgerError> {
        let mut effects = self.lock();
        let sequence = effects.len() as u64 + 1;
        let outcome = record.planned.then_some(Outcome::Planned);
        effects.push(RecordedEffect { sequence, record, outcome });
        Ok(sequence)
    }

    async fn finish(&self, sequence: u64, outcome: Outcome) -> Result<(), LedgerError> {
        self.end(sequence, outcome);
        Ok(())
    }

    fn interrupted(&self, sequence: u64) {
        self.end(sequence, Outcome::Interrupted);
    }
}
