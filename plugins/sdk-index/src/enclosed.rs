//! SQL of an operator that stands in parentheses of ours, and is to stay in them.

use rota_sdk::prelude::*;

/// That a condition or an expression closes what it opens, quotes and parentheses, and nothing that it did not open; and that it has no comment and no
/// second statement: put in parentheses, all of it is in there. What it says is the server's to judge, and what it needs the host's.
///
/// # Errors
/// What is wrong with it; `what` names the parameter.
pub fn enclosed(what: &str, text: &str) -> Result<()> {
    let why = match fault(text) {
        None => return Ok(()),
        Some(why) => why,
    };
    Err(Error::new(format!("`{what}`: {text:?} {why}"))
        .hint("write one condition or expression, as it would stand in parentheses"))
}

fn fault(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        return Some("says nothing");
    }
    let (mut open, mut at) = (Vec::new(), 0);
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let mut before = text[..at].chars().rev();
        let (last, last_but_one) = (before.next(), before.next());
        at += match c {
            '\0' => return Some("holds a NUL"),
            '\'' => {
                // E'...' has escapes; the e at the end of a word is none.
                let escapes = matches!(last, Some('e' | 'E')) && !last_but_one.is_some_and(in_word);
                match quoted(rest, c, escapes) {
                    Some(length) => length,
                    None => return Some("has a quote that does not end"),
                }
            }
            '"' => match quoted(rest, c, false) {
                Some(length) => length,
                None => return Some("has a quoted name that does not end"),
            },
            // Within a name it is a letter as any other.
            '$' if !last.is_some_and(in_word) => match dollar(rest) {
                Some(length) => length,
                None => return Some("has a dollar quote that does not end"),
            },
            _ if rest.starts_with("--") || rest.starts_with("/*") => return Some("has a comment"),
            ';' => return Some("has a semicolon: it is more than one statement"),
            '(' | '[' => {
                open.push(c);
                1
            }
            ')' | ']' => {
                if open.pop() != Some(if c == ')' { '(' } else { '[' }) {
                    return Some("closes a parenthesis that it does not open");
                }
                1
            }
            c => c.len_utf8(),
        };
    }
    (!open.is_empty()).then_some("has a parenthesis that it does not close")
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}

/// How long what is quoted is; none where it does not end. A quote that is doubled is none: read as two texts next to each other it comes to the same,
/// but for escapes.
fn quoted(text: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut inside = text.char_indices().skip(1).peekable();
    while let Some((place, c)) = inside.next() {
        if escapes && c == '\\' {
            inside.next();
        } else if c == quote && inside.next_if(|(_, next)| *next == quote).is_none() {
            return Some(place + 1);
        }
    }
    None
}

/// How long a dollar quote is, or the dollar alone where it begins none; none where it does not end.
fn dollar(text: &str) -> Option<usize> {
    let Some(end) = text[1..].find(|c: char| c == '$' || !in_word(c)) else { return Some(1) };
    let tag = &text[..end + 2];
    if !tag.ends_with('$') || tag[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return Some(1);
    }
    text[tag.len()..].find(tag).map(|place| place + 2 * tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_in_its_parentheses_is_let_through() {
        for text in [
            "deleted_at IS NULL",
            "(a > 1) AND b = ANY (ARRAY[1, 2])",
            "note = 'it''s ;) -- no comment'",
            "\"odd ) name\" = 1",
            "note = E'a\\' ) --'",
            "type'2020-01-01' < now()",
            "note = $$ ) ; -- $$",
            "note = $a$ ) $$ $a$",
            "price$x > 1",
            "a - -1 > 0",
            "größe > 1",
            "a = $1",
        ] {
            assert_eq!(fault(text), None, "{text}");
        }
    }

    #[test]
    fn what_would_leave_them_is_refused() {
        for text in [
            "",
            "  ",
            "a > 1) WITH (fillfactor = 10",
            "true) or (true",
            "(a > 1",
            "a = ANY (ARRAY[1, 2)]",
            "a]",
            "note = 'x",
            "note = 'x'' ",
            "\"a = 1",
            "a = 1 -- ",
            "a = 1 /* ",
            "a = 1 /* x */",
            "a = 1; drop table t",
            "note = $$ x",
            "note = $a$ x $$",
            "note = E'a\\'",
            "note = 'a\\' ) --'",
            "note = U&'a\\' ) --'",
            "a = 1\0",
        ] {
            assert!(fault(text).is_some(), "{text}");
        }
        assert!(enclosed("predicate", "a) or (b").unwrap_err().to_string().contains("`predicate`"));
    }
}
