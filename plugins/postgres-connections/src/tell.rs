//! From what was seen to what a person reads.

use crate::Parameters;
use crate::limits::Limits;
use rota_sdk::postgres::{Backend, Ended, Outcome};
use rota_sdk::prelude::*;
use rota_sdk::text::spoken;
use std::collections::BTreeMap;

/// How many idle sessions have a finding of their own.
const NAMED: usize = 20;

/// Sessions of one source in one state.
#[data]
pub(crate) struct Source {
    /// The user.
    user: Option<String>,
    /// The database.
    database: Option<String>,
    /// The name that the application gives itself.
    application: Option<String>,
    /// Where they connect from; null for local sockets.
    client: Option<String>,
    /// Their state; null where it cannot be seen.
    state: Option<String>,
    /// How many there are.
    sessions: usize,
    /// How long the longest of them is in that state, in seconds.
    longest_seconds: Option<f64>,
}

#[allow(clippy::cast_precision_loss, reason = "connections are few")]
pub(crate) fn limits(limits: &Limits, parameters: &Parameters, report: &mut Report) {
    report.metric("connections", &[], limits.clients as f64).metric("connections_ceiling", &[], limits.ceiling as f64);
    let mut judge = |what: String, used: i64, limit: i64| {
        let share = used as f64 / limit.max(1) as f64;
        let severity = Severity::of(share, parameters.warn_share, parameters.critical_share);
        if severity != Severity::Ok {
            report
                .finding(severity, format!("{what}: {used} of {limit} connections are used"))
                .detail("When none is left, clients are refused.")
                .remedy(
                    "postgres-connections",
                    &json!({ "end_idle": true }),
                    "Ends the sessions that are idle; a pooler in front needs fewer",
                );
        }
    };
    judge("the server".to_owned(), limits.clients, limits.ceiling);
    for own in &limits.own_limits {
        judge(format!("{} {}", own.kind, own.name), own.used, own.limit);
    }
}

/// Sessions that stand out and still do.
pub(crate) fn idle(idle: &[Backend], ended: &[Ended], parameters: &Parameters, report: &mut Report) {
    let gone = |backend: &Backend| {
        ended.iter().any(|one| {
            one.pid == backend.pid && matches!(one.outcome, Outcome::Ended | Outcome::Gone | Outcome::Changed)
        })
    };
    let left: Vec<&Backend> = idle.iter().filter(|backend| !gone(backend)).collect();
    let in_transaction = left.iter().filter(|backend| backend.idle_in_transaction());
    for backend in in_transaction.clone().take(NAMED) {
        report
            .critical(format!("{}: {} for {}", backend.told(), backend.state.as_deref().unwrap_or_default(), spoken(backend.state_seconds.unwrap_or(0.0))))
            .detail("It keeps its locks, and vacuum cannot remove what died since its transaction began.")
            .remedy(
                "postgres-connections",
                &json!({ "end_idle_in_transaction": true, "databases": [backend.database.clone().unwrap_or_default()] }),
                "Ends the sessions of this database that are idle in a transaction; idle_in_transaction_session_timeout prevents them",
            );
    }
    let unnamed = in_transaction.count().saturating_sub(NAMED);
    if unnamed > 0 {
        report.critical(format!("{unnamed} more sessions are idle in a transaction"));
    }
    let plain = left.iter().filter(|backend| !backend.idle_in_transaction()).count();
    if plain > 0 {
        report.note(format!("{plain} sessions are idle for {} or longer", spoken(parameters.idle_seconds)));
    }
    if !idle.is_empty() {
        let columns = ["pid", "user", "database", "application", "client", "state", "for"];
        let mut table = report.table("idle", "Idle sessions (the longest first)", columns);
        for backend in idle.iter().take(crate::LISTED) {
            table.row(cells![
                backend.pid.to_string(),
                backend.user.as_ref(),
                backend.database.as_ref(),
                backend.application.as_ref(),
                backend.client.as_ref(),
                backend.state.as_ref(),
                backend.state_seconds.map(Seconds)
            ]);
        }
    }
}

/// Sessions by where they come from.
pub(crate) fn sources(all: &[Backend], report: &mut Report) -> Vec<Source> {
    let mut groups: BTreeMap<_, (usize, Option<f64>)> = BTreeMap::new();
    for Backend { user, database, application, client, state, state_seconds, .. } in all {
        let group = groups.entry((user, database, application, client, state)).or_default();
        group.0 += 1;
        group.1 = match (group.1, *state_seconds) {
            (Some(a), Some(b)) => Some(f64::max(a, b)),
            (a, b) => a.or(b),
        };
    }
    let mut sources: Vec<Source> = groups
        .into_iter()
        .map(|((user, database, application, client, state), (sessions, longest_seconds))| Source {
            user: user.clone(),
            database: database.clone(),
            application: application.clone(),
            client: client.clone(),
            state: state.clone(),
            sessions,
            longest_seconds,
        })
        .collect();
    sources.sort_by_key(|source| std::cmp::Reverse(source.sessions));
    let columns = ["user", "database", "application", "client", "state", "sessions", "longest"];
    let mut table = report.table("sources", "Who is connected", columns);
    for source in sources.iter().take(50) {
        table.row(cells![
            source.user.as_ref(),
            source.database.as_ref(),
            source.application.as_ref(),
            source.client.as_ref(),
            source.state.as_ref(),
            source.sessions,
            source.longest_seconds.map(Seconds)
        ]);
    }
    sources
}

pub(crate) fn summary(limits: &Limits, idle: &[Backend], ended: &[Ended]) -> String {
    let in_transaction = idle.iter().filter(|backend| backend.idle_in_transaction()).count();
    let mut text = format!(
        "{} of {} connections used, {} idle, {in_transaction} idle in a transaction",
        limits.clients,
        limits.ceiling,
        idle.len() - in_transaction
    );
    text.push_str(&Ended::counted(ended));
    text
}
