//! How close each database is to running out of transaction ids.

use rota_sdk::prelude::*;

/// A database's age.
#[data]
#[derive(FromRow)]
pub(crate) struct Database {
    /// Its name.
    pub(crate) name: String,
    /// The age of its oldest transaction id: at about 2 billion the server stops taking writes.
    pub(crate) xid_age: i64,
    /// The age of its oldest multixact id.
    pub(crate) multixact_age: i64,
}

const STATEMENT: &str = "\
    select d.datname::text as name, age(d.datfrozenxid)::int8 as xid_age, mxid_age(d.datminmxid)::int8 as multixact_age \
    from pg_catalog.pg_database d order by xid_age desc, name";

pub(crate) async fn look(session: &mut Session) -> Result<Vec<Database>> {
    session.query_all(STATEMENT, params![]).await.context("looking at the age of databases")
}
