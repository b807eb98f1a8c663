//! The host is killed before and after every effect of a failover, as the record of a whole one enumerates them; then another host goes on, or the run is cancelled first
//! and its undo goes on. Seen from outside: the Service points to a server whose promotion was verified, or to what it pointed to; the applications have the replicas
//! that they had; and there are never two primaries.

use super::{DEADLINE, World};
use rota_testbed::{Postgres, PostgresVersion, eventually};
use rota_tests::Running;
use rota_tests::crash::{Crashes, Effect, Moment};
use serde_json::{Value, json};

const SERVER: &str = r#"
[server]
listen = "127.0.0.1:0"
lease = "2s"
poll = "100ms"
[store]
url = "env:STORE_URL"
[jobs.failover]
plugin = "postgres-failover"
confirm = "FAILOVER"
parameters = { looks = 2, look_interval_seconds = 1, applications = ["zeus"] }
slots.database = { binding = "primary", access = ["read"] }
slots.standby = { binding = "replica", access = ["read", "promote", "write", "ddl"] }
slots.cluster = { binding = "prod", access = ["read", "write", "scale"] }
undo = { attempts = 5, backoff = "200ms" }
"#;

/// What is done about a run whose host was killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    GoOn,
    Cancel,
}

struct Killed {
    world: World,
    crashes: Crashes,
}

impl Killed {
    async fn new(name: &str) -> Self {
        let store = Postgres::shared().await.unwrap().fresh_database(&format!("{name}_store")).await.unwrap();
        let crashes = Crashes::over(store);
        let mut rota = crate::rota();
        rota.set("STORE_URL", crashes.url());
        let world = World::with(rota, name, PostgresVersion::V16, 1, SERVER).await;
        world.deployment("zeus", 2).await;
        Self { world, crashes }
    }

    async fn serve(&self) -> Running {
        let mut running = self.world.rota.start(&["serve"]).unwrap();
        running.says("serving as").await.unwrap();
        running
    }

    async fn queue(&self) -> String {
        let run = self.world.rota.json(&["jobs", "run", "failover"]).await.unwrap();
        run["id"].as_str().unwrap().to_owned()
    }

    async fn over(&self, run: &str) -> Value {
        eventually(DEADLINE, &format!("the end of run {run}"), async || {
            let shown = self.world.rota.json(&["runs", "show", run]).await?;
            let status = shown["run"]["status"].as_str().unwrap_or_default().to_owned();
            let under_way = ["queued", "running", "compensating"].contains(&status.as_str());
            Ok((!under_way).then_some(shown))
        })
        .await
        .unwrap()
    }

    /// The primary goes down.
    async fn break_down(&self) {
        self.world.pods.primary.crash().unwrap();
        self.world.serves(&[]).await;
    }

    /// The old primary becomes a standby of the new one, and the bindings lead to where the two are now.
    async fn swap(&mut self) {
        let new = self.world.standby().stateful_set().to_owned();
        let selector = json!({ "statefulset.kubernetes.io/pod-name": format!("{new}-0"), "instance": new });
        self.world.pods.swap(&self.world.namespace, &selector).await.unwrap();
        self.rebind().await;
    }

    async fn rebind(&mut self) {
        let World { rota, namespace, pods, .. } = &mut self.world;
        rota.set("PRIMARY_URL", pods.primary.pod_url(namespace, "postgres").await.unwrap());
        rota.set("REPLICA_URL", pods.standbys[0].pod_url(namespace, "postgres").await.unwrap());
    }

    /// Whether it was failed over. Anything between the two is a failure of the test.
    async fn is_settled(&self, point: &str) -> bool {
        let (primary, standby) = (&self.world.pods.primary, self.world.standby());
        let selector = self.world.selector().await;
        let promoted = !standby.in_recovery().await.unwrap();
        let old = self.world.replicas("statefulset", primary.stateful_set()).await;
        if promoted {
            assert_eq!(selector, json!({ "statefulset.kubernetes.io/pod-name": standby.pod() }), "{point}");
            assert_eq!(old, 0, "{point}: the old primary could start");
            assert!(!primary.is_running(), "{point}: two primaries");
            standby.execute("postgres", "create table if not exists written (n int)").await.unwrap();
            self.world.serves(&[&standby.pod()]).await;
        } else {
            let before =
                json!({ "statefulset.kubernetes.io/pod-name": primary.pod(), "instance": primary.stateful_set() });
            assert_eq!(selector, before, "{point}: the Service was moved without a promotion");
            assert_eq!(old, 1, "{point}: the old primary was not given back");
        }
        assert_eq!(self.world.replicas("deployment", "zeus").await, 2, "{point}");
        promoted
    }

    /// The state from which the next point begins.
    async fn restore(&mut self, failed_over: bool) {
        if failed_over {
            self.swap().await;
            return;
        }
        self.world.pods.primary.mend().unwrap();
        let pod = self.world.pods.primary.pod();
        self.world.serves(&[&pod]).await;
        self.world.standby().streams().await.unwrap();
        self.rebind().await;
    }

    /// One run that nobody kills, and its effects.
    async fn whole(&mut self) -> Vec<Effect> {
        self.break_down().await;
        let host = self.serve().await;
        let run = self.queue().await;
        let over = self.over(&run).await;
        assert_eq!(over["run"]["status"], "succeeded", "{over:#}");
        host.signal(rustix::process::Signal::TERM).unwrap();
        host.end().await.unwrap();
        assert!(self.is_settled("nobody was killed").await);
        self.restore(true).await;
        self.crashes.recorded(&run).await.unwrap()
    }

    async fn kill_at(&mut self, effect: &Effect, moment: Moment, then: Then) {
        let point = format!("{moment:?} of {effect}, then {then:?}");
        self.break_down().await;
        let host = self.serve().await;
        let armed = self.crashes.arm(effect.sequence, moment).await.unwrap();
        let run = self.queue().await;
        armed.kill(host, &run).await.unwrap();
        if then == Then::Cancel {
            let said = self.world.rota.run(&["runs", "cancel", &run]).await.unwrap();
            assert_eq!(said.status, Some(0), "{point}: {said:?}");
        }
        let next = self.serve().await;
        let over = self.over(&run).await;
        let wanted = if then == Then::GoOn { "succeeded" } else { "cancelled" };
        assert_eq!(over["run"]["status"], wanted, "{point}: {over:#}");
        let failed_over = self.is_settled(&point).await;
        if then == Then::GoOn {
            assert!(failed_over, "{point}");
        }
        // Before the point of no return it is as it was; after it, it is finished.
        if then == Then::Cancel && effect.operation == "kubernetes.set-scale" {
            assert!(!failed_over, "{point}: it was cancelled before anything was promoted");
        }
        next.signal(rustix::process::Signal::TERM).unwrap();
        next.end().await.unwrap();
        self.restore(failed_over).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_killed_before_any_effect_is_followed_by_one_that_goes_on() {
    let mut killed = Killed::new("killed-before").await;
    let effects = killed.whole().await;
    let operations: Vec<&str> = effects.iter().map(|effect| effect.operation.as_str()).collect();
    for needed in ["kubernetes.lock", "kubernetes.set-scale", "sql.promote", "kubernetes.patch", "kubernetes.restart"] {
        assert!(operations.contains(&needed), "{needed}: {operations:?}");
    }
    for effect in effects {
        killed.kill_at(&effect, Moment::Recorded, Then::GoOn).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_killed_after_any_effect_is_followed_by_one_that_goes_on() {
    let mut killed = Killed::new("killed-after").await;
    for effect in killed.whole().await {
        killed.kill_at(&effect, Moment::Happened, Then::GoOn).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cancelled_after_its_host_was_killed_before_an_effect_is_as_before_or_finished() {
    cancelled("cancelled-before", Moment::Recorded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cancelled_after_its_host_was_killed_after_an_effect_is_as_before_or_finished() {
    cancelled("cancelled-after", Moment::Happened).await;
}

async fn cancelled(name: &str, moment: Moment) {
    let mut killed = Killed::new(name).await;
    let effects = killed.whole().await;
    for operation in ["kubernetes.set-scale", "sql.promote", "kubernetes.patch"] {
        let effect = effects.iter().find(|effect| effect.operation == operation).unwrap();
        killed.kill_at(effect, moment, Then::Cancel).await;
    }
}
