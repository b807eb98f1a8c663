//! A cluster of objects in memory. It has no controllers: what they would do, the test does.

use super::ToolOutput;
use crate::HostError;
use crate::bindings::rota::runbook::kubernetes::{Event, Object, Rollout};
use serde_json::Value as Json;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// API version, kind, namespace, name.
pub(super) type Key = (String, String, String, String);

type Run = Rc<dyn Fn(&[String], &[u8]) -> ToolOutput>;

#[derive(Default)]
struct Inner {
    objects: BTreeMap<Key, Json>,
    commands: Vec<(String, Run)>,
    logs: BTreeMap<String, String>,
    locks: BTreeMap<String, String>,
    events: BTreeMap<String, Vec<Event>>,
    version: u64,
}

/// The cluster in a slot. Clones are the same cluster.
#[derive(Clone, Default)]
pub struct ClusterMock(Rc<RefCell<Inner>>);

/// The namespace that is meant where none is named.
pub(super) const NAMESPACE: &str = "mock";

pub(super) fn key(object: &Object) -> Key {
    let namespace = object.namespace.clone().unwrap_or_else(|| NAMESPACE.to_owned());
    (object.kind.api_version.clone(), object.kind.name.clone(), namespace, object.name.clone())
}

pub(super) fn key_of(document: &Json) -> Result<Key, HostError> {
    let word = |pointer: &str| document.pointer(pointer).and_then(Json::as_str).map(str::to_owned);
    match (word("/apiVersion"), word("/kind"), word("/metadata/name")) {
        (Some(version), Some(kind), Some(name)) => {
            Ok((version, kind, word("/metadata/namespace").unwrap_or_else(|| NAMESPACE.to_owned()), name))
        }
        _ => Err(HostError::InvalidArgument("an object has an apiVersion, a kind and a metadata.name".to_owned())),
    }
}

impl ClusterMock {
    /// Put an object into it, in place of one of the name.
    ///
    /// # Panics
    /// When it has no apiVersion, kind or name.
    pub fn put(&self, object: Json) -> &Self {
        let key = key_of(&object).expect("an object has an apiVersion, a kind and a metadata.name");
        self.store(key, object);
        self
    }

    /// An object of it.
    pub fn object(&self, object: &Object) -> Option<Json> {
        self.0.borrow().objects.get(&key(object)).cloned()
    }

    /// What a command or a job does whose words, joined by spaces, contain a text. The latest such answer wins.
    pub fn on(&self, words: &str, output: ToolOutput) -> &Self {
        self.on_with(words, move |_, _| output.clone())
    }

    /// What it does with its words and standard input.
    pub fn on_with(&self, words: &str, run: impl Fn(&[String], &[u8]) -> ToolOutput + 'static) -> &Self {
        self.0.borrow_mut().commands.push((words.to_owned(), Rc::new(run)));
        self
    }

    /// What a pod has logged.
    pub fn log(&self, pod: &str, text: &str) -> &Self {
        self.0.borrow_mut().logs.insert(pod.to_owned(), text.to_owned());
        self
    }

    /// Somebody else holds a lock.
    pub fn held_by(&self, lock: &str, holder: &str) -> &Self {
        self.0.borrow_mut().locks.insert(lock.to_owned(), holder.to_owned());
        self
    }

    /// What the cluster's events say about the objects of a name.
    pub fn events(&self, name: &str, events: Vec<Event>) -> &Self {
        self.0.borrow_mut().events.insert(name.to_owned(), events);
        self
    }

    pub(super) fn find(&self, key: &Key) -> Result<Json, HostError> {
        let missing = || HostError::NotFound(format!("{} \"{}\" not found", key.1, key.3));
        self.0.borrow().objects.get(key).cloned().ok_or_else(missing)
    }

    pub(super) fn store(&self, key: Key, mut object: Json) -> Json {
        let mut inner = self.0.borrow_mut();
        inner.version += 1;
        object["metadata"]["resourceVersion"] = inner.version.to_string().into();
        object["metadata"]["namespace"] = key.2.clone().into();
        inner.objects.insert(key, object.clone());
        object
    }

    pub(super) fn remove(&self, key: &Key) {
        self.0.borrow_mut().objects.remove(key);
    }

    pub(super) fn all(&self) -> Vec<(Key, Json)> {
        self.0.borrow().objects.iter().map(|(key, object)| (key.clone(), object.clone())).collect()
    }

    pub(super) fn version(&self) -> String {
        self.0.borrow().version.to_string()
    }

    pub(super) fn command(&self, words: &[String]) -> Run {
        let joined = words.join(" ");
        let inner = self.0.borrow();
        let found = inner.commands.iter().rev().find(|(pattern, _)| joined.contains(pattern));
        found.unwrap_or_else(|| panic!("the mock does not know the command: {joined}")).1.clone()
    }

    pub(super) fn logged(&self, pod: &str) -> Result<String, HostError> {
        let missing = || HostError::NotFound(format!("pods \"{pod}\" not found"));
        self.0.borrow().logs.get(pod).cloned().ok_or_else(missing)
    }

    pub(super) fn holder(&self, lock: &str) -> Option<String> {
        self.0.borrow().locks.get(lock).cloned()
    }

    pub(super) fn events_of(&self, name: &str) -> Vec<Event> {
        self.0.borrow().events.get(name).cloned().unwrap_or_default()
    }
}

/// How far a rollout is, by what the object's status says.
pub(super) fn rollout(object: &Json) -> Rollout {
    let count = |pointer: &str| object.pointer(pointer).and_then(Json::as_u64).and_then(|n| u32::try_from(n).ok());
    let wanted = count("/spec/replicas").unwrap_or(1);
    let of = |pointer: &str| count(pointer).unwrap_or(0);
    let (updated, available) = (of("/status/updatedReplicas"), of("/status/availableReplicas"));
    let complete = updated >= wanted && available >= wanted;
    let note = format!("{available} of {wanted} replicas are available");
    Rollout { complete, failed: false, wanted, updated, ready: of("/status/readyReplicas"), available, note }
}

/// JSON merge patch (RFC 7386).
pub(super) fn merge(object: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Json::Object(serde_json::Map::new());
    }
    for (key, value) in patch {
        match (value, object.as_object_mut()) {
            (Json::Null, Some(object)) => drop(object.remove(key)),
            (value, Some(object)) => merge(object.entry(key.clone()).or_insert(Json::Null), value),
            (_, None) => {}
        }
    }
}

/// JSON patch (RFC 6902) of `test`, `add`, `replace` and `remove` on members of objects.
pub(super) fn json_patch(object: &mut Json, patch: &Json) -> Result<(), HostError> {
    for operation in patch.as_array().into_iter().flatten() {
        let word = operation["op"].as_str().unwrap_or_default();
        let path = operation["path"].as_str().unwrap_or_default();
        let misses = || HostError::InvalidArgument(format!("the patch finds nothing at {path}"));
        let (parent, member) = path.rsplit_once('/').ok_or_else(misses)?;
        let member = member.replace("~1", "/").replace("~0", "~");
        let parent = object.pointer_mut(parent).and_then(Json::as_object_mut).ok_or_else(misses)?;
        let there = parent.get(&member).cloned();
        match word {
            "test" if there.as_ref() != Some(&operation["value"]) => {
                return Err(HostError::Conflict(format!("the test of {path} failed")));
            }
            "test" => {}
            "replace" | "remove" if there.is_none() => return Err(misses()),
            "remove" => drop(parent.remove(&member)),
            "add" | "replace" => drop(parent.insert(member, operation["value"].clone())),
            other => return Err(HostError::InvalidArgument(format!("the mock knows no operation `{other}`"))),
        }
    }
    Ok(())
}

/// Whether labels satisfy a selector of equalities.
pub(super) fn selected(object: &Json, selector: Option<&str>) -> bool {
    let labels = &object["metadata"]["labels"];
    selector.unwrap_or_default().split(',').filter(|part| !part.is_empty()).all(|part| {
        match (part.split_once("!="), part.split_once('=')) {
            (Some((key, value)), _) => labels[key] != value,
            (None, Some((key, value))) => labels[key] == value.trim_start_matches('='),
            (None, None) => !labels[part].is_null(),
        }
    })
}
