//! What a record shows of a statement: the text as the server would see it, and its parameters, bounded and masked.

use crate::wit::Value;
use rota_authority::Exact;
use rota_telemetry::{mask, sanitize_text};
use std::fmt::Write as _;

/// The most bytes of a detail. Whoever agrees to it reads it: what a person writes by hand is there whole.
const LONGEST: usize = 64 << 10;
/// The most bytes of one parameter.
const PARAMETER: usize = 2_000;

/// The statement with its parameters listed behind it.
pub fn statement_detail(statement: &str, parameters: &[Value]) -> String {
    let mut text = statement.trim().to_owned();
    for (at, value) in parameters.iter().enumerate() {
        // What is cut off anyway need not be printed.
        if text.len() > LONGEST * 2 {
            break;
        }
        let lead = if at == 0 { "\n-- " } else { ", " };
        let _ = write!(text, "{lead}${} = {}", at + 1, shown(value));
    }
    // A carriage return ends a line for the server, a comment's too: it must for whoever reads this.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    // Masked last: what a character that is taken out had kept apart is a secret again.
    cut(&mask(&sanitize_text(&text)), LONGEST)
}

/// The statement and its parameters, whole.
pub fn exact(statement: &str, parameters: &[Value]) -> Exact {
    let carried = parameters.iter().map(size).fold(statement.len(), usize::saturating_add);
    Exact::of([statement.to_owned()].into_iter().chain(parameters.iter().map(|value| format!("{value:?}"))))
        .carrying(carried as u64)
}

/// How many bytes of a value go to the server: those of its text or elements, without what frames them.
fn size(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Boolean(_) => 1,
        Value::Int16(_) => 2,
        Value::Int32(_) | Value::Float32(_) | Value::Oid(_) | Value::Date(_) => 4,
        Value::Int64(_)
        | Value::Float64(_)
        | Value::Xid(_)
        | Value::Lsn(_)
        | Value::Time(_)
        | Value::Timestamp(_)
        | Value::Timestamptz(_) => 8,
        Value::Interval(_) => 16,
        Value::Numeric(text)
        | Value::Text(text)
        | Value::Json(text)
        | Value::Uuid(text)
        | Value::Inet(text)
        | Value::Regclass(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Booleans(items) => items.len(),
        Value::Integers(items) => items.len().saturating_mul(8),
        Value::Floats(items) => items.len().saturating_mul(8),
        Value::Texts(items) => items.iter().flatten().map(String::len).sum(),
        Value::Vector(elements) => elements.len().saturating_mul(4),
    }
}

fn shown(value: &Value) -> String {
    let list = |length: usize, what: &str| format!("{length} {what}");
    match value {
        Value::Null => "NULL".into(),
        Value::Boolean(b) => b.to_string(),
        Value::Int16(n) => n.to_string(),
        Value::Int32(n) => n.to_string(),
        Value::Int64(n) => n.to_string(),
        Value::Float32(x) => x.to_string(),
        Value::Float64(x) => x.to_string(),
        Value::Oid(n) => n.to_string(),
        Value::Xid(n) => n.to_string(),
        Value::Numeric(text) => cut(text, PARAMETER),
        Value::Text(text) | Value::Json(text) | Value::Uuid(text) | Value::Inet(text) | Value::Regclass(text) => {
            format!("'{}'", cut(text, PARAMETER).replace('\'', "''"))
        }
        Value::Lsn(n) => format!("{:X}/{:X}", n >> 32, n & 0xffff_ffff),
        Value::Date(days) => format!("date, {days} days since 1970"),
        Value::Time(us) => format!("time, {us} us since midnight"),
        Value::Timestamp(us) => format!("timestamp, {us} us since 1970"),
        Value::Timestamptz(us) => format!("timestamptz, {us} us since 1970"),
        Value::Interval(i) => format!("interval, {} months {} days {} us", i.months, i.days, i.microseconds),
        Value::Bytes(bytes) => list(bytes.len(), "bytes"),
        Value::Booleans(items) => list(items.len(), "booleans"),
        Value::Integers(items) => list(items.len(), "integers"),
        Value::Floats(items) => list(items.len(), "floats"),
        Value::Texts(items) => {
            let first: Vec<String> =
                items.iter().take(5).map(|item| item.as_ref().map_or_else(|| "NULL".into(), |t| cut(t, 40))).collect();
            format!(
                "[{}{}]",
                first.join(", "),
                if items.len() > 5 { format!(" ... {} in all", items.len()) } else { String::new() }
            )
        }
        Value::Vector(elements) => list(elements.len(), "dimensions"),
    }
}

/// The beginning and the end of a text, with a word on what was left out between them.
fn cut(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let room = longest.saturating_sub(60);
    let begin = text.floor_char_boundary(room / 2);
    let end = text.ceil_char_boundary(text.len() - room / 2);
    format!("{} ... ({} of {} bytes left out) ... {}", &text[..begin], end - begin, text.len(), &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_shows_the_statement_and_its_parameters_within_bounds() {
        let detail =
            statement_detail("  update t set a = $1 where b = $2", &[Value::Int32(5), Value::Text("it's".into())]);
        assert_eq!(detail, "update t set a = $1 where b = $2\n-- $1 = 5, $2 = 'it''s'");
        let long = statement_detail(&"x".repeat(100_000), &vec![Value::Text("y".repeat(10_000)); 1_000]);
        assert!(long.len() <= LONGEST, "{}", long.len());
    }

    #[test]
    fn a_secret_in_a_parameter_is_masked() {
        let secret = rota_telemetry::Secret::new("c4nary-of-detail");
        assert!(!statement_detail("select $1", &[Value::Text(secret.expose().to_owned())]).contains("c4nary"));
    }
}
