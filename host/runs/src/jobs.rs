//! Jobs as they are shown, and what a person does to their schedules.

use crate::calendar::Calendar;
use crate::host::Host;
use crate::job::Occasion;
use crate::operate::acting;
use crate::prepare::{PrepareError, nearest};
use chrono::{DateTime, Utc};
use rota_protocol::FireOutcome;
use rota_schedule::{Expected, ScheduleError};
use rota_store::{Filter, Pause, ScheduleRow, StoreError, date};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

/// Past runs that a guess at how long the next takes is made from.
const TYPICAL: u32 = 20;

/// Why nothing can be said of a job, or done to it.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// No job of the name.
    #[error("there is no job `{name}`{}; `rota jobs list` shows what is configured", did_you_mean(.nearest))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The nearest there is.
        nearest: Option<String>,
    },
    /// It has no schedule.
    #[error("job `{0}` has no schedule")]
    Unscheduled(String),
    /// Its schedule is not in the store yet.
    #[error("the schedule of job `{0}` is not in the store yet: `rota config apply` or a serving host puts it there")]
    NotApplied(String),
    /// The range.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// It cannot be run as it is configured.
    #[error(transparent)]
    Prepare(Box<PrepareError>),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<PrepareError> for JobError {
    fn from(error: PrepareError) -> Self {
        Self::Prepare(Box::new(error))
    }
}

fn did_you_mean(name: &Option<String>) -> String {
    name.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default()
}

/// A job.
#[derive(Clone, Debug)]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its plugin.
    pub plugin: String,
    /// When it runs by itself.
    pub when: Option<String>,
    /// Jobs after which it runs, and after which end of theirs.
    pub after: Vec<(String, String)>,
    /// Whether it runs by itself.
    pub enabled: bool,
    /// Whether somebody paused it.
    pub paused: Option<Pause>,
    /// The next instant.
    pub next: Option<DateTime<Utc>>,
    /// Failed runs in a row.
    pub failures: u32,
    /// How its last run did.
    pub last_status: Option<String>,
    /// Its last run.
    pub last_run: Option<String>,
    /// When that was made.
    pub last_at: Option<DateTime<Utc>>,
    /// Its slots: name, binding, accesses.
    pub slots: Vec<(String, String, Vec<String>)>,
}

impl JobView {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let slots: serde_json::Map<String, Value> = self
            .slots
            .iter()
            .map(|(slot, binding, access)| (slot.clone(), json!({ "binding": binding, "access": access })))
            .collect();
        json!({
            "name": self.name, "description": self.description, "plugin": self.plugin, "when": self.when,
            "after": self.after.iter().map(|(job, on)| json!({ "job": job, "on": on })).collect::<Vec<_>>(),
            "enabled": self.enabled, "paused": self.paused, "next": self.next, "failures": self.failures,
            "last_run": self.last_run, "last_status": self.last_status, "last_at": self.last_at, "slots": slots,
        })
    }
}

/// An instant at which a job is expected to run.
#[derive(Clone, Debug)]
pub struct NextView {
    /// The job.
    pub job: String,
    /// The nominal instant.
    pub nominal: DateTime<Utc>,
    /// When it is due, jitter and windows included.
    pub due: DateTime<Utc>,
    /// The nominal instant by the schedule's clock.
    pub local: String,
    /// What is special about it.
    pub notes: Vec<String>,
}

impl NextView {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "job": self.job, "instant": self.nominal, "due": self.due, "local": self.local, "notes": self.notes })
    }
}

/// A decision about an instant.
#[derive(Clone, Debug, Serialize)]
pub struct FireView {
    /// The instant.
    pub nominal: DateTime<Utc>,
    /// The run that it made.
    pub run: Option<String>,
    /// Why it made none: a stable word.
    pub reason: Option<String>,
    /// What is more to say of that.
    pub detail: Option<String>,
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
    /// By which host.
    pub by: String,
    /// How long after the instant, milliseconds.
    pub late_ms: i64,
    /// Further instants that were missed with it and are not listed.
    pub missed_more: u64,
}

impl Host {
    /// All configured jobs, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn jobs(&self) -> Result<Vec<JobView>, JobError> {
        let rows = self.store().schedules().await?;
        let rows: HashMap<&str, &ScheduleRow> =
            rows.iter().filter(|row| row.enabled).map(|row| (row.job.as_str(), row)).collect();
        let mut all = Vec::new();
        for name in self.settings().jobs.keys() {
            all.push(self.job_view(name, rows.get(name.as_str()).copied()).await?);
        }
        Ok(all)
    }

    /// One job.
    ///
    /// # Errors
    /// When there is none of the name, or the store cannot be read.
    pub async fn job(&self, name: &str) -> Result<JobView, JobError> {
        self.known(name)?;
        let row = match self.store().schedule(name).await {
            Ok(row) => Some(row).filter(|row| row.enabled),
            // It has none, or was not applied yet.
            Err(StoreError::NoSchedule(_)) => None,
            Err(error) => return Err(error.into()),
        };
        self.job_view(name, row.as_ref()).await
    }

    fn known(&self, name: &str) -> Result<(), JobError> {
        let settings = self.settings();
        if settings.jobs.contains_key(name) {
            return Ok(());
        }
        let nearest = nearest(name, settings.jobs.keys().map(String::as_str));
        Err(JobError::Unknown { name: name.chars().filter(|c| !c.is_control()).take(64).collect(), nearest })
    }

    async fn job_view(&self, name: &str, row: Option<&ScheduleRow>) -> Result<JobView, JobError> {
        let settings = self.settings();
        let Some(job) = settings.jobs.get(name) else {
            return Err(JobError::Unknown { name: name.into(), nearest: None });
        };
        let filter = Filter { job: Some(name.into()), limit: 1, ..Filter::default() };
        let last = self.store().runs(&filter).await?.into_iter().next();
        let schedule = Calendar::default().schedule(&settings, name);
        let planned = schedule.as_ref().filter(|_| job.enabled);
        let next = match row {
            Some(row) => row.cursor.next.map(date),
            None => planned.and_then(|schedule| schedule.next_nominal(Utc::now())),
        };
        Ok(JobView {
            name: name.into(),
            description: job.description.clone(),
            plugin: job.plugin.clone(),
            when: schedule.as_ref().map(|schedule| schedule.timing.to_string()),
            after: job.after.iter().map(|(job, on)| (job.clone(), on.to_string())).collect(),
            enabled: job.enabled,
            paused: row.and_then(|row| row.paused.clone()),
            next,
            failures: row.map_or(0, |row| row.failures),
            last_status: last.as_ref().map(|row| row.state.as_str().into()),
            last_run: last.as_ref().map(|row| row.run.id.clone()),
            last_at: last.map(|row| row.created_at),
            slots: job
                .slots
                .iter()
                .map(|(slot, (binding, access))| (slot.clone(), binding.clone(), access.clone()))
                .collect(),
        })
    }

    /// What was decided about the last instants of a job's schedule, the latest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn fires(&self, job: &str, limit: u32) -> Result<Vec<FireView>, JobError> {
        let view = |row: rota_store::FireRow| {
            let (run, (reason, detail)) = match row.outcome {
                FireOutcome::Fired { run } => (Some(run), (None, None)),
                FireOutcome::Skipped { reason } => (None, reason_of(&reason)),
            };
            FireView {
                nominal: row.nominal,
                run,
                reason,
                detail,
                decided_at: row.decided_at,
                by: row.by,
                late_ms: row.late.0 / 1000,
                missed_more: row.missed_more,
            }
        };
        Ok(self.store().fires(job, None, limit).await?.into_iter().map(view).collect())
    }

    /// When a job's schedule fires next; or those of all jobs, the earliest first.
    ///
    /// # Errors
    /// When there is no such job or schedule, or the store cannot be read.
    pub async fn next(&self, job: Option<&str>, count: usize) -> Result<Vec<NextView>, JobError> {
        let settings = self.settings();
        let names: Vec<String> = match job {
            Some(job) => {
                self.known(job)?;
                vec![job.to_owned()]
            }
            None => settings.jobs.iter().filter(|(_, job)| job.enabled).map(|(name, _)| name.clone()).collect(),
        };
        let now = Utc::now();
        let calendar = Calendar::default();
        let mut all = Vec::new();
        for name in names {
            let Some(schedule) = calendar.schedule(&settings, &name) else {
                if job.is_some() {
                    return Err(JobError::Unscheduled(name));
                }
                continue;
            };
            let typical = typical(self.store().durations(&name, TYPICAL).await?);
            for expected in schedule.forecast(now, count, None, typical) {
                all.push(NextView {
                    job: name.clone(),
                    nominal: expected.fire.nominal,
                    due: expected.fire.due,
                    local: expected.local.to_string(),
                    notes: notes(&expected),
                });
            }
        }
        all.sort_by(|a, b| (a.due, &a.job).cmp(&(b.due, &b.job)));
        all.truncate(count);
        Ok(all)
    }

    /// Pause a job's schedule with a note, or let it go on.
    ///
    /// # Errors
    /// When there is no such schedule, or the store cannot be written.
    pub async fn pause(&self, job: &str, note: Option<String>) -> Result<(), JobError> {
        self.known(job)?;
        if self.settings().jobs.get(job).is_none_or(|job| job.schedule.is_none()) {
            return Err(JobError::Unscheduled(job.into()));
        }
        let pause = note.map(|note| Pause { by: acting(), note, at: Utc::now() });
        match self.store().pause(job, pause).await {
            Err(StoreError::NotFound(_)) => Err(JobError::NotApplied(job.into())),
            answer => Ok(answer?),
        }
    }

    /// A run for each instant of a range that the job's schedule names; or, as a plan, only the instants.
    ///
    /// # Errors
    /// When there is no such schedule, the range holds more instants than the limit, or the store cannot be written.
    pub async fn backfill(
        &self,
        job: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: usize,
        plan: bool,
    ) -> Result<Vec<(DateTime<Utc>, Option<String>)>, JobError> {
        self.known(job)?;
        let calendar = Calendar::default();
        let schedule = calendar.schedule(&self.settings(), job).ok_or_else(|| JobError::Unscheduled(job.into()))?;
        let instants = schedule.backfill(from, to, limit)?;
        if plan {
            return Ok(instants.into_iter().map(|instant| (instant, None)).collect());
        }
        let mut runs = Vec::new();
        for instant in &instants {
            let occasion =
                Occasion { trigger: "backfill".into(), scheduled_for: Some(*instant), ..Occasion::default() };
            runs.push(self.run_of(&calendar, job, occasion).await?);
        }
        let ids: Vec<String> = runs.iter().map(|run| run.id.clone()).collect();
        self.store().enqueue(runs).await?;
        Ok(instants.into_iter().zip(ids.into_iter().map(Some)).collect())
    }
}

/// The stable word of why an instant was skipped, and what is more to say of it.
fn reason_of(reason: &str) -> (Option<String>, Option<String>) {
    match reason.split_once(": ") {
        Some((word, detail)) => (Some(word.to_owned()), Some(detail.to_owned())),
        None => (Some(reason.to_owned()), None),
    }
}

/// The middle of past durations.
fn typical(mut durations: Vec<rota_protocol::Span>) -> Option<Duration> {
    durations.sort();
    durations.get(durations.len() / 2).map(|span| Duration::from(*span))
}

fn notes(expected: &Expected) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(expected.mark.map(|mark| mark.to_string()));
    notes.extend(expected.blackout.as_ref().map(|blackout| format!("put off by the blackout {blackout}")));
    if expected.fire.reason == rota_schedule::Reason::Deferred && expected.blackout.is_none() {
        notes.push("put off until a window opens".into());
    }
    for missed in &expected.missed {
        notes.push(format!("{} skipped before it: {}", missed.count, missed.reason));
    }
    match expected.overlap {
        None | Some(rota_schedule::OverlapDecision::Start) => {}
        Some(rota_schedule::OverlapDecision::Skip(_)) => {
            notes.push("likely skipped: the run before may not be over".into())
        }
        Some(rota_schedule::OverlapDecision::Buffer) => notes.push("likely waits for the run before".into()),
        Some(_) => notes.push("likely ends the run before".into()),
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_stable_word_of_a_reason_is_told_beside_it() {
        assert_eq!(reason_of("still-running"), (Some("still-running".into()), None));
        assert_eq!(reason_of("invalid: a: b"), (Some("invalid".into()), Some("a: b".into())));
    }
}
