//! Against a cluster in memory.

use super::*;
use rota_sdk::HostError;
use rota_sdk::mock::*;

/// A Deployment in its third revision, which is stuck; of the older ones the second serves.
fn stuck_one(cluster: &ClusterMock, name: &str) {
    let condition = json!({ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out." });
    cluster.put(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "uid": format!("uid-{name}"), "generation": 4, "annotations": { "deployment.kubernetes.io/revision": "3" } },
        "spec": { "replicas": 2, "template": template("new", None) },
        "status": { "observedGeneration": 4, "conditions": [condition] },
    }));
    for (revision, image, available) in [(1, "oldest", 0), (2, "old", 2), (3, "new", 0)] {
        let hash = format!("{name}-{revision}");
        cluster.put(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": hash, "labels": { "pod-template-hash": hash }, "ownerReferences": [{ "uid": format!("uid-{name}") }],
                "annotations": { "deployment.kubernetes.io/revision": revision.to_string() },
            },
            "spec": { "template": template(image, Some(&hash)) },
            "status": { "availableReplicas": available },
        }));
    }
    cluster.put(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": format!("{name}-3-x"), "labels": { "pod-template-hash": format!("{name}-3") } },
        "status": { "containerStatuses": [{ "name": "web", "state": { "waiting": { "reason": "ImagePullBackOff" } } }] },
    }));
}

fn template(image: &str, hash: Option<&str>) -> Json {
    let mut labels = json!({ "app": "web" });
    if let Some(hash) = hash {
        labels["pod-template-hash"] = hash.into();
    }
    json!({ "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "web", "image": image }] } })
}

fn image(host: &MockHost, name: &str) -> String {
    let deployment = host.cluster("cluster").object(&Object::deployment(name)).unwrap();
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn goes_back_to_what_served() {
    let host = MockHost::new();
    stuck_one(&host.cluster("cluster"), "web");
    let report = host.run::<Plugin>(json!({ "wait_seconds": 0 })).unwrap();
    assert_eq!(report.summary, "1 Deployments are stuck, 1 rolled back");
    let told = &report.data["stuck"][0];
    assert_eq!((&told["revision"], &told["back_to"], &told["done"]), (&json!(3), &json!(2), &json!("rolled-back")));
    assert_eq!(told["reasons"], json!(["web: ImagePullBackOff"]));
    assert_eq!(image(&host, "web"), "old");
    let deployment = host.cluster("cluster").object(&Object::deployment("web")).unwrap();
    assert_eq!(
        deployment["spec"]["template"]["metadata"]["labels"],
        json!({ "app": "web" }),
        "without the controller's label"
    );
}

#[test]
fn a_plan_changes_nothing() {
    let host = MockHost::new().plan();
    stuck_one(&host.cluster("cluster"), "web");
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.summary, "1 Deployments are stuck, 1 would be rolled back");
    assert!(host.effects().iter().all(|effect| effect.planned) && host.effects().len() == 1, "{:?}", host.effects());
    assert_eq!(image(&host, "web"), "new");
}

#[test]
fn where_too_many_are_stuck_none_is_touched() {
    let host = MockHost::new();
    for name in ["a", "b", "c"] {
        stuck_one(&host.cluster("cluster"), name);
    }
    let report = host.run::<Plugin>(json!({ "most": 2 })).unwrap();
    assert_eq!((report.status, host.effects().len()), (Severity::Critical, 0));
    assert_eq!(report.data["too_many"], true);
    assert_eq!(report.titles(Severity::Warning).len(), 3);
}

#[test]
fn a_report_only_looks() {
    let host = MockHost::new();
    host.grant("cluster", &["read"]);
    stuck_one(&host.cluster("cluster"), "web");
    let report = host.run::<Plugin>(json!({ "action": "report" })).unwrap();
    assert_eq!(report.titles(Severity::Warning), ["web: revision 3 is stuck"]);
    let failed = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(matches!(failed.cause, Some(HostError::Denied(_))), "{failed:?}");
    assert_eq!(image(&host, "web"), "new");
}

#[test]
fn what_rests_or_is_seen_no_more_is_not_stuck() {
    let of = |spec: Json, observed: u64| {
        let condition = json!({ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded" });
        json!({ "metadata": { "generation": 2 }, "spec": spec, "status": { "observedGeneration": observed, "conditions": [condition] } })
    };
    assert!(look::given_up(&of(json!({ "replicas": 1 }), 2)).is_some());
    assert!(look::given_up(&of(json!({ "replicas": 0 }), 2)).is_none());
    assert!(look::given_up(&of(json!({ "replicas": 1, "paused": true }), 2)).is_none());
    assert!(look::given_up(&of(json!({ "replicas": 1 }), 1)).is_none());
}
