//! A run's gate over a real server, without a guest.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use rota_authority::{
    Authorized, Decision, Effect, EffectClass, Gate, Grant, MemoryLedger, Mode, Permit, Quotas, RunIdentity, Sql,
    SqlAccess,
};
use rota_capability_sql::wit::Value;
use rota_capability_sql::{Rows, Session, Sessions};
use rota_config::{Address, Binding, Duration, SecretRef, SqlBinding};
use rota_contract::Error;
use rota_telemetry::Secret;
use rota_testbed::{Database, Postgres};
use std::sync::Arc;

pub const ALL: [&str; 10] =
    ["read", "write", "maintain", "index", "ddl", "signal", "promote", "copy-out", "copy-in", "alter-system"];

/// The most bytes of a row.
pub const ROW: usize = 16 << 20;

/// A run with one sql binding in its slot `db`.
pub struct Run {
    pub gate: Arc<Gate>,
    pub ledger: Arc<MemoryLedger>,
    pub sessions: Sessions,
}

pub fn binding(url: &str) -> SqlBinding {
    SqlBinding {
        url: Address::Secret(SecretRef::Given(Secret::new(url))),
        role: None,
        password: None,
        tls: None,
        ca_file: None,
        client_cert: None,
        client_key: None,
        connect_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(60),
        lock_timeout: Duration::from_secs(10),
        max_connections: 8,
        through: None,
        alter_system: vec!["work_mem".into(), "Random_Page_Cost".into()],
        access: None,
        concurrency: None,
    }
}

impl Run {
    pub fn new(binding: SqlBinding, mode: Mode, accesses: &[&str]) -> Self {
        Self::on(Sessions::default(), "run-1", binding, mode, accesses)
    }

    /// A run beside others of one host.
    pub fn on(sessions: Sessions, id: &str, binding: SqlBinding, mode: Mode, accesses: &[&str]) -> Self {
        let ledger = Arc::new(MemoryLedger::default());
        let grant = Grant {
            slot: "db".into(),
            binding_name: "kosmos".into(),
            binding: Binding::Sql(binding),
            accesses: accesses.iter().map(ToString::to_string).collect(),
        };
        let identity = RunIdentity { run: id.into(), job: "nightly".into() };
        let gate = Gate::new(identity, mode, Quotas::default(), ledger.clone(), [grant]);
        Self { gate, ledger, sessions }
    }

    pub fn token(&self, needed: &[SqlAccess]) -> Authorized<Sql> {
        self.gate.authorise("sql.test", "db", needed).unwrap()
    }

    pub async fn permit(&self) -> Permit<Sql> {
        let effect = Effect {
            object: String::new(),
            detail: "a test".into(),
            class: EffectClass::Write,
            exact: rota_authority::Exact::shown(),
        };
        match self.token(&[]).effect(effect).await.unwrap() {
            Decision::Perform(permit) => permit,
            Decision::Planned => panic!("the run is a plan"),
        }
    }

    pub async fn open(&self) -> Result<Session, Error> {
        self.sessions.open(&self.token(&[])).await
    }

    pub async fn execute(&self, session: &Session, statement: &str, parameters: &[Value]) -> Result<u64, Error> {
        session.execute(self.permit().await, statement, parameters).await
    }

    pub async fn ask(&self, session: &Session, statement: &str, parameters: Vec<Value>) -> Result<Rows, Error> {
        session.query(&self.token(&[SqlAccess::Read]), statement.into(), parameters, true, ROW).await
    }

    /// All rows of a query, which must end well.
    pub async fn rows(
        &self,
        session: &Session,
        statement: &str,
        parameters: Vec<Value>,
    ) -> Result<Vec<Vec<Value>>, Error> {
        all(self.ask(session, statement, parameters).await?).await
    }

    /// The one value of a query.
    pub async fn value(&self, session: &Session, statement: &str) -> Value {
        let mut rows = self.rows(session, statement, Vec::new()).await.unwrap();
        assert_eq!(rows.len(), 1, "{statement}");
        rows.remove(0).remove(0)
    }
}

/// Everything of an answer.
pub async fn all(mut rows: Rows) -> Result<Vec<Vec<Value>>, Error> {
    let mut read = Vec::new();
    while let Some(batch) = rows.batches.recv().await {
        read.extend(batch);
    }
    let count = rows.outcome.await.expect("an outcome")?;
    assert_eq!(count, read.len() as u64);
    Ok(read)
}

pub async fn database(hint: &str) -> Database {
    Postgres::shared().await.unwrap().fresh_database(hint).await.unwrap()
}

pub fn text(value: &str) -> Value {
    Value::Text(value.into())
}

/// The error of a call that must fail.
pub fn error<T>(result: Result<T, Error>) -> Error {
    match result {
        Ok(_) => panic!("the call succeeded"),
        Err(error) => error,
    }
}

pub fn code(error: &Error) -> &str {
    match error {
        Error::Failed(fault) => &fault.code,
        _ => "",
    }
}
