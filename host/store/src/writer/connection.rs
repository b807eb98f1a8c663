//! The connection of a lane, made again when it broke.

use crate::StoreError;
use crate::session::{Link, Session, Shared};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions as _, Connection as _};
use std::time::Duration;
use tokio::time::timeout;

/// How long a server is waited for that is to let us in.
const CONNECT: Duration = Duration::from_secs(5);

/// How a lane gets its connection.
pub(crate) enum Connector {
    /// It has it, and keeps it.
    Sqlite(SqliteConnection),
    /// It connects when it has to.
    Postgres(Box<PgConnectOptions>, Option<PgConnection>),
}

impl Connector {
    /// Whether it can be connected anew.
    pub(crate) fn can_reconnect(&self) -> bool {
        matches!(self, Self::Postgres(..))
    }

    /// A session on the connection, which is made where there is none; and whether it was.
    pub(crate) async fn session<'a>(&'a mut self, shared: &'a Shared) -> Result<(Session<'a>, bool), StoreError> {
        match self {
            Self::Sqlite(connection) => Ok((Session::new(Link::Sqlite(connection), shared), false)),
            Self::Postgres(options, connection) => {
                let fresh = connection.is_none();
                if fresh {
                    *connection = Some(connect(options, shared).await?);
                }
                let connection = connection.as_mut().ok_or(StoreError::Closed)?;
                Ok((Session::new(Link::Postgres(connection), shared), fresh))
            }
        }
    }

    /// The connection cannot be used any more.
    pub(crate) fn drop_connection(&mut self) {
        if let Self::Postgres(_, connection) = self {
            *connection = None;
        }
    }

    /// End it in order.
    pub(crate) async fn close(self) {
        let closed = match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(_, Some(connection)) => timeout(CONNECT, connection.close()).await.unwrap_or(Ok(())),
            Self::Postgres(_, None) => Ok(()),
        };
        if let Err(error) = closed {
            tracing::warn!(%error, "the records were not closed cleanly; nothing is lost");
        }
    }
}

/// Connect to a server.
pub(crate) async fn connect(options: &PgConnectOptions, shared: &Shared) -> Result<PgConnection, StoreError> {
    match timeout(CONNECT, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(crate::session::understand_postgres(&shared.place, &error)),
        Err(_) => Err(StoreError::Unavailable {
            place: shared.place.to_string(),
            reason: format!("it does not answer within {} s", CONNECT.as_secs()),
        }),
    }
}
