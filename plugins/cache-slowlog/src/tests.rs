//! The procedure, on a mock host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::Plugin;
use rota_sdk::cache::{CommandShape, SlowCommand};
use rota_sdk::mock::*;
use rota_sdk::prelude::*;

fn slow(node: u32, id: u64, name: &str, milliseconds: u64) -> SlowCommand {
    let command =
        CommandShape { name: name.into(), arguments: vec![7, 9], argument_count: 2, key_prefix: Some("user:".into()) };
    SlowCommand { node, id, at: 0, microseconds: milliseconds * 1_000, command, client_name: None }
}

fn run(log: Vec<SlowCommand>, since: &[u64]) -> Reported {
    let host = MockHost::new();
    host.cache("cache").slow(log);
    host.run::<Plugin>(json!({ "since_ids": since })).unwrap()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn commands_are_grouped_and_judged() {
    let report = run(vec![slow(0, 3, "KEYS", 1_500), slow(0, 2, "GET", 120), slow(0, 1, "GET", 20)], &[]);
    assert_eq!(
        (report.status, report.summary.as_str()),
        (Severity::Critical, "3 slow commands, the slowest 1500.0 ms")
    );
    assert_eq!(report.titles(Severity::Warning), ["GET on user:*: up to 120.0 ms"]);
    assert_eq!(report.data["kinds"][1]["count"], 2);
    assert!(report.finding("KEYS").unwrap().remedy.as_ref().unwrap().note.contains("use SCAN"));
    assert_eq!((report.data["missed"].clone(), report.data["last_ids"].clone()), (Json::Null, json!([3])));
}

#[test]
fn only_what_came_since_the_last_look() {
    let report = run(vec![slow(0, 9, "GET", 20), slow(1, 4, "GET", 20), slow(0, 8, "GET", 20)], &[8, 4]);
    assert_eq!((report.data["commands"].as_u64(), report.data["missed"].as_u64()), (Some(1), Some(0)));
    assert_eq!((report.data["last_ids"].clone(), report.status), (json!([9, 4]), Severity::Ok));
}

#[test]
fn what_the_log_did_not_keep_is_unknown() {
    let report = run(vec![slow(0, 9, "GET", 20), slow(0, 8, "GET", 20)], &[3]);
    assert_eq!((report.data["missed"].as_u64(), report.status), (Some(4), Severity::Unknown));
}

#[test]
fn a_server_that_began_anew_is_noticed() {
    let report = run(vec![slow(0, 1, "GET", 20), slow(0, 0, "GET", 20)], &[500]);
    assert_eq!((report.data["restarted"].clone(), report.data["commands"].as_u64()), (json!(true), Some(2)));
    assert_eq!((report.data["last_ids"].clone(), report.data["missed"].clone()), (json!([1]), Json::Null));
}

#[test]
fn an_empty_log_keeps_what_was_seen() {
    let report = run(Vec::new(), &[7]);
    assert_eq!((report.status, report.data["last_ids"].clone()), (Severity::Ok, json!([7])));
}
