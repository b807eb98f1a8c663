//! What NATS said, as the guest and the operator read it: what happened, to what, and what to do. Never an address or a secret.

use async_nats::{ConnectError, ConnectErrorKind, RequestErrorKind};
use rota_contract::{Error, Fault};
use rota_telemetry::clean_line;
use std::time::Duration;

/// The binding that something happened at.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its name.
    pub(crate) binding: String,
    /// How long an answer may take.
    pub(crate) patience: Duration,
}

impl Place {
    /// Connecting did not succeed.
    pub(crate) fn connecting(&self, error: &ConnectError) -> Error {
        let binding = &self.binding;
        match error.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => Error::Failed(Fault {
                code: "authorization".into(),
                message: format!(
                    "NATS of binding `{binding}` does not accept the login; check `username` and `password`, `token`, `nkey` or `credentials` of [bindings.{binding}]"
                ),
                detail: None,
                retryable: false,
            }),
            ConnectErrorKind::Tls => self.untrusted(&causes(error)),
            ConnectErrorKind::TimedOut => self.connect_timed_out(),
            ConnectErrorKind::Dns => self.unreachable("its name is not known to DNS"),
            ConnectErrorKind::Io => match causes(error) {
                // rustls speaks through the socket.
                why if why.contains("certificate") || why.contains("tls") || why.contains("TLS") => {
                    self.untrusted(&why)
                }
                why => self.unreachable(&why),
            },
            _ => self.unreachable("no server of it accepts connections"),
        }
    }

    /// A request was not answered.
    pub(crate) fn request(&self, kind: RequestErrorKind) -> Error {
        match kind {
            RequestErrorKind::TimedOut => self.timed_out(),
            // Without JetStream nobody listens to its subjects; in a cluster without a leader neither.
            RequestErrorKind::NoResponders => Error::Unavailable(format!(
                "nobody answers for JetStream at binding `{0}`: the server has it switched off, the account has none, the domain is another, or its cluster has no leader; look at `domain` of [bindings.{0}] and at the servers",
                self.binding
            )),
            RequestErrorKind::InvalidSubject => Error::InvalidArgument("this cannot be the name of a stream".into()),
            RequestErrorKind::MaxPayloadExceeded | RequestErrorKind::Other => {
                self.unreachable("the connection broke, or the user may not ask this")
            }
        }
    }

    /// JetStream answered with an error.
    pub(crate) fn said(&self, code: u64, text: &str) -> Error {
        let (binding, text) = (&self.binding, clean(text));
        match code {
            // No such stream, consumer, message.
            10059 | 10014 | 10037 => Error::NotFound(text),
            10039 | 10076 => {
                Error::NotFound(format!("JetStream is not enabled for the account of binding `{binding}`"))
            }
            10008 | 10004 | 10009 | 10010 | 10006 => Error::Unavailable(format!(
                "JetStream of binding `{binding}` cannot answer now ({text}); look at its servers"
            )),
            _ => Error::Failed(Fault {
                code: format!("jetstream-{code}"),
                message: format!("JetStream of binding `{binding}` answered with an error"),
                detail: Some(text),
                retryable: false,
            }),
        }
    }

    pub(crate) fn connect_timed_out(&self) -> Error {
        Error::TimedOut(format!(
            "NATS of binding `{0}` did not answer in time; look at the network and the server, or raise `connect_timeout` of [bindings.{0}]",
            self.binding
        ))
    }

    pub(crate) fn timed_out(&self) -> Error {
        Error::TimedOut(format!(
            "JetStream of binding `{0}` did not answer within {1} s; without a leader its cluster answers nothing, else look at the network and the user's permissions ($JS.API.>, _INBOX.>), or raise `request_timeout` of [bindings.{0}]",
            self.binding,
            self.patience.as_secs_f64()
        ))
    }

    pub(crate) fn unreachable(&self, why: &str) -> Error {
        Error::Unavailable(format!(
            "NATS of binding `{0}` cannot be reached ({1}); check `url` of [bindings.{0}], the network and whether the server runs",
            self.binding,
            clean(why)
        ))
    }

    pub(crate) fn untrusted(&self, why: &str) -> Error {
        Error::Unavailable(format!(
            "no TLS connection can be made to NATS of binding `{0}` ({1}); check `tls`, `ca_file`, `client_cert` and `client_key` of [bindings.{0}]",
            self.binding,
            clean(why)
        ))
    }

    /// An answer that is none.
    pub(crate) fn nonsense(&self) -> Error {
        Error::Failed(Fault {
            code: "protocol".into(),
            message: format!(
                "the server of binding `{}` gave an answer that JetStream does not give; is it one?",
                self.binding
            ),
            detail: None,
            retryable: false,
        })
    }
}

/// What caused an error, from the outermost to the innermost.
fn causes(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(error.source(), |error| error.source());
    all.last().map(ToString::to_string).unwrap_or_else(|| error.to_string())
}

/// A server's text: masked, one line, bounded.
pub(crate) fn clean(text: &str) -> String {
    clean_line(text).chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jetstream_says_becomes_what_to_do() {
        let place = Place { binding: "events".into(), patience: Duration::from_secs(5) };
        for (code, kind, expected) in [
            (10059, "not-found", "stream not found"),
            (10039, "not-found", "not enabled for the account of binding `events`"),
            (10008, "unavailable", "cannot answer now"),
            (10025, "failed", "answered with an error"),
        ] {
            let error = place.said(code, "stream not found\u{1b}[2J");
            assert_eq!(error.kind(), kind, "{code}");
            assert!(error.to_string().contains(expected) && !error.to_string().contains('\u{1b}'), "{error}");
        }
    }
}
