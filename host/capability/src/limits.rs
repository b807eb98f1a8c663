//! The limits of one run. Each has a default, a setting, and an error that names both.

use std::time::Duration;
use wasmtime::ResourceLimiter;

/// What a run may use. Sizes in bytes.
///
/// | limit | setting in `[limits]` | bounds |
/// | --- | --- | --- |
/// | `memory` | `memory` | linear memory of all instances of the run together |
/// | `table_elements` | `table_elements` | elements of all tables |
/// | `stack` | `stack` of `[sandbox]` | wasm stack (one for the whole host) |
/// | `cpu` | `cpu` | time in which guest code is running |
/// | `wall` | `wall` (`timeout` of a job) | time since the run started |
/// | `grace` | `grace` | time that a procedure has to end by itself once its run is cancelled |
/// | `calls_in_flight` | `host_calls_in_flight` | async host calls at once |
/// | `handles` | `handles` | resources, streams and futures held at once |
/// | `call_bytes` | `host_call_bytes` | bytes copied out of the guest by one host call |
/// | `log_lines_per_second` | `log_lines_per_second` | log lines; more are dropped and counted |
/// | `log_bytes` | `log_bytes` | log text of the whole run; more is dropped and counted |
/// | `report` | `report_bytes` | the report |
/// | `artifacts` | `artifact_bytes` | all artifacts of the run together |
/// | `effects` | `effects` | effects, planned ones included |
/// | `steps` | `steps` | steps begun by one attempt |
/// | `step_result` | `step_result_bytes` | the result of one step |
/// | `compensations` | `compensations` | compensations registered by one attempt |
/// | `compensation_state` | `compensation_state_bytes` | the state of one compensation |
/// | `durable` | `durable_bytes` | results and states recorded by one attempt together |
/// | `record` | `record_bytes` | the recording of one attempt, compressed; the run goes on without |
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// Linear memory, bytes.
    pub memory: u64,
    /// Elements of all tables.
    pub table_elements: u64,
    /// Guest CPU time.
    pub cpu: Duration,
    /// Wall time.
    pub wall: Duration,
    /// Time to end by itself, once its run is cancelled: its calls end at once.
    #[serde(default = "grace")]
    pub grace: Duration,
    /// Async host calls at once.
    pub calls_in_flight: usize,
    /// Resources held at once.
    pub handles: usize,
    /// Bytes copied out of the guest by one host call.
    pub call_bytes: usize,
    /// Log lines a second.
    pub log_lines_per_second: u32,
    /// Log text of the run, bytes.
    pub log_bytes: u64,
    /// The report, bytes.
    pub report: usize,
    /// All artifacts together, bytes.
    pub artifacts: u64,
    /// Effects.
    pub effects: u64,
    /// Steps that one attempt begins.
    pub steps: u64,
    /// The result of one step, bytes.
    pub step_result: usize,
    /// Compensations that one attempt registers.
    pub compensations: u64,
    /// The state of one compensation, bytes.
    pub compensation_state: usize,
    /// Results and states that one attempt records, bytes.
    pub durable: u64,
    /// The recording of one attempt, bytes.
    #[serde(default = "record")]
    pub record: u64,
}

/// Of a run that was recorded by a host that knew of none, too.
fn grace() -> Duration {
    Duration::from_secs(5)
}

fn record() -> u64 {
    64 << 20
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            table_elements: 100_000,
            cpu: Duration::from_secs(60),
            wall: Duration::from_secs(3600),
            grace: grace(),
            calls_in_flight: 64,
            handles: 1024,
            call_bytes: 16 << 20,
            log_lines_per_second: 200,
            log_bytes: 16 << 20,
            report: 4 << 20,
            artifacts: 256 << 20,
            effects: 100_000,
            steps: 10_000,
            step_result: 1 << 20,
            compensations: 1_000,
            compensation_state: 1 << 20,
            durable: 64 << 20,
            record: record(),
        }
    }
}

impl Limits {
    /// The lower of these and others, and the settings of those that were higher.
    pub fn within(&self, most: &Self) -> (Self, Vec<&'static str>) {
        let (mut limits, mut lower) = (self.clone(), Vec::new());
        macro_rules! hold {
            ($($field:ident / $setting:ident),* $(,)?) => { $(
                if limits.$field > most.$field {
                    limits.$field = most.$field;
                    lower.push(stringify!($setting));
                }
            )* };
        }
        hold!(
            memory / memory,
            table_elements / table_elements,
            cpu / cpu,
            wall / wall,
            grace / grace,
            calls_in_flight / host_calls_in_flight,
            handles / handles,
            call_bytes / host_call_bytes,
            log_lines_per_second / log_lines_per_second,
            log_bytes / log_bytes,
            report / report_bytes,
            artifacts / artifact_bytes,
            effects / effects,
            steps / steps,
            step_result / step_result_bytes,
            compensations / compensations,
            compensation_state / compensation_state_bytes,
            durable / durable_bytes,
            record / record_bytes,
        );
        (limits, lower)
    }
}

/// A run went over one of its limits and is ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the run went over its limit of {limit} {what}; raise it with {}", raise(.setting))]
pub struct LimitExceeded {
    /// The setting.
    pub setting: &'static str,
    /// The limit, with its unit.
    pub limit: String,
    /// Of what.
    pub what: &'static str,
}

impl LimitExceeded {
    /// A limit that was gone over.
    pub fn new(setting: &'static str, limit: impl ToString, what: &'static str) -> Self {
        Self { setting, limit: limit.to_string(), what }
    }
}

/// The stack is the whole host's; every other limit is set by run, by job, or for all.
fn raise(setting: &str) -> String {
    match setting {
        "stack" => "[sandbox] stack = ... (for the whole host)".to_owned(),
        setting => format!("--limit {setting}=..., or {setting} = ... in [jobs.NAME.limits] or [limits]"),
    }
}

/// Holds a store to its memory and tables. A growth beyond them ends the run (instead of a failed
/// `memory.grow`, which guests turn into traps that name nothing).
#[derive(Debug)]
pub struct Limiter {
    memory_limit: u64,
    table_limit: u64,
    memory: u64,
    tables: u64,
}

impl Limiter {
    /// With the limits of a run.
    pub fn new(limits: &Limits) -> Self {
        Self { memory_limit: limits.memory, table_limit: limits.table_elements, memory: 0, tables: 0 }
    }

    /// The linear memory held now, bytes.
    pub fn memory(&self) -> u64 {
        self.memory
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory - (current as u64).min(self.memory) + desired as u64;
        if total > self.memory_limit {
            return Err(LimitExceeded::new("memory", mebibytes(self.memory_limit), "of memory").into());
        }
        self.memory = total;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.tables - (current as u64).min(self.tables) + desired as u64;
        if total > self.table_limit {
            return Err(LimitExceeded::new("table_elements", self.table_limit, "table elements").into());
        }
        self.tables = total;
        Ok(true)
    }
}

fn mebibytes(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{} MiB", bytes >> 20) } else { format!("{bytes} bytes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_of_two_holds_and_what_was_higher_is_named_by_its_setting() {
        let most = Limits::default();
        assert_eq!(most.within(&most), (most.clone(), Vec::new()));
        let asked = Limits { memory: u64::MAX, wall: Duration::MAX, call_bytes: 1, report: usize::MAX, ..most.clone() };
        let (held, lower) = asked.within(&most);
        assert_eq!(held, Limits { call_bytes: 1, ..most });
        assert_eq!(lower, ["memory", "wall", "report_bytes"]);
    }
}
