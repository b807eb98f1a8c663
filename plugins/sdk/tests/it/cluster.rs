//! A procedure with a cluster, on the cluster in memory.

use rota_sdk::cluster::{Command, Condition, DeleteOptions, Kind, Object, PatchKind, Selection};
use rota_sdk::mock::*;
use rota_sdk::prelude::*;

procedure! {
    name: "quiesce",
    summary: "Scales an application down, looks at its database, and scales it up again.",
    description: "For tests.",
    risk: change,
    idempotent: true,
    slots: { cluster: kubernetes [read, write, delete, scale, exec] "The application and its database." },
    parameters: (),
    report: Data,
    run
}

/// What was found.
#[data]
pub struct Data {
    /// Replicas before.
    replicas: u32,
    /// Pods of the application.
    pods: Vec<String>,
    /// What the database said.
    said: String,
}

async fn run(cx: Context, _: ()) -> Outcome<Data> {
    let cluster = cx.cluster().open().await?;
    let lock = cluster.lock("quiesce", 30).await?;
    let web = Object::deployment("web");
    let replicas = cluster.get_scale(&web).await?.wanted;
    let mut listing = cluster.list(&Kind::new("v1", "Pod"), Selection::all().labels("app=web")).await?;
    let mut pods = Vec::new();
    while let Some(pod) = listing.next().await? {
        pods.push(pod["metadata"]["name"].as_str().unwrap_or_default().to_owned());
    }
    cluster.set_scale(&web, 0, Some(replicas)).await?;
    let child = cluster.exec(Command::new("db-0", &["psql", "-Atc", "select 1"]), None).await?;
    let said = String::from_utf8_lossy(&child.stdout()?.collect(1000).await?).into_owned();
    child.success().await?;
    cluster.patch(&web, PatchKind::Merge, &json!({ "metadata": { "annotations": { "quiesced": "yes" } } })).await?;
    if !cx.is_plan() {
        let field = Condition::Field(("/spec/replicas".into(), "0".into()));
        cluster.wait_for(&web, field, 10).await?;
    }
    cluster.set_scale(&web, replicas, None).await?;
    cluster.delete(&Kind::new("v1", "ConfigMap").named("old"), DeleteOptions::plain()).await?;
    lock.release().await?;
    let mut report = Report::new();
    report.summary(format!("{replicas} replicas were away for a moment"));
    Ok(report.data(Data { replicas, pods, said }))
}

fn host() -> MockHost {
    let host = MockHost::new();
    let pod = |name: &str, app: &str| json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": app } } });
    host.cluster("cluster")
        .put(json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": { "replicas": 3 } }))
        .put(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "old" } }))
        .put(pod("web-1", "web"))
        .put(pod("db-0", "db"))
        .on("select 1", ToolOutput::success("1\n"));
    host
}

#[test]
fn it_says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn it_changes_the_cluster_and_lists_each_effect() {
    let host = host();
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(
        (&report.data["replicas"], &report.data["pods"], &report.data["said"]),
        (&json!(3), &json!(["web-1"]), &json!("1\n"))
    );
    let operations: Vec<&str> = host.effects().iter().map(|effect| effect.operation).collect();
    let wanted = ["lock", "set-scale", "exec", "patch", "set-scale", "delete", "release"];
    assert_eq!(operations, wanted.map(|word| format!("kubernetes.{word}")));
    let web = host.cluster("cluster").object(&Object::deployment("web")).unwrap();
    assert_eq!((&web["spec"]["replicas"], &web["metadata"]["annotations"]["quiesced"]), (&json!(3), &json!("yes")));
    assert!(host.cluster("cluster").object(&Kind::new("v1", "ConfigMap").named("old")).is_none());
}

#[test]
fn a_plan_changes_nothing() {
    let host = host().plan();
    host.run::<Plugin>(json!({})).unwrap();
    assert!(host.effects().iter().all(|effect| effect.planned));
    assert_eq!(host.cluster("cluster").object(&Object::deployment("web")).unwrap()["spec"]["replicas"], 3);
}

fn says(host: &MockHost, text: &str) {
    let failed = format!("{:?}", host.run::<Plugin>(json!({})).unwrap_err());
    assert!(failed.contains(text), "{failed}");
}

#[test]
fn a_lock_of_others_and_what_is_not_granted_end_it() {
    let held = host();
    held.cluster("cluster").held_by("quiesce", "rota/other/1");
    says(&held, "held by rota/other/1");
    let limited = host();
    limited.grant("cluster", &["read", "write"]);
    says(&limited, "`scale` on slot `cluster`");
    let failing = host();
    failing.cluster("cluster").on("select 1", ToolOutput::failure(2, "no connection"));
    assert!(failing.run::<Plugin>(json!({})).is_err());
}
