//! The interface `kubernetes`, on objects in memory.

use super::super::clusters::{ClusterMock, Key, NAMESPACE, json_patch, key, key_of, merge, rollout, selected};
use super::super::{Bound, current};
use super::process::Child;
use crate::HostError;
use crate::bindings::rota::runbook::kubernetes::{
    Command, Condition, DeleteOptions, Event, Job, Kind, Listed, LogOptions, Need, Object, PatchKind, Rollout, Scale,
    Selection, Watched,
};
use crate::bindings::rota::runbook::process::ExitStatus;
use crate::mock::{Ending, Stream, ToolOutput};
use serde_json::Value as Json;

fn bound(slot: &str, access: Option<&str>) -> Result<ClusterMock, HostError> {
    match current().authorise(slot, access)? {
        Bound::Cluster(mock) => Ok(mock),
        _ => Err(HostError::InvalidArgument(format!("slot `{slot}` holds no cluster"))),
    }
}

fn parsed(text: &str) -> Result<Json, HostError> {
    serde_json::from_str(text).map_err(|error| HostError::InvalidArgument(format!("the document is not JSON: {error}")))
}

fn count(object: &Json, pointer: &str) -> Option<u32> {
    object.pointer(pointer).and_then(Json::as_u64).and_then(|count| u32::try_from(count).ok())
}

#[derive(Debug)]
pub(crate) struct Cluster(String);

impl Cluster {
    pub(crate) async fn open(slot: String) -> Result<Self, HostError> {
        bound(&slot, None).map(|_| Self(slot))
    }

    fn reads(&self) -> Result<ClusterMock, HostError> {
        bound(&self.0, Some("read"))
    }

    fn effect(&self, operation: &'static str, key: &Key, detail: &str) -> bool {
        current().effect(operation, &self.0, format!("{} {}/{}: {detail}", key.1, key.2, key.3))
    }

    pub(crate) fn namespace(&self) -> String {
        NAMESPACE.to_owned()
    }

    pub(crate) async fn version(&self) -> Result<String, HostError> {
        bound(&self.0, None).map(|_| "v1.34.0".to_owned())
    }

    pub(crate) async fn require(&self, _needs: Vec<Need>) -> Result<(), HostError> {
        bound(&self.0, None).map(drop)
    }

    pub(crate) async fn get(&self, object: Object) -> Result<String, HostError> {
        self.reads()?.find(&key(&object)).map(|object| object.to_string())
    }

    pub(crate) async fn list(
        &self,
        kind: Kind,
        selection: Selection,
    ) -> Result<(Stream<String>, Ending<Listed>), HostError> {
        let mock = self.reads()?;
        let namespace = selection.namespace.unwrap_or_else(|| NAMESPACE.to_owned());
        let found = mock.all().into_iter().filter(|(key, object)| {
            key.0 == kind.api_version
                && key.1 == kind.name
                && (selection.all_namespaces || key.2 == namespace)
                && selected(object, selection.labels.as_deref())
        });
        let objects: Vec<String> = found.map(|(_, object)| object.to_string()).collect();
        let listed = Listed { count: objects.len() as u64, resource_version: mock.version() };
        Ok((Stream::whole(objects), Ending::new(Ok(listed))))
    }

    /// Nothing happens in a mock while it is watched.
    pub(crate) async fn watch(
        &self,
        _kind: Kind,
        _selection: Selection,
        from: Option<String>,
        _seconds: u32,
    ) -> Result<(Stream<Watched>, Ending<String>), HostError> {
        let version = from.unwrap_or(self.reads()?.version());
        Ok((Stream::whole(Vec::new()), Ending::new(Ok(version))))
    }

    pub(crate) async fn events(&self, object: Object) -> Result<Vec<Event>, HostError> {
        Ok(self.reads()?.events_of(&object.name))
    }

    pub(crate) async fn create(&self, object: String) -> Result<String, HostError> {
        let mock = bound(&self.0, Some("write"))?;
        let document = parsed(&object)?;
        let key = key_of(&document)?;
        let carried_out = self.effect("kubernetes.create", &key, &object);
        if mock.find(&key).is_ok() {
            return Err(HostError::Conflict(format!("{} \"{}\" already exists", key.1, key.3)));
        }
        Ok(if carried_out { mock.store(key, document) } else { document }.to_string())
    }

    /// Every kind of patch but `json` is taken for a merge.
    pub(crate) async fn patch(&self, object: Object, kind: PatchKind, patch: String) -> Result<String, HostError> {
        let mock = bound(&self.0, Some("write"))?;
        let key = key(&object);
        let carried_out = self.effect("kubernetes.patch", &key, &patch);
        let patch = parsed(&patch)?;
        let mut changed = match (mock.find(&key), kind) {
            (Err(HostError::NotFound(_)), PatchKind::Apply | PatchKind::ForceApply) => patch.clone(),
            (found, _) => found?,
        };
        if let Some(version) = patch.pointer("/metadata/resourceVersion")
            && *version != changed["metadata"]["resourceVersion"]
        {
            return Err(HostError::Conflict(format!("{} \"{}\" was changed meanwhile", key.1, key.3)));
        }
        match kind {
            PatchKind::Json => json_patch(&mut changed, &patch)?,
            _ => merge(&mut changed, &patch),
        }
        Ok(if carried_out { mock.store(key, changed) } else { changed }.to_string())
    }

    pub(crate) async fn delete(&self, object: Object, options: DeleteOptions) -> Result<(), HostError> {
        let mock = bound(&self.0, Some("delete"))?;
        let key = key(&object);
        let carried_out = self.effect("kubernetes.delete", &key, "delete");
        let found = mock.find(&key)?;
        for (wanted, field) in [(options.uid, "uid"), (options.resource_version, "resourceVersion")] {
            if wanted.is_some_and(|wanted| found["metadata"][field] != wanted.as_str()) {
                return Err(HostError::Conflict(format!("{} \"{}\" is another one now", key.1, key.3)));
            }
        }
        if carried_out {
            mock.remove(&key);
        }
        Ok(())
    }

    pub(crate) async fn get_scale(&self, object: Object) -> Result<Scale, HostError> {
        let found = self.reads()?.find(&key(&object))?;
        let wanted = count(&found, "/spec/replicas").unwrap_or(1);
        Ok(Scale { wanted, current: count(&found, "/status/replicas").unwrap_or(wanted), selector: None })
    }

    pub(crate) async fn set_scale(
        &self,
        object: Object,
        replicas: u32,
        expected: Option<u32>,
    ) -> Result<u32, HostError> {
        let mock = bound(&self.0, Some("scale"))?;
        let key = key(&object);
        let mut found = mock.find(&key)?;
        let before = count(&found, "/spec/replicas").unwrap_or(1);
        if expected.is_some_and(|expected| expected != before) {
            return Err(HostError::Conflict(format!("{before} replicas are wanted")));
        }
        if self.effect("kubernetes.set-scale", &key, &format!("scale from {before} to {replicas} replicas")) {
            found["spec"]["replicas"] = replicas.into();
            mock.store(key, found);
        }
        Ok(before)
    }

    pub(crate) async fn restart(&self, object: Object) -> Result<(), HostError> {
        let mock = bound(&self.0, Some("scale"))?;
        let key = key(&object);
        mock.find(&key)?;
        self.effect("kubernetes.restart", &key, "restart every pod");
        Ok(())
    }

    pub(crate) async fn rollout_status(&self, object: Object) -> Result<Rollout, HostError> {
        Ok(rollout(&self.reads()?.find(&key(&object))?))
    }

    /// It is looked at once: nothing changes in a mock while it is waited for.
    pub(crate) async fn wait_for(
        &self,
        object: Object,
        condition: Condition,
        seconds: u32,
    ) -> Result<String, HostError> {
        let found = match self.reads()?.find(&key(&object)) {
            Err(HostError::NotFound(_)) if condition == Condition::Gone => return Ok("null".to_owned()),
            Err(HostError::NotFound(_)) => Json::Null,
            found => found?,
        };
        let holds = match &condition {
            Condition::Exists => !found.is_null(),
            Condition::Gone => false,
            Condition::Status((kind, status)) => {
                let conditions = found["status"]["conditions"].as_array();
                conditions
                    .into_iter()
                    .flatten()
                    .any(|one| one["type"] == kind.as_str() && one["status"] == status.as_str())
            }
            Condition::Field((pointer, value)) => *found.pointer(pointer).unwrap_or(&Json::Null) == parsed(value)?,
            Condition::RolledOut => !found.is_null() && rollout(&found).complete,
        };
        if holds { Ok(found.to_string()) } else { Err(HostError::TimedOut(format!("not after {seconds} s"))) }
    }

    pub(crate) async fn logs(
        &self,
        pod: String,
        _namespace: Option<String>,
        _options: LogOptions,
    ) -> Result<(Stream<u8>, Ending<u64>), HostError> {
        let text = self.reads()?.logged(&pod)?;
        let length = text.len() as u64;
        Ok((Stream::whole(text.into_bytes()), Ending::new(Ok(length))))
    }

    fn run(&self, operation: &'static str, mock: &ClusterMock, place: &str, words: &[String], stdin: &[u8]) -> Child {
        let output = if current().effect(operation, &self.0, format!("{place}: {}", words.join(" "))) {
            mock.command(words)(words, stdin)
        } else {
            ToolOutput { stdout: Vec::new(), stderr: String::new(), status: ExitStatus::Planned }
        };
        Child::new(output)
    }

    pub(crate) async fn exec(&self, command: Command, stdin: Option<Stream<u8>>) -> Result<Child, HostError> {
        let mock = bound(&self.0, Some("exec"))?;
        let (stdin, broken) = stdin.map(Stream::into_parts).unwrap_or_default();
        match broken {
            Some(error) => Err(error),
            None => Ok(self.run("kubernetes.exec", &mock, &command.pod, &command.words, &stdin)),
        }
    }

    pub(crate) async fn run_job(&self, job: Job) -> Result<Child, HostError> {
        let mock = bound(&self.0, Some("run"))?;
        if !job.secret_variables.is_empty() {
            bound(&self.0, Some("secrets"))?;
        }
        if !job.image.contains("@sha256:") {
            return Err(HostError::InvalidArgument("the image of a job is pinned by its digest".to_owned()));
        }
        Ok(self.run("kubernetes.run-job", &mock, &job.name, &job.words, &[]))
    }

    pub(crate) async fn lock(&self, name: String, _: Option<String>, _seconds: u32) -> Result<Lock, HostError> {
        let mock = bound(&self.0, Some("write"))?;
        current().effect("kubernetes.lock", &self.0, name.clone());
        match mock.holder(&name) {
            Some(holder) => Err(HostError::Conflict(format!("the lock {name} is held by {holder}"))),
            None => Ok(Lock(self.0.clone(), name)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Lock(String, String);

impl Lock {
    pub(crate) async fn check(&self) -> Result<(), HostError> {
        Ok(())
    }

    pub(crate) async fn release(&self) -> Result<(), HostError> {
        bound(&self.0, Some("write"))?;
        current().effect("kubernetes.release", &self.0, self.1.clone());
        Ok(())
    }
}
