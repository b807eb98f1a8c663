//! Patterns for names: what a team's plugins and jobs are called.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::decode::{Decode, Reader};
use crate::redact::quoted;
use crate::tree::Node;

/// The most characters of a pattern.
const LONGEST: usize = 255;

/// A name, or many: `*` stands for anything but a `/`, `**` for anything. Everything else stands for itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct NamePattern(String);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown} cannot be a pattern for names: {reason}")]
pub struct PatternError {
    shown: String,
    reason: &'static str,
}

#[derive(Clone, Copy)]
enum Part {
    /// This character.
    One(char),
    /// Anything but a `/`.
    Within,
    /// Anything.
    Across,
}

impl NamePattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for more than one name.
    pub fn is_wide(&self) -> bool {
        self.0.contains('*')
    }

    /// Whether it stands for a part of all names only, and not for any name there is.
    pub(crate) fn is_namespace(&self) -> bool {
        self.is_wide() && self.0.contains(|c| !matches!(c, '*' | '/'))
    }

    /// Whether it stands for a name. A path that goes up (`..`) is never meant.
    pub fn matches(&self, name: &str) -> bool {
        if name.split('/').any(|step| step == "..") {
            return false;
        }
        let parts = self.parts();
        // Which beginnings of the pattern stand for what was read of the name so far.
        let mut reached = vec![false; parts.len() + 1];
        if let Some(first) = reached.first_mut() {
            *first = true;
        }
        skip(&parts, &mut reached);
        for c in name.chars() {
            let mut next = vec![false; parts.len() + 1];
            for (at, part) in parts.iter().enumerate() {
                if reached.get(at) != Some(&true) {
                    continue;
                }
                let (here, there) = match part {
                    Part::One(one) => (false, *one == c),
                    Part::Within => (c != '/', false),
                    Part::Across => (true, false),
                };
                for (place, may) in [(at, here), (at + 1, there)] {
                    if let Some(place) = next.get_mut(place).filter(|_| may) {
                        *place = true;
                    }
                }
            }
            skip(&parts, &mut next);
            reached = next;
        }
        reached.last() == Some(&true)
    }

    /// Whether it stands for a file by the path that has no links. The folder that the pattern begins with may be reached through some: whoever wrote
    /// the pattern meant it so.
    pub(crate) fn covers_real(&self, path: &str) -> bool {
        self.matches(path) || self.resolved().is_some_and(|resolved| resolved.matches(path))
    }

    /// The same with the links of the folder that it begins with resolved (of all of it, where it stands for one name); none where that is no folder.
    fn resolved(&self) -> Option<Self> {
        let fixed = self.0.split('*').next()?;
        let end = if self.is_wide() { fixed.rfind('/')? } else { fixed.len() };
        let (folder, rest) = self.0.split_at_checked(end)?;
        let real = Path::new(if folder.is_empty() { "/" } else { folder }).canonicalize().ok()?;
        // What is a star in its name would stand for anything.
        let real = real.to_str().filter(|real| !real.contains('*'))?;
        Some(Self(format!("{}{rest}", real.trim_end_matches('/'))))
    }

    fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut stars = 0;
        for c in self.0.chars() {
            if c == '*' {
                stars += 1;
                continue;
            }
            parts.extend(any(stars));
            stars = 0;
            parts.push(Part::One(c));
        }
        parts.extend(any(stars));
        parts
    }
}

fn any(stars: usize) -> Option<Part> {
    match stars {
        0 => None,
        1 => Some(Part::Within),
        _ => Some(Part::Across),
    }
}

/// What stands for anything stands for nothing as well.
fn skip(parts: &[Part], reached: &mut [bool]) {
    for (at, part) in parts.iter().enumerate() {
        let passes = reached.get(at) == Some(&true) && !matches!(part, Part::One(_));
        if let Some(next) = reached.get_mut(at + 1).filter(|_| passes) {
            *next = true;
        }
    }
}

impl FromStr for NamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let reason = if text.is_empty() {
            "it is empty"
        } else if text.chars().count() > LONGEST {
            "it is longer than 255 characters"
        } else if rota_telemetry::sanitize_line(text) != text || text.contains(char::is_whitespace) {
            "it has a blank or a character that cannot be seen"
        } else if text.split('/').any(|step| step == "..") {
            "it goes up (..)"
        } else if text.contains('@') {
            "a version is no part of a name; leave out what begins with the \"@\""
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(PatternError { shown: quoted(&text.chars().take(2 * LONGEST).collect::<String>()), reason })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Decode for NamePattern {
    const WANTED: &'static str = "a name, in which * may stand for anything";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let text = reader.text(at, &node, Self::WANTED)?;
        reader.parsed(at, &node.origin, text.parse())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": LONGEST, "examples": ["growth-*"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_within_a_step_and_two_for_anything() {
        let table = [
            ("growth-*", "growth-export", true),
            ("growth-*", "growth-", true),
            ("growth-*", "growth", false),
            ("growth-*", "other-growth-x", false),
            ("growth-*", "growth-a/b", false),
            ("*", "anything", true),
            ("*", "a/b", false),
            ("**", "a/b", true),
            ("registry.example/growth/*", "registry.example/growth/export", true),
            ("registry.example/growth/*", "registry.example/growth/a/b", false),
            ("registry.example/growth/*", "registry.example/growthx/a", false),
            ("registry.example/growth/*", "registryxexample/growth/a", false),
            ("registry.example/growth/**", "registry.example/growth/a/b", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "abcb", false),
            ("/srv/growth/**", "/srv/growth/../admin/x.wasm", false),
            ("**", "../x", false),
            ("postgres-health", "postgres-health", true),
            ("postgres-health", "postgres-health2", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(pattern.parse::<NamePattern>().unwrap().matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_longer() {
        let pattern: NamePattern = "*a".repeat(100).parse().unwrap();
        let began = std::time::Instant::now();
        assert!(!pattern.matches(&("a".repeat(20_000) + "b")));
        assert!(began.elapsed() < std::time::Duration::from_secs(10));
    }

    #[test]
    fn what_is_no_pattern_is_told_why() {
        for (text, message) in [
            ("", "\"\" cannot be a pattern for names: it is empty"),
            ("a b", "\"a b\" cannot be a pattern for names: it has a blank or a character that cannot be seen"),
            ("a/../b", "\"a/../b\" cannot be a pattern for names: it goes up (..)"),
            (
                "growth-x@1",
                "\"growth-x@1\" cannot be a pattern for names: a version is no part of a name; leave out what begins with the \"@\"",
            ),
        ] {
            assert_eq!(text.parse::<NamePattern>().unwrap_err().to_string(), message);
        }
        // That a secret is written like that says nothing about a name.
        let _secret = rota_telemetry::Secret::new("c4nary-of-patterns");
        assert!("c4nary-of-patterns-*".parse::<NamePattern>().is_ok());
        assert!("x".repeat(256).parse::<NamePattern>().unwrap_err().to_string().contains("longer than 255"));
    }
}
