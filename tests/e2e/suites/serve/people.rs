//! What people do to runs and hosts while they serve.

use super::{SOON, Serving, WORK, each_once, stop};
use rota_testbed::eventually;
use rustix::process::Signal;
use serde_json::json;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_cancelled_from_elsewhere_at_once_and_undone() {
    let serving = Serving::new("cancelled", WORK).await;
    let host = serving.serve().await;
    let run = serving.queue("work", &["count=100"]).await;
    serving.has_done(&run, 1).await;
    let began = Instant::now();
    let cancelled = serving.rota.json(&["runs", "cancel", &run, "--note", "not now"]).await.unwrap();
    assert_eq!(cancelled["status"], "cancelled", "{cancelled}");
    assert!(began.elapsed().as_millis() < 2_000, "{:?}", began.elapsed());
    let over = serving.run(&run).await;
    assert!(over["error"]["message"].as_str().unwrap().contains("not now"), "{over:#}");
    assert_eq!(serving.undone(&run).await, 1);
    // One that has not begun is over at once.
    let early = serving.rota.json(&["jobs", "pause", "work", "--note", "x"]).await;
    assert!(early.is_err(), "a job without a schedule cannot be paused");
    stop(host).await;
}

const SPINS: &str = r#"
[jobs.spins]
plugin = "PROBE"
parameters = { do = "spin" }
limits = { grace = "600s", cpu = "10m" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_procedure_has_its_grace_until_it_is_terminated() {
    let mut serving = Serving::new("terminated", SPINS).await;
    // No sign of life comes between: what is asked of it is learned all the same.
    serving.rota.set("ROTA_SERVER__LEASE", "60s");
    let host = serving.serve().await;
    let run = serving.queue("spins", &[]).await;
    eventually(SOON, "the run to begin", async || {
        Ok((serving.run(&run).await["run"]["status"] == "running").then_some(()))
    })
    .await
    .unwrap();
    let cancelled = serving.rota.json(&["runs", "cancel", &run]).await.unwrap();
    assert_eq!(cancelled["status"], "running", "{cancelled}");
    let began = Instant::now();
    let terminated = serving.rota.json(&["runs", "cancel", &run, "--terminate"]).await.unwrap();
    assert_eq!(terminated["status"], "cancelled", "{terminated}");
    assert!(began.elapsed().as_millis() < 2_000, "{:?}", began.elapsed());
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_run_is_cancelled_without_a_host() {
    let serving = Serving::new("cancelled_early", WORK).await;
    let run = serving.queue("work", &[]).await;
    let cancelled = serving.rota.json(&["runs", "cancel", &run]).await.unwrap();
    assert_eq!(cancelled["status"], "cancelled");
    let said = serving.rota.run(&["runs", "cancel", &run]).await.unwrap();
    assert_ne!(said.status, Some(0), "what is over is not cancelled: {said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_tell_life_readiness_and_metrics() {
    let serving = Serving::new("pages", WORK).await;
    let mut host = serving.rota.start(&["serve"]).unwrap();
    let address = host.line_with("pages on http://").await.unwrap();
    let address = address.split("http://").nth(1).unwrap().split(": /").next().unwrap().to_owned();
    host.says("serving as").await.unwrap();
    let run = serving.queue("work", &["pause=0"]).await;
    serving.becomes(&run, &["succeeded"]).await;
    let get = async |path: &str| rota_tests::get(&address, path).await.unwrap();
    assert_eq!(get("/livez").await, (200, "ok\n".to_owned()));
    let (status, ready) = get("/readyz").await;
    assert_eq!(status, 200, "{ready}");
    let (status, metrics) = get("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains(r#"rota_runs_ended_total{job="work",plugin="probe",status="succeeded"} 1"#), "{metrics}");
    let hosts = serving.rota.json(&["hosts", "list"]).await.unwrap();
    assert_eq!((hosts.as_array().unwrap().len(), &hosts[0]["alive"]), (1, &json!(true)), "{hosts:#}");
    serving.rota.json(&["hosts", "drain", hosts[0]["name"].as_str().unwrap()]).await.unwrap();
    eventually(SOON, "the host to be unready", async || Ok((get("/readyz").await.0 == 503).then_some(())))
        .await
        .unwrap();
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_taken_on_whole_or_not_at_all() {
    let serving = Serving::new("reloaded", WORK).await;
    let mut host = serving.serve().await;
    serving.configure("[jobs.broken]\nplugin = \"no-such-plugin\"\n", "");
    host.signal(Signal::HUP).unwrap();
    host.says("not taken on, nothing of it").await.unwrap();
    let other = WORK.replace("jobs.work", "jobs.other").replace("count = 6", "count = 2");
    serving.configure(&other, "");
    let applied = serving.rota.json(&["config", "apply"]).await.unwrap();
    assert_eq!(applied["told"], json!(host.pid().unwrap()), "{applied}");
    host.says("is taken on").await.unwrap();
    host.says("jobs.other").await.unwrap();
    let run = serving.queue("other", &["pause=0"]).await;
    serving.becomes(&run, &["succeeded"]).await;
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_past_run_is_done_again_and_an_unknown_one_is_settled() {
    let serving = Serving::new("again", WORK).await;
    let host = serving.serve().await;
    let run = serving.queue("work", &["pause=0", "count=2"]).await;
    serving.becomes(&run, &["succeeded"]).await;
    let again = serving.rota.json(&["runs", "retry", &run, "--queue"]).await.unwrap();
    assert_eq!((&again["parent"], &again["trigger"]), (&json!(run), &json!("retry")), "{again}");
    let again = again["id"].as_str().unwrap();
    serving.becomes(again, &["succeeded"]).await;
    assert_eq!(serving.done(again).await, super::each_once(2));
    let said = serving.rota.run(&["runs", "settle", again, "--as", "failed", "--note", "x"]).await.unwrap();
    assert_ne!(said.status, Some(0), "nothing is to be settled: {said:?}");
    stop(host).await;

    // A run by hand whose process vanishes, with nobody serving, is unknown.
    let hand = serving.rota.start(&["run", "work", "-p", "count=50"]).unwrap();
    let id = eventually(SOON, "the run by hand", async || {
        let runs = serving.runs(&["--status", "running"]).await;
        Ok(runs.first().map(|run| run["id"].as_str().unwrap().to_owned()))
    })
    .await
    .unwrap();
    serving.has_done(&id, 1).await;
    hand.signal(Signal::KILL).unwrap();
    hand.end().await.unwrap();
    let lost = serving.run(&id).await;
    assert_eq!(lost["run"]["status"], "unknown", "{lost:#}");
    assert_eq!(lost["compensations"][0]["status"], "registered", "{lost:#}");
    // What it left is undone when somebody asks, by whoever serves.
    serving.rota.json(&["runs", "retry", &id, "--undo"]).await.unwrap();
    let host = serving.serve().await;
    serving.becomes(&id, &["unknown"]).await;
    assert_eq!(serving.undone(&id).await, 1);
    let settled =
        serving.rota.json(&["runs", "settle", &id, "--as", "failed", "--note", "looked at it"]).await.unwrap();
    assert_eq!(settled["status"], "failed", "{settled}");
    assert!(settled["note"].as_str().unwrap().ends_with(": looked at it"), "by whom, and why: {settled}");
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_backed_up_and_restored() {
    let serving = Serving::new("backed_up", WORK).await;
    let host = serving.serve().await;
    let run = serving.queue("work", &["pause=0"]).await;
    let before = serving.becomes(&run, &["succeeded"]).await;
    stop(host).await;
    let file = serving.rota.path("store.backup");
    let file = file.to_str().unwrap();
    serving.rota.json(&["store", "backup", "--to", file]).await.unwrap();
    let status = serving.rota.json(&["store", "status"]).await.unwrap();
    assert_eq!(status["engine"], "sqlite", "{status}");
    std::fs::remove_file(serving.rota.state().join("rota.db")).unwrap();
    for journal in ["rota.db-wal", "rota.db-shm"] {
        let _ = std::fs::remove_file(serving.rota.state().join(journal));
    }
    serving.rota.json(&["store", "restore", "--from", file]).await.unwrap();
    assert_eq!(serving.run(&run).await, before);
    // A damaged file is told, and never replaced by an empty one.
    std::fs::write(
        serving.rota.state().join("rota.db"),
        b"not a database at all, only some bytes that stand in its place",
    )
    .unwrap();
    let said = serving.rota.run(&["runs", "list"]).await.unwrap();
    assert_ne!(said.status, Some(0));
    assert!(said.all().contains("store restore"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_asks_for_an_approval_begins_once_somebody_gave_it() {
    let serving = Serving::new("approved", &format!("{WORK}approval = true\n")).await;
    let host = serving.serve().await;
    let [first, second] = [serving.queue("work", &[]).await, serving.queue("work", &[]).await];
    let waiting = serving.rota.json(&["approvals", "list"]).await.unwrap();
    let ids: Vec<_> = waiting.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, [first.clone(), second.clone()], "the oldest first");
    // By hand, it is not begun either; its plan is.
    let said = serving.rota.run(&["run", "work"]).await.unwrap();
    assert_eq!(said.status, Some(4), "{said:?}");
    assert!(
        said.stderr.contains("rota approvals approve") || said.stdout.contains("rota approvals approve"),
        "{said:?}"
    );
    assert_eq!(serving.rota.run(&["run", "work", "--plan"]).await.unwrap().status, Some(0));
    assert!(serving.done(&first).await.is_empty(), "nothing begins without it");

    let run = serving.rota.json(&["approvals", "reject", &second, "--note", "not tonight"]).await.unwrap();
    assert_eq!(run["status"], "cancelled", "{run:#}");
    serving.rota.json(&["approvals", "approve", &first, "--note", "CHG-7"]).await.unwrap();
    let over = serving.becomes(&first, &["succeeded"]).await;
    let note = over["run"]["note"].as_str().unwrap();
    assert!(note.starts_with("approved by ") && note.ends_with(": CHG-7"), "{note}");
    assert_eq!(serving.done(&first).await, each_once(6));
    // Given once, it is given; and what does not wait for one is told so.
    assert_eq!(serving.rota.run(&["approvals", "approve", &first]).await.unwrap().status, Some(1));
    assert_eq!(serving.rota.run(&["approvals", "reject", &first, "--note", "x"]).await.unwrap().status, Some(1));
    assert!(serving.rota.json(&["approvals", "list"]).await.unwrap().as_array().unwrap().is_empty());
    stop(host).await;
}

const LOOKS: &str = r#"
[jobs.looks]
plugin = "PROBE"
parameters = { do = "work", count = 1, pause = 0 }
slots.database = { binding = "shop", access = ["read", "write"] }
fail_on = "unknown"

[jobs.alarm]
plugin = "PROBE"
after = [{ job = "looks", on = "failure" }]
"#;

/// A scheduled verification of a backup that finds it damaged must not look like one that finds it well.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_as_bad_as_the_job_says_is_a_failure_that_others_follow_and_nothing_is_taken_back() {
    let serving = Serving::new("fail_on", LOOKS).await;
    let host = serving.serve().await;
    for (found, state) in [("ok", "succeeded"), ("warning", "succeeded"), ("unknown", "failed"), ("critical", "failed")]
    {
        let run = serving.queue("looks", &[&format!("status={found}")]).await;
        let over = serving.becomes(&run, &[state]).await;
        assert_eq!(over["report"]["status"], found, "{over:#}");
        assert_eq!(over["attempts"][0]["outcome"], "reported", "{over:#}");
        if state == "failed" {
            assert_eq!(over["error"]["kind"], "report", "{over:#}");
            assert!(over["error"]["hint"].as_str().unwrap().contains("fail_on = \"unknown\""), "{over:#}");
        }
        // What it had registered to be undone is dismissed: it did what it was to do.
        assert_eq!(
            (serving.undone(&run).await, &over["compensations"][0]["status"]),
            (0, &json!("dismissed")),
            "{over:#}"
        );
    }
    let alarms = eventually(SOON, "the alarms", async || {
        let alarms = serving.runs(&["--job", "alarm", "--status", "succeeded"]).await;
        Ok((alarms.len() >= 2).then_some(alarms))
    });
    assert_eq!(alarms.await.unwrap().len(), 2);
    let by_hand = serving.rota.run(&["run", "looks", "-p", "status=critical"]).await.unwrap();
    assert_eq!(by_hand.status, Some(1), "{by_hand:?}");
    let plan = serving.rota.run(&["run", "looks", "-p", "status=critical", "--plan"]).await.unwrap();
    assert_eq!(plan.status, Some(0), "a plan did nothing that could have failed: {plan:?}");
    stop(host).await;
}
