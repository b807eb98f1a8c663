//! What the server or the way to it said, as the guest sees it. Secrets are masked, SQLSTATE, detail and hint are kept.

use rota_contract::{Error, Fault};
use rota_telemetry::mask;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// Whether the connection can still be used after an error: a server's ordinary error leaves it in order.
pub(crate) fn survives(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(_) => {
            server_error(error).is_some_and(|e| !matches!(e.severity(), PgSeverity::Fatal | PgSeverity::Panic))
        }
        // Refused before anything was sent.
        sqlx::Error::TypeNotFound { .. } | sqlx::Error::Encode(_) | sqlx::Error::RowNotFound => true,
        // Whole messages were read, and what is left of the answer is skipped before the next command.
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
        _ => false,
    }
}

/// The server's own error, when it is one.
pub(crate) fn server_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    match error {
        sqlx::Error::Database(database) => database.try_downcast_ref::<PgDatabaseError>(),
        _ => None,
    }
}

/// An error of a statement on a connection that stood.
pub(crate) fn of_statement(binding: &str, error: &sqlx::Error) -> Error {
    if let Some(said) = server_error(error) {
        return of_server(said);
    }
    match error {
        sqlx::Error::Io(io) => Error::Unavailable(format!(
            "the connection of binding `{binding}` broke ({}); see whether the server is up, and run again",
            mask(&io.to_string())
        )),
        sqlx::Error::TypeNotFound { type_name } => {
            Error::InvalidArgument(format!("the database of binding `{binding}` has no type {type_name}; create its extension first"))
        }
        // sqlx 0.9 knows no multiranges, and fails to look up their type.
        sqlx::Error::ColumnDecode { index, .. } if index.contains("typtype") => Error::InvalidArgument(
            "the statement has a column or parameter of a multirange type, which the host cannot carry; cast it to text in the statement".into(),
        ),
        sqlx::Error::Encode(said) => Error::InvalidArgument(format!("the statement's parameters cannot be sent: {}", mask(&said.to_string()))),
        other => Error::Failed(fault("protocol", &other.to_string(), None, false)),
    }
}

/// An error that the server answered with.
pub(crate) fn of_server(said: &PgDatabaseError) -> Error {
    of_code(said.code(), said.message(), [said.detail(), said.hint()].into_iter().flatten())
}

/// The same, from what a server says of itself: its SQLSTATE, its message, and its detail and hint.
pub fn of_code<'d>(code: &str, message: &str, details: impl IntoIterator<Item = &'d str>) -> Error {
    let message = mask(message).into_owned();
    match code {
        // One code for three things; only the text tells them apart, and it may be translated.
        "57014" if message.contains("user request") => Error::Cancelled,
        "57014" => Error::TimedOut(format!(
            "{message}; the limit is `statement_timeout` of the binding, or what the procedure set by `configure`"
        )),
        "25P03" | "25P04" | "57P05" => {
            Error::TimedOut(format!("{message}; the server closed the session, open another"))
        }
        code => Error::Failed(fault(code, &message, detail_of(code, details), retryable(code))),
    }
}

/// Whether the same call may succeed later.
fn retryable(code: &str) -> bool {
    matches!(code, "40001" | "40P01" | "55P03" | "57P03" | "53300") || code.starts_with("08")
}

/// The server's detail and hint, and what Rota knows of some codes.
fn detail(said: &PgDatabaseError) -> Option<String> {
    detail_of(said.code(), [said.detail(), said.hint()].into_iter().flatten())
}

fn detail_of<'d>(code: &str, details: impl IntoIterator<Item = &'d str>) -> Option<String> {
    let ours = match code {
        "25006" => Some(
            "this session only reads: the run is a plan, the call is `query`, or the job grants nothing that writes",
        ),
        "55P03" => Some("another session holds the lock; the limit is `lock_timeout`"),
        _ => None,
    };
    let parts: Vec<&str> = details.into_iter().chain(ours).collect();
    (!parts.is_empty()).then(|| mask(&parts.join("\n")).into_owned())
}

pub(crate) fn fault(code: &str, message: &str, detail: Option<String>, retryable: bool) -> Fault {
    Fault { code: code.to_owned(), message: mask(message).into_owned(), detail, retryable }
}

/// An error while a connection was made: what happened, and what to do. The address stays in the host.
pub(crate) fn of_connect(binding: &str, error: &sqlx::Error) -> Error {
    if let Some(said) = server_error(error) {
        return of_login(binding, said);
    }
    match error {
        sqlx::Error::Io(io) => Error::Unavailable(format!("binding `{binding}`: {}", unreachable_because(io))),
        sqlx::Error::Tls(said) => {
            let said = mask(&said.to_string()).into_owned();
            let what = if said.contains("does not support TLS") {
                "the server does not speak TLS, and the binding requires it; turn `ssl` on in the server, or set the binding's tls = \"prefer\" or \"disable\"".to_owned()
            } else {
                format!(
                    "the TLS handshake failed ({said}); check the binding's tls mode, ca_file and client certificate"
                )
            };
            Error::Unavailable(format!("binding `{binding}`: {what}"))
        }
        sqlx::Error::Configuration(said) => {
            Error::InvalidArgument(format!("binding `{binding}` cannot be used: {}", mask(&said.to_string())))
        }
        other => Error::Unavailable(format!(
            "binding `{binding}`: what answers there does not talk like PostgreSQL ({}); check host and port of its url",
            mask(&other.to_string())
        )),
    }
}

fn unreachable_because(io: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match io.kind() {
        ErrorKind::ConnectionRefused => {
            "nothing listens at its address; see whether the server is running, and check host and port of its url"
                .into()
        }
        ErrorKind::NotFound => {
            "there is no socket at its path; see whether the server is running, and check its url".into()
        }
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            "the server closed the connection at once; it may be starting, stopping, or no PostgreSQL".into()
        }
        // How rustls' errors arrive.
        ErrorKind::InvalidData => {
            let said = io.to_string();
            let advice = if said.contains("CaUsedAsEndEntity") {
                "its certificate is its own authority, which is not accepted: have it issued by an authority, and name that in ca_file"
            } else {
                "check the binding's tls mode, ca_file and host"
            };
            format!("the TLS handshake failed ({}); {advice}", mask(&said))
        }
        ErrorKind::TimedOut => "the server does not answer; check the network, and host and port of its url".into(),
        _ => format!("the server cannot be reached ({}); check host and port of its url", mask(&io.to_string())),
    }
}

fn of_login(binding: &str, said: &PgDatabaseError) -> Error {
    let message = mask(said.message()).into_owned();
    let code = said.code();
    let advice = match code {
        "28P01" => {
            "the password was refused: check the binding's `password` (or the one in its url) and the user's name"
        }
        "28000" if message.contains("no encryption") || message.contains("SSL off") => {
            "the server takes this user only over TLS, or not from this host: set the binding's tls = \"require\", or see pg_hba.conf"
        }
        "28000" => "the server does not let this user in: see the user's name, whether it may log in, and pg_hba.conf",
        "3D000" => "there is no such database: check the path of the binding's url, or create the database",
        "22023" | "42704" => "the binding's role does not exist: check its `role`, or create it",
        "42501" => "the user may not do that: grant it the binding's role, or CONNECT on the database",
        "53300" => "all connections of the server are taken: try later, or raise its max_connections",
        "57P03" => "the server is starting or stopping: try again in a moment",
        _ => "the server refused the session",
    };
    if matches!(code, "53300" | "57P03") {
        return Error::Unavailable(format!("binding `{binding}`: {advice} ({message})"));
    }
    let mut fault = fault(code, &format!("binding `{binding}`: {message}; {advice}"), detail(said), retryable(code));
    if fault.detail.as_deref() == Some("") {
        fault.detail = None;
    }
    Error::Failed(fault)
}
