//! Jobs: one pod that runs one command once; its log is the output, and the job is gone when it has ended.

use crate::client::Client;
use crate::error::{clean, fault};
use crate::host::kubernetes::{DeleteOptions, Job, LogOptions, Propagation};
use crate::output::{Reports, Running, said};
use crate::reach::Place;
use crate::request::{Call, segment};
use crate::write::Change;
use rota_authority::{Kubernetes, Permit};
use rota_capability::{ChildEnded, ChildStatus};
use rota_contract::Error;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// How often a pod is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long the cluster keeps a job that has ended, should this host be gone.
const KEPT: u32 = 300;
/// How long the cluster may take, after the job's own deadline, to say that it is over.
const GRACE: Duration = Duration::from_secs(60);
/// The reason of a job that its own deadline ended.
const DEADLINE: &str = "DeadlineExceeded";
/// The name of the one container.
const CONTAINER: &str = "main";

/// A name of the job's own: what the guest calls it, and a part that no other job has.
pub(crate) fn name_of(job: &Job) -> Result<String, Error> {
    let name = segment("the job", &job.name)?;
    if name.len() > 40 {
        return Err(Error::InvalidArgument("the name of a job has at most 40 characters".into()));
    }
    let unique = uuid::Uuid::new_v4().simple().to_string();
    Ok(format!("{name}-{}", &unique[..10]))
}

fn job_name(job: &Place) -> String {
    format!("job {}/{}", job.namespace, job.name)
}

/// The job's manifest.
pub(crate) fn manifest(place: &Place, job: &Job, run: &str) -> Result<Value, Error> {
    let digest = job.image.rsplit_once("@sha256:").map_or("", |(_, digest)| digest);
    if digest.len() != 64 || !digest.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(Error::InvalidArgument(
            "the image of a job is pinned by its digest, as registry/name@sha256:... (`crane digest` tells it)".into(),
        ));
    }
    let mut variables: Vec<Value> =
        job.variables.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    variables.extend(job.secret_variables.iter().map(
        |one| json!({ "name": one.name, "valueFrom": { "secretKeyRef": { "name": one.secret, "key": one.key } } }),
    ));
    let mut container = json!({
        "name": CONTAINER, "image": job.image, "command": job.words, "env": variables,
        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
    });
    let mut resources = json!({});
    if let Some(memory) = &job.memory {
        resources["requests"]["memory"] = memory.clone().into();
        resources["limits"]["memory"] = memory.clone().into();
    }
    if let Some(cpu) = &job.cpu {
        resources["requests"]["cpu"] = cpu.clone().into();
    }
    container["resources"] = resources;
    let mut pod = json!({ "restartPolicy": "Never", "automountServiceAccountToken": false, "containers": [container] });
    if let Some(account) = &job.service_account {
        pod["serviceAccountName"] = account.clone().into();
    }
    let labels = json!({ "app.kubernetes.io/managed-by": "rota", "rota/run": run });
    Ok(json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": { "name": place.name, "namespace": place.namespace, "labels": labels },
        "spec": {
            "backoffLimit": 0, "completions": 1, "parallelism": 1,
            "activeDeadlineSeconds": job.deadline_seconds.max(1), "ttlSecondsAfterFinished": KEPT,
            "template": { "metadata": { "labels": labels }, "spec": pod },
        },
    }))
}

impl Client {
    /// Make a job, and stay with it.
    pub(crate) async fn run_job(
        &self,
        permit: Permit<Kubernetes>,
        change: Change,
        deadline: Duration,
    ) -> Result<Running, Error> {
        let place = change.place.clone();
        match self.make(&permit, &change).await {
            Err(error) => permit.conclude(Err(error), |_: &Running| String::new()).await,
            Ok(_) => {
                let client = self.clone();
                let what = job_name(&place);
                let removal = Removal::of(self.clone(), place.clone());
                Ok(Running::start_stoppable(what, move |reports, stop| async move {
                    let result = client.stay(&place, deadline, removal, &reports, stop.notified()).await;
                    reports.end(permit.conclude(result, said).await);
                }))
            }
        }
    }

    /// Stay with a job until it has ended, is stopped, or the cluster does not end it at its deadline; then it is removed.
    pub(crate) async fn stay(
        &self,
        job: &Place,
        deadline: Duration,
        removal: Removal,
        reports: &Reports,
        stopped: impl Future<Output = ()>,
    ) -> Result<ChildEnded, Error> {
        let ended = tokio::select! {
            ended = self.attend_job(job, reports) => ended,
            () = stopped => Ok(ChildEnded { status: ChildStatus::Signal(9), stderr: String::new() }),
            () = tokio::time::sleep(deadline + GRACE) => {
                Err(Error::TimedOut(format!("{}: its deadline is over", job_name(job))))
            }
        };
        removal.now().await;
        ended
    }

    async fn attend_job(&self, job: &Place, reports: &Reports) -> Result<ChildEnded, Error> {
        let mut logged = false;
        loop {
            let pod = self.pod_of(job).await?;
            let state =
                pod.as_ref().map(|pod| pod["status"]["containerStatuses"][0]["state"].clone()).unwrap_or_default();
            let begun = state["running"].is_object() || state["terminated"].is_object();
            if let (Some(pod), true, false) = (&pod, begun, logged) {
                logged = true;
                self.follow(job, pod, reports).await?;
                continue;
            }
            if let Some(code) = state["terminated"]["exitCode"].as_i64() {
                // Killed for its job's deadline, it says nothing of that; the job does, before its pods end.
                if code != 0
                    && let Some(why) = self.failing(job).await?
                    && why.starts_with(DEADLINE)
                {
                    return Err(fault("job-failed", format!("{}: {why}", job_name(job)), false));
                }
                let why = clean(state["terminated"]["message"].as_str().unwrap_or_default());
                let status = ChildStatus::Code(i32::try_from(code).unwrap_or(255));
                return Ok(ChildEnded { status, stderr: why });
            }
            if let Some(why) = self.given_up(job, pod.as_ref()).await? {
                return Err(fault("job-failed", format!("{}: {why}", job_name(job)), false));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn pod_of(&self, job: &Place) -> Result<Option<Value>, Error> {
        let what = format!("looking for the pod of job {}", job.name);
        let path = format!("/api/v1/namespaces/{}/pods", job.namespace);
        let selector = format!("batch.kubernetes.io/job-name={}", job.name);
        let mut list = self.requests.json(Call::get(&what, &path, &[("labelSelector", &selector)])).await?;
        Ok(list["items"].as_array_mut().and_then(Vec::pop))
    }

    /// Why a job without an ended container will have none.
    async fn given_up(&self, job: &Place, pod: Option<&Value>) -> Result<Option<String>, Error> {
        let waiting = pod.map(|pod| &pod["status"]["containerStatuses"][0]["state"]["waiting"]);
        if let Some(waiting) = waiting
            && let Some(reason) = waiting["reason"].as_str()
            && matches!(reason, "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "CreateContainerConfigError")
        {
            return Ok(Some(format!(
                "its container cannot be started: {reason} {}",
                clean(waiting["message"].as_str().unwrap_or_default())
            )));
        }
        self.failing(job).await
    }

    /// Why a job has failed, or is about to: what was decided comes before its pods end (`FailureTarget`), and is final after (`Failed`).
    async fn failing(&self, job: &Place) -> Result<Option<String>, Error> {
        let object = self.requests.json(Call::get(&format!("get {}", job.shown()), &job.path(), &[])).await?;
        let decided = |one: &&Value| {
            one["type"].as_str().is_some_and(|kind| matches!(kind, "Failed" | "FailureTarget"))
                && one["status"] == "True"
        };
        let failed = object["status"]["conditions"].as_array().into_iter().flatten().find(decided);
        Ok(failed.map(|one| {
            format!(
                "{} {}",
                clean(one["reason"].as_str().unwrap_or_default()),
                clean(one["message"].as_str().unwrap_or_default())
            )
        }))
    }

    /// Hand on what the pod writes, until it has ended.
    async fn follow(&self, job: &Place, pod: &Value, reports: &Reports) -> Result<(), Error> {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let kind = crate::host::kubernetes::Kind { api_version: "v1".into(), name: "Pod".into() };
        let place =
            Place { resource: self.resource(&kind).await?, namespace: job.namespace.clone(), name: name.to_owned() };
        let options = LogOptions {
            container: Some(CONTAINER.into()),
            follow: true,
            previous: false,
            tail_lines: None,
            since_seconds: None,
            timestamps: false,
        };
        let mut log = self.raw_log(&place, &options).await?;
        loop {
            let mut piece = bytes::BytesMut::with_capacity(32 << 10);
            match log.read_buf(&mut piece).await {
                Ok(0) => return Ok(()),
                // What nobody takes is thrown away.
                Ok(_) => drop(reports.output.send(piece.freeze()).await),
                Err(error) => return Err(rota_capability::streams::error_of(&error)),
            }
        }
    }
}

/// Removes a job, at the latest when it is dropped.
pub(crate) struct Removal {
    client: Client,
    place: Option<Place>,
    /// Held while there is something to be removed: a host that ends waits for it.
    token: tokio_util::task::task_tracker::TaskTrackerToken,
}

impl Removal {
    /// Of this job.
    pub(crate) fn of(client: Client, place: Place) -> Self {
        Self { client, place: Some(place), token: crate::pending::token() }
    }

    /// Remove it, and wait until it is. Who waits may be aborted meanwhile (a child is dropped while its run stops); the removal goes on.
    pub(crate) async fn now(mut self) {
        if let Some(removing) = self.begin() {
            let _ = removing.await;
        }
    }

    fn begin(&mut self) -> Option<tokio::task::JoinHandle<()>> {
        let place = self.place.take()?;
        let (client, token) = (self.client.clone(), self.token.clone());
        Some(tokio::spawn(async move {
            remove(&client, place).await;
            drop(token);
        }))
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        let _ = self.begin();
    }
}

/// Removes what the effect of `run-job` made. What cannot be removed now, the cluster removes after its deadline.
async fn remove(client: &Client, place: Place) {
    let options = DeleteOptions {
        uid: None,
        resource_version: None,
        grace_seconds: Some(1),
        propagation: Propagation::Background,
    };
    let name = place.name.clone();
    if let Err(error) = client.clear_up(&Change::delete(place, &options)).await {
        tracing::warn!(job = name, %error, "a job could not be removed; the cluster does so after its deadline");
    }
}
