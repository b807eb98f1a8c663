//! Objects, scales, rollouts, logs and events.

use super::{World, call, config_map, kinds};
use serde_json::{Value, json};

#[tokio::test]
async fn an_object_is_made_read_changed_in_every_way_and_deleted() {
    let world = World::new("objects", "").await;
    let patch = |kind: &str, patch: Value| call("patch", json!({ "name": "a", "patch-kind": kind, "patch": patch }));
    let answers = world
        .all(&[
            call("create", json!({ "object": config_map("a") })),
            call("create", json!({ "object": config_map("a") })),
            patch("merge", json!({ "data": { "b": "2" } })),
            patch("strategic", json!({ "data": { "c": "3" } })),
            patch(
                "json",
                json!([{ "op": "test", "path": "/data/a", "value": "1" }, { "op": "remove", "path": "/data/a" }]),
            ),
            patch(
                "json",
                json!([{ "op": "test", "path": "/data/b", "value": "9" }, { "op": "remove", "path": "/data/b" }]),
            ),
            patch("apply", json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "d": "4" } })),
            call("get", json!({ "name": "a" })),
            call("delete", json!({ "name": "a", "uid": "11111111-1111-1111-1111-111111111111" })),
            call("delete", json!({ "name": "a" })),
            call("delete", json!({ "name": "a" })),
            call("get", json!({ "name": "a" })),
        ])
        .await;
    let wanted =
        ["ok", "conflict", "ok", "ok", "ok", "conflict", "ok", "ok", "conflict", "ok", "not-found", "not-found"];
    assert_eq!(kinds(&answers), wanted, "{answers:#?}");
    assert_eq!(answers[7]["ok"]["data"], json!({ "b": "2", "c": "3", "d": "4" }));
}

#[tokio::test]
async fn fields_of_another_manager_are_a_conflict_unless_they_are_taken_over() {
    let world = World::new("apply", "").await;
    world.config_map("a", "").await;
    let apply = |kind: &str| {
        let patch = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "a": "9" } });
        call("patch", json!({ "name": "a", "patch-kind": kind, "patch": patch }))
    };
    let answers = world.all(&[apply("apply"), apply("force-apply")]).await;
    assert_eq!(kinds(&answers), ["conflict", "ok"], "{answers:#?}");
    assert_eq!(world.namespace.get("configmap", "a").await.unwrap()["data"]["a"], "9");
}

#[tokio::test]
async fn a_list_has_every_object_page_by_page_and_a_watch_goes_on_from_it() {
    let world = World::new("lists", "").await;
    let items: Vec<Value> = (0..600).map(|number| config_map(&format!("m-{number:03}"))).collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    world.namespace.kubectl_with_input(["create", "--filename=-"], list.to_string().as_bytes()).await.unwrap();
    let answers =
        world.all(&[call("list", json!({ "labels": "app=web" })), call("list", json!({ "labels": "app=none" }))]).await;
    assert_eq!(answers[0]["ok"]["count"], 600, "{}", answers[0]);
    assert_eq!(answers[0]["ok"]["distinct"], 600, "each once: {}", answers[0]);
    assert_eq!(answers[0]["ok"]["first"]["kind"], "ConfigMap");
    assert_eq!(answers[1]["ok"]["count"], 0);
    let version = answers[0]["ok"]["version"].as_str().unwrap();
    world.namespace.kubectl(["delete", "configmap", "m-000"]).await.unwrap();
    world.namespace.kubectl(["patch", "configmap", "m-001", "--patch={\"data\":{\"a\":\"2\"}}"]).await.unwrap();
    let watch = |from: &str| call("watch", json!({ "labels": "app=web", "from": from, "seconds": 2 }));
    let answers = world.all(&[watch(version), watch("1")]).await;
    let seen = answers[0]["ok"]["seen"].as_array().unwrap();
    let changes: Vec<_> = seen.iter().map(|one| (one[0].as_str().unwrap(), one[1].as_str().unwrap_or("-"))).collect();
    let wanted = [("Change::Deleted", "m-000"), ("Change::Modified", "m-001")];
    assert!(wanted.iter().all(|one| changes.contains(one)), "{changes:?}");
}

#[tokio::test]
async fn a_deployment_is_scaled_restarted_and_waited_for() {
    let world = World::new("scales", "").await;
    world.deployment("web", 1).await;
    let on = |function: &str, mut arguments: Value| {
        arguments["kind"] = "apps/v1 Deployment".into();
        arguments["name"] = "web".into();
        call(function, arguments)
    };
    let answers = world
        .all(&[
            on("get-scale", json!({})),
            on("set-scale", json!({ "replicas": 2, "expected": 7 })),
            on("set-scale", json!({ "replicas": 2, "expected": 1 })),
            on("wait-for", json!({ "until": "rolled-out" })),
            on("restart", json!({})),
            on("wait-for", json!({ "until": "rolled-out" })),
            on("rollout-status", json!({})),
            on("wait-for", json!({ "until": "status", "condition": "Available" })),
            on("wait-for", json!({ "until": "field", "field": "/spec/replicas", "value": 2 })),
            on("wait-for", json!({ "until": "field", "field": "/spec/replicas", "value": 3, "seconds": 1 })),
            on("set-scale", json!({ "replicas": 0 })),
            on("wait-for", json!({ "until": "field", "field": "/status/replicas", "value": null })),
            on("events", json!({})),
            call("restart", json!({ "name": "web" })),
        ])
        .await;
    let wanted =
        ["ok", "conflict", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "timed-out", "ok", "ok", "ok", "invalid-argument"];
    assert_eq!(kinds(&answers), wanted, "{answers:#?}");
    assert_eq!(answers[0]["ok"], json!([1, 1]));
    assert_eq!(answers[2]["ok"], 1);
    assert_eq!(answers[6]["ok"]["complete"], true);
    assert!(answers[12]["ok"].to_string().contains("ScalingReplicaSet"), "{}", answers[12]);
    assert_eq!(world.namespace.get("deployment", "web").await.unwrap()["spec"]["replicas"], 0);
}

#[tokio::test]
async fn a_custom_resource_is_found_by_discovery() {
    let world = World::new("custom", "namespaces = [\"*\"]\ncluster_scoped = true").await;
    let group = format!("{}.rota.test", world.namespace.name());
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": format!("widgets.{group}") },
        "spec": { "group": group, "scope": "Namespaced", "names": { "plural": "widgets", "singular": "widget", "kind": "Widget" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }] },
    });
    let of_definition =
        json!({ "kind": "apiextensions.k8s.io/v1 CustomResourceDefinition", "name": format!("widgets.{group}") });
    let mut wait = of_definition.clone();
    wait["until"] = "status".into();
    wait["condition"] = "Established".into();
    let answers = world.all(&[call("create", json!({ "object": definition })), call("wait-for", wait)]).await;
    assert_eq!(kinds(&answers), ["ok", "ok"], "{answers:#?}");
    let widget =
        json!({ "apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": { "name": "a" }, "size": 3 });
    let kind = format!("{group}/v1 Widget");
    let answers = world
        .all(&[
            call("create", json!({ "object": widget })),
            call("get", json!({ "kind": kind, "name": "a" })),
            call("list", json!({ "kind": kind, "all": true })),
            call("get", json!({ "kind": format!("{group}/v1 Nothing"), "name": "a" })),
            call("delete", of_definition),
        ])
        .await;
    assert_eq!(kinds(&answers), ["ok", "ok", "ok", "invalid-argument", "ok"], "{answers:#?}");
    assert_eq!((&answers[1]["ok"]["size"], &answers[2]["ok"]["count"]), (&json!(3), &json!(1)));
}

#[tokio::test]
async fn logs_are_read_followed_and_masked() {
    let world = World::new("logs", "").await;
    world.pod("idle").await;
    world
        .namespace
        .kubectl([
            "run",
            "talks",
            "--image=busybox:1",
            "--restart=Never",
            "--",
            "-c",
            "for i in 1 2 3; do echo line $i; sleep 0.2; done",
        ])
        .await
        .unwrap();
    world
        .namespace
        .kubectl(["wait", "pod/talks", "--for=jsonpath={.status.containerStatuses[0].state}", "--timeout=50s"])
        .await
        .unwrap();
    let wait =
        json!({ "kind": "v1 Pod", "name": "talks", "until": "field", "field": "/status/phase", "value": "Succeeded" });
    let answers = world
        .all(&[
            call("logs", json!({ "pod": "idle" })),
            call("wait-for", wait),
            call("logs", json!({ "pod": "talks", "follow": true })),
            call("logs", json!({ "pod": "talks", "tail": 1 })),
            call("logs", json!({ "pod": "none" })),
            call("logs", json!({ "pod": "idle", "container": "none" })),
        ])
        .await;
    assert_eq!(kinds(&answers)[..5], ["ok", "ok", "ok", "ok", "not-found"], "{answers:#?}");
    assert_eq!(answers[0]["ok"]["text"], "begun\n");
    assert_eq!(answers[2]["ok"]["text"], "line 1\nline 2\nline 3\n");
    assert_eq!(answers[3]["ok"]["text"], "line 3\n");
    assert_eq!(answers[5]["error"], "failed");
}
