//! The arithmetic and the judgements, on a mock host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::Plugin;
use rota_sdk::mock::*;
use rota_sdk::prelude::*;

const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

/// A look: seconds from the first, blocks of tables and indexes.
fn whole(after: i64, [table_hit, table_read, index_hit, index_read]: [i64; 4]) -> MockRows {
    rows! {
        ["database", "at", "started_at", "table_hit", "table_read", "index_hit", "index_read"] =>
        ["shop", NOW.plus_seconds(after), NOW.plus_seconds(-86_400), table_hit, table_read, index_hit, index_read]
    }
}

fn counters(name: &str, commits: i64, hit: i64, read: i64, reset: Option<Timestamp>) -> MockRows {
    rows! {
        ["name", "commits", "rollbacks", "hit", "read", "temporary_bytes", "deadlocks", "connections", "reset"] =>
        [name, commits, 10_i64, hit, read, 0_i64, 0_i64, 3_i64, reset]
    }
}

fn facts(host: &MockHost, slot: &str) {
    host.sql(slot).on(
        "select pg_postmaster_start_time() as started_at, clock_timestamp() as now",
        rows! {
            ["started_at", "now", "stats_reset", "sees_statistics"] =>
            [NOW.plus_seconds(-86_400), NOW, NOW.plus_seconds(-3_600), true]
        },
    );
}

/// A primary with two looks 10 s apart.
fn primary(first: MockRows, second: MockRows) -> MockHost {
    let host = MockHost::new();
    facts(&host, "database");
    let database = host.sql("database");
    database.once("select current_database()::text as database", whole(0, [0; 4]));
    database.on("select current_database()::text as database", whole(10, [995, 5, 90, 10]));
    database.once("from pg_catalog.pg_stat_database d", first);
    database.on("from pg_catalog.pg_stat_database d", second);
    database.on("from pg_catalog.pg_stat_replication r", replicas());
    host
}

fn replicas() -> MockRows {
    rows! { ["name", "state", "bytes", "seconds"] }
}

fn run(host: &MockHost) -> Reported {
    host.run::<Plugin>(json!({})).unwrap()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn rates_and_ratios_are_of_what_lies_between() {
    let host = primary(counters("shop", 100, 0, 0, None), counters("shop", 600, 1_990, 10, None));
    let report = run(&host);
    let shop = &report.data["databases"][0];
    assert_eq!((shop["transactions_per_second"].as_f64(), shop["cache_hit_ratio"].as_f64()), (Some(50.0), Some(0.995)));
    assert_eq!(report.data["tables"]["table_hit_ratio"], 0.995);
    // 100 reads of indexes are too few to say anything of now.
    assert_eq!(
        (&report.data["tables"]["index_hit_ratio"], &report.data["tables"]["index_hit_ratio_all_time"]),
        (&Json::Null, &json!(0.9))
    );
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
    assert_eq!(report.data["replication"]["own_lag"], "not_applicable");
    let published = host.metrics();
    assert!(published.contains(&("postgres_transactions_per_second".into(), 50.0)), "{published:?}");
    assert!(
        !published.iter().any(|(name, _)| name == "postgres_index_hit_ratio" || name.contains("lag")),
        "{published:?}"
    );
}

#[test]
fn a_fresh_database_divides_by_nothing() {
    let report = run(&primary(counters("new", 0, 0, 0, None), counters("new", 0, 0, 0, None)));
    let new = &report.data["databases"][0];
    assert_eq!((&new["cache_hit_ratio"], &new["cache_hit_ratio_all_time"]), (&Json::Null, &Json::Null));
    assert_eq!(new["transactions_per_second"], 0.0);
}

#[test]
fn a_reset_gives_no_rate() {
    let reset = counters("shop", 5, 1, 1, Some(NOW.plus_seconds(5)));
    let host = primary(counters("shop", 100_000, 9_000, 10, None), reset);
    let report = run(&host);
    let shop = &report.data["databases"][0];
    assert_eq!((&shop["reset"], &shop["transactions_per_second"]), (&json!(true), &Json::Null));
    assert!(report.finding("counters went back").is_some());
    assert!(!host.metrics().iter().any(|(name, _)| name == "postgres_transactions_per_second"));
}

#[test]
fn a_low_ratio_of_enough_reads_is_a_warning() {
    let report = run(&primary(counters("shop", 1, 0, 0, None), counters("shop", 2, 900, 100, None)));
    assert!(report.finding("shop: 90.0 % of 1000 blocks were found in memory").unwrap().remedy.is_some());
}

fn standby(host: &MockHost, receiver: Option<&str>, behind_receiver: Option<i64>) {
    facts(host, "standby");
    let standby = host.sql("standby");
    standby.server(|server| server.in_recovery = true);
    standby.on(
        "select pg_last_wal_replay_lsn()::text as replayed",
        rows! {
            ["replayed", "since", "receiver", "behind_receiver"] =>
            ["0/3000000", 12.0, receiver, behind_receiver]
        },
    );
}

#[test]
fn the_lag_of_a_standby_is_against_the_primary_even_without_a_receiver() {
    let well = || primary(counters("shop", 1, 0, 0, None), counters("shop", 2, 0, 0, None));
    for (bytes, receiver, status, seconds) in [
        (0_i64, Some("streaming"), Severity::Ok, 0.0),
        (40 << 20, Some("streaming"), Severity::Ok, 12.0),
        (200 << 20, Some("streaming"), Severity::Warning, 12.0),
        // What the usual query calls 0: it has replayed all that it received.
        (40 << 20, None, Severity::Critical, 12.0),
    ] {
        let host = well();
        standby(&host, receiver, None);
        let database = host.sql("database");
        database.on("select pg_current_wal_lsn()::text", rows! { ["lsn"] => ["0/5800000"] });
        database.on("select pg_wal_lsn_diff($1::text::pg_lsn", rows! { ["bytes"] => [bytes] });
        let report = run(&host);
        let replica = &report.data["replication"]["replicas"][0];
        assert_eq!((replica["lag_bytes"].as_i64(), replica["lag_seconds"].as_f64()), (Some(bytes), Some(seconds)));
        assert_eq!(report.status, status, "{bytes} {receiver:?}: {:?}", report.findings);
        assert!(host.metrics().contains(&("postgres_replication_lag_bytes".into(), bytes as f64)));
    }
    let host = well();
    standby(&host, Some("streaming"), None);
    host.sql("standby").server(|server| server.system_identifier = Some("1".into()));
    assert!(run(&host).finding("it belongs to another cluster").is_some());
    let host = well();
    standby(&host, None, None);
    host.sql("standby").server(|server| server.in_recovery = false);
    assert!(run(&host).finding("it is not in recovery, and takes writes").is_some());
}

#[test]
fn a_standby_without_a_receiver_is_critical_and_publishes_no_lag() {
    let host = primary(counters("shop", 1, 0, 0, None), counters("shop", 2, 0, 0, None));
    let database = host.sql("database");
    database.server(|server| server.in_recovery = true);
    database.on(
        "select pg_last_wal_replay_lsn()::text as replayed",
        rows! {
            ["replayed", "since", "receiver", "behind_receiver"] =>
            ["0/3000000", 12.0, None::<String>, None::<i64>]
        },
    );
    let report = run(&host);
    assert_eq!((report.status, &report.data["replication"]["own_lag"]), (Severity::Critical, &json!("unknown")));
    assert!(!host.metrics().iter().any(|(name, _)| name.contains("lag")), "{:?}", host.metrics());
    assert!(host.metrics().contains(&("postgres_in_recovery".into(), 1.0)));
}
