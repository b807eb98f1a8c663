//! What the server is, and what it lets the role do.

use super::*;

#[test]
fn old_databases_are_found() {
    for (age, status) in
        [(300_000_000, Severity::Ok), (300_000_001, Severity::Warning), (1_000_000_001, Severity::Critical)]
    {
        let host = host(&[]);
        host.sql("database").on("from pg_catalog.pg_database d order by", databases(age));
        assert_eq!(run(&host).status, status, "{age}");
    }
}

#[test]
fn without_pg_monitor_it_is_never_ok() {
    let host = host(&[]);
    let now = Timestamp(0);
    host.sql("database").inspected(now, now, now, false);
    let report = run(&host);
    assert_eq!((report.status, &report.data["visibility_complete"]), (Severity::Unknown, &json!(false)));
}

#[test]
fn a_standby_is_refused() {
    let host = host(&[]);
    host.sql("database").server(|server| server.in_recovery = true);
    let failure = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(failure.message.contains("standby") && failure.hint.is_some());
}

#[test]
fn without_maintain_the_denial_names_the_grant() {
    let orders = Table::new(1, "orders", 50_000);
    let host = host(&[orders]);
    looks(&host, &[orders]);
    host.grant("database", &["read"]);
    let failure = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(failure.message.contains("`maintain` on slot `database` is not granted"), "{}", failure.message);
}
