//! Carrying out the compensations of a run that did not finish: last registered first, each in a fresh instance of the component
//! that registered it, under the lease.

use crate::attempt::Doing;
use crate::durable::Durable;
use crate::ended::doubt;
use crate::held::{Held, Stop};
use crate::host::Host;
use crate::patient::patiently;
use crate::prepare::Prepared;
use crate::share::Share;
use rota_authority::Agreement;
use rota_capability::LogLevel;
use rota_capability::tape::Tape;
use rota_config::Record;
use rota_protocol::{AfterCompensation, RunState, Span};
use rota_sandbox::Ended;
use rota_store::{Claimed, CompensationRow, NextUndo, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// A wait that is longer is not waited for by whoever holds the run: it gives the run back until then.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How the undo of a run ended here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undone {
    /// The run is over.
    Final(RunState),
    /// It goes on later, elsewhere.
    Later,
    /// The lease is lost.
    Lost,
}

impl Host {
    /// Carry out what is open, and end the run.
    pub(crate) async fn undo(&self, doing: &Doing) -> Undone {
        doing.held.undoing();
        match self.undo_all(doing).await {
            Ok(undone) => undone,
            Err(error) => {
                tracing::warn!(run = doing.held.run, %error, "the undo of a run stops here; whoever holds it next goes on");
                Undone::Lost
            }
        }
    }

    async fn undo_all(&self, doing: &Doing) -> Result<Undone, StoreError> {
        let (held, store) = (&doing.held, self.store());
        let (run, fence) = (held.run.as_str(), &held.fence);
        loop {
            match held.stopped() {
                Some(Stop::HandBack) => {
                    patiently(held, || store.pause_undo(run, fence, Span(0))).await?;
                    return Ok(Undone::Later);
                }
                Some(Stop::LeaseLost) => return Ok(Undone::Lost),
                Some(Stop::Wish(_)) | None => {}
            }
            match patiently(held, || store.next_compensation(run, fence)).await? {
                NextUndo::Nothing => return patiently(held, || store.end_undo(run, fence)).await.map(Undone::Final),
                NextUndo::Later(wait) if Duration::from(wait) > LONGEST_WAIT => {
                    patiently(held, || store.pause_undo(run, fence, wait)).await?;
                    return Ok(Undone::Later);
                }
                NextUndo::Later(wait) => {
                    tokio::select! {
                        () = tokio::time::sleep(wait.into()) => {}
                        () = held.cancel_undo.cancelled() => {}
                    }
                }
                NextUndo::Now(compensation) => {
                    let error = self.compensate(doing, &compensation).await;
                    if error.is_some() && held.stopped().is_some() {
                        // It was stopped, which is no failure of its own: whoever holds the run next carries it out again.
                        continue;
                    }
                    let sequence = compensation.sequence;
                    let after =
                        patiently(held, || store.end_compensation(run, fence, sequence, error.as_deref())).await?;
                    if after == AfterCompensation::GiveUp {
                        tracing::error!(
                            run,
                            compensation = compensation.name,
                            error = error.as_deref().unwrap_or_default(),
                            "a compensation keeps failing: the run is compensation-failed; `rota runs retry RUN --undo` tries again, `rota runs settle RUN` ends it by hand"
                        );
                        return Ok(Undone::Final(RunState::CompensationFailed));
                    }
                }
            }
        }
    }

    /// Call the export; the error where it did not undo.
    async fn compensate(&self, doing: &Doing, compensation: &CompensationRow) -> Option<String> {
        let Doing { claimed, prepared, held, .. } = doing;
        let mut limits = prepared.limits.clone();
        limits.wall = claimed.row.run.policy.undo.timeout.into();
        let prepared = Prepared { limits, ..self.prepared_again(claimed, prepared) };
        let plugin = match self.plugin_of(&compensation.digest, &prepared).await {
            Ok(plugin) => plugin,
            Err(error) => return Some(error),
        };
        let recorder = self.recorder(doing);
        let durable = Arc::new(Durable::of_compensation(self, doing, compensation));
        let share = prepared.team.clone().map(|(team, _)| Share::of_undo(self.store().clone(), team));
        let context = self.context(claimed, &prepared, held, recorder, durable, Tape::Live, share.as_ref());
        context.log(
            LogLevel::Warn,
            "host",
            &format!("undoing `{}` (try {})", compensation.name, compensation.attempts),
            &[],
        );
        // What the run itself left under way is why it is undone, and says nothing of the compensation.
        let before = match self.effects_until(held).await {
            Ok(effects) => effects.iter().map(|effect| effect.sequence).max().unwrap_or(0),
            Err(error) => return Some(format!("the run's effects could not be looked at: {error}")),
        };
        let finished = self
            .plugins()
            .sandbox()
            .compensate(&plugin, context.clone(), &compensation.name, &compensation.state, &held.cancel_undo)
            .await;
        if let Some(share) = &share {
            share.settle(finished.cpu).await;
        }
        self.settle().await;
        let error = match finished.ended {
            Ended::Reported(_) => self.undone_for_sure(held, before).await,
            Ended::Failed(failure) => Some(failure.message),
            Ended::Limit(limit) => Some(limit.to_string()),
            // An undo is not held to its team's quotas.
            Ended::UsedUp(used_up) => Some(used_up.to_string()),
            Ended::Trapped(said) => Some(format!("the plugin broke off: {said}")),
            Ended::TimedOut(limit) => Some(format!("it was ended after {limit:?} (setting `undo.timeout` of the job)")),
            Ended::Cancelled(_) => Some("its host stopped it".into()),
            Ended::Host(said) => Some(said),
        };
        match &error {
            None => context.log(LogLevel::Info, "host", &format!("`{}` is undone", compensation.name), &[]),
            Some(error) => context.log(
                LogLevel::Error,
                "host",
                &rota_telemetry::mask(&format!("undoing `{}` failed: {error}", compensation.name)),
                &[],
            ),
        }
        error
    }

    /// Why a compensation that reported is not taken for done: it returned while effects of it were under way.
    async fn undone_for_sure(&self, held: &Held, before: u64) -> Option<String> {
        match self.effects_until(held).await {
            Ok(mut effects) => {
                effects.retain(|effect| effect.sequence > before);
                doubt(&effects).map(|doubt| doubt.message)
            }
            Err(error) => Some(format!("whether its effects ended is not known: {error}")),
        }
    }

    /// The same run once more, for a context of its own.
    fn prepared_again(&self, claimed: &Claimed, prepared: &Prepared) -> Prepared {
        Prepared {
            loaded: prepared.loaded.clone(),
            job: claimed.row.run.job.clone(),
            parameters: prepared.parameters.clone(),
            grants: grants_now(prepared),
            limits: prepared.limits.clone(),
            mode: prepared.mode,
            trigger: prepared.trigger,
            wanted: Vec::new(),
            team: prepared.team.clone(),
            ad_hoc: prepared.ad_hoc.clone(),
            // The function that undoes was agreed to when it was registered; what it does is in no plan.
            agreement: Agreement::None,
            // What a run did is recorded, not what undoes it.
            record: Record::Never,
            dialogue: None,
        }
    }
}

/// What was granted when the run began, and what somebody who talked with it granted meanwhile.
fn grants_now(prepared: &Prepared) -> Vec<rota_authority::Grant> {
    let mut grants: Vec<_> = prepared.grants.iter().map(crate::grants::same_grant).collect();
    for (slot, accesses) in prepared.dialogue.iter().flat_map(|dialogue| dialogue.granted()) {
        for grant in grants.iter_mut().filter(|grant| grant.slot == slot) {
            let more = accesses.iter().filter(|access| !grant.accesses.contains(access)).cloned();
            let more: Vec<String> = more.collect();
            grant.accesses.extend(more);
        }
    }
    grants
}
