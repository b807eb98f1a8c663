//! Contract: what is forgotten, what is kept in a backup, and how the store is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support;

use rota_protocol::{AttemptEnd, End, Fault, Span};
use rota_store::{
    ArtifactRow, Filter, Keep, NewRun, PostgresStore, RunState, ScheduleDefinition, SqliteStore, Store, StoreError,
};
use std::path::Path;
use std::sync::Arc;
use support::{Place, SHORT, World, contract, line, of_job, record, run};

const ALL: Keep = Keep { age: Span(i64::MAX), per_job: u32::MAX };

/// All tables of a store; those of teams stand beside the numbered migrations (`additions`).
const TABLES: [&str; 17] = [
    "artifacts",
    "attempts",
    "compensations",
    "components",
    "effects",
    "ended",
    "fires",
    "held_keys",
    "hosts",
    "leases",
    "logs",
    "queue",
    "runs",
    "schedules",
    "steps",
    "team_runs",
    "team_usage",
];

/// Records of every kind; answers the ids of a run that is over, one that waits, one that is held.
async fn filled(world: &World) -> [String; 3] {
    let store = &world.store;
    let worker = world.worker("host").await;
    let over = worker.begin(run("over")).await.unwrap();
    over.effect("it's \"quoted\"").await.unwrap();
    store.begin_step(&over.id, &over.fence, "s").await.unwrap();
    store.complete_step(&over.id, &over.fence, "s", "null").await.unwrap();
    over.compensation("undo").await;
    store.keep_component("sha256:00", &[0, 255, 1]).await.unwrap();
    store.log(&over.id, line("said"));
    let artifact = ArtifactRow { name: "a".into(), media_type: "text/plain".into(), size: 1 << 40, sha256: "0".into() };
    store.add_artifact(&over.id, artifact).await.unwrap();
    over.end(record(AttemptEnd::Reported, End::Succeeded)).await.unwrap();
    let held = worker.begin(support::with_key("held", "k", 1)).await.unwrap();
    let waiting = run("waiting");
    store.enqueue(vec![waiting.clone()]).await.unwrap();
    let at = rota_store::date(store.now().await.unwrap());
    let next = Some(at);
    let schedule =
        ScheduleDefinition { job: "j".into(), definition: "{}".into(), hash: "1".into(), next, fire_at: None };
    store.apply_schedules(vec![schedule], "ada").await.unwrap();
    let decision = rota_store::Decision {
        job: "j".into(),
        read: 1,
        nominal: at,
        outcome: rota_store::DecisionOutcome::Skip("window".into()),
        next: None,
        fire_at: None,
        also: Vec::new(),
        missed_more: 0,
    };
    assert_eq!(store.decide(vec![decision], "host").await.unwrap(), [Ok(())]);
    [over.id, waiting.id, held.id]
}

/// Everything that can be read, in words.
async fn everything(store: &Arc<dyn Store>, over: &str) -> String {
    let runs = store.runs(&Filter { limit: 1_000, ..Filter::default() }).await.unwrap();
    let effects = store.effects(over).await.unwrap();
    let logs = store.logs(over, 0, 100).await.unwrap();
    let artifacts = store.artifacts(over).await.unwrap();
    let steps = store.steps(over).await.unwrap();
    let compensations = store.compensations(over).await.unwrap();
    let attempts = store.attempts(over).await.unwrap();
    let component = store.component("sha256:00").await.unwrap();
    let schedules = store.schedules().await.unwrap();
    let fires = store.fires("j", None, 10).await.unwrap();
    format!(
        "{runs:#?} {effects:#?} {logs:#?} {artifacts:#?} {steps:#?} {compensations:#?} {attempts:#?} {component:?} {schedules:#?} {fires:#?}"
    )
}

/// Bring a backup back to a new place of an engine.
async fn restored(backup: &Path, onto: &World) -> Arc<dyn Store> {
    match &onto.place {
        Place::Sqlite { path, .. } => {
            onto.store.close().await;
            let (_, former) = SqliteStore::restore(path, backup).await.unwrap();
            assert!(former.unwrap().exists(), "what was there is moved aside");
            Arc::new(SqliteStore::open(path).await.unwrap())
        }
        Place::Postgres(database) => {
            PostgresStore::restore(&database.url(), backup).await.unwrap();
            Arc::new(PostgresStore::open(&database.url()).await.unwrap())
        }
    }
}

contract! {
    async fn a_backup_brings_everything_back_on_either_engine(world) {
        let folder = tempfile::tempdir().unwrap();
        let [over, waiting, held] = filled(world).await;
        let before = everything(&world.store, &over).await;
        let file = folder.path().join("rota.backup");
        let summary = world.store.backup(&file).await.unwrap();
        assert_eq!(summary.bytes, std::fs::metadata(&file).unwrap().len());
        assert!(summary.rows.iter().any(|(table, rows)| table == "runs" && *rows == 3));
        assert!(matches!(world.store.backup(&file).await, Err(StoreError::Backup { .. })), "none is overwritten");
        for onto in [World::sqlite().await, World::postgres().await] {
            let store = restored(&file, &onto).await;
            assert_eq!(everything(&store, &over).await, before);
            let worker = support::Worker::on(store.clone(), "new").await;
            assert_eq!(worker.claim_one().await.id, waiting);
            let blocked = support::with_key("blocked", "k", 1);
            store.enqueue(vec![blocked.clone()]).await.unwrap();
            assert!(worker.claim(5).await.is_empty(), "what was held holds its key");
            assert_eq!(store.run(&held).await.unwrap().state, RunState::Running);
        }
    }

    async fn a_backup_that_is_not_whole_changes_nothing(world) {
        let folder = tempfile::tempdir().unwrap();
        let [over, ..] = filled(world).await;
        let file = folder.path().join("rota.backup");
        world.store.backup(&file).await.unwrap();
        let good = std::fs::read(&file).unwrap();
        let plain = zstd_of(b"{\"rota\":\"backup\",\"format\":1,\"schema\":2}\n");
        let newer = zstd_of(b"{\"rota\":\"backup\",\"format\":1,\"schema\":9999}\n");
        let broken: [(&str, Vec<u8>); 5] = [
            ("cut", good[..good.len() - 20].to_vec()),
            ("empty", Vec::new()),
            ("text", b"hello".to_vec()),
            ("no end", plain),
            ("newer", newer),
        ];
        let onto = if world.is_postgres() { World::postgres().await } else { World::sqlite().await };
        for (what, content) in broken {
            std::fs::write(folder.path().join(what), content).unwrap();
            let error = match &onto.place {
                Place::Sqlite { path, .. } => SqliteStore::restore(path, &folder.path().join(what)).await.map(drop),
                Place::Postgres(database) => PostgresStore::restore(&database.url(), &folder.path().join(what)).await.map(drop),
            }
            .unwrap_err();
            assert!(matches!(error, StoreError::Backup { .. } | StoreError::Newer { .. }), "{what}: {error}");
            assert!(onto.store.runs(&Filter::default()).await.unwrap().is_empty(), "{what}");
        }
        if let Place::Postgres(database) = &world.place {
            let full = PostgresStore::restore(&database.url(), &file).await;
            assert!(matches!(full, Err(StoreError::Misfit(_))), "records that hold something are not mixed: {full:?}");
        }
        assert_eq!(world.state(&over).await, RunState::Succeeded);
    }

    async fn what_is_over_is_forgotten_by_age_and_count(world) {
        let store = &world.store;
        let worker = world.worker("host").await.lease(SHORT);
        let mut ids = Vec::new();
        for n in 0..12 {
            let held = worker.begin(of_job(if n % 2 == 0 { "even" } else { "odd" })).await.unwrap();
            held.effect("x").await.unwrap();
            store.log(&held.id, line("x"));
            held.succeed().await;
            ids.push(held.id);
        }
        store.flush().await.unwrap();
        let under_way = worker.begin(of_job("even")).await.unwrap();
        assert_eq!(store.prune(&ALL, 100).await.unwrap(), 0);
        let count = Keep { per_job: 4, ..ALL };
        assert_eq!(store.prune(&count, 2).await.unwrap(), 2, "in small batches");
        let mut total = 2;
        loop {
            let pruned = store.prune(&count, 2).await.unwrap();
            if pruned == 0 {
                break;
            }
            total += pruned;
        }
        let left = store.runs(&Filter { limit: 100, ..Filter::default() }).await.unwrap();
        // What is under way counts among the newest.
        assert_eq!((total, left.len()), (5, 8));
        assert!(left.iter().any(|row| row.run.id == under_way.id));
        assert!(store.effects(&ids[0]).await.unwrap().is_empty() && store.logs(&ids[0], 0, 9).await.unwrap().is_empty());
        world.pass(Span::millis(300)).await;
        let age = Keep { age: Span::millis(200), ..ALL };
        assert_eq!(store.prune(&age, 100).await.unwrap(), 7);
        assert_eq!(store.prune(&age, 100).await.unwrap(), 0);
        let left = store.runs(&Filter { limit: 100, ..Filter::default() }).await.unwrap();
        assert_eq!(left.len(), 1, "what is not over stays");
    }

    async fn a_failed_undo_is_never_forgotten(world) {
        let mut given = run("p");
        given.policy.undo.attempts = 1;
        let held = world.begun(given).await;
        held.compensation("a").await;
        held.end(record(AttemptEnd::Failed(Fault::Lasting), End::Failed)).await.unwrap();
        world.store.next_compensation(&held.id, &held.fence).await.unwrap();
        world.store.end_compensation(&held.id, &held.fence, 1, Some("x")).await.unwrap();
        world.pass(Span::millis(200)).await;
        assert_eq!(world.store.prune(&Keep { age: Span(0), per_job: 0 }, 100).await.unwrap(), 0);
        assert_eq!(world.state(&held.id).await, RunState::CompensationFailed);
    }

    async fn the_store_says_how_it_is(world) {
        let [over, ..] = filled(world).await;
        let status = world.store.status().await.unwrap();
        assert_eq!(status.engine, if world.is_postgres() { "postgres" } else { "sqlite" });
        assert!(status.bytes > 0 && status.schema >= 2 && !status.engine_version.is_empty());
        assert_eq!(status.oldest_run, Some(world.store.run(&over).await.unwrap().created_at));
        let mut tables: Vec<_> = status.tables.iter().map(|table| table.name.as_str()).collect();
        tables.sort_unstable();
        assert_eq!(tables, TABLES);
        if !world.is_postgres() {
            assert!(status.tables.iter().any(|table| table.name == "runs" && table.rows == 3));
        }
    }

    async fn a_store_that_is_closed_says_so(world) {
        let held = world.begun(NewRun { job: None, ..run("p") }).await;
        world.store.log(&held.id, line("the last"));
        world.store.close().await;
        assert!(matches!(world.store.enqueue(vec![run("p")]).await, Err(StoreError::Closed)));
        assert!(!world.store.log(&held.id, line("too late")));
        assert_eq!(world.another().await.logs(&held.id, 0, 10).await.unwrap().len(), 1);
    }
}

fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}
