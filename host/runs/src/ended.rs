//! What a run's end in the sandbox means for the run.

use crate::held::Stop;
use crate::prepare::Prepared;
use crate::view::ErrorView;
use rota_authority::Denied;
use rota_capability::RunContext;
use rota_contract::reports::Finding;
use rota_contract::{Error, Failure, Report, Severity};
use rota_protocol::{AttemptEnd, Fault};
use rota_sandbox::{Ended, Finished};
use rota_store::EffectRow;

/// How an attempt ended, as it is recorded.
pub(crate) struct EndOfAttempt {
    pub(crate) end: AttemptEnd,
    pub(crate) report: Option<Report>,
    pub(crate) error: Option<ErrorView>,
}

/// An error as it is shown: masked.
pub(crate) fn error(kind: &str, message: impl Into<String>, hint: Option<String>) -> ErrorView {
    let message: String = message.into();
    ErrorView {
        kind: kind.into(),
        message: rota_telemetry::mask(&message).into_owned(),
        hint: hint.map(|h| rota_telemetry::mask(&h).into_owned()),
    }
}

/// What the sandbox says of the end, and why the run was told to stop where it was.
pub(crate) fn end_of(
    finished: Finished,
    stopped: Option<Stop>,
    context: &RunContext,
    prepared: &Prepared,
) -> EndOfAttempt {
    let ended = |end, error| EndOfAttempt { end, report: None, error: Some(error) };
    let lasting = AttemptEnd::Failed(Fault::Lasting);
    match finished.ended {
        Ended::Reported(report) => EndOfAttempt { end: AttemptEnd::Reported, report: Some(report), error: None },
        Ended::Failed(failure) => failed(failure, context, prepared),
        Ended::Limit(limit) => ended(lasting, error("limit", limit.to_string(), None)),
        Ended::UsedUp(used_up) => ended(lasting, error("quota", used_up.to_string(), None)),
        Ended::Trapped(said) => ended(
            lasting,
            error(
                "trap",
                format!("the plugin broke off: {said}"),
                Some("this is a defect of the plugin; its log may say more (rota runs logs last)".into()),
            ),
        ),
        Ended::TimedOut(limit) => ended(
            AttemptEnd::TimedOut,
            error(
                "timed-out",
                format!("the run was ended after {limit:?} (limit `timeout`)"),
                Some("raise it with --timeout, or `timeout` of the job".into()),
            ),
        ),
        Ended::Cancelled(report) => EndOfAttempt { report, ..cancelled(stopped) },
        Ended::Host(said) => ended(AttemptEnd::Failed(Fault::Retryable), error("host", said, None)),
    }
}

fn cancelled(stopped: Option<Stop>) -> EndOfAttempt {
    let (end, error) = match stopped {
        None => (AttemptEnd::Cancelled, error("cancelled", "the run was cancelled", None)),
        Some(Stop::Wish(wish)) => {
            let note = wish.note.map(|note| format!(": {note}")).unwrap_or_default();
            (AttemptEnd::Cancelled, error("cancelled", format!("the run was cancelled by {}{note}", wish.by), None))
        }
        Some(Stop::LeaseLost) => (
            AttemptEnd::Vanished,
            error("lease-lost", "the host could not prove any longer that the run is its own, and stopped it", None),
        ),
        Some(Stop::HandBack) => {
            (AttemptEnd::HandedBack, error("handed-back", "the host drained, and handed the run back", None))
        }
    };
    EndOfAttempt { end, report: None, error: Some(error) }
}

/// Why a procedure that has reported has not succeeded all the same: it returned while effects of it were under way, and what
/// became of them is not known. Its report cannot speak for them.
pub(crate) fn doubt(effects: &[EffectRow]) -> Option<ErrorView> {
    let open = effects.iter().filter(|effect| matches!(effect.outcome.as_str(), "running" | "interrupted"));
    let named: Vec<String> = open.map(|effect| format!("{} ({})", effect.operation, effect.target)).collect();
    let shown = named.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    if named.is_empty() {
        return None;
    }
    Some(error(
        "unknown",
        format!("the procedure reported while {} of its effects were under way: {shown}", named.len()),
        Some("look whether they happened; the procedure should wait for each of its calls before it returns".into()),
    ))
}

/// What somebody agreed to and the procedure then left out is told in its report: it may be as it should be (a plan sees no rows of what it
/// changes), and of a copy and a deletion the deletion alone is another thing.
pub(crate) fn tell_left_out(report: &mut Report, left: &[String]) {
    if left.is_empty() {
        return;
    }
    let shown = left.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    report.findings.push(Finding {
        severity: Severity::Warning,
        title: format!("{} of the effects that were agreed to did not happen", left.len()),
        detail: format!("The plan had them, and the run left them out: {shown}"),
        remedy: None,
    });
    if matches!(report.status, Severity::Ok) {
        report.status = Severity::Warning;
    }
}

/// A failure that a denial caused is a denial: the exit status and the hint say so.
fn failed(failure: Failure, context: &RunContext, prepared: &Prepared) -> EndOfAttempt {
    let Failure { message, hint, cause, report } = failure;
    let (denials, _) = context.gate.denials();
    let (end, error) = match &cause {
        Some(Error::Denied(_)) if !denials.is_empty() => {
            let hint = denials.iter().find_map(|denied| flag(denied, prepared)).or(hint);
            (AttemptEnd::Denied, error("denied", message, hint))
        }
        Some(cause) => (AttemptEnd::Failed(fault(cause)), error(cause.kind(), message, hint)),
        None => (AttemptEnd::Failed(Fault::Lasting), error("failed", message, hint)),
    };
    EndOfAttempt { end, report, error: Some(error) }
}

/// Whether a failure may pass by itself: the target could not be reached, was busy, or said that the same may work later.
fn fault(cause: &Error) -> Fault {
    match cause {
        Error::Unavailable(_) | Error::TimedOut(_) | Error::Conflict(_) => Fault::Retryable,
        Error::Failed(fault) if fault.retryable => Fault::Retryable,
        _ => Fault::Lasting,
    }
}

/// The flag that would give what was denied.
fn flag(denied: &Denied, prepared: &Prepared) -> Option<String> {
    let declared = |slot: &str| {
        prepared.loaded.descriptor.slots.iter().find(|s| s.name == slot).map(|s| s.accesses.clone()).unwrap_or_default()
    };
    match denied {
        Denied::Missing { slot, missing, granted, .. } => {
            let all: Vec<String> = granted.iter().chain(missing).cloned().collect();
            if missing.iter().any(|word| !declared(slot).contains(word)) {
                return Some(format!(
                    "the plugin does not declare {} on slot {slot}, so it cannot be granted",
                    missing.join(" + ")
                ));
            }
            Some(format!(
                "add --grant {slot}={} (or --grant declared for all that the plugin declares); in a job: slots.{slot}.access",
                all.join(",")
            ))
        }
        Denied::Unbound { slot, .. } => {
            Some(format!("add --bind {slot}=... and --grant {slot}={}", declared(slot).join(",")))
        }
        // It says so itself, and no flag gives it: what may be set on a server is in the configuration.
        // What a plan did not have is had by a new plan.
        Denied::Parameter { .. } | Denied::NotPlanned { .. } | Denied::WrongKind { .. } | Denied::Never { .. } => None,
    }
}
