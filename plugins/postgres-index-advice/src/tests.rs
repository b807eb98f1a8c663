//! The logic, on a mock host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::Plugin;
use rota_sdk::mock::*;
use rota_sdk::prelude::*;
use rota_sdk_index::{Index, mock};

const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

fn index(oid: i64, name: &str, keys: &[&str], unique: bool, scans: i64) -> Index {
    mock::index("orders", name, "", |index| {
        let each = |text: &str| vec![text.to_owned(); keys.len()];
        (index.oid, index.unique, index.scans, index.bytes) = (oid, unique, scans, 9_000_000);
        index.constraint = unique.then(|| name.to_owned());
        index.keys = keys.iter().map(|key| (*key).to_owned()).collect();
        (index.orders, index.operator_classes, index.collations) = (each(""), each(""), each(""));
        (index.class_names, index.definition) = (each("int8_ops"), format!("CREATE INDEX {name} ..."));
    })
}

/// Statistics that are so many days old; an index that is used, and some that are not.
fn host(days: i64) -> MockHost {
    bound(days, &["database"])
}

fn bound(days: i64, slots: &[&str]) -> MockHost {
    let host = MockHost::new();
    host.set_now(NOW);
    let all = [
        index(1, "orders_pkey", &["id"], true, 0),
        index(2, "by_customer", &["customer"], false, 5),
        index(3, "by_customer_total", &["customer", "total"], false, 5),
        index(4, "by_total", &["total"], false, 0),
        index(5, "by_shop", &["shop"], false, 0),
    ];
    for slot in slots {
        let database = host.sql(slot);
        database.inspected(NOW, NOW, NOW.plus_seconds(-days * 86_400), true);
        database.on(
            "select s.indexrelid::int8 as oid",
            rows! { ["oid", "scans", "rows", "is_index"] => [4_i64, 3_i64, 0_i64, true] },
        );
        mock::has(&database, &all);
        database.on("AccessExclusiveLock", rows! { ["oid", "name", "who"] });
        database.on(
            "pg_table_size(s.relid) as bytes",
            rows! { ["oid", "table", "rows", "bytes", "seq_scans", "seq_rows", "index_scans"] =>
            [8_i64, "public.bare", 50_000_i64, 9_000_000_i64, 100_i64, 5_000_000_i64, None::<i64>],
            [7_i64, "public.orders", 10_i64, 8_192_i64, 9_000_i64, 90_000_i64, Some(1_i64)] },
        );
        database.on(
            "k.conparentid = 0",
            rows! { ["name", "table", "refers_to", "columns", "rows", "kind"] => ["fk", "public.lines", "public.orders", vec!["\"Order\""], 50_000_i64, "r"] },
        );
        // by_shop is the only one under a foreign key.
        database.on("having count(*) = 1", rows! { ["oid"] => [5_i64] });
        database.on("from pg_catalog.pg_inherits", rows! { ["oid"] });
        database.on("from pg_catalog.pg_stat_replication", rows! { ["count"] => [0_i64] });
    }
    host
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn statistics_speak_of_use_by_their_age() {
    let names = |days| {
        let report = host(days).run::<Plugin>(json!({})).unwrap();
        let unused: Vec<(String, bool)> = report.data["unused"]
            .as_array()
            .unwrap()
            .iter()
            .map(|unused| (unused["index"]["name"].as_str().unwrap().to_owned(), unused["drop_advised"] == true))
            .collect();
        (unused, report.data["old_enough"] == true, report.data["scanned"].as_array().unwrap().len())
    };
    assert_eq!(names(6), (vec![], false, 0));
    assert_eq!(names(8), (vec![("by_total".to_owned(), false)], true, 1));
    assert_eq!(names(36), (vec![("by_total".to_owned(), true)], true, 1));
}

#[test]
fn remedies_carry_the_statement_and_what_brings_an_index_back() {
    let report = host(36).run::<Plugin>(json!({})).unwrap();
    let remedy = report.finding("public.by_total: not used").unwrap().remedy.clone().unwrap();
    assert_eq!(remedy.parameters, r#"{"statement":"DROP INDEX CONCURRENTLY public.by_total"}"#);
    assert!(remedy.note.contains("To have it back: CREATE INDEX by_total"), "{}", remedy.note);
    let remedy = report.finding("no index on (\"Order\")").unwrap().remedy.clone().unwrap();
    assert_eq!(
        (remedy.plugin.as_str(), remedy.parameters.as_str()),
        ("postgres-index-create", r#"{"table":"public.lines","columns":["\"Order\""]}"#)
    );
    assert!(report.finding("public.by_customer has the first keys of public.by_customer_total").is_some());
    assert!(report.finding("public.bare: read whole 100 times").unwrap().detail.contains("no index at all"));
    assert!(report.finding("public.orders: read whole").is_none(), "ten rows need none");
}

#[test]
fn a_standby_that_was_not_asked_forbids_to_call_anything_unused() {
    let report = host(36).run::<Plugin>(json!({ "standbys": 1 })).unwrap();
    assert_eq!(report.data["unused"], json!([]));
    assert!(report.finding("1 standbys were not asked").is_some());
}

#[test]
fn what_a_standby_uses_is_used() {
    let host = bound(36, &["database", "standby"]);
    let report = host.run::<Plugin>(json!({ "standbys": 1 })).unwrap();
    assert_eq!(report.data["unused"], json!([]), "by_total is used there");
    assert!(report.finding("were not asked").is_none(), "{:?}", report.findings);
    host.sql("standby").server(|server| server.system_identifier = Some("1".to_owned()));
    assert!(host.run::<Plugin>(json!({})).unwrap_err().message.contains("not the same database"));
}

#[test]
fn what_is_locked_exclusively_is_left_out_and_told() {
    let host = host(100);
    let database = host.sql("database");
    database.on("AccessExclusiveLock", rows! { ["oid", "name", "who"] => [77_i64, "public.busy", "pid 9 (app)"] });
    // One that is taken after the look: looked again.
    let tries = std::rc::Rc::new(std::cell::Cell::new(0));
    let seen = tries.clone();
    let tables = rows! { ["oid", "table", "rows", "bytes", "seq_scans", "seq_rows", "index_scans"] =>
    [8_i64, "public.bare", 50_000_i64, 9_000_000_i64, 100_i64, 5_000_000_i64, None::<i64>] };
    database.on_with("pg_table_size(s.relid) as bytes", move |_| {
        seen.set(seen.get() + 1);
        if seen.get() == 1 {
            Err(failed("55P03", "canceling statement due to lock timeout"))
        } else {
            Ok(tables.clone())
        }
    });
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(tries.get(), 2);
    let finding = report.finding("public.busy is locked exclusively, and nothing is said of it").unwrap();
    assert!(finding.detail.contains("By pid 9 (app)"), "{finding:?}");
    assert!(report.finding("public.bare").is_some(), "the rest is said: {:?}", report.findings);
    assert_ne!(report.status, Severity::Ok);
    // Locks that come and come end it.
    database.fails("pg_table_size(s.relid) as bytes", failed("55P03", "canceling statement due to lock timeout"));
    assert!(host.run::<Plugin>(json!({})).is_err());
}
