//! Bundles that cosign and sigstore's conformance suite made, against the public instance's roots: offline.

use super::*;
use rota_packages::trust::{Subject, Who};

const BLOB: &[u8] = include_bytes!("data/cosign-v3-blob.txt");
const BLOB_BUNDLE: &[u8] = include_bytes!("data/cosign-v3-blob.sigstore.json");
const ARTIFACT: &[u8] = include_bytes!("data/managed-key.txt");
const ARTIFACT_BUNDLE: &[u8] = include_bytes!("data/managed-key.sigstore.json");
const ARTIFACT_KEY: &str = include_str!("data/managed-key.pub");

const IDENTITY: &str = "w.vollprecht@gmail.com";
const ISSUER: &str = "https://github.com/login/oauth";

fn keyless(identity: &str, issuer: &str) -> (tempfile::TempDir, Policy) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("root.json"), sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
    let signer = format!("{{ identity = \"{identity}\", issuer = \"{issuer}\", root = \"file:root.json\" }}");
    let policy = policy(folder.path(), &format!("[trust.\"*\"]\nsigned-by = [{signer}]\n"));
    assert_eq!(policy.unready(), []);
    (folder, policy)
}

#[test]
fn a_keyless_signature_by_cosign_is_trusted_by_its_identity() {
    let (_folder, policy) = keyless(IDENTITY, ISSUER);
    let signer = policy.check("report", &Subject::file(BLOB), &[BLOB_BUNDLE.to_vec()]).unwrap().unwrap();
    assert_eq!(signer.who, Who::Identity { identity: IDENTITY.to_owned(), issuer: ISSUER.to_owned() });
    assert!(signer.logged && signer.signed_at.unwrap().starts_with("2025-12-03T18:36:4"));
    for (identity, issuer) in [("x.vollprecht@gmail.com", ISSUER), (IDENTITY, "https://github.com/login/oauth2")] {
        let (_folder, policy) = keyless(identity, issuer);
        let reason = refused(policy.check("report", &Subject::file(BLOB), &[BLOB_BUNDLE.to_vec()]));
        assert_eq!(
            reason.to_string(),
            format!("it is signed by {IDENTITY} ({ISSUER}), and only {identity} ({issuer}) is taken")
        );
    }
    let reason = refused(policy.check("report", &Subject::file(b"another"), &[BLOB_BUNDLE.to_vec()]));
    assert_eq!(reason.kind(), "other-bytes");
}

#[test]
fn without_its_proofs_a_keyless_signature_is_nothing() {
    let (_folder, policy) = keyless(IDENTITY, ISSUER);
    let without = |change: fn(&mut serde_json::Value)| {
        let mut bundle = json(BLOB_BUNDLE);
        change(&mut bundle["verificationMaterial"]);
        refused(policy.check("report", &Subject::file(BLOB), &[bytes(&bundle)])).kind()
    };
    assert_eq!(without(|material| material["tlogEntries"] = serde_json::json!([])), "not-logged");
    assert_eq!(
        without(|material| drop(material["tlogEntries"][0].as_object_mut().unwrap().remove("inclusionProof"))),
        "not-logged"
    );
    assert_eq!(without(|material| material["tlogEntries"][0]["integratedTime"] = "1764787004".into()), "not-logged");
    assert_eq!(without(|material| material["tlogEntries"][0]["logIndex"] = "1".into()), "not-logged");
    // Both that say when it was made.
    assert_eq!(
        without(|material| {
            drop(material["tlogEntries"][0].as_object_mut().unwrap().remove("inclusionPromise"));
            material["timestampVerificationData"] = serde_json::Value::Null;
        }),
        "no-time"
    );
}

#[test]
fn a_signature_by_a_key_in_the_public_log_is_trusted_with_and_without_the_log() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("root.json"), sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
    std::fs::write(folder.path().join("key.pub"), ARTIFACT_KEY).unwrap();
    for (root, logged) in [("", false), (", root = \"file:root.json\"", true)] {
        let policy =
            policy(folder.path(), &format!("[trust.\"*\"]\nsigned-by = [{{ key = \"file:key.pub\"{root} }}]\n"));
        let signer = policy.check("report", &Subject::file(ARTIFACT), &[ARTIFACT_BUNDLE.to_vec()]).unwrap().unwrap();
        assert_eq!((signer.logged, signer.signed_at.is_some()), (logged, logged));
        // The entry of another signature in the log is no proof for this one.
        let mut bundle = json(ARTIFACT_BUNDLE);
        bundle["verificationMaterial"]["tlogEntries"] =
            json(BLOB_BUNDLE)["verificationMaterial"]["tlogEntries"].clone();
        let other = policy.check("report", &Subject::file(ARTIFACT), &[bytes(&bundle)]);
        if logged {
            let reason = refused(other);
            assert!(matches!(reason, Reason::Broken { .. } | Reason::NotLogged { .. }), "{reason}");
        } else {
            assert!(other.unwrap().is_some(), "without a root, what the log says is not looked at");
        }
    }
}
