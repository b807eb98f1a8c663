//! A retry does not vacuum again what was vacuumed.

use super::*;
use rota_sdk::HostError;

fn lost() -> HostError {
    HostError::Unavailable("the server is gone".to_owned())
}

/// Two tables, of which the second cannot be vacuumed because the server goes away.
fn interrupted() -> MockHost {
    let (orders, lines) = (Table::new(1, "orders", 50_000), Table::new(2, "lines", 40_000));
    let host = host(&[orders, lines]);
    looks(&host, &[orders, orders.vacuumed(0), lines]);
    host.sql("database").fails_execute("VACUUM (VERBOSE, ANALYZE, SKIP_LOCKED) public.lines", lost());
    host.run::<Plugin>(json!({})).unwrap_err();
    host
}

#[test]
fn each_vacuumed_table_is_a_step_and_others_stay_open() {
    let host = interrupted();
    let steps = host.steps();
    let steps: Vec<_> = steps.iter().map(|(name, result)| (name.as_str(), result.is_some())).collect();
    assert_eq!(steps, [("vacuum 1 public.orders", true), ("vacuum 2 public.lines", false)]);
}

#[test]
fn a_retry_vacuums_only_what_was_not_vacuumed_and_reports_both() {
    let host = interrupted();
    let lines = Table::new(2, "lines", 40_000);
    looks(&host, &[lines, lines.vacuumed(0)]);
    host.sql("database").on_execute("VACUUM (VERBOSE", 0);
    let report = host.retry::<Plugin>(json!({})).unwrap();
    assert_eq!(
        vacuums(&host),
        [
            "VACUUM (VERBOSE, ANALYZE, SKIP_LOCKED) public.orders",
            "VACUUM (VERBOSE, ANALYZE, SKIP_LOCKED) public.lines",
            "VACUUM (VERBOSE, ANALYZE, SKIP_LOCKED) public.lines"
        ]
    );
    assert!(report.summary.contains("vacuumed 2 of 2 tables in"), "{}", report.summary);
    assert_eq!(report.metric("dead_rows_removed", None), Some(90_000.0));
}

#[test]
fn a_locked_table_has_its_second_turn_in_the_same_step() {
    let orders = Table::new(1, "orders", 50_000);
    let host = host(&[orders]);
    // Nothing happened in the first turn, and somebody had it locked.
    looks(&host, &[orders, orders, orders, orders.vacuumed(0)]);
    host.sql("database").once("from pg_catalog.pg_locks l", rows! { ["locker"] => ["pid 7"] });
    let report = run(&host);
    assert!(report.summary.contains("vacuumed 1 of 1 table in"), "{}", report.summary);
    assert_eq!(host.steps().len(), 1);
    assert!(host.steps()[0].1.is_some());
}

#[test]
fn a_plan_begins_no_step() {
    let orders = Table::new(1, "orders", 50_000);
    let host = host(&[orders]).plan();
    looks(&host, &[orders]);
    run(&host);
    assert_eq!(host.steps(), []);
}

#[test]
fn odd_names_make_steps_too() {
    let odd = Table::new(7, "Odd \"n%\n", 50_000);
    let host = host(&[odd]);
    looks(&host, &[odd, odd.vacuumed(0)]);
    run(&host);
    assert_eq!(host.steps()[0].0, "vacuum 7 public.\"Odd \"\"n%\"");
}
