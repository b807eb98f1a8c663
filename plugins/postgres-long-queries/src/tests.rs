//! Who is chosen and what is done, on a mock host.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::Plugin;
use rota_sdk::mock::*;
use rota_sdk::prelude::*;
use rota_sdk::sql::Value;

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

#[derive(Clone, Copy)]
struct Client {
    pid: i64,
    database: &'static str,
    state: &'static str,
    statement: Option<f64>,
    transaction: Option<f64>,
    since: i64,
    superuser: bool,
}

fn running(pid: i64, seconds: f64) -> Client {
    Client {
        pid,
        database: "app",
        state: "active",
        statement: Some(seconds),
        transaction: Some(seconds),
        since: 5,
        superuser: false,
    }
}

fn idle(pid: i64, seconds: f64) -> Client {
    Client { state: "idle in transaction", statement: None, ..running(pid, seconds) }
}

fn row(client: &Client) -> MockRows {
    let none = None::<String>;
    rows! { COLUMNS => [
        client.pid, Timestamp(client.pid), "app", "worker", client.database, none.clone(), client.state, none, Timestamp(client.since), 1.0,
        Timestamp(7), client.transaction, client.statement, "select * from cards where number = '4711'", client.superuser, false
    ] }
}

/// A server whose sessions become what `after` says once something was told to them: none is gone.
fn host(clients: &[Client], after: impl Fn(&Client, &[String]) -> Option<Client> + 'static) -> MockHost {
    let host = MockHost::new();
    let database = host.sql("database");
    let now = Timestamp(1_767_225_600_000_000);
    database.inspected(now, now, None, true);
    let (told, clients) = (database.clone(), clients.to_vec());
    database.on_with("from pg_catalog.pg_stat_activity a left join pg_catalog.pg_roles r", move |values| {
        let statements = told.statements();
        let now = clients.iter().filter_map(|client| match &values[1] {
            Value::Int64(pid) if *pid != client.pid => None,
            Value::Int64(_) => after(client, &statements),
            _ => Some(*client),
        });
        Ok(now.fold(rows! { COLUMNS }, |all, client| all.and(row(&client))))
    });
    database.on_execute("terminate", 1);
    database.on_execute("cancel", 1);
    host
}

fn was_told(statements: &[String], what: &str, client: &Client) -> bool {
    statements.iter().any(|statement| *statement == format!("{what} {}", client.pid))
}

/// Cancelling ends a statement, terminating a session.
fn obedient(client: &Client, statements: &[String]) -> Option<Client> {
    if was_told(statements, "terminate", client) {
        None
    } else if was_told(statements, "cancel", client) {
        Some(Client { since: 6, state: "idle", ..*client })
    } else {
        Some(*client)
    }
}

fn outcomes(report: &Reported) -> Vec<(i64, &str)> {
    let all = report.data["ended"].as_array().unwrap();
    all.iter().map(|one| (one["pid"].as_i64().unwrap(), one["outcome"].as_str().unwrap())).collect()
}

#[test]
fn says_what_it_is() {
    check_declaration::<Plugin>();
}

#[test]
fn it_observes_by_default_and_shows_no_values() {
    let host = host(&[running(11, 90.0), idle(12, 400.0), running(13, 5.0)], obedient);
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(report.summary, "2 of 3 sessions take long (1 idle in a transaction)");
    assert_eq!(
        report.titles(Severity::Warning),
        [
            "pid 12 (app in app, worker): its transaction is open for 7 min (idle in transaction)",
            "pid 11 (app in app, worker): its statement runs for 90 s"
        ]
    );
    assert!(host.effects().is_empty());
    assert_eq!(report.data["long"][0]["statement"], "select * from cards where number = ?");
    assert!(!report.data.to_string().contains("4711"));
    let remedy = report.finding("pid 12 (app in app, worker): its transaction").map(|finding| finding.remedy.clone());
    assert!(format!("{remedy:?}").contains("terminate"), "cancelling does nothing to it: {remedy:?}");
}

#[test]
fn cancelling_is_seen_to_have_worked_and_does_nothing_to_who_is_idle() {
    let host = host(&[running(11, 90.0), idle(12, 400.0)], obedient);
    let report = host.run::<Plugin>(json!({ "act": "cancel" })).unwrap();
    assert_eq!(outcomes(&report), [(12, "left"), (11, "cancelled")]);
    assert_eq!(host.effects().len(), 1, "no signal that does nothing is sent");
    assert_eq!(report.status, Severity::Warning, "the one that was left still takes long");
}

#[test]
fn what_minds_no_cancel_is_ended_only_where_that_is_asked_for() {
    let stubborn =
        |client: &Client, statements: &[String]| (!was_told(statements, "terminate", client)).then_some(*client);
    let report = host(&[running(11, 90.0)], stubborn).run::<Plugin>(json!({ "act": "cancel" })).unwrap();
    assert_eq!(outcomes(&report), [(11, "still_there")]);
    let host = host(&[running(11, 90.0)], stubborn);
    let report = host.run::<Plugin>(json!({ "act": "cancel-then-terminate" })).unwrap();
    assert_eq!(outcomes(&report), [(11, "ended")]);
    let told: Vec<String> = host.effects().iter().map(|effect| effect.operation.to_string()).collect();
    assert_eq!(told, ["sql.cancel-backend", "sql.terminate-backend"]);
}

#[test]
fn who_went_on_before_its_turn_is_left_alone() {
    // Another statement by now.
    let went_on = |client: &Client, _: &[String]| Some(Client { since: 99, ..*client });
    let host = host(&[running(11, 90.0)], went_on);
    let report = host.run::<Plugin>(json!({ "act": "terminate" })).unwrap();
    assert_eq!(outcomes(&report), [(11, "changed")]);
    assert!(host.effects().is_empty());
}

#[test]
fn a_pid_means_that_session_and_no_later_one_of_the_number() {
    let clients = [running(11, 1.0), Client { database: "other", ..running(12, 1.0) }];
    let host = host(&clients, obedient);
    let start = json!(Timestamp(12));
    let report = host.run::<Plugin>(json!({ "act": "terminate", "pid": 12, "backend_start": start })).unwrap();
    assert_eq!(outcomes(&report), [(12, "ended")]);
    let later = json!(Timestamp(13));
    let report = host.run::<Plugin>(json!({ "act": "terminate", "pid": 12, "backend_start": later })).unwrap();
    assert_eq!((outcomes(&report), report.status), (Vec::new(), Severity::Ok));
    assert!(report.finding("pid 12: no client's session").is_some());
    let failure = host.run::<Plugin>(json!({ "backend_start": later })).unwrap_err();
    assert!(failure.message.contains("no `pid`"), "{}", failure.message);
}

#[test]
fn a_superusers_session_is_nothing_that_a_remedy_ends() {
    let host = host(
        &[Client { superuser: true, ..running(11, 900.0) }, Client { superuser: true, ..idle(12, 900.0) }],
        obedient,
    );
    let report = host.run::<Plugin>(json!({})).unwrap();
    for (pid, call) in [(11, "SELECT pg_cancel_backend(11)"), (12, "SELECT pg_terminate_backend(12)")] {
        let remedy = report.finding(&format!("pid {pid} (")).unwrap().remedy.clone().unwrap();
        assert_eq!(remedy.plugin, "", "{remedy:?}");
        assert!(remedy.note.contains(call), "{remedy:?}");
    }
}

#[test]
fn superusers_and_other_databases_are_not_touched() {
    let clients = [
        Client { superuser: true, ..running(11, 900.0) },
        Client { database: "other", ..running(12, 800.0) },
        running(13, 700.0),
    ];
    let report = host(&clients, obedient).run::<Plugin>(json!({ "act": "terminate" })).unwrap();
    assert_eq!(outcomes(&report), [(11, "protected"), (13, "ended")]);
    assert_eq!(report.data["long_count"], 3);
}

#[test]
fn a_plan_lists_each_and_does_nothing() {
    let host = host(&[running(11, 90.0), idle(12, 400.0)], obedient).plan();
    let report = host.run::<Plugin>(json!({ "act": "cancel-then-terminate" })).unwrap();
    assert_eq!(outcomes(&report), [(12, "planned"), (11, "planned")]);
    assert!(host.effects().iter().all(|effect| effect.planned) && host.effects().len() == 2);
}
