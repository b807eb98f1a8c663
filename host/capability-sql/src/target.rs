//! Where a binding leads: its address and settings, field by field, from what the operator wrote and nothing else.

use crate::error;
use rota_authority::{Authorized, Mode, Sql, SqlAccess};
use rota_capability::Forward;
use rota_config::{SqlBinding, SqlHost, SqlTarget, TlsMode};
use rota_contract::Error;
use rota_telemetry::Secret;
use sha2::{Digest as _, Sha256};
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::sync::Arc;
use std::time::Duration;

/// A transaction in which nothing happens for so long is ended by the server.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(600);

/// PostgreSQL cuts an application name to this many bytes.
const APPLICATION_NAME: usize = 63;

/// libpq's variables that sqlx reads by itself, and that its options can add to but not take away.
const INHERITED: [&str; 4] = ["PGOPTIONS", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY"];

/// What a connection is made of, and what a session on it is set to.
#[derive(Clone)]
pub(crate) struct Target {
    /// The binding's name, for messages.
    pub(crate) binding: String,
    /// The database, where it is another one than the binding's.
    pub(crate) other_database: Option<String>,
    /// Address, user and TLS.
    pub(crate) options: PgConnectOptions,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) session: Settings,
    /// Two targets with the same one may share a connection, one after the other.
    pub(crate) fingerprint: [u8; 32],
    /// The way to it, where it is only reached through a cluster.
    forward: Option<Arc<Forward>>,
}

/// What a session is set to whenever a run takes it.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) application_name: String,
    pub(crate) role: Option<String>,
    pub(crate) statement_timeout: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) idle_in_transaction: Duration,
    /// The run's grant or mode lets it only read.
    pub(crate) read_only: bool,
}

impl Target {
    /// From a token: the binding (or another database on its server), and what the run may do with it.
    pub(crate) fn of(authorized: &Authorized<Sql>, database: Option<&str>) -> Result<Self, Error> {
        if let Some(name) = database {
            check_database(name)?;
        }
        let identity = authorized.gate().identity();
        let application_name = application_name(&identity.job, &identity.run);
        let binding = authorized.binding();
        Self::from_binding(authorized.binding_name(), binding, database, application_name, only_reads(authorized))
    }

    /// The one place that knows the shape of a configured binding.
    pub(crate) fn from_binding(
        name: &str,
        binding: &SqlBinding,
        other_database: Option<&str>,
        application_name: String,
        read_only: bool,
    ) -> Result<Self, Error> {
        let refuse = |what: String| Error::InvalidArgument(format!("binding `{name}` cannot be used: {what}"));
        no_inherited_settings().map_err(refuse)?;
        let address = binding.target().map_err(|e| refuse(e.to_string()))?;
        let mut options = PgConnectOptions::new_without_pgpass()
            .port(address.port)
            .ssl_mode(mode(address.tls.mode))
            // Every field that sqlx would otherwise take from the environment is set: an empty password is none.
            .password(address.password.as_ref().map_or("", Secret::expose))
            .application_name(&application_name)
            .extra_float_digits(3)
            .statement_cache_capacity(8)
            .disable_statement_logging();
        options = match &address.host {
            SqlHost::Tcp(host) => options.host(host),
            SqlHost::Socket(folder) => options.host("localhost").socket(folder),
        };
        if let Some(user) = &address.user {
            options = options.username(user);
        } else if std::env::var_os("PGUSER").is_some() {
            return Err(refuse(
                "its url names no user, and the environment variable PGUSER does not count; name it in the url".into(),
            ));
        }
        let configured = address.database.clone().unwrap_or_else(|| options.get_username().to_owned());
        let database = other_database.map_or_else(|| configured.clone(), str::to_owned);
        options = options.database(&database);
        if let Some(file) = &address.tls.ca_file {
            options = options.ssl_root_cert(file);
        }
        if let (Some(certificate), Some(key)) = (&address.tls.client_cert, &address.tls.client_key) {
            options = options.ssl_client_cert(certificate).ssl_client_key(key);
        }
        Ok(Self {
            binding: name.to_owned(),
            other_database: (database != configured).then(|| database.clone()),
            fingerprint: fingerprint(&address, options.get_username(), &database, &way(binding)),
            forward: None,
            options,
            connect_timeout: binding.connect_timeout.into(),
            max_connections: usize::try_from(binding.max_connections).unwrap_or(usize::MAX).max(1),
            session: Settings {
                application_name,
                role: binding.role.clone(),
                statement_timeout: binding.statement_timeout.into(),
                lock_timeout: binding.lock_timeout.into(),
                idle_in_transaction: IDLE_IN_TRANSACTION,
                read_only,
            },
        })
    }

    /// Connect by a forward; the name that the server is known by stays.
    pub(crate) fn lead(&mut self, forward: Arc<Forward>) {
        if let Some(folder) = &forward.folder {
            self.options = self.options.clone().socket(folder).port(forward.port);
        }
        self.forward = Some(forward);
    }

    /// Give a forward time to say why it led nowhere: the connection only saw bytes that ended.
    pub(crate) async fn hear_of_trouble(&self) {
        let Some(forward) = &self.forward else { return };
        for _ in 0..50 {
            if crate::forward::is_troubled(forward) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// An error while connecting, with advice.
    pub(crate) fn refused(&self, error: &sqlx::Error) -> Error {
        if let Some(trouble) = self.forward.as_deref().and_then(crate::forward::trouble) {
            return Error::Unavailable(format!("binding `{}`: {trouble}", self.binding));
        }
        error::of_connect(&self.binding, error)
    }
}

/// A name that the server takes as it is: nothing else of the address can be said in it.
fn check_database(name: &str) -> Result<(), Error> {
    let why = match name.len() {
        0 => "is empty; `open` connects to the binding's own",
        // NAMEDATALEN - 1: older servers cut a longer name and would connect elsewhere.
        length if length > 63 => "is longer than the 63 bytes that PostgreSQL allows",
        _ if name.contains('\0') => "holds a NUL",
        _ => return Ok(()),
    };
    Err(Error::InvalidArgument(format!("the name of the database {why}")))
}

/// Whether nothing that this run may do changes anything in the database.
fn only_reads(authorized: &Authorized<Sql>) -> bool {
    let gate = authorized.gate();
    let writes = |word: &String| {
        // ALTER SYSTEM writes a file and no data: it goes through READ ONLY, and needs no exception from it.
        let harmless =
            [SqlAccess::Read, SqlAccess::CopyOut, SqlAccess::Signal, SqlAccess::Promote, SqlAccess::AlterSystem];
        !word.parse::<SqlAccess>().is_ok_and(|access| harmless.contains(&access))
    };
    let granted_writes = gate.bound(authorized.slot()).is_some_and(|grant| grant.accesses.iter().any(writes));
    gate.mode() == Mode::Plan || !granted_writes
}

fn no_inherited_settings() -> Result<(), String> {
    match INHERITED.iter().find(|name| std::env::var_os(name).is_some()) {
        Some(name) => Err(format!(
            "the environment variable {name} would change the connection behind the configuration's back; unset it, and say what it says in the binding"
        )),
        None => Ok(()),
    }
}

fn mode(tls: TlsMode) -> PgSslMode {
    match tls {
        TlsMode::Disable => PgSslMode::Disable,
        TlsMode::Prefer => PgSslMode::Prefer,
        TlsMode::Require => PgSslMode::Require,
        TlsMode::VerifyCa => PgSslMode::VerifyCa,
        TlsMode::VerifyFull => PgSslMode::VerifyFull,
    }
}

/// `rota/<job>/<run>`, printable, cut to what the server keeps.
fn application_name(job: &str, run: &str) -> String {
    // The run's id is at its end, which is what one looks for in pg_stat_activity: the job's name gives way.
    let room = APPLICATION_NAME.saturating_sub("rota//".len() + run.len());
    let job: String = job.chars().filter(|c| c.is_ascii_graphic()).take(room).collect();
    let mut name = format!("rota/{job}/{run}");
    name.truncate(name.floor_char_boundary(APPLICATION_NAME));
    name
}

/// The cluster that a binding leads through, and where in it.
fn way(binding: &SqlBinding) -> String {
    binding.through.as_ref().map_or_else(String::new, |through| format!("{through:?}"))
}

/// All that makes a connection what it is, without showing any of it.
fn fingerprint(address: &SqlTarget, user: &str, database: &str, way: &str) -> [u8; 32] {
    let SqlTarget { host, port, password, tls, .. } = address;
    let (host, port, tls) = (format!("{host:?}"), port.to_string(), format!("{tls:?}"));
    let password = password.as_ref().map_or("", Secret::expose);
    let mut hash = Sha256::new();
    for part in [host.as_str(), &port, user, database, password, &tls, way] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_named_by_any_name_that_the_server_takes() {
        for name in ["a", "-x", "p=1 q", "postgres://h/x", "na\u{ef}ve", " lead", "a\nb"] {
            assert_eq!(check_database(name), Ok(()), "{name:?}");
        }
        for name in ["", "a\0b", &"x".repeat(64)] {
            assert!(matches!(check_database(name), Err(Error::InvalidArgument(_))), "{name:?}");
        }
    }

    #[test]
    fn an_application_name_fits_and_keeps_the_run() {
        let name = application_name(&"long-job".repeat(20), "019ab2c4-7f00-7000-8000-000000000001");
        assert_eq!(name.len(), 63);
        assert!(name.starts_with("rota/long-job") && name.ends_with("/019ab2c4-7f00-7000-8000-000000000001"), "{name}");
        assert_eq!(application_name("jöb", "r1"), "rota/jb/r1");
    }
}
