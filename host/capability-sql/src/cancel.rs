//! What happens to a statement whose caller is gone: the server is told, within a bounded time.
//!
//! A second connection, made like the first, asks `pg_cancel_backend` for exactly that backend (by pid and start). What is
//! left of the answer is then read and thrown away, so that the session can go on; where that cannot be (a COPY, an owner
//! that is gone, a server that does not answer) the connection is closed, and the backend watched until it is gone.

use crate::cell::Cell;
use crate::connect::raw;
use crate::connection::{Connection, Identity};
use crate::target::Target;
use rota_contract::Error;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};
use std::sync::Arc;
use std::time::Duration;

/// The most that a cancel takes.
pub(crate) const BOUND: Duration = Duration::from_secs(5);

/// How long a backend may go on after a cancel and a closed connection, before it is terminated.
const GRACE: Duration = Duration::from_secs(1);

/// A piece of work was dropped: cancel it, then give the connection back to its cell or close it.
pub(crate) fn interrupted(connection: Box<Connection>, cell: Arc<Cell>, drainable: bool) {
    let sessions = cell.sessions.clone();
    sessions.spawn(async move {
        if drainable && !cell.is_closed() {
            let recovered = tokio::time::timeout(BOUND, recover(connection)).await;
            match recovered {
                Ok(Some(connection)) => cell.put(connection),
                Ok(None) | Err(_) => cell.lose(lost()),
            }
        } else {
            // Known at once, so that nobody waits for it.
            cell.lose(lost());
            end(connection).await;
        }
    });
}

fn lost() -> Error {
    Error::Cancelled
}

/// Cancel the statement, read what is left of its answer, and end the block that was around it alone.
async fn recover(mut connection: Box<Connection>) -> Option<Box<Connection>> {
    let cancelled = signal(&connection.target, &connection.identity, "pg_cancel_backend").await;
    if let Err(error) = cancelled {
        tracing::warn!(binding = connection.target.binding, %error, "a statement could not be cancelled; its connection is closed");
        return None;
    }
    connection.tainted = true;
    // Each error of the server that comes in is the end of one command; an answered ping is the end of all.
    for _ in 0..4 {
        match connection.pg.ping().await {
            Ok(()) => {
                connection.end_query(false).await.ok()?;
                return Some(connection);
            }
            Err(error) if crate::error::survives(&error) => {}
            Err(_) => return None,
        }
    }
    None
}

/// Cancel what runs on a connection and close it, then watch that its backend goes.
pub(crate) async fn end(connection: Box<Connection>) {
    let (target, identity) = (connection.target.clone(), connection.identity.clone());
    let work = async {
        let mut other = raw(&target.options).await?;
        ask(&mut other, &identity, "pg_cancel_backend").await?;
        // A backend that waits to send to us does not see the cancel, but the closed connection.
        drop(connection);
        if !gone_within(&mut other, &identity, GRACE).await? {
            ask(&mut other, &identity, "pg_terminate_backend").await?;
        }
        other.close().await
    };
    match tokio::time::timeout(BOUND, work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(binding = target.binding, %error, "a statement could not be cancelled; its connection was closed")
        }
        Err(_) => tracing::warn!(
            binding = target.binding,
            "a statement could not be cancelled in time; its connection was closed"
        ),
    }
}

async fn signal(target: &Target, identity: &Identity, function: &'static str) -> Result<(), sqlx::Error> {
    let mut other = raw(&target.options).await?;
    ask(&mut other, identity, function).await?;
    other.close().await
}

/// Signal a backend by its pid and start, in one statement.
async fn ask(other: &mut PgConnection, identity: &Identity, function: &'static str) -> Result<(), sqlx::Error> {
    let sql = match function {
        "pg_terminate_backend" => {
            "select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity \
             where pid = $1 and (extract(epoch from backend_start) operator(pg_catalog.*) 1000000::numeric)::int8 = $2"
        }
        _ => {
            "select pg_catalog.pg_cancel_backend(pid) from pg_catalog.pg_stat_activity \
             where pid = $1 and (extract(epoch from backend_start) operator(pg_catalog.*) 1000000::numeric)::int8 = $2"
        }
    };
    sqlx::query(sql).bind(identity.pid).bind(identity.start).persistent(false).fetch_optional(other).await.map(|_| ())
}

async fn gone_within(other: &mut PgConnection, identity: &Identity, time: Duration) -> Result<bool, sqlx::Error> {
    let sql = "select exists (select from pg_catalog.pg_stat_activity \
               where pid = $1 and (extract(epoch from backend_start) operator(pg_catalog.*) 1000000::numeric)::int8 = $2)";
    let deadline = tokio::time::Instant::now() + time;
    loop {
        let row =
            sqlx::query(sql).bind(identity.pid).bind(identity.start).persistent(false).fetch_one(&mut *other).await?;
        if !row.try_get::<bool, _>(0)? {
            return Ok(true);
        }
        if tokio::time::Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
