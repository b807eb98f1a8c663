//! A registry that does all that a registry should not: each refused with its own words, nothing kept, little read.

use crate::server::{Answer, Body, HandServer, Request};
use crate::{cached, packages, with_docker};
use rota_packages::artifact::{About, build};
use rota_packages::{Digest, Docker, LARGEST_COMPONENT, PackageError, PackageRef, Packages, RegistryError};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

const COMPONENT: &[u8] = b"\0asm, or so it says";

fn manifest() -> Vec<u8> {
    build(COMPONENT, &About { name: "x".into(), version: "1.0.0".into(), ..About::default() }).1
}

/// The manifest with something else in it.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(&manifest()).unwrap();
    change(&mut value);
    value.to_string().into_bytes()
}

/// A sound registry of one package, but for what the test says.
async fn registry(manifest: Vec<u8>, blob: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> HandServer {
    HandServer::start(move |request| match request.path.as_str() {
        path if path.contains("/manifests/sha256-") || path.contains("/referrers/") => Answer::not_found(),
        path if path.contains("/manifests/") => Answer::ok(manifest.clone()),
        path if path.contains("/blobs/") => blob(request),
        path if path.contains("/tags/list") => Answer::ok(r#"{"name":"x","tags":["1.0.0"]}"#),
        _ => Answer::not_found(),
    })
    .await
}

async fn pull(packages: &Packages, server: &HandServer) -> Result<Vec<u8>, PackageError> {
    let package: PackageRef = format!("{}/team/x:1.0.0", server.name()).parse().unwrap();
    let resolved = packages.resolve(&package).await?;
    Ok(packages.pull(&package, &resolved).await?.bytes)
}

/// What a pull is refused with; nothing of it may stay.
async fn refused(server: &HandServer) -> PackageError {
    let folder = tempfile::tempdir().unwrap();
    let error = pull(&packages(folder.path()), server).await.unwrap_err();
    assert_eq!(cached(folder.path()), Vec::<String>::new(), "{error}");
    let text = error.to_string();
    assert!(text.chars().all(|c| !c.is_control()) && text.len() < 1_000, "{text:?}");
    error
}

/// The most memory that this process ever had, bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test]
async fn a_sound_one_is_pulled() {
    let server = registry(manifest(), |_| Answer::ok(COMPONENT)).await;
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(pull(&packages(folder.path()), &server).await.unwrap(), COMPONENT);
}

#[tokio::test]
async fn four_gigabytes_declared_are_not_asked_for() {
    let server = registry(changed(|m| m["layers"][0]["size"] = json!(4_u64 << 30)), |_| Answer::ok("")).await;
    let error = refused(&server).await.to_string();
    assert!(error.contains("has 4294967296 bytes; from 1 to 268435456 are taken"), "{error}");
    assert!(server.requests().iter().all(|request| !request.path.contains("/blobs/")));
}

#[tokio::test]
async fn four_gigabytes_instead_of_a_few_are_cut_off() {
    let before = peak();
    for head in ["HTTP/1.1 200 OK\nContent-Length: 4294967296", "HTTP/1.1 200 OK\nConnection: close"] {
        let server = registry(manifest(), move |_| Answer::raw(head, Body::Zeros(4 << 30))).await;
        let error = refused(&server).await;
        assert!(matches!(error, PackageError::Registry(RegistryError::TooLarge { limit: 19, .. })), "{error}");
        assert!(server.sent() < 32 << 20, "{} bytes were taken", server.sent());
    }
    assert!(peak() - before < 64 << 20, "{} bytes more", peak() - before);
}

#[tokio::test]
async fn a_component_as_large_as_is_taken_goes_through_little_memory() {
    // Of a manifest that says so: content that its digest does not verify, 256 MiB of it.
    let before = peak();
    let server = registry(changed(|m| m["layers"][0]["size"] = json!(LARGEST_COMPONENT)), |_| {
        Answer::raw("HTTP/1.1 200 OK\nConnection: close", Body::Zeros(LARGEST_COMPONENT))
    })
    .await;
    let error = refused(&server).await;
    assert!(matches!(error, PackageError::Registry(RegistryError::Digest { .. })), "{error}");
    assert!(peak() - before < 64 << 20, "{} bytes more", peak() - before);
}

#[tokio::test]
async fn answers_of_any_length_are_cut_off() {
    for (part, said) in [("/manifests/", "larger than 262144 bytes"), ("/tags/list", "larger than 4194304 bytes")] {
        let server = HandServer::start(move |request| {
            if request.path.contains(part) {
                return Answer::raw("HTTP/1.1 200 OK\nConnection: close", Body::Zeros(4 << 30));
            }
            Answer::not_found()
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let packages = packages(folder.path());
        let package: PackageRef = match part {
            "/tags/list" => format!("{}/team/x@1", server.name()),
            _ => format!("{}/team/x:1.0.0", server.name()),
        }
        .parse()
        .unwrap();
        let error = packages.resolve(&package).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(server.sent() < 32 << 20, "{}", server.sent());
    }
    // An error's text, too.
    let server = HandServer::start(|_| Answer::raw("HTTP/1.1 500 X\nConnection: close", Body::Zeros(4 << 30))).await;
    let error = refused(&server).await;
    assert!(matches!(error, PackageError::Registry(RegistryError::Status { status: 500, .. })), "{error}");
    assert!(server.sent() < 32 << 20, "{}", server.sent());
}

#[tokio::test]
async fn what_is_no_plugin_is_refused_before_anything_of_it_is_fetched() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 9] = [
        (|m| m["layers"] = json!([m["layers"][0], m["layers"][0]]), "has 2 layers; a plugin is exactly one"),
        (|m| m["layers"] = json!([]), "has 0 layers"),
        (
            |m| m["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip"),
            "no layer is decompressed here",
        ),
        (|m| m["layers"][0]["mediaType"] = json!("application/wasm+zstd"), "no layer is decompressed here"),
        (
            |m| m["layers"][0]["mediaType"] = json!("application/x-\u{1b}[31mexecutable"),
            "its layer is of the media type",
        ),
        (|m| m["config"]["mediaType"] = json!("application/vnd.oci.image.config.v1+json"), "no WebAssembly package"),
        (|m| m["layers"][0]["urls"] = json!(["http://169.254.169.254/latest"]), "stored elsewhere"),
        (|m| m["layers"][0]["digest"] = json!("sha256:../../../etc/passwd"), "digest of its layer"),
        (|m| m["manifests"] = json!([]), "a list of manifests"),
    ];
    for (change, said) in cases {
        let server = registry(changed(change), |_| Answer::ok(COMPONENT)).await;
        let error = refused(&server).await.to_string();
        assert!(error.contains(said), "{said}: {error}");
        assert!(server.requests().iter().all(|request| !request.path.contains("/blobs/")), "{said}");
    }
}

#[tokio::test]
async fn what_a_manifest_says_beside_what_is_in_it_is_nobodys() {
    // Annotations, and tags that are none: neither is a file's name, a line of the lock or a text for people.
    let annotated = changed(|m| {
        m["annotations"] = json!({
            "org.opencontainers.image.title": "../../x.wasm",
            "org.opencontainers.image.version": "9.9.9\nversion = 2",
            "org.opencontainers.image.description": "\u{1b}]0;owned\u{7}"
        });
    });
    let server = HandServer::start(move |request| match request.path.as_str() {
        path if path.contains("/manifests/sha256-") || path.contains("/referrers/") => Answer::not_found(),
        path if path.ends_with("/manifests/1.0.0") => Answer::ok(annotated.clone()),
        path if path.contains("/blobs/") => Answer::ok(COMPONENT),
        path if path.contains("/tags/list") => {
            Answer::ok(json!({ "tags": ["../../x", "1.9.0/../../x", "latest\n", "v2.0.0", "1.0.0"] }).to_string())
        }
        _ => Answer::not_found(),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let packages = packages(folder.path());
    let package: PackageRef = format!("{}/team/x@1", server.name()).parse().unwrap();
    let resolved = packages.resolve(&package).await.unwrap();
    assert_eq!(resolved.tag.as_deref(), Some("1.0.0"));
    let pulled = packages.pull(&package, &resolved).await.unwrap();
    assert_eq!((pulled.bytes.as_slice(), pulled.version.unwrap().to_string()), (COMPONENT, "1.0.0".to_owned()));
    let names = [Digest::of(COMPONENT), resolved.manifest.digest].map(|digest| digest.hex().to_owned());
    assert!(cached(folder.path()).iter().all(|name| names.contains(name)), "{:?}", cached(folder.path()));
}

#[tokio::test]
async fn a_compressed_answer_is_taken_as_it_comes() {
    // As many bytes as declared, of which a client that decompresses would make more.
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    bomb.resize(COMPONENT.len(), 0);
    let server =
        registry(manifest(), move |_| Answer::new(200, &[("Content-Encoding", "gzip".to_owned())], bomb.clone())).await;
    let error = refused(&server).await;
    assert!(matches!(error, PackageError::Registry(RegistryError::Digest { .. })), "{error}");
    assert!(server.requests().iter().all(|request| request.header("accept-encoding").is_none()));
}

#[tokio::test]
async fn other_content_than_the_digest_says() {
    let mut other = COMPONENT.to_vec();
    other[5] ^= 1;
    let server = registry(manifest(), move |_| Answer::ok(other.clone())).await;
    let error = refused(&server).await;
    assert!(
        matches!(&error, PackageError::Registry(RegistryError::Digest { wanted, .. }) if *wanted == Digest::of(COMPONENT)),
        "{error}"
    );
    // A manifest that is asked for by its digest.
    let server = registry(manifest(), |_| Answer::ok(COMPONENT)).await;
    let folder = tempfile::tempdir().unwrap();
    let package: PackageRef = format!("{}/team/x@{}", server.name(), Digest::of(b"another")).parse().unwrap();
    let error = packages(folder.path()).resolve(&package).await.unwrap_err();
    assert!(matches!(error, PackageError::Registry(RegistryError::Digest { .. })), "{error}");
}

#[tokio::test]
async fn a_body_that_ends_early() {
    let half = &COMPONENT[..10];
    let server = registry(manifest(), move |_| {
        let mut answer = Answer::ok(half);
        answer.head = answer.head.replace("Content-Length: 10", "Content-Length: 19");
        answer
    })
    .await;
    let error = refused(&server).await.to_string();
    assert!(error.contains("ended early: 10 of 19 bytes came"), "{error}");
    let server =
        registry(manifest(), move |_| Answer::raw("HTTP/1.1 200 OK\nConnection: close", Body::Bytes(half.to_vec())))
            .await;
    let error = refused(&server).await.to_string();
    assert!(error.contains("ended early: 10 of 19 bytes came"), "{error}");
    let server = registry(manifest(), move |_| Answer::ok(half)).await;
    let error = refused(&server).await.to_string();
    assert!(error.contains("ended early: 10 of 19 bytes came"), "{error}");
}

#[tokio::test]
async fn a_redirect_to_another_host_gets_nothing() {
    let elsewhere = HandServer::start(|_| Answer::ok(COMPONENT)).await;
    let name = elsewhere.name();
    for (part, to) in [
        ("/blobs/", format!("http://{name}/secret?X-Amz-Signature=abc")),
        ("/blobs/", "http://169.254.169.254/latest/meta-data".into()),
        ("/blobs/", "file:///etc/passwd".into()),
        ("/manifests/", format!("http://{name}/manifest")),
        // Content over TLS may come from elsewhere, a manifest not even so.
        ("/manifests/", "https://cdn.example/manifest".into()),
        ("/blobs/", format!("https://{name}/blob")),
    ] {
        let target = to.clone();
        let server = HandServer::start(move |request| match request.path.as_str() {
            path if path.contains(part) => Answer::new(307, &[("Location", target.clone())], ""),
            path if path.contains("/manifests/") => Answer::ok(manifest()),
            _ => Answer::not_found(),
        })
        .await;
        let error = refused(&server).await;
        assert!(matches!(error, PackageError::Registry(RegistryError::Redirect { .. })), "{to}: {error}");
        let text = error.to_string();
        assert!(!text.contains("Signature") && !text.contains("meta-data"), "{text}");
    }
    assert!(elsewhere.requests().is_empty(), "{:?}", elsewhere.requests());
}

#[tokio::test]
async fn redirects_within_the_registry_are_followed_and_end() {
    let server = HandServer::start(|request| match request.path.as_str() {
        "/real" => Answer::ok(COMPONENT),
        path if path.contains("/blobs/") => Answer::new(302, &[("Location", "/real".into())], ""),
        path if path.contains("/manifests/sha256-") || path.contains("/referrers/") => Answer::not_found(),
        path if path.contains("/manifests/") => Answer::ok(manifest()),
        _ => Answer::not_found(),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(pull(&packages(folder.path()), &server).await.unwrap(), COMPONENT);
    let server =
        HandServer::start(|request| Answer::new(302, &[("Location", format!("{}/more", request.path))], "")).await;
    let error = refused(&server).await.to_string();
    assert!(error.contains("more than 3 redirects"), "{error}");
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn credentials_go_nowhere_else() {
    let collector = HandServer::start(|_| Answer::ok(r#"{"token":"t"}"#)).await;
    let auth = "dXNlcjpodW50ZXIyLXBhc3N3b3Jk"; // user:hunter2-password
    for challenge in [
        format!(
            "Bearer realm=\"http://collector.example:{}/token\",service=\"x\"",
            collector.name().rsplit(':').next().unwrap()
        ),
        "Bearer realm=\"https://169.254.169.254/token\"".to_owned(),
        "Bearer realm=\"file:///etc/passwd\"".to_owned(),
        "Bearer realm=\"http://user:pass@127.0.0.1/token\"".to_owned(),
    ] {
        let challenge = Arc::new(challenge);
        let told = challenge.clone();
        let server = HandServer::start(move |_| Answer::new(401, &[("WWW-Authenticate", told.to_string())], "")).await;
        let folder = tempfile::tempdir().unwrap();
        let json = json!({ "auths": { server.name(): { "auth": auth } } });
        std::fs::write(folder.path().join("config.json"), json.to_string()).unwrap();
        let packages = with_docker(folder.path(), Docker::of_folder(folder.path()));
        let error = pull(&packages, &server).await.unwrap_err().to_string();
        assert!(error.contains("gets no credentials"), "{challenge}: {error}");
        assert!(!error.contains("hunter2") && !error.contains("pass@"), "{error}");
        assert!(server.requests().iter().all(|request| request.header("authorization").is_none()));
    }
    assert!(collector.requests().is_empty());
}

#[tokio::test]
async fn tokens_are_had_used_and_had_again() {
    // The service is the registry itself; each token is good for two requests.
    let used = Arc::new(std::sync::Mutex::new((0, 0)));
    let count = used.clone();
    let server = HandServer::start(move |request| {
        let mut count = count.lock().unwrap();
        if request.path.starts_with("/token") {
            assert!(
                request.path.contains("scope=repository%3Ateam%2Fx%3Apull") && request.path.contains("service=hand"),
                "{}",
                request.path
            );
            *count = (count.0 + 1, 0);
            return Answer::ok(format!(r#"{{"token":"token-{}"}}"#, count.0));
        }
        if request.header("authorization") != Some(&format!("Bearer token-{}", count.0)) || count.1 == 2 {
            let host = request.header("host").unwrap();
            let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"hand\"");
            return Answer::new(401, &[("WWW-Authenticate", challenge)], "");
        }
        count.1 += 1;
        match request.path.as_str() {
            path if path.contains("/manifests/sha256-") || path.contains("/referrers/") => Answer::not_found(),
            path if path.contains("/manifests/") => Answer::ok(manifest()),
            path if path.contains("/blobs/") => Answer::ok(COMPONENT),
            _ => Answer::not_found(),
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(pull(&packages(folder.path()), &server).await.unwrap(), COMPONENT);
    assert_eq!(used.lock().unwrap().0, 2, "four requests, two a token");
    // What no token has.
    for body in [r#"{"token":"a\nb: c"}"#, r#"{"token":""}"#, "{}", "<html>", r#"["hunter2"]"#] {
        let server = HandServer::start(move |request| {
            if request.path.starts_with("/token") {
                return Answer::ok(body);
            }
            let challenge = format!("Bearer realm=\"http://{}/token\"", request.header("host").unwrap());
            Answer::new(401, &[("WWW-Authenticate", challenge)], "")
        })
        .await;
        let error = refused(&server).await;
        assert!(matches!(error, PackageError::Registry(RegistryError::Token { .. })), "{body}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn what_a_registry_says_steers_no_terminal() {
    let server = HandServer::start(|_| {
        Answer::new(403, &[], "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"\\u001b]0;owned\\u0007\\u202e no\"}]}")
    })
    .await;
    let error = refused(&server).await.to_string();
    assert!(error.contains("no") && !error.contains('\u{202e}'), "{error:?}");
    for body in ["not json", "{\"tags\": 7}", "{\"tags\": [\"1.0.0\", \"\u{1b}[31m\"]}"] {
        let server =
            HandServer::start(
                move |request| {
                    if request.path.contains("/tags/") { Answer::ok(body) } else { Answer::not_found() }
                },
            )
            .await;
        let folder = tempfile::tempdir().unwrap();
        let package: PackageRef = format!("{}/team/x@2", server.name()).parse().unwrap();
        let error = packages(folder.path()).resolve(&package).await.unwrap_err().to_string();
        assert!(error.chars().all(|c| !c.is_control()), "{error:?}");
    }
}

#[tokio::test]
async fn a_list_of_versions_without_an_end_ends() {
    let server = HandServer::start(|request| {
        let number = request.path.rsplit('=').next().unwrap_or("0").parse::<u32>().unwrap_or(0) + 1;
        let link = format!("</v2/team/x/tags/list?last={number}>; rel=\"next\"");
        Answer::new(200, &[("Link", link)], format!(r#"{{"tags":["1.0.{number}"]}}"#))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let package: PackageRef = format!("{}/team/x@1", server.name()).parse().unwrap();
    assert_eq!(packages(folder.path()).versions(&package).await.unwrap().len(), 32);
    assert_eq!(server.requests().len(), 32);
}

#[tokio::test]
async fn a_signature_list_full_of_rubbish_hides_nothing_and_costs_little() {
    // 10,000 entries of which none is one: the list is cut off, at most 32 are looked at.
    let listed = HandServer::start(|request| match request.path.as_str() {
        path if path.contains("/referrers/") => {
            let entry = |n: u32| json!({ "digest": Digest::of(&n.to_le_bytes()), "mediaType": "x", "size": 1 });
            let entries: Vec<Value> = (0..2_000).map(entry).collect();
            Answer::ok(json!({ "manifests": entries }).to_string())
        }
        path if path.contains("/blobs/") => Answer::ok(COMPONENT),
        path if path.contains("1.0.0") => Answer::ok(manifest()),
        _ => Answer::ok("{}"),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(pull(&packages(folder.path()), &listed).await.unwrap(), COMPONENT);
    assert!(listed.requests().len() < 40, "{}", listed.requests().len());
}

#[tokio::test]
async fn nobody_there_and_somebody_who_is_no_registry() {
    let free = rota_testbed::free_port().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let packages = packages(folder.path());
    let package: PackageRef = format!("127.0.0.1:{free}/team/x:1.0.0").parse().unwrap();
    let begun = Instant::now();
    let error = packages.resolve(&package).await.unwrap_err();
    assert!(matches!(error, PackageError::Registry(RegistryError::Unreachable { .. })), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let server = HandServer::start(|_| Answer::raw("SSH-2.0-OpenSSH_9", Body::Bytes(Vec::new()))).await;
    let error = refused(&server).await;
    assert!(matches!(error, PackageError::Registry(RegistryError::Unreachable { .. })), "{error}");
}

/// Half a minute each, so together.
#[tokio::test]
async fn silence_and_dripping_end() {
    let silent = HandServer::start(|_| Answer::raw("", Body::Silence)).await;
    let drips = registry(manifest(), |_| Answer::raw("HTTP/1.1 200 OK\nConnection: close", Body::Drip)).await;
    let begun = Instant::now();
    // A drip of five bytes a second would take the 19 declared bytes in four seconds: it is not what was asked for, and said so.
    let (silence, drip) = tokio::join!(refused(&silent), refused(&drips));
    assert!(matches!(silence, PackageError::Registry(RegistryError::TimedOut(_))), "{silence}");
    assert!(matches!(drip, PackageError::Registry(RegistryError::TooLarge { .. })), "{drip}");
    assert!(begun.elapsed() < Duration::from_secs(45), "{:?}", begun.elapsed());
}
