//! A connection to either engine, on which the same statements run.

mod failure;
mod row;
mod text;
mod value;

pub(crate) use row::Row;
pub(crate) use text::{Engine, Statement, Together, sql, together};
pub(crate) use value::{Value, args};

use crate::rows::Hint;
use crate::{Clock, StoreError};
use rota_protocol::{Instant, LeaseLost};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What PostgreSQL says, in the store's words.
pub(crate) fn understand_postgres(place: &str, error: &sqlx::Error) -> StoreError {
    failure::postgres(place, error).0
}

/// What SQLite says, in the store's words.
pub(crate) fn understand_sqlite(place: &str, error: &sqlx::Error) -> StoreError {
    failure::sqlite(place, error)
}

/// What all sessions of a store share.
#[derive(Clone)]
pub(crate) struct Shared {
    /// The file or database, for messages.
    pub(crate) place: Arc<str>,
    /// The clock of SQLite.
    pub(crate) clock: Arc<dyn Clock>,
    /// How many writes of workers were refused.
    pub(crate) refused: Arc<AtomicU64>,
    /// Whether it is a server, which may not answer.
    pub(crate) has_server: bool,
    /// Where records wait while the place is away; without a folder, a few in memory.
    pub(crate) spool: Option<PathBuf>,
    /// How many wait, in this process.
    pub(crate) spooled: Arc<AtomicU64>,
}

/// A connection.
pub(crate) enum Link<'a> {
    /// To a file.
    Sqlite(&'a mut SqliteConnection),
    /// To a server.
    Postgres(&'a mut PgConnection),
}

/// A connection in use, in a transaction where something is written.
pub(crate) struct Session<'a> {
    link: Link<'a>,
    shared: &'a Shared,
    /// A transaction was asked for, and begins with its first statement.
    to_begin: bool,
    /// Hints to send once it is committed.
    pub(crate) hints: Vec<Hint>,
    /// The first statement that failed, and whether it may succeed when the transaction is done again.
    pub(crate) failed: Option<(StoreError, bool)>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(link: Link<'a>, shared: &'a Shared) -> Self {
        Self { link, shared, to_begin: false, hints: Vec::new(), failed: None }
    }

    /// Which engine it is.
    pub(crate) fn engine(&self) -> Engine {
        match self.link {
            Link::Sqlite(_) => Engine::Sqlite,
            Link::Postgres(_) => Engine::Postgres,
        }
    }

    fn wrong(&mut self, error: &sqlx::Error) -> StoreError {
        let (found, again) = failure::understand(self.engine(), &self.shared.place, error);
        if self.failed.is_none() {
            self.failed = Some((found.clone(), again));
        }
        found
    }

    /// A write of a worker that does not hold the run any more.
    pub(crate) fn refuse(&self, run: &str, lost: LeaseLost) -> StoreError {
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
        StoreError::LeaseLost { run: run.to_owned(), lost }
    }

    /// All rows.
    pub(crate) async fn all(
        &mut self,
        statement: &'static Statement,
        arguments: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        self.begun().await?;
        self.look(statement, arguments).await
    }

    /// All rows, of what need not be seen by the transaction: where nothing is to be done, none is begun.
    pub(crate) async fn look(
        &mut self,
        statement: &'static Statement,
        arguments: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let rows = match &mut self.link {
            Link::Sqlite(connection) => value::sqlite(statement, arguments, &*self.shared.clock)
                .fetch_all(&mut **connection)
                .await
                .map(|rows| rows.into_iter().map(Row::Sqlite).collect()),
            Link::Postgres(connection) => value::postgres(statement, arguments)
                .fetch_all(&mut **connection)
                .await
                .map(|rows| rows.into_iter().map(Row::Postgres).collect()),
        };
        rows.map_err(|error| self.wrong(&error))
    }

    /// The first row, if there is any.
    pub(crate) async fn one(
        &mut self,
        statement: &'static Statement,
        arguments: &[Value<'_>],
    ) -> Result<Option<Row>, StoreError> {
        // Not `fetch_optional`: on PostgreSQL it would leave the rest for the next statement to read away.
        Ok(self.all(statement, arguments).await?.into_iter().next())
    }

    /// How many rows it concerned.
    pub(crate) async fn run(
        &mut self,
        statement: &'static Statement,
        arguments: &[Value<'_>],
    ) -> Result<u64, StoreError> {
        self.begun().await?;
        let done = match &mut self.link {
            Link::Sqlite(connection) => value::sqlite(statement, arguments, &*self.shared.clock)
                .execute(&mut **connection)
                .await
                .map(|done| done.rows_affected()),
            Link::Postgres(connection) => {
                value::postgres(statement, arguments).execute(&mut **connection).await.map(|done| done.rows_affected())
            }
        };
        done.map_err(|error| self.wrong(&error))
    }

    /// Several statements from the same arguments.
    pub(crate) async fn run_together(
        &mut self,
        all: &'static Together,
        arguments: &[Value<'_>],
    ) -> Result<(), StoreError> {
        if self.engine() == Engine::Postgres {
            return self.run(all.one(), arguments).await.map(drop);
        }
        for part in all.parts() {
            self.run(part, arguments.get(..part.arguments()).unwrap_or(arguments)).await?;
        }
        Ok(())
    }

    /// Begin a transaction that writes: on a server with its first statement, so that one that writes nothing costs nothing.
    pub(crate) async fn begin(&mut self) -> Result<(), StoreError> {
        match self.engine() {
            Engine::Sqlite => self.raw("begin immediate").await,
            Engine::Postgres => {
                self.to_begin = true;
                Ok(())
            }
        }
    }

    async fn begun(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.to_begin) { self.raw("begin").await } else { Ok(()) }
    }

    /// A statement of a transaction, without arguments and not prepared, in one trip with its `begin` where it has not begun. On a server.
    pub(crate) async fn begin_with(&mut self, text: String) -> Result<(), StoreError> {
        let text = if std::mem::take(&mut self.to_begin) { format!("begin; {text}") } else { text };
        let text = sqlx::AssertSqlSafe(text);
        let done = match &mut self.link {
            Link::Sqlite(connection) => sqlx::raw_sql(text).execute(&mut **connection).await.map(drop),
            Link::Postgres(connection) => sqlx::raw_sql(text).execute(&mut **connection).await.map(drop),
        };
        done.map_err(|error| self.wrong(&error))
    }

    /// End the transaction by `commit` or `rollback`, if it was begun.
    pub(crate) async fn end(&mut self, how: &'static str) -> Result<(), StoreError> {
        if std::mem::take(&mut self.to_begin) { Ok(()) } else { self.raw(how).await }
    }

    /// A statement without arguments that is not prepared: `begin`, `commit` and their like.
    pub(crate) async fn raw(&mut self, text: &'static str) -> Result<(), StoreError> {
        let done = match &mut self.link {
            Link::Sqlite(connection) => sqlx::raw_sql(text).execute(&mut **connection).await.map(drop),
            Link::Postgres(connection) => sqlx::raw_sql(text).execute(&mut **connection).await.map(drop),
        };
        done.map_err(|error| self.wrong(&error))
    }

    /// The database's time.
    pub(crate) async fn now(&mut self) -> Result<Instant, StoreError> {
        if self.engine() == Engine::Sqlite {
            return Ok(self.shared.clock.now());
        }
        let rows = self.look(sql!("select @now as now"), &[]).await?;
        rows.first().map_or(Ok(Instant(0)), |row| row.instant("now"))
    }
}
