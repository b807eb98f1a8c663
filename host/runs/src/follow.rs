//! What follows the end of a run: jobs that run after it, and the pause of a schedule whose runs keep failing.

use crate::calendar::Calendar;
use crate::host::Host;
use crate::job::Occasion;
use chrono::Utc;
use rota_config::AfterEnd;
use rota_protocol::RunState;
use rota_store::{EndedRow, Pause, StoreError};

/// Ends that are seen to at once.
const BATCH: u32 = 200;

impl Host {
    /// See to every end that is waited for, each exactly once on all hosts together.
    pub(crate) async fn follow_ended(&self, calendar: &Calendar, by: &str) -> Result<(), StoreError> {
        loop {
            let ended = self.store().ended(BATCH).await?;
            let full = ended.len() == BATCH as usize;
            for end in ended {
                self.follow(calendar, &end, by).await?;
            }
            if !full {
                return Ok(());
            }
        }
    }

    async fn follow(&self, calendar: &Calendar, end: &EndedRow, by: &str) -> Result<(), StoreError> {
        let settings = self.settings();
        let mut runs = Vec::new();
        for (name, job) in settings.jobs.iter().filter(|(_, job)| job.enabled) {
            let due = job.after.iter().any(|(before, on)| *before == end.job && follows(*on, end.state));
            if !due {
                continue;
            }
            let occasion = Occasion { trigger: "job".into(), parent: Some(end.run.clone()), ..Occasion::default() };
            match self.run_of(calendar, name, occasion).await {
                Ok(run) => runs.push(run),
                Err(error) => {
                    tracing::error!(job = name, after = end.run, %error, "the job that follows cannot be run as it is configured");
                }
            }
        }
        if !self.store().follow(&end.run, runs).await? {
            return Ok(());
        }
        let schedule = settings.jobs.get(&end.job).and_then(|job| job.schedule.as_ref());
        let Some(limit) = schedule.map(|schedule| schedule.pause_after_failures).filter(|limit| *limit > 0) else {
            return Ok(());
        };
        let failed = is_failure(end.state);
        if !failed && end.state != RunState::Succeeded {
            return Ok(());
        }
        let failures = match self.store().count_failure(&end.job, failed).await {
            Err(StoreError::NoSchedule(_)) => return Ok(()),
            answer => answer?,
        };
        if failed && failures >= limit {
            let note = format!("{failures} runs in a row failed, the last of them {}", end.run);
            tracing::error!(
                job = end.job,
                failures,
                "the schedule is paused: `rota jobs resume {}` lets it go on",
                end.job
            );
            let pause = Pause { by: format!("rota on {by}"), note, at: Utc::now() };
            self.store().pause(&end.job, Some(pause)).await?;
        }
        Ok(())
    }
}

fn is_failure(state: RunState) -> bool {
    matches!(
        state,
        RunState::Failed | RunState::Denied | RunState::TimedOut | RunState::Unknown | RunState::CompensationFailed
    )
}

/// Whether an end is one that a job waits for.
fn follows(on: AfterEnd, state: RunState) -> bool {
    match on {
        AfterEnd::Success => state == RunState::Succeeded,
        AfterEnd::Failure => is_failure(state),
        AfterEnd::Any => true,
    }
}
