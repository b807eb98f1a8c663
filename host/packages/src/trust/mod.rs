//! Who signed a plugin, and whether that is enough: sigstore bundles, by key and keyless, made here or by cosign.
//!
//! | step | module |
//! | --- | --- |
//! | what the configuration asks for becomes keys and roots in memory | `policy` |
//! | one bundle is held against one signer | `verify` |
//! | why a plugin is refused, in words | `reason` |
//! | keys are read and made, cosign's encrypted ones included | `key`, `sealed` |
//! | bundles are made | `sign` |
//! | what packages and the catalog ask | `judge` |
//!
//! Nothing here goes to the network. The cryptography is ring's (`provider`), the rules of sigstore are those of `sigstore-verify`.

mod judge;
mod key;
mod policy;
mod provider;
mod reason;
mod sealed;
mod sign;
mod verify;

pub use key::{KeyError, PublicKey, SigningKey};
pub use policy::{Policy, Unready, Verdict};
pub use reason::{Reason, Untrusted};
pub use sign::{PREDICATE, sign_component, sign_manifest};

use serde::Serialize;
use std::fmt;

/// The media type of a bundle: the artifact type of a referrer that holds one, and of its layer.
pub const BUNDLE_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What is put after the whole name of a component's file to name its bundle, as cosign's documentation does.
pub const BUNDLE_ENDING: &str = ".sigstore.json";
/// The largest bundle that is read, bytes; those of the public instance have about 10 KiB.
pub const LARGEST_BUNDLE: usize = 1 << 20;
/// The most bundles of one plugin that are looked at.
pub const MOST_BUNDLES: usize = 32;

/// The annotations of a referrer with a bundle over a manifest, as cosign writes them.
pub const REFERRER_ANNOTATIONS: [(&str, &str); 2] =
    [("dev.sigstore.bundle.content", "dsse-envelope"), ("dev.sigstore.bundle.predicateType", PREDICATE)];

/// What is to be trusted: bytes, never a claim about them.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The manifest of a package; none of a component in a file.
    pub manifest: Option<&'a [u8]>,
    /// The component.
    pub component: &'a [u8],
}

impl<'a> Subject<'a> {
    /// A component that lies in a file. The signature is over its bytes.
    pub fn file(component: &'a [u8]) -> Self {
        Self { manifest: None, component }
    }

    /// A component out of a package. The signature is over the package's manifest, which must name the component.
    pub fn package(manifest: &'a [u8], component: &'a [u8]) -> Self {
        Self { manifest: Some(manifest), component }
    }

    /// What a signature must be over.
    fn signed(&self) -> &'a [u8] {
        self.manifest.unwrap_or(self.component)
    }
}

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Who {
    /// The holder of a key.
    Key {
        /// The key's fingerprint, see [`PublicKey::fingerprint`].
        fingerprint: String,
    },
    /// Whom an issuer vouched for.
    Identity {
        /// An e-mail address or a URI.
        identity: String,
        /// The issuer's URL.
        issuer: String,
    },
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { fingerprint } => write!(f, "key {fingerprint}"),
            Self::Identity { identity, issuer } => write!(f, "{identity} ({issuer})"),
        }
    }
}

/// A signature that was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signer {
    /// Who made it.
    #[serde(flatten)]
    pub who: Who,
    /// When, RFC 3339, where a log or a timestamp authority of the trust root vouches for it.
    pub signed_at: Option<String>,
    /// Whether a transparency log of the trust root has it.
    pub logged: bool,
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.who.fmt(f)?;
        match &self.signed_at {
            Some(time) => write!(f, ", at {time}"),
            None => Ok(()),
        }
    }
}

/// Where the bundle of a component's file is.
pub fn bundle_of(component: &std::path::Path) -> std::path::PathBuf {
    let mut name = component.as_os_str().to_owned();
    name.push(BUNDLE_ENDING);
    name.into()
}

/// The bundles that lie beside a component's file: none or one.
///
/// # Errors
/// When there is one that cannot be read. A file larger than [`LARGEST_BUNDLE`] is read as far as shows that.
pub fn bundles_beside(component: &std::path::Path) -> std::io::Result<Vec<Vec<u8>>> {
    use std::io::Read as _;
    let file = match rota_config::open_file(&bundle_of(component)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(LARGEST_BUNDLE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(vec![bytes])
}

/// A digest as manifests and people write it.
fn digest_of(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
}
