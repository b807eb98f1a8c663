//! The cluster breaks: away, silent, or gone in the middle.

use super::{World, call, config_map, kinds};
use rota_testbed::Cluster;
use serde_json::json;
use std::time::Duration;

/// Every import that reaches the cluster, each on something that is there.
fn everything() -> Vec<serde_json::Value> {
    let deployment = |function: &str| {
        call(
            function,
            json!({ "kind": "apps/v1 Deployment", "name": "web", "replicas": 2, "until": "exists", "seconds": 1 }),
        )
    };
    let image = format!("busybox@sha256:{}", "0".repeat(64));
    vec![
        call("version", json!({})),
        call("require", json!({ "verb": "get" })),
        call("get", json!({ "name": "a" })),
        call("list", json!({})),
        call("watch", json!({ "seconds": 1 })),
        call("events", json!({ "name": "a" })),
        call("create", json!({ "object": config_map("new") })),
        call("patch", json!({ "name": "a", "patch": { "data": { "a": "2" } } })),
        call("delete", json!({ "name": "a" })),
        deployment("get-scale"),
        deployment("set-scale"),
        deployment("restart"),
        deployment("rollout-status"),
        deployment("wait-for"),
        call("logs", json!({ "pod": "idle" })),
        call("exec", json!({ "pod": "idle", "words": ["true"] })),
        call("run-job", json!({ "image": image, "words": ["true"] })),
        call("lock", json!({ "name": "a" })),
    ]
}

#[tokio::test]
async fn a_cluster_that_is_away_or_silent_is_an_error_of_every_import_and_a_watch_outlives_it() {
    let mut cluster = Cluster::start().await.unwrap();
    let world = World::of(&cluster, "faults", "timeout = \"1500ms\"").await;
    world.config_map("a", "").await;
    world.pod("idle").await;
    world.deployment("web", 1).await;

    // A watch that is interrupted goes on, and misses nothing.
    let watching = [call("watch", json!({ "seconds": 25 }))];
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        cluster.restart_api().await.unwrap();
        world.namespace.kubectl(["create", "configmap", "after-the-interruption"]).await.unwrap();
    };
    let (answers, ()) = tokio::join!(world.all(&watching), meanwhile);
    assert!(answers[0]["ok"]["seen"].to_string().contains("after-the-interruption"), "{}", answers[0]);

    let calls = everything();
    cluster.pause_api().unwrap();
    let answers = world.all(&calls).await;
    for (call, answer) in calls.iter().zip(&answers) {
        assert!(answer["error"] == "timed-out" || answer["error"] == "unavailable", "{call}: {answer}");
    }
    cluster.resume_api().unwrap();
    let answers = world.all(&[calls[2].clone()]).await;
    assert_eq!(kinds(&answers), ["ok"], "{answers:?}");

    cluster.kill_api();
    let answers = world.all(&calls).await;
    for (call, answer) in calls.iter().zip(&answers) {
        assert!(answer["error"] == "unavailable" || answer["error"] == "timed-out", "{call}: {answer}");
    }
    assert!(answers[2]["text"].as_str().unwrap().contains("binding `prod`"), "{}", answers[2]);
    cluster.restart_api().await.unwrap();
    world.namespace.get("configmap", "a").await.unwrap();
}

#[tokio::test]
async fn a_command_whose_connection_is_cut_has_not_succeeded() {
    let mut cluster = Cluster::start().await.unwrap();
    let world = World::of(&cluster, "cut", "").await;
    world.pod("idle").await;
    let calls = [call("exec", json!({ "pod": "idle", "words": ["sh", "-c", "echo begun; sleep 20; echo end"] }))];
    let cut = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        cluster.kill_api();
    };
    let (answers, ()) = tokio::join!(world.all(&calls), cut);
    assert_eq!(kinds(&answers), ["unavailable"], "{answers:?}");
}
