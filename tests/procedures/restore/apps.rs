//! Applications down and back.

use super::{SOON, State, World, titles, until};
use rota_testbed::{Cluster, Namespace, eventually};
use serde_json::{Value, json};

/// A world with applications.
pub(super) struct Apps {
    pub(super) world: World,
    pub(super) namespace: Namespace,
    cluster: String,
}

impl Apps {
    pub(super) async fn new(name: &str) -> Self {
        let access = Cluster::shared().await.unwrap();
        let (world, namespace) = tokio::join!(World::new(name), access.namespace("restore"));
        let namespace = namespace.unwrap();
        let kubeconfig = namespace.kubeconfig_for(access.token()).unwrap();
        let toml = format!("[bindings.apps]\nkind = \"kubernetes\"\nkubeconfig = \"file:{}\"\n", kubeconfig.display());
        world.rota.configure(&toml).unwrap();
        Self { world, namespace, cluster: "cluster=apps".to_owned() }
    }

    pub(super) async fn deployment(&self, name: &str, replicas: u32, script: &str) {
        let manifest = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "labels": { "uses": "database" } },
            "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": name } }, "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "terminationGracePeriodSeconds": 0, "containers": [
                    { "name": "main", "image": "postgres:16", "command": ["sh", "-c", script],
                      "env": [{ "name": "URL", "value": self.world.live.url() }] }] } } },
        });
        self.namespace.apply(&manifest.to_string()).await.unwrap();
        self.namespace.kubectl(["rollout", "status", &format!("deployment/{name}"), "--timeout=50s"]).await.unwrap();
    }

    /// How many replicas it wants.
    pub(super) async fn wants(&self, name: &str) -> i64 {
        self.namespace.get("deployment", name).await.unwrap()["spec"]["replicas"].as_i64().unwrap()
    }

    fn more<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut all = vec!["--bind", &self.cluster];
        all.extend(more);
        all
    }

    async fn is(&self, name: &str, replicas: i64) {
        eventually(SOON, &format!("{name} to want {replicas}"), async || {
            let found = self.wants(name).await;
            anyhow::ensure!(found == replicas, "it wants {found}");
            Ok(Some(()))
        })
        .await
        .unwrap();
    }
}

/// Holds a session in the live database for as long as it lives, and comes back when it is ended.
/// (Idle between statements, so that the server sees at once that its client is gone.)
const USES: &str = "while true; do while true; do echo 'select 1;'; sleep 0.2; done | psql \"$URL\" -X -q -o /dev/null; sleep 0.1; done";
pub(super) const IDLE: &str = "exec sleep 600";

fn deployments(said: &Value) -> Vec<(String, Option<u64>, Option<u64>)> {
    let all = said["report"]["data"]["deployments"].as_array().unwrap();
    let name = |app: &Value| app["deployment"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    all.iter().map(|app| (name(app), app["before"].as_u64(), app["after"].as_u64())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_deployments_come_back_at_their_own_numbers_and_an_autoscaler_is_left_in_peace() {
    let apps = Apps::new("restore_apps").await;
    let uses = "select exists (select from pg_stat_activity where datname = $1 and application_name = 'psql')";
    tokio::join!(
        apps.deployment("api", 2, USES),
        apps.deployment("worker", 3, IDLE),
        apps.deployment("other", 1, IDLE)
    );
    until(&apps.world.server, "the application to use the database", uses, apps.world.live.name()).await;
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "worker" },
        "spec": { "minReplicas": 2, "maxReplicas": 5, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "worker" } },
    });
    apps.namespace.apply(&autoscaler.to_string()).await.unwrap();
    let api = format!("deployments=[\"{}/api\"]", apps.namespace.name());
    let said = apps.world.restored(&apps.more(&["-p", &api, "-p", "selector=app!=other,uses=database"])).await;
    // `other` has the labels too; only names and labels decide.
    assert_eq!(
        deployments(&said),
        [
            ("api".to_owned(), Some(2), Some(2)),
            ("other".to_owned(), Some(1), Some(1)),
            ("worker".to_owned(), Some(3), Some(3))
        ],
        "{said:#}"
    );
    let worker = &said["report"]["data"]["deployments"][2];
    assert_eq!(worker["autoscaler"], json!({ "name": "worker", "min": 2, "max": 5 }), "{worker}");
    for (name, replicas) in [("api", 2), ("worker", 3), ("other", 1)] {
        apps.is(name, replicas).await;
    }
    assert_eq!(State::of(&apps.world.live).await, State::backed_up());
    until(&apps.world.server, "the application to use the restored database", uses, apps.world.live.name()).await;
    assert_eq!(said["report"]["data"]["sessions_ended"], json!([]), "they went with their pods");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_pod_tells_what_is_free() {
    let apps = Apps::new("restore_df").await;
    apps.deployment("db", 1, IDLE).await;
    let pods = apps.namespace.kubectl(["get", "pods", "--output=jsonpath={.items[0].metadata.name}"]).await.unwrap();
    let pod = format!("server_pod={}/{}", apps.namespace.name(), pods.trim());
    let said = apps.world.restored(&apps.more(&["-p", &pod, "-p", "only_beside=true"])).await;
    let disk = &said["report"]["data"]["disk"];
    // What the machine's own df says, give or take what others write meanwhile.
    assert!(disk["how"].as_str().unwrap().starts_with("df in pod"), "{disk}");
    assert!(disk["free"].as_u64().unwrap() > 1 << 20 && disk["needed"].as_u64().unwrap() > 1 << 20, "{disk}");
    let nobody = format!("server_pod={}/nobody", apps.namespace.name());
    let (why, _) = apps.world.failed(&apps.more(&["-p", &nobody, "-p", "only_beside=true"])).await;
    assert!(why.contains("asking for the free space"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_scales_meanwhile_is_told_and_left() {
    let apps = Apps::new("restore_others").await;
    tokio::join!(apps.deployment("api", 1, IDLE), apps.deployment("worker", 2, IDLE));
    let stays = apps.world.live.connect().await.unwrap();
    let running = {
        let mut command = vec!["run".to_owned(), "postgres-restore".to_owned()];
        command.extend(apps.world.arguments(&apps.more(&["-p", "selector=uses=database", "--output", "json"])));
        apps.world.rota.start(&command).unwrap()
    };
    let closed = "select exists (select from pg_database where datname = $1 and not datallowconn)";
    until(&apps.world.server, "connections to be refused", closed, apps.world.live.name()).await;
    assert_eq!((apps.wants("api").await, apps.wants("worker").await), (0, 0));
    let refused = apps.world.live.connect().await.unwrap_err();
    assert!(format!("{refused:#}").contains("not currently accepting connections"), "{refused:#}");
    apps.namespace.kubectl(["scale", "deployment/worker", "--replicas=4"]).await.unwrap();
    drop(stays);
    let said = running.end().await.unwrap();
    let said = said.json().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(said["run"]["status"], "succeeded", "{said:#}");
    assert_eq!(
        deployments(&said),
        [("api".to_owned(), Some(1), Some(1)), ("worker".to_owned(), Some(2), Some(4))],
        "{said:#}"
    );
    assert!(titles(&said).iter().any(|title| title.contains("worker: somebody scaled it to 4 meanwhile")), "{said:#}");
    apps.is("api", 1).await;
    apps.is("worker", 4).await;
    assert_eq!(State::of(&apps.world.live).await, State::backed_up());
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_stay_are_named_nothing_is_swapped_and_the_applications_come_back() {
    let apps = Apps::new("restore_stays").await;
    apps.deployment("api", 2, IDLE).await;
    let mut stays = apps.world.live.connect().await.unwrap();
    sqlx::query("set application_name = 'somebody at work'").execute(&mut stays).await.unwrap();
    let (why, said) = apps.world.failed(&apps.more(&["-p", "selector=uses=database", "-p", "wait_seconds=1"])).await;
    assert!(why.contains("is used by 1 session(s) of others") && why.contains("somebody at work"), "{why}");
    let operations: Vec<&str> =
        said["effects"].as_array().unwrap().iter().map(|e| e["operation"].as_str().unwrap()).collect();
    assert!(operations.contains(&"kubernetes.set-scale"), "it had been scaled down: {operations:?}");
    apps.is("api", 2).await;
    sqlx::query("select 1").execute(&mut stays).await.unwrap();
    apps.world.is_untouched().await;
    // A deployment that is not there is refused before anything is done.
    let (why, said) = apps.world.failed(&apps.more(&["-p", "deployments=[\"nobody\"]"])).await;
    assert!(why.contains("nobody does not exist"), "{why}");
    assert_eq!(said["effects"].as_array().unwrap().len(), 0, "{said:#}");
    let (why, _) = apps.world.failed(&apps.more(&[])).await;
    assert!(why.contains("no deployment is named"), "{why}");
}
