//! The example: what it reports against what the server says by other means, and what it is not given.

use crate::{component, rota};
use rota_testbed::{Database, Postgres};
use serde_json::{Value, json};
use sqlx::Row as _;

/// One table of which nine in ten rows are gone, one that is dense and indexed, one with an odd name. Autovacuum stays away.
const TABLES: &str = r#"
    create table bloated with (autovacuum_enabled = off) as select i, repeat('x', 100) as t from generate_series(1, 100000) i;
    delete from bloated where i % 10 <> 0;
    create table dense (i bigint primary key, t text) with (autovacuum_enabled = off);
    insert into dense select i, md5(i::text) from generate_series(1, 50000) i;
    create schema "Other";
    create table "Other"."odd ""name" with (autovacuum_enabled = off) as select 1 as one;
    analyze"#;

async fn database() -> Database {
    let database = Postgres::shared().await.unwrap().fresh_database("python").await.unwrap();
    database.execute(TABLES).await.unwrap();
    database
}

async fn run(database: &Database, more: &[&str]) -> Value {
    let component = component::table_sizes();
    let bind = format!("database={}", database.url());
    let mut arguments = vec!["run", component.to_str().unwrap(), "--bind", &bind, "--output", "json"];
    arguments.extend(more);
    rota().json(&arguments).await.unwrap()
}

fn names(object: &Value) -> Vec<&str> {
    object["report"]["data"]["tables"].as_array().unwrap().iter().map(|t| t["table"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn its_report_is_what_the_server_says_by_other_means() {
    let database = database().await;
    let object = run(&database, &["-p", "warn_spare_bytes=1000000"]).await;
    let report = &object["report"];

    // Sizes and rows, by another view than the plugin's.
    let mut connection = database.connect().await.unwrap();
    let rows = sqlx::query(
        "select quote_ident(s.schemaname) || '.' || quote_ident(s.relname), pg_total_relation_size(s.relid),
                pg_relation_size(s.relid, 'main'), pg_indexes_size(s.relid), s.n_live_tup
         from pg_stat_user_tables s order by 2 desc",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let expected: Vec<Value> = rows
        .iter()
        .map(|r| {
            json!([
                r.get::<String, _>(0),
                r.get::<i64, _>(1),
                r.get::<i64, _>(2),
                r.get::<i64, _>(3),
                r.get::<i64, _>(4)
            ])
        })
        .collect();
    let tables = report["data"]["tables"].as_array().unwrap();
    let got: Vec<Value> = tables
        .iter()
        .map(|t| json!([t["table"], t["total_bytes"], t["heap_bytes"], t["index_bytes"], t["rows"]]))
        .collect();
    assert_eq!(got, expected);
    assert_eq!(names(&object), ["public.bloated", "public.dense", r#""Other"."odd ""name""#]);
    let shown = report["tables"][0]["rows"].as_array().unwrap();
    let row = json!(["public.dense", got[1][1], got[1][2], got[1][3], 50_000, tables[1]["spare_bytes"]]);
    assert_eq!(shown[1], row);

    // One finding, with the command that mends it.
    assert_eq!(report["status"], "warning");
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0]["title"].as_str().unwrap().starts_with("public.bloated: about "), "{findings:?}");
    assert_eq!(findings[0]["remedy"]["plugin"], "postgres-vacuum");
    assert_eq!(findings[0]["remedy"]["parameters"], json!({ "tables": ["public.bloated"] }));

    // What was said to be spare is what a rewrite gives back.
    for table in &tables[..2] {
        let name = table["table"].as_str().unwrap();
        database.execute(&format!("vacuum full {name}")).await.unwrap();
        let after: i64 = sqlx::query_scalar("select pg_relation_size($1::text::regclass)")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let heap = table["heap_bytes"].as_i64().unwrap();
        let (spare, freed) = (table["spare_bytes"].as_i64().unwrap(), heap - after);
        assert!((spare - freed).abs() * 10 < heap, "{name}: {spare} said to be spare, {freed} freed of {heap}");
    }
}

#[tokio::test]
async fn its_parameters_are_bound_and_a_plan_reads_the_same() {
    let database = database().await;
    assert_eq!(names(&run(&database, &["-p", "limit=1"]).await), ["public.bloated"]);
    assert_eq!(names(&run(&database, &["-p", "min_bytes=1000000", "-p", "schema=public"]).await).len(), 2);
    let planned = run(&database, &["--plan", "-p", "schema=Other"]).await;
    assert_eq!(names(&planned), [r#""Other"."odd ""name""#]);
    assert_eq!((&planned["run"]["mode"], &planned["effects"]), (&json!("plan"), &json!([])));
    let nothing = run(&database, &["-p", "schema=x' or true --"]).await;
    assert_eq!((names(&nothing).len(), &nothing["report"]["status"]), (0, &json!("unknown")));
}

#[tokio::test]
async fn what_the_role_may_not_read_is_unknown_and_not_well() {
    let database = database().await;
    let (role, password) = database.server().fresh_role("python", "").await.unwrap();
    let component = component::table_sizes();
    let bind = format!("database={}", database.url_as(&role, &password));
    let arguments =
        ["run", component.to_str().unwrap(), "--bind", &bind, "-p", "warn_spare_bytes=1000000", "--output", "json"];
    let object = rota().json(&arguments).await.unwrap();
    let report = &object["report"];
    assert_eq!((&report["status"], &report["data"]["spare_unknown"]), (&json!("unknown"), &json!(2)), "{report}");
    assert_eq!(names(&object).len(), 3);
    assert!(report["data"]["tables"][0]["spare_bytes"].is_null());
}

#[tokio::test]
async fn without_a_grant_it_is_denied_and_says_which_one_is_missing() {
    let database = database().await;
    let mut rota = rota();
    rota.set("SHOP_URL", database.url());
    let component = component::table_sizes();
    rota.configure(&format!(
        "[bindings.shop]\nkind = \"sql\"\nurl = \"env:SHOP_URL\"\n\n\
         [jobs.sizes]\nplugin = \"{}\"\nslots.database = {{ binding = \"shop\", access = [] }}\n",
        component.display()
    ))
    .unwrap();
    for more in [&["--output", "json"][..], &["--output", "json", "--plan"]] {
        let said = rota.run(&[&["run", "sizes"], more].concat()).await.unwrap();
        assert_eq!(said.status, Some(3), "{said:?}");
        let object = said.json().unwrap();
        assert_eq!((&object["run"]["status"], &object["error"]["kind"]), (&json!("denied"), &json!("denied")));
        let message = object["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("the tables could not be read: ") && message.contains("database"), "{message}");
        assert!(object["error"]["hint"].as_str().unwrap().contains("slots.database.access"), "{object}");
        assert!(object["report"].is_null() && object["effects"] == json!([]), "{object}");
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_a_failure_with_the_servers_code() {
    let database = database().await;
    let mut rota = rota();
    rota.set("SHOP_URL", database.url());
    let component = component::table_sizes();
    let config = "[bindings.shop]\nkind = \"sql\"\nurl = \"env:SHOP_URL\"\nlock_timeout = \"200ms\"\n";
    rota.configure(config).unwrap();
    // Measuring a table waits for whoever has it locked.
    let mut holder = database.connect().await.unwrap();
    sqlx::raw_sql("begin; lock table bloated in access exclusive mode").execute(&mut holder).await.unwrap();
    let arguments = ["run", component.to_str().unwrap(), "--bind", "database=shop", "--output", "json"];
    let said = rota.run(&arguments).await.unwrap();
    assert_eq!(said.status, Some(1), "{said:?}");
    let object = said.json().unwrap();
    let message = object["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("the tables could not be read: "), "{message}");
    assert!(message.contains("55P03") || object["error"]["kind"] == "timed-out", "{object}");
}
