//! One statement of the operator's.

use crate::{rota, run};
use rota_testbed::{Database, Postgres, Valkey};
use serde_json::{Value, json};
use sqlx::Row as _;

async fn shop() -> Database {
    let database = Postgres::shared().await.unwrap().fresh_database("statement").await.unwrap();
    database
        .execute("create table orders (id int primary key, customer int, status text, at timestamptz default '2026-01-02 03:04:05Z', note jsonb)")
        .await
        .unwrap();
    database
        .execute("insert into orders (id, customer, status) select n, n % 3, 'open' from generate_series(1, 50) n")
        .await
        .unwrap();
    database
}

async fn open(database: &Database) -> i64 {
    let mut connection = database.connect().await.unwrap();
    sqlx::query("select count(*) from orders where status = 'open'").fetch_one(&mut connection).await.unwrap().get(0)
}

async fn state(database: &Database, statement: &str, more: &[&str]) -> (Option<i32>, Value) {
    let (bind, statement) = (format!("database={}", database.url()), format!("statement={statement}"));
    let mut arguments = vec!["--bind", bind.as_str(), "-p", statement.as_str()];
    arguments.extend(more);
    run(&rota(), "sql-statement", &arguments).await
}

const WRITE: [&str; 2] = ["--grant", "database=read,write"];

#[tokio::test]
async fn rows_are_shown_with_their_types_and_nothing_more_is_granted_than_reading() {
    let database = shop().await;
    let statement = "select id, status, at, note from orders where customer = $1 order by id";
    let (status, answer) = state(&database, statement, &["-p", "values=[2]", "-p", "rows=3"]).await;
    assert_eq!(status, Some(0), "{answer:#}");
    let data = &answer["report"]["data"];
    assert_eq!(data["rows"][0], json!([2, "open", "2026-01-02T03:04:05Z", null]), "{answer:#}");
    assert_eq!((data["rows"].as_array().unwrap().len(), &data["truncated"]), (3, &json!(true)));
    assert_eq!(data["columns"][3], json!({ "name": "note", "type_name": "jsonb" }));
    assert_eq!(answer["effects"], json!([]));

    for statement in [
        "update orders set status = 'shut'",
        "with x as (delete from orders returning *) select * from x",
        "drop table orders",
        "vacuum orders",
    ] {
        let (status, answer) = state(&database, statement, &[]).await;
        assert_eq!(status, Some(3), "{statement}: {answer:#}");
        assert!(answer["error"]["hint"].as_str().unwrap().contains("--grant database="), "{answer:#}");
    }
    for statement in [
        "select 1; drop table orders",
        "do $$ begin delete from orders; end $$",
        "set role postgres",
        "select pg_read_file('/etc/passwd')",
        "copy orders to program 'cat'",
    ] {
        let (status, answer) = state(&database, statement, &["--grant", "declared"]).await;
        assert!(matches!(status, Some(1 | 3)), "{statement}: {answer:#}");
    }
    assert_eq!(open(&database).await, 50);
}

#[tokio::test]
async fn a_plan_shows_what_the_server_would_do_and_a_run_does_it_within_its_bound() {
    let database = shop().await;
    let statement = "update orders set status = 'shut' where customer = 1";
    let (status, plan) = state(&database, statement, &["--grant", "database=read,write", "--plan"]).await;
    assert_eq!(status, Some(0), "{plan:#}");
    let lines = plan["report"]["data"]["plan"].to_string();
    assert!(lines.contains("Update on orders") && lines.contains("Seq Scan"), "{plan:#}");
    assert_eq!(plan["effects"][0]["detail"], statement, "{plan:#}");
    assert_eq!(open(&database).await, 50);

    let (status, answer) = state(&database, statement, &[WRITE[0], WRITE[1], "-p", "most_changed=16"]).await;
    assert_eq!(status, Some(1), "{answer:#}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("touched 17 rows"), "{answer:#}");
    assert_eq!(open(&database).await, 50, "taken back");

    let (status, answer) = state(&database, statement, &WRITE).await;
    assert_eq!((status, &answer["report"]["data"]["changed"]), (Some(0), &json!(17)), "{answer:#}");
    assert_eq!(open(&database).await, 33);

    // A query that deletes is found out by the server's own plan, and by the server when it runs.
    let hidden = "with gone as (delete from orders where status = 'shut' returning *) select count(*) from gone";
    let (_, plan) = state(&database, hidden, &["--grant", "database=read,write", "--plan"]).await;
    assert_eq!(plan["report"]["data"]["kind"], "change", "{plan:#}");
    assert_eq!(plan["effects"].as_array().unwrap().len(), 1, "{plan:#}");
    let (status, answer) = state(&database, hidden, &WRITE).await;
    assert_eq!(status, Some(0), "{answer:#}");
    assert_eq!(open(&database).await, 33);
}

#[tokio::test]
async fn commands_run_outside_a_transaction_and_locks_are_not_waited_for_for_ever() {
    let database = shop().await;
    let (status, answer) = state(&database, "vacuum (analyze) orders", &["--grant", "database=read,maintain"]).await;
    assert_eq!((status, &answer["report"]["data"]["kind"]), (Some(0), &json!("command")), "{answer:#}");
    let mut holder = database.connect().await.unwrap();
    sqlx::query("begin").execute(&mut holder).await.unwrap();
    sqlx::query("lock table orders").execute(&mut holder).await.unwrap();
    let more = [WRITE[0], WRITE[1], "-p", "lock_timeout_ms=100"];
    let (status, answer) = state(&database, "delete from orders where id = 1", &more).await;
    assert_eq!(status, Some(1), "{answer:#}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("55P03"), "{answer:#}");
}

/// What a count of the outermost command does not count, and what its first word does not say.
#[tokio::test]
async fn what_changes_more_rows_than_it_says_is_planned_as_a_change_and_taken_back() {
    let database = shop().await;
    let more = ["--grant", "database=read,write,ddl", "-p", "most_changed=10"];
    for statement in [
        "explain analyze delete from orders",
        "with d as (delete from orders returning 1) select count(*) from d",
        "with d as (delete from orders returning 1) select 1 limit 1",
        "with d as (delete from orders returning 1) update orders set status = 'x' where id = -1",
        "create table copied as with d as (delete from orders returning 1) select 1 as x",
        "truncate orders",
    ] {
        let (status, answer) = state(&database, statement, &more).await;
        assert_eq!(status, Some(1), "{statement}: {answer:#}");
        assert_eq!(open(&database).await, 50, "{statement}");
        let (_, plan) = state(&database, statement, &[&more[..], &["-p", "unbounded=true", "--plan"]].concat()).await;
        assert_eq!(plan["effects"].as_array().unwrap().len(), 1, "{statement}: {plan:#}");
    }
    database.execute("create sequence numbers").await.unwrap();
    let (_, plan) = state(&database, "select nextval('numbers')", &[&more[..], &["--plan"]].concat()).await;
    assert_eq!(plan["effects"].as_array().unwrap().len(), 1, "{plan:#}");
    let (status, answer) = state(&database, "truncate orders", &[&more[..], &["-p", "unbounded=true"]].concat()).await;
    assert_eq!((status, open(&database).await), (Some(0), 0), "{answer:#}");
}

/// `rota runs show` prints the command that mends a finding, and it can be pasted.
#[tokio::test]
async fn a_remedy_is_run_on_the_bindings_of_the_run_that_found_it() {
    let valkey = Valkey::start().await.unwrap();
    let mut client = valkey.client().await.unwrap();
    for n in 0..7 {
        client.call(&["SET", &format!("user:{n}"), "x"]).await.unwrap();
    }
    let mut rota = rota();
    rota.set("CACHE_URL", valkey.url());
    rota.configure("[bindings.sessions]\nkind = \"cache\"\nurl = \"env:CACHE_URL\"\n").unwrap();
    let (_, found) = run(
        &rota,
        "cache-invalidate",
        &["--bind", "cache=sessions", "-p", "prefix=user:", "--grant", "declared", "--plan"],
    )
    .await;
    let id = found["run"]["id"].as_str().unwrap();
    let remedy = &found["report"]["findings"][0]["remedy"];
    assert_eq!(remedy["command"], format!("rota run --remedy {id}/1 --grant declared --plan"), "{found:#}");
    assert_eq!(found["slots"][0]["binding"], "sessions", "{found:#}");
    let shown = rota.run(&["runs", "show", id, "--output", "human"]).await.unwrap();
    assert!(shown.stdout.contains(&format!("rota run --remedy {id}/1 ")), "{}", shown.stdout);

    let planned = rota.json(&["run", "--remedy", &format!("{id}/1"), "--grant", "declared", "--plan"]).await.unwrap();
    assert_eq!((&planned["run"]["mode"], &planned["run"]["parent"]), (&json!("plan"), &json!(id)), "{planned:#}");
    // What is given beside it goes before what the finding says.
    let first = format!("{id}/1");
    let other = ["run", "--remedy", first.as_str(), "-p", "expected_keys=3", "--grant", "declared"];
    let refused = rota.run(&other).await.unwrap();
    assert!(refused.status == Some(1) && refused.all().contains("3 were planned"), "{refused:?}");
    let mended = rota.json(&["run", "--remedy", &format!("{id}/1"), "--grant", "declared"]).await.unwrap();
    assert_eq!(
        (&mended["run"]["status"], &mended["report"]["data"]["unlinked"]),
        (&json!("succeeded"), &json!(7)),
        "{mended:#}"
    );

    let beyond = format!("{id}/99");
    for (reference, said) in [("nonsense", "names no finding"), (beyond.as_str(), "findings 1 to 1")] {
        let refused = rota.run(&["run", "--remedy", reference]).await.unwrap();
        assert_eq!(refused.status, Some(2), "{refused:?}");
        assert!(refused.all().contains(said), "{refused:?}");
    }
}

/// The one job that is configured with the plugin on the same bindings is the remedy, with what it is granted.
#[tokio::test]
async fn a_job_that_does_what_a_remedy_says_is_run_as_that_job() {
    let valkey = Valkey::start().await.unwrap();
    valkey.client().await.unwrap().call(&["SET", "user:1", "x"]).await.unwrap();
    let mut rota = rota();
    rota.set("CACHE_URL", valkey.url());
    let job = "[bindings.sessions]\nkind = \"cache\"\nurl = \"env:CACHE_URL\"\n[jobs.forget-users]\nplugin = \"cache-invalidate\"\n\
               slots.cache = { binding = \"sessions\", access = [\"read\", \"delete\"] }\nparameters = { prefix = \"user:\" }\n";
    rota.configure(job).unwrap();
    rota.json(&["run", "forget-users", "--plan"]).await.unwrap();
    let mended = rota.json(&["run", "--remedy", "last/1"]).await.unwrap();
    assert_eq!(
        (&mended["run"]["job"], &mended["report"]["data"]["unlinked"]),
        (&json!("forget-users"), &json!(1)),
        "{mended:#}"
    );
}
