//! How many connections there may be.

use rota_sdk::prelude::*;

/// How many connections there may be, and are.
#[data]
pub(crate) struct Limits {
    /// `max_connections`.
    pub(crate) max_connections: i64,
    /// `superuser_reserved_connections`.
    pub(crate) reserved_for_superusers: i64,
    /// `reserved_connections`, for members of `pg_use_reserved_connections`; null before PostgreSQL 16.
    pub(crate) reserved: Option<i64>,
    /// How many ordinary users may have.
    pub(crate) ceiling: i64,
    /// How many clients have, this run's own among them.
    pub(crate) clients: i64,
    /// Databases and roles with a limit of their own (`CONNECTION LIMIT`).
    pub(crate) own_limits: Vec<OwnLimit>,
}

/// A limit of a database or a role.
#[data]
#[derive(FromRow)]
pub(crate) struct OwnLimit {
    /// `database` or `role`.
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
    /// The limit.
    pub(crate) limit: i64,
    /// How many it has.
    pub(crate) used: i64,
}

const SETTINGS: &str = "\
    select current_setting('max_connections')::int8, current_setting('superuser_reserved_connections')::int8, \
           current_setting('reserved_connections', true)::int8";

const COUNT: &str = "\
    select count(*) from pg_catalog.pg_stat_activity \
    where backend_type = 'client backend' or (backend_type is null and datname is not null)";

const OWN: &str = "\
    select 'database' as kind, d.datname::text as name, d.datconnlimit::int8 as limit, \
           (select count(*) from pg_catalog.pg_stat_activity a where a.datid = d.oid and a.usesysid is not null) as used \
    from pg_catalog.pg_database d where d.datconnlimit >= 0 \
    union all \
    select 'role', r.rolname::text, r.rolconnlimit::int8, (select count(*) from pg_catalog.pg_stat_activity a where a.usesysid = r.oid) \
    from pg_catalog.pg_roles r where r.rolconnlimit >= 0 and r.rolcanlogin order by 1, 2";

pub(crate) async fn look(session: &mut Session) -> Result<Limits> {
    let (max_connections, reserved_for_superusers, reserved): (i64, i64, Option<i64>) =
        session.query_one(SETTINGS, params![]).await.context("reading the limits of connections")?;
    let clients = count(session).await?;
    let own_limits = session.query_all(OWN, params![]).await.context("reading the limits of databases and roles")?;
    let ceiling = max_connections - reserved_for_superusers - reserved.unwrap_or(0);
    Ok(Limits { max_connections, reserved_for_superusers, reserved, ceiling, clients, own_limits })
}

/// How many clients are connected.
pub(crate) async fn count(session: &mut Session) -> Result<i64> {
    session.query_one(COUNT, params![]).await.context("counting connections")
}
