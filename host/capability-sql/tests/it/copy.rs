//! COPY both ways against a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test says so by a panic")]

use crate::support;

use rota_authority::{Mode, Outcome, SqlAccess};
use rota_capability::streams::stream_error;
use rota_capability_sql::wit::Value;
use rota_contract::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use support::{ALL, Run, binding, code, database, error};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

#[tokio::test]
async fn bytes_come_out_and_go_in_again() {
    let database = database("copy").await;
    database
        .execute("create table t as select n as id, repeat(chr(65 + n % 26), n % 100) as v from generate_series(1, 50000) n; create table u (like t)")
        .await
        .unwrap();
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let (from, to) = (run.open().await.unwrap(), run.open().await.unwrap());
    for format in ["text", "csv", "binary"] {
        run.execute(&to, "truncate u", &[]).await.unwrap();
        let reader = from
            .copy_out(&run.token(&[SqlAccess::CopyOut]), format!("copy t to stdout (format {format})"))
            .await
            .unwrap();
        let stored = to
            .copy_in(run.permit().await, format!("copy u from stdin (format {format})"), Box::pin(reader))
            .await
            .unwrap();
        assert_eq!(stored, 50_000, "{format}");
        let same = run.value(&to, "select count(*) from (select * from t except select * from u) d").await;
        assert_eq!(same, Value::Int64(0), "{format}");
    }
    assert_eq!(run.ledger.effects().last().unwrap().outcome, Some(Outcome::Done("50000 rows".into())));
    // An empty COPY is an end, and an empty stream stores nothing.
    let mut empty =
        from.copy_out(&run.token(&[SqlAccess::CopyOut]), "copy (select 1 where false) to stdout".into()).await.unwrap();
    assert_eq!(empty.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(
        to.copy_in(run.permit().await, "copy u from stdin".into(), Box::pin(tokio::io::empty())).await.unwrap(),
        0
    );
}

#[tokio::test]
async fn a_copy_out_only_reads() {
    let database = database("copy_ro").await;
    database.execute("create table t (id int)").await.unwrap();
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    let token = run.token(&[SqlAccess::CopyOut]);
    let refused =
        error(session.copy_out(&token, "copy (insert into t values (1) returning id) to stdout".into()).await);
    assert_eq!(code(&refused), "25006", "{refused:?}");
    assert_eq!(code(&error(session.copy_out(&token, "copy nowhere to stdout".into()).await)), "42P01");
    assert_eq!(run.value(&session, "select count(*) from t").await, Value::Int64(0));
}

#[tokio::test]
async fn a_copy_out_that_fails_half_way_fails_the_reader() {
    let database = database("copy_half").await;
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    let statement = "copy (select 1 / (100000 - n), repeat('x', 100) from generate_series(1, 200000) n) to stdout";
    let mut reader = session.copy_out(&run.token(&[SqlAccess::CopyOut]), statement.into()).await.unwrap();
    let mut read = Vec::new();
    let failed = reader.read_to_end(&mut read).await.unwrap_err();
    assert!(!read.is_empty());
    assert_eq!(code(&rota_capability::streams::error_of(&failed)), "22012");
    assert_eq!(run.value(&session, "select 1").await, Value::Int32(1));
}

#[tokio::test]
async fn a_dropped_copy_out_is_cancelled() {
    let database = database("copy_drop").await;
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    let statement = "copy (select n, 'mark_copy' from (select generate_series(1, 100000000) n) s) to stdout";
    let mut reader = session.copy_out(&run.token(&[SqlAccess::CopyOut]), statement.into()).await.unwrap();
    reader.read_exact(&mut [0; 1000]).await.unwrap();
    drop(reader);
    run.sessions.quiesce().await;
    let mut connection = database.connect().await.unwrap();
    let sql = "select count(*) from pg_stat_activity where query like '%mark\\_copy%' and pid <> pg_backend_pid()";
    assert_eq!(sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut connection).await.unwrap(), 0);
    // The session had only read, so that it goes on, on another connection.
    assert_eq!(run.value(&session, "select 1").await, Value::Int32(1));
}

/// Gives some rows, then fails or hangs.
struct Broken {
    rows: usize,
    end: Option<Error>,
}

impl AsyncRead for Broken {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.rows > 0 {
            self.rows -= 1;
            buffer.put_slice(b"1\n");
            return Poll::Ready(Ok(()));
        }
        match self.end.take() {
            Some(error) => Poll::Ready(Err(stream_error(error))),
            None => Poll::Pending,
        }
    }
}

#[tokio::test]
async fn half_a_stream_is_never_stored() {
    let database = database("copy_abort").await;
    database.execute("create table t (id int)").await.unwrap();
    let run = Run::new(binding(&database.url()), Mode::Execute, &ALL);
    let session = run.open().await.unwrap();
    let broken = Broken { rows: 500_000, end: Some(Error::Cancelled) };
    let failed = error(session.copy_in(run.permit().await, "copy t from stdin".into(), Box::pin(broken)).await);
    assert_eq!(failed.kind(), "cancelled");
    assert_eq!(run.value(&session, "select count(*) from t").await, Value::Int64(0));

    // A line that is none, and a table that is not there: the server's words, and the session goes on.
    let bad = error(session.copy_in(run.permit().await, "copy t from stdin".into(), Box::pin(&b"1\nx\n"[..])).await);
    assert_eq!(code(&bad), "22P02", "{bad:?}");
    let nowhere =
        error(session.copy_in(run.permit().await, "copy nowhere from stdin".into(), Box::pin(&b"1\n"[..])).await);
    assert_eq!(code(&nowhere), "42P01");
    assert_eq!(run.value(&session, "select count(*) from t").await, Value::Int64(0));

    // A run that ends while its stream is open.
    let hanging = Broken { rows: 500_000, end: None };
    let call = session.copy_in(run.permit().await, "copy t from stdin -- mark_in".into(), Box::pin(hanging));
    assert!(tokio::time::timeout(Duration::from_millis(300), call).await.is_err());
    run.sessions.quiesce().await;
    let mut connection = database.connect().await.unwrap();
    let sql = "select (select count(*) from t) + (select count(*) from pg_stat_activity where query like '%mark\\_in%' and pid <> pg_backend_pid())";
    assert_eq!(sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut connection).await.unwrap(), 0);
    assert_eq!(run.ledger.effects().last().unwrap().outcome, Some(Outcome::Interrupted));
}
