//! Kubernetes: objects of any kind, as JSON.

use crate::bindings::rota::runbook::kubernetes as wit;
use crate::bytes::{ByteStream, Ending, RawEnding, RawStream, read_some};
use crate::host;
use crate::tools::Child;
use crate::{Error, ErrorContext, Result};
use serde_json::Value as Json;

pub use wit::{
    Change, Command, Condition, DeleteOptions, Event, Job, Kind, LogOptions, Need, Object, PatchKind, Propagation,
    Rollout, Scale, SecretVariable, Selection, Watched,
};

/// How many objects come at a time.
const BATCH: usize = 64;

impl Kind {
    /// A kind by its words: `Kind::new("apps/v1", "Deployment")`.
    pub fn new(api_version: impl Into<String>, name: impl Into<String>) -> Self {
        Self { api_version: api_version.into(), name: name.into() }
    }

    /// An object of this kind, in the binding's own namespace.
    pub fn named(self, name: impl Into<String>) -> Object {
        Object { kind: self, namespace: None, name: name.into() }
    }
}

impl Object {
    /// A Deployment of the binding's own namespace.
    pub fn deployment(name: impl Into<String>) -> Self {
        Kind::new("apps/v1", "Deployment").named(name)
    }

    /// A StatefulSet of the binding's own namespace.
    pub fn stateful_set(name: impl Into<String>) -> Self {
        Kind::new("apps/v1", "StatefulSet").named(name)
    }

    /// A pod of the binding's own namespace.
    pub fn pod(name: impl Into<String>) -> Self {
        Kind::new("v1", "Pod").named(name)
    }

    /// The same in another namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind.name, self.name),
            None => write!(f, "{} {}", self.kind.name, self.name),
        }
    }
}

impl Selection {
    /// All of the binding's own namespace.
    pub fn all() -> Self {
        Self { namespace: None, all_namespaces: false, labels: None, fields: None }
    }

    /// Those with labels: `app=web,tier!=cache`.
    #[must_use]
    pub fn labels(mut self, labels: impl Into<String>) -> Self {
        self.labels = Some(labels.into());
        self
    }

    /// Those whose fields have a value: `status.phase=Running`.
    #[must_use]
    pub fn fields(mut self, fields: impl Into<String>) -> Self {
        self.fields = Some(fields.into());
        self
    }

    /// Those of another namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }
}

impl DeleteOptions {
    /// Delete it, whatever it is now; dependents afterwards.
    pub fn plain() -> Self {
        Self { uid: None, resource_version: None, grace_seconds: None, propagation: Propagation::Background }
    }
}

impl LogOptions {
    /// What there is of the only container's log.
    pub fn whole() -> Self {
        Self {
            container: None,
            follow: false,
            previous: false,
            tail_lines: None,
            since_seconds: None,
            timestamps: false,
        }
    }
}

impl Command {
    /// A command in the only container of a pod of the binding's own namespace.
    pub fn new(pod: impl Into<String>, words: &[&str]) -> Self {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Self { namespace: None, pod: pod.into(), container: None, words, verified: false }
    }

    /// Have what it writes hashed in the container, and compared with what arrives.
    #[must_use]
    pub fn verified(mut self) -> Self {
        self.verified = true;
        self
    }
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(Error::from)
}

/// A cluster, as far as the job grants it.
#[derive(Debug)]
pub struct Cluster(host::kubernetes::Cluster);

impl Cluster {
    pub(crate) fn new(cluster: host::kubernetes::Cluster) -> Self {
        Self(cluster)
    }

    /// The namespace that is meant where none is named.
    pub fn namespace(&self) -> String {
        self.0.namespace()
    }

    /// The version of the API server.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn version(&self) -> Result<String> {
        self.0.version().await.context("asking the cluster for its version")
    }

    /// Ask beforehand whether all of this will be let through.
    ///
    /// # Errors
    /// With everything that is missing.
    pub async fn require(&self, needs: Vec<Need>) -> Result<()> {
        self.0.require(needs).await.context("asking what the cluster will let through")
    }

    /// An object; none where it is not there.
    ///
    /// # Errors
    /// `denied` without `read`; what the cluster said.
    pub async fn get(&self, object: &Object) -> Result<Option<Json>> {
        let found = self.0.get(object.clone()).await.optional().with_context(|| format!("reading {object}"))?;
        found.map(|text| read(&text)).transpose()
    }

    /// The objects of a kind, one after the other.
    ///
    /// # Errors
    /// `denied` without `read`; what the cluster said.
    pub async fn list(&self, kind: &Kind, selection: Selection) -> Result<Objects> {
        let (stream, ending) = self
            .0
            .list(kind.clone(), selection)
            .await
            .with_context(|| format!("listing objects of kind {}", kind.name))?;
        Ok(Objects { stream, ending: Some(ending), version: None, buffer: Vec::new().into_iter() })
    }

    /// What changes from a version on (see [`Objects::version`]; none: from now), for so many seconds.
    ///
    /// # Errors
    /// `denied` without `read`; what the cluster said.
    pub async fn watch(&self, kind: &Kind, selection: Selection, from: Option<String>, seconds: u32) -> Result<Watch> {
        let watching = self.0.watch(kind.clone(), selection, from, seconds).await;
        let (stream, ending) = watching.with_context(|| format!("watching objects of kind {}", kind.name))?;
        Ok(Watch { stream, ending: Some(ending), version: None, buffer: Vec::new().into_iter() })
    }

    /// What the cluster's events say about an object.
    ///
    /// # Errors
    /// `denied` without `read`; what the cluster said.
    pub async fn events(&self, object: &Object) -> Result<Vec<Event>> {
        self.0.events(object.clone()).await.with_context(|| format!("reading the events of {object}"))
    }

    /// Make an object. An effect.
    ///
    /// # Errors
    /// `conflict` when there is one of the name; `denied` without `write`; what the cluster said.
    pub async fn create(&self, object: &Json) -> Result<Json> {
        let made = self.0.create(object.to_string()).await;
        read(&made.with_context(|| format!("making {} {}", object["kind"], object["metadata"]["name"]))?)
    }

    /// Change an object. An effect.
    ///
    /// # Errors
    /// `conflict` when it is no longer what the patch was made for; `denied` without `write`; what the cluster said.
    pub async fn patch(&self, object: &Object, kind: PatchKind, patch: &Json) -> Result<Json> {
        let changed = self.0.patch(object.clone(), kind, patch.to_string()).await;
        read(&changed.with_context(|| format!("changing {object}"))?)
    }

    /// Delete an object. An effect.
    ///
    /// # Errors
    /// `not-found` when it is not there; `conflict` when it is another one; `denied` without `delete`.
    pub async fn delete(&self, object: &Object, options: DeleteOptions) -> Result<()> {
        self.0.delete(object.clone(), options).await.with_context(|| format!("deleting {object}"))
    }

    /// How many replicas an object has.
    ///
    /// # Errors
    /// `denied` without `read`; what the cluster said.
    pub async fn get_scale(&self, object: &Object) -> Result<Scale> {
        self.0.get_scale(object.clone()).await.with_context(|| format!("reading the scale of {object}"))
    }

    /// Set how many replicas are wanted, only if so many were `expected`; answers how many were. An effect.
    ///
    /// # Errors
    /// `conflict` when other replicas are wanted than expected; `denied` without `scale`.
    pub async fn set_scale(&self, object: &Object, replicas: u32, expected: Option<u32>) -> Result<u32> {
        let before = self.0.set_scale(object.clone(), replicas, expected).await;
        before.with_context(|| format!("scaling {object} to {replicas}"))
    }

    /// Replace every pod of a workload, as its strategy says. An effect.
    ///
    /// # Errors
    /// `denied` without `scale`; what the cluster said.
    pub async fn restart(&self, object: &Object) -> Result<()> {
        self.0.restart(object.clone()).await.with_context(|| format!("restarting {object}"))
    }

    /// How far a workload's rollout is.
    ///
    /// # Errors
    /// `denied` without `read`; what the cluster said.
    pub async fn rollout_status(&self, object: &Object) -> Result<Rollout> {
        self.0.rollout_status(object.clone()).await.with_context(|| format!("looking at the rollout of {object}"))
    }

    /// Wait until something holds of an object; none when it is gone.
    ///
    /// # Errors
    /// `timed-out` when it does not; in a plan it is looked at once.
    pub async fn wait_for(&self, object: &Object, condition: Condition, seconds: u32) -> Result<Option<Json>> {
        let found = self.0.wait_for(object.clone(), condition, seconds).await;
        read(&found.with_context(|| format!("waiting for {object}"))?)
    }

    /// A pod's log.
    ///
    /// # Errors
    /// `denied` without `read`; what the cluster said.
    pub async fn logs(&self, pod: &str, options: LogOptions) -> Result<(ByteStream, Ending<u64>)> {
        let (stream, ending) =
            self.0.logs(pod.to_owned(), None, options).await.with_context(|| format!("reading the log of {pod}"))?;
        Ok((ByteStream::new(stream), Ending::new(ending)))
    }

    /// Run a command in a pod. An effect: in a plan it ends as `planned`.
    ///
    /// # Errors
    /// `denied` without `exec`; what the cluster said.
    pub async fn exec(&self, command: Command, stdin: Option<ByteStream>) -> Result<Child> {
        let doing = format!("running {} in {}", command.words.first().map_or("", String::as_str), command.pod);
        let child = self.0.exec(command, stdin.map(ByteStream::into_raw)).await.with_context(|| doing)?;
        Ok(Child::new(child, "the command in the pod"))
    }

    /// Run a job; its output is the pod's log. An effect: in a plan it ends as `planned`.
    ///
    /// # Errors
    /// `denied` without `run`; what the cluster said.
    pub async fn run_job(&self, job: Job) -> Result<Child> {
        let doing = format!("running the job {}", job.name);
        Ok(Child::new(self.0.run_job(job).await.with_context(|| doing)?, "the job"))
    }

    /// Take a lock, which the host renews. An effect.
    ///
    /// # Errors
    /// `conflict`, naming who holds it; `denied` without `write`.
    pub async fn lock(&self, name: &str, seconds: u32) -> Result<Lock> {
        self.lock_in(name, None, seconds).await
    }

    /// The same in a namespace; none is the binding's own.
    ///
    /// # Errors
    /// As for `lock`.
    pub async fn lock_in(&self, name: &str, namespace: Option<String>, seconds: u32) -> Result<Lock> {
        let lock = self.0.lock(name.to_owned(), namespace, seconds).await;
        Ok(Lock(lock.with_context(|| format!("taking the lock {name}"))?))
    }
}

/// A lock that this run holds. Dropped, it is given back.
#[derive(Debug)]
pub struct Lock(host::kubernetes::Lock);

impl Lock {
    /// Go on only while it is held.
    ///
    /// # Errors
    /// `conflict` once it was lost.
    pub async fn check(&self) -> Result<()> {
        self.0.check().await.context("looking at the lock")
    }

    /// Give it back.
    ///
    /// # Errors
    /// When the cluster cannot be told; it ends by itself then.
    pub async fn release(self) -> Result<()> {
        self.0.release().await.context("giving the lock back")
    }
}

/// Objects as they arrive.
#[derive(Debug)]
pub struct Objects {
    stream: RawStream<String>,
    ending: Option<RawEnding<wit::Listed>>,
    version: Option<String>,
    buffer: std::vec::IntoIter<String>,
}

impl Objects {
    /// The next object; none at the end.
    ///
    /// # Errors
    /// When the list broke off.
    pub async fn next(&mut self) -> Result<Option<Json>> {
        if self.buffer.len() == 0
            && let Some(batch) = read_some(&mut self.stream, BATCH).await
        {
            self.buffer = batch.into_iter();
        }
        if let Some(object) = self.buffer.next() {
            return read(&object).map(Some);
        }
        if let Some(ending) = self.ending.take() {
            let listed = ending.await.map_err(|error| Error::from(error).context("listing objects"))?;
            self.version = Some(listed.resource_version);
        }
        Ok(None)
    }

    /// The version that a watch goes on from, once the list has ended.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// All of them.
    ///
    /// # Errors
    /// When there are more than `limit`, or the list broke off.
    pub async fn collect(mut self, limit: usize) -> Result<Vec<Json>> {
        let mut all = Vec::new();
        while let Some(object) = self.next().await? {
            if all.len() == limit {
                return Err(Error::new(format!("more than {limit} objects where that is the limit")));
            }
            all.push(object);
        }
        Ok(all)
    }
}

/// Changes as they happen.
#[derive(Debug)]
pub struct Watch {
    stream: RawStream<Watched>,
    ending: Option<RawEnding<String>>,
    version: Option<String>,
    buffer: std::vec::IntoIter<Watched>,
}

impl Watch {
    /// The next change, with the object; none at the end of the time.
    ///
    /// # Errors
    /// When the watch broke off: `conflict` where the cluster no longer remembers the version.
    pub async fn next(&mut self) -> Result<Option<(Change, Json)>> {
        if self.buffer.len() == 0
            && let Some(batch) = read_some(&mut self.stream, BATCH).await
        {
            self.buffer = batch.into_iter();
        }
        if let Some(watched) = self.buffer.next() {
            let object = read(&watched.object)?;
            self.version = Some(watched.resource_version);
            return Ok(Some((watched.change, object)));
        }
        if let Some(ending) = self.ending.take() {
            let version = ending.await.map_err(|error| Error::from(error).context("watching objects"))?;
            self.version = Some(version);
        }
        Ok(None)
    }

    /// The version from which a later watch misses nothing of what this one did not give.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}
