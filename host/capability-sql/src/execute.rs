//! One statement as an effect, outside of a transaction block or in the guest's transaction.

use crate::cell::{Lease, Work};
use crate::connection::{Connection, check_count};
use crate::query::{Wall, put_up};
use crate::session::{Session, Shared};
use crate::value::parameter;
use crate::wit::Value;
use rota_authority::{Permit, Sql, SqlAccess};
use rota_contract::Error;
use sqlx::{Executor as _, Statement as _};

impl Session {
    /// Run one statement outside of a transaction block; gives the rows that it touched.
    ///
    /// # Errors
    /// What the server says; `conflict` while the session is busy. The permit is finished either way; dropped meanwhile, the
    /// statement is cancelled on the server and the effect recorded as interrupted.
    pub async fn execute(&self, permit: Permit<Sql>, statement: &str, parameters: &[Value]) -> Result<u64, Error> {
        let result = match self.0.check_permit(&permit) {
            Ok(()) => match self.0.take(Work::Call).await {
                Ok(lease) => {
                    self.0.mark_stateful();
                    let wall = if only_reads(&permit) { Wall::Transaction } else { Wall::Inside };
                    perform(&self.0, lease, statement, parameters, wall).await
                }
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        conclude(permit, result).await
    }
}

/// Finish a permit with the number of rows, or the error.
pub(crate) async fn conclude(permit: Permit<Sql>, result: Result<u64, Error>) -> Result<u64, Error> {
    permit.conclude(result, |n| rows(*n)).await
}

/// A number of rows in words.
pub(crate) fn rows(n: u64) -> String {
    format!("{n} row{}", if n == 1 { "" } else { "s" })
}

/// Run a statement on a leased connection.
pub(crate) async fn perform(
    shared: &Shared,
    mut lease: Lease,
    statement: &str,
    parameters: &[Value],
    wall: Wall,
) -> Result<u64, Error> {
    let result = shared.listening(behind(lease.connection()?, statement, parameters, wall)).await;
    lease.settle(result)
}

/// Whether the statement was judged to need nothing but `read`: then nothing that it calls (a function of the database that the parser
/// does not know, a view) may write either, whatever else is granted.
pub(crate) fn only_reads(permit: &Permit<Sql>) -> bool {
    let needed = permit.authorized().needed();
    // A statement always needs something.
    !needed.is_empty() && needed.iter().all(|access| *access == SqlAccess::Read)
}

async fn behind(
    connection: &mut Connection,
    statement: &str,
    parameters: &[Value],
    wall: Wall,
) -> Result<u64, sqlx::Error> {
    put_up(connection, wall).await?;
    let result = run(connection, statement, parameters).await;
    match connection.end_query(result.is_ok()).await {
        Ok(()) => result,
        Err(error) => result.and(Err(error)),
    }
}

async fn run(connection: &mut Connection, statement: &str, parameters: &[Value]) -> Result<u64, sqlx::Error> {
    let lookups = connection.lookups(parameters).await?;
    let arguments = parameter::arguments(parameters, &lookups)?;
    // By the extended protocol also without parameters: it takes one statement only. Prepared by a name, as sqlx loses the unnamed
    // statement when it looks up a type.
    let prepared = connection.prepare(statement, &parameter::types(parameters, &lookups)).await?;
    check_count(&prepared, parameters.len())?;
    connection.pg.execute(prepared.query_with(arguments)).await.map(|done| done.rows_affected())
}
