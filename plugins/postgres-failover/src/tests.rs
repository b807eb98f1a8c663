//! Without servers. What needs real ones is in tests/procedures/failover.

use super::*;
use rota_sdk::HostError;
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

/// What a standby says of itself, up to where it has received, and what its receiver does.
fn standby(address: &str, received: i64, status: Option<&str>) -> MockRows {
    let pid = status.map(|_| 7);
    rows! { COLUMNS => [true, address, IDENTIFIER, 1, pid, status, None::<i64>, received, received - 10, false] }
}

fn pod(name: &str, address: &str, more: Json) -> Json {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "labels": { "statefulset.kubernetes.io/pod-name": name },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": name.trim_end_matches("-0"), "controller": true }],
        },
        "status": { "podIP": address, "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        pod["metadata"][key] = value.clone();
    }
    pod
}

/// A primary whose pod is gone and that nobody reaches, and a standby that has received 1,000 bytes.
fn host() -> MockHost {
    let host = MockHost::new();
    host.sql("database")
        .refuses(HostError::Unavailable("binding `primary`: nothing listens at its address".to_owned()));
    host.sql("standby").server(|server| server.in_recovery = true);
    inspected(&host, "standby");
    host.sql("standby").on("as receiver_status", standby("10.0.0.2", 1_000, None));
    host.sql("standby").on("pg_catalog.pg_is_in_recovery()", rows! { ["in_recovery"] => [true] });
    host.cluster("cluster")
        .put(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "postgres-primary" },
            "spec": { "selector": { "statefulset.kubernetes.io/pod-name": "postgres-0", "role": "primary" } },
        }))
        .put(json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "postgres" }, "spec": { "replicas": 1 } }))
        .put(pod("replica-0", "10.0.0.2", json!({})))
        .put(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "name": "one", "labels": { "kubernetes.io/service-name": "postgres-primary" } },
            "endpoints": [{ "addresses": ["10.0.0.2"], "conditions": { "ready": true }, "targetRef": { "kind": "Pod", "name": "replica-0" } }],
        }));
    host
}

fn inspected(host: &MockHost, slot: &str) {
    host.sql(slot).inspected(Timestamp(0), Timestamp(1_000_000), None, true);
}

/// The standby leaves recovery when it is promoted, and takes writes.
fn promotable(host: &MockHost) {
    let database = host.sql("standby");
    let then = database.clone();
    database.on_execute_with("promote", move |_, _| {
        then.on("pg_catalog.pg_is_in_recovery()", rows! { ["in_recovery"] => [false] });
        then.on(
            "pg_walfile_name",
            rows! { ["file", "system_identifier", "switch"] => ["000000020000000000000001", IDENTIFIER, 990_i64] },
        );
        then.on("as receiver_status", rows! { COLUMNS => [false, "10.0.0.2", IDENTIFIER, 2, None::<i32>, None::<&str>, None::<i64>, None::<i64>, 990_i64, false] });
        Ok(1)
    });
    database.on_execute("create temporary table", 0);
    database.on_execute("insert into pg_temp.rota_canary", 1);
}

fn selector(host: &MockHost) -> Json {
    let service = Kind::new("v1", "Service").named("postgres-primary");
    host.cluster("cluster").object(&service).unwrap()["spec"]["selector"].clone()
}

fn replicas(host: &MockHost) -> Json {
    host.cluster("cluster").object(&Object::stateful_set("postgres")).unwrap()["spec"]["replicas"].clone()
}

fn untouched(host: &MockHost) {
    assert_eq!(selector(host), json!({ "statefulset.kubernetes.io/pod-name": "postgres-0", "role": "primary" }));
    assert_eq!(replicas(host), 1);
}

fn operations(host: &MockHost) -> Vec<String> {
    host.effects().iter().map(|effect| effect.operation.to_string()).collect()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn it_fences_then_promotes_then_moves_the_service() {
    let host = host();
    promotable(&host);
    let report = host.run::<Plugin>(json!({ "primary_lsn": "0/400" })).unwrap();
    assert_eq!(selector(&host), json!({ "statefulset.kubernetes.io/pod-name": "replica-0" }), "no old key stays");
    assert_eq!(replicas(&host), 0);
    let effects = operations(&host);
    let at = |operation: &str| {
        effects.iter().position(|one| one == operation).unwrap_or_else(|| panic!("{operation}: {effects:?}"))
    };
    assert!(
        at("kubernetes.set-scale") < at("sql.promote") && at("sql.promote") < at("kubernetes.patch"),
        "{effects:?}"
    );
    assert_eq!(report.data["looks"].as_array().unwrap().len(), 3);
    assert_eq!(report.data["looks"][2]["after_seconds"], 30.0);
    assert_eq!(
        (&report.data["lost_bytes"], &report.data["known_from"]),
        (&json!(34), &json!("the parameter primary_lsn"))
    );
    assert!(report.titles(Severity::Critical)[0].starts_with("34 bytes of WAL are lost"));
    assert!(host.compensations().iter().all(|one| one.dismissed), "{:?}", host.compensations());
}

#[test]
fn only_nobody_there_is_down() {
    let alive = [
        "binding `primary`: all connections of the server are taken: try later, or raise its max_connections",
        "binding `primary`: the TLS handshake failed (expired); check the binding's tls mode",
        "binding `primary`: what answers there does not talk like PostgreSQL (...)",
        "other runs hold the 4 sessions that binding `primary` allows at a time",
    ];
    for text in alive {
        let host = host();
        host.sql("database").refuses(HostError::Unavailable(text.to_owned()));
        let failed = host.run::<Plugin>(json!({})).unwrap_err();
        assert!(failed.message.contains("is not down: its binding: something answers"), "{}", failed.message);
        assert_eq!(failed.report.unwrap().findings[0].remedy.as_ref().unwrap().plugin, "postgres-switchover");
        untouched(&host);
    }
    let host = host();
    host.sql("database").refuses(failed("28P01", "password authentication failed"));
    assert!(host.run::<Plugin>(json!({})).unwrap_err().message.contains("is not down"));
}

#[test]
fn one_sign_of_life_in_the_last_look_is_enough() {
    let host = host();
    // The first is that of the decision, and one for each look.
    for _ in 0..3 {
        host.sql("standby").once("as receiver_status", standby("10.0.0.2", 1_000, Some("starting")));
    }
    host.sql("standby").once("as receiver_status", standby("10.0.0.2", 1_000, Some("streaming")));
    let failed = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(failed.message.contains("replica-0: it streams from its primary"), "{}", failed.message);
    assert_eq!(failed.report.unwrap().data["looks"].as_array().unwrap().len(), 3);
    untouched(&host);
}

#[test]
fn a_receiver_that_hides_what_it_does_is_no_proof() {
    let host = host();
    host.sql("standby").on(
        "as receiver_status",
        rows! { COLUMNS => [true, "10.0.0.2", IDENTIFIER, 1, 7, None::<&str>, None::<i64>, 1_000_i64, 990_i64, false] },
    );
    let failed = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(failed.message.contains("is hidden from the role"), "{}", failed.message);
    assert!(failed.hint.unwrap().contains("pg_monitor"));
    untouched(&host);
}

#[test]
fn the_newest_timeline_goes_before_the_most_wal_and_others_clusters_are_refused() {
    let host = host();
    host.cluster("cluster").put(pod("other-0", "10.0.0.3", json!({})));
    host.sql("standby_2").server(|server| server.in_recovery = true);
    inspected(&host, "standby_2");
    let of = |identifier: &str, timeline: i32| {
        rows! { COLUMNS => [true, "10.0.0.3", identifier, timeline, None::<i32>, None::<&str>, None::<i64>, 500_i64, 500_i64, false] }
    };
    host.sql("standby_2").on("pg_catalog.pg_is_in_recovery()", rows! { ["in_recovery"] => [true] });
    host.sql("standby_2").on("as receiver_status", of(IDENTIFIER, 2));
    let host = host.plan();
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.data["new_primary"]["pod"], "other-0");
    host.sql("standby_2").on("as receiver_status", of("7300000000000000002", 1));
    let failed = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(failed.message.contains("are not of one cluster"), "{}", failed.message);
}

#[test]
fn a_plan_changes_nothing() {
    let host = host().plan();
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert!(report.summary.contains("replica-0 would be promoted in the place of postgres"), "{}", report.summary);
    assert!(host.effects().iter().all(|effect| effect.planned));
    assert!(report.data["promoted"].is_null());
    untouched(&host);
}

#[test]
fn a_refused_promotion_brings_the_primary_back() {
    let host = host();
    host.sql("standby").fails_execute("promote", failed("42501", "permission denied for function pg_promote"));
    let error = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(error.message.contains("permission denied"), "{}", error.message);
    assert_eq!(replicas(&host), 0);
    host.undo::<Plugin>().unwrap();
    untouched(&host);
}

#[test]
fn a_promotion_that_takes_too_long_leaves_the_primary_stopped_until_it_is_settled() {
    let host = host();
    host.sql("standby").on_execute("promote", 0);
    let error = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(error.message.contains("has not done so in 60 s"), "{}", error.message);
    let undone = host.undo::<Plugin>().unwrap_err();
    assert!(undone.message.contains("is not settled"), "{}", undone.message);
    assert_eq!(replicas(&host), 0, "it may be promoted at any moment");
    assert_eq!(selector(&host)["role"], "primary", "and the Service waits for the proof");
    // It was promoted after all.
    promotable(&host);
    host.undo::<Plugin>().unwrap();
    assert_eq!(
        (selector(&host), replicas(&host)),
        (json!({ "statefulset.kubernetes.io/pod-name": "replica-0" }), json!(0))
    );
}

#[test]
fn an_undo_starts_no_second_primary() {
    let host = host();
    host.sql("standby").fails_execute("promote", failed("42501", "permission denied for function pg_promote"));
    host.run::<Plugin>(json!({})).unwrap_err();
    // Somebody promotes it by hand before the undo comes.
    promotable(&host);
    host.sql("standby").on(
        "as receiver_status",
        rows! { COLUMNS => [false, "10.0.0.2", IDENTIFIER, 2, None::<i32>, None::<&str>, None::<i64>, None::<i64>, 990_i64, false] },
    );
    let undone = host.undo::<Plugin>().unwrap_err();
    assert!(undone.message.contains("has left recovery, and not by this run"), "{}", undone.message);
    assert_eq!(replicas(&host), 0);
}

#[test]
fn a_primary_that_takes_no_writes_is_not_verified_and_the_service_waits() {
    let host = host();
    promotable(&host);
    host.sql("standby").fails_execute("insert into pg_temp.rota_canary", failed("53100", "the disk is full"));
    let error = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(error.message.contains("replica-0 takes no writes"), "{}", error.message);
    assert!(host.undo::<Plugin>().unwrap_err().message.contains("replica-0 takes no writes"));
    assert_eq!((&selector(&host)["role"], replicas(&host)), (&json!("primary"), json!(0)));
    // Somebody makes room.
    host.sql("standby").on_execute("insert into pg_temp.rota_canary", 1);
    host.undo::<Plugin>().unwrap();
    assert_eq!(selector(&host), json!({ "statefulset.kubernetes.io/pod-name": "replica-0" }));
}

#[test]
fn a_selector_that_somebody_else_changed_is_not_overwritten() {
    let host = host();
    promotable(&host);
    let cluster = host.cluster("cluster");
    host.sql("standby").on_execute_with("insert into pg_temp.rota_canary", move |_, _| {
        cluster.put(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "postgres-primary" }, "spec": { "selector": { "mine": "yes" } },
        }));
        Ok(1)
    });
    let error = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(error.message.contains("somebody changed the selector"), "{}", error.message);
    assert_eq!(selector(&host), json!({ "mine": "yes" }));
}

#[test]
fn who_else_owns_it_is_asked_first() {
    for (labels, words) in [
        (json!({ "cnpg.io/cluster": "shop" }), "kubectl cnpg promote shop"),
        (json!({ "application": "spilo", "cluster-name": "shop" }), "patronictl failover shop"),
        (json!({ "postgres-operator.crunchydata.com/cluster": "shop" }), "patronictl failover shop"),
    ] {
        let host = host();
        host.cluster("cluster").put(pod("replica-0", "10.0.0.2", json!({ "labels": labels })));
        let failed = host.run::<Plugin>(json!({})).unwrap_err();
        assert!(failed.hint.as_ref().unwrap().contains(words), "{failed:?}");
        untouched(&host);
    }
}

#[test]
fn a_standby_in_the_old_primarys_stateful_set_is_refused() {
    let host = host();
    let owner = json!([{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "postgres", "controller": true }]);
    host.cluster("cluster").put(pod("replica-0", "10.0.0.2", json!({ "ownerReferences": owner })));
    let failed = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(failed.message.contains("the fence would end both"), "{}", failed.message);
    untouched(&host);
}

#[test]
fn the_lock_is_one_and_names_its_holder() {
    let host = host();
    host.cluster("cluster").held_by("rota-primary-of-postgres-primary", "rota/failover/r1");
    let failed = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(failed.message.contains("held by rota/failover/r1"), "{}", failed.message);
    untouched(&host);
}
