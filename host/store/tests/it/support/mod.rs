//! Worlds for the tests of the store (a store on either engine, its time, a second host), runs, workers.
#![allow(dead_code, unused_macros, unused_imports, clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

use chrono::Utc;
use rota_authority::{EffectClass, EffectRecord};
use rota_protocol::{AttemptEnd, End, Fence, Incarnation, Instant, Span};
use rota_store::{
    AfterRun, AttemptEnded, AttemptRecord, CancelWish, Claim, Claimed, Clock, ConcurrencyKey, NewHost, NewLogLine,
    NewRun, PostgresStore, Process, RunPolicy, RunState, SqliteOptions, SqliteStore, Store, StoreError,
};
use rota_testbed::{Database, Postgres, PostgresVersion};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tempfile::TempDir;

/// The machine's clock, and how far it was stepped.
#[derive(Default)]
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn step(&self, span: Span) {
        self.0.fetch_add(span.0, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Instant {
        Instant(Utc::now().timestamp_micros() + self.0.load(Ordering::SeqCst))
    }
}

/// A store on one engine.
pub struct World {
    pub store: Arc<dyn Store>,
    pub place: Place,
}

/// Where its records are.
pub enum Place {
    Sqlite { outer: TempDir, path: PathBuf, clock: Arc<TestClock> },
    Postgres(Database),
}

impl World {
    pub async fn sqlite() -> Self {
        let (outer, path) = state();
        let place = Place::Sqlite { outer, path, clock: Arc::default() };
        Self { store: open(&place).await, place }
    }

    pub async fn postgres() -> Self {
        Self::of_version(PostgresVersion::V16).await
    }

    pub async fn of_version(version: PostgresVersion) -> Self {
        let server = Postgres::shared_version(version).await.unwrap();
        let place = Place::Postgres(server.fresh_database("store").await.unwrap());
        Self { store: open(&place).await, place }
    }

    /// The same records, as another host sees them.
    pub async fn another(&self) -> Arc<dyn Store> {
        open(&self.place).await
    }

    /// Time goes by: the clock is stepped where it can be.
    pub async fn pass(&self, span: Span) {
        match &self.place {
            Place::Sqlite { clock, .. } => clock.step(span),
            Place::Postgres(_) => tokio::time::sleep(span.into()).await,
        }
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.place, Place::Postgres(_))
    }

    /// A worker of this store.
    pub async fn worker(&self, name: &str) -> Worker {
        Worker::on(self.store.clone(), name).await
    }

    /// A run that this worker has taken.
    pub async fn begun(&self, run: NewRun) -> Held {
        self.worker("host").await.begin(run).await.unwrap()
    }

    pub async fn state(&self, run: &str) -> RunState {
        self.store.run(run).await.unwrap().state
    }
}

async fn open(place: &Place) -> Arc<dyn Store> {
    match place {
        Place::Sqlite { path, clock, .. } => {
            let options = SqliteOptions { clock: clock.clone(), ..SqliteOptions::default() };
            Arc::new(SqliteStore::open_with(path, options).await.unwrap())
        }
        Place::Postgres(database) => Arc::new(PostgresStore::open(&database.url()).await.unwrap()),
    }
}

/// Tests that every engine passes, unchanged.
macro_rules! contract {
    ($($(#[doc = $doc:expr])* async fn $name:ident($world:ident) $body:block)*) => { $(
        mod $name {
            use super::*;
            $(#[doc = $doc])*
            async fn test($world: &World) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                test(&World::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                test(&World::postgres().await).await;
            }
        }
    )* };
}
pub(crate) use contract;

/// A lease that does not end during a test, and one that does.
pub const LONG: Span = Span::seconds(60);
pub const SHORT: Span = Span::millis(400);

/// A worker.
#[derive(Clone)]
pub struct Worker {
    pub store: Arc<dyn Store>,
    pub incarnation: Incarnation,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub lease: Span,
}

impl Worker {
    pub async fn on(store: Arc<dyn Store>, name: &str) -> Self {
        let host = host(name);
        let incarnation = host.incarnation.clone();
        store.register_host(host).await.unwrap();
        Self { store, incarnation, name: name.into(), labels: BTreeMap::new(), lease: LONG }
    }

    pub fn lease(mut self, lease: Span) -> Self {
        self.lease = lease;
        self
    }

    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// What it gets where it cannot begin the runs of some jobs.
    pub async fn claims_without(&self, unable: &[String], most: u32) -> Vec<String> {
        let claimed = self.store.claim(Claim { unable, ..self.asks(most) }).await.unwrap();
        claimed.into_iter().map(|claimed| claimed.row.run.plugin).collect()
    }

    fn asks(&self, most: u32) -> Claim<'_> {
        Claim {
            by: &self.incarnation,
            host: &self.name,
            lease: self.lease,
            labels: &self.labels,
            most,
            only: None,
            unable: &[],
        }
    }

    pub async fn claim(&self, most: u32) -> Vec<Held> {
        let claimed = self.store.claim(self.asks(most)).await.unwrap();
        claimed.into_iter().map(|claimed| Held::new(self, claimed)).collect()
    }

    pub async fn claim_one(&self) -> Held {
        let mut claimed = self.claim(1).await;
        assert_eq!(claimed.len(), 1, "there is a run to claim");
        claimed.remove(0)
    }

    /// The names of the plugins of what it gets.
    pub async fn claims(&self, most: u32) -> Vec<String> {
        self.claim(most).await.into_iter().map(|held| held.claimed.row.run.plugin).collect()
    }

    pub async fn begin(&self, run: NewRun) -> Result<Held, StoreError> {
        Ok(Held::new(self, self.store.begin_held(run, self.asks(1)).await?))
    }
}

/// A run that a worker holds.
pub struct Held {
    pub store: Arc<dyn Store>,
    pub id: String,
    pub fence: Fence,
    pub claimed: Claimed,
}

impl Held {
    fn new(worker: &Worker, claimed: Claimed) -> Self {
        Self { store: worker.store.clone(), id: claimed.row.run.id.clone(), fence: claimed.lease.fence(), claimed }
    }

    pub async fn end(&self, record: AttemptRecord) -> Result<AttemptEnded, StoreError> {
        self.store.end_attempt(&self.id, &self.fence, record).await
    }

    pub async fn succeed(&self) {
        assert_eq!(self.end(reported()).await.unwrap(), AttemptEnded::Final(RunState::Succeeded));
    }

    pub async fn effect(&self, detail: &str) -> Result<u64, rota_authority::LedgerError> {
        self.store.ledger(&self.id, &self.fence).begin(effect(detail)).await
    }

    pub async fn compensation(&self, name: &str) -> u32 {
        self.store.register_compensation(&self.id, &self.fence, name, r#"{"upload":7}"#, "sha256:00").await.unwrap()
    }
}

pub fn reported() -> AttemptRecord {
    record(AttemptEnd::Reported, End::Succeeded)
}

pub fn record(outcome: AttemptEnd, end: End) -> AttemptRecord {
    let (report, error) = match end {
        End::Succeeded => (Some(r#"{"status":"ok"}"#.into()), None),
        _ => (None, Some(format!(r#"{{"kind":"{}"}}"#, end.as_str()))),
    };
    AttemptRecord { outcome, after: AfterRun::End(end), report, error, dropped_log_lines: 0 }
}

pub fn wish(terminate: bool) -> CancelWish {
    CancelWish { by: "ada".into(), at: Utc::now(), terminate, note: Some("not tonight".into()) }
}

/// A state directory that is gone after the test.
pub fn state() -> (TempDir, PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("state");
    (outer, path)
}

pub async fn store(path: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(path).await.unwrap())
}

pub fn host(name: &str) -> NewHost {
    NewHost {
        incarnation: Incarnation(uuid::Uuid::now_v7().to_string()),
        name: name.into(),
        version: "0.2.0".into(),
        labels: BTreeMap::new(),
        configuration: "sha256:00".into(),
        capacity: 4,
        process: Process::this(),
    }
}

pub fn run(plugin: &str) -> NewRun {
    NewRun {
        id: uuid::Uuid::now_v7().to_string(),
        job: Some("nightly".into()),
        plugin: plugin.into(),
        version: "0.1.0".into(),
        digest: "sha256:00".into(),
        mode: "execute".into(),
        trigger: "manual".into(),
        parameters: r#"{"a":1}"#.into(),
        grants: r#"{"database":{"binding":"kosmos","access":["read"]}}"#.into(),
        scheduled_for: None,
        labels: BTreeMap::new(),
        policy: RunPolicy::default(),
        due: None,
        parent: None,
        hold: None,
    }
}

pub fn of_job(job: &str) -> NewRun {
    NewRun { job: Some(job.into()), ..run(job) }
}

pub fn with_key(plugin: &str, key: &str, limit: u32) -> NewRun {
    let mut run = run(plugin);
    run.policy.keys = vec![ConcurrencyKey { key: key.into(), limit }];
    run
}

pub fn idempotent(plugin: &str) -> NewRun {
    let mut run = run(plugin);
    run.policy.idempotent = true;
    run
}

pub fn effect(detail: &str) -> EffectRecord {
    EffectRecord {
        capability: "sql",
        operation: "sql.execute",
        target: "kosmos: public.orders".into(),
        access: "maintain".into(),
        detail: detail.into(),
        class: EffectClass::Write,
        planned: false,
    }
}

pub fn line(message: &str) -> NewLogLine {
    NewLogLine {
        time: Utc::now(),
        level: "info".into(),
        source: "procedure".into(),
        message: message.into(),
        fields: vec![("rows".into(), "3".into())],
    }
}
