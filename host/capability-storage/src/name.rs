//! Object names. A guest's string becomes a [`Name`] or a [`Prefix`] here or nowhere, and neither can lead out of the
//! binding's prefix, whatever a store, a proxy or a file system makes of it: what any of them could read as `/`, `.` or `..`
//! is refused, instead of decoded.

use rota_contract::Error;
use std::fmt;

/// The longest name, bytes: the limit of S3, OSS and GCS.
pub const LONGEST_NAME: usize = 1024;

/// What the host's own unfinished files begin with, in a folder. No object's name has such a part.
pub(crate) const PART_FILE: &str = ".rota-part-";

/// Why a string is no object name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{shown}` cannot name an object: {why}; names are like `daily/2026-11-23/data.dump`, relative to the binding's prefix"
)]
pub struct BadName {
    /// The string, shortened and printable.
    pub shown: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl From<BadName> for Error {
    fn from(bad: BadName) -> Self {
        Self::InvalidArgument(bad.to_string())
    }
}

/// The name of an object, relative to its binding's prefix: parts joined by `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Check a guest's string.
    ///
    /// # Errors
    /// [`BadName`], which says what is wrong.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        match fault_of(text) {
            None => Ok(Self(text.to_owned())),
            Some(why) => Err(BadName { shown: shown(text), why }),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folders that it lies in, and its last part.
    pub(crate) fn split(&self) -> (Vec<&str>, &str) {
        let mut parts: Vec<&str> = self.0.split('/').collect();
        let last = parts.pop().unwrap_or_default();
        (parts, last)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The beginning that the names of a list share: empty, or whole parts with a `/` at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Check a guest's string.
    ///
    /// # Errors
    /// [`BadName`], which says what is wrong.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let why = match text.strip_suffix('/') {
            Some(parts) => fault_of(parts),
            None => Some("a prefix ends in `/`, or is empty"),
        };
        match why {
            None => Ok(Self(text.to_owned())),
            Some(why) => Err(BadName { shown: shown(text), why }),
        }
    }

    /// The prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts.
    pub(crate) fn parts(&self) -> Vec<&str> {
        self.0.split('/').filter(|part| !part.is_empty()).collect()
    }
}

/// What is wrong with a name, if something is.
fn fault_of(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > LONGEST_NAME {
        return Some("it is longer than 1024 bytes");
    }
    if text.starts_with('/') {
        return Some("it is absolute");
    }
    // Some clients trim names; then two names would mean one object.
    if text.trim() != text {
        return Some("it begins or ends with white space");
    }
    text.chars()
        .find_map(fault_of_char)
        .or_else(|| fault_of_escapes(text))
        .or_else(|| text.split('/').find_map(fault_of_part))
}

fn fault_of_part(part: &str) -> Option<&'static str> {
    match part {
        "" => Some("one of its parts is empty"),
        "." | ".." => Some("one of its parts is `.` or `..`"),
        _ if part.starts_with(PART_FILE) => Some("names with a part `.rota-part-...` are the host's own"),
        _ => None,
    }
}

fn fault_of_char(c: char) -> Option<&'static str> {
    match c {
        '\\' => Some("it has a backslash"),
        _ if c.is_control() => Some("it has a control character"),
        '\u{2028}' | '\u{2029}' => Some("it has a line separator"),
        '\u{fffd}' => Some("it has U+FFFD, which stands for something that could not be decoded"),
        // Compatibility forms that a store which normalises names turns into `.`, `/` or `\`.
        '\u{2024}' | '\u{2025}' | '\u{fe52}' | '\u{ff0e}' => Some("it has a character that can turn into a dot"),
        '\u{2100}' | '\u{2101}' | '\u{2105}' | '\u{2106}' | '\u{2044}' | '\u{2215}' | '\u{ff0f}' => {
            Some("it has a character that can turn into a slash")
        }
        '\u{fe68}' | '\u{ff3c}' | '\u{2216}' => Some("it has a character that can turn into a backslash"),
        // Two names that look the same; U+200D and U+200C are parts of ordinary writing and stay.
        '\u{ad}'
        | '\u{200b}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{e0000}'..='\u{e007f}' => Some("it has an invisible character"),
        _ if matches!(u32::from(c) & 0xffff, 0xfffe | 0xffff) || ('\u{fdd0}'..='\u{fdef}').contains(&c) => {
            Some("it has a code point that is no character")
        }
        _ => None,
    }
}

/// Percent-encoding that somebody along the way may decode: dots, separators, control characters, a second percent sign, and the
/// first bytes of overlong UTF-8.
fn fault_of_escapes(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    let digit = |index: usize| bytes.get(index).and_then(|b| char::from(*b).to_digit(16));
    for (index, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        let (Some(high), Some(low)) = (digit(index + 1), digit(index + 2)) else { continue };
        if matches!(high * 16 + low, 0x00..=0x1f | 0x25 | 0x2e | 0x2f | 0x5c | 0x7f | 0xc0 | 0xc1) {
            return Some("it has a percent-encoded dot, slash, backslash, percent sign or control character");
        }
    }
    None
}

/// A guest's string for a message: bounded and printable.
fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().map(|c| if fault_of_char(c).is_some() && c != '\\' { '\u{fffd}' } else { c }).take(80).collect();
    if text.chars().nth(80).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_names_are_taken() {
        for name in [
            "a",
            "data.dump",
            "daily/2026-11-23/manifest.json",
            "a..b/...",
            "ärger/データ.zst",
            "with space",
            "100%",
            "%41",
            "-x",
            "~",
            "👩‍💻",
            "a:b*?\"'",
        ] {
            assert_eq!(Name::parse(name).as_ref().map(Name::as_str), Ok(name));
        }
    }

    #[test]
    fn what_could_lead_out_is_refused() {
        let long = "x".repeat(1025);
        for name in [
            "",
            "/",
            "/etc/passwd",
            "..",
            ".",
            "../x",
            "a/../b",
            "a/./b",
            "a//b",
            "a/",
            "a/..",
            "a\\..\\b",
            "\\\\host\\share",
            "%2e%2e/x",
            "a/%2E%2E/b",
            "a%2fb",
            "a%5cb",
            "%252e%252e",
            "%00",
            "%c0%ae%c0%ae",
            "a\0b",
            "a\nb",
            "a\u{1b}[2J",
            "\u{85}",
            "．．/x",
            "a／b",
            "a∕b",
            "‥/x",
            "\u{202e}txt",
            "a\u{feff}",
            "\u{fffd}",
            "\u{ffff}",
            " a",
            "a ",
            "a\u{2028}b",
            ".rota-part-1",
            "a/.rota-part-1",
            "a/.rota-part-1/b",
            &long,
        ] {
            let refused = Name::parse(name);
            assert!(refused.is_err(), "{name:?} was taken");
            let text = refused.unwrap_err().to_string();
            assert!(!text.chars().any(|c| c.is_control()) && text.len() < 400, "{text:?}");
        }
    }

    #[test]
    fn prefixes_are_whole_parts() {
        assert_eq!(Prefix::parse("").unwrap().as_str(), "");
        assert_eq!(Prefix::parse("a/b/").unwrap().parts(), ["a", "b"]);
        for prefix in ["a", "/", "../", "a//", "a/../", "/a/", "a/%2e%2e/"] {
            assert!(Prefix::parse(prefix).is_err(), "{prefix:?} was taken");
        }
    }

    /// Everything that a careless party may do to a path, again and again until it changes no more.
    fn mangled(path: &str) -> String {
        let mut path = path.to_owned();
        loop {
            let mut bytes = Vec::new();
            let mut rest = path.as_bytes();
            while let Some((first, tail)) = rest.split_first() {
                let code = (*first == b'%')
                    .then(|| std::str::from_utf8(tail.get(..2)?).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok()))
                    .flatten();
                bytes.push(code.unwrap_or(*first));
                rest = if code.is_some() { &tail[2..] } else { tail };
            }
            let decoded = String::from_utf8_lossy(&bytes)
                .replace(['\\', '／', '∕', '⁄', '＼'], "/")
                .replace(['．', '․'], ".")
                .replace('‥', "..");
            if decoded == path {
                return path;
            }
            path = decoded;
        }
    }

    fn resolved(path: &str) -> Vec<&str> {
        let mut parts = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        parts
    }

    proptest! {
        #[test]
        fn no_name_leaves_the_prefix(name in prop_oneof![
            any::<String>(),
            "[./%\\\\a2eEfF5cC0]{1,24}",
            "(\\.\\.|\\.|%2e|%2E%2e|%252e|%c0%ae|a|．|‥|/|／|\\\\|%2f|%5c| |\u{200b}){1,9}",
        ]) {
            if let Ok(name) = Name::parse(&name) {
                let path = format!("/bucket/prefix/{name}");
                let mangled = mangled(&path);
                let resolved = resolved(&mangled);
                prop_assert_eq!(&resolved[..2], ["bucket", "prefix"]);
                // Nor do two names become one.
                prop_assert_eq!(resolved.len(), 2 + name.as_str().split('/').count());
                let url = url::Url::parse(&format!("http://h{}", path.replace(['?', '#'], "_"))).unwrap();
                prop_assert!(url.path().starts_with("/bucket/prefix/"));
                prop_assert_eq!(url.path().split('/').count(), path.split('/').count());
            }
        }

        #[test]
        fn prefixes_stay_below_too(prefix in "[./%a2e\\\\]{0,12}") {
            if let Ok(prefix) = Prefix::parse(&prefix) {
                let path = format!("/bucket/{}", prefix.as_str());
                prop_assert_eq!(resolved(&path).first().copied(), Some("bucket"));
                let object = format!("{}x", prefix.as_str());
                prop_assert!(Name::parse(&object).is_ok());
            }
        }
    }
}
