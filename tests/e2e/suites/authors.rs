//! An author's way: `rota plugin new`, `build`, `check`, `wit` and `dev`, with the real cargo and a real server.

mod c;
mod cases;
mod examples;
mod javascript;
mod page;

use crate::cli::schema;
use crate::rota;
use rota_testbed::{Database, Postgres};
use rota_tests::{Rota, Said, component, probe};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// A first build compiles what a plugin depends on; on a busy machine that takes its time.
const BUILD: Duration = Duration::from_secs(240);
/// One folder for all tests, so that dependencies are compiled once.
const TARGET: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/authors");
/// Slots of every capability.
const ALL_SLOTS: [&str; 11] = [
    "a-database:sql:maintain",
    "standby:sql:read",
    "bucket:storage:read,write",
    "out:storage:write",
    "identity:key:decrypt",
    "pg_dump:tool:run",
    "cache:cache:read,delete",
    "keys:cache:write",
    "report:kubernetes:read,scale",
    "pods:kubernetes:exec",
    "limit-2:jetstream:read",
];

/// The binary as an author has it: with cargo on the PATH, and itself.
fn author() -> Rota {
    let mut rota = rota();
    let home = std::env::var("HOME").unwrap();
    let folder = |variable: &str, name: &str| std::env::var(variable).unwrap_or_else(|_| format!("{home}/{name}"));
    rota.set("CARGO_HOME", folder("CARGO_HOME", ".cargo"));
    rota.set("RUSTUP_HOME", folder("RUSTUP_HOME", ".rustup"));
    rota.set("CARGO_TARGET_DIR", TARGET);
    let binary = Path::new(env!("CARGO_BIN_EXE_rota")).parent().unwrap().display().to_string();
    rota.set("PATH", format!("{binary}:{}", std::env::var("PATH").unwrap()));
    rota
}

async fn said(rota: &Rota, arguments: &[&str], status: i32) -> Said {
    let said = rota.run_within(arguments, BUILD).await.unwrap();
    assert_eq!(said.status, Some(status), "{arguments:?}: {said:?}");
    said
}

async fn printed(rota: &Rota, definition: &str, arguments: &[&str], status: i32) -> Value {
    schema::valid(definition, &said(rota, arguments, status).await)
}

/// What a command that is refused says.
async fn refused(rota: &Rota, arguments: &[&str], status: i32) -> String {
    let answer = printed(rota, "answer", arguments, status).await;
    answer["error"]["message"].as_str().unwrap().to_owned()
}

async fn new(rota: &Rota, name: &str, slots: &[&str]) {
    new_in(rota, "rust", name, slots).await;
}

async fn new_in(rota: &Rota, language: &str, name: &str, slots: &[&str]) {
    let mut arguments = vec!["plugin", "new", name, "--language", language];
    for slot in slots {
        arguments.extend(["--slot", slot]);
    }
    let made = printed(rota, "plugin_new", &arguments, 0).await;
    assert_eq!((&made["plugin"], &made["language"]), (&json!(name), &json!(language)));
    for file in made["files"].as_array().unwrap() {
        assert!(rota.path(&format!("work/{name}/{}", file.as_str().unwrap())).is_file(), "{file}");
    }
}

/// What a folder's own CI says, which passes: its tests, the build as locked, and the check.
async fn ci(rota: &Rota, name: &str) -> String {
    let ci = tokio::process::Command::new(rota.path(&format!("work/{name}/ci")))
        .env_clear()
        .envs(rota.environment())
        .output()
        .await
        .unwrap();
    let heard = format!("{}\n{}", String::from_utf8_lossy(&ci.stdout), String::from_utf8_lossy(&ci.stderr));
    assert!(ci.status.success(), "{heard}");
    heard
}

/// Of the contract, a new plugin that looks at a database and a bucket imports this.
fn uses_no_more_than_it_needs(built: &Value) {
    let mut imports: Vec<&str> = built["imports"].as_array().unwrap().iter().map(|i| i.as_str().unwrap()).collect();
    imports.sort_unstable();
    assert_eq!(imports, ["reports", "sql", "storage", "types"], "no more than it uses");
}

/// A run that analyzes a table which nothing has analyzed yet: not a plan before it either.
async fn analyzes_orders(rota: &Rota, database: &Database, run: &[&str]) {
    let analyzed = "select last_analyze is not null from pg_stat_user_tables where relname = 'orders'";
    let mut session = database.connect().await.unwrap();
    let before: bool = sqlx::query_scalar(analyzed).fetch_one(&mut session).await.unwrap();
    printed(rota, "answer", run, 0).await;
    let after: bool = sqlx::query_scalar(analyzed).fetch_one(&mut session).await.unwrap();
    assert_eq!((before, after), (false, true), "the plan changed nothing, the run did");
}

/// Changes a file of a plugin.
fn edit(rota: &Rota, file: &str, from: &str, to: &str) {
    let path = rota.path(&format!("work/{file}"));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} does not hold `{from}`:\n{text}");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
}

#[tokio::test]
async fn from_nothing_to_a_plan_and_a_run_on_a_real_server() {
    let rota = author();
    let start = Instant::now();
    new(&rota, "first-steps", &["database:sql:read,maintain", "bucket:storage:read,delete"]).await;
    let heard = ci(&rota, "first-steps").await;
    assert!(heard.contains("test tests::a_plan_changes_nothing ... ok"), "{heard}");
    assert!(heard.contains("first-steps 0.1.0: nothing to do"), "{heard}");
    eprintln!("from nothing to tested, built and checked: {:?}", start.elapsed());

    let built = printed(&rota, "plugin_build", &["plugin", "build", "first-steps"], 0).await;
    assert_eq!((&built["plugin"], &built["risk"]), (&json!("first-steps"), &json!("change")));
    assert_eq!(built["slots"][0]["accesses"], json!(["read", "maintain"]));
    uses_no_more_than_it_needs(&built);
    assert!(built["size"].as_u64().unwrap() < 700_000, "{built}");

    let database = Postgres::shared().await.unwrap().fresh_database("authors").await.unwrap();
    database.execute("create table orders as select generate_series(1, 1000) as n").await.unwrap();
    std::fs::create_dir(rota.path("work/bucket")).unwrap();
    std::fs::write(rota.path("work/bucket/report.csv"), "1").unwrap();
    let (database_bind, bucket_bind) =
        (format!("database={}", database.url()), format!("bucket=file://{}", rota.path("work/bucket").display()));
    let run = [
        "run",
        "first-steps/first-steps.wasm",
        "--bind",
        &database_bind,
        "--bind",
        &bucket_bind,
        "--grant",
        "declared",
    ];
    let plan: Vec<&str> = run.iter().copied().chain(["--plan"]).collect();
    let planned = printed(&rota, "answer", &plan, 0).await;
    assert_eq!(planned["effects"].as_array().unwrap().len(), 1, "{planned}");
    assert_eq!(planned["effects"][0]["detail"], "ANALYZE public.orders");
    assert_eq!(planned["report"]["data"], json!({ "database": ["public.orders"], "bucket": ["report.csv"] }));
    analyzes_orders(&rota, &database, &run).await;
}

#[tokio::test]
async fn the_same_sources_give_the_same_digest_in_another_folder_and_other_ones_another() {
    let mut rota = author();
    new(&rota, "twice", &[]).await;
    let first = printed(&rota, "plugin_build", &["plugin", "build", "twice"], 0).await;
    std::fs::rename(rota.path("work/twice"), rota.path("work/before")).unwrap();
    new(&rota, "twice", &[]).await;
    // Flags of the outside do not reach the bytes.
    rota.set("RUSTFLAGS", "-C opt-level=0");
    let second = printed(&rota, "plugin_build", &["plugin", "build", "twice"], 0).await;
    assert_eq!(first["digest"], second["digest"]);
    assert_eq!(first["compiler"], second["compiler"]);
    // The older folder has another text by now. What was built last, and later, is the namesake's: it is not taken for this one's.
    let old = std::fs::metadata(rota.path("work/before/src/lib.rs")).unwrap().modified().unwrap();
    edit(&rota, "before/src/lib.rs", "Of each no more than five", "Of each at most five");
    std::fs::File::options().write(true).open(rota.path("work/before/src/lib.rs")).unwrap().set_modified(old).unwrap();
    let third = printed(&rota, "plugin_build", &["plugin", "build", "before"], 0).await;
    assert_ne!(third["digest"], first["digest"]);
}

#[tokio::test]
async fn every_capability_has_a_beginning_that_passes_its_own_tests() {
    let rota = author();
    new(&rota, "everything", &ALL_SLOTS).await;
    let mut cargo = tokio::process::Command::new("cargo");
    cargo.args(["test", "--locked"]).current_dir(rota.path("work/everything"));
    let tests = cargo.env_clear().envs(rota.environment()).output().await.unwrap();
    let heard = format!("{}\n{}", String::from_utf8_lossy(&tests.stdout), String::from_utf8_lossy(&tests.stderr));
    assert!(tests.status.success() && heard.contains("5 passed"), "{heard}");
    assert!(!heard.contains("warning:"), "{heard}");
    let checked = printed(&rota, "plugin_check", &["plugin", "check", "everything"], 0).await;
    assert_eq!(checked["findings"], json!([]));
    let mut fmt = tokio::process::Command::new("rustfmt");
    fmt.args(["--edition", "2024", "--check", "src/lib.rs"]).current_dir(rota.path("work/everything"));
    let formatted = fmt.env_clear().envs(rota.environment()).output().await.unwrap();
    assert!(formatted.status.success(), "{formatted:?}");
}

#[tokio::test]
async fn one_in_python_is_built_checked_and_planned_too() {
    let mut rota = author();
    rota_testbed::tool("bin/componentize-py").expect("scripts/setup guests");
    let programs = rota_testbed::tool("bin").unwrap();
    rota.set("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()));
    let slots = ["--slot", "database:sql:read,maintain", "--slot", "bucket:storage:read"];
    let made = [&["plugin", "new", "in-python", "--language", "python"], slots.as_slice()].concat();
    printed(&rota, "plugin_new", &made, 0).await;
    let checked = printed(&rota, "plugin_check", &["plugin", "check", "in-python"], 0).await;
    assert_eq!(checked["findings"], json!([]), "{checked}");
    let database = Postgres::shared().await.unwrap().fresh_database("authors").await.unwrap();
    database.execute("create table orders as select generate_series(1, 1000) as n").await.unwrap();
    std::fs::create_dir(rota.path("work/bucket")).unwrap();
    std::fs::write(rota.path("work/bucket/report.csv"), "1").unwrap();
    let binds =
        [format!("database={}", database.url()), format!("bucket=file://{}", rota.path("work/bucket").display())];
    let plan =
        ["run", "in-python/in-python.wasm", "--bind", &binds[0], "--bind", &binds[1], "--grant", "declared", "--plan"];
    let planned = printed(&rota, "answer", &plan, 0).await;
    assert_eq!(planned["effects"][0]["detail"], "ANALYZE public.orders", "{planned}");
    assert_eq!(planned["report"]["data"], json!({ "database": ["public.orders"], "bucket": ["report.csv"] }));

    edit(&rota, "in-python/app.py", "import json\n", "import json\nimport no_such_module\n");
    let message = refused(&rota, &["plugin", "build", "in-python"], 1).await;
    assert!(message.contains("does not build") && message.contains("no_such_module"), "{message}");
    let programs = rota.path("programs");
    fake(&programs, "componentize-py", "echo componentize-py 0.13.0");
    rota.set("PATH", &programs);
    let message = refused(&rota, &["plugin", "build", "in-python"], 2).await;
    assert!(message.contains("0.13.0") && message.contains("pip install componentize-py==0.25.1"), "{message}");
    rota.set("PATH", rota.path("work"));
    let message = refused(&rota, &["plugin", "build", "in-python"], 2).await;
    assert!(
        message.contains("not on the PATH") && message.contains("pip install componentize-py==0.25.1"),
        "{message}"
    );
}

#[tokio::test]
async fn names_and_slots_that_cannot_be_are_refused_with_the_nearest_that_can() {
    let rota = rota();
    let cases: [(&str, &[&str], &str); 13] = [
        ("Old Rows", &[], "did you mean `old-rows`?"),
        ("old_rows", &[], "did you mean `old-rows`?"),
        ("../rows", &[], "did you mean `rows`?"),
        ("", &[], "cannot be a plugin's name"),
        ("a\u{1b}[31m", &[], "did you mean `a-31m`?"),
        ("test", &[], "a meaning of its own"),
        ("serde", &[], "a crate that the SDK uses"),
        ("postgres-health", &[], "there is a plugin `postgres-health` already (built in)"),
        ("rows", &["database:sqll:read"], "did you mean `sql`?"),
        ("rows", &["database:sql:maintian"], "did you mean `maintain`?"),
        ("rows", &["database:sql"], "write NAME:CAPABILITY:ACCESS"),
        ("rows", &["a-b:sql:read", "a_b:sql:read"], "given twice"),
        ("rows", &["identity:key:decrypt"], "--slot bucket:storage:read"),
    ];
    for (name, slots, says) in cases {
        let mut arguments = vec!["plugin", "new", "--language", "rust"];
        for slot in slots {
            arguments.extend(["--slot", slot]);
        }
        arguments.extend(["--", name]);
        let message = refused(&rota, &arguments, 2).await;
        assert!(message.contains(says), "{name} {slots:?}: {message}");
        assert!(!message.contains('\u{1b}'), "{message:?}");
    }
    assert_eq!(std::fs::read_dir(rota.path("work")).unwrap().count(), 0, "nothing was made");
}

#[tokio::test]
async fn a_folder_that_is_there_is_left_as_it_is() {
    let rota = rota();
    std::fs::create_dir(rota.path("work/mine")).unwrap();
    std::fs::write(rota.path("work/mine/notes"), "dear").unwrap();
    std::fs::write(rota.path("work/file"), "dear").unwrap();
    for arguments in [vec!["mine"], vec!["other", "--folder", "mine"], vec!["other", "--folder", "file"]] {
        let arguments = [vec!["plugin", "new", "--language", "rust"], arguments].concat();
        let message = refused(&rota, &arguments, 2).await;
        assert!(message.contains("is there already, and nothing was written"), "{message}");
    }
    let message = refused(&rota, &["plugin", "new", "x", "--language", "rust", "--folder", "no/such"], 2).await;
    assert!(message.contains("no/such cannot be made"), "{message}");
    assert_eq!(std::fs::read_to_string(rota.path("work/mine/notes")).unwrap(), "dear");
    assert_eq!(rota_tests::files(&rota.path("work")).len(), 2);
}

/// A program that says something.
fn fake(folder: &Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn what_a_build_needs_and_is_not_there_is_told_with_the_command_that_installs_it() {
    let mut rota = rota();
    new(&rota, "rows", &[]).await;
    let programs = rota.path("programs");
    std::fs::create_dir(&programs).unwrap();
    rota.set("PATH", &programs);
    let message = refused(&rota, &["plugin", "build", "rows"], 2).await;
    assert!(message.contains("cargo is not on the PATH") && message.contains("sh.rustup.rs"), "{message}");
    // It is found before a new shell has it on the PATH: there, and without the target.
    let home = rota.path("home/.cargo/bin");
    fake(&home, "cargo", "exit 9");
    fake(&home, "rustc", "case $1 in --version) echo 'rustc 1.95.0 (x)';; *) echo /no/such/lib;; esac");
    let message = refused(&rota, &["plugin", "build", "rows"], 2).await;
    assert!(message.contains("rustup target add wasm32-wasip2"), "{message}");
    fake(&home, "rustc", "echo 'rustc 1.80.1 (x)'");
    let message = refused(&rota, &["plugin", "build", "rows"], 2).await;
    assert!(message.contains("Rust 1.80.1 is too old") && message.contains("rustup update"), "{message}");
    fake(&home, "rustc", "echo 'error: toolchain is damaged' >&2; exit 1");
    let message = refused(&rota, &["plugin", "build", "rows"], 2).await;
    assert!(message.contains("toolchain is damaged"), "{message}");
    for (folder, says) in [("no-such", "there is no folder no-such"), (".", "is no plugin's folder")] {
        let message = refused(&rota, &["plugin", "build", folder], 2).await;
        assert!(message.contains(says), "{message}");
    }
}

#[tokio::test]
async fn an_error_in_the_source_is_shown_with_its_line() {
    let rota = author();
    new(&rota, "wrong", &[]).await;
    printed(&rota, "plugin_build", &["plugin", "build", "wrong"], 0).await;
    let before = std::fs::read(rota.path("work/wrong/wrong.wasm")).unwrap();
    edit(&rota, "wrong/src/lib.rs", "let limit = parameters.limit;", "let limit = parameters.limits;");
    let source = std::fs::read_to_string(rota.path("work/wrong/src/lib.rs")).unwrap();
    let line = 1 + source.lines().position(|line| line.contains("parameters.limits")).unwrap();
    let message = refused(&rota, &["plugin", "build", "wrong"], 1).await;
    for says in [format!("src/lib.rs:{line}:"), "no field `limits`".into(), "let limit = parameters.limits;".into()] {
        assert!(message.contains(&says), "{says}: {message}");
    }
    let human = said(&rota, &["plugin", "build", "wrong", "--output", "human"], 1).await;
    assert!(human.stderr.contains("let limit = parameters.limits;"), "{human:?}");
    assert!(human.stderr.contains(&format!("wrong does not build: 1 error: src/lib.rs:{line}:")), "{human:?}");
    assert_eq!(std::fs::read(rota.path("work/wrong/wrong.wasm")).unwrap(), before, "the last one that was built stays");
    // Not the compiler's, but cargo's.
    edit(&rota, "wrong/Cargo.toml", "[dependencies]", "[dependencies");
    let message = refused(&rota, &["plugin", "build", "wrong"], 1).await;
    assert!(message.contains("Cargo.toml") && message.contains("does not build"), "{message}");
}

#[tokio::test]
async fn a_check_says_everything_that_is_wrong_and_what_to_do() {
    let rota = author();
    let rules = |checked: &Value| -> Vec<String> {
        let findings = checked["findings"].as_array().unwrap();
        let rule = |f: &Value| format!("{} {}", f["level"].as_str().unwrap(), f["rule"].as_str().unwrap());
        findings.iter().map(rule).collect()
    };
    let cases: [(&[u8], &str); 4] = [
        (component::NOT_WASM, "error component"),
        (component::CORE_MODULE, "error component"),
        (&component::importing(&["wasi:http/outgoing-handler@0.2.0"]), "error imports"),
        (&component::of_version("0.2.0"), "error contract"),
    ];
    for (bytes, rule) in cases {
        std::fs::write(rota.path("work/x.wasm"), bytes).unwrap();
        let checked = printed(&rota, "plugin_check", &["plugin", "check", "x.wasm"], 1).await;
        assert_eq!(rules(&checked), [rule], "{checked}");
        assert_eq!(checked["plugin"], json!(null));
    }
    let message = refused(&rota, &["plugin", "check", "no-such.wasm"], 2).await;
    assert!(message.contains("no-such.wasm cannot be read"), "{message}");
    let probed = printed(&rota, "plugin_check", &["plugin", "check", &probe::path().display().to_string()], 0).await;
    assert_eq!(probed["errors"], 0, "{probed}");

    // A folder whose component is older than its sources is built first.
    new(&rota, "looked-at", &[]).await;
    edit(
        &rota,
        "looked-at/src/lib.rs",
        "examples: [\"As it stands\" => json!({}), ",
        "examples: [\"Too many\" => json!({ \"limit\": 5000 }), ",
    );
    std::fs::write(rota.path("work/looked-at/README.md"), "tbd\n").unwrap();
    std::fs::write(rota.path("work/looked-at/.rota/wit/types.wit"), "// changed").unwrap();
    std::fs::remove_file(rota.path("work/looked-at/Cargo.lock")).unwrap();
    let message = refused(&rota, &["plugin", "check", "looked-at"], 1).await;
    assert!(message.contains("does not build"), "what is not the contract does not build: {message}");
    printed(&rota, "plugin_wit", &["plugin", "wit", "looked-at"], 0).await;
    let checked = printed(&rota, "plugin_check", &["plugin", "check", "looked-at"], 1).await;
    assert_eq!(rules(&checked), ["error examples", "warning readme"], "{checked}");
    let human = said(&rota, &["plugin", "check", "looked-at", "--output", "human"], 1).await;
    for says in ["error examples: the example `Too many`", "  -> make the example work", "1 error, 1 warning"] {
        assert!(human.stdout.contains(says), "{says}: {human:?}");
    }
}

#[tokio::test]
async fn what_this_host_would_not_load_is_refused_by_the_check_and_is_not_published() {
    let rota = author();
    printed(&rota, "plugin_new", &["plugin", "new", "unsigned", "--language", "javascript"], 0).await;
    let checked = printed(&rota, "plugin_check", &["plugin", "check", "unsigned"], 0).await;
    assert_eq!(checked["findings"], json!([]), "{checked}");
    // Sound in itself, and nothing that this host would load: so none of its cases can be run.
    rota.json(&["plugins", "keygen", "growth"]).await.unwrap();
    rota.configure("[trust.\"*\"]\nsigned-by = [{ key = \"file:growth.pub\" }]\n").unwrap();
    // The rules of trust are asked before anything of it is compiled.
    let message = refused(&rota, &["plugin", "check", "unsigned"], 2).await;
    assert!(message.contains("it has no signature") && message.contains("rota plugins sign"), "{message}");
    // There is no such registry: it is not even asked.
    let publish = ["plugin", "publish", "unsigned", "127.0.0.1:1/growth/unsigned"];
    let message = refused(&rota, &publish, 2).await;
    assert!(message.contains("it has no signature"), "{message}");
}

#[tokio::test]
async fn the_contract_is_written() {
    let rota = rota();
    let written = printed(&rota, "plugin_wit", &["plugin", "wit"], 0).await;
    let ours = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit"));
    let mut files = 0;
    for entry in std::fs::read_dir(ours).unwrap() {
        let entry = entry.unwrap();
        let there = rota.path("work/wit").join(entry.file_name());
        assert_eq!(std::fs::read(entry.path()).unwrap(), std::fs::read(there).unwrap());
        files += 1;
    }
    assert_eq!((&written["files"], &written["changed"]), (&json!(files), &json!(files)));
    let again = printed(&rota, "plugin_wit", &["plugin", "wit"], 0).await;
    assert_eq!(again["changed"], 0);
    std::fs::write(rota.path("work/file"), "").unwrap();
    let message = refused(&rota, &["plugin", "wit", "file"], 2).await;
    assert!(message.contains("file cannot be made"), "{message}");
}

#[tokio::test]
async fn each_save_is_built_and_planned() {
    let rota = author();
    new(&rota, "watched", &["bucket:storage:read"]).await;
    std::fs::create_dir(rota.path("work/bucket")).unwrap();
    let bind = format!("bucket=file://{}", rota.path("work/bucket").display());
    let once = ["plugin", "dev", "watched", "--bind", &bind, "--once"];
    let planned = printed(&rota, "answer", &once, 0).await;
    assert_eq!((&planned["run"]["mode"], &planned["run"]["plugin"]), (&json!("plan"), &json!("watched")));

    let mut dev = rota.start(&["plugin", "dev", "watched", "--bind", &bind]).unwrap();
    dev.says("waiting for a change").await.unwrap();
    edit(&rota, "watched/src/lib.rs", "let limit = parameters.limit;", "let limit = parameters.limit");
    dev.says("waiting for a change").await.unwrap();
    edit(
        &rota,
        "watched/src/lib.rs",
        "let limit = parameters.limit",
        "let limit = parameters.limit; info!(\"mended\");",
    );
    dev.says("mended").await.unwrap();
    dev.says("waiting for a change").await.unwrap();
    dev.signal(rustix::process::Signal::INT).unwrap();
    let ended = dev.end().await.unwrap();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let answers: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 3, "{answers:?}");
    answers.iter().for_each(|answer| schema::check("answer", answer));
    assert!(answers[1]["error"]["message"].as_str().unwrap().contains("src/lib.rs:"), "{answers:?}");
    assert_eq!(answers[2]["error"], json!(null));
}
