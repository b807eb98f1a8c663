//! What is refused before anything is asked, and how filters are bound.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::filter::Filter;
use crate::{Parameters, Plugin, checked};
use rota_sdk::mock::check_declaration;
use rota_sdk::prelude::*;
use rota_sdk::sql::Value;
use rota_sdk_index::element::Column;

fn columns() -> Vec<Column> {
    let column = |name: &str, quoted: &str, type_name: &str, base_type: &str, modifier: i32| Column {
        name: name.to_owned(),
        quoted: quoted.to_owned(),
        type_name: type_name.to_owned(),
        base_type: base_type.to_owned(),
        modifier,
    };
    vec![column("v", "v", "vector(3)", "vector", 3), column("Tenant", "\"Tenant\"", "uuid", "uuid", -1)]
}

fn parameters(vector: Json, column: &str) -> Parameters {
    serde_json::from_value(json!({ "table": "t", "column": column, "vector": vector })).unwrap()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn a_vector_is_checked() {
    assert_eq!(checked(&parameters(json!([1, 2, 3]), "v"), &columns()).unwrap(), [1.0, 2.0, 3.0]);
    for (vector, column, says) in [
        (json!([1, 2]), "v", "2 numbers"),
        (json!([]), "v", "0 numbers"),
        (json!([1, 1e39, 3]), "v", "number 2"),
        (json!([0, 0, 0]), "v", "all zeros"),
        (json!([1, 2, 3]), "Tenant", "not vector"),
        (json!([1, 2, 3]), "w", "no column"),
    ] {
        let error = checked(&parameters(vector, column), &columns()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn filters_are_bound_as_the_columns_type() {
    let filter = |text: Json| serde_json::from_value::<Filter>(text).unwrap().sql(&columns(), 2);
    let evil = "x' or true; --";
    let (sql, value) = filter(json!({ "column": "Tenant", "operator": "equal", "value": evil })).unwrap();
    assert_eq!(sql, "\"Tenant\" = $2::text::uuid");
    assert!(matches!(value, Some(Value::Text(text)) if text == evil));
    let (sql, value) = filter(json!({ "column": "Tenant", "operator": "in", "value": ["a", 1, true] })).unwrap();
    assert_eq!(sql, "\"Tenant\" = any ($2::text[]::uuid[])");
    assert!(matches!(value, Some(Value::Texts(texts)) if texts.len() == 3));
    assert_eq!(filter(json!({ "column": "Tenant", "operator": "is-null" })).unwrap().0, "\"Tenant\" is null");
    for bad in [
        json!({ "column": "Tenant\" or true --", "operator": "equal", "value": 1 }),
        json!({ "column": "Tenant", "operator": "equal", "value": null }),
        json!({ "column": "Tenant", "operator": "in", "value": "a" }),
    ] {
        assert!(filter(bad.clone()).is_err(), "{bad}");
    }
}
