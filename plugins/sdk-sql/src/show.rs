//! Values between JSON and the server.

use rota_sdk::Cell;
use rota_sdk::prelude::*;
use rota_sdk::sql::Value;

const DAY: i64 = 86_400_000_000;

/// A parameter as it is bound.
///
/// # Errors
/// For a list or an object, and for a number that no type holds.
pub fn bound(value: &Json) -> Result<Value> {
    Ok(match value {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Boolean(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Int64(whole),
            (None, Some(number)) => Value::Float64(number),
            (None, None) => return Err(Error::new(format!("{number} is too large a number to be bound"))),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(_) | Json::Object(_) => {
            return Err(Error::new("values are texts, numbers, booleans and null")
                .hint("give JSON as a text, and cast: $1::jsonb"));
        }
    })
}

/// A value as JSON has it: numbers as numbers, everything else as PostgreSQL writes it.
pub fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(x) => json!(x),
        Value::Int16(x) => json!(x),
        Value::Int32(x) => json!(x),
        Value::Int64(x) => json!(x),
        Value::Float32(x) => json!(x),
        Value::Float64(x) => json!(x),
        Value::Oid(x) => json!(x),
        Value::Xid(x) => json!(x),
        Value::Numeric(x) | Value::Text(x) | Value::Uuid(x) | Value::Inet(x) | Value::Regclass(x) => json!(x),
        Value::Json(x) => x.parse().unwrap_or_else(|_| json!(x)),
        Value::Bytes(x) => json!(format!("\\x{}", x.iter().map(|byte| format!("{byte:02x}")).collect::<String>())),
        Value::Date(i32::MAX) | Value::Timestamp(i64::MAX) | Value::Timestamptz(i64::MAX) => json!("infinity"),
        Value::Date(i32::MIN) | Value::Timestamp(i64::MIN) | Value::Timestamptz(i64::MIN) => json!("-infinity"),
        Value::Date(days) => {
            json!(Timestamp(i64::from(*days).saturating_mul(DAY)).to_string().trim_end_matches("T00:00:00Z"))
        }
        Value::Time(micros) => json!(clock(*micros)),
        Value::Timestamp(micros) => json!(Timestamp(*micros).to_string().trim_end_matches('Z')),
        Value::Timestamptz(micros) => json!(Timestamp(*micros).to_string()),
        Value::Interval(x) => json!(format!("{} months {} days {}", x.months, x.days, clock(x.microseconds))),
        Value::Lsn(x) => json!(format!("{:X}/{:X}", x >> 32, x & 0xffff_ffff)),
        Value::Booleans(x) => json!(x),
        Value::Integers(x) => json!(x),
        Value::Floats(x) => json!(x),
        Value::Texts(x) => json!(x),
        Value::Vector(x) => json!(x),
    }
}

/// Hours, minutes, seconds; of an interval also negative.
fn clock(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (seconds, rest) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let fraction = if rest == 0 { String::new() } else { format!(".{rest:06}") };
    format!("{sign}{:02}:{:02}:{:02}{fraction}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A value of a row as a cell of a table.
pub fn cell(value: &Json) -> Cell {
    match value {
        Json::Null => Cell::None,
        Json::Bool(flag) => Cell::Flag(*flag),
        // As it is: neither rounded nor with anything between its digits.
        Json::Number(number) => Cell::Text(number.to_string()),
        Json::String(text) => Cell::Text(text.clone()),
        other => Cell::Text(other.to_string()),
    }
}

/// The rows that a plan expects: of what it changes, where it changes something (the node that does expects none itself).
pub fn expected_rows(plan: &Json) -> Option<f64> {
    if plan["Node Type"] == "ModifyTable" {
        return plan["Plans"].as_array()?.iter().map(|below| below["Plan Rows"].as_f64()).sum();
    }
    plan["Plan Rows"].as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_postgresql_writes_them() {
        for (value, shown) in [
            (Value::Date(0), json!("1970-01-01")),
            (Value::Date(i32::MAX), json!("infinity")),
            (Value::Time(45_296_000_001), json!("12:34:56.000001")),
            (Value::Timestamp(0), json!("1970-01-01T00:00:00")),
            (Value::Lsn(0x1_0000_00ff), json!("1/FF")),
            (Value::Bytes(vec![0, 255]), json!("\\x00ff")),
            (Value::Json("{\"a\":1}".into()), json!({ "a": 1 })),
            (Value::Numeric("1.10".into()), json!("1.10")),
        ] {
            assert_eq!(json(&value), shown);
        }
        assert_eq!(clock(-1_500_000), "-00:00:01.500000");
    }

    #[test]
    fn a_change_expects_what_is_below_it() {
        assert_eq!(expected_rows(&json!({ "Node Type": "Seq Scan", "Plan Rows": 7 })), Some(7.0));
        let change =
            json!({ "Node Type": "ModifyTable", "Plan Rows": 0, "Plans": [{ "Plan Rows": 5 }, { "Plan Rows": 6 }] });
        assert_eq!(expected_rows(&change), Some(11.0));
    }

    #[test]
    fn lists_are_not_bound() {
        assert!(bound(&json!([1])).is_err());
        assert!(matches!(bound(&json!(1)).unwrap(), Value::Int64(1)));
    }
}
