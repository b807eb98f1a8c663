//! NATS JetStream, read only: states of a real server and of a real cluster, and what jetstream-health says of them.

use crate::{rota, run};
use rota_testbed::{Nats, eventually};
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(40);

/// The URL of servers, the first one first, with the monitoring of all.
fn url(servers: &[&Nats]) -> String {
    let monitoring: Vec<String> = servers.iter().map(|nats| nats.monitoring()).collect();
    format!("{}?monitoring={}", servers[0].url(), monitoring.join(","))
}

async fn health(url: &str, more: &[&str]) -> Value {
    let bind = format!("stream={url}");
    let mut arguments = vec!["--bind", &bind, "--grant", "declared", "-p", "sample_seconds=1"];
    arguments.extend(more);
    let (status, answer) = run(&rota(), "jetstream-health", &arguments).await;
    assert_eq!(status, Some(0), "{answer}");
    assert_eq!(answer["effects"], json!([]), "it only reads");
    assert!(!answer.to_string().contains("c4nary"), "what messages hold is told to nobody: {answer}");
    answer["report"].clone()
}

/// The findings of a severity.
fn titles<'r>(report: &'r Value, severity: &str) -> Vec<&'r str> {
    let findings = report["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] == severity);
    findings.map(|finding| finding["title"].as_str().unwrap()).collect()
}

#[track_caller]
fn says(report: &Value, severity: &str, text: &str) {
    assert!(titles(report, severity).iter().any(|title| title.contains(text)), "no {severity} `{text}`: {report:#}");
}

fn named<'r>(report: &'r Value, list: &str, name: &str) -> &'r Value {
    let all = report["data"][list].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name} among {list}: {report:#}"))
}

#[tokio::test]
async fn a_server_that_is_well_is_ok_and_its_numbers_are_the_servers() {
    let nats = Nats::start().await.unwrap();
    let mut client = nats.client().await.unwrap();
    client.stream("ORDERS", &json!({})).await.unwrap();
    client.consumer("ORDERS", "worker", &json!({})).await.unwrap();
    client.store("ORDERS.new", 3, "c4nary").await.unwrap();
    client.fetch("ORDERS", "worker", 1).await.unwrap();
    let report = health(&url(&[&nats]), &["-p", "warn_seconds_behind=100"]).await;
    // Nobody asks for the other two.
    assert_eq!(titles(&report, "warning"), ["ORDERS/worker: 2 messages wait, and nobody asks for them"], "{report:#}");
    assert_eq!((&report["status"], titles(&report, "critical").len()), (&json!("warning"), 0));
    let info = client.api("CONSUMER.INFO.ORDERS.worker", &Value::Null).await.unwrap();
    let consumer = named(&report, "consumers", "worker");
    assert_eq!((&consumer["pending"], &consumer["ack_pending"]), (&info["num_pending"], &info["num_ack_pending"]));
    assert_eq!((consumer["pending"].as_u64(), consumer["ack_pending"].as_u64()), (Some(2), Some(1)));
    assert!(consumer["seconds_behind"].as_f64().unwrap() < 60.0, "{consumer}");
    let stream = client.api("STREAM.INFO.ORDERS", &Value::Null).await.unwrap();
    assert_eq!(named(&report, "streams", "ORDERS")["bytes"], stream["state"]["bytes"]);
    let page = nats.page("/varz").await.unwrap();
    assert_eq!(
        (&report["data"]["server"]["version"], &report["data"]["servers"][0]["name"]),
        (&page["version"], &page["server_name"])
    );

    client.fetch("ORDERS", "worker", 2).await.unwrap();
    let report = health(&url(&[&nats]), &[]).await;
    assert_eq!((&report["status"], &report["data"]["visibility_complete"]), (&json!("ok"), &json!(true)), "{report:#}");
    // Without monitoring not everything is seen, and that is not ok.
    let report = health(&nats.url(), &[]).await;
    assert_eq!((&report["status"], &report["data"]["visibility_complete"]), (&json!("unknown"), &json!(false)));
    assert_eq!(health(&nats.url(), &["-p", "require_monitoring=false"]).await["status"], "ok");
    let report = health(&url(&[&nats]), &["-p", "streams=[\"ORDERS\",\"GONE\"]"]).await;
    says(&report, "critical", "GONE: there is no such stream");
}

#[tokio::test]
async fn consumers_that_do_not_keep_up_are_named() {
    let nats = Nats::start().await.unwrap();
    let mut client = nats.client().await.unwrap();
    client.stream("JOBS", &json!({})).await.unwrap();
    client.consumer("JOBS", "full", &json!({ "max_ack_pending": 4 })).await.unwrap();
    client.consumer("JOBS", "again", &json!({ "ack_wait": 200_000_000_u64 })).await.unwrap();
    client.consumer("JOBS", "idle", &json!({ "filter_subject": "JOBS.a" })).await.unwrap();
    client.store("JOBS.a", 6, "c4nary").await.unwrap();
    client.fetch("JOBS", "full", 4).await.unwrap();
    // A message that is not acknowledged comes again.
    client.fetch("JOBS", "again", 1).await.unwrap();
    eventually(PATIENCE, "a redelivery", async || {
        client.fetch("JOBS", "again", 1).await?;
        let info = client.api("CONSUMER.INFO.JOBS.again", &Value::Null).await?;
        Ok((info["num_redelivered"].as_u64() > Some(0)).then_some(()))
    })
    .await
    .unwrap();
    // Messages come while it looks.
    let mut publisher = nats.client().await.unwrap();
    let publishing = tokio::spawn(async move {
        while publisher.store("JOBS.a", 1, "c4nary").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let report = health(
        &url(&[&nats]),
        &["-p", "warn_pending=2", "-p", "critical_seconds_behind=1", "-p", "warn_seconds_behind=0"],
    )
    .await;
    publishing.abort();
    assert_eq!(report["status"], "critical");
    says(&report, "critical", "JOBS/full: all 4 messages that may be unacknowledged are");
    says(&report, "warning", "JOBS/again: ");
    says(&report, "warning", "messages were delivered again and are not acknowledged");
    says(&report, "warning", "more than 1 s before");
    says(&report, "critical", "JOBS/idle: its next message has waited for");
    let idle = named(&report, "consumers", "idle");
    assert!(idle["pending_growth"].as_i64() > Some(0), "{idle}");
}

#[tokio::test]
async fn storage_near_its_limit_is_found_at_the_stream_the_account_and_the_server() {
    let nats = Nats::with("max_file: 1M, max_mem: 1M", "max_file: 900K, max_mem: 900K", "").await.unwrap();
    let mut client = nats.client().await.unwrap();
    let payload = "c4nary-".repeat(1_400);
    client.stream("RING", &json!({ "max_bytes": 50_000 })).await.unwrap();
    client.stream("QUEUE", &json!({ "max_bytes": 100_000, "discard": "new", "retention": "workqueue" })).await.unwrap();
    client.stream("BIG", &json!({})).await.unwrap();
    client.store("RING.a", 8, &payload).await.unwrap();
    client.store("QUEUE.a", 9, &payload).await.unwrap();
    client.store("BIG.a", 70, &payload).await.unwrap();
    let report = health(&url(&[&nats]), &[]).await;
    assert_eq!(report["status"], "critical");
    says(&report, "warning", "QUEUE: 8");
    says(&report, "ok", "RING: ");
    says(&report, "critical", "account: ");
    says(&report, "warning", "one: JetStream uses");
    let page = nats.page("/jsz").await.unwrap();
    assert_eq!(report["data"]["servers"][0]["storage"], page["storage"]);
}

#[tokio::test]
async fn a_slow_consumer_that_was_cut_off_is_found() {
    let nats =
        Nats::with("max_file: 64M", "", "max_payload: 100K\nmax_pending: 1M\nwrite_deadline: \"200ms\"").await.unwrap();
    assert_eq!(health(&url(&[&nats]), &[]).await["status"], "ok");
    let mut slow = nats.client().await.unwrap();
    slow.subscribe("flood").await.unwrap();
    let mut client = nats.client().await.unwrap();
    let payload = "c4nary-".repeat(9_000);
    eventually(PATIENCE, "a slow consumer", async || {
        for _ in 0..100 {
            client.publish("flood", &payload).await?;
        }
        Ok((nats.page("/varz").await?["slow_consumers"].as_u64() > Some(0)).then_some(()))
    })
    .await
    .unwrap();
    let report = health(&url(&[&nats]), &[]).await;
    // The server may go on to count while it looks; either way it is not well.
    let found = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .any(|one| one["title"].as_str().unwrap().contains("slow consumers were cut off"));
    assert!(found && report["status"] != "ok", "{report:#}");
    assert!(report["data"]["servers"][0]["slow_consumers"].as_u64() >= Some(1), "{report:#}");
    drop(slow);
}

#[tokio::test]
async fn a_cluster_loses_one_server_and_then_its_quorum() {
    let mut all = Nats::cluster().await.unwrap();
    let mut client = all[0].client().await.unwrap();
    // Its leader answers only when it has one.
    eventually(PATIENCE, "a stream of three copies", async || {
        client.stream("LEDGER", &json!({ "num_replicas": 3 })).await.map(Some)
    })
    .await
    .unwrap();
    eventually(PATIENCE, "a consumer", async || client.consumer("LEDGER", "audit", &json!({})).await.map(Some))
        .await
        .unwrap();
    client.store("LEDGER.a", 2, "c4nary").await.unwrap();
    let whole = {
        let servers: Vec<&Nats> = all.iter().collect();
        url(&servers)
    };
    let report = eventually(PATIENCE, "all copies to be there", async || {
        let report = health(&whole, &["-p", "expected_servers=3"]).await;
        Ok((named(&report, "streams", "LEDGER")["reachable"] == 3 && titles(&report, "critical").is_empty())
            .then_some(report))
    })
    .await
    .unwrap();
    assert!(
        report["data"]["servers"].as_array().unwrap().iter().all(|server| server["cluster_leader"].is_string()),
        "{report:#}"
    );
    let report = health(&whole, &["-p", "expected_servers=4"]).await;
    says(&report, "critical", "3 servers belong to JetStream's cluster, and 4 are expected");

    all[2].kill();
    let report = eventually(PATIENCE, "the loss of one to be seen", async || {
        let report = health(&whole, &[]).await;
        let lost =
            report["data"]["streams"].as_array().is_some_and(|streams| streams.iter().any(|one| one["reachable"] == 2));
        Ok(lost.then_some(report))
    })
    .await
    .unwrap();
    says(&report, "warning", "LEDGER: 2 of 3 copies can be reached");
    says(&report, "critical", "server 2: its monitoring does not answer");
    assert_eq!((&report["status"], &report["data"]["answers"]), (&json!("critical"), &json!(true)));

    all[1].kill();
    let report = eventually(PATIENCE, "the loss of the quorum to be seen", async || {
        let report = health(&format!("{whole}&domain="), &[]).await;
        let noticed = ["cluster has no leader", "n0: 1 streams here have no leader"]
            .iter()
            .all(|said| titles(&report, "critical").iter().any(|title| title.contains(said)));
        Ok((report["data"]["answers"] == false && noticed).then_some(report))
    })
    .await
    .unwrap();
    says(&report, "critical", "JetStream does not answer");
    assert_eq!(report["data"]["visibility_complete"], false);
}

#[tokio::test]
async fn what_cannot_be_looked_at_says_why() {
    let mut nats = Nats::start().await.unwrap();
    let rota = rota();
    let failing = async |url: &str, more: &[&str]| {
        let bind = format!("stream={url}");
        let mut arguments = vec!["--bind", &bind, "-p", "sample_seconds=1"];
        arguments.extend(more);
        let (status, answer) = run(&rota, "jetstream-health", &arguments).await;
        assert_ne!(status, Some(0), "{answer}");
        assert!(!answer.to_string().contains(nats.password()), "{answer}");
        answer.to_string()
    };
    let text = failing(&nats.url().replace(nats.password(), "wrong"), &[]).await;
    assert!(text.contains("does not accept the login"), "{text}");
    let text = failing(&nats.url_as("bare"), &[]).await;
    assert!(text.contains("JetStream is not enabled for the account"), "{text}");
    let text = failing(&nats.url(), &["--grant", "stream="]).await;
    assert!(text.contains("--grant stream=read"), "{text}");
    let away = nats.url();
    nats.kill();
    let bind = format!("stream={away}");
    let (status, answer) = run(&rota, "jetstream-health", &["--bind", &bind]).await;
    assert_eq!(status, Some(1), "{answer}");
    let text = answer.to_string();
    assert!(text.contains("cannot be reached") && !text.contains(&nats.port().to_string()), "{text}");
}

#[tokio::test]
async fn a_server_that_answers_nothing_is_given_up_and_the_doctor_reaches_one_that_does() {
    let nats = Nats::start().await.unwrap();
    let mut rota = rota();
    rota.set("NATS_PASSWORD", nats.password());
    let binding = |monitoring: &str| {
        format!(
            "[bindings.events]\nkind = \"jetstream\"\nurl = \"nats://rota@127.0.0.1:{}\"\npassword = \"env:NATS_PASSWORD\"\n\
             connect_timeout = \"500ms\"\nrequest_timeout = \"500ms\"\nmonitoring = [\"{monitoring}\"]\n",
            nats.port()
        )
    };
    rota.configure(&binding(&nats.monitoring())).unwrap();
    let said = rota.run(&["doctor", "--output", "json"]).await.unwrap();
    assert!(said.stdout.contains("NATS 2.") && said.stdout.contains("monitoring of 1 servers"), "{said:?}");
    // Nobody is there: the doctor says so.
    let free = rota_testbed::free_port().unwrap();
    rota.configure(&binding(&format!("http://127.0.0.1:{free}"))).unwrap();
    let said = rota.run(&["doctor", "--output", "json"]).await.unwrap();
    assert!(said.stdout.contains("1 of 1 monitoring addresses do not answer"), "{said:?}");
    assert_ne!(said.status, Some(0));

    nats.pause();
    let begun = std::time::Instant::now();
    let (status, answer) = run(&rota, "jetstream-health", &["--bind", "stream=events"]).await;
    nats.resume();
    assert_eq!(status, Some(1), "{answer}");
    let text = answer.to_string();
    assert!(text.contains("did not answer in time") && text.contains("connect_timeout"), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}
