use super::*;
use rota_sdk::mock::*;

fn host() -> MockHost {
    let host = MockHost::new();
    host.sql("database").inspected(Timestamp(0), Timestamp(1), None, true);
    host
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn rows_are_shown_up_to_the_limit() {
    let host = host();
    host.sql("database").on("select id, name", rows! { ["id", "name"] => [1_i64, "a"], [2_i64, "b"], [3_i64, "c"] });
    let report = host.run::<Plugin>(json!({ "statement": "select id, name from t", "rows": 2 })).unwrap();
    assert_eq!(report.summary, "2 rows and more");
    assert_eq!(report.data["rows"], json!([[1, "a"], [2, "b"]]));
    assert_eq!(report.data["truncated"], true);
}

#[test]
fn a_change_beyond_its_bound_is_taken_back() {
    let host = host();
    host.sql("database")
        .on_execute("delete from t", 11)
        .on("pg_stat_xact_user_tables", rows! { ["coalesce", "bool"] => [11_i64, true] });
    let error = host.run::<Plugin>(json!({ "statement": "delete from t", "most_changed": 10 })).unwrap_err();
    assert!(error.message.contains("touched 11 rows") && error.message.contains("nothing is changed"), "{error:?}");
}

#[test]
fn where_the_server_does_not_count_it_is_said() {
    let host = host();
    host.sql("database")
        .on_execute("delete from t", 3)
        .on("pg_stat_xact_user_tables", rows! { ["coalesce", "bool"] => [0_i64, false] });
    let report = host.run::<Plugin>(json!({ "statement": "delete from t" })).unwrap();
    assert_eq!((report.status, &report.data["changed"]), (Severity::Warning, &json!(3)));
    assert!(report.finding("track_counts is off").is_some(), "{:?}", report.findings);
}

#[test]
fn a_plan_asks_the_server_and_runs_nothing() {
    let host = host().plan();
    host.sql("database")
        .on("EXPLAIN (FORMAT JSON)", rows! { ["QUERY PLAN"] => [json!([{ "Plan": { "Node Type": "ModifyTable", "Plans": [{ "Plan Rows": 9 }] } }])] })
        .on("EXPLAIN delete", rows! { ["QUERY PLAN"] => ["Delete on t"], ["  ->  Seq Scan on t"] });
    let report = host.run::<Plugin>(json!({ "statement": "delete from t" })).unwrap();
    assert_eq!(report.data["plan"], json!(["Delete on t", "  ->  Seq Scan on t"]));
    assert_eq!((&report.data["expected_rows"], &report.data["ran"]), (&json!(9.0), &json!(false)));
    assert_eq!(host.effects()[0].detail, "delete from t");
    assert!(host.effects().iter().all(|effect| effect.planned));
}
