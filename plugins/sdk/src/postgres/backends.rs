//! Clients' sessions: looking at them, and ending one so that the report tells what became of exactly that one.

use super::shown;
use crate::sql::Session;
use crate::{Context, Error, ErrorContext, FromRow, HostError, Report, Result, Timestamp, data};
use std::time::Duration;

/// How often it is looked whether a session that was told to end is gone.
const LOOKS: Duration = Duration::from_millis(100);

/// A client's session, as `pg_stat_activity` has it. The system's own processes, walsenders and background workers are none.
#[data]
#[derive(FromRow)]
pub struct Backend {
    /// Its process id.
    pub pid: i64,
    /// When it started; with the pid, this tells it from a later one of the same number. Null where it cannot be seen.
    pub backend_start: Option<Timestamp>,
    /// Its user.
    pub user: Option<String>,
    /// The name that the application gives itself.
    pub application: Option<String>,
    /// Its database.
    pub database: Option<String>,
    /// Where it connects from; null for a local socket.
    pub client: Option<String>,
    /// `active`, `idle`, `idle in transaction` ...; null where it cannot be seen.
    pub state: Option<String>,
    /// What it waits for: `Lock: relation`.
    pub wait: Option<String>,
    /// Since when it is in this state.
    pub state_since: Option<Timestamp>,
    /// How long that is, in seconds.
    pub state_seconds: Option<f64>,
    /// Since when its transaction is open.
    pub transaction_since: Option<Timestamp>,
    /// How long that is, in seconds.
    pub transaction_seconds: Option<f64>,
    /// How long its statement runs, in seconds; null where none does.
    pub statement_seconds: Option<f64>,
    /// Its statement, cut and without literals; null where it was not asked for.
    pub statement: Option<String>,
    /// Whether its user is a superuser.
    pub superuser: bool,
    /// Whether it is this run's session, or another one of Rota's under the same login.
    pub own: bool,
}

const BACKENDS: &str = "\
    select a.pid, a.backend_start, a.usename::text as user, a.application_name as application, a.datname::text as database, \
           host(a.client_addr) as client, a.state, a.wait_event_type || ': ' || a.wait_event as wait, a.state_change as state_since, \
           extract(epoch from clock_timestamp() - a.state_change)::float8 as state_seconds, a.xact_start as transaction_since, \
           extract(epoch from clock_timestamp() - a.xact_start)::float8 as transaction_seconds, \
           case when a.state in ('active', 'fastpath function call') \
             then extract(epoch from clock_timestamp() - a.query_start)::float8 end as statement_seconds, \
           case when $1 then left(a.query, 2000) end as statement, coalesce(r.rolsuper, false) as superuser, \
           a.pid = pg_backend_pid() or (a.application_name like 'rota/%' and a.usesysid = \
             (select o.usesysid from pg_catalog.pg_stat_activity o where o.pid = pg_backend_pid())) as own \
    from pg_catalog.pg_stat_activity a left join pg_catalog.pg_roles r on r.oid = a.usesysid \
    where (a.backend_type = 'client backend' or (a.backend_type is null and a.datname is not null)) \
      and ($2::int8 is null or a.pid = $2) order by a.backend_start, a.pid";

/// Every client's session, the oldest first, this one among them. Statements come cut and without literals, and only where they are asked for.
///
/// # Errors
/// When the server does not answer.
pub async fn look(session: &mut Session, statements: bool) -> Result<Vec<Backend>> {
    read(session, statements, None).await.context("looking at the clients' sessions")
}

/// The client's session of a process id.
///
/// # Errors
/// When the server does not answer.
pub async fn find(session: &mut Session, pid: i64, statements: bool) -> Result<Option<Backend>> {
    let found = read(session, statements, Some(pid)).await.with_context(|| format!("looking for pid {pid}"))?;
    Ok(found.into_iter().next())
}

async fn read(session: &mut Session, statements: bool, pid: Option<i64>) -> Result<Vec<Backend>> {
    let mut all: Vec<Backend> = session.query_all(BACKENDS, crate::params![statements, pid]).await?;
    for backend in &mut all {
        backend.statement = backend.statement.as_deref().and_then(shown);
    }
    Ok(all)
}

impl Backend {
    /// In one line: `pid 311 (app in shop, worker)`.
    #[must_use]
    pub fn told(&self) -> String {
        let part = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let mut told = format!("pid {}", self.pid);
        if let (Some(user), Some(database)) = (part(&self.user), part(&self.database)) {
            let application = part(&self.application).map_or_else(String::new, |name| format!(", {name}"));
            told.push_str(&format!(" ({user} in {database}{application})"));
        }
        told
    }

    /// Whether it has a transaction open and does nothing.
    #[must_use]
    pub fn idle_in_transaction(&self) -> bool {
        self.state.as_deref().is_some_and(|state| state.starts_with("idle in transaction"))
    }
}

/// Whose sessions are never ended, beside superusers' and Rota's own.
#[derive(Clone, Debug, Default)]
pub struct Protection {
    /// Users.
    pub users: Vec<String>,
    /// Applications; a `*` at the end stands for any rest.
    pub applications: Vec<String>,
}

/// Whether a list of names, of which one may end in `*`, has a name.
fn listed(list: &[String], name: &str) -> bool {
    list.iter().any(|entry| match entry.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => entry == name,
    })
}

/// Names that sessions are chosen by; none is any.
#[derive(Clone, Debug, Default)]
pub struct Named {
    /// Users.
    pub users: Vec<String>,
    /// Applications; a `*` at the end stands for any rest.
    pub applications: Vec<String>,
    /// Databases.
    pub databases: Vec<String>,
}

impl Named {
    /// Whether a session is one of these.
    #[must_use]
    pub fn has(&self, backend: &Backend) -> bool {
        let exact = |list: &[String], name: &Option<String>| {
            list.is_empty() || name.as_ref().is_some_and(|name| list.contains(name))
        };
        let application = backend.application.as_deref().unwrap_or_default();
        exact(&self.users, &backend.user)
            && exact(&self.databases, &backend.database)
            && (self.applications.is_empty() || listed(&self.applications, application))
    }
}

impl Protection {
    /// Why a session is not to be ended; none where it may be.
    #[must_use]
    pub fn of(&self, backend: &Backend) -> Option<&'static str> {
        if backend.own {
            Some("it is Rota's own")
        } else if backend.superuser {
            Some("its user is a superuser")
        } else if backend.user.as_ref().is_some_and(|user| self.users.contains(user)) {
            Some("its user is protected")
        } else if backend.application.as_deref().is_some_and(|name| listed(&self.applications, name)) {
            Some("its application is protected")
        } else {
            None
        }
    }
}

/// How to end what a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Cancel its statement.
    Cancel,
    /// End the session.
    Terminate,
    /// Cancel its statement, and end the session where that does not help.
    CancelThenTerminate,
}

/// What became of a session.
#[data]
pub enum Outcome {
    /// It was told to end, and it is gone.
    Ended,
    /// Its statement was cancelled; the session lives on.
    Cancelled,
    /// It was gone before its turn.
    Gone,
    /// It had gone on to something else before its turn, and was left alone.
    Changed,
    /// It is never ended: `detail` says why.
    Protected,
    /// The role may not signal it.
    NotPermitted,
    /// Nothing was done, because it would not have helped: `detail` says why.
    Left,
    /// It was told, and it is still there after the time that was given.
    StillThere,
    /// In a plan: it would have been told.
    Planned,
    /// The server refused for another reason.
    Failed,
}

impl Outcome {
    /// All of them, in the order in which a summary counts them.
    const ALL: [Self; 10] = [
        Self::Cancelled,
        Self::Ended,
        Self::Planned,
        Self::Gone,
        Self::Changed,
        Self::Left,
        Self::Protected,
        Self::NotPermitted,
        Self::StillThere,
        Self::Failed,
    ];

    /// In words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Cancelled => "cancelled",
            Self::Gone => "gone",
            Self::Changed => "went on",
            Self::Protected => "protected",
            Self::NotPermitted => "not permitted",
            Self::Left => "left",
            Self::StillThere => "still there",
            Self::Planned => "planned",
            Self::Failed => "failed",
        }
    }
}

/// One session and what became of it.
#[data]
pub struct Ended {
    /// Its process id.
    pub pid: i64,
    /// When it started.
    pub backend_start: Option<Timestamp>,
    /// Its user.
    pub user: Option<String>,
    /// The name that the application gives itself.
    pub application: Option<String>,
    /// Its database.
    pub database: Option<String>,
    /// Where it connects from; null for a local socket.
    pub client: Option<String>,
    /// What it was doing.
    pub state: Option<String>,
    /// Why it was chosen.
    pub why: String,
    /// What became of it.
    pub outcome: Outcome,
    /// More about that.
    pub detail: Option<String>,
}

impl Ended {
    /// An outcome of a session.
    #[must_use]
    pub fn new(backend: &Backend, why: &str, outcome: Outcome) -> Self {
        let Backend { pid, backend_start, user, application, database, client, state, .. } = backend.clone();
        Self {
            pid,
            backend_start,
            user,
            application,
            database,
            client,
            state,
            why: why.to_owned(),
            outcome,
            detail: None,
        }
    }

    /// The same, saying more.
    #[must_use]
    pub fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// How many came to what, for a summary: `, 2 ended, 1 protected`; nothing where there are none.
    #[must_use]
    pub fn counted(all: &[Self]) -> String {
        let count = |outcome: Outcome| all.iter().filter(|one| one.outcome == outcome).count();
        let told = |outcome| Some((count(outcome), outcome)).filter(|(count, _)| *count > 0);
        Outcome::ALL
            .into_iter()
            .filter_map(told)
            .map(|(count, outcome)| format!(", {count} {}", outcome.word()))
            .collect()
    }

    /// Put sessions and what became of them into a report: as a table, and as findings where somebody should know.
    pub fn report<D>(all: &[Self], role: &str, report: &mut Report<D>) {
        if all.is_empty() {
            return;
        }
        let columns = ["pid", "started", "user", "application", "database", "was", "why", "outcome", "detail"];
        let mut table = report.table("ended", "What was to be ended", columns);
        for one in all {
            table.row(crate::cells![
                one.pid.to_string(),
                one.backend_start,
                one.user.as_ref(),
                one.application.as_ref(),
                one.database.as_ref(),
                one.state.as_ref(),
                &one.why,
                one.outcome.word(),
                one.detail.as_ref()
            ]);
        }
        for one in all {
            let detail = one.detail.clone().unwrap_or_default();
            match one.outcome {
                Outcome::NotPermitted => {
                    report
                        .warning(format!("pid {}: role {role} may not signal it", one.pid))
                        .detail(detail)
                        .advice(format!("As a superuser: GRANT pg_signal_backend TO the role {role}"));
                }
                Outcome::StillThere => {
                    report
                        .warning(format!("pid {}: was told to end, and is still there", one.pid))
                        .detail(detail)
                        .advice("Look again: a backend ends at its next safe point; one that waits for a broken network or disk may take long");
                }
                Outcome::Failed => {
                    report.warning(format!("pid {}: could not be ended", one.pid)).detail(detail);
                }
                Outcome::Left => {
                    report.warning(format!("pid {}: nothing was done", one.pid)).detail(detail);
                }
                _ => {}
            }
        }
    }
}

/// What must still be so when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Same {
    /// Only the session: it was named.
    Session,
    /// It is still in the transaction in which it was seen.
    Transaction,
    /// It is still in the state in which it was seen.
    State,
}

/// What a second look shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Still {
    /// It is as it was.
    Same,
    /// The session is there, and does something else.
    Changed,
    /// The session is not there any more.
    Gone,
}

/// Look whether a session is still what it was.
///
/// # Errors
/// When the server does not answer.
pub async fn look_again(session: &mut Session, before: &Backend, same: Same) -> Result<Still> {
    let now = match find(session, before.pid, false).await? {
        Some(now) if now.backend_start == before.backend_start => now,
        _ => return Ok(Still::Gone),
    };
    let unchanged = match same {
        Same::Session => true,
        Same::Transaction => now.transaction_since == before.transaction_since,
        Same::State => now.state_since == before.state_since && now.state == before.state,
    };
    Ok(if unchanged { Still::Same } else { Still::Changed })
}

enum Signalled {
    Sent,
    Nobody,
    No(Outcome, String),
}

/// Tell a session; an error that is about this one session is an outcome.
async fn signal(session: &mut Session, backend: &Backend, terminate: bool) -> Result<Signalled> {
    let (Ok(pid), Some(start)) = (u32::try_from(backend.pid), backend.backend_start) else {
        return Ok(Signalled::No(Outcome::NotPermitted, "when it started cannot be seen".to_owned()));
    };
    let told =
        if terminate { session.terminate_backend(pid, start).await } else { session.cancel_backend(pid, start).await };
    match told {
        Ok(true) => Ok(Signalled::Sent),
        Ok(false) => Ok(Signalled::Nobody),
        Err(error) if error.code() == Some("42501") => Ok(Signalled::No(Outcome::NotPermitted, error.to_string())),
        Err(error) if of_this_session(&error) => Ok(Signalled::No(Outcome::Failed, error.to_string())),
        Err(error) => Err(error),
    }
}

/// Whether an error says something about one session, and not about the run or the connection.
fn of_this_session(error: &Error) -> bool {
    let lost = error.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P"));
    matches!(error.cause(), Some(HostError::Failed(_))) && !lost
}

/// Wait until a session is gone, or (where only its statement was cancelled) does something else.
async fn wait(cx: &Context, session: &mut Session, backend: &Backend, terminated: bool, seconds: u32) -> Result<bool> {
    let deadline = cx.now().plus_seconds(seconds.into());
    loop {
        match look_again(session, backend, if terminated { Same::Session } else { Same::State }).await? {
            Still::Gone | Still::Changed => return Ok(true),
            Still::Same if cx.now() >= deadline => return Ok(false),
            Still::Same => cx.sleep(LOOKS).await?,
        }
    }
}

/// End what a session does, if it is still what it was, and see that it is so. Whether it may be ended at all is asked before ([`Protection::of`]).
///
/// # Errors
/// When the run is cancelled or the connection is lost, or without the grant `signal`: what goes wrong with one session is its outcome.
pub async fn end(
    cx: &Context,
    session: &mut Session,
    backend: &Backend,
    same: Same,
    ending: Ending,
    wait_seconds: u32,
    why: &str,
) -> Result<Ended> {
    let ended = |outcome| Ended::new(backend, why, outcome);
    match look_again(session, backend, same).await? {
        Still::Same => {}
        Still::Changed => return Ok(ended(Outcome::Changed)),
        Still::Gone => return Ok(ended(Outcome::Gone)),
    }
    // A signal to cancel an idle session is lost without a trace.
    let active = backend.state.as_deref() == Some("active");
    if ending == Ending::Cancel && !active {
        let state = backend.state.as_deref().unwrap_or("unknown");
        return Ok(ended(Outcome::Left).because(format!(
            "it is {state}: cancelling does nothing to a session that runs no statement; only ending it does"
        )));
    }
    let mut terminate = ending == Ending::Terminate || !active;
    loop {
        match signal(session, backend, terminate).await? {
            Signalled::No(outcome, detail) => return Ok(ended(outcome).because(detail)),
            Signalled::Nobody if cx.is_plan() => {
                let how = match ending {
                    Ending::Cancel => "its statement would be cancelled",
                    Ending::CancelThenTerminate if active => {
                        "its statement would be cancelled, and the session ended if that does not help"
                    }
                    _ => "the session would be ended",
                };
                return Ok(ended(Outcome::Planned).because(how));
            }
            Signalled::Nobody => return Ok(ended(Outcome::Gone)),
            Signalled::Sent => {}
        }
        if wait(cx, session, backend, terminate, wait_seconds).await? {
            return Ok(ended(if terminate { Outcome::Ended } else { Outcome::Cancelled }));
        }
        if terminate || ending != Ending::CancelThenTerminate {
            return Ok(ended(Outcome::StillThere).because(format!("for {wait_seconds} s")));
        }
        terminate = true;
    }
}
