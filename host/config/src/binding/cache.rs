//! Bindings to caches that speak RESP: Dragonfly, Redis, Valkey.

use std::ffi::OsString;
use std::path::PathBuf;

use rota_telemetry::Secret;

use crate::access::{Access, BindingKind};
use crate::address::{Address, Parts, Resolved, TargetError, UrlError, host_and_port};
use crate::decode::{Fields, of_one_key};
use crate::nearest::advice;
use crate::section::{record, words};
use crate::tree::join;
use crate::{Duration, SecretRef};

words! {
    /// How the servers of a cache belong together.
    pub enum CacheMode ("a mode of a cache") {
        /// One server.
        Single = "single",
        /// A cluster, whose primaries share the keys.
        Cluster = "cluster",
        /// Sentinels, which know the primary.
        Sentinel = "sentinel",
    }
}

record! {
    /// A cache that speaks RESP: Dragonfly, Redis, Valkey.
    pub struct CacheBinding {
        /// Where it is: redis://USER@HOST:PORT/DATABASE, rediss:// with TLS (also valkey://, valkeys://, dragonfly://), or a reference
        /// to such a URL (env:NAME, file:PATH). Parameters: mode, nodes, service.
        pub url: Address;
        /// The user of the server's ACL; over the URL's.
        pub username: Option<String> = None;
        /// The password, if the URL holds none.
        pub password: Option<SecretRef> = None;
        /// The number of the database; over the URL's. A cluster has only 0.
        pub database: Option<u32> = None, within(0, 255);
        /// How its servers belong together; over the URL's. Without both: single.
        pub mode: Option<CacheMode> = None;
        /// More servers of the cluster, or more sentinels, each HOST:PORT; over the URL's, which are separated by commas.
        pub nodes: Option<Vec<String>> = None;
        /// The name under which the sentinels know the primary; over the URL's.
        pub service: Option<String> = None;
        /// The user for the sentinels themselves.
        pub sentinel_username: Option<String> = None;
        /// The password for the sentinels themselves.
        pub sentinel_password: Option<SecretRef> = None;
        /// Whether connections are encrypted, the server authenticated; over the URL's scheme.
        pub tls: Option<bool> = None;
        /// A file of certificates (PEM) to trust instead of the system's.
        pub ca_file: Option<PathBuf> = None;
        /// A file with the certificate (PEM) that authenticates Rota.
        pub client_cert: Option<PathBuf> = None;
        /// A file with the key (PEM) of client_cert.
        pub client_key: Option<PathBuf> = None;
        /// The longest that connecting may take.
        pub connect_timeout: Duration = Duration::from_secs(10), within(Duration::from_millis(100), Duration::from_secs(600));
        /// The longest that one command may take.
        pub command_timeout: Duration = Duration::from_secs(10), within(Duration::from_millis(10), Duration::from_secs(600));
        /// Keys that begin with one of these are never changed or removed, whatever is granted.
        pub protected: Option<Vec<String>> = None;
        /// How many literal bytes a pattern must begin with before keys that match it are unlinked.
        pub minimum_literal: u32 = 3, within(1, 1_000);
        /// The most keys that one call unlinks.
        pub maximum_keys: u32 = 1_000_000, within(1, 5_000_000);
        /// The most that any grant may allow on this binding; without it, whatever is granted.
        pub access: Option<Vec<Access>> = None;
        /// The most runs that hold it at once, on all hosts together; without it, as many as there are.
        pub concurrency: Option<u32> = None, within(1, 1_000);
    }
}

/// What a connection needs, secrets read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheTarget {
    /// How the servers belong together.
    pub mode: CacheMode,
    /// Host and port of each that is named, at least one.
    pub nodes: Vec<(String, u16)>,
    /// The name of the primary, for sentinels.
    pub service: Option<String>,
    /// The database.
    pub database: u8,
    /// Whom to log in as.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// Whom to log in as at the sentinels.
    pub sentinel_username: Option<String>,
    /// The password at the sentinels.
    pub sentinel_password: Option<Secret>,
    /// Whether to encrypt.
    pub tls: bool,
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate.
    pub client_cert: Option<PathBuf>,
    /// Its key.
    pub client_key: Option<PathBuf>,
}

/// The schemes, each with whether it is encrypted.
const SCHEMES: [(&str, bool); 5] =
    [("redis", false), ("rediss", true), ("valkey", false), ("valkeys", true), ("dragonfly", false)];

impl CacheBinding {
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let [url, access, cert, protected] =
            ["url", "access", "client_cert", "protected"].map(|key| fields.origin_of(key));
        let (reader, at) = (fields.reader, fields.at.clone());
        let binding = Self::decode_fields(fields)?;
        if let Some(known) = binding.url.known() {
            reader.parsed(&join(&at, "url"), &url, binding.target_of(&known))?;
        }
        if binding.client_cert.is_some() != binding.client_key.is_some() {
            return reader.refuse(&cert, format!("{at} needs client_cert and client_key together"));
        }
        if binding.protected.iter().flatten().any(String::is_empty) {
            let message = format!("{at}.protected: an empty prefix protects every key");
            return reader.refuse_with(&protected, message, "do not grant `write` and `delete` instead");
        }
        super::check_accesses(
            reader,
            &join(&at, "access"),
            &access,
            BindingKind::Cache,
            binding.access.as_deref().unwrap_or_default(),
        );
        Some(binding)
    }

    /// A binding to this address with every default.
    pub(super) fn at(url: Address) -> Option<Self> {
        Some(Self { url, ..of_one_key("url", "")? })
    }

    /// Whether a scheme is one of ours.
    pub(super) fn takes(scheme: &str) -> bool {
        SCHEMES.iter().any(|(known, _)| *known == scheme)
    }

    /// Whether the URL is one that makes sense.
    pub(super) fn check(&self, resolved: &Resolved) -> Result<(), UrlError> {
        self.target_of(resolved).map(drop)
    }

    /// Reads the secrets, and says what to connect to.
    ///
    /// # Errors
    /// If a secret cannot be had, or a URL that was secret until now is wrong.
    pub fn target(&self) -> Result<CacheTarget, TargetError> {
        self.target_with(|name| std::env::var_os(name))
    }

    /// [`CacheBinding::target`] with another environment than that of the process.
    ///
    /// # Errors
    /// As [`CacheBinding::target`].
    pub fn target_with(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<CacheTarget, TargetError> {
        let mut target = self.target_of(&self.url.resolve_with(&variable)?)?;
        if let Some(password) = &self.password {
            target.password = Some(password.resolve_with(&variable)?);
        }
        if let Some(password) = &self.sentinel_password {
            target.sentinel_password = Some(password.resolve_with(&variable)?);
        }
        Ok(target)
    }

    /// What the URL says, and what of it the binding's own keys say otherwise.
    fn target_of(&self, resolved: &Resolved) -> Result<CacheTarget, UrlError> {
        let mut parts = Parts::of(resolved)?;
        let Some((_, tls)) = SCHEMES.iter().find(|(scheme, _)| *scheme == parts.url.scheme()) else {
            let scheme = parts.quoted(parts.url.scheme());
            let message = "a cache needs a URL that begins with redis:// or rediss://, and the scheme here is";
            return Err(UrlError(format!("{message} {scheme}")));
        };
        let (mode, nodes, service) = (parts.take("mode"), parts.take("nodes"), parts.take("service"));
        let mode = match (self.mode, mode) {
            (Some(mode), _) => mode,
            (None, None) => CacheMode::Single,
            (None, Some(word)) => word.parse().map_err(|_| {
                let modes: Vec<&str> = CacheMode::ALL.iter().map(|mode| mode.as_str()).collect();
                UrlError(format!("the mode {} is none: {}", parts.quoted(&word), advice(&word, &modes, "modes")))
            })?,
        };
        let host = parts.host()?.unwrap_or_else(|| "localhost".to_owned());
        let port = parts.url.port().unwrap_or(if mode == CacheMode::Sentinel { 26379 } else { 6379 });
        let mut all = vec![(host, port)];
        let more = self.nodes.clone().or_else(|| nodes.map(|list| list.split(',').map(str::to_owned).collect()));
        for node in more.unwrap_or_default() {
            let wrong = || UrlError(format!("the node {} is not HOST:PORT", parts.quoted(&node)));
            all.push(host_and_port(node.trim()).ok_or_else(wrong)?);
        }
        if mode == CacheMode::Single && all.len() > 1 {
            return Err(UrlError("one server has no other nodes; set mode = \"cluster\" or \"sentinel\"".to_owned()));
        }
        let service = self.service.clone().or(service);
        if mode == CacheMode::Sentinel && service.is_none() {
            return Err(UrlError("sentinels need the name of the primary, as in service = \"mymaster\"".to_owned()));
        }
        let path = parts.path()?;
        let database = match (self.database, path.as_str()) {
            (Some(number), _) => u8::try_from(number).ok(),
            (None, "") => Some(0),
            (None, number) => number.parse().ok(),
        };
        let database = database
            .ok_or_else(|| UrlError(format!("the database {} is not a number from 0 to 255", parts.quoted(&path))))?;
        if mode == CacheMode::Cluster && database != 0 {
            return Err(UrlError("a cluster has only the database 0".to_owned()));
        }
        let (user, password) = (parts.user()?, parts.password()?);
        parts.finish()?;
        Ok(CacheTarget {
            mode,
            nodes: all,
            service,
            database,
            username: self.username.clone().or(user),
            password,
            sentinel_username: self.sentinel_username.clone(),
            sentinel_password: None,
            tls: self.tls.unwrap_or(*tls),
            ca_file: self.ca_file.clone(),
            client_cert: self.client_cert.clone(),
            client_key: self.client_key.clone(),
        })
    }
}
