//! What a job's team may ask for: checked when a run is prepared, and again when it is begun, by the configuration that is in force then.

use crate::settings::Settings;
use rota_authority::Grant;
use rota_capability::Limits;
use rota_config::{Beyond, ByteSize, LimitOverrides, Team};
use rota_protocol::{RetryPolicy, UndoPolicy};
use rota_store::TeamQuotas;
use std::sync::Arc;

/// A team with its name.
#[derive(Clone, Debug)]
pub(crate) struct TeamOf {
    pub(crate) name: String,
    pub(crate) team: Arc<Team>,
}

impl TeamOf {
    /// The team of a job; none where the job is no team's.
    ///
    /// # Errors
    /// When several teams have it: a configuration that says so is refused, but the job of a run may be in none.
    pub(crate) fn of(settings: &Settings, job: Option<&str>) -> Result<Option<Self>, Beyond> {
        let Some(job) = job else { return Ok(None) };
        let mut teams = settings.teams.iter().filter(|(_, team)| team.has_job(job));
        let Some((name, team)) = teams.next() else { return Ok(None) };
        let others: Vec<String> = teams.map(|(name, _)| name.clone()).collect();
        if others.is_empty() {
            return Ok(Some(Self { name: name.clone(), team: team.clone() }));
        }
        Err(Beyond::Several { job: job.to_owned(), teams: [vec![name.clone()], others].concat() })
    }

    /// The team of a run that is on record: the one that has its job now. One that was made for a team is never done without.
    pub(crate) fn of_run(
        settings: &Settings,
        job: Option<&str>,
        made_for: Option<&str>,
    ) -> Result<Option<Self>, Beyond> {
        match (Self::of(settings, job)?, made_for) {
            (None, Some(team)) => Err(Beyond::Gone { team: team.to_owned(), job: job.unwrap_or_default().to_owned() }),
            (team, _) => Ok(team),
        }
    }

    /// Whether it may run a plugin, by what its job calls it.
    pub(crate) fn may_run(&self, plugin: &str) -> Result<(), Beyond> {
        self.team.may_run(&self.name, plugin)
    }

    /// Whether a run of it and what undoes that may be tried as often as it says.
    pub(crate) fn may_try(&self, retry: &RetryPolicy, undo: &UndoPolicy) -> Result<(), Beyond> {
        self.team.may_retry(&self.name, retry.limit)?;
        self.team.may_try_undo(&self.name, undo.attempts)
    }

    /// Whether it may have what is bound and granted. What was given on a command line as a URL or a program is none of its bindings.
    pub(crate) fn may_have(&self, grants: &[Grant], ad_hoc: &[String]) -> Result<(), Beyond> {
        grants.iter().try_for_each(|grant| {
            self.may_have_one(&grant.slot, &grant.binding_name, &grant.accesses, ad_hoc.contains(&grant.slot))
        })
    }

    /// The same of one slot.
    pub(crate) fn may_have_one(
        &self,
        slot: &str,
        binding: &str,
        accesses: &[String],
        ad_hoc: bool,
    ) -> Result<(), Beyond> {
        if ad_hoc {
            return Err(self.team.no_binding(&self.name, slot, "what a command line names"));
        }
        self.team.may_grant(&self.name, slot, binding, accesses)
    }

    /// No limit beyond the team's; answers the first that was, with what it was and what it may be.
    pub(crate) fn cap(&self, limits: &mut Limits) -> Option<Beyond> {
        let most = most_of(&self.team.limits);
        let mut beyond = None;
        macro_rules! cap {
            ($($field:ident / $key:ident as $shown:ident),* $(,)?) => { $(
                if self.team.limits.$key.is_some() && limits.$field > most.$field {
                    beyond.get_or_insert_with(|| Beyond::Limit {
                        team: self.name.clone(),
                        limit: stringify!($key).to_owned(),
                        asked: $shown(limits.$field),
                        most: self.team.limits.$key.map(|most| most.to_string()).unwrap_or_default(),
                    });
                    limits.$field = most.$field;
                }
            )* };
        }
        cap!(
            memory / memory as size,
            table_elements / table_elements as count,
            cpu / cpu as time,
            wall / wall as time,
            grace / grace as time,
            calls_in_flight / host_calls_in_flight as count,
            handles / handles as count,
            call_bytes / host_call_bytes as length,
            log_lines_per_second / log_lines_per_second as count,
            log_bytes / log_bytes as size,
            report / report_bytes as length,
            artifacts / artifact_bytes as size,
            effects / effects as count,
            steps / steps as count,
            step_result / step_result_bytes as length,
            compensations / compensations as count,
            compensation_state / compensation_state_bytes as length,
            durable / durable_bytes as size,
            record / record_bytes as size,
        );
        beyond
    }

    /// Its quotas a day, as the store counts them.
    pub(crate) fn quotas(&self) -> TeamQuotas {
        let quotas = &self.team.quotas;
        TeamQuotas {
            runs: quotas.runs_per_day.map(u64::from),
            cpu: quotas.cpu_per_day.map(|cpu| std::time::Duration::from(cpu).into()),
            bytes_out: quotas.bytes_out_per_day.map(rota_config::ByteSize::as_u64),
            effects: quotas.effects_per_day.map(u64::from),
        }
    }
}

fn size(bytes: u64) -> String {
    ByteSize::bytes(bytes).to_string()
}

fn length(bytes: usize) -> String {
    size(bytes as u64)
}

fn time(time: std::time::Duration) -> String {
    format!("{time:?}")
}

fn count(count: impl ToString) -> String {
    count.to_string()
}

/// Limits as a run takes them; those that are not set are the defaults, which nobody looks at.
fn most_of(overrides: &LimitOverrides) -> Limits {
    crate::settings::limits(&rota_config::Limits::default().with(overrides))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_config::{Config, Source};
    use std::time::Duration;

    fn growth(rest: &str) -> TeamOf {
        let text = format!("[teams.growth]\njobs = [\"growth-*\"]\nplugins = [\"growth-*\"]\n{rest}");
        let config = Config::load(&Source::empty().with_text("rota.toml", text)).unwrap();
        TeamOf { name: "growth".into(), team: Arc::new(config.teams["growth"].clone()) }
    }

    #[test]
    fn limits_are_capped_where_the_team_says_so_and_only_there() {
        let team = growth("limits = { memory = \"64MiB\", cpu = \"30s\", host_calls_in_flight = 8 }");
        let mut limits = Limits { memory: 1 << 30, cpu: Duration::from_secs(10), ..Limits::default() };
        let Some(Beyond::Limit { limit, most, .. }) = team.cap(&mut limits) else { panic!() };
        assert_eq!((limit.as_str(), most.as_str()), ("memory", "64MiB"));
        let expected = Limits {
            memory: ByteSize::mib(64).as_u64(),
            cpu: Duration::from_secs(10),
            calls_in_flight: 8,
            ..Limits::default()
        };
        assert_eq!(limits, expected);
        assert_eq!(team.cap(&mut limits), None);
    }

    #[test]
    fn retries_and_tries_of_an_undo_are_no_more_than_the_teams() {
        let run = |limit| RetryPolicy { limit, ..RetryPolicy::default() };
        let undo = |attempts| UndoPolicy { attempts, ..UndoPolicy::default() };
        let team = growth("");
        assert_eq!(team.may_try(&run(5), &undo(5)), Ok(()));
        let Err(beyond) = team.may_try(&run(6), &undo(5)) else { panic!() };
        assert_eq!(beyond.key(), "teams.growth.retries");
        assert_eq!(beyond.to_string(), "`retries.limit` is 6, more than the team `growth` may have (5)");
        let team = growth("retries = 0\nundo_attempts = 2");
        assert_eq!(team.may_try(&run(0), &undo(2)), Ok(()));
        let Err(beyond) = team.may_try(&run(0), &undo(3)) else { panic!() };
        assert_eq!(beyond.key(), "teams.growth.undo_attempts");
        assert!(team.may_try(&run(1), &undo(2)).is_err());
    }

    #[test]
    fn every_limit_of_a_configuration_can_be_capped() {
        // The least that each limit may be, so that every default is beyond it.
        let least = "memory = \"1MiB\"\ntable_elements = 1000\ncpu = \"10ms\"\nwall = \"100ms\"\ngrace = \"0s\"\nhost_calls_in_flight = 1\nhandles = 8\n\
                     host_call_bytes = \"64KiB\"\nlog_lines_per_second = 1\nlog_bytes = \"4KiB\"\nreport_bytes = \"64KiB\"\neffects = 0\nartifact_bytes = \"0B\"\n\
                     steps = 0\nstep_result_bytes = \"64B\"\ncompensations = 0\ncompensation_state_bytes = \"64B\"\ndurable_bytes = \"4KiB\"\nrecord_bytes = \"64KiB\"\n";
        let team = growth(&format!("[teams.growth.limits]\n{least}"));
        assert_eq!(team.team.limits.entries().len(), rota_config::Limits::default().entries().len());
        let mut limits = Limits::default();
        assert!(team.cap(&mut limits).is_some());
        assert_eq!(limits, most_of(&team.team.limits));
    }
}
