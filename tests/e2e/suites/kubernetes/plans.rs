//! Plans: the server's own dry run, with the difference, the conflicts and what admission refuses.

use super::{World, call, config_map, kinds};
use serde_json::json;

#[tokio::test]
async fn a_plan_shows_the_difference_and_changes_nothing() {
    let world = World::new("plans", "").await;
    world.config_map("a", "").await;
    world.deployment("web", 2).await;
    let deployment = |function: &str, mut arguments: serde_json::Value| {
        arguments["kind"] = "apps/v1 Deployment".into();
        arguments["name"] = "web".into();
        call(function, arguments)
    };
    let wrong = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "wrong" }, "spec": {} });
    let before = world
        .namespace
        .kubectl(["get", "all,configmaps", "--output=jsonpath={.items[*].metadata.resourceVersion}"])
        .await
        .unwrap();
    let ran = world
        .plan(&[
            call("patch", json!({ "name": "a", "patch": { "data": { "a": "2", "b": "3" } } })),
            call("create", json!({ "object": config_map("a") })),
            call("create", json!({ "object": config_map("new") })),
            call("create", json!({ "object": wrong })),
            call("delete", json!({ "name": "a" })),
            deployment("set-scale", json!({ "replicas": 0 })),
            deployment("restart", json!({})),
            deployment("wait-for", json!({ "until": "field", "field": "/spec/replicas", "value": 0 })),
        ])
        .await;
    let wanted = ["ok", "conflict", "ok", "failed", "ok", "ok", "ok", "timed-out"];
    assert_eq!(kinds(&ran.answers), wanted, "{:#?}", ran.answers);
    let details: Vec<&str> = ran.effects.iter().map(|effect| effect["detail"].as_str().unwrap()).collect();
    for (detail, parts) in details.iter().zip([
        &["~ /data/a: \"1\" -> \"2\"", "+ /data/b: \"3\""][..],
        &["it would be refused", "already exists"],
        &["+ /data/a: \"1\""],
        &["it would be refused", "spec.selector"],
        &["delete"],
        &["scale from 2 to 0 replicas"],
        &["restart every pod", "restartedAt"],
    ]) {
        assert!(parts.iter().all(|part| detail.contains(part)), "{parts:?}: {detail}");
    }
    assert_eq!(details.len(), 7);
    assert!(ran.effects.iter().all(|effect| effect["outcome"] == "planned"));
    let after = world
        .namespace
        .kubectl(["get", "all,configmaps", "--output=jsonpath={.items[*].metadata.resourceVersion}"])
        .await
        .unwrap();
    assert_eq!(before, after);
}
