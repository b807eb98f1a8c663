//! Trees of every shape, and what is said of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::Plugin;
use rota_sdk::mock::*;
use rota_sdk::prelude::*;

fn wait(waiter: i64, blocker: i64, held: &str, ahead: bool) -> MockRows {
    let held: Option<Vec<Option<String>>> = (!held.is_empty()).then(|| vec![Some(held.to_owned())]);
    rows! {
        ["waiter", "blocker", "object", "wants", "held", "ahead", "wait_seconds"] =>
        [waiter, blocker, "public.orders", "AccessExclusiveLock", held, ahead, 20.0]
    }
}

fn session(pid: i64) -> MockRows {
    let none = None::<String>;
    rows! {
        ["key", "pid", "gid", "rollback", "backend_start", "backend_type", "user", "superuser", "application", "database", "client", "state", "transaction_seconds", "statement"] =>
        [pid.to_string(), pid, none.clone(), none.clone(), Timestamp(pid), "client backend", "app", false, "worker", "shop", none, "idle in transaction", 60.0, "update t set card = '4711'"]
    }
}

fn host(waits: &[MockRows], pids: &[i64]) -> MockHost {
    let host = MockHost::new();
    let database = host.sql("database");
    let now = Timestamp(1_767_225_600_000_000);
    database.inspected(now, now, None, true);
    let none = rows! { ["waiter", "blocker", "object", "wants", "held", "ahead", "wait_seconds"] };
    database.on("pg_safe_snapshot_blocking_pids", none.clone());
    database.on("pg_blocking_pids(w.pid)", waits.iter().cloned().fold(none, MockRows::and));
    let all = pids.iter().map(|pid| session(*pid)).reduce(MockRows::and);
    database.on("where a.pid = any", all.unwrap_or_default());
    host
}

/// The first root's tree: depth, key, whether its own are elsewhere.
fn tree(report: &Reported, root: usize) -> Vec<(u64, String, bool)> {
    let lines = report.data["roots"][root]["tree"].as_array().unwrap().clone();
    lines
        .iter()
        .map(|line| {
            (
                line["depth"].as_u64().unwrap(),
                line["key"].as_str().unwrap().to_owned(),
                line["again"].as_bool().unwrap(),
            )
        })
        .collect()
}

fn line(depth: u64, key: &str, again: bool) -> (u64, String, bool) {
    (depth, key.to_owned(), again)
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn nobody_waits() {
    let report = host(&[], &[]).run::<Plugin>(json!({})).unwrap();
    assert_eq!((report.status, report.summary.as_str()), (Severity::Ok, "nobody waits for a lock"));
}

#[test]
fn a_superusers_session_is_nothing_that_a_remedy_ends() {
    let host = host(&[wait(2, 1, "RowExclusiveLock", false)], &[2]);
    let none = None::<String>;
    let superuser = rows! {
        ["key", "pid", "gid", "rollback", "backend_start", "backend_type", "user", "superuser", "application", "database", "client", "state", "transaction_seconds", "statement"] =>
        ["1".to_owned(), 1_i64, none.clone(), none.clone(), Timestamp(1), "client backend", "postgres", true, "psql", "shop", none, "idle in transaction", 60.0, "x"]
    };
    host.sql("database").on("where a.pid = any", superuser.and(session(2)));
    let report = host.run::<Plugin>(json!({})).unwrap();
    let remedy = report.finding("pid 1 (postgres in shop, psql)").unwrap().remedy.clone().unwrap();
    assert_eq!(remedy.plugin, "", "{remedy:?}");
    assert!(remedy.note.contains("SELECT pg_terminate_backend(1)"), "{remedy:?}");
}

#[test]
fn a_queue_is_a_tree_below_who_holds() {
    let waits = [wait(2, 1, "RowExclusiveLock", false), wait(3, 1, "RowExclusiveLock", false), wait(3, 2, "", true)];
    let report = host(&waits, &[1, 2, 3]).run::<Plugin>(json!({})).unwrap();
    assert_eq!(
        report.titles(Severity::Warning),
        ["pid 1 (app in shop, worker) holds 2 sessions up, the longest for 20 s"]
    );
    assert_eq!(tree(&report, 0), [line(0, "1", false), line(1, "2", false), line(2, "3", false), line(1, "3", false)]);
    assert_eq!(report.data["edge_count"], 3);
    let ahead: Vec<&Json> = report.data["edges"].as_array().unwrap().iter().map(|edge| &edge["only_ahead"]).collect();
    assert_eq!(ahead, [false, false, true]);
    let remedy = report.finding("pid 1").unwrap().remedy.clone().unwrap();
    assert_eq!(remedy.plugin, "postgres-long-queries");
    let parameters: Json = remedy.parameters.parse().unwrap();
    assert_eq!(parameters, json!({ "act": "terminate", "pid": 1, "backend_start": Timestamp(1) }));
    assert!(!report.data.to_string().contains("4711"));
}

#[test]
fn who_waits_for_several_is_expanded_once() {
    // 1 and 2 both hold 3 up, which holds 4 up.
    let waits = [wait(3, 1, "ShareLock", false), wait(3, 2, "ShareLock", false), wait(4, 3, "ShareLock", false)];
    let report = host(&waits, &[1, 2, 3, 4]).run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.data["roots"].as_array().unwrap().len(), 2);
    assert_eq!(tree(&report, 0), [line(0, "1", false), line(1, "3", false), line(2, "4", false)]);
    assert_eq!(tree(&report, 1), [line(0, "2", false), line(1, "3", true)]);
    assert_eq!((&report.data["roots"][1]["waiters"], &report.data["waiting"]), (&json!(2), &json!(2)));
}

#[test]
fn circles_end() {
    // 1 and 2 wait for each other, 3 behind them.
    let waits = [wait(1, 2, "ShareLock", false), wait(2, 1, "ShareLock", false), wait(3, 1, "ShareLock", false)];
    let report = host(&waits, &[1, 2, 3]).run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.titles(Severity::Warning), ["3 sessions wait in or behind a circle, the longest for 20 s"]);
    assert_eq!(report.data["roots"][0]["circle"], json!(["1", "2"]));
    assert_eq!(report.summary, "3 wait for a lock, in or behind a circle");
    assert_eq!(tree(&report, 0).len(), 4);
    // A circle below a root: 9 holds 1 up as well.
    let waits = [wait(1, 2, "ShareLock", false), wait(2, 1, "ShareLock", false), wait(1, 9, "ShareLock", false)];
    let report = host(&waits, &[1, 2, 9]).run::<Plugin>(json!({})).unwrap();
    assert_eq!(tree(&report, 0), [line(0, "9", false), line(1, "1", false), line(2, "2", false), line(3, "1", true)]);
}

#[test]
fn a_prepared_transaction_has_a_name() {
    let host = host(&[wait(2, 0, "", false)], &[2]);
    let database = host.sql("database");
    database.on(
        "join pg_catalog.pg_prepared_xacts x on x.transaction",
        rows! {
            ["waiter", "gid", "wants", "held", "object"] =>
            [2_i64, "order 'x'", "AccessExclusiveLock", "RowExclusiveLock", "public.orders"],
            [2_i64, "another", "AccessExclusiveLock", "RowExclusiveLock", "public.customers"]
        },
    );
    let none = None::<String>;
    database.on(
        "where x.gid = any",
        rows! {
            ["key", "pid", "gid", "rollback", "backend_start", "backend_type", "user", "superuser", "application", "database", "client", "state", "transaction_seconds", "statement"] =>
            ["prepared order 'x'", 0_i64, "order 'x'", "ROLLBACK PREPARED 'order ''x'''", Timestamp(3), none.clone(), "app", false, none.clone(), "shop", none.clone(), "prepared", 90.0, none]
        },
    );
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.data["edges"][0]["blocker"], "prepared order 'x'");
    assert_eq!(report.data["edge_count"], 1);
    let remedy = report.finding("prepared transaction order 'x'").unwrap().remedy.clone().unwrap();
    assert!(
        remedy.note.contains("COMMIT PREPARED 'order ''x'''; or ROLLBACK PREPARED 'order ''x''';"),
        "{}",
        remedy.note
    );
}

#[test]
fn only_what_concerns_a_database() {
    let host = host(&[wait(2, 1, "ShareLock", false)], &[1, 2]);
    let report = host.run::<Plugin>(json!({ "databases": ["other"] })).unwrap();
    assert_eq!(report.data["edge_count"], 0);
    let report = host.run::<Plugin>(json!({ "databases": ["shop"] })).unwrap();
    assert_eq!(report.data["edge_count"], 1);
}
