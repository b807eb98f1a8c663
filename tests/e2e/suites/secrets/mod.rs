//! Canary secrets: a password, a bucket's keys, an age identity. After runs that succeed and runs that fail, none is in any output,
//! log, record, artifact or report, nor in the guest's memory, in any spelling; at the most talkative log level.

mod finder;

use crate::rota;
use finder::{Canary, clean, clean_folder};
use rota_testbed::{Database, Postgres, S3, random_secret};
use rota_tests::{Rota, Said, probe};
use serde_json::{Value, json};

struct Guarded {
    rota: Rota,
    database: Database,
    role: String,
    canaries: Vec<Canary>,
    recipient: String,
    /// Holds the identity; not in the folder that is searched.
    _key: tempfile::TempDir,
}

impl Guarded {
    async fn start() -> Self {
        let server = Postgres::shared().await.unwrap();
        let database = server.fresh_database("guarded").await.unwrap();
        // What a URL must encode, and what JSON, a shell or SQL could stumble over.
        let password = format!("K:n/0 b@el%{}+\"q", random_secret().unwrap());
        let role = format!("keeper_{}", &random_secret().unwrap()[..12]);
        let statement = format!("create role \"{role}\" login password '{password}'");
        server.execute("postgres", &statement).await.unwrap();
        // An application that keeps its password where it should not: then the server repeats it in errors.
        let setup = format!(
            "create table probe (n int); grant all on probe to \"{role}\"; insert into probe values (1);
             create table vault as select '{password}'::text as secret; grant select on vault to \"{role}\""
        );
        database.execute(&setup).await.unwrap();
        let s3 = S3::shared().await.unwrap();
        let key = tempfile::tempdir().unwrap();
        let identity = age::x25519::Identity::generate();
        let exposed = crate::exposed(&identity);
        crate::write_private(&key.path().join("key.txt"), &exposed).unwrap();
        let mut rota = rota();
        rota.set("URL", database.url_as(&role, &password))
            .set("ACCESS", &s3.keys().access_key)
            .set("SECRET", &s3.keys().secret_key)
            .set("ROTA_LOG", "trace");
        let toml = format!(
            "[bindings.shop]\nkind = \"sql\"\nurl = \"env:URL\"\n\
             [bindings.bucket]\nkind = \"storage\"\nurl = \"s3://{}/{role}\"\nendpoint = \"{}\"\nregion = \"any\"\n\
             access_key = \"env:ACCESS\"\nsecret_key = \"env:SECRET\"\n\
             [bindings.dump]\nkind = \"tool\"\npath = \"{}\"\n\
             [bindings.key]\nkind = \"key\"\nidentity = \"file:{}\"\n",
            s3.bucket(),
            s3.endpoint(),
            server.program("pg_dump").unwrap().display(),
            key.path().join("key.txt").display(),
        );
        rota.configure(&toml).unwrap();
        let canaries = vec![
            Canary::new("password", password),
            Canary::new("secret key", &s3.keys().secret_key),
            Canary::new("age identity", exposed),
        ];
        Self { rota, database, role, canaries, recipient: identity.to_public().to_string(), _key: key }
    }

    /// Runs the probe with everything bound and granted.
    async fn probe(&self, calls: &[Value], more: &[&str], search: &[Value]) -> Said {
        let parameters = json!({ "calls": calls, "search": search });
        let mut arguments = vec!["run".to_owned(), probe::path().display().to_string()];
        arguments.extend(probe::arguments("calls", &parameters));
        for (slot, binding) in [("database", "shop"), ("bucket", "bucket"), ("program", "dump"), ("key", "key")] {
            arguments.extend(["--bind".to_owned(), format!("{slot}={binding}")]);
        }
        arguments.extend(["--grant", "declared"].map(str::to_owned));
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        self.rota.run(&arguments).await.unwrap()
    }

    fn every_import(&self) -> Vec<Value> {
        vec![
            probe::call("sql.session.server", json!({})),
            probe::call("sql.session.query", json!({ "statement": "select 'memory-control'" })),
            probe::call("sql.session.execute", json!({ "statement": "insert into probe values (2)" })),
            probe::call("storage.bucket.put", json!({})),
            probe::call("storage.bucket.get", json!({})),
            probe::call("storage.bucket.list", json!({})),
            probe::call("tools.info", json!({})),
            probe::call(
                "tools.spawn",
                json!({ "arguments": ["--format=custom", "--table=probe"], "connection": "database" }),
            ),
            probe::call("bytes.decrypt", json!({ "recipient": self.recipient })),
            probe::call("run.artifact", json!({})),
            probe::call("run.info", json!({})),
            probe::call("run.slots", json!({})),
        ]
    }

    /// Nothing of what was said or kept holds a canary.
    async fn clean(&self, what: &str, said: &Said) {
        clean(&self.canaries, &format!("stdout of {what}"), said.stdout.as_bytes());
        clean(&self.canaries, &format!("stderr of {what}"), said.stderr.as_bytes());
        for arguments in [&["runs", "show", "last"][..], &["runs", "logs", "last"], &["runs", "list"]] {
            for form in ["json", "human"] {
                let told = self.rota.run(&[arguments, &["--output", form]].concat()).await.unwrap();
                clean(&self.canaries, &format!("{arguments:?} after {what}"), told.all().as_bytes());
            }
        }
        clean_folder(&self.canaries, self.rota.folder());
    }
}

/// The halves of every spelling, for the guest to look for in its own memory.
fn halves(canaries: &[Canary]) -> Vec<Value> {
    let spellings = canaries.iter().flat_map(Canary::spellings);
    spellings
        .map(|(_, spelling)| {
            let middle = (spelling.len() / 2..).find(|at| spelling.is_char_boundary(*at)).unwrap();
            json!([spelling[..middle], spelling[middle..]])
        })
        .collect()
}

#[tokio::test]
async fn a_run_that_succeeds_tells_no_secret_to_anyone_its_guest_included() {
    let guarded = Guarded::start().await;
    let mut search = vec![json!(["memory-", "control"])];
    search.extend(halves(&guarded.canaries));
    let said = guarded.probe(&guarded.every_import(), &[], &search).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    let data = said.json().unwrap()["report"]["data"].clone();
    for answer in data["answers"].as_array().unwrap() {
        assert!(answer.get("ok").is_some(), "every import did its work: {answer}");
    }
    let found: Vec<u64> = data["found"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).collect();
    assert!(found[0] > 0, "the search finds what the guest was told: {found:?}");
    assert!(found[1..].iter().all(|count| *count == 0), "a secret is in the guest's memory: {found:?}");
    guarded.clean("a run that succeeds", &said).await;
}

#[tokio::test]
async fn a_recording_holds_no_secret() {
    let guarded = Guarded::start().await;
    let mut calls = guarded.every_import();
    let vault = [
        "select secret, secret::bytea, encode(secret::bytea, 'base64'), to_json(secret) from vault",
        "select secret::int from vault",
        "copy vault to stdout",
    ];
    calls.extend(vault[..2].iter().map(|text| probe::call("sql.session.query", json!({ "statement": text }))));
    calls.push(probe::call("sql.session.copy-out", json!({ "statement": vault[2] })));
    let said = guarded.probe(&calls, &["--record"], &[]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    guarded.clean("a run that is recorded", &said).await;
    let files = rota_tests::files(&guarded.rota.state());
    let file = files.iter().find(|file| file.ends_with("recording")).expect("a recording");
    let text = zstd::decode_all(std::fs::File::open(file).unwrap()).unwrap();
    clean(&guarded.canaries, "the recording", &text);
    // Bytes are kept as base64, which could hide one where it stands among others.
    for line in String::from_utf8(text).unwrap().lines() {
        for part in line.split('"') {
            if let Ok(bytes) = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, part) {
                clean(&guarded.canaries, "bytes of the recording", &bytes);
            }
        }
    }
    let again = guarded.rota.run(&["runs", "replay", "last"]).await.unwrap();
    clean(&guarded.canaries, "the replay", again.all().as_bytes());
}

#[tokio::test]
async fn a_plan_tells_no_secret() {
    let guarded = Guarded::start().await;
    let calls: Vec<Value> = guarded.every_import();
    let said = guarded.probe(&calls, &["--plan"], &[]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    guarded.clean("a plan", &said).await;
}

#[tokio::test]
async fn what_a_server_repeats_of_a_secret_is_masked_for_all_and_for_the_guest() {
    let guarded = Guarded::start().await;
    let echoes = [
        "select secret::int from vault",
        "select ('postgres://keeper:' || secret || '@db.example/shop')::int from vault",
        "select encode(secret::bytea, 'hex')::int from vault",
        "select encode(secret::bytea, 'base64')::int from vault",
        "select ('x' || encode(secret::bytea, 'base64'))::int from vault",
    ];
    let calls: Vec<Value> =
        echoes.iter().map(|statement| probe::call("sql.session.query", json!({ "statement": statement }))).collect();
    let said = guarded.probe(&calls, &[], &halves(&guarded.canaries[..1])).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    let data = said.json().unwrap()["report"]["data"].clone();
    for answer in data["answers"].as_array().unwrap() {
        let text = answer["text"].as_str().unwrap();
        assert!(text.contains("invalid input syntax"), "the server said something that repeats it: {answer}");
    }
    let found = data["found"].as_array().unwrap();
    assert!(found.iter().all(|count| count == 0), "the guest heard a secret: {found:?}");
    guarded.clean("errors that repeat it", &said).await;
}

#[tokio::test]
async fn what_a_guest_reads_of_a_secret_is_masked_in_its_report_and_log() {
    let guarded = Guarded::start().await;
    let calls = [probe::call(
        "sql.session.query",
        json!({ "statement": "select secret, encode(secret::bytea, 'base64') from vault" }),
    )];
    let said = guarded.probe(&calls, &[], &[]).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    assert_eq!(said.json().unwrap()["report"]["data"]["answers"][0]["ok"]["count"], 1);
    guarded.clean("a report that holds it", &said).await;
}

#[tokio::test]
async fn what_a_program_says_of_a_secret_is_masked() {
    let guarded = Guarded::start().await;
    // pg_dump names the table that it may not read, and somebody named it so.
    let name = guarded.canaries[0].secret.replace('"', "\"\"");
    guarded.database.execute(&format!("create table \"{name}\" (n int)")).await.unwrap();
    let dump = json!({ "arguments": ["--format=custom"], "connection": "database" });
    let said = guarded.probe(&[probe::call("tools.spawn", dump)], &[], &halves(&guarded.canaries[..1])).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    let answer = said.json().unwrap()["report"]["data"]["answers"][0].clone();
    assert!(answer.to_string().contains("permission denied"), "pg_dump said so: {answer}");
    assert!(said.json().unwrap()["report"]["data"]["found"].as_array().unwrap().iter().all(|count| count == 0));
    guarded.clean("a program that repeats it", &said).await;
}

#[tokio::test]
async fn failing_logins_tell_no_secret() {
    let mut guarded = Guarded::start().await;
    let wrong = format!("wr0ng p@ss/{}", random_secret().unwrap());
    guarded.rota.set("URL", guarded.database.url_as(&guarded.role, &wrong));
    guarded.rota.set("SECRET", random_secret().unwrap());
    guarded.canaries.push(Canary::new("wrong password", wrong));
    let said = guarded.probe(&guarded.every_import(), &[], &halves(&guarded.canaries)).await;
    assert_eq!(said.status, Some(0), "{said:?}");
    let data = said.json().unwrap()["report"]["data"].clone();
    let refused = data["answers"].to_string();
    assert!(
        refused.contains("password authentication failed") && refused.contains("SignatureDoesNotMatch"),
        "{refused}"
    );
    assert!(data["found"].as_array().unwrap().iter().all(|count| count == 0), "{data}");
    guarded.clean("logins that fail", &said).await;
    let said = guarded.rota.run(&["run", "postgres-health", "--bind", "database=shop"]).await.unwrap();
    assert_eq!(said.status, Some(1), "{said:?}");
    guarded.clean("a procedure that fails", &said).await;
    let said = guarded.rota.run(&["doctor"]).await.unwrap();
    assert_eq!(said.status, Some(1), "{said:?}");
    guarded.clean("the doctor", &said).await;
}

#[tokio::test]
async fn a_secret_on_the_command_line_is_not_kept() {
    let guarded = Guarded::start().await;
    let url = guarded.database.url_as(&guarded.role, &guarded.canaries[0].secret);
    for (bind, status) in
        [(url.clone(), 0), (format!("{url}?sslmode=nonsense"), 2), (url.replace("postgres://", "postgers://"), 2)]
    {
        let bind = format!("database={bind}");
        let said = guarded.rota.run(&["run", "postgres-health", "--bind", &bind]).await.unwrap();
        assert_eq!(said.status, Some(status), "{said:?}");
        guarded.clean("a URL on the command line", &said).await;
    }
}

#[tokio::test]
async fn a_backup_with_all_three_secrets_tells_none() {
    let guarded = Guarded::start().await;
    guarded.database.execute("drop table vault").await.unwrap();
    let recipients = format!("recipients=[\"{}\"]", guarded.recipient);
    let mut arguments = vec!["run", "postgres-backup", "-p", &recipients, "--grant", "declared"];
    for bind in ["database=shop", "bucket=bucket", "pg_dump=dump", "key=key"] {
        arguments.extend(["--bind", bind]);
    }
    let said = guarded.rota.run(&arguments).await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    guarded.clean("a backup", &said).await;
}
