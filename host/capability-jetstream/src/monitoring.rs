//! The servers' own pages: `/healthz?js-server-only=true`, `/varz`, `/jsz`. They answer when JetStream has no leader, and tell of the whole server.

use crate::api::{Cluster, Requests, limit, microseconds};
use crate::connect::Settings;
use crate::error::clean;
use crate::facts::text;
use crate::wit::{Monitored, ServerState};
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use rota_contract::Error;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The largest page that is read.
const LARGEST: usize = 64 << 20;
/// Servers that are asked at once.
const AT_ONCE: usize = 8;
/// Streams without a leader that are named.
const NAMED: usize = 1_000;

/// Ask every server.
pub(crate) async fn ask(settings: &Settings) -> Result<Vec<Monitored>, Error> {
    if settings.target.monitoring.is_empty() {
        return Ok(Vec::new());
    }
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(settings.tls.as_ref().clone())
        .connect_timeout(settings.connect_timeout)
        .timeout(settings.request_timeout)
        // Only where the operator said.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|_| settings.place.unreachable("no HTTP client can be made"))?;
    let addresses: Vec<(String, u32)> = settings.target.monitoring.iter().cloned().zip(0..).collect();
    let each = addresses.into_iter().map(|(address, number)| asked(client.clone(), address, number));
    Ok(futures::stream::iter(each).buffered(AT_ONCE).collect().await)
}

async fn asked(client: reqwest::Client, address: String, number: u32) -> Monitored {
    match one(&client, &address, number).await {
        Ok(state) => Monitored::State(state),
        Err(why) => Monitored::Unreachable((number, why)),
    }
}

async fn one(client: &reqwest::Client, address: &str, number: u32) -> Result<ServerState, String> {
    let (health, server, jetstream) = tokio::join!(
        page::<Health>(client, format!("{address}/healthz?js-server-only=true"), true),
        page::<Server>(client, format!("{address}/varz"), false),
        page::<Jetstream>(client, format!("{address}/jsz?accounts=true&streams=true"), false),
    );
    let (health, server, jetstream) = (health?, server?, jetstream?);
    let healthy = health.status == "ok";
    let mut leaderless: Vec<String> = jetstream
        .account_details
        .iter()
        .flat_map(|account| account.stream_detail.iter().map(move |stream| (account, stream)))
        .filter(|(_, stream)| stream.cluster.as_ref().is_some_and(|cluster| cluster.leader.is_empty()))
        .map(|(account, stream)| text(&format!("{}/{}", account.name, stream.name)))
        .collect();
    leaderless.sort();
    let leaderless_count = leaderless.len() as u64;
    leaderless.truncate(NAMED);
    let group = jetstream.meta_cluster;
    let gone = |group: &Group| -> Vec<String> {
        group.replicas.iter().filter(|replica| replica.offline).map(|replica| text(&replica.name)).collect()
    };
    Ok(ServerState {
        number,
        name: text(&server.server_name),
        version: text(&server.version),
        healthy,
        trouble: health.error.filter(|_| !healthy).map(|error| clean(&error)),
        started_at: server.start.and_then(microseconds),
        connections: server.connections,
        connections_limit: limit(server.max_connections),
        slow_consumers: server.slow_consumers,
        jetstream: !jetstream.disabled,
        memory: jetstream.memory,
        memory_limit: limit(jetstream.config.max_memory),
        storage: jetstream.storage,
        storage_limit: limit(jetstream.config.max_storage),
        api_requests: jetstream.api.total,
        api_errors: jetstream.api.errors,
        cluster_size: group.as_ref().map(|group| group.cluster_size),
        cluster_leader: group.as_ref().map(|group| text(&group.leader)).filter(|leader| !leader.is_empty()),
        offline: group.as_ref().map(gone).unwrap_or_default(),
        leaderless,
        leaderless_count,
    })
}

/// A page, bounded. An unhealthy server answers its health with an error status.
async fn page<P: DeserializeOwned>(client: &reqwest::Client, address: String, any_status: bool) -> Result<P, String> {
    let said = |error: &reqwest::Error| {
        // Without its address, which a plugin must not see.
        let what = if error.is_timeout() {
            "it did not answer in time"
        } else if error.is_connect() {
            "no connection can be made"
        } else {
            "the answer broke off"
        };
        what.to_owned()
    };
    let answer = client.get(address).send().await.map_err(|error| said(&error))?;
    if !any_status && !answer.status().is_success() {
        return Err(format!("it answered with the status {}", answer.status().as_u16()));
    }
    let (mut body, mut whole) = (answer.bytes_stream(), Vec::new());
    while let Some(some) = body.next().await {
        whole.extend_from_slice(&some.map_err(|error| said(&error))?);
        if whole.len() > LARGEST {
            return Err("its answer is larger than 64 MiB".to_owned());
        }
    }
    serde_json::from_slice(&whole).map_err(|_| "its answer is not that of a NATS server".to_owned())
}

#[derive(Deserialize)]
struct Health {
    status: String,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Server {
    server_name: String,
    version: String,
    start: Option<DateTime<Utc>>,
    #[serde(default)]
    connections: u64,
    #[serde(default)]
    max_connections: i64,
    #[serde(default)]
    slow_consumers: u64,
}

#[derive(Deserialize)]
struct Jetstream {
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    memory: u64,
    #[serde(default)]
    storage: u64,
    #[serde(default)]
    api: Requests,
    #[serde(default)]
    config: Config,
    meta_cluster: Option<Group>,
    #[serde(default)]
    account_details: Vec<Account>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    max_memory: i64,
    max_storage: i64,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    leader: String,
    #[serde(default)]
    cluster_size: u32,
    #[serde(default)]
    replicas: Vec<crate::facts::Replica>,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    name: String,
    #[serde(default)]
    stream_detail: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    #[serde(default)]
    name: String,
    cluster: Option<Cluster>,
}
