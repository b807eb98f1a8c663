//! Several processes on one state directory, and one that dies.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support;

use rota_authority::Outcome;
use rota_store::{Filter, RunState, Store};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::{Worker, line, run, state};

/// How many effects each of the processes has that work at once.
const EFFECTS: u64 = 40;

/// This test program again, as another process that runs one of the tests below.
fn child(test: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", &format!("processes::{test}"), "--nocapture"])
        .env("STATE", path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn state_of_the_parent() -> Option<PathBuf> {
    std::env::var_os("STATE").map(PathBuf::from)
}

#[tokio::test]
async fn a_run_whose_process_died_is_unknown_with_what_it_had_begun() {
    let (_outer, path) = state();
    let store = support::store(&path).await;
    let own = Worker::on(store.clone(), "mine").await.begin(run("mine")).await.unwrap();
    let died = child("child_dies", &path).wait_with_output().unwrap();
    assert!(!died.status.success(), "it aborted");
    let all = store.runs(&Filter::default()).await.unwrap();
    let lost = all.iter().find(|row| row.run.plugin == "theirs").expect("the run was on disk before its process died");
    assert_eq!(lost.state, RunState::Unknown);
    assert!(lost.error.as_deref().unwrap().contains("may or may not have happened"), "{:?}", lost.error);
    let effects = store.effects(&lost.run.id).await.unwrap();
    let outcomes: Vec<_> = effects.iter().map(|e| (e.detail.as_str(), e.outcome.as_str())).collect();
    assert_eq!(outcomes, [("first", "done"), ("second", "unknown"), ("third", "interrupted")]);
    assert_eq!(store.run(&own.id).await.unwrap().state, RunState::Running, "a process that lives is left alone");
    assert!(store.reap().await.unwrap().is_empty(), "it was recorded when it was read");
}

#[tokio::test]
#[ignore = "the child of a_run_whose_process_died_is_unknown_with_what_it_had_begun"]
async fn child_dies() {
    let Some(path) = state_of_the_parent() else { return };
    let store = support::store(&path).await;
    let held = Worker::on(store.clone(), "theirs").await.begin(run("theirs")).await.unwrap();
    let ledger = store.ledger(&held.id, &held.fence);
    for detail in ["first", "second", "third"] {
        held.effect(detail).await.unwrap();
    }
    ledger.finish(1, Outcome::Done("3 rows".into())).await.unwrap();
    ledger.interrupted(3);
    store.flush().await.unwrap();
    std::process::abort();
}

#[tokio::test]
async fn reaping_names_the_runs_that_were_lost_once() {
    let (_outer, path) = state();
    child("child_dies", &path).wait().unwrap();
    let store = support::store(&path).await;
    let lost = store.reap().await.unwrap();
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].1, RunState::Unknown);
    assert!(store.reap().await.unwrap().is_empty());
}

#[tokio::test]
async fn processes_that_begin_at_once_share_one_file() {
    let (_outer, path) = state();
    // None of them finds the file: one makes it.
    let children: Vec<Child> = (0..4).map(|_| child("child_works", &path)).collect();
    for child in children {
        let done = child.wait_with_output().unwrap();
        assert!(
            done.status.success(),
            "{}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
    }
    let store = support::store(&path).await;
    let runs = store.runs(&Filter { states: vec![RunState::Succeeded], ..Filter::default() }).await.unwrap();
    assert_eq!(runs.len(), 4);
    for run in runs {
        let effects = store.effects(&run.run.id).await.unwrap();
        assert_eq!(effects.iter().map(|e| e.sequence).collect::<Vec<_>>(), (1..=EFFECTS).collect::<Vec<_>>());
        assert!(effects.iter().all(|e| e.outcome == "done"));
        assert_eq!(store.logs(&run.run.id, 0, 1000).await.unwrap().len(), EFFECTS as usize);
    }
}

#[tokio::test]
#[ignore = "the child of processes_that_begin_at_once_share_one_file"]
async fn child_works() {
    let Some(path) = state_of_the_parent() else { return };
    let store = support::store(&path).await;
    let held = Worker::on(store.clone(), "theirs").await.begin(run("theirs")).await.unwrap();
    let ledger = store.ledger(&held.id, &held.fence);
    for n in 0..EFFECTS {
        let number = held.effect(&format!("{n}")).await.unwrap();
        store.log(&held.id, line("said"));
        ledger.finish(number, Outcome::Done(String::new())).await.unwrap();
    }
    held.succeed().await;
    store.close().await;
}
