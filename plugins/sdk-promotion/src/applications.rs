//! Applications get new connections by a rolling restart, one deployment after the other being told, and all of them being waited for.

use rota_sdk::Context;
use rota_sdk::cluster::{Cluster, Condition, Kind, Object, Selection};
use rota_sdk::prelude::*;

/// Which deployments.
#[derive(Clone, Debug, Default)]
pub struct Applications {
    /// Their namespace; none is the binding's own.
    pub namespace: Option<String>,
    /// By name.
    pub names: Vec<String>,
    /// By labels, in addition.
    pub labels: Option<String>,
    /// How long one may take, in seconds.
    pub seconds: u32,
}

/// What became of a deployment.
#[data]
pub struct Application {
    /// Its name.
    pub name: String,
    /// How many replicas it has.
    pub replicas: u32,
    /// Whether it was restarted.
    pub restarted: bool,
    /// Whether every replica is new and available.
    pub complete: bool,
    /// What it waits for, or why it was not restarted.
    pub note: String,
}

impl Applications {
    fn object(&self, name: &str) -> Object {
        let object = Object::deployment(name);
        match &self.namespace {
            Some(namespace) => object.in_namespace(namespace),
            None => object,
        }
    }

    /// Their names, each once, in order.
    ///
    /// # Errors
    /// When one that is named is not there.
    pub async fn find(&self, cluster: &Cluster) -> Result<Vec<String>> {
        let mut names = self.names.clone();
        for name in &names {
            if cluster.get(&self.object(name)).await?.is_none() {
                let place = self.namespace.clone().unwrap_or_else(|| cluster.namespace());
                return Err(Error::new(format!("there is no deployment {name} in {place}"))
                    .hint("see the parameters `applications` and `applications_namespace`"));
            }
        }
        if let Some(labels) = &self.labels {
            let mut selection = Selection::all().labels(labels);
            if let Some(namespace) = &self.namespace {
                selection = selection.in_namespace(namespace);
            }
            let found = cluster.list(&Kind::new("apps/v1", "Deployment"), selection).await?.collect(1_000).await?;
            names.extend(found.iter().filter_map(|one| one["metadata"]["name"].as_str()).map(str::to_owned));
        }
        names.sort();
        names.dedup();
        Ok(names)
    }
}

/// Restart them, and wait for each. What goes wrong with one is said of it and stops none of the others: the database is where it is to be.
///
/// # Errors
/// When the run is being cancelled, or the restarts cannot be put on record.
pub async fn restart(
    cx: &Context,
    cluster: &Cluster,
    applications: &Applications,
    names: &[String],
) -> Result<Vec<Application>> {
    let mut all = Vec::new();
    for name in names {
        let object = applications.object(name);
        let told = cx.step(format!("restart {name}"), async || {
            let said = match cluster.restart(&object).await {
                Ok(()) => None,
                Err(error) if error.is_cancelled() => return Err(error),
                Err(error) => Some(error.to_string()),
            };
            Ok(said)
        });
        let refused: Option<String> = told.repeatable().await?;
        all.push(Application {
            name: name.clone(),
            replicas: 0,
            restarted: refused.is_none() && !cx.is_plan(),
            complete: false,
            note: refused.unwrap_or_default(),
        });
    }
    for application in &mut all {
        progress(0, None, "deployments", &application.name);
        let object = applications.object(&application.name);
        if application.restarted {
            match cluster.wait_for(&object, Condition::RolledOut, applications.seconds).await {
                Ok(_) => {}
                Err(error) if error.is_cancelled() => return Err(error),
                Err(error) => application.note = error.to_string(),
            }
        }
        match cluster.rollout_status(&object).await {
            Ok(rollout) => {
                application.replicas = rollout.wanted;
                application.complete = rollout.complete && application.restarted;
                if application.note.is_empty() && !application.complete {
                    application.note = rollout.note;
                }
            }
            Err(error) if error.is_cancelled() => return Err(error),
            Err(error) => application.note = error.to_string(),
        }
    }
    Ok(all)
}
