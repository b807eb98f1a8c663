//! Changes of objects: made, or in a plan tried.

use super::{Key, shown};
use crate::world::ask::{Ask, Refused};
use crate::world::reply::Reply;
use crate::world::{World, documents};
use rota_authority::{Authorized, Effect, EffectClass, Exact, Kubernetes, KubernetesAccess, Mode};
use rota_capability::RunContext;
use rota_capability_kubernetes::objects::{are_used_by, difference};
use rota_contract::Error;
use serde_json::{Value, json};
use std::sync::Arc;

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

    pub(super) async fn create(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
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

    pub(super) async fn patch(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
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

    pub(super) async fn delete_object(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
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

    pub(super) async fn set_scale(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
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

    pub(super) async fn restart(&self, run: &Arc<RunContext>, ask: &Ask, slot: &str) -> Result<Reply, Refused> {
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
}

fn parsed(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|error| Error::InvalidArgument(format!("the document is not JSON: {error}")))
}

/// A document as it is put on record: of a secret, its keys alone.
pub(super) fn described(key: &Key, document: &Value) -> String {
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
