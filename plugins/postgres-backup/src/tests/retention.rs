//! Which old backups go, in which order, and what is left alone.

use super::*;

/// An object of a backup as a run of its own wrote it.
fn written(name: &str) -> Vec<u8> {
    let other = host();
    other.run::<Plugin>(json!({})).unwrap();
    other.storage("bucket").bytes(&object(name)).unwrap()
}

/// Backups as earlier runs left them, of the mock's database.
pub(super) fn old_backups(host: &MockHost, ids: &[&str]) {
    let manifest = String::from_utf8(written("manifest.json")).unwrap();
    for id in ids {
        host.storage("bucket").object(&format!("app/{id}/manifest.json"), manifest.replace(ID, id));
        for part in ["dump.pgdump.zst", "globals.sql.zst"] {
            host.storage("bucket").object(&format!("app/{id}/{part}"), written(part));
        }
    }
}

#[test]
fn retention_deletes_the_manifest_first_and_only_what_is_ours() {
    let host = host();
    old_backups(&host, &["20251231T120000Z-00000001", "20251231T130000Z-00000002", "20200601T000000Z-00000003"]);
    let bucket = host.storage("bucket");
    let other_cluster = String::from_utf8(written("manifest.json"))
        .unwrap()
        .replace(ID, "20200101T000000Z-00000004")
        .replace("7300000000000000001", "7300000000000000002");
    bucket.object("app/20200101T000000Z-00000004/manifest.json", other_cluster);
    bucket.object("app/20200101T000000Z-00000005/manifest.json", r#"{"kind":"rota-postgres-backup","format":9}"#);
    bucket.object("app/notes.txt", "keep me");
    bucket.object("app2/20200101T000000Z-00000006/manifest.json", "{}");
    let report =
        host.run::<Plugin>(json!({ "keep_hours": 0, "keep_daily": 2, "keep_weekly": 0, "keep_monthly": 0 })).unwrap();
    assert_eq!(report.data["retention"]["deleted"], json!(["20251231T120000Z-00000001", "20200601T000000Z-00000003"]));
    let deleted: Vec<String> = host
        .effects()
        .into_iter()
        .filter(|effect| effect.operation == "storage.delete")
        .map(|effect| effect.detail)
        .collect();
    assert_eq!(
        deleted[..3],
        [
            "app/20251231T120000Z-00000001/manifest.json",
            "app/20251231T120000Z-00000001/dump.pgdump.zst",
            "app/20251231T120000Z-00000001/globals.sql.zst",
        ]
    );
    assert_eq!(deleted.len(), 6);
    assert_eq!(report.data["retention"]["ignored"], json!(["20200101T000000Z-00000005", "20200101T000000Z-00000004"]));
    assert!(report.finding("20200101T000000Z-00000005: left alone").unwrap().detail.contains("its format is 9"));
    assert!(bucket.names().contains(&"app/notes.txt".to_owned()));
    assert!(bucket.names().contains(&"app2/20200101T000000Z-00000006/manifest.json".to_owned()));
}

#[test]
fn the_last_restored_one_stays() {
    let host = host();
    old_backups(&host, &["20200101T000000Z-00000001", "20200101T010000Z-00000002"]);
    let verified = json!({ "kind": "rota-postgres-verification", "format": 1, "backup": "20200101T000000Z-00000001", "level": "restored", "ok": true,
        "at": "2020-01-02T00:00:00Z", "writer": "x", "run": "r" });
    host.storage("bucket")
        .object("app/20200101T000000Z-00000001/20200102T000000Z-00000000-restored.verified.json", verified.to_string());
    let report = host.run::<Plugin>(json!({ "keep_daily": 1, "keep_weekly": 0, "keep_monthly": 0 })).unwrap();
    assert_eq!(report.data["retention"]["deleted"], json!(["20200101T010000Z-00000002"]));
    assert_eq!(
        report.data["retention"]["kept"][1],
        json!({ "id": "20200101T000000Z-00000001", "reasons": ["last_restored"] })
    );
}

#[test]
fn without_the_grant_or_the_identifier_nothing_is_deleted() {
    for change in [
        |host: &MockHost| host.grant("bucket", &["read", "write"]),
        |host: &MockHost| done(host.sql("database").server(|server| server.system_identifier = None)),
    ] {
        let host = host();
        old_backups(&host, &["20200101T000000Z-00000001", "20200101T010000Z-00000002"]);
        change(&host);
        let report = host.run::<Plugin>(json!({ "keep_monthly": 0 })).unwrap();
        assert_eq!(report.data["retention"]["deleted"], json!([]));
        assert!(report.finding("old backups were left alone").is_some());
    }
}

#[test]
fn orphans_are_named_and_removed_when_asked() {
    let orphan = "app/20251230T000000Z-00000009/dump.pgdump.zst";
    let recent = "app/20251231T230000Z-00000008/dump.pgdump.zst";
    let host = host();
    host.storage("bucket").object(orphan, "half").object(recent, "another run's");
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.data["retention"]["orphans"], json!(["app/20251230T000000Z-00000009"]));
    assert_eq!(report.status, Severity::Warning);
    assert!(host.storage("bucket").names().contains(&orphan.to_owned()));
    host.set_now(Timestamp::parse("2026-01-01T00:00:01Z").unwrap());
    let report = host.run::<Plugin>(json!({ "clean_orphans": true })).unwrap();
    assert_eq!(report.data["retention"]["orphans_removed"], json!(["app/20251230T000000Z-00000009"]));
    assert!(!host.storage("bucket").names().contains(&orphan.to_owned()));
    assert!(host.storage("bucket").names().contains(&recent.to_owned()));
}
