//! What is left of a backup that never got its manifest is cleared away, by the run or after it.

use super::*;

fn name() -> String {
    format!("incomplete-backup {ID}")
}

fn state() -> Json {
    json!({ "manifest": object("manifest.json"), "objects": [object("dump.pgdump.zst"), object("globals.sql.zst")] })
}

#[test]
fn the_undo_is_registered_with_what_will_be_written_and_dismissed_when_it_is() {
    let host = host();
    host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(host.compensations(), [MockCompensation { name: name(), state: state(), dismissed: true }]);
    let written: Vec<String> = puts(&host).into_iter().take(2).collect();
    assert_eq!(json!(written), state()["objects"]);
}

#[test]
fn the_names_are_those_that_are_written_however_they_are_stored() {
    for (parameters, compression) in
        [(json!({ "compression": "none" }), ""), (json!({ "compression": "client-zstd" }), "client")]
    {
        let host = host();
        host.run::<Plugin>(parameters).unwrap();
        let written: Vec<String> = puts(&host).into_iter().take(2).collect();
        assert_eq!(json!(written), host.compensations()[0].state["objects"], "{compression}");
    }
    let host = host();
    host.run::<Plugin>(json!({ "recipients": ["age1abc"], "globals": false })).unwrap();
    assert_eq!(host.compensations()[0].state["objects"], json!([object("dump.pgdump.zst.age")]));
}

#[test]
fn the_undo_deletes_what_has_no_manifest_and_nothing_else() {
    let host = host();
    let bucket = host.storage("bucket");
    bucket.object(&object("dump.pgdump.zst"), "half").object(&object("note.txt"), "a person's").object("other", "x");
    host.compensate::<Plugin>(&name(), state()).unwrap();
    assert_eq!(bucket.names(), [object("note.txt"), "other".to_owned()]);
    // Harmless to repeat.
    host.compensate::<Plugin>(&name(), state()).unwrap();
}

#[test]
fn the_undo_leaves_a_backup_that_has_its_manifest() {
    let host = host();
    host.run::<Plugin>(json!({})).unwrap();
    let before = host.storage("bucket").names();
    host.compensate::<Plugin>(&name(), state()).unwrap();
    assert_eq!(host.storage("bucket").names(), before);
}

#[test]
fn a_manifest_that_cannot_be_looked_for_deletes_nothing() {
    let host = host();
    host.storage("bucket").object(&object("dump.pgdump.zst"), "whole");
    host.grant("bucket", &["write", "delete"]);
    assert!(matches!(host.compensate::<Plugin>(&name(), state()).unwrap_err().cause, Some(HostError::Denied(_))));
    assert_eq!(host.storage("bucket").names().len(), 1);
}

#[test]
fn what_the_run_cleared_away_itself_is_dismissed_and_what_it_could_not_is_not() {
    let failing = host();
    failing.tool("pg_dumpall").on("--globals-only", ToolOutput::failure(1, "pg_dumpall: error: no"));
    failing.run::<Plugin>(json!({})).unwrap_err();
    assert!(failing.compensations()[0].dismissed);

    let bare = host();
    bare.grant("bucket", &["read", "write"]);
    bare.run::<Plugin>(json!({})).unwrap();
    assert_eq!(bare.compensations(), [], "without `delete` there is nothing to promise");
}

#[test]
fn a_later_attempt_clears_away_what_an_earlier_one_left() {
    let host = host();
    let earlier = |tail: &str| format!("app/20251231T235900Z-{tail}/dump.pgdump.zst");
    host.storage("bucket").object(&earlier("89abcdef"), "half").object(&earlier("00000001"), "another run's");
    host.run::<Plugin>(json!({ "retention": false })).unwrap();
    assert!(host.storage("bucket").bytes(&earlier("89abcdef")).is_some(), "a first attempt has none before it");
    host.set_now(Timestamp(1_767_225_700_000_000));
    host.retry::<Plugin>(json!({ "retention": false })).unwrap();
    assert!(host.storage("bucket").bytes(&earlier("89abcdef")).is_none());
    assert!(host.storage("bucket").bytes(&earlier("00000001")).is_some());
    assert!(host.storage("bucket").bytes(&object("manifest.json")).is_some(), "a backup with its manifest stays");
}
