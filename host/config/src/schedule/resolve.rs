//! A schedule as the scheduler takes it: every date and time made an instant, or a rule in the schedule's zone.

use chrono::{DateTime, NaiveTime};
use rota_schedule::{Every, Instants, ScheduleError, Timing, Windows};

use super::{Misfire, Outside, Overlap, Schedule, TimeOfDay, Weekday, Window};
use crate::JobName;

impl Schedule {
    /// The same as the scheduler takes it.
    ///
    /// # Errors
    /// If what was written is no schedule; one that was read from a configuration always is.
    pub fn resolve(&self, job: &JobName) -> Result<rota_schedule::Schedule, ScheduleError> {
        let zone = *self.timezone.zone();
        let windows = Windows {
            maintenance: self.windows.iter().map(|window| self.window(window)).collect::<Result<_, _>>()?,
            blackouts: self.blackouts.iter().map(|window| self.window(window)).collect::<Result<_, _>>()?,
            outside: match self.outside {
                Outside::Skip => rota_schedule::Outside::Skip,
                Outside::Defer => rota_schedule::Outside::Defer,
            },
        };
        Ok(rota_schedule::Schedule {
            misfire: match self.misfire {
                Misfire::Once => rota_schedule::Misfire::Once,
                Misfire::All => rota_schedule::Misfire::All { limit: self.misfire_limit },
                Misfire::None => rota_schedule::Misfire::None,
            },
            catch_up: Some(self.catch_up.into()),
            overlap: self.overlap.rule(),
            jitter: self.jitter.into(),
            starts: self.start.map(|start| start.beginning(&zone)),
            ends: self.end.map(|end| end.ending(&zone)),
            windows: windows.clone(),
            ..rota_schedule::Schedule::new(job.as_str(), self.timing()?)
        })
    }

    fn timing(&self) -> Result<Timing, ScheduleError> {
        let zone = *self.timezone.zone();
        if let Some(cron) = &self.cron {
            return Ok(Timing::Cron { expression: cron.expression().clone(), zone });
        }
        if let Some(every) = self.every {
            let anchor = self.anchor.map_or(DateTime::UNIX_EPOCH, |anchor| anchor.beginning(&zone));
            return Ok(Timing::Every(Every::new(every.into(), anchor)?));
        }
        let instants = self.at.as_ref().map(|at| at.as_slice()).unwrap_or_default();
        Ok(Timing::At(Instants::new(instants.iter().map(|at| at.beginning(&zone)))))
    }

    fn window(&self, window: &Window) -> Result<rota_schedule::Window, ScheduleError> {
        let zone = *self.timezone.zone();
        match window {
            Window::Calendar(window) => {
                rota_schedule::Window::range(window.from.beginning(&zone), window.until.ending(&zone))
            }
            Window::Weekly(window) => {
                let days: Vec<chrono::Weekday> = window.days.iter().map(|day| day.day()).collect();
                Ok(rota_schedule::Window::weekly(&days, window.from.time(), window.until.time(), zone))
            }
            Window::Cron(window) => {
                rota_schedule::Window::recurring(window.cron.expression().clone(), zone, window.duration.into())
            }
        }
    }
}

impl Overlap {
    /// The same as the scheduler takes it.
    pub fn rule(self) -> rota_schedule::Overlap {
        match self {
            Self::Skip => rota_schedule::Overlap::Skip,
            Self::BufferOne => rota_schedule::Overlap::BufferOne,
            Self::BufferAll => rota_schedule::Overlap::BufferAll,
            Self::CancelOther => rota_schedule::Overlap::CancelOther,
            Self::TerminateOther => rota_schedule::Overlap::TerminateOther,
            Self::Allow => rota_schedule::Overlap::Allow,
        }
    }
}

impl TimeOfDay {
    /// As a clock shows it; the end of the day is the 00:00 after it.
    fn time(self) -> NaiveTime {
        NaiveTime::from_num_seconds_from_midnight_opt(self.seconds() % Self::END.seconds(), 0).unwrap_or(NaiveTime::MIN)
    }
}

impl Weekday {
    fn day(self) -> chrono::Weekday {
        match self {
            Self::Monday => chrono::Weekday::Mon,
            Self::Tuesday => chrono::Weekday::Tue,
            Self::Wednesday => chrono::Weekday::Wed,
            Self::Thursday => chrono::Weekday::Thu,
            Self::Friday => chrono::Weekday::Fri,
            Self::Saturday => chrono::Weekday::Sat,
            Self::Sunday => chrono::Weekday::Sun,
        }
    }
}
