//! Runs outlive their hosts.

use super::{SOON, Serving, WORK, each_once, stop};
use rota_testbed::{Postgres, eventually};
use rustix::process::Signal;
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_taken_over_from_a_killed_host_and_does_no_step_twice() {
    let serving = Serving::new("taken_over", WORK).await;
    let first = serving.serve().await;
    let run = serving.queue("work", &[]).await;
    serving.has_done(&run, 2).await;
    first.signal(Signal::KILL).unwrap();
    first.end().await.unwrap();

    let second = serving.serve().await;
    let over = serving.becomes(&run, &["succeeded"]).await;
    assert_eq!(over["run"]["attempt"], 2, "{over:#}");
    let outcomes: Vec<&str> =
        over["attempts"].as_array().unwrap().iter().map(|a| a["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["vanished", "reported"]);
    assert_eq!(serving.done(&run).await, each_once(6));
    assert_eq!(serving.undone(&run).await, 0);
    assert_eq!(over["compensations"][0]["status"], "dismissed", "{over:#}");
    assert!(over["steps"].as_array().unwrap().iter().all(|step| step["finished_at"].is_string()), "{over:#}");
    stop(second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_run_registered_is_undone() {
    let serving = Serving::new("undone", WORK).await;
    let host = serving.serve().await;
    let run = serving.queue("work", &["fail=true", "pause=0"]).await;
    let over = serving.becomes(&run, &["failed"]).await;
    assert_eq!(serving.done(&run).await, each_once(6));
    assert_eq!(serving.undone(&run).await, 1);
    assert_eq!(over["compensations"][0]["status"], "done", "{over:#}");
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_killed_in_the_middle_of_an_undo_is_followed_by_one_that_finishes_it() {
    let serving = Serving::new("undo_killed", WORK).await;
    // The undo waits for this lock.
    let mut holder = serving.database.connect().await.unwrap();
    sqlx::raw_sql("begin; lock table undone in exclusive mode").execute(&mut holder).await.unwrap();
    let first = serving.serve().await;
    let run = serving.queue("work", &["fail=true", "pause=0"]).await;
    serving.becomes(&run, &["compensating"]).await;
    first.signal(Signal::KILL).unwrap();
    first.end().await.unwrap();
    sqlx::raw_sql("commit").execute(&mut holder).await.unwrap();
    let second = serving.serve().await;
    let over = serving.becomes(&run, &["failed"]).await;
    assert!(serving.undone(&run).await >= 1, "at least once: {over:#}");
    assert_eq!(over["compensations"][0]["status"], "done");
    stop(second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_keeps_failing_is_loud_and_can_be_tried_again_or_settled() {
    let jobs = format!("{WORK}undo = {{ attempts = 2, backoff = \"100ms\" }}\n");
    let serving = Serving::new("undo_fails", &jobs).await;
    serving.database.execute("alter table undone add constraint never check (run is null)").await.unwrap();
    let mut host = serving.serve().await;
    let run = serving.queue("work", &["fail=true", "pause=0"]).await;
    let over = serving.becomes(&run, &["compensation-failed"]).await;
    host.says("rota runs retry").await.unwrap();
    let undo = &over["compensations"][0];
    assert_eq!((&undo["status"], &undo["attempts"]), (&json!("failed"), &json!(2)), "{over:#}");
    assert!(undo["error"].as_str().unwrap().contains("never"), "it says why: {undo}");
    assert_eq!(serving.undone(&run).await, 0);

    serving.database.execute("alter table undone drop constraint never").await.unwrap();
    serving.rota.json(&["runs", "retry", &run, "--undo"]).await.unwrap();
    serving.becomes(&run, &["failed"]).await;
    assert_eq!(serving.undone(&run).await, 1);
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_returns_with_an_effect_under_way_is_not_done() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = format!(
        "[bindings.reports]\nkind = \"storage\"\nurl = \"file://{}\"\n\
         [jobs.put]\nplugin = \"PROBE\"\nslots.bucket = {{ binding = \"reports\", access = [\"read\", \"write\"] }}\n\
         undo = {{ attempts = 1 }}\n",
        folder.path().display()
    );
    let serving = Serving::new("undo_left", &jobs).await;
    let host = serving.serve().await;
    let leave = json!({ "import": "run.compensation.register", "name": "put back", "state": json!({ "do": "leave" }).to_string() });
    let calls = format!("calls={}", json!([leave]));
    let run = serving.queue("put", &["do=calls", "fail=true", &calls]).await;
    let over = serving.becomes(&run, &["compensation-failed"]).await;
    let undo = &over["compensations"][0];
    assert_eq!(undo["status"], "failed", "{over:#}");
    assert!(undo["error"].as_str().unwrap().contains("storage.put"), "it says what is not known: {undo}");
    stop(host).await;
}

/// Freeze a host while it does not hold the lock of its file, which nobody could take from it.
async fn freeze_between_writes(serving: &Serving, host: &rota_tests::Running) {
    let file = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(serving.rota.state().join("rota.db"))
        .busy_timeout(Duration::from_millis(200));
    for _ in 0..20 {
        host.signal(Signal::STOP).unwrap();
        let mut connection = sqlx::ConnectOptions::connect(&file).await.unwrap();
        let locked = sqlx::raw_sql("begin immediate; rollback").execute(&mut connection).await.is_err();
        if !locked {
            return;
        }
        host.signal(Signal::CONT).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the host holds the lock of its file whenever it is looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_host_loses_its_run_and_writes_nothing_more() {
    let serving = Serving::new("frozen", WORK).await;
    let frozen = serving.serve().await;
    let run = serving.queue("work", &["count=20"]).await;
    serving.has_done(&run, 2).await;
    freeze_between_writes(&serving, &frozen).await;
    // The store is its own: a second process may serve it only once the first is gone, so a short command takes over the reaping, and
    // the frozen one finds out when it goes on.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let begun = Instant::now();
    let seen = serving.becomes(&run, &["queued"]).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{seen:#}");
    frozen.signal(Signal::CONT).unwrap();
    let over = serving.becomes(&run, &["succeeded"]).await;
    assert!(over["run"]["attempt"].as_i64().unwrap() >= 2, "{over:#}");
    assert_eq!(serving.done(&run).await, each_once(20));
    stop(frozen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_drains_lets_runs_finish_and_takes_no_more() {
    let serving = Serving::new("drained", WORK).await;
    let host = serving.serve().await;
    let run = serving.queue("work", &[]).await;
    serving.has_done(&run, 1).await;
    host.signal(Signal::TERM).unwrap();
    let late = serving.queue("work", &[]).await;
    let said = host.end().await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    assert_eq!(serving.run(&run).await["run"]["status"], "succeeded", "it was let finish: {said:?}");
    assert_eq!(serving.run(&late).await["run"]["status"], "queued");
    let next = serving.serve().await;
    serving.becomes(&late, &["succeeded"]).await;
    stop(next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_drain_does_not_wait_for_is_handed_back_and_goes_on_elsewhere() {
    let serving = Serving::new("handed_back", WORK).await;
    serving.rota.run(&["config", "check"]).await.unwrap();
    let mut rota = serving;
    rota.rota.set("ROTA_SERVER__DRAIN_TIMEOUT", "200ms");
    let host = rota.serve().await;
    let run = rota.queue("work", &["count=12"]).await;
    rota.has_done(&run, 2).await;
    host.signal(Signal::TERM).unwrap();
    let said = host.end().await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    let state = rota.run(&run).await;
    assert_eq!(state["run"]["status"], "queued", "{state:#}");
    let next = rota.serve().await;
    rota.becomes(&run, &["succeeded"]).await;
    assert_eq!(rota.done(&run).await, each_once(12));
    stop(next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_may_pass_are_tried_again() {
    let jobs = format!("{WORK}retries = {{ limit = 3, backoff = \"100ms\" }}\n");
    let serving = Serving::new("retried", &jobs).await;
    serving.database.execute("alter table done rename to elsewhere").await.unwrap();
    let host = serving.serve().await;
    let run = serving.queue("work", &["pause=0"]).await;
    rota_testbed::eventually(super::SOON, "a second attempt", async || {
        let run = serving.run(&run).await;
        Ok((run["attempts"].as_array().unwrap().len() >= 2).then_some(()))
    })
    .await
    .unwrap();
    serving.database.execute("alter table elsewhere rename to done").await.unwrap();
    let over = serving.becomes(&run, &["succeeded", "failed"]).await;
    assert_eq!(over["run"]["status"], "succeeded", "{over:#}");
    assert_eq!(serving.done(&run).await, each_once(6));
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_for_a_moment_costs_no_run_and_no_effect_begins_meanwhile() {
    let mut store = rota_testbed::Postgres::start(rota_testbed::PostgresOptions::default()).await.unwrap();
    store.create_database("rota").await.unwrap();
    let mut serving = Serving::over("away", WORK, "[store]\nurl = \"env:STORE_URL\"\n").await;
    serving.rota.set("STORE_URL", store.url("rota"));
    serving.rota.set("ROTA_SERVER__LEASE", "30s");
    let host = serving.serve().await;
    let run = serving.queue("work", &["count=12", "pause=50"]).await;
    serving.has_done(&run, 3).await;
    store.kill();
    // What was on record may happen; nothing else begins.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let then = serving.done(&run).await.len();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(serving.done(&run).await.len(), then, "no effect begins that is not on record");
    assert!(then < 12, "it was in the middle of its work");
    store.restart().await.unwrap();
    let over = serving.becomes(&run, &["succeeded", "failed", "unknown"]).await;
    assert_eq!(over["run"]["status"], "succeeded", "{over:#}");
    assert_eq!(over["run"]["attempt"], 1, "the lease held: {over:#}");
    assert_eq!(serving.done(&run).await, each_once(12));
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_of_one_file_is_refused_with_the_pid_of_the_first() {
    let serving = Serving::new("two_servers", WORK).await;
    let first = serving.serve().await;
    let second = serving.rota.run(&["serve"]).await.unwrap();
    assert_ne!(second.status, Some(0));
    assert!(second.all().contains(&first.pid().unwrap().to_string()), "{second:?}");
    stop(first).await;
}

const NOTHING: &str = "[jobs.nothing]\nplugin = \"PROBE\"\nparameters = { do = \"nothing\" }\n";

/// What a rolling upgrade does: a plugin that imports what one of the hosts does not know yet.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_cannot_begin_it_leaves_to_one_that_can() {
    let store = Postgres::shared().await.unwrap().fresh_database("upgraded").await.unwrap();
    let own = "[store]\nurl = \"env:STORE_URL\"\n";
    let mut newer = Serving::over("newer", NOTHING, own).await;
    newer.rota.set("STORE_URL", store.url());
    let mut older = Serving::over("older", &NOTHING.replace("PROBE", "older.wasm"), own).await;
    older.rota.set("STORE_URL", store.url());
    // Nor has it what others have compiled.
    let compiled = older.rota.path("compiled");
    older.rota.set("ROTA_SANDBOX__CACHE_DIR", compiled);
    std::fs::write(older.rota.path("work").join("older.wasm"), b"nothing that this host can load").unwrap();

    let (knows, does_not) = (newer.serve().await, older.serve().await);
    // Alive for another three leases, and claims nothing.
    knows.signal(Signal::STOP).unwrap();
    let run = newer.queue("nothing", &[]).await;
    let left = eventually(SOON, "the run to be left to others", async || {
        let run = newer.run(&run).await;
        Ok((run["attempts"][0]["outcome"] == "handed-back").then_some(run))
    });
    let left = left.await.unwrap();
    assert_eq!(left["run"]["status"], "queued", "{left:#}");
    let said = left["attempts"][0]["error"]["message"].as_str().unwrap();
    assert!(said.starts_with("this host cannot begin it, and leaves it to another"), "{said}");
    knows.signal(Signal::CONT).unwrap();
    let over = newer.becomes(&run, &["succeeded"]).await;
    assert_eq!(over["attempts"].as_array().unwrap().len(), 2, "claimed once by the host that cannot: {over:#}");
    stop(knows).await;

    // Nobody else is there: it says so at once.
    let run = newer.queue("nothing", &[]).await;
    let over = newer.becomes(&run, &["failed"]).await;
    assert_eq!(over["error"]["kind"], "not-begun", "{over:#}");
    stop(does_not).await;
}
