//! What is deleted, what stays, and what is never touched.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod pods;

use super::*;
use crate::names::{Kind, kind};
use rota_sdk::mock::*;
use std::cell::RefCell;
use std::rc::Rc;

const SYSTEM: u64 = 7_300_000_000_000_000_001;
const MB: u64 = 1 << 20;

/// The name of the n-th segment of 16 MB.
fn name(timeline: u32, n: u64) -> String {
    format!("{timeline:08X}{:08X}{:08X}", n / 256, n % 256)
}

/// The first bytes of a segment.
fn content(timeline: u32, n: u64, system: u64) -> Vec<u8> {
    let mut bytes = vec![0x13, 0xD1, 2, 0];
    bytes.extend(timeline.to_le_bytes());
    bytes.extend((n * 16 * MB).to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(system.to_le_bytes());
    bytes.extend(u32::try_from(16 * MB).unwrap().to_le_bytes());
    bytes.extend(8192_u32.to_le_bytes());
    bytes
}

/// A server that writes the segment 50, with nothing that needs old WAL.
fn server(host: &MockHost, needs: MockRows) {
    let now = host.now();
    let database = host.sql("database");
    database.inspected(now, now, now, true);
    database.on("as segment_bytes", rows! { ["segment_bytes", "data_directory"] => [16 << 20_i64, "/data"] });
    database.on("select pg_wal_lsn_diff(pg_current_wal_lsn()", rows! { ["position"] => [((50 * 16) << 20_i64) + 5] });
    database.on("from pg_catalog.pg_replication_slots s", needs);
}

fn nobody() -> MockRows {
    rows! { ["kind", "name", "position"] => ["checkpoint", "0/31000028", (49 * 16) << 20_i64] }
}

/// An archive of the segments 1 to 49 in a bucket, with the base backups 10 and 30.
fn archived() -> MockHost {
    let host = MockHost::new();
    server(&host, nobody());
    let archive = host.storage("archive");
    for n in 1..50 {
        archive.object(&format!("wal/{}", name(1, n)), content(1, n, SYSTEM));
    }
    archive.object(&format!("wal/{}.00000028.backup", name(1, 10)), "history");
    archive.object(&format!("wal/{}.00000028.backup", name(1, 30)), "history");
    archive.object("wal/00000002.history", "history").object("wal/README", "ours").object("other", "ours");
    host
}

fn backup(host: &MockHost, id: &str, lsn: Option<&str>, system: Option<&str>) {
    let part = json!({ "object": "dump", "tool": "pg_dump 16.14", "content": "x", "codec": "none", "level": null,
        "plain": { "bytes": 1, "sha256": "aa" }, "stored": { "bytes": 1, "sha256": "aa" } });
    let manifest = json!({
        "kind": "rota-postgres-backup", "format": 1, "id": id, "writer": "x", "run": "r", "started_at": "2025-12-31T00:00:00Z", "finished_at": "2025-12-31T00:01:00Z",
        "source": { "version": "16.14", "version_num": 160_014, "system_identifier": system, "database": "app", "role": "rota", "in_recovery": false,
            "encoding": "UTF8", "collation": null, "size_bytes": null },
        "snapshot": { "method": "quiet", "lsn": lsn, "lsn_after": lsn, "transactions": null },
        "dump": part, "rows": { "method": "counted", "tables": [] },
    });
    host.storage("bucket")
        .object(&format!("app/{id}/manifest.json"), manifest.to_string())
        .object(&format!("app/{id}/dump"), "x");
}

const OLD: &str = "20251230T120000Z-00000001";
const NEW: &str = "20251231T120000Z-00000002";

fn bucket(more: Json) -> Json {
    let mut parameters = json!({ "prefix": "wal" });
    parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    parameters
}

/// The numbers of the segments that are still there.
fn there(host: &MockHost) -> Vec<u64> {
    let names = host.storage("archive").names();
    (1..50).filter(|n| names.contains(&format!("wal/{}", name(1, *n)))).collect()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn names_say_what_a_file_is() {
    let of = |place, timeline| names::Segment { place, timeline };
    for (name, wanted) in [
        ("00000001000000180000FF80", Kind::Segment(of((0x18, 0xFF80), 1))),
        ("000000020000000000000001.zst.age", Kind::Segment(of((0, 1), 2))),
        ("000000020000000000000001.partial.gz", Kind::Partial(of((0, 1), 2))),
        ("000000010000000000000002.00000028.backup", Kind::BackupHistory(of((0, 2), 1))),
        ("0000000A.history", Kind::TimelineHistory),
        ("0000000a.history", Kind::Other),
        ("00000001000000000000000a", Kind::Other),
        ("00000001000000000000000", Kind::Other),
        ("0000000100000000000000011", Kind::Other),
        ("000000010000000000000001.tmp", Kind::Other),
        ("000000010000000000000001.partial.partial", Kind::Other),
        ("+0000001000000000000000A", Kind::Other),
        ("xlogtemp.123", Kind::Other),
        ("00000001000000000000\u{e9}\u{e9}", Kind::Other),
    ] {
        assert_eq!(kind(name), wanted, "{name}");
    }
}

#[test]
fn what_no_base_backup_needs_goes_and_the_rest_stays() {
    let host = archived();
    let report = host.run::<Plugin>(bucket(json!({}))).unwrap();
    assert_eq!(there(&host), (10..50).collect::<Vec<_>>(), "the oldest base backup needs 10");
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
    assert_eq!(report.data["deleted"], json!({ "files": 9, "bytes": 9 * 40 }));
    assert_eq!((&report.data["cutoff"], &report.data["first"]), (&json!("000000000000000A"), &json!(name(1, 1))));
    assert_eq!(report.data["system_identifier"], SYSTEM.to_string());
    let again = host.run::<Plugin>(bucket(json!({ "retained_base_backups": 1 }))).unwrap();
    assert_eq!(there(&host), (30..50).collect::<Vec<_>>());
    assert_eq!(again.data["deleted"]["files"], 20);
    // Histories and whatever else lies there.
    let names = host.storage("archive").names();
    let others = ["other", "wal/00000001000000000000000A.00000028.backup", "wal/00000002.history", "wal/README"];
    assert!(others.iter().all(|other| names.contains(&(*other).to_owned())), "{names:?}");
    let nothing = host.run::<Plugin>(bucket(json!({ "retained_base_backups": 1 }))).unwrap();
    assert!(nothing.summary.ends_with("nothing to delete"), "{}", nothing.summary);
}

#[test]
fn timelines_are_ignored_and_partial_and_packed_segments_count() {
    let host = archived();
    let archive = host.storage("archive");
    for old in ["000000020000000000000003.partial", "000000030000000000000004.zst"] {
        archive.object(&format!("wal/{old}"), "x");
    }
    archive.object("wal/00000002000000000000000B.gz", "x");
    host.run::<Plugin>(bucket(json!({}))).unwrap();
    let names = archive.names();
    assert!(!names.iter().any(|name| name.ends_with(".partial") || name.ends_with(".zst")), "{names:?}");
    assert!(names.contains(&"wal/00000002000000000000000B.gz".to_owned()));
}

#[test]
fn a_plan_lists_and_deletes_nothing() {
    let host = archived().plan();
    let report = host.run::<Plugin>(bucket(json!({}))).unwrap();
    assert_eq!(there(&host).len(), 49);
    assert_eq!((&report.data["deletable"]["files"], &report.data["deleted"]["files"]), (&json!(9), &json!(0)));
    assert_eq!(report.table("files").unwrap().rows.len(), 9);
    assert!(report.summary.contains("9 of 9 file(s) before 000000000000000A"), "{}", report.summary);
    let effects: Vec<_> = host.effects().into_iter().filter(|effect| effect.operation == "storage.delete").collect();
    assert_eq!(effects.len(), 9);
    let listed = archived();
    listed.run::<Plugin>(bucket(json!({ "list_only": true }))).unwrap();
    assert_eq!((there(&listed).len(), listed.effects().len()), (49, 0));
}

#[test]
fn the_oldest_retained_backup_says_what_stays() {
    let host = archived();
    backup(&host, NEW, Some("0/28000000"), Some("7300000000000000001"));
    backup(&host, OLD, Some("0/5000028"), Some("7300000000000000001"));
    // Of another cluster: no matter.
    backup(&host, "20251229T120000Z-00000003", Some("0/1000028"), Some("1"));
    let report = host.run::<Plugin>(bucket(json!({}))).unwrap();
    assert_eq!(there(&host), (5..50).collect::<Vec<_>>());
    assert_eq!(report.data["needs"][0]["name"], format!("app/{OLD}"));
}

#[test]
fn a_backup_whose_need_is_not_known_ends_the_run() {
    for (lsn, system, manifest) in [(None, Some("7300000000000000001"), None), (Some("0/5000028"), None, Some("{"))] {
        let host = archived();
        backup(&host, OLD, lsn, system);
        if let Some(manifest) = manifest {
            host.storage("bucket").object(&format!("app/{OLD}/manifest.json"), manifest);
        }
        let failed = host.run::<Plugin>(bucket(json!({}))).unwrap_err();
        assert!(failed.message.contains(OLD), "{}", failed.message);
        assert_eq!(there(&host).len(), 49);
    }
    // A cluster that cannot be told apart counts as ours.
    let host = archived();
    backup(&host, OLD, Some("0/5000028"), None);
    host.run::<Plugin>(bucket(json!({}))).unwrap();
    assert_eq!(there(&host)[0], 5);
    let host = archived();
    host.storage("bucket");
    assert!(host.run::<Plugin>(bucket(json!({}))).unwrap_err().message.contains("no backup of this cluster"));
}

#[test]
fn what_the_server_still_needs_stays() {
    for kind in ["slot", "standby"] {
        let host = archived();
        server(&host, rows! { ["kind", "name", "position"] => [kind, "s1", (7 * 16) << 20_i64] });
        host.run::<Plugin>(bucket(json!({}))).unwrap();
        assert_eq!(there(&host)[0], 7, "{kind}");
    }
}

#[test]
fn a_cutoff_that_is_given_is_never_moved() {
    let host = archived();
    let failed = host.run::<Plugin>(bucket(json!({ "cutoff": name(1, 11) }))).unwrap_err();
    assert!(
        failed.message.contains("lies past what base backup 00000001000000000000000A.00000028.backup needs"),
        "{}",
        failed.message
    );
    assert_eq!(there(&host).len(), 49);
    for bad in ["", "0/10", "00000001", "000000010000000000000005.gz", "../000000010000000000000005"] {
        assert!(host.run::<Plugin>(bucket(json!({ "cutoff": bad }))).is_err(), "{bad}");
    }
    host.run::<Plugin>(bucket(json!({ "cutoff": format!("{}.00000028.backup", name(1, 5)) }))).unwrap();
    assert_eq!(there(&host), (5..50).collect::<Vec<_>>());
}

#[test]
fn where_nothing_says_what_is_needed_nothing_goes() {
    let host = MockHost::new();
    server(&host, nobody());
    for n in 1..50 {
        host.storage("archive").object(&format!("wal/{}", name(1, n)), content(1, n, SYSTEM));
    }
    assert!(
        host.run::<Plugin>(bucket(json!({}))).unwrap_err().message.contains("nothing says which WAL is still needed")
    );
    // A cutoff that the archive does not hold would leave nothing to begin from.
    host.storage("archive").object(&format!("wal/{}.00000028.backup", name(1, 51)), "x");
    server(&host, rows! { ["kind", "name", "position"] });
    assert!(
        host.run::<Plugin>(bucket(json!({})))
            .unwrap_err()
            .message
            .contains("does not hold the segment 0000000000000033")
    );
    assert_eq!(there(&host).len(), 49);
    let report = host.run::<Plugin>(bucket(json!({ "cutoff": name(1, 5) }))).unwrap();
    assert_eq!(report.data["deleted"]["files"], 4);
}

#[test]
fn without_a_base_backup_the_archive_brings_nothing_back() {
    let host = MockHost::new();
    server(&host, nobody());
    for n in [1, 2, 3, 5, 9] {
        host.storage("archive").object(&format!("wal/{}", name(1, n)), content(1, n, SYSTEM));
    }
    let report = host.run::<Plugin>(bucket(json!({ "cutoff": name(1, 2) }))).unwrap();
    assert!(report.finding("the archive knows no base backup").is_some());
    assert_eq!(
        report.data["gaps"],
        json!(["segment 0000000000000004", "3 segments, 0000000000000006 to 0000000000000008"])
    );
    assert_eq!(report.status, Severity::Warning);
}

/// The runbook's command on a live `pg_wal`, and one crash, are a lost cluster.
#[test]
fn a_live_log_is_refused_however_it_is_reached() {
    let refused = |change: &dyn Fn(&MockHost), words: &str| {
        let host = archived();
        change(&host);
        let failed = host.run::<Plugin>(bucket(json!({}))).unwrap_err();
        assert!(failed.message.contains(words), "{words}: {}", failed.message);
        assert_eq!(there(&host).len(), 49, "{words}");
        assert!(!host.effects().iter().any(|effect| effect.operation == "storage.delete"), "{words}");
    };
    let object = |name: &'static str| {
        move |host: &MockHost| {
            host.storage("archive").object(name, "x");
        }
    };
    refused(&object("wal/archive_status/000000010000000000000001.done"), "this is a pg_wal");
    refused(&object("wal/PG_VERSION"), "data directory");
    refused(&object("PG_VERSION"), "data directory");
    refused(&object("global/pg_control"), "data directory");
    refused(&object("postmaster.pid"), "data directory");
    refused(
        &|host| {
            host.storage("archive").object(&format!("wal/{}", name(1, 50)), content(1, 50, SYSTEM));
        },
        "has not finished it",
    );
    // Recycled: named for the future, with the content of the past.
    refused(
        &|host| {
            host.storage("archive").object(&format!("wal/{}", name(1, 49)), content(1, 3, SYSTEM));
        },
        "recycled",
    );
    refused(
        &|host| {
            host.storage("archive").object(&format!("wal/{}", name(1, 49)), vec![0; 40]);
        },
        "does not begin",
    );
    refused(
        &|host| {
            host.storage("archive").object(&format!("wal/{}", name(1, 1)), content(1, 1, 5));
        },
        "another cluster",
    );
    refused(
        &|host| {
            host.sql("database").server(|server| server.system_identifier = Some("5".to_owned()));
        },
        "the archive is of the cluster",
    );
    refused(
        &|host| {
            host.sql("database").server(|server| server.in_recovery = true);
        },
        "standby",
    );
}

#[test]
fn which_archive_is_to_be_said() {
    let host = MockHost::new();
    host.storage("archive");
    assert!(host.run::<Plugin>(json!({})).unwrap_err().message.contains("only where the server can be asked"));
    assert!(MockHost::new().run::<Plugin>(json!({})).unwrap_err().message.contains("which archive"));
    let host = MockHost::new();
    host.cluster("cluster");
    for bad in [
        json!({}),
        json!({ "pod": "a" }),
        json!({ "pod": "a", "folder": "archive" }),
        json!({ "pod": "a", "folder": "/a\nb" }),
    ] {
        assert!(host.run::<Plugin>(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn one_run_deletes_a_bounded_number_the_oldest_first_in_steps() {
    let host = archived();
    let report = host.run::<Plugin>(bucket(json!({ "maximum_files": 5, "batch": 2 }))).unwrap();
    assert_eq!(there(&host)[0], 6);
    assert_eq!((&report.data["left"]["files"], &report.data["last"]), (&json!(4), &json!(name(1, 5))));
    assert_eq!(host.steps().len(), 4, "{:?}", host.steps());
}

#[test]
fn an_attempt_that_broke_off_is_finished_by_the_next() {
    let host = archived();
    let chosen: Vec<(String, u64)> = (1..10).map(|n| (name(1, n), 40)).collect();
    host.step_done("choose", json!(chosen));
    host.step_done(&format!("delete {} to {}", name(1, 1), name(1, 4)), json!(null));
    let report = host.run::<Plugin>(bucket(json!({ "batch": 4 }))).unwrap();
    assert_eq!(report.data["deleted"]["files"], 9);
    // The first attempt's batch is its own: it is not deleted again, and here it was never deleted at all, which is seen.
    assert_eq!(report.titles(Severity::Critical), [format!("{}: still there after it was deleted", name(1, 1))]);
}
