//! What is taken for a manifest, and what is not.
#![allow(clippy::unwrap_used)]

use super::*;

/// A manifest as version 0.1.0 writes it. Do not change it: backups like this are in buckets.
const WRITTEN_BY_0_1_0: &str = r#"{
  "kind": "rota-postgres-backup", "format": 1, "id": "20261123T164507Z-89abcdef", "writer": "postgres-backup 0.1.0",
  "run": "01234567-89ab-7def-8123-456789abcdef", "started_at": "2026-11-23T16:45:07.123456Z", "finished_at": "2026-11-23T16:46:00Z",
  "source": { "version": "16.14", "version_num": 160014, "system_identifier": "7300000000000000001", "database": "kosmos", "role": "rota",
    "in_recovery": false, "encoding": "UTF8", "collation": "C.UTF-8", "size_bytes": 1000 },
  "snapshot": { "method": "quiet", "lsn": "0/1A2B3C8", "lsn_after": "0/1A2B3C8", "transactions": "750:750:" },
  "dump": { "object": "dump.pgdump.zst", "tool": "pg_dump 16.14", "content": "pg_dump-custom", "codec": "zstd", "level": 1,
    "compressed_by_client": false, "recipients": [], "plain": { "bytes": 900, "sha256": "aa" }, "stored": { "bytes": 300, "sha256": "bb" } },
  "globals": { "object": "globals.sql.zst", "tool": "pg_dumpall 16.14", "content": "sql", "codec": "zstd", "level": 1,
    "compressed_by_client": false, "recipients": [], "plain": { "bytes": 90, "sha256": "cc" }, "stored": { "bytes": 30, "sha256": "dd" } },
  "rows": { "method": "counted", "tables": [ { "schema": "public", "table": "orders", "rows": 2 } ] },
  "extensions": [ { "name": "vector", "version": "0.7.4" } ]
}"#;

fn folder() -> Folder {
    Folder { prefix: String::new(), database: "kosmos".to_owned(), id: "20261123T164507Z-89abcdef".to_owned() }
}

fn changed(from: &str, to: &str) -> Result<Manifest, ManifestFault> {
    assert!(WRITTEN_BY_0_1_0.contains(from), "{from}");
    Manifest::parse(WRITTEN_BY_0_1_0.replacen(from, to, 1).as_bytes(), &folder())
}

#[test]
fn what_the_first_version_wrote_is_read() {
    let manifest = Manifest::parse(WRITTEN_BY_0_1_0.as_bytes(), &folder()).unwrap();
    assert_eq!(manifest.stored_bytes(), 330);
    assert_eq!(manifest.client_major(), Some(16));
    assert_eq!(manifest.rows.tables[0].rows, 2);
    assert!(manifest.rows.method.is_exact());
    let again = Manifest::parse(manifest.to_json().unwrap().as_bytes(), &folder()).unwrap();
    assert_eq!(again.to_json().unwrap(), manifest.to_json().unwrap());
    let expected: serde_json::Value = serde_json::from_str(WRITTEN_BY_0_1_0).unwrap();
    let written: serde_json::Value = serde_json::from_str(&manifest.to_json().unwrap()).unwrap();
    assert_eq!(written, expected);
}

#[test]
fn unknown_fields_are_skipped() {
    assert!(changed("\"format\": 1,", "\"format\": 1, \"later\": { \"x\": [1] },").is_ok());
    assert!(changed("\"codec\": \"zstd\",", "\"codec\": \"zstd\", \"later\": 1,").is_ok());
}

#[test]
fn another_format_is_refused_in_clear_words() {
    let newer = changed("\"format\": 1", "\"format\": 2").unwrap_err();
    assert_eq!(newer, ManifestFault::Newer(2));
    assert!(newer.to_string().contains("its format is 2, and this version of Rota reads up to 1"), "{newer}");
    for (from, to) in [
        ("\"format\": 1,", ""),
        ("\"format\": 1", "\"format\": 0"),
        ("\"format\": 1", "\"format\": \"1\""),
        ("rota-postgres-backup", "helm"),
    ] {
        assert!(matches!(changed(from, to), Err(ManifestFault::Foreign(_))), "{to}");
    }
}

#[test]
fn damage_and_other_places_are_refused() {
    assert!(matches!(
        Manifest::parse(&WRITTEN_BY_0_1_0.as_bytes()[..300], &folder()),
        Err(ManifestFault::Unreadable(_))
    ));
    assert!(matches!(changed("\"plain\": {", "\"plane\": {"), Err(ManifestFault::Unreadable(_))));
    assert!(matches!(changed("\"codec\": \"zstd\"", "\"codec\": \"brotli\""), Err(ManifestFault::Unreadable(_))));
    assert!(matches!(changed("dump.pgdump.zst", "../other/dump"), Err(ManifestFault::Unreadable(_))));
    assert!(matches!(changed("89abcdef\", \"writer", "00000000\", \"writer"), Err(ManifestFault::Misplaced(_))));
    assert!(matches!(changed("\"database\": \"kosmos\"", "\"database\": \"other\""), Err(ManifestFault::Misplaced(_))));
}
