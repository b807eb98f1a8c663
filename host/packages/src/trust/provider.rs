//! The cryptography under the verifier: ring's, of which this process's TLS is made too.
//!
//! `sigstore-crypto` brings none of its own without aws-lc, and asks for it through this seam. ring verifies messages, not digests
//! made elsewhere; where the verifier has a digest in its hand, [`prove`] has verified the message itself before, and what the verifier
//! then asks is answered by that.

use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey, VerificationAlgorithm};
use sigstore_crypto::{
    CryptoProvider, Error, HashContext, KeyAlgorithm, Result, SigningKeyPair, SigningScheme, VerificationKey,
};
use sigstore_types::{HashAlgorithm, SignatureBytes};
use std::cell::RefCell;
use std::sync::Once;

/// Puts it in place, once a process. Everything of this module that uses the verifier calls it first.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    // Nobody else in this process installs one.
    ONCE.call_once(|| {
        let _ = sigstore_crypto::install_default_provider(&RING);
    });
}

static RING: Ring = Ring;

#[derive(Debug)]
struct Ring;

/// A signature over a message, verified, for as long as this lives and on this thread.
pub(super) struct Proven(());

impl Drop for Proven {
    fn drop(&mut self) {
        PROVEN.with_borrow_mut(Vec::clear);
    }
}

#[derive(PartialEq, Eq)]
struct Proof {
    scheme: SigningScheme,
    key: Vec<u8>,
    digest: Vec<u8>,
    signature: Vec<u8>,
}

thread_local! {
    static PROVEN: RefCell<Vec<Proof>> = const { RefCell::new(Vec::new()) };
}

/// Verifies a signature over a message, so that the verifier finds it good when it asks for the message's digest.
///
/// # Errors
/// When it is not this key's signature over the message, or of a kind that ring does not know.
pub(super) fn prove(key: &VerificationKey, message: &[u8], made: &SignatureBytes) -> Result<Proven> {
    key.verify(message, made)?;
    if let Some(algorithm) = key.scheme().hash_algorithm() {
        let digest = digest::digest(hash_of(algorithm)?, message).as_ref().to_vec();
        let proof =
            Proof { scheme: key.scheme(), key: key.as_bytes().to_vec(), digest, signature: made.as_bytes().to_vec() };
        PROVEN.with_borrow_mut(|proven| proven.push(proof));
    }
    Ok(Proven(()))
}

fn hash_of(algorithm: HashAlgorithm) -> Result<&'static digest::Algorithm> {
    match algorithm {
        HashAlgorithm::Sha2256 => Ok(&digest::SHA256),
        HashAlgorithm::Sha2384 => Ok(&digest::SHA384),
        HashAlgorithm::Sha2512 => Ok(&digest::SHA512),
        other => Err(Error::UnsupportedAlgorithm(format!("digests of {other}"))),
    }
}

fn verification(scheme: SigningScheme) -> Result<&'static dyn VerificationAlgorithm> {
    Ok(match scheme {
        SigningScheme::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
        SigningScheme::EcdsaP256Sha384 => &signature::ECDSA_P256_SHA384_ASN1,
        SigningScheme::EcdsaP384Sha256 => &signature::ECDSA_P384_SHA256_ASN1,
        SigningScheme::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
        SigningScheme::Ed25519 => &signature::ED25519,
        SigningScheme::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
        SigningScheme::RsaPssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
        SigningScheme::RsaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
        SigningScheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        SigningScheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        SigningScheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        other => return Err(Error::UnsupportedAlgorithm(format!("signatures of {}", other.name()))),
    })
}

struct Hash(digest::Context);

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

impl CryptoProvider for Ring {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>> {
        Ok(Box::new(Hash(digest::Context::new(hash_of(algorithm)?))))
    }

    fn verify_raw(&self, scheme: SigningScheme, key: &[u8], data: &[u8], made: &[u8]) -> Result<()> {
        UnparsedPublicKey::new(verification(scheme)?, key)
            .verify(data, made)
            .map_err(|_| Error::Verification(format!("the {} signature is not valid", scheme.name())))
    }

    fn verify_prehashed(&self, scheme: SigningScheme, key: &[u8], digest: &[u8], made: &[u8]) -> Result<()> {
        let proven = PROVEN.with_borrow(|proven| {
            proven
                .iter()
                .any(|one| one.scheme == scheme && one.key == key && one.digest == digest && one.signature == made)
        });
        if proven {
            return Ok(());
        }
        Err(Error::UnsupportedAlgorithm(format!("{} signatures over a digest alone", scheme.name())))
    }

    fn generate_key_pair(&self, algorithm: KeyAlgorithm) -> Result<Box<dyn SigningKeyPair>> {
        if algorithm != KeyAlgorithm::EcdsaP256 {
            return Err(Error::UnsupportedAlgorithm(format!("making keys of {algorithm:?}")));
        }
        self.key_pair_from_pkcs8_der(&generate()?)
    }

    fn key_pair_from_pkcs8_der(&self, pkcs8: &[u8]) -> Result<Box<dyn SigningKeyPair>> {
        let pair = EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &SystemRandom::new());
        Ok(Box::new(Pair(pair.map_err(|rejected| Error::InvalidKey(rejected.to_string()))?)))
    }
}

/// A new ECDSA P-256 key, as PKCS#8 DER.
///
/// # Errors
/// When the system gives no randomness.
pub(super) fn generate() -> Result<Vec<u8>> {
    EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
        .map(|pkcs8| pkcs8.as_ref().to_vec())
        .map_err(|_| Error::KeyGeneration("the system gives no randomness".to_owned()))
}

struct Pair(EcdsaKeyPair);

impl SigningKeyPair for Pair {
    fn algorithm(&self) -> KeyAlgorithm {
        KeyAlgorithm::EcdsaP256
    }

    fn public_key_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn sign_raw(&self, data: &[u8]) -> Result<Vec<u8>> {
        self.0
            .sign(&SystemRandom::new(), data)
            .map(|made| made.as_ref().to_vec())
            .map_err(|_| Error::Signing("the system gives no randomness".to_owned()))
    }

    fn sign_prehashed(&self, _digest: &[u8]) -> Result<Vec<u8>> {
        Err(Error::UnsupportedAlgorithm("signing a digest alone".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sigstore_crypto::KeyPair;

    #[test]
    fn a_digest_alone_verifies_nothing_but_what_was_proven_here_and_now() {
        install();
        let pair = KeyPair::generate_ecdsa_p256().unwrap();
        let key = VerificationKey::from_spki(&pair.public_key_der().unwrap()).unwrap();
        let made = pair.sign(b"component").unwrap();
        let digest = digest::digest(&digest::SHA256, b"component");
        let other = digest::digest(&digest::SHA256, b"another");
        assert!(key.verify_prehashed(digest.as_ref(), &made).is_err(), "nothing was proven yet");
        {
            let _proven = prove(&key, b"component", &made).unwrap();
            key.verify_prehashed(digest.as_ref(), &made).unwrap();
            assert!(key.verify_prehashed(other.as_ref(), &made).is_err());
            let again = pair.sign(b"component").unwrap();
            assert!(key.verify_prehashed(digest.as_ref(), &again).is_err(), "another signature was not proven");
            let elsewhere = std::thread::scope(|scope| {
                scope.spawn(|| key.verify_prehashed(digest.as_ref(), &made).is_err()).join().unwrap()
            });
            assert!(elsewhere, "another thread proved nothing");
        }
        assert!(key.verify_prehashed(digest.as_ref(), &made).is_err(), "it lives no longer than it is held");
        assert!(prove(&key, b"another", &made).is_err());
    }
}
