//! Each shape of the contract, used from Python: variants with and without values, options, nested lists, resources, streams in both
//! directions, futures, tuples of both, errors as values, calls at once.

use crate::{component, rota};
use rota_testbed::Postgres;
use serde_json::json;

#[tokio::test]
async fn every_shape_of_the_contract_works_from_python() {
    let database = Postgres::shared().await.unwrap().fresh_database("python").await.unwrap();
    database.execute("create extension if not exists vector").await.unwrap();
    let mut rota = rota();
    rota.set("PROBED_URL", database.url());
    let bucket = rota.path("bucket");
    std::fs::create_dir(&bucket).unwrap();
    rota.configure(&format!(
        r#"
        [bindings.probed]
        kind = "sql"
        url = "env:PROBED_URL"
        [bindings.kept]
        kind = "storage"
        url = "file://{}"
        [bindings.wc]
        kind = "tool"
        path = "/usr/bin/wc"
        profile = "custom"
        arguments = ["-c"]
        [jobs.shapes]
        plugin = "{}"
        parameters = {{ check = "shapes" }}
        slots.database = {{ binding = "probed", access = ["read", "write", "ddl", "copy-in", "copy-out"] }}
        slots.bucket = {{ binding = "kept", access = ["read", "write", "delete"] }}
        slots.program = {{ binding = "wc", access = ["run"] }}
        "#,
        bucket.display(),
        component::probe().display(),
    ))
    .unwrap();
    let said = rota.run(&["run", "shapes", "--output", "json"]).await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    let object = said.json().unwrap();
    let mut data = object["report"]["data"].clone();
    let refused = data["unknown_slot"].take();
    assert!(refused.as_str().unwrap().contains("`nowhere`"), "{refused}");
    assert_eq!(
        data,
        json!({
            "mode": "EXECUTE",
            "trigger": "MANUAL",
            "slots": {
                "database": ["probed", ["read", "write", "ddl", "copy-in", "copy-out"]],
                "bucket": ["kept", ["read", "write", "delete"]],
                "program": ["wc", ["run"]],
            },
            "unknown_slot": null,
            "server": [16, false, database.name()],
            "values_changed": [],
            "bad_statement": "Error_Failed 42P01",
            "broken_off": [true, "Err", "22012"],
            "inserted": 3,
            "copied_in": 1000,
            "copied_out": [1003, "Ok 9012"],
            "notices": 0,
            "at_once": [500_500, 2_001_000],
            "stored": [1_050_000, true, true],
            "put_again": "Error_Conflict",
            "listed": [["probe/data.zst"], "Ok 1"],
            "got": [true, true, data["got"][2]],
            "stat_deleted": "Error_NotFound",
            "bad_recipient": "Err",
            "program": ["13", "ExitStatus_Code(value=0)", ""],
            "artifact": 5000,
        })
    );
    assert_eq!(
        object["report"]["tables"][0]["rows"][0],
        json!([null, "text", -1, 0.5, 1_u64 << 63, 1.5, 0.25, true, 1])
    );
    assert_eq!((&object["artifacts"][0]["name"], &object["artifacts"][0]["size"]), (&json!("kept.txt"), &json!(5000)));
    assert!(said.stderr.contains("probing key=value"), "{said:?}");
    // What the run is recorded to have done is what it did.
    let operations: Vec<&str> =
        object["effects"].as_array().unwrap().iter().map(|e| e["operation"].as_str().unwrap()).collect();
    for operation in ["sql.execute", "sql.copy-in", "storage.put", "storage.delete", "tools.spawn"] {
        assert!(operations.contains(&operation), "{operation} is not among {operations:?}");
    }
    let mut connection = database.connect().await.unwrap();
    let rows: i64 = sqlx::query_scalar("select count(*) from probed").fetch_one(&mut connection).await.unwrap();
    assert_eq!(rows, 1003);
}
