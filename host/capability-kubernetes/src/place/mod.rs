//! Where tools run and sql bindings lead through, other than beside the host: a pod, a Job, a port-forward.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `pods` | which pod a selector or a Service means now |
//! | `exec` | a program in a pod that runs: its login through the connection, its end known, its life tied to the connection |
//! | `job`, `owner` | a program in a Job of its own; Jobs whose host is gone |
//! | `forward` | a local listener that leads to a port of a pod |
//!
//! The token is the tool's or the server's: which cluster is reached, and where in it, stands in that binding, and a guest says nothing of it.

mod exec;
mod forward;
mod job;
mod owner;
mod pods;

use crate::client::Client;
use crate::error::fault;
use crate::request::Call;
use crate::review::Question;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rota_authority::{Authorized, Sql, Tool};
use rota_capability::{Conclude, Forward, Local, Process, Remote, RemoteProgram, RunContext};
use rota_config::{ClusterRef, JobPlace, PodPlace, ToolPlace};
use rota_contract::Error;
use std::sync::Arc;

/// The way into clusters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Places;

/// One of the two places.
enum Where<'p> {
    Pod(&'p PodPlace),
    Job(&'p JobPlace),
}

fn place_of(place: Option<&ToolPlace>) -> Result<Where<'_>, Error> {
    match place.map(|place| (&place.pod, &place.job)) {
        Some((Some(pod), _)) => Ok(Where::Pod(pod)),
        Some((None, Some(job))) => Ok(Where::Job(job)),
        _ => Err(fault("configuration", "the binding names no place in a cluster", false)),
    }
}

/// A client of the cluster that a binding names, and the namespace that it means there.
async fn reach(of: &str, cluster: &ClusterRef, namespace: Option<&str>) -> Result<(Client, String), Error> {
    let Some(binding) = cluster.binding() else {
        let text = format!("binding `{of}`: its cluster `{}` is not configured here", cluster.name());
        return Err(fault("configuration", text, false));
    };
    let client = Client::of_binding(cluster.name().as_str(), binding).await?;
    let namespace = namespace.unwrap_or(client.namespace()).to_owned();
    if !binding.reaches(&namespace, client.namespace()) {
        let text = format!(
            "binding `{}` does not reach the namespace {namespace}; its operator adds it to `namespaces`",
            cluster.name()
        );
        return Err(fault("configuration", text, false));
    }
    Ok((client, namespace))
}

/// What a place needs of RBAC.
fn question(verb: &str, group: &str, resource: &str, subresource: &str, namespace: &str) -> Question {
    Question {
        verb: verb.to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        namespace: namespace.to_owned(),
        name: String::new(),
    }
}

async fn look_at_place(tool: Authorized<Tool>) -> Result<String, Error> {
    let name = tool.binding_name();
    match place_of(tool.binding().place.as_ref())? {
        Where::Pod(place) => {
            let (client, namespace) = reach(name, &place.cluster, place.namespace.as_deref()).await?;
            client
                .ask_all(&[
                    question("list", "", "pods", "", &namespace),
                    question("create", "", "pods", "exec", &namespace),
                    question("get", "", "pods", "exec", &namespace),
                ])
                .await?;
            let pod = client.ready_pod(&namespace, &place.selector).await?;
            Ok(format!("in pod {namespace}/{} of {}", pod.name, place.cluster.name()))
        }
        Where::Job(place) => {
            let (client, namespace) = reach(name, &place.cluster, place.namespace.as_deref()).await?;
            client
                .ask_all(&[
                    question("create", "batch", "jobs", "", &namespace),
                    question("get", "batch", "jobs", "", &namespace),
                    question("delete", "batch", "jobs", "", &namespace),
                    question("list", "", "pods", "", &namespace),
                    question("get", "", "pods", "log", &namespace),
                ])
                .await?;
            // A server answers this without the right to see Secrets' values; a Secret that is missing would only show in the Job.
            let version = client.requests.json(Call::get("asking for the version", "/version", &[])).await?;
            let version = version["gitVersion"].as_str().unwrap_or_default().to_owned();
            Ok(format!("in a Job in {namespace} of {} (Kubernetes {version})", place.cluster.name()))
        }
    }
}

impl Remote for Places {
    fn start(
        &self,
        run: Arc<RunContext>,
        tool: Authorized<Tool>,
        program: RemoteProgram,
        conclude: Conclude,
    ) -> BoxFuture<'static, Result<Box<dyn Process>, Error>> {
        async move {
            let begun = match place_of(tool.binding().place.as_ref()) {
                Ok(Where::Pod(place)) => {
                    exec::begin(&tool, place, program).await.map(|exec| exec::Started::Pod(Box::new(exec)))
                }
                Ok(Where::Job(place)) => {
                    job::begin(&run, &tool, place, program).await.map(|job| exec::Started::Job(Box::new(job)))
                }
                Err(error) => Err(error),
            };
            match begun {
                Ok(begun) => Ok(Box::new(begun.run(conclude).until_stopped(&run)) as Box<dyn Process>),
                Err(error) => Err(conclude(Err(error.clone())).await.err().unwrap_or(error)),
            }
        }
        .boxed()
    }

    fn look_at_place(&self, tool: Authorized<Tool>) -> BoxFuture<'static, Result<String, Error>> {
        look_at_place(tool).boxed()
    }

    fn forward(&self, sql: Authorized<Sql>, how: Local) -> BoxFuture<'static, Result<Forward, Error>> {
        forward::forward(sql, how).boxed()
    }
}
