//! Where a statement ends: before its semicolon and the comments around it, so that it can stand in parentheses.
//!
//! The classifier has parsed the statement, so that every literal and comment in it is closed and nothing but comments
//! follows a semicolon. A mistake here could only make a statement that the server refuses: it runs READ ONLY as before.

/// The statement without comments, white space and semicolons at its end.
pub(super) fn code(statement: &str) -> &str {
    let text = statement.as_bytes();
    let (mut at, mut end) = (0, 0);
    while at < text.len() {
        let next = match &text[at..] {
            [b'-', b'-', ..] => find(text, at, b"\n"),
            [b'/', b'*', ..] => comment(text, at),
            [b';', ..] => at + 1,
            [byte, ..] if byte.is_ascii_whitespace() || *byte == 0x0b => at + 1,
            _ => {
                end = token(text, at);
                end
            }
        };
        at = next;
    }
    statement.get(..end).unwrap_or(statement)
}

/// The end of the token at `at`: a literal as a whole, a word, or one byte.
fn token(text: &[u8], at: usize) -> usize {
    match &text[at..] {
        [b'\'', ..] => quoted(text, at + 1, false),
        [b'e' | b'E', b'\'', ..] => quoted(text, at + 2, true),
        [b'"', ..] => find(text, at + 1, b"\""),
        [b'$', ..] => dollar(text, at).unwrap_or(at + 1),
        [first, ..] if word(*first) => at + text[at..].iter().take_while(|byte| word(**byte) || **byte == b'$').count(),
        _ => at + 1,
    }
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Behind the next occurrence of `what`, or the end.
fn find(text: &[u8], from: usize, what: &[u8]) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    rest.windows(what.len()).position(|window| window == what).map_or(text.len(), |at| from + at + what.len())
}

fn quoted(text: &[u8], mut at: usize, escapes: bool) -> usize {
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' if escapes => at += 2,
            b'\'' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

fn comment(text: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    loop {
        match text.get(at..).unwrap_or_default() {
            [] => return text.len(),
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
}

/// The end of the `$tag$ ... $tag$` that starts at `at`, if one does.
fn dollar(text: &[u8], at: usize) -> Option<usize> {
    let name = text[at + 1..].iter().take_while(|byte| word(**byte)).count();
    let tag = text.get(at..at + name + 2).filter(|tag| tag.ends_with(b"$") && !tag[1].is_ascii_digit())?;
    Some(find(text, at + tag.len(), tag))
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn a_statement_ends_before_its_semicolon_and_comments() {
        for (statement, expected) in [
            ("select 1", "select 1"),
            ("select 1;", "select 1"),
            ("select 1 ; -- done", "select 1"),
            ("select 1 -- not; yet\n + 2 ;;\n/* a /* nested; */ one */ ", "select 1 -- not; yet\n + 2"),
            ("select ';--' ;", "select ';--'"),
            ("select E'\\';--' ;", "select E'\\';--'"),
            ("select 'it''s;' ;", "select 'it''s;'"),
            ("select 1 as \"a;--\" ;", "select 1 as \"a;--\""),
            ("select $x$ ; -- $x$ ;", "select $x$ ; -- $x$"),
            ("select $1 ; --", "select $1"),
            ("select a$b$ from t ;", "select a$b$ from t"),
            ("select 'größe' ;", "select 'größe'"),
        ] {
            assert_eq!(code(statement), expected);
        }
    }
}
