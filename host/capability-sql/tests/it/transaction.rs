//! Transactions against a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test says so by a panic")]

use crate::support;

use rota_authority::{Mode, SqlAccess};
use rota_capability_sql::wit::{Isolation, Value};
use rota_capability_sql::{Session, Transaction, TransactionOptions};
use support::{ALL, ROW, Run, all, binding, code, database, error, text};

const WRITING: TransactionOptions =
    TransactionOptions { isolation: Isolation::ReadCommitted, read_only: false, lock_timeout: None };

async fn begin(run: &Run, session: &Session, options: TransactionOptions) -> Transaction {
    session.begin(&run.token(&[]), options).await.unwrap()
}

async fn execute(run: &Run, transaction: &Transaction, statement: &str) -> Result<u64, rota_contract::Error> {
    transaction.execute(run.permit().await, statement, &[]).await
}

async fn value(run: &Run, transaction: &Transaction, statement: &str) -> Value {
    let token = run.token(&[SqlAccess::Read]);
    all(transaction.query(&token, statement.into(), vec![], true, ROW).await.unwrap())
        .await
        .unwrap()
        .remove(0)
        .remove(0)
}

#[tokio::test]
async fn a_commit_lasts_and_a_drop_rolls_back() {
    let database = database("commit").await;
    database.execute("create table t (id int)").await.unwrap();
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    let transaction = begin(&run, &session, WRITING).await;
    assert_eq!(execute(&run, &transaction, "insert into t values (1)").await.unwrap(), 1);
    assert_eq!(value(&run, &transaction, "select count(*) from t").await, Value::Int64(1));
    assert_eq!(error(run.ask(&session, "select 1", vec![]).await).kind(), "conflict");
    transaction.commit(&run.token(&[])).await.unwrap();
    assert_eq!(error(execute(&run, &transaction, "select 1").await).kind(), "invalid-argument");

    let dropped = begin(&run, &session, WRITING).await;
    execute(&run, &dropped, "insert into t values (2)").await.unwrap();
    drop(dropped);
    // The session is free again, after the rollback.
    assert_eq!(run.value(&session, "select count(*) from t").await, Value::Int64(1));

    let undone = begin(&run, &session, WRITING).await;
    execute(&run, &undone, "insert into t values (3)").await.unwrap();
    undone.rollback(&run.token(&[])).await.unwrap();
    assert_eq!(run.value(&session, "select count(*) from t").await, Value::Int64(1));
}

#[tokio::test]
async fn a_query_in_a_transaction_cannot_write_and_its_error_leaves_the_transaction() {
    let database = database("savepoint").await;
    database.execute("create table t (id int)").await.unwrap();
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    let transaction = begin(&run, &session, WRITING).await;
    execute(&run, &transaction, "insert into t values (1)").await.unwrap();
    let token = run.token(&[SqlAccess::Read]);
    let refused =
        error(transaction.query(&token, "insert into t values (2) returning id".into(), vec![], false, ROW).await);
    assert_eq!(code(&refused), "25006", "{refused:?}");
    assert_eq!(code(&error(transaction.query(&token, "select 1/0".into(), vec![], true, ROW).await)), "22012");
    assert_eq!(value(&run, &transaction, "select count(*) from t").await, Value::Int64(1));
    // It can still write after it has read.
    execute(&run, &transaction, "insert into t values (2)").await.unwrap();
    // Rows that are dropped half-way end nothing but themselves.
    let rows = transaction
        .query(&token, "select n from (select generate_series(1, 10000000) n) s".into(), vec![], true, ROW)
        .await
        .unwrap();
    drop(rows);
    execute(&run, &transaction, "insert into t values (3)").await.unwrap();
    transaction.commit(&token).await.unwrap();
    assert_eq!(run.value(&session, "select count(*) from t").await, Value::Int64(3));
}

#[tokio::test]
async fn a_failed_transaction_is_not_committed_and_says_so() {
    let database = database("failed").await;
    database
        .execute("create table t (id int); create table d (id int unique deferrable initially deferred)")
        .await
        .unwrap();
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    let transaction = begin(&run, &session, WRITING).await;
    execute(&run, &transaction, "insert into t values (1)").await.unwrap();
    assert_eq!(code(&error(execute(&run, &transaction, "select 1/0").await)), "22012");
    assert_eq!(code(&error(transaction.commit(&run.token(&[])).await)), "25P02");
    drop(transaction);
    assert_eq!(run.value(&session, "select count(*) from t").await, Value::Int64(0));

    let deferred = begin(&run, &session, WRITING).await;
    execute(&run, &deferred, "insert into d values (1), (1)").await.unwrap();
    assert_eq!(code(&error(deferred.commit(&run.token(&[])).await)), "23505");
    drop(deferred);
    assert_eq!(run.value(&session, "select count(*) from d").await, Value::Int64(0));
}

#[tokio::test]
async fn isolation_and_read_only_reach_the_server() {
    let database = database("isolation").await;
    database.execute("create table t (id int)").await.unwrap();
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    let other = run.open().await.unwrap();
    for (isolation, name) in [
        (Isolation::ReadCommitted, "read committed"),
        (Isolation::RepeatableRead, "repeatable read"),
        (Isolation::Serializable, "serializable"),
    ] {
        let transaction =
            begin(&run, &session, TransactionOptions { isolation, read_only: true, lock_timeout: Some(1234) }).await;
        assert_eq!(value(&run, &transaction, "select current_setting('transaction_isolation')").await, text(name));
        assert_eq!(value(&run, &transaction, "select current_setting('transaction_read_only')").await, text("on"));
        assert_eq!(value(&run, &transaction, "select current_setting('lock_timeout')").await, text("1234ms"));
    }
    let snapshot = begin(&run, &session, TransactionOptions { isolation: Isolation::RepeatableRead, ..WRITING }).await;
    assert_eq!(value(&run, &snapshot, "select count(*) from t").await, Value::Int64(0));
    run.execute(&other, "insert into t values (1)", &[]).await.unwrap();
    assert_eq!(value(&run, &snapshot, "select count(*) from t").await, Value::Int64(0));
    snapshot.commit(&run.token(&[])).await.unwrap();
    assert_eq!(run.value(&session, "select current_setting('lock_timeout')").await, text("10s"));
}

#[tokio::test]
async fn a_plan_begins_only_reading_transactions() {
    let database = database("plan_tx").await;
    let run = Run::new(binding(&database.url()), Mode::Plan, &ALL);
    let session = run.open().await.unwrap();
    let transaction = begin(&run, &session, WRITING).await;
    assert_eq!(value(&run, &transaction, "select current_setting('transaction_read_only')").await, text("on"));
    transaction.commit(&run.token(&[])).await.unwrap();
}

#[tokio::test]
async fn serialization_failures_can_be_tried_again() {
    let database = database("serial").await;
    database.execute("create table t (id int, v int); insert into t values (1, 0)").await.unwrap();
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let (one, two) = (run.open().await.unwrap(), run.open().await.unwrap());
    let options = TransactionOptions { isolation: Isolation::RepeatableRead, ..WRITING };
    let (first, second) = (begin(&run, &one, options).await, begin(&run, &two, options).await);
    value(&run, &first, "select v from t").await;
    value(&run, &second, "select v from t").await;
    execute(&run, &first, "update t set v = 1").await.unwrap();
    first.commit(&run.token(&[])).await.unwrap();
    let rota_contract::Error::Failed(fault) = error(execute(&run, &second, "update t set v = 2").await) else {
        panic!("no fault")
    };
    assert_eq!((fault.code.as_str(), fault.retryable), ("40001", true));
}

#[tokio::test]
async fn a_transaction_outlives_the_handle_of_its_session() {
    let database = database("outlive").await;
    database.execute("create table t (id int)").await.unwrap();
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    let transaction = begin(&run, &session, WRITING).await;
    drop(session);
    execute(&run, &transaction, "insert into t values (1)").await.unwrap();
    transaction.commit(&run.token(&[])).await.unwrap();
    drop(transaction);
    run.sessions.quiesce().await;
    let session = run.open().await.unwrap();
    assert_eq!(run.value(&session, "select count(*) from t").await, Value::Int64(1));
}
