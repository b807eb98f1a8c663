//! Without servers. What needs real ones is in tests/procedures/failover.

use super::*;
use rota_sdk::cluster::{Kind, Object};
use rota_sdk::mock::*;

const COLUMNS: [&str; 10] = [
    "in_recovery",
    "address",
    "system_identifier",
    "timeline",
    "receiver_pid",
    "receiver_status",
    "primary_said",
    "received",
    "replayed",
    "paused",
];

const IDENTIFIER: &str = "7300000000000000001";

fn looks(in_recovery: bool, status: Option<&str>, end: i64) -> MockRows {
    let pid = status.map(|_| 7);
    rows! { COLUMNS => [in_recovery, "10.0.0.2", IDENTIFIER, 1, pid, status, None::<i64>, end, end, false] }
}

/// A primary at 10.0.0.1 that has written 1,000 bytes, its standby at 10.0.0.2, and one client. The pod of the primary goes when it is stopped: the
/// StatefulSet's pods are named by it, and the mock has it under another name.
fn host() -> MockHost {
    host_with(looks(true, Some("streaming"), 1_000))
}

/// The same with a standby that first looks so.
fn host_with(first: MockRows) -> MockHost {
    let host = MockHost::new();
    for slot in ["database", "standby"] {
        host.sql(slot).inspected(Timestamp(0), Timestamp(1_000_000), None, true);
    }
    let primary = host.sql("database");
    primary.on(
        "as client_sessions",
        rows! { ["address", "written", "client_sessions", "in_transaction", "standbys"] => ["10.0.0.1", 1_000_i64, 1_i64, 0_i64, 1_i64] },
    );
    let standby = host.sql("standby");
    standby.server(|server| server.in_recovery = true);
    standby.once("as receiver_status", first);
    standby.on("as receiver_status", looks(true, None, 1_120));
    standby.on("pg_catalog.pg_is_in_recovery()", rows! { ["in_recovery"] => [true] });
    let pod = |name: &str, address: &str, set: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "labels": { "statefulset.kubernetes.io/pod-name": name },
                "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": set, "controller": true }],
            },
            "status": { "podIP": address, "conditions": [{ "type": "Ready", "status": "True" }] },
        })
    };
    let cluster = host.cluster("cluster");
    cluster
        .put(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "postgres-primary" },
            "spec": { "selector": { "statefulset.kubernetes.io/pod-name": "postgres-0" } },
        }))
        .put(json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "postgres" }, "spec": { "replicas": 1 } }))
        .put(pod("postgres-0", "10.0.0.1", "postgres"))
        .put(pod("replica-0", "10.0.0.2", "replica"))
        .put(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "name": "one", "labels": { "kubernetes.io/service-name": "postgres-primary" } },
            "endpoints": [{ "addresses": ["10.0.0.2"], "conditions": { "ready": true }, "targetRef": { "kind": "Pod", "name": "replica-0" } }],
        }));
    host
}

fn unchanged(host: &MockHost) {
    let cluster = host.cluster("cluster");
    let service = Kind::new("v1", "Service").named("postgres-primary");
    assert_eq!(
        cluster.object(&service).unwrap()["spec"]["selector"]["statefulset.kubernetes.io/pod-name"],
        "postgres-0"
    );
    assert_eq!(cluster.object(&Object::stateful_set("postgres")).unwrap()["spec"]["replicas"], 1);
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn a_plan_changes_nothing_and_counts_what_would_be_ended() {
    let host = host().plan();
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert!(report.summary.contains("1 sessions would be ended, 0 of them in a transaction"), "{}", report.summary);
    assert!(host.effects().iter().all(|effect| effect.planned));
    assert!(report.data["proof"].is_null() && report.data["promoted"].is_null());
    unchanged(&host);
}

#[test]
fn a_standby_that_would_never_have_the_rest_is_refused() {
    for (seen, words) in [
        (looks(true, None, 1_000), "does not stream"),
        (looks(true, Some("streaming"), 0), "lacks 1000 bytes, more than maximum_lag_bytes (500)"),
        (looks(false, None, 0), "is no standby"),
    ] {
        let host = host_with(seen);
        let failed = host.run::<Plugin>(json!({ "maximum_lag_bytes": 500 })).unwrap_err();
        assert!(failed.message.contains(words), "{words}: {}", failed.message);
        unchanged(&host);
    }
}

#[test]
fn the_binding_must_lead_to_the_pod_that_is_stopped() {
    let host = host();
    host.sql("database").on(
        "as client_sessions",
        rows! { ["address", "written", "client_sessions", "in_transaction", "standbys"] => ["10.0.0.9", 1_000_i64, 1_i64, 0_i64, 1_i64] },
    );
    let failed = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(
        failed.message.contains("leads to 10.0.0.9, and the Service to the pod postgres-0 at 10.0.0.1"),
        "{}",
        failed.message
    );
    unchanged(&host);
}

#[test]
fn a_pod_that_does_not_end_is_no_fence_and_the_primary_comes_back() {
    let host = host();
    host.sql("database").on_execute("CHECKPOINT", 0);
    // The mock has no controllers: the pod stays.
    let failed = host.run::<Plugin>(json!({ "fence_seconds": 1 })).unwrap_err();
    assert!(failed.hint.as_ref().unwrap().contains("has not ended in 1 s"), "{failed:?}");
    host.undo::<Plugin>().unwrap();
    unchanged(&host);
}
