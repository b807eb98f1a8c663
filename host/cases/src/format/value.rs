//! Values as TOML has them, and what is read from texts: times, moments of a run.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::time::Duration;

/// A value, with TOML's instants as their texts.
pub(crate) fn value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    toml::Value::deserialize(deserializer).map(plain)
}

/// The same, where it may be left out.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    value(deserializer).map(Some)
}

/// Rows of values.
pub(crate) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Value>>, D::Error> {
    let all = Vec::<toml::Value>::deserialize(deserializer)?;
    Ok(Some(all.into_iter().map(plain).collect()))
}

/// A value of TOML as one of JSON.
pub(crate) fn plain(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => Value::from(number),
        toml::Value::Boolean(flag) => Value::Bool(flag),
        toml::Value::Datetime(instant) => Value::String(instant.to_string()),
        toml::Value::Array(all) => Value::Array(all.into_iter().map(plain).collect()),
        toml::Value::Table(table) => Value::Object(table.into_iter().map(|(key, value)| (key, plain(value))).collect()),
    }
}

/// A span of time, as in a configuration: `200ms`, `2s`, `5m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<rota_config::Duration>().map(|span| Self(span.into())).map_err(serde::de::Error::custom)
    }
}

/// A moment of a run: before its nth call, or before the nth of one operation is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The operation, as effects name it (`sql.execute`), `*` for any part; none is any call.
    pub(crate) operation: Option<String>,
    /// The how manieth, from 1.
    pub(crate) number: u64,
}

impl Moment {
    /// `call 3`, `sql.execute`, `sql.execute 2`.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (first, second, rest) = (words.next()?, words.next(), words.next());
        let number = match second {
            Some(word) => word.parse().ok().filter(|number| *number > 0)?,
            None if first == "call" => return None,
            None => 1,
        };
        if rest.is_some() || first != "call" && !first.contains('.') && !first.contains('*') {
            return None;
        }
        Some(Self { operation: (first != "call").then(|| first.to_owned()), number })
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.operation.as_deref().unwrap_or("call"), self.number)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` is no moment of a run: write \"call 3\", \"sql.execute\" or \"sql.execute 2\" (the second of them)"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        let read = |text: &str| Moment::parse(text).map(|moment| moment.to_string());
        assert_eq!(read("call 3").as_deref(), Some("call 3"));
        assert_eq!(read("sql.execute").as_deref(), Some("sql.execute 1"));
        assert_eq!(read("storage.* 2").as_deref(), Some("storage.* 2"));
        for wrong in ["", "call", "call 0", "call x", "3", "sql.execute 2 3", "sql.execute -1"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
