//! The logic, on a mock host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::Plugin;
use rota_sdk::mock::*;
use rota_sdk::prelude::*;

const INDEX: [&str; 27] = [
    "oid",
    "schema",
    "name",
    "quoted",
    "table_oid",
    "table",
    "method",
    "valid",
    "ready",
    "live",
    "unique",
    "nulls_not_distinct",
    "constraint",
    "replica_identity",
    "keys",
    "orders",
    "operator_classes",
    "class_names",
    "collations",
    "included",
    "predicate",
    "options",
    "definition",
    "bytes",
    "entries",
    "scans",
    "builder",
];

const INDEXES: &str =
    "from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid join pg_catalog.pg_namespace";
const REINDEX: &str = "REINDEX INDEX CONCURRENTLY public.by_v";

fn index(oid: i64, name: &str, lists: i64, valid: bool) -> MockRows {
    let none: Vec<String> = Vec::new();
    let one = vec![String::new()];
    rows! { INDEX => [
        oid, "public", name, format!("public.{name}"), 7_i64, "public.documents", "ivfflat", valid, true, true, false, false, None::<String>,
        false, vec!["v".to_owned()], one, one, vec!["vector_l2_ops".to_owned()], one, none, None::<String>, vec![format!("lists={lists}")],
        "CREATE INDEX ...", 8192_i64, 10_i64, 0_i64, None::<i64>
    ] }
}

fn host() -> MockHost {
    let host = MockHost::new();
    let database = host.sql("database");
    let now = Timestamp(1_767_225_600_000_000);
    host.set_now(now);
    database.on(
        "select pg_postmaster_start_time()",
        rows! { ["started_at", "now", "stats_reset", "sees_statistics"] => [now, now, None::<Timestamp>, true] },
    );
    database.on(
        "from pg_catalog.pg_extension e",
        rows! { ["version", "schema", "quoted_schema"] => ["0.8.5", "public", "public"] },
    );
    database.on(
        "where m.amname in ('hnsw', 'ivfflat')",
        rows! { ["oid", "vector_type", "dimensions", "rows"] => [9_i64, "vector", 3_i32, 200_000_i64] },
    );
    database.on(
        "from pg_catalog.pg_stat_activity a left join (select distinct l.pid",
        rows! { ["pid", "prepared", "who", "seconds", "locks_table"] },
    );
    database.on(
        "from pg_catalog.pg_stat_progress_create_index p where p.pid",
        rows! { ["phase", "done", "total", "unit", "locker"] },
    );
    database.on("select coalesce(pg_size_bytes($1)", rows! { ["has"] => [1_i64 << 30] });
    database.on(INDEXES, index(9, "by_v", 10, true));
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
        there.on(INDEXES, index(12, "by_v", 200, true));
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
        there.on(
            INDEXES,
            index(9, "by_v", 200, true).and(index(13, "by_v_ccnew", 200, false)).and(index(4, "other_ccnew", 1, false)),
        );
        Err(failed("57014", "canceling statement due to statement timeout"))
    });
    let gone = host.sql("database");
    host.sql("database").on_execute_with("DROP INDEX CONCURRENTLY IF EXISTS public.by_v_ccnew", move |_, _| {
        gone.on(INDEXES, index(9, "by_v", 200, true));
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
    assert!(failure.message.contains("16.0 kB on disk"), "{}", failure.message);
    host.sql("database").on("select coalesce(pg_size_bytes($1)", rows! { ["has"] => [1_i64 << 20] });
    let failure = host.run::<Plugin>(json!({ "index": "by_v" })).unwrap_err();
    assert!(failure.hint.unwrap().contains("maintenance_work_mem="));
    assert!(statements(&host).is_empty());
}
