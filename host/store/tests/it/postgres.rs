//! What only PostgreSQL has: a server that goes away, freezes, is cut off, is of another version; hosts of two versions side by side.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support;

use rota_authority::{LedgerError, Outcome};
use rota_protocol::Span;
use rota_store::{Filter, Hint, PostgresStore, RunState, Store, StoreError};
use rota_testbed::{Postgres, PostgresOptions, PostgresVersion, SmallDisk, TcpProxy};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Place, Worker, World, idempotent, line, reported, run};

/// A server of the test's own, with a proxy in front of it.
async fn behind_a_proxy() -> (Postgres, TcpProxy, String) {
    let server = Postgres::start(PostgresOptions::default()).await.unwrap();
    server.create_database("rota").await.unwrap();
    let address: SocketAddr = ([127, 0, 0, 1], server.port()).into();
    let proxy = TcpProxy::start(address).await.unwrap();
    let url = server.url("rota").replace(&server.port().to_string(), &proxy.port().to_string());
    (server, proxy, url)
}

async fn until_it_works<T>(mut attempt: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => {
                assert!(error.is_passing(), "{error:?}");
                assert!(Instant::now() < deadline, "{error}");
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_said_and_used_again_when_it_is_back() {
    let mut server = Postgres::start(PostgresOptions::default()).await.unwrap();
    server.create_database("rota").await.unwrap();
    let url = server.url("rota");
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(&url).await.unwrap());
    let worker = Worker::on(store.clone(), "host").await;
    let held = worker.begin(run("p")).await.unwrap();
    held.effect("before").await.unwrap();
    server.kill();
    let error = held.store.enqueue(vec![run("p")]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }) && error.is_passing(), "{error:?}");
    assert!(held.effect("meanwhile").await.is_err(), "no effect without its record");
    assert!(store.runs(&Filter::default()).await.is_err());
    let error = PostgresStore::open(&url).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(!error.to_string().contains(server.password()), "no password in messages");
    // A line that is said meanwhile waits.
    store.log(&held.id, line("said meanwhile"));
    assert!(store.flush().await.unwrap_err().is_passing(), "what waits is not durable");
    server.restart().await.unwrap();
    until_it_works(async || store.now().await).await;
    held.effect("after").await.unwrap();
    let effects = store.effects(&held.id).await.unwrap();
    let details: Vec<_> = effects.iter().map(|effect| effect.detail.as_str()).collect();
    assert_eq!(details, ["before", "after"]);
    held.succeed().await;
    assert_eq!(store.run(&held.id).await.unwrap().dropped_log_lines, 0);
    assert_eq!(store.logs(&held.id, 0, 10).await.unwrap()[0].line.message, "said meanwhile");
}

async fn said(store: &Arc<dyn Store>, run: &str) -> Vec<String> {
    store.logs(run, 0, 10_000).await.unwrap().into_iter().map(|row| row.line.message).collect()
}

fn spooled(folder: &std::path::Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_while_the_server_is_away_is_on_record_when_it_is_back() {
    let mut server = Postgres::start(PostgresOptions::default()).await.unwrap();
    server.create_database("rota").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let options = rota_store::PostgresOptions { spool: Some(spool.clone()), ..rota_store::PostgresOptions::default() };
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open_with(&server.url("rota"), options).await.unwrap());
    let held = Worker::on(store.clone(), "host").await.begin(run("p")).await.unwrap();
    let ledger = store.ledger(&held.id, &held.fence);
    let [first, second, third] = [held.effect("1").await, held.effect("2").await, held.effect("3").await];
    store.log(&held.id, line("before"));
    store.flush().await.unwrap();
    server.kill();
    for n in 0..100 {
        store.log(&held.id, line(&format!("line {n}")));
    }
    ledger.finish(first.unwrap(), Outcome::Done("1 row".into())).await.unwrap();
    ledger.interrupted(second.unwrap());
    store.log(&held.id, line("last"));
    assert!(held.effect("4").await.is_err(), "no effect begins that is not on record");
    assert!(spooled(&spool) > 0);
    server.restart().await.unwrap();
    // Without anybody asking for anything.
    let deadline = Instant::now() + Duration::from_secs(60);
    while spooled(&spool) > 0 {
        assert!(Instant::now() < deadline, "what waits is delivered by itself");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until_it_works(async || store.flush().await).await;
    let outcomes: Vec<_> = store.effects(&held.id).await.unwrap().into_iter().map(|e| (e.outcome, e.said)).collect();
    let expected = [("done", Some("1 row")), ("interrupted", None), ("running", None)];
    assert_eq!(outcomes, expected.map(|(outcome, said)| (outcome.to_owned(), said.map(str::to_owned))));
    let lines: Vec<_> = said(&store, &held.id).await.into_iter().filter(|l| !l.contains("came late")).collect();
    let expected: Vec<_> =
        std::iter::once("before".into()).chain((0..100).map(|n| format!("line {n}"))).chain(["last".into()]).collect();
    assert_eq!(lines, expected);
    ledger.finish(third.unwrap(), Outcome::Done(String::new())).await.unwrap();
    held.succeed().await;
    assert_eq!(store.run(&held.id).await.unwrap().dropped_log_lines, 0);
    assert_eq!(store.status().await.unwrap().spooled, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_could_not_deliver_that_was_killed_is_delivered_by_the_next_and_changes_no_run() {
    let mut server = Postgres::start(PostgresOptions::default()).await.unwrap();
    server.create_database("rota").await.unwrap();
    let url = server.url("rota");
    let folder = tempfile::tempdir().unwrap();
    let options =
        || rota_store::PostgresOptions { spool: Some(folder.path().into()), ..rota_store::PostgresOptions::default() };
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open_with(&url, options()).await.unwrap());
    let held = Worker::on(store.clone(), "host").await.lease(Span::millis(400)).begin(run("p")).await.unwrap();
    let sequence = held.effect("1").await.unwrap();
    let other = held.effect("2").await.unwrap();
    server.kill();
    store.ledger(&held.id, &held.fence).finish(sequence, Outcome::Done("7 rows".into())).await.unwrap();
    assert_eq!(spooled(folder.path()), 1);
    let (id, fence) = (held.id.clone(), held.fence.clone());
    drop((held, store));
    server.restart().await.unwrap();
    // Another host finds the run without its worker.
    let other_host: Arc<dyn Store> = Arc::new(until_it_works(async || PostgresStore::open(&url).await).await);
    let deadline = Instant::now() + Duration::from_secs(60);
    while until_it_works(async || other_host.reap().await).await.is_empty() {
        assert!(Instant::now() < deadline, "the lease ends");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(other_host.run(&id).await.unwrap().state, RunState::Unknown);
    assert_eq!(other_host.effects(&id).await.unwrap()[0].outcome, "unknown");
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open_with(&url, options()).await.unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    while spooled(folder.path()) > 0 {
        assert!(Instant::now() < deadline, "what waits is delivered by the next process");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    store.flush().await.unwrap();
    let effects = store.effects(&id).await.unwrap();
    assert_eq!((effects[0].outcome.as_str(), effects[0].said.as_deref()), ("done", Some("7 rows")));
    assert_eq!(effects[1].outcome, "unknown", "nobody knows of the other");
    assert_eq!(store.run(&id).await.unwrap().state, RunState::Unknown, "what is known of an effect makes no other end");
    assert!(said(&store, &id).await.iter().any(|line| line.contains("effect 1 came late")));
    // Said to the store itself, it is refused as ever.
    let error = store.ledger(&id, &fence).finish(other, Outcome::Done(String::new())).await.unwrap_err();
    assert!(matches!(error, LedgerError::LeaseLost(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_is_made_again() {
    let (_server, proxy, url) = behind_a_proxy().await;
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(&url).await.unwrap());
    let worker = Worker::on(store.clone(), "host").await;
    let held = worker.begin(run("p")).await.unwrap();
    let mut answered = Vec::new();
    for n in 0..5 {
        proxy.cut();
        // What breaks off before the commit is done again by itself.
        answered.push((held.effect(&format!("{n}")).await.unwrap(), n.to_string()));
    }
    // One that broke off in the middle of its commit may be there twice: the row that nobody was told of ends with the attempt.
    let effects = store.effects(&held.id).await.unwrap();
    for (sequence, detail) in &answered {
        let row = effects.iter().find(|effect| effect.sequence == *sequence);
        assert!(row.is_some_and(|row| row.detail == *detail), "what was answered is on record: {effects:?}");
    }
    let different: std::collections::BTreeSet<_> = effects.iter().map(|effect| effect.detail.as_str()).collect();
    assert!(different.len() == 5 && effects.len() <= 10, "{effects:?}");
    let mut hints = store.hints();
    let other = PostgresStore::open(&url).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        other.enqueue(vec![run("p")]).await.unwrap();
        match tokio::time::timeout(Duration::from_secs(1), hints.recv()).await {
            Ok(Ok(Hint::Queue)) => break,
            _ => assert!(Instant::now() < deadline, "hints are heard again"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_stalls_ends_a_write_and_does_not_hold_others_up() {
    let (server, proxy, url) = behind_a_proxy().await;
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(&url).await.unwrap());
    let worker = Worker::on(store.clone(), "host").await;
    let held = worker.begin(idempotent("p")).await.unwrap();
    let other: Arc<dyn Store> = Arc::new(PostgresStore::open(&server.url("rota")).await.unwrap());
    proxy.stall();
    let began = Instant::now();
    let error = store.enqueue(vec![run("p")]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(45));
    // The stalled host holds no lock that another would wait for.
    Worker::on(other.clone(), "other").await.begin(run("q")).await.unwrap().succeed().await;
    other.cancel(&held.id, support::wish(false)).await.unwrap();
    proxy.pass();
    until_it_works(async || store.now().await).await;
    held.end(reported()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_told_so() {
    let server = Postgres::shared().await.unwrap();
    let database = server.fresh_database("refused").await.unwrap();
    let (role, password) = server.fresh_role("guest", "").await.unwrap();
    for url in [
        database.url_as(&role, "wrong"),
        database.url_as(&role, &password),
        server.url("nowhere"),
        "postgres://[".into(),
    ] {
        let error = PostgresStore::open(&url).await.map(drop).unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }) && !error.is_passing(), "{error:?}");
        assert!(!error.to_string().contains(&password), "{error}");
    }
    // Who may create a schema may have the records, and needs nothing else.
    database.execute(&format!("grant create on database \"{}\" to \"{role}\"", database.name())).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(&database.url_as(&role, &password)).await.unwrap());
    Worker::on(store.clone(), "host").await.begin(run("p")).await.unwrap().succeed().await;
    store.status().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_open_at_once_make_one_schema() {
    let server = Postgres::shared().await.unwrap();
    let database = server.fresh_database("at_once").await.unwrap();
    let url = database.url();
    let stores = futures::future::join_all((0..6).map(|_| PostgresStore::open(&url))).await;
    for store in stores {
        let store: Arc<dyn Store> = Arc::new(store.unwrap());
        store.enqueue(vec![run("p")]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused_and_hosts_of_two_versions_go_on_side_by_side() {
    let world = World::postgres().await;
    let Place::Postgres(database) = &world.place else { unreachable!() };
    let worker = world.worker("old").await;
    let held = worker.begin(run("p")).await.unwrap();
    // The next version's host migrates: it only adds.
    database
        .execute(
            "begin;
             alter table rota.runs add column later text;
             alter table rota.queue add column later bigint not null default 0;
             create table rota.later (x bigint);
             insert into rota._sqlx_migrations (version, description, success, checksum, execution_time) values (9999, 'later', true, '', 0);
             commit",
        )
        .await
        .unwrap();
    // The host of this version goes on, with statements that it has prepared and with others.
    held.effect("x").await.unwrap();
    held.succeed().await;
    world.store.enqueue(vec![run("q")]).await.unwrap();
    assert_eq!(worker.claims(5).await, ["q"]);
    assert_eq!(world.store.runs(&Filter::default()).await.unwrap().len(), 2);
    // One that starts is refused.
    let error = PostgresStore::open(&database.url()).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 9999, .. }), "{error}");
}

/// What a restored table or a defect could leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_fell_behind_what_is_on_record_moves_on_and_fires_nothing_twice() {
    let world = World::postgres().await;
    let Place::Postgres(database) = &world.place else { unreachable!() };
    let store = &world.store;
    let at = rota_store::date(store.now().await.unwrap()) - chrono::TimeDelta::minutes(10);
    let minute = |n: i32| at + chrono::TimeDelta::minutes(n.into());
    let schedule = rota_store::ScheduleDefinition {
        job: "j".into(),
        definition: "{}".into(),
        hash: "1".into(),
        next: Some(at),
        fire_at: None,
    };
    store.apply_schedules(vec![schedule], "ada").await.unwrap();
    let decision = |read: i64, n: i32| rota_store::Decision {
        job: "j".into(),
        read,
        nominal: minute(n),
        outcome: rota_store::DecisionOutcome::Fire(Box::new(support::of_job("j"))),
        next: Some(minute(n + 1)),
        fire_at: None,
        also: Vec::new(),
        missed_more: 0,
    };
    let read = store.schedule("j").await.unwrap().cursor.version;
    store.decide(vec![decision(read, 0), decision(read + 1, 1)], "host").await.unwrap();
    database
        .execute("update rota.schedules set decided = null, next = (select min(nominal) from rota.fires)")
        .await
        .unwrap();
    let answers = store.decide(vec![decision(read + 2, 0), decision(read + 3, 1), decision(read + 4, 2)], "host").await;
    let twice = rota_protocol::FireRefused::NotNext;
    assert_eq!(answers.unwrap(), [Err(twice), Err(twice), Ok(())]);
    assert_eq!(store.runs(&Filter::default()).await.unwrap().len(), 3, "each instant once");
    assert_eq!(store.schedule("j").await.unwrap().cursor.next.map(rota_store::date), Some(minute(3)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_passes() {
    let Some(disk) = SmallDisk::mount(220).unwrap() else {
        eprintln!("skipped: mounting is not allowed here");
        return;
    };
    let options = PostgresOptions { parent: Some(disk.path().to_owned()), ..PostgresOptions::default() };
    let mut server = Postgres::start(options).await.unwrap();
    server.create_database("rota").await.unwrap();
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(&server.url("rota")).await.unwrap());
    let held = Worker::on(store.clone(), "host").await.begin(run("p")).await.unwrap();
    disk.fill(1 << 20).unwrap();
    let mut recorded = 0;
    let error = loop {
        let mut big = run("p");
        // What cannot be compressed.
        big.parameters =
            format!("{{\"x\":\"{}\"}}", (0..8_000).map(|_| uuid::Uuid::new_v4().to_string()).collect::<String>());
        match store.enqueue(vec![big]).await {
            Ok(()) => recorded += 1,
            Err(error) => break error,
        }
        assert!(recorded < 1_000);
    };
    assert!(matches!(error, StoreError::Full { .. } | StoreError::Unavailable { .. }), "{error:?}");
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    // A server that cannot write its journal ends itself.
    server.kill();
    server.restart().await.unwrap();
    until_it_works(async || store.now().await).await;
    until_it_works(async || store.enqueue(vec![run("p")]).await).await;
    held.end(reported()).await.unwrap();
    let kept = store.runs(&Filter { limit: 1_000, ..Filter::default() }).await.unwrap().len();
    assert_eq!(kept, recorded + 2, "what was answered is on record, and nothing else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_14_serves() {
    serves(PostgresVersion::V14).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_15_serves() {
    serves(PostgresVersion::V15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_17_serves() {
    serves(PostgresVersion::V17).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_18_serves() {
    serves(PostgresVersion::V18).await;
}

/// The short form of the suite, which runs in full on 16. (In full on another: start one, and run this binary with
/// ROTA_TESTBED_POSTGRES_16 set to its URL.)
async fn serves(version: PostgresVersion) {
    let world = World::of_version(version).await;
    let store = &world.store;
    assert!(store.status().await.unwrap().engine_version.starts_with(&version.major().to_string()));
    let worker = world.worker("host").await.lease(Span::millis(400));
    store.enqueue(vec![idempotent("p"), support::with_key("q", "k", 1), support::with_key("r", "k", 1)]).await.unwrap();
    let held = worker.claim(10).await;
    assert_eq!(held.len(), 2);
    held[0].effect("x").await.unwrap();
    store.begin_step(&held[0].id, &held[0].fence, "s").await.unwrap();
    held[0].compensation("c").await;
    store.log(&held[0].id, line("said"));
    held[1].succeed().await;
    assert_eq!(worker.claims(10).await, ["r"]);
    world.pass(Span::millis(500)).await;
    let reaped = store.reap().await.unwrap();
    assert_eq!(reaped.len(), 2);
    assert!(held[0].effect("late").await.is_err());
    let again = world.worker("other").await.claim_one().await;
    assert_eq!(again.fence.number.0, 2);
    again.succeed().await;
    assert_eq!(store.runs(&Filter { states: vec![RunState::Unknown], ..Filter::default() }).await.unwrap().len(), 1);
    let at = rota_store::date(store.now().await.unwrap());
    let schedule = rota_store::ScheduleDefinition {
        job: "j".into(),
        definition: "{}".into(),
        hash: "1".into(),
        next: Some(at),
        fire_at: None,
    };
    store.apply_schedules(vec![schedule], "ada").await.unwrap();
    assert_eq!(store.due_schedules(Span(0), 10).await.unwrap().1.len(), 1);
    let folder = tempfile::tempdir().unwrap();
    store.backup(&folder.path().join("b")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_came_beside_the_history_are_added_and_keep_its_number() {
    let world = World::postgres().await;
    let before = world.store.status().await.unwrap().schema;
    let Place::Postgres(database) = &world.place else { panic!() };
    database.execute("drop table rota.team_usage, rota.team_runs").await.unwrap();
    let usage = world.another().await.team_usage(&["growth".into()]).await.unwrap();
    assert_eq!(usage[0].runs, 0);
    assert_eq!(
        world.another().await.status().await.unwrap().schema,
        before,
        "hosts of the version before still open it"
    );
}
