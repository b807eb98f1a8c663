//! A value that must not be seen.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::mask::{self, MASK};

/// A secret string: it prints and serializes as `***`, and creating it makes the process-wide
/// masker hide it (in every spelling of [`mask()`](crate::mask())) from then on.
///
/// Clones share one allocation, which is overwritten when the last of them goes. That is a best
/// effort: the masker keeps what it has to look for until the process ends, because a secret may
/// turn up in a text long after its last use.
#[derive(Clone)]
pub struct Secret(Arc<Overwritten>);

struct Overwritten(String);

impl Secret {
    /// The fewest bytes a secret needs to be masked; hiding shorter ones would eat ordinary words.
    pub const SHORTEST_MASKED: usize = mask::SHORTEST;

    /// Takes a value and has it masked everywhere.
    pub fn new(value: impl Into<String>) -> Self {
        let value = value.into();
        mask::register(&value);
        Self(Arc::new(Overwritten(value)))
    }

    /// The value itself, for the one place that hands it to a server.
    pub fn expose(&self) -> &str {
        &self.0.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }

    /// Whether the masker hides it. A value under [`Secret::SHORTEST_MASKED`] bytes is not hidden,
    /// nor is a word of our own output (`postgres`, `password` ...), which protects nothing and
    /// whose masking would make every report unreadable.
    pub fn is_masked(&self) -> bool {
        mask::is_maskable(&self.0.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl PartialEq for Secret {
    /// Compares every byte, so that the time taken says nothing but the length.
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.0.0.as_bytes(), other.0.0.as_bytes());
        a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

impl Eq for Secret {}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}

impl Drop for Overwritten {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        // Keeps the compiler from removing a write that nothing reads.
        std::hint::black_box(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_and_serializes_as_stars() {
        let secret = Secret::new("c4nary-of-print");
        assert_eq!(format!("{secret} {secret:?} {:#?}", Some(&secret)), "*** *** Some(\n    ***,\n)");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        assert_eq!(secret.expose(), "c4nary-of-print");
    }

    #[test]
    fn creating_a_secret_masks_it_at_once() {
        assert_eq!(crate::mask("before c4nary-of-registration"), "before c4nary-of-registration");
        let secret = Secret::from("c4nary-of-registration");
        assert_eq!(crate::mask("after c4nary-of-registration"), "after ***");
        assert!(secret.is_masked());
        drop(secret);
        assert_eq!(crate::mask("dropped c4nary-of-registration"), "dropped ***");
    }

    #[test]
    fn short_secrets_and_words_of_our_output_are_not_masked() {
        for word in ["", "abc", "postgres", "password"] {
            assert!(!Secret::new(word).is_masked(), "{word}");
        }
        assert_eq!(crate::mask("postgres-health abc password"), "postgres-health abc password");
    }

    #[test]
    fn equality_compares_the_value() {
        assert_eq!(Secret::new("equal-c4nary"), Secret::new("equal-c4nary"));
        assert_ne!(Secret::new("equal-c4nary"), Secret::new("equal-c4narY"));
        assert_ne!(Secret::new("equal-c4nary"), Secret::new("equal"));
    }
}
