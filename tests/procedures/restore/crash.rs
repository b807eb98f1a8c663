//! The host killed before and after every effect of a restore, and of its undo: the applications come back at what they were, the live database is
//! whole and old, or whole and new, and nothing else is left.
//!
//! The points are those of a recorded run (`rota_tests::crash`). Each test takes every so manieth, because each takes a second or two.

use super::apps::{Apps, IDLE};
use super::{State, eventually};
use rota_testbed::Postgres;
use rota_tests::Running;
use rota_tests::crash::{Crashes, Effect, Moment};
use serde_json::Value;
use std::time::Duration;

const ENDS: Duration = Duration::from_secs(40);

/// Tests that share the points of a restore that goes well.
const PARTS: usize = 4;
/// And of one that fails, and is undone.
const UNDO_PARTS: usize = 2;

struct Crashing {
    apps: Apps,
    crashes: Crashes,
}

impl Crashing {
    async fn new(name: &str) -> Self {
        let store = Postgres::shared().await.unwrap().fresh_database(&format!("{name}_store")).await.unwrap();
        let crashes = Crashes::over(store);
        let mut apps = Apps::new(name).await;
        apps.deployment("api", 2, IDLE).await;
        apps.deployment("worker", 1, IDLE).await;
        let world = &mut apps.world;
        world.rota.set("STORE_URL", crashes.url()).set("LIVE_URL", world.server.url("postgres"));
        let kubeconfig = apps.namespace.kubeconfig_for(apps.namespace.cluster().token()).unwrap();
        let toml = format!(
            "[store]\nurl = \"env:STORE_URL\"\n\
             [server]\nlisten = \"127.0.0.1:0\"\nlease = \"10s\"\npoll = \"100ms\"\n\
             [bindings.server]\nkind = \"sql\"\nurl = \"env:LIVE_URL\"\n\
             [bindings.bucket]\nkind = \"storage\"\nurl = \"file://{bucket}\"\n\
             [bindings.pg_restore]\nkind = \"tool\"\npath = \"{pg_restore}\"\n\
             [bindings.apps]\nkind = \"kubernetes\"\nkubeconfig = \"file:{kubeconfig}\"\n\
             [jobs.restore]\nplugin = \"postgres-restore\"\nconfirm = \"RESTORE\"\nundo = {{ attempts = 8, backoff = \"200ms\" }}\n\
             parameters = {{ database = \"{live}\", selector = \"uses=database\", wait_seconds = 15, free_bytes = 100000000000 }}\n\
             slots.database = {{ binding = \"server\", access = [\"read\", \"write\", \"ddl\", \"index\", \"maintain\", \"signal\"] }}\n\
             slots.bucket = {{ binding = \"bucket\", access = [\"read\"] }}\n\
             slots.pg_restore = {{ binding = \"pg_restore\", access = [\"run\"] }}\n\
             slots.cluster = {{ binding = \"apps\", access = [\"read\", \"scale\"] }}\n",
            bucket = world.bucket.display(),
            pg_restore = world.server.program("pg_restore").unwrap().display(),
            kubeconfig = kubeconfig.display(),
            live = world.live.name(),
        );
        world.rota.configure(&toml).unwrap();
        Self { apps, crashes }
    }

    async fn serve(&self) -> Running {
        let mut running = self.apps.world.rota.start(&["serve"]).unwrap();
        running.says("serving as").await.unwrap();
        running
    }

    async fn queue(&self, more: &[&str]) -> String {
        let mut arguments = vec!["jobs", "run", "restore"];
        arguments.extend(more);
        let run = self.apps.world.rota.json(&arguments).await.unwrap();
        run["id"].as_str().unwrap().to_owned()
    }

    /// The run, once it is over.
    async fn over(&self, id: &str) -> Value {
        eventually(ENDS, "the run's end", async || {
            let run = self.apps.world.rota.json(&["runs", "show", id]).await?;
            let state = run["run"]["status"].as_str().unwrap_or_default().to_owned();
            let ended = ["succeeded", "failed", "unknown", "compensation-failed"].contains(&state.as_str());
            anyhow::ensure!(ended, "it is {state}: {run:#}");
            Ok(Some(run))
        })
        .await
        .unwrap()
    }

    /// What must hold wherever it was killed. Says whether the live database is the restored one.
    async fn holds(&self, point: &str, over: &Value) -> bool {
        let world = &self.apps.world;
        assert_ne!(over["run"]["status"], "compensation-failed", "{point}: {over:#}");
        for undo in over["compensations"].as_array().unwrap() {
            let status = undo["status"].as_str().unwrap();
            assert!(["done", "dismissed"].contains(&status), "{point}: {undo:#}");
        }
        assert_eq!((self.apps.wants("api").await, self.apps.wants("worker").await), (2, 1), "{point}: {over:#}");
        // Lets connections in, and is whole.
        let state = State::of(&world.live).await;
        assert!(state == State::backed_up() || state == State::after(), "{point}: {state:?}");
        let new = state == State::backed_up();
        let beside = world.databases().await;
        let old = beside.iter().filter(|name| name.contains("_before_")).count();
        assert_eq!((beside.len(), old), if new { (2, 1) } else { (1, 0) }, "{point}: {beside:?}");
        new
    }

    /// As it was before: the old database in its place again, of which nothing may be lost either.
    async fn put_back(&self) {
        let world = &self.apps.world;
        let live = world.live.name();
        let Some(old) = world.databases().await.into_iter().find(|name| name.contains("_before_")) else { return };
        world.server.execute("postgres", &format!("drop database {live} with (force)")).await.unwrap();
        world
            .server
            .execute(
                "postgres",
                &format!("alter database {old} rename to {live}; alter database {live} allow_connections true"),
            )
            .await
            .unwrap();
        assert_eq!(State::of(&world.live).await, State::after(), "the old database is whole");
    }
}

/// Where the databases are swapped: what follows it is after it.
fn swap(effects: &[Effect]) -> i64 {
    let renames: Vec<i64> =
        effects.iter().filter(|effect| effect.detail.contains("RENAME TO")).map(|effect| effect.sequence).collect();
    assert_eq!(renames.len(), 2, "{effects:#?}");
    renames[1]
}

async fn killed_at(part: usize) {
    let crashing = Crashing::new(&format!("restore_crash_{part}")).await;
    let mut host = crashing.serve().await;
    let whole = crashing.queue(&[]).await;
    let over = crashing.over(&whole).await;
    assert_eq!(over["run"]["status"], "succeeded", "{over:#}");
    assert!(crashing.holds("whole", &over).await);
    crashing.put_back().await;
    let effects = crashing.crashes.recorded(&whole).await.unwrap();
    let kinds =
        ["pg_advisory_xact_lock", "CREATE DATABASE", "pg_restore", "ANALYZE", "ALLOW_CONNECTIONS false", "RENAME TO"];
    for kind in kinds {
        assert!(effects.iter().any(|effect| effect.detail.contains(kind)), "{kind}: {effects:#?}");
    }
    assert_eq!(effects.iter().filter(|effect| effect.operation.ends_with("set-scale")).count(), 4, "{effects:#?}");
    let points = effects.iter().flat_map(|effect| Moment::BOTH.map(|moment| (effect, moment)));
    for (effect, moment) in points.skip(part).step_by(PARTS) {
        let point = format!("{moment:?} of {effect}");
        let armed = crashing.crashes.arm(effect.sequence, moment).await.unwrap();
        let run = crashing.queue(&[]).await;
        armed.kill(host, &run).await.unwrap_or_else(|error| panic!("{point}: {error:#}"));
        host = crashing.serve().await;
        let over = crashing.over(&run).await;
        assert_eq!(over["run"]["status"], "unknown", "{point}: {over:#}");
        let new = crashing.holds(&point, &over).await;
        // The lock's outcome is known when it is given back, and those of the swap once it is committed.
        let of_lock = effect.detail.contains("advisory");
        let swapped = match moment {
            Moment::Happened => of_lock || effect.detail.contains("RENAME") || effect.sequence > swap(&effects),
            _ => !of_lock && effect.sequence > swap(&effects) && !effect.detail.starts_with("COMMENT"),
        };
        assert_eq!(new, swapped, "{point}");
        crashing.put_back().await;
        eprintln!("{point}: {}", if new { "new" } else { "old" });
    }
    host.signal(rustix::process::Signal::TERM).unwrap();
    host.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_effect_part_1() {
    killed_at(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_effect_part_2() {
    killed_at(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_effect_part_3() {
    killed_at(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_effect_part_4() {
    killed_at(3).await;
}

/// A session stays, so that nothing is swapped; the host is killed at each effect of what undoes it.
async fn killed_in_the_undo(part: usize) {
    let crashing = Crashing::new(&format!("restore_undo_{part}")).await;
    let stays = crashing.apps.world.live.connect().await.unwrap();
    let mut host = crashing.serve().await;
    let patience = ["-p", "wait_seconds=1"];
    let failing = crashing.queue(&patience).await;
    let over = crashing.over(&failing).await;
    assert_eq!(over["run"]["status"], "failed", "{over:#}");
    assert!(!crashing.holds("failing", &over).await);
    let effects = crashing.crashes.recorded(&failing).await.unwrap();
    let closed = effects.iter().find(|effect| effect.detail.contains("ALLOW_CONNECTIONS false")).unwrap().sequence;
    let undone: Vec<&Effect> = effects.iter().filter(|effect| effect.sequence > closed).collect();
    for kind in ["ALLOW_CONNECTIONS true", "DROP DATABASE"] {
        assert!(undone.iter().any(|effect| effect.detail.contains(kind)), "{kind}: {effects:#?}");
    }
    let points = undone.iter().flat_map(|effect| Moment::BOTH.map(|moment| (*effect, moment)));
    for (effect, moment) in points.skip(part).step_by(UNDO_PARTS) {
        let point = format!("{moment:?} of {effect}");
        let armed = crashing.crashes.arm(effect.sequence, moment).await.unwrap();
        let run = crashing.queue(&patience).await;
        armed.kill(host, &run).await.unwrap_or_else(|error| panic!("{point}: {error:#}"));
        host = crashing.serve().await;
        let over = crashing.over(&run).await;
        assert_eq!(over["run"]["status"], "failed", "{point}: {over:#}");
        assert!(!crashing.holds(&point, &over).await, "{point}");
        eprintln!("{point}: undone");
    }
    drop(stays);
    host.signal(rustix::process::Signal::TERM).unwrap();
    host.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_effect_of_the_undo_part_1() {
    killed_in_the_undo(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_effect_of_the_undo_part_2() {
    killed_in_the_undo(1).await;
}
