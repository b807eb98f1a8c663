//! Keys: the public ones that a policy names, and the private one that signs.

use super::provider;
use super::sealed;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rota_telemetry::Secret;
use sha2::{Digest as _, Sha256};
use sigstore_crypto::{KeyAlgorithm, KeyPair};
use sigstore_types::DerPublicKey;
use std::fmt;

/// Why a key cannot be used. No message holds any of a private one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PEM, or PEM of something else.
    #[error("it is no PEM file with a {wanted}{}", held(.found))]
    NotPem {
        /// What should be in it.
        wanted: &'static str,
        /// What is in it.
        found: Option<String>,
    },
    /// Of a kind that is not taken.
    #[error("it is a key that is not taken here ({0})")]
    Kind(String),
    /// An older form of private key.
    #[error("it is in SEC1 form; write it as PKCS#8: openssl pkcs8 -topk8 -nocrypt -in FILE -out NEW")]
    Sec1,
    /// Encrypted by a scheme of OpenSSL.
    #[error("it is encrypted as PKCS#8; cosign import-key-pair makes an encrypted key of it that can be read here")]
    EncryptedPkcs8,
    /// Encrypted, and no password was given.
    #[error("it is encrypted: its password is taken from COSIGN_PASSWORD, or from --password env:NAME or file:PATH")]
    NoPassword,
    /// Encrypted with another password, or damaged.
    #[error("it does not open with this password")]
    WrongPassword,
    /// The encryption's own parameters are beyond reason.
    #[error("its encryption cannot be read: {0}")]
    Sealed(&'static str),
    /// The system would not help.
    #[error("{0}")]
    System(String),
}

fn held(found: &Option<String>) -> String {
    found.as_ref().map(|found| format!(" (it holds a {})", rota_telemetry::clean_line(found))).unwrap_or_default()
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    der: DerPublicKey,
}

impl PublicKey {
    /// Reads one: PEM, `BEGIN PUBLIC KEY`, of ECDSA (P-256, P-384), Ed25519 or RSA (2048 bits and more).
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        provider::install();
        let (label, der) = block(text).ok_or(KeyError::NotPem { wanted: "public key", found: None })?;
        if label != "PUBLIC KEY" {
            return Err(KeyError::NotPem { wanted: "public key", found: Some(label.to_owned()) });
        }
        Self::from_der(DerPublicKey::new(der))
    }

    fn from_der(der: DerPublicKey) -> Result<Self, KeyError> {
        let kind = |error: sigstore_crypto::Error| KeyError::Kind(error.to_string());
        let algorithm = KeyAlgorithm::from_spki(&der).map_err(kind)?;
        if matches!(algorithm, KeyAlgorithm::MlDsa44 | KeyAlgorithm::MlDsa65 | KeyAlgorithm::MlDsa87) {
            return Err(KeyError::Kind(format!("{algorithm:?}")));
        }
        let scheme = algorithm.default_signing_scheme();
        let key = sigstore_crypto::VerificationKey::from_spki_with_scheme(&der, scheme).map_err(kind)?;
        sigstore_crypto::validate_raw_public_key(scheme, key.as_bytes()).map_err(kind)?;
        Ok(Self { der })
    }

    pub(super) fn der(&self) -> &DerPublicKey {
        &self.der
    }

    /// SHA-256 of its DER, in base64: what bundles call it.
    pub fn hint(&self) -> String {
        STANDARD.encode(Sha256::digest(self.der.as_bytes()))
    }

    /// SHA-256 of its DER, the first 16 hexadecimal digits: what people compare.
    pub fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(self.der.as_bytes())).chars().take(16).collect()
    }

    /// As PEM.
    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", self.der.as_bytes())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint())
    }
}

/// A private key, ECDSA P-256, that signs.
#[derive(Debug)]
pub struct SigningKey {
    pair: KeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// Reads one from PEM: PKCS#8 (`BEGIN PRIVATE KEY`), or as `cosign generate-key-pair` writes it, encrypted
    /// (`BEGIN ENCRYPTED SIGSTORE PRIVATE KEY`). The password is asked for only if the key is encrypted.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn from_pem(text: &str, password: impl FnOnce() -> Option<Secret>) -> Result<Self, KeyError> {
        let (label, bytes) = block(text).ok_or(KeyError::NotPem { wanted: "private key", found: None })?;
        let der = match label {
            "PRIVATE KEY" => bytes,
            "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                sealed::open(&bytes, &password().ok_or(KeyError::NoPassword)?)?
            }
            "EC PRIVATE KEY" => return Err(KeyError::Sec1),
            "ENCRYPTED PRIVATE KEY" => return Err(KeyError::EncryptedPkcs8),
            other => return Err(KeyError::NotPem { wanted: "private key", found: Some(other.to_owned()) }),
        };
        Self::from_pkcs8(&der)
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        provider::install();
        // What the cause is, ring tells in words that say nothing of the key.
        let pair = KeyPair::from_pkcs8_der(der)
            .map_err(|error| KeyError::Kind(format!("ECDSA P-256 as PKCS#8 signs; {error}")))?;
        let public = pair.public_key_der().map_err(|error| KeyError::Kind(error.to_string()))?;
        Ok(Self { pair, public: PublicKey::from_der(public)? })
    }

    /// Makes one. Answers it with its PEM: encrypted as cosign does it if there is a password, PKCS#8 otherwise.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate(password: Option<&Secret>) -> Result<(Self, Secret), KeyError> {
        let der = provider::generate().map_err(|error| KeyError::System(error.to_string()))?;
        let text = match password {
            Some(password) => pem("ENCRYPTED SIGSTORE PRIVATE KEY", &sealed::seal(&der, password)?),
            None => pem("PRIVATE KEY", &der),
        };
        Ok((Self::from_pkcs8(&der)?, Secret::new(text)))
    }

    /// Its public part.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn pair(&self) -> &KeyPair {
        &self.pair
    }
}

/// The first block of a PEM file: its label and its bytes.
fn block(text: &str) -> Option<(&str, Vec<u8>)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    // Headers, as old encrypted keys have them, are not base64: such a block is none.
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    Some((label, STANDARD.decode(body).ok()?))
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let body = STANDARD.encode(bytes);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> Option<Secret> {
        panic!("no password is needed")
    }

    #[test]
    fn a_key_that_was_made_is_read_again() {
        let (made, text) = SigningKey::generate(None).unwrap();
        let read = SigningKey::from_pem(text.expose(), none).unwrap();
        assert_eq!(read.public(), made.public());
        assert_eq!(PublicKey::from_pem(&made.public().to_pem()).unwrap(), *made.public());
        assert_eq!(made.public().fingerprint().len(), 16);

        let password = Secret::new("correct horse battery");
        let (made, text) = SigningKey::generate(Some(&password)).unwrap();
        assert!(text.expose().starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"));
        let read = SigningKey::from_pem(text.expose(), || Some(password.clone())).unwrap();
        assert_eq!(read.public(), made.public());
        let wrong = SigningKey::from_pem(text.expose(), || Some(Secret::new("correct horse batterx")));
        assert_eq!(wrong.unwrap_err(), KeyError::WrongPassword);
        assert_eq!(SigningKey::from_pem(text.expose(), || None).unwrap_err(), KeyError::NoPassword);
    }

    #[test]
    fn what_is_no_key_is_told_so() {
        let (made, text) = SigningKey::generate(None).unwrap();
        let public = made.public().to_pem();
        let not = |wanted, found: Option<&str>| KeyError::NotPem { wanted, found: found.map(str::to_owned) };
        for (text, error) in [
            ("", not("private key", None)),
            ("-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----", not("private key", None)),
            (public.as_str(), not("private key", Some("PUBLIC KEY"))),
            ("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----", KeyError::Sec1),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----",
                KeyError::EncryptedPkcs8,
            ),
        ] {
            assert_eq!(SigningKey::from_pem(text, none).unwrap_err(), error, "{text}");
        }
        assert!(matches!(
            SigningKey::from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", none),
            Err(KeyError::Kind(_))
        ));
        assert_eq!(PublicKey::from_pem(text.expose()).unwrap_err(), not("public key", Some("PRIVATE KEY")));
        assert!(matches!(
            PublicKey::from_pem("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"),
            Err(KeyError::Kind(_))
        ));
    }
}
