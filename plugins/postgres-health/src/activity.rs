//! What goes on in the server? Sessions by kind and state, who waits, and whose transaction stays open.

use crate::{Parameters, spoken};
use rota_sdk::prelude::*;

/// How many sessions are named at most; all are counted.
const NAMED: usize = 50;

/// What goes on.
#[data]
pub(crate) struct Activity {
    /// Sessions by kind, state and what they wait for.
    groups: Vec<Group>,
    /// How many connections clients have.
    connections: i64,
    /// How many they may have: `max_connections` without what is reserved for superusers.
    connections_limit: i64,
    /// Sessions that stand out: idle in a transaction, open for long, or waiting for a lock. The longest first.
    sessions: Vec<Stuck>,
    /// How many more stand out than are listed.
    sessions_left_out: usize,
}

/// Sessions of one kind.
#[data]
#[derive(FromRow)]
pub(crate) struct Group {
    /// The kind of backend: `client backend`, `walsender`, `autovacuum worker` ...
    backend_type: Option<String>,
    /// `active`, `idle`, `idle in transaction` ...; null for the server's own, and where it cannot be seen.
    state: Option<String>,
    /// What they wait for: `Lock`, `IO`, `Client` ...
    wait: Option<String>,
    /// How many there are.
    sessions: i64,
    /// The oldest transaction among them, in seconds.
    oldest_transaction_seconds: Option<f64>,
}

/// A session that stands out. Its statement is left out: it may hold data.
#[data]
#[derive(FromRow)]
pub(crate) struct Stuck {
    /// Its process id.
    pid: i64,
    /// When it started; with the pid, this tells it from a later one of the same number.
    backend_start: Option<Timestamp>,
    /// The kind of backend.
    backend_type: Option<String>,
    /// Its user.
    user: Option<String>,
    /// Its database.
    database: Option<String>,
    /// The name that the application gives itself.
    application: Option<String>,
    /// Where it connects from; null for a local socket.
    client: Option<String>,
    /// `active`, `idle in transaction` ...
    state: Option<String>,
    /// What it waits for: `Lock: relation`.
    wait: Option<String>,
    /// How long its transaction is open, in seconds.
    transaction_seconds: Option<f64>,
    /// How long it is in this state, in seconds.
    state_seconds: Option<f64>,
}

const GROUPS: &str = "\
    select a.backend_type, a.state, a.wait_event_type as wait, count(*) as sessions, \
           extract(epoch from max(clock_timestamp() - a.xact_start))::float8 as oldest_transaction_seconds \
    from pg_catalog.pg_stat_activity a where a.pid <> pg_backend_pid() \
    group by 1, 2, 3 order by sessions desc, 1, 2, 3";

const CONNECTIONS: &str = "\
    select (select count(*) from pg_catalog.pg_stat_activity where backend_type = 'client backend') as used, \
           current_setting('max_connections')::int8 - current_setting('superuser_reserved_connections')::int8 \
             - coalesce(current_setting('reserved_connections', true), '0')::int8 as available";

const STUCK: &str = "\
    select * from ( \
        select a.pid, a.backend_start, a.backend_type, a.usename::text as user, a.datname::text as database, \
               a.application_name as application, host(a.client_addr) as client, a.state, \
               a.wait_event_type || ': ' || a.wait_event as wait, \
               extract(epoch from clock_timestamp() - a.xact_start)::float8 as transaction_seconds, \
               extract(epoch from clock_timestamp() - a.state_change)::float8 as state_seconds \
        from pg_catalog.pg_stat_activity a where a.pid <> pg_backend_pid() and a.backend_type in ('client backend', 'parallel worker') \
    ) s where (s.state like 'idle in transaction%' and s.state_seconds >= $1) or s.transaction_seconds >= $2 \
           or (s.wait like 'Lock: %' and s.state_seconds >= $3) \
    order by s.transaction_seconds desc nulls last, s.pid";

pub(crate) async fn check(session: &mut Session, parameters: &Parameters, report: &mut Report) -> Result<Activity> {
    let groups: Vec<Group> = session.query_all(GROUPS, params![]).await.context("checking activity")?;
    let (connections, connections_limit): (i64, i64) =
        session.query_one(CONNECTIONS, params![]).await.context("counting connections")?;
    let limits = params![
        parameters.idle_in_transaction_seconds,
        parameters.warn_transaction_seconds,
        parameters.warn_lock_seconds
    ];
    let mut sessions: Vec<Stuck> = session.query_all(STUCK, limits).await.context("looking for stuck sessions")?;

    judge_connections(connections, connections_limit, parameters, report);
    for stuck in sessions.iter().take(NAMED) {
        judge(stuck, parameters, report);
    }
    let sessions_left_out = sessions.len().saturating_sub(NAMED);
    if sessions_left_out > 0 {
        report.warning(format!("{sessions_left_out} more sessions stand out than are listed"));
    }
    sessions.truncate(NAMED);
    show(&groups, report);
    Ok(Activity { groups, connections, connections_limit, sessions, sessions_left_out })
}

#[allow(clippy::cast_precision_loss, reason = "connections are few")]
fn judge_connections(used: i64, limit: i64, parameters: &Parameters, report: &mut Report) {
    report.metric("connections", &[], used as f64);
    let share = used as f64 / (limit.max(1)) as f64;
    let severity = Severity::of(share, parameters.warn_connections, parameters.critical_connections);
    if severity != Severity::Ok {
        report
            .finding(severity, format!("{used} of {limit} connections are used"))
            .detail("When none is left, clients are refused, and only superusers get in.")
            .advice("See who holds idle ones; a pool in front needs fewer");
    }
}

fn judge(stuck: &Stuck, parameters: &Parameters, report: &mut Report) {
    let who = who(stuck);
    let state = stuck.state.as_deref().unwrap_or("unknown");
    let (transaction, since) = (stuck.transaction_seconds.unwrap_or(0.0), stuck.state_seconds.unwrap_or(0.0));
    if state.starts_with("idle in transaction") && since >= parameters.idle_in_transaction_seconds {
        report
            .critical(format!("{who}: {state} for {}", spoken(since)))
            .detail(format!("Its transaction is open for {}. It keeps its locks, and vacuum cannot remove what died since.", spoken(transaction)))
            .advice("End it: pg_terminate_backend (cancelling does nothing to an idle session), and see idle_in_transaction_session_timeout");
    } else if stuck.wait.as_deref().is_some_and(|wait| wait.starts_with("Lock: "))
        && since >= parameters.warn_lock_seconds
    {
        report
            .warning(format!("{who}: waits for a lock for {}", spoken(since)))
            .detail(format!("{}.", stuck.wait.as_deref().unwrap_or_default()));
    } else if transaction >= parameters.warn_transaction_seconds {
        report
            .warning(format!("{who}: its transaction is open for {}", spoken(transaction)))
            .detail(format!("It is {state}. Vacuum cannot remove what died since it began."));
    }
}

fn who(stuck: &Stuck) -> String {
    let part = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let mut who = format!("pid {}", stuck.pid);
    if let (Some(user), Some(database)) = (part(&stuck.user), part(&stuck.database)) {
        who.push_str(&format!(" ({user} in {database}"));
        if let Some(application) = part(&stuck.application) {
            who.push_str(&format!(", {application}"));
        }
        who.push(')');
    }
    who
}

fn show(groups: &[Group], report: &mut Report) {
    let mut table =
        report.table("activity", "Activity", ["backend", "state", "waits for", "sessions", "oldest transaction"]);
    for group in groups {
        table.row(cells![
            group.backend_type.as_ref(),
            group.state.as_ref(),
            group.wait.as_ref(),
            group.sessions,
            group.oldest_transaction_seconds.map(Seconds)
        ]);
    }
}
