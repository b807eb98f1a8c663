//! What becomes of a run that does not succeed.

use crate::promote::{Refused, promote, verify};
use crate::service::{is_moved, move_service, wait_served};
use crate::{Decision, Standby};
use rota_sdk::cluster::{Cluster, Object};
use rota_sdk::prelude::*;
use rota_sdk::{Context, SqlSlot};

/// How far a run had come.
#[data]
pub enum Phase {
    /// The old primary is being stopped, and no promotion was asked for.
    Fencing,
    /// A promotion was, or is about to be, asked for.
    Promoting,
}

/// What a run that does not succeed has left, from which its undo goes on.
#[data]
pub struct Unfinished {
    /// How far it had come.
    pub phase: Phase,
    /// What it had decided.
    pub decision: Decision,
    /// How long the promotion may take, in seconds.
    pub promote_seconds: u32,
    /// How long the endpoints may take, in seconds.
    pub endpoint_seconds: u32,
}

/// The undo. Of a run that only fenced: the old primary gets its replicas back. Of one that was promoting: forwards, because a promotion cannot be taken back and
/// whether it happened may not be known.
///
/// # Errors
/// When neither could be done; the old primary stays stopped then, and the Service as it is, for somebody to look.
pub async fn finish_or_bring_back(cx: &Context, cluster: &Cluster, slot: SqlSlot, left: &Unfinished) -> Result<()> {
    match left.phase {
        Phase::Fencing => bring_back(cluster, slot, &left.decision).await,
        Phase::Promoting if somebody_brought_it_back(cluster, slot, &left.decision).await? => Ok(()),
        Phase::Promoting => match promote(cx, slot, left.promote_seconds).await {
            Ok(()) => finish(cx, cluster, slot, left).await,
            Err(Refused::Certainly(error)) => {
                warn!("the standby cannot be promoted ({error}): the old primary gets its replicas back");
                bring_back(cluster, slot, &left.decision).await
            }
            Err(Refused::Perhaps(error)) => Err(error.context(format!(
                "the promotion of {} is not settled, so the old primary ({}) stays stopped",
                left.decision.chosen.pod, left.decision.primary.stateful_set
            ))),
        },
    }
}

/// Whether the old primary has its replicas again and the standby is one still: the state before, and nothing to finish.
async fn somebody_brought_it_back(cluster: &Cluster, slot: SqlSlot, decision: &Decision) -> Result<bool> {
    let (set, chosen) = (&decision.primary.stateful_set, &decision.chosen.pod);
    if cluster.get_scale(&Object::stateful_set(set)).await?.wanted == 0 {
        return Ok(false);
    }
    if Standby::look(&mut slot.open().await?).await?.in_recovery {
        warn!("the old primary ({set}) was started again, and {chosen} is a standby still: nothing is promoted");
        return Ok(true);
    }
    Err(Error::new(format!(
        "the old primary ({set}) was started again by somebody, and {chosen} is promoted: both may take writes"
    ))
    .hint(format!("stop one of them now: kubectl -n {} scale statefulset {set} --replicas=0", cluster.namespace())))
}

async fn finish(cx: &Context, cluster: &Cluster, slot: SqlSlot, left: &Unfinished) -> Result<()> {
    let decision = &left.decision;
    verify(cx, slot, decision).await?;
    move_service(cluster, decision).await?;
    let pods = wait_served(cx, cluster, &decision.service, &decision.chosen.pod, left.endpoint_seconds).await?;
    info!(
        "{} is promoted and the Service {} sends clients to {pods:?}; the applications were not restarted by this undo",
        decision.chosen.pod, decision.service
    );
    Ok(())
}

/// Give the old primary's StatefulSet its replicas back. Not when the standby has left recovery, whoever promoted it: two would take writes.
async fn bring_back(cluster: &Cluster, slot: SqlSlot, decision: &Decision) -> Result<()> {
    let (set, chosen) = (&decision.primary.stateful_set, &decision.chosen.pod);
    let object = Object::stateful_set(set);
    let wanted = cluster.get_scale(&object).await?.wanted;
    if wanted > 0 || decision.primary.replicas == 0 {
        return Ok(());
    }
    let mut session = slot.open().await.with_context(|| {
        format!("whether {chosen} is a standby still is not known, so the old primary ({set}) stays stopped")
    })?;
    if !Standby::look(&mut session).await?.in_recovery {
        // The undo of the promotion, which comes first, has finished it.
        if is_moved(cluster, decision).await? {
            return Ok(());
        }
        return Err(Error::new(format!(
            "{chosen} has left recovery, and not by this run: the old primary ({set}) stays stopped, because both would take writes"
        ))
        .hint(format!("settle by hand which of them is the primary; the Service {} was not changed", decision.service)));
    }
    cluster.set_scale(&object, decision.primary.replicas, Some(0)).await.map(drop)
}
