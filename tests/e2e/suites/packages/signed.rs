//! Packages that must be signed: what is attached to them in their registry, and what is not let in.

use super::{FIRST, job, ok, package, refused, runs, said, version};
use crate::rota;
use rota_testbed::Registry;
use rota_tests::Rota;
use serde_json::json;

/// A rule for the packages of a registry, and whatever else the configuration holds.
fn trusting(registry: &Registry, key: &str, rest: &str) -> String {
    format!("[trust.\"{}/growth/*\"]\nsigned-by = [{{ key = \"file:{key}\" }}]\n{rest}", registry.name())
}

async fn keys(rota: &Rota) {
    for name in ["growth", "other"] {
        ok(rota, &["plugins", "keygen", name]).await;
    }
}

async fn sign(rota: &Rota, reference: &str, key: &str) -> serde_json::Value {
    ok(rota, &["plugins", "sign", reference, "--key", key]).await
}

#[tokio::test]
async fn a_package_is_let_in_once_who_may_sign_it_did() {
    let mut registry = Registry::start().await.unwrap();
    let rota = rota();
    keys(&rota).await;
    let pushed = FIRST.push(&rota, &registry).await;
    let reference = package(&registry, "@1");
    rota.configure(&trusting(&registry, "growth.pub", &job(&reference))).unwrap();
    for arguments in [&["plugins", "pull", &reference][..], &["run", "nightly"]] {
        let message = refused(&rota, arguments, 2).await;
        assert!(message.contains("is not let in: it has no signature, and needs one of key"), "{message}");
    }
    assert!(!rota.path("work/rota.lock").exists(), "what is not let in is not locked");

    sign(&rota, &package(&registry, ":1.0.0"), "other.key").await;
    let message = refused(&rota, &["plugins", "pull", &reference], 2).await;
    assert!(message.contains("it is signed by the key"), "{message}");

    // Beside the other's, which does no harm.
    let signed = sign(&rota, &reference, "growth.key").await;
    assert_eq!(signed["digest"], pushed["manifest"], "the manifest is what is signed");
    let pulled = ok(&rota, &["plugins", "pull", &reference]).await;
    let signer = format!("key {}", signed["key"].as_str().unwrap());
    assert_eq!(pulled["signer"], json!(signer));
    assert_eq!(runs(&rota, "nightly").await, "first");
    let verified = ok(&rota, &["plugins", "verify", &reference]).await;
    assert_eq!(verified["signature"]["signer"]["fingerprint"], signed["key"]);

    // Without the registry it is judged by what is kept, and by the rules of now.
    registry.kill();
    assert_eq!(runs(&rota, "nightly").await, "first");
    rota.configure(&trusting(&registry, "gone.pub", &job(&reference))).unwrap();
    let message = refused(&rota, &["run", "nightly"], 2).await;
    assert!(message.contains("the rule for it cannot be applied"), "{message}");
}

#[tokio::test]
async fn what_was_locked_unsigned_runs_again_once_it_is_signed() {
    let mut registry = Registry::start().await.unwrap();
    let rota = rota();
    keys(&rota).await;
    FIRST.push(&rota, &registry).await;
    let reference = package(&registry, "@1");
    rota.configure(&job(&reference)).unwrap();
    assert_eq!(runs(&rota, "nightly").await, "first");
    rota.configure(&trusting(&registry, "growth.pub", &job(&reference))).unwrap();
    let check = said(&rota, &["config", "check"], 2).await;
    assert!(check.all().contains("it has no signature"), "{check:?}");
    sign(&rota, &reference, "growth.key").await;
    assert_eq!(runs(&rota, "nightly").await, "first");
    // The signature is kept with the lock.
    registry.kill();
    assert_eq!(runs(&rota, "nightly").await, "first");
}

#[tokio::test]
async fn an_update_to_what_is_not_signed_is_not_taken() {
    let registry = Registry::start().await.unwrap();
    let rota = rota();
    keys(&rota).await;
    FIRST.push(&rota, &registry).await;
    let reference = package(&registry, "@1");
    rota.configure(&trusting(&registry, "growth.pub", &job(&reference))).unwrap();
    sign(&rota, &reference, "growth.key").await;
    assert_eq!(runs(&rota, "nightly").await, "first");
    version("1.1.0", "second").push(&rota, &registry).await;
    // The same status from whatever would take it.
    let pinned = ["plugins", "pin", "expired-sessions@1.1.0"];
    let second = package(&registry, ":1.1.0");
    for arguments in
        [&["plugins", "update"][..], &["plugins", "update", "--plan"], &pinned, &["plugins", "pull", &second]]
    {
        let answer = said(&rota, arguments, 2).await;
        assert!(answer.all().contains("it has no signature"), "{arguments:?}: {answer:?}");
    }
    assert_eq!(runs(&rota, "nightly").await, "first");
    sign(&rota, &package(&registry, ":1.1.0"), "growth.key").await;
    assert_eq!(ok(&rota, &["plugins", "update"]).await[0]["outcome"], json!("updated"));
    assert_eq!(runs(&rota, "nightly").await, "second");
}

#[tokio::test]
async fn what_is_no_package_is_not_signed() {
    let registry = Registry::start().await.unwrap();
    let rota = rota();
    keys(&rota).await;
    let nothing = package(&registry, ":9.9.9");
    assert_ne!(rota.run(&["plugins", "sign", &nothing, "--key", "growth.key"]).await.unwrap().status, Some(0));
    let message = refused(&rota, &["plugins", "sign", "Not A Package", "--key", "growth.key"], 2).await;
    assert!(message.contains("Not A Package"), "{message}");
}
