//! The procedure, on a mock host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::Plugin;
use rota_sdk::HostError;
use rota_sdk::mock::*;
use rota_sdk::prelude::*;

fn host() -> MockHost {
    let host = MockHost::new();
    let cache = host.cache("cache");
    cache
        .key("user:1 admin user", "x")
        .key("user:new\nline", "x")
        .key("user:\"quote", "xyz")
        .collection("user:h", "hash", 5_000);
    cache.key("user:vip:1", "x").key("admin", "x").key("user", "x").key("us*r:1", "x");
    host
}

fn keys(host: &MockHost) -> Vec<String> {
    host.cache("cache").keys().iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn exactly_what_matches_is_unlinked() {
    let host = host();
    let report = host.run::<Plugin>(json!({ "prefix": "user:", "protected": ["user:vip:"] })).unwrap();
    assert_eq!(keys(&host), ["admin", "us*r:1", "user", "user:vip:1"]);
    assert_eq!((report.status, report.summary.as_str()), (Severity::Ok, "4 of 4 keys unlinked, 0 gone by themselves"));
    assert_eq!((report.data["protected"].as_u64(), report.data["left"].as_u64()), (Some(1), Some(1)));
    assert_eq!(report.data["sample"][0], json!({ "kind": "hash", "keys": 1, "bytes": 200_000, "longest": 5_000 }));
}

#[test]
fn a_prefix_is_literal_and_a_pattern_is_not() {
    let host = host();
    host.run::<Plugin>(json!({ "prefix": "us*r:" })).unwrap();
    assert_eq!(keys(&host).len(), 7);
    host.run::<Plugin>(json!({ "pattern": "us?r:*" })).unwrap();
    assert_eq!(keys(&host), ["admin", "user"]);
}

#[test]
fn a_plan_counts_and_says_how_to_run_exactly_that() {
    let host = host().plan();
    let report = host.run::<Plugin>(json!({ "prefix": "user:" })).unwrap();
    assert_eq!((keys(&host).len(), report.summary.as_str()), (8, "5 keys would be unlinked"));
    assert!(host.effects().iter().all(|effect| effect.planned && effect.operation == "cache.unlink-matching"));
    let remedy = report.finding("5 keys match now").unwrap().remedy.clone().unwrap();
    let parameters: Json = serde_json_of(&remedy.parameters);
    assert_eq!((parameters["expected_keys"].as_u64(), parameters["prefix"].as_str()), (Some(5), Some("user:")));
}

fn serde_json_of(text: &str) -> Json {
    text.parse().unwrap()
}

#[test]
fn a_bound_that_does_not_hold_fails_the_run() {
    let host = host();
    for parameters in [
        json!({ "prefix": "user:", "maximum_keys": 4 }),
        json!({ "prefix": "user:", "expected_keys": 4 }),
        json!({ "prefix": "user:", "expected_keys": 6 }),
    ] {
        let failed = host.run::<Plugin>(parameters).unwrap_err();
        assert!(matches!(failed.cause, Some(HostError::Conflict(_))), "{failed:?}");
    }
    assert_eq!(keys(&host).len(), 8);
}

#[test]
fn no_match_is_no_effect_to_speak_of() {
    let host = host();
    let report = host.run::<Plugin>(json!({ "prefix": "none:" })).unwrap();
    assert_eq!((report.status, report.summary.as_str()), (Severity::Ok, "no key matches none:"));
}

#[test]
fn one_of_prefix_and_pattern_is_needed() {
    for parameters in [json!({}), json!({ "prefix": "a", "pattern": "a*" }), json!({ "prefix": "" })] {
        let failed = host().run::<Plugin>(parameters).unwrap_err();
        assert!(failed.message.contains("either `prefix` or `pattern`"), "{failed:?}");
    }
}

#[test]
fn a_server_that_refuses_is_a_failure() {
    let host = host();
    host.cache("cache").fails("unlink-matching", failed("NOPERM", "no permissions"));
    let failure = host.run::<Plugin>(json!({ "prefix": "user:" })).unwrap_err();
    assert!(failure.message.contains("unlinking keys"), "{failure:?}");
}
