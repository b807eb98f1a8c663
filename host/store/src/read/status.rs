//! How the store is.

use crate::StoreError;
use crate::rows::{StoreStatus, TableStatus};
use crate::session::{Engine, Session, Shared, sql};
use std::sync::atomic::Ordering;

pub(crate) async fn status(session: &mut Session<'_>, shared: &Shared) -> Result<StoreStatus, StoreError> {
    let schema = session
        .one(sql!("select coalesce(max(version), 0) as version from rota._sqlx_migrations"), &[])
        .await?
        .map_or(Ok(0), |row| row.number("version"))?;
    let oldest_run = session
        .one(sql!("select created_at from rota.runs order by id limit 1"), &[])
        .await?
        .map(|row| row.date("created_at"))
        .transpose()?;
    let refused_writes = shared.refused.load(Ordering::Relaxed);
    let spooled = shared.spooled.load(Ordering::Relaxed);
    let place = shared.place.to_string();
    let (engine, version, bytes, tables) = match session.engine() {
        Engine::Sqlite => (
            "sqlite",
            sql!("select sqlite_version() as version"),
            sqlite_bytes(session).await?,
            sqlite_tables(session).await?,
        ),
        Engine::Postgres => {
            let tables = postgres_tables(session).await?;
            let bytes = tables.iter().filter_map(|table| table.bytes).sum();
            ("postgres", sql!("select current_setting('server_version') as version"), bytes, tables)
        }
    };
    let engine_version = session.one(version, &[]).await?.map_or(Ok(String::new()), |row| row.text("version"))?;
    Ok(StoreStatus {
        engine: engine.into(),
        engine_version,
        place,
        schema,
        bytes,
        tables,
        oldest_run,
        refused_writes,
        spooled,
    })
}

async fn sqlite_bytes(session: &mut Session<'_>) -> Result<u64, StoreError> {
    let row = session
        .one(sql!("select page_count * page_size as bytes from pragma_page_count(), pragma_page_size()"), &[])
        .await?;
    row.map_or(Ok(0), |row| row.count("bytes"))
}

async fn sqlite_tables(session: &mut Session<'_>) -> Result<Vec<TableStatus>, StoreError> {
    let rows = session
        .all(
            sql!(
                "select 'artifacts' as name, count(*) as found from rota.artifacts
                 union all select 'attempts', count(*) from rota.attempts
                 union all select 'compensations', count(*) from rota.compensations
                 union all select 'components', count(*) from rota.components
                 union all select 'effects', count(*) from rota.effects
                 union all select 'fires', count(*) from rota.fires
                 union all select 'ended', count(*) from rota.ended
                 union all select 'held_keys', count(*) from rota.held_keys
                 union all select 'hosts', count(*) from rota.hosts
                 union all select 'leases', count(*) from rota.leases
                 union all select 'logs', count(*) from rota.logs
                 union all select 'queue', count(*) from rota.queue
                 union all select 'runs', count(*) from rota.runs
                 union all select 'schedules', count(*) from rota.schedules
                 union all select 'steps', count(*) from rota.steps
                 union all select 'team_runs', count(*) from rota.team_runs
                 union all select 'team_usage', count(*) from rota.team_usage"
            ),
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| Ok(TableStatus { name: row.text("name")?, rows: row.count("found")?, dead: None, bytes: None }))
        .collect()
}

async fn postgres_tables(session: &mut Session<'_>) -> Result<Vec<TableStatus>, StoreError> {
    let rows = session
        .all(
            sql!(
                "select cast(s.relname as text) as name, s.n_live_tup as found, s.n_dead_tup as dead,
                        pg_catalog.pg_total_relation_size(s.relid) as bytes
                 from pg_catalog.pg_stat_user_tables s where s.schemaname = 'rota' and s.relname <> '_sqlx_migrations' order by 1"
            ),
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(TableStatus {
                name: row.text("name")?,
                rows: row.count("found")?,
                dead: Some(row.count("dead")?),
                bytes: Some(row.count("bytes")?),
            })
        })
        .collect()
}
