//! Names that operators give.

use std::fmt;
use std::str::FromStr;

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::decode::{Decode, Reader};
use crate::tree::Node;

/// The longest name, in bytes; a name may become a label, a file's name or part of an application name.
const LONGEST: usize = 63;

/// The rule as a regular expression, for the JSON Schema.
pub(crate) const PATTERN: &str = "^[a-z0-9][a-z0-9_-]{0,62}$";

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} cannot name a {what}: {reason}")]
pub struct NameError {
    text: String,
    what: &'static str,
    reason: &'static str,
}

fn check(text: &str, what: &'static str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let reason = if text.is_empty() {
        "it is empty"
    } else if text.contains("://") {
        "it is a URL, which a binding of its own ([bindings.NAME]) gives a name to"
    } else if text.len() > LONGEST {
        "it is longer than 63 characters"
    } else if !text.chars().all(allowed) {
        "only small letters, digits, \"-\" and \"_\" may be in it"
    } else if text.starts_with(['-', '_']) {
        "it must begin with a letter or digit"
    } else {
        return Ok(());
    };
    // What was taken for a name may be a URL, or what was to become one, with a password in it.
    let mut shown = crate::redact::redact(text);
    if shown == text && text.contains(['@', '=']) {
        shown = "*".repeat(text.chars().count());
    }
    Err(NameError { text: shown.chars().take(2 * LONGEST).collect(), what, reason })
}

macro_rules! name {
    ($(#[doc = $doc:literal])* $name:ident, $what:literal) => {
        $(#[doc = $doc])*
        ///
        /// Small letters, digits, `-` and `_`, a letter or digit first, at most 63.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text, $what).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                check(&text, $what).map(|()| Self(text))
            }
        }

        impl Decode for $name {
            const WANTED: &'static str = concat!("the name of a ", $what);

            fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
                let text = reader.text(at, &node, Self::WANTED)?;
                reader.parsed(at, &node.origin, text.parse())
            }

            fn schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": PATTERN })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of a binding: what the operator calls a connection (`kosmos`, `backups`).
    BindingName,
    "binding"
);
name!(
    /// The name of a slot: what a plugin calls one of its needs (`database`, `bucket`, `pg_dump`).
    SlotName,
    "slot"
);
name!(
    /// The name of a job (`nightly-backup`).
    JobName,
    "job"
);

name!(
    /// The name of a team (`growth`).
    TeamName,
    "team"
);

name!(
    /// The name of a label (`zone`, `disk`).
    LabelName,
    "label"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_the_rule() {
        for name in ["kosmos", "pg_dump", "nightly-backup", "0", &"a".repeat(63)] {
            assert_eq!(name.parse::<BindingName>().unwrap().as_str(), name);
        }
        for (name, message) in [
            ("", "\"\" cannot name a job: it is empty"),
            ("Nightly", "\"Nightly\" cannot name a job: only small letters, digits, \"-\" and \"_\" may be in it"),
            ("a b", "\"a b\" cannot name a job: only small letters, digits, \"-\" and \"_\" may be in it"),
            ("../x", "\"../x\" cannot name a job: only small letters, digits, \"-\" and \"_\" may be in it"),
            (
                "postgres://ops:hunter2@h/d",
                "\"postgres://ops:*******@h/d\" cannot name a job: it is a URL, which a binding of its own ([bindings.NAME]) gives a name to",
            ),
            ("u:p@h", "\"*****\" cannot name a job: only small letters, digits, \"-\" and \"_\" may be in it"),
            ("-x", "\"-x\" cannot name a job: it must begin with a letter or digit"),
            ("é\n", "\"é\\n\" cannot name a job: only small letters, digits, \"-\" and \"_\" may be in it"),
        ] {
            assert_eq!(name.parse::<JobName>().unwrap_err().to_string(), message);
        }
        let long = "a".repeat(64).parse::<SlotName>().unwrap_err().to_string();
        assert!(long.ends_with("cannot name a slot: it is longer than 63 characters"), "{long}");
    }
}
