//! The judgements, on a mock host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::Plugin;
use rota_sdk::HostError;
use rota_sdk::cache::Readiness;
use rota_sdk::mock::*;
use rota_sdk::prelude::*;

fn run(change: impl FnOnce(&CacheMock)) -> Reported {
    let host = MockHost::new();
    change(&host.cache("cache"));
    host.run::<Plugin>(json!({ "expected_replicas": 0 })).unwrap()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn a_cache_that_is_well() {
    let report = run(|_| {});
    assert_eq!((report.status, report.summary.as_str()), (Severity::Ok, "dragonfly 1.15.0: 100 keys"));
    assert_eq!(
        (report.data["nodes"][0]["memory_share"].as_f64(), report.data["nodes"][0]["hit_ratio"].as_f64()),
        (Some(0.25), Some(0.9))
    );
    assert!(report.finding("not counted by dragonfly").is_some(), "a stub is named");
    assert_eq!(report.data["nodes"][0]["rejected"], Json::Null);
}

#[test]
fn loading_is_critical_and_the_rest_unknown() {
    let report = run(|cache| {
        cache.answers(Readiness::Loading).fails("info", HostError::Unavailable("loading".into()));
    });
    assert_eq!((report.status, report.data["visibility_complete"].clone()), (Severity::Critical, json!(false)));
    assert_eq!(report.data["nodes"][0]["state"], "loading");
}

#[test]
fn each_threshold_is_judged() {
    type Change = fn(&mut rota_sdk::cache::NodeInfo);
    let cases: [(Change, Severity, &str); 14] = [
        (|n| n.memory.used = Some(3 << 30), Severity::Warning, "75 % of its memory"),
        (|n| n.memory.used = Some(15 << 28), Severity::Critical, "94 % of its memory"),
        (|n| n.memory.limit = Some(0), Severity::Unknown, "how much memory is too much"),
        (|n| n.memory.used = None, Severity::Unknown, "how much memory is too much"),
        (|n| n.traffic.evicted = None, Severity::Unknown, "how many keys it evicts"),
        (|n| n.clients.connected = Some(60_000), Severity::Warning, "94 % of its connections"),
        (|n| n.clients.rejected = Some(3), Severity::Warning, "refused 3 connections"),
        (|n| n.clients.maximum = None, Severity::Unknown, "neither refused connections"),
        (|n| n.replication.replicas = None, Severity::Unknown, "how many replicas"),
        (|n| n.replication.lag = Some(1 << 30), Severity::Warning, "behind"),
        (|n| n.replication.is_replica = Some(true), Severity::Unknown, "whether its link"),
        (
            |n| (n.replication.is_replica, n.replication.link_up) = (Some(true), Some(false)),
            Severity::Critical,
            "link to the primary is down",
        ),
        (|n| n.persistence.snapshot_ok = Some(false), Severity::Warning, "last snapshot failed"),
        (|n| n.persistence.log_ok = Some(false), Severity::Critical, "append-only"),
    ];
    for (change, severity, title) in cases {
        let report = run(|cache| {
            cache.node(change);
        });
        let finding = report.finding(title).unwrap_or_else(|| panic!("no {title}: {:?}", report.findings));
        assert_eq!((finding.severity, report.status), (severity, severity), "{title}");
    }
}

#[test]
fn missing_replicas_are_critical_and_unasked_ones_unknown() {
    let host = MockHost::new();
    host.cache("cache");
    let report = host.run::<Plugin>(json!({ "expected_replicas": 1 })).unwrap();
    assert_eq!(report.titles(Severity::Critical), ["node 0: 0 of 1 replicas are connected"]);
    assert_eq!(host.run::<Plugin>(json!({})).unwrap().status, Severity::Unknown);
}

#[test]
fn a_limit_can_be_given_where_the_server_has_none() {
    let host = MockHost::new();
    host.cache("cache").node(|node| node.memory.limit = Some(0));
    let report = host.run::<Plugin>(json!({ "expected_replicas": 0, "memory_limit_bytes": 1_u64 << 30 })).unwrap();
    assert_eq!(report.status, Severity::Critical);
}

#[test]
fn it_has_no_effects() {
    let host = MockHost::new().plan();
    host.cache("cache");
    host.run::<Plugin>(json!({})).unwrap();
    assert!(host.effects().is_empty());
}
