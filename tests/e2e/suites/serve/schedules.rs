//! Schedules fire, each instant once, and nothing vanishes.

use super::{SOON, Serving, stop};
use rota_testbed::eventually;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;

const EVERY_SECOND: &str = r#"
[jobs.tick]
plugin = "PROBE"
schedule = { every = "1s", overlap = "allow" }
concurrency = 5
"#;

fn instants(runs: &[Value]) -> Vec<String> {
    runs.iter().map(|run| run["scheduled_for"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_instant_makes_one_run_across_restarts() {
    let serving = Serving::new("ticks", EVERY_SECOND).await;
    for round in 1..=3 {
        let host = serving.serve().await;
        eventually(SOON, "ticks", async || {
            Ok((serving.runs(&["--job", "tick", "--status", "succeeded"]).await.len() >= round * 3).then_some(()))
        })
        .await
        .unwrap();
        if round == 2 {
            host.signal(Signal::KILL).unwrap();
            host.end().await.unwrap();
        } else {
            stop(host).await;
        }
    }
    let runs = serving.runs(&["--job", "tick"]).await;
    let all = instants(&runs);
    let different: BTreeSet<&String> = all.iter().collect();
    assert_eq!(different.len(), all.len(), "an instant made two runs: {all:?}");
    assert!(runs.iter().all(|run| run["trigger"] == "schedule"), "{runs:#?}");
    // Each instant between the first and the last was decided about, one way or the other.
    let shown = serving.rota.json(&["jobs", "show", "tick"]).await.unwrap();
    assert!(shown["fires"].as_array().unwrap().len() >= 3, "{shown:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_schedule_records_what_it_skips() {
    let serving = Serving::new("paused", EVERY_SECOND).await;
    let host = serving.serve().await;
    eventually(SOON, "a tick", async || Ok((!serving.runs(&["--job", "tick"]).await.is_empty()).then_some(())))
        .await
        .unwrap();
    let paused = serving.rota.json(&["jobs", "pause", "tick", "--note", "moving the table"]).await.unwrap();
    assert_eq!(paused["paused"]["note"], "moving the table", "{paused:#}");
    eventually(SOON, "a skipped instant", async || {
        let shown = serving.rota.json(&["jobs", "show", "tick"]).await?;
        let skipped = shown["fires"].as_array().unwrap().iter().any(|fire| fire["reason"] == "paused");
        Ok(skipped.then_some(()))
    })
    .await
    .unwrap();
    let before = serving.runs(&["--job", "tick"]).await.len();
    let resumed = serving.rota.json(&["jobs", "resume", "tick"]).await.unwrap();
    assert_eq!(resumed["paused"], Value::Null);
    eventually(SOON, "a tick after it", async || {
        Ok((serving.runs(&["--job", "tick"]).await.len() > before).then_some(()))
    })
    .await
    .unwrap();
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instant_of_a_job_that_cannot_run_is_skipped_with_what_is_wrong() {
    let jobs = "[jobs.broken]\nplugin = \"./not-there.wasm\"\nschedule = { every = \"1s\" }\n";
    let serving = Serving::new("invalid", &format!("{jobs}{EVERY_SECOND}")).await;
    let mut host = serving.serve().await;
    // The host says so at its start, and serves the others.
    let line = host.line_with("job `broken` cannot run as it is configured").await.unwrap();
    assert!(line.contains("rota.toml:") && line.contains("not-there.wasm"), "{line}");
    let fire = eventually(SOON, "a skipped instant", async || {
        let shown = serving.rota.json(&["jobs", "show", "broken"]).await?;
        Ok(shown["fires"].as_array().unwrap().iter().find(|fire| fire["reason"] == "invalid").cloned())
    })
    .await
    .unwrap();
    assert!(fire["detail"].as_str().unwrap().contains("not-there.wasm"), "{fire:#}");
    let shown = serving.rota.run(&["--output", "human", "jobs", "show", "broken"]).await.unwrap();
    let told = shown.all().lines().filter(|line| line.contains("invalid: ") && line.contains("not-there.wasm")).count();
    assert_eq!(told, 1, "{shown:?}");
    eventually(SOON, "a tick", async || Ok((!serving.runs(&["--job", "tick"]).await.is_empty()).then_some(())))
        .await
        .unwrap();
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_not_over_has_the_next_instant_skipped() {
    let jobs = r#"
[jobs.slow]
plugin = "PROBE"
parameters = { do = "work", count = 40, pause = 250 }
slots.database = { binding = "shop", access = ["read", "write"] }
schedule = { every = "1s", overlap = "skip" }
"#;
    let serving = Serving::new("overlap", jobs).await;
    let host = serving.serve().await;
    eventually(SOON, "a skipped instant", async || {
        let shown = serving.rota.json(&["jobs", "show", "slow"]).await?;
        let skipped = shown["fires"].as_array().unwrap().iter().any(|fire| fire["reason"] == "still-running");
        Ok(skipped.then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(serving.runs(&["--job", "slow"]).await.len(), 1);
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_after_another_and_one_that_keeps_failing_is_paused() {
    let jobs = r#"
[jobs.first]
plugin = "PROBE"
parameters = { fail = true }
schedule = { every = "1s", pause_after_failures = 2 }

[jobs.then]
plugin = "PROBE"
after = [{ job = "first", on = "failure" }]

[jobs.never]
plugin = "PROBE"
after = [{ job = "first", on = "success" }]
"#;
    let serving = Serving::new("after", jobs).await;
    let host = serving.serve().await;
    eventually(SOON, "the pause", async || {
        let shown = serving.rota.json(&["jobs", "show", "first"]).await?;
        Ok(shown["paused"].is_object().then_some(()))
    })
    .await
    .unwrap();
    eventually(SOON, "what follows", async || {
        let first = serving.runs(&["--job", "first", "--status", "failed"]).await.len();
        let then = serving.runs(&["--job", "then", "--status", "succeeded"]).await.len();
        Ok((first == then && then >= 2).then_some(()))
    })
    .await
    .unwrap();
    let then = serving.runs(&["--job", "then"]).await;
    assert!(then.iter().all(|run| run["trigger"] == "job" && run["parent"].is_string()), "{then:#?}");
    assert!(serving.runs(&["--job", "never"]).await.is_empty());
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_is_forecast_and_what_was_is_backfilled() {
    let jobs = r#"
[jobs.nightly]
plugin = "PROBE"
schedule = { cron = "30 2 * * *", timezone = "Europe/Berlin" }
"#;
    let serving = Serving::new("forecast", jobs).await;
    let next = serving.rota.json(&["jobs", "next", "nightly", "--count", "200"]).await.unwrap();
    let next = next.as_array().unwrap();
    assert_eq!(next.len(), 200);
    let marked: Vec<&Value> = next.iter().filter(|next| next["notes"].to_string().contains("clock")).collect();
    assert!(!marked.is_empty(), "a change of the clock lies within 200 days: {next:#?}");

    let range = ["--from", "2026-03-27T00:00:00Z", "--to", "2026-03-31T00:00:00Z"];
    let plan = serving.rota.json(&[&["jobs", "backfill", "nightly", "--plan"][..], &range].concat()).await.unwrap();
    let instants: Vec<&str> = plan.as_array().unwrap().iter().map(|one| one["instant"].as_str().unwrap()).collect();
    // On the 29th the clock goes from 2 to 3: the first instant after the gap stands for 2:30.
    assert_eq!(
        instants,
        ["2026-03-27T01:30:00Z", "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
    );
    let made = serving.rota.json(&[&["jobs", "backfill", "nightly"][..], &range].concat()).await.unwrap();
    assert_eq!(made.as_array().unwrap().len(), 4);
    let host = serving.serve().await;
    eventually(SOON, "the backfill", async || {
        Ok((serving.runs(&["--trigger", "backfill", "--status", "succeeded"]).await.len() == 4).then_some(()))
    })
    .await
    .unwrap();
    stop(host).await;
    let wrong = serving.rota.run(&["jobs", "next", "nightlyy"]).await.unwrap();
    assert_eq!(wrong.status, Some(2), "{wrong:?}");
    assert!(wrong.all().contains("did you mean `nightly`"), "{wrong:?}");
}
