//! pgvector: what its indexes are, building, searching, rebuilding.

use crate::indexes::{SOON, World};
use rota_testbed::{PostgresVersion, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

/// 3000 documents of 3 dimensions in a table with an odd name, and one with a plain one.
const DOCUMENTS: &str = "create schema \"Odd S\"; create table \"Odd S\".\"Doc s\" (id bigint primary key, \"Vec X\" vector(3), tenant text, created timestamptz); \
     insert into \"Odd S\".\"Doc s\" select g, array[sin(g), cos(g * 0.7), sin(g * 1.3)]::vector, case when g % 10 = 0 then 'a' else 'b' end, \
       '2026-01-01'::timestamptz + g * interval '1 minute' from generate_series(1, 3000) g; analyze";

#[tokio::test]
async fn status_follows_object_ids_and_advises_lists() {
    for version in [PostgresVersion::V16, PostgresVersion::V18] {
        let world = World::of(version, &format!("{DOCUMENTS}; create table plain (v vector(3)); insert into plain select '[1,2,3]' from generate_series(1, 200); analyze plain")).await;
        world.database.execute("create index \"IVF x\" on \"Odd S\".\"Doc s\" using ivfflat (\"Vec X\" vector_cosine_ops) with (lists = 50)").await.unwrap();
        let report = world.report("pgvector-index-status", json!({ "min_rows": 100 })).await;
        let seen = &report["data"]["indexes"][0];
        assert_eq!(
            (&seen["index"]["quoted"], &seen["lists"], &seen["advised_lists"], &seen["dimensions"], &seen["rows"]),
            (&json!("\"Odd S\".\"IVF x\""), &json!(50), &json!(3), &json!(3), &json!(3000)),
            "{report:#}"
        );
        let remedies: Vec<&Value> =
            report["findings"].as_array().unwrap().iter().map(|finding| &finding["remedy"]["plugin"]).collect();
        assert_eq!(remedies, ["pgvector-reindex", "pgvector-index-create"], "{report:#}");
        // The remedies work as they stand.
        for finding in report["findings"].as_array().unwrap() {
            let done = world
                .report(finding["remedy"]["plugin"].as_str().unwrap(), finding["remedy"]["parameters"].clone())
                .await;
            assert!(["rebuilt", "built"].contains(&done["data"]["done"].as_str().unwrap()), "{done:#}");
        }
        let report = world.report("pgvector-index-status", json!({ "min_rows": 100 })).await;
        assert_eq!(report["status"], "ok", "{report:#}");
    }
}

#[tokio::test]
async fn an_invalid_index_is_critical_and_its_remedy_mends_it() {
    let world = World::new(DOCUMENTS).await;
    world.cut("create index concurrently broken on \"Odd S\".\"Doc s\" using hnsw (\"Vec X\" vector_l2_ops)").await;
    let report = world.report("pgvector-index-status", json!({})).await;
    assert_eq!(report["status"], "critical", "{report:#}");
    let remedy = &report["findings"][0]["remedy"];
    assert_eq!(remedy["plugin"], "pgvector-reindex", "{report:#}");
    let done = world.report("pgvector-reindex", remedy["parameters"].clone()).await;
    assert!(done["summary"].as_str().unwrap().contains("which was INVALID"), "{done:#}");
    assert_eq!(world.indexes("Doc s").await, [("broken".to_owned(), true)]);
}

#[tokio::test]
async fn creating_chooses_what_fits_and_refuses_what_does_not() {
    let world = World::new(&format!(
        "{DOCUMENTS}; create table empty (v vector(3)); create table wide (id int, v vector(2500)); insert into wide select g, array_fill(g::real, array[2500])::vector from generate_series(1, 20) g; analyze"
    ))
    .await;
    world
        .fails(
            "pgvector-index-create",
            json!({ "table": "empty", "column": "v", "method": "ivfflat" }),
            "0 vectors are too few",
        )
        .await;
    let report = world
        .report(
            "pgvector-index-create",
            json!({ "table": "Doc s", "column": "Vec X", "method": "ivfflat", "metric": "l2" }),
        )
        .await;
    assert_eq!(
        (&report["data"]["chosen"]["lists"], &report["data"]["chosen"]["probes"]),
        (&json!(3), &json!(2)),
        "{report:#}"
    );
    // By another metric it is another index; by the same it is there.
    for (metric, done) in [("cosine", "built"), ("l2", "already_there")] {
        let report = world
            .report(
                "pgvector-index-create",
                json!({ "table": "Doc s", "column": "Vec X", "method": "ivfflat", "metric": metric }),
            )
            .await;
        assert_eq!(report["data"]["done"], done, "{metric}: {report:#}");
    }
    let report = world.report("pgvector-index-create", json!({ "table": "wide", "column": "v" })).await;
    assert!(report["data"]["index"]["definition"].as_str().unwrap().contains("halfvec(2500)"), "{report:#}");
    // pgvector would refuse: said before, with the amount.
    let refused = json!({ "table": "Doc s", "column": "Vec X", "method": "ivfflat", "metric": "inner-product", "lists": 500, "maintenance_work_mem": "1MB" });
    world.fails("pgvector-index-create", refused, "maintenance_work_mem=8MB").await;
    // A graph that does not fit is a warning, before and after.
    let tight = json!({ "table": "Doc s", "column": "Vec X", "maintenance_work_mem": "1MB" });
    let report = world.report("pgvector-index-create", tight).await;
    let titles = report["findings"].to_string();
    assert!(
        titles.contains("its graph needs about") && titles.contains("did not fit into maintenance_work_mem after"),
        "{report:#}"
    );
    assert_eq!(
        (&report["status"], world.indexes("Doc s").await.iter().filter(|(_, valid)| !valid).count()),
        (&json!("warning"), 0)
    );
}

#[tokio::test]
async fn the_runbooks_script_never_works() {
    let world = World::new(DOCUMENTS).await;
    let script = "drop index if exists x; create index concurrently x on \"Odd S\".\"Doc s\" using ivfflat (\"Vec X\" vector_cosine_ops) with (lists = 200)";
    let error = format!("{:#}", world.database.execute(script).await.unwrap_err());
    assert!(error.contains("cannot run inside a transaction block"), "{error}");
}

/// The figure: of all plans made while the index is rebuilt, how many use it.
#[tokio::test]
async fn searches_use_an_index_all_the_time_while_it_is_rebuilt() {
    let world = World::new(&format!("{DOCUMENTS}; insert into \"Odd S\".\"Doc s\" select g, array[sin(g), cos(g * 0.7), sin(g * 1.3)]::vector, 'b', now() from generate_series(3001, 30000) g; analyze")).await;
    world.database.execute("create index by_v on \"Odd S\".\"Doc s\" using hnsw (\"Vec X\" vector_l2_ops) with (m = 8, ef_construction = 32)").await.unwrap();
    let running = world.rota.start(&world.arguments("pgvector-reindex", &json!({ "index": "by_v", "m": 16 }))).unwrap();
    let mut client = world.database.connect().await.unwrap();
    let (mut with, mut without, mut during) = (0_u32, 0_u32, 0_u32);
    loop {
        let plan: Vec<String> = sqlx::query_scalar(
            "explain select id from \"Odd S\".\"Doc s\" order by \"Vec X\" <-> '[0.1,0.2,0.3]' limit 5",
        )
        .fetch_all(&mut client)
        .await
        .unwrap();
        if plan.iter().any(|line| line.contains("Index Scan using by_v")) {
            with += 1
        } else {
            without += 1
        }
        let (building, m): (bool, Option<String>) = sqlx::query_as(
            "select exists (select from pg_stat_progress_create_index where datname = current_database()), \
                    (select c.reloptions::text from pg_class c join pg_index i on i.indexrelid = c.oid where c.relname = 'by_v' and i.indisvalid and c.relfilenode > 0 \
                       and not exists (select from pg_class o where o.relname in ('by_v_ccnew', 'by_v_ccold')))",
        )
        .fetch_one(&mut client)
        .await
        .unwrap();
        during += u32::from(building);
        if !building && during > 0 && m.is_some_and(|options| options.contains("m=16")) {
            break;
        }
    }
    let said = running.end().await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    println!("{with} plans used the index, {without} did not; {during} of them were made while it was rebuilt");
    assert!(during > 20 && without == 0, "{with} with, {without} without, {during} during");
    let answer = said.json().unwrap();
    assert_eq!(answer["report"]["data"]["done"], "rebuilt", "{answer:#}");
    assert_eq!(world.indexes("Doc s").await, [("by_v".to_owned(), true)]);
}

#[tokio::test]
async fn a_rebuild_that_is_cut_off_leaves_the_index_as_it_was() {
    for signal in [None, Some(Signal::INT), Some(Signal::KILL)] {
        let world = World::new(DOCUMENTS).await;
        world
            .database
            .execute(
                "create index by_v on \"Odd S\".\"Doc s\" using ivfflat (\"Vec X\" vector_l2_ops) with (lists = 50)",
            )
            .await
            .unwrap();
        // Somebody else's, which stays.
        world.cut("reindex index concurrently \"Odd S\".by_v").await;
        assert_eq!(world.indexes("Doc s").await, [("by_v".to_owned(), true), ("by_v_ccnew".to_owned(), false)]);
        let mut holder = world.database.connect().await.unwrap();
        sqlx::raw_sql("begin isolation level repeatable read; select count(*) from pg_catalog.pg_class")
            .execute(&mut holder)
            .await
            .unwrap();
        let budget = if signal.is_none() { 2 } else { 60 };
        let running = world
            .rota
            .start(&world.arguments("pgvector-reindex", &json!({ "index": "by_v", "budget_seconds": budget })))
            .unwrap();
        world.waits().await;
        if let Some(signal) = signal {
            running.signal(signal).unwrap();
        }
        eventually(SOON, "the rebuild to end", async || {
            let mut connection = world.database.connect().await?;
            let building: bool = sqlx::query_scalar(
                "select exists (select from pg_stat_progress_create_index where datname = current_database())",
            )
            .fetch_one(&mut connection)
            .await?;
            Ok((!building).then_some(()))
        })
        .await
        .unwrap();
        sqlx::raw_sql("commit").execute(&mut holder).await.unwrap();
        let said = running.end().await.unwrap();
        assert_ne!(said.status, Some(0), "{said:?}");
        if signal == Some(Signal::KILL) {
            world.undone_by_another().await
        } else {
            world.undone().await
        };
        assert_eq!(
            world.indexes("Doc s").await,
            [("by_v".to_owned(), true), ("by_v_ccnew".to_owned(), false)],
            "{signal:?}: {said:?}"
        );
        let mut connection = world.database.connect().await.unwrap();
        let options: String = sqlx::query_scalar("select reloptions::text from pg_class where relname = 'by_v'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(options, "{lists=50}", "{signal:?}: put back");
    }
}

impl World {
    /// Runs a concurrent statement that is cancelled while it waits: what it leaves is INVALID.
    async fn cut(&self, statement: &str) {
        let mut holder = self.database.connect().await.unwrap();
        sqlx::raw_sql("begin isolation level repeatable read; select count(*) from \"Odd S\".\"Doc s\"")
            .execute(&mut holder)
            .await
            .unwrap();
        let mut builder = self.database.connect().await.unwrap();
        sqlx::raw_sql("set statement_timeout = '1s'").execute(&mut builder).await.unwrap();
        assert!(
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut builder).await.is_err(),
            "it is cut off"
        );
        sqlx::raw_sql("rollback").execute(&mut holder).await.unwrap();
    }
}

#[tokio::test]
async fn a_search_says_by_which_plan_and_what_it_missed() {
    for version in [PostgresVersion::V16, PostgresVersion::V18] {
        let world = World::of(version, DOCUMENTS).await;
        let base =
            json!({ "table": "Doc s", "column": "Vec X", "vector": [0.1, 0.2, 0.3], "metric": "l2", "limit": 5 });
        let with = |more: Value| {
            let mut all = base.clone();
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        let exact = world.report("pgvector-search", base.clone()).await["data"].clone();
        assert_eq!(
            (&exact["exact"], &exact["node"], &exact["recall"]),
            (&json!(true), &json!("Seq Scan"), &Value::Null),
            "{exact:#}"
        );
        // The same as an independent query's.
        let mut connection = world.database.connect().await.unwrap();
        let truth: Vec<String> = sqlx::query_scalar(
            "select id::text from \"Odd S\".\"Doc s\" order by \"Vec X\" <-> '[0.1,0.2,0.3]' limit 5",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let ids = |data: &Value| -> Vec<String> {
            data["hits"].as_array().unwrap().iter().map(|hit| hit["values"][0].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(ids(&exact), truth);
        world
            .database
            .execute("create index by_v on \"Odd S\".\"Doc s\" using hnsw (\"Vec X\" vector_l2_ops)")
            .await
            .unwrap();
        let found = world.report("pgvector-search", base.clone()).await["data"].clone();
        assert_eq!(
            (&found["index"], &found["node"], &found["settings"]),
            (&json!("by_v"), &json!("Index Scan"), &json!(["hnsw.ef_search=40"])),
            "{found:#}"
        );
        assert!(found["recall"].as_f64().unwrap() > 0.8 && found["recall_samples"] == 3, "{found:#}");
        // By another metric the index serves nothing.
        let other = world.report("pgvector-search", with(json!({ "metric": "cosine" }))).await["data"].clone();
        assert_eq!(other["exact"], true, "{other:#}");
        // Filters are typed and bound; what looks like SQL is a value.
        let filters = json!([{ "column": "tenant", "operator": "equal", "value": "a" }, { "column": "created", "operator": "at-least", "value": "2026-01-01T10:00:00Z" },
            { "column": "id", "operator": "in", "value": [700, 1000, 1010, 1020, 5] }]);
        let filtered = world
            .report("pgvector-search", with(json!({ "filters": filters, "columns": ["id", "tenant"] })))
            .await["data"]
            .clone();
        let mut found = ids(&filtered);
        found.sort();
        assert_eq!(
            (found, &filtered["truncated"]),
            (["1000", "1010", "1020", "700"].map(str::to_owned).to_vec(), &json!(false)),
            "{filtered:#}"
        );
        let evil = json!([{ "column": "tenant", "operator": "equal", "value": "a' or true; drop table x; --" }]);
        let none = world.report("pgvector-search", with(json!({ "filters": evil }))).await["data"].clone();
        assert_eq!((&none["hits"], &none["truncated"]), (&json!([]), &json!(false)), "{none:#}");
        for (more, says) in [
            (json!({ "vector": [0.1, 0.2] }), "2 numbers"),
            (json!({ "vector": [0.1, 0.2, 1e39] }), "number 3"),
            (json!({ "filters": [{ "column": "id) or (true", "operator": "equal", "value": 1 }] }), "no column"),
            (json!({ "filters": [{ "column": "id", "operator": "equal", "value": "x" }] }), "22P02"),
        ] {
            world.fails("pgvector-search", with(more), says).await;
        }
        let (status, answer) = world.run("pgvector-search", with(json!({ "vector": "[0.1,NaN,0.3]" })), &[]).await;
        assert_ne!(status, Some(0), "NaN is no JSON: {answer:#}");
    }
}

#[tokio::test]
async fn a_bad_index_and_a_filter_that_starves_it_are_said() {
    let world = World::new(DOCUMENTS).await;
    world
        .database
        .execute("create index by_v on \"Odd S\".\"Doc s\" using ivfflat (\"Vec X\" vector_l2_ops) with (lists = 300)")
        .await
        .unwrap();
    let few = json!({ "table": "Doc s", "column": "Vec X", "vector": [0.1, 0.2, 0.3], "metric": "l2", "limit": 50, "probes": 1, "recall_samples": 5 });
    let report = world.report("pgvector-search", few.clone()).await;
    let recall = report["data"]["recall"].as_f64().unwrap();
    assert!(recall < 0.9 && report["data"]["truncated"] == true, "{report:#}");
    let titles = report["findings"].to_string();
    assert!(
        titles.contains("of the true neighbours were found") && titles.contains("fewer were found than there are"),
        "{report:#}"
    );
    let mut enough = few;
    enough["probes"] = json!(300);
    let report = world.report("pgvector-search", enough).await;
    // All lists, or all rows where the planner finds that cheaper.
    assert!(report["data"]["recall"] == 1.0 || report["data"]["exact"] == true, "{report:#}");
    assert_eq!(report["data"]["truncated"], false, "{report:#}");
}
