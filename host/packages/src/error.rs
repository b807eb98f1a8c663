//! Why a package is not had.

use crate::artifact::NotAPackage;
use crate::{BlobError, CredentialsError, Digest, LockError, ReferenceError};

/// What a registry did not do as it was asked. What it says of itself is shown cut and on one line, and never a credential.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No connection.
    #[error("the registry {registry} cannot be reached: {reason}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// Why.
        reason: String,
    },
    /// It says nothing any more.
    #[error("the registry {0} takes too long to answer")]
    TimedOut(String),
    /// It is not there.
    #[error("{what} is not there{}", quote(.said))]
    NotFound {
        /// What was asked for.
        what: String,
        /// What the registry said.
        said: String,
    },
    /// It wants other credentials.
    #[error(
        "the registry {registry} does not let this be done ({what}): {}{}", if *.with_credentials { "the credentials of docker's configuration are not enough" } else { "docker's configuration has no credentials for it; `docker login` makes them" }, quote(.said)
    )]
    Denied {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// Whether credentials were sent.
        with_credentials: bool,
        /// What the registry said.
        said: String,
    },
    /// Another status than the protocol has.
    #[error("{what}: the registry answered with the status {status}{}", quote(.said))]
    Status {
        /// What was asked for.
        what: String,
        /// The status.
        status: u16,
        /// What the registry said.
        said: String,
    },
    /// It sends us elsewhere.
    #[error(
        "{what}: the registry redirects to {to}, and that is refused: only the content of a package, which its digest verifies, may be fetched from another host, over https and without credentials"
    )]
    Redirect {
        /// What was asked for.
        what: String,
        /// Where to: scheme and host.
        to: String,
    },
    /// More than is taken.
    #[error("{what} is larger than {limit} bytes, which is all that is taken of it")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// The limit, bytes.
        limit: u64,
    },
    /// Less than was declared.
    #[error("{what} ended early: {got} of {wanted} bytes came")]
    Truncated {
        /// What was asked for.
        what: String,
        /// What came.
        got: u64,
        /// What was declared.
        wanted: u64,
    },
    /// Other content than was asked for.
    #[error("{what} has the digest {got}, not {wanted}: it is not what was asked for, and nothing of it is used")]
    Digest {
        /// What was asked for.
        what: String,
        /// What came.
        got: Digest,
        /// What was asked for.
        wanted: Digest,
    },
    /// An answer that the protocol does not have.
    #[error("{what}: the registry's answer is not of the OCI distribution protocol: {reason}")]
    Answer {
        /// What was asked for.
        what: String,
        /// Why.
        reason: String,
    },
    /// Where tokens come from.
    #[error("the registry {registry} wants a token, and none could be had: {reason}")]
    Token {
        /// The registry.
        registry: String,
        /// Why.
        reason: String,
    },
    /// The credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// What was fetched could not be kept.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

fn quote(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" (it says: {said})") }
}

/// Why a package cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Its name.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What is there is no plugin.
    #[error("{name}: {error}")]
    NotAPackage {
        /// The package.
        name: String,
        /// Why.
        error: NotAPackage,
    },
    /// No version of it is what was asked for.
    #[error("no version of {name} is {wanted}{}", versions(.there))]
    NoVersion {
        /// The package.
        name: String,
        /// What was asked for.
        wanted: String,
        /// The versions that are there, the highest first.
        there: Vec<String>,
    },
    /// The rules of trust do not let it in.
    #[error("{name} is not let in: {reason}")]
    Untrusted {
        /// The package.
        name: String,
        /// Why.
        reason: String,
    },
    /// What is published already is not published again with another content.
    #[error(
        "{name}:{tag} is published already with another content ({there}); publish what is new under a new version"
    )]
    Published {
        /// The package.
        name: String,
        /// The tag.
        tag: String,
        /// What is there.
        there: Digest,
    },
    /// The lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The cache.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

fn versions(there: &[String]) -> String {
    match there {
        [] => "; it has no version at all (tags such as `latest` are none)".into(),
        [first, ..] if there.len() > 5 => format!("; it has {} versions, the highest is {first}", there.len()),
        _ => format!("; it has {}", there.join(", ")),
    }
}
