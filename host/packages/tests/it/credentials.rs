//! Docker's credential helpers: programs of the user.

use rota_packages::{Credentials, Docker};
use rota_telemetry::Secret;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Helpers are looked for in PATH, which is the process': the test runs itself again with another one.
const AGAIN: &str = "ROTA_TEST_HELPERS";

fn helper(folder: &Path, name: &str, script: &str) {
    let path = folder.join(format!("docker-credential-{name}"));
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn helpers_are_asked_bounded_and_tell_nothing_to_errors() {
    if std::env::var_os(AGAIN).is_none() {
        let folder = tempfile::tempdir().unwrap();
        let good = r#"read address; [ "$1" = get ] && [ -z "$ROTA_TEST_HELPERS" ] && echo "{\"ServerURL\":\"$address\",\"Username\":\"me\",\"Secret\":\"from-$address\"}""#;
        helper(folder.path(), "good", good);
        helper(folder.path(), "token", r#"echo '{"Username":"<token>","Secret":"refresh-me"}'"#);
        helper(folder.path(), "none", "echo 'credentials not found in native keychain'; exit 1");
        helper(folder.path(), "fails", "echo hunter2-secret; echo hunter2-secret >&2; exit 1");
        helper(folder.path(), "rubbish", "echo hunter2-secret");
        helper(folder.path(), "endless", "exec cat /dev/zero");
        helper(folder.path(), "sleeps", "exec sleep 100");
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "credentials::helpers_are_asked_bounded_and_tell_nothing_to_errors", "--nocapture"])
            .env("PATH", path)
            .env(AGAIN, "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(asked());
}

async fn asked() {
    let folder = tempfile::tempdir().unwrap();
    let of = async |name: &str, json: &str| {
        std::fs::write(folder.path().join("config.json"), json).unwrap();
        Docker::of_folder(folder.path()).credentials(name).await
    };
    let store = |name: &str| format!(r#"{{"credsStore":"{name}"}}"#);
    let basic =
        |address: &str| Credentials::Basic { user: "me".into(), password: Secret::new(format!("from-{address}")) };
    assert_eq!(of("r.example:5000", &store("good")).await.unwrap(), basic("r.example:5000"));
    assert_eq!(of("docker.io", &store("good")).await.unwrap(), basic("https://index.docker.io/v1/"));
    let json = r#"{"credsStore":"fails","credHelpers":{"r.example":"good"}}"#;
    assert_eq!(of("r.example", json).await.unwrap(), basic("r.example"), "the registry's own before the one for all");
    assert_eq!(of("r.example", &store("token")).await.unwrap(), Credentials::Refresh(Secret::new("refresh-me")));
    assert_eq!(of("r.example", &store("none")).await.unwrap(), Credentials::None);
    let json = r#"{"credsStore":"none","auths":{"r.example":{"username":"u","password":"p4ssword"}}}"#;
    assert!(of("r.example", json).await.unwrap().are_there(), "what the helper does not know stands in the file");
    for (name, said) in
        [("fails", "failed (exit status: 1)"), ("rubbish", "answers no JSON"), ("endless", "answers no JSON")]
    {
        let begun = Instant::now();
        let error = of("r.example", &store(name)).await.unwrap_err().to_string();
        assert!(error.contains(said) || name == "endless", "{error}");
        assert!(error.contains(&format!("docker-credential-{name}")) && !error.contains("hunter2"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(15));
    }
    let begun = Instant::now();
    let error = of("r.example", &store("sleeps")).await.unwrap_err().to_string();
    assert!(error.contains("does not answer within 10 s"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(15));
}
