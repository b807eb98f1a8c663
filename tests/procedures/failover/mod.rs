//! A standby promoted behind its Service: a real primary and standbys as pods, real endpoints. What is asserted is what kubectl and the servers say.

mod crash;
mod down;
mod planned;
mod refused;

use rota_testbed::{Cluster, Namespace, PostgresPod, PostgresPods, PostgresVersion, eventually};
use rota_tests::Rota;
use serde_json::{Value, json};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// A namespace with a primary, its standbys and a deployment, and a host whose bindings reach them.
struct World {
    rota: Rota,
    namespace: Namespace,
    pods: PostgresPods,
    toml: String,
}

impl World {
    async fn new(name: &str, version: PostgresVersion, standbys: usize) -> Self {
        Self::with(crate::rota(), name, version, standbys, "").await
    }

    /// With more configuration; in it, the bindings are `primary`, `replica`, `replica2` and `prod`.
    async fn with(mut rota: Rota, name: &str, version: PostgresVersion, standbys: usize, more: &str) -> Self {
        let namespace = Cluster::shared().await.unwrap().namespace(name).await.unwrap();
        let pods = PostgresPods::start(&namespace, version, standbys).await.unwrap();
        // A key beside the pod's name: what a strategic patch would have kept.
        let selector = json!({ "spec": { "selector": { "instance": "postgres" } } }).to_string();
        namespace.kubectl(["patch", "service", PostgresPods::SERVICE, "--patch", &selector]).await.unwrap();
        let kubeconfig = namespace.kubeconfig_for(namespace.cluster().token()).unwrap();
        let mut toml = format!(
            "{more}\n[bindings.prod]\nkind = \"kubernetes\"\ncluster_scoped = true\nkubeconfig = \"file:{}\"\n\
             [bindings.primary]\nkind = \"sql\"\nurl = \"env:PRIMARY_URL\"\nconnect_timeout = \"2s\"\n",
            kubeconfig.display()
        );
        rota.set("PRIMARY_URL", pods.primary.pod_url(&namespace, "postgres").await.unwrap());
        for (place, standby) in pods.standbys.iter().enumerate() {
            let name = if place == 0 { "replica".to_owned() } else { format!("replica{}", place + 1) };
            rota.set(format!("{}_URL", name.to_uppercase()), standby.pod_url(&namespace, "postgres").await.unwrap());
            toml.push_str(&format!(
                "[bindings.{name}]\nkind = \"sql\"\nurl = \"env:{}_URL\"\nconnect_timeout = \"5s\"\n",
                name.to_uppercase()
            ));
        }
        rota.configure(&toml).unwrap();
        Self { rota, namespace, pods, toml }
    }

    /// Another host, of somebody else: it shares nothing with ours but what it reaches.
    async fn another_host(&self) -> Rota {
        let mut rota = crate::rota();
        rota.set("PRIMARY_URL", self.pods.primary.pod_url(&self.namespace, "postgres").await.unwrap());
        rota.set("REPLICA_URL", self.standby().pod_url(&self.namespace, "postgres").await.unwrap());
        rota.configure(&self.toml).unwrap();
        rota
    }

    /// `rota run PROCEDURE`, with looks a second apart; what it answers, whatever its status.
    async fn run(&self, procedure: &str, flags: &[&str]) -> (Option<i32>, Value) {
        run_on(&self.rota, procedure, flags).await
    }

    async fn selector(&self) -> Value {
        self.namespace.get("service", PostgresPods::SERVICE).await.unwrap()["spec"]["selector"].clone()
    }

    async fn replicas(&self, kind: &str, name: &str) -> i64 {
        self.namespace.get(kind, name).await.unwrap()["spec"]["replicas"].as_i64().unwrap()
    }

    fn standby(&self) -> &PostgresPod {
        &self.pods.standbys[0]
    }

    /// Waits until the Service sends clients to these pods.
    async fn serves(&self, wanted: &[&str]) {
        eventually(DEADLINE, "the Service's endpoints", async || {
            Ok((self.pods.endpoints(&self.namespace).await? == wanted).then_some(()))
        })
        .await
        .unwrap();
    }

    /// Nothing was promoted, moved or stopped.
    async fn is_as_before(&self) {
        assert_eq!(self.selector().await, old_selector());
        assert_eq!(self.replicas("statefulset", "postgres").await, 1);
        for standby in &self.pods.standbys {
            assert!(standby.in_recovery().await.unwrap());
        }
    }

    async fn deployment(&self, name: &str, replicas: u32) {
        let labels = json!({ "app": name, "uses": "postgres" });
        let manifest = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "labels": labels },
            "spec": { "replicas": replicas, "selector": { "matchLabels": labels }, "template": {
                "metadata": { "labels": labels },
                "spec": { "terminationGracePeriodSeconds": 0, "containers": [
                    { "name": "main", "image": "busybox:1", "command": ["sh", "-c", "exec sleep 600"] }] } } },
        });
        self.namespace.apply(&manifest.to_string()).await.unwrap();
        self.namespace.kubectl(["rollout", "status", &format!("deployment/{name}"), "--timeout=50s"]).await.unwrap();
    }

    /// The old primary neither runs nor would be started, and the standby is behind the Service, alone, and takes writes.
    async fn has_failed_over_to(&self, chosen: &PostgresPod) {
        assert_eq!(
            self.selector().await,
            json!({ "statefulset.kubernetes.io/pod-name": chosen.pod() }),
            "no old key stays"
        );
        assert_eq!(self.pods.endpoints(&self.namespace).await.unwrap(), [chosen.pod()]);
        assert!(!chosen.in_recovery().await.unwrap());
        chosen.execute("postgres", "create table if not exists after_failover (n int)").await.unwrap();
        assert_eq!(self.replicas("statefulset", "postgres").await, 0);
        assert!(!self.pods.primary.is_running());
        assert!(self.namespace.get("pod", &self.pods.primary.pod()).await.is_err(), "the old pod is gone");
    }
}

/// `rota run PROCEDURE` on a host, with looks a second apart.
async fn run_on(rota: &Rota, procedure: &str, flags: &[&str]) -> (Option<i32>, Value) {
    let word = if procedure == "postgres-failover" { "FAILOVER" } else { "SWITCHOVER" };
    let mut arguments = vec![
        "--bind",
        "database=primary",
        "--bind",
        "standby=replica",
        "--bind",
        "cluster=prod",
        "--grant",
        "declared",
        "--confirm",
        word,
    ];
    if procedure == "postgres-failover" && !flags.iter().any(|flag| flag.starts_with("look_interval")) {
        arguments.extend(["-p", "look_interval_seconds=1"]);
    }
    arguments.extend(flags);
    crate::run(rota, procedure, &arguments).await
}

fn old_selector() -> Value {
    json!({ "statefulset.kubernetes.io/pod-name": "postgres-0", "instance": "postgres" })
}

/// What a run that failed says, with its hint and its report.
fn said(answer: &Value) -> String {
    answer.to_string()
}
