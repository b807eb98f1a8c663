//! Rolls back Deployments whose rollout is stuck, a bounded number of them.

use rota_sdk::cluster::{Cluster, Condition, Kind, Object, PatchKind, Selection};
use rota_sdk::prelude::*;

mod look;

#[cfg(test)]
mod tests;

use look::{Stuck, stuck};

procedure! {
    name: "stuck-deployments",
    summary: "Rolls back Deployments whose rollout is stuck past its deadline, a bounded number of them.",
    description: include_str!("../README.md"),
    risk: change,
    idempotent: true,
    slots: {
        cluster: kubernetes [read, write, scale] "Reads Deployments, ReplicaSets and pods; rolls back by a patch, or restarts.",
    },
    examples: [
        "Only look" => json!({ "action": "report" }),
        "One of the web team's" => json!({ "labels": "team=web", "most": 1 }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// What to do with what is stuck.
#[parameters]
pub struct Parameters {
    /// Only Deployments with these labels: `team=web,tier!=cache`.
    labels: Option<String>,
    /// What to do with each.
    #[parameter(default = Action::RollBack)]
    action: Action,
    /// Act on so many; where more are stuck, on none, because then the cause is another.
    #[parameter(default = 3, range = 1..=50)]
    most: u32,
    /// How long to wait for each rollout afterwards, in seconds.
    #[parameter(default = 120, range = 0..=3600)]
    wait_seconds: u32,
}

/// What to do with one.
#[parameters]
pub enum Action {
    /// Say what is stuck, and change nothing.
    Report,
    /// Go back to the revision that last served.
    RollBack,
    /// Replace its pods: for what only a new try mends.
    Restart,
}

/// What was found and done.
#[data]
pub struct Data {
    /// The Deployments that are stuck.
    stuck: Vec<Told>,
    /// Whether there were more than `most`, so that none was touched.
    too_many: bool,
}

/// What became of one.
#[data]
pub struct Told {
    /// Its name.
    deployment: String,
    /// The revision that is stuck.
    revision: u64,
    /// What its pods wait for, as far as they say it.
    reasons: Vec<String>,
    /// The revision that it goes back to.
    back_to: Option<u64>,
    /// What was done, or would be: `nothing`, `rolled-back`, `restarted`.
    done: String,
    /// Whether its rollout is complete now; null where that was not waited for.
    complete: Option<bool>,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let cluster = cx.cluster().open().await?;
    let selection = match &parameters.labels {
        Some(labels) => Selection::all().labels(labels.as_str()),
        None => Selection::all(),
    };
    let found = stuck(&cluster, selection).await?;
    let too_many = found.len() > parameters.most as usize;
    let mut report = Report::new();
    report.metric("stuck_deployments", &[], found.len() as f64);
    if too_many {
        let title = format!("{} Deployments are stuck at once: none was touched", found.len());
        report
            .critical(title)
            .detail(format!(
                "More than {} at once have a cause outside of them: a registry, a node, a policy.",
                parameters.most
            ))
            .advice("look at what they wait for; then run it with a larger `most`, or with `labels`");
    }
    let mut told = Vec::new();
    for (place, stuck) in found.iter().enumerate() {
        progress(place as u64, Some(found.len() as u64), "deployments", &stuck.name);
        let mut line = Told {
            deployment: stuck.name.clone(),
            revision: stuck.revision,
            reasons: stuck.reasons.clone(),
            back_to: stuck.back_to.as_ref().map(|older| older.revision),
            done: "nothing".to_owned(),
            complete: None,
        };
        if too_many || parameters.action == Action::Report {
            says(&mut report, stuck);
        } else {
            act(&cx, &cluster, stuck, &parameters, &mut report, &mut line).await?;
        }
        told.push(line);
    }
    let mut table =
        report.table("stuck", "Stuck Deployments", ["deployment", "revision", "waits for", "back to", "done"]);
    for line in &told {
        table.row(cells![
            line.deployment.as_str(),
            line.revision,
            line.reasons.join("; "),
            line.back_to,
            line.done.as_str()
        ]);
    }
    let acted = told.iter().filter(|line| line.done != "nothing").count();
    let would = if cx.is_plan() { "would be " } else { "" };
    report.summary(match (told.len(), &parameters.action) {
        (0, _) => "no Deployment is stuck".to_owned(),
        (stuck, Action::Restart) => format!("{stuck} Deployments are stuck, {acted} {would}restarted"),
        (stuck, _) => format!("{stuck} Deployments are stuck, {acted} {would}rolled back"),
    });
    Ok(report.data(Data { stuck: told, too_many }))
}

/// Say that one is stuck, and what would mend it.
fn says(report: &mut Report, stuck: &Stuck) {
    let finding = report.warning(format!("{}: revision {} is stuck", stuck.name, stuck.revision)).detail(stuck.why());
    match &stuck.back_to {
        Some(older) => finding.remedy(
            "stuck-deployments",
            &json!({ "action": "roll-back" }),
            format!("goes back to revision {}", older.revision),
        ),
        None => finding.advice("there is no older revision: mend its template, or delete it"),
    };
}

/// Roll one back, or restart it, and see whether that helped.
async fn act(
    cx: &Context,
    cluster: &Cluster,
    stuck: &Stuck,
    parameters: &Parameters,
    report: &mut Report,
    line: &mut Told,
) -> Result<()> {
    let object = Object::deployment(&stuck.name);
    let done = match (&parameters.action, &stuck.back_to) {
        (Action::Restart, _) => cluster.restart(&object).await.map(|()| "restarted"),
        (_, Some(older)) => {
            // The test makes it hit the Deployment that was looked at, and no other.
            let patch = json!([
                { "op": "test", "path": "/metadata/resourceVersion", "value": stuck.version },
                { "op": "replace", "path": "/spec/template", "value": older.template },
            ]);
            cluster.patch(&object, PatchKind::Json, &patch).await.map(|_| "rolled-back")
        }
        (_, None) => {
            says(report, stuck);
            return Ok(());
        }
    };
    match done {
        Ok(done) => line.done = done.to_owned(),
        Err(error) if error.is_conflict() => {
            report.warning(format!("{}: left alone, somebody changed it meanwhile", stuck.name)).because(&error);
            return Ok(());
        }
        // A denial, a cluster that is away: the others would fare no better.
        Err(error) => return Err(error),
    }
    if cx.is_plan() || parameters.wait_seconds == 0 {
        return Ok(());
    }
    match cluster.wait_for(&object, Condition::RolledOut, parameters.wait_seconds).await {
        Ok(_) => {
            line.complete = Some(true);
            report.note(format!("{}: {} from revision {}", stuck.name, line.done, stuck.revision)).detail(stuck.why());
        }
        Err(error) => {
            line.complete = Some(false);
            report
                .critical(format!("{}: {}, and still not complete", stuck.name, line.done))
                .because(&error)
                .advice("look at its pods: `kubectl describe`; a second run does not go back further");
        }
    }
    Ok(())
}
