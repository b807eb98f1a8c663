//! A program in a Job of its own.
//!
//! Its password is the cluster's: a Secret that the operator names. The host writes no login into the cluster, and its account needs no
//! right on Secrets. What the program writes comes through the pod's log, lines of text of both its outputs: enough for what a person
//! reads, and never for bulk, because the kubelet's log is not binary safe and is cut when it is rotated.

use super::reach;
use crate::client::Client;
use crate::error::fault;
use crate::host::kubernetes::{Job, Kind, SecretVariable};
use crate::job::{Removal, manifest, name_of};
use crate::output::Running;
use crate::reach::Place;
use crate::write::Change;
use rota_authority::{Authorized, Tool};
use rota_capability::{Conclude, RemoteProgram, RunContext};
use rota_config::JobPlace;
use rota_contract::Error;
use std::time::Duration;

/// A Job that was made.
pub(super) struct Begun {
    client: Client,
    place: Place,
    deadline: Duration,
    removal: Removal,
}

/// Make the Job.
pub(super) async fn begin(
    run: &RunContext,
    tool: &Authorized<Tool>,
    place: &JobPlace,
    program: RemoteProgram,
) -> Result<Begun, Error> {
    if program.password.is_some() && !place.secrets.iter().any(|one| one.variable == "PGPASSWORD") {
        let text = format!(
            "binding `{}`: a program in a Job finds the database's password in a Secret of the cluster, and the binding names none; \
             add {{ variable = \"PGPASSWORD\", secret = NAME, key = KEY }} to place.job.secrets",
            tool.binding_name()
        );
        return Err(fault("configuration", text, false));
    }
    let (client, namespace) = reach(tool.binding_name(), &place.cluster, place.namespace.as_deref()).await?;
    let base = program.path.rsplit('/').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let base: String = base.chars().map(|c| if plain(c) { c } else { '-' }).take(30).collect();
    let mut words = vec![program.path];
    words.extend(program.arguments);
    let job = Job {
        name: format!("rota-{}", base.trim_matches('-')),
        namespace: Some(namespace.clone()),
        image: place.image.clone(),
        words,
        variables: program.environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        secret_variables: place
            .secrets
            .iter()
            .map(|one| SecretVariable { name: one.variable.clone(), secret: one.secret.clone(), key: one.key.clone() })
            .collect(),
        memory: place.memory.clone(),
        cpu: place.cpu.clone(),
        service_account: place.service_account.clone(),
        deadline_seconds: u32::try_from(place.deadline.as_millis().div_ceil(1000)).unwrap_or(u32::MAX),
    };
    let kind = Kind { api_version: "batch/v1".into(), name: "Job".into() };
    let at = Place { resource: client.resource(&kind).await?, namespace, name: name_of(&job)? };
    let mut manifest = manifest(&at, &job, &run.facts.id)?;
    for (label, value) in super::owner::labels().into_iter().flatten() {
        manifest["metadata"]["labels"][label] = value.into();
    }
    super::owner::clear(&client, &at).await;
    // From here on it may be there, also when the answer is lost.
    let removal = Removal::of(client.clone(), at.clone());
    match client.send(&Change::create(at.clone(), &manifest), false).await {
        Ok(_) => Ok(Begun { client, place: at, deadline: place.deadline.into(), removal }),
        Err(error) => {
            removal.now().await;
            Err(error)
        }
    }
}

impl Begun {
    /// Stay with it; it is removed when it has ended, when the run stops, and when what is answered is dropped.
    pub(super) fn run(self, conclude: Conclude) -> Running {
        let Self { client, place, deadline, removal } = self;
        Running::start_stoppable(format!("job {}/{}", place.namespace, place.name), move |reports, stop| async move {
            let ended = client.stay(&place, deadline, removal, &reports, stop.notified()).await;
            reports.end(conclude(ended).await);
        })
    }
}
