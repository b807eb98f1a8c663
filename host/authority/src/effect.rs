//! From an authorised call to a recorded effect.

use crate::Mode;
use crate::allowance::AllowanceError;
use crate::gate::{Authorized, Denied, Gate};
use crate::kind::Kind;
use crate::ledger::{EffectRecord, Ledger, LedgerError};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// What is compared where a run is held to a plan.
    pub exact: Exact,
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
    /// What would leave with it is more than the run's team may send today, or cannot be counted.
    #[error(transparent)]
    UsedUp(#[from] AllowanceError),
    /// The run is told to stop: nothing new begins.
    #[error("the run is being cancelled")]
    Stopped,
    /// It could not be recorded.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Everything that an effect is made of, without what is shortened or left out for people: what a run that is held to a plan is compared by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exact {
    hash: Option<[u8; 32]>,
    /// So many bytes go to the target with it; what is streamed to it is counted as it goes.
    bytes: u64,
}

impl Exact {
    /// Of its parts, each as it is. (Lengths go in as well, so that two parts are not one.) All of it goes to the target, unless
    /// [`Exact::carrying`] says otherwise.
    pub fn of<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut hash = Sha256::new();
        let mut bytes = 0_u64;
        for part in parts {
            let part = part.as_ref();
            hash.update(part.len().to_le_bytes());
            hash.update(part);
            bytes = bytes.saturating_add(part.len() as u64);
        }
        Self { hash: Some(hash.finalize().into()), bytes }
    }

    /// The same with more that is not shown; of what is shown it makes nothing.
    #[must_use]
    pub fn with(self, more: Option<impl AsRef<[u8]>>) -> Self {
        match (self.hash, more) {
            (Some(parts), Some(more)) => Self { hash: Self::of([&parts[..], more.as_ref()]).hash, ..self },
            _ => self,
        }
    }

    /// What is shown is all of it.
    pub fn shown() -> Self {
        Self::default()
    }

    /// The same, of which so many bytes go to the target.
    #[must_use]
    pub fn carrying(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }
}

/// An effect of a plan, as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedEffect {
    slot: String,
    operation: &'static str,
    target: String,
    /// The detail, where it is all there is to compare.
    detail: Option<String>,
    exact: Exact,
}

impl PlannedEffect {
    fn new(slot: &str, record: &EffectRecord, exact: Exact) -> Self {
        Self {
            slot: slot.to_owned(),
            operation: record.operation,
            target: record.target.clone(),
            detail: exact.hash.is_none().then(|| record.detail.clone()),
            exact,
        }
    }
}

/// The plan that a run is to be held to.
#[derive(Clone, Debug, Default)]
pub enum Agreement {
    /// None: what is granted may happen.
    #[default]
    None,
    /// The run is the plan: its effects are noted here, for the run that will be held to them.
    Noted(Arc<Mutex<Vec<PlannedEffect>>>),
    /// Somebody agreed to these: on each slot they happen in their order, each after the compensations that the plan has before it, and
    /// no others.
    Held(Vec<PlannedEffect>),
}

/// What is left of a plan that a run is held to, slot by slot, each effect with its place in the whole plan.
#[derive(Debug, Default)]
pub(crate) struct Agreed(BTreeMap<String, VecDeque<(usize, PlannedEffect)>>);

/// The queue of what is left with the host itself: compensations.
const WITH_THE_HOST: &str = "";

impl Agreed {
    pub(crate) fn new(plan: Vec<PlannedEffect>) -> Self {
        let mut left: BTreeMap<String, VecDeque<(usize, PlannedEffect)>> = BTreeMap::new();
        for (place, effect) in plan.into_iter().enumerate() {
            left.entry(effect.slot.clone()).or_default().push_back((place, effect));
        }
        Self(left)
    }

    /// Take the next of its slot. False: it is another, or what would undo it is not registered yet although the plan had it before.
    fn take(&mut self, effect: &PlannedEffect) -> bool {
        let registers = self.0.get(WITH_THE_HOST).and_then(VecDeque::front).map(|(place, _)| *place);
        let Some(left) = self.0.get_mut(&effect.slot) else { return false };
        let is_next = left.front().is_some_and(|(place, next)| {
            next == effect && (effect.slot == WITH_THE_HOST || registers.is_none_or(|registers| *place < registers))
        });
        if is_next {
            left.pop_front();
        }
        is_next
    }

    /// What was agreed to and has not begun, in the order of the plan: operation and target.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left: Vec<&(usize, PlannedEffect)> = self.0.values().flatten().collect();
        left.sort_by_key(|(place, _)| *place);
        left.into_iter().map(|(_, effect)| format!("{} ({})", effect.operation, effect.target)).collect()
    }
}

impl Gate {
    /// Note an effect of a plan, or see that the plan which the run is held to, if any, has it next on its slot.
    fn compare(&self, slot: &str, record: &EffectRecord, exact: Exact) -> Result<(), EffectRefused> {
        if let Some(noted) = &self.noted {
            let effect = PlannedEffect::new(slot, record, exact);
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(effect);
            return Ok(());
        }
        let mut agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(agreed) = agreed.as_mut() else { return Ok(()) };
        if agreed.take(&PlannedEffect::new(slot, record, exact)) {
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
        let planned = self.mode == Mode::Plan;
        let Effect { object: target, detail, class, exact } = effect;
        let record = EffectRecord { capability, operation, target, access: String::new(), detail, class, planned };
        // What is left with the host is agreed to as well: it may have effects of its own later.
        self.compare(WITH_THE_HOST, &record, exact)?;
        if !planned {
            return Ok(false);
        }
        self.charge()?;
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
        let bytes = effect.exact.bytes;
        gate.compare(&self.grant.slot, &record, effect.exact)?;
        if let Some(allowance) = gate.allowance().filter(|_| !planned && bytes > 0) {
            allowance.send(bytes).await?;
        }
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
