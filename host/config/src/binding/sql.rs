//! Bindings to PostgreSQL.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rota_telemetry::Secret;

use super::place::Through;
use crate::access::{Access, BindingKind};
use crate::address::{Address, Parts, Resolved, TargetError, UrlError};
use crate::decode::{Fields, of_one_key};
use crate::nearest::advice;
use crate::redact::quoted;
use crate::section::{record, words};
use crate::tree::join;
use crate::{Duration, SecretRef};

words! {
    /// How a connection is encrypted, as libpq's sslmode says it.
    pub enum TlsMode ("a TLS mode") {
        /// Never.
        Disable = "disable",
        /// If the server can; nobody is authenticated.
        Prefer = "prefer",
        /// Always; the server is not authenticated.
        Require = "require",
        /// Always, with a certificate of a trusted authority.
        VerifyCa = "verify-ca",
        /// Always, with a certificate of a trusted authority for this host.
        VerifyFull = "verify-full",
    }
}

record! {
    /// A PostgreSQL server.
    pub struct SqlBinding {
        /// Where it is: postgres://USER@HOST:PORT/DATABASE, or a reference to such a URL (env:NAME, file:PATH). Parameters:
        /// host (the folder of a socket), port, user, dbname, sslmode, sslrootcert, sslcert, sslkey.
        pub url: Address;
        /// The role that is set after connecting, with the least privilege that the granted accesses need.
        pub role: Option<String> = None;
        /// The password, if the URL holds none.
        pub password: Option<SecretRef> = None;
        /// How the connection is encrypted; over the URL's sslmode. Without both: prefer.
        pub tls: Option<TlsMode> = None;
        /// A file of certificates (PEM) to trust instead of the system's.
        pub ca_file: Option<PathBuf> = None;
        /// A file with the certificate (PEM) that authenticates Rota.
        pub client_cert: Option<PathBuf> = None;
        /// A file with the key (PEM) of client_cert.
        pub client_key: Option<PathBuf> = None;
        /// The longest that a query may take.
        pub statement_timeout: Duration = Duration::from_secs(300), within(Duration::from_millis(1), Duration::from_secs(7 * 86_400));
        /// The longest that a statement waits for a lock.
        pub lock_timeout: Duration = Duration::from_secs(10), within(Duration::from_millis(1), Duration::from_secs(86_400));
        /// The longest that connecting may take.
        pub connect_timeout: Duration = Duration::from_secs(10), within(Duration::from_millis(100), Duration::from_secs(600));
        /// The most connections at a time.
        pub max_connections: u32 = 8, within(1, 1_000);
        /// The way to it where only its cluster reaches it; the URL then says what the server is called in there, which its certificate is held against.
        pub through: Option<Through> = None;
        /// The server's parameters that ALTER SYSTEM may set and reset, for whoever is granted alter-system; without it, none. What runs programs,
        /// loads code, names files or opens doors is set by nobody.
        pub alter_system: Vec<String> = Vec::new();
        /// The most that any grant may allow on this binding; without it, whatever is granted.
        pub access: Option<Vec<Access>> = None;
        /// The most runs that hold it at once, on all hosts together; without it, as many as there are.
        pub concurrency: Option<u32> = None, within(1, 1_000);
    }
}

/// What a connection needs, secrets read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlTarget {
    /// The server.
    pub host: SqlHost,
    /// Its port.
    pub port: u16,
    /// The database; the server's default is the user's name.
    pub database: Option<String>,
    /// The user to log in as; libpq's default is the system user.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// How to encrypt.
    pub tls: Tls,
}

/// How a PostgreSQL server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqlHost {
    /// By name or address.
    Tcp(String),
    /// By the folder of its socket.
    Socket(PathBuf),
}

/// How a connection is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Whether, and who is authenticated.
    pub mode: TlsMode,
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate.
    pub client_cert: Option<PathBuf>,
    /// Its key.
    pub client_key: Option<PathBuf>,
}

impl SqlBinding {
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let [url, access, cert, through, parameters] =
            ["url", "access", "client_cert", "through", "alter_system"].map(|key| fields.origin_of(key));
        let (reader, at) = (fields.reader, fields.at.clone());
        let binding = Self::decode_fields(fields)?;
        if let Some(known) = binding.url.known() {
            reader.parsed(&join(&at, "url"), &url, target_of(&known))?;
        }
        if binding.client_cert.is_some() != binding.client_key.is_some() {
            return reader.refuse(&cert, format!("{at} needs client_cert and client_key together"));
        }
        if binding.role.as_deref().is_some_and(|role| role.is_empty() || role.contains('\0')) {
            return reader.refuse(&fields.origin, format!("{at}.role must be the name of a role"));
        }
        if let Some((key, message, help)) = binding.through.as_ref().and_then(Through::wrong) {
            let at = join(&at, if key.is_empty() { "through".to_owned() } else { format!("through.{key}") }.as_str());
            return reader.refuse_with(&through, format!("{at}: {message}"), help);
        }
        for name in &binding.alter_system {
            if let Err(why) = rota_classifier::server_parameter(name) {
                let message =
                    format!("{}: {} is never set by ALTER SYSTEM: {why}", join(&at, "alter_system"), quoted(name));
                let _: Option<()> = reader.refuse_with(
                    &parameters,
                    message,
                    "name parameters of memory, planning, writing and vacuuming",
                );
            }
        }
        super::check_accesses(
            reader,
            &join(&at, "access"),
            &access,
            BindingKind::Sql,
            binding.access.as_deref().unwrap_or_default(),
        );
        Some(binding)
    }

    /// Whether ALTER SYSTEM may set a parameter, as far as the binding says it. The server compares names without case.
    pub fn lets_alter(&self, parameter: &str) -> bool {
        self.alter_system.iter().any(|named| named.eq_ignore_ascii_case(parameter))
    }

    /// A binding to this address with every default.
    pub(super) fn at(url: Address) -> Option<Self> {
        Some(Self { url, ..of_one_key("url", "")? })
    }

    /// Reads the secrets, and says what to connect to.
    ///
    /// # Errors
    /// If a secret cannot be had, or a URL that was secret until now is wrong.
    pub fn target(&self) -> Result<SqlTarget, TargetError> {
        self.target_with(|name| std::env::var_os(name))
    }

    /// [`SqlBinding::target`] with another environment than that of the process.
    ///
    /// # Errors
    /// As [`SqlBinding::target`].
    pub fn target_with(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<SqlTarget, TargetError> {
        let mut target = target_of(&self.url.resolve_with(&variable)?)?;
        if let Some(password) = &self.password {
            target.password = Some(password.resolve_with(&variable)?);
        }
        target.tls.mode = self.tls.unwrap_or(target.tls.mode);
        let over = |own: &Option<PathBuf>, url: &mut Option<PathBuf>| *url = own.clone().or(url.take());
        over(&self.ca_file, &mut target.tls.ca_file);
        over(&self.client_cert, &mut target.tls.client_cert);
        over(&self.client_key, &mut target.tls.client_key);
        Ok(target)
    }
}

/// What a URL says. Only what is listed here is taken from it: a parameter can name files and hosts.
pub(crate) fn target_of(resolved: &Resolved) -> Result<SqlTarget, UrlError> {
    let mut parts = Parts::of(resolved)?;
    if !matches!(parts.url.scheme(), "postgres" | "postgresql") {
        let scheme = parts.quoted(parts.url.scheme());
        return Err(UrlError(format!(
            "PostgreSQL needs a URL that begins with postgres://, and the scheme here is {scheme}"
        )));
    }
    let host = parts.take("host").map_or_else(|| parts.host(), |host| Ok(Some(host)))?;
    let host = host.unwrap_or_else(|| "localhost".to_owned());
    if host.contains(',') {
        return Err(UrlError("a binding is one server; the URL names several hosts".to_owned()));
    }
    let host = if host.starts_with('/') { SqlHost::Socket(PathBuf::from(host)) } else { SqlHost::Tcp(host) };
    let port = match parts.take("port") {
        None => parts.url.port().unwrap_or(5432),
        Some(port) => {
            let wrong = || UrlError(format!("the port {} is not a number from 1 to 65535", parts.quoted(&port)));
            port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?
        }
    };
    let not_empty = |text: String| Some(text).filter(|text| !text.is_empty());
    let database = parts.take("dbname").map_or_else(|| parts.path(), Ok)?;
    let user = parts.take("user").map_or_else(|| parts.user(), |user| Ok(Some(user)))?;
    let password =
        parts.take("password").map_or_else(|| parts.password(), |password| Ok(Some(Secret::new(password))))?;
    let mode = parts.take("sslmode");
    let files = ["sslrootcert", "sslcert", "sslkey"].map(|key| parts.take(key).map(PathBuf::from));
    let mode = mode.map_or(Ok(TlsMode::Prefer), |mode| tls_mode(&parts, &mode))?;
    let [ca_file, client_cert, client_key] = files;
    if [&ca_file, &client_cert, &client_key].into_iter().flatten().any(|file| !Path::is_absolute(file)) {
        return Err(UrlError("sslrootcert, sslcert and sslkey need absolute paths".to_owned()));
    }
    parts.finish()?;
    let tls = Tls { mode, ca_file, client_cert, client_key };
    Ok(SqlTarget { host, port, database: not_empty(database), user: user.and_then(not_empty), password, tls })
}

fn tls_mode(parts: &Parts<'_>, word: &str) -> Result<TlsMode, UrlError> {
    word.parse().map_err(|_| {
        let modes: Vec<&str> = TlsMode::ALL.iter().map(|mode| mode.as_str()).collect();
        UrlError(format!("the sslmode {} is none: {}", parts.quoted(word), advice(word, &modes, "modes")))
    })
}
