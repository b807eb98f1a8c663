//! Teams as they are shown: what each may, and what it has used today.

use crate::settings::Settings;
use rota_config::{Team, TeamQuotas};
use rota_store::{Store, StoreError, TeamUsage};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A team.
#[derive(Clone, Debug)]
pub struct TeamView {
    /// Its name.
    pub name: String,
    /// What it may.
    pub team: Arc<Team>,
    /// Configured jobs that are its own.
    pub jobs: Vec<String>,
    /// What it has used today.
    pub used: TeamUsage,
}

impl TeamView {
    /// All configured teams, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn all(settings: &Settings, store: &dyn Store) -> Result<Vec<Self>, StoreError> {
        let names: Vec<String> = settings.teams.keys().cloned().collect();
        let usage = store.team_usage(&names).await?;
        let view = |used: TeamUsage| {
            let team = settings.teams.get(&used.team)?;
            let jobs = settings.jobs.keys().filter(|job| team.has_job(job)).cloned().collect();
            Some(Self { name: used.team.clone(), team: team.clone(), jobs, used })
        };
        Ok(usage.into_iter().filter_map(view).collect())
    }

    /// Each quota a day with what was used of it; what has no bound has none.
    #[must_use]
    pub fn quotas(&self) -> [(&'static str, Amount, Option<Amount>); 5] {
        let TeamQuotas { runs_at_once, runs_per_day, cpu_per_day, bytes_out_per_day, effects_per_day } =
            &self.team.quotas;
        let count = |most: &Option<u32>| most.map(|most| Amount::Count(most.into()));
        let used = &self.used;
        [
            ("runs_at_once", Amount::Count(used.at_once), count(runs_at_once)),
            ("runs_per_day", Amount::Count(used.runs), count(runs_per_day)),
            ("cpu_per_day", Amount::Time(used.cpu.into()), cpu_per_day.map(|most| Amount::Time(most.into()))),
            (
                "bytes_out_per_day",
                Amount::Bytes(used.bytes_out),
                bytes_out_per_day.map(|most| Amount::Bytes(most.as_u64())),
            ),
            ("effects_per_day", Amount::Count(used.effects), count(effects_per_day)),
        ]
    }

    /// As JSON: time in seconds, sizes in bytes.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let bindings: Map<String, Value> = self
            .team
            .bindings
            .iter()
            .map(|(name, binding)| (name.to_string(), json!({ "access": binding.access })))
            .collect();
        let limits: Map<String, Value> =
            self.team.limits.entries().into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
        let quotas: Map<String, Value> = self
            .quotas()
            .into_iter()
            .map(|(key, used, most)| {
                (key.to_owned(), json!({ "used": used.to_json(), "most": most.map(Amount::to_json) }))
            })
            .collect();
        json!({
            "name": self.name,
            "description": self.team.description,
            "jobs": self.team.jobs,
            "configured_jobs": self.jobs,
            "plugins": self.team.plugins,
            "bindings": bindings,
            "limits": limits,
            "priority": self.team.priority,
            "retries": self.team.retries,
            "undo_attempts": self.team.undo_attempts,
            "day": self.used.date().to_string(),
            "waiting": self.used.waiting,
            "quotas": quotas,
        })
    }
}

/// How much of something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// So many.
    Count(u64),
    /// So long.
    Time(Duration),
    /// So many bytes.
    Bytes(u64),
}

impl Amount {
    fn to_json(self) -> Value {
        match self {
            Self::Count(n) | Self::Bytes(n) => n.into(),
            Self::Time(time) => time.as_secs_f64().into(),
        }
    }
}
