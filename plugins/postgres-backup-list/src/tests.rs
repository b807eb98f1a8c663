//! What is listed, and what is said of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use rota_sdk::mock::*;

fn manifest(id: &str, database: &str) -> Json {
    let part = |object: &str, bytes: u64| {
        json!({ "object": object, "tool": "pg_dump 16.14", "content": "x", "codec": "zstd", "level": 1,
            "plain": { "bytes": 100, "sha256": "aa" }, "stored": { "bytes": bytes, "sha256": "bb" } })
    };
    json!({
        "kind": "rota-postgres-backup", "format": 1, "id": id, "writer": "postgres-backup 0.1.0", "run": "r",
        "started_at": "2025-12-31T00:00:00Z", "finished_at": "2025-12-31T00:01:00Z",
        "source": { "version": "16.14", "version_num": 160_014, "system_identifier": "1", "database": database, "role": "rota", "in_recovery": false,
            "encoding": "UTF8", "collation": null, "size_bytes": null },
        "snapshot": { "method": "quiet", "lsn": "0/1A", "lsn_after": "0/1A", "transactions": "1:1:" },
        "dump": part("dump.pgdump.zst", 4), "globals": part("globals.sql.zst", 7),
        "rows": { "method": "counted", "tables": [] },
    })
}

fn backup(host: &MockHost, folder: &str, database: &str, id: &str) {
    let at = format!("{folder}/{id}");
    let bucket = host.storage("bucket");
    bucket.object(&format!("{at}/manifest.json"), manifest(id, database).to_string());
    bucket.object(&format!("{at}/dump.pgdump.zst"), "dump").object(&format!("{at}/globals.sql.zst"), "globals");
}

fn verified(host: &MockHost, folder: &str, id: &str, at: &str, level: &str, ok: bool) {
    let problems = if ok {
        json!([])
    } else {
        json!([{ "kind": "wrong_checksum", "title": format!("{folder}/{id}/dump: flipped"), "detail": "x" }])
    };
    let result = json!({ "kind": "rota-postgres-verification", "format": 1, "backup": id, "level": level, "ok": ok, "at": at, "writer": "x", "run": "r", "problems": problems });
    let stamp = at.replace(['-', ':'], "");
    host.storage("bucket").object(&format!("{folder}/{id}/{stamp}-00000000-{level}.verified.json"), result.to_string());
}

const NEW: &str = "20251231T120000Z-00000002";
const OLD: &str = "20251230T120000Z-00000001";

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn the_newest_is_first_and_has_its_verification() {
    let host = MockHost::new();
    backup(&host, "app", "app", OLD);
    backup(&host, "app", "app", NEW);
    backup(&host, "a=2fb", "a/b", "20251231T130000Z-00000003");
    verified(&host, "app", OLD, "2025-12-30T13:00:00Z", "restored", true);
    verified(&host, "app", NEW, "2025-12-31T13:00:00Z", "decoded", true);
    verified(&host, "app", NEW, "2025-12-31T14:00:00Z", "stored", true);
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
    let backups = report.data["backups"].as_array().unwrap();
    assert_eq!(
        backups.iter().map(|b| b["id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["20251231T130000Z-00000003", NEW, OLD]
    );
    assert_eq!(backups[0]["database"], "a/b");
    assert_eq!(
        (&backups[1]["verified"], &backups[1]["verified_at"]),
        (&json!("decoded"), &json!("2025-12-31T13:00:00Z"))
    );
    assert_eq!(backups[1]["age_seconds"], 43_200.0);
    assert_eq!(backups[1]["lsn"], "0/1A");
    assert_eq!(report.data["databases"][1]["last_restored"], OLD);
    assert_eq!(report.table("backups").unwrap().rows.len(), 3);
    let one = host.run::<Plugin>(json!({ "database": "a/b" })).unwrap();
    assert_eq!(one.data["backups"].as_array().unwrap().len(), 1);
}

#[test]
fn age_is_judged_by_the_newest_good_one() {
    let host = MockHost::new();
    backup(&host, "app", "app", OLD);
    let status = |hours: f64| host.run::<Plugin>(json!({ "max_age_hours": hours })).unwrap().status;
    assert_eq!(
        [status(37.0), status(26.0), status(18.5), status(17.0)],
        [Severity::Ok, Severity::Warning, Severity::Warning, Severity::Critical]
    );
    backup(&host, "app", "app", NEW);
    assert_eq!(status(26.0), Severity::Ok);
    verified(&host, "app", NEW, "2025-12-31T13:00:00Z", "stored", false);
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.status, Severity::Critical);
    assert!(report.finding("app: the newest good backup is 36 h old").is_some(), "{:?}", report.findings);
    assert!(report.finding("flipped").is_some());
    assert_eq!(report.data["backups"][0]["verified"], Json::Null);
    verified(&host, "app", NEW, "2025-12-31T15:00:00Z", "decoded", true);
    assert_eq!(status(26.0), Severity::Ok);
}

#[test]
fn nothing_there_is_critical() {
    let host = MockHost::new();
    host.storage("bucket").object("app/notes.txt", "x");
    let report = host.run::<Plugin>(json!({ "prefix": "daily" })).unwrap();
    assert_eq!((report.status, report.summary.as_str()), (Severity::Critical, "no backups below \"daily/\""));
    let report = host.run::<Plugin>(json!({ "database": "app" })).unwrap();
    assert!(report.finding("app: no good backup").is_some());
}

#[test]
fn what_is_wrong_is_seen_without_reading_dumps() {
    let host = MockHost::new();
    backup(&host, "app", "app", NEW);
    backup(&host, "app", "app", OLD);
    host.storage("bucket")
        .object(&format!("app/{OLD}/dump.pgdump.zst"), "cut")
        .object(&format!("app/{NEW}/manifest.json"), r#"{"kind":"rota-postgres-backup","format":2}"#);
    host.storage("bucket").object("app/20251229T120000Z-00000009/dump.pgdump.zst", "half");
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.status, Severity::Critical);
    assert!(report.finding("dump.pgdump.zst: 3 bytes instead of 4").is_some(), "{:?}", report.findings);
    assert!(report.finding("its manifest is of format 2").unwrap().detail.contains("reads up to 1"));
    assert!(report.finding("app: no good backup").is_some());
    assert!(report.finding("20251229T120000Z-00000009: 1 object(s) of 4 bytes without a manifest").is_some());
    assert_eq!(report.data["orphans"][0]["folder"], "app/20251229T120000Z-00000009");
    assert!(host.effects().is_empty());
}
