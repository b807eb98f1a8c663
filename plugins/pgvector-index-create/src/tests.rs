//! What is chosen, without a server.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::choose::{Chosen, choose, spec};
use crate::{Parameters, Plugin};
use rota_sdk::mock::*;
use rota_sdk::prelude::*;
use rota_sdk_index::element::Column;
use rota_sdk_index::vector::Extension;

fn column(base_type: &str, dimensions: i32) -> Vec<Column> {
    vec![Column {
        name: "V x".to_owned(),
        quoted: "\"V x\"".to_owned(),
        type_name: format!("{base_type}({dimensions})"),
        base_type: base_type.to_owned(),
        modifier: dimensions,
    }]
}

fn parameters(more: Json) -> Parameters {
    let mut all = json!({ "table": "t", "column": "V x" });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn extension(version: &str) -> Extension {
    Extension { version: version.to_owned(), schema: "Ext".to_owned(), quoted_schema: "\"Ext\"".to_owned() }
}

fn chosen(more: Json, base_type: &str, dimensions: i32, rows: i64) -> Result<Chosen> {
    choose(&parameters(more), &extension("0.8.5"), &column(base_type, dimensions), rows)
}

fn statement(more: Json, base_type: &str, dimensions: i32, rows: i64) -> String {
    let (parameters, columns) = (parameters(more), column(base_type, dimensions));
    let chosen = choose(&parameters, &extension("0.8.5"), &columns, rows).unwrap();
    let spec = spec(&parameters, &extension("0.8.5"), &columns, &chosen).unwrap();
    let name = |text: &str| Quoted::from_server(text).unwrap();
    spec.statement(&name("i"), &name("s.t")).unwrap().to_string()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn the_statement_fits_the_column() {
    assert_eq!(
        statement(json!({}), "vector", 768, 5),
        "CREATE INDEX CONCURRENTLY i ON s.t USING hnsw (\"V x\" \"Ext\".vector_cosine_ops) WITH (m = 16, ef_construction = 64)"
    );
    assert_eq!(
        statement(json!({ "method": "ivfflat", "metric": "l2" }), "halfvec", 8, 200_000),
        "CREATE INDEX CONCURRENTLY i ON s.t USING ivfflat (\"V x\" \"Ext\".halfvec_l2_ops) WITH (lists = 200)"
    );
    assert_eq!(
        statement(json!({ "metric": "inner-product" }), "vector", 3_000, 5),
        "CREATE INDEX CONCURRENTLY i ON s.t USING hnsw (((\"V x\")::\"Ext\".halfvec(3000)) \"Ext\".halfvec_ip_ops) WITH (m = 16, ef_construction = 64)"
    );
}

#[test]
fn what_cannot_be_indexed_is_refused_with_what_to_do() {
    for (more, base_type, dimensions, rows, says) in [
        (json!({ "method": "ivfflat" }), "vector", 3, 0, "too few"),
        (json!({ "method": "ivfflat" }), "vector", 3, 999, "too few"),
        (json!({}), "vector", -1, 5, "does not say how many dimensions"),
        (json!({ "half": false }), "vector", 2_001, 5, "at most 2000"),
        (json!({}), "vector", 4_001, 5, "at most 4000"),
        (json!({ "m": 40 }), "vector", 3, 5, "less than twice m"),
        (json!({ "method": "ivfflat" }), "sparsevec", 3, 5_000, "no operator class"),
        (json!({ "half": true }), "halfvec", 3, 5, "already"),
    ] {
        let error = chosen(more.clone(), base_type, dimensions, rows).unwrap_err().to_string();
        assert!(error.contains(says), "{more}: {error}");
    }
    let error = choose(&parameters(json!({ "half": true })), &extension("0.6.2"), &column("vector", 3), 5).unwrap_err();
    assert!(error.to_string().contains("half-precision"), "{error}");
}

#[test]
fn memory_grows_with_rows_and_lists() {
    let memory = |more: Json, rows| chosen(more, "vector", 768, rows).unwrap().memory_bytes;
    // A million rows of 768 dimensions: the vectors alone are 3 GB.
    assert!((3_000_000_000..5_000_000_000).contains(&memory(json!({}), 1_000_000)));
    // 1000 lists: 50,000 samples, and a bound for each of them and each center: 200 MB.
    let bytes = memory(json!({ "method": "ivfflat" }), 1_000_000);
    assert!((300_000_000..500_000_000).contains(&bytes), "{bytes}");
}
