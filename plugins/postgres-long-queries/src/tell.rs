//! From what was seen to what a person reads.

use crate::Parameters;
use rota_sdk::postgres::{Backend, Ended, Outcome, Same};
use rota_sdk::prelude::*;
use rota_sdk::text::spoken;

/// How many sessions have a finding of their own.
const NAMED: usize = 20;

/// Why a session is long, and what must still be so when its turn comes.
pub(crate) fn why(backend: &Backend, parameters: &Parameters) -> Option<(String, Same)> {
    let over = |seconds: Option<f64>, limit: f64| seconds.filter(|seconds| *seconds >= limit);
    if let Some(seconds) = over(backend.statement_seconds, parameters.min_statement_seconds) {
        return Some((format!("its statement runs for {}", spoken(seconds)), Same::State));
    }
    let seconds = over(backend.transaction_seconds, parameters.min_transaction_seconds)?;
    let state = backend.state.as_deref().unwrap_or_default();
    let doing = if backend.idle_in_transaction() { format!(" ({state})") } else { String::new() };
    Some((format!("its transaction is open for {}{doing}", spoken(seconds)), Same::Transaction))
}

/// The longer of its statement and its transaction.
pub(crate) fn longest(backend: &Backend) -> f64 {
    backend.statement_seconds.unwrap_or(0.0).max(backend.transaction_seconds.unwrap_or(0.0))
}

/// Sessions that take long and still do.
pub(crate) fn long(long: &[Backend], ended: &[Ended], parameters: &Parameters, report: &mut Report) {
    let over = |backend: &Backend| {
        ended.iter().any(|one| {
            one.pid == backend.pid
                && matches!(one.outcome, Outcome::Ended | Outcome::Cancelled | Outcome::Gone | Outcome::Changed)
        })
    };
    let left: Vec<&Backend> = long.iter().filter(|backend| !over(backend)).collect();
    for backend in left.iter().take(NAMED) {
        let Some((why, _)) = why(backend, parameters) else { continue };
        let severity =
            if longest(backend) >= parameters.critical_seconds { Severity::Critical } else { Severity::Warning };
        let statement = backend.statement.as_deref().map_or_else(String::new, |text| format!(" `{text}`"));
        let waits = backend.wait.as_deref().filter(|wait| wait.starts_with("Lock: "));
        let detail = match (backend.idle_in_transaction(), waits) {
            (true, _) => format!(
                "It runs nothing, keeps its locks, and vacuum cannot remove what died since. Its last statement:{statement}"
            ),
            (false, Some(wait)) => format!("It waits for a lock ({wait}):{statement}"),
            (false, None) => format!("It runs:{statement}"),
        };
        let finding = report.finding(severity, format!("{}: {why}", backend.told())).detail(detail);
        if waits.is_some() {
            finding.remedy(
                "postgres-locks",
                &json!({}),
                "Shows who it waits for: ending those that wait mends nothing",
            );
        } else if backend.superuser {
            finding.advice(format!(
                "Its user is a superuser, whose sessions this procedure does not touch, and no role ends that is none: ask whoever it is; or, as a superuser: SELECT {}({})",
                if backend.idle_in_transaction() { "pg_terminate_backend" } else { "pg_cancel_backend" },
                backend.pid
            ));
        } else {
            let act = if backend.idle_in_transaction() { "terminate" } else { "cancel" };
            let note = if backend.idle_in_transaction() {
                "Ends the session (cancelling does nothing)"
            } else {
                "Cancels its statement"
            };
            finding.remedy("postgres-long-queries", &named(backend, act), note);
        }
    }
    let more = left.len().saturating_sub(NAMED);
    if more > 0 {
        report.warning(format!("{more} more sessions take long than are named"));
    }
    if long.is_empty() {
        return;
    }
    let columns = [
        "pid",
        "user",
        "database",
        "application",
        "state",
        "waits for",
        "statement for",
        "transaction for",
        "statement",
    ];
    let mut table = report.table("long", "What takes long (the longest first)", columns);
    for backend in long.iter().take(crate::LISTED) {
        table.row(cells![
            backend.pid.to_string(),
            backend.user.as_ref(),
            backend.database.as_ref(),
            backend.application.as_ref(),
            backend.state.as_ref(),
            backend.wait.as_ref(),
            backend.statement_seconds.map(Seconds),
            backend.transaction_seconds.map(Seconds),
            backend.statement.as_ref()
        ]);
    }
}

/// The parameters that mean exactly this session.
fn named(backend: &Backend, act: &str) -> Json {
    json!({ "act": act, "pid": backend.pid, "backend_start": backend.backend_start })
}

pub(crate) fn summary(long: &[Backend], seen: usize, ended: &[Ended]) -> String {
    let idle = long.iter().filter(|backend| backend.idle_in_transaction()).count();
    let mut text = format!("{} of {seen} sessions take long", long.len());
    if idle > 0 {
        text.push_str(&format!(" ({idle} idle in a transaction)"));
    }
    text.push_str(&Ended::counted(ended));
    text
}
