//! Three hosts on one PostgreSQL store, while things happen to them: killed, frozen beyond their lease, cut off, their disks full, their store
//! restarted and its clock stepped by an hour either way.
//!
//! Afterwards an independent database tells what was done: no run lost, no instant fired twice, no step done twice, nothing left
//! undone, and nothing of a stale worker after its successor's first.
//!
//! One of the hosts is of the version before ([`rota_testbed::previous`]): a rolling upgrade that is stopped half-way.
//!
//! So many events as `ROTA_CHAOS` says, 60 without it; `ROTA_CHAOS=1000 scripts/test -p rota -E 'test(chaos::three_hosts)'` is the long form.

use super::{SOON, Serving, WORK};
use rota_testbed::{Postgres, PostgresOptions, SmallDisk, TcpProxy, eventually, random_secret};
use rota_tests::{Rota, Running};
use rustix::process::Signal;
use sqlx::Row as _;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const HOSTS: usize = 3;
const EVENTS: usize = 60;

/// Of each run.
const STEPS: i64 = 5;

/// Longer than the hosts' lease of two seconds.
const FROZEN: Duration = Duration::from_millis(2_600);

/// Seconds.
const HOUR: i64 = 3_600;

const TICK: &str = r#"
[jobs.tick]
plugin = "PROBE"
parameters = { do = "work", count = 1 }
slots.database = { binding = "shop", access = ["read", "write"] }
schedule = { every = "1s", overlap = "allow" }
concurrency = 20
"#;

struct Host {
    rota: Rota,
    proxy: TcpProxy,
    /// Where its state is; none where this machine may not mount.
    disk: Option<SmallDisk>,
    running: Option<Running>,
}

/// Uniform in 0..bound.
fn random(bound: usize) -> usize {
    let number = usize::from_str_radix(&random_secret().unwrap()[..8], 16).unwrap();
    number % bound
}

impl Host {
    fn start(&mut self) {
        self.running = Some(self.rota.start(&["serve"]).unwrap());
    }

    async fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = running.signal(Signal::KILL);
            let _ = running.end().await;
        }
    }
}

/// One thing that happens.
async fn happen(hosts: &mut [Host], store: &mut Postgres) -> &'static str {
    let host = &mut hosts[random(HOSTS)];
    match random(23) {
        0 => {
            store.restart().await.unwrap();
            "the store restarts"
        }
        1..=9 => {
            host.kill().await;
            host.start();
            "a host is killed"
        }
        10..=13 => {
            let running = host.running.as_ref().unwrap();
            running.signal(Signal::STOP).unwrap();
            tokio::time::sleep(FROZEN).await;
            running.signal(Signal::CONT).unwrap();
            "a host freezes beyond its lease"
        }
        14..=16 => {
            host.proxy.stall();
            tokio::time::sleep(Duration::from_millis(500 + random(2_500) as u64)).await;
            host.proxy.pass();
            "a host's store is silent for a while"
        }
        17..=19 => {
            host.proxy.cut();
            "a host is cut off from its store"
        }
        20 => {
            // What was to last two seconds ends at once, or lasts an hour more.
            let hours = [-1, 0, 1][random(3)];
            store.step_clock(hours * HOUR).unwrap();
            "the store's clock steps"
        }
        _ => {
            let Some(disk) = &host.disk else { return "no disk can be filled here" };
            disk.fill(0).unwrap();
            host.proxy.stall();
            tokio::time::sleep(Duration::from_millis(500 + random(1_500) as u64)).await;
            host.proxy.pass();
            std::fs::remove_file(disk.path().join("filler")).unwrap();
            "a host's disk is full while its store is silent"
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hosts_lose_and_double_nothing() {
    let events = std::env::var("ROTA_CHAOS").ok().and_then(|count| count.parse().ok()).unwrap_or(EVENTS);
    let mut store = Postgres::start(PostgresOptions { steppable: true, ..PostgresOptions::default() }).await.unwrap();
    store.create_database("rota").await.unwrap();
    let jobs = format!("{WORK}{TICK}").replace("count = 6, pause = 250", &format!("count = {STEPS}, pause = 60"));
    let serving = Serving::over("chaos", &jobs, "[store]\nurl = \"env:STORE_URL\"\n").await;
    let mut serving = serving;
    serving.rota.set("STORE_URL", store.url("rota"));
    let mut hosts = Vec::new();
    for number in 0..HOSTS {
        let proxy = TcpProxy::to_port(store.port()).await.unwrap();
        let previous = rota_testbed::previous().filter(|_| number == 0);
        let mut rota = previous.map_or_else(crate::rota, |program| crate::rota_of(&program.display().to_string()));
        let direct = format!(":{}/", store.port());
        rota.set("STORE_URL", store.url("rota").replace(&direct, &format!(":{}/", proxy.port())));
        rota.set("SHOP_URL", serving.database.url());
        rota.set("ROTA_SERVER__NAME", format!("host-{number}"));
        // Nobody reads what it says: a full pipe would hold it up.
        rota.set("ROTA_LOG", "off");
        let configuration = std::fs::read_to_string(serving.rota.path("work/rota.toml")).unwrap();
        rota.configure(&configuration).unwrap();
        let disk = SmallDisk::mount(16).unwrap();
        if let Some(disk) = &disk {
            rota.set("ROTA_STATE_DIR", disk.path().join("state"));
        }
        let mut host = Host { rota, proxy, disk, running: None };
        host.start();
        host.running.as_mut().unwrap().says("serving as").await.unwrap();
        hosts.push(host);
    }

    eprintln!(
        "chaos: the version before is {}",
        rota_testbed::previous().map_or("not here".into(), |path| path.display().to_string())
    );
    let mut queued = Vec::new();
    let mut happened: BTreeMap<&str, usize> = BTreeMap::new();
    for event in 0..events {
        for _ in 0..2 {
            // Some of them fail, and have to be undone.
            let fail = if random(4) == 0 { "fail=true" } else { "fail=false" };
            // While the store restarts nothing is queued: whoever asked was told so.
            if let Ok(run) = serving.rota.json(&["jobs", "run", "work", "-p", fail]).await {
                queued.push((run["id"].as_str().unwrap().to_owned(), fail == "fail=true"));
            }
        }
        *happened.entry(happen(&mut hosts, &mut store).await).or_default() += 1;
        if event % 20 == 19 {
            eprintln!("chaos: {} of {events} events, {} runs queued", event + 1, queued.len());
        }
    }
    eprintln!("chaos: {happened:?}");

    // Faults cease: everything ends. By a clock later than any before, so that nothing waits for an hour that was taken back.
    store.step_clock(3 * HOUR).unwrap();
    eventually(SOON * 4, "every run to end", async || {
        let open = serving.runs(&["--status", "queued,waiting,running,compensating", "--job", "work"]).await;
        Ok(open.is_empty().then_some(()))
    })
    .await
    .unwrap();
    // And the schedule goes on: its instants are decided about up to now, by the store's clock.
    eventually(SOON * 2, "the schedule to be decided about up to now", async || {
        let mut records = store.connect("rota").await?;
        let behind: f64 = sqlx::query_scalar(
            "select extract(epoch from clock_timestamp())::float8 - decided / 1e6::float8 from rota.schedules where job = 'tick'",
        )
        .fetch_one(&mut records)
        .await?;
        Ok((behind < 10.0).then_some(()))
    })
    .await
    .unwrap();
    for host in &mut hosts {
        if let Some(running) = host.running.take() {
            let _ = running.signal(Signal::TERM);
            let _ = running.end().await;
        }
    }
    check(&serving, &store, &queued).await;
}

async fn check(serving: &Serving, store: &Postgres, queued: &[(String, bool)]) {
    let mut records = store.connect("rota").await.unwrap();
    let rows = sqlx::query("select id, state from rota.runs where job = 'work'").fetch_all(&mut records).await.unwrap();
    let states: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    for (run, fails) in queued {
        let state = states.get(run).unwrap_or_else(|| panic!("the run {run} is lost"));
        let expected: &[&str] = if *fails { &["failed", "unknown"] } else { &["succeeded", "unknown", "failed"] };
        assert!(expected.contains(&state.as_str()), "{run} ended {state}");
    }
    let why: Vec<(Option<String>, i64)> = sqlx::query_as(
        "select left(error::text, 160), count(*) from rota.runs where job = 'work' and state <> 'succeeded' group by 1 order by 2 desc limit 5",
    )
    .fetch_all(&mut records)
    .await
    .unwrap();
    eprintln!("chaos: why runs did not succeed: {why:?}");
    let mut effects = serving.database.connect().await.unwrap();
    let doubled: Vec<(String, i64, i64)> =
        sqlx::query_as("select run, step, count(*) from done group by run, step having count(*) > 1")
            .fetch_all(&mut effects)
            .await
            .unwrap();
    assert!(doubled.is_empty(), "steps done twice: {doubled:?}");
    let stale: Vec<(String,)> = sqlx::query_as(
        "select distinct a.run from done a join done b on a.run = b.run and a.attempt < b.attempt and a.at > b.at",
    )
    .fetch_all(&mut effects)
    .await
    .unwrap();
    assert!(stale.is_empty(), "effects of a stale worker after its successor's first: {stale:?}");

    let open: Vec<(String, String, String)> = sqlx::query_as(
        "select r.id, r.state, c.status from rota.runs r join rota.compensations c on c.run = r.id
         where (r.state = 'succeeded' and c.status <> 'dismissed')
            or (r.state in ('failed', 'unknown', 'cancelled', 'timed-out') and c.status not in ('done', 'dismissed'))",
    )
    .fetch_all(&mut records)
    .await
    .unwrap();
    assert!(open.is_empty(), "left undone: {open:?}");
    let undone: Vec<(String,)> =
        sqlx::query_as("select distinct run from undone").fetch_all(&mut effects).await.unwrap();
    let undone: BTreeSet<String> = undone.into_iter().map(|(run,)| run).collect();
    let dismissed: Vec<(String,)> =
        sqlx::query_as("select distinct run from rota.compensations where status = 'dismissed'")
            .fetch_all(&mut records)
            .await
            .unwrap();
    for (run, state) in &states {
        assert!(state != "succeeded" || !undone.contains(run), "{run} succeeded and was undone");
        // One whose last word, that it wants no undo any more, was recorded and not answered in time has failed with all of it done.
        let passed = dismissed.iter().any(|(other,)| other == run);
        let left = rows_of(&mut effects, run).await;
        assert!(
            state != "failed" || undone.contains(run) || left == if passed { STEPS } else { 0 },
            "{run} failed with {left} steps done, and was not undone (undo dismissed: {passed})"
        );
    }
    let twice: Vec<(i64, i64)> = sqlx::query_as(
        "select scheduled_for, count(*) from rota.runs where job = 'tick' group by scheduled_for having count(*) > 1",
    )
    .fetch_all(&mut records)
    .await
    .unwrap();
    assert!(twice.is_empty(), "instants fired twice: {twice:?}");
    let ended = states.values().fold(BTreeMap::<&str, usize>::new(), |mut count, state| {
        *count.entry(state).or_default() += 1;
        count
    });
    eprintln!("chaos: {ended:?}");
}

/// How many rows a run has left.
async fn rows_of(effects: &mut sqlx::PgConnection, run: &str) -> i64 {
    sqlx::query_scalar("select count(*) from done where run = $1").bind(run).fetch_one(effects).await.unwrap()
}
