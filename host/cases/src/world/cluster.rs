//! `kubernetes`: objects in memory. There are no controllers: what they would do, the case does. Logs, commands and jobs are answered.

mod changes;
mod locks;
mod looks;
mod pods;

use super::ask::{Ask, Refused};
use super::documents::{self, is_namespaced};
use super::reply::Reply;
use super::{Held, World, selector, sql};
use crate::format::SlotSetup;
use looks::{holds, scale, watched};
use rota_authority::{Authorized, Kubernetes, KubernetesAccess};
use rota_capability::{RunContext, denied, tape};
use rota_capability_kubernetes::objects::{hide, rollout};
use rota_contract::Error;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// API version, kind, namespace (empty: none), name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
}

impl Key {
    /// As people read it: `deployments.apps db/web`.
    fn shown(&self) -> String {
        let namespace = if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) };
        format!("{} {namespace}{}", documents::resource(&self.api_version, &self.kind), self.name)
    }

    fn is_secret(&self) -> bool {
        self.kind == "Secret" && self.api_version == "v1"
    }

    fn missing(&self) -> Error {
        let resource = documents::resource(&self.api_version, &self.kind);
        Error::NotFound(format!("{resource} \"{}\" not found", self.name))
    }
}

/// A cluster.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    namespace: String,
    version: String,
    objects: BTreeMap<Key, Value>,
    locks: BTreeMap<String, String>,
    changes: u64,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            namespace: "default".into(),
            version: "v1.34.4".into(),
            objects: BTreeMap::new(),
            locks: BTreeMap::new(),
            changes: 0,
        }
    }
}

impl Cluster {
    /// As a case has it.
    pub(super) fn of(setup: &SlotSetup) -> Result<Self, String> {
        let mut cluster = Self::default();
        if let Some(namespace) = &setup.namespace {
            cluster.namespace.clone_from(namespace);
        }
        if let Some(version) = &setup.version {
            cluster.version.clone_from(version);
        }
        let objects = match &setup.objects {
            None => return Ok(cluster),
            Some(Value::Array(objects)) => objects,
            Some(_) => return Err("`objects` of a cluster are a list of tables, each as in a manifest".into()),
        };
        for object in objects {
            let key = cluster.key_of(object).ok_or_else(|| {
                format!(
                    "an object needs apiVersion, kind and metadata.name: {}",
                    crate::compare::partial::shown(object)
                )
            })?;
            // A lease with a holder is a lock that somebody holds.
            let holder = object.pointer("/spec/holderIdentity").and_then(Value::as_str);
            if key.kind == "Lease"
                && let Some(holder) = holder
            {
                cluster.locks.insert(key.shown(), holder.to_owned());
            }
            cluster.put(key, object.clone());
        }
        Ok(cluster)
    }

    /// What is there, for what is expected of it.
    pub(super) fn shown(&self) -> Value {
        json!({ "objects": self.objects.values().collect::<Vec<_>>() })
    }

    fn key_of(&self, object: &Value) -> Option<Key> {
        let word = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let (api_version, kind, name) = (word("/apiVersion")?, word("/kind")?, word("/metadata/name")?);
        let namespace = match is_namespaced(&kind) {
            true => word("/metadata/namespace").unwrap_or_else(|| self.namespace.clone()),
            false => String::new(),
        };
        Some(Key { api_version, kind, namespace, name })
    }

    fn put(&mut self, key: Key, mut object: Value) -> Value {
        self.changes += 1;
        let changes = self.changes;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = changes.to_string().into();
        if !key.namespace.is_empty() {
            metadata["namespace"] = key.namespace.clone().into();
        }
        if metadata["uid"].is_null() {
            metadata["uid"] = format!("00000000-0000-4000-8000-{changes:012}").into();
        }
        self.objects.insert(key, object.clone());
        object
    }

    fn find(&self, key: &Key) -> Result<Value, Error> {
        self.objects.get(key).cloned().ok_or_else(|| key.missing())
    }
}

impl World {
    pub(super) async fn kubernetes(&self, run: &Arc<RunContext>, ask: &Ask) -> Result<Reply, Refused> {
        use KubernetesAccess as Needs;
        let slot = ask.slot();
        match ask.verb() {
            "open" => {
                self.authorise::<Kubernetes>(&run.gate, "kubernetes.open", &slot, &[])?;
                self.told(run, ask).await?;
                self.hold(ask.number, Held::Cluster { slot });
                Ok(Reply::nothing())
            }
            "namespace" => Ok(Reply::Value(json!(self.cluster(&slot, |cluster| cluster.namespace.clone())))),
            "version" => {
                self.authorise::<Kubernetes>(&run.gate, "kubernetes.version", &slot, &[])?;
                let told = self.told(run, ask).await?.and_then(|answer| answer.value);
                Ok(Reply::Value(told.unwrap_or_else(|| json!(self.cluster(&slot, |cluster| cluster.version.clone())))))
            }
            "require" => self.require(run, ask, &slot).await,
            "get" => {
                let authorized = self.authorise::<Kubernetes>(&run.gate, "kubernetes.get", &slot, &[Needs::Read])?;
                if let Some(value) = self.told(run, ask).await?.and_then(|answer| answer.value) {
                    return Ok(document(value));
                }
                let key = self.key(ask, &slot)?;
                let object = self.cluster(&slot, |cluster| cluster.find(&key))?;
                Ok(Reply::Value(json!(shown(&authorized, &key, object))))
            }
            "list" => self.list(run, ask, &slot).await,
            "watch" => {
                self.authorise::<Kubernetes>(&run.gate, "kubernetes.watch", &slot, &[Needs::Read])?;
                let answer = self.take(ask).unwrap_or_default();
                self.waited(run, &answer).await?;
                if let Some(error) = answer.error.as_ref().filter(|_| answer.items.is_none()) {
                    return Err(error.get_ref().error().into());
                }
                let version = self.cluster(&slot, |cluster| cluster.changes.to_string());
                let items: Vec<Value> = answer.items.iter().flatten().map(|item| watched(item, &version)).collect();
                let reply = Reply::items(Value::Null, items, &answer);
                Ok(ending_with(reply, json!(version)))
            }
            "events" => {
                self.authorise::<Kubernetes>(&run.gate, "kubernetes.events", &slot, &[Needs::Read])?;
                let told = self.told(run, ask).await?.and_then(|answer| answer.value);
                Ok(Reply::Value(told.unwrap_or_else(|| json!([]))))
            }
            "create" => self.create(run, ask, &slot).await,
            "patch" => self.patch(run, ask, &slot).await,
            "delete" => self.delete_object(run, ask, &slot).await,
            "get-scale" => {
                self.authorise::<Kubernetes>(&run.gate, "kubernetes.get-scale", &slot, &[Needs::Read])?;
                if let Some(value) = self.told(run, ask).await?.and_then(|answer| answer.value) {
                    return Ok(Reply::Value(value));
                }
                let key = self.key(ask, &slot)?;
                let object = self.cluster(&slot, |cluster| cluster.find(&key))?;
                Ok(Reply::Value(scale(&object)))
            }
            "set-scale" => self.set_scale(run, ask, &slot).await,
            "restart" => self.restart(run, ask, &slot).await,
            "rollout-status" => {
                self.authorise::<Kubernetes>(&run.gate, "kubernetes.rollout-status", &slot, &[Needs::Read])?;
                if let Some(value) = self.told(run, ask).await?.and_then(|answer| answer.value) {
                    return Ok(Reply::Value(value));
                }
                let key = self.key(ask, &slot)?;
                let object = self.cluster(&slot, |cluster| cluster.find(&key))?;
                Ok(Reply::Value(tape::shown(&rollout(&object))))
            }
            "wait-for" => self.wait_for(run, ask, &slot).await,
            "logs" => {
                self.authorise::<Kubernetes>(&run.gate, "kubernetes.logs", &slot, &[Needs::Read])?;
                let answer = self.must(ask)?;
                self.waited(run, &answer).await?;
                sql::bytes_of(&answer, Value::Null)
            }
            "exec" => self.exec(run, ask, &slot).await,
            "run-job" => self.run_job(run, ask, &slot).await,
            "lock" => self.lock(run, ask, &slot).await,
            "check" => {
                self.told(run, ask).await?;
                Ok(Reply::nothing())
            }
            "release" => self.release(run, ask, &slot).await,
            _ => Err(Refused::Stop(format!("cases do not know the call `{}`", ask.operation))),
        }
    }

    fn cluster<R>(&self, slot: &str, work: impl FnOnce(&mut Cluster) -> R) -> R {
        work(self.state().clusters.entry(slot.to_owned()).or_default())
    }

    /// The object that a call names.
    fn key(&self, ask: &Ask, slot: &str) -> Result<Key, Error> {
        let object = ask.arguments.get("object").cloned().unwrap_or_default();
        let word = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let kind = object.get("kind").cloned().unwrap_or_default();
        let (Some(api_version), Some(kind), Some(name)) =
            (word(&kind, "api-version"), word(&kind, "name"), word(&object, "name"))
        else {
            return Err(Error::InvalidArgument("an object has a kind and a name".into()));
        };
        let own = self.cluster(slot, |cluster| cluster.namespace.clone());
        let namespace = if is_namespaced(&kind) { word(&object, "namespace").unwrap_or(own) } else { String::new() };
        Ok(Key { api_version, kind, namespace, name })
    }

    async fn require(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        const OPERATION: &str = "kubernetes.require";
        self.authorise::<Kubernetes>(&run.gate, OPERATION, slot, &[])?;
        for need in ask.arguments.get("needs").and_then(Value::as_array).into_iter().flatten() {
            let word = |key: &str| need.get(key).and_then(Value::as_str).unwrap_or_default();
            let access = match (word("verb"), word("subresource")) {
                (_, "exec") => KubernetesAccess::Exec,
                ("get" | "list" | "watch", _) => KubernetesAccess::Read,
                ("delete" | "deletecollection", _) => KubernetesAccess::Delete,
                (_, "scale") => KubernetesAccess::Scale,
                _ => KubernetesAccess::Write,
            };
            run.gate.authorise::<Kubernetes>(OPERATION, slot, &[access]).map_err(denied)?;
        }
        self.told(run, ask).await?;
        Ok(Reply::nothing())
    }

    async fn list(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let authorized = self.authorise::<Kubernetes>(&run.gate, "kubernetes.list", slot, &[KubernetesAccess::Read])?;
        let answer = self.take(ask).unwrap_or_default();
        self.waited(run, &answer).await?;
        if let Some(error) = answer.error.as_ref().filter(|_| answer.items.is_none() && answer.cut_after.is_none()) {
            return Err(error.get_ref().error().into());
        }
        let word = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let kind = ask.arguments.get("kind").cloned().unwrap_or_default();
        let selection = ask.arguments.get("selection").cloned().unwrap_or_default();
        let (api_version, name) = (word(&kind, "api-version"), word(&kind, "name").unwrap_or_default());
        let all = selection.get("all-namespaces").and_then(Value::as_bool).unwrap_or(false) || !is_namespaced(&name);
        let (labels, fields) = (word(&selection, "labels"), word(&selection, "fields"));
        let (objects, version) = self.cluster(slot, |cluster| {
            let namespace = word(&selection, "namespace").unwrap_or_else(|| cluster.namespace.clone());
            let chosen = cluster.objects.iter().filter(|(key, object)| {
                Some(&key.api_version) == api_version.as_ref()
                    && key.kind == name
                    && (all || key.namespace == namespace)
                    && labels.as_ref().is_none_or(|labels| selector::by_labels(object, labels))
                    && fields.as_ref().is_none_or(|fields| selector::by_fields(object, fields))
            });
            let objects: Vec<Value> =
                chosen.map(|(key, object)| json!(shown(&authorized, key, object.clone()))).collect();
            (objects, cluster.changes.to_string())
        });
        let items = match &answer.items {
            Some(items) => items.iter().map(|item| json!(text(item))).collect(),
            None => objects,
        };
        let count = items.len();
        let reply = Reply::items(Value::Null, items, &answer);
        Ok(ending_with(reply, json!({ "count": count, "resource-version": version })))
    }

    async fn wait_for(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let authorized =
            self.authorise::<Kubernetes>(&run.gate, "kubernetes.wait-for", slot, &[KubernetesAccess::Read])?;
        let answer = self.told(run, ask).await?;
        if let Some(value) = answer.and_then(|answer| answer.value) {
            return Ok(document(value));
        }
        let key = self.key(ask, slot)?;
        let object = self.cluster(slot, |cluster| cluster.objects.get(&key).cloned());
        let condition = ask.arguments.get("condition").cloned().unwrap_or_default();
        let over = |why: String| {
            // Nothing changes here by itself: what does not hold now will not.
            let seconds = ask.number("seconds").unwrap_or_default();
            Error::TimedOut(format!("{} is not as wanted after {seconds} s: {why}", key.shown()))
        };
        match (holds(object.as_ref(), &condition)?, object) {
            (None, Some(object)) => Ok(Reply::Value(json!(shown(&authorized, &key, object)))),
            (None, None) => Ok(Reply::Value(json!("null"))),
            (Some(why), _) => Err(over(why).into()),
        }
    }
}

/// A document that a case answers, as text.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn document(value: Value) -> Reply {
    Reply::Value(json!(text(&value)))
}

/// An object as a guest sees it: of a Secret, its values only where it is granted them.
fn shown(authorized: &Authorized<Kubernetes>, key: &Key, mut object: Value) -> String {
    let granted = || {
        let bound = authorized.gate().bound(authorized.slot());
        bound.is_some_and(|grant| grant.accesses.iter().any(|access| access == "secrets"))
    };
    if key.is_secret() && !granted() {
        hide(&mut object);
    }
    object.to_string()
}

/// The same, with another value at its end than the number of items.
fn ending_with(reply: Reply, value: Value) -> Reply {
    match reply {
        Reply::Items { head, items, end: Ok(None) } => Reply::Items { head, items, end: Ok(Some(value)) },
        other => other,
    }
}
