//! A file of SQL of the operator's.

use crate::{rota, run};
use rota_testbed::{Database, Postgres, PostgresOptions, PostgresVersion};
use serde_json::{Value, json};
use sqlx::Row as _;

async fn shop() -> Database {
    let database = Postgres::shared().await.unwrap().fresh_database("sqlscript").await.unwrap();
    for statement in [
        "create table orders (id int primary key, customer int, status text, note text)",
        "create table \"Odd \"\"table\" (id int primary key, name text)",
        "insert into orders select n, n % 3, 'open', case when n = 1 then E'a \"b\",\\nc' end from generate_series(1, 50) n",
    ] {
        database.execute(statement).await.unwrap();
    }
    database
}

async fn number(database: &Database, query: &str) -> i64 {
    let mut connection = database.connect().await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await.unwrap().get(0)
}

const OPEN: &str = "select count(*) from orders where status = 'open'";

async fn script(database: &Database, text: &str, parameters: Value, more: &[&str]) -> (Option<i32>, Value) {
    let folder = tempfile::tempdir().unwrap();
    let mut all = parameters;
    (all["script"], all["name"]) = (json!(text), json!("fix.sql"));
    let file = folder.path().join("parameters.json");
    std::fs::write(&file, all.to_string()).unwrap();
    let (bind, file) = (format!("database={}", database.url()), format!("@{}", file.display()));
    let mut arguments = vec!["--bind", bind.as_str(), "-p", file.as_str()];
    arguments.extend(more);
    run(&rota(), "sql-script", &arguments).await
}

fn message(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap_or_default()
}

const WRITE: [&str; 2] = ["--grant", "database=read,write"];
const ALL: [&str; 2] = ["--grant", "declared"];

#[tokio::test]
async fn values_are_bound_and_names_quoted_whatever_is_in_them() {
    let database = shop().await;
    let text = "\\set most 2\n\
                \\echo customer :customer\n\
                select id, status from orders where customer = :customer and id = any(:ids) order by id limit :most;\n\
                insert into :\"table\" values (:id, :'name'), (8, :name), (9, :nothing);\n\
                update :\"table\" set name = name || :'id' where name = :name and id::text = :'id'::text and '{1,2}'::int[] = (array[1,2,3])[1:2];\n\
                select name from :\"table\" order by id; -- ':customer'\n\
                do_nothing:: -- the last one is none\n";
    let name = "'; drop table orders; -- \\ $1 :id \"";
    let variables =
        json!({ "customer": 1, "ids": [1, 4, 7, 2], "table": "Odd \"table", "id": 7, "name": name, "nothing": null });
    let (text, broken) = text.split_once("do_nothing").unwrap();
    let (status, answer) = script(&database, text, json!({ "variables": variables }), &WRITE).await;
    assert_eq!(status, Some(0), "{answer:#}");
    let results = &answer["report"]["data"]["results"];
    assert_eq!(results[0]["text"], "customer 1");
    assert_eq!(
        (&results[1]["rows"], &results[1]["columns"][1]["type_name"]),
        (&json!([[1, "open"], [4, "open"]]), &json!("text"))
    );
    assert_eq!((&results[2]["touched"], &results[3]["touched"]), (&json!(3), &json!(1)));
    assert_eq!(results[4]["rows"], json!([[format!("{name}7")], [name], [null]]));
    assert_eq!(answer["report"]["data"]["changed"], 4);
    // Each statement is an effect by itself, its text without a value in it.
    let effects = answer["effects"].as_array().unwrap();
    assert!(
        effects.len() == 2
            && effects[0]["detail"]
                .as_str()
                .unwrap()
                .contains("insert into \"Odd \"\"table\" values ($1, $2), (8, $3), (9, $4)"),
        "{answer:#}"
    );
    assert_eq!(number(&database, OPEN).await, 50);

    let (status, answer) = script(&database, &format!("select 1;\n  do_nothing{broken}"), json!({}), &[]).await;
    assert_eq!(status, Some(1), "{answer:#}");
    assert!(message(&answer).starts_with("fix.sql:2:3: the statement is not valid SQL"), "{answer:#}");
}

#[tokio::test]
async fn one_transaction_is_all_or_nothing_and_the_error_says_where() {
    let database = shop().await;
    let text = "update orders set status = 'shut' where customer = 1;\n\
                select count(*) from orders where status = 'open';\n\
                \n\
                update orders set\n  statsu = 'x';\n\
                delete from orders;\n";
    let (status, answer) = script(&database, text, json!({}), &WRITE).await;
    assert_eq!(status, Some(1), "{answer:#}");
    let said = message(&answer);
    assert!(said.starts_with("fix.sql:5:3: column \"statsu\" of relation \"orders\" does not exist (42703)"), "{said}");
    assert!(
        said.ends_with("statement 3 of 4, in one transaction: rolled back, the 2 before it too, nothing is changed"),
        "{said}"
    );
    assert!(answer["error"]["hint"].as_str().unwrap().starts_with("line 5: statsu = 'x'"), "{answer:#}");
    let data = &answer["report"]["data"];
    assert_eq!((&data["done"], &data["failed"], &data["changed"]), (&json!(0), &json!(1), &json!(0)));
    // It was seen within the transaction, and is taken back.
    assert_eq!((&data["results"][1]["rows"], &data["results"][0]["state"]), (&json!([[33]]), &json!("rolled_back")));
    assert_eq!(data["results"][2]["error"]["code"], "42703");
    assert_eq!(answer["effects"][0]["said"], "rolled back", "{answer:#}");
    assert_eq!(number(&database, OPEN).await, 50);

    // A constraint that is looked at only at the end.
    database.execute("create table later (id int references orders deferrable initially deferred)").await.unwrap();
    let (status, answer) = script(&database, "insert into later values (999);", json!({}), &WRITE).await;
    assert_eq!(status, Some(1), "{answer:#}");
    assert!(
        message(&answer).contains("the commit was refused: rolled back, nothing is changed")
            && message(&answer).contains("23503"),
        "{answer:#}"
    );

    // Rows that are not read to their end do not end the transaction; what a query changes is done all the same.
    database.execute("create sequence numbers").await.unwrap();
    let text = "select * from generate_series(1, 1000000) n;\n\
                with gone as (delete from orders where id = 50 returning id) select * from gone;\n\
                select nextval('numbers');\n\
                delete from orders where id = 49 returning id;\n";
    let (status, answer) = script(&database, text, json!({ "rows": 3 }), &WRITE).await;
    assert_eq!(status, Some(0), "{answer:#}");
    let results = &answer["report"]["data"]["results"];
    assert_eq!((results[0]["rows"].as_array().unwrap().len(), &results[0]["truncated"]), (3, &json!(true)));
    assert_eq!(results[1]["kind"], "change");
    assert_eq!(number(&database, OPEN).await, 48);
    assert!(
        answer["report"]["findings"].to_string().contains("rows that a changing statement returns are not shown"),
        "{answer:#}"
    );
}

#[tokio::test]
async fn each_by_itself_what_was_done_lasts() {
    let database = shop().await;
    let text = "update orders set status = 'shut' where id = 1;\n\
                insert into orders values (2, 0, 'twice', null);\n\
                vacuum (analyze) orders;\n\
                create index concurrently orders_customer on orders (customer);\n\
                update orders set status = 'shut' where id = 3;";
    let (status, answer) = script(&database, text, json!({ "transaction": "each" }), &ALL).await;
    assert_eq!(status, Some(1), "{answer:#}");
    let said = message(&answer);
    assert!(said.starts_with("fix.sql:2:1: duplicate key") && said.contains("(23505; "), "{said}");
    assert!(said.ends_with("statement 2 of 5, each by itself: the one that was done lasts, 3 were not run"), "{said}");
    assert_eq!(number(&database, OPEN).await, 49);

    let parameters = json!({ "transaction": "each", "on_error": "continue" });
    let (status, answer) = script(&database, text, parameters, &ALL).await;
    assert_eq!(status, Some(1), "{answer:#}");
    assert!(message(&answer).ends_with("the 4 that were done last"), "{answer:#}");
    assert_eq!(number(&database, OPEN).await, 48);
    assert_eq!(
        number(
            &database,
            "select count(*) from pg_index where indexrelid = 'orders_customer'::regclass and indisvalid"
        )
        .await,
        1
    );

    // The same in one transaction is told what to do.
    let (status, answer) = script(&database, "select 1;\nvacuum orders", json!({}), &ALL).await;
    assert_eq!(status, Some(1), "{answer:#}");
    assert!(message(&answer).starts_with("fix.sql:2:1: "), "{answer:#}");
    assert!(answer["error"]["hint"].as_str().unwrap().contains("-p transaction=each"), "{answer:#}");
}

#[tokio::test]
async fn nothing_more_is_done_than_is_granted_and_a_plan_says_what_would_be() {
    let database = shop().await;
    let text = "select count(*) from orders;\nupdate orders set status = 'shut' where customer = :c;\ncreate table n (a int);\ninsert into n select id from orders;\nselect * from n;";
    let given = json!({ "variables": { "c": 1 } });
    let (status, answer) = script(&database, text, given.clone(), &[]).await;
    assert_eq!(status, Some(3), "{answer:#}");
    assert!(message(&answer).starts_with("fix.sql:2:1: "), "{answer:#}");
    assert!(answer["error"]["hint"].as_str().unwrap().contains("--grant database="), "{answer:#}");
    assert_eq!((number(&database, OPEN).await, &answer["report"]["data"]["results"][0]["rows"]), (50, &json!([[50]])));

    for transaction in ["one", "each"] {
        let given = json!({ "variables": { "c": 1 }, "transaction": transaction });
        let (status, plan) = script(&database, text, given, &[&ALL[..], &["--plan"]].concat()).await;
        assert_eq!(status, Some(0), "{plan:#}");
        let effects: Vec<&str> =
            plan["effects"].as_array().unwrap().iter().map(|effect| effect["detail"].as_str().unwrap()).collect();
        assert_eq!(
            effects,
            [
                "update orders set status = 'shut' where customer = $1\n-- $1 = 1",
                "create table n (a int)",
                "insert into n select id from orders"
            ],
            "{plan:#}"
        );
        let results = &plan["report"]["data"]["results"];
        assert!(results[1]["plan"].to_string().contains("Update on orders"), "{plan:#}");
        assert!(
            results[4]["notices"][0].as_str().unwrap().contains("it may depend on a statement before it"),
            "{plan:#}"
        );
        assert_eq!(number(&database, OPEN).await, 50);
        assert_eq!(number(&database, "select count(*) from pg_class where relname = 'n'").await, 0);
    }
    let (status, answer) = script(&database, text, given, &ALL).await;
    assert_eq!(
        (status, &answer["report"]["data"]["results"][4]["rows"].as_array().unwrap().len()),
        (Some(0), &50),
        "{answer:#}"
    );

    for (text, said) in [
        ("select pg_read_file('/etc/passwd')", "fix.sql:1:1: "),
        ("do $$ begin delete from orders; end $$", "fix.sql:1:1: "),
        ("select 1; set role postgres", "fix.sql:1:11: "),
        ("vacuum :c", "fix.sql:1:8: "),
        ("create table m (a int default :c)", "fix.sql:1:31: "),
    ] {
        let (status, answer) =
            script(&database, text, json!({ "variables": { "c": 1 }, "transaction": "each" }), &ALL).await;
        assert!(matches!(status, Some(1 | 3)) && message(&answer).starts_with(said), "{text}: {answer:#}");
    }
    let (_, answer) =
        script(&database, "select 1 + :c::text || lower(:c)", json!({ "variables": { "c": 1 } }), &[]).await;
    assert!(answer["error"]["hint"].as_str().unwrap().contains(":name::int"), "{answer:#}");
}

#[tokio::test]
async fn copies_go_to_the_bucket_and_come_back() {
    let database = shop().await;
    let folder = tempfile::tempdir().unwrap();
    let bucket = format!("bucket=file://{}", folder.path().display());
    let more = ["--bind", bucket.as_str(), "--grant", "declared"];
    let each = json!({ "transaction": "each", "variables": { "file": "orders/1.csv", "table": "Odd \"table" } });
    let text = "\\copy (select id, note\n  from orders where id < 4 order by id) to :'file'\n\
                \\copy orders to 'all.csv'\n\
                \\copy :\"table\" (id, name) from :'file'";
    // The header does not name the columns: nothing is stored.
    let (status, answer) = script(&database, text, each.clone(), &more).await;
    assert_eq!(status, Some(1), "{answer:#}");
    assert!(message(&answer).starts_with("fix.sql:4:") && message(&answer).contains("22P04"), "{answer:#}");
    assert_eq!(
        std::fs::read_to_string(folder.path().join("orders/1.csv")).unwrap(),
        "id,note\n1,\"a \"\"b\"\",\nc\"\n2,\n3,\n"
    );

    let text = text.replace("id, note", "id, note as name");
    let (_, answer) = script(&database, &text, each.clone(), &more).await;
    assert!(
        message(&answer).starts_with("fix.sql:1:1: ")
            && answer["error"]["hint"].as_str().unwrap().contains("replace=true"),
        "{answer:#}"
    );

    let mut replaced = each.clone();
    replaced["replace"] = json!(true);
    let (status, plan) = script(&database, &text, replaced.clone(), &[&more[..], &["--plan"]].concat()).await;
    assert_eq!((status, plan["effects"].as_array().unwrap().len()), (Some(0), 3), "{plan:#}");
    assert!(plan["report"]["data"]["results"][0]["plan"].to_string().contains("orders"), "{plan:#}");
    assert_eq!(number(&database, "select count(*) from \"Odd \"\"table\"").await, 0);

    let (status, answer) = script(&database, &text, replaced, &more).await;
    assert_eq!(status, Some(0), "{answer:#}");
    let results = &answer["report"]["data"]["results"];
    let file = folder.path().join("orders/1.csv");
    let bytes = file.metadata().unwrap().len();
    assert_eq!(results[0]["object"], json!({ "name": "orders/1.csv", "bytes": bytes, "sha256": sha256(&file) }));
    assert_eq!((&results[2]["object"], &results[2]["touched"]), (&results[0]["object"], &json!(3)));
    assert_eq!(number(&database, "select count(*) from \"Odd \"\"table\" where name = E'a \"b\",\\nc'").await, 1);

    for (text, said) in [
        ("\\copy (delete from orders returning id) to 'x.csv'", "fix.sql:1:1: "),
        ("\\copy nothing to 'x.csv'", "fix.sql:1:7: relation \"nothing\""),
        ("\\copy orders from 'none.csv'", "fix.sql:1:1: "),
        ("\\copy (select 1 / (id - 50) as x from orders order by id) to 'x.csv'", "fix.sql:1:1: division by zero"),
    ] {
        let (status, answer) = script(&database, text, each.clone(), &more).await;
        assert!(status != Some(0) && message(&answer).starts_with(said), "{text}: {answer:#}");
        assert!(!folder.path().join("x.csv").exists(), "{text}");
    }
    assert_eq!(number(&database, OPEN).await, 50);
}

/// By somebody else's program.
fn sha256(file: &std::path::Path) -> String {
    let output = std::process::Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_as_what_it_means() {
    let options = PostgresOptions { version: PostgresVersion::V16, ..PostgresOptions::default() };
    let server = Postgres::start(options).await.unwrap();
    let database = server.fresh_database("broken").await.unwrap();
    database.execute("create table t (a int)").await.unwrap();
    let text = "insert into t values (1);\nselect count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b;\ninsert into t values (2);";
    for (transaction, lasts, end) in [
        ("one", 0, "in one transaction: rolled back, the one before it too, nothing is changed"),
        // Whatever on_error says: there is no session left.
        ("each", 1, "each by itself: the one that was done lasts, 1 was not run"),
    ] {
        let cut = async {
            let mut connection = database.connect().await.unwrap();
            let find = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and state = 'active' \
                        and pid <> pg_backend_pid() and now() - query_start > interval '300 ms'";
            for _ in 0..300 {
                if !sqlx::query(find).fetch_all(&mut connection).await.unwrap().is_empty() {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            panic!("the script never counted");
        };
        let parameters =
            json!({ "transaction": transaction, "on_error": if transaction == "each" { "continue" } else { "stop" } });
        let ((status, answer), ()) = tokio::join!(script(&database, text, parameters, &WRITE), cut);
        assert!(matches!(status, Some(1)), "{answer:#}");
        assert!(message(&answer).starts_with("fix.sql:2:1: ") && message(&answer).ends_with(end), "{answer:#}");
        assert_eq!(number(&database, "select count(*) from t").await, lasts, "{answer:#}");
    }
}
