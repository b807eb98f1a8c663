use super::*;
use rota_sdk::mock::*;
use rota_sdk::{HostError, rows};

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
fn statements_run_one_after_the_other_with_what_is_bound() {
    let host = host();
    host.sql("database")
        .on_with("select id from t where c = $1", |values| {
            assert!(matches!(values, [rota_sdk::sql::Value::Int64(42)]));
            Ok(rows! { ["id"] => [1_i64], [2_i64], [3_i64] })
        })
        .on_execute("update \"T x\" set a = $1", 7);
    let script = "\\echo hello :c\nselect id from t where c = :c;\nupdate :\"table\" set a = :'c'";
    let report =
        host.run::<Plugin>(json!({ "script": script, "variables": { "c": 42, "table": "T x" }, "rows": 2 })).unwrap();
    assert_eq!(report.summary, "script.sql: 3 statements, 7 rows changed, in one transaction, committed");
    let results = &report.data["results"];
    assert_eq!((&results[0]["text"], &results[0]["kind"]), (&json!("hello 42"), &json!("echo")));
    assert_eq!((&results[1]["rows"], &results[1]["truncated"]), (&json!([[1], [2]]), &json!(true)));
    assert_eq!((&results[2]["touched"], &results[2]["line"]), (&json!(7), &json!(3)));
    assert_eq!(host.effects()[0].detail, "update \"T x\" set a = $1");
}

#[test]
fn an_error_in_one_transaction_takes_all_back_and_says_where() {
    let host = host();
    host.sql("database")
        .on_execute("update t", 3)
        .fails_execute("update ordes", failed("42P01", "relation \"ordes\" does not exist"));
    let script = "update t set a = 1;\nupdate ordes\n set a = 2;\nupdate u set a = 3;";
    let error = host.run::<Plugin>(json!({ "script": script, "name": "fix.sql" })).unwrap_err();
    assert_eq!(
        error.message,
        "fix.sql:2:8: relation \"ordes\" does not exist (42P01); statement 2 of 3, in one transaction: rolled back, the one before it too, nothing is changed"
    );
    assert_eq!(error.hint.as_deref(), Some("line 2: update ordes"));
    let report = error.report.unwrap();
    let data = report.data;
    assert_eq!((&data["done"], &data["changed"], &data["failed"]), (&json!(0), &json!(0), &json!(1)));
    assert_eq!((&data["results"][0]["state"], &data["results"][1]["state"]), (&json!("rolled_back"), &json!("failed")));
    assert_eq!(data["results"][1]["error"]["code"], "42P01");
}

#[test]
fn each_by_itself_what_was_done_lasts_and_the_rest_runs_where_it_is_wanted() {
    let script = "update t set a = 1;\nupdate x set a = 2;\nupdate t set a = 3;";
    for (on_error, done, end) in [
        (
            "stop",
            1,
            "fix.sql:2:1: no (23505); statement 2 of 3, each by itself: the one that was done lasts, 1 was not run",
        ),
        ("continue", 2, "fix.sql:2:1: no (23505); statement 2 of 3, each by itself: the 2 that were done last"),
    ] {
        let host = host();
        host.sql("database").on_execute("update t", 3).fails_execute("update x", failed("23505", "no"));
        let parameters = json!({ "script": script, "name": "fix.sql", "transaction": "each", "on_error": on_error });
        let error = host.run::<Plugin>(parameters).unwrap_err();
        assert_eq!(error.message, end);
        let data = error.report.unwrap().data;
        assert_eq!(data["done"], done);
    }
}

#[test]
fn a_broken_connection_ends_all_and_what_is_not_known_is_said() {
    let host = host();
    host.sql("database").fails_execute("update x", HostError::Unavailable("the connection broke".to_owned()));
    let parameters =
        json!({ "script": "update x set a = 2; update t set a = 1", "transaction": "each", "on_error": "continue" });
    let error = host.run::<Plugin>(parameters).unwrap_err();
    assert!(
        error.message.contains("whether this one was done is not known")
            && error.message.contains("nothing else was done, 1 was not run"),
        "{error:?}"
    );
    let data = error.report.unwrap().data;
    assert_eq!(data["results"][0]["state"], "unknown");
}

#[test]
fn what_cannot_be_run_is_refused_before_anything_is() {
    for (parameters, said) in [
        (json!({ "script": " -- nothing\n" }), "no statement"),
        (json!({ "script": "select 1", "on_error": "continue" }), "an error ends a transaction"),
        (json!({ "script": "select 1;\n\\copy t to 'a'" }), "script.sql:2:1: \\copy cannot be a part of a transaction"),
        (json!({ "script": "\\copy t to 'a'", "transaction": "each" }), "needs the slot `bucket`"),
        (json!({ "script": "update t set a = 1; select :x" }), "script.sql:1:28: no variable `x`"),
        (json!({ "script": "update t set a = 1; commit" }), "COMMIT controls"),
    ] {
        let host = host();
        let error = host.run::<Plugin>(parameters).unwrap_err();
        assert!(error.message.contains(said), "{error:?}");
        assert!(host.effects().is_empty() && host.sql("database").statements().is_empty());
    }
}

#[test]
fn copies_stream_between_the_server_and_the_bucket() {
    let host = host();
    host.storage("bucket").object("in.csv", "a\n1\n");
    host.sql("database")
        .on_copy_out("COPY (select 1) TO STDOUT (FORMAT csv, HEADER)", "a\n1\n", 1)
        .on_execute("COPY t (a) FROM STDIN (FORMAT csv, HEADER MATCH)", 1);
    let script = "\\copy (select 1) to 'out.csv'\n\\copy t (a) from 'in.csv'\n";
    let parameters = json!({ "script": script, "transaction": "each" });
    let report = host.run::<Plugin>(parameters.clone()).unwrap();
    assert_eq!(host.storage("bucket").bytes("out.csv").unwrap(), b"a\n1\n");
    let results = &report.data["results"];
    assert_eq!((&results[0]["object"]["bytes"], &results[1]["object"]["bytes"]), (&json!(4), &json!(4)));
    assert_eq!(results[0]["object"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(results[0]["object"]["sha256"], results[1]["object"]["sha256"]);
    assert_eq!(results[1]["touched"], 1);
    // It is there by now.
    let error = host.run::<Plugin>(parameters).unwrap_err();
    assert!(error.hint.unwrap().contains("-p replace=true"), "{}", error.message);
}

#[test]
fn a_plan_explains_each_and_lists_what_would_be_done() {
    let host = host().plan();
    host.sql("database")
        .on("select a from t", rows! { ["a"] => [1_i64] })
        .on(
            "EXPLAIN (FORMAT JSON)",
            rows! { ["QUERY PLAN"] => [json!([{ "Plan": { "Node Type": "Seq Scan", "Plan Rows": 9 } }])] },
        )
        .on("EXPLAIN select", rows! { ["QUERY PLAN"] => ["Seq Scan on t"] })
        .on("EXPLAIN update", rows! { ["QUERY PLAN"] => ["Update on t"] })
        .fails("EXPLAIN delete", failed("42P01", "relation \"n\" does not exist"));
    let script = "select a from t;\nupdate t set a = 1;\ncreate table n (a int);\ndelete from n;\n\\echo done";
    let report = host.run::<Plugin>(json!({ "script": script })).unwrap();
    let results = &report.data["results"];
    assert_eq!((&results[0]["plan"], &results[0]["expected_rows"]), (&json!(["Seq Scan on t"]), &json!(9.0)));
    assert!(results[3]["notices"][0].as_str().unwrap().starts_with("no plan: it may depend"), "{results:#}");
    assert!(results.as_array().unwrap().iter().all(|ran| ran["state"] == "planned"), "{results:#}");
    let effects: Vec<String> = host.effects().into_iter().map(|effect| effect.detail).collect();
    assert_eq!(effects, ["update t set a = 1", "create table n (a int)", "delete from n"]);
    assert!(host.effects().iter().all(|effect| effect.planned));

    // Where nothing before could have made it, it is an error.
    let error = host.run::<Plugin>(json!({ "script": "delete from n" })).unwrap_err();
    assert!(
        error.message.contains("script.sql:1:13: relation \"n\"") && error.message.contains("nothing was run"),
        "{error:?}"
    );
}
