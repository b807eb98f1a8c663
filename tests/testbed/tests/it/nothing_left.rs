//! However a process ends, its servers end with it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rota_testbed::eventually;
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(30);

fn testbed() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rota-testbed"))
}

fn port(state: &Value) -> u16 {
    u16::try_from(state["postgres"][0]["port"].as_u64().unwrap()).unwrap()
}

/// The folder of the server on a port, by its process's working folder.
fn folder(state: &Value) -> PathBuf {
    let port = port(state).to_string();
    let server = std::fs::read_dir("/proc").unwrap().flatten().find(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).collect();
        words[0].ends_with(b"/postgres") && words.contains(&port.as_bytes())
    });
    std::fs::read_link(server.expect("no server").path().join("cwd")).unwrap().parent().unwrap().to_owned()
}

async fn gone(state: &Value, folder: &Path) {
    let port = port(state);
    eventually(DEADLINE, "the server's end", async || {
        let refused = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err();
        Ok((refused && !folder.exists()).then_some(()))
    })
    .await
    .unwrap();
}

fn serve() -> (Child, Value) {
    let mut child = testbed().args(["serve", "--postgres=16"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

#[tokio::test]
async fn after_the_processs_sigkill() {
    let (mut child, state) = serve();
    let folder = folder(&state);
    assert!(folder.join("data/PG_VERSION").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    gone(&state, &folder).await;
}

#[tokio::test]
async fn after_the_sigkill_of_a_process_whose_server_is_stopped() {
    let (mut child, state) = serve();
    let folder = folder(&state);
    let pids = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
    assert!(Command::new("kill").args(["-STOP", pids.lines().next().unwrap()]).status().unwrap().success());
    child.kill().unwrap();
    child.wait().unwrap();
    gone(&state, &folder).await;
}

#[tokio::test]
async fn after_down() {
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("state.json");
    let up = testbed().args(["up", "--postgres=16", "--json", "--state"]).arg(&path).output().unwrap();
    assert!(up.status.success(), "{up:?}");
    let state: Value = serde_json::from_slice(&up.stdout).unwrap();
    let folder = folder(&state);
    assert!(testbed().args(["down", "--state"]).arg(&path).status().unwrap().success());
    assert!(!path.exists());
    assert!(!folder.exists());
    gone(&state, &folder).await;
}

#[tokio::test]
async fn after_the_end_of_the_process_that_is_watched() {
    let mut watched = Command::new("sleep").arg("600").spawn().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let up = testbed()
        .args(["up", "--postgres=16", "--json", &format!("--watch={}", watched.id()), "--env-file"])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(up.status.success(), "{up:?}");
    let state: Value = serde_json::from_slice(&up.stdout).unwrap();
    let folder = folder(&state);
    let variables = std::fs::read_to_string(file.path()).unwrap();
    assert_eq!(variables, format!("ROTA_TESTBED_POSTGRES_16={}\n", state["postgres"][0]["url"].as_str().unwrap()));
    watched.kill().unwrap();
    watched.wait().unwrap();
    gone(&state, &folder).await;
}
