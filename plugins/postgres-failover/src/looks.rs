//! Is the primary down? Three looks, by paths that do not depend on each other: a connection, the cluster's view of the pod, and the standbys' receivers. A sign
//! of life on any of them ends it: then there is nothing to fail over, or somebody must look.

use crate::{Context, Decision, Parameters, standbys};
use rota_sdk::HostError;
use rota_sdk::cluster::{Cluster, Object};
use rota_sdk::prelude::*;
use rota_sdk_promotion::{Candidate, Look, Primary, Standby, pod_is_ready, within};
use std::time::Duration;

/// How long the primary has to answer a look.
const ANSWER: Duration = Duration::from_secs(10);

/// What one look showed.
pub(crate) struct Seen {
    pub(crate) look: Look,
    /// Each path on which the primary is alive, and how that shows.
    pub(crate) alive: Vec<String>,
    /// What the primary told standbys to have written.
    pub(crate) primary_said: Option<i64>,
}

/// Look once.
pub(crate) async fn look(
    cx: &Context,
    cluster: &Cluster,
    primary: &Primary,
    begun: Timestamp,
    candidates: &[Candidate],
) -> Result<Seen> {
    let after_seconds = cx.now().seconds_since(begun);
    let mut alive = Vec::new();
    let sql = match ask(cx).await? {
        Answer::Down(how) => how,
        Answer::Alive(how) => {
            alive.push(format!("its binding: {how}"));
            how
        }
    };
    let pod = match &primary.pod {
        None => "there is no pod".to_owned(),
        Some(name) => match cluster.get(&Object::pod(name)).await? {
            None => "it is gone".to_owned(),
            Some(pod) if pod_is_ready(&pod) => {
                alive.push(format!("the cluster: the pod {name} is ready"));
                "it is ready".to_owned()
            }
            Some(pod) => format!("it is not ready ({})", pod["status"]["phase"].as_str().unwrap_or("no phase")),
        },
    };
    let (mut receivers, mut primary_said) = (Vec::new(), None);
    for slot in standbys(cx) {
        let Some(candidate) = candidates.iter().find(|candidate| candidate.slot == slot.name()) else { continue };
        let looked = within(cx, ANSWER, async { Standby::look(&mut slot.open().await?).await }).await?;
        let seen = match looked {
            Some(Ok(seen)) => seen,
            Some(Err(error)) => return Err(error),
            None => return Err(Error::new(format!("{} does not answer any more", candidate.pod))),
        };
        primary_said = primary_said.max(seen.primary_said);
        if seen.streams() {
            alive.push(format!("{}: it streams from its primary", candidate.pod));
        }
        let status = seen.receiver_status.as_deref().unwrap_or("no receiver");
        receivers.push(format!("{}: {status}", candidate.pod));
    }
    Ok(Seen { look: Look { after_seconds, sql, pod, receivers: receivers.join(", ") }, alive, primary_said })
}

/// All looks, until one shows life.
pub(crate) async fn all(
    cx: &Context,
    cluster: &Cluster,
    parameters: &Parameters,
    primary: &Primary,
    candidates: &[Candidate],
) -> Result<(Vec<Look>, Option<i64>)> {
    let (begun, mut looks, mut said) = (cx.now(), Vec::new(), None);
    for number in 0..parameters.looks {
        if number > 0 {
            cx.sleep(Duration::from_secs(parameters.look_interval_seconds.into())).await?;
        }
        progress(number.into(), Some(parameters.looks.into()), "looks", "is the primary down");
        let seen = look(cx, cluster, primary, begun, candidates).await?;
        said = said.max(seen.primary_said);
        looks.push(seen.look);
        if !seen.alive.is_empty() {
            return Err(lives(&parameters.service, primary, &seen.alive, looks));
        }
    }
    Ok((looks, said))
}

/// One more look, where an attempt goes on that another began.
pub(crate) async fn still_down(
    cx: &Context,
    cluster: &Cluster,
    parameters: &Parameters,
    decision: &Decision,
) -> Result<()> {
    let seen = look(cx, cluster, &decision.primary, cx.now(), std::slice::from_ref(&decision.chosen)).await?;
    if seen.alive.is_empty() {
        return Ok(());
    }
    Err(lives(&parameters.service, &decision.primary, &seen.alive, vec![seen.look]))
}

fn lives(service: &str, primary: &Primary, alive: &[String], looks: Vec<Look>) -> Error {
    let name = primary.pod.as_deref().unwrap_or(&primary.stateful_set);
    let title = format!("the primary ({name}) is not down: {}", alive.join("; "));
    let mut report = Report::new();
    report
        .critical(&title)
        .detail("Promoting a standby beside a primary that lives makes two of them, and both take writes. Nothing was changed.")
        .remedy("postgres-switchover", &json!({ "service": service }), "stops the primary cleanly, loses nothing, and promotes the standby");
    let mut table = report.table("looks", "Looks at the primary", ["after", "connection", "pod", "standbys"]);
    for look in &looks {
        table.row(cells![Seconds(look.after_seconds), &look.sql, &look.pod, &look.receivers]);
    }
    report.summary(&title);
    Error::new(title)
        .hint(
            "to move the primary while it lives, run postgres-switchover. Where it hangs and is taken for ready, stop it first (kubectl scale statefulset ... \
             --replicas=0); where it is only this host that does not reach it, mend that",
        )
        .with_report(report.data(json!({ "looks": looks })))
}

enum Answer {
    Alive(String),
    Down(String),
}

/// What the host says when nobody is there. Everything else is a server that answers, or not known, and neither is down.
const NOBODY: [&str; 9] = [
    "nothing listens",
    "no session within",
    "does not answer",
    "cannot be reached",
    "closed the connection at once",
    "there is no socket",
    "the connection of binding",
    "is starting or stopping",
    "terminating connection",
];

async fn ask(cx: &Context) -> Result<Answer> {
    let asked = within(cx, ANSWER, async {
        let mut session = cx.database().open().await?;
        session.query_one::<bool>("select pg_is_in_recovery()", params![]).await
    });
    let error = match asked.await? {
        None => return Ok(Answer::Down(format!("no answer in {} s", ANSWER.as_secs()))),
        Some(Ok(false)) => return Ok(Answer::Alive("it answers".to_owned())),
        Some(Ok(true)) => {
            return Err(Error::new("the binding in slot `database` reaches a standby, not the primary")
                .hint("bind `database` to the primary that is down, by an address of its own"));
        }
        Some(Err(error)) => error,
    };
    if error.is_denied() || error.is_cancelled() {
        return Err(error);
    }
    let nobody = match error.cause() {
        Some(HostError::Unavailable(text) | HostError::TimedOut(text)) => NOBODY.iter().any(|one| text.contains(one)),
        // Shut down by an administrator, crashed, not yet or no longer up; a connection that broke.
        Some(HostError::Failed(fault)) => {
            fault.code.starts_with("08") || matches!(fault.code.as_str(), "57P01" | "57P02" | "57P03")
        }
        _ => false,
    };
    let said = error.to_string();
    Ok(if nobody { Answer::Down(said) } else { Answer::Alive(format!("something answers ({said})")) })
}
