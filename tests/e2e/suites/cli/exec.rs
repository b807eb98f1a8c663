//! `rota exec`: JavaScript of the operator's. What tries to leave has a suite of its own (`escapes`), and so have streams of bytes and programs (`streams`).

use crate::rota;
use rota_testbed::{Database, Postgres};
use rota_tests::{Rota, Said, Terminal};
use serde_json::Value;

pub(super) async fn fresh(name: &str, setup: &str) -> Database {
    let database = Postgres::shared().await.unwrap().fresh_database(name).await.unwrap();
    for statement in setup.split("; ").filter(|statement| !statement.is_empty()) {
        database.execute(statement).await.unwrap();
    }
    database
}

pub(super) async fn exec(rota: &Rota, arguments: &[&str]) -> Said {
    let mut all = vec!["exec"];
    all.extend(arguments);
    rota.run(&all).await.unwrap()
}

pub(super) async fn ran(rota: &Rota, status: i32, arguments: &[&str]) -> Value {
    let said = exec(rota, arguments).await;
    assert_eq!(said.status, Some(status), "{arguments:?}: {said:?}");
    said.json().unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

pub(super) fn output(said: &Value) -> Vec<&str> {
    let lines = said["report"]["data"]["output"].as_array().unwrap_or_else(|| panic!("{said:#}"));
    lines.iter().map(|line| line.as_str().unwrap()).collect()
}

pub(super) fn error(said: &Value) -> String {
    format!(
        "{} {}",
        said["error"]["message"].as_str().unwrap_or_default(),
        said["error"]["hint"].as_str().unwrap_or_default()
    )
}

#[tokio::test]
async fn what_is_printed_is_on_stdout_and_nothing_else() {
    let rota = rota();
    let said = exec(&rota, &["-e", "print('a', 1n, [2]); table([{x: 1}], 'T'); 40 + 2", "--output", "human"]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!((lines[0], *lines.last().unwrap()), ("a 1 [2]", "42"), "{said:?}");
    assert!(!said.stdout.contains("succeeded") && said.stderr.contains("succeeded"), "{said:?}");
    let said = ran(&rota, 0, &["-e", "args.list.map((n) => n * 2)", "--arg", "list=[1,2]"]).await;
    assert_eq!(said["report"]["data"]["result"], serde_json::json!([2, 4]));
}

/// The engine was begun before there was a run, on some machine at some time: of that nothing may be seen.
#[tokio::test]
async fn nothing_of_one_run_and_of_the_time_before_is_in_the_next() {
    let rota = rota();
    let script = "globalThis.left = 1; Array.prototype.left = 1; \
                  ({ random: [1, 2, 3, 4].map(() => Math.random()), origin: performance.timeOrigin, now: performance.now(), clock: Date.now() })";
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let before = unix_ms();
        let said = ran(&rota, 0, &["-e", script]).await;
        let result = &said["report"]["data"]["result"];
        let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{said:#}"));
        let random: Vec<f64> = result["random"].as_array().unwrap().iter().map(number).collect();
        assert!(random.iter().all(|x| (0.0..1.0).contains(x)), "{random:?}");
        seen.extend(random.iter().map(|x| x.to_bits()));
        let (origin, now, clock) = (number(&result["origin"]), number(&result["now"]), number(&result["clock"]));
        assert!(before <= origin + 1.0 && origin <= unix_ms(), "{before} {said:#}");
        assert!((0.0..60_000.0).contains(&now) && (origin + now - clock).abs() < 1_000.0, "{said:#}");
        let left = ran(&rota, 0, &["-e", "[typeof left, [].left === undefined]"]).await;
        assert_eq!(left["report"]["data"]["result"], serde_json::json!(["undefined", true]));
    }
    assert_eq!(seen.len(), 12, "chance repeats itself");
}

fn unix_ms() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64() * 1e3
}

#[tokio::test]
async fn many_lines_and_long_ones_all_come_once_and_in_order() {
    let rota = rota();
    let script = "for (let i = 0; i < 3000; i++) print(i); print('x'.repeat(5000)); print('end\\tend')";
    let said = exec(&rota, &["-e", script, "--output", "human"]).await;
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines.len(), 3002, "{:?}", said.stderr);
    assert!((0..3000).all(|number| lines[number] == number.to_string()));
    assert_eq!(lines[3000].len(), 5000);
}

#[tokio::test]
async fn mistakes_are_told_with_their_line() {
    let rota = rota();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.js");
    for (text, place, what, line) in [
        ("let a = 1;\nlet b = ;\n", "wrong.js:2:", "SyntaxError", "let b = ;"),
        ("// one\nfunction f(x) {\n  return x.y.z;\n}\nf({});\n", "wrong.js:3:", "TypeError", "return x.y.z;"),
        (
            "const wait = async () => {\n  throw new RangeError('lost');\n};\nwait();\nawait sleep(0.01);\n",
            "wrong.js:2:",
            "nobody awaited",
            "lost",
        ),
        ("await db.query('select 1');", "wrong.js:1:", "nothing is bound to the slot `database`", "--bind database="),
        ("throw 'text'", "", "text was thrown", ""),
    ] {
        std::fs::write(&file, text).unwrap();
        let said = ran(&rota, 1, &[file.to_str().unwrap()]).await;
        let all = error(&said);
        assert!(all.contains(place) && all.contains(what) && all.contains(line), "{text}: {all}");
    }
    let said = exec(&rota, &["nowhere.js"]).await;
    assert_eq!(said.status, Some(2), "{said:?}");
    std::fs::write(folder.path().join("x.py"), "print(1)").unwrap();
    let said = exec(&rota, &[folder.path().join("x.py").to_str().unwrap()]).await;
    assert!(said.status == Some(2) && said.stdout.contains("--language"), "{said:?}");
}

#[tokio::test]
async fn a_script_that_waits_for_nothing_is_told() {
    let rota = rota();
    for text in ["await new Promise(() => {})", "await sleep(0.01); await new Promise(() => {})"] {
        let said = ran(&rota, 1, &["-e", text]).await;
        assert!(error(&said).contains("nothing will resolve"), "{said:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_cut_by_control_characters_is_masked_all_the_same() {
    let rota = rota();
    let database = fresh("exec_secret", "").await;
    let url = database.url();
    let secret = url.split(':').nth(2).and_then(|rest| rest.split('@').next()).unwrap().to_owned();
    let cut = format!("'{}' + '\\x1b' + '{}'", &secret[..8], &secret[8..]);
    let script = format!(
        "print({cut}); console.warn({cut}); report.warning({cut}, {cut}); progress(1, 2, {cut}, {cut}); table([[{cut}]], {cut}); throw new Error({cut})"
    );
    for form in ["human", "json"] {
        let said = exec(&rota, &["-e", &script, "--bind", &format!("database={url}"), "--output", form]).await;
        assert_eq!(said.status, Some(1), "{said:?}");
        for text in [&said.stdout, &said.stderr] {
            let shown: String = text.chars().filter(|c| !c.is_control()).collect();
            assert!(!shown.contains(&secret), "{form}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_keep_their_types_and_wholes_their_last_digit() {
    let rota = rota();
    let database = fresh("exec_rows", "").await;
    let bind = format!("database={}", database.url());
    let script = r#"
        const row = await db.query(`select 9007199254740993::bigint as n, '2026-01-02T03:04:05Z'::timestamptz as at, '\\x00ff'::bytea as b,
            '{"big": 9007199254740993, "x": [1, null]}'::jsonb as j, array[1,null]::int[] as l, 1.10::numeric as d, null as z, 'ü' as t`).one();
        print(typeof row.n, row.n + 1n, row.at instanceof Date, row.at.toISOString(), row.b, row.j.big, row.l, row.d, row.z, row.t);
        const back = await db.query("select $1::bigint as n, $2::timestamptz as at, $3::bytea as b, $4::jsonb as j, $5::bigint[] as l, $6::text as z", [row.n, row.at, row.b, row.j, [1n, null], null]).one();
        print(back);
        let sum = 0n, count = 0;
        for await (const { i } of db.query("select generate_series(1, 5000)::bigint as i")) { sum += i; count++; if (count === 2000) break; }
        print(count, sum);
        const inner = [];
        for await (const { i } of db.query("select generate_series(1, 3) as i")) inner.push((await db.query("select $1::int * 2 as d", [i]).one()).d);
        print(inner);
        print(await Promise.all([1, 2].map(async (n) => (await db.query("select $1::int as n", [n]).one()).n)));
        try { await db.query("select 1/0") } catch (error) { print(error instanceof RotaError, error.kind, error.code) }
        try { await db.query("select generate_series(1, 3)").one() } catch (error) { print(error.message) }
    "#;
    let said = ran(&rota, 0, &["-e", script, "--bind", &bind]).await;
    assert_eq!(
        output(&said),
        [
            "bigint 9007199254740994 true 2026-01-02T03:04:05.000Z \\x00ff 9007199254740993 [1, null] 1.10 null ü",
            "{ n: 9007199254740993, at: 2026-01-02T03:04:05.000Z, b: \\x00ff, j: { x: [1, null], big: 9007199254740993 }, l: [1, null], z: null }",
            "2000 2001000",
            "[2, 4, 6]",
            "[1, 2]",
            "true failed 22012",
            "more than one where one was expected",
        ],
        "{said:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_listed_read_and_written() {
    let rota = rota();
    let folder = tempfile::tempdir().unwrap();
    let bind = format!("bucket=file://{}", folder.path().display());
    let script = r#"
        for (let n = 0; n < 300; n++) await bucket.put(`a/${n}`, `text ${n}`);
        await bucket.put("bytes", new Uint8Array([0, 255]));
        let names = 0;
        for await (const { name, size } of bucket.list("a/")) names += size > 0 ? 1 : 0;
        print(names, (await bucket.list("nowhere/")).length, (await bucket.list("a/").first()) !== undefined);
        print(await bucket.getText("a/7"), await bucket.get("bytes"), await bucket.stat("gone"));
        try { await bucket.put("a/7", "again", { if: "absent" }) } catch (error) { print(error.kind) }
        try { await bucket.getText("bytes") } catch (error) { print(error.message) }
        await bucket.delete("bytes");
        print(await bucket.stat("bytes"));
    "#;
    let grant = ["--bind", &bind, "--grant", "bucket=read,write,delete", "--unplanned"];
    let said = ran(&rota, 0, &[&["-e", script], &grant[..]].concat()).await;
    assert_eq!(
        output(&said),
        ["300 0 true", "text 7 \\x00ff null", "conflict", "bytes is not UTF-8", "null"],
        "{said:#}"
    );
    // What is put is held by its content, which no listing shows.
    let put = |text: &str| format!("await bucket.put('held', isPlan ? 'good' : '{text}')");
    let grant = ["--bind", &bind, "--grant", "bucket=read,write", "--yes"];
    ran(&rota, 0, &[&["-e", put("good").as_str()], &grant[..]].concat()).await;
    let said = ran(&rota, 3, &[&["-e", put("evil").as_str()], &grant[..]].concat()).await;
    assert!(error(&said).contains("not in the plan"), "{said:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_planned_agreed_to_and_held_to_the_plan() {
    let rota = rota();
    let setup = "create table t (i int primary key, s text default 'old'); insert into t select generate_series(1, 3)";
    let database = fresh("exec_held", setup).await;
    let bind = format!("database={}", database.url());
    let script = "for await (const { i } of db.query('select i from t where i < $1 order by i', [args.below])) await db.execute('update t set s = $1 where i = $2', ['new', i])";
    let more = ["-e", script, "--arg", "below=3", "--bind", &bind, "--grant", "database=read,write"];
    let with = |flags: &[&'static str]| -> Vec<String> {
        more.iter().map(|&word| word.to_owned()).chain(flags.iter().map(|&flag| flag.to_owned())).collect()
    };
    let news = async || -> i64 {
        let mut session = database.connect().await.unwrap();
        sqlx::query_scalar("select count(*) from t where s = 'new'").fetch_one(&mut session).await.unwrap()
    };
    let call = async |flags: &[&'static str], status: i32| {
        let words = with(flags);
        ran(&rota, status, &words.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    let said = call(&["--plan"], 0).await;
    assert_eq!(said["effects"].as_array().unwrap().len(), 2, "{said:#}");
    // Nobody is there to ask.
    let said = call(&[], 3).await;
    assert!(error(&said).contains("2 effects") && error(&said).contains("--yes"), "{said:#}");
    assert_eq!(news().await, 0);
    let said = call(&["--yes"], 0).await;
    assert_eq!((said["effects"].as_array().unwrap().len(), news().await), (2, 2), "{said:#}");
    // What a plan cannot show is not let through.
    let sly = "if (!isPlan) await db.execute(\"update t set s = 'sly'\")";
    let said = ran(&rota, 3, &["-e", sly, "--bind", &bind, "--grant", "database=read,write", "--yes"]).await;
    assert!(error(&said).contains("not in the plan"), "{said:#}");
    let twice = "for (let n = isPlan ? 1 : 0; n < 2; n++) await db.execute(\"update t set s = 'twice'\")";
    let said = ran(&rota, 3, &["-e", twice, "--bind", &bind, "--grant", "database=read,write", "--yes"]).await;
    assert!(error(&said).contains("not in the plan"), "{said:#}");
    assert_eq!(said["effects"].as_array().unwrap().len(), 1, "{said:#}");
    // What an attack once got through: other values of the same look, the tail of a long statement, another order, what undoes.
    let long = format!("/* {} */", "x".repeat(5000));
    for script in [
        "await db.execute('update t set s = $2 where i = any($1)', [isPlan ? [1n, 2n] : [3n, 2n], 'bent'])".to_owned(),
        "await db.execute('update t set s = $1 where i = 3', ['a'.repeat(300) + (isPlan ? 'good' : 'bent')])".to_owned(),
        format!("await db.execute(`update t set s = 'bent' {long} where i ${{isPlan ? '=' : '>'}} 0`)"),
        "await db.execute(`update t set s = 'bent' where i = 0 -- one${isPlan ? '\\u0001' : '\\r'} or true`)".to_owned(),
        "const both = ['a', 'b'].map((s) => () => db.execute('update t set s = $1 where i = 0', [s])); if (!isPlan) both.reverse(); for (const one of both) await one()".to_owned(),
        "if (!isPlan) { await compensate('u', async () => { await db.execute(\"update t set s = 'bent'\") }); throw new Error('then') }".to_owned(),
        "await compensate('u', isPlan ? async () => {} : async () => { await db.execute(\"update t set s = 'bent'\") }); if (!isPlan) throw new Error('then')".to_owned(),
    ] {
        let said = ran(&rota, 3, &["-e", &script, "--bind", &bind, "--grant", "database=read,write", "--yes"]).await;
        assert!(error(&said).contains("not in the plan"), "{script}: {said:#}");
        let mut session = database.connect().await.unwrap();
        let bent: i64 = sqlx::query_scalar("select count(*) from t where s like '%bent'").fetch_one(&mut session).await.unwrap();
        assert_eq!(bent, 0, "{script}");
    }
    // Nor does it run again by another way.
    let said = exec(
        &rota,
        &["-e", "await db.execute(\"update t set s = s\")", "--bind", &bind, "--grant", "database=read,write", "--yes"],
    )
    .await;
    let again = said.json().unwrap()["run"]["id"].as_str().unwrap().to_owned();
    let said = rota.run(&["runs", "retry", &again]).await.unwrap();
    assert_ne!(said.status, Some(0), "{said:?}");
    let said = ran(&rota, 0, &["-e", sly, "--bind", &bind, "--grant", "database=read,write", "--unplanned"]).await;
    assert_eq!(said["effects"].as_array().unwrap().len(), 1, "{said:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_script_registers_is_undone_when_it_fails() {
    let rota = rota();
    let database = fresh("exec_undo", "create table t (s text)").await;
    let bind = format!("database={}", database.url());
    let script = r#"
        await compensate("unmark", async (state) => { await db.execute("delete from t where s = $1", [state.mark]) }, { mark: "made" });
        await db.execute("insert into t values ('made'), ('kept')");
        if (args.fail) throw new Error("no further");
    "#;
    let grant = ["--bind", &bind, "--grant", "database=read,write"];
    let said = ran(&rota, 1, &[&["-e", script, "--arg", "fail=true", "--unplanned"], &grant[..]].concat()).await;
    assert_eq!(said["compensations"][0]["status"], "done", "{said:#}");
    let mut session = database.connect().await.unwrap();
    let left: Vec<String> = sqlx::query_scalar("select s from t").fetch_all(&mut session).await.unwrap();
    assert_eq!(left, ["kept"]);
    ran(&rota, 0, &[&["-e", script, "--arg", "fail=false", "--yes"], &grant[..]].concat()).await;
    let left: i64 = sqlx::query_scalar("select count(*) from t").fetch_one(&mut session).await.unwrap();
    assert_eq!(left, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plan_prints_and_would_do_is_told_from_what_was_done() {
    let rota = rota();
    let database = fresh("exec_told", "create table t (i int)").await;
    let bind = format!("database={}", database.url());
    let script = "print('adding'); await db.execute('insert into t values ($1)', [args.id])";
    let call = ["-e", script, "--arg", "id=7", "--bind", &bind, "--grant", "database=read,write", "--output", "human"];
    let said = exec(&rota, &[&call[..], &["--plan"]].concat()).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    // Kept by `--plan > file`: the lines, marked, and the whole list.
    assert!(said.stdout.contains("plan| adding") && said.stdout.contains("insert into t values ($1)"), "{said:?}");
    assert!(said.stdout.contains("Would have these effects") && !said.stderr.contains("insert into t"), "{said:?}");
    // Agreed to beforehand, the effects are shown before they happen.
    let said = exec(&rota, &[&call[..], &["--yes"]].concat()).await;
    assert_eq!((said.status, said.stdout.as_str()), (Some(0), "adding\n1\n"), "{said:?}");
    let shown = said.stderr.find("Would have these effects").unwrap_or_else(|| panic!("{said:?}"));
    assert!(shown < said.stderr.find("succeeded").unwrap() && said.stderr.contains("insert into t"), "{said:?}");
    let said = exec(&rota, &[&call[..], &["--yes", "--quiet"]].concat()).await;
    assert!(said.status == Some(0) && !said.stderr.contains("Would have"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_argument_that_nothing_looks_at_is_told() {
    let rota = rota();
    let given = ["--arg", "limit=3", "--arg", "dry=true"];
    let said = exec(&rota, &[&["-e", "print(args.limit)"], &given[..]].concat()).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.stderr.contains("the argument dry") && !said.stderr.contains("the argument limit"), "{said:?}");
    assert_eq!(said.json().unwrap()["report"]["data"]["unused"], serde_json::json!(["dry"]));
    for script in ["const { limit, dry } = args; limit + dry", "print(args)", "JSON.stringify({ ...args })"] {
        let said = exec(&rota, &[&["-e", script], &given[..]].concat()).await;
        assert!(said.status == Some(0) && !said.stderr.contains("never looked at"), "{script}: {said:?}");
    }
    // In SQL as well; and told once, though it is planned first.
    let database = fresh("exec_unused", "create table t (i int)").await;
    let bind = format!("database={}", database.url());
    let sql = ["--language", "sql", "-e", "insert into t values (:limit)", "--bind", &bind];
    let said = exec(&rota, &[&sql[..], &given[..], &["--grant", "database=read,write", "--yes"]].concat()).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    assert_eq!(said.stderr.matches("no :dry").count(), 1, "{said:?}");
    assert!(!said.stderr.contains(":limit"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_between_the_plan_and_the_run_it_does_nothing() {
    let rota = rota();
    let database = fresh("exec_stopped", "create table t (i int); insert into t values (1)").await;
    let bind = format!("database={}", database.url());
    let words = ["exec", "-e", "await db.execute('delete from t')", "--bind", &bind, "--grant", "database=read,write"];
    for signal in ["INT", "TERM"] {
        let mut terminal = Terminal::begin(&rota, env!("CARGO_BIN_EXE_rota"), &words).await.unwrap();
        terminal.shows("run this effect? [y/N]").await.unwrap();
        terminal.signals(signal).await.unwrap();
        // Nobody answers.
        terminal.shows("ended: 130").await.unwrap();
        let mut session = database.connect().await.unwrap();
        let left: i64 = sqlx::query_scalar("select count(*) from t").fetch_one(&mut session).await.unwrap();
        assert_eq!(left, 1, "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_that_is_given_as_a_script_is_told_how_to_be_said() {
    let rota = rota();
    for sql in ["select count(*) from t", "  DELETE FROM t", "update t set a = 1", "select * from t"] {
        let said = exec(&rota, &["-e", sql]).await;
        assert!(said.status == Some(2) && said.all().contains("--language sql"), "{sql}: {said:?}");
    }
    for script in ["let update = 1; update", "const o = { a: 1 }; delete o.a", "table([{ a: 1 }], 'update it')"] {
        let said = exec(&rota, &["-e", script]).await;
        assert_eq!(said.status, Some(0), "{script}: {said:?}");
    }
    let said = exec(&rota, &["-e", "table('Orders', [{ a: 1 }])"]).await;
    assert!(said.status == Some(1) && said.all().contains("the rows come first"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_agreed_to_and_left_out_is_told() {
    let rota = rota();
    let database = fresh("exec_left", "create table t (i int); insert into t values (1)").await;
    let bind = format!("database={}", database.url());
    let grant = ["--bind", &bind, "--grant", "database=read,write", "--yes"];
    let half = "if (isPlan) await db.execute('insert into t values (2)'); await db.execute('insert into t values (3)')";
    // Another is next on the slot: so nothing happens.
    let said = ran(&rota, 3, &[&["-e", half], &grant[..]].concat()).await;
    assert!(error(&said).contains("not in the plan"), "{said:#}");
    let half = "await db.execute('insert into t values (3)'); if (isPlan) await db.execute('insert into t values (2)')";
    let said = ran(&rota, 0, &[&["-e", half], &grant[..]].concat()).await;
    let finding = &said["report"]["findings"][0];
    assert!(finding["title"].as_str().unwrap().starts_with("1 of the effects"), "{said:#}");
    assert_eq!(said["report"]["status"], "warning", "{said:#}");
    // What decides how a text is read cannot be changed behind what was agreed to.
    let dates = "if (!isPlan) await db.query(\"set datestyle to 'ISO, DMY'\"); await db.execute(\"delete from t where '01/02/2026'::date > now()\")";
    let said = exec(&rota, &[&["-e", dates], &grant[..]].concat()).await;
    assert!(said.status != Some(0) && said.stdout.contains("datestyle"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_before_a_question_does_not_answer_it() {
    let rota = rota();
    let database = fresh("exec_ahead", "create table t (i int)").await;
    let bind = format!("database={}", database.url());
    let script = "if (isPlan) { print('planning'); await sleep(3) } await db.execute('insert into t values (1)')";
    let words = ["exec", "-e", script, "--bind", &bind, "--grant", "database=read,write"];
    let mut terminal = Terminal::begin(&rota, env!("CARGO_BIN_EXE_rota"), &words).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    terminal.enters("y").await.unwrap();
    terminal.shows("run this effect? [y/N]").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let mut session = database.connect().await.unwrap();
    let rows: i64 = sqlx::query_scalar("select count(*) from t").fetch_one(&mut session).await.unwrap();
    assert_eq!(rows, 0);
    terminal.enters("n").await.unwrap();
    terminal.shows("ended: ").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_plan_could_not_list_is_agreed_to_by_nobody() {
    let rota = rota();
    let database = fresh("exec_unlisted", "create table t (i int)").await;
    let bind = format!("database={}", database.url());
    let script = "try { await compensate('unseen', async () => { await db.execute('delete from t') }) } catch {} 1";
    let words = ["-e", script, "--bind", &bind, "--grant", "database=read,write", "--yes", "--limit", "effects=0"];
    let said = ran(&rota, 3, &words).await;
    assert!(error(&said).contains("could not be listed"), "{said:#}");
    assert_eq!((&said["run"]["mode"], &said["compensations"]), (&"plan".into(), &serde_json::json!([])), "{said:#}");
    // As a statement of the shell likewise.
    let words = ["shell", "--bind", &bind, "--grant", "database=read,write", "--yes", "--limit", "effects=0"];
    let said = rota.run_with(&words, &format!("{script}\n")).await.unwrap();
    assert!(said.status == Some(1) && said.stdout.contains("could not be listed"), "{said:?}");
    let shown = rota.json(&["runs", "list"]).await.unwrap();
    for run in shown.as_array().unwrap() {
        let run = rota.json(&["runs", "show", run["id"].as_str().unwrap()]).await.unwrap();
        assert_eq!(run["compensations"], serde_json::json!([]), "{run:#}");
    }
}
