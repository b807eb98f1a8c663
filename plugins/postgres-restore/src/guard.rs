//! One restore of a database at a time: an advisory lock on the server, held by a session of its own.
//!
//! The lock goes with the session, so a host that dies gives it back at once. Sessions of advisory locks are refused to procedures (they would outlive the run in a
//! pooled connection), so it is a transaction's, which stays open and idle: it holds no snapshot and no row. Locks are a database's own, so that all
//! restores of a server take theirs in one database.

use crate::Context;
use rota_sdk::HostError;
use rota_sdk::prelude::*;
use rota_sdk::sql::{Isolation, TransactionOptions};
use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

/// Where everything is done that concerns databases as a whole: nobody is connected to the one that is swapped.
pub(crate) const MAINTENANCE: &str = "postgres";

/// The first half of the lock's number: `rota` in ASCII. The second is the hash of the live database's name.
const CLASS: i32 = 0x726f_7461;

/// The host ends a transaction that is idle for ten minutes.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);
/// How often it is looked whether the work is done.
const PAUSE: Duration = Duration::from_millis(100);

/// Who holds the lock, as the server knows it.
const HOLDER: &str = "\
    select coalesce(a.application_name, '') as application, coalesce(a.usename::text, '') as role, coalesce(host(a.client_addr), 'local') as address, \
           a.backend_start as since \
    from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a using (pid) \
    where l.locktype = 'advisory' and l.granted and l.classid = $1::int8::oid and l.objid = ((hashtext($2)::int8 + 4294967296) % 4294967296)::oid \
      and l.objsubid = 2 and l.database = (select oid from pg_catalog.pg_database where datname = current_database()) \
    limit 1";

#[derive(FromRow)]
struct Holder {
    application: String,
    role: String,
    address: String,
    since: Option<Timestamp>,
}

/// The lock of a live database, held.
pub(crate) struct Guard<'s>(Transaction<'s>);

impl<'s> Guard<'s> {
    /// Take it, waiting at most so long.
    ///
    /// # Errors
    /// Who has it.
    pub(crate) async fn take(
        session: &'s mut Session,
        looker: &mut Session,
        target: &str,
        wait: Duration,
    ) -> Result<Self> {
        let milliseconds = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let options = TransactionOptions {
            isolation: Isolation::ReadCommitted,
            read_only: false,
            lock_timeout: Some(milliseconds),
        };
        let mut transaction = session.begin_with(options).await?;
        let taken =
            transaction.execute("select pg_advisory_xact_lock($1::int4, hashtext($2))", params![CLASS, target]).await;
        match taken {
            Ok(_) => Ok(Self(transaction)),
            Err(error) if error.code() == Some("55P03") => Err(held(looker, target).await),
            Err(error) => Err(error.context(format!("taking the lock of database {target:?}"))),
        }
    }

    /// Whether it is still held: the session answers.
    ///
    /// # Errors
    /// When the session is gone, and the lock with it.
    pub(crate) async fn check(&mut self) -> Result<()> {
        let _: i32 = self
            .0
            .query_one("select 1", params![])
            .await
            .context("the session that holds the restore's lock is gone")?;
        Ok(())
    }

    /// Work, and keep the lock's session alive meanwhile.
    pub(crate) async fn during<T>(&mut self, cx: &Context, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = Cell::new(false);
        let working = async {
            let result = work.await;
            done.set(true);
            result
        };
        let keeping = async {
            let mut silent = Duration::ZERO;
            while !done.get() {
                cx.sleep(PAUSE).await?;
                silent += PAUSE;
                if silent >= SIGN_OF_LIFE {
                    silent = Duration::ZERO;
                    self.check().await?;
                }
            }
            Ok::<_, Error>(())
        };
        let (result, kept) = join(working, keeping).await;
        let result = result?;
        kept?;
        Ok(result)
    }

    /// Give it back.
    ///
    /// # Errors
    /// When the server cannot be told; it goes with the session then.
    pub(crate) async fn release(self) -> Result<()> {
        self.0.commit().await
    }
}

async fn held(looker: &mut Session, target: &str) -> Error {
    let who = looker.query_optional::<Holder>(HOLDER, params![i64::from(CLASS), target]).await;
    let who = match who {
        Ok(Some(holder)) => {
            // What the host calls its sessions: rota/JOB/RUN.
            let run = holder.application.strip_prefix("rota/").map_or_else(
                || format!("the session {:?}", holder.application),
                |rest| match rest.rsplit_once('/') {
                    Some((job, run)) if !job.is_empty() => format!("run {run} of {job}"),
                    _ => format!("run {}", rest.trim_start_matches('/')),
                },
            );
            let since = holder.since.map_or_else(String::new, |since| format!(", connected since {since}"));
            format!("{run} holds it, as role {} from {}{since}", holder.role, holder.address)
        }
        Ok(None) => "it was given back a moment ago".to_owned(),
        Err(error) => format!("who holds it could not be told: {error}"),
    };
    Error::from(HostError::Conflict(format!("database {target:?} is being restored by another run: {who}")))
        .hint("wait for its end (`rota runs list --status running`), or cancel it; nothing was changed by this run")
}
