//! Making a connection, and setting it to what a run needs.

use crate::connection::{Connection, Identity};
use crate::target::{Settings, Target};
use rota_contract::Error;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Executor as _, Row as _};
use std::sync::Arc;
use std::time::Duration;

/// A new connection, with who it is but without the session's settings.
pub(crate) async fn connect(target: &Arc<Target>) -> Result<Connection, Error> {
    let work = async {
        let mut pg = raw(&target.options).await?;
        // Before the role is set: the role may not see when this very session began.
        let (identity, holds_records) = identify(&mut pg).await?;
        Ok((Connection::new(pg, target.clone(), identity), holds_records))
    };
    match tokio::time::timeout(target.connect_timeout, work).await {
        Ok(Ok((_, true))) => Err(Error::InvalidArgument(format!(
            "binding `{}`: the database holds the records of a Rota host (schema `rota`), which no binding may reach",
            target.binding
        ))),
        Ok(Ok((connection, _))) => Ok(connection),
        Ok(Err(error)) => {
            target.hear_of_trouble().await;
            Err(target.refused(&error))
        }
        Err(_) => Err(Error::Unavailable(format!(
            "binding `{}`: no session within {:?} (connect_timeout of the binding); see whether the server is up and reachable",
            target.binding, target.connect_timeout
        ))),
    }
}

/// A connection and nothing more: for cancels too.
pub(crate) async fn raw(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    PgConnection::connect_with(options).await
}

/// Who the session is, and whether the database is one in which a host keeps its records: a procedure that reaches those gives itself
/// any grant. Looked at in the catalog, which every role can read, on every connection, whatever name led here.
async fn identify(pg: &mut PgConnection) -> Result<(Identity, bool), sqlx::Error> {
    const SQL: &str = "select pid, coalesce((extract(epoch from backend_start) operator(pg_catalog.*) 1000000::numeric)::int8, 0), \
                       exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
                               where n.nspname = 'rota' and c.relname = 'held_keys') \
                       from pg_catalog.pg_stat_activity where pid = pg_catalog.pg_backend_pid()";
    let row = sqlx::query(SQL).persistent(false).fetch_one(pg).await?;
    Ok((Identity { pid: row.try_get(0)?, start: row.try_get(1)? }, row.try_get(2)?))
}

/// Set a connection to what the run of `target` needs, and see that it took.
///
/// Everything is a bound value of `set_config`, the role too: no name is ever pasted into a statement. The classifier reads
/// literals as `standard_conforming_strings` has them, so the server must too.
pub(crate) async fn set_up(connection: &mut Connection, target: &Arc<Target>) -> Result<(), sqlx::Error> {
    connection.target = target.clone();
    let Settings { application_name, role, statement_timeout, lock_timeout, idle_in_transaction, read_only } =
        &target.session;
    let sql = "select pg_catalog.set_config('application_name', $1, false), pg_catalog.set_config('statement_timeout', $2, false), \
               pg_catalog.set_config('lock_timeout', $3, false), pg_catalog.set_config('idle_in_transaction_session_timeout', $4, false), \
               pg_catalog.set_config('default_transaction_read_only', $5, false), pg_catalog.set_config('role', $6, false), \
               pg_catalog.set_config('standard_conforming_strings', 'on', false)";
    let row = sqlx::query(sql)
        .bind(application_name)
        .bind(milliseconds(*statement_timeout))
        .bind(milliseconds(*lock_timeout))
        .bind(milliseconds(*idle_in_transaction))
        .bind(if *read_only { "on" } else { "off" })
        .bind(role.as_deref().unwrap_or("none"))
        .persistent(false)
        .fetch_one(&mut connection.pg)
        .await?;
    let role_now: String = row.try_get(5)?;
    if role.as_deref().is_some_and(|wanted| wanted != role_now) {
        return Err(sqlx::Error::Protocol(format!("the server answered role {role_now:?}")));
    }
    // A server that loses its client ends a long statement by itself; not every platform can tell (PostgreSQL 14 and later on Linux can).
    match connection.pg.execute(sqlx::raw_sql("SET client_connection_check_interval = '10s'")).await {
        Ok(_) | Err(sqlx::Error::Database(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// For the server, where 0 means "no limit": a limit of less than a millisecond becomes one.
fn milliseconds(duration: Duration) -> String {
    let milliseconds = duration.as_millis().min(i32::MAX.unsigned_abs().into());
    if milliseconds == 0 && !duration.is_zero() { "1".into() } else { milliseconds.to_string() }
}

/// Undo everything that a run did to a connection, and see that it is the same backend, in no transaction, and no role.
pub(crate) async fn reset(connection: &mut Connection) -> Result<bool, sqlx::Error> {
    connection.roll_back().await?;
    connection.forget_all().await?;
    // Fails inside of a transaction block, so that an open one that went unnoticed is found here.
    connection.simple("DISCARD ALL").await?;
    const SQL: &str = "select pg_catalog.pg_backend_pid() = $1 and current_user = session_user \
                       and not exists (select from pg_catalog.pg_locks where pid = pg_catalog.pg_backend_pid() and locktype = 'advisory')";
    let row = sqlx::query(SQL).bind(connection.identity.pid).persistent(false).fetch_one(&mut connection.pg).await?;
    row.try_get(0)
}
