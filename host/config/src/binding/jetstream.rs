//! Bindings to NATS JetStream.

use std::ffi::OsString;
use std::path::PathBuf;

use rota_telemetry::Secret;
use url::Url;

use crate::access::{Access, BindingKind};
use crate::address::{Address, Parts, Resolved, TargetError, UrlError, host_and_port};
use crate::decode::{Fields, of_one_key};
use crate::section::record;
use crate::tree::join;
use crate::{Duration, SecretRef};

record! {
    /// NATS JetStream, to look at.
    pub struct JetstreamBinding {
        /// Where it is: nats://USER@HOST:PORT, tls:// with TLS, or a reference to such a URL (env:NAME, file:PATH).
        /// Parameters: servers, domain, monitoring.
        pub url: Address;
        /// More servers of the cluster, each HOST:PORT, tried when the first cannot be reached; over the URL's, which are separated by commas.
        pub servers: Option<Vec<String>> = None;
        /// The user; over the URL's.
        pub username: Option<String> = None;
        /// The password, if the URL holds none.
        pub password: Option<SecretRef> = None;
        /// A token to log in with, instead of a user.
        pub token: Option<SecretRef> = None;
        /// The seed of an nkey (SU...) to log in with.
        pub nkey: Option<SecretRef> = None;
        /// The content of a .creds file (JWT and seed) to log in with.
        pub credentials: Option<SecretRef> = None;
        /// Whether the connection is encrypted, the server authenticated; over the URL's scheme.
        pub tls: Option<bool> = None;
        /// A file of certificates (PEM) to trust instead of the system's.
        pub ca_file: Option<PathBuf> = None;
        /// A file with the certificate (PEM) that authenticates Rota.
        pub client_cert: Option<PathBuf> = None;
        /// A file with the key (PEM) of client_cert.
        pub client_key: Option<PathBuf> = None;
        /// The JetStream domain; over the URL's.
        pub domain: Option<String> = None;
        /// Addresses of the servers' monitoring, one a server, as in http://HOST:8222; over the URL's, which are separated by commas.
        pub monitoring: Option<Vec<String>> = None;
        /// The longest that connecting may take.
        pub connect_timeout: Duration = Duration::from_secs(10), within(Duration::from_millis(100), Duration::from_secs(600));
        /// The longest that one answer may take.
        pub request_timeout: Duration = Duration::from_secs(5), within(Duration::from_millis(10), Duration::from_secs(600));
        /// The most that any grant may allow on this binding; without it, whatever is granted.
        pub access: Option<Vec<Access>> = None;
        /// The most runs that hold it at once, on all hosts together; without it, as many as there are.
        pub concurrency: Option<u32> = None, within(1, 1_000);
    }
}

/// Whom to log in as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JetstreamLogin {
    /// Nobody.
    Anonymous,
    /// A user; a password that is not configured is empty.
    User(String, Option<Secret>),
    /// A token.
    Token(Secret),
    /// The seed of an nkey.
    Nkey(Secret),
    /// A .creds file.
    Credentials(Secret),
}

/// What a connection needs, secrets read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JetstreamTarget {
    /// Host and port of each server that is named, at least one.
    pub servers: Vec<(String, u16)>,
    /// Whom to log in as.
    pub login: JetstreamLogin,
    /// Whether to encrypt.
    pub tls: bool,
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate.
    pub client_cert: Option<PathBuf>,
    /// Its key.
    pub client_key: Option<PathBuf>,
    /// The domain.
    pub domain: Option<String>,
    /// Where monitoring is, without a `/` at the end.
    pub monitoring: Vec<String>,
}

impl JetstreamBinding {
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let [url, access, cert, token] = ["url", "access", "client_cert", "token"].map(|key| fields.origin_of(key));
        let (reader, at) = (fields.reader, fields.at.clone());
        let binding = Self::decode_fields(fields)?;
        if let Some(known) = binding.url.known() {
            reader.parsed(&join(&at, "url"), &url, binding.target_of(&known))?;
        }
        if binding.client_cert.is_some() != binding.client_key.is_some() {
            return reader.refuse(&cert, format!("{at} needs client_cert and client_key together"));
        }
        let logins = [
            binding.username.is_some() || binding.password.is_some(),
            binding.token.is_some(),
            binding.nkey.is_some(),
            binding.credentials.is_some(),
        ];
        if logins.into_iter().filter(|given| *given).count() > 1 {
            let message = format!("{at} logs in with one of username and password, token, nkey, or credentials");
            return reader.refuse(if binding.token.is_some() { &token } else { &url }, message);
        }
        super::check_accesses(
            reader,
            &join(&at, "access"),
            &access,
            BindingKind::Jetstream,
            binding.access.as_deref().unwrap_or_default(),
        );
        Some(binding)
    }

    /// A binding to this address with every default.
    pub(super) fn at(url: Address) -> Option<Self> {
        Some(Self { url, ..of_one_key("url", "")? })
    }

    /// Whether the URL is one that makes sense.
    pub(super) fn check(&self, resolved: &Resolved) -> Result<(), UrlError> {
        self.target_of(resolved).map(drop)
    }

    /// Reads the secrets, and says what to connect to.
    ///
    /// # Errors
    /// If a secret cannot be had, or a URL that was secret until now is wrong.
    pub fn target(&self) -> Result<JetstreamTarget, TargetError> {
        self.target_with(|name| std::env::var_os(name))
    }

    /// [`JetstreamBinding::target`] with another environment than that of the process.
    ///
    /// # Errors
    /// As [`JetstreamBinding::target`].
    pub fn target_with(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<JetstreamTarget, TargetError> {
        let mut target = self.target_of(&self.url.resolve_with(&variable)?)?;
        let secret = |reference: &SecretRef| reference.resolve_with(&variable);
        if let Some(token) = &self.token {
            target.login = JetstreamLogin::Token(secret(token)?);
        } else if let Some(seed) = &self.nkey {
            target.login = JetstreamLogin::Nkey(secret(seed)?);
        } else if let Some(file) = &self.credentials {
            target.login = JetstreamLogin::Credentials(secret(file)?);
        } else if let (Some(password), JetstreamLogin::User(user, _)) = (&self.password, &target.login) {
            target.login = JetstreamLogin::User(user.clone(), Some(secret(password)?));
        }
        Ok(target)
    }

    /// What the URL says, and what of it the binding's own keys say otherwise.
    fn target_of(&self, resolved: &Resolved) -> Result<JetstreamTarget, UrlError> {
        let mut parts = Parts::of(resolved)?;
        let tls = match parts.url.scheme() {
            "nats" => false,
            "tls" => true,
            scheme => {
                let message = "JetStream needs a URL that begins with nats:// or tls://, and the scheme here is";
                return Err(UrlError(format!("{message} {}", parts.quoted(scheme))));
            }
        };
        let of_list = |list: String| list.split(',').map(|one| one.trim().to_owned()).collect::<Vec<_>>();
        let (servers, domain, monitoring) =
            (parts.take("servers").map(of_list), parts.take("domain"), parts.take("monitoring").map(of_list));
        let host = parts.host()?.ok_or_else(|| UrlError("the URL names no host; write nats://HOST:4222".to_owned()))?;
        let mut all = vec![(host, parts.url.port().unwrap_or(4222))];
        for server in self.servers.clone().or(servers).unwrap_or_default() {
            let wrong = || UrlError(format!("the server {} is not HOST:PORT", parts.quoted(&server)));
            all.push(host_and_port(&server).ok_or_else(wrong)?);
        }
        if !parts.path()?.is_empty() {
            return Err(UrlError("a URL of NATS has no path".to_owned()));
        }
        let domain = self.domain.clone().or(domain).filter(|domain| !domain.is_empty());
        if domain.as_ref().is_some_and(|domain| !is_token(domain)) {
            return Err(UrlError("a domain is one word without dots, spaces, * and >".to_owned()));
        }
        let monitoring = self.monitoring.clone().or(monitoring).unwrap_or_default();
        let monitoring = monitoring.iter().map(|address| clean(&parts, address)).collect::<Result<_, _>>()?;
        let (user, password) = (self.username.clone().or(parts.user()?), parts.password()?);
        let login = match (user, password) {
            (Some(user), password) => JetstreamLogin::User(user, password),
            (None, Some(_)) => return Err(UrlError("the URL has a password and no user".to_owned())),
            (None, None) => JetstreamLogin::Anonymous,
        };
        parts.finish()?;
        Ok(JetstreamTarget {
            servers: all,
            login,
            tls: self.tls.unwrap_or(tls),
            ca_file: self.ca_file.clone(),
            client_cert: self.client_cert.clone(),
            client_key: self.client_key.clone(),
            domain,
            monitoring,
        })
    }
}

/// One word of a subject.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
}

/// An address of monitoring: where to ask, and nothing else.
fn clean(parts: &Parts<'_>, address: &str) -> Result<String, UrlError> {
    let wrong = || {
        UrlError(format!("the monitoring address {} is not http://HOST:PORT or https://HOST", parts.quoted(address)))
    };
    let url = Url::parse(address).map_err(|_| wrong())?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.has_host();
    if !matches!(url.scheme(), "http" | "https") || !plain {
        return Err(wrong());
    }
    Ok(address.trim_end_matches('/').to_owned())
}
