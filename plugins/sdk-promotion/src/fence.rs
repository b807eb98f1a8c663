//! The old primary must not be able to write any more before another may.

use crate::{Decision, Primary};
use rota_sdk::Context;
use rota_sdk::cluster::{Cluster, Condition, Kind, Object};
use rota_sdk::prelude::*;

/// What a look at the old primary's node showed that speaks against a fence.
///
/// A node that is not ready does not answer the cluster: what runs on it may run on, and write. It is only then known to be off when somebody who knows has
/// said so by the taint `node.kubernetes.io/out-of-service`.
///
/// # Errors
/// When the run is being cancelled. A node that may not be read is none: the pod's own end is what decides.
async fn node_is_lost(cluster: &Cluster, primary: &Primary) -> Result<Option<String>> {
    let Some(name) = &primary.node else { return Ok(None) };
    let node = match cluster.get(&Kind::new("v1", "Node").named(name)).await {
        Ok(Some(node)) => node,
        Ok(None) => return Ok(None),
        Err(error) if error.is_cancelled() => return Err(error),
        Err(_) => return Ok(None),
    };
    let taints = node["spec"]["taints"].as_array();
    if taints.into_iter().flatten().any(|taint| taint["key"] == "node.kubernetes.io/out-of-service") {
        return Ok(None);
    }
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().find(|one| one["type"] == "Ready");
    let status = ready.and_then(|one| one["status"].as_str()).unwrap_or("Unknown");
    Ok((status != "True").then(|| name.clone()))
}

/// Refuse before anything is changed where the fence cannot succeed.
///
/// # Errors
/// When the old primary's node is not ready, and nobody has said that it is off.
pub async fn refuse_lost_node(cluster: &Cluster, primary: &Primary) -> Result<()> {
    match (node_is_lost(cluster, primary).await?, &primary.pod) {
        (Some(node), Some(pod)) => Err(lost(&node, pod)),
        _ => Ok(()),
    }
}

/// Why a node that is not ready is no fence, and what to do.
fn lost(node: &str, pod: &str) -> Error {
    Error::new(format!(
        "the node {node} is not ready, and that is no fence: {pod} may still run there and take writes, and nobody can end it from here"
    ))
    .hint(format!(
        "make sure that the node is off (power it off, or cut it from the network and the storage), then say so: kubectl taint nodes {node} \
         node.kubernetes.io/out-of-service=nodeshutdown:NoExecute; then run this again"
    ))
}

/// Scale the old primary's StatefulSet to 0, and see its pod gone. Harmless to repeat.
///
/// # Errors
/// When somebody changed the scale meanwhile, or the pod does not go in time.
pub async fn fence(cx: &Context, cluster: &Cluster, decision: &Decision, seconds: u32) -> Result<()> {
    let Primary { stateful_set, replicas, .. } = &decision.primary;
    let set = Object::stateful_set(stateful_set);
    let wanted = cluster.get_scale(&set).await?.wanted;
    if wanted > 0 {
        if wanted != *replicas {
            return Err(Error::new(format!(
                "somebody scaled the StatefulSet {stateful_set} from {replicas} to {wanted} meanwhile"
            ))
            .hint("find out who, and run this again"));
        }
        cluster.set_scale(&set, 0, Some(wanted)).await?;
    }
    if cx.is_plan() {
        return Ok(());
    }
    // Every pod that it had, and not only the one that the Service selected.
    let count = (*replicas).max(1);
    let mut pods: Vec<String> = (0..count).map(|number| format!("{stateful_set}-{number}")).collect();
    if let Some(pod) = decision.primary.pod.as_ref().filter(|pod| !pods.contains(pod)) {
        pods.push(pod.clone());
    }
    for pod in pods {
        match cluster.wait_for(&Object::pod(&pod), Condition::Gone, seconds).await {
            Ok(_) => {}
            Err(error) if error.is_timed_out() => {
                return Err(match node_is_lost(cluster, &decision.primary).await? {
                    Some(node) => lost(&node, &pod),
                    None => error.hint(format!(
                        "{pod} has not ended in {seconds} s, so that the old primary may take writes: kubectl -n {} describe pod {pod}. A pod that is deleted by force \
                         is gone from the cluster and may still run: that is no fence",
                        cluster.namespace()
                    )),
                });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// See that the fence holds: an attempt that goes on where another was killed finds what has happened since.
///
/// # Errors
/// When somebody has scaled the old primary up again.
pub async fn still_fenced(cx: &Context, cluster: &Cluster, decision: &Decision) -> Result<()> {
    let set = &decision.primary.stateful_set;
    let wanted = cluster.get_scale(&Object::stateful_set(set)).await?.wanted;
    if wanted == 0 || cx.is_plan() {
        return Ok(());
    }
    Err(Error::new(format!("somebody scaled the old primary ({set}) up to {wanted} again: it is no longer fenced"))
        .hint("nothing was promoted after that; find out who it was before this is run again"))
}
