//! One connection, and what is known of its state.

use crate::target::Target;
use crate::value::parameter::Lookups;
use crate::wit::Value;
use sqlx::postgres::{PgConnection, PgStatement, PgTypeInfo};
use sqlx::{AssertSqlSafe, Either, Executor as _, Row as _, SqlSafeStr as _, Statement as _};
use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

/// Who a backend is, so that another connection can cancel it and nobody else.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// Microseconds since 1970; a reused pid has another.
    pub(crate) start: i64,
}

/// The transaction block that a connection is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// None: each statement commits by itself.
    None,
    /// The READ ONLY one around a single query.
    Query,
    /// The guest's.
    Transaction,
    /// The guest's, and in it the read-only savepoint around a single query.
    Savepoint,
}

/// How many statements are remembered before all are forgotten.
const REMEMBERED: usize = 1_000;

/// One connection.
pub(crate) struct Connection {
    pub(crate) pg: PgConnection,
    pub(crate) target: Arc<Target>,
    pub(crate) identity: Identity,
    pub(crate) block: Block,
    /// A statement on it was cancelled: it serves its session to the end, and no other.
    pub(crate) tainted: bool,
    /// The statements that sqlx may keep prepared, as hashes of their text. One that is taken for another costs a round trip.
    prepared: HashSet<u64>,
    hasher: RandomState,
    /// The OID of the type `vector`, once it was asked for.
    vector: Option<Option<u32>>,
}

impl Connection {
    pub(crate) fn new(pg: PgConnection, target: Arc<Target>, identity: Identity) -> Self {
        Self {
            pg,
            target,
            identity,
            block: Block::None,
            tainted: false,
            prepared: HashSet::new(),
            hasher: RandomState::new(),
            vector: None,
        }
    }

    /// Run a statement of the host's own that has no parameters.
    pub(crate) async fn simple(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        self.pg.execute(sqlx::raw_sql(sql)).await.map(|_| ())
    }

    /// Prepare a statement and learn its columns.
    pub(crate) async fn prepare(&mut self, sql: &str, types: &[PgTypeInfo]) -> Result<PgStatement, sqlx::Error> {
        let hash = self.hasher.hash_one(sql);
        // sqlx takes a statement for one that it has prepared before by its text alone, but the types of the parameters or the tables
        // may have changed.
        if self.prepared.contains(&hash) || self.prepared.len() >= REMEMBERED {
            self.forget_all().await?;
        }
        self.prepared.insert(hash);
        self.pg.prepare_with(AssertSqlSafe(sql.to_owned()).into_sql_str(), types).await
    }

    /// Forget all prepared statements, on both sides.
    pub(crate) async fn forget_all(&mut self) -> Result<(), sqlx::Error> {
        self.prepared.clear();
        sqlx::Connection::clear_cached_statements(&mut self.pg).await
    }

    /// Look up what the parameters need to be sent.
    pub(crate) async fn lookups(&mut self, values: &[Value]) -> Result<Lookups, sqlx::Error> {
        let mut lookups = Lookups { vector: None, relations: Vec::new() };
        for value in values {
            match value {
                Value::Vector(_) => lookups.vector = Some(self.vector_type().await?),
                Value::Regclass(name) => lookups.relations.push(self.relation(name).await?),
                _ => {}
            }
        }
        Ok(lookups)
    }

    async fn vector_type(&mut self) -> Result<u32, sqlx::Error> {
        const SQL: &str = "select t.oid from pg_catalog.pg_type t join pg_catalog.pg_extension e on e.extname = 'vector' \
                           and t.typnamespace = e.extnamespace where t.typname = 'vector'";
        if self.vector.is_none() {
            let row = sqlx::query(SQL).persistent(false).fetch_optional(&mut self.pg).await?;
            let oid = row.map(|row| row.try_get::<sqlx::postgres::types::Oid, _>(0)).transpose()?;
            self.vector = Some(oid.map(|oid| oid.0));
        }
        self.vector.flatten().ok_or_else(|| sqlx::Error::TypeNotFound { type_name: "vector".into() })
    }

    async fn relation(&mut self, name: &str) -> Result<u32, sqlx::Error> {
        let row = sqlx::query("select $1::text::pg_catalog.regclass::oid")
            .bind(name)
            .persistent(false)
            .fetch_one(&mut self.pg)
            .await?;
        row.try_get::<sqlx::postgres::types::Oid, _>(0).map(|oid| oid.0)
    }

    /// End the block that a single query was run in, whether it went well or not.
    pub(crate) async fn end_query(&mut self, well: bool) -> Result<(), sqlx::Error> {
        match self.block {
            Block::Query => {
                self.simple(if well { "COMMIT" } else { "ROLLBACK" }).await?;
                self.block = Block::None;
            }
            Block::Savepoint => {
                self.simple("ROLLBACK TO SAVEPOINT rota_query; RELEASE SAVEPOINT rota_query").await?;
                self.block = Block::Transaction;
            }
            Block::None | Block::Transaction => {}
        }
        Ok(())
    }

    /// Roll back whatever is open.
    pub(crate) async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
        if self.block != Block::None {
            self.simple("ROLLBACK").await?;
            self.block = Block::None;
        }
        Ok(())
    }
}

/// The server's own words on a wrong number of parameters name the wire protocol.
pub(crate) fn check_count(statement: &PgStatement, given: usize) -> Result<(), sqlx::Error> {
    match statement.parameters() {
        Some(Either::Left(types)) if types.len() != given => Err(sqlx::Error::Encode(
            format!("the statement has {} parameters, and {given} were given", types.len()).into(),
        )),
        _ => Ok(()),
    }
}
