//! A listener beside the host that leads to a port of a pod.
//!
//! Each connection that comes in gets a port-forward of its own to a pod that is ready then, so that a pod that goes takes its own
//! connections with it and no others: the next one finds the next pod.

use super::pods::Pod;
use super::reach;
use crate::client::Client;
use crate::error::fault;
use crate::request::Call;
use k8s_openapi::api::core::v1::Pod as PodObject;
use kube::Api;
use rota_authority::{Authorized, Sql};
use rota_capability::{Forward, Local};
use rota_config::{SqlHost, Through};
use rota_contract::Error;
use serde_json::Value;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, JoinSet};

/// The most connections at once: what a binding may open, and the cancels beside it.
const MOST: usize = 64;

/// Where the listener leads.
struct Way {
    client: Client,
    namespace: String,
    through: Through,
    port: u16,
    trouble: Arc<Mutex<Option<Error>>>,
}

/// Ends the listener and its connections, and takes the socket's folder away.
struct Keep {
    task: AbortHandle,
    folder: Option<PathBuf>,
}

impl Drop for Keep {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(folder) = &self.folder
            && let Err(error) = std::fs::remove_dir_all(folder)
        {
            tracing::debug!(folder = %folder.display(), %error, "the folder of a socket could not be removed");
        }
    }
}

/// Listen.
pub(super) async fn forward(sql: Authorized<Sql>, how: Local) -> Result<Forward, Error> {
    let name = sql.binding_name();
    let Some(through) = sql.binding().through.clone() else {
        return Err(fault("configuration", format!("binding `{name}` leads through no cluster"), false));
    };
    let target = sql.binding().target().map_err(|error| Error::Unavailable(format!("binding `{name}`: {error}")))?;
    if let SqlHost::Socket(folder) = &target.host {
        let text =
            format!("binding `{name}`: its url leads to a socket ({}), and `through` to a port", folder.display());
        return Err(fault("configuration", text, false));
    }
    let (client, namespace) = reach(name, &through.cluster, through.namespace.as_deref()).await?;
    let port = through.port.unwrap_or(target.port);
    let trouble = Arc::default();
    let way = Arc::new(Way { client, namespace, through, port, trouble: Arc::clone(&trouble) });
    // Now, so that what is wrong with it is said by whoever asks, and not by a connection that ends.
    way.find().await?;
    let broken = |error: std::io::Error| {
        Error::Unavailable(format!("binding `{name}`: no port-forward could be set up: {error}"))
    };
    match how {
        Local::Socket => {
            let folder = private_folder().map_err(broken)?;
            let listener = UnixListener::bind(folder.join(format!(".s.PGSQL.{}", target.port)));
            let listener = match listener {
                Ok(listener) => listener,
                Err(error) => {
                    let _ = std::fs::remove_dir_all(&folder);
                    return Err(broken(error));
                }
            };
            let task = tokio::spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    way.lead(stream, &mut connections);
                }
            });
            let keep = Keep { task: task.abort_handle(), folder: Some(folder.clone()) };
            Ok(Forward { folder: Some(folder), port: target.port, trouble, keep: Box::new(keep) })
        }
        Local::Loopback => {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(broken)?;
            let port = listener.local_addr().map_err(broken)?.port();
            let task = tokio::spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    way.lead(stream, &mut connections);
                }
            });
            let keep = Keep { task: task.abort_handle(), folder: None };
            Ok(Forward { folder: None, port, trouble, keep: Box::new(keep) })
        }
    }
}

const PREFIX: &str = "rota-forward-";

/// A folder of 0700 for a socket; those of processes that are gone go first.
fn private_folder() -> std::io::Result<PathBuf> {
    let base = std::env::temp_dir();
    for entry in std::fs::read_dir(&base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.rsplit_once('-'));
        if process.is_some_and(|(process, _)| super::owner::is_gone(process)) {
            // Another user's is theirs to remove, and cannot be removed here.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let process = super::owner::process().unwrap_or_else(|| "0-0".to_owned());
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let folder = base.join(format!("{PREFIX}{process}-{}", &unique[..12]));
    // Fails where the name is taken, by a link for example.
    std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
    Ok(folder)
}

impl Way {
    fn lead(
        self: &Arc<Self>,
        local: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        connections: &mut JoinSet<()>,
    ) {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MOST {
            self.tell(Some(Error::Quota(format!("a port-forward leads at most {MOST} connections at once"))));
            return;
        }
        let way = Arc::clone(self);
        connections.spawn(async move {
            let told = way.connection(local).await.err();
            way.tell(told);
        });
    }

    fn tell(&self, trouble: Option<Error>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// The pod and its port.
    async fn find(&self) -> Result<(Pod, u16), Error> {
        if let Some(name) = &self.through.pod {
            return Ok((self.client.named_pod(&self.namespace, name).await?, self.port));
        }
        let name = self.through.service.as_deref().unwrap_or_default();
        let what = format!("get services {}/{name}", self.namespace);
        let path = format!("/api/v1/namespaces/{}/services/{name}", self.namespace);
        let service = self.client.requests.json(Call::get(&what, &path, &[])).await?;
        let selector = service["spec"]["selector"].as_object().filter(|labels| !labels.is_empty());
        let Some(selector) = selector else {
            let text = format!("the service {}/{name} has no selector: name a pod in `through`", self.namespace);
            return Err(fault("configuration", text, false));
        };
        let labels = selector.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
        let pod = self.client.ready_pod(&self.namespace, &labels.collect::<Vec<_>>().join(",")).await?;
        let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        let port = ports.iter().find(|port| port["port"] == self.port).ok_or_else(|| {
            let known: Vec<String> = ports.iter().map(|port| port["port"].to_string()).collect();
            let text =
                format!("the service {}/{name} has no port {} but {}", self.namespace, self.port, known.join(", "));
            fault("configuration", text, false)
        })?;
        let target = target_port(port, &pod.object).ok_or_else(|| {
            let text = format!(
                "the pod {}/{} has no port of the name that the service {name} leads to",
                self.namespace, pod.name
            );
            fault("configuration", text, false)
        })?;
        Ok((pod, target))
    }

    async fn connection(&self, mut local: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), Error> {
        let (pod, port) = self.find().await?;
        let what = format!("port-forward to pod {}/{} port {port}", self.namespace, pod.name);
        let api: Api<PodObject> = Api::namespaced(self.client.requests.client.clone(), &self.namespace);
        let begun =
            tokio::time::timeout(self.client.requests.timeout, async { api.portforward(&pod.name, &[port]).await });
        let mut forwarder = match begun.await {
            Err(_) => return Err(self.client.requests.cluster.timed_out(&what, self.client.requests.timeout)),
            Ok(begun) => begun.map_err(|error| self.client.requests.cluster.of(&what, &error))?,
        };
        let said = forwarder.take_error(port);
        let Some(mut remote) = forwarder.take_stream(port) else {
            return Err(fault("protocol", format!("{what}: no stream"), true));
        };
        let copied = tokio::io::copy_bidirectional(&mut local, &mut remote).await;
        drop(remote);
        forwarder.abort();
        // What the kubelet says of it ("connection refused"), which the bytes do not show.
        let said = match said {
            Some(said) => tokio::time::timeout(std::time::Duration::from_millis(100), said).await.ok().flatten(),
            None => None,
        };
        match (said, copied) {
            (Some(said), _) => Err(Error::Unavailable(format!("{what}: {}", crate::error::clean(&said)))),
            (None, Err(error)) => Err(self.client.requests.cluster.unreachable(&what, &error)),
            (None, Ok(_)) => Ok(()),
        }
    }
}

/// The port of a pod that a port of a Service leads to.
fn target_port(port: &Value, pod: &Value) -> Option<u16> {
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    match &port["targetPort"] {
        Value::String(name) => {
            let containers = pod["spec"]["containers"].as_array()?;
            let ports = containers.iter().filter_map(|container| container["ports"].as_array()).flatten();
            ports.filter(|port| port["name"] == *name).find_map(|port| number(&port["containerPort"]))
        }
        Value::Null => number(&port["port"]),
        value => number(value),
    }
}
