//! Each kind of damage is a finding of its own, and never ok.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use rota_sdk::HostError;
use rota_sdk::mock::*;
use sha2::Digest as _;

/// A change to the mock.
type Change = fn(&MockHost);

const ID: &str = "20251231T000000Z-89abcdef";
const PLAIN: &[u8] = b"PGDMP the dump, with all of its rows";
const SCRIPT: &str = "COPY public.orders (id) FROM stdin;\n1\n2\n\\.\n";

fn name(object: &str) -> String {
    format!("app/{ID}/{object}")
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(bytes))
}

fn part(object: &str, plain: &[u8], stored: &[u8], recipients: &[&str]) -> Json {
    json!({
        "object": object, "tool": "pg_dump 16.14", "content": "pg_dump-custom", "codec": "zstd", "level": 1, "recipients": recipients,
        "plain": { "bytes": plain.len(), "sha256": sha256(plain) }, "stored": { "bytes": stored.len(), "sha256": sha256(stored) },
    })
}

fn manifest(dump: &Json, globals: &Json) -> Json {
    json!({
        "kind": "rota-postgres-backup", "format": 1, "id": ID, "writer": "postgres-backup 0.1.0", "run": "r",
        "started_at": "2025-12-31T00:00:00Z", "finished_at": "2025-12-31T00:01:00Z",
        "source": { "version": "16.14", "version_num": 160_014, "system_identifier": "1", "database": "app", "role": "rota", "in_recovery": false,
            "encoding": "UTF8", "collation": null, "size_bytes": null },
        "snapshot": { "method": "quiet", "lsn": "0/1", "lsn_after": "0/1", "transactions": "1:1:" },
        "dump": dump, "globals": globals,
        "rows": { "method": "counted", "tables": [{ "schema": "public", "table": "orders", "rows": 2 }] },
    })
}

fn host_with(recipients: &[&str]) -> MockHost {
    let host = MockHost::new();
    let mut stored = zstd::encode_all(PLAIN, 1).unwrap();
    let mut dump = "dump.pgdump.zst".to_owned();
    if !recipients.is_empty() {
        stored = [b"mock-age:", stored.as_slice()].concat();
        dump.push_str(".age");
    }
    let globals = zstd::encode_all(&b"CREATE ROLE rota;"[..], 1).unwrap();
    let json = manifest(
        &part(&dump, PLAIN, &stored, recipients),
        &part("globals.sql.zst", b"CREATE ROLE rota;", &globals, &[]),
    );
    let bucket = host.storage("bucket");
    bucket
        .object(&name("manifest.json"), json.to_string())
        .object(&name(&dump), stored)
        .object(&name("globals.sql.zst"), globals);
    host.tool("pg_restore").on_with("--data-only", |_, stdin| {
        if stdin == PLAIN {
            ToolOutput::success(SCRIPT)
        } else {
            ToolOutput::failure(1, "pg_restore: error: could not read from input file: end of file")
        }
    });
    host.tool("pg_restore").only_reads();
    host.tool("pg_restore").on("--exit-on-error", ToolOutput::success(""));
    host.tool("pg_dump").on("--format=plain", ToolOutput::success(SCRIPT));
    host
}

fn host() -> MockHost {
    host_with(&[])
}

fn scratch(host: &MockHost) -> SqlMock {
    let scratch = host.sql("scratch");
    scratch.on("from pg_catalog.pg_database", rows! { ["datname"] => ["rota_verify_old_1"] });
    scratch.on_execute("create database", 0).on_execute("drop database", 0);
    scratch
}

/// The one problem that a verification finds.
fn problem(host: &MockHost, parameters: Json) -> String {
    let report = host.run::<Plugin>(parameters).unwrap();
    assert_eq!(report.status, Severity::Critical, "{:?}", report.findings);
    let problems = report.data["backups"][0]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(report.data["backups"][0]["ok"], false);
    assert!(report.titles(Severity::Critical).contains(&problems[0]["title"].as_str().unwrap()));
    assert!(report.summary.contains("not known to be good"), "{}", report.summary);
    problems[0]["kind"].as_str().unwrap().to_owned()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn a_good_backup_is_good_at_every_level() {
    for level in ["stored", "decoded", "restored"] {
        let host = host();
        scratch(&host).on("from pg_catalog.pg_database", rows! { ["datname"] });
        let report = host.run::<Plugin>(json!({ "level": level })).unwrap();
        assert_eq!(report.status, Severity::Ok, "{level}: {:?}", report.findings);
        assert_eq!(report.data["backups"][0]["ok"], true);
        let result = report.data["backups"][0]["result"].as_str().unwrap();
        assert_eq!(result, name(&format!("20260101T000000Z-89abcdef-{level}.verified.json")));
        let kept: Json = serde_json(&host.storage("bucket").bytes(result).unwrap());
        assert_eq!((&kept["ok"], &kept["level"], &kept["backup"]), (&json!(true), &json!(level), &json!(ID)));
        let rows =
            if level == "stored" { Json::Null } else { json!([{ "schema": "public", "table": "orders", "rows": 2 }]) };
        assert_eq!(report.data["backups"][0]["rows"], rows);
    }
}

fn serde_json(bytes: &[u8]) -> Json {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

#[test]
fn damage_in_the_bucket_is_told_apart_and_found_at_every_level() {
    let damages: [(&str, Change); 4] = [
        ("wrong_size", |host| cut(host, "dump.pgdump.zst")),
        ("wrong_checksum", |host| flip(host, "dump.pgdump.zst")),
        ("wrong_checksum", |host| flip(host, "globals.sql.zst")),
        ("wrong_size", |host| cut(host, "globals.sql.zst")),
    ];
    for level in ["stored", "decoded"] {
        for (kind, damage) in damages {
            let host = host();
            damage(&host);
            assert_eq!(problem(&host, json!({ "level": level })), kind, "{level}");
        }
        let host = host();
        let stored = without(&host, "dump.pgdump.zst");
        assert_eq!(problem(&stored, json!({ "level": level })), "missing_object", "{level}");
    }
}

fn cut(host: &MockHost, object: &str) {
    let bytes = host.storage("bucket").bytes(&name(object)).unwrap();
    host.storage("bucket").object(&name(object), &bytes[..bytes.len() - 5]);
}

fn flip(host: &MockHost, object: &str) {
    let mut bytes = host.storage("bucket").bytes(&name(object)).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    host.storage("bucket").object(&name(object), bytes);
}

/// The same bucket without an object.
fn without(host: &MockHost, object: &str) -> MockHost {
    let other = MockHost::new();
    for kept in host.storage("bucket").names().into_iter().filter(|kept| *kept != name(object)) {
        other.storage("bucket").object(&kept, host.storage("bucket").bytes(&kept).unwrap());
    }
    other.tool("pg_restore").on("--data-only", ToolOutput::success(SCRIPT));
    other
}

fn with_manifest(change: impl Fn(&str) -> String) -> MockHost {
    let host = host();
    let text = String::from_utf8(host.storage("bucket").bytes(&name("manifest.json")).unwrap()).unwrap();
    let changed = change(&text);
    assert_ne!(changed, text);
    host.storage("bucket").object(&name("manifest.json"), changed);
    host
}

#[test]
fn manifests_that_are_none() {
    assert_eq!(problem(&with_manifest(|text| text.replace("\"format\":1", "\"format\":2")), json!({})), "newer_format");
    assert_eq!(problem(&with_manifest(|text| text[..text.len() / 2].to_owned()), json!({})), "bad_manifest");
    assert_eq!(
        problem(&with_manifest(|text| text.replace("\"database\":\"app\"", "\"database\":\"other\"")), json!({})),
        "bad_manifest"
    );
}

#[test]
fn what_was_never_a_good_dump_is_found_when_decoding() {
    let undecodable = with_stored(b"not zstd at all, but stored as it is");
    assert_eq!(problem(&undecodable, json!({ "level": "decoded" })), "undecodable");
    assert_eq!(undecodable.run::<Plugin>(json!({ "level": "stored" })).unwrap().status, Severity::Ok);
    let other_content = with_manifest(|text| text.replace(&sha256(PLAIN), &sha256(b"something else")));
    assert_eq!(problem(&other_content, json!({})), "wrong_content");
    let unreadable = host();
    unreadable.tool("pg_restore").on(
        "--data-only",
        ToolOutput::failure(1, "pg_restore: error: input file does not appear to be a valid archive"),
    );
    unreadable.tool("pg_restore").only_reads();
    assert_eq!(problem(&unreadable, json!({})), "unreadable_archive");
    let half_a_script = host();
    half_a_script.tool("pg_restore").on("--data-only", ToolOutput::success(&SCRIPT.as_bytes()[..38]));
    assert_eq!(problem(&half_a_script, json!({})), "unreadable_archive");
}

/// A bucket whose manifest is of these stored bytes.
fn with_stored(stored: &[u8]) -> MockHost {
    let host = host();
    let globals = host.storage("bucket").bytes(&name("globals.sql.zst")).unwrap();
    let json = manifest(
        &part("dump.pgdump.zst", PLAIN, stored, &[]),
        &part("globals.sql.zst", b"CREATE ROLE rota;", &globals, &[]),
    );
    host.storage("bucket").object(&name("manifest.json"), json.to_string()).object(&name("dump.pgdump.zst"), stored);
    host
}

#[test]
fn rows_that_are_missing_from_the_dump() {
    let host = host();
    host.tool("pg_restore").on("--data-only", ToolOutput::success("COPY public.orders (id) FROM stdin;\n1\n\\.\n"));
    assert_eq!(problem(&host, json!({})), "wrong_rows");
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.finding("1 table(s) of the dump").unwrap().detail, "public.orders: 1 rows instead of 2");
}

#[test]
fn rows_that_others_changed_are_no_damage() {
    let host = with_manifest(|text| text.replace("\"method\":\"counted\"", "\"method\":\"counted_before\""));
    host.tool("pg_restore").on("--data-only", ToolOutput::success("COPY public.orders (id) FROM stdin;\n1\n\\.\n"));
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.status, Severity::Ok);
    assert!(report.finding("differs from the rows counted just before it").is_some(), "{:?}", report.findings);
}

#[test]
fn a_wrong_key_is_not_damage() {
    let host = host_with(&["age1abc"]);
    host.key("key");
    assert_eq!(host.run::<Plugin>(json!({})).unwrap().status, Severity::Ok);
    // The mock's key opens what begins with its marker: other bytes stand for another key.
    let stored = b"other-age: bytes that this key does not open".as_slice();
    let globals = host.storage("bucket").bytes(&name("globals.sql.zst")).unwrap();
    let json = manifest(
        &part("dump.pgdump.zst.age", PLAIN, stored, &["age1abc"]),
        &part("globals.sql.zst", b"CREATE ROLE rota;", &globals, &[]),
    );
    host.storage("bucket")
        .object(&name("manifest.json"), json.to_string())
        .object(&name("dump.pgdump.zst.age"), stored);
    let before = host.storage("bucket").names();
    assert_eq!(problem(&host, json!({})), "wrong_key");
    assert_eq!(host.storage("bucket").names(), before, "it says nothing of the backup, and is not put beside it");
    host.set_now(Timestamp::parse("2026-01-01T00:00:01Z").unwrap());
    // Damage is damage, with any key.
    flip(&host, "dump.pgdump.zst.age");
    assert_eq!(problem(&host, json!({})), "wrong_checksum");
}

#[test]
fn what_cannot_be_told_is_unknown_and_not_recorded() {
    let host = host_with(&["age1abc"]);
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.status, Severity::Unknown);
    assert_eq!(report.data["backups"][0]["ok"], Json::Null);
    assert!(
        report.data["backups"][0]["unknown"]
            .as_str()
            .unwrap()
            .contains("is encrypted to age1abc, and the slot `key` is not bound")
    );
    let host = self::host();
    host.storage("bucket")
        .fails(&name("dump.pgdump.zst"), HostError::Unavailable("the bucket does not answer".to_owned()));
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.status, Severity::Unknown);
    assert!(!host.storage("bucket").names().iter().any(|name| name.ends_with(".verified.json")));
    let host = self::host();
    host.tool("pg_restore").version("15.9");
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert!(
        report.findings[0].detail.contains("pg_restore 15.9 cannot read what pg_dump 16.14 wrote"),
        "{:?}",
        report.findings
    );
}

#[test]
fn a_restore_is_compared_and_dropped_on_every_path() {
    let broken: [(&str, Change); 2] = [
        ("not_restorable", |host| {
            host.tool("pg_restore")
                .on("--exit-on-error", ToolOutput::failure(1, "pg_restore: error: type \"vector\" does not exist"));
        }),
        ("wrong_rows", |host| {
            host.tool("pg_dump")
                .on("--format=plain", ToolOutput::success("COPY public.orders (id) FROM stdin;\n\\.\n"));
        }),
    ];
    for (kind, breaks) in broken {
        let host = host();
        let scratch = scratch(&host);
        breaks(&host);
        assert_eq!(problem(&host, json!({ "level": "restored" })), kind);
        assert!(scratch.statements().iter().any(|statement| statement.starts_with("drop database if exists rota_verify_20251231t000000z_89abcdef")), "{kind}");
    }
    let host = host();
    let scratch = scratch(&host);
    host.tool("pg_dump").on("--format=plain", ToolOutput::failure(1, "pg_dump: error: connection lost"));
    let report = host.run::<Plugin>(json!({ "level": "restored" })).unwrap();
    assert!(report.finding("could not be verified").is_some(), "{:?}", report.findings);
    assert!(report.finding("rota_verify_old_1: left over").is_some());
    assert!(scratch.statements().iter().any(|statement| statement.starts_with("drop database")));
}

#[test]
fn a_level_without_its_slots_is_refused_with_what_to_bind() {
    let bare = |level: &str, more: fn(&MockHost)| {
        let host = MockHost::new();
        host.storage("bucket");
        more(&host);
        let failed = host.run::<Plugin>(json!({ "level": level })).unwrap_err();
        failed.hint.unwrap()
    };
    assert_eq!(bare("decoded", |_| ()), "bind it with --bind pg_restore=/usr/bin/pg_restore");
    assert_eq!(
        bare("restored", |host| {
            host.tool("pg_restore");
        }),
        "bind it with --bind scratch=postgres://..."
    );
    assert_eq!(
        bare("restored", |host| {
            host.tool("pg_restore");
            host.sql("scratch");
        }),
        "bind it with --bind pg_dump=/usr/bin/pg_dump"
    );
    assert_eq!(
        bare("restored", |host| {
            host.tool("pg_restore");
            host.sql("scratch");
            host.tool("pg_dump");
            host.grant("scratch", &["read"]);
        }),
        "grant it with --grant scratch=read,write,ddl,index,maintain"
    );
}

#[test]
fn a_plan_reads_and_writes_nothing() {
    let host = host().plan();
    scratch(&host).on("from pg_catalog.pg_database", rows! { ["datname"] });
    let report = host.run::<Plugin>(json!({ "level": "restored" })).unwrap();
    assert_eq!(report.data["backups"][0]["ok"], true);
    assert!(host.effects().iter().all(|effect| effect.planned));
    assert!(host.sql("scratch").statements().iter().all(|statement| statement.starts_with("select")));
    assert_eq!(host.storage("bucket").names().len(), 3);
}

#[test]
fn backups_are_chosen() {
    let host = host();
    let text = String::from_utf8(host.storage("bucket").bytes(&name("manifest.json")).unwrap()).unwrap();
    let older = "20251230T000000Z-00000001";
    host.storage("bucket").object(&format!("app/{older}/manifest.json"), text.replace(ID, older));
    let ids = |parameters: Json| -> Vec<String> {
        let report = host.run::<Plugin>(parameters).unwrap();
        report.data["backups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|backup| backup["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(json!({ "level": "stored" })), [ID]);
    host.set_now(Timestamp::parse("2026-01-01T00:00:01Z").unwrap());
    assert_eq!(ids(json!({ "level": "stored", "backup": "all" })), [ID, older]);
    host.set_now(Timestamp::parse("2026-01-01T00:00:02Z").unwrap());
    assert_eq!(ids(json!({ "level": "stored", "backup": older })), [older]);
    let failed = host.run::<Plugin>(json!({ "backup": "x" })).unwrap_err();
    assert_eq!(failed.hint.unwrap(), format!("there are: {ID}; {older}"));
    let failed = host.run::<Plugin>(json!({ "database": "none" })).unwrap_err();
    assert!(failed.message.contains("there is no backup of database \"none\""), "{}", failed.message);
}

#[test]
fn without_write_it_only_looks() {
    let host = host();
    host.grant("bucket", &["read"]);
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.status, Severity::Ok);
    assert_eq!(report.data["backups"][0]["result"], Json::Null);
    assert_eq!(host.storage("bucket").names().len(), 3);
}
