//! The probe: a guest that does what its parameters say (tests/guests).

use serde_json::{Value, json};
use std::path::PathBuf;

/// The component.
pub const BYTES: &[u8] = include_bytes!(env!("ROTA_PROBE"));

/// The one that does not export `compensate` (tests/guests-bare).
pub const BARE: &[u8] = include_bytes!(env!("ROTA_PROBE_BARE"));

/// Its file, as a user names it.
#[must_use]
pub fn path() -> PathBuf {
    env!("ROTA_PROBE").into()
}

/// One call of an import with arguments of its own.
#[must_use]
pub fn call(import: &str, arguments: Value) -> Value {
    let mut call = json!({ "import": import });
    if let (Some(call), Value::Object(arguments)) = (call.as_object_mut(), arguments) {
        call.extend(arguments);
    }
    call
}

/// The `-p` arguments for a behaviour with parameters of its own.
#[must_use]
pub fn arguments(what: &str, parameters: &Value) -> Vec<String> {
    let mut arguments = vec!["-p".to_owned(), format!("do={what}")];
    for (key, value) in parameters.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        arguments.extend(["-p".to_owned(), format!("{key}={text}")]);
    }
    arguments
}
