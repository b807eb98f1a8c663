//! `--record`, `record` of a job, and `rota runs replay`.

use super::{probe, refused, schema};
use crate::rota;
use rota_testbed::{Postgres, PostgresOptions, Valkey, eventually};
use rota_tests::{Rota, Said};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// The recordings in the state directory.
fn recordings(rota: &Rota) -> Vec<PathBuf> {
    let files = rota_tests::files(&rota.state().join("artifacts"));
    let named = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().starts_with("recording");
    files.into_iter().filter(named).collect()
}

/// The lines of a recording, however it ends.
fn lines(file: &PathBuf) -> Vec<Value> {
    use std::io::BufRead as _;
    let decoder = zstd::stream::read::Decoder::new(std::fs::File::open(file).unwrap()).unwrap();
    let lines = std::io::BufReader::new(decoder).lines().map_while(Result::ok);
    lines.filter_map(|line| serde_json::from_str(&line).ok()).collect()
}

async fn replay(rota: &Rota, more: &[&str], status: i32) -> Value {
    let said = rota.run(&[&["runs", "replay"][..], more].concat()).await.unwrap();
    assert_eq!(said.status, Some(status), "{more:?}: {said:?}");
    schema::valid("replay", &said)
}

async fn ran(rota: &Rota, arguments: &[&str], status: i32) -> Said {
    let said = rota.run(arguments).await.unwrap();
    assert_eq!(said.status, Some(status), "{arguments:?}: {said:?}");
    said
}

/// A script that uses everything that a script finds, clocks and chance included.
const SCRIPT: &str = r#"
const began = Date.now();
const seen = [];
for await (const row of db.query("select n, n::float8 / 3 as f, md5(n::text) as t, decode('00ff', 'hex') as b from generate_series(1, 3000) n")) {
    if (row.n % 1000 === 0) seen.push([row.n, row.f, row.t, row.b.length]);
}
const big = (await db.query("select 9007199254740993::int8 as n").one()).n;
await db.transaction(async (tx) => { await tx.execute("insert into t values ($1)", [7]); });
await cache.set("a", "b", { seconds: 60 });
const value = await cache.get("a");
await bucket.put("x.txt", "content of x");
const text = await bucket.getText("x.txt");
const names = [];
for await (const object of bucket.list("")) names.push(object.name);
const once = await step("once", async () => ({ at: Date.now(), chance: Math.random() }));
await compensate("back", async () => {}, { of: "x.txt" });
let refusal = null;
try { await db.query("select nothing from nowhere").all(); } catch (error) { refusal = [error.kind, error.code]; }
await Promise.all([sleep(0.02), sleep(0.01), db.query("select count(*) from generate_series(1, 20000)").all()]);
print("chance", Math.random(), Date.now() - began >= 20);
report.data({ seen, big: String(big), value, text, names, once, refusal, chance: Math.random(), at: Date.now() });
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_script_ends_the_same_when_its_servers_are_gone() {
    let rota = rota();
    let options = PostgresOptions { pgvector: false, ..PostgresOptions::default() };
    let mut server = Postgres::start(options).await.unwrap();
    server.create_database("shop").await.unwrap();
    server.execute("shop", "create table t (n int)").await.unwrap();
    let mut cache = Valkey::start().await.unwrap();
    std::fs::create_dir(rota.path("bucket")).unwrap();
    let binds = [
        format!("database={}", server.url("shop")),
        format!("cache={}", cache.url()),
        format!("bucket=file://{}", rota.path("bucket").display()),
    ];
    let mut arguments = vec!["exec", "-e", SCRIPT, "--record", "--unplanned", "--grant", "declared"];
    arguments.extend(binds.iter().flat_map(|bind| ["--bind", bind.as_str()]));
    let answer = schema::valid("answer", &ran(&rota, &arguments, 0).await);
    let data = &answer["report"]["data"]["data"];
    assert_eq!((&data["text"], &data["big"]), (&json!("content of x"), &json!("9007199254740993")), "{answer:#}");
    let kept = &answer["artifacts"][0];
    assert_eq!(kept["name"], "recording", "{answer:#}");
    let file = &recordings(&rota)[0];
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);

    server.stop().await.unwrap();
    cache.kill();
    std::fs::remove_dir_all(rota.path("bucket")).unwrap();
    let before = rota.json(&["runs", "list"]).await.unwrap();
    let same = replay(&rota, &["last"], 0).await;
    assert_eq!(same["result"], "same", "{same:#}");
    assert_eq!(same["end"]["report"]["data"], answer["report"]["data"], "the same report");
    assert_eq!(rota.json(&["runs", "list"]).await.unwrap(), before, "a replay is no run");
    assert!(!rota.path("bucket").exists() && recordings(&rota).len() == 1, "nothing was written");
    let human = ran(&rota, &["runs", "replay", "last", "--output", "human"], 0).await;
    assert!(human.stdout.contains("it ends as it did: reported"), "{human:?}");
    let shown = ran(&rota, &["runs", "show", "last", "--output", "human"], 0).await;
    assert!(shown.stdout.contains("artifact recording ("), "{shown:?}");

    // The calls before one, with their answers.
    let number = lines(file).iter().find(|line| line["ask"] == "cache.session.set").unwrap()["call"].as_u64().unwrap();
    let stopped = replay(&rota, &["last", "--until", &number.to_string()], 0).await;
    assert_eq!((&stopped["result"], &stopped["before_call"]), (&json!("until"), &json!(number)), "{stopped:#}");
    let last = stopped["last"].as_array().unwrap();
    assert!(last.iter().any(|made| made["asked"].as_str().unwrap().contains("insert into t values")), "{stopped:#}");
    assert!(last.iter().all(|made| made["call"].as_u64().unwrap() < number), "{stopped:#}");
}

/// A procedure in JavaScript, built.
async fn built(rota: &Rota, name: &str, work: &str) -> String {
    let folder = rota.path(&format!("work/{name}"));
    std::fs::create_dir_all(&folder).unwrap();
    let source = format!(
        "export default {{ name: \"mender\", version: \"0.1.0\", summary: \"Mends.\", description: \"Mends.\", risk: \"change\", idempotent: true,
           slots: {{ database: {{ capability: \"sql\", accesses: [\"read\", \"write\"], purpose: \"Mends it.\" }} }},
           parameters: {{ type: \"object\", properties: {{}}, additionalProperties: false }},
           report: {{ type: \"object\" }}, examples: [{{ title: \"Mend\", parameters: {{}} }}],
           async run() {{ {work} }} }};\n"
    );
    std::fs::write(folder.join("procedure.js"), source).unwrap();
    std::fs::write(folder.join("README.md"), "# mender\n").unwrap();
    ran(rota, &["plugin", "build", name], 0).await;
    let files = rota_tests::files(&folder);
    files.iter().find(|file| file.extension().is_some_and(|e| e == "wasm")).unwrap().display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_build_is_told_the_first_call_that_differs_or_that_it_would_have_worked() {
    let rota = rota();
    let database = Postgres::shared().await.unwrap().fresh_database("replayed").await.unwrap();
    database.execute("create table t (n int); insert into t values (1), (2)").await.unwrap();
    let first = "const rows = await db.query(\"select n from t order by n\"); ";
    let broken = built(&rota, "broken", &format!("{first} rows[5].n; report.summary(\"done\");")).await;
    let bind = format!("database={}", database.url());
    let run = ["run", &broken, "--bind", &bind, "--grant", "declared", "--record=on-failure"];
    let failed = schema::valid("answer", &ran(&rota, &run, 1).await);
    assert!(failed["error"]["message"].as_str().unwrap().contains("TypeError"), "{failed:#}");
    // The build that was recorded is kept, whatever becomes of the file.
    std::fs::remove_file(&broken).unwrap();
    let same = replay(&rota, &["last"], 0).await;
    assert_eq!((&same["result"], &same["end"]["ended"]), (&json!("same"), &json!("failed")), "{same:#}");

    let mended = built(&rota, "mended", &format!("{first} report.summary(\"saw \" + rows.length);")).await;
    let would = replay(&rota, &["last", "--with", &mended], 1).await;
    assert_eq!(would["result"], "differs");
    assert_eq!(would["recorded_end"]["ended"], "failed", "{would:#}");
    assert_eq!(would["end"]["report"]["summary"], "saw 2", "it would have worked: {would:#}");
    let human = ran(&rota, &["runs", "replay", "last", "--with", &mended, "--output", "human"], 1).await;
    assert!(human.stdout.contains("replayed  reported: saw 2"), "{human:?}");

    let other = "const rows = await db.query(\"select n\\nfrom t\\norder by n desc\"); report.summary(\"x\");";
    let other = built(&rota, "other", other).await;
    let differs = replay(&rota, &["last", "--with", &other], 1).await;
    let difference = &differs["difference"];
    assert!(difference["recorded"].as_str().unwrap().contains("select n from t order by n\""), "{differs:#}");
    assert!(difference["replayed"].as_str().unwrap().contains("order by n desc"), "{differs:#}");
    let human = ran(&rota, &["runs", "replay", "last", "--with", &other, "--output", "human"], 1).await;
    assert!(human.stdout.contains("--- recorded\n+++ replayed"), "{human:?}");
    assert!(human.stdout.lines().any(|line| line.starts_with('+') && line.contains("order by n desc")), "{human:?}");

    // What the recorded run did not ask for any more.
    let more = format!("{first} await db.execute(\"update t set n = 3\"); report.summary(\"x\");");
    let more = built(&rota, "more", &more).await;
    let beyond = replay(&rota, &["last", "--with", &more], 1).await;
    assert!(beyond["difference"]["what"].as_str().unwrap().contains("made no call after"), "{beyond:#}");
    assert!(!beyond["difference"]["replayed"].as_str().unwrap().is_empty(), "{beyond:#}");
    let less = built(&rota, "less", "report.summary(\"nothing\");").await;
    let missing = replay(&rota, &["last", "--with", &less], 1).await;
    assert!(missing["difference"]["what"].as_str().unwrap().contains("is not made"), "{missing:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_trapped_traps_again() {
    let rota = rota();
    let trapped = probe(&rota, "trap", json!({}), &["--record"], 1).await;
    let again = replay(&rota, &["last"], 0).await;
    assert_eq!(again["end"]["ended"], "trapped", "{again:#}");
    let said = again["end"]["said"].as_str().unwrap();
    assert!(trapped["error"]["message"].as_str().unwrap().contains(said), "{said}: {trapped:#}");
    probe(&rota, "panic", json!({}), &["--record"], 1).await;
    assert_eq!(replay(&rota, &["last"], 0).await["result"], "same");
    // A limit is gone over again.
    probe(&rota, "allocate", json!({}), &["--record", "--limit", "memory=16MiB"], 1).await;
    let over = replay(&rota, &["last"], 0).await;
    assert_eq!((&over["result"], &over["end"]["ended"]), (&json!("same"), &json!("limit")), "{over:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_fails_is_kept_on_failure_and_a_job_says_so() {
    let rota = rota();
    probe(&rota, "nothing", json!({}), &["--record=on-failure"], 0).await;
    assert_eq!(recordings(&rota), Vec::<PathBuf>::new());
    assert_eq!(rota_tests::files(&rota.state().join("artifacts")), Vec::<PathBuf>::new(), "nor its component");
    let why = refused(&rota, &["runs", "replay", "last"], 1, &["was not recorded", "--record"]).await;
    assert_eq!(why["error"]["kind"], "failed", "{why:#}");
    probe(&rota, "trap", json!({}), &["--record=on-failure"], 1).await;
    assert_eq!(recordings(&rota).len(), 1);
    probe(&rota, "trap", json!({}), &[], 1).await;
    assert_eq!(recordings(&rota).len(), 1, "never is the default");

    let file = rota_tests::probe::path();
    let toml = format!(
        "[jobs.looks]\nplugin = \"{0}\"\nrecord = \"always\"\nparameters = {{ do = \"nothing\" }}\n\
         [jobs.breaks]\nplugin = \"{0}\"\nrecord = \"on-failure\"\nparameters = {{ do = \"trap\" }}\n",
        file.display()
    );
    rota.configure(&toml).unwrap();
    ran(&rota, &["run", "looks"], 0).await;
    assert_eq!(recordings(&rota).len(), 2);
    assert_eq!(replay(&rota, &["last"], 0).await["result"], "same");
    ran(&rota, &["run", "breaks"], 1).await;
    ran(&rota, &["run", "looks", "--record=never"], 0).await;
    assert_eq!(recordings(&rota).len(), 3, "the flag goes over the job");
    let wrong = ran(&rota, &["run", "looks", "--record=sometimes"], 2).await;
    assert!(wrong.stderr.contains("sometimes") && wrong.stderr.contains("never, on-failure, always"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_would_be_too_large_ends_and_the_run_does_not() {
    let rota = rota();
    let database = Postgres::shared().await.unwrap().fresh_database("recorded_full").await.unwrap();
    let script = "let n = 0; for (let i = 0; i < 40; i++) for await (const row of db.query(\"select md5(random()::text) t from generate_series(1, 1000)\")) n++; report.data({ n });";
    let bind = format!("database={}", database.url());
    let arguments = ["exec", "-e", script, "--bind", &bind, "--record", "--limit", "record_bytes=64KiB"];
    let answer = schema::valid("answer", &ran(&rota, &arguments, 0).await);
    assert_eq!(answer["report"]["data"]["data"]["n"], 40_000, "{answer:#}");
    let size = std::fs::metadata(&recordings(&rota)[0]).unwrap().len();
    assert!((64 << 10..512 << 10).contains(&size), "{size}");
    assert_eq!(answer["artifacts"][0]["size"], size);
    let log = ran(&rota, &["runs", "logs", "last"], 0).await;
    assert!(log.stdout.contains("record_bytes"), "{log:?}");
    let ends = replay(&rota, &["last"], 0).await;
    assert_eq!((&ends["result"], &ends["why"]), (&json!("ends"), &json!("full")), "{ends:#}");
    let human = ran(&rota, &["runs", "replay", "last", "--output", "human"], 0).await;
    assert!(human.stdout.contains("the recording ends here, after call") && human.stdout.contains("record_bytes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_host_was_killed_replays_as_far_as_it_came() {
    let rota = rota();
    let calls = json!([
        rota_tests::probe::call("run.info", json!({})),
        rota_tests::probe::call("run.sleep", json!({ "milliseconds": 10 })),
        rota_tests::probe::call("run.step.begin", json!({})),
        rota_tests::probe::call("run.sleep", json!({ "milliseconds": 3_600_000 })),
    ]);
    let mut arguments = vec!["run".to_owned(), rota_tests::probe::path().display().to_string(), "--record".to_owned()];
    arguments.extend(rota_tests::probe::arguments("calls", &json!({ "calls": calls })));
    let running = rota.start(&arguments).unwrap();
    eventually(Duration::from_secs(30), "the long sleep", async || {
        let found = recordings(&rota);
        let sleeps = |line: &Value| line["arguments"]["milliseconds"] == 3_600_000;
        Ok(found.first().filter(|file| lines(file).iter().any(sleeps)).map(drop))
    })
    .await
    .unwrap();
    running.signal(Signal::KILL).unwrap();
    running.end().await.unwrap();
    let run = &rota.json(&["runs", "list"]).await.unwrap()[0];
    assert_eq!(run["status"], "unknown", "{run}");
    let ends = replay(&rota, &["last"], 0).await;
    assert_eq!((&ends["result"], &ends["why"]), (&json!("ends"), &json!("torn")), "{ends:#}");
    let last = lines(&recordings(&rota)[0]).iter().filter_map(|line| line["call"].as_u64()).max();
    assert_eq!(ends["after_call"].as_u64(), last, "{ends:#}");
    let shown = ran(&rota, &["runs", "show", "last", "--output", "human"], 0).await;
    assert!(shown.stdout.contains("artifact recording (") && shown.stdout.contains("not whole"), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_ended_from_outside_replays_as_far_as_it_came() {
    let rota = rota();
    let sleep = rota_tests::probe::call("run.sleep", json!({ "milliseconds": 3_600_000 }));
    probe(&rota, "calls", json!({ "calls": [sleep] }), &["--record", "--timeout", "500ms"], 124).await;
    let ends = replay(&rota, &["last"], 0).await;
    assert_eq!((&ends["result"], &ends["why"]), (&json!("ends"), &json!("ended")), "{ends:#}");
    assert_eq!(ends["recorded_end"]["ended"], "timed-out", "{ends:#}");
    // One that sleeps by a clock of its own does so again, until its time is over again.
    probe(&rota, "sleep", json!({}), &["--record", "--timeout", "500ms"], 124).await;
    let same = replay(&rota, &["last"], 0).await;
    assert_eq!((&same["result"], &same["end"]["ended"]), (&json!("same"), &json!("timed-out")), "{same:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_says_of_its_limits_goes_no_further_than_this_host() {
    let rota = rota();
    let copy = rota.path("work/copy");
    let copy = copy.to_str().unwrap();
    let component = rota_tests::probe::path().display().to_string();
    // A run of this store keeps what it was allowed; its recording as a file is anybody's word.
    probe(&rota, "nothing", json!({}), &["--record", "--limit", "cpu=2m"], 0).await;
    std::fs::copy(&recordings(&rota)[0], copy).unwrap();
    let own = replay(&rota, &["last"], 0).await;
    assert_eq!((&own["result"], own.get("lower_limits")), (&json!("same"), None), "{own:#}");
    let file = replay(&rota, &[copy, "--with", &component], 0).await;
    assert_eq!((&file["result"], &file["lower_limits"]), (&json!("same"), &json!(["cpu"])), "{file:#}");
    let human = ran(&rota, &["runs", "replay", copy, "--with", &component, "--output", "human"], 0).await;
    assert!(human.stdout.contains("held to lower limits than the recorded run, those of this host: cpu"), "{human:?}");

    // What it may use here is what it gets.
    probe(&rota, "allocate", json!({}), &["--record", "--limit", "memory=64MiB"], 1).await;
    let run = rota.json(&["runs", "list"]).await.unwrap()[0]["id"].as_str().unwrap().to_owned();
    let recording = recordings(&rota).into_iter().find(|file| file.to_string_lossy().contains(&run)).unwrap();
    std::fs::copy(recording, copy).unwrap();
    rota.configure("[limits]\nmemory = \"16MiB\"\n").unwrap();
    let own = replay(&rota, &["last"], 0).await;
    assert_eq!((&own["result"], &own["end"]["ended"]), (&json!("same"), &json!("limit")), "{own:#}");
    let held = replay(&rota, &[copy, "--with", &component], 1).await;
    assert_eq!((&held["result"], &held["end"]["ended"]), (&json!("differs"), &json!("limit")), "{held:#}");
    assert_eq!(held["lower_limits"], json!(["memory"]), "{held:#}");
    assert_ne!(held["end"]["said"], held["recorded_end"]["said"], "{held:#}");
}

#[tokio::test]
async fn what_cannot_be_replayed_is_told() {
    let rota = rota();
    refused(&rota, &["runs", "replay", "last"], 1, &["run"]).await;
    probe(&rota, "nothing", json!({}), &["--record"], 0).await;
    refused(&rota, &["runs", "replay", "last", "--attempt", "2"], 1, &["was not recorded"]).await;
    refused(&rota, &["runs", "replay", "last", "--with", "nowhere.wasm"], 2, &["nowhere.wasm"]).await;
    let file = recordings(&rota).remove(0);
    let whole = std::fs::read(&file).unwrap();
    // As a file: also one that lies elsewhere, with its component beside it or installed.
    let copy = file.with_file_name("copy");
    std::fs::write(&copy, &whole).unwrap();
    assert_eq!(replay(&rota, &[copy.to_str().unwrap()], 0).await["result"], "same");
    let other = ["runs", "replay", copy.to_str().unwrap(), "--attempt", "2"];
    refused(&rota, &other, 2, &["the recording of one attempt", "--attempt 2"]).await;
    // All was flushed, and its end never written.
    std::fs::write(&copy, &whole[..whole.len() - 2]).unwrap();
    assert_eq!(replay(&rota, &[copy.to_str().unwrap()], 0).await["result"], "same");
    std::fs::write(&copy, &whole[..20]).unwrap();
    refused(&rota, &["runs", "replay", copy.to_str().unwrap()], 1, &["broke off before its first line"]).await;
    std::fs::write(&copy, b"no recording at all").unwrap();
    refused(&rota, &["runs", "replay", copy.to_str().unwrap()], 1, &["recording", "copy"]).await;
    let newer = zstd::encode_all(&b"{\"rota-recording\":99}\n"[..], 1).unwrap();
    std::fs::write(&copy, newer).unwrap();
    refused(&rota, &["runs", "replay", copy.to_str().unwrap()], 1, &["format 99"]).await;
    // What the run kept is what is replayed.
    let mut altered = whole.clone();
    *altered.last_mut().unwrap() ^= 1;
    std::fs::write(&file, altered).unwrap();
    refused(&rota, &["runs", "replay", "last"], 1, &["its hash differs"]).await;
}
