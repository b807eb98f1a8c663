//! Which index is missing or unused, and building one.

use crate::{rota, run};
use rota_testbed::{Database, Postgres, PostgresVersion, eventually};
use rota_tests::{Rota, Running};
use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::time::Duration;

pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A database of a shared server, and a host that reaches it.
pub(crate) struct World {
    pub(crate) rota: Rota,
    pub(crate) database: Database,
}

impl World {
    pub(crate) async fn of(version: PostgresVersion, sql: &str) -> Self {
        let database = Postgres::shared_version(version).await.unwrap().fresh_database("idx").await.unwrap();
        let mut rota = rota();
        // A configured binding: what is given as a URL is on no record, and nobody else could undo what a killed host left.
        rota.set("SHOP_URL", database.url());
        rota.configure("[server]\nlisten = \"127.0.0.1:0\"\n[bindings.shop]\nkind = \"sql\"\nurl = \"env:SHOP_URL\"\n")
            .unwrap();
        let world = Self { rota, database };
        for statement in sql.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
            world.database.execute(statement).await.unwrap();
        }
        world
    }

    pub(crate) async fn new(sql: &str) -> Self {
        Self::of(PostgresVersion::V16, sql).await
    }

    pub(crate) fn arguments(&self, procedure: &str, parameters: &Value) -> Vec<String> {
        let mut all = ["run", procedure, "--bind", "database=shop"].map(str::to_owned).to_vec();
        all.extend(["--grant", "declared", "--output", "json"].map(str::to_owned));
        for (name, value) in parameters.as_object().unwrap() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            all.extend(["-p".to_owned(), format!("{name}={value}")]);
        }
        all
    }

    pub(crate) async fn run(&self, procedure: &str, parameters: Value, more: &[&str]) -> (Option<i32>, Value) {
        let all = self.arguments(procedure, &parameters);
        let mut all: Vec<&str> =
            all.iter().skip(2).map(String::as_str).filter(|word| !["--output", "json"].contains(word)).collect();
        all.extend(more);
        run(&self.rota, procedure, &all).await
    }

    /// Succeeds, and gives its report.
    pub(crate) async fn report(&self, procedure: &str, parameters: Value) -> Value {
        let (status, answer) = self.run(procedure, parameters, &[]).await;
        assert_eq!(status, Some(0), "{answer:#}");
        answer["report"].clone()
    }

    /// Fails, and says why.
    pub(crate) async fn fails(&self, procedure: &str, parameters: Value, with: &str) -> Value {
        let (status, answer) = self.run(procedure, parameters, &[]).await;
        assert_eq!(status, Some(1), "{answer:#}");
        assert!(answer["error"].to_string().contains(with), "{with}: {answer:#}");
        answer
    }

    /// What the killed host of the last run had registered, undone by one that serves; the run, then.
    pub(crate) async fn undone_by_another(&self) -> Value {
        let shown = self.rota.json(&["runs", "show", "last"]).await.unwrap();
        assert_eq!(shown["run"]["status"], "unknown", "{shown:#}");
        self.rota.json(&["runs", "retry", "last", "--undo"]).await.unwrap();
        let _serving = self.rota.start(&["serve"]).unwrap();
        self.undone().await
    }

    /// The last run, once everything that it registered is undone.
    pub(crate) async fn undone(&self) -> Value {
        eventually(SOON, "the undo", async || {
            let shown = self.rota.json(&["runs", "show", "last"]).await?;
            let all = shown["compensations"].as_array().cloned().unwrap_or_default();
            Ok((!all.is_empty() && all.iter().all(|one| one["status"] == "done")).then_some(shown))
        })
        .await
        .unwrap()
    }

    /// The table's indexes, each with whether it is valid.
    pub(crate) async fn indexes(&self, table: &str) -> Vec<(String, bool)> {
        let mut connection = self.database.connect().await.unwrap();
        sqlx::query_as(
            "select c.relname::text, i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid join pg_class t on t.oid = i.indrelid \
             where t.relname = $1 and not i.indisprimary order by 1",
        )
        .bind(table)
        .fetch_all(&mut connection)
        .await
        .unwrap()
    }

    /// Waits until a build waits for somebody.
    pub(crate) async fn waits(&self) {
        eventually(SOON, "the build to wait", async || {
            let mut connection = self.database.connect().await?;
            let phase: Option<String> =
                sqlx::query_scalar("select phase from pg_stat_progress_create_index where datname = current_database() and phase like 'waiting%'")
                    .fetch_optional(&mut connection)
                    .await?;
            Ok(phase)
        })
        .await
        .unwrap();
    }
}

const ORDERS: &str = "create table orders (id bigint primary key, customer_id bigint, total numeric, \"Status\" text, email text); \
     insert into orders select g, g % 100, g, case when g % 3 = 0 then 'open' else 'Done' end, 'e' || g % 500 from generate_series(1, 5000) g; \
     analyze orders";

#[tokio::test]
async fn an_index_is_built_and_an_equal_one_is_enough() {
    for version in [PostgresVersion::V16, PostgresVersion::V18] {
        let world = World::of(version, ORDERS).await;
        let wanted = json!({ "table": "orders", "columns": ["customer_id", "total DESC"], "include": ["Status"], "predicate": "\"Status\" = 'open'" });
        let (_, plan) = world.run("postgres-index-create", wanted.clone(), &["--plan"]).await;
        assert_eq!(
            plan["report"]["summary"],
            "would build orders_customer_id_total_idx on public.orders (about 5,000 rows, 328.0 KiB)",
            "{plan:#}"
        );
        assert!(world.indexes("orders").await.is_empty(), "a plan builds nothing");
        let report = world.report("postgres-index-create", wanted.clone()).await;
        assert_eq!((&report["data"]["done"], &report["status"]), (&json!("built"), &json!("ok")), "{report:#}");
        assert_eq!(world.indexes("orders").await, [("orders_customer_id_total_idx".to_owned(), true)]);
        let mut again = wanted;
        again["name"] = json!("another_name");
        let report = world.report("postgres-index-create", again).await;
        assert_eq!(report["data"]["done"], "already_there", "{report:#}");
        assert_eq!(world.indexes("orders").await.len(), 1);
        // Of an expression; and what looks the same and is not.
        for columns in [json!(["lower(email)"]), json!(["lower(email) DESC"]), json!(["email"])] {
            let report = world.report("postgres-index-create", json!({ "table": "orders", "columns": columns })).await;
            assert_eq!(report["data"]["done"], "built", "{report:#}");
        }
        let report =
            world.report("postgres-index-create", json!({ "table": "orders", "columns": ["(lower( EMAIL ))"] })).await;
        assert_eq!(report["data"]["done"], "already_there", "however it is written: {report:#}");
    }
}

#[tokio::test]
async fn odd_names_and_schemas_are_quoted_and_only_one_statement_is_run() {
    let world = World::new(
        &format!("{ORDERS}; create schema \"Odd S\"; create table \"Odd S\".\"T ;1\" (\"Name \"\"X\" text)")
            .replace(";1", "%1"),
    )
    .await;
    let odd = json!({ "table": "T %1", "columns": ["Name \"X"], "name": "My \"Index\"; drop table orders" });
    let report = world.report("postgres-index-create", odd).await;
    assert_eq!(report["data"]["table"], "\"Odd S\".\"T %1\"", "{report:#}");
    assert_eq!(world.indexes("T %1").await, [("My \"Index\"; drop table orders".to_owned(), true)]);
    for (columns, predicate) in [
        (json!(["id"]), "true); drop table orders; --"),
        (json!(["(id)) ; drop table orders; --("]), "true"),
        (json!(["id"]), "true) or (true"),
        (json!(["id"]), "note = 'x"),
        (json!(["id"]), "true /* "),
        (json!(["(id) /* "]), "true"),
    ] {
        let wanted = json!({ "table": "orders", "columns": columns, "predicate": predicate });
        let (status, answer) = world.run("postgres-index-create", wanted, &[]).await;
        assert_ne!(status, Some(0), "{answer:#}");
        assert_eq!(answer["effects"], json!([]), "before anything is sent: {answer:#}");
    }
    assert!(world.indexes("orders").await.is_empty());
    let mut connection = world.database.connect().await.unwrap();
    let rows: i64 = sqlx::query_scalar("select count(*) from orders").fetch_one(&mut connection).await.unwrap();
    assert_eq!(rows, 5000);
}

#[tokio::test]
async fn an_invalid_index_is_no_success_and_is_replaced_when_asked() {
    let world = World::new(ORDERS).await;
    // What a unique build on duplicates leaves, and what IF NOT EXISTS makes of it.
    assert!(world.database.execute("create unique index concurrently by_email on orders (email)").await.is_err());
    world.database.execute("create index concurrently if not exists by_email on orders (email)").await.unwrap();
    assert_eq!(world.indexes("orders").await, [("by_email".to_owned(), false)], "the statement's success");
    let mut wanted = json!({ "table": "orders", "columns": ["email"], "name": "by_email" });
    let answer = world.fails("postgres-index-create", wanted.clone(), "INVALID").await;
    assert!(answer["error"]["hint"].as_str().unwrap().contains("replace_invalid"), "{answer:#}");
    assert_eq!(
        (answer["effects"].as_array().unwrap().len(), answer["report"]["status"].as_str()),
        (0, Some("critical"))
    );
    wanted["replace_invalid"] = json!(true);
    let report = world.report("postgres-index-create", wanted).await;
    assert_eq!(
        (&report["data"]["done"], &report["data"]["removed"]),
        (&json!("built"), &json!(["public.by_email"])),
        "{report:#}"
    );
    assert_eq!(world.indexes("orders").await, [("by_email".to_owned(), true)]);
}

#[tokio::test]
async fn duplicates_are_counted_before_a_unique_index_is_begun() {
    let world = World::new(ORDERS).await;
    let answer = world
        .fails(
            "postgres-index-create",
            json!({ "table": "orders", "columns": ["email"], "unique": true }),
            "500 keys occur more than once",
        )
        .await;
    assert_eq!(answer["report"]["data"]["duplicates"]["rows"], 4500, "{answer:#}");
    assert_eq!(answer["report"]["data"]["duplicates"]["shown"].as_array().unwrap().len(), 10);
    assert_eq!(answer["effects"], json!([]), "nothing was begun");
    assert!(world.indexes("orders").await.is_empty());
    let unique = json!({ "table": "orders", "columns": ["email", "id"], "unique": true });
    assert_eq!(world.report("postgres-index-create", unique).await["data"]["done"], "built");
}

#[tokio::test]
async fn an_old_transaction_is_named_and_waited_for_only_when_asked() {
    let world = World::new(ORDERS).await;
    let mut holder = world.database.connect().await.unwrap();
    read_orders(&mut holder).await;
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut holder).await.unwrap();
    let mut wanted = json!({ "table": "orders", "columns": ["total"], "holder_seconds": 0 });
    let answer = world
        .fails("postgres-index-create", wanted.clone(), &format!("pid {pid} (postgres, idle in transaction)"))
        .await;
    assert_eq!(answer["effects"], json!([]), "{answer:#}");
    // The binding's lock_timeout does not cut the wait off; its own deadline does, and nothing is left.
    wanted["wait_for_holders"] = json!(true);
    wanted["budget_seconds"] = json!(2);
    let running = world.rota.start(&world.arguments("postgres-index-create", &wanted)).unwrap();
    world.waits().await;
    // Dropping it waits for the same transaction, as everything that is done concurrently does.
    eventually(SOON, "the build to be cut off", async || Ok(world.building().await.is_empty().then_some(())))
        .await
        .unwrap();
    sqlx::raw_sql("commit").execute(&mut holder).await.unwrap();
    let said = running.end().await.unwrap();
    assert_eq!(said.status, Some(1), "{said:?}");
    let answer = said.json().unwrap();
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("cut off after 2 s") && message.contains(&format!("it last waited for pid {pid}")),
        "{answer:#}"
    );
    let undone = &answer["compensations"][0];
    assert_eq!(undone["status"], "done", "{answer:#}");
    assert!(world.indexes("orders").await.is_empty());
    // Somebody who ends in time is waited for.
    read_orders(&mut holder).await;
    wanted["budget_seconds"] = json!(30);
    let arguments = world.arguments("postgres-index-create", &wanted);
    let running = world.rota.start(&arguments).unwrap();
    world.waits().await;
    sqlx::raw_sql("commit").execute(&mut holder).await.unwrap();
    let said = running.end().await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    assert_eq!(world.indexes("orders").await, [("orders_total_idx".to_owned(), true)]);
}

#[tokio::test]
async fn a_cancelled_build_leaves_no_index_and_touches_no_other() {
    let world = World::new(ORDERS).await;
    assert!(world.database.execute("create unique index concurrently theirs on orders (email)").await.is_err());
    let (mut holder, running) = world.held_build().await;
    assert_eq!(world.indexes("orders").await.len(), 2, "INVALID while it waits");
    running.signal(Signal::INT).unwrap();
    // Dropping it waits for the same transaction, as everything that is done concurrently does.
    eventually(SOON, "the build to end", async || Ok(world.building().await.is_empty().then_some(()))).await.unwrap();
    sqlx::raw_sql("commit").execute(&mut holder).await.unwrap();
    let said = running.end().await.unwrap();
    assert_eq!(said.status, Some(130), "{said:?}");
    assert_eq!(world.indexes("orders").await, [("theirs".to_owned(), false)], "{said:?}");
}

#[tokio::test]
async fn a_killed_host_is_followed_by_one_that_drops_what_it_left() {
    let world = World::new(ORDERS).await;
    let (mut holder, running) = world.held_build().await;
    running.signal(Signal::KILL).unwrap();
    running.end().await.unwrap();
    // The backend finds out by itself that nobody listens any more.
    eventually(SOON, "the backend to end", async || Ok(world.building().await.is_empty().then_some(()))).await.unwrap();
    sqlx::raw_sql("commit").execute(&mut holder).await.unwrap();
    assert_eq!(world.indexes("orders").await, [("orders_total_idx".to_owned(), false)], "what the killed host left");
    let last = world.undone_by_another().await;
    assert_eq!(world.indexes("orders").await, [], "{last:#}");
}

#[tokio::test]
async fn what_cannot_be_indexed_is_refused_with_what_to_do() {
    let world = World::new(
        "create table parted (id int) partition by range (id); create view shown as select 1 as id; create table a_b (id int); create schema s; create table s.a_b (id int)",
    )
    .await;
    for (table, column, says) in [
        ("parted", "id", "ATTACH PARTITION"),
        ("shown", "id", "is a view"),
        ("nowhere", "id", "there is no table"),
        ("a_b", "id", "could be public.a_b or s.a_b"),
        ("s.a_b", "idd", "no such column"),
    ] {
        world.fails("postgres-index-create", json!({ "table": table, "columns": [column] }), says).await;
    }
    let (role, password) = world.database.server().fresh_role("nobody", "").await.unwrap();
    let bind = format!("database={}", world.database.url_as(&role, &password));
    let arguments = ["--bind", &bind, "--grant", "declared", "-p", "table=s.a_b", "-p", "columns=[\"id\"]"];
    let (status, answer) = run(&world.rota, "postgres-index-create", &arguments).await;
    assert_eq!(status, Some(1), "{answer:#}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("does not own it"), "{answer:#}");
    let (status, answer) = run(
        &world.rota,
        "postgres-index-create",
        &["--bind", &format!("database={}", world.database.url()), "-p", "table=s.a_b", "-p", "columns=[\"id\"]"],
    )
    .await;
    assert_eq!(status, Some(3), "without its grant it is denied: {answer:#}");
}

/// Begins a transaction that has read the table and keeps what it saw: everything that is done concurrently waits for it.
async fn read_orders(holder: &mut PgConnection) {
    sqlx::raw_sql("begin isolation level repeatable read; select count(*) from orders").execute(holder).await.unwrap();
}

impl World {
    /// Such a transaction, and a build that waits for it.
    async fn held_build(&self) -> (PgConnection, Running) {
        let mut holder = self.database.connect().await.unwrap();
        read_orders(&mut holder).await;
        let wanted = json!({ "table": "orders", "columns": ["total"] });
        let running = self.rota.start(&self.arguments("postgres-index-create", &wanted)).unwrap();
        self.waits().await;
        (holder, running)
    }

    /// Backends that build an index now.
    async fn building(&self) -> Vec<i32> {
        let mut connection = self.database.connect().await.unwrap();
        sqlx::query_scalar("select pid from pg_stat_progress_create_index where datname = current_database()")
            .fetch_all(&mut connection)
            .await
            .unwrap()
    }
}

/// An ALTER TABLE under way on one table says nothing of the others.
#[tokio::test]
async fn a_table_that_is_locked_exclusively_is_told_and_the_rest_is_looked_at() {
    let world = World::new(&format!(
        "{ORDERS}; create table busy (id int primary key); create table bystander (id int); create table other (id bigint references orders (id)); analyze"
    ))
    .await;
    assert!(world.database.execute("create unique index concurrently broken on orders (email)").await.is_err());
    let mut holder = world.database.connect().await.unwrap();
    sqlx::raw_sql("set application_name = 'a migration'; begin; lock table busy").execute(&mut holder).await.unwrap();
    // Whoever waits for such a lock has everybody behind it wait, too.
    let mut reader = world.database.connect().await.unwrap();
    sqlx::raw_sql("begin; select from bystander").execute(&mut reader).await.unwrap();
    let mut waiter = world.database.connect().await.unwrap();
    let waiting =
        tokio::spawn(async move { sqlx::raw_sql("begin; lock table bystander").execute(&mut waiter).await.map(drop) });
    rota_testbed::eventually(std::time::Duration::from_secs(20), "the lock to be waited for", async || {
        let mut connection = world.database.connect().await?;
        let waits: i64 = sqlx::query_scalar(
            "select count(*) from pg_locks where relation = 'bystander'::regclass and mode = 'AccessExclusiveLock' and not granted",
        )
        .fetch_one(&mut connection)
        .await?;
        Ok((waits == 1).then_some(()))
    })
    .await
    .unwrap();
    let began = std::time::Instant::now();
    let report = world.report("postgres-index-advice", json!({})).await;
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "it waited for them: {:?}", began.elapsed());
    let names: Vec<&str> =
        report["data"]["locked"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["public.busy", "public.bystander"], "{report:#}");
    let who = report["data"]["locked"][0]["who"].as_str().unwrap();
    assert!(who.contains("a migration"), "{who}");
    assert!(report["data"]["locked"][1]["who"].as_str().unwrap().contains("waits for it"), "{report:#}");
    assert_ne!(report["status"], "ok", "{report:#}");
    assert_eq!(report["data"]["invalid"][0]["name"], "broken", "the rest is looked at: {report:#}");
    drop((holder, reader));
    let _ = waiting.await;
}

/// What the runbook's query says of a table without any index is nothing; what its other query says of statistics of a minute is wrong.
#[tokio::test]
async fn advice_names_what_is_missing_and_superfluous_and_its_remedies_work() {
    for version in [PostgresVersion::V16, PostgresVersion::V18] {
        let world = World::of(
            version,
            &format!(
                "{ORDERS}; create table bare as select g as id, g % 7 as n from generate_series(1, 20000) g; \
                 create table \"Lines\" (id int, \"Order\" bigint references orders (id)); insert into \"Lines\" select g, g % 5000 + 1 from generate_series(1, 12000) g; \
                 create index by_customer on orders (customer_id); create index by_customer_total on orders (customer_id, total); create index again on orders (customer_id, total); analyze"
            ),
        )
        .await;
        assert!(world.database.execute("create unique index concurrently broken on orders (email)").await.is_err());
        let mut connection = world.database.connect().await.unwrap();
        for _ in 0..60 {
            let _: i64 =
                sqlx::query_scalar("select count(*) from bare where n = 3").fetch_one(&mut connection).await.unwrap();
        }
        sqlx::raw_sql("select pg_stat_force_next_flush()").execute(&mut connection).await.unwrap();
        let unseen: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_user_tables where seq_scan > idx_scan and relname = 'bare'",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert_eq!(unseen, 0, "the runbook's query does not see it");

        let young = world.report("postgres-index-advice", json!({})).await;
        assert_eq!(
            (&young["data"]["old_enough"], &young["data"]["unused"], &young["data"]["scanned"]),
            (&json!(false), &json!([]), &json!([])),
            "{young:#}"
        );
        let report = world
            .report("postgres-index-advice", json!({ "min_days": 0, "min_days_to_drop": 0, "min_index_bytes": 0 }))
            .await;
        let data = &report["data"];
        assert_eq!(
            (data["scanned"][0]["table"].as_str(), &data["scanned"][0]["index_scans"]),
            (Some("public.bare"), &Value::Null),
            "{report:#}"
        );
        assert_eq!(data["foreign_keys"][0]["columns"], json!(["\"Order\""]), "{report:#}");
        let mut superfluous: Vec<(&str, bool)> = data["superfluous"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["index"]["name"].as_str().unwrap(), one["equal"] == true))
            .collect();
        superfluous.sort_unstable();
        assert_eq!(superfluous, [("again", true), ("by_customer", false)], "{report:#}");
        assert_eq!(data["invalid"][0]["name"], "broken", "{report:#}");
        let unused: Vec<&str> =
            data["unused"].as_array().unwrap().iter().map(|one| one["index"]["name"].as_str().unwrap()).collect();
        assert_eq!(unused, ["by_customer_total"], "no primary key: {report:#}");
        // The remedy of the foreign key, as it stands.
        let remedy = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| &finding["remedy"])
            .find(|remedy| remedy["plugin"] == "postgres-index-create")
            .unwrap();
        assert_eq!(world.report("postgres-index-create", remedy["parameters"].clone()).await["data"]["done"], "built");
        let report = world.report("postgres-index-advice", json!({ "min_days": 0, "min_index_bytes": 0 })).await;
        assert_eq!(report["data"]["foreign_keys"], json!([]), "{report:#}");
        let unused = report["data"]["unused"].as_array().unwrap();
        assert!(
            unused.iter().all(|one| one["index"]["name"] != "Lines_Order_idx"),
            "it is the only one under a foreign key: {report:#}"
        );
        // Dropped and brought back by what the report has.
        let definition = data["superfluous"][0]["index"]["definition"].as_str().unwrap();
        let name = data["superfluous"][0]["index"]["quoted"].as_str().unwrap();
        world.database.execute(&format!("drop index concurrently {name}")).await.unwrap();
        world.database.execute(definition).await.unwrap();
    }
}
