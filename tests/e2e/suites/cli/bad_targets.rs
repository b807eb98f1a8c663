//! Targets that are away, refuse, are missing, read-only or full; and names that no target should choke on.

use super::{probe, refused};
use crate::rota;
use rota_testbed::{Postgres, PostgresAccess, PostgresVersion, S3, SmallDisk, free_port};
use rota_tests::{Rota, Said};
use serde_json::{Value, json};

async fn health(bind: &str, status: i32, kind: &str, texts: &[&str]) -> Value {
    let rota = rota();
    let answer = refused(&rota, &["run", "postgres-health", "--bind", bind], status, texts).await;
    assert_eq!(answer["error"]["kind"], kind, "{answer}");
    answer
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable() {
    let port = free_port().unwrap();
    let bind = format!("database=postgres://rota:geheim-4711@127.0.0.1:{port}/shop");
    let answer = health(&bind, 1, "unavailable", &["binding `database`", "nothing listens at its address"]).await;
    assert!(!answer.to_string().contains("geheim-4711"), "{answer}");
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_unavailable() {
    health(
        "database=postgres://rota@no-such-host.invalid/shop",
        1,
        "unavailable",
        &["cannot be reached", "check host and port"],
    )
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let server = Postgres::shared().await.unwrap();
    let (role, password) = server.fresh_role("mistaken", "").await.unwrap();
    let bind = format!("database={}", server.url_as(&role, "geheim-4711", "postgres"));
    let answer = health(&bind, 1, "failed", &["password authentication failed", &role]).await;
    assert!(!answer.to_string().contains("geheim-4711") && !answer.to_string().contains(&password), "{answer}");
}

#[tokio::test]
async fn a_database_or_role_that_is_missing_is_named() {
    let server = Postgres::shared().await.unwrap();
    health(
        &format!("database={}", server.url("no_such_database")),
        1,
        "failed",
        &["no_such_database", "create the database"],
    )
    .await;
    let mut rota = rota();
    rota.set("URL", server.url("postgres"));
    rota.configure("[bindings.shop]\nkind = \"sql\"\nurl = \"env:URL\"\nrole = \"no_such_role\"\n").unwrap();
    refused(&rota, &["run", "postgres-health", "--bind", "database=shop"], 1, &["no_such_role", "`shop`"]).await;
}

#[tokio::test]
async fn something_that_is_no_postgres_is_told() {
    let s3 = S3::shared().await.unwrap();
    let rota = rota();
    let toml = format!(
        "[bindings.shop]\nkind = \"sql\"\nurl = \"postgres://rota@127.0.0.1:{}/shop\"\nconnect_timeout = \"1s\"\n",
        s3.port()
    );
    rota.configure(&toml).unwrap();
    let answer = refused(&rota, &["run", "postgres-health", "--bind", "database=shop"], 1, &["binding `shop`"]).await;
    assert_eq!(answer["error"]["kind"], "unavailable");
}

#[tokio::test]
async fn names_with_odd_characters_are_read_and_vacuumed_as_they_are() {
    let server = Postgres::shared().await.unwrap();
    // Options, quotes, spaces and lines in one database's name would break anything that pastes.
    let name = format!("-x \"o'dd\" %s {}", &rota_testbed::random_secret().unwrap()[..8]);
    server.create_database(&name).await.unwrap();
    let long = "ü".repeat(31) + "x";
    let tables = ["a\"b", "line\nbreak", "100%s", "🦀 emoji", &long, "select", "a.b", "'); drop table keep; --"];
    for table in tables {
        let quoted = table.replace('"', "\"\"");
        let statement =
            format!("create table \"{quoted}\" as select n from generate_series(1, 50) n; delete from \"{quoted}\"");
        server.execute(&name, &statement).await.unwrap();
    }
    let rota = rota();
    let bind = format!("database={}", server.url(&name));
    let health = rota.json(&["run", "postgres-health", "--bind", &bind, "-p", "largest=100"]).await.unwrap();
    super::schema::check("answer", &health);
    assert_eq!(health["report"]["data"]["server"]["database"], name);
    let said = health["report"]["data"]["sizes"].to_string();
    for table in tables {
        let shown = serde_json::to_string(table).unwrap();
        assert!(
            said.contains(shown.trim_matches('"')) || said.contains(&table.replace('\n', "\\n")),
            "{table}: {said}"
        );
    }
    let arguments = ["run", "postgres-vacuum", "--bind", &bind, "--grant", "declared", "-p", "min_dead_rows=0"];
    let vacuum = rota.json(&arguments).await.unwrap();
    let done = vacuum["effects"].as_array().unwrap().iter().filter(|effect| effect["outcome"] == "done").count();
    assert!(done >= tables.len(), "each table is vacuumed: {vacuum:#}");
    let mut connection = server.connect(&name).await.unwrap();
    let dead: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace and relpages > 0",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(dead.is_empty(), "vacuum gave the pages of {dead:?} back");
    drop(connection);
    server.execute("postgres", &format!("drop database \"{}\" with (force)", name.replace('"', "\"\""))).await.unwrap();
}

async fn backup(server: &PostgresAccess, database: &str, rota: &Rota) -> Said {
    std::fs::create_dir_all(rota.path("bucket")).unwrap();
    let program = Postgres::shared().await.unwrap().program("pg_dump").unwrap();
    let bind = [
        format!("database={}", server.url(database)),
        format!("bucket=file://{}", rota.path("bucket").display()),
        format!("pg_dump={}", program.display()),
    ];
    let arguments =
        ["run", "postgres-backup", "--grant", "declared", "--bind", &bind[0], "--bind", &bind[1], "--bind", &bind[2]];
    rota.run(&arguments).await.unwrap()
}

#[tokio::test]
async fn a_server_that_is_newer_than_the_program_is_told_with_both_versions() {
    let server = Postgres::shared_version(PostgresVersion::V18).await.unwrap();
    let rota = rota();
    let said = backup(&server, "postgres", &rota).await;
    assert_eq!(said.status, Some(1), "{said:?}");
    let answer = super::schema::valid("answer", &said);
    super::says(&said, &answer, &["pg_dump 16", "18."]);
    assert!(rota_tests::files(&rota.path("bucket")).is_empty());
}

#[tokio::test]
async fn a_database_named_like_an_option_is_backed_up() {
    let server = Postgres::shared().await.unwrap();
    // The name is the whole server's; another test run on it would have the same.
    let name = format!("-x{}", &rota_testbed::random_secret().unwrap()[..8]);
    server.create_database(&name).await.unwrap();
    server.execute(&name, "create table \"--help\" as select 42 as n").await.unwrap();
    let rota = rota();
    let said = backup(&server, &name, &rota).await;
    server.execute("postgres", &format!("drop database \"{name}\" with (force)")).await.unwrap();
    assert_eq!(said.status, Some(0), "{said:?}");
    let files = rota_tests::files(&rota.path("bucket"));
    let manifest = files.iter().find(|file| file.ends_with("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
    assert_eq!(manifest["source"]["database"], name);
    assert_eq!(manifest["rows"]["tables"], json!([{ "schema": "public", "table": "--help", "rows": 1 }]));
}

fn put(size: u64) -> Value {
    json!({ "call": { "import": "storage.bucket.put", "name": "new.bin", "data": "x".repeat(usize::try_from(size).unwrap()) } })
}

async fn put_fails(folder: &str, size: u64, texts: &[&str]) {
    let rota = rota();
    let file = rota.path("work/parameters.json");
    let mut parameters = put(size);
    parameters["do"] = json!("call");
    parameters["fail"] = json!(true);
    std::fs::write(file, parameters.to_string()).unwrap();
    let bind = format!("bucket={folder}");
    let path = rota_tests::probe::path();
    let arguments = ["run", path.to_str().unwrap(), "-p", "@parameters.json", "--bind", &bind, "--grant", "declared"];
    let said = rota.run(&arguments).await.unwrap();
    assert_eq!(said.status, Some(1), "{said:?}");
    let answer = super::schema::valid("answer", &said);
    let told = format!("{} {}", answer["report"]["data"], answer["effects"]);
    for text in texts {
        assert!(told.contains(text), "it does not say `{text}`: {told}");
    }
    assert_eq!(answer["effects"][0]["outcome"], "failed", "{answer}");
}

#[tokio::test]
async fn a_bucket_that_is_missing_or_may_not_be_written_is_told() {
    let s3 = S3::shared().await.unwrap();
    let mut rota = rota();
    rota.set("ACCESS", &s3.keys().access_key).set("SECRET", &s3.keys().secret_key);
    rota.set("READER", &s3.reader().access_key).set("READERS", &s3.reader().secret_key);
    let binding = |name: &str, bucket: &str, access: &str, secret: &str| {
        format!(
            "[bindings.{name}]\nkind = \"storage\"\nurl = \"s3://{bucket}/x\"\nendpoint = \"{}\"\nregion = \"any\"\n\
             access_key = \"env:{access}\"\nsecret_key = \"env:{secret}\"\n",
            s3.endpoint()
        )
    };
    let toml = [
        binding("missing", "no-such-bucket", "ACCESS", "SECRET"),
        binding("read-only", s3.bucket(), "READER", "READERS"),
        binding("wrong-key", s3.bucket(), "ACCESS", "READERS"),
    ]
    .concat();
    rota.configure(&toml).unwrap();
    for (bucket, text) in
        [("missing", "no-such-bucket"), ("read-only", "AccessDenied"), ("wrong-key", "SignatureDoesNotMatch")]
    {
        let bind = format!("bucket={bucket}");
        let mut parameters = put(10);
        parameters["fail"] = json!(true);
        let answer = probe(&rota, "call", parameters, &["--bind", &bind, "--grant", "declared"], 1).await;
        let told = format!("{} {}", answer["report"]["data"], answer["error"]);
        assert!(told.contains(text), "{bucket}: {told}");
        for secret in [&s3.keys().secret_key, &s3.reader().secret_key] {
            assert!(!answer.to_string().contains(secret.as_str()), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_folder_that_is_missing_is_told() {
    let rota = rota();
    let answer = {
        let bind = format!("bucket=file://{}/not/there", rota.folder().display());
        let mut parameters = put(10);
        parameters["fail"] = json!(true);
        probe(&rota, "call", parameters, &["--bind", &bind, "--grant", "declared"], 1).await
    };
    let told = answer["report"]["data"].to_string();
    assert!(told.contains("/not/there"), "{told}");
    assert!(!rota.path("not").exists(), "a folder that the operator did not make is not made");
}

#[tokio::test]
async fn a_read_only_folder_is_told_and_nothing_is_left() {
    let Some(disk) = SmallDisk::mount(8).unwrap() else { return skipped("a read-only folder") };
    let folder = disk.path().join("bucket");
    std::fs::create_dir(&folder).unwrap();
    let read_only = |word| std::process::Command::new("mount").args(["-o", word]).arg(disk.path()).status().unwrap();
    assert!(read_only("remount,ro").success());
    put_fails(&format!("file://{}", folder.display()), 10, &["ead-only"]).await;
    assert!(read_only("remount,rw").success());
    assert!(rota_tests::files(&folder).is_empty());
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_is_left() {
    let Some(disk) = SmallDisk::mount(8).unwrap() else { return skipped("a full disk") };
    let folder = disk.path().join("bucket");
    std::fs::create_dir(&folder).unwrap();
    disk.fill(100 << 10).unwrap();
    put_fails(&format!("file://{}", folder.display()), 1 << 20, &["o space"]).await;
    assert!(rota_tests::files(&folder).is_empty(), "a half-written object was left");
    assert!(disk.free().unwrap() > 90 << 10, "the space is free again");
}

#[tokio::test]
async fn a_state_directory_that_is_full_begins_no_run() {
    let Some(disk) = SmallDisk::mount(8).unwrap() else { return skipped("a full state directory") };
    let mut rota = rota();
    let bucket = rota.path("bucket");
    std::fs::create_dir(&bucket).unwrap();
    rota.set("ROTA_STATE_DIR", disk.path().join("state"));
    probe(&rota, "nothing", json!({}), &[], 0).await;
    disk.fill(0).unwrap();
    let bind = format!("bucket=file://{}", bucket.display());
    let answer = probe(&rota, "call", put(10), &["--bind", &bind, "--grant", "declared"], 1).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("full"), "{message}");
    assert!(rota_tests::files(&bucket).is_empty(), "no record, no effect");
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    probe(&rota, "nothing", json!({}), &[], 0).await;
}

/// A test that needs to mount says that it did not run.
fn skipped(what: &str) {
    eprintln!("skipped: {what} needs the right to mount");
}
