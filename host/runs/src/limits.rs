//! Limits from text: `memory=512MiB`, `cpu=5m`.

use crate::prepare::nearest;
use rota_capability::Limits;
use rota_config::{ByteSize, Duration};

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

const NAMES: [&str; 12] = [
    "memory",
    "table_elements",
    "cpu",
    "wall",
    "host_calls_in_flight",
    "handles",
    "host_call_bytes",
    "log_lines_per_second",
    "log_bytes",
    "report_bytes",
    "artifact_bytes",
    "effects",
];

/// Set one limit.
///
/// # Errors
/// [`LimitError`], which names the limits there are.
pub fn set_limit(limits: &mut Limits, text: &str, max_memory: u64) -> Result<(), LimitError> {
    let (name, value) = text.split_once('=').ok_or_else(|| LimitError::Form(text.into()))?;
    let wrong = |reason: String| LimitError::Value { name: name.into(), value: value.into(), reason };
    let size = || value.parse::<ByteSize>().map(ByteSize::as_u64).map_err(|e| wrong(e.to_string()));
    let small_size = || size().and_then(|n| usize::try_from(n).map_err(|e| wrong(e.to_string())));
    let time = || value.parse::<Duration>().map(std::time::Duration::from).map_err(|e| wrong(e.to_string()));
    let count = || value.parse::<u64>().map_err(|e| wrong(e.to_string()));
    match name {
        "memory" => {
            let memory = size()?;
            if memory > max_memory {
                return Err(wrong(format!(
                    "the sandbox is set up for {} at most; raise [sandbox] pool_memory",
                    ByteSize::bytes(max_memory)
                )));
            }
            limits.memory = memory;
        }
        "table_elements" => limits.table_elements = count()?,
        "cpu" => limits.cpu = time()?,
        "wall" | "timeout" => limits.wall = time()?,
        "host_calls_in_flight" => {
            limits.calls_in_flight = usize::try_from(count()?).map_err(|e| wrong(e.to_string()))?
        }
        "handles" => limits.handles = usize::try_from(count()?).map_err(|e| wrong(e.to_string()))?,
        "host_call_bytes" => limits.call_bytes = small_size()?,
        "log_lines_per_second" => {
            limits.log_lines_per_second = u32::try_from(count()?).map_err(|e| wrong(e.to_string()))?
        }
        "log_bytes" => limits.log_bytes = size()?,
        "report_bytes" => limits.report = small_size()?,
        "artifact_bytes" => limits.artifacts = size()?,
        "effects" => limits.effects = count()?,
        unknown => return Err(LimitError::Unknown { name: unknown.into(), nearest: nearest(unknown, NAMES) }),
    }
    Ok(())
}
