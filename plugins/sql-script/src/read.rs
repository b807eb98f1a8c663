//! One statement: its rows read, or what it changes.

use crate::split::Statement;
use crate::{Column, Ran, What};
use rota_sdk::HostError;
use rota_sdk::prelude::*;
use rota_sdk::sql::{Rows, Value};
use rota_sdk_sql::{Kind, show};

/// Where a statement runs.
#[derive(Clone, Copy)]
pub(crate) enum Way<'w> {
    /// In a transaction of its own, or in none.
    Session(&'w Session),
    /// In the script's.
    Transaction(&'w Transaction<'static>),
}

/// How many rows are shown.
pub(crate) struct Room {
    /// Of a statement.
    pub(crate) rows: usize,
    /// How many bytes of them are left, of all statements.
    pub(crate) bytes: usize,
}

impl Way<'_> {
    async fn query(self, text: &str, values: &[Value]) -> Result<Rows<'static, Row>> {
        let statement = Sql::from_operator(text);
        match self {
            Self::Session(session) => session.query_shared(statement, values.to_vec()).await,
            Self::Transaction(transaction) => transaction.query_shared(statement, values.to_vec()).await,
        }
    }

    pub(crate) async fn execute(self, text: &str, values: &[Value]) -> Result<u64> {
        let statement = Sql::from_operator(text);
        match self {
            Self::Session(session) => session.execute_shared(statement, values.to_vec()).await,
            Self::Transaction(transaction) => transaction.execute_shared(statement, values.to_vec()).await,
        }
    }
}

/// How a statement is run. What has no word the server is to judge.
pub(crate) fn kind(text: &str) -> What {
    match Kind::of(text) {
        Ok(Kind::Query) => What::Query,
        Ok(Kind::Change) => What::Change,
        Ok(Kind::Command) | Err(_) => What::Command,
    }
}

/// Whether it was refused for not being one that only reads.
pub(crate) fn is_change(error: &Error) -> bool {
    // SQLSTATE read_only_sql_transaction.
    error.code() == Some("25006") || matches!(error.cause(), Some(HostError::InvalidArgument(_)))
}

/// Run a statement, and keep what it answers.
///
/// # Errors
/// What the host or the server said.
pub(crate) async fn statement(way: Way<'_>, text: &str, of: &Statement, room: &mut Room, ran: &mut Ran) -> Result<()> {
    ran.kind = kind(text);
    if ran.kind == What::Query {
        match rows(way, text, of, room, ran).await {
            // Rows changed within a WITH, or locked (the host says so); a function that writes (the server does): it is a change.
            Err(error) if is_change(&error) => {
                ran.kind = What::Change;
                ran.rows.clear();
            }
            other => return other,
        }
    }
    let touched = way.execute(text, &of.values).await?;
    if ran.kind == What::Change || touched > 0 {
        ran.touched = Some(touched);
    }
    Ok(())
}

async fn rows(way: Way<'_>, text: &str, of: &Statement, room: &mut Room, ran: &mut Ran) -> Result<()> {
    let mut rows = way.query(text, &of.values).await?;
    let columns = rows.columns().to_vec();
    while let Some(batch) = rows.next_batch().await? {
        for values in batch {
            let row: Vec<Json> = values.iter().map(show::json).collect();
            let size: usize = row.iter().map(|value| value.to_string().len() + 24).sum();
            if ran.rows.len() == room.rows || size > room.bytes {
                ran.truncated = true;
                break;
            }
            room.bytes -= size;
            ran.rows.push(row);
        }
        if ran.truncated {
            break;
        }
    }
    ran.columns = columns.into_iter().map(|column| Column { name: column.name, type_name: column.type_name }).collect();
    Ok(())
}
