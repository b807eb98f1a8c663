//! Reading rows: streamed from the server through a bounded channel, in constant memory and with backpressure.
//!
//! A task owns the connection while rows flow, so that the server is read while the guest works on the batch before. When the
//! reader goes away in the middle, the task cancels the statement on the server.

use crate::cell::{Cell, Lease, Work};
use crate::connection::{Block, Connection, check_count};
use crate::error;
use crate::session::{Session, Shared};
use crate::value::BadValue;
use crate::value::columns::{self, Plan};
use crate::value::parameter;
use crate::wit::{Column, Value};
use futures::{Stream, StreamExt as _};
use rota_authority::{Authorized, Sql};
use rota_contract::Error;
use sqlx::postgres::{PgQueryResult, PgRow};
use sqlx::{Either, Executor as _, Row as _, Statement as _, ValueRef as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The most rows of a batch. Each batch costs a change of threads, so that small rows travel in large ones.
const BATCH_ROWS: usize = 1024;
/// The most bytes of a batch, as they came from the server.
const BATCH_BYTES: usize = 256 << 10;
/// How many batches wait for the guest.
const BATCHES: usize = 4;
/// How long a batch that is not full waits for more rows.
const LINGER: Duration = Duration::from_millis(1);

/// A row's values, in the order of the columns.
pub type Row = Vec<Value>;

/// An answer that is under way.
pub struct Rows {
    /// The columns.
    pub columns: Vec<Column>,
    /// Batches of rows, none of them empty. Dropped before its end, the statement is cancelled.
    pub batches: Batches<Vec<Row>>,
    /// How it ended, once the batches have: the number of rows, or the error. The rows are all there only if this says so.
    pub outcome: oneshot::Receiver<Result<u64, Error>>,
}

/// What a task sends to a reader who may go away.
pub struct Batches<B> {
    receiver: mpsc::Receiver<B>,
    cell: Arc<Cell>,
}

impl<B> Batches<B> {
    pub(crate) fn new(receiver: mpsc::Receiver<B>, cell: Arc<Cell>) -> Self {
        Self { receiver, cell }
    }

    /// The next one; none at the end, in whatever way it ended.
    pub async fn recv(&mut self) -> Option<B> {
        self.receiver.recv().await
    }

    /// [`Batches::recv`] for a hand-written stream.
    pub fn poll_recv(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<B>> {
        self.receiver.poll_recv(cx)
    }
}

impl<B> Drop for Batches<B> {
    fn drop(&mut self) {
        // The task that sends has not ended: it will notice, and cancel.
        if !self.receiver.is_closed() {
            self.cell.unread();
        }
    }
}

/// What is asked.
pub(crate) struct Question {
    pub(crate) statement: String,
    pub(crate) parameters: Vec<Value>,
    /// Whether it can stand in parentheses after FROM (SELECT, VALUES, TABLE, WITH).
    pub(crate) selects: bool,
    /// The most bytes of one row.
    pub(crate) row_limit: usize,
}

/// How a query is kept from writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wall {
    /// A READ ONLY transaction of its own.
    Transaction,
    /// A read-only savepoint in the guest's transaction.
    Savepoint,
    /// The guest's transaction is READ ONLY.
    Inside,
}

impl Session {
    /// Read rows, in a READ ONLY transaction.
    ///
    /// # Errors
    /// What the server says before the first row; `conflict` while the session is busy. Later errors come as the outcome.
    pub async fn query(
        &self,
        authorized: &Authorized<Sql>,
        statement: String,
        parameters: Vec<Value>,
        selects: bool,
        row_limit: usize,
    ) -> Result<Rows, Error> {
        self.0.check(authorized)?;
        let lease = self.0.take(Work::Stream).await?;
        let question = Question { statement, parameters, selects, row_limit };
        ask(self.0.clone(), &self.0.cell, lease, question, Wall::Transaction).await
    }
}

/// Send a question on a connection, and wait for its columns and for the first rows (or their absence).
pub(crate) async fn ask(
    shared: Arc<Shared>,
    cell: &Arc<Cell>,
    lease: Lease,
    question: Question,
    wall: Wall,
) -> Result<Rows, Error> {
    let (batch_sender, batches) = mpsc::channel(BATCHES);
    let batches = Batches::new(batches, cell.clone());
    let (head_sender, head) = oneshot::channel();
    let (outcome_sender, outcome) = oneshot::channel();
    let sessions = shared.cell.sessions.clone();
    let output = Output { head: Some(head_sender), batches: batch_sender, columns: Vec::new() };
    sessions
        .spawn(async move { shared.listening(answer(&shared, lease, question, wall, output, outcome_sender)).await });
    match head.await {
        Ok(columns) => Ok(Rows { columns, batches, outcome }),
        // No first row: the outcome says why.
        Err(_) => Err(outcome.await.unwrap_or(Err(Error::Cancelled)).err().unwrap_or(Error::Cancelled)),
    }
}

/// Where rows go.
struct Output {
    /// Told once it is clear that the statement runs.
    head: Option<oneshot::Sender<Vec<Column>>>,
    batches: mpsc::Sender<Vec<Row>>,
    columns: Vec<Column>,
}

/// How reading went wrong.
enum Trouble {
    Sql(sqlx::Error),
    /// Something of ours; the connection is in the middle of the answer.
    Ours(Error),
    /// Nobody reads any more.
    Unread,
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

/// The task: run the statement, and bring the connection in order before the guest sees the end.
async fn answer(
    shared: &Shared,
    mut lease: Lease,
    question: Question,
    wall: Wall,
    mut output: Output,
    outcome: oneshot::Sender<Result<u64, Error>>,
) {
    let unread = output.batches.clone();
    let result = match lease.connection() {
        Ok(connection) => tokio::select! {
            result = run(connection, &question, wall, &mut output) => result,
            () = unread.closed() => Err(Trouble::Unread),
        },
        Err(error) => Err(Trouble::Ours(error)),
    };
    let result = match result {
        Ok(rows) => close_block(lease, true).await.map(|()| rows),
        Err(Trouble::Sql(e)) => {
            let seen = error::of_statement(shared.binding(), &e);
            if error::survives(&e) {
                // The block's own end can fail too; what is told is why it had to end.
                let _ = close_block(lease, false).await;
            } else {
                lease.lose(seen.clone());
            }
            Err(seen)
        }
        // Dropping the lease cancels the statement.
        Err(Trouble::Ours(seen)) => {
            drop(lease);
            Err(seen)
        }
        Err(Trouble::Unread) => {
            drop(lease);
            Err(Error::Cancelled)
        }
    };
    // In this order: whoever sees the end of the rows finds the session free and the outcome there.
    shared.collect_notices();
    if let (Some(head), Ok(_)) = (output.head.take(), &result) {
        let _ = head.send(std::mem::take(&mut output.columns));
    }
    let _ = outcome.send(result);
    drop(output);
}

async fn close_block(mut lease: Lease, well: bool) -> Result<(), Error> {
    let result = match lease.connection() {
        Ok(connection) => connection.end_query(well).await,
        Err(error) => return Err(error),
    };
    lease.settle(result)
}

async fn run(
    connection: &mut Connection,
    question: &Question,
    wall: Wall,
    output: &mut Output,
) -> Result<u64, Trouble> {
    put_up(connection, wall).await?;
    let lookups = connection.lookups(&question.parameters).await?;
    let arguments = parameter::arguments(&question.parameters, &lookups)?;
    let mut statement =
        connection.prepare(&question.statement, &parameter::types(&question.parameters, &lookups)).await?;
    check_count(&statement, question.parameters.len())?;
    let plans = columns::plan(statement.columns());
    if let Some(wrapped) = columns::wrapped(&question.statement, &plans).filter(|_| question.selects) {
        let types = match statement.parameters() {
            Some(Either::Left(types)) => types.to_vec(),
            _ => Vec::new(),
        };
        statement = connection.prepare(&wrapped, &types).await?;
    }
    output.columns = plans.iter().map(|plan| plan.column.clone()).collect();
    let rows = connection.pg.fetch_many(statement.query_with(arguments));
    read(rows, &plans, question.row_limit, output).await
}

pub(crate) async fn put_up(connection: &mut Connection, wall: Wall) -> Result<(), sqlx::Error> {
    match wall {
        Wall::Transaction => {
            connection.simple("BEGIN READ ONLY").await?;
            connection.block = Block::Query;
        }
        Wall::Savepoint => {
            // One round trip; from the savepoint on, nothing can be written, and its end takes the setting back.
            connection.simple("SAVEPOINT rota_query; SET LOCAL transaction_read_only = on").await?;
            connection.block = Block::Savepoint;
        }
        Wall::Inside => {}
    }
    Ok(())
}

/// Read the rows into batches: a full one goes at once, the beginning of one when the server is slow.
async fn read<S>(mut rows: S, plans: &[Plan], row_limit: usize, output: &mut Output) -> Result<u64, Trouble>
where
    S: Stream<Item = Result<Either<PgQueryResult, PgRow>, sqlx::Error>> + Unpin,
{
    let mut total = 0;
    let mut batch = Batch::default();
    loop {
        let next = if batch.rows.is_empty() {
            rows.next().await
        } else {
            match futures::poll!(rows.next()) {
                std::task::Poll::Ready(next) => next,
                std::task::Poll::Pending => match tokio::time::timeout(LINGER, rows.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        batch.send(output).await?;
                        continue;
                    }
                },
            }
        };
        match next {
            Some(Ok(Either::Right(row))) => {
                total += 1;
                batch.take(&row, plans, row_limit)?;
                if batch.is_full() {
                    batch.send(output).await?;
                }
            }
            Some(Ok(Either::Left(_))) => {}
            Some(Err(error)) => {
                // What came before the error is shown; the outcome tells of the error.
                if !batch.rows.is_empty() {
                    batch.send(output).await?;
                }
                return Err(error.into());
            }
            None => {
                if !batch.rows.is_empty() {
                    batch.send(output).await?;
                }
                return Ok(total);
            }
        }
    }
}

#[cold]
fn undecodable(plan: &Plan, bad: &BadValue) -> Trouble {
    let message = format!("column {}: {bad}", plan.column.name);
    Trouble::Ours(Error::Failed(error::fault("host-decode", &message, None, false)))
}

#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    bytes: usize,
}

impl Batch {
    fn take(&mut self, row: &PgRow, plans: &[Plan], limit: usize) -> Result<(), Trouble> {
        let mut values = Vec::with_capacity(plans.len());
        let mut bytes = 0;
        for (at, plan) in plans.iter().enumerate() {
            let raw = row.try_get_raw(at)?;
            if raw.is_null() {
                values.push(Value::Null);
                continue;
            }
            let raw = raw.as_bytes().map_err(sqlx::Error::Decode)?;
            bytes += raw.len();
            // Matched where it stands: a value that passes through `map_err` and `?` is copied by each.
            match (plan.decode)(raw) {
                Ok(value) => values.push(value),
                Err(bad) => return Err(undecodable(plan, &bad)),
            }
        }
        if bytes > limit {
            return Err(Trouble::Ours(Error::Quota(format!(
                "a row of {bytes} bytes is over the run's limit of {limit} bytes; select less of it, or raise it with --limit host_call_bytes=..."
            ))));
        }
        if self.rows.capacity() == 0 {
            self.rows.reserve_exact(BATCH_ROWS);
        }
        self.bytes += bytes;
        self.rows.push(values);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    async fn send(&mut self, output: &mut Output) -> Result<(), Trouble> {
        if let Some(head) = output.head.take() {
            let _ = head.send(std::mem::take(&mut output.columns));
        }
        let batch = std::mem::take(self);
        output.batches.send(batch.rows).await.map_err(|_| Trouble::Unread)
    }
}
