//! Statements of other people's sessions, as a report may show them: what they do, without the data in them.

/// How much of a statement is shown, in characters.
pub const SHOWN: usize = 160;

/// A statement on one line, cut at [`SHOWN`] characters, its literals as `?` and its comments gone: names of tables tell what a session does, its values
/// are somebody's data. What cannot be told for sure (a literal that was cut off, a backslash before a quote) counts as a literal up to the end.
#[must_use]
pub fn without_literals(statement: &str) -> String {
    let mut shown = String::new();
    let mut rest = statement;
    // Whether a digit here goes on with a name (`t1`, `$1`) instead of beginning a number.
    let mut in_name = false;
    while let Some(c) = rest.chars().next() {
        let (taken, put) = piece(rest, c, in_name);
        in_name = put.is_none() && (c.is_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii());
        match put {
            Some(text) => shown.push_str(text),
            None if c.is_control() => shown.push(' '),
            None => shown.push_str(&rest[..taken]),
        }
        rest = &rest[taken..];
    }
    let flat = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    crate::sql::shortened(&flat, SHOWN)
}

/// A statement of `pg_stat_activity` by [`without_literals`]; none where there is none, and where the server hides it from the role.
#[must_use]
pub fn shown(statement: &str) -> Option<String> {
    let hidden = statement.starts_with("<insufficient privilege>") || statement.trim().is_empty();
    (!hidden).then(|| without_literals(statement))
}

/// How many bytes belong together at the beginning, and what is put in their place (none: themselves).
fn piece(rest: &str, c: char, in_name: bool) -> (usize, Option<&'static str>) {
    match c {
        '\'' => (quoted(rest), Some("?")),
        '"' => (rest[1..].find('"').map_or(rest.len(), |end| end + 2), None),
        '$' if !in_name => match dollar_quoted(rest) {
            Some(length) => (length, Some("?")),
            None => (1, None),
        },
        '-' if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), Some(" ")),
        '/' if rest.starts_with("/*") => (comment(rest), Some(" ")),
        '0'..='9' if !in_name => (number(rest), Some("?")),
        '.' if !in_name && rest[1..].starts_with(|c: char| c.is_ascii_digit()) => (number(rest), Some("?")),
        _ => (c.len_utf8(), None),
    }
}

/// The length of a literal in single quotes. Whether a backslash escapes the quote hangs on a setting and on the literal's kind: after one, nothing more is told.
fn quoted(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => return rest.len(),
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a literal like `$tag$ ... $tag$`, up to the end where it was cut off; none where it is a parameter like `$1`.
fn dollar_quoted(rest: &str) -> Option<usize> {
    let end = rest[1..].find('$')? + 2;
    let tag = &rest[..end];
    let name = &tag[1..end - 1];
    let is_tag =
        !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_tag.then(|| rest[end..].find(tag).map_or(rest.len(), |close| end + close + end))
}

/// The length of a comment; comments nest.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while at < rest.len() {
        let left = &rest.as_bytes()[at..];
        if left.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if left.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of a number, its exponent and letters that cling to it included.
fn number(rest: &str) -> usize {
    rest.find(|c: char| !(c.is_alphanumeric() || c == '.' || c == '_')).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_no_statement() {
        assert_eq!((shown("<insufficient privilege>"), shown(" \n")), (None, None));
        assert_eq!(shown("select 1").as_deref(), Some("select ?"));
    }

    #[test]
    fn names_stay_and_values_go() {
        for (statement, shown) in [
            ("select * from orders where id = 17 and name='O''Neil'", "select * from orders where id = ? and name=?"),
            ("select $1, t1.c2, 1.5e-3, .5, 0xFF from t1", "select $1, t1.c2, ?-?, ?, ? from t1"),
            ("update \"Odd 'name'\" set v = E'it\\'s secret', w = 2", "update \"Odd 'name'\" set v = E?"),
            ("insert into t values ('cut off in the mid", "insert into t values (?"),
            ("select $$a'b$$, $tag$ x $$ y $tag$, 'z'", "select ?, ?, ?"),
            ("select $tag$ cut", "select ?"),
            ("select 1 -- the card 4711\n, 2 /* a /* b */ c */ from t", "select ? , ? from t"),
            ("select 1 /* cut 4711", "select ?"),
            ("select\n\t  a\u{7}b  from t", "select a b from t"),
            ("select größe9 from tä", "select größe9 from tä"),
            ("copy \"cut", "copy \"cut"),
            ("", ""),
        ] {
            assert_eq!(without_literals(statement), shown, "{statement}");
        }
        let long = format!("select {} from t", "column, ".repeat(100));
        // Before a word, so that nothing is cut in two that the host would know whole.
        let shown = without_literals(&long);
        assert!(shown.chars().count() <= SHOWN + 4 && shown.ends_with("column, ..."), "{shown}");
    }
}
