//! A command as it may be shown: its name, and of its arguments only how long they are. An argument of a command of others is
//! somebody's data, and as likely as not a secret (AUTH, SET of a session).

use crate::wit::CommandShape;

/// How many arguments are measured.
const MEASURED: usize = 32;

/// Commands whose first argument says what they do.
const CONTAINERS: [&str; 14] = [
    "ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DEBUG", "DFLY", "FUNCTION", "LATENCY", "MEMORY", "OBJECT",
    "PUBSUB", "SCRIPT", "SLOWLOG",
];

/// Commands whose first argument is no key.
const KEYLESS: [&str; 24] = [
    "AUTH",
    "BLMPOP",
    "BZMPOP",
    "DBSIZE",
    "ECHO",
    "EVAL",
    "EVALSHA",
    "EVAL_RO",
    "EVALSHA_RO",
    "FCALL",
    "FCALL_RO",
    "FLUSHALL",
    "FLUSHDB",
    "HELLO",
    "INFO",
    "KEYS",
    "LMPOP",
    "MIGRATE",
    "PING",
    "PUBLISH",
    "SCAN",
    "SELECT",
    "SPUBLISH",
    "ZMPOP",
];

/// The shape of a command.
pub(crate) fn shape<A: AsRef<[u8]>>(words: &[A], total: usize) -> CommandShape {
    let word = |at: usize| words.get(at).map(|word| word.as_ref());
    let first = word(0).map_or_else(|| "?".to_owned(), |word| name(word).unwrap_or_else(|| "?".to_owned()));
    let container = CONTAINERS.contains(&first.as_str());
    let (name, skipped) = match word(1).filter(|_| container).and_then(name) {
        Some(second) => (format!("{first} {second}"), 2),
        None => (first.clone(), 1),
    };
    let has_key = !container && first != "?" && !KEYLESS.contains(&first.as_str());
    CommandShape {
        name,
        arguments: words
            .iter()
            .skip(skipped)
            .take(MEASURED)
            .map(|word| u32::try_from(word.as_ref().len()).unwrap_or(u32::MAX))
            .collect(),
        argument_count: u32::try_from(total.saturating_sub(skipped)).unwrap_or(u32::MAX),
        key_prefix: word(1).filter(|_| has_key).and_then(prefix),
    }
}

/// A command's name in capitals; none for what cannot be one.
fn name(word: &[u8]) -> Option<String> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = !word.is_empty() && word.len() <= 32 && word.iter().all(plain);
    fits.then(|| String::from_utf8_lossy(word).to_ascii_uppercase())
}

/// What a key begins with, up to its first `:`, where it looks like the name of a kind of key.
fn prefix(key: &[u8]) -> Option<String> {
    let end = key.iter().take(33).position(|byte| *byte == b':')?;
    let part = &key[..end];
    let plain = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'.' | b'_' | b'-');
    let named = !part.is_empty() && part.iter().all(plain);
    named.then(|| rota_telemetry::mask(&format!("{}:", String::from_utf8_lossy(part))).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> CommandShape {
        shape(words, words.len())
    }

    #[test]
    fn no_argument_is_in_a_shape() {
        for words in [
            &["auth", "c4nary"][..],
            &["HELLO", "3", "AUTH", "u", "c4nary"],
            &["SET", "session:c4nary", "c4nary"],
            &["CONFIG", "SET", "requirepass", "c4nary"],
            &["ACL", "SETUSER", "u", ">c4nary"],
            &["c4nary c4nary", "x"],
            &["EVAL", "c4nary:return 1", "0"],
            &["ACL", "c4nary c4nary"],
        ] {
            let shape = of(words);
            assert!(!format!("{shape:?}").contains("c4nary"), "{shape:?}");
        }
    }

    #[test]
    fn a_shape_says_what_it_is_about() {
        let set = of(&["set", "user:17", "0123456789"]);
        assert_eq!((set.name.as_str(), set.arguments, set.argument_count), ("SET", vec![7, 10], 2));
        assert_eq!(set.key_prefix.as_deref(), Some("user:"));
        assert_eq!(of(&["config", "get", "maxmemory"]).name, "CONFIG GET");
        assert_eq!(of(&["GET", "4f8a:x"]).key_prefix, None);
        assert_eq!(of(&["GET", "plain"]).key_prefix, None);
    }
}
