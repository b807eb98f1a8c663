//! From a binding to a connection: what the operator configured, and nothing else.

use crate::error::Place;
use fred::clients::Client as Fred;
use fred::interfaces::{ClientLike as _, ClusterInterface as _};
use fred::prelude::Server;
use fred::types::ClientState;
use fred::types::config::{
    ClusterDiscoveryPolicy, Config, ConnectionConfig, PerformanceConfig, ServerConfig, TlsConfig, TlsConnector,
};
use rota_capability::TlsFiles;
use rota_config::{CacheBinding, CacheMode, CacheTarget};
use rota_contract::Error;
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// What is needed to connect, secrets read.
pub(crate) struct Settings {
    pub(crate) place: Place,
    pub(crate) target: CacheTarget,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) connect_timeout: Duration,
    pub(crate) command_timeout: Duration,
}

/// A connection of one session. Its sockets are closed with it.
pub(crate) struct Connected {
    pub(crate) client: Fred,
    task: JoinHandle<Result<(), fred::error::Error>>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Settings {
    /// Read the secrets and certificates. Blocks on files.
    pub(crate) fn read(binding: &str, settings: &CacheBinding) -> Result<Self, Error> {
        let command_timeout = settings.command_timeout.into();
        let place = Place { binding: binding.to_owned(), patience: command_timeout };
        let target = settings
            .target()
            .map_err(|error| Error::Unavailable(format!("binding `{binding}` cannot be used: {error}")))?;
        let tls = if target.tls {
            Some(Arc::new(tls_files(&target).config(true).map_err(|why| place.untrusted(&why))?))
        } else {
            None
        };
        Ok(Self { place, target, tls, connect_timeout: settings.connect_timeout.into(), command_timeout })
    }

    fn config(&self) -> Config {
        let target = &self.target;
        let exposed =
            |secret: &Option<rota_telemetry::Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
        let servers: Vec<Server> = target.nodes.iter().map(|(host, port)| Server::new(host, *port)).collect();
        let server = match target.mode {
            CacheMode::Single => {
                let (host, port) = target.nodes.first().cloned().unwrap_or_default();
                ServerConfig::new_centralized(host, port)
            }
            CacheMode::Cluster => {
                ServerConfig::Clustered { hosts: servers, policy: ClusterDiscoveryPolicy::ConfigEndpoint }
            }
            CacheMode::Sentinel => ServerConfig::Sentinel {
                hosts: servers,
                service_name: target.service.clone().unwrap_or_default(),
                username: target.sentinel_username.clone(),
                password: exposed(&target.sentinel_password),
            },
        };
        Config {
            server,
            username: target.username.clone(),
            password: exposed(&target.password),
            // SELECT 0 is what a connection has: a server that is loading refuses even that.
            database: Some(target.database).filter(|number| *number != 0),
            tls: self
                .tls
                .clone()
                .map(|config| TlsConfig::from(TlsConnector::Rustls(tokio_rustls::TlsConnector::from(config)))),
            ..Config::default()
        }
    }

    /// Connect, within the binding's time.
    pub(crate) async fn connect(&self) -> Result<Connected, fred::error::Error> {
        let performance = PerformanceConfig { default_command_timeout: self.command_timeout, ..Default::default() };
        let connection = ConnectionConfig {
            connection_timeout: self.connect_timeout,
            internal_command_timeout: self.connect_timeout,
            // A command is sent once: whether one happened whose connection broke is not known.
            max_command_attempts: 1,
            reconnect_errors: Vec::new(),
            ..Default::default()
        };
        let client = Fred::new(self.config(), Some(performance), Some(connection), None);
        let closed = || fred::error::Error::new(fred::error::ErrorKind::IO, "the connection was closed");
        let mut connected = None;
        let ready = async {
            tokio::select! {
                // In this order: it looks at the state and subscribes only then, so it would wait for ever for a
                // connection that is made in between. Nothing connects before it was polled.
                biased;
                ready = client.wait_for_connect() => ready,
                // It ends when it cannot connect, and may have said so before anyone listened.
                ended = async {
                    (&mut connected.insert(Connected { client: client.clone(), task: client.connect() }).task).await
                } => match ended {
                    Ok(Err(error)) => Err(error),
                    _ => Err(closed()),
                },
            }
        };
        match tokio::time::timeout(self.connect_timeout, ready).await {
            Ok(ready) => ready.and(connected.ok_or_else(closed)),
            Err(_) => Err(fred::error::Error::new(fred::error::ErrorKind::Timeout, "connecting")),
        }
    }
}

impl Connected {
    /// The nodes that keys are on: the primaries of a cluster, else the one server.
    pub(crate) fn nodes(&self) -> Vec<Option<Server>> {
        let Some(state) = self.client.cached_cluster_state().filter(|_| self.client.is_clustered()) else {
            return vec![None];
        };
        let mut nodes = state.unique_primary_nodes();
        nodes.sort_by(|a, b| (&a.host, a.port).cmp(&(&b.host, b.port)));
        nodes.into_iter().map(Some).collect()
    }

    /// Where the nodes are, for connections of another kind.
    pub(crate) fn addresses(&self) -> Vec<(String, u16)> {
        let nodes: Vec<Server> = self.nodes().into_iter().flatten().collect();
        let nodes = if nodes.is_empty() { self.client.active_connections() } else { nodes };
        nodes.into_iter().map(|server| (server.host.to_string(), server.port)).collect()
    }

    /// Whether it still serves.
    pub(crate) fn lives(&self) -> bool {
        !self.task.is_finished() && self.client.state() == ClientState::Connected
    }
}

fn tls_files(target: &CacheTarget) -> TlsFiles<'_> {
    TlsFiles {
        ca_file: target.ca_file.as_deref(),
        client_cert: target.client_cert.as_deref(),
        client_key: target.client_key.as_deref(),
    }
}
