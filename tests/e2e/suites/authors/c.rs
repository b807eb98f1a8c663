//! Procedures in C: made with clang and this binary.

use super::{
    ALL_SLOTS, analyzes_orders, author, ci, edit, fake, new_in, printed, refused, said, uses_no_more_than_it_needs,
};
use rota_testbed::Postgres;
use rota_tests::Rota;
use serde_json::{Value, json};

async fn new(rota: &Rota, name: &str, slots: &[&str]) {
    new_in(rota, "c", name, slots).await;
}

#[tokio::test]
async fn from_nothing_to_a_plan_and_a_run_on_a_real_server() {
    let rota = author();
    new(&rota, "in-c", &["database:sql:read,maintain", "bucket:storage:read"]).await;
    let heard = ci(&rota, "in-c").await;
    assert!(heard.contains("in-c 0.1.0: nothing to do"), "{heard}");
    assert!(!heard.contains("warning"), "{heard}");
    let built = printed(&rota, "plugin_build", &["plugin", "build", "in-c"], 0).await;
    uses_no_more_than_it_needs(&built);
    assert!(built["size"].as_u64().unwrap() < 100_000, "{built}");
    assert!(built["compiler"].as_str().unwrap().starts_with("clang "), "{built}");

    let database = Postgres::shared().await.unwrap().fresh_database("authors_c").await.unwrap();
    database
        .execute("create table orders with (autovacuum_enabled = off) as select generate_series(1, 1000) as n; create table \"odd \"\" name\" (n int)")
        .await
        .unwrap();
    std::fs::create_dir(rota.path("work/bucket")).unwrap();
    std::fs::write(rota.path("work/bucket/report \"1\".csv"), "1").unwrap();
    let binds =
        [format!("database={}", database.url()), format!("bucket=file://{}", rota.path("work/bucket").display())];
    let run =
        ["run", "in-c/in-c.wasm", "--bind", &binds[0], "--bind", &binds[1], "--grant", "declared", "-p", "limit=1"];
    let planned = printed(&rota, "answer", &[&run[..], &["--plan"]].concat(), 0).await;
    assert_eq!(planned["effects"][0]["detail"], "ANALYZE public.orders", "{planned}");
    assert_eq!(planned["report"]["data"], json!({ "database": ["public.orders"], "bucket": ["report \"1\".csv"] }));
    analyzes_orders(&rota, &database, &run).await;
    // A denial stays one.
    let denied = printed(&rota, "answer", &run[..6], 3).await;
    assert!(denied["error"]["message"].as_str().unwrap().contains("`maintain` on slot `database`"), "{denied}");
}

#[tokio::test]
async fn every_capability_has_a_beginning_that_compiles_without_a_warning() {
    let rota = author();
    new(&rota, "everything", &ALL_SLOTS).await;
    let built = said(&rota, &["plugin", "build", "everything", "--output", "human"], 0).await;
    assert!(!built.stderr.contains("warning"), "{built:?}");
    let checked = printed(&rota, "plugin_check", &["plugin", "check", "everything"], 0).await;
    assert_eq!(checked["findings"], json!([]), "{checked}");
}

#[tokio::test]
async fn the_same_sources_give_the_same_digest_in_another_folder_and_other_ones_another() {
    let mut rota = author();
    new(&rota, "twice", &[]).await;
    let first = printed(&rota, "plugin_build", &["plugin", "build", "twice"], 0).await;
    std::fs::rename(rota.path("work/twice"), rota.path("work/before")).unwrap();
    new(&rota, "twice", &[]).await;
    // Nothing of the outside reaches the bytes.
    let outside = rota.path("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("rota.h"), "#error another one").unwrap();
    rota.set("CPATH", &outside).set("C_INCLUDE_PATH", &outside).set("CFLAGS", "-O0");
    let second = printed(&rota, "plugin_build", &["plugin", "build", "twice"], 0).await;
    assert_eq!(first["digest"], second["digest"]);
    let again = printed(&rota, "plugin_build", &["plugin", "build", "before"], 0).await;
    assert_eq!(first["digest"], again["digest"], "what was compiled before is taken again");
    edit(&rota, "before/procedure.c", "\"limit\"), 20)", "\"limit\"), 21)");
    let third = printed(&rota, "plugin_build", &["plugin", "build", "before"], 0).await;
    assert_ne!(third["digest"], first["digest"]);
    edit(&rota, "before/procedure.c", "#include \"rota.h\"", "#include \"rota.h\"\nconst char *when = __TIME__;");
    let message = refused(&rota, &["plugin", "build", "before"], 1).await;
    assert!(message.contains("procedure.c:5:") && message.contains("date or time"), "{message}");
}

#[tokio::test]
async fn an_error_in_the_source_is_shown_with_its_line() {
    let rota = author();
    new(&rota, "wrong", &[]).await;
    printed(&rota, "plugin_build", &["plugin", "build", "wrong"], 0).await;
    let before = std::fs::read(rota.path("work/wrong/wrong.wasm")).unwrap();
    edit(&rota, "wrong/procedure.c", "size_t count = 0;\n    rota_buffer", "size_t count = 0\n    rota_buffer");
    let source = std::fs::read_to_string(rota.path("work/wrong/procedure.c")).unwrap();
    let line = 1 + source.lines().position(|line| line.ends_with("size_t count = 0")).unwrap();
    let message = refused(&rota, &["plugin", "build", "wrong"], 1).await;
    assert!(message.contains(&format!("wrong does not build: 1 error: procedure.c:{line}:")), "{message}");
    assert!(message.contains("expected ';'") && message.contains("size_t count = 0"), "{message}");
    let human = said(&rota, &["plugin", "build", "wrong", "--output", "human"], 1).await;
    assert!(human.stderr.contains(&format!("procedure.c:{line}:")), "{human:?}");
    assert_eq!(std::fs::read(rota.path("work/wrong/wrong.wasm")).unwrap(), before, "the last one that was built stays");
    // What the machine's C library has, a procedure does not.
    edit(
        &rota,
        "wrong/procedure.c",
        "size_t count = 0\n",
        "size_t count = 0;\n    extern int getpid(void); count += (size_t)getpid();\n",
    );
    let message = refused(&rota, &["plugin", "build", "wrong"], 1).await;
    assert!(message.contains("there is no getpid") && message.contains(".rota/c"), "{message}");
    edit(&rota, "wrong/procedure.c", "#include \"rota.h\"", "#include \"rota.h\"\n#include <unistd.h>");
    let message = refused(&rota, &["plugin", "build", "wrong"], 1).await;
    assert!(message.contains("'unistd.h' file not found"), "{message}");
}

#[tokio::test]
async fn what_a_build_needs_and_is_not_there_is_told_with_the_command_that_installs_it() {
    let mut rota = author();
    new(&rota, "rows", &[]).await;
    let programs = rota.path("programs");
    std::fs::create_dir(&programs).unwrap();
    rota.set("PATH", &programs);
    let message = refused(&rota, &["plugin", "build", "rows"], 2).await;
    assert!(message.contains("clang is not on the PATH") && message.contains("apt-get install clang lld"), "{message}");
    fake(&programs, "clang", "echo 'Debian clang version 11.0.1-2'");
    let message = refused(&rota, &["plugin", "build", "rows"], 2).await;
    assert!(message.contains("too old") && message.contains("clang 14 or later"), "{message}");
    fake(&programs, "clang", "echo 'Debian clang version 19.1.7'");
    let message = refused(&rota, &["plugin", "build", "rows"], 2).await;
    assert!(message.contains("wasm-ld") && message.contains("apt-get install clang lld"), "{message}");
    fake(&programs, "wasm-ld-19", "exit 1");
    let message = refused(&rota, &["plugin", "build", "rows"], 2).await;
    assert!(message.contains("does not compile for wasm32"), "{message}");
}

/// A procedure in C that does what a test asks for.
const PROBE: &str = include_str!("probe.c");

#[tokio::test]
async fn steps_undo_streams_and_misbehaviour_are_as_in_any_language() {
    let rota = author();
    new(&rota, "probe-in-c", &["database:sql:read,write", "bucket:storage:read,write"]).await;
    std::fs::write(rota.path("work/probe-in-c/procedure.c"), PROBE).unwrap();
    let built = said(&rota, &["plugin", "build", "probe-in-c", "--output", "human"], 0).await;
    assert!(!built.stderr.contains("warning"), "{built:?}");
    let database = Postgres::shared().await.unwrap().fresh_database("probe_c").await.unwrap();
    database.execute("create table probe (n int)").await.unwrap();
    std::fs::create_dir(rota.path("work/bucket")).unwrap();
    let binds =
        [format!("database={}", database.url()), format!("bucket=file://{}", rota.path("work/bucket").display())];
    let base =
        ["run", "probe-in-c/probe-in-c.wasm", "--bind", &binds[0], "--bind", &binds[1], "--grant", "declared", "-p"];
    let run = async |what: &str, status: i32| {
        let what = format!("do={what}");
        printed(&rota, "answer", &[&base[..], &[&what]].concat(), status).await
    };
    // More rows than a batch, more bytes than a buffer; both arrive whole.
    let rows = run("rows", 0).await;
    assert_eq!(rows["report"]["data"], json!({ "rows": 100_000, "sum": 5_000_050_000_u64 }), "{rows}");
    let stored = run("store", 0).await;
    assert_eq!(stored["report"]["data"], json!({ "bytes": 3_000_000, "same": true }), "{stored}");
    assert_eq!(std::fs::metadata(rota.path("work/bucket/big")).unwrap().len(), 3_000_000);
    // There is one of the name by now: a conflict, as a value.
    let again = run("store", 1).await;
    assert!(again["error"]["message"].as_str().unwrap().contains("big cannot be stored"), "{again}");
    // What broke off in the middle is told.
    let broken = run("break", 1).await;
    assert!(broken["error"].to_string().contains("22012"), "division by zero: {broken}");
    // Undone when it fails.
    let undone = run("undo", 1).await;
    assert!(undone["error"].to_string().contains("fails on purpose"), "{undone}");
    let mut session = database.connect().await.unwrap();
    let left: Vec<i32> = sqlx::query_scalar("select n from probe").fetch_all(&mut session).await.unwrap();
    assert_eq!(left, [7], "the row that was inserted is gone, and the undo left its own");
    // Texts and numbers, both ways.
    let json_ = run("json", 0).await;
    assert_eq!(
        json_["report"]["data"],
        json!({ "text": "a\"\\\n\u{1}ü🐘", "list": [1, -2, 30], "number": 2.5, "missing": -1, "edges": [i64::MAX, i64::MIN, 3, 1500, -200, 0], "hex": "00ff", "wide": "   7|7  |-9223372036854775808" }),
        "{json_}"
    );
    // What 64 bits do not hold is no other number: a failure in words, or the end of the run.
    let wide = run("whole", 1).await;
    assert!(
        wide["error"]["message"].as_str().unwrap().contains("9223372036854775808 does not fit into 64 bits"),
        "{wide}"
    );
    let trapped = |answer: &Value| answer["run"]["status"].as_str().unwrap().to_owned();
    for (what, says) in
        [("overflow", "trap"), ("abort", "trap"), ("beyond", "trap"), ("hoard", "memory"), ("spin", "cpu")]
    {
        let what = format!("do={what}");
        let limits = ["--limit", "cpu=1s", "--limit", "memory=64MiB"];
        let arguments = [&base[..], &[what.as_str()], &limits].concat();
        let ended = said(&rota, &arguments, 1).await.json().unwrap();
        let text = format!("{} {}", trapped(&ended), ended["error"]);
        assert!(text.contains(says), "{what}: {text}");
    }
}
