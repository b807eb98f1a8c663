//! Values of a recording, as a case writes them.

use crate::world::payload;
use crate::written::{inline, text};
use rota_recording::Call;
use serde_json::{Value, json};

pub(super) fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn parsed(value: &Value) -> Value {
    value.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| value.clone())
}

/// How a stream ended, where not well.
pub(super) fn ending(call: &Call) -> String {
    match &call.outcome {
        Some(Err(error)) => format!("error = {}", inline(&failure(error))),
        _ => String::new(),
    }
}

pub(super) fn bytes(bytes: &[u8]) -> String {
    use base64::Engine as _;
    match std::str::from_utf8(bytes) {
        Ok(plain) => format!("text = {}", text(plain)),
        Err(_) => format!("base64 = {}", text(&base64::engine::general_purpose::STANDARD.encode(bytes))),
    }
}

/// A parameter to be told apart by; times and the like are other ones the next time.
pub(super) fn parameter(value: &Value) -> Value {
    match value {
        Value::Object(map) if ["timestamptz", "timestamp", "time"].iter().any(|case| map.contains_key(*case)) => {
            json!("*")
        }
        other => match payload(other) {
            Value::Null => json!("null"),
            other => crate::world::unfloated(&other),
        },
    }
}

/// A cell as a case writes it.
pub(super) fn cell(value: &Value) -> Value {
    use chrono::{DateTime, NaiveTime};
    let Value::Object(map) = value else { return payload(value) };
    let Some((case, held)) = map.iter().next() else { return Value::Null };
    let instant = |micros: i64| DateTime::from_timestamp_micros(micros);
    match (case.as_str(), held.as_i64()) {
        ("timestamptz", Some(i64::MAX)) | ("timestamp", Some(i64::MAX)) => json!("infinity"),
        ("timestamptz", Some(i64::MIN)) | ("timestamp", Some(i64::MIN)) => json!("-infinity"),
        ("timestamptz", Some(micros)) => {
            instant(micros).map_or(Value::Null, |at| json!(at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()))
        }
        ("timestamp", Some(micros)) => {
            instant(micros).map_or(Value::Null, |at| json!(at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()))
        }
        ("date", Some(days)) => instant(days.saturating_mul(86_400_000_000))
            .map_or(Value::Null, |at| json!(at.format("%Y-%m-%d").to_string())),
        ("time", Some(micros)) => {
            let seconds = u32::try_from(micros / 1_000_000).unwrap_or(0);
            let nanos = u32::try_from(micros % 1_000_000 * 1_000).unwrap_or(0);
            NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos)
                .map_or(Value::Null, |time| json!(time.to_string()))
        }
        ("lsn", _) => held.as_u64().map_or(Value::Null, |at| json!(format!("{:X}/{:X}", at >> 32, at & 0xffff_ffff))),
        ("bytes", _) => held.get("$bytes").cloned().unwrap_or_else(|| json!("")),
        ("json", _) => held.clone(),
        _ => crate::world::unfloated(held),
    }
}

/// An error of the contract, as a case writes it.
pub(super) fn failure(error: &Value) -> Value {
    if error == "cancelled" {
        return json!({ "kind": "cancelled" });
    }
    let Some((kind, held)) = error.as_object().and_then(|map| map.iter().next()) else {
        return json!({ "kind": "unavailable", "message": shown(error) });
    };
    if kind != "failed" {
        return json!({ "kind": kind, "message": held });
    }
    json!({
        "kind": "failed", "code": held["code"], "message": held["message"], "detail": held["detail"], "retryable": held["retryable"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_written_as_a_case_reads_them() {
        for (shown, type_name, written) in [
            (json!({ "timestamptz": 1_000_000 }), "timestamptz", json!("1970-01-01T00:00:01.000000Z")),
            (json!({ "date": 1 }), "date", json!("1970-01-02")),
            (json!({ "time": 1_000_000 }), "time", json!("00:00:01")),
            (json!({ "lsn": 4_294_967_312_u64 }), "pg_lsn", json!("1/10")),
            (json!({ "int64": 5 }), "int8", json!(5)),
            (json!({ "bytes": { "$bytes": "AP8=" } }), "bytea", json!("AP8=")),
            (json!({ "texts": ["a", null] }), "text[]", json!(["a", null])),
        ] {
            assert_eq!(cell(&shown), written);
            let read =
                crate::world::rows::value(type_name, &written).unwrap_or_else(|why| panic!("{type_name}: {why}"));
            assert_eq!(rota_capability::tape::shown(&read), shown, "{type_name}");
        }
    }
}
