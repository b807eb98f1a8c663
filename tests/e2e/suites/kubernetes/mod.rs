//! The cluster, by the probe and the command line: what a plugin can do there, what it cannot, and what happens when the cluster breaks.

mod faults;
mod objects;
mod plans;
mod references;
mod refusals;
mod runs;

use rota_testbed::{Cluster, ClusterAccess, Namespace};
use rota_tests::{Rota, probe};
use serde_json::{Value, json};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// A namespace, and a host whose binding `prod` reaches it.
struct World {
    rota: Rota,
    namespace: Namespace,
}

/// What a run answered.
struct Ran {
    answers: Vec<Value>,
    effects: Vec<Value>,
}

impl World {
    /// With the administrator's login, and further keys of the binding.
    async fn new(name: &str, binding: &str) -> Self {
        Self::of(&Cluster::shared().await.unwrap(), name, binding).await
    }

    async fn of(cluster: &ClusterAccess, name: &str, binding: &str) -> Self {
        let namespace = cluster.namespace(name).await.unwrap();
        let world = Self { rota: crate::rota(), namespace };
        world.bind(cluster.token(), binding);
        world
    }

    /// Log in with a token.
    fn bind(&self, token: &str, binding: &str) {
        let kubeconfig = self.namespace.kubeconfig_for(token).unwrap();
        let toml = format!(
            "[bindings.prod]\nkind = \"kubernetes\"\nkubeconfig = \"file:{}\"\n{binding}\n",
            kubeconfig.display()
        );
        self.rota.configure(&toml).unwrap();
    }

    async fn run(&self, calls: &[Value], flags: &[&str]) -> Ran {
        let mut arguments = vec!["run".to_owned(), probe::path().display().to_string()];
        arguments.extend(probe::arguments("calls", &json!({ "calls": calls })));
        arguments.extend(["--bind", "cluster=prod"].map(str::to_owned));
        arguments.extend(flags.iter().map(ToString::to_string));
        let answer = self.rota.json(&arguments).await.unwrap_or_else(|error| panic!("{error}"));
        let answers = answer["report"]["data"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        assert_eq!(answers.len(), calls.len());
        Ran { answers, effects: answer["effects"].as_array().unwrap().clone() }
    }

    /// With everything granted but the values of Secrets.
    async fn all(&self, calls: &[Value]) -> Vec<Value> {
        self.run(calls, &["--grant", ALL]).await.answers
    }

    async fn plan(&self, calls: &[Value]) -> Ran {
        self.run(calls, &["--plan", "--grant", ALL]).await
    }

    /// An idle pod.
    async fn pod(&self, name: &str) {
        let manifest = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": name } },
            "spec": { "terminationGracePeriodSeconds": 0, "containers": [
                { "name": "main", "image": "busybox:1", "command": ["sh", "-c", "echo begun; exec sleep 600"] }] },
        });
        self.namespace.apply(&manifest.to_string()).await.unwrap();
        self.namespace
            .kubectl(["wait", &format!("pod/{name}"), "--for=condition=Ready", "--timeout=50s"])
            .await
            .unwrap();
    }

    async fn deployment(&self, name: &str, replicas: u32) {
        let manifest = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "labels": { "app": name } },
            "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": name } }, "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "terminationGracePeriodSeconds": 0, "containers": [
                    { "name": "main", "image": "busybox:1", "command": ["sh", "-c", "exec sleep 600"] }] } } },
        });
        self.namespace.apply(&manifest.to_string()).await.unwrap();
        self.namespace.kubectl(["rollout", "status", &format!("deployment/{name}"), "--timeout=50s"]).await.unwrap();
    }

    async fn config_map(&self, name: &str, labels: &str) {
        self.namespace.kubectl(["create", "configmap", name, "--from-literal=a=1"]).await.unwrap();
        if !labels.is_empty() {
            self.namespace.kubectl(["label", "configmap", name, labels]).await.unwrap();
        }
    }
}

const ALL: &str = "cluster=read,write,delete,scale,exec,run";

fn call(function: &str, arguments: Value) -> Value {
    probe::call(&format!("kubernetes.cluster.{function}"), arguments)
}

fn config_map(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "labels": { "app": "web" } }, "data": { "a": "1" } })
}

/// The kinds of errors, `ok` for none.
fn kinds(answers: &[Value]) -> Vec<&str> {
    answers.iter().map(|answer| answer["error"].as_str().unwrap_or("ok")).collect()
}
