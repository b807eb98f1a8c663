//! What is checked before PostgreSQL's parser sees a statement, so that its cost is bounded.
//!
//! A parse tree takes some hundred times the memory of the text from which it came, but for string literals: those
//! stay as they are. So a statement may be long (a vector, a JSON document), but what is outside of its literals
//! may not. One construct is worse: in `SET (a, b, c) = (SELECT ...)` the tree has the source once for each column,
//! and nested that multiplies; so what follows such a list counts as often as the list has columns.
//!
//! This scanner only has to be right about how much there is; what it means is the parser's business.

use crate::refusal::Refusal;

/// The longest statement.
pub const MAX_STATEMENT_BYTES: usize = 1024 * 1024;

/// The longest statement when string literals and comments are not counted: its tree takes about 60 MB at worst.
pub const MAX_CODE_BYTES: usize = 64 * 1024;

/// How many parentheses and brackets may be open at once.
pub(crate) const MAX_OPEN_BRACKETS: usize = 128;

/// Refuses what is too long, too deep in brackets, or holds a NUL.
pub(crate) fn check(statement: &str) -> Result<(), Refusal> {
    if statement.len() > MAX_STATEMENT_BYTES {
        return Err(Refusal::TooLong);
    }
    let text = statement.as_bytes();
    if let Some(at) = text.iter().position(|byte| *byte == 0) {
        let position = statement.char_indices().take_while(|(byte, _)| *byte < at).count() + 1;
        return Err(Refusal::Syntax {
            message: "it holds a NUL character, which SQL cannot".into(),
            position: Some(position),
        });
    }
    let mut meter = Meter::new();
    let mut at = 0;
    while at < text.len() {
        let token = token(text, at);
        meter.count(&text[at..token.end], token.literal)?;
        at = token.end;
    }
    Ok(())
}

/// The last token that was neither white space nor a comment, as far as multi-column assignments go.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    Set,
    Comma,
    /// A closed list of so many, which came after SET or a comma.
    List(u64),
    Other,
}

/// An open bracket.
struct Frame {
    /// How often the tree holds what stands before this bracket.
    base: u64,
    /// How often the tree holds what stands here.
    factor: u64,
    commas: u64,
    may_be_targets: bool,
}

/// Counts how large the tree will be, in bytes of the text that would give it without repetition.
struct Meter {
    frames: Vec<Frame>,
    last: Last,
    tree: u64,
}

impl Meter {
    fn new() -> Self {
        Meter {
            frames: vec![Frame { base: 1, factor: 1, commas: 0, may_be_targets: false }],
            last: Last::Other,
            tree: 0,
        }
    }

    fn count(&mut self, token: &[u8], literal: bool) -> Result<(), Refusal> {
        if token.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        // A literal is one token, however long.
        let weight = if literal { 1 } else { token.len() as u64 };
        let factor = self.frames.last().map_or(1, |frame| frame.factor);
        self.tree = self.tree.saturating_add(weight.saturating_mul(factor));
        if self.tree > MAX_CODE_BYTES as u64 {
            return Err(Refusal::TooLong);
        }
        if literal && (token.starts_with(b"--") || token.starts_with(b"/*")) {
            return Ok(());
        }
        self.last = self.bracket(token, factor);
        if self.frames.len() > MAX_OPEN_BRACKETS { Err(Refusal::TooDeep) } else { Ok(()) }
    }

    fn bracket(&mut self, token: &[u8], factor: u64) -> Last {
        match token {
            b"(" | b"[" => {
                let may_be_targets = matches!(self.last, Last::Set | Last::Comma);
                self.frames.push(Frame { base: factor, factor, commas: 0, may_be_targets });
            }
            b")" | b"]" if self.frames.len() > 1 => match self.frames.pop() {
                Some(frame) if frame.may_be_targets => return Last::List(frame.commas + 1),
                _ => {}
            },
            b"," => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.commas += 1;
                    frame.factor = frame.base;
                }
                return Last::Comma;
            }
            b"=" => {
                if let (Last::List(columns), Some(frame)) = (self.last, self.frames.last_mut()) {
                    frame.factor = frame.base.saturating_mul(columns);
                }
            }
            word if word.eq_ignore_ascii_case(b"set") => return Last::Set,
            _ => {}
        }
        Last::Other
    }
}

/// A token as far as this scanner tells tokens apart: it ends after `at`, and is a literal (or comment) or not.
struct Token {
    end: usize,
    literal: bool,
}

/// The token that starts at `at`, by the rules of PostgreSQL's scanner with standard_conforming_strings on.
fn token(text: &[u8], at: usize) -> Token {
    let literal = |end| Token { end, literal: true };
    let code = |end| Token { end, literal: false };
    match &text[at..] {
        [b'\'', ..] => literal(quote_end(text, at + 1, false)),
        [b'e' | b'E', b'\'', ..] => literal(quote_end(text, at + 2, true)),
        [b'"', ..] => {
            code(text[at + 1..].iter().position(|byte| *byte == b'"').map_or(text.len(), |length| at + length + 2))
        }
        [b'-', b'-', ..] => literal(line_end(text, at)),
        [b'/', b'*', ..] => literal(comment_end(text, at + 2)),
        [b'$', ..] => dollar_end(text, at).map_or_else(|| code(at + 1), literal),
        [first, rest @ ..] if is_identifier_start(*first) => {
            code(at + 1 + rest.iter().take_while(|byte| is_identifier(**byte) || **byte == b'$').count())
        }
        _ => code(at + 1),
    }
}

fn is_identifier_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_identifier(byte: u8) -> bool {
    is_identifier_start(byte) || byte.is_ascii_digit()
}

fn line_end(text: &[u8], at: usize) -> usize {
    text[at..].iter().position(|byte| *byte == b'\n' || *byte == b'\r').map_or(text.len(), |length| at + length)
}

/// The end of a '...' literal whose inside starts at `at`.
fn quote_end(text: &[u8], mut at: usize, escapes: bool) -> usize {
    while at < text.len() {
        match text[at] {
            b'\\' if escapes => at += 2,
            b'\'' if text.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => match continued(text, at + 1) {
                Some(next) => at = next,
                None => return at + 1,
            },
            _ => at += 1,
        }
    }
    text.len()
}

/// Where a literal goes on that was closed just before `at`: after a line's end, in the same kind of quotes.
fn continued(text: &[u8], mut at: usize) -> Option<usize> {
    let mut new_line = false;
    loop {
        match &text[at..] {
            [b'\'', ..] if new_line => return Some(at + 1),
            [b'-', b'-', ..] => at = line_end(text, at),
            [byte, ..] if byte.is_ascii_whitespace() || *byte == 0x0b => {
                new_line |= matches!(byte, b'\n' | b'\r');
                at += 1;
            }
            _ => return None,
        }
    }
}

fn comment_end(text: &[u8], mut at: usize) -> usize {
    let mut depth = 1;
    while depth > 0 {
        match &text[at.min(text.len())..] {
            [] => return text.len(),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// The end of the $tag$...$tag$ literal that starts at `at`, if one does.
fn dollar_end(text: &[u8], at: usize) -> Option<usize> {
    let name = text[at + 1..].iter().take_while(|byte| is_identifier(**byte)).count();
    let tag = text.get(at..at + name + 2).filter(|tag| tag.ends_with(b"$"))?;
    if tag[1].is_ascii_digit() {
        return None;
    }
    let mut from = at + tag.len();
    while let Some(offset) = text[from..].iter().position(|byte| *byte == b'$') {
        let start = from + offset;
        if text[start..].starts_with(tag) {
            return Some(start + tag.len());
        }
        from = start + 1;
    }
    Some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(statement: &str) -> Result<(), Refusal> {
        check(statement)
    }

    #[test]
    fn literals_may_be_long_and_code_may_not() {
        let long = "[0.125],".repeat(20_000);
        for statement in [
            format!("SELECT '{long}'"),
            format!("SELECT E'{long}\\''"),
            format!("SELECT $${long}$$"),
            format!("SELECT $tag$ $$ {long} $tag$"),
            format!("SELECT 1 -- {long}\n"),
            format!("SELECT 1 /* /* */ {long} */"),
        ] {
            assert_eq!(code(&statement), Ok(()), "{}", &statement[..20]);
        }
        assert_eq!(code(&format!("SELECT {}1", "1,".repeat(MAX_CODE_BYTES / 2))), Err(Refusal::TooLong));
        assert_eq!(code(&format!("SELECT {}1", "'',".repeat(MAX_CODE_BYTES / 2))), Err(Refusal::TooLong));
        assert_eq!(code(&" ".repeat(MAX_STATEMENT_BYTES + 1)), Err(Refusal::TooLong));
        assert_eq!(code(&format!("SELECT e.g$1$ {}", "1,".repeat(MAX_CODE_BYTES / 2))), Err(Refusal::TooLong));
        // Ways to make a scanner believe that all that follows is a literal.
        for trick in ["name'\\',", "\"'\",", "E'a'\n'\\'',", "$1$$'$$,", "1$$'$$,", "U&'\\'", "/*'*/", "--'\n"] {
            let statement = format!("SELECT {trick} {}1", "1,".repeat(MAX_CODE_BYTES / 2));
            assert_eq!(code(&statement), Err(Refusal::TooLong), "{trick}");
        }
    }

    #[test]
    fn brackets_are_counted_outside_of_literals() {
        assert_eq!(code(&format!("SELECT {}1", "(".repeat(MAX_OPEN_BRACKETS + 1))), Err(Refusal::TooDeep));
        assert_eq!(code(&format!("SELECT {}1", "[".repeat(MAX_OPEN_BRACKETS + 1))), Err(Refusal::TooDeep));
        assert_eq!(code(&format!("SELECT '{}'", "(".repeat(MAX_OPEN_BRACKETS + 1))), Ok(()));
        assert_eq!(code(&"()".repeat(1000)), Ok(()));
    }

    #[test]
    fn a_source_counts_once_for_each_column() {
        let set = |columns: usize, source: &str| {
            format!("UPDATE t SET ({}a) = ({source}) WHERE id = 1", "a, ".repeat(columns - 1))
        };
        assert_eq!(code(&set(20, "SELECT 1, 2")), Ok(()));
        assert_eq!(code(&set(1000, &"1,".repeat(1000))), Err(Refusal::TooLong));
        // Nested, in any spelling.
        let mut nested = "1".to_owned();
        for _ in 0..12 {
            nested = format!("WITH x AS (UPDATE t Set /* x */ (a, b, c, d) -- y\n = ({nested})) SELECT 1");
        }
        assert_eq!(code(&nested), Err(Refusal::TooLong));
        let second = format!("UPDATE t SET z = 1, (a{}) = ({})", ", a".repeat(1000), "1,".repeat(1000));
        assert_eq!(code(&second), Err(Refusal::TooLong));
        // Comparisons of rows are not assignments.
        let comparisons = "(a, b, c) = (1, 2, 3) AND ".repeat(200);
        assert_eq!(code(&format!("SELECT 1 FROM t WHERE {comparisons} true")), Ok(()));
    }

    #[test]
    fn nul_is_placed_by_character() {
        assert!(matches!(code("é\0"), Err(Refusal::Syntax { position: Some(2), .. })));
    }

    #[test]
    fn unterminated_literals_end_with_the_text() {
        for statement in ["'", "E'\\", "$$", "$a$ $a", "/*", "/* /* */", "--", "$", "$é", "\"", "e'"] {
            assert_eq!(code(statement), Ok(()), "{statement}");
        }
    }
}
