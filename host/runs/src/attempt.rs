//! One attempt of a run that this process holds: the guest runs under the lease, and what it does is recorded under it.

use crate::artifacts::Artifacts;
use crate::durable::Durable;
use crate::ended::{EndOfAttempt, doubt, end_of, error, tell_left_out};
use crate::held::{Held, Stop};
use crate::host::Host;
use crate::metrics::Publisher;
use crate::observer::{Recorder, Watcher};
use crate::patient::PatientLedger;
use crate::prepare::Prepared;
use crate::share::{NotAdmitted, Share};
use rota_authority::{Gate, Mode, Quotas, RunIdentity};
use rota_capability::tape::Tape;
use rota_capability::{LogLevel, RunContext, RunFacts};
use rota_contract::Report;
use rota_protocol::{AfterAttempt, AttemptEnd, End, LOST_ATTEMPTS, RunState};
use rota_store::{AfterRun, AttemptEnded, AttemptRecord, Claimed, EffectRow, RunRow, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// How long is waited before a store that is away is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// A claimed run with what it takes to do it.
pub(crate) struct Doing {
    pub(crate) claimed: Claimed,
    pub(crate) prepared: Prepared,
    pub(crate) held: Arc<Held>,
    pub(crate) watcher: Arc<dyn Watcher>,
}

impl Host {
    /// Make the attempt, and put its end on record. None: the lease is lost, and what follows is its successor's.
    pub(crate) async fn attempt(&self, doing: &Doing) -> Option<AttemptEnded> {
        let Doing { claimed, prepared, held, .. } = doing;
        let share = match self.admit(doing).await {
            Ok(share) => share,
            Err(refused) => return refused,
        };
        let recorder = self.recorder(doing);
        let durable = Arc::new(Durable::of_attempt(self, doing));
        let recording = self.begin_recording(doing, &recorder).await;
        let tape = recording.as_ref().map_or(Tape::Live, |recording| recording.tape());
        let context = self.context(claimed, prepared, held, recorder.clone(), durable, tape, share.as_ref());
        if let Some(dialogue) = &prepared.dialogue {
            context.converse(dialogue);
        }
        let sandbox = self.plugins().sandbox();
        let finished = sandbox.run(&prepared.loaded.plugin, context.clone(), &prepared.parameters, &held.cancel).await;
        // What was dropped with the store tells its targets now.
        self.settle().await;
        if let Some(share) = &share {
            share.settle(finished.cpu).await;
        }
        if let Some(publisher) = &recorder.publisher {
            self.metrics().published_all(publisher);
        }
        let told = recording.is_some().then(|| crate::recording::end_of(&finished));
        let mut end = end_of(finished, held.stopped(), &context, prepared);
        // Asking costs a commit on each lane of the store: what had no effect, in this attempt and before it, is not asked about.
        if end.end == AttemptEnd::Reported && (held.may_have_effects() || claimed.attempt > 1) {
            match self.effects_until(held).await {
                Ok(effects) => {
                    if let Some(doubt) = doubt(&effects) {
                        (end.end, end.error) = (AttemptEnd::InDoubt, Some(doubt));
                    }
                }
                Err(error) => tracing::warn!(run = held.run, %error, "the run's effects could not be looked at"),
            }
        }
        // Of one that is talked with, each statement is judged by whoever talks.
        if end.end == AttemptEnd::Reported
            && prepared.dialogue.is_none()
            && let Some(report) = &mut end.report
        {
            tell_left_out(report, &context.gate.left_of_plan());
        }
        let bad = self.bad_report(claimed, prepared, &end);
        if let Some(bad) = &bad {
            end.error = Some(bad.clone());
        }
        if let Some(error) = &end.error {
            context.log(LogLevel::Error, "host", &rota_telemetry::mask(&error.message), &[]);
        }
        if let (Some(recording), Some(told)) = (recording, told) {
            let succeeded = end.end == AttemptEnd::Reported && bad.is_none();
            recording.finish(&told, succeeded, &context).await;
        }
        let mut record = record(claimed, end, recorder.dropped.load(Ordering::Relaxed));
        if bad.is_some() {
            record.after = AfterRun::End(End::Failed);
        }
        self.end(held, record).await
    }

    /// Count a run of a team in; or the end of the attempt, where the team has nothing left today, or that cannot be asked.
    async fn admit(&self, doing: &Doing) -> Result<Option<Arc<Share>>, Option<AttemptEnded>> {
        let Some((team, _)) = &doing.prepared.team else { return Ok(None) };
        let held = &doing.held;
        loop {
            match Share::begin(self.store().clone(), &held.run, team.clone()).await {
                Ok(share) => return Ok(Some(share)),
                Err(NotAdmitted::UsedUp(used_up)) => {
                    self.metrics().team_refused(&team.name, used_up.setting);
                    return Err(self.deny(&doing.claimed, held, "quota", &used_up.to_string()).await);
                }
                Err(NotAdmitted::Store(error)) if error.is_passing() && Instant::now() < held.proven_until() => {
                    tracing::debug!(run = held.run, %error, "a run waits for the store, to be counted for its team");
                    tokio::time::sleep(AGAIN).await;
                }
                Err(NotAdmitted::Store(error)) => {
                    tracing::error!(run = held.run, %error, "a run could not be counted for its team; the run will be taken over");
                    return Err(None);
                }
            }
        }
    }

    /// The run is not begun: its team may not do that, or no more of it today. No other host would.
    pub(crate) async fn deny(&self, claimed: &Claimed, held: &Held, kind: &str, said: &str) -> Option<AttemptEnded> {
        let hint = Some("rota teams show says what the team may, and what it has used".into());
        let end = EndOfAttempt { end: AttemptEnd::Denied, report: None, error: Some(error(kind, said, hint)) };
        self.end(held, record(claimed, end, 0)).await
    }

    /// Why a run that reported counts as failed all the same: its job's `fail_on`. What it did stays: nothing is undone.
    fn bad_report(&self, claimed: &Claimed, prepared: &Prepared, end: &EndOfAttempt) -> Option<crate::ErrorView> {
        use rota_config::FailOn;
        use rota_contract::Severity;
        if end.end != AttemptEnd::Reported || prepared.mode == rota_authority::Mode::Plan {
            return None;
        }
        let settings = self.settings();
        let fail_on = settings.jobs.get(claimed.row.run.job.as_deref()?)?.fail_on;
        let report = end.report.as_ref()?;
        let counts = match fail_on {
            FailOn::Never => false,
            FailOn::Warning => report.status != Severity::Ok,
            FailOn::Unknown => matches!(report.status, Severity::Unknown | Severity::Critical),
            FailOn::Critical => report.status == Severity::Critical,
        };
        counts.then(|| {
            error(
                "report",
                format!("the procedure did its work, and its report is {}: {}", report.status.as_str(), report.summary),
                Some(format!(
                    "the job counts that as a failure (fail_on = \"{fail_on}\"); its findings say what to do"
                )),
            )
        })
    }

    /// The run cannot even be begun here; and why. Where another host serves, it is left to that one.
    pub(crate) async fn refuse(&self, claimed: &Claimed, held: &Held, said: &str) -> Option<AttemptEnded> {
        let policy = &claimed.row.run.policy;
        if claimed.attempt <= policy.retry.limit.saturating_add(LOST_ATTEMPTS)
            && self.leaves_to_others(claimed, held).await
        {
            tracing::warn!(run = held.run, %said, "the run cannot be begun here, and is left to another host");
            let error =
                error("not-begun", format!("this host cannot begin it, and leaves it to another: {said}"), None);
            let end = EndOfAttempt { end: AttemptEnd::HandedBack, report: None, error: Some(error) };
            let record =
                AttemptRecord { after: AfterRun::Retry { wait: rota_protocol::Span(0) }, ..record(claimed, end, 0) };
            return self.end(held, record).await;
        }
        let end = EndOfAttempt {
            end: AttemptEnd::Failed(rota_protocol::Fault::Lasting),
            report: None,
            error: Some(error("not-begun", said, Some("rota config check and rota plugins list say more".into()))),
        };
        self.end(held, record(claimed, end, 0)).await
    }

    /// Whether somebody else may be able to do what this host cannot. From now on it claims no run of the job for a while.
    pub(crate) async fn leaves_to_others(&self, claimed: &Claimed, held: &Held) -> bool {
        let run = &claimed.row.run;
        if run.policy.alone || !self.others_serve(&held.fence.holder).await {
            return false;
        }
        // A run that is claimed again goes round only as long as its attempts last; an undo has none, and is left once.
        self.unable().note(run.job.as_deref().unwrap_or_default()) || !claimed.undo
    }

    /// Whether another host than this one takes runs.
    pub(crate) async fn others_serve(&self, me: &rota_protocol::Incarnation) -> bool {
        let hosts = self.store().hosts().await.unwrap_or_default();
        hosts.iter().any(|host| host.alive && !host.draining && host.host.capacity > 0 && host.host.incarnation != *me)
    }

    /// Put the end of an attempt on record, for as long as the lease certainly lasts.
    async fn end(&self, held: &Held, record: AttemptRecord) -> Option<AttemptEnded> {
        if record.outcome == AttemptEnd::Vanished {
            return None;
        }
        loop {
            match self.store().end_attempt(&held.run, &held.fence, record.clone()).await {
                Ok(ended) => return Some(ended),
                Err(StoreError::LeaseLost { lost: why, .. }) => {
                    tracing::warn!(run = held.run, %why, "the end of an attempt came too late to be recorded");
                    return None;
                }
                Err(error) if error.is_passing() && Instant::now() < held.proven_until() => {
                    tracing::warn!(run = held.run, %error, "the end of an attempt is not recorded yet");
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => {
                    tracing::error!(run = held.run, %error, "the end of an attempt could not be recorded; the run will be taken over");
                    return None;
                }
            }
        }
    }

    /// The effects of a run, asked for until the lease is over.
    pub(crate) async fn effects_until(&self, held: &Held) -> Result<Vec<EffectRow>, StoreError> {
        loop {
            let asked = async {
                self.store().flush().await?;
                self.store().effects(&held.run).await
            };
            match asked.await {
                Err(error) if error.is_passing() && held.stopped() != Some(Stop::LeaseLost) => {
                    tokio::time::sleep(AGAIN).await;
                }
                answer => return answer,
            }
        }
    }

    pub(crate) fn recorder(&self, doing: &Doing) -> Arc<Recorder> {
        let Doing { claimed, held, watcher, .. } = doing;
        let run = &claimed.row.run;
        Arc::new(Recorder {
            run: held.run.clone(),
            store: self.store().clone(),
            watcher: watcher.clone(),
            held: held.clone(),
            metrics: self.metrics().clone(),
            publisher: (doing.prepared.mode == Mode::Execute).then(|| Publisher {
                job: run.job.clone().unwrap_or_else(|| run.plugin.clone()),
                run: held.run.clone(),
            }),
            artifacts: Artifacts::of_run(&self.settings(), doing.prepared.mode),
            dropped: AtomicU64::new(0),
        })
    }

    /// What everything that works for the run shares.
    #[allow(clippy::too_many_arguments)] // What a run is made of; each is of another kind.
    pub(crate) fn context(
        &self,
        claimed: &Claimed,
        prepared: &Prepared,
        held: &Arc<Held>,
        recorder: Arc<Recorder>,
        durable: Arc<Durable>,
        tape: Tape,
        share: Option<&Arc<Share>>,
    ) -> Arc<RunContext> {
        let run = &claimed.row.run;
        let descriptor = &prepared.loaded.descriptor;
        let identity =
            RunIdentity { run: run.id.clone(), job: run.job.clone().unwrap_or_else(|| descriptor.name.clone()) };
        let quotas = Quotas { effects: prepared.limits.effects };
        let ledger = match share {
            Some(share) => self.store().team_ledger(&run.id, &held.fence, share.team(), share.effects()),
            None => self.store().ledger(&run.id, &held.fence),
        };
        let ledger = Arc::new(PatientLedger { ledger, held: held.clone() });
        let grants = prepared.grants.iter().map(|g| rota_authority::Grant {
            slot: g.slot.clone(),
            binding_name: g.binding_name.clone(),
            binding: g.binding.clone(),
            accesses: g.accesses.clone(),
        });
        let gate = Gate::held(identity, prepared.mode, quotas, ledger, grants, prepared.agreement.clone());
        if let Some(share) = share {
            gate.share(share.clone());
        }
        let facts = RunFacts {
            id: run.id.clone(),
            attempt: claimed.attempt,
            job: run.job.clone(),
            trigger: prepared.trigger,
            started_at: SystemTime::now(),
            slots: descriptor.slots.iter().map(|slot| slot.name.clone()).collect(),
        };
        let mut limits = prepared.limits.clone();
        limits.wall = limits.wall.min(left(&claimed.row).unwrap_or(limits.wall));
        RunContext::taped(gate, facts, limits, recorder, durable, tape)
    }
}

/// The record of an end, with what follows it.
fn record(claimed: &Claimed, end: EndOfAttempt, dropped_log_lines: u64) -> AttemptRecord {
    AttemptRecord {
        outcome: end.end,
        after: after(&claimed.row, claimed.attempt, end.end),
        report: end.report.as_ref().and_then(masked),
        error: end.error.and_then(|error| serde_json::to_string(&error).ok()),
        dropped_log_lines,
    }
}

fn after(row: &RunRow, attempt: u32, end: AttemptEnd) -> AfterRun {
    let policy = &row.run.policy;
    // A plan is made by a person who waits for it.
    let idempotent = policy.idempotent && row.run.mode == "execute";
    match policy.retry.after(end, attempt, idempotent, rand::random::<f64>()) {
        AfterAttempt::Retry { wait } if over(row, wait) => {
            AfterRun::End(if end == AttemptEnd::TimedOut { End::TimedOut } else { End::Failed })
        }
        AfterAttempt::Retry { wait } => AfterRun::Retry { wait },
        AfterAttempt::End(end) => AfterRun::End(end),
    }
}

/// What is left of the run's time over all attempts, while it runs; at least a moment.
fn left(row: &RunRow) -> Option<Duration> {
    let limit = Duration::from(row.run.policy.run_timeout.filter(|_| row.state == RunState::Running)?);
    let used = (chrono::Utc::now() - row.started_at?).to_std().unwrap_or_default();
    Some(limit.saturating_sub(used).max(Duration::from_millis(1)))
}

/// Whether the run's time over all attempts would be over before the next one.
fn over(row: &RunRow, wait: rota_protocol::Span) -> bool {
    let (Some(limit), Some(started)) = (row.run.policy.run_timeout, row.started_at) else { return false };
    let used = (chrono::Utc::now() - started).num_microseconds().unwrap_or(i64::MAX);
    used.saturating_add(wait.0) >= limit.0
}

/// A report with secrets masked: what a guest read may hold what it was never given. Only texts are masked, never the names
/// of fields, so that a secret that is also a field's name cannot break the report.
fn masked(report: &Report) -> Option<String> {
    let mut value = serde_json::to_value(report).ok()?;
    mask_texts(&mut value);
    serde_json::to_string(&value).ok()
}

pub(crate) fn mask_texts(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::String(text) => {
            if let std::borrow::Cow::Owned(masked) = rota_telemetry::mask(text) {
                *text = masked;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask_texts),
        Value::Object(fields) => fields.values_mut().for_each(mask_texts),
        // A secret may be digits alone; its place is taken by a text, as the store does it.
        Value::Number(number) => {
            if let std::borrow::Cow::Owned(masked) = rota_telemetry::mask(&number.to_string()) {
                *value = Value::String(masked);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}
