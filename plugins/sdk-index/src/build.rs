//! Running the statement that builds, watched from a second session.

use rota_sdk::Context;
use rota_sdk::prelude::*;
use std::cell::Cell;
use std::time::Duration;

/// The host ends the run at its deadline; what is left for proving, clearing up and reporting.
const CLEARING: i64 = 20;

/// What became of a build, as far as the server's answer tells: the catalog is asked afterwards.
#[derive(Debug)]
pub struct Built {
    /// The server's error, where it ended with one.
    pub error: Option<Error>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Whom it was seen to wait for.
    pub waited_for: Vec<String>,
    /// What the server said besides.
    pub notices: Vec<String>,
}

/// A build under its own deadline.
pub struct Build<'b> {
    /// The run.
    pub cx: &'b Context,
    /// The session that builds.
    pub worker: &'b mut Session,
    /// The session that looks.
    pub watcher: &'b mut Session,
    /// How long it may take, in seconds.
    pub budget_seconds: u32,
    /// What is built, for the progress.
    pub what: &'b str,
}

/// What `pg_stat_progress_create_index` says.
#[derive(FromRow)]
struct Seen {
    phase: String,
    done: i64,
    total: i64,
    unit: String,
    locker: Option<String>,
}

const STATEMENT: &str = "\
    select p.phase, case when p.blocks_total > 0 then p.blocks_done else p.tuples_done end as done, \
           case when p.blocks_total > 0 then p.blocks_total else p.tuples_total end as total, \
           case when p.blocks_total > 0 then 'blocks' else 'rows' end as unit, \
           (select concat_ws(' ', 'pid', a.pid, '(' || concat_ws(', ', a.usename, nullif(a.application_name, ''), a.state) || ')') \
            from pg_catalog.pg_stat_activity a where a.pid = nullif(p.current_locker_pid, 0)) as locker \
    from pg_catalog.pg_stat_progress_create_index p where p.pid = $1::int4";

/// The first pause between two looks; short, because most builds are.
const FIRST: Duration = Duration::from_millis(5);
/// The longest one.
const LONGEST: Duration = Duration::from_millis(500);

impl Build<'_> {
    /// Run it. A `lock_timeout` would cut off the very waits that a concurrent build consists of, so there is none: the deadline is the build's own.
    ///
    /// # Errors
    /// When the run is being cancelled, a grant is missing, or the session is lost. What the server says of the build itself is in [`Built::error`].
    pub async fn run(self, statement: Sql) -> Result<Built> {
        let started = self.cx.now();
        let left = self.cx.deadline().plus_seconds(-CLEARING).seconds_since(started).min(self.budget_seconds.into());
        if left < 1.0 && !self.cx.is_plan() {
            return Err(Error::new("there is no time left to build in").hint("give the run a longer timeout"));
        }
        self.worker.configure("lock_timeout", "0").await?;
        self.worker.configure("statement_timeout", format!("{:.0}ms", left.max(1.0) * 1000.0)).await?;
        let (done, pid) = (Cell::new(false), self.worker.backend_pid());
        let mut waited_for = Vec::new();
        let worker = &mut *self.worker;
        let work = async {
            let said = worker.execute(statement, params![]).await;
            done.set(true);
            said
        };
        let (said, ()) = join(work, watch(self.cx, self.watcher, pid, self.what, &done, &mut waited_for)).await;
        let notices = self.worker.notices().into_iter().map(|notice| notice.message).collect();
        let error = match said {
            Ok(_) => None,
            // Its own deadline, which the host tells as its kind and without a code.
            Err(error) if error.is_timed_out() => Some(error),
            Err(error)
                if error.is_denied() || error.is_cancelled() || (error.code().is_none() && error.cause().is_some()) =>
            {
                return Err(error);
            }
            Err(error) => Some(error),
        };
        Ok(Built { error, seconds: self.cx.now().seconds_since(started), waited_for, notices })
    }
}

/// Look again and again until it is done. Nobody is told of a look that fails: the build goes on without being watched.
async fn watch(
    cx: &Context,
    session: &mut Session,
    worker: u32,
    what: &str,
    done: &Cell<bool>,
    waited_for: &mut Vec<String>,
) {
    let mut pause = FIRST;
    while !done.get() {
        if cx.sleep(pause).await.is_err() {
            return;
        }
        pause = (pause * 3 / 2).min(LONGEST);
        let Ok(seen) = session.query_optional::<Seen>(STATEMENT, params![i64::from(worker)]).await else { return };
        let Some(Seen { phase, done, total, unit, locker }) = seen else { continue };
        let note =
            locker.as_ref().map_or_else(|| format!("{what}: {phase}"), |locker| format!("{what}: {phase}: {locker}"));
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        progress(count(done), (total > 0).then(|| count(total)), &unit, note);
        if let Some(locker) = locker
            && !waited_for.contains(&locker)
            && waited_for.len() < 20
        {
            waited_for.push(locker);
        }
    }
}
