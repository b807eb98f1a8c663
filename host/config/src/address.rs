//! Addresses: URLs, or references to secrets that hold URLs, and what a URL says.

use std::ffi::OsString;
use std::fmt;

use rota_telemetry::Secret;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use url::Url;

use crate::decode::{Decode, Reader};
use crate::nearest::advice;
use crate::redact::{quoted, redact};
use crate::secret_ref::{SecretError, SecretRef};
use crate::tree::Node;

/// Where a server, a bucket or a folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A URL that holds no secret.
    Url(String),
    /// A URL that is or holds a secret.
    Secret(SecretRef),
}

/// Why an address leads nowhere. No message holds any of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A secret that it needs cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The URL is wrong.
    #[error(transparent)]
    Url(#[from] UrlError),
}

/// What is wrong with a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(pub(crate) String);

/// A URL as text, and whether it may be quoted in a message.
pub(crate) struct Resolved {
    text: Text,
}

enum Text {
    Plain(String),
    Secret(Secret),
}

impl Resolved {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { text: Text::Plain(text.into()) }
    }

    pub(crate) fn secret(secret: Secret) -> Self {
        Self { text: Text::Secret(secret) }
    }

    pub(crate) fn text(&self) -> &str {
        match &self.text {
            Text::Plain(text) => text,
            Text::Secret(secret) => secret.expose(),
        }
    }

    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.text, Text::Secret(_))
    }

    /// Something of the URL, for a message.
    fn quoted(&self, part: &str) -> String {
        match self.text {
            Text::Plain(_) => quoted(part),
            Text::Secret(_) => "one that is not shown".to_owned(),
        }
    }
}

impl Address {
    /// The address of a text from the command line: a password in it becomes a secret.
    pub(crate) fn given(text: &str) -> Self {
        if redact(text) == text {
            Self::Url(text.to_owned())
        } else {
            Self::Secret(SecretRef::Given(Secret::new(text)))
        }
    }

    pub(crate) fn resolve_with(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<Resolved, SecretError> {
        match self {
            Self::Url(url) => Ok(Resolved::plain(url)),
            Self::Secret(reference) => reference.resolve_with(variable).map(Resolved::secret),
        }
    }

    /// What can be said of it without reading a secret from elsewhere.
    pub(crate) fn known(&self) -> Option<Resolved> {
        match self {
            Self::Url(url) => Some(Resolved::plain(url)),
            Self::Secret(SecretRef::Given(secret)) => Some(Resolved::secret(secret.clone())),
            Self::Secret(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Secret(reference) => fmt::Display::fmt(reference, f),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for Address {
    const WANTED: &'static str = "a URL, or a reference to one (env:NAME, file:PATH)";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let text = reader.text(at, &node, Self::WANTED)?;
        if SecretRef::is_reference(&text) {
            return SecretRef::decode(reader, at, node).map(Self::Secret);
        }
        if redact(&text) != text && reader.sources.in_a_file(&node.origin) {
            let message = format!("{at} holds a password, which a configuration file must not");
            let help = "put the whole URL into an environment variable or a file (url = \"env:NAME\" or \"file:PATH\"), \
                        or leave the password out and set password = \"env:NAME\"";
            return reader.refuse_with(&node.origin, message, help);
        }
        Some(Self::given(&text))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["env:KOSMOS_URL", "postgres://rota@db.example:5432/kosmos"] })
    }
}

/// Host and port of HOST:PORT, an IPv6 address without its brackets.
pub(crate) fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then(|| (host.trim_matches(['[', ']']).to_owned(), port))
}

/// A URL taken apart, percent-encoding undone.
pub(crate) struct Parts<'r> {
    resolved: &'r Resolved,
    pub(crate) url: Url,
    parameters: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl<'r> Parts<'r> {
    pub(crate) fn of(resolved: &'r Resolved) -> Result<Self, UrlError> {
        let text = resolved.text();
        let encode = "characters such as @ : / ? # % in a user name or password must be percent-encoded, as %40 for @";
        let url = Url::parse(text).map_err(|error| {
            let hint = if text.contains('@') { format!("; {encode}") } else { String::new() };
            UrlError(format!("this is not a URL ({error}){hint}"))
        })?;
        if url.fragment().is_some() {
            return Err(UrlError(format!("a URL with \"#\" is none of ours; {encode}")));
        }
        let parameters = url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
        Ok(Self { resolved, url, parameters, known: Vec::new() })
    }

    /// The host as text, without the brackets of IPv6; none if there is none.
    pub(crate) fn host(&self) -> Result<Option<String>, UrlError> {
        let host = self.url.host_str().filter(|host| !host.is_empty());
        let host = host.map(|host| host.trim_start_matches('[').trim_end_matches(']'));
        host.map(|host| decoded(host, "the host")).transpose()
    }

    pub(crate) fn user(&self) -> Result<Option<String>, UrlError> {
        Some(self.url.username()).filter(|user| !user.is_empty()).map(|user| decoded(user, "the user name")).transpose()
    }

    /// The password, masked from here on both as it is and as it is written.
    pub(crate) fn password(&self) -> Result<Option<Secret>, UrlError> {
        let password = self.url.password().map(|password| decoded(password, "the password"));
        Ok(password.transpose()?.map(Secret::new))
    }

    /// The path without its first `/`.
    pub(crate) fn path(&self) -> Result<String, UrlError> {
        decoded(self.url.path().trim_start_matches('/'), "the path")
    }

    /// Takes a parameter of the query.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<String> {
        self.known.push(key);
        let at = self.parameters.iter().position(|(name, _)| name == key)?;
        Some(self.parameters.remove(at).1)
    }

    /// Refuses what was not taken.
    pub(crate) fn finish(self) -> Result<(), UrlError> {
        let Some((key, _)) = self.parameters.first() else { return Ok(()) };
        if crate::redact::is_sensitive(key) {
            let message =
                "a secret does not belong into the parameters of a URL; set the binding's access_key and secret_key";
            return Err(UrlError(message.to_owned()));
        }
        let shown = self.resolved.quoted(key);
        let advice = advice(key, &self.known, "parameters");
        Err(UrlError(format!("the URL has an unknown parameter, {shown}: {advice}")))
    }

    /// A part of the URL for a message.
    pub(crate) fn quoted(&self, part: &str) -> String {
        self.resolved.quoted(part)
    }
}

/// Percent-decoding, which must give text that a server takes.
pub(crate) fn decoded(text: &str, what: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let pair = after.first_chunk::<2>().and_then(|digits| std::str::from_utf8(digits).ok());
        let value = pair.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, value) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'%', None) => {
                return Err(UrlError(format!("{what} of the URL has a \"%\" that encodes nothing; write %25 for it")));
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(UrlError(format!("{what} of the URL is not UTF-8 text without NUL"))),
    }
}
