//! Connections that do not come about: what is said, and what never is.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test says so by a panic")]

use crate::support;

use rota_authority::Mode;
use rota_config::{SqlBinding, TlsMode};
use rota_contract::Error;
use rota_telemetry::Secret;
use support::{ALL, Run, binding, database, error};

const CANARY: &str = "c4nary-pass/word";

async fn refused(binding: SqlBinding) -> Error {
    let refused = error(Run::new(binding, Mode::Execute, &ALL).open().await);
    let told = format!("{refused:?} {refused}");
    assert!(!told.contains("c4nary"), "{told}");
    assert!(told.contains("`kosmos`"), "{told}");
    refused
}

fn says(error: &Error, kind: &str, words: &[&str]) {
    let told = format!("{error:?}");
    assert_eq!(error.kind(), kind, "{told}");
    for word in words {
        assert!(told.contains(word), "{told}");
    }
}

#[tokio::test]
async fn a_refused_login_says_what_to_look_at() {
    let database = database("login").await;
    says(&refused(binding(&database.url_as("postgres", CANARY))).await, "failed", &["28P01", "password was refused"]);
    says(&refused(binding(&database.url_as("no_such_user", CANARY))).await, "failed", &["28P01", "no_such_user"]);
    let server = database.server();
    says(&refused(binding(&server.url("nowhere"))).await, "failed", &["3D000", "nowhere", "create the database"]);
    let (user, password) = server.fresh_role("locked_out", "").await.unwrap();
    database.execute(&format!("alter role {user} nologin")).await.unwrap();
    says(&refused(binding(&database.url_as(&user, &password))).await, "failed", &["28000", "may log in"]);
    let mut with_role = binding(&database.url());
    with_role.role = Some("nobody_at_all".into());
    says(&refused(with_role).await, "failed", &["22023", "nobody_at_all", "role does not exist"]);
}

#[tokio::test]
async fn a_server_that_is_not_there_says_what_to_look_at() {
    let port = rota_testbed::free_port().unwrap();
    says(
        &refused(binding(&format!("postgres://me:c4nary-pass%2Fword@127.0.0.1:{port}/x"))).await,
        "unavailable",
        &["nothing listens", "running"],
    );
    says(&refused(binding("postgres://me@host.invalid/x")).await, "unavailable", &["cannot be reached"]);
    says(&refused(binding("postgres://me@localhost/x?host=/nowhere")).await, "unavailable", &["no socket"]);
    // Something that talks, and no PostgreSQL.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let other = refused(binding(&format!("postgres://me:c4nary-pass%2Fword@127.0.0.1:{port}/x?sslmode=disable"))).await;
    says(&other, "unavailable", &["PostgreSQL"]);
}

#[tokio::test]
async fn tls_that_the_server_lacks_is_named() {
    let database = database("tls").await;
    for mode in [TlsMode::Require, TlsMode::VerifyFull] {
        let mut strict = binding(&database.url());
        strict.tls = Some(mode);
        says(&refused(strict).await, "unavailable", &["TLS", "tls = "]);
    }
}

#[tokio::test]
async fn a_password_of_its_own_is_used_and_masked() {
    let database = database("password").await;
    let (user, _) = database.server().fresh_role("canary", "nosuperuser").await.unwrap();
    database.execute(&format!("alter role {user} password '{CANARY}'")).await.unwrap();
    let url = format!("postgres://{user}@127.0.0.1:{}/{}", database.server().port(), database.name());
    let mut own = binding(&url);
    own.password = Some(rota_config::SecretRef::Given(Secret::new(CANARY)));
    let run = Run::new(own, Mode::Execute, &["read"]);
    let session = run.open().await.unwrap();
    assert_eq!(run.value(&session, "select session_user::text").await, support::text(&user));
    // The server repeats what the guest sent it, which may be the secret.
    let told = format!("{:?}", error(run.ask(&session, &format!("select '{CANARY}'::int"), vec![]).await));
    assert!(told.contains("***") && !told.contains("c4nary"), "{told}");
    drop(session);
    run.sessions.quiesce().await;
}

/// Runs only as a process of its own, with the environment that [`settings_of_the_environment_do_not_count`] gives it.
#[tokio::test]
#[ignore = "run by another test"]
async fn in_an_environment() {
    let url = std::env::var("TEST_URL").unwrap();
    let run = Run::new(binding(&url), Mode::Execute, &["read"]);
    match run.open().await {
        Ok(session) => {
            let seen = "select current_database() || ' ' || session_user || ' ' || current_setting('application_name') || ' ' || current_setting('work_mem')";
            println!("opened: {:?}", run.value(&session, seen).await);
        }
        Err(error) => println!("refused: {error:?}"),
    }
}

fn in_environment(url: &str, variables: &[(&str, &str)]) -> String {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "connect::in_an_environment", "--ignored", "--nocapture"])
        .env("TEST_URL", url)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn settings_of_the_environment_do_not_count() {
    let database = database("environment").await;
    let wrong = [
        ("PGHOST", "host.invalid"),
        ("PGHOSTADDR", "10.255.255.1"),
        ("PGPORT", "1"),
        ("PGUSER", "nobody"),
        ("PGPASSWORD", "wrong"),
        ("PGDATABASE", "nowhere"),
        ("PGAPPNAME", "other"),
        ("PGSSLMODE", "verify-full"),
        ("PGPASSFILE", "/nowhere"),
    ];
    let told = in_environment(&database.url(), &wrong);
    assert!(told.contains(&format!("\"{} postgres rota/nightly/run-1 4MB\"", database.name())), "{told}");
    // These cannot be undone, so that they are refused.
    for (name, value) in [
        ("PGOPTIONS", "-c work_mem=1GB"),
        ("PGSSLCERT", "/nowhere"),
        ("PGSSLKEY", "/nowhere"),
        ("PGSSLROOTCERT", "/nowhere"),
    ] {
        let told = in_environment(&database.url(), &[(name, value)]);
        assert!(told.contains("refused") && told.contains(name) && told.contains("unset"), "{told}");
    }
    // No password is none, also where the environment has the right one.
    let (user, password) = database.server().fresh_role("bare", "").await.unwrap();
    let bare = format!("postgres://{user}@127.0.0.1:{}/{}", database.server().port(), database.name());
    let told = in_environment(&bare, &[("PGPASSWORD", &password)]);
    assert!(told.contains("refused"), "{told}");
}
