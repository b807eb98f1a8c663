//! What the configuration says, as runs need it.

use rota_capability::Limits;
use rota_config::Binding;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What runs need of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The bindings by name.
    pub bindings: BTreeMap<String, Binding>,
    /// The jobs by name.
    pub jobs: BTreeMap<String, JobSettings>,
    /// The limits of a run that sets none.
    pub limits: Limits,
    /// The largest memory limit that the sandbox was set up for, bytes.
    pub max_memory: u64,
    /// The state directory.
    pub state_dir: PathBuf,
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
    /// Its limits, the time-out among them.
    pub limits: Limits,
    /// The typed confirmation that the operator gave once, in the configuration.
    pub confirm: Option<String>,
}

impl Settings {
    /// From a configuration.
    pub fn from_config(config: &rota_config::Config) -> Self {
        let bindings = config.bindings.iter().map(|(name, binding)| (name.to_string(), binding.clone())).collect();
        let jobs =
            config.jobs.iter().map(|(name, job)| (name.to_string(), JobSettings::from_config(config, job))).collect();
        Self {
            bindings,
            jobs,
            limits: limits(&config.limits),
            max_memory: config.sandbox.pool_memory.as_u64(),
            state_dir: config.state_dir(),
        }
    }
}

impl JobSettings {
    fn from_config(config: &rota_config::Config, job: &rota_config::Job) -> Self {
        let mut limits = limits(&config.limits.with(&job.limits));
        if let Some(timeout) = job.timeout {
            limits.wall = timeout.into();
        }
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
    }
}
