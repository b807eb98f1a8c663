//! Signatures of plugins: whose are taken, and in which words others are refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod authority;
mod by_key;
mod changed;
mod der;
mod keyless;
mod policies;
mod recorded;

use rota_config::{Config, Source};
use rota_packages::trust::{Policy, Reason, SigningKey};
use std::path::Path;

/// What stands for a component: the policy looks at bytes only.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0 a component";
const NAME: &str = "registry.example/growth/report";

/// A package's manifest with this component.
fn manifest(component: &[u8]) -> Vec<u8> {
    use sha2::Digest as _;
    let digest = format!("sha256:{}", hex::encode(sha2::Sha256::digest(component)));
    let layer = serde_json::json!({ "mediaType": "application/wasm", "digest": digest, "size": component.len() });
    let manifest = serde_json::json!({ "schemaVersion": 2, "artifactType": "application/wasm", "layers": [layer] });
    serde_json::to_vec(&manifest).unwrap()
}

/// The policy of a configuration whose files are in a folder.
fn policy(folder: &Path, trust: &str) -> Policy {
    let name = folder.join("rota.toml").display().to_string();
    match Config::load(&Source::empty().with_text(name, trust)) {
        Ok(config) => Policy::from_config(&config.trust),
        Err(error) => panic!("{}", rota_config::render(error.problems(), false)),
    }
}

/// A key whose public part is in a file of the folder.
fn key(folder: &Path, name: &str) -> SigningKey {
    let (key, _) = SigningKey::generate(None).unwrap();
    std::fs::write(folder.join(name), key.public().to_pem()).unwrap();
    key
}

/// A policy of one key, `growth.pub`, for the namespace of [`NAME`].
fn by_key(folder: &Path) -> (SigningKey, Policy) {
    let key = key(folder, "growth.pub");
    let trust = "[trust.\"registry.example/growth/*\"]\nsigned-by = [{ key = \"file:growth.pub\" }]\n";
    (key, policy(folder, trust))
}

fn json(bundle: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bundle).unwrap()
}

fn bytes(bundle: &serde_json::Value) -> Vec<u8> {
    serde_json::to_vec(bundle).unwrap()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Box<rota_packages::trust::Untrusted>>) -> Reason {
    result.expect_err("it was trusted").reason
}
