//! From an authorised call to a recorded effect.

use crate::Mode;
use crate::gate::{Authorized, Denied, Gate};
use crate::kind::Kind;
use crate::ledger::{EffectRecord, Ledger, LedgerError};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// How much harm an effect does at worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectClass {
    /// Changes something that can be changed back or made again.
    Write,
    /// Can lose data or availability.
    Destructive,
}

impl EffectClass {
    /// The word in records and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Destructive => "destructive",
        }
    }
}

/// How an effect ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Recorded only: the run is a plan.
    Planned,
    /// It happened; what the target said of it (`3 rows`, `12 MB stored`).
    Done(String),
    /// The target refused it or broke it; what it said.
    Failed(String),
    /// The call was dropped before the target answered. Whether it happened is not known.
    Interrupted,
}

impl Outcome {
    /// The word in records and JSON, without the text.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Done(_) => "done",
            Self::Failed(_) => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// An effect that a capability is about to have.
#[derive(Clone, Debug)]
pub struct Effect {
    /// The object within the binding (`public.orders`, `daily/x.dump`), empty for the binding as a whole.
    pub object: String,
    /// What a person needs to judge it.
    pub detail: String,
    /// How much harm it does at worst.
    pub class: EffectClass,
}

/// What the run's mode makes of an effect.
#[must_use]
pub enum Decision<K: Kind> {
    /// The run is a plan: the effect is on its list and must not happen.
    Planned,
    /// The effect is on record and may happen now.
    Perform(Permit<K>),
}

/// Why an effect may not happen although it is authorised.
#[derive(Debug, thiserror::Error)]
pub enum EffectRefused {
    /// The run has had as many effects as it may.
    #[error(
        "the run has had its {limit} effects (limit `effects`); raise it with [jobs.NAME.limits] effects = N or --limit effects=N"
    )]
    Quota {
        /// The limit.
        limit: u64,
    },
    /// The run is held to a plan that somebody agreed to, and the effect is not in it, or no more. Counted as a denial of the run.
    #[error(transparent)]
    NotPlanned(Denied),
    /// The run is told to stop: nothing new begins.
    #[error("the run is being cancelled")]
    Stopped,
    /// It could not be recorded.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// An effect of a plan, as it is compared: by all that a person saw of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlannedEffect {
    /// The import.
    pub operation: String,
    /// The binding and the object.
    pub target: String,
    /// The statement with its values, the key and size, the arguments.
    pub detail: String,
}

/// What is left of a plan that a run is held to: how often each effect may still happen.
#[derive(Debug, Default)]
pub(crate) struct Agreed(BTreeMap<PlannedEffect, u64>);

impl Agreed {
    pub(crate) fn new(plan: impl IntoIterator<Item = PlannedEffect>) -> Self {
        let mut left = BTreeMap::new();
        for effect in plan {
            *left.entry(effect).or_insert(0) += 1;
        }
        Self(left)
    }

    /// Take one off. False: there is none left.
    fn take(&mut self, record: &EffectRecord) -> bool {
        let effect = PlannedEffect {
            operation: record.operation.to_owned(),
            target: record.target.clone(),
            detail: record.detail.clone(),
        };
        match self.0.get_mut(&effect) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}

impl Gate {
    /// Whether the plan that the run is held to, if any, has the effect.
    fn admit(&self, record: &EffectRecord) -> Result<(), EffectRefused> {
        let Some(agreed) = &self.agreed else { return Ok(()) };
        if agreed.lock().unwrap_or_else(PoisonError::into_inner).take(record) {
            return Ok(());
        }
        let detail = record.detail.lines().next().unwrap_or_default().chars().take(200).collect();
        let denied = Denied::NotPlanned { operation: record.operation, target: record.target.clone(), detail };
        self.note(denied.clone());
        Err(EffectRefused::NotPlanned(denied))
    }

    /// Charge the quota for one effect.
    fn charge(&self) -> Result<(), EffectRefused> {
        let limit = self.quotas.effects;
        if self.effects_begun.fetch_add(1, Ordering::Relaxed) >= limit {
            return Err(EffectRefused::Quota { limit });
        }
        Ok(())
    }

    /// List, in a plan, what the run would leave with the host itself: it reaches no target, so that there is no grant to ask for
    /// and no permit to mint. The quota is charged. False: the run is no plan, and nothing was listed.
    ///
    /// # Errors
    /// When the run's effects are used up or it cannot be recorded.
    pub async fn list_in_plan(
        &self,
        capability: &'static str,
        operation: &'static str,
        effect: Effect,
    ) -> Result<bool, EffectRefused> {
        if self.mode != Mode::Plan {
            return Ok(false);
        }
        self.charge()?;
        let Effect { object: target, detail, class } = effect;
        let record =
            EffectRecord { capability, operation, target, access: String::new(), detail, class, planned: true };
        self.ledger.begin(record).await?;
        Ok(true)
    }
}

impl<K: Kind> Authorized<K> {
    /// Decide on an effect: the quota is charged (also by a plan); in plan mode it is recorded as planned; else the effect is recorded, and a [`Permit`] minted.
    ///
    /// # Errors
    /// When the run's effects are used up or the effect cannot be recorded; it must not happen then, and cannot, for want of a permit.
    pub async fn effect(&self, effect: Effect) -> Result<Decision<K>, EffectRefused> {
        let gate = &self.gate;
        let planned = gate.mode == Mode::Plan;
        if gate.is_closed() {
            return Err(EffectRefused::Stopped);
        }
        gate.charge()?;
        let binding = &self.grant.binding_name;
        let record = EffectRecord {
            capability: K::CAPABILITY,
            operation: self.operation,
            target: if effect.object.is_empty() { binding.clone() } else { format!("{binding}: {}", effect.object) },
            access: self.needed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" + "),
            detail: effect.detail,
            class: effect.class,
            planned,
        };
        gate.admit(&record)?;
        let sequence = gate.ledger.begin(record).await?;
        if planned {
            return Ok(Decision::Planned);
        }
        Ok(Decision::Perform(Permit { authorized: self.clone(), sequence, ledger: Some(gate.ledger.clone()) }))
    }
}

/// The right to have one recorded effect. Finish it with its outcome; dropped before, it is recorded as interrupted.
#[must_use]
pub struct Permit<K: Kind> {
    authorized: Authorized<K>,
    sequence: u64,
    /// Taken by `finish`, so that the drop knows.
    ledger: Option<Arc<dyn Ledger>>,
}

impl<K: Kind> Permit<K> {
    /// The token it was made from.
    pub fn authorized(&self) -> &Authorized<K> {
        &self.authorized
    }

    /// The effect's number in the run.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Write down how the effect ended.
    ///
    /// # Errors
    /// When the outcome cannot be recorded; the effect has happened all the same, and stays on record without an outcome.
    pub async fn finish(mut self, outcome: Outcome) -> Result<(), LedgerError> {
        let Some(ledger) = self.ledger.take() else { return Ok(()) };
        // Put back while waiting, so that a drop in between is still recorded.
        let waiting = Interrupted { ledger: Some(ledger.clone()), sequence: self.sequence };
        let result = ledger.finish(self.sequence, outcome).await;
        waiting.disarm();
        result
    }

    /// Write down `done` or `failed` from a result, and hand the result on.
    ///
    /// # Errors
    /// The result's own error.
    pub async fn conclude<T, E: std::fmt::Display>(
        self,
        result: Result<T, E>,
        said: impl FnOnce(&T) -> String,
    ) -> Result<T, E> {
        let outcome = match &result {
            Ok(value) => Outcome::Done(said(value)),
            Err(error) => Outcome::Failed(error.to_string()),
        };
        if let Err(error) = self.finish(outcome).await {
            tracing::error!(%error, "the outcome of an effect could not be recorded");
        }
        result
    }
}

impl<K: Kind> Drop for Permit<K> {
    fn drop(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            ledger.interrupted(self.sequence);
        }
    }
}

struct Interrupted {
    ledger: Option<Arc<dyn Ledger>>,
    sequence: u64,
}

impl Interrupted {
    fn disarm(mut self) {
        self.ledger = None;
    }
}

impl Drop for Interrupted {
    fn drop(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            ledger.interrupted(self.sequence);
        }
    }
}
