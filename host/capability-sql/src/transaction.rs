//! A transaction. Dropped without commit, it rolls back before its session is used again.

use crate::cell::{Cell, Home, Lease, Taken, Work};
use crate::connection::{Block, Connection};
use crate::execute::{conclude, only_reads, perform};
use crate::query::{Question, Rows, Wall, ask};
use crate::session::{Owner, Session, Shared};
use crate::wit::{Isolation, Value};
use rota_authority::{Authorized, Mode, Outcome, Permit, Sql};
use rota_contract::Error;
use sqlx::Row as _;
use std::sync::{Arc, Mutex, PoisonError};

pub use crate::wit::TransactionOptions;

/// A transaction. When the last clone is dropped without a commit, it rolls back.
#[derive(Clone)]
pub struct Transaction(Arc<Open>, #[expect(dead_code, reason = "held for its drop")] Arc<Owner>);

/// What it shares with the calls and streams on it.
struct Open {
    shared: Arc<Shared>,
    cell: Arc<Cell>,
    /// READ ONLY for the guest.
    asked_read_only: bool,
    /// READ ONLY on the server: asked for, or because the run is a plan.
    read_only: bool,
    /// Effects that the server has done and that the commit or rollback will decide.
    undecided: Undecided,
}

/// Effects of a transaction that has not ended: what became of them is known only then.
#[derive(Default)]
struct Undecided(Mutex<Vec<(Permit<Sql>, u64)>>);

impl Undecided {
    fn add(&self, permit: Permit<Sql>, rows: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((permit, rows));
    }

    fn take(&self) -> Vec<(Permit<Sql>, u64)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Record what became of a transaction's effects.
async fn decide(effects: Vec<(Permit<Sql>, u64)>, outcome: impl Fn(u64) -> Outcome) {
    for (permit, rows) in effects {
        if let Err(error) = permit.finish(outcome(rows)).await {
            tracing::error!(%error, "the outcome of an effect could not be recorded");
        }
    }
}

fn rolled_back(why: &str) -> Outcome {
    Outcome::Failed(format!("rolled back{why}"))
}

impl Drop for Open {
    /// Neither committed nor rolled back by the guest: the connection rolls back on its way home.
    fn drop(&mut self) {
        let effects = self.undecided.take();
        if !effects.is_empty() {
            self.cell.sessions.clone().spawn(decide(effects, |_| rolled_back(": the transaction was dropped")));
        }
    }
}

impl Session {
    /// Begin a transaction; in a plan, where nothing may be written, the server is told READ ONLY in any case.
    ///
    /// # Errors
    /// What the server says; `conflict` while the session is busy.
    pub async fn begin(&self, authorized: &Authorized<Sql>, options: TransactionOptions) -> Result<Transaction, Error> {
        self.0.check(authorized)?;
        let read_only = options.read_only || authorized.gate().mode() == Mode::Plan;
        let mut lease = self.0.take(Work::Transaction).await?;
        let result = self.0.listening(begin(lease.connection()?, options, read_only)).await;
        if let Err(error) = result {
            if let Ok(connection) = lease.connection() {
                // A failed SET leaves the block open.
                let _ = connection.roll_back().await;
            }
            return lease.settle(Err(error));
        }
        let sessions = self.0.cell.sessions.clone();
        match lease.into_parts() {
            (Some(connection), home) => {
                let cell = Cell::new(connection, Home::Session(home), sessions);
                let owner = Arc::new(Owner(cell.clone()));
                Ok(Transaction(
                    Arc::new(Open {
                        shared: self.0.clone(),
                        cell,
                        asked_read_only: options.read_only,
                        read_only,
                        undecided: Undecided::default(),
                    }),
                    owner,
                ))
            }
            (None, _) => Err(Error::Cancelled),
        }
    }
}

async fn begin(connection: &mut Connection, options: TransactionOptions, read_only: bool) -> Result<(), sqlx::Error> {
    let begin = match (options.isolation, read_only) {
        (Isolation::ReadCommitted, false) => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        (Isolation::ReadCommitted, true) => "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
        (Isolation::RepeatableRead, false) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE",
        (Isolation::RepeatableRead, true) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        (Isolation::Serializable, false) => "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE",
        (Isolation::Serializable, true) => "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
    };
    connection.simple(begin).await?;
    connection.block = Block::Transaction;
    if let Some(milliseconds) = options.lock_timeout {
        let sql = "select pg_catalog.set_config('lock_timeout', $1, true)";
        sqlx::query(sql).bind(milliseconds.to_string()).persistent(false).execute(&mut connection.pg).await?;
    }
    Ok(())
}

impl Transaction {
    /// The slot that its session was opened on.
    pub fn slot(&self) -> &str {
        self.0.shared.authorized.slot()
    }

    /// The database, where it is another one than the binding's.
    pub fn other_database(&self) -> Option<&str> {
        self.0.shared.target.other_database.as_deref()
    }

    /// Whether it was begun as READ ONLY: nothing in it is an effect then.
    pub fn is_read_only(&self) -> bool {
        self.0.asked_read_only
    }

    async fn take(&self, work: Work) -> Result<Lease, Error> {
        match self.0.cell.take(work).await? {
            Taken::Lease(lease) => Ok(lease),
            Taken::Vacant(lease, why) => {
                lease.lose(why.clone());
                Err(why)
            }
        }
    }

    /// Read rows inside of the transaction, behind a savepoint that cannot write. An error leaves the transaction as it was.
    ///
    /// # Errors
    /// What the server says before the first row; later errors come as the outcome.
    pub async fn query(
        &self,
        authorized: &Authorized<Sql>,
        statement: String,
        parameters: Vec<Value>,
        selects: bool,
        row_limit: usize,
    ) -> Result<Rows, Error> {
        self.0.shared.check(authorized)?;
        let lease = self.take(Work::Stream).await?;
        let question = Question { statement, parameters, selects, row_limit };
        let wall = if self.0.read_only { Wall::Inside } else { Wall::Savepoint };
        ask(self.0.shared.clone(), &self.0.cell, lease, question, wall).await
    }

    /// Run one statement inside of the transaction. Its outcome is on record when the transaction has ended.
    ///
    /// # Errors
    /// What the server says; the transaction can then only be rolled back.
    pub async fn execute(&self, permit: Permit<Sql>, statement: &str, parameters: &[Value]) -> Result<u64, Error> {
        let result = match self.0.shared.check_permit(&permit) {
            Ok(()) => match self.take(Work::Call).await {
                Ok(lease) => {
                    let wall = if only_reads(&permit) { Wall::Savepoint } else { Wall::Inside };
                    perform(&self.0.shared, lease, statement, parameters, wall).await
                }
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        match result {
            Ok(rows) => {
                self.0.undecided.add(permit, rows);
                Ok(rows)
            }
            Err(error) => conclude(permit, Err(error)).await,
        }
    }

    /// Run one statement that only reads inside of a READ ONLY transaction, where it is no effect.
    ///
    /// # Errors
    /// What the server says.
    pub async fn execute_reading(
        &self,
        authorized: &Authorized<Sql>,
        statement: &str,
        parameters: &[Value],
    ) -> Result<u64, Error> {
        self.0.shared.check(authorized)?;
        if !self.0.read_only {
            return Err(Error::InvalidArgument("the transaction is not READ ONLY".into()));
        }
        let lease = self.take(Work::Call).await?;
        perform(&self.0.shared, lease, statement, parameters, Wall::Inside).await
    }

    /// Make it last.
    ///
    /// # Errors
    /// What the server says; `failed` with 25P02 where an error before had ended it already: then nothing was committed.
    pub async fn commit(&self, authorized: &Authorized<Sql>) -> Result<(), Error> {
        self.0.shared.check(authorized)?;
        let mut lease = self.take(Work::Call).await?;
        // Held here meanwhile: a commit that is dropped or cut leaves them as interrupted, for nobody knows.
        let effects = self.0.undecided.take();
        match self.0.shared.listening(commit(lease.connection()?)).await {
            Ok(()) => {
                lease.end();
                decide(effects, |rows| Outcome::Done(format!("{}, committed", crate::execute::rows(rows)))).await;
                Ok(())
            }
            Err(error) => {
                let refused = crate::error::survives(&error);
                let result = lease.settle(Err(error));
                if refused {
                    decide(effects, |_| rolled_back(": the commit was refused")).await;
                }
                result
            }
        }
    }

    /// Undo it.
    ///
    /// # Errors
    /// What the server says, when it is gone.
    pub async fn rollback(&self, authorized: &Authorized<Sql>) -> Result<(), Error> {
        self.0.shared.check(authorized)?;
        let mut lease = self.take(Work::Call).await?;
        let effects = self.0.undecided.take();
        let result = self.0.shared.listening(lease.connection()?.roll_back()).await;
        // Also where the connection broke: without a commit, the server rolls back.
        decide(effects, |_| rolled_back("")).await;
        match result {
            Ok(()) => {
                lease.end();
                Ok(())
            }
            Err(error) => lease.settle(Err(error)),
        }
    }
}

async fn commit(connection: &mut Connection) -> Result<(), sqlx::Error> {
    // COMMIT of a failed transaction is a ROLLBACK that the server calls a success. Any other statement tells.
    sqlx::query("select true").persistent(false).fetch_one(&mut connection.pg).await?.try_get::<bool, _>(0)?;
    let result = connection.simple("COMMIT").await;
    if result.as_ref().err().is_none_or(crate::error::survives) {
        // Done, or refused (a deferred constraint, a serialization failure) and rolled back by that.
        connection.block = Block::None;
    }
    result
}
