//! `rota plugin test`: cases of the probe and of new plugins, what passes, and how what does not is shown.

use super::{author, edit, new, printed, refused, said};
use crate::rota;
use rota_testbed::Postgres;
use rota_tests::probe;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

fn file(name: &str) -> String {
    format!("{}/../../tests/e2e/suites/authors/cases/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The cases of an answer that have failed.
fn failed(answer: &Value) -> Vec<&Value> {
    answer["cases"].as_array().unwrap().iter().filter(|case| case["passed"] == false).collect()
}

#[tokio::test]
async fn everything_that_a_case_can_say_holds_on_the_probe() {
    let rota = rota();
    let start = Instant::now();
    let (probe, good) = (probe::path().display().to_string(), file("good.toml"));
    let answer = printed(&rota, "plugin_test", &["plugin", "test", &probe, "--cases", &good], 0).await;
    assert_eq!(failed(&answer), Vec::<&Value>::new(), "{answer:#}");
    let text = std::fs::read_to_string(&good).unwrap();
    assert_eq!(answer["passed"], text.matches("[[case]]").count(), "{answer}");
    eprintln!("{} cases in {:?}", answer["passed"], start.elapsed());
    // One by a part of its name, and by that of its file.
    let one = printed(&rota, "plugin_test", &["plugin", "test", &probe, "SQLSTATE", "--cases", &good], 0).await;
    assert_eq!((&one["passed"], one["filtered"].as_u64().unwrap() > 20), (&json!(1), true), "{one}");
    assert_eq!(one["unused_accesses"], json!([]), "what was not run says nothing of accesses");
    let human = said(&rota, &["plugin", "test", &probe, "SQLSTATE", "--cases", &good, "--output", "human"], 0).await;
    for part in [
        "running 1 case of probe 0.1.0",
        "test a statement fails with its SQLSTATE ... ok",
        "test result: ok. 1 passed; 0 failed;",
    ] {
        assert!(human.stdout.contains(part), "{part}: {human:?}");
    }
}

#[tokio::test]
async fn each_difference_is_shown_and_counts_as_a_failure() {
    let rota = rota();
    let (probe, bad) = (probe::path().display().to_string(), file("bad.toml"));
    let junit = rota.path("work/results.xml");
    let arguments = ["plugin", "test", &probe, "--cases", &bad, "--junit", junit.to_str().unwrap()];
    let answer = printed(&rota, "plugin_test", &arguments, 1).await;
    let text = std::fs::read_to_string(&bad).unwrap();
    assert_eq!((&answer["passed"], &answer["failed"]), (&json!(0), &json!(text.matches("[[case]]").count())));
    for (name, what, how) in [
        (
            "no answer",
            "a call had no answer",
            vec![
                "no answer fits call 2: sql.query on `database`",
                "select a from orders where b = 1",
                "bad.toml:9: query = \"select a from order where b = 1\"",
                "its pattern does not fit",
                "[[case.answers]]",
                "rows = []",
            ],
        ),
        ("another summary and status", "status", vec!["- warning\n+ ok"]),
        ("another summary and status", "summary", vec!["- all done\n+ done"]),
        ("an effect too many", "effects", vec!["+ storage.delete bucket: old.txt: deletes the object"]),
        ("an effect too few", "effects", vec!["- storage.delete bucket: old.txt: *"]),
        ("other data", "data", vec!["- ok.size: 4\n+ ok.size: 3"]),
        ("a failure that did not come", "how it ended", vec!["- failed\n+ succeeded"]),
        ("a denial that nobody expects", "denied", vec!["+ storage.delete needs `delete` on slot `bucket`"]),
        ("an answer that nobody asks for", "an answer that nobody asked for", vec!["bad.toml:", "optional = true"]),
        ("a moment that never comes", "a moment that never came", vec!["cancel_at = \"call 3\"", "0 calls"]),
        ("a delay where nothing waits", "a call had no answer", vec!["answers at once: a case cannot delay it"]),
        ("a compensation by its name alone", "compensations", vec!["- one\n+ one: "]),
        ("it fails", "how it ended", vec!["- succeeded\n+ failed", "not-found: the probe fails as it was told"]),
    ] {
        let case =
            failed(&answer).into_iter().find(|case| case["name"] == name).unwrap_or_else(|| panic!("{name}: {answer}"));
        let wrong = case["wrong"].as_array().unwrap().iter().find(|wrong| wrong["what"] == what);
        let wrong = wrong.unwrap_or_else(|| panic!("{name}: no {what}: {case}"));
        for part in how {
            assert!(wrong["how"].as_str().unwrap().contains(part), "{name}: no `{part}` in {wrong}");
        }
    }
    let xml = std::fs::read_to_string(&junit).unwrap();
    let failures = format!("failures=\"{}\"", answer["failed"]);
    for part in [
        "<?xml version=\"1.0\"",
        "<testsuites name=\"probe\"",
        &failures,
        "<testcase name=\"no answer\"",
        "</testsuites>",
    ] {
        assert!(xml.contains(part), "{part}: {xml}");
    }
    let human = said(&rota, &["plugin", "test", &probe, "too few", "--cases", &bad, "--output", "human"], 1).await;
    for part in [
        "test an effect too few ... FAILED",
        "---- an effect too few",
        "- storage.delete bucket",
        "test result: FAILED. 0 passed; 1 failed",
    ] {
        assert!(human.stdout.contains(part), "{part}: {human:?}");
    }
}

#[tokio::test]
async fn a_filter_that_fits_no_case_is_no_success() {
    let rota = rota();
    let probe = probe::path().display().to_string();
    let cases: String =
        (0..12).map(|n| format!("[[case]]\nname = \"case {n}\"\nparameters = {{ do = \"nothing\" }}\n")).collect();
    std::fs::create_dir_all(rota.path("work/tests")).unwrap();
    std::fs::write(rota.path("work/some.toml"), &cases).unwrap();
    let run = ["plugin", "test", &probe, "csae", "--cases", "some.toml"];
    let told = refused(&rota, &run, 2).await;
    for part in ["none has `csae` in its name", "`case 0`, `case 1`", "`case 9`, and 2 more"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // Nothing is built for it, and without cases there are none to be named.
    let told = refused(&rota, &["plugin", "test", "stale"], 2).await;
    assert!(told.contains("none has `stale` in its name") && told.contains("there are no cases in ./tests"), "{told}");
    // The file's name counts.
    let ran = printed(&rota, "plugin_test", &["plugin", "test", &probe, "some", "--cases", "some.toml"], 0).await;
    assert_eq!(ran["passed"], 12, "{ran}");
}

#[tokio::test]
async fn a_mistake_in_a_file_is_told_with_its_place_before_anything_runs() {
    let rota = rota();
    let probe = probe::path().display().to_string();
    for (text, says) in [
        ("[[case]]\nname = \"a\"\nexpct = {}\n", vec!["mine.toml:3:1:", "did you mean `expect`?", "expct = {}"]),
        (
            "[[case]]\nname = \"a\"\nslots.databse = {}\n",
            vec!["mine.toml:", "no slot `databse`", "did you mean `database`?"],
        ),
        (
            "[[case]]\nname = \"a\"\nslots.database = { access = [\"reed\"] }\n",
            vec!["`reed` is no access of sql", "did you mean `read`?"],
        ),
        (
            "[[case]]\nname = \"a\"\nparameters = { dont = 1 }\n",
            vec!["the parameters of the case `a` are refused", "dont"],
        ),
        (
            "[[case]]\nname = \"a\"\n[[case.answers]]\nquery = \"select 1\"\ncolumns = [\"a:int2\"]\nrows = [[70000]]\n",
            vec!["mine.toml:3:", "column `a` (int2): 70000 is out of"],
        ),
        (
            "[[case]]\nname = \"a\"\ncompensate = { name = \"x\", state = {} }\n[case.expect]\nsummary = \"x\"\n",
            vec!["mine.toml:", "nothing would be held against `summary` here"],
        ),
        (
            "[[case]]\nname = \"a\"\nparameters = { do = \"nothing\" }\n[case.expect]\nslots.bucket.object = { a = \"(gone)\" }\n",
            vec!["mine.toml:", "`object` is not what a slot of storage holds; that is `objects`"],
        ),
        (
            "[[case]]\nname = \"a\"\nslots.bucket = { objects = { \"../x\" = \"\" } }\n",
            vec!["`../x` cannot name an object"],
        ),
        ("[[case]]\nname = \"a\nmode\n", vec!["mine.toml:3:5:"]),
    ] {
        std::fs::write(rota.path("work/mine.toml"), text).unwrap();
        let message = refused(&rota, &["plugin", "test", &probe, "--cases", "mine.toml"], 2).await;
        for part in says {
            assert!(message.contains(part), "{text}: no `{part}` in {message}");
        }
    }
    let message = refused(&rota, &["plugin", "test", &probe, "--cases", "none.toml"], 2).await;
    assert!(message.contains("none.toml") && message.contains("cannot be read"), "{message}");
    assert!(refused(&rota, &["plugin", "test", "no/such/folder"], 2).await.contains("no/such/folder"));
}

#[tokio::test]
async fn a_new_plugin_in_javascript_has_a_case_that_passes_and_can_fail() {
    let mut rota = rota();
    rota.set("PATH", "/nonexistent");
    let start = Instant::now();
    let slots = [
        "--slot",
        "shop:sql:read,write",
        "--slot",
        "files:storage:read",
        "--slot",
        "users:cache:read",
        "--slot",
        "pods:kubernetes:read",
        "--slot",
        "queue:jetstream:read",
    ];
    let made = [&["plugin", "new", "tried-out", "--language", "javascript"], &slots[..]].concat();
    printed(&rota, "plugin_new", &made, 0).await;
    let answer = printed(&rota, "plugin_test", &["plugin", "test", "tried-out"], 0).await;
    eprintln!("from nothing to the first green test: {:?}", start.elapsed());
    assert_eq!((&answer["passed"], &answer["unused_accesses"]), (&json!(3), &json!([])), "{answer:#}");
    // What is asked for and never used is told, unless the author says that it is meant.
    edit(&rota, "tried-out/tests/first.toml", "uncovered = [\"shop: write\"]", "");
    let checked = printed(&rota, "plugin_check", &["plugin", "check", "tried-out"], 0).await;
    let findings = checked["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{checked}");
    assert!(
        findings[0]["rule"] == "access"
            && findings[0]["found"].as_str().unwrap().contains("`write` on the slot `shop`")
    );
    // A procedure that does something else than before is caught.
    edit(
        &rota,
        "tried-out/procedure.js",
        "report.summary(",
        "await slots[\"shop\"].execute(\"delete from orders\"); report.summary(",
    );
    let answer = printed(&rota, "plugin_test", &["plugin", "test", "tried-out"], 1).await;
    let wrong = failed(&answer);
    assert!(wrong.len() >= 2, "{answer:#}");
    assert!(answer.to_string().contains("delete from orders"), "{answer:#}");
    let checked = printed(&rota, "plugin_check", &["plugin", "check", "tried-out"], 1).await;
    assert!(checked["findings"][0]["rule"] == "cases", "{checked}");
}

#[tokio::test]
async fn a_new_plugin_in_rust_has_a_case_that_passes_and_runs_on_a_real_server_too() {
    let rota = author();
    new(
        &rota,
        "tried-in-rust",
        &["database:sql:read,maintain", "bucket:storage:read", "identity:key:decrypt", "pg_dump:tool:run"],
    )
    .await;
    let answer = printed(&rota, "plugin_test", &["plugin", "test", "tried-in-rust"], 0).await;
    assert_eq!((&answer["passed"], &answer["unused_accesses"]), (&json!(3), &json!([])), "{answer:#}");
    new(&rota, "really", &["database:sql:read,maintain"]).await;
    let database = Postgres::shared().await.unwrap().fresh_database("cases_real").await.unwrap();
    database.execute("create table orders as select generate_series(1, 1000) as n").await.unwrap();
    let bind = format!("database={}", database.url());
    let real = ["plugin", "test", "really", "--real", "--bind", &bind, "--grant", "declared"];
    let answer = printed(&rota, "plugin_test", &real, 0).await;
    // The third says itself what is granted.
    assert_eq!((&answer["passed"], &answer["filtered"]), (&json!(2), &json!(1)), "{answer:#}");
    let mut connection = database.connect().await.unwrap();
    let count = "select analyze_count from pg_stat_user_tables where relname = 'orders'";
    let (analysed,): (i64,) = sqlx::query_as(count).fetch_one(&mut connection).await.unwrap();
    assert_eq!(analysed, 1, "the plan of the other case has done nothing");
}

#[tokio::test]
async fn a_recorded_run_becomes_a_case_that_holds_without_its_targets() {
    let rota = rota();
    let slots = ["--slot", "shop:sql:read", "--slot", "files:storage:read", "--slot", "users:cache:read"];
    let made = [&["plugin", "new", "as-it-was", "--language", "javascript"], &slots[..]].concat();
    printed(&rota, "plugin_new", &made, 0).await;
    printed(&rota, "plugin_build", &["plugin", "build", "as-it-was"], 0).await;
    let database = Postgres::shared().await.unwrap().fresh_database("as_it_was").await.unwrap();
    database.execute("create table orders as select generate_series(1, 1000) as n").await.unwrap();
    std::fs::create_dir(rota.path("work/bucket")).unwrap();
    std::fs::write(rota.path("work/bucket/report.csv"), "1").unwrap();
    let cache = rota_testbed::Valkey::start().await.unwrap();
    cache.client().await.unwrap().call(&["SET", "user:1", "ada"]).await.unwrap();
    let binds = [
        format!("shop={}", database.url()),
        format!("files=file://{}", rota.path("work/bucket").display()),
        format!("users={}", cache.url()),
    ];
    let mut run = vec!["run", "as-it-was/as-it-was.wasm", "--record", "-p", "limit=5"];
    for bind in &binds {
        run.extend(["--bind", bind]);
    }
    let answer = printed(&rota, "answer", &run, 0).await;
    let written = said(&rota, &["plugin", "test", "--from-run", "last"], 0).await;
    for part in
        ["[[case]]", "parameters = { limit = 5 }", "public.orders", "report.csv", "[case.expect]", "effects = []"]
    {
        assert!(written.stdout.contains(part), "{part}: {written:?}");
    }
    let password = database.url().split([':', '@']).nth(2).unwrap_or_default().to_owned();
    assert!(password.len() < 4 || !written.stdout.contains(&password), "{written:?}");
    std::fs::write(rota.path("work/as-it-was/tests/that-night.toml"), &written.stdout).unwrap();
    let tested = printed(&rota, "plugin_test", &["plugin", "test", "as-it-was", "that-night"], 0).await;
    assert_eq!(tested["passed"], 1, "{tested:#}\n{}", written.stdout);
    // Another build that finds something else is caught by it.
    edit(&rota, "as-it-was/procedure.js", "return { found };", "return { found: found + 1 };");
    let tested = printed(&rota, "plugin_test", &["plugin", "test", "as-it-was", "that-night"], 1).await;
    let found = answer["report"]["data"]["found"].as_i64().unwrap();
    assert!(tested.to_string().contains(&format!("+ found: {}", found + 1)), "{tested:#}");
    let none = refused(&rota, &["plugin", "test", "--from-run", "no-such-run"], 1).await;
    assert!(none.contains("no-such-run"), "{none}");
}

#[test]
fn the_page_about_cases_holds_cases() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/testing-a-plugin.md")).unwrap();
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 2);
    for block in blocks {
        // A part of a case is put into one.
        let text =
            if block.starts_with("[[case]]") { block.to_owned() } else { format!("[[case]]\nname = \"a\"\n{block}") };
        rota_cases::Suite::of_text(Path::new("testing-a-plugin.md"), text.clone())
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}

/// What cases of procedures in use look like, and that they hold.
#[tokio::test]
async fn first_party_procedures_and_examples_have_cases_that_hold() {
    let rota = rota();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for plugin in ["cache-invalidate", "postgres-vacuum"] {
        let cases = root.join("plugins").join(plugin).join("tests/cases.toml").display().to_string();
        let answer = printed(&rota, "plugin_test", &["plugin", "test", plugin, "--cases", &cases], 0).await;
        assert!(answer["passed"].as_u64().unwrap() >= 4, "{answer:#}");
        assert_eq!(answer["unused_accesses"], json!([]), "{plugin}");
    }
    let example = root.join("examples/plugins/javascript-expired-sessions");
    std::fs::create_dir_all(rota.path("work/expired-sessions/tests")).unwrap();
    for file in ["procedure.js", "README.md", "tests/sessions.toml"] {
        std::fs::copy(example.join(file), rota.path(&format!("work/expired-sessions/{file}"))).unwrap();
    }
    let answer = printed(&rota, "plugin_test", &["plugin", "test", "expired-sessions"], 0).await;
    assert_eq!(answer["passed"], 6, "{answer:#}");
    let checked = printed(&rota, "plugin_check", &["plugin", "check", "expired-sessions"], 0).await;
    assert_eq!(checked["findings"], json!([]), "{checked}");
}
