//! Rows of results.

use crate::StoreError;
use chrono::{DateTime, Utc};
use rota_protocol::Instant;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

/// A row of either engine.
pub(crate) enum Row {
    /// SQLite.
    Sqlite(SqliteRow),
    /// PostgreSQL.
    Postgres(PgRow),
}

/// A record that does not hold what Rota writes.
pub(crate) fn strange(what: impl std::fmt::Display) -> StoreError {
    StoreError::Database(format!("a record holds {what}, which Rota never writes"))
}

fn unreadable(column: &str) -> impl FnOnce(sqlx::Error) -> StoreError + '_ {
    move |error| strange(format_args!("a {column} that cannot be read ({error})"))
}

impl Row {
    /// A number, or none.
    pub(crate) fn maybe_number(&self, column: &str) -> Result<Option<i64>, StoreError> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
        .map_err(unreadable(column))
    }

    /// A number.
    pub(crate) fn number(&self, column: &str) -> Result<i64, StoreError> {
        self.maybe_number(column)?.ok_or_else(|| strange(format_args!("no {column}")))
    }

    /// A number that is not negative.
    pub(crate) fn count(&self, column: &str) -> Result<u64, StoreError> {
        u64::try_from(self.number(column)?).map_err(|_| strange(format_args!("a negative {column}")))
    }

    /// A small number that is not negative.
    pub(crate) fn small(&self, column: &str) -> Result<u32, StoreError> {
        u32::try_from(self.number(column)?).map_err(|_| strange(format_args!("a {column} out of range")))
    }

    /// A truth.
    pub(crate) fn truth(&self, column: &str) -> Result<bool, StoreError> {
        Ok(self.number(column)? != 0)
    }

    /// A text, or none.
    pub(crate) fn maybe_text(&self, column: &str) -> Result<Option<String>, StoreError> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
        .map_err(unreadable(column))
    }

    /// A text.
    pub(crate) fn text(&self, column: &str) -> Result<String, StoreError> {
        self.maybe_text(column)?.ok_or_else(|| strange(format_args!("no {column}")))
    }

    /// Bytes, or none.
    pub(crate) fn maybe_bytes(&self, column: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
        .map_err(unreadable(column))
    }

    /// An instant of the rules.
    pub(crate) fn instant(&self, column: &str) -> Result<Instant, StoreError> {
        self.number(column).map(Instant)
    }

    /// A date, or none.
    pub(crate) fn maybe_date(&self, column: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.maybe_number(column)?
            .map(|micros| {
                DateTime::from_timestamp_micros(micros).ok_or_else(|| strange(format_args!("a {column} out of range")))
            })
            .transpose()
    }

    /// A date.
    pub(crate) fn date(&self, column: &str) -> Result<DateTime<Utc>, StoreError> {
        self.maybe_date(column)?.ok_or_else(|| strange(format_args!("no {column}")))
    }

    /// What is kept as JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        serde_json::from_str(&self.text(column)?)
            .map_err(|error| strange(format_args!("a {column} that is broken ({error})")))
    }

    /// What is kept as JSON, or none.
    pub(crate) fn maybe_json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<Option<T>, StoreError> {
        self.maybe_text(column)?
            .map(|text| {
                serde_json::from_str(&text)
                    .map_err(|error| strange(format_args!("a {column} that is broken ({error})")))
            })
            .transpose()
    }
}
