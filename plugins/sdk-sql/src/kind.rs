//! What sort of statement it is, by its first word. It decides how the statement is run, never whether it may be: that is the host's.

use rota_sdk::prelude::*;

/// How a statement is run.
#[data]
pub enum Kind {
    /// It answers rows and is read in a READ ONLY transaction.
    Query,
    /// It changes rows and runs in a transaction, which can be taken back.
    Change,
    /// Everything else (VACUUM, CREATE INDEX ...), outside a transaction.
    Command,
}

impl Kind {
    /// By the first word, behind spaces, comments and parentheses.
    ///
    /// # Errors
    /// When there is no word.
    pub fn of(statement: &str) -> Result<Self> {
        let word = first_word(statement)
            .ok_or_else(|| Error::new("the statement is empty").hint("-p statement='select ...'"))?;
        Ok(match word.to_ascii_lowercase().as_str() {
            "select" | "with" | "values" | "table" | "show" | "explain" => Self::Query,
            "insert" | "update" | "delete" | "merge" => Self::Change,
            _ => Self::Command,
        })
    }

    /// Whether it changes rows that nothing counts.
    pub fn is_unbounded(statement: &str) -> bool {
        first_word(statement).is_some_and(|word| word.eq_ignore_ascii_case("truncate"))
    }

    /// Whether EXPLAIN can be asked about it.
    pub fn has_plan(statement: &str) -> bool {
        first_word(statement).is_some_and(|word| !["show", "explain"].contains(&word.to_ascii_lowercase().as_str()))
    }
}

/// The first word, behind spaces, comments and parentheses; none where there is none.
pub fn first_word(statement: &str) -> Option<&str> {
    let mut rest = statement;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = past_comment(comment);
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            return (end > 0).then(|| &rest[..end]);
        }
    }
}

/// Comments of SQL nest.
fn past_comment(text: &str) -> &str {
    let (mut depth, mut rest) = (1, text);
    while depth > 0 {
        let (open, close) = (rest.find("/*"), rest.find("*/"));
        match (open, close) {
            (Some(open), Some(close)) if open < close => (depth, rest) = (depth + 1, &rest[open + 2..]),
            (_, Some(close)) => (depth, rest) = (depth - 1, &rest[close + 2..]),
            (_, None) => return "",
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn the_first_word_decides() {
        for (statement, kind) in [
            ("select 1", Kind::Query),
            ("  -- a note\n /* a /* nested */ one */ ((SELECT 1))", Kind::Query),
            ("with x as (delete from a returning *) select * from x", Kind::Query),
            ("TABLE orders", Kind::Query),
            ("update a set b = 1", Kind::Change),
            ("/**/delete from a", Kind::Change),
            ("vacuum a", Kind::Command),
            ("create index on a (b)", Kind::Command),
        ] {
            assert_eq!(Kind::of(statement).unwrap(), kind, "{statement}");
        }
        for nothing in ["", "  ", "-- select 1", "/* select 1", "((", "$1"] {
            assert!(Kind::of(nothing).is_err(), "{nothing}");
        }
    }
}
