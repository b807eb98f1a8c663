//! pg_dump, pg_dumpall and pg_restore against a real server.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::common;

use common::{Run, eventually, sql, tool, words};
use rota_authority::Mode;
use rota_capability_tools::{Connection, Ended};
use rota_config::ToolProfile;
use rota_contract::Error;
use rota_testbed::{Postgres, PostgresAccess, PostgresVersion};
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt as _;
use tokio::io::AsyncReadExt as _;

const RESTORES: &[&str] = &["read", "write", "ddl", "index", "maintain"];

fn run_on(server: &PostgresAccess, mode: Mode, url: &str, accesses: &[&str]) -> Run {
    let program = |name: &str| server.program(name).unwrap();
    Run::new(
        mode,
        vec![
            tool("pg_dump", &program("pg_dump"), ToolProfile::PgDump, &[]),
            tool("pg_dumpall", &program("pg_dumpall"), ToolProfile::PgDumpall, &[]),
            tool("pg_restore", &program("pg_restore"), ToolProfile::PgRestore, &[]),
            sql("database", url, accesses),
        ],
    )
}

fn to(database: &str) -> Option<Connection> {
    Some(Connection { slot: "database".into(), database: Some(database.into()) })
}

fn own() -> Option<Connection> {
    Some(Connection { slot: "database".into(), database: None })
}

async fn dump(run: &Run, arguments: &[&str], connection: Option<Connection>) -> Result<Vec<u8>, std::io::Error> {
    let mut child = run.client.spawn("pg_dump", &words(arguments), connection, None).await.unwrap();
    let mut bytes = Vec::new();
    child.stdout().unwrap().read_to_end(&mut bytes).await.map(|_| bytes)
}

async fn count(server: &PostgresAccess, database: &str) -> i64 {
    let mut connection = server.connect(database).await.unwrap();
    sqlx::query_scalar("select count(*) from \"t a\"").fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn databases_with_odd_names_are_dumped_and_restored() {
    let server = Postgres::shared().await.unwrap();
    let unique = &rota_testbed::random_secret().unwrap()[..8];
    for odd in ["-x", "a\"b", "p=1 q", "naïve", "postgres://evil/", "it's \\", " blank ", "--host=evil"] {
        let (from, into) = (format!("{odd}{unique}"), format!("{odd}{unique}2"));
        for name in [&from, &into] {
            server.create_database(name).await.unwrap();
        }
        server.execute(&from, "create table \"t a\" as select g, repeat('x', 100) from generate_series(1, 1000) g; create index on \"t a\" (g)").await.unwrap();
        let run = run_on(&server, Mode::Execute, &server.url("postgres"), RESTORES);
        let archive = dump(&run, &["-Fc", "-Z0"], to(&from)).await.unwrap();
        assert!(archive.starts_with(b"PGDMP"), "{odd}");
        let input = Box::pin(Cursor::new(archive));
        let mut child =
            run.client.spawn("pg_restore", &words(&["--exit-on-error"]), to(&into), Some(input)).await.unwrap();
        let ended = child.wait().await.unwrap().unwrap();
        assert_eq!(ended.status, Ended::Code(0), "{odd}: {}", ended.stderr);
        assert_eq!(count(&server, &into).await, 1000, "{odd}");
        assert_eq!(run.outcomes(), ["done", "done"]);
        assert!(run.private_folders().is_empty());
        for name in [&from, &into] {
            server.execute("postgres", &format!("drop database \"{}\"", name.replace('"', "\"\""))).await.unwrap();
        }
    }
}

#[tokio::test]
async fn parallel_work_reads_a_file_that_the_host_makes_and_removes() {
    let server = Postgres::shared().await.unwrap();
    let (from, into) =
        (server.fresh_database("parallel").await.unwrap(), server.fresh_database("parallel").await.unwrap());
    from.execute("create table \"t a\" as select g from generate_series(1, 1000) g; create index on \"t a\" (g)")
        .await
        .unwrap();
    let run = run_on(&server, Mode::Execute, &server.url("postgres"), RESTORES);
    let archive = dump(&run, &["-Fc"], to(from.name())).await.unwrap();
    let arguments = words(&["--exit-on-error", "--jobs=2"]);
    // One that breaks off starts nothing: a program must not take it for the whole.
    let broken = Cursor::new(archive[..100].to_vec()).chain(crate::programs::tokio_test_failure());
    let Err(error) = run.client.spawn("pg_restore", &arguments, to(into.name()), Some(Box::pin(broken))).await else {
        panic!("it was started")
    };
    assert_eq!(error, Error::Unavailable("the bucket is gone".into()));
    let Err(error) = run.client.spawn("pg_restore", &arguments, to(into.name()), None).await else {
        panic!("it was started")
    };
    assert_eq!(error.kind(), "invalid-argument", "{error:?}");
    let input = Box::pin(Cursor::new(archive));
    let mut child = run.client.spawn("pg_restore", &arguments, to(into.name()), Some(input)).await.unwrap();
    let ended = child.wait().await.unwrap().unwrap();
    assert_eq!(ended.status, Ended::Code(0), "{}", ended.stderr);
    assert_eq!(count(&server, into.name()).await, 1000);
    assert_eq!(run.outcomes(), ["done", "failed", "failed", "done"]);
    assert!(run.private_folders().is_empty());
}

#[tokio::test]
async fn the_bindings_own_database_is_the_default() {
    let database = Postgres::shared().await.unwrap().fresh_database("tools p=1").await.unwrap();
    database.execute("create table mine ()").await.unwrap();
    let run = run_on(database.server(), Mode::Execute, &database.url(), &["read"]);
    let text = String::from_utf8(dump(&run, &["--schema-only"], own()).await.unwrap()).unwrap();
    assert!(text.contains("CREATE TABLE public.mine"), "{text}");
}

#[tokio::test]
async fn the_password_is_nowhere_to_be_seen_while_a_dump_runs() {
    let database = Postgres::shared().await.unwrap().fresh_database("canary").await.unwrap();
    let (role, password) = database.server().fresh_role("canary", "superuser").await.unwrap();
    database.execute("create table held ()").await.unwrap();
    let run = run_on(database.server(), Mode::Execute, &database.url_as(&role, &password), &["read"]);
    // A lock that pg_dump waits for keeps it where it can be looked at.
    let mut holder = database.connect().await.unwrap();
    for statement in ["begin", "lock table held in access exclusive mode"] {
        sqlx::raw_sql(statement).execute(&mut holder).await.unwrap();
    }
    let mut child = run.client.spawn("pg_dump", &words(&["-Fc", "-v"]), own(), None).await.unwrap();
    // Not the holder: within a transaction the view does not change.
    let mut watcher = database.connect().await.unwrap();
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and usename = $1 and application_name = 'rota/tests/r1'";
    rota_testbed::eventually(std::time::Duration::from_secs(20), "pg_dump waiting", async || {
        let waits: i64 = sqlx::query_scalar(waiting).bind(&role).fetch_one(&mut watcher).await?;
        Ok((waits == 1).then_some(()))
    })
    .await
    .unwrap();

    let mut looked_at = 0;
    for entry in std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
    {
        for file in ["cmdline", "environ"] {
            let bytes = std::fs::read(entry.path().join(file)).unwrap_or_default();
            looked_at += usize::from(!bytes.is_empty());
            assert!(
                !bytes.windows(password.len()).any(|window| window == password.as_bytes()),
                "the password is in {:?}/{file}",
                entry.path()
            );
        }
    }
    assert!(looked_at > 4);
    let dumping = common::processes_with("--no-password");
    let environ = dumping
        .iter()
        .map(|pid| std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap())
        .find(|text| text.contains("PGSERVICEFILE"))
        .unwrap();
    let mut names: Vec<&str> =
        environ.split('\0').filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LC_ALL", "PGDATABASE", "PGSERVICE", "PGSERVICEFILE"]);
    let folder = run.private_folders().pop().unwrap();
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(folder.join("password").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // It is where it belongs, or this test could not fail.
    assert!(std::fs::read_to_string(folder.join("password")).unwrap().trim_end().ends_with(&password));

    sqlx::raw_sql("rollback").execute(&mut holder).await.unwrap();
    let ended = child.wait().await.unwrap().unwrap();
    assert_eq!(ended.status, Ended::Code(0), "{}", ended.stderr);
    let said = format!("{ended:?} {:?} {:?}", run.ledger.effects(), run.log.lines());
    assert!(!said.contains(&password) && !folder.exists());
}

#[tokio::test]
async fn a_wrong_password_is_a_failed_dump_that_does_not_show_it() {
    let database = Postgres::shared().await.unwrap().fresh_database("wrong").await.unwrap();
    let (role, _) = database.server().fresh_role("wrong", "nosuperuser").await.unwrap();
    let run = run_on(database.server(), Mode::Execute, &database.url_as(&role, "c4nary:wr\\ong"), &["read"]);
    let error = dump(&run, &["-Fc"], own()).await.unwrap_err();
    let Error::Failed(fault) = rota_capability::streams::error_of(&error) else { panic!("{error}") };
    assert!(
        fault.code == "exit-1"
            && fault.message.contains("password authentication failed")
            && !fault.message.contains("c4nary"),
        "{fault:?}"
    );
    assert_eq!(run.outcomes(), ["failed"]);
}

#[tokio::test]
async fn passwords_with_odd_characters_serve() {
    let database = Postgres::shared().await.unwrap().fresh_database("odd").await.unwrap();
    let (role, _) = database.server().fresh_role("odd", "superuser").await.unwrap();
    for password in ["a:b\\c", "trailing ", "  'quoted' \"x\" #;= ", "größe€🐘", "\\:", "x\ry"] {
        database
            .server()
            .execute("postgres", &format!("alter role \"{role}\" password '{}'", password.replace('\'', "''")))
            .await
            .unwrap();
        let run = run_on(database.server(), Mode::Execute, &database.url_as(&role, password), &["read"]);
        assert!(dump(&run, &["--schema-only"], own()).await.is_ok(), "{password:?}");
    }
}

#[tokio::test]
async fn a_missing_privilege_fails_the_stream() {
    let database = Postgres::shared().await.unwrap().fresh_database("poor").await.unwrap();
    let (role, password) = database.server().fresh_role("poor", "nosuperuser").await.unwrap();
    database.execute("create table secret ()").await.unwrap();
    let run = run_on(database.server(), Mode::Execute, &database.url_as(&role, &password), &["read"]);
    let error = dump(&run, &["-Fc"], own()).await.unwrap_err();
    assert!(error.to_string().contains("permission denied for table secret"), "{error}");
}

#[tokio::test]
async fn the_role_of_the_binding_is_taken_on() {
    let database = Postgres::shared().await.unwrap().fresh_database("role").await.unwrap();
    let (role, _) = database.server().fresh_role("-r=\"ole", "nosuperuser").await.unwrap();
    database.execute("create table secret ()").await.unwrap();
    let mut grant = sql("database", &database.url(), &["read"]);
    if let rota_config::Binding::Sql(binding) = &mut grant.binding {
        binding.role = Some(role);
    }
    let program = database.server().program("pg_dump").unwrap();
    let run = Run::new(Mode::Execute, vec![tool("pg_dump", &program, ToolProfile::PgDump, &[]), grant]);
    let error = dump(&run, &["-Fc"], own()).await.unwrap_err();
    assert!(error.to_string().contains("permission denied for table secret"), "{error}");
}

#[tokio::test]
async fn globals_are_dumped() {
    let database = Postgres::shared().await.unwrap().fresh_database("p=1 'q\\").await.unwrap();
    let (role, _) = database.server().fresh_role("globals", "nosuperuser").await.unwrap();
    let run = run_on(database.server(), Mode::Execute, &database.url(), &["read"]);
    let mut child = run.client.spawn("pg_dumpall", &words(&["--globals-only"]), own(), None).await.unwrap();
    let mut text = String::new();
    child.stdout().unwrap().read_to_string(&mut text).await.unwrap();
    assert!(text.contains(&format!("CREATE ROLE {role}")), "{text}");
    let Err(Error::Denied(_)) = run.client.spawn("pg_dumpall", &[], own(), None).await else { panic!("let through") };
}

#[tokio::test]
async fn an_archive_is_listed_and_decoded_in_a_plan_and_a_cut_one_is_found_out() {
    let database = Postgres::shared().await.unwrap().fresh_database("list").await.unwrap();
    database.execute("create table listed as select g, md5(g::text) from generate_series(1, 20000) g").await.unwrap();
    let run = run_on(database.server(), Mode::Execute, &database.url(), &["read"]);
    let archive = dump(&run, &["-Fc", "-Z1"], own()).await.unwrap();
    let plan = run_on(database.server(), Mode::Plan, &database.url(), &[]);
    let restore = async |arguments: &[&str], bytes: &[u8]| {
        let input = Box::pin(Cursor::new(bytes.to_vec()));
        let mut child = plan.client.spawn("pg_restore", &words(arguments), None, Some(input)).await.unwrap();
        let mut text = String::new();
        child.stdout().unwrap().read_to_string(&mut text).await.map(|_| text)
    };
    assert!(restore(&["--list"], &archive).await.unwrap().contains("TABLE public listed"));
    assert!(restore(&["--data-only"], &archive).await.unwrap().contains("\n20000\t"));
    let error = restore(&[], &archive[..archive.len() / 2]).await.unwrap_err();
    assert!(error.to_string().contains("pg_restore exited with 1"), "{error}");
    assert!(plan.ledger.effects().is_empty() && plan.private_folders().is_empty());
}

#[tokio::test]
async fn a_plan_lists_dumps_and_restores_and_starts_none() {
    let database = Postgres::shared().await.unwrap().fresh_database("plan").await.unwrap();
    let plan = run_on(database.server(), Mode::Plan, &database.url(), RESTORES);
    let mut child = plan.client.spawn("pg_dump", &words(&["-Fc", "-t", "my table"]), own(), None).await.unwrap();
    assert_eq!(child.wait().await.unwrap(), None);
    plan.client.spawn("pg_restore", &words(&["--clean"]), to("scratch"), None).await.unwrap();
    let listed: Vec<_> = plan
        .ledger
        .effects()
        .into_iter()
        .map(|effect| (effect.record.target, effect.record.detail, effect.record.class.as_str()))
        .collect();
    assert_eq!(
        listed,
        [
            (
                "pg_dump-binding: database-binding".to_owned(),
                "pg_dump --format=c --table='my table'".to_owned(),
                "write"
            ),
            (
                "pg_restore-binding: database-binding, database scratch".to_owned(),
                "pg_restore --clean".to_owned(),
                "destructive"
            ),
        ]
    );
}

#[tokio::test]
async fn the_connections_slot_must_be_granted_what_the_program_needs() {
    let server = Postgres::shared().await.unwrap();
    let run = run_on(&server, Mode::Execute, &server.url("postgres"), &["read"]);
    let Err(Error::Denied(text)) = run.client.spawn("pg_restore", &[], own(), None).await else {
        panic!("let through")
    };
    assert!(text.contains("--grant database=read,write,ddl,index,maintain"), "{text}");
    let none = run_on(&server, Mode::Execute, &server.url("postgres"), &[]);
    let Err(Error::Denied(text)) = none.client.spawn("pg_dump", &[], own(), None).await else { panic!("let through") };
    assert!(text.contains("--grant database=read"), "{text}");
    let elsewhere = Some(Connection { slot: "other".into(), database: None });
    let Err(Error::Denied(_)) = run.client.spawn("pg_dump", &[], elsewhere, None).await else { panic!("let through") };
    let Err(Error::InvalidArgument(_)) = run.client.spawn("pg_dump", &[], None, None).await else {
        panic!("let through")
    };
    let Err(Error::InvalidArgument(_)) = run.client.spawn("pg_dump", &[], to("a\nb"), None).await else {
        panic!("let through")
    };
    assert!(run.ledger.effects().is_empty());
}

#[tokio::test]
async fn a_dump_that_is_dropped_leaves_no_process_and_no_backend() {
    let database = Postgres::shared().await.unwrap().fresh_database("dropped").await.unwrap();
    let table = format!("big_{}", rota_testbed::random_secret().unwrap());
    database
        .execute(&format!(
            "create table {table} as select g, repeat(md5(g::text), 30) from generate_series(1, 200000) g"
        ))
        .await
        .unwrap();
    let run = run_on(database.server(), Mode::Execute, &database.url(), &["read"]);
    let mut child = run.client.spawn("pg_dump", &words(&["-Fc", "-Z0", "-t", &table]), own(), None).await.unwrap();
    let mut stdout = child.stdout().unwrap();
    stdout.read_exact(&mut vec![0; 1 << 20]).await.unwrap();
    let mine = format!("--table={table}");
    assert_eq!(common::processes_with(&mine).len(), 1);
    drop(child);
    eventually("the end of pg_dump", || common::processes_with(&mine).is_empty()).await;
    let mut connection = database.connect().await.unwrap();
    rota_testbed::eventually(std::time::Duration::from_secs(20), "the end of the backend", async || {
        let left: i64 = sqlx::query_scalar("select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'").fetch_one(&mut connection).await?;
        Ok((left == 0).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(run.outcomes(), ["interrupted"]);
}

#[tokio::test]
async fn versions_are_told() {
    for (version, major) in [(PostgresVersion::V16, 16), (PostgresVersion::V18, 18)] {
        let server = Postgres::shared_version(version).await.unwrap();
        let run = run_on(&server, Mode::Plan, &server.url("postgres"), &[]);
        for slot in ["pg_dump", "pg_dumpall", "pg_restore"] {
            let info = run.client.info(slot).await.unwrap();
            assert!(info.major == major && info.text.starts_with(&format!("{major}.")), "{info:?}");
        }
    }
}
