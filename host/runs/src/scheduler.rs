//! The scheduler: decides about instants of schedules when they are due, exactly once each, whichever host does.
//!
//! Every host's scheduler may decide about every schedule: each decision is compare-and-set in the store, so the others' come to
//! nothing. To save them the work, a host decides at once about the schedules of its own shard, and about others' only when they are late.

use crate::agenda::Agenda;
use crate::calendar::{Calendar, first};
use crate::host::Host;
use crate::instants::{Steps, before};
use crate::job::Occasion;
use crate::metrics::FireLabels;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;
use rota_protocol::{FireRefused, Incarnation, Span, WaitReason};
use rota_schedule::{Fire, Overlap, OverlapDecision, Schedule, ScheduleState};
use rota_store::{
    Decision, DecisionOutcome, Hint, Load, ScheduleChanges, ScheduleDefinition, ScheduleRow, StoreError, date,
};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What is decided about within so long after it was due is on time; later, the misfire policy says what becomes of it.
const TOLERANCE: Duration = Duration::from_secs(30);

/// Another host's shard that is late by so much is decided about here.
const LATE: TimeDelta = TimeDelta::seconds(2);

/// Schedules that are decided about at once.
const BATCH: u32 = 500;

/// Schedules whose jobs are looked at together: reads of the store that are under way at once.
const AT_ONCE: usize = 8;

/// So many polls are looked ahead, and waited when nothing is due in them: what changes meanwhile is hinted at. Late by so much is what changes without its
/// hint arriving.
const AHEAD: u32 = 3;

/// How often is looked which hosts share the schedules.
const RESHARD: Duration = Duration::from_secs(5);

/// How often is looked for schedules whose cursor has gone astray, and how many are mended then.
const RECONCILE: Duration = Duration::from_secs(60);
const ASTRAY: u32 = 1_000;

/// So many characters of why an instant was skipped are kept with it.
const LONGEST_REASON: usize = 500;

/// Fires the schedules of a host's configuration.
pub struct Scheduler {
    host: Arc<Host>,
    name: String,
    incarnation: Incarnation,
    poll: Duration,
    calendar: Calendar,
    shard: Mutex<Shard>,
}

/// Which part of the schedules this host decides about at once; looked up now and then.
#[derive(Default)]
struct Shard {
    looked: Option<Instant>,
    mine: Option<(i32, i32)>,
}

impl Scheduler {
    /// Of a host, under the name that decisions are recorded with.
    #[must_use]
    pub fn new(host: Arc<Host>, name: String, incarnation: Incarnation, poll: Duration) -> Self {
        Self { host, name, incarnation, poll, calendar: Calendar::default(), shard: Mutex::default() }
    }

    /// Make the store's schedules those of the configuration.
    ///
    /// # Errors
    /// When the store cannot be written: nothing is changed then.
    pub async fn apply(&self) -> Result<String, StoreError> {
        let definitions = self.definitions().await?;
        Ok(said(&self.host.store().apply_schedules(definitions, &self.name).await?))
    }

    /// What [`Scheduler::apply`] would change.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn changes(&self) -> Result<String, StoreError> {
        let definitions = self.definitions().await?;
        let rows = self.host.store().schedules().await?;
        let enabled: HashMap<&str, &ScheduleRow> =
            rows.iter().filter(|row| row.enabled).map(|row| (row.job.as_str(), row)).collect();
        let configured: HashSet<&str> = definitions.iter().map(|wanted| wanted.job.as_str()).collect();
        let mut changes = ScheduleChanges::default();
        for wanted in &definitions {
            match enabled.get(wanted.job.as_str()) {
                None => changes.new.push(wanted.job.clone()),
                Some(row) if row.definition != wanted.definition => changes.changed.push(wanted.job.clone()),
                Some(_) => changes.unchanged += 1,
            }
        }
        let gone = rows.iter().filter(|row| row.enabled && !configured.contains(row.job.as_str()));
        changes.disabled = gone.map(|row| row.job.clone()).collect();
        Ok(said(&changes))
    }

    async fn definitions(&self) -> Result<Vec<ScheduleDefinition>, StoreError> {
        let settings = self.host.settings();
        let now = date(self.host.store().now().await?);
        let mut all = Vec::new();
        for (job, configured) in &settings.jobs {
            let Some(schedule) = self.calendar.schedule(&settings, job).filter(|_| configured.enabled) else {
                continue;
            };
            let definition = serde_json::to_string(&configured.schedule).unwrap_or_default();
            let (next, fire_at) = first(&schedule, now);
            let hash = rota_sandbox::digest(definition.as_bytes());
            all.push(ScheduleDefinition { job: job.clone(), definition, hash, next, fire_at });
        }
        Ok(all)
    }

    /// Decide until told to stop.
    pub async fn fire_for_ever(self: Arc<Self>, stopped: watch::Receiver<bool>) {
        tokio::select! {
            () = self.decide_for_ever(stopped) => {}
            () = self.reconcile_for_ever() => {}
        }
    }

    async fn decide_for_ever(&self, stopped: watch::Receiver<bool>) {
        let mut hints = self.host.store().hints();
        let mut agenda = None;
        let mut followed: Option<Instant> = None;
        let mut trouble = Duration::ZERO;
        loop {
            // Where this host's jobs wait for no end, another configuration's may have left some.
            let waited_for = self.calendar.follows(&self.host.settings());
            // Half: what wakes this up between two polls does not put the next one off.
            let pause = if waited_for { self.poll / 2 } else { RECONCILE };
            if followed.is_none_or(|followed| followed.elapsed() >= pause) {
                followed = Some(Instant::now());
                if let Err(error) = self.host.follow_ended(&self.calendar, &self.name).await {
                    tracing::warn!(%error, "what follows ended runs cannot be seen to now");
                }
            }
            let wait = match self.fire(&mut agenda).await {
                Ok(wait) => {
                    trouble = Duration::ZERO;
                    // An end that is waited for has no hint.
                    if waited_for { wait.min(self.poll) } else { wait }
                }
                Err(error) => {
                    trouble = (trouble * 2).clamp(self.poll, Duration::from_secs(30));
                    tracing::warn!(%error, "schedules cannot be looked at now; tried again in {trouble:?}");
                    trouble
                }
            };
            let sleep = tokio::time::sleep(wait);
            tokio::pin!(sleep);
            loop {
                tokio::select! {
                    () = &mut sleep => break,
                    () = crate::told(stopped.clone()) => return,
                    hint = hints.recv() => match hint {
                        Ok(Hint::Schedules) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {
                            agenda.iter_mut().for_each(Agenda::hinted);
                            break;
                        }
                        Ok(_) => {}
                        Err(tokio::sync::broadcast::error::RecvError::Closed) => {
                            sleep.as_mut().await;
                            break;
                        }
                    },
                }
            }
        }
    }

    /// Decide about everything that is due; how long nothing more is. What was read ahead is empty where that could not be done.
    async fn fire(&self, ahead: &mut Option<Agenda>) -> Result<Duration, StoreError> {
        let mut agenda = match ahead.take() {
            Some(agenda) => agenda,
            None => self.read().await?,
        };
        loop {
            let due = agenda.due();
            if !due.is_empty() {
                agenda.ends(self.decide(due, agenda.now()).await?);
            } else if let Some(wait) = agenda.wait() {
                *ahead = Some(agenda);
                return Ok(wait);
            } else {
                agenda = self.read().await?;
            }
        }
    }

    /// What this host is to decide about within the next polls.
    async fn read(&self) -> Result<Agenda, StoreError> {
        let ahead = self.poll * AHEAD;
        let mut most = BATCH;
        loop {
            let (now, rows) = self.host.store().due_schedules(Span::from(ahead), most).await?;
            let now = date(now);
            let shard = self.shard().await;
            let more = rows.len() >= most as usize;
            let mut until = rows.last().and_then(|row| row.fire_at).filter(|_| more).unwrap_or(now + ahead);
            let settings = self.host.settings();
            let (mine, others): (Vec<ScheduleRow>, Vec<ScheduleRow>) = rows.into_iter().partition(|row| {
                let of_shard = shard.is_none_or(|(part, parts)| row.shard % parts == part);
                // Another configuration's is nothing that this host could decide about.
                (of_shard || row.fire_at.is_some_and(|at| now - at >= LATE)) && self.calendar.has(&settings, &row.job)
            });
            if more && mine.is_empty() {
                // What is this host's may come behind them.
                most = most.saturating_mul(4);
                continue;
            }
            // What is another host's to decide about becomes this one's, should it be late. Looking for that is no reason to ask without a pause.
            if others.iter().any(|row| row.fire_at.is_some_and(|at| at <= now)) {
                until = if mine.is_empty() { now + self.poll } else { until.min(now + self.poll) };
            }
            return Ok(Agenda::new(now, mine, until));
        }
    }

    /// Which part of how many this host is, among those that were seen lately.
    async fn shard(&self) -> Option<(i32, i32)> {
        {
            let shard = self.shard.lock().unwrap_or_else(PoisonError::into_inner);
            if shard.looked.is_some_and(|looked| looked.elapsed() < RESHARD) {
                return shard.mine;
            }
        }
        let hosts = self.host.store().hosts().await.unwrap_or_default();
        let mut alive: Vec<Incarnation> = hosts
            .into_iter()
            .filter(|host| host.alive && host.host.capacity > 0)
            .map(|host| host.host.incarnation)
            .collect();
        alive.sort();
        let part = alive.iter().position(|incarnation| *incarnation == self.incarnation);
        let mine = part.and_then(|part| Some((i32::try_from(part).ok()?, i32::try_from(alive.len()).ok()?)));
        let mut shard = self.shard.lock().unwrap_or_else(PoisonError::into_inner);
        *shard = Shard { looked: Some(Instant::now()), mine };
        mine
    }

    /// Decide; from which instant on there is more to decide about these schedules.
    async fn decide(&self, rows: Vec<ScheduleRow>, now: DateTime<Utc>) -> Result<DateTime<Utc>, StoreError> {
        let mut decisions = Vec::new();
        let mut more = DateTime::<Utc>::MAX_UTC;
        for rows in rows.chunks(AT_ONCE) {
            let decided = try_join_all(rows.iter().map(|row| self.decisions(row, now))).await?;
            // None where nothing is decided, because the instant is put off.
            for decided in decided.into_iter().flatten() {
                more = decided.last().and_then(|last| last.fire_at.or(last.next)).map_or(more, |next| more.min(next));
                decisions.extend(decided);
            }
        }
        if decisions.is_empty() {
            return Ok(more);
        }
        let labels: Vec<(String, &'static str, DateTime<Utc>)> =
            decisions.iter().map(|d| (d.job.clone(), outcome_word(&d.outcome), d.nominal)).collect();
        let answers = self.host.store().decide(decisions, &self.name).await?;
        for ((job, outcome, nominal), answer) in labels.into_iter().zip(answers) {
            match answer {
                Ok(()) => {
                    let metrics = self.host.metrics();
                    metrics.fires.get_or_create(&FireLabels { job, outcome: outcome.into() }).inc();
                    metrics.lateness.observe((now - nominal).num_milliseconds().max(0) as f64 / 1000.0);
                }
                Err(refused) => {
                    // Another host was first, or the schedule changed: what is on record is the truth.
                    more = now;
                    if refused != FireRefused::Stale {
                        tracing::warn!(job, %refused, "a decision about a schedule was refused");
                    }
                }
            }
        }
        Ok(more)
    }

    /// What is to be written about one schedule: none when it only waits longer.
    async fn decisions(&self, row: &ScheduleRow, now: DateTime<Utc>) -> Result<Option<Vec<Decision>>, StoreError> {
        let settings = self.host.settings();
        let Some(schedule) = self.calendar.schedule(&settings, &row.job) else {
            // Configured elsewhere, by a host with another configuration.
            return Ok(None);
        };
        let Some(next) = row.cursor.next.map(date) else { return Ok(None) };
        let state = ScheduleState {
            decided_until: row.cursor.decided.map_or_else(|| before(next), date),
            deferred: None,
            paused: row.paused.is_some(),
        };
        let decided = schedule.decide(&state, now, TOLERANCE);
        let steps = Steps::of(&schedule, next, decided);
        if steps.each.is_empty() {
            let (next, fire_at) = (Some(steps.then.0.unwrap_or(next)), steps.then.1);
            if fire_at != row.fire_at {
                match self.host.store().reschedule(&row.job, row.cursor.version, next, fire_at).await {
                    Ok(()) | Err(StoreError::Stale(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            return Ok(None);
        }
        let mut load = None;
        let mut all = Vec::new();
        let count = steps.each.len();
        for (index, step) in steps.each.iter().enumerate() {
            let last = index + 1 == count;
            let following = steps.each.get(index + 1).map(|step| step.nominal);
            let outcome = match &step.fire {
                None => DecisionOutcome::Skip(step.reason.into()),
                Some(fire) => {
                    // What is under way does not matter to a schedule that may overlap.
                    if load.is_none() && schedule.overlap != Overlap::Allow {
                        load = Some(self.host.store().schedule_load(&row.job).await?);
                    }
                    self.outcome(&row.job, &schedule, fire, load.get_or_insert_default()).await
                }
            };
            all.push(Decision {
                job: row.job.clone(),
                read: row.cursor.version + i64::try_from(index).unwrap_or(i64::MAX),
                nominal: step.nominal,
                outcome,
                next: if last { steps.then.0 } else { following },
                fire_at: if last { steps.then.1 } else { following },
                also: step.also.clone(),
                missed_more: step.missed_more,
            });
        }
        Ok(Some(all))
    }

    /// What becomes of an instant that fires, by what the job has under way.
    async fn outcome(&self, job: &str, schedule: &Schedule, fire: &Fire, load: &mut Load) -> DecisionOutcome {
        let occasion = |hold| Occasion {
            trigger: "schedule".into(),
            scheduled_for: Some(fire.nominal),
            due: None,
            parent: None,
            hold,
        };
        let active = load.active.len() as u64;
        let decision = schedule.overlap.decide(active, load.buffered.len() as u64);
        let hold = matches!(decision, OverlapDecision::Buffer).then_some(WaitReason::Concurrency);
        if let OverlapDecision::Skip(reason) = decision {
            return DecisionOutcome::Skip(reason.as_str().into());
        }
        let run = match self.host.run_of(&self.calendar, job, occasion(hold)).await {
            Ok(run) => Box::new(run),
            Err(error) => {
                tracing::error!(job, %error, "the job cannot be run as it is configured; its instant is skipped");
                // Kept with the instant: whoever looks at it later has not this host's log.
                return DecisionOutcome::Skip(invalid(&error));
            }
        };
        match decision {
            OverlapDecision::Buffer => {
                load.buffered.push(run.id.clone());
                DecisionOutcome::Buffer(run)
            }
            OverlapDecision::CancelOtherThenStart | OverlapDecision::TerminateOtherThenStart => {
                let terminate = matches!(decision, OverlapDecision::TerminateOtherThenStart);
                let cancel = std::mem::replace(&mut load.active, vec![run.id.clone()]);
                DecisionOutcome::FireAndCancel { run, cancel, terminate }
            }
            _ => {
                load.active.push(run.id.clone());
                DecisionOutcome::Fire(run)
            }
        }
    }

    /// Look for schedules that have gone astray, for ever. Beside the deciding, which is not to wait for it.
    async fn reconcile_for_ever(&self) {
        loop {
            tokio::time::sleep(RECONCILE).await;
            if let Err(error) = self.reconcile().await {
                tracing::warn!(%error, "schedules could not be reconciled");
            }
        }
    }

    /// Exactly one next instant for each schedule: where it has gone astray, it is mended, and said.
    async fn reconcile(&self) -> Result<(), StoreError> {
        let settings = self.host.settings();
        let now = date(self.host.store().now().await?);
        for row in self.host.store().astray_schedules(ASTRAY).await? {
            let Some(schedule) = self.calendar.schedule(&settings, &row.job).filter(|_| row.enabled) else { continue };
            let after = row.cursor.decided.map_or(now, date);
            let (next, fire_at) = first(&schedule, after);
            if next.is_none() && row.cursor.next.is_none() {
                // It is over.
                continue;
            }
            tracing::error!(job = row.job, "the schedule had lost its next instant; it is mended");
            match self.host.store().reschedule(&row.job, row.cursor.version, next, fire_at).await {
                Ok(()) | Err(StoreError::Stale(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Why an instant is skipped whose run cannot be made.
fn invalid(error: &impl std::fmt::Display) -> String {
    let message: String = error.to_string().chars().take(LONGEST_REASON).collect();
    format!("invalid: {message}")
}

fn outcome_word(outcome: &DecisionOutcome) -> &'static str {
    match outcome {
        DecisionOutcome::Fire(_) | DecisionOutcome::FireAndCancel { .. } => "fired",
        DecisionOutcome::Buffer(_) => "buffered",
        DecisionOutcome::Skip(_) => "skipped",
    }
}

fn said(changes: &ScheduleChanges) -> String {
    let named = |what: &str, jobs: &[String]| match jobs.len() {
        0 => None,
        1..=5 => Some(format!("{what} {}", jobs.join(", "))),
        count => Some(format!("{count} {what}")),
    };
    let mut parts: Vec<String> =
        [named("new", &changes.new), named("changed", &changes.changed), named("disabled", &changes.disabled)]
            .into_iter()
            .flatten()
            .collect();
    if changes.unchanged > 0 || parts.is_empty() {
        parts.push(format!("{} unchanged", changes.unchanged));
    }
    parts.join("; ")
}
