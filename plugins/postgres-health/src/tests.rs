//! The judgements, on a mock host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::Plugin;
use rota_sdk::HostError;
use rota_sdk::mock::*;
use rota_sdk::prelude::*;

const FACTS: [&str; 4] = ["started_at", "now", "stats_reset", "sees_statistics"];

/// A server on which all is well, and on which no replica is expected.
fn healthy() -> MockHost {
    let host = MockHost::new();
    let database = host.sql("database");
    facts(&host, true);
    database.on("from pg_catalog.pg_stat_replication r", replicas());
    database.on("from pg_catalog.pg_replication_slots s order by", slots());
    database.on(
        "from pg_catalog.pg_database d",
        rows! { ["name", "allows_connections", "bytes"] => ["app", true, 5_000_000_i64], ["template0", false, 7_000_000_i64] },
    );
    database.on(
        "from pg_catalog.pg_class c",
        rows! {
            ["schema", "name", "quoted", "total_bytes", "table_bytes", "index_bytes", "rows"] =>
            ["public", "Odd", "public.\"Odd\"", 300_i64, 200_i64, 100_i64, None::<i64>]
        },
    );
    database.on(
        "group by 1, 2, 3",
        rows! { ["backend_type", "state", "wait", "sessions", "oldest_transaction_seconds"] => ["client backend", "active", None::<String>, 2_i64, 0.5] },
    );
    database.on(
        "select count(*) from pg_catalog.pg_stat_activity where backend_type",
        rows! { ["used", "available"] => [2_i64, 97_i64] },
    );
    database.on("select * from ( select a.pid", stuck());
    host
}

fn facts(host: &MockHost, sees_statistics: bool) {
    let now = Timestamp(1_767_225_600_000_000);
    let row = rows! { FACTS => [now.plus_seconds(-86_400), now, now.plus_seconds(-3600), sees_statistics] };
    host.sql("database").on("select pg_postmaster_start_time()", row);
}

fn replicas() -> MockRows {
    rows! { ["name", "client", "state", "sync_state", "logical", "lag_bytes", "lag_seconds"] }
}

fn replica(name: &str, state: Option<&str>, bytes: Option<i64>, seconds: Option<f64>) -> MockRows {
    rows! {
        ["name", "client", "state", "sync_state", "logical", "lag_bytes", "lag_seconds"] =>
        [name, "10.0.0.1", state, "async", false, bytes, seconds]
    }
}

fn slots() -> MockRows {
    rows! { ["name", "kind", "active", "wal_status", "safe_wal_size", "retained_bytes", "inactive_since", "invalidation_reason"] }
}

fn slot(name: &str, active: bool, status: &str, retained: i64) -> MockRows {
    slots().and(
        rows! { [""] => [name, "physical", active, status, None::<i64>, retained, None::<String>, None::<String>] },
    )
}

fn stuck() -> MockRows {
    rows! {
        ["pid", "backend_start", "backend_type", "user", "database", "application", "client", "state", "wait", "transaction_seconds", "state_seconds"]
    }
}

fn stuck_session(state: &str, wait: Option<&str>, transaction: f64, since: f64) -> MockRows {
    stuck().and(
        rows! { [""] => [311_i32, Timestamp(1), "client backend", "app", "shop", "worker", None::<String>, state, wait, transaction, since] },
    )
}

fn run(host: &MockHost) -> Reported {
    host.run::<Plugin>(json!({ "expected_replicas": 0 })).unwrap()
}

fn check_only(host: &MockHost, check: &str, expected: u32) -> Reported {
    host.run::<Plugin>(json!({ "checks": [check], "expected_replicas": expected })).unwrap()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn a_healthy_server_is_ok() {
    let host = healthy();
    let report = run(&host);
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
    assert_eq!(report.summary, "PostgreSQL 16.14 (primary, database app): healthy");
    assert_eq!(report.data["visibility_complete"], true);
    assert_eq!(report.data["server"]["statistics_age_seconds"], 3600.0);
    assert_eq!(report.data["server"]["system_identifier"], "7300000000000000001");
    assert_eq!(report.data["readiness"]["canary"], "not_asked");
    assert_eq!(report.data["sizes"]["total_bytes"], 12_000_000);
    assert_eq!(report.metric("database_bytes", Some("app")), Some(5_000_000.0));
    assert!(host.effects().is_empty());
}

#[test]
fn only_what_was_asked_for_is_checked() {
    let report = check_only(&healthy(), "sizes", 0);
    assert!(report.data["sizes"].is_object());
    for other in ["readiness", "replication", "activity"] {
        assert_eq!(report.data[other], Json::Null, "{other}");
    }
}

#[test]
fn zero_replicas_are_not_health() {
    let report = healthy().run::<Plugin>(json!({ "checks": ["replication"] })).unwrap();
    assert_eq!(report.status, Severity::Unknown);
    assert!(report.finding("how many should was not said").unwrap().remedy.is_some());

    let report = check_only(&healthy(), "replication", 2);
    assert_eq!(report.status, Severity::Critical);
    assert!(report.finding("2 of 2 replicas missing").is_some());
}

#[test]
fn a_base_backup_is_no_replica() {
    let host = healthy();
    host.sql("database")
        .on("from pg_catalog.pg_stat_replication r", replica("pg_basebackup", Some("backup"), None, None));
    let report = check_only(&host, "replication", 1);
    assert_eq!(report.titles(Severity::Critical), ["1 of 1 replicas missing"]);
}

#[test]
fn lag_is_judged_by_bytes_and_by_time() {
    let mb = 1 << 20;
    for (bytes, seconds, status) in [
        (Some(0), None, Severity::Ok),
        (Some(99 * mb), Some(29.0), Severity::Ok),
        (Some(100 * mb), Some(1.0), Severity::Warning),
        (Some(0), Some(30.0), Severity::Warning),
        (Some(1024 * mb), Some(1.0), Severity::Critical),
        (Some(0), Some(300.0), Severity::Critical),
        (None, Some(1.0), Severity::Unknown),
    ] {
        let host = healthy();
        host.sql("database")
            .on("from pg_catalog.pg_stat_replication r", replica("r1", Some("streaming"), bytes, seconds));
        assert_eq!(check_only(&host, "replication", 1).status, status, "{bytes:?} {seconds:?}");
    }
}

#[test]
fn a_hidden_replica_is_never_ok() {
    let host = healthy();
    host.sql("database").on("from pg_catalog.pg_stat_replication r", replica("r1", None, None, None));
    for expected in [0, 1] {
        let report = check_only(&host, "replication", expected);
        assert_eq!(report.status, Severity::Unknown, "hidden is neither well nor missing");
        assert_eq!(report.data["visibility_complete"], false);
    }
    assert_eq!(check_only(&host, "replication", 2).status, Severity::Critical);
}

#[test]
fn slots_that_keep_or_lost_log_are_found() {
    for (active, status, retained, wanted) in [
        (true, "reserved", 10, Severity::Ok),
        (false, "reserved", 10, Severity::Warning),
        (false, "extended", 2_i64 << 30, Severity::Critical),
        (true, "unreserved", 10, Severity::Critical),
        (false, "lost", 10, Severity::Critical),
    ] {
        let host = healthy();
        host.sql("database")
            .on("from pg_catalog.pg_replication_slots s order by", slot("s1", active, status, retained));
        assert_eq!(check_only(&host, "replication", 0).status, wanted, "{active} {status} {retained}");
    }
}

#[test]
fn a_standby_without_a_receiver_is_critical() {
    let host = healthy();
    let database = host.sql("database");
    database.server(|server| server.in_recovery = true);
    database.on("from pg_catalog.pg_stat_wal_receiver w", rows! { ["status", "sender", "lag_bytes", "heard_seconds"] });
    let report = check_only(&host, "replication", 0);
    assert_eq!(report.titles(Severity::Critical), ["no receiver: this standby does not stream"]);

    database.on(
        "from pg_catalog.pg_stat_wal_receiver w",
        rows! { ["status", "sender", "lag_bytes", "heard_seconds"] => ["streaming", "db0:5432", 41_943_040_i64, 2.0] },
    );
    let report = check_only(&host, "replication", 0);
    assert_eq!(report.status, Severity::Ok);
    assert_eq!(report.data["replication"]["receiver"]["lag_bytes"], 41_943_040);
}

#[test]
fn a_database_without_connect_is_named_and_never_ok() {
    let host = healthy();
    let row = rows! { ["name", "allows_connections", "bytes"] => ["app", true, 5_i64], ["secret", true, None::<i64>] };
    host.sql("database").on("from pg_catalog.pg_database d", row);
    let report = check_only(&host, "sizes", 0);
    assert_eq!(report.status, Severity::Unknown);
    assert!(report.finding("the size of database secret").is_some());
    assert_eq!(report.data["sizes"]["databases"][1]["bytes"], Json::Null);
    assert_eq!(report.data["sizes"]["total_bytes"], 5);
}

#[test]
fn a_locked_table_hides_sizes_and_no_more() {
    let host = healthy();
    host.sql("database")
        .fails("from pg_catalog.pg_class c", failed("55P03", "canceling statement due to lock timeout"));
    let report = check_only(&host, "sizes", 0);
    assert_eq!(report.status, Severity::Unknown);
    assert_eq!(report.data["sizes"]["largest"], Json::Null);
    assert_eq!(report.data["sizes"]["databases"][0]["name"], "app");
}

#[test]
fn sessions_that_stand_out_are_named() {
    for (session, status, title) in [
        (
            stuck_session("idle in transaction", Some("Client: ClientRead"), 400.0, 301.0),
            Severity::Critical,
            "idle in transaction for 5 min",
        ),
        (stuck_session("idle in transaction (aborted)", None, 400.0, 301.0), Severity::Critical, "(aborted) for 5 min"),
        (stuck_session("active", Some("Lock: relation"), 90.0, 90.0), Severity::Warning, "waits for a lock for 90 s"),
        (stuck_session("active", None, 7300.0, 3.0), Severity::Warning, "its transaction is open for 2 h"),
    ] {
        let host = healthy();
        host.sql("database").on("select * from ( select a.pid", session);
        let report = check_only(&host, "activity", 0);
        assert_eq!(report.status, status, "{title}");
        assert!(
            report.findings[0].title.starts_with("pid 311 (app in shop, worker): "),
            "{}",
            report.findings[0].title
        );
        assert!(report.findings[0].title.contains(title), "{}", report.findings[0].title);
    }
}

#[test]
fn connections_that_run_out_are_found() {
    for (used, status) in [(77, Severity::Ok), (78, Severity::Warning), (93, Severity::Critical)] {
        let host = healthy();
        let row = rows! { ["used", "available"] => [i64::from(used), 97_i64] };
        host.sql("database").on("select count(*) from pg_catalog.pg_stat_activity where backend_type", row);
        assert_eq!(check_only(&host, "activity", 0).status, status, "{used}");
    }
}

fn inside(age: i64, invalid: i64) -> MockRows {
    rows! {
        ["bytes", "age", "invalid_indexes", "largest_table", "largest_bytes"] =>
        [8_000_000_i64, age, invalid, "public.\"Odd\"", 300_i64]
    }
}

#[test]
fn every_database_is_looked_into_when_asked_for() {
    let with = |age, invalid| {
        let host = healthy();
        let database = host.sql("database");
        database.on("select d.datname::text from pg_catalog.pg_database d", rows! { ["name"] => ["app"], ["shop"] });
        database.on("as invalid_indexes", inside(age, invalid));
        host.run::<Plugin>(json!({ "expected_replicas": 0, "databases": ["*"] })).unwrap()
    };
    let report = with(1_000, 0);
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
    let names: Vec<_> = report.data["databases"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["app", "shop"]);
    assert_eq!(report.data["databases"][1]["largest_table"], "public.\"Odd\"");
    assert_eq!(with(400_000_000, 0).status, Severity::Warning);
    assert_eq!(with(1_400_000_000, 0).status, Severity::Critical);
    assert!(with(1, 2).finding("database shop: 2 indexes are not valid").unwrap().remedy.is_some());
    assert_eq!(run(&healthy()).data["databases"], Json::Null, "only when asked for");
}

#[test]
fn without_pg_monitor_nothing_is_ok() {
    let host = healthy();
    facts(&host, false);
    let report = run(&host);
    assert_eq!(report.status, Severity::Unknown);
    assert_eq!(report.data["visibility_complete"], false);
    assert!(report.finding("role rota is not a member of pg_monitor").unwrap().remedy.is_some());
}

#[test]
fn the_canary_is_written_where_its_slot_is_bound() {
    let host = healthy();
    let canary = host.sql("canary");
    canary.on_execute("create temporary table rota_canary", 0).on_execute("insert into pg_temp.rota_canary", 1);
    let report = check_only(&host, "readiness", 0);
    assert_eq!((report.status, &report.data["readiness"]["canary"]), (Severity::Ok, &json!("written")));
    assert_eq!(host.effects().len(), 2);

    let host = healthy().plan();
    host.sql("canary");
    let report = check_only(&host, "readiness", 0);
    assert_eq!(report.data["readiness"]["canary"], "planned");
    assert!(host.effects().iter().all(|effect| effect.planned));
}

#[test]
fn a_refused_canary_is_critical_and_a_forbidden_one_unknown() {
    let with = |code: &str| {
        let host = healthy();
        host.sql("canary").fails_execute("create temporary table", failed(code, "no"));
        check_only(&host, "readiness", 0)
    };
    assert_eq!(with("25006").titles(Severity::Critical), ["the primary takes no writes"]);
    assert_eq!(with("53100").data["readiness"]["canary"], "refused");
    assert_eq!(
        (with("42501").status, &with("42501").data["readiness"]["canary"]),
        (Severity::Unknown, &json!("not_allowed"))
    );

    let host = healthy();
    host.sql("canary");
    host.grant("canary", &["read"]);
    assert_eq!(check_only(&host, "readiness", 0).data["readiness"]["canary"], "not_allowed");
}

#[test]
fn a_server_that_is_down_or_too_old_fails() {
    let host = healthy();
    host.sql("database").refuses(HostError::Unavailable("binding `db`: connection refused".to_owned()));
    let failure = host.run::<Plugin>(json!({})).unwrap_err();
    assert_eq!(failure.message, "connecting to the database in slot `database`: binding `db`: connection refused");

    let host = healthy();
    host.sql("database").server(|server| (server.version_num, server.version) = (140_011, "14.11".to_owned()));
    assert!(host.run::<Plugin>(json!({})).unwrap_err().message.contains("14.11 is older than 15"));
}
