//! Bindings of the command line: `--bind slot=NAME|URL|PROGRAM`, so that a run needs no file.

use rota_telemetry::Secret;

use super::{
    Binding, CacheBinding, JetstreamBinding, KeyBinding, KubernetesBinding, Program, SqlBinding, StorageBinding,
    ToolBinding,
};
use crate::address::{Address, UrlError};
use crate::nearest::nearest;
use crate::redact::quoted;
use crate::secret_ref::{SecretError, SecretRef, SecretRefError};
use crate::{BindingName, NameError};

/// What `--bind` puts into a slot.
#[derive(Debug, Clone, PartialEq)]
pub enum BindArgument {
    /// A configured binding.
    Configured(BindingName),
    /// One made of an address, for this run alone.
    AdHoc(Box<Binding>),
}

/// Why an argument of `--bind` is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdHocError {
    /// Neither name, URL nor path.
    #[error(
        "{0}; --bind takes the name of a binding, a URL (postgres://, s3://, file:/// ...) or the absolute path of a program"
    )]
    Name(#[from] NameError),
    /// A URL of a kind that is not known.
    #[error("{shown}:// is no address that --bind takes: {advice}")]
    Scheme {
        /// The scheme.
        shown: String,
        /// The nearest, or all.
        advice: String,
    },
    /// A URL that is wrong.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A relative path.
    #[error("{0} is not an absolute path; a program is named by its whole path, as in /usr/bin/pg_dump")]
    Relative(String),
    /// A program without known rules.
    #[error(
        "no rules are known for the arguments of {0}; --bind takes pg_dump, pg_dumpall and pg_restore, \
             any other program is declared in rota.toml with profile = \"custom\""
    )]
    Program(String),
    /// A reference that is wrong.
    #[error(transparent)]
    Reference(#[from] SecretRefError),
    /// A reference that leads nowhere.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Schemes of URLs, and what makes of them a binding.
const SCHEMES: [&str; 14] = [
    "postgres",
    "postgresql",
    "file",
    "s3",
    "oss",
    "gcs",
    "gs",
    "azblob",
    "redis",
    "rediss",
    "valkey",
    "kubernetes",
    "nats",
    "tls",
];

/// What an age identity begins with.
const IDENTITY: &str = "AGE-SECRET-KEY-";

impl BindArgument {
    /// Reads the value of `--bind slot=VALUE`. A password in a URL becomes a secret; `env:NAME` and
    /// `file:PATH` stand for the URL or the age identity that is there, which keeps it out of the
    /// list of processes.
    ///
    /// # Errors
    /// If it is neither the name of a binding nor an address, or a reference leads nowhere.
    pub fn parse(text: &str) -> Result<Self, AdHocError> {
        if !is_address(text) {
            return Ok(Self::Configured(text.parse()?));
        }
        Binding::parse_ad_hoc(text).map(|binding| Self::AdHoc(Box::new(binding)))
    }
}

fn is_address(text: &str) -> bool {
    text.contains('/') || SecretRef::is_reference(text) || is_identity(text)
}

/// Whether a text is an age identity: lines of keys, and of comments.
fn is_identity(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .is_some_and(|line| line.starts_with(IDENTITY))
}

impl Binding {
    /// The binding that a URL, the path of a program or an age identity makes, with every default.
    ///
    /// # Errors
    /// If it makes none; the message does not hold a password.
    pub fn parse_ad_hoc(text: &str) -> Result<Self, AdHocError> {
        if SecretRef::is_reference(text) {
            let reference = SecretRef::parse(text)?;
            let secret = reference.resolve()?;
            if is_identity(secret.expose()) {
                return Ok(Self::Key(KeyBinding { identity: reference, concurrency: None }));
            }
            let address = Address::Secret(SecretRef::Given(secret.clone()));
            return of_url(secret.expose(), address);
        }
        if is_identity(text) {
            return Ok(Self::Key(KeyBinding { identity: SecretRef::Given(Secret::new(text)), concurrency: None }));
        }
        if text.contains("://") {
            return of_url(text, Address::given(text));
        }
        if Program::new(text).is_none() {
            // A mistyped URL is one, too.
            let shown = if text.contains('@') {
                "what was given (not shown: it may hold a password)".to_owned()
            } else {
                quoted(text)
            };
            return Err(AdHocError::Relative(shown));
        }
        ToolBinding::at(text).map(Self::Tool).ok_or_else(|| AdHocError::Program(quoted(text)))
    }
}

fn of_url(text: &str, address: Address) -> Result<Binding, AdHocError> {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).unwrap_or_default();
    let not_a_url = || AdHocError::Url(UrlError("this is not a URL".to_owned()));
    let known = || address.known().ok_or_else(not_a_url);
    match scheme.as_str() {
        "postgres" | "postgresql" => {
            super::sql::target_of(&known()?)?;
            SqlBinding::at(address).map(Binding::Sql).ok_or_else(not_a_url)
        }
        "file" | "s3" | "oss" | "gcs" | "gs" | "azblob" => {
            let resolved = known()?;
            let binding = StorageBinding::at(address.clone()).ok_or_else(not_a_url)?;
            binding.check(&resolved)?;
            Ok(Binding::Storage(binding))
        }
        scheme if CacheBinding::takes(scheme) => {
            let resolved = known()?;
            let binding = CacheBinding::at(address.clone()).ok_or_else(not_a_url)?;
            binding.check(&resolved)?;
            Ok(Binding::Cache(binding))
        }
        "kubernetes" => {
            let resolved = known()?;
            KubernetesBinding::at(&resolved)?.map(Binding::Kubernetes).ok_or_else(not_a_url)
        }
        "nats" | "tls" => {
            let resolved = known()?;
            let binding = JetstreamBinding::at(address.clone()).ok_or_else(not_a_url)?;
            binding.check(&resolved)?;
            Ok(Binding::Jetstream(binding))
        }
        other => match address {
            // What is not shown may be anything.
            Address::Secret(_) => {
                Err(AdHocError::Url(UrlError("the secret holds no URL that --bind takes".to_owned())))
            }
            Address::Url(_) => {
                let near = nearest(other, SCHEMES).map(|near| format!("did you mean {near}://?"));
                let advice = near.unwrap_or_else(|| {
                    "it takes postgres://, redis://, s3://, oss://, gcs://, azblob://, file:///, kubernetes:/// and nats://"
                        .to_owned()
                });
                Err(AdHocError::Scheme { shown: quoted(other).trim_matches('"').to_owned(), advice })
            }
        },
    }
}

#[cfg(test)]
mod tests;
