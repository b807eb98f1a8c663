//! `cluster`: Kubernetes.

use crate::desk::{Desk, Listed, Listings, Opened};
use crate::value::Js;
use rota_sdk::cluster::{Cluster, Command, DeleteOptions, Kind, LogOptions, Object, Objects, PatchKind, Selection};
use rota_sdk::prelude::*;

/// How much of a log or of a command's output is read.
const OUTPUT: usize = 8 << 20;
/// How many objects come at a time.
const BATCH: usize = 64;

/// What a script holds of the cluster.
#[derive(Default)]
pub(crate) struct Clusters {
    open: Opened<Cluster>,
    listings: Listings<Objects>,
}

impl Clusters {
    /// Let go of everything.
    pub(crate) fn forget(&self) {
        self.listings.forget();
        self.open.forget();
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
            let mut selection = Selection::all();
            selection.labels = text(options, "labels")?;
            selection.fields = text(options, "fields")?;
            selection.namespace = text(options, "namespace")?;
            selection.all_namespaces = matches!(options.member("allNamespaces"), Js::Flag(true));
            let listing = cluster.list(&self::kind(kind)?, selection).await?;
            Ok(clusters.listings.insert(listing))
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
        ("logs", [Js::Text(pod), options]) => {
            let mut how = LogOptions::whole();
            how.container = text(options, "container")?;
            how.previous = matches!(options.member("previous"), Js::Flag(true));
            how.tail_lines = match options.member("tail") {
                Js::Number(lines) => Some(*lines as u64),
                _ => Some(1000),
            };
            let (stream, ending) = cluster.logs(pod, how).await?;
            let bytes = stream.collect(OUTPUT).await?;
            ending.wait().await?;
            Ok(Js::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        ("exec", [Js::Text(pod), Js::List(words), options]) => {
            let words = words.iter().map(|word| match word {
                Js::Text(word) => Ok(word.as_str()),
                _ => Err(Error::new("a command is an array of texts")),
            });
            let mut command = Command::new(pod.clone(), &words.collect::<Result<Vec<_>>>()?);
            command.namespace = text(options, "namespace")?;
            command.container = text(options, "container")?;
            let child = cluster.exec(command, None).await?;
            let output = child.stdout()?.collect(OUTPUT).await;
            child.success().await?;
            Ok(Js::Text(String::from_utf8_lossy(&output?).into_owned()))
        }
        _ => Err(Desk::unknown("cluster", what)),
    }
}

impl Listed for Objects {
    async fn next(&mut self) -> Result<Option<Js>> {
        Ok(Objects::next(self).await?.map(Js::from_json))
    }
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

fn text(options: &Js, name: &str) -> Result<Option<String>> {
    match options.member(name) {
        Js::Undefined | Js::Null => Ok(None),
        Js::Text(text) => Ok(Some(text.clone())),
        _ => Err(Error::new(format!("`{name}` is a text"))),
    }
}
