//! What is reported of a server's disk.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use rota_sdk::mock::*;

const MB: i64 = 1 << 20;
const GB: i64 = 1 << 30;

/// A server on which all is well: 8 GB of databases, 1 GB of WAL.
fn healthy() -> MockHost {
    let host = MockHost::new();
    let now = Timestamp(1_767_225_600_000_000);
    let database = host.sql("database");
    database.inspected(now.plus_seconds(-86_400), now, now.plus_seconds(-3600), true);
    database.on("from pg_catalog.pg_database d", rows! { ["name", "bytes"] => ["app", 8 * GB], ["postgres", 8 * MB] });
    database.on(
        "from pg_catalog.pg_tablespace t order",
        rows! { ["name", "location", "bytes"] => ["pg_default", None::<String>, 8 * GB], ["fast", "/fast", MB] },
    );
    database.on("pg_total_relation_size(c.oid)", tables(1_000_000, 10));
    database.on("pg_ls_tmpdir", rows! { ["sum"] => [0_i64] });
    database.on(
        "as segment_bytes",
        rows! {
            ["segment_bytes", "max_wal_size", "wal_keep_size", "max_slot_wal_keep_size", "position", "data_directory"] =>
            [16 * MB, GB, 0_i64, -1_i64, 100 * GB, "/var/lib/postgresql/data"]
        },
    );
    archiver(&host, "on", Some(now.plus_seconds(-60)), None);
    database.on("from pg_ls_waldir", rows! { ["sum", "count"] => [GB, 64_i64] });
    database.on("from pg_ls_archive_statusdir", rows! { ["count", "min"] => [0_i64, None::<String>] });
    database.on("from pg_catalog.pg_replication_slots s", slots());
    host
}

fn tables(rows: i64, dead: i64) -> MockRows {
    rows! { ["table", "total_bytes", "table_bytes", "index_bytes", "rows", "dead_rows"] => ["public.\"Odd\"", 2 * GB, GB, GB, rows, dead] }
}

fn slots() -> MockRows {
    rows! { ["name", "logical", "active", "status", "position"] }
}

fn slot(name: &str, active: bool, held: i64) -> MockRows {
    slots().and(rows! { [""] => [name, false, active, "extended", 100 * GB - held] })
}

fn archiver(host: &MockHost, mode: &str, archived: Option<Timestamp>, failed: Option<Timestamp>) {
    host.sql("database").on(
        "from pg_catalog.pg_stat_archiver a",
        rows! {
            ["mode", "configured", "archived", "last_archived", "last_archived_at", "failed", "last_failed", "last_failed_at"] =>
            [mode, mode == "on", 7_i64, "0000000100000018000000FF", archived, i64::from(failed.is_some()), failed.map(|_| "000000010000001800000010"), failed]
        },
    );
}

/// What `df` says, as on Linux: bytes in KiB, inodes.
fn df(used: i64, free: i64, inodes: i64) -> ToolOutput {
    let one = |mount: &str| {
        format!(
            "path\nFilesystem 1024-blocks Used Available Capacity Mounted on\n/dev/disk by id {} {used} {free} 50% {mount}\ninodes\n\
             Filesystem Inodes IUsed IFree IUse% Mounted on\n/dev/disk by id 100 {inodes} {} 1% {mount}\n",
            used + free,
            100 - inodes
        )
    };
    ToolOutput::success(format!(
        "{}{}{}end\n",
        one("/var/lib/postgresql/my data"),
        one("/var/lib/postgresql/my data"),
        one("/fast")
    ))
}

fn run(host: &MockHost, parameters: Json) -> Reported {
    host.run::<Plugin>(parameters).unwrap()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn a_volume_with_room_is_ok() {
    let host = healthy();
    let report = run(&host, json!({ "capacity_bytes": 20 * GB }));
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
    assert_eq!(report.summary, "PostgreSQL 16.14: databases 8.0 GiB, WAL 1.0 GiB");
    assert_eq!(report.data["measured"]["databases_bytes"], 8 * GB + 8 * MB);
    assert_eq!(report.data["tables"][0]["table"], "public.\"Odd\"");
    assert!(host.effects().is_empty());
    let full = run(&host, json!({ "capacity_bytes": 10 * GB }));
    assert_eq!(full.titles(Severity::Critical), ["9.0 GiB of 10.0 GiB used, 90 %"]);
}

#[test]
fn without_a_size_it_is_not_known() {
    let report = run(&healthy(), json!({}));
    assert_eq!(report.status, Severity::Unknown);
    assert!(report.finding("how full the volumes are was not looked at").unwrap().remedy.is_some());
    assert_eq!(report.data["volumes"], Json::Null);
}

#[test]
fn df_in_the_pod_is_read_for_bytes_and_inodes() {
    let with = |output: ToolOutput| {
        let host = healthy();
        host.cluster("cluster").on("df -kP", output);
        let report = run(&host, json!({ "pod": "db-0" }));
        (host, report)
    };
    let (host, report) = with(df(50, 50, 3));
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
    assert_eq!(report.data["volumes"][0]["mount"], "/var/lib/postgresql/my data");
    assert_eq!(report.data["volumes"][2]["path"], "/fast");
    assert_eq!(report.data["volumes"][2]["available_bytes"], 50 * 1024);
    assert!(
        host.effects()[0].detail.ends_with("rota /var/lib/postgresql/data /var/lib/postgresql/data/pg_wal /fast"),
        "{:?}",
        host.effects()
    );

    // Two paths on one volume are one finding.
    let (_, report) = with(df(85, 15, 3));
    assert_eq!(report.titles(Severity::Warning).len(), 2, "{:?}", report.findings);
    assert!(report.finding("db-0 (/var/lib/postgresql/data): 85 % used, 15.0 KiB left").is_some());
    let (_, report) = with(df(50, 50, 95));
    assert_eq!(report.titles(Severity::Critical)[0], "db-0 (/var/lib/postgresql/data): 95 % of the inodes used");

    // What did not come whole, or not at all, is never ok.
    let (_, report) = with(ToolOutput::success("path\nFilesystem\n"));
    assert_eq!(report.status, Severity::Unknown);
    let (_, report) = with(ToolOutput::success("path\npath\npath\nend\n"));
    assert!(report.finding("the volume of /fast in pod db-0").is_some(), "{:?}", report.findings);
    let (_, report) = with(ToolOutput::failure(127, "sh: not found"));
    assert!(report.finding("exited with 127").is_some(), "{:?}", report.findings);
}

#[test]
fn a_plan_runs_no_command_and_says_so() {
    let host = healthy().plan();
    host.cluster("cluster");
    let report = run(&host, json!({ "pod": "db-0" }));
    assert_eq!((report.status, &report.data["volumes"]), (Severity::Unknown, &Json::Null));
    assert!(report.finding("a plan runs no command in a pod").is_some());
    assert!(host.effects()[0].planned);
}

#[test]
fn pods_are_found_by_their_labels() {
    let host = healthy();
    let cluster = host.cluster("cluster");
    for (name, phase) in [("db-0", "Running"), ("db-1", "Pending"), ("db-2", "Running")] {
        cluster.put(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": "db" } }, "status": { "phase": phase } }));
    }
    cluster.on("df -kP", df(50, 50, 3));
    let report = run(&host, json!({ "selector": "app=db" }));
    let pods: Vec<&Json> = report.data["volumes"].as_array().unwrap().iter().map(|volume| &volume["pod"]).collect();
    assert_eq!(pods, ["db-0", "db-0", "db-0", "db-2", "db-2", "db-2"]);
    for bad in [
        json!({}),
        json!({ "pod": "a", "selector": "b" }),
        json!({ "selector": "app=none" }),
        json!({ "pod": "db-0", "paths": ["-x"] }),
    ] {
        assert!(host.run::<Plugin>(bad.clone()).is_err(), "{bad}");
    }
    assert!(healthy().run::<Plugin>(json!({ "pod": "db-0" })).unwrap_err().message.contains("not bound"));
}

#[test]
fn who_holds_wal_is_named_with_what_lets_go() {
    let held = |active: bool, bytes: i64| {
        let host = healthy();
        host.sql("database").on("from pg_catalog.pg_replication_slots s", slot("standby_1", active, bytes));
        run(&host, json!({ "capacity_bytes": 100 * GB }))
    };
    assert_eq!(held(false, GB - 1).status, Severity::Ok);
    assert_eq!(held(false, GB).titles(Severity::Warning), ["physical slot standby_1 holds 1.0 GiB of WAL"]);
    let report = held(false, 10 * GB);
    assert_eq!(report.status, Severity::Critical);
    assert!(report.findings[0].detail.contains("Never remove files from pg_wal"));
    let report = held(true, 10 * GB);
    assert_eq!(report.status, Severity::Warning);
    assert_eq!(report.findings[0].remedy.as_ref().unwrap().plugin, "postgres-health");
}

#[test]
fn an_archiver_that_fails_holds_wal() {
    let host = healthy();
    let now = host.now();
    archiver(&host, "on", Some(now.plus_seconds(-60)), Some(now.plus_seconds(-10)));
    // 100 GB is where the log is; this segment begins 2 GB before.
    host.sql("database")
        .on("from pg_ls_archive_statusdir", rows! { ["count", "min"] => [128_i64, "000000010000001800000080"] });
    host.sql("database").on("from pg_ls_waldir", rows! { ["sum", "count"] => [3 * GB, 192_i64] });
    let report = run(&host, json!({ "capacity_bytes": 100 * GB }));
    assert!(report.finding("the archiver fails: 128 file(s) wait, 2.0 GiB of WAL").is_some(), "{:?}", report.findings);
    assert!(
        report.finding("the WAL takes 3.0 GiB, and its settings ask for 1.0 GiB").unwrap().detail.contains("archiver")
    );
    assert_eq!(report.data["holders"][0]["kind"], "archiver");
    archiver(&host, "on", Some(now), Some(now.plus_seconds(-10)));
    let report = run(&host, json!({ "capacity_bytes": 100 * GB }));
    assert!(
        report.finding("archiver archiver").is_some() && report.finding("the archiver fails").is_none(),
        "{:?}",
        report.findings
    );
    archiver(&host, "always", None, None);
    assert!(run(&host, json!({ "capacity_bytes": 100 * GB })).finding("neither archive_command").is_some());
}

#[test]
fn dead_rows_have_the_vacuum_for_a_remedy() {
    let host = healthy();
    host.sql("database").on("pg_total_relation_size(c.oid)", tables(30_000, 10_000));
    let report = run(&host, json!({ "capacity_bytes": 100 * GB }));
    let finding = report.finding("public.\"Odd\": 25 % of its rows are dead").unwrap();
    assert_eq!(finding.remedy.as_ref().unwrap().parameters, r#"{"tables":["public.\"Odd\""]}"#);
}

#[test]
fn a_locked_table_makes_sizes_estimates() {
    let host = healthy();
    host.sql("database")
        .fails("pg_total_relation_size(c.oid)", failed("55P03", "canceling statement due to lock timeout"));
    host.sql("database").on("with measured as", tables(5, 0));
    let report = run(&host, json!({ "capacity_bytes": 100 * GB }));
    assert_eq!((report.status, &report.data["tables_exact"]), (Severity::Unknown, &json!(false)));
    assert_eq!(report.data["tables"][0]["rows"], 5);
}

#[test]
fn growth_and_the_days_that_are_left() {
    let host = healthy();
    let previous = json!({ "at": "2025-12-31T00:00:00Z", "databases_bytes": 7 * GB + 8 * MB, "wal_bytes": GB, "tables": [{ "table": "public.\"Odd\"", "bytes": GB }] });
    let report = run(&host, json!({ "capacity_bytes": 12 * GB, "previous": previous }));
    assert_eq!(report.data["growth"]["databases_bytes"], GB);
    assert_eq!(report.data["growth"]["tables"][0]["bytes"], GB);
    assert_eq!(report.titles(Severity::Warning), ["the volume is full in 3.0 days at this growth"]);
    // What a report says is what the next run takes.
    let again = host.run::<Plugin>(json!({ "previous": report.data["measured"] }));
    assert!(again.unwrap_err().message.contains("not measured before"));
    let soon = json!({ "at": "2025-12-31T23:59:00Z", "databases_bytes": 0 });
    let report = run(&host, json!({ "capacity_bytes": 12 * GB, "previous": soon }));
    assert!(report.finding("less than an hour").is_some());
}

#[test]
fn what_the_role_may_not_see_is_never_ok() {
    for pattern in ["from pg_ls_waldir", "from pg_ls_archive_statusdir", "pg_ls_tmpdir"] {
        let host = healthy();
        host.sql("database").fails(pattern, failed("42501", "permission denied for function"));
        let report = run(&host, json!({ "capacity_bytes": 100 * GB }));
        assert_eq!(
            (report.status, &report.data["visibility_complete"]),
            (Severity::Unknown, &json!(false)),
            "{pattern}"
        );
    }
    let host = healthy();
    host.sql("database").on("from pg_catalog.pg_database d", rows! { ["name", "bytes"] => ["secret", None::<i64>] });
    assert!(run(&host, json!({ "capacity_bytes": 100 * GB })).finding("the size of database secret").is_some());
}
