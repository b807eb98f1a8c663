//! Where the Service sends clients.

use crate::Decision;
use crate::promote::until;
use rota_sdk::Context;
use rota_sdk::cluster::{Cluster, Kind, PatchKind, Selection};
use rota_sdk::prelude::*;
use std::collections::BTreeMap;

/// Point the Service to the promoted pod: its selector is replaced as a whole, so that no key of the old one stays, and only if it still is the one that
/// the decision was made on. Harmless to repeat.
///
/// # Errors
/// When somebody else changed it meanwhile.
pub async fn move_service(cluster: &Cluster, decision: &Decision) -> Result<()> {
    let service = crate::topology::service(&decision.service);
    let Some(object) = cluster.get(&service).await? else {
        return Err(Error::new(format!("the Service {} is gone", decision.service)));
    };
    let now: BTreeMap<String, String> = serde_json::from_value(object["spec"]["selector"].clone()).unwrap_or_default();
    let new = decision.new_selector();
    if now == new {
        return Ok(());
    }
    let patch = json!([
        { "op": "test", "path": "/spec/selector", "value": decision.selector },
        { "op": "replace", "path": "/spec/selector", "value": new },
    ]);
    match cluster.patch(&service, PatchKind::Json, &patch).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_conflict() => Err(error.context(format!(
            "somebody changed the selector of the Service {} meanwhile (to {})",
            decision.service,
            shown(&now)
        ))
        .hint(format!(
            "{} is promoted: the Service is to select it and nothing else: kubectl -n {} patch service {} --type=json -p '{}'",
            decision.chosen.pod,
            cluster.namespace(),
            decision.service,
            json!([{ "op": "replace", "path": "/spec/selector", "value": new }]),
        ))),
        Err(error) => Err(error),
    }
}

/// Whether the Service selects the promoted pod and nothing else.
pub(crate) async fn is_moved(cluster: &Cluster, decision: &Decision) -> Result<bool> {
    let object = cluster.get(&crate::topology::service(&decision.service)).await?;
    Ok(object.is_some_and(|object| object["spec"]["selector"] == json!(decision.new_selector())))
}

fn shown(selector: &BTreeMap<String, String>) -> String {
    selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// The pods that the Service's EndpointSlices send clients to.
///
/// # Errors
/// What the cluster said.
pub async fn served(cluster: &Cluster, service: &str) -> Result<Vec<String>> {
    let labels = format!("kubernetes.io/service-name={service}");
    let kind = Kind::new("discovery.k8s.io/v1", "EndpointSlice");
    let slices = cluster.list(&kind, Selection::all().labels(labels)).await?.collect(1_000).await?;
    let mut pods: Vec<String> = slices
        .iter()
        .flat_map(|slice| slice["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default())
        // None is yes: `ready` is left out where it is not known.
        .filter(|endpoint| endpoint["conditions"]["ready"] != false)
        .map(|endpoint| {
            let address = || endpoint["addresses"][0].as_str().unwrap_or("?");
            endpoint["targetRef"]["name"].as_str().unwrap_or_else(address).to_owned()
        })
        .collect();
    pods.sort();
    pods.dedup();
    Ok(pods)
}

/// Wait until the Service sends clients to one pod and no other; gives what it sends them to.
///
/// # Errors
/// What the cluster said.
pub async fn wait_served(
    cx: &Context,
    cluster: &Cluster,
    service: &str,
    pod: &str,
    seconds: u32,
) -> Result<Vec<String>> {
    let reached = until(cx, seconds, async || {
        let pods = served(cluster, service).await?;
        Ok((pods == [pod]).then_some(pods))
    });
    match reached.await? {
        Some(pods) => Ok(pods),
        None => served(cluster, service).await,
    }
}
