//! Who is chosen and what is said, on a mock host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::Plugin;
use rota_sdk::HostError;
use rota_sdk::mock::*;
use rota_sdk::prelude::*;

const COLUMNS: [&str; 16] = [
    "pid",
    "backend_start",
    "user",
    "application",
    "database",
    "client",
    "state",
    "wait",
    "state_since",
    "state_seconds",
    "transaction_since",
    "transaction_seconds",
    "statement_seconds",
    "statement",
    "superuser",
    "own",
];

struct Client {
    pid: i64,
    user: &'static str,
    application: &'static str,
    database: &'static str,
    state: Option<&'static str>,
    seconds: f64,
    superuser: bool,
}

fn client(pid: i64, state: &'static str, seconds: f64) -> Client {
    Client { pid, user: "app", application: "worker", database: "app", state: Some(state), seconds, superuser: false }
}

fn row(client: &Client) -> MockRows {
    let none = None::<String>;
    rows! { COLUMNS => [
        client.pid, Timestamp(client.pid), client.user, client.application, client.database, none.clone(), client.state, none.clone(),
        Timestamp(5), client.seconds, None::<Timestamp>, None::<f64>, None::<f64>, none, client.superuser, false
    ] }
}

fn host(clients: &[Client]) -> MockHost {
    let host = MockHost::new();
    let database = host.sql("database");
    let now = Timestamp(1_767_225_600_000_000);
    database.inspected(now, now, None, true);
    database.on("current_setting('max_connections')", rows! { ["a", "b", "c"] => [100_i64, 3_i64, 2_i64] });
    database.on(
        "select count(*) from pg_catalog.pg_stat_activity where backend_type",
        rows! { ["count"] => [clients.len() as i64] },
    );
    database.on("from pg_catalog.pg_database d where d.datconnlimit", rows! { ["kind", "name", "limit", "used"] });
    let each: Vec<(i64, MockRows)> = clients.iter().map(|client| (client.pid, row(client))).collect();
    // A session that was told to end is not there when it is looked for again.
    let told = database.clone();
    database.on_with("from pg_catalog.pg_stat_activity a left join pg_catalog.pg_roles r", move |values| {
        let ended = |pid: i64| told.statements().iter().any(|statement| *statement == format!("terminate {pid}"));
        let wanted = |pid: i64| match &values[1] {
            rota_sdk::sql::Value::Int64(one) => pid == *one && !ended(pid),
            _ => true,
        };
        let none = rows! { COLUMNS };
        Ok(each.iter().filter(|(pid, _)| wanted(*pid)).fold(none, |all, (_, row)| all.and(row.clone())))
    });
    host
}

fn outcomes(report: &Reported) -> Vec<(i64, String)> {
    let all = report.data["ended"].as_array().unwrap();
    all.iter().map(|one| (one["pid"].as_i64().unwrap(), one["outcome"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn without_being_asked_nothing_is_ended() {
    let host =
        host(&[client(11, "idle", 5_000.0), client(12, "idle in transaction", 400.0), client(13, "active", 9_000.0)]);
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.summary, "3 of 95 connections used, 1 idle, 1 idle in a transaction");
    assert_eq!(report.titles(Severity::Critical), ["pid 12 (app in app, worker): idle in transaction for 7 min"]);
    assert!(host.effects().is_empty());
}

#[test]
fn idle_and_idle_in_transaction_are_apart_and_the_longest_comes_first() {
    let clients = [
        client(11, "idle", 700.0),
        client(12, "idle in transaction", 400.0),
        client(13, "idle", 9_000.0),
        client(14, "idle", 10.0),
    ];
    let host = host(&clients);
    host.sql("database").on_execute("terminate", 1);
    let report = host.run::<Plugin>(json!({ "end_idle": true })).unwrap();
    assert_eq!(outcomes(&report), [(13, "ended".to_owned()), (11, "ended".to_owned())]);
    let report = host.run::<Plugin>(json!({ "end_idle_in_transaction": true })).unwrap();
    assert_eq!(outcomes(&report), [(12, "ended".to_owned())]);
    assert_eq!(report.status, Severity::Ok, "{:?}", report.findings);
}

#[test]
fn one_refusal_does_not_stop_the_others() {
    let host = host(&[client(11, "idle", 900.0), client(12, "idle", 800.0), client(13, "idle", 700.0)]);
    let database = host.sql("database");
    database.on_execute("terminate", 1);
    database.fails_execute("terminate 11", failed("42501", "permission denied to terminate process"));
    database.on_execute("terminate 12", 0);
    let report = host.run::<Plugin>(json!({ "end_idle": true })).unwrap();
    let expected = [(11, "not_permitted"), (12, "gone"), (13, "ended")].map(|(pid, word)| (pid, word.to_owned()));
    assert_eq!(outcomes(&report), expected);
    assert_eq!(report.titles(Severity::Warning), ["pid 11: role rota may not signal it"]);
}

#[test]
fn some_are_never_ended() {
    let superuser = Client { superuser: true, ..client(11, "idle", 900.0) };
    let pool = Client { application: "pgbouncer-1", ..client(12, "idle", 900.0) };
    let user = Client { user: "billing", ..client(13, "idle", 900.0) };
    let elsewhere = Client { database: "other", ..client(14, "idle", 900.0) };
    let host = host(&[superuser, pool, user, elsewhere]);
    let parameters =
        json!({ "end_idle": true, "protected_applications": ["pgbouncer*"], "protected_users": ["billing"] });
    let report = host.run::<Plugin>(parameters).unwrap();
    let details: Vec<&str> =
        report.data["ended"].as_array().unwrap().iter().map(|one| one["detail"].as_str().unwrap()).collect();
    assert_eq!(details, ["its user is a superuser", "its application is protected", "its user is protected"]);
    assert!(host.effects().is_empty());
}

#[test]
fn a_maximum_is_kept_and_said() {
    let host = host(&[client(11, "idle", 900.0), client(12, "idle", 800.0)]);
    host.sql("database").on_execute("terminate", 1);
    let report = host.run::<Plugin>(json!({ "end_idle": true, "maximum": 1 })).unwrap();
    assert_eq!(outcomes(&report), [(11, "ended".to_owned())]);
    assert_eq!(report.data["left_out"], 1);
    assert_eq!(report.titles(Severity::Warning), ["1 more sessions were to be ended than 1"]);
}

#[test]
fn one_that_does_not_go_is_said() {
    let host = host(&[client(11, "idle", 900.0)]);
    // Told, but there again each time it is looked for.
    let database = host.sql("database");
    database.on_execute("terminate", 1);
    database.on("from pg_catalog.pg_stat_activity a left join pg_catalog.pg_roles r", row(&client(11, "idle", 900.0)));
    let before = host.now();
    let report = host.run::<Plugin>(json!({ "end_idle": true, "wait_seconds": 7 })).unwrap();
    assert_eq!(outcomes(&report), [(11, "still_there".to_owned())]);
    assert_eq!(report.status, Severity::Warning);
    assert!((7.0..8.0).contains(&host.now().seconds_since(before)));
}

#[test]
fn a_plan_lists_each_and_ends_none() {
    let host = host(&[client(11, "idle", 900.0), client(12, "idle", 800.0)]).plan();
    let report = host.run::<Plugin>(json!({ "end_idle": true })).unwrap();
    assert_eq!(host.effects().iter().map(|effect| effect.planned).collect::<Vec<_>>(), [true, true]);
    assert_eq!(report.summary, "2 of 95 connections used, 2 idle, 0 idle in a transaction, 2 planned");
}

#[test]
fn hidden_states_are_never_ok() {
    let hidden = Client { state: None, ..client(11, "idle", 900.0) };
    let report = host(&[hidden]).run::<Plugin>(json!({ "end_idle": true })).unwrap();
    assert_eq!(report.status, Severity::Unknown);
    assert_eq!(report.data["visibility_complete"], false);
}

#[test]
fn a_lost_connection_fails_the_run_with_what_was_done() {
    let host = host(&[client(11, "idle", 900.0), client(12, "idle", 800.0)]);
    let database = host.sql("database");
    database.on_execute("terminate", 1);
    database.fails_execute("terminate 12", HostError::Unavailable("the server is gone".to_owned()));
    let failure = host.run::<Plugin>(json!({ "end_idle": true })).unwrap_err();
    assert_eq!(outcomes(failure.report.as_ref().unwrap()), [(11, "ended".to_owned())]);
}
