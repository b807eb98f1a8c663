//! Keyless signatures, by an authority and logs of our own.

use super::authority::{FROM, IDENTITY, ISSUER, Manner, Sigstore, VALID, What};
use super::*;
use rota_packages::trust::{Subject, Who};
use serde_json::{Value, json};

fn trusting(root: &Value) -> (tempfile::TempDir, Policy) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("trusted_root.json"), root.to_string()).unwrap();
    let trust = format!(
        "[trust.\"registry.example/growth/*\"]\nsigned-by = [{{ identity = \"{IDENTITY}\", issuer = \"{ISSUER}\", root = \"file:trusted_root.json\" }}]\n"
    );
    let policy = policy(folder.path(), &trust);
    assert_eq!(policy.unready(), []);
    (folder, policy)
}

fn check(
    policy: &Policy,
    bundle: &Value,
) -> Result<Option<rota_packages::trust::Signer>, Box<rota_packages::trust::Untrusted>> {
    policy.check(NAME, &Subject::file(COMPONENT), &[bytes(bundle)])
}

#[test]
fn an_identity_is_trusted_for_a_component_and_for_a_package() {
    let sigstore = Sigstore::new();
    let (_folder, policy) = trusting(&sigstore.root());
    let signer = check(&policy, &sigstore.sign(&What::Component(COMPONENT), &Manner::default())).unwrap().unwrap();
    assert_eq!(signer.who, Who::Identity { identity: IDENTITY.to_owned(), issuer: ISSUER.to_owned() });
    assert_eq!((signer.signed_at.as_deref(), signer.logged), (Some("2026-01-02T00:00:05Z"), true));
    let manifest = manifest(COMPONENT);
    let bundle = bytes(&sigstore.sign(&What::Manifest(&manifest), &Manner::default()));
    let subject = Subject::package(&manifest, COMPONENT);
    assert!(policy.check(NAME, &subject, std::slice::from_ref(&bundle)).unwrap().is_some());
    let other = super::manifest(b"another");
    assert_eq!(refused(policy.check(NAME, &Subject::package(&other, b"another"), &[bundle])).kind(), "other-bytes");
}

#[test]
fn another_identity_and_another_issuer_are_the_wrong_signer() {
    let sigstore = Sigstore::new();
    let (_folder, policy) = trusting(&sigstore.root());
    for (identity, issuer) in [
        ("intern@growth.example", ISSUER),
        ("Release@growth.example", ISSUER),
        (IDENTITY, "https://accounts.example.evil"),
        (IDENTITY, "https://accounts.example/"),
    ] {
        let bundle = sigstore.sign(&What::Component(COMPONENT), &Manner { identity, issuer, ..Manner::default() });
        let reason = refused(check(&policy, &bundle));
        assert_eq!(
            reason.to_string(),
            format!("it is signed by {identity} ({issuer}), and only {IDENTITY} ({ISSUER}) is taken")
        );
    }
    // A key is nobody that an issuer vouched for.
    let (key, _) = SigningKey::generate(None).unwrap();
    let by_key = rota_packages::trust::sign_component(&key, COMPONENT).unwrap();
    assert_eq!(refused(policy.check(NAME, &Subject::file(COMPONENT), &[by_key])).kind(), "wrong-signer");
}

#[test]
fn a_certificate_that_was_over_or_had_not_begun_is_refused() {
    let sigstore = Sigstore::new();
    let (_folder, policy) = trusting(&sigstore.root());
    let at = |logged_after| {
        let bundle = sigstore.sign(&What::Component(COMPONENT), &Manner { logged_after, ..Manner::default() });
        check(&policy, &bundle)
    };
    assert!(at(0).is_ok() && at(VALID).is_ok());
    assert_eq!(
        refused(at(VALID + 1)).to_string(),
        "its certificate was not valid any more when it signed: valid until 2026-01-02T00:10:00Z, signed at 2026-01-02T00:10:01Z"
    );
    assert_eq!(
        refused(at(-1)).to_string(),
        "its certificate was not valid yet when it signed: valid from 2026-01-02T00:00:00Z, signed at 2026-01-01T23:59:59Z"
    );
    assert_eq!(FROM + VALID + 1, 1_767_312_000 + 601);
}

#[test]
fn another_authority_and_another_log_are_not_those_of_the_root() {
    let (ours, theirs) = (Sigstore::new(), Sigstore::new());
    let bundle = theirs.sign(&What::Component(COMPONENT), &Manner::default());
    let with = |keys: &[&str]| {
        let mut root = theirs.root();
        for key in keys {
            root[*key] = ours.root()[*key].clone();
        }
        let (_folder, policy) = trusting(&root);
        check(&policy, &bundle)
    };
    assert!(with(&[]).is_ok());
    assert_eq!(refused(with(&["certificateAuthorities"])).kind(), "authority");
    assert_eq!(refused(with(&["tlogs"])).kind(), "not-logged");
    assert_eq!(refused(with(&["ctlogs"])).kind(), "not-logged");
    assert!(with(&["tlogs", "ctlogs", "certificateAuthorities"]).is_err());
}

#[test]
fn every_log_that_the_root_names_must_have_it() {
    let sigstore = Sigstore::new();
    let (_folder, policy) = trusting(&sigstore.root());
    let unlogged =
        sigstore.sign(&What::Component(COMPONENT), &Manner { certificate_logged: false, ..Manner::default() });
    let reason = refused(check(&policy, &unlogged));
    assert!(matches!(&reason, Reason::NotLogged { detail } if detail.contains("certificate timestamp")), "{reason}");
    // A root without a certificate log asks for none.
    let mut root = sigstore.root();
    root["ctlogs"] = json!([]);
    let (_folder, without) = trusting(&root);
    assert!(check(&without, &unlogged).is_ok());

    let right = sigstore.sign(&What::Component(COMPONENT), &Manner::default());
    let mut bundle = right.clone();
    bundle["verificationMaterial"]["tlogEntries"] = json!([]);
    let reason = refused(check(&policy, &bundle));
    assert_eq!(reason, Reason::NotLogged { detail: "the bundle brings no proof of inclusion".to_owned() });
    // Nor is a promise a proof.
    let mut bundle = right.clone();
    bundle["verificationMaterial"]["tlogEntries"][0].as_object_mut().unwrap().remove("inclusionProof");
    assert_eq!(refused(check(&policy, &bundle)).kind(), "not-logged");
    // A proof without the promise: nobody says when.
    let mut bundle = right.clone();
    bundle["verificationMaterial"]["tlogEntries"][0].as_object_mut().unwrap().remove("inclusionPromise");
    assert_eq!(refused(check(&policy, &bundle)).kind(), "no-time");
    // The proof of another signature, in the same log, of the same signer.
    let mut bundle = right;
    let other = sigstore.sign(&What::Component(b"another"), &Manner::default());
    bundle["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"].clone();
    let reason = refused(check(&policy, &bundle));
    assert!(matches!(reason, Reason::Broken { .. }), "{reason}");
}

#[test]
fn a_root_without_a_transparency_log_needs_somebody_else_to_say_when() {
    let sigstore = Sigstore::new();
    let mut root = sigstore.root();
    root["tlogs"] = json!([]);
    let (_folder, policy) = trusting(&root);
    let reason = refused(check(&policy, &sigstore.sign(&What::Component(COMPONENT), &Manner::default())));
    assert!(matches!(reason, Reason::NoTime { .. } | Reason::NotLogged { .. }), "{reason}");
}
