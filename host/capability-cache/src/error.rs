//! What a cache said, as the guest and the operator read it: what happened, to what, and what to do. Never an address, a key or a value.

use fred::error::ErrorKind;
use rota_contract::{Error, Fault};
use rota_telemetry::clean_line;
use std::time::Duration;

/// The binding that something happened at.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its name.
    pub(crate) binding: String,
    /// How long a command may take.
    pub(crate) patience: Duration,
}

impl Place {
    /// What fred says of a command or a connection.
    pub(crate) fn error(&self, error: &fred::error::Error) -> Error {
        let details = error.details();
        match error.kind() {
            ErrorKind::Timeout => self.timed_out(),
            ErrorKind::IO | ErrorKind::Canceled => self.unreachable(&system_said(details)),
            ErrorKind::Tls => self.untrusted(details),
            ErrorKind::Unknown if details.contains("not initialized") || details.contains("to router") => {
                self.unreachable("the connection was closed")
            }
            ErrorKind::Protocol | ErrorKind::Parse => self.nonsense(),
            ErrorKind::Routing | ErrorKind::Sentinel => Error::Unavailable(format!(
                "no primary of the cache of binding `{}` can be found ({}); look at the cluster or the sentinels, and at `nodes` and `service` of [bindings.{}]",
                self.binding,
                clean(details),
                self.binding
            )),
            _ => self.said(details),
        }
    }

    /// What a server answered with `-`.
    pub(crate) fn said(&self, text: &str) -> Error {
        let code = code(text);
        let binding = &self.binding;
        let said = clean(text);
        let unavailable = |what: &str| {
            Error::Unavailable(format!("the cache of binding `{binding}` {what} ({said}); try again later"))
        };
        let fault = |what: &str, retryable| {
            Error::Failed(Fault {
                code: code.to_owned(),
                message: format!("the cache of binding `{binding}` {what}"),
                detail: Some(said.clone()),
                retryable,
            })
        };
        match code {
            "LOADING" => unavailable("is loading its data"),
            "BUSY" => unavailable("is blocked by a script"),
            "MASTERDOWN" => unavailable("lost its primary"),
            "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK" => unavailable("is a cluster that cannot answer now"),
            "WRONGTYPE" => Error::InvalidArgument("the key holds another kind of value than the call is for".into()),
            "NOAUTH" | "WRONGPASS" => fault(
                &format!("does not accept the login; check `username` and `password` of [bindings.{binding}]"),
                false,
            ),
            "NOPERM" => fault(
                "refuses this to its user; allow the command and the keys in the server's ACL (ACL SETUSER)",
                false,
            ),
            "READONLY" => fault(
                &format!("is a replica, which takes no changes; point [bindings.{binding}] to the primary"),
                false,
            ),
            "OOM" => fault("has no memory left for this; raise maxmemory, or let it evict", true),
            "MISCONF" => fault("takes no changes since it cannot save them to disk; look at its disk and log", true),
            "CROSSSLOT" => fault("has the keys on several nodes", false),
            _ => fault("answered with an error", false),
        }
    }

    pub(crate) fn timed_out(&self) -> Error {
        Error::TimedOut(format!(
            "the cache of binding `{}` did not answer within {} s; look at the network and the server, or raise `command_timeout` or `connect_timeout` of [bindings.{}]",
            self.binding,
            self.patience.as_secs_f64(),
            self.binding
        ))
    }

    pub(crate) fn unreachable(&self, why: &str) -> Error {
        Error::Unavailable(format!(
            "the cache of binding `{}` cannot be reached, or the connection broke ({}); check `url` of [bindings.{}], the network and whether the server runs",
            self.binding,
            clean(why),
            self.binding
        ))
    }

    pub(crate) fn untrusted(&self, why: &str) -> Error {
        Error::Unavailable(format!(
            "no TLS connection can be made to the cache of binding `{}` ({}); check `tls`, `ca_file`, `client_cert` and `client_key` of [bindings.{}]",
            self.binding,
            clean(why),
            self.binding
        ))
    }

    /// An answer that is none.
    pub(crate) fn nonsense(&self) -> Error {
        Error::Failed(Fault {
            code: "protocol".into(),
            message: format!(
                "the server of binding `{}` gave an answer that a cache does not give; is it one?",
                self.binding
            ),
            detail: None,
            retryable: false,
        })
    }
}

/// The first word of a server's error, where it is a code.
pub(crate) fn code(text: &str) -> &str {
    let word = text.split(' ').next().unwrap_or_default();
    let is_code = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_code { word } else { "ERR" }
}

/// A server's text: masked, one line, bounded, and without the arguments that servers like to repeat.
fn clean(text: &str) -> String {
    let text = text.split(", with args beginning with").next().unwrap_or_default();
    clean_line(text).chars().take(300).collect()
}

/// The message of an `io::Error` that was printed for programmers: `Os { code: 111, kind: ConnectionRefused, message: "..." }`.
fn system_said(text: &str) -> String {
    let quoted = text.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"')).map(|(said, _)| said);
    quoted.unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_telemetry::Secret;

    fn place() -> Place {
        Place { binding: "dragonfly".into(), patience: Duration::from_secs(3) }
    }

    #[test]
    fn a_servers_errors_say_what_to_do() {
        for (text, kind, expected) in [
            ("LOADING Dragonfly is loading the dataset in memory", "unavailable", "is loading its data"),
            ("NOPERM User x has no permissions", "failed", "ACL SETUSER"),
            ("WRONGPASS invalid username-password pair", "failed", "`username` and `password` of [bindings.dragonfly]"),
            ("WRONGTYPE Operation against a key", "invalid-argument", "another kind"),
            ("OOM command not allowed", "failed", "maxmemory"),
            ("ERR unknown command", "failed", "answered with an error"),
        ] {
            let error = place().said(text);
            assert_eq!(error.kind(), kind, "{text}");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn neither_secrets_nor_arguments_come_through() {
        let _secret = Secret::new("c4nary-of-cache");
        let error = place().said("ERR c4nary-of-cache\u{1b}[2J unknown, with args beginning with: 'user:17'");
        let text = format!("{error:?}");
        assert!(!text.contains("c4nary") && !text.contains("user:17") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn the_systems_words_are_found() {
        let text = "Os { code: 111, kind: ConnectionRefused, message: \"Connection refused\" }";
        assert_eq!(system_said(text), "Connection refused");
    }
}
