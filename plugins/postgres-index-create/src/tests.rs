//! The logic, on a mock host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::Plugin;
use rota_sdk::mock::*;
use rota_sdk::prelude::*;
use rota_sdk_index::{Index, mock};
use std::cell::Cell;
use std::rc::Rc;

const CREATE: &str = "CREATE INDEX CONCURRENTLY";

fn index(oid: i64, name: &str, key: &str, valid: bool) -> Index {
    mock::index("orders", name, key, |index| {
        (index.oid, index.valid, index.ready) = (oid, valid, valid);
        index.class_names = vec!["numeric_ops".to_owned()];
    })
}

/// A table `orders` with one index, on `id`.
fn host() -> MockHost {
    let (host, database) = mock::host(&[index(1, "orders_pkey", "id", true)]);
    database.on(
        "c.relpersistence::text as persistence",
        rows! { ["oid", "schema", "name", "quoted", "kind", "persistence", "rows", "bytes", "owned"] =>
        [7_i64, "public", "orders", "public.orders", "r", "p", 1000_i64, 81_920_i64, true] },
    );
    database.on(
        "from pg_catalog.pg_attribute a join pg_catalog.pg_type y",
        rows! { ["name", "quoted", "type_name", "base_type", "modifier"] => ["id", "id", "bigint", "int8", -1_i32], ["total", "total", "numeric", "numeric", -1_i32] },
    );
    database.on("where n.nspname = $1 and c.relname = $2", rows! { ["oid", "kind", "quoted"] });
    host
}

/// The build makes the index, valid or not.
fn builds(host: &MockHost, valid: bool) {
    let database = host.sql("database");
    let there = database.clone();
    database.on_execute_with(CREATE, move |_, _| {
        mock::has(&there, &[index(1, "orders_pkey", "id", true), index(9, "orders_total_idx", "total", valid)]);
        Ok(0)
    });
}

fn total() -> Json {
    json!({ "table": "orders", "columns": ["total"] })
}

fn effects(host: &MockHost) -> Vec<String> {
    host.effects().into_iter().map(|effect| effect.detail).collect()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn builds_and_believes_the_catalog() {
    let host = host();
    builds(&host, true);
    let report = host.run::<Plugin>(total()).unwrap();
    assert_eq!((report.status, &report.data["done"]), (Severity::Ok, &json!("built")), "{:?}", report.findings);
    assert!(
        effects(&host)
            .contains(&"CREATE INDEX CONCURRENTLY orders_total_idx ON public.orders USING btree (total)".to_owned())
    );
    let settings = host.sql("database").settings();
    assert!(settings.contains(&("lock_timeout".to_owned(), "0".to_owned())), "{settings:?}");
    assert_eq!(host.compensations().len(), 1, "registered before the build");

    let host = self::host();
    builds(&host, false);
    let failure = host.run::<Plugin>(total()).unwrap_err();
    assert!(failure.message.contains("INVALID"), "{}", failure.message);
}

#[test]
fn an_equal_index_is_enough_and_an_invalid_one_is_not() {
    let there = host();
    mock::has(&there.sql("database"), &[index(3, "by_total", "total", true)]);
    let report = there.run::<Plugin>(total()).unwrap();
    assert_eq!((&report.data["done"], effects(&there)), (&json!("already_there"), Vec::<String>::new()));

    let invalid = host();
    mock::has(&invalid.sql("database"), &[index(3, "by_total", "total", false)]);
    invalid.sql("database").on(
        "where n.nspname = $1 and c.relname = $2",
        rows! { ["oid", "kind", "quoted"] => [3_i64, "i", "public.by_total"] },
    );
    let named = json!({ "table": "orders", "columns": ["total"], "name": "by_total" });
    let failure = invalid.run::<Plugin>(named).unwrap_err();
    assert!(
        failure.message.contains("INVALID") && failure.hint.unwrap().contains("replace_invalid"),
        "{}",
        failure.message
    );
    assert!(effects(&invalid).is_empty());
}

#[test]
fn a_later_attempt_drops_what_an_earlier_one_left_and_builds_again() {
    let host = host();
    host.step_done("look at the table", json!({ "name": "orders_total_idx", "indexes": [1] }));
    let database = host.sql("database");
    mock::has(&database, &[index(1, "orders_pkey", "id", true), index(8, "orders_total_idx", "total", false)]);
    let taken = Rc::new(Cell::new(true));
    let still = Rc::clone(&taken);
    database.on_with("where n.nspname = $1 and c.relname = $2", move |_| {
        let none = rows! { ["oid", "kind", "quoted"] };
        Ok(if still.get() {
            rows! { ["oid", "kind", "quoted"] => [8_i64, "i", "public.orders_total_idx"] }
        } else {
            none
        })
    });
    let gone = database.clone();
    database.on_execute_with("DROP INDEX CONCURRENTLY IF EXISTS public.orders_total_idx", move |_, _| {
        taken.set(false);
        mock::has(&gone, &[]);
        Ok(0)
    });
    builds(&host, true);
    let report = host.run::<Plugin>(total()).unwrap();
    assert_eq!(report.data["removed"], json!(["public.orders_total_idx"]));
    assert_eq!(report.data["done"], "built");
}

#[test]
fn a_failed_build_is_cleared_up_at_once() {
    let host = host();
    let database = host.sql("database");
    let there = database.clone();
    database.on_execute_with(CREATE, move |_, _| {
        mock::has(&there, &[index(1, "orders_pkey", "id", true), index(9, "orders_total_idx", "total", false)]);
        Err(failed("57014", "canceling statement due to statement timeout"))
    });
    let gone = database.clone();
    database.on_execute_with("DROP INDEX CONCURRENTLY", move |_, _| {
        mock::has(&gone, &[index(1, "orders_pkey", "id", true)]);
        Ok(0)
    });
    let failure = host.run::<Plugin>(total()).unwrap_err();
    assert!(failure.message.contains("cut off after"), "{}", failure.message);
    assert_eq!(failure.report.unwrap().data["removed"], json!(["public.orders_total_idx"]));
    // The undo comes after it, and finds nothing.
    host.undo::<Plugin>().unwrap();
}

#[test]
fn an_old_transaction_is_named_and_nothing_is_begun() {
    let host = host();
    host.sql("database").on(
        "from pg_catalog.pg_stat_activity a left join (select distinct l.pid",
        rows! { ["pid", "prepared", "who", "seconds", "locks_table"] => [77_i64, None::<String>, "app, idle in transaction", 900.0, true] },
    );
    let failure = host.run::<Plugin>(total()).unwrap_err();
    assert!(failure.message.contains("pid 77 (app, idle in transaction), 15 min"), "{}", failure.message);
    assert!(effects(&host).is_empty());
    builds(&host, true);
    let report =
        host.run::<Plugin>(json!({ "table": "orders", "columns": ["total"], "wait_for_holders": true })).unwrap();
    assert_eq!((report.status, &report.data["done"]), (Severity::Warning, &json!("built")));
}

#[test]
fn a_plan_builds_nothing() {
    let host = host().plan();
    let report = host.run::<Plugin>(total()).unwrap();
    assert_eq!(report.summary, "would build orders_total_idx on public.orders (about 1,000 rows, 80.0 KiB)");
    assert!(host.effects().iter().all(|effect| effect.planned));
}

#[test]
fn a_standby_is_refused() {
    let host = host();
    host.sql("database").server(|server| server.in_recovery = true);
    assert!(host.run::<Plugin>(total()).unwrap_err().message.contains("standby"));
}
