//! Why a statement is not accepted, whatever is granted.

use crate::bounds;

/// Why the classifier does not accept a statement. A refusal is final: no grant changes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Only white space, comments or semicolons.
    #[error("the statement is empty; send one SQL statement")]
    Empty,
    /// More than one statement in one string.
    #[error("the string holds {count} statements; send them one by one, each is judged and recorded by itself")]
    SeveralStatements {
        /// How many there are.
        count: usize,
    },
    /// PostgreSQL's grammar does not accept it.
    #[error("the statement is not valid SQL: {message}{}", place(.position))]
    Syntax {
        /// PostgreSQL's own message, cut to a sensible length.
        message: String,
        /// Where, as the 1-based number of a character, if that is clear from the message.
        position: Option<usize>,
    },
    /// Over the bounds of [`MAX_STATEMENT_BYTES`](crate::MAX_STATEMENT_BYTES) or
    /// [`MAX_CODE_BYTES`](crate::MAX_CODE_BYTES).
    #[error(
        "the statement is too long: the limits are {} KiB, and {} KiB without its string literals and comments; \
         send values as parameters ($1, arrays) and bulk data by copy-in",
        bounds::MAX_STATEMENT_BYTES / 1024, bounds::MAX_CODE_BYTES / 1024
    )]
    TooLong,
    /// Nested deeper than the parser may follow.
    #[error(
        "the statement is nested too deeply (about 45 levels of expressions, joins or chained operators, 15 of subqueries, \
         or {} open parentheses); split it, or use IN, ANY($1) and VALUES instead of long chains",
        bounds::MAX_OPEN_BRACKETS
    )]
    TooDeep,
    /// Something that is never accepted by statement.
    #[error("{what} is refused: {why}")]
    Forbidden {
        /// What it is: a kind of statement, a function, a relation, an option.
        what: String,
        /// Why it is refused, and what to use instead if there is anything.
        why: &'static str,
    },
    /// A function, operator or sampling method that is not on the allow-list.
    #[error(
        "{name} is not on the list of functions and operators that are known to be free of side effects{}; if it is one \
         of your own, name it with its schema and have write + ddl granted", suggestion(.nearest)
    )]
    UnknownFunction {
        /// The name as written.
        name: String,
        /// The allowed one that is spelled most like it.
        nearest: Option<String>,
    },
    /// A kind of syntax that the classifier has not been taught.
    #[error(
        "the statement uses {node}, which the classifier does not know, and what it does not know it refuses; say it in another way"
    )]
    UnknownNode {
        /// PostgreSQL's name of the node.
        node: String,
    },
    /// The parser itself failed; the statement was not judged and must not run.
    #[error("the SQL parser failed ({message}); the statement was not judged and does not run")]
    ParserFailed {
        /// What happened.
        message: String,
    },
}

impl Refusal {
    pub(crate) fn forbidden(what: impl Into<String>, why: &'static str) -> Self {
        Refusal::Forbidden { what: what.into(), why }
    }

    pub(crate) fn unknown(node: impl Into<String>) -> Self {
        Refusal::UnknownNode { node: node.into() }
    }
}

fn place(position: &Option<usize>) -> String {
    position.map(|position| format!(" (character {position})")).unwrap_or_default()
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}
