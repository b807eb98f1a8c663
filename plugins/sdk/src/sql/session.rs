//! A connection, and what is done over it.

use super::row::{FromRow, Row, Rows};
use super::statement::{IntoSql, Quoted};
use super::{Isolation, Notice, ServerInfo, TransactionOptions, Value};
use crate::bytes::{ByteStream, Ending};
use crate::host;
use crate::{Error, ErrorContext, Result};

/// How many rows [`Session::query_all`] takes at most.
pub const ROW_LIMIT: usize = 100_000;

/// How much of a statement an error shows.
const SHOWN: usize = 160;

fn running(statement: &str) -> String {
    let flat = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("running `{}`", shortened(&flat, SHOWN))
}

/// A text of one line, cut before a word: a secret that was cut in two would be no secret that the host knows, and not be masked.
pub(crate) fn shortened(line: &str, most: usize) -> String {
    let Some((end, _)) = line.char_indices().nth(most) else { return line.to_owned() };
    let kept = line[..end].rfind(char::is_whitespace).unwrap_or(0);
    format!("{} ...", line[..kept].trim_end())
}

async fn only<T: FromRow>(mut rows: Rows<'_, T>) -> Result<Option<T>> {
    let first = rows.next().await?;
    if first.is_some() && rows.next().await?.is_some() {
        return Err(Error::new("more than one row where one was expected"));
    }
    Ok(first)
}

/// One connection to a database. Calls on it run one after the other; open a second one to look while the first works.
#[derive(Debug)]
pub struct Session(host::sql::Session);

macro_rules! reads {
    () => {
        /// Read rows as they arrive. Only what reads is let through, in a plan too.
        ///
        /// # Errors
        /// `denied` when the statement needs more than `read`; `failed` with the server's SQLSTATE.
        pub async fn query<T: FromRow>(
            &mut self,
            statement: impl IntoSql,
            parameters: Vec<Value>,
        ) -> Result<Rows<'_, T>> {
            let statement = statement.into_sql().into_string();
            let shown = running(&statement);
            Ok(Rows::new(self.0.query(statement, parameters).await.context(shown)?))
        }

        /// All rows: at most [`ROW_LIMIT`].
        ///
        /// # Errors
        /// As for `query`; when there are more rows than that.
        pub async fn query_all<T: FromRow>(
            &mut self,
            statement: impl IntoSql,
            parameters: Vec<Value>,
        ) -> Result<Vec<T>> {
            let statement = statement.into_sql();
            let shown = running(statement.as_str());
            self.query(statement, parameters).await?.collect(ROW_LIMIT).await.context(shown)
        }

        /// The only row.
        ///
        /// # Errors
        /// As for `query`; when there is none or more than one.
        pub async fn query_one<T: FromRow>(&mut self, statement: impl IntoSql, parameters: Vec<Value>) -> Result<T> {
            let statement = statement.into_sql();
            let shown = running(statement.as_str());
            match self.query_optional(statement, parameters).await? {
                Some(row) => Ok(row),
                None => Err(Error::new("no row where one was expected").context(shown)),
            }
        }

        /// The only row, or none.
        ///
        /// # Errors
        /// As for `query`; when there is more than one.
        pub async fn query_optional<T: FromRow>(
            &mut self,
            statement: impl IntoSql,
            parameters: Vec<Value>,
        ) -> Result<Option<T>> {
            let statement = statement.into_sql();
            let shown = running(statement.as_str());
            only(self.query(statement, parameters).await?).await.context(shown)
        }

        /// Run one statement and say how many rows it touched. An effect: in a plan it is listed and answers 0.
        ///
        /// # Errors
        /// `denied` naming the missing grant; `failed` with the server's SQLSTATE.
        pub async fn execute(&mut self, statement: impl IntoSql, parameters: Vec<Value>) -> Result<u64> {
            let statement = statement.into_sql().into_string();
            let shown = running(&statement);
            self.0.execute(statement, parameters).await.context(shown)
        }
    };
}

impl Session {
    pub(crate) fn new(session: host::sql::Session) -> Self {
        Self(session)
    }

    reads!();

    /// The server behind the session.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn server(&mut self) -> Result<ServerInfo> {
        self.0.server().await.context("asking the server for its version")
    }

    /// Quote names, all in one round trip, by the server's own rules.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn quote_names<S: AsRef<str>>(&mut self, names: &[S]) -> Result<Vec<Quoted>> {
        let names: Vec<Option<String>> = names.iter().map(|name| Some(name.as_ref().to_owned())).collect();
        self.query_all(
            "select format('%I', name) from unnest($1::text[]) with ordinality as given (name, place) order by place",
            crate::params![names],
        )
        .await
        .context("quoting names")
    }

    /// Quote one name.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn quote_name(&mut self, name: &str) -> Result<Quoted> {
        self.query_one("select format('%I', $1::text)", crate::params![name]).await.context("quoting a name")
    }

    /// Quote a name with its schema: `"Odd".orders`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn quote_qualified(&mut self, schema: &str, name: &str) -> Result<Quoted> {
        self.query_one("select format('%I.%I', $1::text, $2::text)", crate::params![schema, name])
            .await
            .context("quoting a name")
    }

    /// Begin a transaction. Dropped without [`Transaction::commit`], it rolls back.
    ///
    /// # Errors
    /// What the server said.
    pub async fn begin(&mut self) -> Result<Transaction<'_>> {
        self.begin_with(TransactionOptions {
            isolation: Isolation::ReadCommitted,
            read_only: false,
            lock_timeout: None,
        })
        .await
    }

    /// Begin a transaction with options.
    ///
    /// # Errors
    /// What the server said.
    pub async fn begin_with(&mut self, options: TransactionOptions) -> Result<Transaction<'_>> {
        let transaction = self.0.begin(options).await.context("beginning a transaction")?;
        Ok(Transaction(transaction, std::marker::PhantomData))
    }

    /// What a `COPY ... TO STDOUT` sends, and the number of rows at its end.
    ///
    /// # Errors
    /// `denied` without `copy-out`; what the server said.
    pub async fn copy_out(&mut self, statement: impl IntoSql) -> Result<(ByteStream, Ending<u64>)> {
        let statement = statement.into_sql().into_string();
        let shown = running(&statement);
        let (stream, ending) = self.0.copy_out(statement).await.context(shown)?;
        Ok((ByteStream::new(stream), Ending::new(ending)))
    }

    /// Send bytes to a `COPY ... FROM STDIN`, and say how many rows were stored. An effect.
    ///
    /// # Errors
    /// `denied` without `copy-in`; what the server said.
    pub async fn copy_in(&mut self, statement: impl IntoSql, data: impl Into<ByteStream>) -> Result<u64> {
        let statement = statement.into_sql().into_string();
        let shown = running(&statement);
        self.0.copy_in(statement, data.into().into_raw()).await.context(shown)
    }

    /// What the server said besides its answers since the last call.
    pub fn notices(&self) -> Vec<Notice> {
        self.0.notices()
    }

    /// The process id of this session's backend.
    pub fn backend_pid(&self) -> u32 {
        self.0.backend_pid()
    }

    /// Set a parameter for this session's later statements; which ones may be set is the host's list (`statement_timeout`,
    /// `lock_timeout`, `maintenance_work_mem`, `search_path` ...).
    ///
    /// # Errors
    /// `denied` for one that is not on the list; what the server said of the value.
    pub async fn configure(&mut self, name: &str, value: impl Into<String>) -> Result<()> {
        self.0.configure(name.to_owned(), value.into()).await.with_context(|| format!("setting {name}"))
    }

    /// Cancel the statement of another backend. False: there is no such backend any more. An effect.
    ///
    /// # Errors
    /// `denied` without `signal`; what the server said.
    pub async fn cancel_backend(&mut self, pid: u32, backend_start: crate::Timestamp) -> Result<bool> {
        self.0
            .cancel_backend(pid, backend_start.0)
            .await
            .with_context(|| format!("cancelling the statement of backend {pid}"))
    }

    /// End another backend's session. False: there is no such backend any more. An effect.
    ///
    /// # Errors
    /// `denied` without `signal`; what the server said.
    pub async fn terminate_backend(&mut self, pid: u32, backend_start: crate::Timestamp) -> Result<bool> {
        self.0
            .terminate_backend(pid, backend_start.0)
            .await
            .with_context(|| format!("ending the session of backend {pid}"))
    }

    /// Have the server read its configuration files again, so that what `ALTER SYSTEM` has written takes effect where that needs no restart, and
    /// whatever else is written in them. Each process of the server does so when it next waits. An effect.
    ///
    /// # Errors
    /// `denied` without `alter-system`, or where the binding names no parameter; what the server said.
    pub async fn reload_configuration(&mut self) -> Result<bool> {
        self.0.reload_configuration().await.context("having the server read its configuration again")
    }

    /// Promote a standby, waiting up to so many seconds. True: it left recovery. An effect.
    ///
    /// # Errors
    /// `denied` without `promote`; what the server said.
    pub async fn promote(&mut self, wait_seconds: u32) -> Result<bool> {
        self.0.promote(wait_seconds).await.context("promoting the standby")
    }
}

/// For what gives sessions to a script, whose order of calls is not known here: without borrowing, so that two calls at once are a
/// `conflict` of the host's instead of an error of the compiler's.
impl Session {
    /// As `query`.
    ///
    /// # Errors
    /// As for `query`; `conflict` while another call is under way.
    pub async fn query_shared(&self, statement: impl IntoSql, parameters: Vec<Value>) -> Result<Rows<'static, Row>> {
        Ok(Rows::new(self.0.query(statement.into_sql().into_string(), parameters).await?))
    }

    /// As `execute`.
    ///
    /// # Errors
    /// As for `execute`; `conflict` while another call is under way.
    pub async fn execute_shared(&self, statement: impl IntoSql, parameters: Vec<Value>) -> Result<u64> {
        Ok(self.0.execute(statement.into_sql().into_string(), parameters).await?)
    }

    /// As `copy_out`. The session must be kept as long.
    ///
    /// # Errors
    /// As for `copy_out`; `conflict` while another call is under way.
    pub async fn copy_out_shared(&self, statement: impl IntoSql) -> Result<(ByteStream, Ending<u64>)> {
        let (stream, ending) = self.0.copy_out(statement.into_sql().into_string()).await?;
        Ok((ByteStream::new(stream), Ending::new(ending)))
    }

    /// As `copy_in`.
    ///
    /// # Errors
    /// As for `copy_in`; `conflict` while another call is under way.
    pub async fn copy_in_shared(&self, statement: impl IntoSql, data: impl Into<ByteStream>) -> Result<u64> {
        Ok(self.0.copy_in(statement.into_sql().into_string(), data.into().into_raw()).await?)
    }

    /// As `server`.
    ///
    /// # Errors
    /// When the server does not answer; `conflict` while another call is under way.
    pub async fn server_shared(&self) -> Result<ServerInfo> {
        Ok(self.0.server().await?)
    }

    /// As `cancel_backend`, or as `terminate_backend`.
    ///
    /// # Errors
    /// As for those; `conflict` while another call is under way.
    pub async fn signal_shared(&self, pid: u32, backend_start: crate::Timestamp, terminate: bool) -> Result<bool> {
        Ok(if terminate {
            self.0.terminate_backend(pid, backend_start.0).await?
        } else {
            self.0.cancel_backend(pid, backend_start.0).await?
        })
    }

    /// As `configure`.
    ///
    /// # Errors
    /// As for `configure`; `conflict` while another call is under way.
    pub async fn configure_shared(&self, name: &str, value: impl Into<String>) -> Result<()> {
        self.0.configure(name.to_owned(), value.into()).await.with_context(|| format!("setting {name}"))
    }

    /// As `reload_configuration`.
    ///
    /// # Errors
    /// As for `reload_configuration`; `conflict` while another call is under way.
    pub async fn reload_configuration_shared(&self) -> Result<bool> {
        Ok(self.0.reload_configuration().await?)
    }

    /// As `promote`.
    ///
    /// # Errors
    /// As for `promote`; `conflict` while another call is under way.
    pub async fn promote_shared(&self, wait_seconds: u32) -> Result<bool> {
        Ok(self.0.promote(wait_seconds).await?)
    }

    /// As `begin_with`. The session must be kept as long.
    ///
    /// # Errors
    /// As for `begin`; `conflict` while another call is under way.
    pub async fn begin_shared(&self, options: TransactionOptions) -> Result<Transaction<'static>> {
        let transaction = self.0.begin(options).await.context("beginning a transaction")?;
        Ok(Transaction(transaction, std::marker::PhantomData))
    }
}

impl Transaction<'static> {
    /// As `query`.
    ///
    /// # Errors
    /// As for `query`; `conflict` while another call is under way.
    pub async fn query_shared(&self, statement: impl IntoSql, parameters: Vec<Value>) -> Result<Rows<'static, Row>> {
        Ok(Rows::new(self.0.query(statement.into_sql().into_string(), parameters).await?))
    }

    /// As `execute`.
    ///
    /// # Errors
    /// As for `execute`; `conflict` while another call is under way.
    pub async fn execute_shared(&self, statement: impl IntoSql, parameters: Vec<Value>) -> Result<u64> {
        Ok(self.0.execute(statement.into_sql().into_string(), parameters).await?)
    }
}

/// A transaction. Dropped without `commit`, it rolls back.
#[derive(Debug)]
pub struct Transaction<'s>(host::sql::Transaction, std::marker::PhantomData<&'s mut Session>);

impl Transaction<'_> {
    reads!();

    /// Make it last. In a plan there is nothing to commit.
    ///
    /// # Errors
    /// What the server said; then nothing of it lasts.
    pub async fn commit(self) -> Result<()> {
        self.0.commit().await.context("committing")
    }

    /// Undo it.
    ///
    /// # Errors
    /// What the server said; it is undone all the same.
    pub async fn rollback(self) -> Result<()> {
        self.0.rollback().await.context("rolling back")
    }
}

/// Untyped rows, where the columns are not known beforehand.
impl Session {
    /// Read rows whose columns are not known beforehand.
    ///
    /// # Errors
    /// As for `query`.
    pub async fn query_rows(&mut self, statement: impl IntoSql, parameters: Vec<Value>) -> Result<Rows<'_, Row>> {
        self.query(statement, parameters).await
    }
}
