//! A text as it reads once its escapes are undone, with the way back to where each byte came from.
//!
//! Two kinds of escapes are undone, each up to twice and the one inside the other: percent-encoding
//! (`%70`), and backslashes as JSON, Rust, C and JavaScript write them (`\"`, `\n`, `\u0070`,
//! `\u{70}`, `\x70`). Anything that is no escape stands for itself.

use std::borrow::Cow;
use std::ops::Range;

/// How deep escapes may be nested: a URL within a JSON string within a JSON string is 3, which no
/// output of ours is.
const DEPTH: usize = 2;

pub(super) struct View<'t> {
    bytes: Cow<'t, [u8]>,
    /// Where each byte of `bytes` began in the text, and where the last one ended; none if the two
    /// are the same.
    positions: Option<Vec<usize>>,
    /// How many of `bytes` stand before an escape that the end of the text cuts off.
    complete: usize,
}

/// Reads one escape at the beginning of a text.
type Decoder = fn(&[u8]) -> Escape;

enum Escape {
    /// No escape begins here.
    None,
    /// One may begin here, but the text ends too soon.
    Incomplete,
    /// These bytes, written with so many.
    Bytes(Decoded, usize),
}

/// What one escape stands for: a byte, or a character's UTF-8.
struct Decoded([u8; 4], usize);

impl From<u8> for Decoded {
    fn from(byte: u8) -> Self {
        Self([byte, 0, 0, 0], 1)
    }
}

impl From<char> for Decoded {
    fn from(character: char) -> Self {
        let mut bytes = [0; 4];
        let length = character.encode_utf8(&mut bytes).len();
        Self(bytes, length)
    }
}

impl<'t> View<'t> {
    /// The text as it is, and every other way to read it.
    pub(super) fn all(text: &'t [u8]) -> Vec<Self> {
        let mut views = vec![Self { bytes: Cow::Borrowed(text), positions: None, complete: text.len() }];
        let mut last = 0;
        for _ in 0..DEPTH {
            let end = views.len();
            for at in last..end {
                for (mark, decoder) in [(b'%', percent as Decoder), (b'\\', backslash as Decoder)] {
                    if views[at].bytes.contains(&mark) {
                        let decoded = views[at].decoded(mark, decoder);
                        views.push(decoded);
                    }
                }
            }
            last = end;
        }
        views
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes that stay as they are, however the text goes on.
    pub(super) fn complete(&self) -> &[u8] {
        self.bytes.get(..self.complete).unwrap_or_default()
    }

    pub(super) fn original_position(&self, position: usize) -> usize {
        match &self.positions {
            None => position,
            Some(positions) => positions.get(position).or(positions.last()).copied().unwrap_or(position),
        }
    }

    pub(super) fn original(&self, range: Range<usize>) -> Range<usize> {
        self.original_position(range.start)..self.original_position(range.end)
    }

    /// The last place up to `position` of the text that is not inside an escape.
    pub(super) fn cut_before(&self, position: usize) -> usize {
        match &self.positions {
            None => position,
            Some(positions) => {
                let after = positions.partition_point(|start| *start <= position);
                after.checked_sub(1).and_then(|at| positions.get(at)).copied().unwrap_or(0)
            }
        }
    }

    fn decoded<'n>(&self, mark: u8, decoder: Decoder) -> View<'n> {
        let text = self.bytes();
        let mut bytes = Vec::with_capacity(text.len());
        let mut positions = Vec::with_capacity(text.len() + 1);
        let mut complete = None;
        let mut at = 0;
        while at < text.len() {
            if at == self.complete {
                complete.get_or_insert(bytes.len());
            }
            let escape = if text[at] == mark { decoder(&text[at..]) } else { Escape::None };
            let length = match escape {
                Escape::Bytes(decoded, length) => {
                    bytes.extend_from_slice(&decoded.0[..decoded.1]);
                    length
                }
                Escape::Incomplete => {
                    complete.get_or_insert(bytes.len());
                    bytes.push(text[at]);
                    1
                }
                Escape::None => {
                    bytes.push(text[at]);
                    1
                }
            };
            positions.resize(bytes.len(), self.original_position(at));
            at += length;
        }
        positions.push(self.original_position(text.len()));
        View { complete: complete.unwrap_or(bytes.len()), bytes: Cow::Owned(bytes), positions: Some(positions) }
    }
}

fn percent(text: &[u8]) -> Escape {
    hexadecimal(text, 1, 2).map_or_else(|other| other, |(value, end)| byte(value, end))
}

fn backslash(text: &[u8]) -> Escape {
    let Some(kind) = text.get(1) else { return Escape::Incomplete };
    let byte_of = |byte: u8| Escape::Bytes(byte.into(), 2);
    match kind {
        b'"' | b'\'' | b'\\' | b'/' => byte_of(*kind),
        b'n' => byte_of(b'\n'),
        b'r' => byte_of(b'\r'),
        b't' => byte_of(b'\t'),
        b'b' => byte_of(8),
        b'f' => byte_of(12),
        b'0' => byte_of(0),
        b'x' => hexadecimal(text, 2, 2).map_or_else(|other| other, |(value, end)| byte(value, end)),
        b'u' if text.get(2) == Some(&b'{') => braced(text),
        b'u' => utf16(text),
        _ => Escape::None,
    }
}

fn byte(value: u32, end: usize) -> Escape {
    u8::try_from(value).map_or(Escape::None, |byte| Escape::Bytes(byte.into(), end))
}

fn character(value: u32, end: usize) -> Escape {
    char::from_u32(value).map_or(Escape::None, |character| Escape::Bytes(character.into(), end))
}

/// `count` hexadecimal digits from `start`: their value, and where they end.
fn hexadecimal(text: &[u8], start: usize, count: usize) -> Result<(u32, usize), Escape> {
    let mut value = 0;
    for at in start..start + count {
        let Some(digit) = text.get(at) else { return Err(Escape::Incomplete) };
        let Some(digit) = char::from(*digit).to_digit(16) else { return Err(Escape::None) };
        value = value * 16 + digit;
    }
    Ok((value, start + count))
}

/// `\u{1f600}`, as Rust and JavaScript write it.
fn braced(text: &[u8]) -> Escape {
    const LONGEST: usize = 6;
    match text.iter().skip(3).take(LONGEST + 1).position(|byte| *byte == b'}') {
        None if text.len() <= 3 + LONGEST => Escape::Incomplete,
        None | Some(0) => Escape::None,
        Some(count) => hexadecimal(text, 3, count).map_or_else(|other| other, |(value, end)| character(value, end + 1)),
    }
}

/// `\u00e9`, or two of them for what UTF-16 writes with two units.
fn utf16(text: &[u8]) -> Escape {
    let (first, end) = match hexadecimal(text, 2, 4) {
        Ok(unit) => unit,
        Err(other) => return other,
    };
    if !(0xd800..0xdc00).contains(&first) {
        return character(first, end);
    }
    match (text.get(end), text.get(end + 1)) {
        (None, _) | (Some(b'\\'), None) => return Escape::Incomplete,
        (Some(b'\\'), Some(b'u')) => {}
        _ => return Escape::None,
    }
    match hexadecimal(text, end + 2, 4) {
        Ok((second @ 0xdc00..0xe000, end)) => character(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), end),
        Ok(_) => Escape::None,
        Err(other) => other,
    }
}
