//! What goes wrong, as a guest is told it: what happened, to what, and what to do. Nothing of a secret.

use kube::core::Status;
use rota_contract::{Error, Fault};
use rota_telemetry::{clean_line, mask};

/// The longest text of a server that is handed on.
const LONGEST: usize = 1000;

/// Whose errors they are.
#[derive(Clone, Debug)]
pub(crate) struct Cluster(pub(crate) String);

/// A server's text: masked, one line, bounded.
pub(crate) fn clean(text: &str) -> String {
    clean_line(text).chars().take(LONGEST).collect()
}

/// An error with a code.
pub(crate) fn fault(code: &str, message: impl Into<String>, retryable: bool) -> Error {
    let message = mask(&message.into()).into_owned();
    Error::Failed(Fault { code: code.to_owned(), message, detail: None, retryable })
}

impl Cluster {
    /// What the cluster, or the way to it, answered to `what` ("get pods db/web").
    pub(crate) fn of(&self, what: &str, error: &kube::Error) -> Error {
        match error {
            kube::Error::Api(status) => self.of_status(what, status),
            kube::Error::Auth(error) => fault(
                "login",
                format!(
                    "binding `{}`: the login of its kubeconfig does not work: {}; try it with kubectl",
                    self.0,
                    clean(&error.to_string())
                ),
                false,
            ),
            kube::Error::BuildRequest(error) => {
                Error::InvalidArgument(format!("{what}: {}", clean(&error.to_string())))
            }
            other => self.unreachable(what, other),
        }
    }

    /// A connection that could not be made, or broke.
    pub(crate) fn unreachable(&self, what: &str, error: &dyn std::error::Error) -> Error {
        let mut root = error;
        while let Some(source) = root.source() {
            root = source;
        }
        Error::Unavailable(format!(
            "{what}: the cluster of binding `{}` cannot be reached, or the connection broke ({}); check its server, its certificates and the network",
            self.0,
            clean(&root.to_string())
        ))
    }

    /// A request that took too long.
    pub(crate) fn timed_out(&self, what: &str, after: std::time::Duration) -> Error {
        Error::TimedOut(format!(
            "{what}: the cluster of binding `{}` did not answer within {} s (`timeout` of the binding)",
            self.0,
            after.as_secs_f64()
        ))
    }

    /// What the cluster answered.
    pub(crate) fn of_status(&self, what: &str, status: &Status) -> Error {
        let said = clean(&status.message);
        let at = format!("{what} (binding `{}`)", self.0);
        let code = if status.reason.is_empty() { status.code.to_string() } else { clean(&status.reason) };
        match status.code {
            404 => Error::NotFound(format!("{at}: {said}")),
            409 => Error::Conflict(format!("{at}: {said}")),
            410 => Error::Conflict(format!("{at}: the cluster no longer remembers that version; list again ({said})")),
            401 => fault(
                "Unauthorized",
                format!("{at}: the cluster does not accept the login; renew the binding's token or certificate"),
                false,
            ),
            403 => fault(&code, format!("{at}: {said}; give the binding's account a role that allows it"), false),
            408 | 504 => Error::TimedOut(format!("{at}: {said}")),
            429 | 503 => fault(&code, format!("{at}: {said}; try again later"), true),
            number => fault(&code, format!("{at}: {said}"), number >= 500),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn status(code: u16, reason: &str, message: &str) -> Status {
        Status { code, reason: reason.into(), message: message.into(), ..Status::default() }
    }

    #[test]
    fn each_answer_has_its_case_and_no_secret() {
        let _secret = rota_telemetry::Secret::new("c4nary-of-a-cluster");
        let cluster = Cluster("prod".into());
        for (code, kind) in [
            (404, "not-found"),
            (409, "conflict"),
            (410, "conflict"),
            (401, "failed"),
            (403, "failed"),
            (422, "failed"),
            (504, "timed-out"),
            (503, "failed"),
        ] {
            let error = cluster.of_status("get pods", &status(code, "R", "with c4nary-of-a-cluster\n\u{1b}[2J"));
            assert_eq!(error.kind(), kind, "{code}");
            let text = error.to_string();
            assert!(!text.contains("c4nary") && !text.contains('\u{1b}'), "{text}");
            assert!(text.contains("binding `prod`"), "{text}");
        }
    }
}
