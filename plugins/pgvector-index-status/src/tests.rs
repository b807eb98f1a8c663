//! The logic, on a mock host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::Plugin;
use rota_sdk::mock::*;
use rota_sdk::prelude::*;
use rota_sdk_index::{Index, mock};

fn index(name: &str, method: &str, option: &str, valid: bool) -> Index {
    mock::index("documents", name, "embedding", |index| {
        (index.valid, index.method) = (valid, method.to_owned());
        (index.class_names, index.options) = (vec!["vector_l2_ops".to_owned()], vec![option.to_owned()]);
    })
}

fn host(version: &str, rows: i64, index: Index) -> MockHost {
    let (host, database) = mock::host(&[index]);
    database.on(
        "from pg_catalog.pg_extension e",
        rows! { ["version", "schema", "quoted_schema"] => [version, "public", "public"] },
    );
    database.on(
        "where m.amname in ('hnsw', 'ivfflat')",
        rows! { ["oid", "vector_type", "dimensions", "rows"] => [9_i64, "vector", 3_i32, rows] },
    );
    database.on(
        "order by 6 desc",
        rows! { ["table", "column", "type_name", "base_type", "dimensions", "rows"] => ["public.notes", "v", "vector(3)", "vector", 3_i32, 20_000_i64],
            ["public.small", "v", "vector(3)", "vector", 3_i32, 20_i64] },
    );
    host
}

fn run(host: &MockHost) -> Reported {
    host.run::<Plugin>(json!({})).unwrap()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn lists_that_no_longer_fit_have_a_remedy_with_the_number() {
    let report = run(&host("0.8.5", 1_000_000, index("by_embedding", "ivfflat", "lists=100", true)));
    assert_eq!(report.status, Severity::Warning);
    let finding = report.finding("100 lists are too few for 1,000,000 rows").expect("a finding");
    let remedy = finding.remedy.as_ref().expect("a remedy");
    assert_eq!(
        (remedy.plugin.as_str(), remedy.parameters.as_str()),
        ("pgvector-reindex", r#"{"index":"public.by_embedding","lists":1000}"#)
    );
    assert!(remedy.note.contains("probes = 32"), "{}", remedy.note);
}

#[test]
fn an_invalid_one_is_critical_and_the_rest_of_a_rebuild_is_dropped() {
    let report = run(&host("0.8.5", 1_000, index("by_embedding", "hnsw", "m=16", false)));
    assert_eq!(report.status, Severity::Critical);
    assert_eq!(
        report.finding("public.by_embedding: INVALID").unwrap().remedy.as_ref().unwrap().plugin,
        "pgvector-reindex"
    );
    let report = run(&host("0.8.5", 1_000, index("by_embedding_ccnew", "hnsw", "m=16", false)));
    assert_eq!(report.finding("_ccnew: INVALID").unwrap().remedy.as_ref().unwrap().plugin, "sql-statement");
}

#[test]
fn old_versions_are_named_with_what_they_risk() {
    for (version, status) in [("0.7.0", Severity::Critical), ("0.8.2", Severity::Warning), ("0.8.3", Severity::Ok)] {
        let host = host(version, 1_000, index("by_embedding", "hnsw", "m=16", true));
        host.sql("database")
            .on("order by 6 desc", rows! { ["table", "column", "type_name", "base_type", "dimensions", "rows"] });
        assert_eq!(run(&host).status, status, "{version}");
    }
}

#[test]
fn only_a_large_table_needs_an_index() {
    let report = run(&host("0.8.5", 1_000, index("by_embedding", "hnsw", "m=16", true)));
    assert_eq!(report.titles(Severity::Warning), ["public.notes.v: no index on 20,000 vectors"]);
}
