//! A host that is killed before and after every single effect of a run, without anything in the product that helps.
//!
//! The store is a PostgreSQL database of the test's own, and a trigger in *its* table of effects makes one write wait for an advisory lock
//! that the test holds. While it waits, the host is killed; then the write is thrown away, or let through. Every effect is written twice (that it
//! is about to happen, and how it ended), so each has four moments:
//!
//! | moment | at the target | on record |
//! | --- | --- | --- |
//! | [`Moment::Unrecorded`] | not happened | nothing of it |
//! | [`Moment::Recorded`] | not happened | begun, no outcome |
//! | [`Moment::Happened`] | happened | begun, no outcome |
//! | [`Moment::Told`] | happened | begun, and how it ended |
//!
//! The points are enumerated from the record of a run that nobody killed ([`Crashes::recorded`]), so that an effect which is added to a procedure is
//! one more point of its test:
//!
//! ```no_run
//! # async fn test(store: rota_testbed::Database, queue: impl AsyncFn() -> String, serve: impl AsyncFn() -> rota_tests::Running) -> anyhow::Result<()> {
//! use rota_tests::crash::{Crashes, Moment};
//! let crashes = Crashes::over(store);
//! let whole = queue().await; // ... and wait for its end
//! for effect in crashes.recorded(&whole).await? {
//!     for moment in Moment::ALL {
//!         let host = serve().await; // a `rota serve` whose [store] is crashes.url()
//!         let armed = crashes.arm(effect.sequence, moment).await?;
//!         let run = queue().await;
//!         armed.kill(host, &run).await?;
//!         let next = serve().await; // ... and wait for the run's end, and look at the target
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! One run at a time: the trigger stands for every run of the store. A run that is undone goes on counting, so the effects of an undo are points
//! as well: kill a run that fails.

use crate::Running;
use anyhow::{Context as _, ensure};
use rota_testbed::{Database, eventually};
use rustix::process::Signal;
use sqlx::{Connection as _, PgConnection, Row as _};
use std::fmt;
use std::time::Duration;

/// How long a run may take to come to the effect.
const REACHED: Duration = Duration::from_secs(50);

/// How long the server may take to end a session whose host is dead.
const ENDED: Duration = Duration::from_secs(10);

/// The advisory lock of a store's database. (Locks are each database's own, and the store itself uses none with this number.)
const LOCK: i64 = 0x726f_7461_6372_6173;

/// When, in the life of one effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Before it is on record that it is about to happen.
    Unrecorded,
    /// It is on record, and has not happened.
    Recorded,
    /// It has happened, and how it ended is not on record.
    Happened,
    /// How it ended is on record, and nothing followed.
    Told,
}

impl Moment {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Unrecorded, Self::Recorded, Self::Happened, Self::Told];

    /// What the target cannot tell apart left out: not happened, and happened, each with the record that knows least.
    pub const BOTH: [Self; 2] = [Self::Recorded, Self::Happened];

    fn is_before(self) -> bool {
        matches!(self, Self::Unrecorded | Self::Recorded)
    }

    /// Whether the write that waits is let through.
    fn is_written(self) -> bool {
        matches!(self, Self::Recorded | Self::Told)
    }
}

/// An effect on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Its number in its run, from 1.
    pub sequence: i64,
    /// Which call, like `sql.execute`.
    pub operation: String,
    /// On what.
    pub target: String,
    /// The statement, or what else there is to say.
    pub detail: String,
    /// How it ended; `running` where nobody knows.
    pub outcome: String,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail: String = self.detail.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(90).collect();
        write!(f, "{} {} {}: {detail} ({})", self.sequence, self.operation, self.target, self.outcome)
    }
}

/// A store in which hosts can be killed at an effect.
#[derive(Debug)]
pub struct Crashes {
    store: Database,
}

impl Crashes {
    /// Over a database of its own, empty or with a store in it.
    #[must_use]
    pub fn over(store: Database) -> Self {
        Self { store }
    }

    /// For `[store] url`.
    #[must_use]
    pub fn url(&self) -> String {
        self.store.url()
    }

    /// The effects of a run, in order.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn recorded(&self, run: &str) -> anyhow::Result<Vec<Effect>> {
        let mut connection = self.store.connect().await?;
        let rows = sqlx::query(
            "select sequence, operation, target, detail, outcome from rota.effects where run = $1 order by sequence",
        )
        .bind(run)
        .fetch_all(&mut connection)
        .await?;
        connection.close().await?;
        Ok(rows
            .iter()
            .map(|row| Effect {
                sequence: row.get(0),
                operation: row.get(1),
                target: row.get(2),
                detail: row.get(3),
                outcome: row.get(4),
            })
            .collect())
    }

    /// The next run is held at the effect of this number. A host must have served the store before, which makes its tables.
    ///
    /// # Errors
    /// When the store is away or empty, or another effect is armed.
    pub async fn arm(&self, sequence: i64, moment: Moment) -> anyhow::Result<Armed<'_>> {
        let mut holder = self.store.connect().await?;
        sqlx::query("select pg_advisory_lock($1)").bind(LOCK).execute(&mut holder).await?;
        let when = if moment.is_before() {
            format!("before insert on rota.effects for each row when (new.sequence = {sequence})")
        } else {
            format!(
                "before update on rota.effects for each row \
                 when (old.sequence = {sequence} and old.outcome = 'running' and new.outcome <> 'running')"
            )
        };
        self.store
            .execute(&format!(
                "create schema if not exists crash; \
                 create or replace function crash.wait() returns trigger language plpgsql as \
                 $$ begin perform pg_advisory_xact_lock({LOCK}); return new; end $$; \
                 create trigger crash {when} execute function crash.wait()"
            ))
            .await
            .context("arming an effect of the store")?;
        Ok(Armed { crashes: self, holder, sequence, moment })
    }
}

/// An effect at which the next run is held.
#[derive(Debug)]
#[must_use = "kill the host there"]
pub struct Armed<'c> {
    crashes: &'c Crashes,
    holder: PgConnection,
    sequence: i64,
    moment: Moment,
}

impl Armed<'_> {
    /// Waits until the run comes to the effect, kills its host with SIGKILL, and leaves the store as the moment says.
    ///
    /// # Errors
    /// When the run does not come to it, or the store is not as it must be then: nothing is proven.
    pub async fn kill(mut self, host: Running, run: &str) -> anyhow::Result<()> {
        let point = format!("{:?} of effect {}", self.moment, self.sequence);
        let writer = eventually(REACHED, &format!("the run to come to {point}"), async || {
            let waiting: Option<i32> = sqlx::query_scalar(
                "select w.pid from pg_locks w join pg_locks h using (locktype, database, classid, objid, objsubid) \
                 where h.pid = pg_backend_pid() and h.locktype = 'advisory' and not w.granted",
            )
            .fetch_optional(&mut self.holder)
            .await?;
            Ok(waiting)
        })
        .await?;
        host.signal(Signal::KILL)?;
        host.end().await?;
        // Nobody waits for the write any more. It is thrown away with its session, or committed: it is a statement of its own.
        if !self.moment.is_written() {
            sqlx::query("select pg_terminate_backend($1)").bind(writer).execute(&mut self.holder).await?;
            self.ended(writer).await?;
        }
        sqlx::query("select pg_advisory_unlock($1)").bind(LOCK).execute(&mut self.holder).await?;
        self.ended(writer).await?;
        sqlx::raw_sql("drop trigger crash on rota.effects").execute(&mut self.holder).await?;
        // What is left of the dead host's lease is only waited for: it ends now.
        sqlx::query("update rota.leases set expires = 0 where run = $1").bind(run).execute(&mut self.holder).await?;

        let effects = self.crashes.recorded(run).await?;
        let outcome =
            effects.iter().find(|effect| effect.sequence == self.sequence).map(|effect| effect.outcome.as_str());
        let fits = match self.moment {
            Moment::Unrecorded => outcome.is_none(),
            Moment::Recorded | Moment::Happened => outcome == Some("running"),
            Moment::Told => outcome.is_some_and(|outcome| outcome != "running"),
        };
        ensure!(fits, "{point}: the store says {outcome:?} of the run {run}");
        self.holder.close().await?;
        Ok(())
    }

    async fn ended(&mut self, backend: i32) -> anyhow::Result<()> {
        eventually(ENDED, "the dead host's session to end", async || {
            let lives: bool = sqlx::query_scalar("select exists (select from pg_stat_activity where pid = $1)")
                .bind(backend)
                .fetch_one(&mut self.holder)
                .await?;
            Ok((!lives).then_some(()))
        })
        .await
    }
}
