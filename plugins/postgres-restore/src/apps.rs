//! The applications: how many replicas each has, down to none, and back to as many.

use crate::{Context, Parameters};
use rota_sdk::HostError;
use rota_sdk::cluster::{Cluster, Kind, Need, Object, Selection};
use rota_sdk::prelude::*;
use rota_sdk_backup::tell::some;
use std::collections::BTreeMap;
use std::time::Duration;

/// More deployments than that are a mistake in the selector.
const MOST: usize = 1_000;
/// How often pods are looked for.
const PAUSE: Duration = Duration::from_millis(300);
/// How often a scale that somebody changes at this very moment is read anew.
const TRIES: usize = 5;

/// A deployment, as it was found.
#[data]
#[derive(PartialEq, Eq)]
pub struct App {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Its identity: another deployment of the name is not this one.
    pub(crate) uid: String,
    /// How many replicas it wanted.
    pub(crate) replicas: u32,
    /// Its autoscaler, where it has one. An autoscaler leaves a deployment alone while that has 0 replicas.
    pub(crate) autoscaler: Option<Autoscaler>,
}

/// An autoscaler, as it was found.
#[data]
#[derive(PartialEq, Eq)]
pub(crate) struct Autoscaler {
    /// Its name.
    pub(crate) name: String,
    /// The fewest replicas.
    pub(crate) min: u64,
    /// The most.
    pub(crate) max: u64,
}

/// What became of a deployment.
#[data]
pub(crate) struct Scaled {
    /// Namespace and name.
    pub(crate) deployment: String,
    /// How many replicas it wanted before.
    pub(crate) before: u32,
    /// How many it wants now; null where that could not be read.
    pub(crate) after: Option<u32>,
    /// Its autoscaler, where it has one.
    pub(crate) autoscaler: Option<Autoscaler>,
    /// What somebody else did meanwhile, which was left as it is; null where nobody did anything.
    pub(crate) others: Option<String>,
}

impl App {
    pub(crate) fn object(&self) -> Object {
        Object::deployment(&self.name).in_namespace(&self.namespace)
    }

    pub(crate) fn title(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The deployments that are meant, with their replicas and autoscalers.
///
/// # Errors
/// When one is not there, or something that will be needed is not allowed.
pub(crate) async fn find(
    cx: &Context,
    cluster: &Cluster,
    parameters: &Parameters,
    report: &mut Report,
) -> Result<Vec<App>> {
    if !parameters.names_deployments() {
        return Err(Error::new("the slot `cluster` is bound, and no deployment is named")
            .hint("name those that use the database with `deployments` or `selector`, or leave the slot unbound"));
    }
    if !cx.is_plan() && !cx.cluster().is_some_and(|slot| slot.grants("scale")) {
        return Err(Error::new(
            "applications are scaled down and back, and `scale` on the slot `cluster` is not granted",
        )
        .hint("grant it with --grant cluster=read,scale"));
    }
    let kind = Kind::new("apps/v1", "Deployment");
    let mut found: BTreeMap<(String, String), Json> = BTreeMap::new();
    let own = cluster.namespace();
    for given in &parameters.deployments {
        let (namespace, name) = given.split_once('/').unwrap_or((&own, given));
        let object = Object::deployment(name).in_namespace(namespace);
        found.insert((namespace.to_owned(), name.to_owned()), existing(cluster, &object).await?);
    }
    if let Some(selector) = &parameters.selector {
        let listed = cluster.list(&kind, Selection::all().labels(selector)).await?.collect(MOST).await?;
        if listed.is_empty() && found.is_empty() {
            return Err(Error::new(format!("no deployment of namespace {own} has the labels {selector:?}")));
        }
        for object in listed {
            let word = |pointer: &str| object.pointer(pointer).and_then(Json::as_str).unwrap_or_default().to_owned();
            found.insert((word("/metadata/namespace"), word("/metadata/name")), object);
        }
    }
    let mut needs = Vec::new();
    for (namespace, name) in found.keys() {
        let need = |verb: &str, kind: Kind, subresource: Option<&str>, name: Option<&str>| Need {
            verb: verb.to_owned(),
            kind,
            subresource: subresource.map(str::to_owned),
            namespace: Some(namespace.clone()),
            name: name.map(str::to_owned),
        };
        needs.push(need("get", kind.clone(), Some("scale"), Some(name)));
        needs.push(need("patch", kind.clone(), Some("scale"), Some(name)));
        needs.push(need("list", Kind::new("v1", "Pod"), None, None));
    }
    if !cx.is_plan() {
        cluster.require(needs).await?;
    }
    let mut autoscalers = BTreeMap::new();
    let mut apps = Vec::with_capacity(found.len());
    for ((namespace, name), object) in found {
        if !autoscalers.contains_key(&namespace) {
            autoscalers.insert(namespace.clone(), autoscalers_of(cluster, &namespace, report).await?);
        }
        let autoscaler = autoscalers.get(&namespace).and_then(|known| known.get(&name)).cloned();
        let uid = object.pointer("/metadata/uid").and_then(Json::as_str).unwrap_or_default().to_owned();
        let replicas =
            object.pointer("/spec/replicas").and_then(Json::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
        apps.push(App { namespace, name, uid, replicas, autoscaler });
    }
    Ok(apps)
}

async fn existing(cluster: &Cluster, object: &Object) -> Result<Json> {
    match cluster.get(object).await? {
        Some(found) => Ok(found),
        None => Err(Error::from(HostError::NotFound(format!("{object} does not exist")))
            .hint("check `deployments`: namespace/name, or a name in the binding's own namespace")),
    }
}

/// The autoscalers of a namespace, by the deployment that they scale.
async fn autoscalers_of(
    cluster: &Cluster,
    namespace: &str,
    report: &mut Report,
) -> Result<BTreeMap<String, Autoscaler>> {
    let kind = Kind::new("autoscaling/v2", "HorizontalPodAutoscaler");
    let listing = match cluster.list(&kind, Selection::all().in_namespace(namespace)).await {
        Ok(listing) => listing.collect(MOST).await,
        Err(error) => Err(error),
    };
    let listed = match listing {
        Ok(listed) => listed,
        Err(error) if error.is_cancelled() => return Err(error),
        Err(error) => {
            report.note(format!("{namespace}: its autoscalers could not be looked at")).detail(format!(
                "They leave a deployment alone while it has no replicas, so nothing depends on it. {error}"
            ));
            return Ok(BTreeMap::new());
        }
    };
    let mut by_deployment = BTreeMap::new();
    for object in listed {
        let word = |pointer: &str| object.pointer(pointer).and_then(Json::as_str).unwrap_or_default().to_owned();
        let count = |pointer: &str| object.pointer(pointer).and_then(Json::as_u64);
        if word("/spec/scaleTargetRef/kind") == "Deployment" {
            by_deployment.insert(
                word("/spec/scaleTargetRef/name"),
                Autoscaler {
                    name: word("/metadata/name"),
                    min: count("/spec/minReplicas").unwrap_or(1),
                    max: count("/spec/maxReplicas").unwrap_or(0),
                },
            );
        }
    }
    Ok(by_deployment)
}

/// Scale one down to 0, from what is on record. Where somebody scales it at this moment, what they want is what it comes back to.
///
/// # Errors
/// When it is another deployment by now, or does not keep still.
pub(crate) async fn scale_down(
    cluster: &Cluster,
    app: &mut App,
    mut record: impl AsyncFnMut(&App) -> Result<()>,
) -> Result<()> {
    for _ in 0..TRIES {
        if app.replicas == 0 {
            return Ok(());
        }
        match cluster.set_scale(&app.object(), 0, Some(app.replicas)).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_conflict() => {
                app.replicas = cluster.get_scale(&app.object()).await?.wanted;
                record(app).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(format!("{}: somebody else keeps scaling it", app.title()))
        .hint("find out who (an autoscaler, a deployment pipeline), and stop it"))
}

/// Wait until no pod of theirs is left.
///
/// # Errors
/// When some are left after so long, or somebody has scaled one up again.
pub(crate) async fn wait_until_gone(cx: &Context, cluster: &Cluster, apps: &[App], wait: Duration) -> Result<()> {
    let deadline = cx.now().plus_seconds(i64::try_from(wait.as_secs()).unwrap_or(i64::MAX));
    for app in apps {
        loop {
            let scale = cluster.get_scale(&app.object()).await?;
            if scale.wanted != 0 {
                return Err(Error::from(HostError::Conflict(format!(
                    "{}: somebody scaled it to {} while the database was to be swapped",
                    app.title(),
                    scale.wanted
                ))));
            }
            // What is about to end counts: it may still write. The status of the deployment does not count it.
            let pods = match &scale.selector {
                Some(selector) => {
                    let selection = Selection::all().labels(selector).in_namespace(&app.namespace);
                    cluster.list(&Kind::new("v1", "Pod"), selection).await?.collect(MOST).await?
                }
                None => Vec::new(),
            };
            let alive: Vec<String> = pods
                .iter()
                .filter(|pod| {
                    let phase = pod.pointer("/status/phase").and_then(Json::as_str).unwrap_or_default();
                    phase != "Succeeded" && phase != "Failed"
                })
                .map(|pod| pod.pointer("/metadata/name").and_then(Json::as_str).unwrap_or_default().to_owned())
                .collect();
            if alive.is_empty() && (scale.current == 0 || scale.selector.is_some()) {
                break;
            }
            if cx.is_plan() {
                break;
            }
            if cx.now() >= deadline {
                return Err(Error::new(format!(
                    "{}: pods are not gone after {} s: {}",
                    app.title(),
                    wait.as_secs(),
                    some(&alive, 5)
                ))
                .hint("see why they do not end (finalizers, a node that is away), or wait longer with wait_seconds"));
            }
            cx.sleep(PAUSE).await?;
        }
    }
    Ok(())
}

/// Scale them back to what was recorded. What somebody else has changed meanwhile is left as it is, and told.
///
/// # Errors
/// When the cluster does not answer or refuses: it is to be tried again.
pub(crate) async fn scale_back(cluster: &Cluster, apps: &[App]) -> Result<Vec<Scaled>> {
    let mut all = Vec::with_capacity(apps.len());
    for app in apps {
        all.push(scale_one_back(cluster, app).await?);
    }
    Ok(all)
}

async fn scale_one_back(cluster: &Cluster, app: &App) -> Result<Scaled> {
    let mut scaled = Scaled {
        deployment: app.title(),
        before: app.replicas,
        after: Some(app.replicas),
        autoscaler: app.autoscaler.clone(),
        others: None,
    };
    let Some(object) = cluster.get(&app.object()).await? else {
        scaled.after = None;
        scaled.others = Some("it was deleted meanwhile".to_owned());
        return Ok(scaled);
    };
    if object.pointer("/metadata/uid").and_then(Json::as_str).is_some_and(|uid| uid != app.uid) {
        scaled.after = object.pointer("/spec/replicas").and_then(Json::as_u64).and_then(|n| u32::try_from(n).ok());
        scaled.others = Some("it was deleted and made anew meanwhile".to_owned());
        return Ok(scaled);
    }
    if app.replicas == 0 {
        return Ok(scaled);
    }
    match cluster.set_scale(&app.object(), app.replicas, Some(0)).await {
        Ok(_) => Ok(scaled),
        Err(error) if error.is_conflict() => {
            let now = cluster.get_scale(&app.object()).await?.wanted;
            scaled.after = Some(now);
            // Said twice (an undo may come twice), or never scaled down.
            if now != app.replicas {
                scaled.others = Some(format!("somebody scaled it to {now} meanwhile"));
            }
            Ok(scaled)
        }
        Err(error) => Err(error),
    }
}

/// What a plan says of one.
pub(crate) fn planned(app: &App) -> Scaled {
    Scaled {
        deployment: app.title(),
        before: app.replicas,
        after: Some(app.replicas),
        autoscaler: app.autoscaler.clone(),
        others: None,
    }
}

/// Tell what became of them.
pub(crate) fn tell(report: &mut Report, apps: &[Scaled]) {
    for app in apps {
        if let Some(others) = &app.others {
            report
                .warning(format!("{}: {others}; it was not set back to {}", app.deployment, app.before))
                .detail("What others change meanwhile is theirs: it is reported, and not overwritten.")
                .advice(format!(
                    "If it is to have {} again: kubectl scale deployment --replicas={}",
                    app.before, app.before
                ));
        }
    }
}
