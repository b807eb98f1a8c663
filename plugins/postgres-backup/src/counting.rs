//! How many rows each table has, and which state of the database the dump shows.
//!
//! `pg_dump` takes a snapshot of its own, and exporting one for it is denied to procedures (it writes a file on the server). So the rows
//! are counted in a snapshot taken just before, and the transactions in progress are compared before and after: when none that
//! writes has ended meanwhile, both snapshots show the same rows.

use crate::preflight::{Preflight, Relation};
use rota_sdk::prelude::*;
use rota_sdk::sql::{Isolation, TransactionOptions};
use rota_sdk_backup::manifest::RowsMethod;
use rota_sdk_backup::rows::TableRows;
use std::cell::Cell;
use std::future::Future;

/// Beyond this, asking for each table takes too long.
const MOST_TABLES: usize = 20_000;

/// Where the server is at a moment.
#[derive(Clone, Debug, Default, FromRow)]
pub(crate) struct Moment {
    pub(crate) transactions: Option<String>,
    pub(crate) lsn: Option<String>,
}

const MOMENT: &str = "select pg_current_snapshot()::text as transactions, \
    (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end)::text as lsn";

/// What was counted.
#[derive(Debug)]
pub(crate) struct Counted {
    /// `CountedBefore` or `Estimated`.
    pub(crate) method: RowsMethod,
    pub(crate) tables: Vec<TableRows>,
    pub(crate) before: Moment,
    pub(crate) after: Moment,
    /// Why the rows are estimates where they should have been counted.
    pub(crate) failed: Option<Error>,
}

/// What came of counting.
type Counts = Result<Vec<u64>>;

/// Counts around a dump.
pub(crate) struct Counter<'a> {
    tables: &'a [Relation],
    estimate: bool,
}

impl<'a> Counter<'a> {
    pub(crate) fn new(checked: &'a Preflight, estimate: bool) -> Self {
        Self { tables: &checked.tables, estimate: estimate || checked.tables.len() > MOST_TABLES }
    }

    /// Take a snapshot, start the dump, count while it runs, and look again after it.
    pub(crate) async fn around<T>(
        &self,
        session: &mut Session,
        dump: impl Future<Output = Result<T>>,
    ) -> (Result<T>, Result<Counted>) {
        let (dumped, begun) = if self.estimate {
            // The moment before the dump is started.
            match session.query_one::<Moment>(MOMENT, params![]).await {
                Ok(before) => (dump.await, Ok((before, None))),
                Err(error) => (Err(error.clone()), Err(error)),
            }
        } else {
            self.count_beside(session, dump).await
        };
        let counted = match begun {
            Ok((before, counts)) => self.conclude(session, before, counts).await,
            Err(error) => Err(error),
        };
        (dumped, counted)
    }

    async fn conclude(&self, session: &mut Session, before: Moment, counts: Option<Counts>) -> Result<Counted> {
        // Where the server does not answer any more, what the dump's end was is not known; the dump itself is.
        let after = session.query_one::<Moment>(MOMENT, params![]).await.unwrap_or_default();
        let estimated = || self.tables.iter().map(estimate).collect();
        let (method, rows, failed) = match counts {
            Some(Ok(rows)) => (RowsMethod::CountedBefore, rows, None),
            Some(Err(error)) => (RowsMethod::Estimated, estimated(), Some(error)),
            None => (RowsMethod::Estimated, estimated(), None),
        };
        let tables = self.tables.iter().zip(rows).map(|(table, rows)| TableRows {
            schema: table.schema.clone(),
            table: table.name.clone(),
            rows,
        });
        Ok(Counted { method, tables: tables.collect(), before, after, failed })
    }

    /// The dump and the counting at once, in one snapshot for all counts. Counting that fails falls back to estimates.
    async fn count_beside<T>(
        &self,
        session: &mut Session,
        dump: impl Future<Output = Result<T>>,
    ) -> (Result<T>, Result<(Moment, Option<Counts>)>) {
        let options = TransactionOptions { isolation: Isolation::RepeatableRead, read_only: true, lock_timeout: None };
        let mut transaction = match session.begin_with(options).await {
            Ok(transaction) => transaction,
            Err(error) => return (Err(error.clone()), Err(error)),
        };
        // The first query of a REPEATABLE READ transaction takes its snapshot.
        let before = match transaction.query_one::<Moment>(MOMENT, params![]).await {
            Ok(before) => before,
            Err(error) => return (Err(error.clone()), Err(error)),
        };
        let failed = Cell::new(false);
        let dumping = async {
            let result = dump.await;
            failed.set(result.is_err());
            result
        };
        let counting = async {
            let counted = self.count(&mut transaction, &failed).await;
            // Ends before the dump does: a snapshot that nobody needs holds back VACUUM.
            let ended = transaction.rollback().await;
            counted.and_then(|rows| ended.map(|()| rows))
        };
        let (dumped, counted) = join(dumping, counting).await;
        (dumped, Ok((before, Some(counted))))
    }

    async fn count(&self, transaction: &mut Transaction<'_>, failed: &Cell<bool>) -> Counts {
        let mut counts = Vec::with_capacity(self.tables.len());
        for table in self.tables {
            if failed.get() {
                return Err(Error::new("the dump failed"));
            }
            let rows: i64 =
                transaction.query_one(sql!("select count(*) from only {}", table.quoted), params![]).await?;
            counts.push(u64::try_from(rows).unwrap_or(0));
        }
        Ok(counts)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate, made whole")]
fn estimate(table: &Relation) -> u64 {
    table.estimate.max(0.0) as u64
}
