//! What is asked of the server by verbs of the contract instead of statements: who it is, signals, promotion.

use crate::cell::Work;
use crate::connection::{Block, Connection};
use crate::error::of_statement;
use crate::session::Session;
use crate::wit::ServerInfo;
use rota_authority::{Authorized, Permit, Sql};
use rota_contract::{Error, Fault};
use sqlx::Row as _;

/// What to do to another backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Cancel its statement.
    Cancel,
    /// End its session.
    Terminate,
}

impl Session {
    /// The server behind the session.
    ///
    /// # Errors
    /// What the server says; `conflict` while the session is busy.
    pub async fn server(&self, authorized: &Authorized<Sql>) -> Result<ServerInfo, Error> {
        self.0.check(authorized)?;
        let mut lease = self.0.take(Work::Call).await?;
        let result = self.0.listening(server(lease.connection()?)).await;
        lease.settle(result)
    }

    /// What the session's role may do on the server, as far as the server's predefined roles say it.
    ///
    /// # Errors
    /// What the server says; `conflict` while the session is busy.
    pub async fn privileges(&self, authorized: &Authorized<Sql>) -> Result<Privileges, Error> {
        self.0.check(authorized)?;
        let mut lease = self.0.take(Work::Call).await?;
        let result = self.0.listening(privileges(lease.connection()?, &authorized.binding().alter_system)).await;
        lease.settle(result)
    }

    /// Signal another backend, known by its pid and start, in one statement. False: there is none any more.
    ///
    /// # Errors
    /// What the server says; `invalid-argument` for the session itself; `failed` with 42501 where the role may not see when the
    /// backend started, so that nobody can tell whether it is the one.
    pub async fn signal(
        &self,
        permit: Permit<Sql>,
        signal: Signal,
        pid: u32,
        backend_start: i64,
    ) -> Result<bool, Error> {
        let result = match self.0.check_permit(&permit) {
            Ok(()) => self.send_signal(signal, pid, backend_start).await,
            Err(error) => Err(error),
        };
        permit.conclude(result, |sent| if *sent { "sent" } else { "no such backend" }.to_owned()).await
    }

    async fn send_signal(&self, signal: Signal, pid: u32, backend_start: i64) -> Result<bool, Error> {
        if pid == self.backend_pid() {
            return Err(Error::InvalidArgument("this is the session's own backend; drop the session instead".into()));
        }
        let Ok(pid) = i32::try_from(pid) else { return Ok(false) };
        let sql = match signal {
            Signal::Cancel => {
                "select case when (extract(epoch from backend_start) operator(pg_catalog.*) 1000000::numeric)::int8 = $2 then pg_catalog.pg_cancel_backend(pid) end, \
                 backend_start is null from pg_catalog.pg_stat_activity where pid = $1"
            }
            Signal::Terminate => {
                "select case when (extract(epoch from backend_start) operator(pg_catalog.*) 1000000::numeric)::int8 = $2 then pg_catalog.pg_terminate_backend(pid) end, \
                 backend_start is null from pg_catalog.pg_stat_activity where pid = $1"
            }
        };
        let mut lease = self.0.take(Work::Call).await?;
        let query = sqlx::query(sql)
            .bind(pid)
            .bind(backend_start)
            .persistent(false)
            .fetch_optional(&mut lease.connection()?.pg);
        let row = self.0.listening(query).await;
        let Some(row) = lease.settle(row)? else { return Ok(false) };
        let broken = |e: sqlx::Error| of_statement(self.0.binding(), &e);
        if row.try_get::<bool, _>(1).map_err(broken)? {
            return Err(Error::Failed(Fault {
                code: "42501".into(),
                message: format!(
                    "the role may not see when backend {pid} started, so it cannot be told whether it is the one that was meant"
                ),
                detail: Some("grant the role pg_monitor (or pg_read_all_stats)".into()),
                retryable: false,
            }));
        }
        Ok(row.try_get::<Option<bool>, _>(0).map_err(broken)?.unwrap_or(false))
    }

    /// Have the server read its configuration files again. True: it was told to; each of its processes does so when it next waits.
    ///
    /// # Errors
    /// What the server says (42501 where the role may not).
    pub async fn reload_configuration(&self, permit: Permit<Sql>) -> Result<bool, Error> {
        let result = match self.0.check_permit(&permit) {
            Ok(()) => self.send_reload().await,
            Err(error) => Err(error),
        };
        permit.conclude(result, |told| if *told { "told to" } else { "not told" }.to_owned()).await
    }

    async fn send_reload(&self) -> Result<bool, Error> {
        let mut lease = self.0.take(Work::Call).await?;
        let query = sqlx::query_scalar("select pg_catalog.pg_reload_conf()")
            .persistent(false)
            .fetch_one(&mut lease.connection()?.pg);
        let told = self.0.listening(query).await;
        lease.settle(told)
    }

    /// Promote a standby, waiting up to so many seconds. True: it left recovery.
    ///
    /// # Errors
    /// What the server says (55000 where it is no standby).
    pub async fn promote(&self, permit: Permit<Sql>, wait_seconds: u32) -> Result<bool, Error> {
        let result = match self.0.check_permit(&permit) {
            Ok(()) => match self.0.take(Work::Call).await {
                Ok(mut lease) => {
                    let result = match lease.connection() {
                        Ok(connection) => self.0.listening(promote(connection, wait_seconds)).await,
                        Err(error) => return Err(error),
                    };
                    if result.is_err()
                        && let Ok(connection) = lease.connection()
                    {
                        let _ = connection.roll_back().await;
                    }
                    lease.settle(result)
                }
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        permit.conclude(result, |left| if *left { "promoted" } else { "still in recovery" }.to_owned()).await
    }
}

/// What a role may do on its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privileges {
    /// It is a superuser, whom nothing is refused.
    pub superuser: bool,
    /// It sees what others' sessions do (`pg_monitor`).
    pub monitors: bool,
    /// It may cancel and end others' sessions (`pg_signal_backend`).
    pub signals: bool,
    /// It may promote a standby.
    pub promotes: bool,
    /// It may have the server read its files again.
    pub reloads: bool,
    /// The parameters that its binding names and ALTER SYSTEM is not granted for.
    pub cannot_alter: Vec<String>,
}

async fn privileges(connection: &mut Connection, parameters: &[String]) -> Result<Privileges, sqlx::Error> {
    let sql = "select (select rolsuper from pg_catalog.pg_roles where rolname = current_user), \
               pg_catalog.pg_has_role('pg_monitor', 'usage'), pg_catalog.pg_has_role('pg_signal_backend', 'usage'), \
               pg_catalog.has_function_privilege('pg_catalog.pg_promote(boolean, integer)', 'execute'), \
               pg_catalog.has_function_privilege('pg_catalog.pg_reload_conf()', 'execute'), current_setting('server_version_num')::int4";
    let row = sqlx::query(sql).persistent(false).fetch_one(&mut connection.pg).await?;
    let superuser = row.try_get(0)?;
    Ok(Privileges {
        superuser,
        monitors: row.try_get(1)?,
        signals: row.try_get(2)?,
        promotes: row.try_get(3)?,
        reloads: row.try_get(4)?,
        cannot_alter: if superuser {
            Vec::new()
        } else {
            cannot_alter(connection, parameters, row.try_get(5)?).await?
        },
    })
}

/// ALTER SYSTEM is granted by parameter since PostgreSQL 15; before, it is the superuser's alone.
async fn cannot_alter(
    connection: &mut Connection,
    parameters: &[String],
    version: i32,
) -> Result<Vec<String>, sqlx::Error> {
    if parameters.is_empty() || version < 150_000 {
        return Ok(parameters.to_vec());
    }
    let sql = "select name from unnest($1::text[]) as given (name) where not pg_catalog.has_parameter_privilege(name, 'alter system')";
    sqlx::query_scalar(sql).bind(parameters).persistent(false).fetch_all(&mut connection.pg).await
}

async fn server(connection: &mut Connection) -> Result<ServerInfo, sqlx::Error> {
    let sql = "select current_setting('server_version_num')::int4, current_setting('server_version'), pg_catalog.pg_is_in_recovery(), \
               current_database()::text, current_user::text, \
               pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'execute')";
    let row = sqlx::query(sql).persistent(false).fetch_one(&mut connection.pg).await?;
    let system_identifier = if row.try_get(5)? {
        let sql = "select system_identifier::text from pg_catalog.pg_control_system()";
        Some(sqlx::query(sql).persistent(false).fetch_one(&mut connection.pg).await?.try_get(0)?)
    } else {
        None
    };
    Ok(ServerInfo {
        version_num: row.try_get::<i32, _>(0)?.unsigned_abs(),
        version: row.try_get(1)?,
        in_recovery: row.try_get(2)?,
        system_identifier,
        database: row.try_get(3)?,
        role: row.try_get(4)?,
    })
}

/// The wait is the function's own, so that the session's statement_timeout must not come before it.
async fn promote(connection: &mut Connection, wait_seconds: u32) -> Result<bool, sqlx::Error> {
    connection.simple("BEGIN READ ONLY").await?;
    connection.block = Block::Transaction;
    let timeout = (u64::from(wait_seconds) + 10).saturating_mul(1_000).min(i32::MAX.unsigned_abs().into());
    let set = "select pg_catalog.set_config('statement_timeout', $1, true)";
    sqlx::query(set).bind(timeout.to_string()).persistent(false).execute(&mut connection.pg).await?;
    let wait = i32::try_from(wait_seconds).unwrap_or(i32::MAX);
    sqlx::query("select pg_catalog.pg_promote($1, $2)")
        .bind(wait > 0)
        .bind(wait.max(1))
        .persistent(false)
        .execute(&mut connection.pg)
        .await?;
    connection.simple("COMMIT").await?;
    connection.block = Block::None;
    let row = sqlx::query("select not pg_catalog.pg_is_in_recovery()")
        .persistent(false)
        .fetch_one(&mut connection.pg)
        .await?;
    row.try_get(0)
}
