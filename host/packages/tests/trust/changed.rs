//! Whatever one byte is changed in a bundle or a component: it is refused, or the bundle says the same as before.

use super::authority::{Manner, Sigstore, What};
use super::*;
use proptest::prelude::*;
use rota_packages::trust::{Subject, sign_component, sign_manifest};
use sigstore_types::Bundle;

/// Of a bundle, all that says anything. The hint of a key is no more than that, and proofs that a policy does not ask for are nothing.
fn says(bundle: &[u8]) -> (sigstore_types::SignatureContent, Option<sigstore_types::DerCertificate>) {
    let bundle = Bundle::from_json(std::str::from_utf8(bundle).unwrap()).unwrap();
    (bundle.content.clone(), bundle.signing_certificate().cloned())
}

fn holds(policy: &Policy, subject: &Subject<'_>, bundle: &[u8], at: usize, flip: u8) -> Result<(), TestCaseError> {
    let mut changed = bundle.to_vec();
    changed[at] ^= flip;
    if let Ok(signer) = policy.check(NAME, subject, std::slice::from_ref(&changed)) {
        prop_assert!(signer.is_some());
        prop_assert_eq!(says(&changed), says(bundle), "byte {} xor {}", at, flip);
    }
    Ok(())
}

#[test]
fn every_byte_of_a_bundle_by_key() {
    let folder = tempfile::tempdir().unwrap();
    let (key, policy) = by_key(folder.path());
    let manifest = manifest(COMPONENT);
    let component = sign_component(&key, COMPONENT).unwrap();
    let package = sign_manifest(&key, &manifest).unwrap();
    let mut refused = 0;
    for (bundle, subject) in [(component, Subject::file(COMPONENT)), (package, Subject::package(&manifest, COMPONENT))]
    {
        for at in 0..bundle.len() {
            for flip in [0x01, 0x20] {
                holds(&policy, &subject, &bundle, at, flip).unwrap();
                let mut changed = bundle.clone();
                changed[at] ^= flip;
                refused += usize::from(policy.check(NAME, &subject, &[changed]).is_err());
            }
        }
        for at in 0..bundle.len() {
            assert!(policy.check(NAME, &subject, &[bundle[..at].to_vec()]).is_err(), "cut at {at}");
        }
    }
    assert!(refused > 1_000, "{refused}");
}

#[test]
fn every_byte_of_a_component_and_a_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let (key, policy) = by_key(folder.path());
    let whole = manifest(COMPONENT);
    let (by_component, by_manifest) =
        ([sign_component(&key, COMPONENT).unwrap()], [sign_manifest(&key, &whole).unwrap()]);
    for at in 0..COMPONENT.len() {
        let mut changed = COMPONENT.to_vec();
        changed[at] ^= 1;
        assert!(policy.check(NAME, &Subject::file(&changed), &by_component).is_err(), "{at}");
        assert!(policy.check(NAME, &Subject::package(&whole, &changed), &by_manifest).is_err(), "{at}");
        // With a manifest to fit it, which nobody signed.
        assert!(policy.check(NAME, &Subject::package(&manifest(&changed), &changed), &by_manifest).is_err(), "{at}");
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(policy.check(NAME, &Subject::package(&changed, COMPONENT), &by_manifest).is_err(), "{at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn any_byte_of_a_keyless_bundle(at in any::<prop::sample::Index>(), flip in 1..=255_u8, package in any::<bool>()) {
        thread_local! {
            static MADE: (tempfile::TempDir, Policy, [Vec<u8>; 2]) = made();
        }
        MADE.with(|(_, policy, bundles)| {
            let manifest = manifest(COMPONENT);
            let subject = if package { Subject::package(&manifest, COMPONENT) } else { Subject::file(COMPONENT) };
            let bundle = &bundles[usize::from(package)];
            holds(policy, &subject, bundle, at.index(bundle.len()), flip)
        })?;
    }
}

fn made() -> (tempfile::TempDir, Policy, [Vec<u8>; 2]) {
    let (sigstore, folder) = (Sigstore::new(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("root.json"), sigstore.root().to_string()).unwrap();
    let signer = format!(
        "{{ identity = \"{}\", issuer = \"{}\", root = \"file:root.json\" }}",
        super::authority::IDENTITY,
        super::authority::ISSUER
    );
    let policy = policy(folder.path(), &format!("[trust.\"*\"]\nsigned-by = [{signer}]\n"));
    let bundles = [What::Component(COMPONENT), What::Manifest(&manifest(COMPONENT))];
    let bundles = bundles.map(|what| bytes(&sigstore.sign(&what, &Manner::default())));
    (folder, policy, bundles)
}
