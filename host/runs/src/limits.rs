//! Limits from text: `memory=512MiB`, `cpu=5m`.

use crate::prepare::nearest;
use rota_capability::Limits;
use rota_config::{ByteSize, Limits as Configured};
use std::fmt::Display;
use std::str::FromStr;

/// A limit that cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Not `limit=value`.
    #[error("`{0}` is no limit: write --limit memory=512MiB, for example")]
    Form(String),
    /// No such limit.
    #[error("there is no limit `{name}`{}; there are: {}", nearest.as_ref().map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default(), NAMES.join(", "))]
    Unknown {
        /// What was named.
        name: String,
        /// The nearest.
        nearest: Option<String>,
    },
    /// The value does not serve.
    #[error("the limit `{name}` cannot be `{value}`: {reason}")]
    Value {
        /// The limit.
        name: String,
        /// The value.
        value: String,
        /// Why.
        reason: String,
    },
}

const NAMES: [&str; 19] = [
    "memory",
    "table_elements",
    "cpu",
    "wall",
    "grace",
    "host_calls_in_flight",
    "handles",
    "host_call_bytes",
    "log_lines_per_second",
    "log_bytes",
    "report_bytes",
    "artifact_bytes",
    "effects",
    "steps",
    "step_result_bytes",
    "compensations",
    "compensation_state_bytes",
    "durable_bytes",
    "record_bytes",
];

/// Set one limit.
///
/// # Errors
/// [`LimitError`], which names the limits there are.
pub fn set_limit(limits: &mut Limits, text: &str, max_memory: u64) -> Result<(), LimitError> {
    let (name, value) = text.split_once('=').ok_or_else(|| LimitError::Form(text.into()))?;
    // A job's time-out is its wall time.
    let name = if name == "timeout" { "wall" } else { name };
    let wrong = |reason: String| LimitError::Value { name: name.into(), value: value.into(), reason };
    // Read as the configuration reads it, so that both allow the same.
    let one = one(name, value, &wrong)?;
    one.check().map_err(|(_, least, most)| wrong(format!("it is between {least} and {most}")))?;
    if name == "memory" && one.memory.as_u64() > max_memory {
        let most = ByteSize::bytes(max_memory);
        return Err(wrong(format!("the sandbox is set up for {most} at most; raise [sandbox] pool_memory")));
    }
    take(limits, name, crate::settings::limits(&one));
    Ok(())
}

/// The limits of a configuration that sets this one.
fn one(name: &str, value: &str, wrong: &dyn Fn(String) -> LimitError) -> Result<Configured, LimitError> {
    fn read<T: FromStr<Err: Display>>(text: &str, wrong: &dyn Fn(String) -> LimitError) -> Result<T, LimitError> {
        text.parse().map_err(|error: T::Err| wrong(error.to_string()))
    }
    let mut limits = Configured::default();
    match name {
        "memory" => limits.memory = read(value, wrong)?,
        "table_elements" => limits.table_elements = read(value, wrong)?,
        "cpu" => limits.cpu = read(value, wrong)?,
        "wall" => limits.wall = read(value, wrong)?,
        "grace" => limits.grace = read(value, wrong)?,
        "host_calls_in_flight" => limits.host_calls_in_flight = read(value, wrong)?,
        "handles" => limits.handles = read(value, wrong)?,
        "host_call_bytes" => limits.host_call_bytes = read(value, wrong)?,
        "log_lines_per_second" => limits.log_lines_per_second = read(value, wrong)?,
        "log_bytes" => limits.log_bytes = read(value, wrong)?,
        "report_bytes" => limits.report_bytes = read(value, wrong)?,
        "artifact_bytes" => limits.artifact_bytes = read(value, wrong)?,
        "effects" => limits.effects = read(value, wrong)?,
        "steps" => limits.steps = read(value, wrong)?,
        "step_result_bytes" => limits.step_result_bytes = read(value, wrong)?,
        "compensations" => limits.compensations = read(value, wrong)?,
        "compensation_state_bytes" => limits.compensation_state_bytes = read(value, wrong)?,
        "durable_bytes" => limits.durable_bytes = read(value, wrong)?,
        "record_bytes" => limits.record_bytes = read(value, wrong)?,
        unknown => return Err(LimitError::Unknown { name: unknown.into(), nearest: nearest(unknown, NAMES) }),
    }
    Ok(limits)
}

/// Take over the limit of this name, and no other.
fn take(limits: &mut Limits, name: &str, from: Limits) {
    match name {
        "memory" => limits.memory = from.memory,
        "table_elements" => limits.table_elements = from.table_elements,
        "cpu" => limits.cpu = from.cpu,
        "wall" => limits.wall = from.wall,
        "grace" => limits.grace = from.grace,
        "host_calls_in_flight" => limits.calls_in_flight = from.calls_in_flight,
        "handles" => limits.handles = from.handles,
        "host_call_bytes" => limits.call_bytes = from.call_bytes,
        "log_lines_per_second" => limits.log_lines_per_second = from.log_lines_per_second,
        "log_bytes" => limits.log_bytes = from.log_bytes,
        "report_bytes" => limits.report = from.report,
        "artifact_bytes" => limits.artifacts = from.artifacts,
        "steps" => limits.steps = from.steps,
        "step_result_bytes" => limits.step_result = from.step_result,
        "compensations" => limits.compensations = from.compensations,
        "compensation_state_bytes" => limits.compensation_state = from.compensation_state,
        "durable_bytes" => limits.durable = from.durable,
        "record_bytes" => limits.record = from.record,
        _ => limits.effects = from.effects,
    }
}
