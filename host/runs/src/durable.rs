//! Steps and compensations of a run, kept by the store under the lease.

use crate::attempt::Doing;
use crate::held::Held;
use crate::host::Host;
use crate::patient::patiently;
use async_trait::async_trait;
use rota_capability::{Begun, Durable as Keeping, DurableError, EffectSeen, LogLevel, SeenOutcome};
use rota_protocol::StepBegin;
use rota_store::{CompensationRow, EffectRow, Store, StoreError};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// The steps and compensations of one attempt, or of one compensation of it.
pub(crate) struct Durable {
    store: Arc<dyn Store>,
    held: Arc<Held>,
    /// The digest of the component that registers, and its bytes until they are kept.
    digest: String,
    component: OnceCell<()>,
    bytes: Arc<[u8]>,
    /// Of a compensation: which steps this try of it has begun. The store counts attempts of the run, and a compensation is tried several
    /// times within one; what an earlier try left open is in doubt.
    tried: Option<Mutex<HashSet<String>>>,
    /// Of a plan nothing is kept.
    plan: Option<rota_capability::Transient>,
}

impl Durable {
    /// Of an attempt.
    pub(crate) fn of_attempt(host: &Host, doing: &Doing) -> Self {
        let plan = doing.prepared.mode == rota_authority::Mode::Plan;
        Self {
            store: host.store().clone(),
            held: doing.held.clone(),
            digest: doing.prepared.loaded.plugin.digest().to_owned(),
            component: OnceCell::new(),
            bytes: doing.prepared.loaded.component.clone(),
            tried: None,
            plan: plan.then(rota_capability::Transient::default),
        }
    }

    /// Of a compensation: its steps are kept, and it registers none.
    pub(crate) fn of_compensation(host: &Host, doing: &Doing, compensation: &CompensationRow) -> Self {
        Self {
            digest: compensation.digest.clone(),
            tried: Some(Mutex::default()),
            plan: None,
            ..Self::of_attempt(host, doing)
        }
    }

    /// Keep the component before the first compensation that needs exactly it.
    async fn keep_component(&self) -> Result<(), DurableError> {
        let keep = || async {
            let kept = patiently(&self.held, || self.store.keep_component(&self.digest, &self.bytes));
            kept.await.map_err(refused)
        };
        self.component.get_or_try_init(keep).await.map(|_| ())
    }
}

/// What a store's refusal means for a step or compensation.
fn refused(error: StoreError) -> DurableError {
    match error {
        StoreError::LeaseLost { .. } => DurableError::LeaseLost,
        error => DurableError::Unavailable(error.to_string()),
    }
}

fn seen(effect: EffectRow) -> EffectSeen {
    let said = effect.said.unwrap_or_default();
    let outcome = match effect.outcome.as_str() {
        "done" => SeenOutcome::Done(said),
        "failed" => SeenOutcome::Failed(said),
        _ => SeenOutcome::Unknown,
    };
    EffectSeen { operation: effect.operation, target: effect.target, detail: effect.detail, outcome }
}

#[async_trait]
impl Keeping for Durable {
    async fn begin_step(&self, name: &str) -> Result<Begun, DurableError> {
        if let Some(plan) = &self.plan {
            return plan.begin_step(name).await;
        }
        let (run, fence) = (self.held.run.as_str(), &self.held.fence);
        let asked = AtomicU32::new(0);
        let begin = || {
            asked.fetch_add(1, Ordering::Relaxed);
            self.store.begin_step(run, fence, name)
        };
        let (mut begun, effects) = patiently(&self.held, begin).await.map_err(refused)?;
        if begun == StepBegin::Busy && asked.load(Ordering::Relaxed) > 1 {
            // It was this very call that began it, and the answer got lost.
            begun = StepBegin::InDoubt;
        }
        let first = match &self.tried {
            Some(tried) => tried.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned()),
            None => false,
        };
        match begun {
            StepBegin::Busy if first => Ok(Begun::InDoubt(effects.into_iter().map(seen).collect())),
            StepBegin::Fresh => Ok(Begun::Fresh),
            StepBegin::Done(result) => Ok(Begun::Done(result)),
            StepBegin::InDoubt => Ok(Begun::InDoubt(effects.into_iter().map(seen).collect())),
            StepBegin::Busy => Err(DurableError::Conflict(format!(
                "the step `{name}` is under way in this attempt already; give each step a name of its own, and complete one before it is begun again"
            ))),
        }
    }

    async fn complete_step(&self, name: &str, result: &str) -> Result<(), DurableError> {
        if matches!(rota_telemetry::mask(result), std::borrow::Cow::Owned(_)) {
            // Masked, a later attempt would go on with something else.
            return Err(DurableError::Conflict(format!(
                "the result of the step `{name}` holds a secret, which is kept nowhere"
            )));
        }
        match &self.plan {
            Some(plan) => plan.complete_step(name, result).await,
            None => {
                match patiently(&self.held, || self.store.complete_step(&self.held.run, &self.held.fence, name, result))
                    .await
                {
                    Err(error @ (StoreError::Misfit(_) | StoreError::Stale(_))) => {
                        Err(DurableError::Conflict(error.to_string()))
                    }
                    answer => answer.map_err(refused),
                }
            }
        }
    }

    async fn register_compensation(&self, name: &str, state: &str) -> Result<u32, DurableError> {
        if let Some(plan) = &self.plan {
            return plan.register_compensation(name, state).await;
        }
        if matches!(rota_telemetry::mask(state), std::borrow::Cow::Owned(_)) {
            // It goes on record, and masked it would undo something else.
            return Err(DurableError::Conflict(format!(
                "the state of the compensation `{name}` holds a secret; name a slot instead, which needs none"
            )));
        }
        self.keep_component().await?;
        let (run, fence) = (self.held.run.as_str(), &self.held.fence);
        let register = || self.store.register_compensation(run, fence, name, state, &self.digest);
        patiently(&self.held, register).await.map_err(refused)
    }

    async fn dismiss_compensation(&self, sequence: u32) -> Result<(), DurableError> {
        match &self.plan {
            Some(plan) => plan.dismiss_compensation(sequence).await,
            None => {
                let (run, fence) = (self.held.run.as_str(), &self.held.fence);
                let dismiss = || self.store.dismiss_compensation(run, fence, sequence);
                patiently(&self.held, dismiss).await.map_err(refused)
            }
        }
    }
}

impl Host {
    /// A run that is to be undone and cannot be done here at all: each compensation's try fails, and says why.
    pub(crate) async fn undo_fails(
        &self,
        claimed: &rota_store::Claimed,
        held: &crate::held::Held,
        said: &str,
    ) -> Option<rota_store::AttemptEnded> {
        use rota_protocol::{AfterCompensation, RunState};
        use rota_store::{AttemptEnded, NewLogLine, NextUndo};
        let store = self.store();
        let line = NewLogLine {
            time: chrono::Utc::now(),
            level: LogLevel::Error.as_str().into(),
            source: "host".into(),
            message: format!("nothing can be undone here: {said}"),
            fields: Vec::new(),
        };
        store.log(&claimed.row.run.id, line);
        if self.leaves_to_others(claimed, held).await {
            store.pause_undo(&held.run, &held.fence, rota_protocol::Span(0)).await.ok()?;
            return Some(AttemptEnded::Requeued);
        }
        loop {
            match store.next_compensation(&held.run, &held.fence).await.ok()? {
                NextUndo::Nothing => {
                    let state = store.end_undo(&held.run, &held.fence).await.ok()?;
                    return Some(AttemptEnded::Final(state));
                }
                NextUndo::Later(wait) => {
                    store.pause_undo(&held.run, &held.fence, wait).await.ok()?;
                    return Some(AttemptEnded::Requeued);
                }
                NextUndo::Now(next) => {
                    let after = store.end_compensation(&held.run, &held.fence, next.sequence, Some(said)).await.ok()?;
                    if after == AfterCompensation::GiveUp {
                        tracing::error!(run = held.run, said, "nothing can be undone: the run is compensation-failed");
                        return Some(AttemptEnded::Final(RunState::CompensationFailed));
                    }
                }
            }
        }
    }
}
