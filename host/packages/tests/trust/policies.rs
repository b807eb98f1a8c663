//! Policies whose files are not as they should be: nobody that they stand for is trusted, and the rest holds.

use super::*;
use rota_packages::trust::{Subject, sign_component};
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_file_that_cannot_be_used_is_told_with_its_key_and_trusts_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (pair, private) = SigningKey::generate(None).unwrap();
    std::fs::write(path("private.pub"), private.expose()).unwrap();
    std::fs::write(path("text.pub"), "a key").unwrap();
    std::fs::write(path("open.pub"), pair.public().to_pem()).unwrap();
    std::fs::set_permissions(path("open.pub"), std::fs::Permissions::from_mode(0o666)).unwrap();
    std::fs::create_dir(path("folder.pub")).unwrap();
    std::fs::write(path("large.pub"), " ".repeat((1 << 20) + 1)).unwrap();
    std::fs::write(path("empty.json"), r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#)
        .unwrap();
    std::fs::write(path("good.pub"), pair.public().to_pem()).unwrap();
    for (signer, key, problem) in [
        ("{ key = \"file:none.pub\" }", "key", "none.pub: No such file or directory (os error 2)"),
        (
            "{ key = \"file:private.pub\" }",
            "key",
            "private.pub: it is no PEM file with a public key (it holds a PRIVATE KEY)",
        ),
        ("{ key = \"file:text.pub\" }", "key", "text.pub: it is no PEM file with a public key"),
        ("{ key = \"file:open.pub\" }", "key", "open.pub: it can be changed by everyone; run: chmod o-w on it"),
        ("{ key = \"file:folder.pub\" }", "key", "folder.pub: it is not a file, but a folder"),
        ("{ key = \"file:large.pub\" }", "key", "large.pub: it is larger than 1 MiB"),
        (
            "{ key = \"file:good.pub\", root = \"file:empty.json\" }",
            "root",
            "empty.json: it names no transparency log, and beside a key it is for that",
        ),
        (
            "{ identity = \"a@b\", issuer = \"https://i\", root = \"file:empty.json\" }",
            "root",
            "empty.json: it names no certificate authority",
        ),
        (
            "{ identity = \"a@b\", issuer = \"https://i\", root = \"file:text.pub\" }",
            "root",
            "text.pub: it is no trust root: ",
        ),
    ] {
        let policy = policy(folder.path(), &format!("[trust.\"*\"]\nsigned-by = [{signer}]\n"));
        let [unready] = policy.unready() else { panic!("{signer}: {:?}", policy.unready()) };
        assert_eq!(
            (unready.place().as_str(), unready.key),
            (format!("trust.*.signed-by[0].{key}").as_str(), key),
            "{signer}"
        );
        let told = unready.problem.strip_prefix(&format!("{}/", folder.path().display())).unwrap();
        assert!(told == problem || (problem.ends_with(": ") && told.starts_with(problem)), "{told}");
        // Not even a signature that would do.
        let bundle = sign_component(&pair, COMPONENT).unwrap();
        let reason = refused(policy.check("report", &Subject::file(COMPONENT), &[bundle]));
        assert!(matches!(&reason, Reason::Unready { detail } if detail.contains(problem)), "{signer}: {reason}");
        assert_eq!(refused(policy.check("report", &Subject::file(COMPONENT), &[])).kind(), "unsigned");
    }
    // One that can be used is, beside one that cannot.
    let policy = policy(
        folder.path(),
        "[trust.\"*\"]\nsigned-by = [{ key = \"file:none.pub\" }, { key = \"file:good.pub\" }]\n",
    );
    let bundle = sign_component(&pair, COMPONENT).unwrap();
    assert!(policy.check("report", &Subject::file(COMPONENT), &[bundle]).unwrap().is_some());
}

#[test]
fn each_namespace_has_its_own_signers() {
    let folder = tempfile::tempdir().unwrap();
    let (growth, platform) = (key(folder.path(), "growth.pub"), key(folder.path(), "platform.pub"));
    let policy = policy(
        folder.path(),
        "[trust.\"*\"]\nsigned-by = [{ key = \"file:platform.pub\" }]\n[trust.\"registry.example/growth/*\"]\nsigned-by = [{ key = \"file:growth.pub\" }]\n",
    );
    let subject = Subject::file(COMPONENT);
    let [by_growth, by_platform] = [&growth, &platform].map(|key| [sign_component(key, COMPONENT).unwrap()]);
    assert!(policy.check(NAME, &subject, &by_growth).is_ok());
    assert!(policy.check("report", &subject, &by_platform).is_ok());
    // The nearest rule counts alone: who may sign everything may not sign for growth.
    assert_eq!(refused(policy.check(NAME, &subject, &by_platform)).kind(), "wrong-signer");
    assert_eq!(refused(policy.check("report", &subject, &by_growth)).kind(), "wrong-signer");
}
