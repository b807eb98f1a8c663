//! `rota exec`: streams of bytes, COPY, programs and keys from JavaScript.

use super::exec::{error, exec, fresh, output, ran};
use crate::rota;
use rota_testbed::Postgres;
use rota_tests::Rota;
use serde_json::{Value, json};

/// A database with a table of so many rows, a bucket, pg_dump, sort as a tool of its own, and a key.
struct World {
    rota: Rota,
    database: rota_testbed::Database,
    bind: Vec<String>,
    recipient: String,
}

impl World {
    async fn new(name: &str, rows: u32) -> Self {
        let setup = format!(
            "create table t as select n, md5(n::text) as s from generate_series(1, {rows}) n; create table u (like t)"
        );
        let (rota, database) = (rota(), fresh(name, &setup).await);
        let server = Postgres::shared().await.unwrap();
        std::fs::create_dir(rota.path("bucket")).unwrap();
        let identity = age::x25519::Identity::generate();
        crate::write_private(&rota.path("key.txt"), &crate::exposed(&identity)).unwrap();
        let program = server.program("pg_dump").unwrap();
        let sort = "[bindings.sort]\nkind = \"tool\"\npath = \"/usr/bin/sort\"\nprofile = \"custom\"\narguments = [\"-r\", \"-n\", \"--no-such\"]\n";
        rota.configure(sort).unwrap();
        let bind = [
            format!("database={}", database.url()),
            format!("bucket=file://{}", rota.path("bucket").display()),
            format!("pg_dump={}", program.display()),
            "tool=sort".to_owned(),
            format!("key=file:{}", rota.path("key.txt").display()),
        ];
        let bind = bind.into_iter().flat_map(|each| ["--bind".to_owned(), each]).collect();
        Self { rota, database, bind, recipient: identity.to_public().to_string() }
    }

    /// With everything granted, and without a plan before it.
    async fn all(&self, script: &str, status: i32) -> Value {
        let grants =
            ["database=read,write,copy-out,copy-in", "bucket=read,write", "pg_dump=run", "tool=run", "key=decrypt"];
        self.with(script, &grants, &["--unplanned"], status).await
    }

    async fn with(&self, script: &str, grants: &[&str], flags: &[&str], status: i32) -> Value {
        let recipient = format!("recipient={}", self.recipient);
        let mut words = vec!["-e", script, "--arg", &recipient];
        words.extend(self.bind.iter().map(String::as_str));
        words.extend(grants.iter().flat_map(|grant| ["--grant", grant]));
        words.extend(flags);
        ran(&self.rota, status, &words).await
    }

    /// How many rows came into `u`.
    async fn stored(&self) -> i64 {
        let mut session = self.database.connect().await.unwrap();
        sqlx::query_scalar("select count(*) from u").fetch_one(&mut session).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_goes_out_and_in_again_through_filters_and_a_bucket() {
    let world = World::new("streams_round", 20_000).await;
    let script = r#"
        const plain = bytes.sha256(db.copyOut("copy t to stdout"));
        const packed = bytes.compress(plain, "zstd", 5);
        const kept = await bucket.put("t.zst.age", bytes.encrypt(packed, [args.recipient]), { if: "absent" });
        const before = await plain.passed(), after = await packed.passed();
        print(before.in === before.out, after.in === before.out, after.out < after.in, kept.size > 0, kept.sha256.length);
        const back = bytes.sha256(bucket.get("t.zst.age").decrypt().decompress("zstd"));
        print(await db.copyIn("copy u from stdin", back));
        print((await back.passed()).sha256 === before.sha256);
        print(await db.query("select count(*)::int as n from (select * from t except select * from u) d").one());
        const counted = bytes.count(bucket.get("t.zst.age").limit(1e9));
        print((await counted.drain()).in === kept.size, (await counted.passed()).in === kept.size);
        print((await bytes.drain(db.copyOut("copy t to stdout").compress("gzip").decompress("gzip"))).in === before.out);
    "#;
    let said = world.all(script, 0).await;
    assert_eq!(output(&said), ["true true true true 64", "20000", "true", "{ n: 0 }", "true true", "true"], "{said:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_read_whole_by_pieces_and_by_lines() {
    let world = World::new("streams_read", 5_000).await;
    let script = r#"
        let pieces = 0, length = 0;
        for await (const chunk of db.copyOut("copy t to stdout")) { pieces += chunk instanceof Uint8Array ? 1 : 0; length += chunk.length; }
        print(pieces > 1, length);
        const text = await db.copyOut("copy (select n from t order by n limit 3) to stdout").text();
        print(JSON.stringify(text));
        let lines = 0, last;
        for await (const line of db.copyOut("copy t to stdout").lines()) { lines++; last = line; }
        print(lines, last.split("\t").length);
        for await (const line of db.copyOut("copy t to stdout").lines()) { print(line.split("\t")[0] > 0); break; }
        await bucket.put("ends", "a\r\nb\n\nü");
        const ends = []; for await (const line of bucket.get("ends").lines()) ends.push(line);
        print(ends, (await bucket.get("ends")).length, await bucket.get("ends", { offset: 3, length: 1 }).text());
        for (const work of [
            () => bucket.get("ends").text(3),
            async () => { const once = bucket.get("ends"); await once.text(); await once.text(); },
            () => bucket.get("gone").text(),
            async () => { await bucket.put("bytes", new Uint8Array([255])); return bucket.get("bytes").text(); },
            () => db.copyOut("copy (select 1/(3 - n::int) from t where n < 5 order by n) to stdout").text(),
            () => bucket.put("broken", db.copyOut("copy (select 1/(30000 - n::int) from generate_series(1, 40000) n) to stdout")),
            () => bucket.put("damaged", bucket.get("ends").decompress("zstd")),
        ]) {
            try { await work(); print("no error"); } catch (error) { print(error.kind ?? "", error.code ?? "", error.message); }
        }
        print(await bucket.stat("broken"), await bucket.stat("damaged"));
    "#;
    let said = world.all(script, 0).await;
    let lines = output(&said);
    let begins = [
        "true 1",
        r#""1\n2\n3\n""#,
        "5000 2",
        "true",
        r#"["a", "b", "", "ü"] 8 b"#,
        "failed  ends has more than 3 bytes",
        "  a stream can be read once",
        "not-found",
        "failed  the bytes are not UTF-8",
        "failed 22012",
        "failed 22012",
        "",
        "null null",
    ];
    assert_eq!(lines.len(), begins.len(), "{lines:#?}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{begin}: {lines:#?}");
    }
    assert!(lines[11].contains("zstd"), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_script_writes_itself_is_stored_whole_or_not_at_all() {
    let world = World::new("streams_written", 10).await;
    let script = r#"
        async function* rows(until) {
            for (let n = 0; n < 40_000; n++) {
                if (n === until) throw new RangeError("the script broke off");
                yield `${n}\ttext\n`;
            }
        }
        const kept = await bucket.put("rows", rows());
        print(kept.size, (await bucket.get("rows").text()).endsWith("39999\ttext\n"));
        print(await db.copyIn("copy u from stdin", rows()), await db.copyIn("copy u from stdin", "7\tone\n"));
        print((await bytes.drain(bytes.compress(["a", new Uint8Array([98])]).decompress())).in);
        for (const data of [rows(30_000), bytes.compress(rows(30_000)), [1], { length: 3 }]) {
            try { await bucket.put("half", data); print("no error"); } catch (error) { print(`${error.name}: ${error.message}`); }
        }
        print(await bucket.stat("half"));
        try { await db.copyIn("copy u from stdin", rows(10)); } catch (error) { print(error.message); }
        print((await db.query("select count(*)::int as n from u").one()).n);
    "#;
    let said = world.all(script, 0).await;
    assert_eq!(
        output(&said),
        [
            "428890 true",
            "40000 1",
            "2",
            "RangeError: the script broke off",
            "RangeError: the script broke off",
            "TypeError: a piece of a stream is a text or a Uint8Array, and one was number",
            "TypeError: a stream is made of text, of a Uint8Array, or of what gives those piece by piece (an async generator)",
            "null",
            "the script broke off",
            "40001",
        ],
        "{said:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_run_with_a_connection_of_the_hosts_and_with_input() {
    let world = World::new("streams_programs", 1_000).await;
    let script = r#"
        print((await tool("pg_dump").info()).major);
        const dump = tool("pg_dump").run(["--format=custom", "--table=t"], { connection: db });
        const kept = await bucket.put("t.dump", dump.stdout.compress("zstd"));
        const ended = await dump.wait();
        print(kept.size > 1000, ended.code, ended.planned);
        print(JSON.stringify(await tool().run(["-r", "-n"], { stdin: "1\n10\n9\n" }).stdout.text()));
        const sorted = tool("tool").run(["-n"], { stdin: db.copyOut("copy (select n from t order by n desc) to stdout") });
        let last; for await (const line of sorted.stdout.lines()) last = line;
        print(last);
        const bad = tool().run(["--no-such"]);
        const how = await bad.ended();
        print(how.code, how.stderr.length > 0);
        for (const work of [
            () => tool().run(["--no-such"]).wait(),
            () => tool().run(["--no-such"]).stdout.text(),
            () => bucket.put("bad", tool().run(["--no-such"]).stdout),
            () => tool().run(["-x"]).wait(),
            () => tool("pg_dump").run(["--file=/tmp/x"], { connection: db }).wait(),
            () => tool("pg_restore").run([]).wait(),
            async () => tool("psql"),
            () => tool().run("-r").wait(),
        ]) {
            try { await work(); print("no error"); } catch (error) { print(error.kind ?? "-", error.message.slice(0, 90)); }
        }
        print(await bucket.stat("bad"));
    "#;
    let said = world.all(script, 0).await;
    let lines = output(&said);
    assert_eq!(lines[..6], ["16", "true 0 false", r#""10\n9\n1\n""#, "1000", "2 true", lines[5]], "{lines:#?}");
    for (line, says) in lines[5..].iter().zip([
        "exited with 2",
        "exited with 2",
        "exit",
        "denied",
        "denied",
        "nothing is bound to the slot `pg_restore`",
        "there is no slot \"psql\" for a program; there are tool, pg_dump, pg_restore",
        "array of texts",
        "null",
    ]) {
        assert!(line.contains(says), "{says}: {lines:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_unread_is_told_and_what_is_left_running_is_waited_for() {
    let world = World::new("streams_left", 20_000).await;
    let recipient = format!("recipient={}", world.recipient);
    let grants =
        ["--grant", "database=read,copy-out", "--grant", "bucket=read,write", "--grant", "tool=run", "--unplanned"];
    for (script, status, says) in [
        ("args.recipient; db.copyOut('copy t to stdout'); await sleep(0.1)", 0, "nobody read `copy t to stdout`"),
        (
            "args.recipient; const it = bytes.from((async function* () { for (;;) yield 'x'.repeat(1e5) })())[Symbol.asyncIterator](); await it.next()",
            0,
            "nobody read what the script writes",
        ),
        ("args.recipient; bucket.get('gone')", 1, "not-found"),
        ("args.recipient; db.copyOut('copy nowhere to stdout')", 1, "nowhere"),
        ("args.recipient; tool().run(['--no-such'])", 1, "exited with 2"),
        ("args.recipient; tool().run(['-n'], { stdin: '1' })", 0, "succeeded"),
        (
            "args.recipient; const p = tool().run(['-n'], { stdin: db.copyOut('copy t to stdout') }); for await (const line of p.stdout.lines()) break",
            0,
            "was killed",
        ),
        ("args.recipient; tool().run(['-x'])", 3, "refuses"),
    ] {
        let mut words = vec!["-e", script, "--arg", &recipient, "--output", "human", "--timeout", "30s"];
        words.extend(world.bind.iter().map(String::as_str));
        words.extend(grants);
        let said = exec(&world.rota, &words).await;
        assert!(said.status == Some(status) && said.stderr.contains(says), "{script}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_needs_its_grant_and_has_its_effect_in_a_plan_only_listed() {
    let world = World::new("streams_plan", 10).await;
    for (script, needs) in [
        ("await db.copyOut('copy t to stdout').text()", "copy-out"),
        ("await db.copyIn('copy u from stdin', '1\\tx\\n')", "copy-in"),
        ("await bucket.put('x', db.copyOut('copy t to stdout'))", "copy-out"),
        ("await bucket.put('x', ['a'])", "write"),
        ("await tool('pg_dump').run([], { connection: db }).wait()", "run"),
    ] {
        let said = world.with(script, &["database=read", "bucket=read"], &[], 3).await;
        let text = error(&said);
        assert!(text.contains(needs), "{script}: {text}");
        assert_eq!(said["effects"], json!([]), "{script}");
    }
    let script = r#"
        await bucket.put("x", bytes.compress(db.copyOut("copy t to stdout")));
        const dump = tool("pg_dump").run(["--table=t"], { connection: db });
        await bucket.put("dump", dump.stdout);
        print(await dump.wait());
        print(await db.copyIn("copy u from stdin", bucket.get("x")));
    "#;
    std::fs::write(world.rota.path("bucket/x"), "1\tx\n").unwrap();
    let grants = ["database=read,copy-out,copy-in", "bucket=read,write", "pg_dump=run"];
    let said = world.with(script, &grants, &["--plan"], 0).await;
    let operations: Vec<&str> =
        said["effects"].as_array().unwrap().iter().map(|e| e["operation"].as_str().unwrap()).collect();
    assert_eq!(operations, ["storage.put", "tools.spawn", "storage.put", "sql.copy-in"], "{said:#}");
    assert_eq!(output(&said), [r#"{ code: null, signal: null, planned: true, stderr: "" }"#, "0"], "{said:#}");
    assert_eq!((std::fs::read_dir(world.rota.path("bucket")).unwrap().count(), world.stored().await), (1, 0));
    let said = world
        .with("await db.copyIn('copy u from stdin', db.copyOut('copy t to stdout'))", &grants, &["--yes"], 0)
        .await;
    assert_eq!((said["effects"].as_array().unwrap().len(), world.stored().await), (1, 10), "{said:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_script_hands_over_itself_is_held_to_the_plan_by_its_content() {
    let world = World::new("streams_held", 10).await;
    let grants = ["database=read,copy-out,copy-in", "bucket=read,write", "tool=run"];
    let cases = |text: &str| {
        [
            format!("await bucket.put('held', [{text}])"),
            format!("await bucket.put('held', bytes.compress({text}))"),
            format!("await bucket.put('held', bytes.encrypt([{text}], args.recipient))"),
            format!("await db.copyIn('copy u from stdin', {text})"),
            format!("await db.copyIn('copy u from stdin', bytes.count([{text}]))"),
            format!("await tool().run(['-n'], {{ stdin: {text} }}).wait()"),
        ]
    };
    for script in cases("isPlan ? '1\\tgood\\n' : '2\\tevil\\n'") {
        let said = world.with(&script, &grants, &["--yes"], 3).await;
        assert!(error(&said).contains("not in the plan"), "{script}: {said:#}");
    }
    assert_eq!(std::fs::read_dir(world.rota.path("bucket")).unwrap().count(), 0);
    assert_eq!(world.stored().await, 0);
    for script in cases("'3\\tgood\\n'") {
        let said = world.with(&script, &grants, &["--yes"], 0).await;
        assert_eq!(said["effects"].as_array().unwrap().len(), 1, "{script}: {said:#}");
    }
    assert_eq!(world.stored().await, 2);
    // Where there is no end to it, it cannot be held.
    let endless = "await bucket.put('endless', (async function* () { for (;;) yield 'x'.repeat(1 << 20) })())";
    let said = world.with(endless, &grants, &["--yes"], 1).await;
    assert!(error(&said).contains("16 MiB") && error(&said).contains("--unplanned"), "{said:#}");
}
