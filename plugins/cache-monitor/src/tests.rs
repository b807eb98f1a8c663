//! The procedure, on a mock host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::Plugin;
use rota_sdk::HostError;
use rota_sdk::cache::{CommandShape, SeenCommand};
use rota_sdk::mock::*;
use rota_sdk::prelude::*;

fn seen(at: i64, client: u32, name: &str, prefix: Option<&str>) -> SeenCommand {
    let command = CommandShape {
        name: name.into(),
        arguments: vec![10],
        argument_count: 1,
        key_prefix: prefix.map(str::to_owned),
    };
    SeenCommand { node: 0, at, database: 0, client, command }
}

fn host() -> MockHost {
    let host = MockHost::new();
    host.cache("cache").seen(vec![
        seen(1_000_000, 1, "GET", Some("user:")),
        seen(2_000_000, 1, "GET", Some("user:")),
        seen(2_500_000, 0, "KEYS", None),
        seen(3_000_000, 2, "SET", Some("session:")),
    ]);
    host
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn commands_are_counted() {
    let report = host().run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.summary, "4 commands in 2.0 s; the connection is closed");
    assert_eq!(report.data["by_command"][0], json!({ "what": "GET", "count": 2, "share": 0.5, "bytes": 20 }));
    assert_eq!(report.data["by_key"][0]["what"], "user:*");
    assert_eq!(report.data["by_client"].as_array().unwrap().len(), 3);
    assert_eq!(report.titles(Severity::Warning), ["KEYS: 1 times"]);
}

#[test]
fn the_limit_is_said() {
    let report = host().run::<Plugin>(json!({ "limit": 2 })).unwrap();
    assert!(report.data["limited"] == json!(true) && report.summary.contains("until the limit"), "{}", report.summary);
}

#[test]
fn a_plan_watches_nothing() {
    let host = host().plan();
    let report = host.run::<Plugin>(json!({ "seconds": 5 })).unwrap();
    assert_eq!(report.summary, "commands would be watched for at most 5 s");
    assert!(host.effects()[0].planned && report.data["commands"] == 0);
}

#[test]
fn a_refusal_is_a_failure() {
    let host = host();
    host.grant("cache", &[]);
    let failed = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(matches!(failed.cause, Some(HostError::Denied(_))), "{failed:?}");
}
