//! Signatures by a key, made here.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rota_packages::trust::{PREDICATE, Subject, sign_component, sign_manifest};

#[test]
fn a_component_and_a_package_are_trusted_by_who_signed_them() {
    let folder = tempfile::tempdir().unwrap();
    let (key, policy) = by_key(folder.path());
    let signer =
        policy.check(NAME, &Subject::file(COMPONENT), &[sign_component(&key, COMPONENT).unwrap()]).unwrap().unwrap();
    assert_eq!(signer.to_string(), format!("key {}", key.public().fingerprint()));
    assert_eq!((signer.signed_at, signer.logged), (None, false));

    let manifest = manifest(COMPONENT);
    let bundle = sign_manifest(&key, &manifest).unwrap();
    let subject = Subject::package(&manifest, COMPONENT);
    assert!(policy.check(NAME, &subject, std::slice::from_ref(&bundle)).unwrap().is_some());
    // One right one among others is enough, wherever it stands.
    let other = key_of_another();
    let bundles = [b"{}".to_vec(), sign_manifest(&other, &manifest).unwrap(), bundle];
    assert!(policy.check(NAME, &subject, &bundles).unwrap().is_some());

    let verdict = policy.judge(NAME, &subject, &bundles).to_json();
    assert_eq!(verdict["signer"]["fingerprint"], key.public().fingerprint());
    assert_eq!(verdict["rule"], "registry.example/growth/*");
}

fn key_of_another() -> SigningKey {
    SigningKey::generate(None).unwrap().0
}

#[test]
fn what_is_not_signed_is_refused_and_told_whose_signature_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let (key, policy) = by_key(folder.path());
    let error = policy.check(NAME, &Subject::file(COMPONENT), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "`{NAME}` is not trusted: it has no signature, and needs one of key {} (growth.pub); sign it: rota plugins sign ([trust.\"registry.example/growth/*\"] is for it)",
            key.public().fingerprint()
        )
    );
    assert_eq!(error.reason.kind(), "unsigned");
    // Beyond the namespace, nothing is asked for.
    assert_eq!(policy.check("registry.example/other/report", &Subject::file(COMPONENT), &[]), Ok(None));
    assert_eq!(policy.check("report", &Subject::file(COMPONENT), &[]), Ok(None));
}

#[test]
fn another_key_is_the_wrong_signer() {
    let folder = tempfile::tempdir().unwrap();
    let (key, policy) = by_key(folder.path());
    let other = key_of_another();
    let subject = Subject::file(COMPONENT);
    let bundle = sign_component(&other, COMPONENT).unwrap();
    let Reason::WrongSigner { found, wanted } = refused(policy.check(NAME, &subject, std::slice::from_ref(&bundle)))
    else {
        panic!()
    };
    assert_eq!(found, format!("the key {}", other.public().fingerprint()));
    assert_eq!(wanted, format!("key {} (growth.pub)", key.public().fingerprint()));
    // A bundle that does not say, or says what is not so.
    let mut unnamed = json(&bundle);
    unnamed["verificationMaterial"]["publicKey"]["hint"] = "".into();
    assert_eq!(refused(policy.check(NAME, &subject, &[bytes(&unnamed)])).kind(), "wrong-signer");
    unnamed["verificationMaterial"]["publicKey"]["hint"] = key.public().hint().into();
    assert_eq!(refused(policy.check(NAME, &subject, &[bytes(&unnamed)])).kind(), "broken");
}

#[test]
fn a_signature_over_other_bytes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (key, policy) = by_key(folder.path());
    let bundle = sign_component(&key, b"another component").unwrap();
    let reason = refused(policy.check(NAME, &Subject::file(COMPONENT), std::slice::from_ref(&bundle)));
    assert!(matches!(reason, Reason::OtherBytes { .. }), "{reason}");
    // The digest put right, the signature is still over the others.
    let mut claimed = json(&bundle);
    let right = json(&sign_component(&key, COMPONENT).unwrap());
    claimed["messageSignature"]["messageDigest"] = right["messageSignature"]["messageDigest"].clone();
    assert_eq!(refused(policy.check(NAME, &Subject::file(COMPONENT), &[bytes(&claimed)])).kind(), "broken");

    let (ours, theirs) = (manifest(COMPONENT), manifest(b"another component"));
    let bundle = sign_manifest(&key, &theirs).unwrap();
    let reason = refused(policy.check(NAME, &Subject::package(&ours, COMPONENT), std::slice::from_ref(&bundle)));
    assert!(matches!(reason, Reason::OtherBytes { .. }), "{reason}");
    // A manifest that is signed lends nothing to a component that it does not name.
    let reason = refused(policy.check(NAME, &Subject::package(&theirs, COMPONENT), std::slice::from_ref(&bundle)));
    assert!(matches!(reason, Reason::OtherComponent { .. }), "{reason}");
    // Nor does a component's own signature speak for the package around it.
    let bundle = sign_component(&key, COMPONENT).unwrap();
    let reason = refused(policy.check(NAME, &Subject::package(&ours, COMPONENT), &[bundle]));
    assert!(matches!(reason, Reason::OtherBytes { .. }), "{reason}");
}

/// The signer's own statement that says something else: that a scan found holes, say.
#[test]
fn another_statement_of_the_same_signer_is_no_signature() {
    let folder = tempfile::tempdir().unwrap();
    let (key, policy) = by_key(folder.path());
    let manifest = manifest(COMPONENT);
    let bundle = json(&sign_manifest(&key, &manifest).unwrap());
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let other =
        String::from_utf8(payload).unwrap().replace(PREDICATE, "https://cosign.sigstore.dev/attestation/vuln/v1");
    let mut changed = bundle;
    changed["dsseEnvelope"]["payload"] = STANDARD.encode(other).into();
    let reason = refused(policy.check(NAME, &Subject::package(&manifest, COMPONENT), &[bytes(&changed)]));
    assert_eq!(reason, Reason::NotASignature { kind: "https://cosign.sigstore.dev/attestation/vuln/v1".to_owned() });
}

#[test]
fn what_is_no_bundle_is_refused_however_large_or_many() {
    let folder = tempfile::tempdir().unwrap();
    let (key, policy) = by_key(folder.path());
    let subject = Subject::file(COMPONENT);
    let check = |bundles: &[Vec<u8>]| refused(policy.check(NAME, &subject, bundles));
    let deep = "[".repeat(100_000).into_bytes();
    for bytes in [Vec::new(), b"{}".to_vec(), b"\xff\xfe".to_vec(), b"null".to_vec(), deep, vec![b' '; 1 << 20]] {
        let reason = check(&[bytes]);
        assert!(matches!(&reason, Reason::Malformed { detail } if detail.len() < 300), "{reason}");
    }
    assert_eq!(check(&[vec![b' '; (1 << 20) + 1]]), Reason::TooLarge);
    let right = sign_component(&key, COMPONENT).unwrap();
    assert_eq!(check(&vec![right.clone(); 33]), Reason::TooMany { count: 33 });
    // What a bundle says of itself reaches a terminal in one line, with nothing that it obeys.
    let mut named = json(&right);
    named["verificationMaterial"]["publicKey"]["hint"] = format!("\u{1b}[31m\n{}", "x".repeat(10_000)).into();
    let shown = check(&[bytes(&named)]).to_string();
    assert!(shown.len() < 500 && !shown.contains(['\u{1b}', '\n']), "{shown}");
}

#[test]
fn where_a_signature_is_not_required_a_wrong_one_is_refused_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path(), "growth.pub");
    let policy = policy(
        folder.path(),
        "[trust.\"*\"]\nrequired = false\nsigned-by = [{ key = \"file:growth.pub\" }]\n[trust.\"file/*\"]\nrequired = false\n",
    );
    let subject = Subject::file(COMPONENT);
    assert_eq!(policy.check("report", &subject, &[]), Ok(None));
    let right = sign_component(&key, COMPONENT).unwrap();
    assert!(policy.check("report", &subject, &[right]).unwrap().is_some());
    let wrong = sign_component(&key_of_another(), COMPONENT).unwrap();
    assert_eq!(refused(policy.check("report", &subject, std::slice::from_ref(&wrong))).kind(), "wrong-signer");
    // Where nobody is named, nothing is looked at.
    assert_eq!(policy.check("file/report", &subject, &[wrong]), Ok(None));
}

#[test]
fn with_a_root_beside_the_key_a_log_must_have_it_too() {
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path(), "growth.pub");
    std::fs::write(folder.path().join("root.json"), sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
    let policy = policy(
        folder.path(),
        "[trust.\"*\"]\nsigned-by = [{ key = \"file:growth.pub\", root = \"file:root.json\" }]\n",
    );
    assert_eq!(policy.unready(), []);
    let bundle = sign_component(&key, COMPONENT).unwrap();
    let reason = refused(policy.check("report", &Subject::file(COMPONENT), &[bundle]));
    assert_eq!(reason, Reason::NotLogged { detail: "the bundle brings no proof of inclusion".to_owned() });
}
