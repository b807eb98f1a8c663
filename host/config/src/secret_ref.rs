//! References to secrets: where one is, not what it is.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rota_telemetry::Secret;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::decode::{Decode, Reader};
use crate::tree::Node;

/// The most bytes of a secret; a certificate's key has a few thousand.
const LONGEST: u64 = 64 * 1024;

/// What a reference may look like, for messages and the schema.
const FORMS: &str = "env:NAME, file:PATH or kubernetes:NAMESPACE/SECRET/KEY";

/// Where a secret is. It is read when it is used ([`SecretRef::resolve`]), not before: a job whose
/// secret is missing must not keep others from running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// `env:NAME`: an environment variable of the host.
    Environment(String),
    /// `file:PATH`: a file, without its last line end.
    File(PathBuf),
    /// `kubernetes:NAMESPACE/SECRET/KEY`.
    Kubernetes {
        /// The namespace.
        namespace: String,
        /// The name of the Secret.
        secret: String,
        /// The key in its data.
        key: String,
    },
    /// The secret itself, from a place that is as good as the others: the environment or the
    /// command line, never a file.
    Given(Secret),
}

/// Why a secret could not be had. No message holds any of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The variable is not there, or empty.
    #[error("the environment variable {0} is not set, and a secret is read from it (env:{0})")]
    NotSet(String),
    /// What is there is not UTF-8.
    #[error("the secret in {0} is not UTF-8 text")]
    NotText(String),
    /// Nothing in it.
    #[error("the secret in {0} is empty")]
    Empty(String),
    /// More than a secret can be.
    #[error("the secret in {0} is larger than 64 KiB, so it is probably another file")]
    TooLarge(String),
    /// A byte that no server takes.
    #[error("the secret in {0} holds a NUL byte")]
    Nul(String),
    /// The file cannot be read.
    #[error("the secret file {path} cannot be read: {reason}")]
    Unreadable {
        /// Which.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// Others can read or change the file.
    #[error("the secret file {path} {problem}; run: {remedy}")]
    Exposed {
        /// Which.
        path: String,
        /// How.
        problem: String,
        /// The command that mends it.
        remedy: String,
    },
    /// The cluster does not give it.
    #[error("the secret {reference} cannot be read: {reason}")]
    Cluster {
        /// Which.
        reference: String,
        /// What the cluster, or the way to it, says.
        reason: String,
    },
}

/// Why a text is no reference. The text itself is not said: it may be the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretRefError {
    /// None of the known forms.
    #[error("a secret must be given by reference ({FORMS}), not by itself")]
    NotAReference,
    /// A form with something missing or wrong.
    #[error("{0}")]
    Malformed(&'static str),
}

impl SecretRef {
    /// Whether a text has the form of a reference. `file://` is a URL.
    pub(crate) fn is_reference(text: &str) -> bool {
        text.starts_with("env:")
            || (text.starts_with("kubernetes:") && !text.starts_with("kubernetes://"))
            || (text.starts_with("file:") && !text.starts_with("file://"))
    }

    /// Reads a reference; a relative path stays so.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, SecretRefError> {
        if !Self::is_reference(text) {
            return Err(SecretRefError::NotAReference);
        }
        match text.split_once(':') {
            Some(("env", name)) if is_variable(name) => Ok(Self::Environment(name.to_owned())),
            Some(("env", _)) => Err(SecretRefError::Malformed(
                "env: needs the name of an environment variable (letters, digits and \"_\"), as in env:KOSMOS_PASSWORD",
            )),
            Some(("file", "")) => Err(SecretRefError::Malformed("file: needs a path, as in file:/run/secrets/kosmos")),
            Some(("file", path)) => Ok(Self::File(PathBuf::from(path))),
            Some((_, rest)) => match rest.split('/').collect::<Vec<_>>().as_slice() {
                [namespace, secret, key] if ![namespace, secret, key].iter().any(|part| part.is_empty()) => {
                    let [namespace, secret, key] = [namespace, secret, key].map(|part| (*part).to_owned());
                    Ok(Self::Kubernetes { namespace, secret, key })
                }
                _ => Err(SecretRefError::Malformed(
                    "kubernetes: needs a namespace, a secret and a key, as in kubernetes:kosmos-db/postgres/password",
                )),
            },
            None => Err(SecretRefError::NotAReference),
        }
    }

    /// Reads the secret, which is masked from then on.
    ///
    /// # Errors
    /// If it cannot be had, or lies where others can read it.
    pub fn resolve(&self) -> Result<Secret, SecretError> {
        self.resolve_with(|name| std::env::var_os(name))
    }

    /// [`SecretRef::resolve`] with another environment than that of the process.
    ///
    /// # Errors
    /// As [`SecretRef::resolve`].
    pub fn resolve_with(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<Secret, SecretError> {
        let bytes = match self {
            Self::Given(secret) => return Ok(secret.clone()),
            Self::Kubernetes { namespace, secret, key } => of_cluster(namespace, secret, key)
                .map_err(|reason| SecretError::Cluster { reference: self.to_string(), reason })?,
            Self::Environment(name) => {
                let value = variable(name).filter(|value| !value.is_empty());
                value.ok_or_else(|| SecretError::NotSet(name.clone()))?.into_encoded_bytes()
            }
            Self::File(path) => read(path)?,
        };
        let mut text = String::from_utf8(bytes).map_err(|_| SecretError::NotText(self.to_string()))?;
        if text.len() as u64 > LONGEST {
            return Err(SecretError::TooLarge(self.to_string()));
        }
        if matches!(self, Self::File(_) | Self::Kubernetes { .. }) {
            text.truncate(without_line_end(&text).len());
        }
        if text.is_empty() {
            return Err(SecretError::Empty(self.to_string()));
        }
        if text.contains('\0') {
            return Err(SecretError::Nul(self.to_string()));
        }
        Ok(Secret::new(text))
    }
}

/// Reads one key of a Secret (namespace, secret, key) with the host's own login, or says why not, without any of the secret.
pub type ClusterSecrets = fn(&str, &str, &str) -> Result<Vec<u8>, String>;

static CLUSTER: OnceLock<ClusterSecrets> = OnceLock::new();

/// Says once for the process how `kubernetes:NAMESPACE/SECRET/KEY` is read: the crate that speaks with clusters is further down.
pub fn read_kubernetes_secrets_with(read: ClusterSecrets) {
    // A second host in the process reads them the same way.
    let _ = CLUSTER.set(read);
}

fn of_cluster(namespace: &str, secret: &str, key: &str) -> Result<Vec<u8>, String> {
    let read = CLUSTER.get().ok_or("this program speaks with no cluster; mount the secret and use file:PATH")?;
    read(namespace, secret, key)
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

fn read(path: &Path) -> Result<Vec<u8>, SecretError> {
    let shown = || path.display().to_string();
    let unreadable = |reason: String| SecretError::Unreadable { path: shown(), reason };
    let file = crate::open_file(path).map_err(|error| unreadable(error.to_string()))?;
    let about = file.metadata().map_err(|error| unreadable(error.to_string()))?;
    guarded(path, &about)?;
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > LONGEST {
        return Err(SecretError::TooLarge(format!("file:{}", shown())));
    }
    Ok(bytes)
}

/// Refuses a file that others can read or change.
///
/// | who may read it besides its owner | |
/// | --- | --- |
/// | nobody | accepted |
/// | its group, if root gave it to the group that we are in (`root:rota 0640`) | accepted |
/// | anybody, in a folder where an orchestrator mounts secrets (it decides the mode, and only this container sees it) | accepted |
/// | else | refused |
fn guarded(path: &Path, file: &fs::Metadata) -> Result<(), SecretError> {
    let shown = path.display().to_string();
    let (mode, own) = (file.mode() & 0o777, rustix::process::geteuid().as_raw());
    let exposed = |problem: String, remedy: String| Err(SecretError::Exposed { path: shown.clone(), problem, remedy });
    if file.uid() != own && file.uid() != 0 {
        return exposed("belongs to another user".to_owned(), format!("chown {own} {shown}"));
    }
    let who = |bits: u32| if mode & bits & 0o007 != 0 { "everyone" } else { "its group" };
    if mode & 0o022 != 0 {
        return exposed(format!("can be changed by {} (mode {mode:04o})", who(0o022)), format!("chmod 600 {shown}"));
    }
    let given_to_our_group = mode & 0o007 == 0 && file.uid() == 0 && own != 0;
    if mode & 0o044 != 0 && !given_to_our_group && !is_mounted(path) {
        return exposed(format!("can be read by {} (mode {mode:04o})", who(0o044)), format!("chmod 600 {shown}"));
    }
    Ok(())
}

/// Whether an orchestrator put the file there: Docker and Podman below `/run/secrets`, systemd below
/// its credentials folder, Kubernetes in a folder whose name begins with two dots.
fn is_mounted(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let folders = ["/run/secrets", "/var/run/secrets", "/run/credentials"].map(PathBuf::from);
    folders.into_iter().chain(credentials).any(|folder| path.starts_with(folder))
        || path.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b".."))
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Kubernetes { namespace, secret, key } => write!(f, "kubernetes:{namespace}/{secret}/{key}"),
            Self::Given(secret) => fmt::Display::fmt(secret, f),
        }
    }
}

impl Serialize for SecretRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for SecretRef {
    const WANTED: &'static str = "a reference to a secret (env:NAME, file:PATH or kubernetes:NAMESPACE/SECRET/KEY)";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let text = reader.text(at, &node, Self::WANTED)?;
        match Self::parse(&text) {
            Ok(Self::File(path)) => Some(Self::File(reader.sources.path(&node.origin, &path.to_string_lossy()))),
            // The variable that overrides the key holds the secret itself, as env:NAME would name it.
            Err(SecretRefError::NotAReference) if !reader.sources.in_a_file(&node.origin) => {
                Some(Self::Given(Secret::new(text)))
            }
            parsed => reader.parsed(at, &node.origin, parsed),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = "^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|kubernetes:[^/]+/[^/]+/[^/]+)$";
        json_schema!({ "type": "string", "pattern": pattern, "examples": ["env:KOSMOS_PASSWORD", "file:/run/secrets/kosmos"] })
    }
}

#[cfg(test)]
mod tests;
