//! Moves the primary to its standby while it lives: stops it cleanly, proves that the standby has everything, promotes it, and moves the Service.

use rota_sdk::cluster::Cluster;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_promotion::{
    Application, Applications, Candidate, Decision, LOCK_SECONDS, Phase, Primary, Promoted, Refused, Unfinished, fence,
    finish_or_bring_back, lock_name, move_service, promote, restart, served, still_fenced, verify, wait_served,
};

mod decide;
mod proof;
mod tell;

#[cfg(test)]
mod tests;

pub use decide::Before;
pub use proof::Proof;

procedure! {
    name: "postgres-switchover",
    summary: "Moves the primary to its standby while it lives: stops it cleanly, proves that nothing is lost, moves the Service.",
    description: include_str!("../README.md"),
    risk: destroy,
    confirmation: "SWITCHOVER",
    idempotent: true,
    slots: {
        database: sql [read, maintain] "The primary: looked at, and given a checkpoint, so that it stops fast.",
        standby: sql [read, maintain, promote, write, ddl] "The standby: looked at, promoted, and written to as a proof (a temporary table).",
        cluster: kubernetes [read, write, scale] "Stops the primary's StatefulSet, moves the Service, restarts deployments, and holds the lock.",
    },
    examples: [
        "Behind the Service postgres-primary" => json!({}),
        "And restart what uses it" => json!({ "applications_namespace": "kosmos-core", "applications_labels": "database=postgres" }),
    ],
    parameters: Parameters,
    report: Data,
    undo: Unfinished => settle,
    run
}

/// What is moved, and how long its parts may take.
#[parameters]
pub struct Parameters {
    /// The Service through which applications reach the primary, in the binding's namespace.
    #[parameter(default = "postgres-primary".to_owned())]
    service: String,
    /// The most that the standby may lack, in bytes of WAL, when it is begun.
    #[parameter(default = 16_777_216, range = 0..)]
    maximum_lag_bytes: i64,
    /// The pod in slot `standby`, where the connection does not lead to the pod's own address (a port-forward).
    standby_pod: Option<String>,
    /// How long the primary's pod may take to end, in seconds.
    #[parameter(default = 120, range = 1..=3600)]
    fence_seconds: u32,
    /// How long the standby may take to replay the rest, in seconds.
    #[parameter(default = 60, range = 1..=3600)]
    replay_seconds: u32,
    /// How long the promotion may take, in seconds.
    #[parameter(default = 60, range = 1..=3600)]
    promote_seconds: u32,
    /// How long the Service's endpoints may take to be the new pod, in seconds.
    #[parameter(default = 60, range = 1..=3600)]
    endpoint_seconds: u32,
    /// Deployments that are restarted afterwards, by name.
    #[parameter(default)]
    applications: Vec<String>,
    /// Deployments that are restarted afterwards, by a label selector.
    applications_labels: Option<String>,
    /// The namespace of these deployments; without it the binding's own.
    applications_namespace: Option<String>,
    /// How long the rollout of one may take, in seconds.
    #[parameter(default = 300, range = 1..=3600)]
    rollout_seconds: u32,
}

/// What was done, or would be.
#[data]
pub struct Data {
    /// The server that was promoted, as it is then; in a plan, the primary as it is now.
    server: Server,
    /// The Service.
    service: String,
    /// The old primary.
    old_primary: Primary,
    /// The standby that was promoted.
    new_primary: Candidate,
    /// How the two stood before.
    before: Before,
    /// The proof that nothing is lost; null in a plan.
    proof: Option<Proof>,
    /// How the promotion ended; null in a plan.
    promoted: Option<Promoted>,
    /// For how long nobody could write: from the first sign to stop to the Service's new endpoint, in seconds; null in a plan.
    write_gap_seconds: Option<f64>,
    /// The pods that the Service sends clients to.
    endpoints: Vec<String>,
    /// The deployments.
    applications: Vec<Application>,
    /// What was done, in order.
    done: Vec<String>,
}

impl Parameters {
    fn applications(&self) -> Applications {
        Applications {
            namespace: self.applications_namespace.clone(),
            names: self.applications.clone(),
            labels: self.applications_labels.clone(),
            seconds: self.rollout_seconds,
        }
    }

    fn unfinished(&self, phase: Phase, decision: &Decision) -> Unfinished {
        Unfinished {
            phase,
            decision: decision.clone(),
            promote_seconds: self.promote_seconds,
            endpoint_seconds: self.endpoint_seconds,
        }
    }
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let cluster = cx.cluster().open().await?;
    let lock = cluster
        .lock(&lock_name(&parameters.service), LOCK_SECONDS)
        .await
        .with_context(|| format!("one switchover of {} at a time", parameters.service))?;
    let applications = parameters.applications();
    let names = applications.find(&cluster).await?;
    let (decision, mut server, before): (Decision, Server, Before) =
        cx.step("decide", async || decide::decide(&cx, &cluster, &parameters).await).repeatable().await?;

    let back = format!("start {} again", decision.primary.stateful_set);
    let finish = format!("finish the promotion of {}", decision.chosen.pod);
    let stopped = cx.step("stop", async || stop(&cx, &cluster, &parameters, &decision, &back, &finish).await);
    let (begun, proof): (Timestamp, Option<Proof>) = stopped.repeatable().await?;
    let mut done = vec![format!("stopped the StatefulSet {}", decision.primary.stateful_set)];
    lock.check().await?;
    still_fenced(&cx, &cluster, &decision).await?;

    // From here on there is no way back: see rota_sdk_promotion.
    let finishing = cx.undo(finish, &parameters.unfinished(Phase::Promoting, &decision)).await?;
    match promote(&cx, cx.standby(), parameters.promote_seconds).await {
        Ok(()) => {}
        Err(Refused::Perhaps(error)) => return Err(error),
        Err(Refused::Certainly(error)) => {
            cx.undo(back, &parameters.unfinished(Phase::Fencing, &decision)).await?;
            finishing.dismiss().await?;
            return Err(error.hint("nothing was promoted; the primary gets its replicas back"));
        }
    }
    let promoted = if cx.is_plan() { None } else { Some(verify(&cx, cx.standby(), &decision).await?) };
    if promoted.is_some() {
        server = Server::inspect(&mut cx.standby().open().await?).await?;
    }
    done.push(format!("promoted {}", decision.chosen.pod));
    lock.check().await?;
    move_service(&cluster, &decision).await?;
    done.push(format!("pointed the Service {} to {}", decision.service, decision.chosen.pod));
    let endpoints = if cx.is_plan() {
        served(&cluster, &decision.service).await?
    } else {
        let pod = &decision.chosen.pod;
        let pods = wait_served(&cx, &cluster, &decision.service, pod, parameters.endpoint_seconds).await?;
        if pods != [pod.as_str()] {
            return Err(Error::new(format!(
                "{pod} is promoted and the Service {} selects it, but after {} s it sends clients to {pods:?}",
                decision.service, parameters.endpoint_seconds
            ))
            .hint(format!("see whether the pod is ready: kubectl -n {} describe pod {pod}", cluster.namespace())));
        }
        pods
    };
    finishing.dismiss().await?;
    let write_gap_seconds = (!cx.is_plan()).then(|| cx.now().seconds_since(begun));

    let restarted = restart(&cx, &cluster, &applications, &names).await?;
    done.extend(restarted.iter().filter(|one| one.restarted).map(|one| format!("restarted {}", one.name)));
    lock.release().await?;
    let told = tell::Told {
        decision,
        server,
        before,
        proof,
        promoted,
        write_gap_seconds,
        endpoints,
        applications: restarted,
        done,
    };
    Ok(tell::report(&cx, told))
}

/// Stop the primary and prove that the standby has everything. The way back is registered before it; the way forwards before the way back is given up.
async fn stop(
    cx: &Context,
    cluster: &Cluster,
    parameters: &Parameters,
    decision: &Decision,
    back: &str,
    finish: &str,
) -> Result<(Timestamp, Option<Proof>)> {
    let undo = cx.undo(back.to_owned(), &parameters.unfinished(Phase::Fencing, decision)).await?;
    // An attempt before this one may have stopped it already.
    if let Ok(mut session) = cx.database().open().await {
        session.execute("CHECKPOINT", params![]).await.context("a checkpoint of the primary, so that it stops fast")?;
    }
    let begun = cx.now();
    fence(cx, cluster, decision, parameters.fence_seconds).await?;
    let proof = if cx.is_plan() {
        cx.standby().open().await?.execute("CHECKPOINT", params![]).await?;
        None
    } else {
        Some(proof::prove(cx, parameters.replay_seconds, decision).await?)
    };
    cx.undo(finish.to_owned(), &parameters.unfinished(Phase::Promoting, decision)).await?;
    undo.dismiss().await?;
    Ok((begun, proof))
}

async fn settle(cx: Context, undo: Undo<Unfinished>) -> Result<()> {
    let cluster = cx.cluster().open().await?;
    let _lock = cluster.lock(&lock_name(&undo.state.decision.service), LOCK_SECONDS).await?;
    finish_or_bring_back(&cx, &cluster, cx.standby(), &undo.state).await
}
