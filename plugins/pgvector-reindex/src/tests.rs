//! The logic, on a mock host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::Plugin;
use rota_sdk::mock::*;
use rota_sdk::prelude::*;
use rota_sdk_index::{Index, mock};

const REINDEX: &str = "REINDEX INDEX CONCURRENTLY public.by_v";

fn index(oid: i64, name: &str, lists: i64, valid: bool) -> Index {
    mock::index("documents", name, "v", |index| {
        (index.oid, index.valid) = (oid, valid);
        (index.method, index.class_names) = ("ivfflat".to_owned(), vec!["vector_l2_ops".to_owned()]);
        index.options = vec![format!("lists={lists}")];
    })
}

fn host() -> MockHost {
    let (host, database) = mock::host(&[index(9, "by_v", 10, true)]);
    database.on(
        "from pg_catalog.pg_extension e",
        rows! { ["version", "schema", "quoted_schema"] => ["0.8.5", "public", "public"] },
    );
    database.on(
        "where m.amname in ('hnsw', 'ivfflat')",
        rows! { ["oid", "vector_type", "dimensions", "rows"] => [9_i64, "vector", 3_i32, 200_000_i64] },
    );
    database.on("select coalesce(pg_size_bytes($1)", rows! { ["has"] => [1_i64 << 30] });
    database.on_execute("ALTER INDEX public.by_v SET", 0);
    host
}

fn statements(host: &MockHost) -> Vec<String> {
    host.effects().into_iter().map(|effect| effect.detail).collect()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn lists_that_no_longer_fit_are_set_and_the_index_rebuilt_beside_itself() {
    let host = host();
    let there = host.sql("database");
    host.sql("database").on_execute_with(REINDEX, move |_, _| {
        mock::has(&there, &[index(12, "by_v", 200, true)]);
        Ok(0)
    });
    let report = host.run::<Plugin>(json!({ "index": "by_v" })).unwrap();
    assert_eq!(report.data["done"], "rebuilt", "{:?}", report.findings);
    assert_eq!(statements(&host), ["ALTER INDEX public.by_v SET (lists = 200)", REINDEX]);
    assert_eq!(host.compensations().len(), 2, "both are registered before");
}

#[test]
fn a_rebuild_that_is_cut_off_is_cleared_up_and_the_parameters_are_put_back() {
    let host = host();
    let there = host.sql("database");
    host.sql("database").on_execute_with(REINDEX, move |_, _| {
        mock::has(
            &there,
            &[index(9, "by_v", 200, true), index(13, "by_v_ccnew", 200, false), index(4, "other_ccnew", 1, false)],
        );
        Err(failed("57014", "canceling statement due to statement timeout"))
    });
    let gone = host.sql("database");
    host.sql("database").on_execute_with("DROP INDEX CONCURRENTLY IF EXISTS public.by_v_ccnew", move |_, _| {
        mock::has(&gone, &[index(9, "by_v", 200, true)]);
        Ok(0)
    });
    let failure = host.run::<Plugin>(json!({ "index": "by_v" })).unwrap_err();
    assert_eq!(failure.report.unwrap().data["removed"], json!(["public.by_v_ccnew"]), "and nobody else's");
    host.undo::<Plugin>().unwrap();
    assert_eq!(statements(&host).last().unwrap(), "ALTER INDEX public.by_v SET (lists = 10)");
}

#[test]
fn an_answer_is_not_believed() {
    let host = host();
    host.sql("database").on_execute(REINDEX, 0);
    let failure = host.run::<Plugin>(json!({ "index": "by_v" })).unwrap_err();
    assert!(failure.message.contains("said that it rebuilt"), "the same object id is the old one: {}", failure.message);
}

#[test]
fn too_little_disk_or_memory_begins_nothing() {
    let host = host();
    let failure = host.run::<Plugin>(json!({ "index": "by_v", "free_bytes": 16_383 })).unwrap_err();
    assert!(failure.message.contains("16.0 KiB on disk"), "{}", failure.message);
    host.sql("database").on("select coalesce(pg_size_bytes($1)", rows! { ["has"] => [1_i64 << 20] });
    let failure = host.run::<Plugin>(json!({ "index": "by_v" })).unwrap_err();
    assert!(failure.hint.unwrap().contains("maintenance_work_mem="));
    assert!(statements(&host).is_empty());
}
