//! One table after the other: measure, vacuum, measure again, and believe only what was measured.

use crate::holders::{self, oldest};
use crate::measure::{State, one, share};
use crate::watch::{Progress, watch};
use crate::{Context, Parameters};
use rota_sdk::OpenStep;
use rota_sdk::prelude::*;
use rota_sdk::sql::Notice;
use std::cell::Cell;

/// What became of a table's turn.
#[data]
pub(crate) enum Done {
    /// It was vacuumed, and the statistics show it.
    Vacuumed,
    /// It was vacuumed, and dead rows stayed because somebody can still see them.
    HeldBack,
    /// Somebody has it locked; it was tried twice.
    Locked,
    /// The role may not vacuum it.
    NotAllowed,
    /// The server skipped it, and did not say why in words that are known.
    Skipped,
    /// It was ended when the time was over.
    OutOfTime,
    /// Its turn did not come in time.
    NotReached,
    /// It was dropped meanwhile.
    Gone,
    /// The server answered with an error.
    Failed,
    /// The run is a plan.
    Planned,
}

/// A table and what became of it.
#[data]
pub(crate) struct Worked {
    /// Its schema.
    pub(crate) schema: String,
    /// Its name.
    pub(crate) name: String,
    /// Schema and name, quoted by the server.
    pub(crate) quoted: String,
    /// What became of its turn.
    pub(crate) done: Done,
    /// Why, in words, where it was not vacuumed or rows stayed.
    pub(crate) reason: Option<String>,
    /// What to do about it.
    pub(crate) remedy: Option<String>,
    /// About how many bytes it has, large values and indexes not counted; null where that was never counted.
    pub(crate) bytes: Option<i64>,
    /// Live rows, by the statistics before.
    pub(crate) live_before: i64,
    /// Dead rows before, those of large values included.
    pub(crate) dead_before: i64,
    /// Dead rows after; null where it was not vacuumed.
    pub(crate) dead_after: Option<i64>,
    /// How many dead rows the server says it could not remove yet; null where it does not say.
    pub(crate) not_removable: Option<i64>,
    /// The share of dead rows before.
    pub(crate) dead_share_before: f64,
    /// The age of its oldest transaction id before.
    pub(crate) age_before: i64,
    /// The same after; null where it was not vacuumed.
    pub(crate) age_after: Option<i64>,
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
}

impl Worked {
    fn new(state: &State, done: Done) -> Self {
        Self {
            schema: state.schema.clone(),
            name: state.name.clone(),
            quoted: state.quoted.to_string(),
            done,
            reason: None,
            remedy: None,
            bytes: bytes(state),
            live_before: state.live,
            dead_before: state.all_dead(),
            dead_after: None,
            not_removable: None,
            dead_share_before: share(state.dead, state.live).max(share(state.toast_dead, state.toast_live)),
            age_before: state.age,
            age_after: None,
            seconds: 0.0,
        }
    }

    fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

/// The work of a run.
pub(crate) struct Run<'r> {
    cx: &'r Context,
    parameters: &'r Parameters,
    major: u32,
    worker: &'r mut Session,
    watcher: &'r mut Session,
    ends: Timestamp,
    worked: Vec<Worked>,
}

/// The host ends the run at its deadline; what is left for measuring and reporting.
const REPORTING: i64 = 10;
/// A vacuum that has less time than this is not begun.
const WORTHWHILE: f64 = 0.2;

impl<'r> Run<'r> {
    pub(crate) fn new(
        cx: &'r Context,
        parameters: &'r Parameters,
        major: u32,
        worker: &'r mut Session,
        watcher: &'r mut Session,
    ) -> Self {
        let ends = cx.now().plus_seconds(parameters.budget_seconds.into()).min(cx.deadline().plus_seconds(-REPORTING));
        Self { cx, parameters, major, worker, watcher, ends, worked: Vec::new() }
    }

    /// What was done, in the order of the tables' turns.
    pub(crate) fn finish(self) -> Vec<Worked> {
        self.worked
    }

    /// All of them; those that are locked a second time at the end.
    ///
    /// # Errors
    /// What ends the whole run: a denial, a cancel, a lost connection.
    pub(crate) async fn all(&mut self, tables: Vec<State>) -> Result<()> {
        let mut progress = Progress { done: 0, current: 0, ahead: tables.iter().map(pages).sum() };
        let mut locked = Vec::new();
        let mut tables = tables.into_iter();
        while let Some(state) = tables.next() {
            progress.begin(pages(&state));
            let worked =
                match self.turn(&state, None, &mut progress).await {
                    Ok((worked, step)) => {
                        if worked.done == Done::Locked {
                            locked.push((self.worked.len(), state.clone(), step));
                        }
                        worked
                    }
                    Err(error) => {
                        self.worked.push(Worked::new(&state, Done::Failed).because(error.to_string()));
                        self.worked.extend(tables.map(|state| {
                            Worked::new(&state, Done::NotReached).because("the run ended before its turn")
                        }));
                        return Err(error);
                    }
                };
            progress.end();
            self.worked.push(worked);
        }
        for (place, state, step) in locked {
            let (again, _) = self.turn(&state, step, &mut progress).await?;
            if again.done != Done::NotReached {
                self.worked[place] = again;
            }
        }
        Ok(())
    }

    /// One table's turn. A table that was vacuumed is a step of the run: an attempt that follows a crash does not vacuum it again. What
    /// was not vacuumed leaves its step open, for its second turn or the next attempt.
    async fn turn(
        &mut self,
        chosen: &State,
        step: Option<OpenStep<Worked>>,
        progress: &mut Progress,
    ) -> Result<(Worked, Option<OpenStep<Worked>>)> {
        let left = self.ends.seconds_since(self.cx.now());
        if left < WORTHWHILE {
            let late = Worked::new(chosen, Done::NotReached).because("the time was over before its turn");
            return Ok((late, step));
        }
        if self.cx.is_plan() {
            return Ok((self.work(chosen, left, progress).await?, None));
        }
        let step = match step {
            Some(step) => Some(step),
            None => match Step::<Worked>::begin(step_name(chosen)).await {
                Ok(Step::Fresh(step)) => Some(step),
                // To vacuum a table twice is harmless.
                Ok(Step::InDoubt(doubt)) => Some(doubt.redo()),
                Ok(Step::Done(worked)) => {
                    info!("{}: {} by an earlier attempt of this run", chosen.quoted, crate::judge::word(worked.done));
                    return Ok((worked, None));
                }
                // More tables than a run may have steps: the others are vacuumed all the same.
                Err(error) if matches!(error.cause(), Some(rota_sdk::HostError::Quota(_))) => None,
                Err(error) => return Err(error),
            },
        };
        let worked = self.work(chosen, left, progress).await?;
        match step {
            Some(step) if matches!(worked.done, Done::Vacuumed | Done::HeldBack) => {
                Ok((step.complete(worked).await?, None))
            }
            step => Ok((worked, step)),
        }
    }

    /// Vacuum a table, or say why not.
    async fn work(&mut self, chosen: &State, left: f64, progress: &mut Progress) -> Result<Worked> {
        // By its id, because it may have been renamed, vacuumed or dropped since it was chosen.
        let Some(before) = one(self.watcher, self.major, chosen.oid).await? else {
            return Ok(Worked::new(chosen, Done::Gone).because("it was dropped meanwhile"));
        };
        if !before.allowed {
            return Ok(Worked::new(&before, Done::NotAllowed).because("the role neither owns it nor may maintain it"));
        }
        if self.cx.is_plan() {
            self.worker.execute(self.statement(&before.quoted), params![]).await?;
            return Ok(Worked::new(&before, Done::Planned));
        }
        let started = self.cx.now();
        self.worker.configure("statement_timeout", format!("{:.0}ms", left * 1000.0)).await?;
        let said = self.vacuum(&before.quoted, progress).await;
        let notices = self.worker.notices();
        let worked = match said {
            Ok(()) => self.verify(&before, &notices).await?,
            Err(error) => failed(&before, error)?,
        };
        let seconds = self.cx.now().seconds_since(started);
        let after = worked.dead_after.map_or_else(|| "an unknown number".to_owned(), |rows| rows.to_string());
        info!(
            "{}: {} in {seconds:.1} s, {} dead rows before, {after} after",
            before.quoted,
            crate::judge::word(worked.done),
            worked.dead_before
        );
        Ok(Worked { seconds, ..worked })
    }

    /// The statement. `ONLY` keeps PostgreSQL 18 from going on to tables that inherit: they have their own turn.
    fn statement(&self, table: &Quoted) -> Sql {
        match (self.parameters.analyze, self.major >= 18) {
            (true, true) => sql!("VACUUM (VERBOSE, ANALYZE, SKIP_LOCKED) ONLY {}", table),
            (true, false) => sql!("VACUUM (VERBOSE, ANALYZE, SKIP_LOCKED) {}", table),
            (false, true) => sql!("VACUUM (VERBOSE, SKIP_LOCKED) ONLY {}", table),
            (false, false) => sql!("VACUUM (VERBOSE, SKIP_LOCKED) {}", table),
        }
    }

    async fn vacuum(&mut self, table: &Quoted, progress: &mut Progress) -> Result<()> {
        let statement = self.statement(table);
        let (done, pid) = (Cell::new(false), self.worker.backend_pid());
        let work = async {
            let said = self.worker.execute(statement, params![]).await;
            done.set(true);
            said
        };
        let (said, ()) = join(work, watch(self.cx, self.watcher, pid, table, progress, &done)).await;
        said.map(drop)
    }

    /// What the statistics say happened: VACUUM itself answers "VACUUM" to everything.
    async fn verify(&mut self, before: &State, notices: &[Notice]) -> Result<Worked> {
        let Some(after) = one(self.watcher, self.major, before.oid).await? else {
            return Ok(Worked::new(before, Done::Gone).because("it was dropped meanwhile"));
        };
        if !after.vacuumed_since(before) {
            return self.skipped(before, notices).await;
        }
        let mut worked = Worked {
            dead_after: Some(after.all_dead()),
            not_removable: not_removable(notices),
            age_after: Some(after.age),
            bytes: bytes(&after),
            ..Worked::new(before, Done::Vacuumed)
        };
        let many = self.parameters.min_dead_rows;
        let stayed = worked.not_removable.unwrap_or(0).max(after.all_dead());
        if after.bloated(many, self.parameters.min_dead_share) || worked.not_removable.is_some_and(|rows| rows > many) {
            let holders = holders::look(self.watcher).await?;
            worked.done = Done::HeldBack;
            worked.dead_after = Some(stayed);
            match oldest(&holders) {
                Some(holder) => {
                    worked.reason = Some(format!("held back by {}", holder.told()));
                    worked.remedy = Some(holder.remedy());
                }
                None => worked.reason = Some("who held them back is gone, or cannot be seen".to_owned()),
            }
        }
        Ok(worked)
    }

    /// Why the server skipped a table.
    async fn skipped(&mut self, before: &State, notices: &[Notice]) -> Result<Worked> {
        let said = notices.iter().rfind(|notice| notice.severity == "WARNING").map(|notice| notice.message.clone());
        let text = said.as_deref().unwrap_or_default();
        if text.contains("permission denied")
            || text.contains("can vacuum it")
            || text.contains("only table or database owner")
        {
            return Ok(Worked::new(before, Done::NotAllowed).because(text));
        }
        if let Some(locker) = locker(self.watcher, before.oid).await? {
            return Ok(Worked::new(before, Done::Locked).because(format!("locked by {locker}")));
        }
        if text.contains("lock not available") {
            return Ok(Worked::new(before, Done::Locked).because("locked for a moment by somebody who is gone"));
        }
        let reason = said.unwrap_or_else(|| "the statistics show no vacuum, and the server did not say why".to_owned());
        Ok(Worked::new(before, Done::Skipped).because(reason))
    }
}

/// The name of a table's step: its id tells it from all others, the rest is for people.
fn step_name(table: &State) -> String {
    let mut name = format!("vacuum {} {}", table.oid, table.quoted);
    name.retain(|c| !c.is_control());
    name.truncate(name.floor_char_boundary(200));
    name
}

fn pages(state: &State) -> u64 {
    u64::try_from(state.pages).unwrap_or(0)
}

/// Pages are counted by VACUUM and ANALYZE, and 0 before the first.
fn bytes(state: &State) -> Option<i64> {
    (state.pages > 0).then(|| state.pages.saturating_mul(8192))
}

/// What an error means for a table; errors that concern the whole run are handed up.
fn failed(before: &State, error: Error) -> Result<Worked> {
    let lost = error.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P"));
    if error.is_denied()
        || error.is_cancelled()
        || lost
        || matches!(error.cause(), Some(rota_sdk::HostError::Unavailable(_)))
    {
        return Err(error);
    }
    let done = match error.code() {
        _ if error.is_timed_out() => Done::OutOfTime,
        Some("42P01" | "3F000") => Done::Gone,
        Some("42501") => Done::NotAllowed,
        Some("55P03") => Done::Locked,
        _ => Done::Failed,
    };
    Ok(Worked::new(before, done).because(error.to_string()))
}

/// `tuples: 0 removed, 50000 remain, 50000 are dead but not yet removable`, where the server speaks English.
fn not_removable(notices: &[Notice]) -> Option<i64> {
    let counts = notices.iter().filter_map(|notice| {
        let before = notice
            .message
            .split(" are dead but not yet removable")
            .next()
            .filter(|before| before.len() < notice.message.len())?;
        before.rsplit(' ').next()?.parse::<i64>().ok()
    });
    counts.reduce(|a, b| a + b)
}

const LOCKER: &str = "\
    select concat_ws(', ', coalesce('pid ' || l.pid, 'a prepared transaction'), a.usename, nullif(a.application_name, ''), a.state, \
                     nullif(a.backend_type, 'client backend')) || ' (' || l.mode || ')' as locker \
    from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a on a.pid = l.pid \
    where l.locktype = 'relation' and l.granted and l.relation = $1::int8::oid \
      and l.database = (select oid from pg_catalog.pg_database where datname = current_database()) \
      and l.mode not in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock') limit 1";

/// Who has a table locked so that it cannot be vacuumed.
async fn locker(session: &mut Session, oid: i64) -> Result<Option<String>> {
    session.query_optional(LOCKER, params![oid]).await.context("looking for who has the table locked")
}
