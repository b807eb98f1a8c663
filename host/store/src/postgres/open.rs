//! Connecting, making and migrating the schema.

use crate::StoreError;
use crate::additions::ADDITIONS;
use crate::session::{Shared, understand_postgres};
use crate::writer::connect;
use sqlx::ConnectOptions as _;
use sqlx::migrate::{Migrate as _, MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use std::str::FromStr as _;
use std::time::Duration;

/// The schema's history. Forward only, and only adding: hosts of the version before go on beside it.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

/// Serialises making and migrating the schema, whatever database: "ROTA".
const LOCK: i64 = 0x524f_5441;

/// A database.
pub(super) struct Target(PgConnectOptions);

/// What a URL means.
pub(super) fn target(url: &str) -> Result<Target, StoreError> {
    // The message of a URL that cannot be read could hold its password.
    let options = PgConnectOptions::from_str(url).map_err(|_| StoreError::Refused {
        place: "PostgreSQL".into(),
        reason: "the URL cannot be read; it is like postgres://USER:PASSWORD@HOST:5432/DATABASE".into(),
    })?;
    let options = options
        .log_statements(tracing::log::LevelFilter::Off)
        .log_slow_statements(tracing::log::LevelFilter::Off, Duration::ZERO)
        .application_name("rota");
    Ok(Target(options))
}

impl Target {
    /// What it is called in messages: no password.
    pub(super) fn place(&self) -> String {
        let host = self.0.get_host();
        let database = self.0.get_database().unwrap_or(self.0.get_username());
        format!("PostgreSQL {host}:{}/{database}", self.0.get_port())
    }

    /// For writing. A lock is waited for shorter than a lease lasts, and a transaction whose host froze is ended.
    pub(super) fn writing(&self) -> PgConnectOptions {
        self.0.clone().options([
            ("search_path", "pg_catalog"),
            ("synchronous_commit", "on"),
            // Every statement has an index. The hot tables are nearly empty most of the time, so that the planner would rather read them
            // whole, together with all the dead rows that a busy minute leaves in them.
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("jit", "off"),
            // Arguments change nothing about a plan, and planning costs more than most of these statements.
            ("plan_cache_mode", "force_generic_plan"),
            ("lock_timeout", "10s"),
            ("statement_timeout", "60s"),
            ("idle_in_transaction_session_timeout", "10s"),
        ])
    }

    /// For reading.
    pub(super) fn reading(&self) -> PgConnectOptions {
        self.0.clone().options([
            ("search_path", "pg_catalog"),
            ("default_transaction_read_only", "on"),
            ("statement_timeout", "60s"),
            ("idle_in_transaction_session_timeout", "10min"),
        ])
    }

    /// For what may take long.
    pub(super) fn restoring(&self) -> PgConnectOptions {
        self.0.clone().options([
            ("search_path", "pg_catalog"),
            ("synchronous_commit", "on"),
            ("statement_timeout", "0"),
        ])
    }

    /// For hints, which need not be durable.
    pub(super) fn hinting(&self) -> PgConnectOptions {
        self.0.clone().options([("search_path", "pg_catalog"), ("synchronous_commit", "off")])
    }

    /// For migrations, whose table is in the schema.
    fn migrating(&self) -> PgConnectOptions {
        self.0.clone().options([("search_path", "rota"), ("synchronous_commit", "on")])
    }
}

/// A connection for writing, to a schema that is up to date.
pub(super) async fn migrated(target: &Target, shared: &Shared) -> Result<PgConnection, StoreError> {
    let mut connection = connect(&target.migrating(), shared).await?;
    let wrong = |error: sqlx::Error| understand_postgres(&shared.place, &error);
    sqlx::query("select pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await.map_err(wrong)?;
    // The lock goes with the connection, which is used for nothing else.
    migrate(&mut connection, shared).await?;
    drop(connection);
    connect(&target.writing(), shared).await
}

async fn migrate(connection: &mut PgConnection, shared: &Shared) -> Result<(), StoreError> {
    let wrong = |error: sqlx::Error| understand_postgres(&shared.place, &error);
    let there: bool =
        sqlx::query_scalar("select exists (select 1 from pg_catalog.pg_namespace where nspname = 'rota')")
            .fetch_one(&mut *connection)
            .await
            .map_err(wrong)?;
    if !there {
        sqlx::query("create schema rota").execute(&mut *connection).await.map_err(wrong)?;
        sqlx::query("revoke all on schema rota from public").execute(&mut *connection).await.map_err(wrong)?;
    }
    connection.ensure_migrations_table("rota._sqlx_migrations").await.map_err(|error| failed(shared, error))?;
    let found: i64 = sqlx::query_scalar("select coalesce(max(version), 0) from rota._sqlx_migrations")
        .fetch_one(&mut *connection)
        .await
        .map_err(wrong)?;
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    if found > known {
        return Err(StoreError::Newer { place: shared.place.to_string(), found, known });
    }
    MIGRATIONS.run_direct(None, &mut *connection, false).await.map_err(|error| failed(shared, error))?;
    for addition in &ADDITIONS {
        let there: bool = sqlx::query_scalar(
            "select exists (select 1 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                            where n.nspname = 'rota' and c.relname = $1)",
        )
        .bind(addition.table)
        .fetch_one(&mut *connection)
        .await
        .map_err(wrong)?;
        if !there {
            // Several statements as one text are one transaction.
            sqlx::raw_sql(addition.postgres).execute(&mut *connection).await.map_err(wrong)?;
        }
    }
    Ok(())
}

fn failed(shared: &Shared, error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            understand_postgres(&shared.place, &error)
        }
        other => StoreError::Corrupt {
            place: shared.place.to_string(),
            reason: format!("its schema is not one of Rota's: {other}"),
        },
    }
}
