//! The spellings of a secret that are searched for as they stand.
//!
//! | spelling | where it turns up |
//! | --- | --- |
//! | the secret, and each longer line of one with several | messages, connection strings |
//! | base64, standard and URL alphabet, in all three alignments | `Authorization: Basic`, Kubernetes secrets, tokens |
//! | hexadecimal, small and capital | bytea, dumps, debug output |
//! | quotes doubled, spaces as `+` | SQL literals, form data |
//!
//! Percent-encoding and backslash escapes are undone instead: see [`super::views`].

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The fewest bytes of a secret that is masked.
pub(crate) const SHORTEST: usize = 4;

/// A line of a secret of several lines (a key in PEM) is masked by itself from this length on.
const SHORTEST_LINE: usize = 16;

/// Words of our own output. As a password each of them protects nothing, while masking it would
/// make names, keys and tables unreadable.
const WORDS_OF_OUTPUT: [&str; 16] = [
    "admin",
    "backup",
    "database",
    "false",
    "host",
    "localhost",
    "null",
    "password",
    "postgres",
    "postgresql",
    "public",
    "root",
    "rota",
    "test",
    "true",
    "user",
];

pub(crate) fn is_maskable(secret: &str) -> bool {
    secret.len() >= SHORTEST && !WORDS_OF_OUTPUT.contains(&secret)
}

/// Adds every spelling of `secret`.
pub(super) fn of(secret: &str, spellings: &mut Vec<Vec<u8>>) {
    let mut add = |spelling: String| {
        if spelling.len() >= SHORTEST {
            spellings.push(spelling.into_bytes());
        }
    };
    add(secret.to_owned());
    add(hex::encode(secret));
    add(hex::encode_upper(secret));
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        (0..3).for_each(|alignment| add(base64_inside(engine, secret, alignment)));
        // Alone, its last character is its own too.
        add(engine.encode(secret));
    }
    if secret.contains('\'') {
        add(secret.replace('\'', "''"));
    }
    if secret.contains(' ') {
        add(secret.replace(' ', "+"));
    }
    if secret.contains(['\n', '\r']) {
        secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE).for_each(|line| add(line.to_owned()));
    }
}

/// The characters that `secret` alone decides in the base64 of a longer text in which `alignment`
/// bytes (modulo 3) stand before it. Each character carries 6 bits; those that also carry bits of
/// the neighbours are left out.
fn base64_inside(engine: &impl Engine, secret: &str, alignment: usize) -> String {
    let mut bytes = vec![0; alignment];
    bytes.extend_from_slice(secret.as_bytes());
    let first = (alignment * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    engine.encode(&bytes).get(first..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_any_surrounding_contains_one_of_the_alignments() {
        for before in 0..7 {
            for after in 0..4 {
                let text = format!("{}s3cret/Pa+ss?>~{}", "b".repeat(before), "a".repeat(after));
                let inside = base64_inside(&STANDARD_NO_PAD, "s3cret/Pa+ss?>~", before % 3);
                assert!(STANDARD_NO_PAD.encode(&text).contains(&inside), "{before} {after}");
                let inside = base64_inside(&URL_SAFE_NO_PAD, "s3cret/Pa+ss?>~", before % 3);
                assert!(URL_SAFE_NO_PAD.encode(&text).contains(&inside), "{before} {after}");
            }
        }
    }

    #[test]
    fn each_longer_line_of_a_key_is_a_spelling() {
        let mut spellings = Vec::new();
        of("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIP\nshort\n", &mut spellings);
        assert!(spellings.contains(&b"MC4CAQAwBQYDK2VwBCIEIP".to_vec()));
        assert!(!spellings.contains(&b"short".to_vec()));
    }
}
