//! The imports as a guest reaches them: what is denied, what a plan lists, and what arrives. The traits of the
//! contract are called within a store, so that streams and futures are the real ones; only the guest is missing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test says so by a panic")]

mod alter_system;

use crate::support;

use rota_authority::{MemoryLedger, Mode, Outcome};
use rota_capability::streams::HostBytes;
use rota_capability::{
    Capability as _, Guest, Limits, Quiet, RunContext, RunFacts, Services, Transient, Trigger, guest,
};
use rota_capability_sql::host::Sql;
use rota_capability_sql::wit::{
    HostSession as _, HostSessionWithStore, HostTransactionWithStore, Isolation, Row, TransactionOptions, Value,
};
use rota_capability_sql::{Session, SqlCapability};
use rota_config::SqlBinding;
use rota_contract::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;
use support::{ALL, Run, binding, database, error, text};
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::{
    Accessor, FutureConsumer, FutureReader, Linker, Resource, Source, StreamConsumer, StreamReader, StreamResult,
};
use wasmtime::{AsContextMut as _, Config, Engine, Store, StoreContextMut};

type Imports = Accessor<Guest, Sql>;

/// A store whose run has a grant, and everything around it.
struct Host {
    store: Store<Guest>,
    run: Run,
    capability: SqlCapability,
}

impl Host {
    fn new(binding: SqlBinding, mode: Mode, accesses: &[&str]) -> Self {
        let mut config = Config::new();
        config.wasm_component_model_async(true);
        let engine = Engine::new(&config).unwrap();
        let capability = SqlCapability::default();
        // Linking is part of what a guest needs.
        capability.link(&mut Linker::new(&engine)).unwrap();
        let mut services = Services::default();
        capability.provide(&mut services);
        let run = Run::on(capability.sessions().clone(), "run-1", binding, mode, accesses);
        let facts = RunFacts {
            id: "run-1".into(),
            attempt: 1,
            job: None,
            trigger: Trigger::Manual,
            started_at: SystemTime::now(),
            slots: vec!["db".into()],
        };
        let context = RunContext::new(
            run.gate.clone(),
            facts,
            Limits::default(),
            Arc::new(Quiet),
            Arc::new(Transient::default()),
        );
        let wasi = wasmtime_wasi::WasiCtx::builder().build();
        let store = Store::new(&engine, Guest::new(context, Arc::new(services), wasi));
        Self { store, run, capability }
    }

    async fn call<R>(&mut self, work: impl AsyncFnOnce(&Imports) -> R) -> R {
        self.store.run_concurrent(async |accessor| work(&accessor.with_getter::<Sql>(guest)).await).await.unwrap()
    }

    fn ledger(&self) -> &MemoryLedger {
        &self.run.ledger
    }
}

async fn open(imports: &Imports) -> Resource<Session> {
    Sql::open(imports, "db".into()).await.unwrap().unwrap()
}

fn again<R>(resource: &Resource<R>) -> Resource<R>
where
    R: 'static,
{
    Resource::new_borrow(resource.rep())
}

const WRITING: TransactionOptions =
    TransactionOptions { isolation: Isolation::ReadCommitted, read_only: false, lock_timeout: None };

/// Reads a stream to its end.
struct Collect<T>(mpsc::UnboundedSender<T>);

impl<T: wasmtime::component::Lift + Send + Sync + 'static, D> StreamConsumer<D> for Collect<T> {
    type Item = T;

    fn poll_consume(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut store: StoreContextMut<'_, D>,
        mut source: Source<'_, T>,
        _: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut items = Vec::with_capacity(256);
        source.read(store.as_context_mut(), &mut items)?;
        for item in items {
            let _ = self.0.send(item);
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

struct Settle<T>(Option<oneshot::Sender<T>>);

impl<T: wasmtime::component::Lift + Send + 'static, D> FutureConsumer<D> for Settle<T> {
    type Item = T;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut store: StoreContextMut<'_, D>,
        mut source: Source<'_, T>,
        _: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut item = None;
        source.read(store.as_context_mut(), &mut item)?;
        if let (Some(item), Some(sender)) = (item, self.0.take()) {
            let _ = sender.send(item);
        }
        Poll::Ready(Ok(()))
    }
}

async fn collect<T: wasmtime::component::Lift + Send + Sync + 'static>(
    imports: &Imports,
    stream: StreamReader<T>,
    outcome: FutureReader<Result<u64, Error>>,
) -> (Vec<T>, Result<u64, Error>) {
    let (sender, mut items) = mpsc::unbounded_channel();
    let (settle, settled) = oneshot::channel();
    imports.with(|mut access| {
        stream.pipe(access.as_context_mut(), Collect(sender)).unwrap();
        outcome.pipe(access.as_context_mut(), Settle(Some(settle))).unwrap();
    });
    let outcome = settled.await.unwrap();
    let mut read = Vec::new();
    while let Some(item) = items.recv().await {
        read.push(item);
    }
    (read, outcome)
}

async fn query(imports: &Imports, session: &Resource<Session>, statement: &str) -> Result<Vec<Row>, Error> {
    let (_, rows, outcome) =
        HostSessionWithStore::query(imports, again(session), statement.into(), vec![]).await.unwrap()?;
    let (rows, outcome) = collect(imports, rows, outcome).await;
    assert_eq!(outcome?, rows.len() as u64);
    Ok(rows)
}

#[tokio::test]
async fn rows_arrive_through_the_store() {
    let database = database("host_rows").await;
    let mut host = Host::new(binding(&database.url()), Mode::Execute, &["read"]);
    host.call(async |imports| {
        let session = open(imports).await;
        let rows = query(imports, &session, "select n, 'row ' || n from generate_series(1, 10000) n order by 1")
            .await
            .unwrap();
        assert_eq!(rows.len(), 10_000);
        assert_eq!(rows[9_999], [Value::Int32(10_000), text("row 10000")]);
        let (_, rows, outcome) = HostSessionWithStore::query(
            imports,
            again(&session),
            "select 1 / (5000 - n) from generate_series(1, 10000) n".into(),
            vec![],
        )
        .await
        .unwrap()
        .unwrap();
        let (rows, outcome) = collect(imports, rows, outcome).await;
        // What came before the error may be seen, and the outcome says that it is not all.
        assert!(rows.len() < 5_000);
        assert_eq!(support::code(&error(outcome)), "22012");
        assert_eq!(error(query(imports, &session, "selec 1").await).kind(), "invalid-argument");
        assert_eq!(error(query(imports, &session, "select 1; select 2").await).kind(), "invalid-argument");
        assert_eq!(error(query(imports, &session, "select pg_read_file('/etc/passwd')").await).kind(), "denied");
    })
    .await;
    assert!(host.ledger().effects().is_empty());
    assert_eq!(host.run.gate.denials().1, 1);
    host.capability.sessions().quiesce().await;
}

/// One import, called with something that needs more than is granted.
async fn every_import(imports: &Imports, session: &Resource<Session>) -> Vec<(&'static str, Result<(), Error>)> {
    let transaction = Sql::begin(imports, again(session), WRITING).await.unwrap();
    let in_transaction = match &transaction {
        Ok(transaction) => {
            let query = HostTransactionWithStore::query(
                imports,
                again(transaction),
                "insert into t values (1) returning id".into(),
                vec![],
            );
            let query = query.await.unwrap().map(drop);
            let execute = HostTransactionWithStore::execute(
                imports,
                again(transaction),
                "insert into t values (1)".into(),
                vec![],
            );
            let execute = execute.await.unwrap().map(drop);
            HostTransactionWithStore::rollback(imports, again(transaction)).await.unwrap().unwrap();
            [query, execute]
        }
        Err(error) => [Err(error.clone()), Err(error.clone())],
    };
    let [transaction_query, transaction_execute] = in_transaction;
    let data =
        imports.with(|mut access| StreamReader::new(access.as_context_mut(), HostBytes::new(&b"7\n"[..])).unwrap());
    vec![
        (
            "query",
            HostSessionWithStore::query(
                imports,
                again(session),
                "insert into t values (1) returning id".into(),
                vec![],
            )
            .await
            .unwrap()
            .map(drop),
        ),
        (
            "execute",
            HostSessionWithStore::execute(imports, again(session), "insert into t values (1)".into(), vec![])
                .await
                .unwrap()
                .map(drop),
        ),
        ("transaction.query", transaction_query),
        ("transaction.execute", transaction_execute),
        ("copy-out", Sql::copy_out(imports, again(session), "copy t to stdout".into()).await.unwrap().map(drop)),
        ("copy-in", Sql::copy_in(imports, again(session), "copy t from stdin".into(), data).await.unwrap().map(drop)),
        ("cancel-backend", Sql::cancel_backend(imports, again(session), 1, 2).await.unwrap().map(drop)),
        ("terminate-backend", Sql::terminate_backend(imports, again(session), 1, 2).await.unwrap().map(drop)),
        (
            "alter-system",
            HostSessionWithStore::execute(imports, again(session), "alter system set work_mem = '5MB'".into(), vec![])
                .await
                .unwrap()
                .map(drop),
        ),
        ("reload-configuration", Sql::reload_configuration(imports, again(session)).await.unwrap().map(drop)),
        ("promote", Sql::promote(imports, again(session), 1).await.unwrap().map(drop)),
    ]
}

#[tokio::test]
async fn every_import_that_needs_more_than_reading_is_denied_without_it() {
    let database = database("host_denied").await;
    database.execute("create table t (id int)").await.unwrap();
    let mut host = Host::new(binding(&database.url()), Mode::Execute, &["read"]);
    let results = host
        .call(async |imports| {
            let session = open(imports).await;
            every_import(imports, &session).await
        })
        .await;
    for (import, result) in results {
        let denied = error(result);
        assert_eq!(denied.kind(), "denied", "{import}: {denied:?}");
        assert!(format!("{denied:?}").contains("--grant db=read,"), "{import}: {denied:?}");
    }
    assert!(host.ledger().effects().is_empty());
    let mut connection = database.connect().await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>("select count(*) from t").fetch_one(&mut connection).await.unwrap(), 0);
}

#[tokio::test]
async fn nothing_granted_opens_nothing() {
    let database = database("host_unbound").await;
    let before = "select count(*) from pg_stat_activity where datname = current_database()";
    let mut host = Host::new(binding(&database.url()), Mode::Execute, &[]);
    host.call(async |imports| {
        for slot in ["db", "other", ""] {
            assert_eq!(error(Sql::open(imports, slot.into()).await.unwrap()).kind(), "denied", "{slot}");
        }
    })
    .await;
    let mut connection = database.connect().await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(before).fetch_one(&mut connection).await.unwrap(), 1);
}

#[tokio::test]
async fn a_plan_lists_every_effect_and_has_none() {
    let database = database("host_plan").await;
    database.execute("create table t (id int); insert into t values (41)").await.unwrap();
    let mut host = Host::new(binding(&database.url()), Mode::Plan, &ALL);
    let results = host
        .call(async |imports| {
            let session = open(imports).await;
            // Reading is the same in both modes.
            assert_eq!(query(imports, &session, "select id from t").await.unwrap(), [vec![Value::Int32(41)]]);
            let (bytes, outcome) =
                Sql::copy_out(imports, again(&session), "copy t to stdout".into()).await.unwrap().unwrap();
            let (bytes, outcome) = collect(imports, bytes, outcome).await;
            assert_eq!((bytes.as_slice(), outcome.unwrap()), (&b"41\n"[..], 3));
            let transaction = Sql::begin(imports, again(&session), WRITING).await.unwrap().unwrap();
            assert_eq!(
                HostTransactionWithStore::execute(
                    imports,
                    again(&transaction),
                    "update t set id = $1".into(),
                    vec![Value::Int32(7)]
                )
                .await
                .unwrap()
                .unwrap(),
                0
            );
            HostTransactionWithStore::commit(imports, again(&transaction)).await.unwrap().unwrap();
            let vacuum =
                HostSessionWithStore::execute(imports, again(&session), "vacuum t".into(), vec![]).await.unwrap();
            assert_eq!(vacuum.unwrap(), 0);
            every_import(imports, &session).await
        })
        .await;
    for (import, result) in results {
        match import {
            "query" | "transaction.query" => assert_eq!(error(result).kind(), "invalid-argument"),
            _ => result.unwrap_or_else(|error| panic!("{import}: {error:?}")),
        }
    }
    let effects = host.ledger().effects();
    let listed: Vec<(&str, &str, &str)> =
        effects.iter().map(|e| (e.record.operation, e.record.access.as_str(), e.record.target.as_str())).collect();
    assert_eq!(
        listed,
        [
            ("sql.execute", "write", "kosmos: t"),
            ("sql.execute", "maintain", "kosmos: t"),
            ("sql.execute", "write", "kosmos: t"),
            ("sql.execute", "write", "kosmos: t"),
            ("sql.copy-in", "copy-in", "kosmos: t"),
            ("sql.cancel-backend", "signal", "kosmos: pid 1"),
            ("sql.terminate-backend", "signal", "kosmos: pid 1"),
            ("sql.execute", "alter-system", "kosmos: work_mem"),
            ("sql.reload-configuration", "alter-system", "kosmos"),
            ("sql.promote", "promote", "kosmos"),
        ]
    );
    assert!(effects.iter().all(|e| e.record.planned && e.outcome == Some(Outcome::Planned)));
    assert_eq!(effects[0].record.detail, "update t set id = $1\n-- $1 = 7");
    let mut connection = database.connect().await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>("select sum(id) from t").fetch_one(&mut connection).await.unwrap(), 41);
}

#[tokio::test]
async fn what_is_granted_happens_and_is_recorded() {
    let database = database("host_execute").await;
    database.execute("create table t (id int)").await.unwrap();
    let mut host = Host::new(binding(&database.url()), Mode::Execute, &ALL);
    host.call(async |imports| {
        let session = open(imports).await;
        assert_eq!(
            HostSessionWithStore::execute(
                imports,
                again(&session),
                "insert into t values ($1)".into(),
                vec![Value::Int32(1)]
            )
            .await
            .unwrap()
            .unwrap(),
            1
        );
        let data = imports
            .with(|mut access| StreamReader::new(access.as_context_mut(), HostBytes::new(&b"7\n8\n"[..])).unwrap());
        assert_eq!(Sql::copy_in(imports, again(&session), "copy t from stdin".into(), data).await.unwrap().unwrap(), 2);
        // A stream that is no stream of the host's.
        let data = imports.with(|mut access| StreamReader::new(access.as_context_mut(), b"9\n".to_vec()).unwrap());
        assert_eq!(Sql::copy_in(imports, again(&session), "copy t from stdin".into(), data).await.unwrap().unwrap(), 1);
        assert_eq!(query(imports, &session, "select sum(id) from t").await.unwrap(), [vec![Value::Int64(25)]]);
        let transaction = Sql::begin(imports, again(&session), TransactionOptions { read_only: true, ..WRITING })
            .await
            .unwrap()
            .unwrap();
        let write = HostTransactionWithStore::execute(imports, again(&transaction), "delete from t".into(), vec![])
            .await
            .unwrap();
        assert_eq!(error(write).kind(), "invalid-argument");
        let read = HostTransactionWithStore::execute(imports, again(&transaction), "select * from t".into(), vec![])
            .await
            .unwrap();
        assert_eq!(read.unwrap(), 4);
        let vacuum =
            HostTransactionWithStore::execute(imports, again(&transaction), "vacuum t".into(), vec![]).await.unwrap();
        assert_eq!(error(vacuum).kind(), "invalid-argument");
        imports.with(|mut access| {
            let mut guest: &mut Guest = access.get();
            assert!(guest.backend_pid(again(&session)).unwrap() > 0);
            assert!(guest.notices(again(&session)).unwrap().is_empty());
        });
        // A standby there is none.
        let promoted = Sql::promote(imports, again(&session), 1).await.unwrap();
        assert_eq!(error(promoted).kind(), "conflict");
        HostTransactionWithStore::rollback(imports, again(&transaction)).await.unwrap().unwrap();
        let promoted = Sql::promote(imports, again(&session), 1).await.unwrap();
        assert_eq!(support::code(&error(promoted)), "55000");
    })
    .await;
    let outcomes: Vec<Outcome> = host.ledger().effects().into_iter().filter_map(|e| e.outcome).collect();
    assert_eq!(outcomes.len(), 5);
    assert_eq!(
        outcomes[..3],
        [Outcome::Done("1 row".into()), Outcome::Done("2 rows".into()), Outcome::Done("1 row".into())]
    );
}

#[tokio::test]
async fn a_store_that_is_dropped_takes_its_statements_along() {
    let database = database("host_drop").await;
    let mut host = Host::new(binding(&database.url()), Mode::Execute, &ALL);
    let never = host.call(async |imports| {
        let session = open(imports).await;
        let other = open(imports).await;
        let (_, rows, outcome) = HostSessionWithStore::query(
            imports,
            again(&session),
            "select n, 'mark_store' from (select generate_series(1, 100000000) n) s".into(),
            vec![],
        )
        .await
        .unwrap()
        .unwrap();
        let waiting = HostSessionWithStore::execute(
            imports,
            other,
            "select count(*), 'mark_store' from (select generate_series(1, 100000000000) n) s".into(),
            vec![],
        );
        let _ = waiting.await;
        let _held_until_here = (rows, outcome);
    });
    assert!(tokio::time::timeout(std::time::Duration::from_secs(1), never).await.is_err());
    let Host { store, capability, .. } = host;
    drop(store);
    capability.sessions().quiesce().await;
    let mut connection = database.connect().await.unwrap();
    let sql = "select count(*) from pg_stat_activity where query like '%mark\\_store%' and pid <> pg_backend_pid()";
    assert_eq!(sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut connection).await.unwrap(), 0);
}
