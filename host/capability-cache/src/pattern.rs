//! Which keys a call is about: literal prefixes, globs, and what must not be touched.

use crate::wit;
use bytes::Bytes;
use rota_contract::Error;

/// The longest pattern or key that is taken: servers refuse longer keys anyway, or should.
pub const LONGEST: usize = 64 * 1024;

/// A pattern, with what is known of the keys that it can match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As MATCH takes it.
    glob: Bytes,
    /// What each key that matches begins with.
    literal: Bytes,
    /// Whether `literal` and anything after it is all that it says.
    prefix: bool,
}

impl Pattern {
    /// From what a guest gave.
    ///
    /// # Errors
    /// `invalid-argument` when it is empty or too long.
    pub fn parse(pattern: &wit::Pattern) -> Result<Self, Error> {
        let (wit::Pattern::Prefix(bytes) | wit::Pattern::Glob(bytes)) = pattern;
        if bytes.len() > LONGEST {
            return Err(Error::InvalidArgument(format!("a pattern has at most {LONGEST} bytes, not {}", bytes.len())));
        }
        Ok(match pattern {
            wit::Pattern::Prefix(prefix) => {
                let mut glob = escaped(prefix);
                glob.push(b'*');
                Self { glob: glob.into(), literal: prefix.clone().into(), prefix: true }
            }
            wit::Pattern::Glob(glob) if glob.is_empty() => {
                return Err(Error::InvalidArgument("an empty glob matches no key; \"*\" matches all".into()));
            }
            wit::Pattern::Glob(glob) => {
                Self { glob: glob.clone().into(), literal: literal(glob).into(), prefix: false }
            }
        })
    }

    /// As MATCH takes it.
    pub fn glob(&self) -> &Bytes {
        &self.glob
    }

    /// What each key that matches begins with.
    pub fn literal(&self) -> &[u8] {
        &self.literal
    }

    /// Whether a key that a server gave for the pattern can be one of its keys: what a server says is not believed.
    pub fn can_match(&self, key: &[u8]) -> bool {
        key.starts_with(&self.literal)
    }

    /// Whether a key matches, as a server sees it.
    pub fn matches(&self, key: &[u8]) -> bool {
        self.can_match(key) && (self.prefix || glob_matches(&self.glob, key))
    }

    /// In words.
    pub fn describe(&self) -> String {
        if self.prefix {
            format!("keys that begin with `{}`", shown(&self.literal))
        } else {
            format!("keys that match `{}`", shown(&self.glob))
        }
    }
}

/// A literal as a glob that matches it and nothing else.
fn escaped(literal: &[u8]) -> Vec<u8> {
    let mut glob = Vec::with_capacity(literal.len() + 1);
    for byte in literal {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\' | b'^' | b'-') {
            glob.push(b'\\');
        }
        glob.push(*byte);
    }
    glob
}

/// A glob of RESP's servers: `*`, `?`, `[abc]`, `[^a]`, `[a-z]`, `\` before what stands for itself.
fn glob_matches(glob: &[u8], key: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    // Where the last `*` was, and up to where it has eaten.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match glob.get(at) {
            None => (seen == key.len()).then_some(0),
            Some(b'*') => {
                star = Some((at + 1, seen));
                at += 1;
                continue;
            }
            Some(_) => key.get(seen).and_then(|byte| one(&glob[at..], *byte)),
        };
        match (step, &mut star) {
            (Some(0), _) => return true,
            (Some(step), _) => (at, seen) = (at + step, seen + 1),
            (None, Some((after, eaten))) if *eaten < key.len() => {
                *eaten += 1;
                (at, seen) = (*after, *eaten);
            }
            (None, _) => return false,
        }
    }
}

/// How much of a glob the one byte at its beginning takes, if it fits.
fn one(glob: &[u8], byte: u8) -> Option<usize> {
    match glob {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', rest @ ..] => {
            let (negated, rest) = match rest {
                [b'^', rest @ ..] => (true, rest),
                rest => (false, rest),
            };
            let end = rest.iter().position(|b| *b == b']').unwrap_or(rest.len());
            let set = &rest[..end];
            let mut within = false;
            let mut place = 0;
            while place < set.len() {
                match &set[place..] {
                    [b'\\', escaped, ..] => {
                        within |= *escaped == byte;
                        place += 2;
                    }
                    [low, b'-', high, ..] => {
                        within |= (*low.min(high)..=*low.max(high)).contains(&byte);
                        place += 3;
                    }
                    [plain, ..] => {
                        within |= *plain == byte;
                        place += 1;
                    }
                    [] => break,
                }
            }
            (within != negated).then_some(1 + usize::from(negated) + (end + 1).min(rest.len()))
        }
        [plain, ..] => (*plain == byte).then_some(1),
        [] => None,
    }
}

/// What a glob begins with before anything in it is special.
fn literal(glob: &[u8]) -> Vec<u8> {
    let mut literal = Vec::new();
    let mut bytes = glob.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => break,
            b'\\' => match bytes.next() {
                Some(escaped) => literal.push(*escaped),
                None => break,
            },
            plain => literal.push(*plain),
        }
    }
    literal
}

/// Prefixes of keys that are left alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Protected(Vec<Vec<u8>>);

impl Protected {
    pub(crate) fn new(prefixes: impl IntoIterator<Item = Vec<u8>>) -> Self {
        // An empty prefix would be every key: whoever wants that grants nothing.
        Self(prefixes.into_iter().filter(|prefix| !prefix.is_empty()).collect())
    }

    /// The prefix that protects a key.
    pub(crate) fn of(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.iter().map(Vec::as_slice).find(|prefix| key.starts_with(prefix))
    }
}

/// Bytes for people: printable ASCII as it is, everything else escaped, cut at 80 characters.
pub fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 80;
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b'`' => text.push_str("\\x60"),
            0x20..=0x7e => text.push(char::from(*byte)),
            other => text.push_str(&format!("\\x{other:02x}")),
        }
        if text.len() > MOST {
            text.push_str("...");
            break;
        }
    }
    rota_telemetry::mask(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> Pattern {
        Pattern::parse(&wit::Pattern::Glob(text.into())).unwrap()
    }

    #[test]
    fn a_prefix_is_literal_whatever_is_in_it() {
        let pattern = Pattern::parse(&wit::Pattern::Prefix(b"a*b?[c]\\\xff".to_vec())).unwrap();
        assert_eq!(&pattern.glob()[..], b"a\\*b\\?\\[c\\]\\\\\xff*");
        assert!(pattern.can_match(b"a*b?[c]\\\xffrest") && !pattern.can_match(b"axb"));
    }

    #[test]
    fn the_literal_of_a_glob_ends_where_it_is_special() {
        for (text, literal) in [
            ("user:*", "user:"),
            ("*", ""),
            ("a\\*b*", "a*b"),
            ("a[bc]", "a"),
            ("ab?", "ab"),
            ("abc", "abc"),
            ("a\\", "a"),
        ] {
            assert_eq!(glob(text).literal(), literal.as_bytes(), "{text}");
        }
    }

    #[test]
    fn a_glob_matches_as_a_server_has_it() {
        for (pattern, key, wanted) in [
            ("user:*", "user:", true),
            ("user:*:a", "user:1:a", true),
            ("user:*:a", "user:1:b", false),
            ("us?r", "user", true),
            ("us?r", "usr", false),
            ("u[st]er", "uter", true),
            ("u[^s]er", "user", false),
            ("u[a-s]er", "user", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("*a*b", "xxaxxb", true),
            ("*", "", true),
            ("a", "", false),
            ("[a", "a", true),
        ] {
            assert_eq!(glob(pattern).matches(key.as_bytes()), wanted, "{pattern} on {key}");
        }
        let prefix = Pattern::parse(&wit::Pattern::Prefix(b"us*r:".to_vec())).unwrap();
        assert!(prefix.matches(b"us*r:1") && !prefix.matches(b"user:1"));
    }

    #[test]
    fn what_cannot_be_a_pattern_is_refused() {
        for pattern in [wit::Pattern::Glob(Vec::new()), wit::Pattern::Prefix(vec![b'x'; LONGEST + 1])] {
            assert!(matches!(Pattern::parse(&pattern), Err(Error::InvalidArgument(_))));
        }
    }

    #[test]
    fn bytes_are_shown_in_one_line() {
        assert_eq!(shown(b"a b\n\"\xff\x00\x1b["), "a b\\n\"\\xff\\x00\\x1b[");
        assert!(shown(&[b'x'; 500]).len() < 90);
    }

    #[test]
    fn an_empty_prefix_protects_nothing() {
        let protected = Protected::new([Vec::new(), b"session:".to_vec()]);
        assert_eq!(protected.of(b"session:1"), Some(&b"session:"[..]));
        assert_eq!(protected.of(b"user:1"), None);
    }
}
