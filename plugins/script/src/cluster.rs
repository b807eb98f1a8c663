//! `cluster`: Kubernetes.

use crate::desk::{Desk, Listed, Listings, Opened, Slab};
use crate::flow::{self, Flow, Source};
use crate::tool;
use crate::value::Js;
use rota_sdk::cluster::{
    Change, Cluster, Command, DeleteOptions, Kind, Lock, LogOptions, Need, Object, Objects, PatchKind, Selection, Watch,
};
use rota_sdk::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;

/// How many objects come at a time.
const BATCH: usize = 64;

/// What a script holds of the cluster.
#[derive(Default)]
pub(crate) struct Clusters {
    open: Opened<Cluster>,
    listings: Listings<Objects>,
    watches: Listings<Watching>,
    locks: RefCell<Slab<Rc<Lock>>>,
}

impl Clusters {
    /// Let go of everything.
    pub(crate) fn forget(&self) {
        self.listings.forget();
        self.watches.forget();
        self.release();
        self.open.forget();
    }

    /// Let go of every lock, which gives it back.
    pub(crate) fn release(&self) {
        self.locks.borrow_mut().clear();
    }
}

/// Calls of `cluster`.
pub(crate) async fn call(desk: &Desk, what: &str, args: &[Js]) -> Result<Js> {
    let clusters = &desk.clusters;
    match (what, args) {
        ("next", [handle]) => return clusters.listings.next(handle, BATCH).await,
        ("close", [handle]) => {
            clusters.listings.close(handle);
            return Ok(Js::Undefined);
        }
        // Each as it comes: the next may be long in coming.
        ("changes", [handle]) => return clusters.watches.next(handle, 1).await,
        ("unwatch", [handle]) => {
            clusters.watches.close(handle);
            return Ok(Js::Undefined);
        }
        ("check", [handle]) => {
            let lock = clusters.locks.borrow().get(handle)?.clone();
            return lock.check().await.map(|()| Js::Undefined);
        }
        ("release", [handle]) => {
            // While it is looked at, it is given back when that has ended.
            let lock = Rc::try_unwrap(clusters.locks.borrow_mut().remove(handle)?);
            return match lock {
                Ok(lock) => lock.release().await.map(|()| Js::Undefined),
                Err(_) => Err(Error::new("a check of the lock has not ended: await it")),
            };
        }
        _ => {}
    }
    let [slot, args @ ..] = args else { return Err(Desk::unknown("cluster", what)) };
    let slot = desk.cluster_slot(slot)?;
    let cluster = clusters.open.or_open(slot.name(), slot.open()).await?;
    match (what, args) {
        ("namespace", []) => Ok(Js::Text(cluster.namespace())),
        ("get", [kind, name, options]) => {
            Ok(cluster.get(&object(kind, name, options)?).await?.map_or(Js::Null, Js::from_json))
        }
        ("list", [kind, options]) => {
            let listing = cluster.list(&self::kind(kind)?, selection(options)?).await?;
            Ok(clusters.listings.insert(listing))
        }
        ("watch", [kind, options]) => {
            let seconds = seconds(options, 60)?;
            let from = text(options, "from")?;
            let watch = cluster.watch(&self::kind(kind)?, selection(options)?, from, seconds).await?;
            Ok(clusters.watches.insert(Watching { watch, is_over: false }))
        }
        ("require", [Js::List(needs)]) => {
            let needs = needs.iter().map(need).collect::<Result<Vec<_>>>()?;
            cluster.require(needs).await.map(|()| Js::Undefined)
        }
        ("lock", [Js::Text(name), options]) => {
            let lock = cluster.lock_in(name, text(options, "namespace")?, seconds(options, 30)?).await?;
            Ok(clusters.locks.borrow_mut().insert(Rc::new(lock)))
        }
        ("create", [object @ Js::Object(_)]) => cluster.create(&object.clone().into_json()).await.map(Js::from_json),
        ("patch", [kind, name, patch, options]) => {
            let how = match options.member("type") {
                Js::Undefined | Js::Null => PatchKind::Merge,
                Js::Text(word) => match word.as_str() {
                    "merge" => PatchKind::Merge,
                    "strategic" => PatchKind::Strategic,
                    "apply" => PatchKind::Apply,
                    "force-apply" => PatchKind::ForceApply,
                    "json" => PatchKind::Json,
                    other => {
                        return Err(Error::new(format!(
                            "no patch {other:?}: merge, strategic, apply, force-apply or json"
                        )));
                    }
                },
                _ => return Err(Error::new("`type` is a text: merge, strategic, apply, force-apply or json")),
            };
            let patched = cluster.patch(&object(kind, name, options)?, how, &patch.clone().into_json()).await?;
            Ok(Js::from_json(patched))
        }
        ("delete", [kind, name, options]) => {
            let mut how = DeleteOptions::plain();
            how.uid = text(options, "uid")?;
            how.resource_version = text(options, "resourceVersion")?;
            cluster.delete(&object(kind, name, options)?, how).await.map(|()| Js::Undefined)
        }
        ("scale", [kind, name, Js::Number(replicas), options]) => {
            if replicas.fract() != 0.0 || !(0.0..=1e6).contains(replicas) {
                return Err(Error::new("replicas are a whole number from 0"));
            }
            let expected = match options.member("expected") {
                Js::Number(expected) => Some(*expected as u32),
                _ => None,
            };
            Ok(Js::count(cluster.set_scale(&object(kind, name, options)?, *replicas as u32, expected).await?.into()))
        }
        ("get-scale", [kind, name, options]) => {
            let scale = cluster.get_scale(&object(kind, name, options)?).await?;
            Ok(Js::object([
                ("wanted", Js::Number(scale.wanted.into())),
                ("current", Js::Number(scale.current.into())),
                ("selector", scale.selector.map_or(Js::Null, Js::Text)),
            ]))
        }
        ("restart", [kind, name, options]) => {
            cluster.restart(&object(kind, name, options)?).await.map(|()| Js::Undefined)
        }
        ("rollout", [kind, name, options]) => {
            let rollout = cluster.rollout_status(&object(kind, name, options)?).await?;
            Ok(Js::object([
                ("complete", Js::Flag(rollout.complete)),
                ("failed", Js::Flag(rollout.failed)),
                ("wanted", Js::Number(rollout.wanted.into())),
                ("ready", Js::Number(rollout.ready.into())),
                ("note", Js::Text(rollout.note)),
            ]))
        }
        ("log-stream", [Js::Text(pod), options]) => {
            let mut how = LogOptions::whole();
            how.container = text(options, "container")?;
            how.previous = flag(options, "previous");
            how.follow = flag(options, "follow");
            how.timestamps = flag(options, "timestamps");
            how.tail_lines = number(options, "tail")?;
            how.since_seconds = number(options, "since")?;
            let (stream, ending) = cluster.logs(pod, how).await?;
            Ok(desk.flows.insert(Flow::new(format!("the log of {pod}"), stream).from(Source::Counted(ending))))
        }
        ("spawn", [Js::Text(pod), Js::List(words), options, stdin]) => {
            let words = words.iter().map(flow::text).collect::<Result<Vec<_>>>();
            let words = words.map_err(|_| Error::new("a command is an array of texts"))?;
            let mut command = Command::new(pod.clone(), &words.iter().map(String::as_str).collect::<Vec<_>>());
            command.namespace = text(options, "namespace")?;
            command.container = text(options, "container")?;
            command.verified = flag(options, "verified");
            let (stream, watch) = tool::stdin(desk, stdin)?;
            let child = cluster.exec(command, stream).await?;
            Ok(desk.programs.insert(desk, format!("the command in {pod}"), child, watch))
        }
        ("run-job", [job @ Js::Object(_)]) => {
            let wanted = crate::job::job(job)?;
            let name = format!("the job {}", wanted.name);
            let child = cluster.run_job(wanted).await?;
            Ok(desk.programs.insert(desk, name, child, None))
        }
        ("version", []) => cluster.version().await.map(Js::Text),
        ("events", [kind, name, options]) => {
            let events = cluster.events(&object(kind, name, options)?).await?.into_iter().map(|event| {
                Js::object([
                    ("level", Js::Text(event.level)),
                    ("reason", Js::Text(event.reason)),
                    ("message", Js::Text(event.message)),
                    ("count", Js::Number(event.count.into())),
                    ("lastSeen", event.last_seen.map_or(Js::Null, Js::Instant)),
                ])
            });
            Ok(Js::List(events.collect()))
        }
        ("wait", [kind, name, condition, options]) => {
            let seconds = seconds(options, 60)?;
            let condition = crate::job::condition(condition)?;
            let found = cluster.wait_for(&object(kind, name, options)?, condition, seconds).await?;
            Ok(found.map_or(Js::Null, Js::from_json))
        }
        _ => Err(Desk::unknown("cluster", what)),
    }
}

impl Listed for Objects {
    async fn next(&mut self) -> Result<Option<Js>> {
        Ok(Objects::next(self).await?.map(Js::from_json))
    }
}

/// What changes, and at the end a bookmark: the version from which a later watch misses nothing.
struct Watching {
    watch: Watch,
    is_over: bool,
}

impl Listed for Watching {
    async fn next(&mut self) -> Result<Option<Js>> {
        if self.is_over {
            return Ok(None);
        }
        let (change, object) = match self.watch.next().await? {
            Some((change, object)) => (change, Js::from_json(object)),
            None => {
                self.is_over = true;
                (Change::Bookmark, Js::Null)
            }
        };
        let change = match change {
            Change::Added => "added",
            Change::Modified => "modified",
            Change::Deleted => "deleted",
            Change::Bookmark => "bookmark",
        };
        Ok(Some(Js::object([
            ("change", Js::text(change)),
            ("object", object),
            ("version", self.watch.version().map_or(Js::Null, Js::text)),
        ])))
    }
}

fn selection(options: &Js) -> Result<Selection> {
    let mut selection = Selection::all();
    selection.labels = text(options, "labels")?;
    selection.fields = text(options, "fields")?;
    selection.namespace = text(options, "namespace")?;
    selection.all_namespaces = flag(options, "allNamespaces");
    Ok(selection)
}

/// `{ verb: "patch", kind: "Deployment", name: "web" }`.
fn need(given: &Js) -> Result<Need> {
    let Some(verb) = text(given, "verb")? else {
        return Err(
            Error::new("a need has a `verb`").hint("cluster.require({ verb: \"patch\", kind: \"Deployment\" })")
        );
    };
    Ok(Need {
        verb,
        kind: kind(given.member("kind"))?,
        subresource: text(given, "subresource")?,
        namespace: text(given, "namespace")?,
        name: text(given, "name")?,
    })
}

fn seconds(options: &Js, otherwise: u64) -> Result<u32> {
    Ok(number(options, "seconds")?.unwrap_or(otherwise).try_into().unwrap_or(u32::MAX))
}

/// `Deployment`, or `apps/v1/Deployment` for what is not one of the usual.
fn kind(given: &Js) -> Result<Kind> {
    const USUAL: [(&str, &str); 14] = [
        ("Pod", "v1"),
        ("Service", "v1"),
        ("ConfigMap", "v1"),
        ("Secret", "v1"),
        ("Node", "v1"),
        ("Namespace", "v1"),
        ("Event", "v1"),
        ("PersistentVolumeClaim", "v1"),
        ("Deployment", "apps/v1"),
        ("StatefulSet", "apps/v1"),
        ("DaemonSet", "apps/v1"),
        ("ReplicaSet", "apps/v1"),
        ("Job", "batch/v1"),
        ("CronJob", "batch/v1"),
    ];
    let Js::Text(given) = given else {
        return Err(Error::new("a kind is a text: \"Deployment\", or \"apps/v1/Deployment\""));
    };
    if let Some((name, version)) = USUAL.iter().find(|(name, _)| name == given) {
        return Ok(Kind::new(*version, *name));
    }
    match given.rsplit_once('/') {
        Some((version, name)) if !version.is_empty() && !name.is_empty() => Ok(Kind::new(version, name)),
        _ => Err(Error::new(format!("{given:?} is not one of the usual kinds"))
            .hint("say its version too: \"example.org/v1/Widget\"")),
    }
}

fn object(kind: &Js, name: &Js, options: &Js) -> Result<Object> {
    let Js::Text(name) = name else { return Err(Error::new("the name of an object is a text")) };
    let mut object = self::kind(kind)?.named(name.clone());
    object.namespace = text(options, "namespace")?;
    Ok(object)
}

fn flag(options: &Js, name: &str) -> bool {
    matches!(options.member(name), Js::Flag(true))
}

fn number(options: &Js, name: &str) -> Result<Option<u64>> {
    match options.member(name) {
        Js::Undefined | Js::Null => Ok(None),
        Js::Number(number) if *number >= 0.0 && number.fract() == 0.0 => Ok(Some(*number as u64)),
        _ => Err(Error::new(format!("`{name}` is a whole number"))),
    }
}

pub(crate) fn text(options: &Js, name: &str) -> Result<Option<String>> {
    match options.member(name) {
        Js::Undefined | Js::Null => Ok(None),
        Js::Text(text) => Ok(Some(text.clone())),
        _ => Err(Error::new(format!("`{name}` is a text"))),
    }
}
