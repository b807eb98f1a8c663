//! Bundles made here, which cosign verifies as its own (`--insecure-ignore-tlog`, as they are in no log).

use super::key::{KeyError, SigningKey};
use sha2::{Digest as _, Sha256};
use sigstore_bundle::{BundleV03, VerificationMaterialV03};
use sigstore_types::bundle::{MessageDigest, MessageSignature};
use sigstore_types::intoto::Digest;
use sigstore_types::{
    DsseEnvelope, DsseSignature, HashAlgorithm, PayloadBytes, Sha256Hash, SignatureContent, Statement,
};

/// What a signed statement says: that who signed it stands for the subject. cosign's word for it.
pub const PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
const PAYLOAD: &str = "application/vnd.in-toto+json";

/// A bundle over a component's bytes, as `cosign sign-blob --bundle` writes it: for `FILE.wasm.sigstore.json`.
///
/// # Errors
/// When the system gives no randomness.
pub fn sign_component(key: &SigningKey, component: &[u8]) -> Result<Vec<u8>, KeyError> {
    let made = key.pair().sign(component).map_err(|error| KeyError::System(error.to_string()))?;
    let digest = MessageDigest::new(HashAlgorithm::Sha2256, hash(component).into());
    bundle(key, SignatureContent::MessageSignature(MessageSignature::new(made).with_message_digest(digest)))
}

/// A bundle over a package's manifest, as `cosign sign --new-bundle-format` attaches it: a statement that names its digest.
///
/// # Errors
/// When the system gives no randomness.
pub fn sign_manifest(key: &SigningKey, manifest: &[u8]) -> Result<Vec<u8>, KeyError> {
    let system = |error: &dyn std::fmt::Display| KeyError::System(error.to_string());
    let subject = sigstore_types::intoto::Subject::new("", Digest::sha256(hash(manifest)));
    let statement = Statement::new(vec![subject], PREDICATE, serde_json::json!({}));
    let payload = serde_json::to_vec(&statement).map_err(|error| system(&error))?;
    let made = key.pair().sign(&sigstore_types::dsse::pae(PAYLOAD, &payload)).map_err(|error| system(&error))?;
    let made = DsseSignature::new(made, sigstore_types::KeyId::default());
    bundle(key, SignatureContent::DsseEnvelope(DsseEnvelope::new(PAYLOAD, PayloadBytes::new(payload), made)))
}

fn bundle(key: &SigningKey, content: SignatureContent) -> Result<Vec<u8>, KeyError> {
    let material = VerificationMaterialV03::PublicKey { hint: key.public().hint() };
    let bundle = BundleV03::new(material, content).into_bundle();
    bundle.to_json().map(String::into_bytes).map_err(|error| KeyError::System(error.to_string()))
}

fn hash(bytes: &[u8]) -> Sha256Hash {
    Sha256Hash::new(Sha256::digest(bytes).into())
}
