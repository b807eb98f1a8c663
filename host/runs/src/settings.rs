//! What the configuration says, as runs need it.

use rota_capability::Limits;
use rota_config::Binding;
use rota_protocol::{RetryPolicy, UndoPolicy};
use rota_telemetry::Secret;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What runs need of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The bindings by name.
    pub bindings: BTreeMap<String, Binding>,
    /// The jobs by name.
    pub jobs: BTreeMap<String, JobSettings>,
    /// The teams by name.
    pub teams: BTreeMap<String, Arc<rota_config::Team>>,
    /// The limits of a run that sets none.
    pub limits: Limits,
    /// The largest memory limit that the sandbox was set up for, bytes.
    pub max_memory: u64,
    /// The state directory.
    pub state_dir: PathBuf,
    /// Where is remembered.
    pub store: StoreChoice,
    /// The storage binding for files that runs keep.
    pub artifacts: Option<String>,
}

/// Where a host remembers.
#[derive(Clone, Debug)]
pub enum StoreChoice {
    /// In a file of this folder.
    Sqlite {
        /// The folder.
        folder: PathBuf,
    },
    /// In a PostgreSQL database, with other hosts.
    Postgres {
        /// Its whole URL.
        url: Secret,
    },
}

/// A job.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// The plugin's reference.
    pub plugin: String,
    /// Its parameters.
    pub parameters: Map<String, Value>,
    /// Slot -> binding's name and accesses.
    pub slots: BTreeMap<String, (String, Vec<String>)>,
    /// Its limits, the time-out of an attempt among them.
    pub limits: Limits,
    /// The typed confirmation that the operator gave once, in the configuration.
    pub confirm: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it runs by itself.
    pub enabled: bool,
    /// When it runs by itself, as it is configured.
    pub schedule: Option<rota_config::Schedule>,
    /// Jobs after whose runs it runs, and after which end of them.
    pub after: Vec<(String, rota_config::AfterEnd)>,
    /// What is tried again.
    pub retry: RetryPolicy,
    /// How what it left is undone.
    pub undo: UndoPolicy,
    /// The longest a run may take over all attempts.
    pub run_timeout: Option<Duration>,
    /// What its runs carry.
    pub labels: BTreeMap<String, String>,
    /// What a host must have that carries out its runs.
    pub host_labels: BTreeMap<String, String>,
    /// Higher first.
    pub priority: i32,
    /// Runs of it at once.
    pub concurrency: u32,
    /// Whether its runs have their targets to themselves; none: where what is granted asks for it.
    pub exclusive: Option<bool>,
    /// Whether its runs wait until somebody approves them.
    pub approval: bool,
    /// How bad a report must be for its run to count as failed.
    pub fail_on: rota_config::FailOn,
    /// Which of its runs are recorded.
    pub record: rota_config::Record,
    /// Whether something follows the end of its runs: another job, or a pause after failures. Known beforehand: it is asked for with each run.
    pub followed: bool,
}

impl Settings {
    /// From a configuration.
    ///
    /// # Errors
    /// When the store's secret cannot be read.
    pub fn from_config(config: &rota_config::Config) -> Result<Self, rota_config::TargetError> {
        let bindings = config.bindings.iter().map(|(name, binding)| (name.to_string(), binding.clone())).collect();
        let waited_for: HashSet<&str> = config
            .jobs
            .values()
            .filter(|job| job.enabled)
            .flat_map(|job| &job.after)
            .map(|after| after.job.as_str())
            .collect();
        let jobs = config
            .jobs
            .iter()
            .map(|(name, job)| {
                let team = config.teams_of(name.as_str()).next().map(|(_, team)| &team.limits);
                (name.to_string(), JobSettings::from_config(config, job, team, waited_for.contains(name.as_str())))
            })
            .collect();
        let store = match config.store.connection()? {
            Some(url) => StoreChoice::Postgres { url },
            None => StoreChoice::Sqlite {
                folder: config
                    .store
                    .path
                    .as_ref()
                    .and_then(|path| path.parent())
                    .map_or_else(|| config.state_dir(), PathBuf::from),
            },
        };
        Ok(Self {
            bindings,
            jobs,
            teams: config.teams.iter().map(|(name, team)| (name.to_string(), Arc::new(team.clone()))).collect(),
            limits: limits(&config.limits),
            max_memory: config.sandbox.pool_memory.as_u64(),
            state_dir: config.state_dir(),
            artifacts: config.store.artifacts.as_ref().map(ToString::to_string),
            store,
        })
    }
}

impl Settings {
    /// Whether something follows the end of any job's runs.
    pub(crate) fn follows(&self) -> bool {
        self.jobs.values().any(|job| {
            job.enabled && !job.after.is_empty() || job.schedule.as_ref().is_some_and(|s| s.pause_after_failures > 0)
        })
    }
}

impl JobSettings {
    fn from_config(
        config: &rota_config::Config,
        job: &rota_config::Job,
        team: Option<&rota_config::LimitOverrides>,
        waited_for: bool,
    ) -> Self {
        // What the job does not say itself is no more than its team may have.
        let mut own = config.limits.with(&job.limits);
        own.wall = job.longest_attempt(&config.limits);
        let limits = limits(&team.map_or_else(|| own.clone(), |team| own.within(team)));
        let labels = |labels: &rota_config::Labels| {
            labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let words = |slot: &rota_config::SlotBinding| slot.access.iter().map(ToString::to_string).collect();
        Self {
            plugin: job.plugin.to_string(),
            parameters: job.parameters.clone(),
            slots: job
                .slots
                .iter()
                .map(|(name, slot)| (name.to_string(), (slot.binding.to_string(), words(slot))))
                .collect(),
            limits,
            confirm: job.confirm.clone(),
            description: job.description.clone(),
            enabled: job.enabled,
            schedule: job.schedule.clone(),
            after: job.after.iter().map(|after| (after.job.to_string(), after.on)).collect(),
            retry: job.retries.policy(),
            undo: job.undo.policy(),
            run_timeout: job.timeout.map(Into::into),
            labels: labels(&job.labels),
            host_labels: labels(&job.hosts),
            priority: job.priority,
            concurrency: job.concurrency,
            exclusive: job.exclusive,
            approval: job.approval,
            fail_on: job.fail_on,
            record: job.record,
            followed: waited_for || job.schedule.as_ref().is_some_and(|schedule| schedule.pause_after_failures > 0),
        }
    }
}

/// The limits of a configuration, as a run takes them.
pub(crate) fn limits(limits: &rota_config::Limits) -> Limits {
    Limits {
        memory: limits.memory.as_u64(),
        table_elements: u64::from(limits.table_elements),
        cpu: limits.cpu.into(),
        wall: limits.wall.into(),
        grace: limits.grace.into(),
        calls_in_flight: limits.host_calls_in_flight as usize,
        handles: limits.handles as usize,
        call_bytes: limits.host_call_bytes.as_usize(),
        log_lines_per_second: limits.log_lines_per_second,
        log_bytes: limits.log_bytes.as_u64(),
        report: limits.report_bytes.as_usize(),
        artifacts: limits.artifact_bytes.as_u64(),
        effects: u64::from(limits.effects),
        steps: u64::from(limits.steps),
        step_result: limits.step_result_bytes.as_usize(),
        compensations: u64::from(limits.compensations),
        compensation_state: limits.compensation_state_bytes.as_usize(),
        durable: limits.durable_bytes.as_u64(),
        record: limits.record_bytes.as_u64(),
    }
}
