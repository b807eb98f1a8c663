//! A host that dies by SIGKILL leaves nothing of its programs.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::common;

use common::{eventually, marker, processes_with, scripted, words};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use tokio::io::AsyncReadExt as _;

const VARIABLE: &str = "ROTA_TEST_MARKER";

/// Not a test: the host that is killed. The other test starts it, as a process of its own.
#[tokio::test]
#[ignore = "the host of the other test"]
async fn be_the_host() {
    let Ok(marker) = std::env::var(VARIABLE) else { return };
    let (run, _script) = scripted(
        "sleep $1 & (setsid sh -c 'trap \"\" TERM HUP; sleep $0 & sleep $0' $1 &)
         echo ready; exec sleep $1",
    );
    let mut child = run.client.spawn("tool", &words(&[&marker]), None, None).await.unwrap();
    child.stdout().unwrap().read_exact(&mut [0; 6]).await.unwrap();
    println!("running in {}", run.folder.path().display());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_host_that_is_killed_leaves_no_process_and_its_folder_is_swept() {
    let marker = marker();
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host_dies::be_the_host", "--ignored", "--nocapture"])
        .env(VARIABLE, &marker)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let folder = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("running in ").map(|(_, folder)| folder.to_owned()))
        .unwrap();
    eventually("the family", || processes_with(&marker).len() >= 5).await;
    assert!(rota_capability_tools::sweep(folder.as_ref()).unwrap().is_empty(), "the folder of a living host was swept");
    host.kill().unwrap();
    host.wait().unwrap();
    eventually("the end of the family", || processes_with(&marker).is_empty()).await;
    assert_eq!(rota_capability_tools::sweep(folder.as_ref()).unwrap().len(), 1);
    std::fs::remove_dir_all(folder).unwrap();
}
