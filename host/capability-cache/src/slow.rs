//! What a server says of a slow command.

use crate::shape::shape;
use crate::wit::SlowCommand;
use fred::prelude::Value;

/// An entry of SLOWLOG: id, seconds, microseconds, words, and (since Redis 4) who and the name of the client.
pub(crate) fn slow(node: u32, entry: Value) -> Option<SlowCommand> {
    let mut parts = entry.into_array().into_iter();
    let (id, at, microseconds) = (parts.next()?.as_u64()?, parts.next()?.as_i64()?, parts.next()?.as_u64()?);
    let words: Vec<bytes::Bytes> = parts.next()?.into_array().into_iter().filter_map(Value::into_bytes).collect();
    let named = parts.nth(1).and_then(Value::into_string).filter(|name| !name.is_empty());
    let (words, total) = uncut(words);
    Some(SlowCommand {
        node,
        id,
        at: at.saturating_mul(1_000_000),
        microseconds,
        command: shape(&words, total),
        client_name: named.map(|name| rota_telemetry::clean_line(&name).chars().take(64).collect()),
    })
}

/// A server keeps 32 words of a command and says of the rest `... (7 more arguments)`.
fn uncut(mut words: Vec<bytes::Bytes>) -> (Vec<bytes::Bytes>, usize) {
    let more = words.last().and_then(|last| {
        let text = std::str::from_utf8(last).ok()?;
        text.strip_prefix("... (")?.strip_suffix(" more arguments)")?.parse::<usize>().ok()
    });
    if more.is_some() {
        words.pop();
    }
    let total = words.len().saturating_add(more.unwrap_or(0));
    (words, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::String(text.into())
    }

    #[test]
    fn a_slow_command_is_read_without_its_arguments() {
        let words = vec![text("HSET"), text("user:1"), text("c4nary"), text("... (7 more arguments)")];
        let entry = vec![
            Value::Integer(9),
            Value::Integer(1_700_000_000),
            Value::Integer(12_345),
            Value::Array(words),
            text("10.0.0.1:5000"),
            text("api"),
        ];
        let slow = slow(2, Value::Array(entry)).unwrap();
        assert_eq!((slow.node, slow.id, slow.microseconds, slow.at), (2, 9, 12_345, 1_700_000_000_000_000));
        assert_eq!((slow.command.argument_count, slow.command.arguments.as_slice()), (9, &[6, 6][..]));
        assert_eq!(slow.client_name.as_deref(), Some("api"));
        assert!(!format!("{slow:?}").contains("c4nary") && !format!("{slow:?}").contains("10.0.0.1"));
    }

    #[test]
    fn an_old_server_says_less() {
        let entry = vec![Value::Integer(1), Value::Integer(2), Value::Integer(3), Value::Array(vec![text("PING")])];
        assert_eq!(slow(0, Value::Array(entry)).unwrap().client_name, None);
        assert!(slow(0, Value::Null).is_none());
    }
}
