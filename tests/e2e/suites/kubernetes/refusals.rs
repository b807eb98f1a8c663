//! What a binding's rules, the cluster's roles and the absence of `secrets` keep from a plugin.

use super::{ALL, World, call, config_map, kinds};
use rota_testbed::eventually;
use serde_json::json;

#[tokio::test]
async fn a_binding_reaches_its_namespaces_and_no_object_without_one() {
    let world = World::new("namespaces", "").await;
    let answers = world
        .all(&[
            call("list", json!({ "kind": "v1 Pod", "namespace": "kube-system" })),
            call("list", json!({ "kind": "v1 Pod", "all": true })),
            call("get", json!({ "kind": "v1 Node", "name": "rota-node" })),
            call("list", json!({ "kind": "v1 Namespace" })),
            call("create", json!({ "object": { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "default" } } })),
            call("get", json!({ "name": "../../../secrets/x" })),
            call("get", json!({ "namespace": "a/b", "name": "x" })),
            call("namespace", json!({})),
        ])
        .await;
    let wanted = ["denied", "denied", "denied", "denied", "denied", "invalid-argument", "invalid-argument", "ok"];
    assert_eq!(kinds(&answers), wanted, "{answers:#?}");
    assert!(answers[0]["text"].as_str().unwrap().contains("its operator adds it to `namespaces`"), "{}", answers[0]);
    assert_eq!(answers[7]["ok"], world.namespace.name());
}

#[tokio::test]
async fn rules_narrow_verbs_resources_names_and_labels() {
    let world = World::new(
        "rules",
        r#"
[[bindings.prod.allow]]
verbs = ["get", "list", "patch", "create", "delete"]
resources = ["configmaps"]
labels = ["app=web"]

[[bindings.prod.allow]]
verbs = ["get"]
resources = ["configmaps"]
names = ["named-*"]
"#,
    )
    .await;
    world.config_map("ours", "app=web").await;
    world.config_map("theirs", "app=db").await;
    world.config_map("named-1", "").await;
    let patch = json!({ "data": { "a": "2" } });
    let mut foreign = config_map("foreign");
    foreign["metadata"]["labels"]["app"] = "db".into();
    let answers = world
        .all(&[
            call("get", json!({ "name": "ours" })),
            call("get", json!({ "name": "theirs" })),
            call("get", json!({ "name": "named-1" })),
            call("patch", json!({ "name": "ours", "patch": patch })),
            call("patch", json!({ "name": "named-1", "patch": patch })),
            call("delete", json!({ "name": "theirs" })),
            call("create", json!({ "object": config_map("new") })),
            call("create", json!({ "object": foreign })),
            call("list", json!({})),
            call("watch", json!({})),
            call("list", json!({ "kind": "v1 Pod" })),
            call("set-scale", json!({ "kind": "apps/v1 Deployment", "name": "web" })),
        ])
        .await;
    let wanted = ["ok", "denied", "ok", "ok", "denied", "denied", "ok", "denied", "ok", "denied", "denied", "denied"];
    assert_eq!(kinds(&answers), wanted, "{answers:#?}");
    assert_eq!(answers[8]["ok"]["names"], json!(["new", "ours"]));
    assert!(
        answers[10]["text"].as_str().unwrap().contains("no rule of binding `prod` lets `list` through on pods"),
        "{}",
        answers[10]
    );
}

#[tokio::test]
async fn values_of_secrets_reach_nobody_who_is_not_granted_them() {
    let world = World::new("secrets", "").await;
    let canary = "c4nary-in-the-cluster-5521";
    let encoded = "YzRuYXJ5LWluLXRoZS1jbHVzdGVyLTU1MjE=";
    world
        .namespace
        .kubectl(["create", "secret", "generic", "login", &format!("--from-literal=password={canary}")])
        .await
        .unwrap();
    let on = |function: &str, mut arguments: serde_json::Value| {
        arguments["kind"] = "v1 Secret".into();
        arguments["name"] = "login".into();
        call(function, arguments)
    };
    let value = json!({ "until": "field", "field": "/data/password", "value": encoded, "seconds": 0 });
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "thief" }, "spec": { "containers": [
        { "name": "main", "image": "busybox:1", "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "login", "key": "password" } } }] }] } });
    let calls = [
        on("get", json!({})),
        on("list", json!({})),
        on("watch", json!({ "from": "0" })),
        on("wait-for", value.clone()),
        on("patch", json!({ "patch": { "stringData": { "x": "y" } } })),
        call("create", json!({ "object": { "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "other" } } })),
        call("create", json!({ "object": pod })),
        call(
            "run-job",
            json!({ "image": format!("busybox@sha256:{}", "0".repeat(64)), "words": ["env"], "secret": "login/password" }),
        ),
    ];
    let ran = world.run(&calls, &["--grant", ALL]).await;
    let wanted = ["ok", "ok", "ok", "timed-out", "denied", "denied", "denied", "denied"];
    assert_eq!(kinds(&ran.answers), wanted, "{:#?}", ran.answers);
    let all = json!([ran.answers, ran.effects]).to_string();
    assert!(!all.contains(canary) && !all.contains(encoded) && !all.contains("YzRuYXJ5"), "{all}");
    assert!(ran.answers[0]["ok"]["data"]["password"].as_str().unwrap().contains("secret of about"), "{all}");
    assert!(ran.answers[4]["text"].as_str().unwrap().contains("--grant cluster="), "{all}");

    // Granted, they come; and wherever the host writes them down, they are masked.
    let ran = world
        .run(
            &[on("wait-for", value), on("patch", json!({ "patch": { "stringData": { "x": "y" } } }))],
            &["--grant", "declared"],
        )
        .await;
    assert_eq!(kinds(&ran.answers), ["ok", "ok"], "{:#?}", ran.answers);
    assert!(!json!([ran.answers, ran.effects]).to_string().contains(encoded), "the report is masked");
}

#[tokio::test]
async fn what_the_account_may_not_do_fails_before_the_first_effect() {
    let rules = r#"
[[bindings.prod.allow]]
verbs = ["get", "create", "scale", "exec"]
resources = ["configmaps", "deployments.apps", "pods"]
"#;
    let world = World::new("preflight", rules).await;
    let token = world.namespace.service_account("limited").await.unwrap();
    world.namespace.allow("limited", &["get", "create"], &["configmaps"]).await.unwrap();
    world.bind(&token, rules);
    eventually(super::DEADLINE, "the refusal", async || {
        let ran = world
            .run(&[call("create", json!({ "object": config_map("a") }))], &["--grant", "cluster=read,write,scale"])
            .await;
        let text = ran.answers[0]["text"].as_str().unwrap_or_default();
        assert!(ran.effects.is_empty(), "{:?}", ran.effects);
        // The role takes a moment to be known.
        Ok((text.contains("patch deployments/scale.apps")
            && !text.contains("get configmaps")
            && !text.contains("exec"))
        .then_some(()))
    })
    .await
    .unwrap();
    world.bind(&token, "");
    let need = |verb: &str, kind: &str| call("require", json!({ "verb": verb, "kind": kind }));
    let answers = world
        .all(&[
            need("create", "v1 ConfigMap"),
            need("delete", "v1 ConfigMap"),
            call("list", json!({ "kind": "v1 Pod" })),
            call("create", json!({ "object": config_map("a") })),
        ])
        .await;
    assert_eq!(kinds(&answers), ["ok", "failed", "failed", "ok"], "{answers:#?}");
    assert!(answers[2]["text"].as_str().unwrap().contains("give the binding's account a role"), "{}", answers[2]);
}

#[tokio::test]
async fn a_binding_acts_as_its_service_account_and_by_server_and_token() {
    let world = World::new("accounts", "").await;
    let token = world.namespace.service_account("actor").await.unwrap();
    world.namespace.allow("actor", &["get", "list"], &["configmaps"]).await.unwrap();
    let calls =
        [call("list", json!({})), call("create", json!({ "object": config_map("a") })), call("version", json!({}))];
    let cluster = world.namespace.cluster();
    let account = format!("service_account = \"{}/actor\"", world.namespace.name());
    world.bind(cluster.token(), &account);
    let by_impersonation = async || Ok(Some(world.all(&calls).await).filter(|answers| kinds(answers)[0] == "ok"));
    let answers = eventually(super::DEADLINE, "the role", by_impersonation).await.unwrap();
    assert_eq!(kinds(&answers), ["ok", "failed", "ok"], "{answers:#?}");
    assert!(answers[1]["text"].as_str().unwrap().contains(":actor"), "{}", answers[1]);
    assert!(answers[2]["ok"].as_str().unwrap().starts_with("v1.34"), "{}", answers[2]);

    crate::write_private(&world.rota.path("token"), &token).unwrap();
    world.rota.configure(&format!(
        "[bindings.prod]\nkind = \"kubernetes\"\nserver = \"{}\"\ntoken = \"file:{}\"\nca_file = \"{}\"\nnamespace = \"{}\"\n",
        cluster.server(), world.rota.path("token").display(), cluster.authority().display(), world.namespace.name()
    )).unwrap();
    let answers = world.all(&calls).await;
    assert_eq!(kinds(&answers), ["ok", "failed", "ok"], "{answers:#?}");
    let doctor = world.rota.run(&["doctor", "--output", "json"]).await.unwrap();
    assert!(doctor.stdout.contains("Kubernetes v1.34"), "{doctor:?}");
    assert!(!doctor.all().contains(&token));
}
