//! What is stuck, why, and what it could go back to.

use super::{Cluster, Kind, Selection};
use rota_sdk::prelude::*;

/// So many objects of a kind are looked at.
const LIMIT: usize = 10_000;
const REVISION: &str = "deployment.kubernetes.io/revision";
/// The label by which a ReplicaSet tells its pods from those of others. It is the controller's, and no part of a template.
const HASH: &str = "pod-template-hash";

/// A Deployment whose controller has given up.
pub(crate) struct Stuck {
    pub(crate) name: String,
    /// Its version when it was looked at.
    pub(crate) version: String,
    pub(crate) revision: u64,
    /// What the condition says.
    pub(crate) message: String,
    /// What its new pods wait for.
    pub(crate) reasons: Vec<String>,
    pub(crate) back_to: Option<Older>,
}

/// A revision before the one that is stuck.
pub(crate) struct Older {
    pub(crate) revision: u64,
    pub(crate) template: Json,
}

impl Stuck {
    pub(crate) fn why(&self) -> String {
        if self.reasons.is_empty() {
            self.message.clone()
        } else {
            format!("{} {}", self.message, self.reasons.join("; "))
        }
    }
}

fn text<'j>(json: &'j Json, pointer: &str) -> &'j str {
    json.pointer(pointer).and_then(Json::as_str).unwrap_or_default()
}

fn revision(object: &Json) -> u64 {
    object["metadata"]["annotations"][REVISION].as_str().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The message of the controller that has given up on what is wanted now.
pub(crate) fn given_up(deployment: &Json) -> Option<&str> {
    let spec = &deployment["spec"];
    let resting = spec["paused"] == true || spec["replicas"] == 0;
    // Of an older generation it says nothing of this one.
    let seen = deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"];
    let conditions = deployment["status"]["conditions"].as_array()?;
    let condition =
        conditions.iter().find(|c| c["type"] == "Progressing" && c["reason"] == "ProgressDeadlineExceeded")?;
    (!resting && seen && condition["status"] == "False").then(|| condition["message"].as_str().unwrap_or_default())
}

/// The Deployments that are stuck, by name.
pub(crate) async fn stuck(cluster: &Cluster, selection: Selection) -> Result<Vec<Stuck>> {
    let kind = |name| Kind::new("apps/v1", name);
    let deployments = cluster.list(&kind("Deployment"), selection).await?.collect(LIMIT).await?;
    let given_up: Vec<(&Json, &str)> = deployments.iter().filter_map(|d| Some((d, given_up(d)?))).collect();
    if given_up.is_empty() {
        return Ok(Vec::new());
    }
    let sets = cluster.list(&kind("ReplicaSet"), Selection::all()).await?.collect(LIMIT).await?;
    let mut found = Vec::new();
    for (deployment, message) in given_up {
        let uid = text(deployment, "/metadata/uid");
        let owned: Vec<&Json> = sets
            .iter()
            .filter(|set| set["metadata"]["ownerReferences"].as_array().into_iter().flatten().any(|o| o["uid"] == uid))
            .collect();
        let revision = revision(deployment);
        found.push(Stuck {
            name: text(deployment, "/metadata/name").to_owned(),
            version: text(deployment, "/metadata/resourceVersion").to_owned(),
            revision,
            message: message.to_owned(),
            reasons: reasons(cluster, &owned, revision).await?,
            back_to: back_to(&owned, revision),
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The newest older revision that serves; where none does, the one before.
pub(crate) fn back_to(sets: &[&Json], stuck: u64) -> Option<Older> {
    let older = || sets.iter().filter(|set| (1..stuck).contains(&revision(set)));
    let serves = |set: &&&Json| set["status"]["availableReplicas"].as_u64().is_some_and(|replicas| replicas > 0);
    let set =
        older().filter(serves).max_by_key(|set| revision(set)).or_else(|| older().max_by_key(|set| revision(set)))?;
    let mut template = set["spec"]["template"].clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove(HASH);
    }
    Some(Older { revision: revision(set), template })
}

/// What the pods of a revision wait for, each thing once.
async fn reasons(cluster: &Cluster, sets: &[&Json], stuck: u64) -> Result<Vec<String>> {
    let Some(hash) =
        sets.iter().find(|set| revision(set) == stuck).and_then(|set| set["metadata"]["labels"][HASH].as_str())
    else {
        return Ok(Vec::new());
    };
    let selection = Selection::all().labels(format!("{HASH}={hash}"));
    let pods = cluster.list(&Kind::new("v1", "Pod"), selection).await?.collect(LIMIT).await?;
    let mut reasons = Vec::new();
    for pod in &pods {
        let statuses = [&pod["status"]["initContainerStatuses"], &pod["status"]["containerStatuses"]];
        for status in statuses.into_iter().filter_map(Json::as_array).flatten() {
            let waiting = text(status, "/state/waiting/reason");
            let ended =
                status.pointer("/lastState/terminated/exitCode").or(status.pointer("/state/terminated/exitCode"));
            let container = text(status, "/name");
            let reason = match (waiting, ended) {
                ("", None) => continue,
                ("", Some(code)) => format!("{container} ends with status {code}"),
                (waiting, Some(code)) => format!("{container}: {waiting} (ends with status {code})"),
                (waiting, None) => format!("{container}: {waiting}"),
            };
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        let unscheduled = pod["status"]["conditions"].as_array().into_iter().flatten();
        for condition in unscheduled.filter(|c| c["type"] == "PodScheduled" && c["status"] == "False") {
            let reason = format!("not scheduled: {}", text(condition, "/message"));
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
    Ok(reasons)
}
