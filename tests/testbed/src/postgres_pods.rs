//! A primary and its standbys as pods of the tests' Kubernetes, each a StatefulSet of its own behind one Service, as the runbook has them.

use std::ops::Deref;
use std::time::Duration;

use anyhow::Context;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cluster_access::Namespace;
use crate::postgres::{PostgresVersion, init_cluster};
use crate::postgres_access::PostgresAccess;
use crate::server::Folder;
use crate::standby::base_backup;
use crate::tools::{free_port, random_secret};
use crate::wait::eventually;

/// How long a pod may take to be ready, on a machine that is busy with other things.
const READY: Duration = Duration::from_secs(60);

/// While this file is in a pod's folder, its container runs and the server in it does not.
const DOWN: &str = "down";

/// The container's command: the server, on the pod's own address and on 127.0.0.1 (its address there is the same after a restart),
/// unless it is to be down. `exec`, so that it is the container's first process.
const COMMAND: &str = r#"while [ -e "$FOLDER/down" ]; do sleep 0.1; done
exec postgres -D "$PGDATA" -p "$PGPORT" -c listen_addresses="$ROTA_POD_IP,127.0.0.1""#;

/// A PostgreSQL server that runs in a pod. It derefs to how the test reaches it, past the Service, on 127.0.0.1.
#[derive(Debug)]
pub struct PostgresPod {
    access: PostgresAccess,
    stateful_set: String,
    namespace: String,
    folder: Folder,
}

impl Deref for PostgresPod {
    type Target = PostgresAccess;

    fn deref(&self) -> &PostgresAccess {
        &self.access
    }
}

impl PostgresPod {
    /// Its StatefulSet, of one replica.
    #[must_use]
    pub fn stateful_set(&self) -> &str {
        &self.stateful_set
    }

    /// Its pod.
    #[must_use]
    pub fn pod(&self) -> String {
        format!("{}-0", self.stateful_set)
    }

    /// The folder of its cluster (PGDATA).
    #[must_use]
    pub fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// Kills the server as a crash would, and keeps it down: its container goes on, and is not ready.
    ///
    /// # Errors
    /// When its folder cannot be written to.
    pub fn crash(&self) -> anyhow::Result<()> {
        std::fs::write(self.folder.path().join(DOWN), "")?;
        self.folder.kill();
        Ok(())
    }

    /// Lets a server that was crashed be started again, where its pod still is; otherwise with its pod.
    ///
    /// # Errors
    /// When its folder cannot be written to.
    pub fn mend(&self) -> anyhow::Result<()> {
        match std::fs::remove_file(self.folder.path().join(DOWN)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Stops every process of the server where it is (SIGSTOP): it accepts connections and answers nothing.
    pub fn pause(&self) {
        self.folder.signal(Signal::STOP);
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        self.folder.signal(Signal::CONT);
    }

    /// Whether any process of the server is there.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.folder.processes().is_empty()
    }

    /// The URL of a database for the superuser, on the pod's own address.
    ///
    /// # Errors
    /// When there is no such pod, or it has no address yet.
    pub async fn pod_url(&self, namespace: &Namespace, database: &str) -> anyhow::Result<String> {
        let pod = namespace.get("pod", &self.pod()).await?;
        let address = pod["status"]["podIP"].as_str().context("the pod has no address")?;
        Ok(self.url(database).replace("@127.0.0.1:", &format!("@{address}:")))
    }

    fn manifest(&self) -> Value {
        let labels = json!({ "app": "postgres", "instance": self.stateful_set });
        let path = self.folder.path().display().to_string();
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": { "name": self.stateful_set, "namespace": self.namespace, "labels": labels },
            "spec": {
                "replicas": 1, "serviceName": self.stateful_set, "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "securityContext": { "runAsUser": 999 },
                    "containers": [{
                        "name": "postgres", "image": format!("postgres:{}", self.version().major()), "command": ["sh", "-c", COMMAND],
                        "env": [
                            { "name": "FOLDER", "value": path },
                            { "name": "PGDATA", "value": format!("{path}/data") },
                            { "name": "PGPORT", "value": self.port().to_string() },
                        ],
                        "ports": [{ "name": "postgres", "containerPort": self.port() }],
                        "readinessProbe": {
                            "exec": { "command": ["sh", "-c", "pg_isready --host=127.0.0.1 --timeout=1"] },
                            "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 2,
                        },
                        // What the official image has as its stop signal: SIGTERM alone would wait for every client to leave.
                        "lifecycle": { "preStop": { "exec": { "command": ["sh", "-c", "pg_ctl stop --mode=fast --pgdata=\"$PGDATA\" || :"] } } },
                    }],
                } },
            },
        })
    }
}

/// A primary and its streaming standbys in pods, behind a Service that selects the primary's pod by its name.
///
/// The StatefulSets are `postgres`, `postgres-replica`, `postgres-replica-2` ...; the Service is `postgres-primary`. Their data are in folders of the machine,
/// so that a pod that comes back has what it had. They go with the namespace and with this value.
#[derive(Debug)]
pub struct PostgresPods {
    /// The primary.
    pub primary: PostgresPod,
    /// Its standbys.
    pub standbys: Vec<PostgresPod>,
}

impl PostgresPods {
    /// The Service through which clients reach the primary.
    pub const SERVICE: &'static str = "postgres-primary";

    /// Starts a primary and so many standbys in a namespace, and waits until they stream.
    ///
    /// # Errors
    /// When a pod is not ready, or a standby does not stream, in a minute.
    pub async fn start(namespace: &Namespace, version: PostgresVersion, standbys: usize) -> anyhow::Result<Self> {
        let password = random_secret()?;
        let pod = |name: String| -> anyhow::Result<PostgresPod> {
            Ok(PostgresPod {
                access: PostgresAccess::new(version, free_port()?, password.clone()),
                stateful_set: name,
                namespace: namespace.name().to_owned(),
                folder: Folder::create("postgres-pod", None)?,
            })
        };
        let programs = version.programs()?;
        let primary = pod("postgres".to_owned())?;
        init_cluster(&programs, primary.folder.path(), &password, &[]).await?;
        let rules = primary.folder.path().join("data/pg_hba.conf");
        let mut text = tokio::fs::read_to_string(&rules).await?;
        text.push_str("host all all all scram-sha-256\nhost replication all all scram-sha-256\n");
        tokio::fs::write(&rules, text).await?;
        namespace.apply(&primary.manifest().to_string()).await?;
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": Self::SERVICE, "namespace": namespace.name() },
            "spec": {
                "selector": { "statefulset.kubernetes.io/pod-name": primary.pod() },
                "ports": [{ "name": "postgres", "port": 5432, "targetPort": "postgres" }],
            },
        });
        namespace.apply(&service.to_string()).await?;
        ready(namespace, &primary).await?;
        let mut all = Vec::new();
        for number in 1..=standbys {
            let name = if number == 1 { "postgres-replica".to_owned() } else { format!("postgres-replica-{number}") };
            let standby = pod(name)?;
            let slot = format!("standby_{number}");
            base_backup(&programs, standby.folder.path(), primary.port(), &password, &slot).await?;
            namespace.apply(&standby.manifest().to_string()).await?;
            all.push(standby);
        }
        for standby in &all {
            ready(namespace, standby).await?;
            standby.streams().await?;
        }
        Ok(Self { primary, standbys: all })
    }

    /// After a failover to the first standby: the old primary is rebuilt as a standby of the new one, the two change places here, and the Service selects the new
    /// primary by these labels.
    ///
    /// # Errors
    /// When the old primary still runs, or does not stream in a minute.
    pub async fn swap(&mut self, namespace: &Namespace, selector: &Value) -> anyhow::Result<()> {
        let standby = self.standbys.first_mut().context("there is no standby")?;
        std::mem::swap(&mut self.primary, standby);
        let (primary, standby) = (&self.primary, &*standby);
        anyhow::ensure!(!standby.is_running(), "the old primary runs");
        let data = standby.folder.path().join("data");
        if data.exists() {
            tokio::fs::remove_dir_all(&data).await?;
        }
        standby.mend()?;
        let slot = format!("standby_{}", &random_secret()?[..12].to_lowercase());
        let programs = primary.version().programs()?;
        base_backup(&programs, standby.folder.path(), primary.port(), primary.password(), &slot).await?;
        namespace.kubectl(["scale", "statefulset", &standby.stateful_set, "--replicas=1"]).await?;
        let patch = json!([{ "op": "replace", "path": "/spec/selector", "value": selector }]).to_string();
        namespace.kubectl(["patch", "service", Self::SERVICE, "--type=json", "--patch", &patch]).await?;
        ready(namespace, standby).await?;
        standby.streams().await
    }

    /// The pods that the Service's EndpointSlices send clients to.
    ///
    /// # Errors
    /// When the cluster is away.
    pub async fn endpoints(&self, namespace: &Namespace) -> anyhow::Result<Vec<String>> {
        let selector = format!("--selector=kubernetes.io/service-name={}", Self::SERVICE);
        let text = namespace.kubectl(["get", "endpointslices", &selector, "--output=json"]).await?;
        let slices: Value = serde_json::from_str(&text)?;
        let mut pods: Vec<String> = slices["items"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default())
            .filter(|endpoint| endpoint["conditions"]["ready"] == true)
            .filter_map(|endpoint| endpoint["targetRef"]["name"].as_str().map(str::to_owned))
            .collect();
        pods.sort();
        pods.dedup();
        Ok(pods)
    }
}

async fn ready(namespace: &Namespace, pod: &PostgresPod) -> anyhow::Result<()> {
    eventually(READY, "a PostgreSQL pod that is ready", async || {
        let object = namespace.get("pod", &pod.pod()).await?;
        let ready = object["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        Ok(ready.then_some(()))
    })
    .await
}
