//! What the classifier says of a statement that it accepts.

use crate::access::{AccessSet, EffectClass};

/// Whether a statement may run inside a transaction block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransactionRule {
    /// Inside a transaction block or outside of one.
    Allowed,
    /// Only outside (VACUUM, CREATE INDEX CONCURRENTLY, CREATE DATABASE ...): the server would refuse.
    Forbidden,
}

/// One statement, classified.
///
/// The statement may run if `accesses` is a subset of what is granted and, where it has a `parameter`, the binding names that one. Nothing else needs
/// to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What must be granted. Never empty.
    pub accesses: AccessSet,
    /// The worst it can do.
    pub effect: EffectClass,
    /// Its verb, as a person would name it: "SELECT", "EXPLAIN ANALYZE", "DROP TABLE".
    pub verb: &'static str,
    /// The first relation (or database, schema ...) that it is about, quoted where it needs to be. One that
    /// is changed goes before one that is only read.
    pub target: Option<String>,
    /// The server's parameter that it sets or resets, in lower case: ALTER SYSTEM.
    pub parameter: Option<String>,
    /// Whether it may run inside a transaction block.
    pub transaction: TransactionRule,
    /// Whether it answers with rows.
    pub returns_rows: bool,
    /// The functions that it calls by name, in order of appearance, each once, as written but without quotes.
    pub functions: Vec<String>,
    /// The functions, operators and types of users, which the parser cannot look into. If there are any, then
    /// `accesses` has `write` and `ddl`: a denial can say because of what.
    pub user_code: Vec<String>,
}

/// `name` as an identifier for people: quoted if it has to be.
pub(crate) fn quoted(name: &str) -> String {
    let mut characters = name.chars();
    let plain = characters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_')
        && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A qualified name, each part quoted if it has to be; parts that are empty were not written.
pub(crate) fn qualified<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).map(quoted).collect();
    parts.join(".")
}
