//! Procedures in JavaScript: made with nothing but the binary.

use super::{printed, refused, said};
use crate::rota;
use rota_testbed::Postgres;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

#[tokio::test]
async fn javascript_needs_nothing_but_rota() {
    let mut rota = rota();
    rota.set("PATH", "/nonexistent");
    let start = Instant::now();
    let slots = ["--slot", "shop:sql:read", "--slot", "files:storage:read"];
    let made = [&["plugin", "new", "looks-around", "--language", "javascript"], &slots[..]].concat();
    printed(&rota, "plugin_new", &made, 0).await;
    let built = printed(&rota, "plugin_build", &["plugin", "build", "looks-around"], 0).await;
    assert_eq!((&built["plugin"], &built["risk"]), (&json!("looks-around"), &json!("observe")));
    let checked = printed(&rota, "plugin_check", &["plugin", "check", "looks-around"], 0).await;
    assert_eq!(checked["findings"], json!([]), "{checked}");
    eprintln!("from nothing to built and checked: {:?}", start.elapsed());
    // The same source, the same bytes.
    let again = printed(&rota, "plugin_build", &["plugin", "build", "looks-around"], 0).await;
    assert_eq!(again["digest"], built["digest"]);

    let database = Postgres::shared().await.unwrap().fresh_database("authors_js").await.unwrap();
    database.execute("create table orders as select generate_series(1, 1000) as n").await.unwrap();
    std::fs::create_dir(rota.path("work/bucket")).unwrap();
    std::fs::write(rota.path("work/bucket/report.csv"), "1").unwrap();
    let (shop, files) =
        (format!("shop={}", database.url()), format!("files=file://{}", rota.path("work/bucket").display()));
    let run = ["run", "looks-around/looks-around.wasm", "--bind", &shop, "--bind", &files, "-p", "limit=5"];
    let answer = printed(&rota, "answer", &run, 0).await;
    assert_eq!(answer["report"]["data"], json!({ "found": 2 }), "{answer:#}");
    assert_eq!(answer["report"]["tables"][0]["rows"][0][0], "public.orders", "{answer:#}");

    // Mistakes: in its text, in what it says of itself, and while it runs.
    let source = rota.path("work/looks-around/procedure.js");
    let good = std::fs::read_to_string(&source).unwrap();
    for (from, to, texts) in [
        ("export default {", "export default {{", vec!["procedure.js:", "SyntaxError"]),
        ("let found = 0;", "let found = 0; let found = 1;", vec!["procedure.js:", "found"]),
        ("name: \"looks-around\"", "name: \"Looks Around\"", vec!["lower-case words"]),
        ("capability: \"sql\"", "capability: \"sqlite\"", vec!["`shop`"]),
        ("export default", "const procedure =", vec!["procedure.js"]),
    ] {
        assert!(good.contains(from), "{from}");
        std::fs::write(&source, good.replacen(from, to, 1)).unwrap();
        let heard = said(&rota, &["plugin", "build", "looks-around"], 2).await;
        for text in texts {
            assert!(heard.stdout.contains(text), "{to}: no {text}: {heard:?}");
        }
    }
    // And what is found in one that cannot be read, and in one whose first lines throw, is that alone.
    for (from, to, text) in [
        ("export default {", "export default {{", "SyntaxError"),
        ("export default {", "undefined.x;\nexport default {", "TypeError"),
    ] {
        std::fs::write(&source, good.replacen(from, to, 1)).unwrap();
        let checked = printed(&rota, "plugin_check", &["plugin", "check", "looks-around"], 1).await;
        let findings = checked["findings"].as_array().unwrap();
        let [finding] = findings.as_slice() else { panic!("{checked:#}") };
        assert_eq!((&finding["rule"], &checked["plugin"]), (&json!("describe"), &Value::Null), "{checked:#}");
        assert!(finding["found"].as_str().unwrap().contains(text), "{checked:#}");
    }
    std::fs::write(&source, good.replacen("report.summary(", "undefined.x; report.summary(", 1)).unwrap();
    printed(&rota, "plugin_build", &["plugin", "build", "looks-around"], 0).await;
    let answer = printed(&rota, "answer", &run, 1).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("procedure.js:") && message.contains("TypeError"), "{message}");
    // It came to no summary: what is shown instead is what went wrong.
    assert_eq!(answer["report"]["summary"], message, "{answer:#}");

    std::fs::write(&source, "").unwrap();
    assert!(refused(&rota, &["plugin", "build", "looks-around"], 1).await.contains("empty"));
    std::fs::write(&source, format!("//{}", "x".repeat(600_000))).unwrap();
    assert!(refused(&rota, &["plugin", "build", "looks-around"], 1).await.contains("600002 bytes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_has_slots_of_every_capability() {
    let rota = rota();
    let slots = [
        "shop:sql:read,copy-out",
        "files:storage:read,write",
        "cached:cache:read",
        "pods:kubernetes:read",
        "queue:jetstream:read",
        "pg_dump:tool:run",
        "identity:key:decrypt",
    ];
    let slots = slots.iter().flat_map(|slot| ["--slot", slot]);
    let made: Vec<&str> =
        ["plugin", "new", "everything", "--language", "javascript"].into_iter().chain(slots).collect();
    printed(&rota, "plugin_new", &made, 0).await;
    let built = printed(&rota, "plugin_build", &["plugin", "build", "everything"], 0).await;
    assert_eq!(built["slots"].as_array().unwrap().len(), 7, "{built}");
    let checked = printed(&rota, "plugin_check", &["plugin", "check", "everything"], 0).await;
    assert_eq!(checked["findings"], json!([]), "{checked}");

    // A procedure of one's own with a program, a key and streams: dumped, packed, locked away, and read back.
    let made =
        ["plugin", "new", "dumps", "--language", "javascript", "--slot", "pg_dump:tool:run", "--output", "human"];
    let told = said(&rota, &made, 0).await.stdout;
    assert!(told.contains("rota run ./dumps.wasm --bind pg_dump=/usr/bin/PROGRAM --grant declared --plan"), "{told}");
    assert!(told.contains("\n  rota plugin build\n  rota plugin test\n"), "{told}");
    let built = printed(&rota, "plugin_build", &["plugin", "build", "dumps"], 0).await;
    // Those of its slots, though the component imports what any script could use.
    for (name, is_there) in
        [("tools", true), ("process", true), ("bytes", true), ("run", true), ("sql", false), ("kubernetes", false)]
    {
        let imports = built["imports"].as_array().unwrap();
        assert_eq!(imports.iter().any(|import| import == name), is_there, "{name}: {imports:?}");
    }
    let source = r#"export default {
        name: "dumps", version: "0.1.0", summary: "Dumps a table.", description: "Dumps a table.", risk: "change", idempotent: true,
        slots: {
            shop: { capability: "sql", accesses: ["read"], purpose: "Is dumped." },
            files: { capability: "storage", accesses: ["read", "write"], purpose: "Keeps the dump." },
            pg_dump: { capability: "tool", accesses: ["run"], purpose: "Dumps." },
            identity: { capability: "key", accesses: ["decrypt"], purpose: "Reads the dump again." },
        },
        parameters: { type: "object", properties: { recipient: { type: "string" } }, additionalProperties: false },
        async run({ recipient }) {
            const dump = tool("pg_dump").run(["--table=orders"], { connection: slots.shop });
            const kept = await slots.files.put("orders.sql.age", dump.stdout.compress("gzip").encrypt(recipient));
            if (isPlan) return { kept: kept.size };
            let lines = 0;
            for await (const line of bytes.decrypt(slots.files.get("orders.sql.age"), slots.identity).decompress("gzip").lines()) {
                if (/^\d+$/.test(line)) lines++;
            }
            return { kept: kept.size, lines };
        },
    };"#;
    std::fs::write(rota.path("work/dumps/procedure.js"), source).unwrap();
    printed(&rota, "plugin_build", &["plugin", "build", "dumps"], 0).await;
    let server = Postgres::shared().await.unwrap();
    let database = server.fresh_database("authors_js_dumps").await.unwrap();
    database.execute("create table orders as select generate_series(1, 1000) as n").await.unwrap();
    let identity = age::x25519::Identity::generate();
    crate::write_private(&rota.path("key.txt"), &crate::exposed(&identity)).unwrap();
    std::fs::create_dir(rota.path("work/bucket")).unwrap();
    let bind = [
        format!("shop={}", database.url()),
        format!("files=file://{}", rota.path("work/bucket").display()),
        format!("pg_dump={}", server.program("pg_dump").unwrap().display()),
        format!("identity=file:{}", rota.path("key.txt").display()),
    ];
    let recipient = format!("recipient={}", identity.to_public());
    let mut run = vec!["run", "dumps/dumps.wasm", "--grant", "declared", "-p", &recipient];
    run.extend(bind.iter().flat_map(|bind| ["--bind", bind]));
    let plan = printed(&rota, "answer", &[&run[..], &["--plan"]].concat(), 0).await;
    assert_eq!(
        (&plan["report"]["data"]["kept"], std::fs::read_dir(rota.path("work/bucket")).unwrap().count()),
        (&json!(0), 0)
    );
    let done = printed(&rota, "answer", &run, 0).await;
    assert_eq!(done["report"]["data"]["lines"], 1000, "{done:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_in_javascript_takes_expired_sessions_out_of_both_stores() {
    let rota = rota();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/plugins/javascript-expired-sessions");
    std::fs::create_dir(rota.path("work/expired-sessions")).unwrap();
    for file in ["procedure.js", "README.md"] {
        std::fs::copy(folder.join(file), rota.path(&format!("work/expired-sessions/{file}"))).unwrap();
    }
    let checked = {
        printed(&rota, "plugin_build", &["plugin", "build", "expired-sessions"], 0).await;
        printed(&rota, "plugin_check", &["plugin", "check", "expired-sessions"], 0).await
    };
    assert_eq!(checked["findings"], json!([]), "{checked}");
    let database = Postgres::shared().await.unwrap().fresh_database("expired").await.unwrap();
    database.execute("create table sessions (token text primary key, expires_at timestamptz)").await.unwrap();
    // 1,200 expired, of which 700 are in the cache; 300 live ones.
    database
        .execute("insert into sessions select 't' || n, now() + case when n <= 1200 then -1 else 1 end * interval '1 hour' from generate_series(1, 1500) n")
        .await
        .unwrap();
    let cache = rota_testbed::Valkey::start().await.unwrap();
    let mut client = cache.client().await.unwrap();
    for n in 501..=1500 {
        client.call(&["SET", &format!("session:t{n}"), "x"]).await.unwrap();
    }
    let (bind_database, bind_cache) = (format!("database={}", database.url()), format!("cache={}", cache.url()));
    let run = [
        "run",
        "expired-sessions/expired-sessions.wasm",
        "--bind",
        &bind_database,
        "--bind",
        &bind_cache,
        "--grant",
        "declared",
    ];
    let left = async || -> i64 {
        let mut connection = database.connect().await.unwrap();
        sqlx::query_scalar("select count(*) from sessions").fetch_one(&mut connection).await.unwrap()
    };
    let plan = printed(&rota, "answer", &[&run[..], &["--plan"]].concat(), 0).await;
    assert_eq!((&plan["report"]["data"]["expired"], left().await), (&json!(1200), 1500), "{plan:#}");
    let done = printed(&rota, "answer", &[&run[..], &["-p", "limit=1000"]].concat(), 0).await;
    assert_eq!(done["report"]["data"], json!({ "expired": 1000, "keys": 500, "rows": 1000, "more": true }), "{done:#}");
    let done = printed(&rota, "answer", &run, 0).await;
    assert_eq!(done["report"]["data"], json!({ "expired": 200, "keys": 200, "rows": 200, "more": false }), "{done:#}");
    assert_eq!(left().await, 300);
    printed(&rota, "answer", &[&run[..], &["-p", "prefix="]].concat(), 2).await;
}
