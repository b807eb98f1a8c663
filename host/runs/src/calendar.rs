//! The schedules of the configured jobs, as the scheduler decides by them.

use crate::host::Host;
use crate::job::{Occasion, new_run};
use crate::prepare::{PrepareError, Request};
use crate::settings::Settings;
use chrono::{DateTime, Utc};
use rota_authority::Mode;
use rota_capability::Trigger;
use rota_schedule::Schedule;
use rota_store::NewRun;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A job's schedule, and what its runs look like.
#[derive(Clone)]
pub(crate) struct Planned {
    pub(crate) schedule: Arc<Schedule>,
    /// A run of the job without its instant; made when the first is due.
    template: Option<Arc<NewRun>>,
}

/// What is known of one configuration; another one begins anew.
#[derive(Default)]
pub(crate) struct Calendar {
    known: Mutex<Known>,
}

/// The schedules of one configuration, by job.
#[derive(Default)]
struct Known {
    settings: Option<Arc<Settings>>,
    planned: HashMap<String, Planned>,
    /// Whether the end of any job's runs is waited for; looked at when it is asked for.
    follows: Option<bool>,
}

impl Known {
    fn is_of(&self, settings: &Arc<Settings>) -> bool {
        self.settings.as_ref().is_some_and(|before| Arc::ptr_eq(before, settings))
    }

    fn of(&mut self, settings: &Arc<Settings>) -> &mut Self {
        if !self.is_of(settings) {
            *self = Self { settings: Some(settings.clone()), ..Self::default() };
        }
        self
    }
}

impl Calendar {
    /// The schedule of a job; none for a job without.
    pub(crate) fn schedule(&self, settings: &Arc<Settings>, job: &str) -> Option<Arc<Schedule>> {
        self.planned(settings, job).map(|planned| planned.schedule)
    }

    /// Whether a job is configured to have one.
    pub(crate) fn has(&self, settings: &Arc<Settings>, job: &str) -> bool {
        settings.jobs.get(job).is_some_and(|job| job.schedule.is_some())
    }

    /// Whether something follows the end of any job's runs.
    pub(crate) fn follows(&self, settings: &Arc<Settings>) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known.of(settings).follows.get_or_insert_with(|| settings.follows())
    }

    fn planned(&self, settings: &Arc<Settings>, job: &str) -> Option<Planned> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.of(settings);
        if let Some(planned) = known.planned.get(job) {
            return Some(planned.clone());
        }
        let configured = settings.jobs.get(job)?;
        // The configuration was checked by making it.
        let schedule = configured.schedule.as_ref()?.resolve(&job.parse().ok()?).ok()?;
        let planned = Planned { schedule: Arc::new(schedule), template: None };
        known.planned.insert(job.to_owned(), planned.clone());
        Some(planned)
    }

    fn keep_template(&self, settings: &Arc<Settings>, job: &str, template: Arc<NewRun>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_of(settings)
            && let Some(planned) = known.planned.get_mut(job)
        {
            planned.template = Some(template);
        }
    }
}

impl Host {
    /// A run of a job for an instant of its schedule.
    pub(crate) async fn run_of(
        &self,
        calendar: &Calendar,
        job: &str,
        occasion: Occasion,
    ) -> Result<NewRun, PrepareError> {
        let settings = self.settings();
        let template = match calendar.planned(&settings, job).and_then(|planned| planned.template) {
            Some(template) => template,
            None => {
                let template = Arc::new(self.template(job).await?);
                calendar.keep_template(&settings, job, template.clone());
                template
            }
        };
        Ok(NewRun {
            id: uuid::Uuid::now_v7().to_string(),
            trigger: occasion.trigger,
            scheduled_for: occasion.scheduled_for,
            due: occasion.due,
            parent: occasion.parent,
            hold: occasion.hold,
            ..template.as_ref().clone()
        })
    }

    async fn template(&self, job: &str) -> Result<NewRun, PrepareError> {
        let request = Request {
            what: job.to_owned(),
            parameters: Vec::new(),
            mode: Mode::Execute,
            confirm: None,
            bind: Vec::new(),
            grant: Vec::new(),
            timeout: None,
            limits: Vec::new(),
            trigger: Trigger::Schedule,
            record: None,
        };
        let prepared = self.prepare(&request).await?;
        Ok(new_run(&prepared, &self.settings(), &Occasion::default()))
    }
}

/// The first nominal instant of a schedule after one, and when it is to be decided about.
pub(crate) fn first(schedule: &Schedule, after: DateTime<Utc>) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    let state = rota_schedule::ScheduleState::new(after);
    (schedule.next_nominal(after), schedule.next_decision(&state))
}
