//! Rows as a case file writes them, as the contract's values.

use base64::Engine as _;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use rota_capability_sql::wit::{Column, Interval, Value as Sql};
use serde_json::Value;

/// Columns and rows of an answer.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Sql>>,
}

/// Read what a case writes: `columns` are `name` or `name:type`; without a type, the first value says it.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(columns: Option<&[String]>, rows: &[Value]) -> Result<Rows, String> {
    let named: Vec<(String, Option<String>)> = match columns {
        Some(columns) => columns.iter().map(|column| split(column)).collect(),
        None => names(rows)?.into_iter().map(|name| (name, None)).collect(),
    };
    let cells = |row: &Value| -> Result<Vec<Value>, String> {
        match row {
            Value::Array(cells) if cells.len() == named.len() => Ok(cells.clone()),
            Value::Array(cells) => {
                Err(format!("a row has {} values, and there are {} columns", cells.len(), named.len()))
            }
            Value::Object(map) => {
                if let Some(unknown) = map.keys().find(|key| !named.iter().any(|(name, _)| name == *key)) {
                    return Err(format!("a row has a value for `{unknown}`, which is no column"));
                }
                Ok(named.iter().map(|(name, _)| map.get(name).cloned().unwrap_or(Value::Null)).collect())
            }
            other => Err(format!("`{other}` is no row: write a list of values, or a table by the columns' names")),
        }
    };
    let rows: Vec<Vec<Value>> = rows.iter().map(cells).collect::<Result<_, _>>()?;
    let typed: Vec<Column> = named
        .into_iter()
        .enumerate()
        .map(|(at, (name, given))| {
            let type_name = given.unwrap_or_else(|| {
                rows.iter().map(|row| &row[at]).find(|cell| !is_null(cell)).map_or("text", guessed).to_owned()
            });
            Column { name, type_name }
        })
        .collect();
    let values = |row: &Vec<Value>| -> Result<Vec<Sql>, String> {
        let cell = |(column, cell): (&Column, &Value)| {
            value(&column.type_name, cell)
                .map_err(|why| format!("column `{}` ({}): {why}", column.name, column.type_name))
        };
        typed.iter().zip(row).map(cell).collect()
    };
    let rows = rows.iter().map(values).collect::<Result<_, _>>()?;
    Ok(Rows { columns: typed, rows })
}

/// `name:type`; a name may have colons of its own where no type follows.
fn split(column: &str) -> (String, Option<String>) {
    match column.rsplit_once(':') {
        Some((name, type_name)) if !name.is_empty() && !type_name.is_empty() => {
            (name.trim().to_owned(), Some(type_name.trim().to_owned()))
        }
        _ => (column.to_owned(), None),
    }
}

/// The names of columns, of rows that are tables.
fn names(rows: &[Value]) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        match row {
            Value::Object(map) => {
                names.extend(map.keys().filter(|key| !names.contains(key)).cloned().collect::<Vec<_>>())
            }
            Value::Array(cells) if !cells.is_empty() => {
                return Err(
                    "rows that are lists of values need `columns`: columns = [\"table:text\", \"rows:int8\"]".into()
                );
            }
            _ => {}
        }
    }
    Ok(names)
}

/// TOML has no null: a text says it.
fn is_null(value: &Value) -> bool {
    value.is_null() || value == "NULL"
}

fn guessed(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float8",
        Value::Number(_) => "int8",
        Value::Array(all) => match all.first() {
            Some(Value::Bool(_)) => "bool[]",
            Some(Value::Number(number)) if number.is_f64() => "float8[]",
            Some(Value::Number(_)) => "int8[]",
            _ => "text[]",
        },
        Value::Object(_) => "jsonb",
        Value::String(_) | Value::Null => "text",
    }
}

/// One value of a type. `"NULL"` is none, of any type but text's own lists.
///
/// # Errors
/// What the type wants instead.
pub(crate) fn value(type_name: &str, value: &Value) -> Result<Sql, String> {
    if is_null(value) {
        return Ok(Sql::Null);
    }
    let wrong = |wanted: &str| format!("`{value}` is not {wanted}");
    let text = || value.as_str().map(str::to_owned).ok_or_else(|| wrong("a text"));
    let whole = || value.as_i64().ok_or_else(|| wrong("a whole number"));
    fn fits<T: TryFrom<i64>>(number: i64) -> Result<T, String> {
        T::try_from(number).map_err(|_| format!("{number} is out of the type's range"))
    }
    let lower = type_name.to_lowercase();
    Ok(match lower.as_str() {
        "bool" | "boolean" => Sql::Boolean(value.as_bool().ok_or_else(|| wrong("true or false"))?),
        "int2" | "smallint" => Sql::Int16(fits(whole()?)?),
        "int4" | "integer" | "int" => Sql::Int32(fits(whole()?)?),
        "int8" | "bigint" => Sql::Int64(whole()?),
        #[allow(clippy::cast_possible_truncation, reason = "what a real is")]
        "float4" | "real" => Sql::Float32(value.as_f64().ok_or_else(|| wrong("a number"))? as f32),
        "float8" | "double precision" => Sql::Float64(value.as_f64().ok_or_else(|| wrong("a number"))?),
        "numeric" | "decimal" => match value {
            Value::Number(number) => Sql::Numeric(number.to_string()),
            _ => Sql::Numeric(text()?),
        },
        "bytea" => Sql::Bytes(base64::engine::general_purpose::STANDARD.decode(text()?).map_err(|_| wrong("base64"))?),
        "date" => Sql::Date(days(&text()?).ok_or_else(|| wrong("a date (2026-11-26)"))?),
        "time" => Sql::Time(time(&text()?).ok_or_else(|| wrong("a time (13:05:00)"))?),
        "timestamp" => {
            Sql::Timestamp(timestamp(&text()?).ok_or_else(|| wrong("an instant without zone (2026-11-26T13:05:00)"))?)
        }
        "timestamptz" => Sql::Timestamptz(instant(&text()?).ok_or_else(|| wrong("an instant (2026-11-26T13:05:00Z)"))?),
        "interval" => {
            Sql::Interval(interval(value).ok_or_else(|| wrong("a span: seconds, or { months, days, microseconds }"))?)
        }
        "uuid" => Sql::Uuid(text()?),
        "json" | "jsonb" => Sql::Json(match value {
            Value::String(text) if serde_json::from_str::<Value>(text).is_ok() => text.clone(),
            other => other.to_string(),
        }),
        "inet" | "cidr" => Sql::Inet(text()?),
        "pg_lsn" => Sql::Lsn(lsn(&text()?).ok_or_else(|| wrong("a position (0/16B3748)"))?),
        "oid" => Sql::Oid(fits(whole()?)?),
        "xid" | "xid8" => Sql::Xid(fits(whole()?)?),
        "regclass" | "regtype" | "regproc" | "regprocedure" | "regrole" | "regnamespace" => Sql::Regclass(text()?),
        "bool[]" => {
            Sql::Booleans(elements(value, |one| one.as_bool()).ok_or_else(|| wrong("a list of true and false"))?)
        }
        "int2[]" | "int4[]" | "int8[]" => {
            Sql::Integers(elements(value, Value::as_i64).ok_or_else(|| wrong("a list of whole numbers"))?)
        }
        "float4[]" | "float8[]" => {
            Sql::Floats(elements(value, Value::as_f64).ok_or_else(|| wrong("a list of numbers"))?)
        }
        #[allow(clippy::cast_possible_truncation, reason = "what a vector's elements are")]
        "vector" | "halfvec" => Sql::Vector(
            value
                .as_array()
                .and_then(|all| all.iter().map(|one| one.as_f64().map(|one| one as f32)).collect())
                .ok_or_else(|| wrong("a list of numbers"))?,
        ),
        // Arrays of whatever else the server prints.
        list if list.ends_with("[]") => {
            Sql::Texts(elements(value, |one| one.as_str().map(str::to_owned)).ok_or_else(|| wrong("a list of texts"))?)
        }
        // Text, and what has no case of its own: as the server prints it.
        _ => Sql::Text(match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return Err(wrong("a text")),
        }),
    })
}

fn elements<T>(value: &Value, one: impl Fn(&Value) -> Option<T>) -> Option<Vec<Option<T>>> {
    value.as_array()?.iter().map(|each| if is_null(each) { Some(None) } else { one(each).map(Some) }).collect()
}

fn days(text: &str) -> Option<i32> {
    match text {
        "infinity" => return Some(i32::MAX),
        "-infinity" => return Some(i32::MIN),
        _ => {}
    }
    let date: NaiveDate = text.parse().ok()?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

fn time(text: &str) -> Option<i64> {
    let time: NaiveTime = text.parse().ok()?;
    time.signed_duration_since(NaiveTime::MIN).num_microseconds()
}

fn timestamp(text: &str) -> Option<i64> {
    match text {
        "infinity" => return Some(i64::MAX),
        "-infinity" => return Some(i64::MIN),
        _ => {}
    }
    let instant: NaiveDateTime = text.replacen(' ', "T", 1).parse().ok()?;
    Some(instant.and_utc().timestamp_micros())
}

/// An instant in microseconds since 1970; `now - 2h` is told from when it is asked.
pub(crate) fn instant(text: &str) -> Option<i64> {
    match text {
        "infinity" => return Some(i64::MAX),
        "-infinity" => return Some(i64::MIN),
        _ => {}
    }
    if let Some(offset) = text.strip_prefix("now") {
        let now = chrono::Utc::now().timestamp_micros();
        let span = |text: &str| {
            let span: std::time::Duration = text.trim().parse::<rota_config::Duration>().ok()?.into();
            i64::try_from(span.as_micros()).ok()
        };
        let offset = offset.trim();
        return match offset.chars().next() {
            None => Some(now),
            Some('-') => span(&offset[1..]).map(|span| now - span),
            Some('+') => span(&offset[1..]).map(|span| now + span),
            Some(_) => None,
        };
    }
    let text = text.replacen(' ', "T", 1);
    DateTime::parse_from_rfc3339(&text).ok().map(|instant| instant.timestamp_micros())
}

fn interval(value: &Value) -> Option<Interval> {
    if let Some(seconds) = value.as_f64() {
        #[allow(clippy::cast_possible_truncation, reason = "as the interval is kept")]
        return Some(Interval { months: 0, days: 0, microseconds: (seconds * 1e6) as i64 });
    }
    let part = |name: &str| value.get(name).map_or(Some(0), Value::as_i64);
    value.as_object()?;
    Some(Interval {
        months: part("months")?.try_into().ok()?,
        days: part("days")?.try_into().ok()?,
        microseconds: part("microseconds")?,
    })
}

fn lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let (high, low) = (u32::from_str_radix(high, 16).ok()?, u32::from_str_radix(low, 16).ok()?);
    Some(u64::from(high) << 32 | u64::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_type_is_read() {
        for (type_name, written, wanted) in [
            ("bool", json!(true), Sql::Boolean(true)),
            ("int2", json!(1), Sql::Int16(1)),
            ("int4", json!(1), Sql::Int32(1)),
            ("int8", json!(i64::MAX), Sql::Int64(i64::MAX)),
            ("float8", json!(1), Sql::Float64(1.0)),
            ("numeric", json!("1.50"), Sql::Numeric("1.50".into())),
            ("text", json!("a"), Sql::Text("a".into())),
            ("bytea", json!("AP8="), Sql::Bytes(vec![0, 255])),
            ("date", json!("1970-01-02"), Sql::Date(1)),
            ("time", json!("00:00:01"), Sql::Time(1_000_000)),
            ("timestamp", json!("1970-01-01 00:00:01"), Sql::Timestamp(1_000_000)),
            ("timestamptz", json!("1970-01-01T01:00:01+01:00"), Sql::Timestamptz(1_000_000)),
            ("interval", json!({ "days": 2 }), Sql::Interval(Interval { months: 0, days: 2, microseconds: 0 })),
            ("jsonb", json!({ "a": 1 }), Sql::Json(r#"{"a":1}"#.into())),
            ("pg_lsn", json!("1/10"), Sql::Lsn(1 << 32 | 16)),
            ("xid", json!(7), Sql::Xid(7)),
            ("regclass", json!("public.a"), Sql::Regclass("public.a".into())),
            ("text[]", json!(["a", "NULL"]), Sql::Texts(vec![Some("a".into()), None])),
            ("int4[]", json!([1]), Sql::Integers(vec![Some(1)])),
            ("vector", json!([0.5]), Sql::Vector(vec![0.5])),
            ("money", json!("$1"), Sql::Text("$1".into())),
            ("int8", json!("NULL"), Sql::Null),
        ] {
            assert_eq!(value(type_name, &written), Ok(wanted), "{type_name}");
        }
        for (type_name, written) in [
            ("int2", json!(70_000)),
            ("bool", json!(1)),
            ("date", json!("x")),
            ("int4[]", json!("a")),
            ("text", json!([1])),
        ] {
            assert!(value(type_name, &written).is_err(), "{type_name}");
        }
    }

    #[test]
    fn an_instant_may_be_told_from_now() {
        let now = chrono::Utc::now().timestamp_micros();
        let ago = instant("now - 2h").unwrap();
        assert!((now - ago - 7_200_000_000).abs() < 10_000_000, "{ago}");
        assert_eq!(instant("now * 2"), None);
    }

    #[test]
    fn columns_are_named_typed_or_guessed() {
        let columns = ["table:text".to_owned(), "rows".to_owned(), "b:float8".to_owned()];
        let read_ = read(Some(&columns), &[json!(["a", 1, 2]), json!({ "table": "b", "b": 0.5 })]).unwrap();
        let types: Vec<&str> = read_.columns.iter().map(|column| column.type_name.as_str()).collect();
        assert_eq!(types, ["text", "int8", "float8"]);
        assert_eq!(read_.rows[1], [Sql::Text("b".into()), Sql::Null, Sql::Float64(0.5)]);
        assert!(read(None, &[json!([1])]).unwrap_err().contains("need `columns`"));
        assert!(read(Some(&columns), &[json!([1])]).unwrap_err().contains("3 columns"));
        assert!(read(Some(&columns), &[json!({ "x": 1 })]).unwrap_err().contains("no column"));
        assert_eq!(read(None, &[]).unwrap().columns, []);
        assert_eq!(read(None, &[json!({ "a": true })]).unwrap().columns[0].type_name, "bool");
    }
}
