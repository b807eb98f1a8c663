//! What has grown since an earlier report.

use crate::sizes::{Database, Table};
use crate::wal::Wal;
use rota_sdk::prelude::*;

/// Sizes at one moment: in a report as `measured`, and given to a later run as `previous`.
#[data]
pub(crate) struct Measured {
    /// When they were measured.
    pub(crate) at: Timestamp,
    /// All databases whose size could be read.
    pub(crate) databases_bytes: i64,
    /// What was in `pg_wal`; null where it could not be seen.
    #[serde(default)]
    pub(crate) wal_bytes: Option<i64>,
    /// The largest tables.
    #[serde(default)]
    pub(crate) tables: Vec<TableSize>,
}

/// A table's size.
#[data]
pub(crate) struct TableSize {
    /// Schema and name, quoted by the server.
    pub(crate) table: String,
    /// With indexes and large values.
    pub(crate) bytes: i64,
}

/// What has grown. Negative: it has shrunk.
#[data]
pub(crate) struct Growth {
    /// Since when.
    pub(crate) since: Timestamp,
    /// How long that is, seconds.
    pub(crate) seconds: f64,
    /// All databases.
    pub(crate) databases_bytes: i64,
    /// The same a day.
    pub(crate) databases_bytes_per_day: f64,
    /// The WAL; null where it was not measured both times.
    pub(crate) wal_bytes: Option<i64>,
    /// The tables that are in both, by growth.
    pub(crate) tables: Vec<TableSize>,
}

pub(crate) fn measure(at: Timestamp, databases: &[Database], wal: &Wal, tables: &[Table]) -> Measured {
    Measured {
        at,
        databases_bytes: databases.iter().filter_map(|database| database.bytes).sum(),
        wal_bytes: wal.bytes,
        tables: tables.iter().map(|table| TableSize { table: table.table.clone(), bytes: table.total_bytes }).collect(),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a rate")]
pub(crate) fn since(before: &Measured, now: &Measured) -> Result<Growth> {
    let seconds = now.at.seconds_since(before.at);
    if seconds <= 0.0 {
        return Err(
            Error::new("`previous` was not measured before this run").hint("give `data.measured` of an earlier report")
        );
    }
    let databases_bytes = now.databases_bytes - before.databases_bytes;
    let grown = |table: &TableSize| {
        let earlier = before.tables.iter().find(|earlier| earlier.table == table.table)?;
        Some(TableSize { table: table.table.clone(), bytes: table.bytes - earlier.bytes })
    };
    let mut tables: Vec<TableSize> = now.tables.iter().filter_map(grown).collect();
    tables.sort_by_key(|table| std::cmp::Reverse(table.bytes));
    Ok(Growth {
        since: before.at,
        seconds,
        databases_bytes,
        databases_bytes_per_day: databases_bytes as f64 * 86_400.0 / seconds,
        wal_bytes: now.wal_bytes.zip(before.wal_bytes).map(|(now, before)| now - before),
        tables,
    })
}
