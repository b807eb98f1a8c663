//! PostgreSQL.

mod row;
mod session;
mod statement;
mod value;

pub use crate::bindings::rota::runbook::sql::{
    Column, Interval, Isolation, Notice, ServerInfo, TransactionOptions, Value,
};
pub use row::{FromRow, Row, Rows};
pub(crate) use session::shortened;
pub use session::{ROW_LIMIT, Session, Transaction};
#[doc(hidden)]
pub use statement::placeholders;
pub use statement::{IntoSql, Quoted, Sql, SqlPart};
pub use value::{FromValue, Lsn, ToValue};
