//! The tool at work: one run at a time, tried again when a lock was not had in time.

use crate::Context;
use crate::{Layout, Parameters};
use rota_sdk::prelude::*;
use rota_sdk::tools::ExitStatus;
use std::cell::Cell;
use std::time::Duration;

/// The key of the advisory lock: `ROTAMIGR` in ASCII. Such locks are a database's own, so that it names no database.
const KEY: i64 = 0x524f_5441_4d49_4752;
/// How often the transaction that holds it is shown to live; the server ends one that is idle for ten minutes.
const ALIVE: Duration = Duration::from_secs(60);
/// How long a look at whether the tool has ended may be put off by that.
const SLICE: Duration = Duration::from_millis(250);

/// How it went.
#[derive(Debug)]
pub(crate) struct Ran {
    /// How often the tool was started.
    pub(crate) attempts: u32,
    /// How often it gave up waiting for a lock.
    pub(crate) lock_timeouts: u32,
    /// Why it did not do all it should.
    pub(crate) error: Option<Error>,
}

impl Ran {
    /// There was nothing to do.
    pub(crate) fn nothing() -> Self {
        Self { attempts: 0, lock_timeouts: 0, error: None }
    }
}

/// Have the tool apply everything.
pub(crate) async fn apply(cx: &Context, parameters: &Parameters) -> Result<Ran> {
    if cx.is_plan() {
        // It is listed, and not started.
        return Ok(Ran { attempts: 0, ..attempts(cx, parameters).await? });
    }
    let mut guard = cx.database().open().await?;
    let mut held = guard.begin().await?;
    // As a statement that touches a row only if the lock was had: it is an effect like any other.
    let had =
        held.execute("select 1 where pg_try_advisory_xact_lock($1)", params![KEY]).await.context("taking the lock")?;
    if had == 0 {
        return Err(Error::new("another run of postgres-migrate is at work on this database")
            .hint("wait for it; `rota runs list` names it, and pg_locks its session (locktype advisory)"));
    }
    let done = Cell::new(false);
    let work = async {
        let ran = attempts(cx, parameters).await;
        done.set(true);
        ran
    };
    let keep = async {
        let mut idle = Duration::ZERO;
        while !done.get() {
            if cx.sleep(SLICE).await.is_err() {
                return Ok(());
            }
            idle += SLICE;
            if idle >= ALIVE && !done.get() {
                idle = Duration::ZERO;
                held.query_one::<i32>("select 1", params![]).await?;
            }
        }
        Ok(())
    };
    let (ran, kept): (Result<Ran>, Result<()>) = join(work, keep).await;
    let mut ran = ran?;
    if let Err(error) = kept {
        ran.error.get_or_insert(
            error.context("the session that held the lock was lost, and another run may have begun meanwhile"),
        );
    }
    // Nothing was written in it; and a lock is let go either way.
    let _ = held.rollback().await;
    Ok(ran)
}

async fn attempts(cx: &Context, parameters: &Parameters) -> Result<Ran> {
    let config = parameters.config.as_deref().unwrap_or_default();
    let arguments: Vec<&str> = match parameters.layout {
        Layout::Alembic => vec!["-c", config, "upgrade", "head"],
        Layout::SchemaMigrations => parameters.apply.iter().map(String::as_str).collect(),
    };
    let mut ran = Ran::nothing();
    let mut wait = parameters.lock_wait_seconds;
    loop {
        ran.attempts += 1;
        let said = once(cx, &arguments).await?;
        let Some((error, for_lock)) = said else { return Ok(ran) };
        ran.lock_timeouts += u32::from(for_lock);
        if !for_lock || ran.attempts > parameters.lock_retries {
            ran.error = Some(error);
            return Ok(ran);
        }
        warn!("attempt {}: a lock was not had in time; the next one begins in {wait} s", ran.attempts);
        cx.sleep(Duration::from_secs_f64(wait)).await?;
        wait = (wait * 2.0).min(60.0);
    }
}

/// Start it once: what went wrong, and whether it was for want of a lock.
async fn once(cx: &Context, arguments: &[&str]) -> Result<Option<(Error, bool)>> {
    let child = cx.migrate().spawn(arguments, Some(cx.database().connection()), None).await?;
    let mut stdout = child.stdout()?;
    let mut said = Vec::new();
    // A tool in a Job says all on one output; only the end of it matters. The stream fails where the tool did, which `wait` tells better.
    while let Some(piece) = stdout.next().await {
        said.extend_from_slice(&piece);
        let excess = said.len().saturating_sub(64 << 10);
        said.drain(..excess);
    }
    let ended = child.wait().await?;
    if matches!(ended.status, ExitStatus::Code(0) | ExitStatus::Planned) {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    let for_lock = [&said, &ended.stderr].iter().any(|text| is_lock_timeout(text));
    // What a tool says it says on either output.
    let told = if ended.stderr.trim().is_empty() { said } else { ended.stderr.clone() };
    let ended = rota_sdk::tools::Ended { stderr: told, ..ended };
    Ok(ended.success("the migration tool").err().map(|error| (error, for_lock)))
}

/// Whether the server ended a statement because it waited for a lock too long (55P03).
pub(crate) fn is_lock_timeout(said: &str) -> bool {
    ["due to lock timeout", "LockNotAvailable", "55P03"].iter().any(|mark| said.contains(mark))
}
