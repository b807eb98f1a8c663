//! `kubernetes`: objects in memory. There are no controllers: what they would do, the case does. Logs, commands and jobs are answered.

use super::ask::{Ask, Refused};
use super::documents::{self, is_namespaced};
use super::programs::Child;
use super::reply::Reply;
use super::{Held, World, selector, sql};
use crate::format::SlotSetup;
use rota_authority::{Authorized, Effect, EffectClass, Exact, Kubernetes, KubernetesAccess, Mode};
use rota_capability::{RunContext, denied, tape};
use rota_capability_kubernetes::objects::{are_used_by, difference, hide, rollout};
use rota_contract::{Error, Fault};
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

/// A change of an object: its words, and what it is afterwards (none: gone).
struct Change {
    key: Key,
    words: String,
    class: EffectClass,
    before: Value,
    after: Result<Option<Value>, Error>,
    /// Whether the difference says more than the words.
    differs: bool,
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

    /// Make a change, or in a plan have it tried.
    async fn change(
        &self,
        run: &Arc<RunContext>,
        ask: &Ask,
        authorized: &Authorized<Kubernetes>,
        change: Change,
    ) -> Result<Value, Error> {
        let Change { key, words, class, before, after, differs } = change;
        let exact = Exact::of([words.clone()]);
        if run.gate.mode() == Mode::Plan {
            let tried = match self.told(run, ask).await {
                Ok(_) => after,
                Err(error) => Err(error),
            };
            let detail = match &tried {
                Err(error) => format!("{words}\nit would be refused: {error}"),
                Ok(Some(after)) if differs => format!("{words}\n{}", difference(&before, after, key.is_secret())),
                Ok(_) => words,
            };
            let detail = rota_telemetry::mask(&detail).into_owned();
            self.effect(authorized, Effect { object: key.shown(), detail, class, exact }).await?;
            return tried.map(Option::unwrap_or_default);
        }
        let effect = Effect { object: key.shown(), detail: words, class, exact };
        let Some(permit) = self.effect(authorized, effect).await? else { return Ok(Value::Null) };
        let result = match self.told(run, ask).await {
            Err(error) => Err(error),
            Ok(_) => after.map(|after| {
                self.cluster(authorized.slot(), |cluster| match after {
                    Some(after) => cluster.put(key.clone(), after),
                    None => cluster.objects.remove(&key).unwrap_or_default(),
                })
            }),
        };
        self.conclude(ask, permit, result, |_| "accepted by the cluster".to_owned()).await
    }

    /// Refuse a document that sets values of Secrets, or takes them into a pod, without `secrets`.
    fn check_secrets(
        &self,
        run: &Arc<RunContext>,
        operation: &'static str,
        slot: &str,
        key: &Key,
        document: &Value,
    ) -> Result<(), Error> {
        if key.is_secret() || are_used_by(document) {
            self.authorise::<Kubernetes>(&run.gate, operation, slot, &[KubernetesAccess::Secrets])?;
        }
        Ok(())
    }

    async fn create(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        const OPERATION: &str = "kubernetes.create";
        let authorized = self.authorise::<Kubernetes>(&run.gate, OPERATION, slot, &[KubernetesAccess::Write])?;
        let mut object = parsed(&ask.text("object"))?;
        let wrong = "an object has an apiVersion, a kind and a metadata.name; generateName is not taken, because a retry would make another one";
        let key = self.cluster(slot, |cluster| cluster.key_of(&object));
        let key = key.ok_or_else(|| Error::InvalidArgument(wrong.into()))?;
        if !key.namespace.is_empty() {
            object["metadata"]["namespace"] = key.namespace.clone().into();
        }
        self.check_secrets(run, OPERATION, slot, &key, &object)?;
        let words = format!("create {}", described(&key, &object));
        let there = self.cluster(slot, |cluster| cluster.objects.contains_key(&key));
        let after = match there {
            true => Err(Error::Conflict(format!("{} exists already", key.shown()))),
            false => Ok(Some(object)),
        };
        let change =
            Change { key: key.clone(), words, class: EffectClass::Write, before: Value::Null, after, differs: true };
        let made = self.change(run, ask, &authorized, change).await?;
        Ok(Reply::Value(json!(shown(&authorized, &key, made))))
    }

    async fn patch(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        const OPERATION: &str = "kubernetes.patch";
        let authorized = self.authorise::<Kubernetes>(&run.gate, OPERATION, slot, &[KubernetesAccess::Write])?;
        let patch = parsed(&ask.text("patch"))?;
        let (key, kind) = (self.key(ask, slot)?, ask.text("kind"));
        self.check_secrets(run, OPERATION, slot, &key, &patch)?;
        let word = match kind.as_str() {
            "strategic" => "strategic merge",
            "apply" => "apply",
            "force-apply" => "apply, taking fields over,",
            "json" => "JSON patch",
            _ => "merge",
        };
        let words = format!("{word} {}", described(&key, &patch));
        let before = self.cluster(slot, |cluster| cluster.objects.get(&key).cloned());
        if before.is_none() && !kind.contains("apply") {
            return Err(key.missing().into());
        }
        let before = before.unwrap_or_default();
        let after = patched(&before, &patch, &kind).map(Some);
        let change = Change { key: key.clone(), words, class: EffectClass::Write, before, after, differs: true };
        let changed = self.change(run, ask, &authorized, change).await?;
        Ok(Reply::Value(json!(shown(&authorized, &key, changed))))
    }

    async fn delete_object(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let authorized =
            self.authorise::<Kubernetes>(&run.gate, "kubernetes.delete", slot, &[KubernetesAccess::Delete])?;
        let key = self.key(ask, slot)?;
        let before = self.cluster(slot, |cluster| cluster.find(&key))?;
        let options = ask.arguments.get("options").cloned().unwrap_or_default();
        let mut words = "delete".to_owned();
        if let Some(seconds) = options.get("grace-seconds").and_then(Value::as_u64) {
            words += &format!(" with {seconds} s of grace");
        }
        let wanted = |key: &str| options.get(key).and_then(Value::as_str).map(str::to_owned);
        let (uid, version) = (wanted("uid"), wanted("resource-version"));
        if uid.is_some() || version.is_some() {
            words += " if it is unchanged";
        }
        if options.get("propagation") == Some(&json!("orphan")) {
            words += ", leaving its dependents";
        }
        let same = |wanted: &Option<String>, field: &str| {
            wanted.as_ref().is_none_or(|wanted| before["metadata"][field] == wanted.as_str())
        };
        let after = match same(&uid, "uid") && same(&version, "resourceVersion") {
            true => Ok(None),
            false => Err(Error::Conflict(format!("{} is another one by now", key.shown()))),
        };
        let change = Change { key, words, class: EffectClass::Destructive, before, after, differs: false };
        self.change(run, ask, &authorized, change).await?;
        Ok(Reply::nothing())
    }

    async fn set_scale(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let authorized =
            self.authorise::<Kubernetes>(&run.gate, "kubernetes.set-scale", slot, &[KubernetesAccess::Scale])?;
        let key = self.key(ask, slot)?;
        let before = self.cluster(slot, |cluster| cluster.find(&key))?;
        let (to, expected) = (ask.number("replicas").unwrap_or(0), ask.number("expected"));
        let from = before["spec"]["replicas"].as_u64().unwrap_or(1);
        if let Some(expected) = expected.filter(|expected| *expected != from) {
            let text = format!("{}: {from} replicas are wanted, not {expected}", key.shown());
            return Err(Error::Conflict(text).into());
        }
        let mut after = before.clone();
        after["spec"]["replicas"] = json!(to);
        let class = if to < from { EffectClass::Destructive } else { EffectClass::Write };
        let words = format!("scale from {from} to {to} replicas");
        let change = Change { key, words, class, before, after: Ok(Some(after)), differs: false };
        self.change(run, ask, &authorized, change).await?;
        Ok(Reply::Value(json!(from)))
    }

    async fn restart(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let authorized =
            self.authorise::<Kubernetes>(&run.gate, "kubernetes.restart", slot, &[KubernetesAccess::Scale])?;
        let key = self.key(ask, slot)?;
        if !matches!(key.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet") {
            let resource = documents::resource(&key.api_version, &key.kind);
            return Err(Error::InvalidArgument(format!("{resource} have no rollout")).into());
        }
        let before = self.cluster(slot, |cluster| cluster.find(&key))?;
        let mut after = before.clone();
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let annotations = json!({ "kubectl.kubernetes.io/restartedAt": now });
        documents::merge(
            &mut after,
            &json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } }),
        );
        let words = "restart every pod".to_owned();
        let change = Change { key, words, class: EffectClass::Write, before, after: Ok(Some(after)), differs: true };
        self.change(run, ask, &authorized, change).await?;
        Ok(Reply::nothing())
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

    async fn exec(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let authorized = self.authorise::<Kubernetes>(&run.gate, "kubernetes.exec", slot, &[KubernetesAccess::Exec])?;
        let command = ask.arguments.get("command").cloned().unwrap_or_default();
        let words: Vec<String> = command
            .get("words")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect();
        if words.is_empty() || words.iter().any(|word| word.contains('\0')) {
            let text = "a command has at least one word, and none with a NUL";
            return Err(Error::InvalidArgument(text.into()).into());
        }
        let own = self.cluster(slot, |cluster| cluster.namespace.clone());
        let word = |key: &str| command.get(key).and_then(Value::as_str).map(str::to_owned);
        let (namespace, name) = (word("namespace").unwrap_or(own), word("pod").unwrap_or_default());
        let pod = Key { api_version: "v1".into(), kind: "Pod".into(), namespace, name };
        let effect = Effect {
            object: pod.shown(),
            detail: rota_telemetry::mask(&quoted(&words)).into_owned(),
            class: EffectClass::Destructive,
            exact: Exact::of(&words),
        };
        let Some(permit) = self.effect(&authorized, effect).await? else {
            return Ok(self.child(ask, Child::planned()));
        };
        drop(self.incoming(run, ask).await?);
        let answer = self.must(ask)?;
        self.waited(run, &answer).await?;
        self.started(ask, permit, &answer, &words[0]).await
    }

    async fn run_job(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        const OPERATION: &str = "kubernetes.run-job";
        let authorized = self.authorise::<Kubernetes>(&run.gate, OPERATION, slot, &[KubernetesAccess::Run])?;
        let job = ask.arguments.get("job").cloned().unwrap_or_default();
        let word = |key: &str| job.get(key).and_then(Value::as_str).map(str::to_owned);
        if job.get("secret-variables").and_then(Value::as_array).is_some_and(|all| !all.is_empty()) {
            let both = [KubernetesAccess::Run, KubernetesAccess::Secrets];
            self.authorise::<Kubernetes>(&run.gate, OPERATION, slot, &both)?;
        }
        let image = word("image").unwrap_or_default();
        if !image.contains("@sha256:") {
            let text = format!("the image `{image}` is not pinned by digest: registry/name@sha256:...");
            return Err(Error::InvalidArgument(text).into());
        }
        let own = self.cluster(slot, |cluster| cluster.namespace.clone());
        let name = format!("{}-case", word("name").unwrap_or_default());
        let key = Key {
            api_version: "batch/v1".into(),
            kind: "Job".into(),
            namespace: word("namespace").unwrap_or(own),
            name,
        };
        let detail = format!("create {}", described(&key, &job));
        let effect =
            Effect { object: key.shown(), detail, class: EffectClass::Write, exact: Exact::of([job.to_string()]) };
        let Some(permit) = self.effect(&authorized, effect).await? else {
            return Ok(self.child(ask, Child::planned()));
        };
        let answer = self.must(ask)?;
        self.waited(run, &answer).await?;
        self.started(ask, permit, &answer, "the job").await
    }

    async fn lock(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let authorized =
            self.authorise::<Kubernetes>(&run.gate, "kubernetes.lock", slot, &[KubernetesAccess::Write])?;
        let seconds = ask.number("seconds").unwrap_or_default();
        if !(5..=3600).contains(&seconds) {
            return Err(Error::InvalidArgument("a lock lasts between 5 and 3600 seconds".into()).into());
        }
        let own = self.cluster(slot, |cluster| cluster.namespace.clone());
        let key = Key {
            api_version: "coordination.k8s.io/v1".into(),
            kind: "Lease".into(),
            namespace: ask.some_text("namespace").unwrap_or(own),
            name: ask.text("name"),
        };
        let identity = run.gate.identity();
        let holder = format!("rota/{}/{}", identity.job, identity.run);
        let by = self.cluster(slot, |cluster| cluster.locks.get(&key.shown()).cloned()).filter(|by| *by != holder);
        let taken = |by: &str| {
            let (namespace, name) = (&key.namespace, &key.name);
            Error::Conflict(format!(
                "the lock {namespace}/{name} is held by {by}; wait until it ends, or look at what it does"
            ))
        };
        let mut detail = format!("take the lock as {holder}");
        if run.gate.mode() == Mode::Plan
            && let Some(by) = &by
        {
            detail += &format!("\nit would be refused: {by} holds it");
        }
        let exact = Exact::of([format!("{seconds}")]);
        let effect = Effect { object: key.shown(), detail, class: EffectClass::Write, exact };
        let permit = self.effect(&authorized, effect).await?;
        match permit {
            None => {
                if let Some(by) = &by {
                    return Err(taken(by).into());
                }
            }
            Some(permit) => {
                let result = match (self.told(run, ask).await, &by) {
                    (Err(error), _) => Err(error),
                    (Ok(_), Some(by)) => Err(taken(by)),
                    (Ok(_), None) => {
                        self.cluster(slot, |cluster| cluster.locks.insert(key.shown(), holder.clone()));
                        Ok(())
                    }
                };
                self.conclude(ask, permit, result, |()| "taken".to_owned()).await?;
            }
        }
        self.hold(ask.number, Held::Lock { slot: slot.to_owned(), object: key.shown() });
        Ok(Reply::nothing())
    }

    async fn release(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
        let object = match &ask.held {
            Some(Held::Lock { object, .. }) => object.clone(),
            _ => String::new(),
        };
        let authorized =
            self.authorise::<Kubernetes>(&run.gate, "kubernetes.release", slot, &[KubernetesAccess::Write])?;
        let effect = Effect {
            object: object.clone(),
            detail: "give the lock back".to_owned(),
            class: EffectClass::Write,
            exact: Exact::shown(),
        };
        let Some(permit) = self.effect(&authorized, effect).await? else { return Ok(Reply::nothing()) };
        let result = self.told(run, ask).await.map(|_| {
            self.cluster(slot, |cluster| cluster.locks.remove(&object));
        });
        self.conclude(ask, permit, result, |()| "given back".to_owned()).await?;
        Ok(Reply::nothing())
    }
}

fn parsed(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|error| Error::InvalidArgument(format!("the document is not JSON: {error}")))
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
        let bound = authorized.gate().bound().find(|(slot, _, _)| *slot == authorized.slot());
        bound.is_some_and(|(_, _, accesses)| accesses.iter().any(|access| access == "secrets"))
    };
    if key.is_secret() && !granted() {
        hide(&mut object);
    }
    object.to_string()
}

/// A document as it is put on record: of a secret, its keys alone.
fn described(key: &Key, document: &Value) -> String {
    if !key.is_secret() {
        return rota_telemetry::mask(&document.to_string()).into_owned();
    }
    let fields = ["data", "stringData"].iter().filter_map(|field| document[*field].as_object());
    let keys: Vec<String> = fields.flat_map(|map| map.keys()).cloned().collect();
    format!("a Secret (keys {})", keys.join(", "))
}

fn patched(before: &Value, patch: &Value, kind: &str) -> Result<Value, Error> {
    let mut after = before.clone();
    match kind {
        "json" => documents::operations(&mut after, patch)?,
        "strategic" => documents::strategic(&mut after, patch),
        _ => documents::merge(&mut after, patch),
    }
    let version = patch.pointer("/metadata/resourceVersion").filter(|version| !version.is_null());
    if version.is_some_and(|version| *version != before["metadata"]["resourceVersion"]) && !before.is_null() {
        return Err(Error::Conflict("the object has been modified; read it again".into()));
    }
    Ok(after)
}

fn scale(object: &Value) -> Value {
    let labels = object.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let selector = labels.map(|labels| {
        let each = labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
        each.collect::<Vec<_>>().join(",")
    });
    let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1);
    json!({ "wanted": wanted, "current": object["status"]["replicas"].as_u64().unwrap_or(wanted), "selector": selector })
}

/// None: the condition holds; otherwise why it does not.
fn holds(object: Option<&Value>, condition: &Value) -> Result<Option<String>, Error> {
    let gone = condition == "gone";
    let Some(object) = object else {
        return Ok((!gone).then(|| "there is none of the name".to_owned()));
    };
    if gone {
        return Ok(Some("it is not being deleted".into()));
    }
    if condition == "exists" {
        return Ok(None);
    }
    if condition == "rolled-out" {
        let rollout = rollout(object);
        if rollout.failed {
            let (code, message) = ("rollout-failed".to_owned(), rollout.note);
            return Err(Error::Failed(Fault { code, message, detail: None, retryable: false }));
        }
        return Ok((!rollout.complete).then_some(rollout.note));
    }
    if let Some([kind, status]) = condition.get("status").and_then(Value::as_array).map(Vec::as_slice) {
        let all = object["status"]["conditions"].as_array();
        return Ok(match all.into_iter().flatten().find(|one| one["type"] == *kind) {
            Some(one) if one["status"] == *status => None,
            Some(one) => Some(format!("{} {}", one["status"], one["message"])),
            None => Some("its status has no such condition".into()),
        });
    }
    if let Some([pointer, wanted]) = condition.get("field").and_then(Value::as_array).map(Vec::as_slice) {
        let wanted: Value = wanted.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let found = object.pointer(pointer.as_str().unwrap_or_default()).unwrap_or(&Value::Null);
        return Ok((*found != wanted).then(|| "it is not as wanted".to_owned()));
    }
    Ok(Some("the condition is none that cases know".into()))
}

/// What a watch saw, as a case writes it: `{ change = "added", object = { ... } }`.
fn watched(item: &Value, version: &str) -> Value {
    let object = item.get("object").cloned().unwrap_or_default();
    let own = object.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(str::to_owned);
    json!({
        "change": item.get("change").cloned().unwrap_or_else(|| json!("modified")),
        "object": text(&object),
        "resource-version": item.get("resource_version").and_then(Value::as_str).map(str::to_owned).or(own).unwrap_or_else(|| version.to_owned()),
    })
}

/// The same, with another value at its end than the number of items.
fn ending_with(reply: Reply, value: Value) -> Reply {
    match reply {
        Reply::Items { head, items, end: Ok(None) } => Reply::Items { head, items, end: Ok(Some(value)) },
        other => other,
    }
}

/// Words as a shell would read them.
pub(super) fn quoted(words: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=./:,+@%*".contains(c);
    let word = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}
