//! How plain values are read.

use std::path::PathBuf;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Number};

use super::{Decode, Reader};
use crate::redact::quoted;
use crate::tree::{Node, Table, Value};
use crate::{ByteSize, Duration};

impl Decode for String {
    const WANTED: &'static str = "a string";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        reader.text(at, &node, Self::WANTED)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// A path; a relative one starts from the folder of the file that it is written in.
impl Decode for PathBuf {
    const WANTED: &'static str = "a path";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let text = reader.text(at, &node, Self::WANTED)?;
        if text.is_empty() || text.contains('\0') {
            return reader.refuse(&node.origin, format!("{at} must be a path, not {}", quoted(&text)));
        }
        Some(reader.sources.path(&node.origin, &text))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

impl Decode for bool {
    const WANTED: &'static str = "true or false";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        match &node.value {
            Value::Boolean(value) => Some(*value),
            Value::Untyped(text) => match text.trim().parse() {
                Ok(value) => Some(value),
                Err(_) => reader.refuse(&node.origin, format!("{at} must be true or false, not {}", quoted(text))),
            },
            _ => reader.wrong_type(at, &node, Self::WANTED),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

macro_rules! whole_number {
    ($type:ty) => {
        impl Decode for $type {
            const WANTED: &'static str = "a whole number";

            fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
                let shown = match &node.value {
                    Value::Integer(number) => match Self::try_from(*number) {
                        Ok(number) => return Some(number),
                        Err(_) => number.to_string(),
                    },
                    Value::Untyped(text) => match text.trim().parse() {
                        Ok(number) => return Some(number),
                        Err(_) => quoted(text),
                    },
                    _ => return reader.wrong_type(at, &node, Self::WANTED),
                };
                let (least, most) = (Self::MIN, Self::MAX);
                reader.refuse(&node.origin, format!("{at} must be a whole number from {least} to {most}, not {shown}"))
            }

            fn schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "integer", "minimum": Self::MIN, "maximum": Self::MAX })
            }
        }
    };
}

whole_number!(u16);
whole_number!(u32);
whole_number!(i32);

impl Decode for f64 {
    const WANTED: &'static str = "a number";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        match &node.value {
            Value::Float(number) => Some(*number),
            Value::Integer(number) => i32::try_from(*number).ok().map(Self::from).or_else(|| {
                reader.refuse(&node.origin, format!("{at} must be a number that is not so large, not {number}"))
            }),
            Value::Untyped(text) => match text.trim().parse::<Self>() {
                Ok(number) if number.is_finite() => Some(number),
                _ => reader.refuse(&node.origin, format!("{at} must be a number, not {}", quoted(text))),
            },
            _ => reader.wrong_type(at, &node, Self::WANTED),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number" })
    }
}

impl Decode for Duration {
    const WANTED: &'static str = "a duration such as \"30s\" or \"2h30m\"";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        if let Value::Integer(number) = node.value {
            let message = format!("{at} is a number without a unit");
            return reader.refuse_with(&node.origin, message, format!("write for example \"{number}s\""));
        }
        let text = reader.text(at, &node, Self::WANTED)?;
        reader.parsed(at, &node.origin, text.parse())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(d|h|m|s|ms))+$", "examples": ["30s", "2h30m"] })
    }
}

impl Decode for ByteSize {
    const WANTED: &'static str = "a size such as \"64MiB\" or \"1.5GiB\"";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        if let Value::Integer(number) = node.value {
            let message = format!("{at} is a number without a unit");
            return reader.refuse_with(
                &node.origin,
                message,
                format!("write for example \"{number}B\" or \"{number}MiB\""),
            );
        }
        let text = reader.text(at, &node, Self::WANTED)?;
        reader.parsed(at, &node.origin, text.parse())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = "^[0-9]+(\\.[0-9]+)? *(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$";
        json_schema!({ "type": "string", "pattern": pattern, "examples": ["64MiB", "1.5GiB"] })
    }
}

/// Values that only a plugin's own schema can judge.
impl Decode for Map<String, serde_json::Value> {
    const WANTED: &'static str = "a table";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let node = reader.typed(node);
        match node.value {
            Value::Table(table) => Some(json_table(reader, table)),
            _ => reader.wrong_type(at, &node, Self::WANTED),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

fn json_table(reader: &Reader, table: Table) -> Map<String, serde_json::Value> {
    table.into_iter().map(|(key, entry)| (key, json(reader, entry.node))).collect()
}

fn json(reader: &Reader, node: Node) -> serde_json::Value {
    match reader.typed(node).value {
        Value::Untyped(text) | Value::String(text) | Value::Datetime(text) => text.into(),
        Value::Integer(number) => number.into(),
        Value::Float(number) => Number::from_f64(number).map_or(serde_json::Value::Null, Into::into),
        Value::Boolean(value) => value.into(),
        Value::Array(values) => values.into_iter().map(|value| json(reader, value)).collect(),
        Value::Table(table) => json_table(reader, table).into(),
    }
}
