//! Against Debian's docker-registry.

use crate::{cached, packages, with_docker};
use base64::Engine as _;
use bytes::Bytes;
use rota_packages::artifact::About;
use rota_packages::{BUNDLE, Blobs, Build, Digest, Docker, PackageError, PackageRef, Packages, RegistryError};
use rota_testbed::Registry;

/// What is pushed need not be a component: the registry does not look, nor does this crate.
fn content(version: &str) -> Bytes {
    Bytes::from(format!("\0asm {version} {}", "x".repeat(100_000)))
}

fn about(version: &str) -> About {
    About { name: "expired-sessions".into(), version: version.into(), summary: "Removes.".into(), ..About::default() }
}

fn named(registry: &Registry, rest: &str) -> PackageRef {
    format!("{}/growth/expired-sessions{rest}", registry.name()).parse().unwrap()
}

async fn push(packages: &Packages, registry: &Registry, version: &str) -> Digest {
    let package = named(registry, &format!(":{version}"));
    let registry = packages.registry(package.registry()).unwrap();
    registry.push(&package, content(version), &about(version)).await.unwrap().manifest
}

fn build(version: &str, manifest: Digest, bundles: Vec<Digest>) -> Build {
    Build {
        version: version.into(),
        component: Digest::of(&content(version)),
        size: content(version).len() as u64,
        manifest: Some(manifest),
        locked: String::new(),
        signer: None,
        bundles,
        risk: "observe".into(),
        confirmation: None,
        imports: Vec::new(),
        parameters: Vec::new(),
        slots: Vec::new(),
    }
}

#[tokio::test]
async fn pushed_resolved_and_pulled() {
    let server = Registry::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let packages = packages(folder.path());
    for version in ["1.2.0", "1.10.0", "2.0.0", "1.11.0-rc.1", "0.9.0"] {
        push(&packages, &server, version).await;
    }
    let versions: Vec<String> =
        packages.versions(&named(&server, "")).await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(versions, ["2.0.0", "1.11.0-rc.1", "1.10.0", "1.2.0", "0.9.0"], "by version, not by letters");
    for (wanted, found) in [("", "2.0.0"), ("@1", "1.10.0"), ("@1.2", "1.10.0"), ("@0.9", "0.9.0"), (":1.2.0", "1.2.0")]
    {
        let package = named(&server, wanted);
        let resolved = packages.resolve(&package).await.unwrap();
        assert_eq!(resolved.version.as_ref().map(ToString::to_string).as_deref(), Some(found), "{wanted}");
        let pulled = packages.pull(&package, &resolved).await.unwrap();
        assert_eq!((pulled.bytes.as_slice(), &pulled.component), (&content(found)[..], &Digest::of(&content(found))));
    }
    let resolved = packages.resolve(&named(&server, "@1")).await.unwrap();
    let by_digest = named(&server, &format!("@{}", resolved.manifest.digest));
    assert_eq!(packages.resolve(&by_digest).await.unwrap().manifest.digest, resolved.manifest.digest);

    let error = packages.resolve(&named(&server, "@3")).await.unwrap_err();
    assert!(error.to_string().contains("is ^3; it has 2.0.0, 1.11.0-rc.1, 1.10.0, 1.2.0, 0.9.0"), "{error}");
    let missing: PackageRef = format!("{}/growth/nothing@1", server.name()).parse().unwrap();
    assert!(packages.resolve(&missing).await.unwrap_err().to_string().contains("it has no version at all"));
    let error = packages.resolve(&named(&server, ":7.7.7")).await.unwrap_err();
    assert!(matches!(error, PackageError::Registry(RegistryError::NotFound { .. })), "{error}");
}

#[tokio::test]
async fn a_version_is_published_once() {
    let server = Registry::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let packages = packages(folder.path());
    let first = push(&packages, &server, "1.0.0").await;
    let package = named(&server, ":1.0.0");
    let registry = packages.registry(package.registry()).unwrap();
    let again = registry.push(&package, content("1.0.0"), &about("1.0.0")).await.unwrap();
    assert!(again.was_there && again.manifest == first, "the same bytes are no other version");
    let error = registry.push(&package, content("other"), &about("1.0.0")).await.unwrap_err();
    assert!(matches!(&error, PackageError::Published { there, .. } if *there == first), "{error}");
    assert_eq!(packages.resolve(&package).await.unwrap().manifest.digest, first);
    let error = registry.push(&named(&server, ":1.0.1"), Bytes::new(), &about("1.0.1")).await.unwrap_err();
    assert!(error.to_string().contains("has 0 bytes"), "{error}");
}

#[tokio::test]
async fn what_is_locked_comes_from_the_cache_and_again_by_its_digest_alone() {
    let mut server = Registry::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let packages = packages(folder.path());
    let manifest = push(&packages, &server, "1.0.0").await;
    let package = named(&server, "@1");
    let resolved = packages.resolve(&package).await.unwrap();
    let pulled = packages.pull(&package, &resolved).await.unwrap();
    let locked = build("1.0.0", manifest.clone(), pulled.bundles);
    // Something newer is there, and is not looked at.
    push(&packages, &server, "1.1.0").await;
    server.kill();
    assert_eq!(packages.open(&package, &locked, &manifest).await.unwrap().bytes, content("1.0.0"));
    // Damaged: fetched again, once the registry is there.
    let path = packages.blobs().path(&locked.component);
    std::fs::write(&path, "damaged").unwrap();
    let error = packages.open(&package, &locked, &manifest).await.unwrap_err();
    assert!(matches!(error, PackageError::Registry(RegistryError::Unreachable { .. })), "{error}");
    assert!(!path.exists());
    server.restart().await.unwrap();
    assert_eq!(packages.open(&package, &locked, &manifest).await.unwrap().bytes, content("1.0.0"));
    std::fs::remove_dir_all(folder.path().join("cache")).unwrap();
    assert_eq!(packages.open(&package, &locked, &manifest).await.unwrap().bytes, content("1.0.0"));
    assert_eq!(cached(folder.path()).len(), 2, "the manifest and the component");
}

#[tokio::test]
async fn signatures_are_attached_where_the_registry_has_no_referrers_api() {
    let server = Registry::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let packages = packages(folder.path());
    let manifest = push(&packages, &server, "1.0.0").await;
    let other = push(&packages, &server, "1.1.0").await;
    let package = named(&server, "@1");
    let registry = packages.registry(package.registry()).unwrap();
    assert_eq!(packages.signatures(&package, &manifest).await.unwrap(), Vec::<Vec<u8>>::new());
    let size = registry.manifest(package.repository(), manifest.as_str()).await.unwrap().bytes.len() as u64;
    let annotations = [("dev.sigstore.bundle.content", "dsse-envelope")];
    for content in [&b"{\"a\":1}"[..], b"{\"b\":2}", b"{\"a\":1}"] {
        registry.attach(package.repository(), (&manifest, size), BUNDLE, &annotations, content).await.unwrap();
    }
    registry.attach(package.repository(), (&manifest, size), "text/spdx+json", &[], b"sbom").await.unwrap();
    let found = packages.signatures(&package, &manifest).await.unwrap();
    assert_eq!(found, [b"{\"a\":1}".to_vec(), b"{\"b\":2}".to_vec()], "of its type only, and each once");
    assert!(packages.signatures(&package, &other).await.unwrap().is_empty());
    // They do not count as versions.
    assert_eq!(packages.versions(&package).await.unwrap().len(), 2);
    let pulled = packages.pull(&package, &packages.resolve(&named(&server, ":1.0.0")).await.unwrap()).await.unwrap();
    assert_eq!(pulled.bundles, [Digest::of(b"{\"a\":1}"), Digest::of(b"{\"b\":2}")]);
    // One that hangs on another manifest is not taken for this one's, whatever the list says.
    let blobs = Blobs::new(folder.path().join("cache"));
    let listed = registry.referrers(package.repository(), &other, BUNDLE, &blobs).await.unwrap();
    assert!(listed.is_empty());
}

#[tokio::test]
async fn rules_of_trust_are_asked_before_anything_is_used() {
    use rota_packages::{Judge, Subject};
    use std::sync::{Arc, Mutex};
    #[derive(Default)]
    struct Rules(Mutex<Vec<(String, usize)>>, bool);
    impl Judge for Rules {
        fn judge(&self, name: &str, subject: &Subject<'_>, bundles: &[Vec<u8>]) -> Result<Option<String>, String> {
            assert!(subject.manifest.is_some_and(|manifest| manifest.starts_with(b"{")));
            assert!(subject.component.starts_with(b"\0asm"));
            self.0.lock().unwrap().push((name.into(), bundles.len()));
            if self.1 { Ok(Some("key a".into())) } else { Err("nobody signed it".into()) }
        }
    }
    let server = Registry::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let packages = packages(folder.path());
    let manifest = push(&packages, &server, "1.0.0").await;
    let package = named(&server, "@1");
    let resolved = packages.resolve(&package).await.unwrap();
    let strict = Arc::new(Rules::default());
    let before = packages.rules();
    packages.trust(strict.clone());
    assert_ne!(packages.rules(), before);
    let error = packages.pull(&package, &resolved).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{} is not let in: nobody signed it", package.name()));
    assert_eq!(strict.0.lock().unwrap().as_slice(), [(package.name(), 0)]);
    packages.trust(Arc::new(Rules(Mutex::default(), true)));
    let pulled = packages.pull(&package, &resolved).await.unwrap();
    assert_eq!(pulled.signer.as_deref(), Some("key a"));
    // What is in the cache is judged by the rules of today.
    packages.trust(strict);
    let error = packages.open(&package, &build("1.0.0", manifest.clone(), Vec::new()), &manifest).await.unwrap_err();
    assert!(matches!(error, PackageError::Untrusted { .. }), "{error}");
}

#[tokio::test]
async fn credentials_of_dockers_configuration_open_a_registry() {
    let server = Registry::with_user().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let nobody = packages(folder.path());
    let package = named(&server, ":1.0.0");
    let error = nobody.resolve(&package).await.unwrap_err().to_string();
    assert!(error.contains("has no credentials for it; `docker login` makes them"), "{error}");
    for (password, fits) in [(server.password(), true), ("not-the-password", false)] {
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{}:{password}", server.user()));
        let json = format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, server.name());
        std::fs::write(folder.path().join("config.json"), json).unwrap();
        let docker = Docker::of_folder(folder.path());
        let packages = with_docker(folder.path(), docker);
        let registry = packages.registry(package.registry()).unwrap();
        let pushed = registry.push(&package, content("1.0.0"), &about("1.0.0")).await;
        if fits {
            pushed.unwrap();
            let resolved = packages.resolve(&package).await.unwrap();
            assert_eq!(packages.pull(&package, &resolved).await.unwrap().bytes, content("1.0.0"));
        } else {
            let error = pushed.unwrap_err().to_string();
            assert!(error.contains("are not enough") && !error.contains(password) && !error.contains(&auth), "{error}");
        }
    }
}
