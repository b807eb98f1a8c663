//! Arguments of statements.

use super::text::{Engine, Statement};
use crate::Clock;
use rota_protocol::Instant;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments};

/// An argument.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// A number, or none.
    Number(Option<i64>),
    /// A text, or none.
    Text(Option<&'a str>),
    /// Bytes, or none.
    Bytes(Option<&'a [u8]>),
}

/// The arguments of a statement.
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::session::Value::from($value)),*] };
}
pub(crate) use args;

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Number(Some(i64::from(number)))
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        // Numbers of the domain are far below the largest that a database holds.
        Self::Number(Some(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Self::Number(Some(i64::from(truth)))
    }
}

impl From<Instant> for Value<'_> {
    fn from(instant: Instant) -> Self {
        Self::Number(Some(instant.0))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Some(bytes))
    }
}

/// A statement with its arguments, for SQLite.
pub(super) fn sqlite<'q>(
    statement: &'static Statement,
    arguments: &[Value<'q>],
    clock: &dyn Clock,
) -> Query<'q, Sqlite, SqliteArguments> {
    let mut query = sqlx::query(statement.text(Engine::Sqlite));
    for argument in arguments {
        query = match *argument {
            Value::Number(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
            Value::Bytes(bytes) => query.bind(bytes),
        };
    }
    if statement.needs_time() { query.bind(clock.now().0) } else { query }
}

/// A statement with its arguments, for PostgreSQL.
pub(super) fn postgres<'q>(statement: &'static Statement, arguments: &[Value<'q>]) -> Query<'q, Postgres, PgArguments> {
    let mut query = sqlx::query(statement.text(Engine::Postgres));
    for argument in arguments {
        query = match *argument {
            Value::Number(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
            Value::Bytes(bytes) => query.bind(bytes),
        };
    }
    query
}
