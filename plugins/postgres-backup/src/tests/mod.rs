//! The procedure's logic against the mock host: above all, that no manifest is written when anything before it failed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod incomplete;
mod retention;

use super::*;
use retention::old_backups;
use rota_sdk::HostError;
use rota_sdk::mock::*;
use rota_sdk_backup::manifest::{RowsMethod, SnapshotMethod};

/// A change to the mock.
type Change = fn(&MockHost);

const ID: &str = "20260101T000000Z-89abcdef";
const SCRIPT: &str =
    "SET x = 1;\nCOPY public.orders (id) FROM stdin;\n1\n2\n\\.\nCOPY public.\"Odd\" (id) FROM stdin;\n\\.\n";

fn relation(name: &str, readable: bool, filtered: bool) -> MockRows {
    let quoted = if name == "Odd" { "public.\"Odd\"".to_owned() } else { format!("public.{name}") };
    rows! {
        ["schema", "name", "quoted", "counts", "readable", "filtered", "estimate"] => ["public", name, quoted, true, readable, filtered, 7.0_f64]
    }
}

fn host() -> MockHost {
    let host = MockHost::new();
    let database = host.sql("database");
    database.inspected(Timestamp(0), Timestamp(1), None, false);
    facts(&host, true);
    database.on("from pg_catalog.pg_class c", relation("orders", true, false).and(relation("Odd", true, false)));
    database.on("from pg_catalog.pg_extension where", rows! { ["extname", "extversion"] => ["vector", "0.7.4"] });
    database.on("pg_current_snapshot()", moment("750:750:"));
    database.on("select count(*) from only public.orders", rows! { ["count"] => [2_i64] });
    database.on("select count(*) from only public.\"Odd\"", rows! { ["count"] => [0_i64] });
    host.tool("pg_dump").on("--format=custom", ToolOutput::success("PGDMP the dump"));
    host.tool("pg_dump").on("--format=plain", ToolOutput::success(SCRIPT));
    host.tool("pg_dumpall").on("--globals-only", ToolOutput::success("CREATE ROLE rota;"));
    host.storage("bucket");
    host
}

fn facts(host: &MockHost, superuser: bool) {
    host.sql("database").on(
        "as superuser",
        rows! { ["superuser", "size", "encoding", "collation"] => [superuser, 1_000_000_i64, "UTF8", "C.UTF-8"] },
    );
}

fn moment(transactions: &str) -> MockRows {
    rows! { ["transactions", "lsn"] => [transactions, "0/1A2B3C8"] }
}

fn restores(host: &MockHost) {
    host.tool("pg_restore").on_with("--data-only", |_, stdin| {
        if stdin == b"PGDMP the dump" {
            ToolOutput::success(SCRIPT)
        } else {
            ToolOutput::failure(1, "pg_restore: error: could not read from input file: end of file")
        }
    });
    host.tool("pg_restore").on("--exit-on-error", ToolOutput::success(""));
    let scratch = host.sql("scratch");
    scratch.on_execute("create database", 0);
    scratch.on_execute("drop database", 0);
}

fn object(name: &str) -> String {
    format!("app/{ID}/{name}")
}

fn puts(host: &MockHost) -> Vec<String> {
    host.effects().into_iter().filter(|effect| effect.operation == "storage.put").map(|effect| effect.detail).collect()
}

fn manifest(host: &MockHost) -> Manifest {
    let folder = Folder { prefix: String::new(), database: "app".to_owned(), id: ID.to_owned() };
    Manifest::parse(&host.storage("bucket").bytes(&folder.manifest()).expect("a manifest"), &folder).unwrap()
}

/// A change to the mock hands the mock on.
fn done<T>(_: T) {}

fn broken(message: &str) -> HostError {
    HostError::Unavailable(message.to_owned())
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn a_backup_is_dump_globals_and_last_the_manifest() {
    let host = host();
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
    assert_eq!(
        puts(&host),
        [
            object("dump.pgdump.zst"),
            object("globals.sql.zst"),
            object("manifest.json"),
            object("20260101T000000Z-89abcdef-stored.verified.json")
        ]
    );
    let manifest = manifest(&host);
    let plain = &manifest.dump.plain;
    assert_eq!((plain.bytes, plain.sha256.len()), (14, 64));
    let stored = host.storage("bucket").bytes(&object("dump.pgdump.zst")).unwrap();
    assert_eq!(manifest.dump.stored.bytes, stored.len() as u64);
    assert_eq!(manifest.source.system_identifier.as_deref(), Some("7300000000000000001"));
    assert_eq!(manifest.snapshot.lsn.as_deref(), Some("0/1A2B3C8"));
    assert_eq!(manifest.snapshot.method, SnapshotMethod::Quiet);
    assert_eq!(manifest.rows.method, RowsMethod::Counted);
    assert_eq!(manifest.rows.tables.iter().map(|table| table.rows).sum::<u64>(), 2);
    assert_eq!(manifest.extensions[0].name, "vector");
    assert_eq!(host.tool("pg_dump").calls(), [["--format=custom", "--compress=0", "--lock-wait-timeout=60s"]]);
    assert_eq!(host.tool("pg_dumpall").calls(), [["--globals-only", "--no-role-passwords"]]);
    assert_eq!(report.data["verified"], "stored");
    assert_eq!(report.data["stored"], true);
}

#[test]
fn whatever_fails_before_the_manifest_leaves_nothing() {
    let failing: [(&str, Change); 8] = [
        ("the globals fail", |host| {
            done(host.tool("pg_dumpall").on("--globals-only", ToolOutput::failure(1, "pg_dumpall: error: no")))
        }),
        ("the dump fails", |host| {
            done(host.tool("pg_dump").on(
                "--format=custom",
                ToolOutput {
                    stdout: b"PGDMP half".to_vec(),
                    ..ToolOutput::failure(1, "pg_dump: error: server closed the connection")
                },
            ))
        }),
        ("the dump is killed", |host| {
            done(host.tool("pg_dump").on(
                "--format=custom",
                ToolOutput { status: rota_sdk::tools::ExitStatus::Signal(9), ..ToolOutput::success("PGDMP half") },
            ))
        }),
        ("the dump is empty", |host| done(host.tool("pg_dump").on("--format=custom", ToolOutput::success("")))),
        ("storing the globals fails", |host| {
            done(host.storage("bucket").fails(&object("globals.sql.zst"), broken("bucket gone")))
        }),
        ("storing the dump fails", |host| {
            done(host.storage("bucket").fails(&object("dump.pgdump.zst"), broken("bucket gone")))
        }),
        ("storing the manifest fails", |host| {
            done(host.storage("bucket").fails(&object("manifest.json"), broken("bucket gone")))
        }),
        ("the archive cannot be read", |host| {
            done(host.tool("pg_restore").on("--data-only", ToolOutput::failure(1, "pg_restore: error: not an archive")))
        }),
    ];
    for (what, fail) in failing {
        let host = host();
        restores(&host);
        fail(&host);
        let failed = host.run::<Plugin>(json!({ "verify": "decoded" })).expect_err(what);
        assert_eq!(host.storage("bucket").names(), Vec::<String>::new(), "{what}: {}", failed.message);
        let report = failed.report.expect(what);
        assert_eq!(report.status, Severity::Critical, "{what}");
        assert_eq!(report.data["stored"], false, "{what}");
    }
}

#[test]
fn the_program_says_why_it_failed() {
    let host = host();
    host.tool("pg_dump").on("--format=custom", ToolOutput::failure(1, "pg_dump: error: connection to server lost"));
    let failed = host.run::<Plugin>(json!({})).unwrap_err();
    assert_eq!(failed.message, "pg_dump exited with 1: pg_dump: error: connection to server lost");
}

#[test]
fn what_another_run_stored_is_not_cleared_away() {
    let host = host();
    host.storage("bucket").object(&object("dump.pgdump.zst"), "another's");
    let failed = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(failed.message.contains("already there"), "{}", failed.message);
    assert_eq!(host.storage("bucket").names(), [object("dump.pgdump.zst")]);
}

#[test]
fn what_cannot_be_cleared_away_is_named() {
    let host = host();
    host.grant("bucket", &["read", "write"]);
    host.tool("pg_dumpall").on("--globals-only", ToolOutput::failure(1, "pg_dumpall: error: no"));
    let failed = host.run::<Plugin>(json!({})).unwrap_err();
    let report = failed.report.unwrap();
    assert!(report.finding("dump.pgdump.zst: could not be cleared away").is_some(), "{:?}", report.findings);
    assert!(!host.storage("bucket").names().contains(&object("manifest.json")));
}

#[test]
fn a_plan_shows_everything_and_does_nothing() {
    let host = host().plan();
    old_backups(&host, &["20200101T000000Z-00000001", "20200101T010000Z-00000002"]);
    let before = host.storage("bucket").names();
    let report = host.run::<Plugin>(json!({ "keep_monthly": 1, "keep_daily": 1, "keep_weekly": 1 })).unwrap();
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
    assert!(host.effects().iter().all(|effect| effect.planned));
    let effects: Vec<String> =
        host.effects().into_iter().map(|effect| format!("{} {}", effect.operation, effect.detail)).collect();
    assert_eq!(
        effects[..6],
        [
            format!("run.compensation incomplete-backup {ID}"),
            "tools.spawn --format=custom --compress=0 --lock-wait-timeout=60s".to_owned(),
            format!("storage.put {}", object("dump.pgdump.zst")),
            "tools.spawn --globals-only --no-role-passwords".to_owned(),
            format!("storage.put {}", object("globals.sql.zst")),
            format!("storage.put {}", object("manifest.json")),
        ]
    );
    assert_eq!(effects[6], "storage.delete app/20200101T010000Z-00000002/manifest.json");
    assert_eq!(report.data["retention"]["deleted"], json!(["20200101T010000Z-00000002", "20200101T000000Z-00000001"]));
    assert_eq!(host.storage("bucket").names(), before);
    assert_eq!(report.data["stored"], false);
    assert!(report.summary.starts_with("would back up app, of 976.6 KiB on disk"), "{}", report.summary);
}

#[test]
fn what_would_leave_something_out_is_refused() {
    let refused = |change: fn(&MockHost), parameters: Json| {
        let host = host();
        change(&host);
        let failed = host.run::<Plugin>(parameters).unwrap_err();
        assert!(host.effects().is_empty(), "{}", failed.message);
        format!("{} ({})", failed.message, failed.hint.unwrap_or_default())
    };
    let told = refused(|host| done(host.tool("pg_dump").version("15.9")), json!({}));
    assert_eq!(told, "pg_dump 15.9 cannot dump PostgreSQL 16.14 (bind pg_dump of version 16)");
    let told = refused(|host| done(host.tool("pg_dump").version("18.1")), json!({}));
    assert!(
        told.contains("pg_dump 18.1 is newer than the server, 16.14") && told.contains("allow_newer_client"),
        "{told}"
    );
    let unreadable = |host: &MockHost| {
        facts(host, false);
        host.sql("database")
            .on("from pg_catalog.pg_class c", relation("orders", false, false).and(relation("hidden", false, false)));
    };
    assert_eq!(
        refused(unreadable, json!({})),
        "role rota may not read 2 table(s) or sequence(s): public.orders; public.hidden (as a superuser: GRANT pg_read_all_data TO rota)"
    );
    let filtered = |host: &MockHost| {
        facts(host, false);
        host.sql("database").on("from pg_catalog.pg_class c", relation("orders", true, true));
    };
    assert_eq!(
        refused(filtered, json!({})),
        "row security hides rows of 1 table(s) from role rota: public.orders (as a superuser: ALTER ROLE rota BYPASSRLS)"
    );
    let large_objects = |host: &MockHost| {
        facts(host, false);
        host.sql("database").on("pg_largeobject_metadata", rows! { ["count"] => [3_i64] });
    };
    assert!(refused(large_objects, json!({})).starts_with("role rota may not read 3 large object(s)"));
    assert!(refused(|_| {}, json!({ "verify": "decoded" })).contains("needs the slot `pg_restore`"));
    assert!(
        refused(|host| done(host.tool("pg_restore")), json!({ "verify": "restored" }))
            .contains("needs the slot `scratch`")
    );
    assert!(
        refused(|host| done(host.tool("pg_restore")), json!({ "verify": "decoded", "recipients": ["age1x"] }))
            .contains("needs the slot `key`")
    );
}

#[test]
fn a_newer_client_may_be_allowed() {
    let host = host();
    host.tool("pg_dump").version("18.1");
    let report = host.run::<Plugin>(json!({ "allow_newer_client": true })).unwrap();
    assert_eq!(report.titles(Severity::Warning), ["pg_dump 18.1 is newer than the server, 16.14"]);
    assert_eq!(manifest(&host).client_major(), Some(18));
}

#[test]
fn encrypted_and_compressed_names_say_so() {
    let host = host();
    host.key("key");
    restores(&host);
    let report = host.run::<Plugin>(json!({ "recipients": ["age1abc"], "verify": "decoded" })).unwrap();
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
    let manifest = manifest(&host);
    assert_eq!(
        (manifest.dump.object.as_str(), manifest.dump.recipients.as_slice()),
        ("dump.pgdump.zst.age", &["age1abc".to_owned()][..])
    );
    assert!(host.storage("bucket").bytes(&object("dump.pgdump.zst.age")).unwrap().starts_with(b"mock-age:"));
}

#[test]
fn the_client_compresses_when_asked() {
    let host = host();
    host.run::<Plugin>(json!({ "compression": "client-zstd", "level": 3 })).unwrap();
    assert_eq!(host.tool("pg_dump").calls()[0][1], "--compress=zstd:3");
    let manifest = manifest(&host);
    assert_eq!(manifest.dump.object, "dump.pgdump");
    assert!(manifest.dump.compressed_by_client && manifest.dump.plain == manifest.dump.stored);
}

#[test]
fn the_manifest_is_honest_about_its_rows() {
    let busy = host();
    busy.sql("database").once("pg_current_snapshot()", moment("740:740:"));
    busy.run::<Plugin>(json!({})).unwrap();
    assert_eq!(
        (manifest(&busy).rows.method, manifest(&busy).snapshot.method),
        (RowsMethod::CountedBefore, SnapshotMethod::Between)
    );

    let estimated = host();
    estimated.run::<Plugin>(json!({ "rows": "estimated" })).unwrap();
    assert_eq!(manifest(&estimated).rows.method, RowsMethod::Estimated);
    assert_eq!(manifest(&estimated).rows.tables[0].rows, 7);

    let uncountable = host();
    uncountable
        .sql("database")
        .fails("select count(*)", failed("57014", "canceling statement due to statement timeout"));
    uncountable.run::<Plugin>(json!({})).unwrap();
    assert_eq!(manifest(&uncountable).rows.method, RowsMethod::Estimated);

    let decoded = host();
    restores(&decoded);
    decoded.run::<Plugin>(json!({ "rows": "estimated", "verify": "decoded" })).unwrap();
    assert_eq!(manifest(&decoded).rows.method, RowsMethod::CountedInDump);
    assert_eq!(manifest(&decoded).rows.tables.iter().map(|table| table.rows).sum::<u64>(), 2);
}

#[test]
fn verified_by_a_restore_that_is_dropped_again() {
    let host = host();
    restores(&host);
    let report = host.run::<Plugin>(json!({ "verify": "restored" })).unwrap();
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
    assert_eq!(report.data["verified"], "restored");
    let statements: Vec<String> =
        host.sql("scratch").statements().into_iter().filter(|statement| statement.contains("database")).collect();
    assert_eq!(
        statements,
        [
            "create database rota_verify_20260101t000000z_89abcdef_4242 template template0 encoding 'utf8' locale 'c'",
            "drop database if exists rota_verify_20260101t000000z_89abcdef_4242",
        ]
    );
}

#[test]
fn a_restore_that_fails_keeps_the_backup_and_the_old_ones() {
    let host = host();
    restores(&host);
    old_backups(&host, &["20200101T000000Z-00000001", "20200101T010000Z-00000002"]);
    host.tool("pg_restore")
        .on("--exit-on-error", ToolOutput::failure(1, "pg_restore: error: extension \"vector\" is not available"));
    let report = host.run::<Plugin>(json!({ "verify": "restored", "keep_monthly": 0 })).unwrap();
    assert_eq!(report.status, Severity::Critical);
    assert!(report.finding("cannot be restored into an empty database").unwrap().detail.contains("is not available"));
    assert!(host.storage("bucket").names().contains(&object("manifest.json")));
    assert_eq!(report.data["verified"], Json::Null);
    assert_eq!(report.data["retention"], Json::Null);
    assert!(host.sql("scratch").statements().iter().any(|statement| statement.starts_with("drop database")));
    assert_eq!(host.storage("bucket").names().iter().filter(|name| name.ends_with("manifest.json")).count(), 3);
}

#[test]
fn a_verification_that_cannot_be_made_keeps_the_backup_with_a_warning() {
    let host = host();
    restores(&host);
    host.sql("scratch").refuses(broken("scratch server is down"));
    let report = host.run::<Plugin>(json!({ "verify": "restored" })).unwrap();
    assert!(report.finding("stored, but it could not be verified").is_some(), "{:?}", report.findings);
    assert_eq!(report.status, Severity::Warning);
    assert!(host.storage("bucket").names().contains(&object("manifest.json")));
}

#[test]
fn odd_names_of_databases_are_safe() {
    for (name, folder) in [("-x", "=2dx"), ("a/b", "a=2fb"), ("it's \"\u{1f980}\"", "it=27s=20=22=f0=9f=a6=80=22")] {
        let host = host();
        host.sql("database").server(|server| server.database = name.to_owned());
        host.run::<Plugin>(json!({ "prefix": "daily" })).unwrap();
        assert!(
            host.storage("bucket").names().contains(&format!("daily/{folder}/{ID}/manifest.json")),
            "{:?}",
            host.storage("bucket").names()
        );
    }
}
