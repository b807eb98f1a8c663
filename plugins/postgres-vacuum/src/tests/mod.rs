//! The logic, on a mock host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod server;
mod steps;

use crate::Plugin;
use rota_sdk::mock::*;
use rota_sdk::prelude::*;

const STATE: [&str; 13] = [
    "oid",
    "schema",
    "name",
    "quoted",
    "pages",
    "live",
    "dead",
    "toast_live",
    "toast_dead",
    "age",
    "vacuum_count",
    "last_vacuum",
    "allowed",
];
const HOLDER: [&str; 5] = ["name", "who", "xids", "seconds", "only_catalogs"];
const EVERY: &str = "order by c.oid";
const ONE: &str = "where c.oid = $1::int8::oid";

/// A table in the statistics.
#[derive(Clone, Copy)]
struct Table {
    oid: i64,
    name: &'static str,
    quoted: &'static str,
    live: i64,
    dead: i64,
    toast_dead: i64,
    age: i64,
    count: i64,
    allowed: bool,
}

impl Table {
    fn new(oid: i64, name: &'static str, dead: i64) -> Self {
        let quoted = match name {
            "orders" => "public.orders",
            "lines" => "public.lines",
            "Odd \"n%\n" => "public.\"Odd \"\"n%\n\"",
            _ => "public.other",
        };
        Self { oid, name, quoted, live: 100_000, dead, toast_dead: 0, age: 1000, count: 0, allowed: true }
    }

    fn vacuumed(self, dead: i64) -> Self {
        Self { dead, toast_dead: 0, age: 10, count: self.count + 1, ..self }
    }

    fn rows(self) -> MockRows {
        let Self { oid, name, quoted, live, dead, toast_dead, age, count, allowed } = self;
        let last = (count > 0).then_some(Timestamp(count));
        rows! { STATE => [oid, "public", name, quoted, 100_i64, live, dead, 0_i64, toast_dead, age, count, last, allowed] }
    }
}

fn every(tables: &[Table]) -> MockRows {
    tables.iter().fold(rows! { STATE }, |rows, table| rows.and(table.rows()))
}

fn holder(name: &str, who: &str, seconds: Option<f64>) -> MockRows {
    rows! { HOLDER => [name, who, 5000_i64, seconds, false] }
}

/// A server with these tables, where nobody holds anything back, and where each look at one table uses up an answer.
fn host(tables: &[Table]) -> MockHost {
    let host = MockHost::new();
    let database = host.sql("database");
    let now = Timestamp(1_767_225_600_000_000);
    database.inspected(now, now, None, true);
    for view in [
        "pg_stat_activity a where (a.backend_xid",
        "pg_prepared_xacts p",
        "pg_replication_slots s where s.xmin",
        "pg_stat_replication r where r.backend_xmin",
    ] {
        database.on(view, rows! { HOLDER });
    }
    database.on(EVERY, every(tables));
    database.on(
        "from pg_catalog.pg_stat_progress_vacuum p",
        rows! { ["phase", "scanned", "index_rounds", "indexes_total", "indexes_processed"] },
    );
    database.on("from pg_catalog.pg_database d order by", databases(1000));
    database.on("from pg_catalog.pg_locks l", rows! { ["locker"] });
    database.on_execute("VACUUM (VERBOSE", 0);
    host
}

fn databases(age: i64) -> MockRows {
    rows! { ["name", "xid_age", "multixact_age"] => ["app", age, 0_i64], ["other", 10_i64, 0_i64] }
}

/// A table's states, each for one look.
fn looks(host: &MockHost, states: &[Table]) {
    for state in states {
        host.sql("database").once(ONE, state.rows());
    }
}

fn run(host: &MockHost) -> Reported {
    host.run::<Plugin>(json!({})).unwrap()
}

fn vacuums(host: &MockHost) -> Vec<String> {
    host.effects().into_iter().map(|effect| effect.detail).collect()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn vacuums_what_needs_it_and_proves_it() {
    let (orders, other) = (Table::new(1, "orders", 50_000), Table::new(2, "other", 9_999));
    let host = host(&[other, orders]);
    looks(&host, &[orders, orders.vacuumed(0)]);
    let report = run(&host);
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
    assert_eq!(vacuums(&host), ["VACUUM (VERBOSE, ANALYZE, SKIP_LOCKED) public.orders"]);
    assert_eq!(report.data["tables_seen"], 2);
    let table = &report.data["tables"][0];
    assert_eq!(
        (&table["done"], &table["dead_before"], &table["dead_after"]),
        (&json!("vacuumed"), &json!(50_000), &json!(0))
    );
    assert_eq!((&table["age_before"], &table["age_after"]), (&json!(1000), &json!(10)));
    assert!(report.summary.contains("vacuumed 1 of 1 table in"), "{}", report.summary);
    assert!(report.summary.contains("50,000 dead rows removed"), "{}", report.summary);
    assert_eq!(report.metric("dead_rows_removed", None), Some(50_000.0));
    assert!(host.sql("database").settings().iter().any(|(name, _)| name == "statement_timeout"));
}

#[test]
fn nothing_to_do_is_ok() {
    // Many dead rows, but below a tenth; a large share, but of few.
    let host = host(&[
        Table { live: 1_000_000, ..Table::new(1, "orders", 50_000) },
        Table { live: 10, ..Table::new(2, "lines", 10_000) },
    ]);
    let report = run(&host);
    assert_eq!((report.status, report.summary.as_str()), (Severity::Ok, "none of 2 tables needs vacuuming"));
    assert!(host.effects().is_empty());
}

#[test]
fn old_tables_and_large_values_count_too() {
    let old = Table { age: 300_000_001, ..Table::new(1, "orders", 0) };
    let toast = Table { toast_dead: 20_000, ..Table::new(2, "lines", 0) };
    let host = host(&[old, toast]);
    looks(&host, &[toast, toast.vacuumed(0), old, old.vacuumed(0)]);
    let report = run(&host);
    assert_eq!(report.status, Severity::Ok);
    assert_eq!(vacuums(&host).len(), 2);
    assert!(vacuums(&host)[0].ends_with("public.lines"), "most dead rows first");
}

#[test]
fn danger_of_wraparound_comes_first() {
    let (bloated, old) = (Table::new(1, "orders", 90_000), Table { age: 1_000_000_001, ..Table::new(2, "lines", 0) });
    let host = host(&[bloated, old]);
    looks(&host, &[old, old.vacuumed(0), bloated, bloated.vacuumed(0)]);
    run(&host);
    assert!(vacuums(&host)[0].ends_with("public.lines"));
}

#[test]
fn rows_that_stay_are_never_ok_and_their_holder_is_named() {
    let orders = Table::new(1, "orders", 50_000);
    let host = host(&[orders]);
    looks(&host, &[orders, orders.vacuumed(50_000)]);
    host.sql("database")
        .on("pg_stat_activity a where (a.backend_xid", holder("311", "app, worker, idle in transaction", Some(720.0)));
    let report = run(&host);
    assert_eq!(report.status, Severity::Warning);
    let title = &report.finding("public.orders").unwrap().title;
    assert_eq!(
        title,
        "public.orders: 50,000 dead rows stayed, held back by pid 311 (app, worker, idle in transaction), 12 min"
    );
    assert!(report.finding("public.orders").unwrap().remedy.as_ref().unwrap().note.contains("pid 311"));
    assert!(report.finding("pid 311 (app, worker, idle in transaction), 12 min holds dead rows back").is_some());
    assert_eq!(report.data["tables"][0]["done"], "held_back");
    assert_eq!(report.data["holders"][0]["kind"], "session");
}

#[test]
fn what_the_server_says_of_rows_that_stay_counts() {
    let orders = Table::new(1, "orders", 50_000);
    let host = host(&[orders]);
    // ANALYZE's estimate may say 0 while the vacuum said otherwise.
    looks(&host, &[orders, orders.vacuumed(0)]);
    host.sql("database").notice("INFO", "finished vacuuming \"app.public.orders\": index scans: 0\ntuples: 0 removed, 150000 remain, 50000 are dead but not yet removable\n");
    let report = run(&host);
    assert_eq!(report.status, Severity::Warning);
    assert_eq!(report.data["tables"][0]["not_removable"], 50_000);
    assert!(report.finding("who held them back is gone, or cannot be seen").is_some());
}

#[test]
fn a_slot_and_a_prepared_transaction_are_named() {
    let host = host(&[]);
    host.sql("database")
        .on("pg_replication_slots s where s.xmin", holder("old_replica", "physical, nobody connected", None));
    host.sql("database").on("pg_prepared_xacts p", holder("two-phase-1", "of app", Some(4000.0)));
    let report = run(&host);
    assert_eq!(report.status, Severity::Warning);
    assert!(report.finding("replication slot old_replica (physical, nobody connected) holds").is_some());
    assert!(report.finding("prepared transaction two-phase-1 (of app), 67 min holds").is_some());
}

#[test]
fn a_short_transaction_is_no_finding() {
    let host = host(&[]);
    host.sql("database").on("pg_stat_activity a where (a.backend_xid", holder("311", "app, active", Some(2.0)));
    let report = run(&host);
    assert_eq!(report.status, Severity::Ok);
    assert_eq!(report.data["holders"][0]["name"], "311");
}

#[test]
fn a_locked_table_is_tried_twice_and_its_locker_named() {
    let (orders, lines) = (Table::new(1, "orders", 90_000), Table::new(2, "lines", 50_000));
    let host = host(&[orders, lines]);
    // orders: unchanged; lines: vacuumed; orders again: unchanged.
    looks(&host, &[orders, orders, lines, lines.vacuumed(0), orders, orders]);
    host.sql("database")
        .on("from pg_catalog.pg_locks l", rows! { ["locker"] => ["pid 77, app, active (AccessExclusiveLock)"] });
    let report = run(&host);
    assert_eq!(report.status, Severity::Warning);
    assert!(
        report.finding("public.orders: not vacuumed, locked by pid 77, app, active (AccessExclusiveLock)").is_some()
    );
    assert_eq!(vacuums(&host).len(), 3);
    assert_eq!(report.data["tables"][0]["done"], "locked");
    assert_eq!(report.data["tables"][1]["done"], "vacuumed");
}

#[test]
fn a_lock_that_goes_away_is_no_finding() {
    let orders = Table::new(1, "orders", 50_000);
    let host = host(&[orders]);
    looks(&host, &[orders, orders, orders, orders.vacuumed(0)]);
    host.sql("database")
        .once("from pg_catalog.pg_locks l", rows! { ["locker"] => ["pid 77 (ShareUpdateExclusiveLock)"] });
    let report = run(&host);
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
}

#[test]
fn a_missing_privilege_is_never_ok() {
    // Known beforehand: not tried.
    let orders = Table { allowed: false, ..Table::new(1, "orders", 50_000) };
    let forbidden = host(&[orders]);
    looks(&forbidden, &[orders]);
    let report = run(&forbidden);
    assert_eq!(report.titles(Severity::Warning), ["public.orders: not vacuumed, role rota may not"]);
    assert!(forbidden.effects().is_empty());

    // Found out by the server, which says success with a warning.
    let orders = Table::new(1, "orders", 50_000);
    let warned = host(&[orders]);
    looks(&warned, &[orders, orders]);
    warned.sql("database").notice("WARNING", "permission denied to vacuum \"orders\", skipping it");
    assert_eq!(run(&warned).data["tables"][0]["done"], "not_allowed");

    // Skipped without a known reason: not even then.
    let silent = host(&[orders]);
    looks(&silent, &[orders, orders]);
    let report = run(&silent);
    assert_eq!((report.status, &report.data["tables"][0]["done"]), (Severity::Unknown, &json!("skipped")));
}

#[test]
fn the_budget_ends_the_work() {
    let (orders, lines) = (Table::new(1, "orders", 90_000), Table::new(2, "lines", 50_000));
    let host = host(&[orders, lines]);
    looks(&host, &[orders]);
    let clock = host.clone();
    host.sql("database").on_execute_with("VACUUM (VERBOSE", move |_, _| {
        clock.set_now(Timestamp(1_767_225_600_000_000).plus_seconds(60));
        Err(failed("57014", "canceling statement due to statement timeout"))
    });
    let report = host.run::<Plugin>(json!({ "budget_seconds": 60 })).unwrap();
    assert_eq!(report.status, Severity::Warning);
    assert_eq!(report.data["tables"][0]["done"], "out_of_time");
    assert_eq!(report.data["tables"][1]["done"], "not_reached");
    assert_eq!(
        host.sql("database").settings().last().unwrap(),
        &("statement_timeout".to_owned(), "60000ms".to_owned())
    );
}

#[test]
fn one_failure_does_not_end_the_run_and_a_lost_connection_does() {
    let (orders, lines) = (Table::new(1, "orders", 90_000), Table::new(2, "lines", 50_000));
    let broken = host(&[orders, lines]);
    looks(&broken, &[orders, lines, lines.vacuumed(0)]);
    broken.sql("database").fails_execute("public.orders", failed("XX001", "invalid page in block 7"));
    let report = run(&broken);
    assert_eq!(report.titles(Severity::Critical), ["public.orders: vacuum failed"]);
    assert_eq!(report.data["tables"][1]["done"], "vacuumed");

    let lost = host(&[orders, lines]);
    looks(&lost, &[orders, orders.vacuumed(0), lines]);
    lost.sql("database")
        .fails_execute("public.lines", failed("57P01", "terminating connection due to administrator command"));
    let failure = lost.run::<Plugin>(json!({})).unwrap_err();
    assert!(failure.message.contains("terminating connection"), "{}", failure.message);
    let report = failure.report.unwrap();
    assert_eq!(
        (&report.data["tables"][0]["done"], &report.data["tables"][1]["done"]),
        (&json!("vacuumed"), &json!("failed"))
    );
    assert_eq!(report.status, Severity::Critical);
}

#[test]
fn a_table_that_is_dropped_meanwhile_is_no_problem() {
    let orders = Table::new(1, "orders", 50_000);
    let host = host(&[orders]);
    host.sql("database").once(ONE, rows! { STATE });
    let report = run(&host);
    assert_eq!((report.status, &report.data["tables"][0]["done"]), (Severity::Ok, &json!("gone")));
}

#[test]
fn odd_names_are_quoted_by_the_server_and_can_be_named() {
    let odd = Table::new(1, "Odd \"n%\n", 5);
    for name in ["Odd \"n%\n", "public.Odd \"n%\n", "public.\"Odd \"\"n%\n\""] {
        let host = host(&[odd, Table::new(2, "orders", 50_000)]);
        looks(&host, &[odd, odd.vacuumed(0)]);
        let report = host.run::<Plugin>(json!({ "tables": [name] })).unwrap();
        assert_eq!(report.status, Severity::Ok, "{name}: {:?}", report.findings);
        assert_eq!(vacuums(&host), ["VACUUM (VERBOSE, ANALYZE, SKIP_LOCKED) public.\"Odd \"\"n%\n\""]);
    }
}

#[test]
fn a_name_that_is_not_there_is_said() {
    let report = host(&[]).run::<Plugin>(json!({ "tables": ["ordres"], "schemas": ["shop"] })).unwrap();
    assert_eq!(report.titles(Severity::Warning), ["ordres: no such table or schema", "shop: no such table or schema"]);
}

#[test]
fn a_plan_lists_the_statements() {
    let orders = Table::new(1, "orders", 50_000);
    let host = host(&[orders]).plan();
    looks(&host, &[orders]);
    let report = run(&host);
    assert_eq!((report.status, report.summary.as_str()), (Severity::Warning, "would vacuum 1 table of 1"));
    assert!(report.finding("public.orders: 50,000 dead rows, 33 % of all").is_some());
    assert!(host.effects().iter().all(|effect| effect.planned));
    assert_eq!(vacuums(&host).len(), 1);
}

#[test]
fn later_versions_vacuum_only_the_table() {
    let orders = Table::new(1, "orders", 50_000);
    let host = host(&[orders]);
    looks(&host, &[orders, orders.vacuumed(0)]);
    host.sql("database").server(|server| server.version_num = 180_004);
    host.run::<Plugin>(json!({ "analyze": false })).unwrap();
    assert_eq!(vacuums(&host), ["VACUUM (VERBOSE, SKIP_LOCKED) ONLY public.orders"]);
    assert!(
        host.sql("database")
            .statements()
            .iter()
            .any(|statement| statement.contains("has_table_privilege(c.oid, 'maintain')"))
    );
}
