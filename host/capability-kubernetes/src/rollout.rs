//! Scales, rollouts, and waiting for what an object will be.

use crate::client::{Client, is_granted};
use crate::error::{clean, fault};
use crate::host::kubernetes::{Condition, Rollout, Scale};
use crate::reach::Place;
use crate::request::Call;
use rota_authority::{Authorized, Kubernetes, KubernetesAccess};
use rota_contract::Error;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// How often an object is looked at that something is waited for: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long a rollout that shows its failure is waited for all the same, from the first look on. A controller that has just seen a new
/// template goes on showing that the one before had failed, until something of the new one moves.
const STALE: Duration = Duration::from_secs(5);

impl Client {
    /// The scale of an object, and its version.
    pub(crate) async fn scale(&self, _: &Authorized<Kubernetes>, place: &Place) -> Result<(Scale, String), Error> {
        if !place.resource.scales {
            return Err(Error::InvalidArgument(format!("{} have no scale", place.resource.rbac())));
        }
        let path = format!("{}/scale", place.path());
        let scale = self.requests.json(Call::get(&format!("get the scale of {}", place.shown()), &path, &[])).await?;
        let version = scale["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        let selector = scale["status"]["selector"].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let scale =
            Scale { wanted: count(&scale["spec"]["replicas"]), current: count(&scale["status"]["replicas"]), selector };
        Ok((scale, version))
    }

    /// Wait until a condition holds; null when it is that the object is gone. With no time, look once.
    pub(crate) async fn wait_for(
        &self,
        authorized: &Authorized<Kubernetes>,
        place: &Place,
        condition: &Condition,
        time: Duration,
    ) -> Result<Value, Error> {
        let wanted = wanted(condition)?;
        let (stale, until) = (Instant::now() + STALE, Instant::now() + time);
        let mut pause = PAUSES.0;
        loop {
            let object = match self.get(authorized, place).await {
                // A comparison would tell the value of a secret.
                Ok(mut object) => {
                    if place.resource.is_secret() && !is_granted(authorized, KubernetesAccess::Secrets) {
                        crate::secrets::hide(&mut object);
                    }
                    Some(object)
                }
                Err(Error::NotFound(_)) => None,
                // It may answer before the time is over.
                Err(Error::Unavailable(_) | Error::TimedOut(_)) if Instant::now() < until => {
                    tokio::time::sleep_until((Instant::now() + pause).min(until)).await;
                    pause = (pause * 2).min(PAUSES.1);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let note = match (wanted.holds(object.as_ref()), object) {
                (Held::Yes, object) => return Ok(object.unwrap_or(Value::Null)),
                (Held::Failed(note), _) if Instant::now() >= stale.min(until) => {
                    return Err(fault("rollout-failed", note, false));
                }
                (Held::No(note) | Held::Failed(note), _) => note,
            };
            if Instant::now() >= until {
                let seconds = time.as_secs();
                return Err(Error::TimedOut(format!("{}: {} after {seconds} s: {note}", place.shown(), wanted.text)));
            }
            tokio::time::sleep_until((Instant::now() + pause).min(until)).await;
            pause = (pause * 3 / 2).min(PAUSES.1);
        }
    }
}

struct Wanted<'c> {
    condition: &'c Condition,
    value: Value,
    /// What is missed, in words.
    text: &'static str,
}

enum Held {
    Yes,
    No(String),
    /// Not, and it says of itself that it will not.
    Failed(String),
}

fn wanted(condition: &Condition) -> Result<Wanted<'_>, Error> {
    let (value, text) = match condition {
        Condition::Exists => (Value::Null, "it is not there"),
        Condition::Gone => (Value::Null, "it is still there"),
        Condition::Status(_) => (Value::Null, "the condition does not hold"),
        Condition::RolledOut => (Value::Null, "the rollout is not complete"),
        Condition::Field((pointer, json)) => {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                return Err(Error::InvalidArgument("a field is named by a JSON pointer, as /status/phase".into()));
            }
            let value = serde_json::from_str(json)
                .map_err(|error| Error::InvalidArgument(format!("the value of {pointer} is not JSON: {error}")))?;
            (value, "the field has another value")
        }
    };
    Ok(Wanted { condition, value, text })
}

impl Wanted<'_> {
    fn holds(&self, object: Option<&Value>) -> Held {
        let Some(object) = object else {
            let gone = matches!(self.condition, Condition::Gone);
            return if gone { Held::Yes } else { Held::No("there is none of the name".into()) };
        };
        match self.condition {
            Condition::Exists => Held::Yes,
            Condition::Gone => Held::No(if object["metadata"]["deletionTimestamp"].is_null() {
                "it is not being deleted".into()
            } else {
                "it is being deleted".into()
            }),
            Condition::Status((kind, status)) => {
                let conditions = object["status"]["conditions"].as_array();
                match conditions.into_iter().flatten().find(|one| one["type"] == kind.as_str()) {
                    Some(one) if one["status"] == status.as_str() => Held::Yes,
                    Some(one) => Held::No(format!("{} {}", one["status"], one["message"])),
                    None => Held::No("its status has no such condition".into()),
                }
            }
            Condition::Field((pointer, _)) => match object.pointer(pointer).unwrap_or(&Value::Null) {
                value if *value == self.value => Held::Yes,
                // The value of a secret is not told.
                _ => Held::No("it is not as wanted".into()),
            },
            Condition::RolledOut => match rollout(object) {
                rollout if rollout.complete => Held::Yes,
                rollout if rollout.failed => Held::Failed(rollout.note),
                rollout => Held::No(rollout.note),
            },
        }
    }
}

fn count(value: &Value) -> u32 {
    value.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
}

/// How far the rollout of a workload is, by the rules of `kubectl rollout status`.
pub fn rollout(object: &Value) -> Rollout {
    let (spec, status) = (&object["spec"], &object["status"]);
    let daemon = object["kind"] == "DaemonSet";
    let wanted = if daemon {
        count(&status["desiredNumberScheduled"])
    } else {
        spec["replicas"].as_u64().map_or(1, |_| count(&spec["replicas"]))
    };
    let of = |plain: &str, of_daemon: &str| count(&status[if daemon { of_daemon } else { plain }]);
    let updated = of("updatedReplicas", "updatedNumberScheduled");
    let (ready, available) = (of("readyReplicas", "numberReady"), of("availableReplicas", "numberAvailable"));
    let total = if daemon { updated } else { count(&status["replicas"]) };
    let seen = status["observedGeneration"].as_i64() >= object["metadata"]["generation"].as_i64();
    let stuck = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["type"] == "Progressing" && one["reason"] == "ProgressDeadlineExceeded");
    let (mut complete, mut failed) = (false, false);
    let note = if !seen {
        "the controller has not seen the change yet".to_owned()
    } else if let Some(stuck) = stuck {
        failed = true;
        clean(stuck["message"].as_str().unwrap_or("the progress deadline is over"))
    } else if updated < wanted {
        format!("{updated} of {wanted} replicas are of the newest template")
    } else if total > updated {
        format!("{} replicas of an older template are left", total - updated)
    } else if available < wanted {
        format!("{available} of {wanted} replicas are available")
    } else {
        complete = true;
        format!("{wanted} replicas are of the newest template and available")
    };
    Rollout { complete, failed, wanted, updated, ready, available, note }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(observed: u32, replicas: u32, updated: u32, available: u32) -> Value {
        json!({
            "kind": "Deployment", "metadata": { "generation": 2 }, "spec": { "replicas": 3 },
            "status": { "observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated, "availableReplicas": available },
        })
    }

    #[test]
    fn a_rollout_is_complete_when_all_is_new_and_available_and_nothing_old_is_left() {
        for (object, complete) in [
            (deployment(2, 3, 3, 3), true),
            (deployment(1, 3, 3, 3), false),
            (deployment(2, 4, 3, 3), false),
            (deployment(2, 3, 2, 3), false),
            (deployment(2, 3, 3, 2), false),
        ] {
            assert_eq!(rollout(&object).complete, complete, "{object}");
        }
        let mut none = deployment(2, 0, 0, 0);
        none["spec"]["replicas"] = 0.into();
        assert!(rollout(&none).complete);
    }
}
