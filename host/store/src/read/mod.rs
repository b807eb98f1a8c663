//! Queries, on connections that write nothing.

pub(crate) mod record;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod status;
pub(crate) mod team;

use crate::StoreError;
use crate::session::{Link, Session, Shared, understand_postgres, understand_sqlite};
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool};

/// The connections.
#[derive(Clone)]
pub(crate) enum Readers {
    /// Of a file.
    Sqlite(SqlitePool),
    /// Of a server.
    Postgres(PgPool),
}

/// One of them, in use.
pub(crate) enum Reader {
    /// Of a file.
    Sqlite(PoolConnection<Sqlite>),
    /// Of a server.
    Postgres(PoolConnection<Postgres>),
}

impl Readers {
    /// A connection.
    pub(crate) async fn reader(&self, shared: &Shared) -> Result<Reader, StoreError> {
        match self {
            Self::Sqlite(pool) => {
                pool.acquire().await.map(Reader::Sqlite).map_err(|error| understand_sqlite(&shared.place, &error))
            }
            Self::Postgres(pool) => {
                pool.acquire().await.map(Reader::Postgres).map_err(|error| understand_postgres(&shared.place, &error))
            }
        }
    }

    /// End them.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Reader {
    /// A session on it.
    pub(crate) fn session<'a>(&'a mut self, shared: &'a Shared) -> Session<'a> {
        match self {
            Self::Sqlite(connection) => Session::new(Link::Sqlite(connection), shared),
            Self::Postgres(connection) => Session::new(Link::Postgres(connection), shared),
        }
    }
}
