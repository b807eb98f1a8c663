//! Promotes a standby in the place of a primary that is down, and points its Service to it.

use rota_sdk::SqlSlot;
use rota_sdk::cluster::Cluster;
use rota_sdk::postgres::Server;
use rota_sdk::prelude::*;
use rota_sdk_promotion::{
    Application, Applications, Candidate, Decision, LOCK_SECONDS, Look, Phase, Primary, Promoted, Refused, Unfinished,
    fence, finish_or_bring_back, lock_name, move_service, promote, restart, served, still_fenced, verify, wait_served,
};

mod decide;
mod looks;
mod tell;

#[cfg(test)]
mod tests;

procedure! {
    name: "postgres-failover",
    summary: "Promotes the best standby in the place of a primary that is down: fences first, proves it, moves the Service.",
    description: include_str!("../README.md"),
    risk: destroy,
    confirmation: "FAILOVER",
    idempotent: true,
    slots: {
        database: sql [read] "The primary: asked three times whether it answers.",
        standby: sql [read, promote, write, ddl] "A standby: looked at, promoted, and written to as a proof (a temporary table).",
        standby_2: sql [read, promote, write, ddl] optional "A second standby: the one that has most is promoted.",
        standby_3: sql [read, promote, write, ddl] optional "A third standby.",
        cluster: kubernetes [read, write, scale] "Stops the old primary's StatefulSet, moves the Service, restarts deployments, and holds the lock.",
    },
    examples: [
        "Behind the Service postgres-primary" => json!({}),
        "And restart what uses it" => json!({ "service": "postgres-primary", "applications_namespace": "kosmos-core", "applications_labels": "database=postgres" }),
    ],
    parameters: Parameters,
    report: Data,
    undo: Unfinished => settle,
    run
}

/// What fails over, and how sure to be.
#[parameters]
pub struct Parameters {
    /// The Service through which applications reach the primary, in the binding's namespace.
    #[parameter(default = "postgres-primary".to_owned())]
    service: String,
    /// The StatefulSet of the primary, where its pod is gone and the Service does not select by the pod's name.
    stateful_set: Option<String>,
    /// How often the primary must be seen down.
    #[parameter(default = 3, range = 2..=20)]
    looks: u32,
    /// Seconds between two looks: three looks, 15 seconds apart, take 30.
    #[parameter(default = 15, range = 1..=600)]
    look_interval_seconds: u32,
    /// The system identifier that the cluster must have, as postgres-health reports it of the primary.
    system_identifier: Option<String>,
    /// The last position in the WAL of the primary that is known (from monitoring), as `0/3000060`: what the standby lacks of it is reported as lost.
    primary_lsn: Option<String>,
    /// Where more bytes than this are known to be lost, nothing is done.
    maximum_lost_bytes: Option<i64>,
    /// The pod in slot `standby`, where the connection does not lead to the pod's own address (a port-forward).
    standby_pod: Option<String>,
    /// The pod in slot `standby_2`.
    standby_2_pod: Option<String>,
    /// The pod in slot `standby_3`.
    standby_3_pod: Option<String>,
    /// How long the old primary's pod may take to end, in seconds.
    #[parameter(default = 120, range = 1..=3600)]
    fence_seconds: u32,
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
    /// The server that was promoted, as it is then; in a plan, as it is now.
    server: Server,
    /// The Service.
    service: String,
    /// The old primary.
    old_primary: Primary,
    /// The standby that was promoted.
    new_primary: Candidate,
    /// Who could have been.
    candidates: Vec<Candidate>,
    /// The looks at the primary.
    looks: Vec<Look>,
    /// How the promotion ended; null in a plan.
    promoted: Option<Promoted>,
    /// The furthest that the old primary is known to have written, in bytes since the beginning of the log.
    known_bytes: Option<i64>,
    /// From where that is known.
    known_from: String,
    /// What is known to have been written and is not in the new primary, in bytes; what the old primary sent to nobody is not known.
    lost_bytes: Option<i64>,
    /// The pods that the Service sends clients to.
    endpoints: Vec<String>,
    /// The deployments.
    applications: Vec<Application>,
    /// What was done, in order.
    done: Vec<String>,
}

impl Parameters {
    fn named(&self, slot: &str) -> Option<&str> {
        match slot {
            "standby" => self.standby_pod.as_deref(),
            "standby_2" => self.standby_2_pod.as_deref(),
            _ => self.standby_3_pod.as_deref(),
        }
    }

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

/// The standbys that are bound, in the order of preference.
fn standbys(cx: &Context) -> Vec<SqlSlot> {
    [Some(cx.standby()), cx.standby_2(), cx.standby_3()].into_iter().flatten().collect()
}

fn slot(cx: &Context, name: &str) -> Result<SqlSlot> {
    standbys(cx)
        .into_iter()
        .find(|slot| slot.name() == name)
        .ok_or_else(|| Error::new(format!("the slot `{name}` is no longer bound")))
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let cluster = cx.cluster().open().await?;
    let lock = cluster
        .lock(&lock_name(&parameters.service), LOCK_SECONDS)
        .await
        .with_context(|| format!("one failover of {} at a time", parameters.service))?;
    let applications = parameters.applications();
    let names = applications.find(&cluster).await?;
    let (decision, mut server): (Decision, Server) =
        cx.step("decide", async || decide::decide(&cx, &cluster, &parameters).await).repeatable().await?;
    let standby = slot(&cx, &decision.chosen.slot)?;
    let mut done = Vec::new();

    let (back, finish) = names_of_undo(&decision);
    cx.step("fence", async || stop(&cx, &cluster, &parameters, &decision, &back, &finish).await).repeatable().await?;
    done.push(format!("stopped the StatefulSet {}", decision.primary.stateful_set));
    lock.check().await?;
    still_fenced(&cx, &cluster, &decision).await?;

    // From here on there is no way back: see rota_sdk_promotion.
    let finishing = cx.undo(finish, &parameters.unfinished(Phase::Promoting, &decision)).await?;
    match promote(&cx, standby, parameters.promote_seconds).await {
        Ok(()) => {}
        Err(Refused::Perhaps(error)) => return Err(error),
        Err(Refused::Certainly(error)) => {
            cx.undo(back, &parameters.unfinished(Phase::Fencing, &decision)).await?;
            finishing.dismiss().await?;
            return Err(error.hint("nothing was promoted; the old primary gets its replicas back"));
        }
    }
    let promoted = if cx.is_plan() { None } else { Some(verify(&cx, standby, &decision).await?) };
    if promoted.is_some() {
        server = Server::inspect(&mut standby.open().await?).await?;
    }
    done.push(format!("promoted {}", decision.chosen.pod));
    lock.check().await?;
    move_service(&cluster, &decision).await?;
    done.push(format!("pointed the Service {} to {}", decision.service, decision.chosen.pod));
    let endpoints = endpoints(&cx, &cluster, &parameters, &decision).await?;
    finishing.dismiss().await?;

    let restarted = restart(&cx, &cluster, &applications, &names).await?;
    done.extend(restarted.iter().filter(|one| one.restarted).map(|one| format!("restarted {}", one.name)));
    lock.release().await?;
    Ok(tell::report(&cx, tell::Told { decision, server, promoted, endpoints, applications: restarted, done }))
}

/// The names of the two ways out of a run that does not succeed.
fn names_of_undo(decision: &Decision) -> (String, String) {
    (
        format!("start {} again", decision.primary.stateful_set),
        format!("finish the promotion of {}", decision.chosen.pod),
    )
}

/// Fence. The way back is registered before it; the way forwards before the way back is given up.
async fn stop(
    cx: &Context,
    cluster: &Cluster,
    parameters: &Parameters,
    decision: &Decision,
    back: &str,
    finish: &str,
) -> Result<()> {
    if cx.info().attempt > 1 {
        // An attempt before this one decided, and time has passed.
        looks::still_down(cx, cluster, parameters, decision).await?;
    }
    let undo = cx.undo(back.to_owned(), &parameters.unfinished(Phase::Fencing, decision)).await?;
    fence(cx, cluster, decision, parameters.fence_seconds).await?;
    cx.undo(finish.to_owned(), &parameters.unfinished(Phase::Promoting, decision)).await?;
    undo.dismiss().await
}

async fn endpoints(
    cx: &Context,
    cluster: &Cluster,
    parameters: &Parameters,
    decision: &Decision,
) -> Result<Vec<String>> {
    if cx.is_plan() {
        return served(cluster, &decision.service).await;
    }
    let pod = &decision.chosen.pod;
    let pods = wait_served(cx, cluster, &decision.service, pod, parameters.endpoint_seconds).await?;
    if pods != [pod.as_str()] {
        return Err(Error::new(format!(
            "{pod} is promoted and the Service {} selects it, but after {} s it sends clients to {}",
            decision.service,
            parameters.endpoint_seconds,
            if pods.is_empty() { "nobody".to_owned() } else { pods.join(", ") }
        ))
        .hint(format!("see whether the pod is ready: kubectl -n {} describe pod {pod}", cluster.namespace())));
    }
    Ok(pods)
}

async fn settle(cx: Context, undo: Undo<Unfinished>) -> Result<()> {
    let cluster = cx.cluster().open().await?;
    let _lock = cluster.lock(&lock_name(&undo.state.decision.service), LOCK_SECONDS).await?;
    let standby = slot(&cx, &undo.state.decision.chosen.slot)?;
    finish_or_bring_back(&cx, &cluster, standby, &undo.state).await
}
