//! What is typed, into what is run: a command, a statement of SQL, JavaScript.

use super::tokens::tokens;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// `\name arguments`, without the backslash.
    Command(String),
    /// A statement, without its semicolon.
    Sql(String),
    /// JavaScript.
    Js(String),
}

/// What stands at the beginning of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing but space.
    Nothing,
    /// Something that does not end there.
    Unfinished,
    /// A piece, and how long it is.
    Piece(Piece, usize),
}

/// Words that a statement of SQL begins with, and that JavaScript does not begin with when a name or a literal follows.
const VERBS: [&str; 37] = [
    "abort",
    "alter",
    "analyze",
    "begin",
    "call",
    "checkpoint",
    "cluster",
    "comment",
    "commit",
    "copy",
    "create",
    "delete",
    "do",
    "drop",
    "end",
    "explain",
    "fetch",
    "grant",
    "insert",
    "listen",
    "lock",
    "merge",
    "notify",
    "reassign",
    "refresh",
    "reindex",
    "release",
    "reset",
    "revoke",
    "rollback",
    "savepoint",
    "security",
    "select",
    "set",
    "show",
    "start",
    "table",
];
/// More of them.
const MORE_VERBS: [&str; 5] = ["truncate", "update", "vacuum", "values", "with"];

/// Whether a text begins as a statement of SQL does.
pub(super) fn is_sql(text: &str) -> bool {
    let text = without_comments(text);
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (word, rest) = (text[..end].to_ascii_lowercase(), &text[end..]);
    if !VERBS.contains(&word.as_str()) && !MORE_VERBS.contains(&word.as_str()) {
        return word.is_empty() && text.starts_with('(') && is_sql(text.trim_start_matches(['(', ' ']));
    }
    let next = rest.trim_start();
    let follows = |words: &[&str]| {
        words.iter().any(|word| {
            next.get(..word.len()).is_some_and(|it| it.eq_ignore_ascii_case(word))
                && !next[word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
        })
    };
    let spaced = rest.starts_with(char::is_whitespace);
    let named = spaced && next.starts_with(|c: char| c.is_alphabetic() || "_\"':$".contains(c));
    match word.as_str() {
        // What may end with the word itself.
        "abort" | "begin" | "commit" | "end" | "rollback" | "checkpoint" | "analyze" | "vacuum" | "explain" => {
            rest.is_empty() || next.starts_with(';') || named || (spaced && next.starts_with('('))
        }
        "select" => spaced || rest.starts_with(['(', ';']) || rest.is_empty(),
        "values" => next.starts_with('('),
        "delete" => follows(&["from"]) || (spaced && next.is_empty()),
        "insert" | "merge" => follows(&["into"]) || (spaced && next.is_empty()),
        "do" => spaced && (next.starts_with(['$', '\'']) || follows(&["language"])),
        "with" => named,
        _ => named && !next.starts_with("in ") && !next.starts_with("instanceof "),
    }
}

fn without_comments(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix("--") {
            text = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else {
            return text;
        }
    }
}

/// What stands at the beginning. With `lines`, JavaScript ends with the first line at which nothing is open; otherwise before the first such
/// line that is followed by something else than JavaScript.
pub(super) fn next(text: &str, lines: bool) -> Next {
    let body = without_notes(text);
    let skipped = text.len() - body.len();
    if body.is_empty() {
        return Next::Nothing;
    }
    if let Some(command) = body.strip_prefix('\\') {
        let end = command.find('\n').map_or(command.len(), |end| end + 1);
        return Next::Piece(Piece::Command(command[..end].trim().to_owned()), skipped + 1 + end);
    }
    if is_sql(body) {
        return match statement_end(body) {
            Some(end) => {
                let statement = body[..end].trim_end().trim_end_matches(';').trim_end();
                Next::Piece(Piece::Sql(statement.to_owned()), skipped + end)
            }
            None => Next::Unfinished,
        };
    }
    let tokens = tokens(body);
    let end = tokens.ends().find(|end| {
        let rest = body[*end..].trim_start();
        lines || rest.starts_with('\\') || is_sql(rest)
    });
    match end {
        Some(end) => Next::Piece(Piece::Js(body[..end].trim_end().to_owned()), skipped + end),
        None if tokens.is_whole() => Next::Piece(Piece::Js(body.trim_end().to_owned()), text.len()),
        None => Next::Unfinished,
    }
}

/// Whether everything that is typed can be run: nothing of it waits for an end.
pub(super) fn is_whole(mut text: &str) -> bool {
    loop {
        match next(text, false) {
            Next::Nothing => return true,
            Next::Unfinished => return false,
            Next::Piece(_, length) => text = &text[length..],
        }
    }
}

/// Behind space and the comments of JavaScript at the beginning.
fn without_notes(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        let rest = if text.starts_with("//") {
            text.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some((_, rest)) = text.strip_prefix("/*").and_then(|rest| rest.split_once("*/")) {
            rest
        } else {
            return text;
        };
        text = rest;
    }
}

/// Behind the semicolon that ends a statement of SQL.
fn statement_end(text: &str) -> Option<usize> {
    let mut at = 0;
    let mut depth = 0_usize;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        match c {
            ';' if depth == 0 => return Some(at + 1),
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '\'' => {
                let escapes = text[..at].ends_with(['e', 'E'])
                    && !text[..at - 1].ends_with(|c: char| c.is_alphanumeric() || c == '_');
                at += quoted(rest, '\'', escapes)?;
                continue;
            }
            '"' => {
                at += quoted(rest, '"', false)?;
                continue;
            }
            '-' if rest.starts_with("--") => {
                at += rest.find('\n')?;
                continue;
            }
            '/' if rest.starts_with("/*") => {
                at += comment(rest)?;
                continue;
            }
            '$' if !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') => {
                if let Some(length) = dollar(rest) {
                    at += length?;
                    continue;
                }
            }
            _ => {}
        }
        at += c.len_utf8();
    }
    None
}

fn quoted(text: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((place, c)) = characters.next() {
        if escapes && c == '\\' {
            characters.next();
        } else if c == quote {
            match characters.peek() {
                Some((_, next)) if *next == quote => drop(characters.next()),
                _ => return Some(place + 1),
            }
        }
    }
    None
}

/// Comments of SQL nest.
fn comment(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    None
}

/// `$tag$ ... $tag$`: none where it begins no such text; none within where that does not end.
fn dollar(text: &str) -> Option<Option<usize>> {
    let length = text[1..].find('$')? + 2;
    let tag = &text[..length];
    let name = &tag[1..length - 1];
    let is_tag =
        !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_tag.then(|| text[length..].find(tag).map(|end| length + end + length))
}

#[cfg(test)]
mod tests {
    use super::{Next, Piece, is_sql, next};

    fn all(mut text: &str, lines: bool) -> (Vec<Piece>, Next) {
        let mut pieces = Vec::new();
        loop {
            match next(text, lines) {
                Next::Piece(piece, length) => {
                    pieces.push(piece);
                    text = &text[length..];
                }
                end => return (pieces, end),
            }
        }
    }

    #[test]
    fn sql_is_told_from_javascript() {
        for text in [
            "select 1;",
            "SELECT\n1",
            "select(1)",
            "with a as (select 1) select",
            "delete from a",
            "insert into b",
            "values (1)",
            "update a set b = 1",
            "table orders",
            "begin",
            "commit;",
            "end;",
            "do $$ begin end $$",
            "analyze",
            "vacuum (analyze) a",
            "explain select",
            "set lock_timeout = '1s'",
            "-- note\nselect 1",
            "(select 1)",
            "create table a ()",
            "analyze orders",
            "cluster orders",
            "show all",
        ] {
            assert!(is_sql(text), "{text}");
        }
        for text in [
            "selected = 1",
            "delete a.b",
            "table(rows)",
            "table(await db.query('select 1'))",
            "values.map(f)",
            "cluster.get('Pod', 'x')",
            "do { x() } while (y)",
            "set.add(1)",
            "show(1)",
            "update = 1",
            "begin = 1",
            "end.x",
            "call(1)",
            "insert(1)",
            "(a)",
            "fetch('x')",
            "copy instanceof Map",
            "start + 1",
        ] {
            assert!(!is_sql(text), "{text}");
        }
    }

    #[test]
    fn pieces_end_where_they_should() {
        let sql = |text: &str| Piece::Sql(text.into());
        let js = |text: &str| Piece::Js(text.into());
        assert_eq!(
            all("select ';' , $a$ ; $a$, \"x;\" -- ;\n, /* ; /* ; */ */ E'\\';' ; print(1)\n", false),
            (
                vec![sql("select ';' , $a$ ; $a$, \"x;\" -- ;\n, /* ; /* ; */ */ E'\\';'"), js("print(1)")],
                Next::Nothing
            )
        );
        assert_eq!(all("select (1;\n", false).1, Next::Unfinished);
        assert_eq!(all("\\plan on\nselect 1;", false).0, [Piece::Command("plan on".into()), sql("select 1")]);
        assert_eq!(all("a = 1\nb = 2\n", true).0, [js("a = 1"), js("b = 2")]);
        assert_eq!(all("a = 1\n  .b\n", false).0, [js("a = 1\n  .b")]);
        assert_eq!(all("a = 1\nselect a;\n\\q", false).0, [js("a = 1"), sql("select a"), Piece::Command("q".into())]);
        assert_eq!(all("f(\n", true).1, Next::Unfinished);
        assert_eq!(all("// only a note\n", true), (vec![], Next::Nothing));
        assert_eq!(all("// a note\n/* more */ select 1;\n", true).0, [sql("select 1")]);
        assert_eq!(all("/* open\n", true).1, Next::Unfinished);
        assert_eq!(all("select $1, a$b from c;", true).0, [sql("select $1, a$b from c")]);
    }
}
