//! What a run keeps so that it survives a crash and a retry: steps and compensations.
//!
//! [`Durable`] is the seam to whoever keeps them. [`Transient`] keeps them in memory: for plans, of which nothing is kept, for
//! `describe`, tests and benches.

use crate::limits::LimitExceeded;
use async_trait::async_trait;
use rota_authority::{MemoryLedger, Outcome, RecordedEffect};
use rota_contract::Error;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is known of a step when it is begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nobody did it before. It is on record now that this attempt has begun it.
    Fresh,
    /// It was completed, with this result (JSON).
    Done(String),
    /// An earlier attempt began it and did not complete it: the effects on record since then, the oldest first. It counts as begun
    /// by this attempt now.
    InDoubt(Vec<EffectSeen>),
}

/// An effect on record, as a guest in doubt sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectSeen {
    /// The import.
    pub operation: String,
    /// The binding and the object.
    pub target: String,
    /// What a person judges it by. Secrets masked.
    pub detail: String,
    /// How it ended.
    pub outcome: SeenOutcome,
}

/// How an effect on record ended, as far as a guest in doubt needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenOutcome {
    /// It happened; what the target said.
    Done(String),
    /// It failed; what the target said.
    Failed(String),
    /// Interrupted, or without an outcome: nobody knows.
    Unknown,
}

impl From<&RecordedEffect> for EffectSeen {
    fn from(effect: &RecordedEffect) -> Self {
        let outcome = match &effect.outcome {
            Some(Outcome::Done(said)) => SeenOutcome::Done(said.clone()),
            Some(Outcome::Failed(said)) => SeenOutcome::Failed(said.clone()),
            Some(Outcome::Planned | Outcome::Interrupted) | None => SeenOutcome::Unknown,
        };
        Self {
            operation: effect.record.operation.to_owned(),
            target: effect.record.target.clone(),
            detail: effect.record.detail.clone(),
            outcome,
        }
    }
}

/// Why a step or a compensation could not be recorded. What it guards must not be done then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurableError {
    /// The step is begun in this attempt and not completed, or was completed by somebody else meanwhile.
    #[error("{0}")]
    Conflict(String),
    /// A limit of the run is used up.
    #[error(transparent)]
    Quota(#[from] LimitExceeded),
    /// This host no longer holds the run: another one may be at it.
    #[error("this host no longer holds the run")]
    LeaseLost,
    /// It cannot be recorded now.
    #[error("it could not be recorded: {0}")]
    Unavailable(String),
}

impl From<DurableError> for Error {
    fn from(error: DurableError) -> Self {
        match error {
            DurableError::Conflict(text) => Self::Conflict(text),
            DurableError::Quota(limit) => Self::Quota(limit.to_string()),
            DurableError::LeaseLost => Self::Cancelled,
            DurableError::Unavailable(_) => Self::Unavailable(error.to_string()),
        }
    }
}

/// Keeps the steps and compensations of one attempt's run.
///
/// Names, sizes and numbers were checked by the caller. What a call answered is durable when it returns; one that is dropped before may have
/// been recorded. The steps of a compensation come with names that begin with `undo `, so that they never meet the run's own.
#[async_trait]
pub trait Durable: Send + Sync + 'static {
    /// Begin a step in this attempt.
    ///
    /// # Errors
    /// `Conflict` when this attempt has begun it and not completed it.
    async fn begin_step(&self, name: &str) -> Result<Begun, DurableError>;

    /// Record a step's result (JSON). Only a step that this attempt has begun is completed.
    ///
    /// # Errors
    /// `Conflict` when it is not begun in this attempt, or completed already.
    async fn complete_step(&self, name: &str, result: &str) -> Result<(), DurableError>;

    /// Register a compensation with its state (JSON), as the last one; answers its number. One of this name that is registered gets the new
    /// state and keeps its number; one that was dismissed is registered anew.
    ///
    /// # Errors
    /// When it cannot be recorded; then what it would undo must not be done.
    async fn register_compensation(&self, name: &str, state: &str) -> Result<u32, DurableError>;

    /// A compensation is no longer wanted. One that is dismissed already is no error.
    ///
    /// # Errors
    /// When it cannot be recorded; it stays registered.
    async fn dismiss_compensation(&self, sequence: u32) -> Result<(), DurableError>;
}

/// A compensation that [`Transient`] holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransientCompensation {
    /// Its number, from 1.
    pub sequence: u32,
    /// Its name.
    pub name: String,
    /// Its state, JSON.
    pub state: String,
    /// Whether it was dismissed.
    pub dismissed: bool,
}

/// Keeps steps and compensations in memory. Clones share it; [`Transient::again`] is the same run's next attempt.
#[derive(Clone, Default)]
pub struct Transient {
    attempt: u32,
    kept: Arc<Mutex<Kept>>,
    ledger: Option<Arc<MemoryLedger>>,
}

#[derive(Default)]
struct Kept {
    steps: BTreeMap<String, Step>,
    compensations: Vec<TransientCompensation>,
}

/// A step on record.
struct Step {
    attempt: u32,
    result: Option<String>,
    /// How many effects were on record when it was begun first.
    effects_before: usize,
}

impl Transient {
    /// Nothing kept yet; a step in doubt shows the effects of this ledger.
    pub fn with_ledger(ledger: Arc<MemoryLedger>) -> Self {
        Self { ledger: Some(ledger), ..Self::default() }
    }

    /// The next attempt of the same run.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { attempt: self.attempt + 1, ..self.clone() }
    }

    /// The steps on record, by name, each with its result once it is completed.
    pub fn steps(&self) -> Vec<(String, Option<String>)> {
        self.lock().steps.iter().map(|(name, step)| (name.clone(), step.result.clone())).collect()
    }

    /// The compensations, in the order of their registration.
    pub fn compensations(&self) -> Vec<TransientCompensation> {
        self.lock().compensations.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn effects(&self) -> Vec<RecordedEffect> {
        self.ledger.as_ref().map(|ledger| ledger.effects()).unwrap_or_default()
    }
}

#[async_trait]
impl Durable for Transient {
    async fn begin_step(&self, name: &str) -> Result<Begun, DurableError> {
        let effects = self.effects();
        let mut kept = self.lock();
        let Some(step) = kept.steps.get_mut(name) else {
            let step = Step { attempt: self.attempt, result: None, effects_before: effects.len() };
            kept.steps.insert(name.to_owned(), step);
            return Ok(Begun::Fresh);
        };
        match &step.result {
            Some(result) => Ok(Begun::Done(result.clone())),
            None if step.attempt == self.attempt => Err(busy(name)),
            None => {
                step.attempt = self.attempt;
                Ok(Begun::InDoubt(effects.iter().skip(step.effects_before).map(EffectSeen::from).collect()))
            }
        }
    }

    async fn complete_step(&self, name: &str, result: &str) -> Result<(), DurableError> {
        match self.lock().steps.get_mut(name) {
            Some(step) if step.attempt == self.attempt && step.result.is_none() => {
                step.result = Some(result.to_owned());
                Ok(())
            }
            _ => Err(DurableError::Conflict(format!("the step `{name}` is not under way in this attempt"))),
        }
    }

    async fn register_compensation(&self, name: &str, state: &str) -> Result<u32, DurableError> {
        let mut kept = self.lock();
        let registered = kept.compensations.iter_mut().find(|known| known.name == name && !known.dismissed);
        if let Some(registered) = registered {
            state.clone_into(&mut registered.state);
            return Ok(registered.sequence);
        }
        let sequence = u32::try_from(kept.compensations.len()).unwrap_or(u32::MAX).saturating_add(1);
        let (name, state) = (name.to_owned(), state.to_owned());
        kept.compensations.push(TransientCompensation { sequence, name, state, dismissed: false });
        Ok(sequence)
    }

    async fn dismiss_compensation(&self, sequence: u32) -> Result<(), DurableError> {
        if let Some(known) = self.lock().compensations.iter_mut().find(|known| known.sequence == sequence) {
            known.dismissed = true;
        }
        Ok(())
    }
}

/// What a step answers that this attempt has begun and not completed.
fn busy(name: &str) -> DurableError {
    DurableError::Conflict(format!(
        "the step `{name}` is under way in this attempt already; give each step a name of its own, and complete one before it is begun again"
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rota_authority::{EffectClass, EffectRecord, Ledger as _};

    fn effect(target: &str) -> EffectRecord {
        EffectRecord {
            capability: "sql",
            operation: "sql.execute",
            target: target.into(),
            access: "write".into(),
            detail: "insert".into(),
            class: EffectClass::Write,
            planned: false,
        }
    }

    #[tokio::test]
    async fn a_completed_step_answers_its_result_in_every_attempt() {
        let first = Transient::default();
        assert_eq!(first.begin_step("a").await, Ok(Begun::Fresh));
        first.complete_step("a", "41").await.unwrap();
        assert_eq!(first.begin_step("a").await, Ok(Begun::Done("41".into())));
        assert_eq!(first.again().begin_step("a").await, Ok(Begun::Done("41".into())));
        assert!(matches!(first.complete_step("a", "42").await, Err(DurableError::Conflict(_))));
    }

    #[tokio::test]
    async fn a_step_is_busy_in_its_attempt_and_in_doubt_in_the_next_with_its_effects() {
        let ledger = Arc::new(MemoryLedger::default());
        let first = Transient::with_ledger(ledger.clone());
        ledger.begin(effect("before")).await.unwrap();
        assert_eq!(first.begin_step("a").await, Ok(Begun::Fresh));
        ledger.begin(effect("done")).await.unwrap();
        ledger.finish(2, Outcome::Done("1 row".into())).await.unwrap();
        ledger.begin(effect("lost")).await.unwrap();
        let Err(DurableError::Conflict(text)) = first.begin_step("a").await else { panic!("not busy") };
        assert!(text.contains("`a`"), "{text}");
        let second = first.again();
        let Ok(Begun::InDoubt(seen)) = second.begin_step("a").await else { panic!("not in doubt") };
        let seen: Vec<_> = seen.iter().map(|seen| (seen.target.as_str(), &seen.outcome)).collect();
        assert_eq!(seen, [("done", &SeenOutcome::Done("1 row".into())), ("lost", &SeenOutcome::Unknown)]);
        assert!(first.complete_step("a", "1").await.is_err(), "the attempt that was left behind completes nothing");
        second.complete_step("a", "2").await.unwrap();
        assert_eq!(first.steps(), [("a".to_owned(), Some("2".to_owned()))]);
    }

    #[tokio::test]
    async fn a_name_is_registered_once_until_it_is_dismissed() {
        let kept = Transient::default();
        assert_eq!(kept.register_compensation("a", "1").await, Ok(1));
        assert_eq!(kept.register_compensation("b", "2").await, Ok(2));
        assert_eq!(kept.again().register_compensation("a", "3").await, Ok(1));
        kept.dismiss_compensation(1).await.unwrap();
        kept.dismiss_compensation(1).await.unwrap();
        assert_eq!(kept.register_compensation("a", "4").await, Ok(3));
        let all: Vec<_> =
            kept.compensations().into_iter().map(|known| (known.name, known.state, known.dismissed)).collect();
        let wanted = [("a", "3", true), ("b", "2", false), ("a", "4", false)];
        assert_eq!(all, wanted.map(|(name, state, dismissed)| (name.to_owned(), state.to_owned(), dismissed)));
    }

    #[test]
    fn each_error_has_its_case_of_the_contract() {
        let of = |error: DurableError| Error::from(error).kind();
        assert_eq!(of(busy("a")), "conflict");
        assert_eq!(of(DurableError::Quota(LimitExceeded::new("steps", 3, "steps"))), "quota");
        assert_eq!(of(DurableError::LeaseLost), "cancelled");
        assert_eq!(of(DurableError::Unavailable("full".into())), "unavailable");
    }
}
