//! Do JetStream, its streams and its consumers keep up?

use rota_sdk::HostError;
use rota_sdk::jetstream::{ConsumerFacts, JetStream, Monitored, ServerState, StreamFacts};
use rota_sdk::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

mod consumers;
mod servers;
mod streams;
#[cfg(test)]
mod tests;

procedure! {
    name: "jetstream-health",
    summary: "Checks the servers, account, streams and consumers of NATS JetStream.",
    description: include_str!("../README.md"),
    risk: observe,
    idempotent: true,
    slots: {
        stream: jetstream [read] "Reads the state of servers, account, streams and consumers; of messages only when they were stored.",
    },
    examples: [
        "A cluster of three" => json!({ "expected_servers": 3 }),
        "One stream, of a user who may not see the servers" => json!({ "streams": ["ORDERS"], "require_monitoring": false }),
    ],
    parameters: Parameters,
    report: Data,
    run
}

/// What is still well.
#[parameters]
pub struct Parameters {
    /// Look at these streams alone. Without it, at all of the account.
    streams: Option<Vec<String>>,
    /// How many servers must be there. Without it, as many as the cluster itself counts.
    expected_servers: Option<u32>,
    /// Whether the servers' monitoring must be seen: without it slow consumers, the servers' storage and the cluster's leader are unknown, and so is the
    /// whole. `false` leaves them out.
    #[parameter(default = true)]
    require_monitoring: bool,
    /// How long to wait between the two looks, in seconds.
    #[parameter(default = 5, range = 1..=300)]
    sample_seconds: u32,
    /// Warn when so many messages wait for a consumer and become more between the two looks.
    #[parameter(default = 1_000, range = 1..)]
    warn_pending: u64,
    /// Warn when so large a share of the unacknowledged messages that a consumer may have is reached; at all of them it is critical.
    #[parameter(default = 0.8, range = 0.0..=1.0)]
    warn_ack_pending: f64,
    /// Warn when a consumer has so many messages that were delivered again and are still not acknowledged.
    #[parameter(default = 1, range = 1..)]
    warn_redelivered: u64,
    /// Warn when the next message of a consumer has waited so long, in seconds.
    #[parameter(default = 300, range = 0..)]
    warn_seconds_behind: u64,
    /// Critical when it has waited so long.
    #[parameter(default = 3_600, range = 0..)]
    critical_seconds_behind: u64,
    /// Warn when so large a share of what a stream, the account or a server may store is used.
    #[parameter(default = 0.75, range = 0.0..=1.0)]
    warn_storage: f64,
    /// Critical when so large a share is used.
    #[parameter(default = 0.9, range = 0.0..=1.0)]
    critical_storage: f64,
    /// Warn when a copy is so many operations behind its leader.
    #[parameter(default = 1_000, range = 1..)]
    warn_lag: u64,
    /// Look at so many streams at most; with more, not everything was seen.
    #[parameter(default = 1_000, range = 1..=100_000)]
    maximum_streams: u32,
    /// Look at so many consumers a stream at most.
    #[parameter(default = 1_000, range = 1..=100_000)]
    maximum_consumers: u32,
}

/// What was seen.
#[data]
pub struct Data {
    /// The server that answered.
    server: Server,
    /// Each server's monitoring.
    servers: Vec<Monitor>,
    /// Whether JetStream answered.
    answers: bool,
    /// Each stream.
    streams: Vec<Stream>,
    /// Each consumer.
    consumers: Vec<Consumer>,
    /// Whether everything that matters could be seen. If not, the status is never ok.
    visibility_complete: bool,
}

/// The server that the run was connected to.
#[data]
pub struct Server {
    /// Its name.
    name: String,
    /// Its version.
    version: String,
    /// The cluster that it belongs to.
    cluster: Option<String>,
    /// How long a message took there and back, in milliseconds.
    ping_ms: f64,
}

/// What one server's monitoring says.
#[data]
pub struct Monitor {
    /// Which of the binding's addresses.
    number: u32,
    /// Its name; null where it does not answer.
    name: Option<String>,
    /// Its version.
    version: Option<String>,
    /// Whether it is healthy.
    healthy: bool,
    /// Who leads JetStream's group, as it sees it.
    cluster_leader: Option<String>,
    /// Connections that it closed since its start because their clients read too slowly.
    slow_consumers: Option<u64>,
    /// The same, between the two looks.
    slow_consumers_now: Option<u64>,
    /// Bytes on disk that JetStream uses.
    storage: Option<u64>,
    /// The share of what it may use.
    storage_share: Option<f64>,
    /// Streams here without a leader.
    leaderless: Option<u64>,
}

/// A stream.
#[data]
pub struct Stream {
    /// Its name.
    name: String,
    /// Whether anybody answered for it.
    answered: bool,
    /// Messages.
    messages: u64,
    /// Their bytes.
    bytes: u64,
    /// The largest share of one of its limits that is used.
    share: Option<f64>,
    /// How many copies there should be.
    replicas: u32,
    /// How many can be reached, its leader's included; null where the server stands alone.
    reachable: Option<u32>,
    /// Who leads it.
    leader: Option<String>,
    /// Messages stored between the two looks.
    stored_now: Option<u64>,
}

/// A consumer.
#[data]
pub struct Consumer {
    /// Its stream.
    stream: String,
    /// Its name.
    name: String,
    /// Messages that wait.
    pending: u64,
    /// How many more than at the first look.
    pending_growth: Option<i64>,
    /// Messages delivered between the two looks.
    delivered_now: Option<u64>,
    /// Messages that are not acknowledged.
    ack_pending: u64,
    /// How many there may be.
    ack_pending_limit: Option<u64>,
    /// Messages delivered again and not acknowledged.
    redelivered: u64,
    /// How long the next message has waited, in seconds; 0 where none waits, null where it is not known.
    seconds_behind: Option<f64>,
}

/// How many requests are under way at once.
const AT_ONCE: usize = 8;
/// How many consumers are asked since when their next message waits: those with the most.
const MOST_LOOKUPS: usize = 200;
/// Rows of a table and values of a metric.
const SHOWN: usize = 200;

/// One look at everything.
pub(crate) struct Look {
    pub(crate) streams: Vec<StreamFacts>,
    pub(crate) consumers: Vec<ConsumerFacts>,
    pub(crate) monitoring: Vec<Monitored>,
    /// Why JetStream did not answer.
    pub(crate) silent: Option<Error>,
    /// What could not be seen.
    pub(crate) hidden: Vec<String>,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let jetstream = cx.stream().open().await?;
    let server = jetstream.server().await?;
    let mut report = Report::new();
    let before = look(&jetstream, &parameters).await?;
    cx.sleep(Duration::from_secs(parameters.sample_seconds.into())).await?;
    let after = look(&jetstream, &parameters).await?;

    if server.leaving {
        report.warning(format!("{}: it is about to stop (lame duck mode)", server.name));
    }
    let mut complete = true;
    for what in &after.hidden {
        complete = false;
        report.unknown(format!("not everything could be seen: {what}"));
    }
    if let Some(error) = &after.silent {
        complete = false;
        let finding = report.critical("JetStream does not answer");
        finding.because(error).advice(
            "Look at the servers below: a cluster of which more than half is away has no leader, and answers nothing.",
        );
    } else {
        match jetstream.account().await {
            Ok(account) => streams::account(&account, &parameters, &mut report),
            Err(error) => {
                complete = false;
                report.critical("JetStream does not answer").because(&error);
            }
        }
    }
    let servers = servers::judge(&before, &after, &parameters, &mut report, &mut complete);
    let streams = streams::judge(&before, &after, &parameters, &mut report);
    let consumers = consumers::judge(&cx, &jetstream, &before, &after, &parameters, &mut report, &mut complete).await?;
    missing(&after, &parameters, &mut report);
    if !complete {
        report.incomplete();
    }
    tables(&servers, &streams, &consumers, &mut report);
    let waiting: u64 = consumers.iter().map(|consumer| consumer.pending).sum();
    report.summary(match after.silent {
        Some(_) => format!("NATS {}: JetStream does not answer", server.version),
        None => format!(
            "NATS {}: {} streams, {} consumers, {waiting} messages wait",
            server.version,
            streams.len(),
            consumers.len()
        ),
    });
    let server = Server {
        name: server.name,
        version: server.version,
        cluster: server.cluster,
        ping_ms: server.microseconds as f64 / 1_000.0,
    };
    let answers = after.silent.is_none();
    Ok(report.data(Data { server, servers, answers, streams, consumers, visibility_complete: complete }))
}

/// Look at everything. That JetStream does not answer is what was seen; that the run may not look is its failure.
async fn look(jetstream: &JetStream, parameters: &Parameters) -> Result<Look> {
    let monitoring = jetstream.monitoring().await?;
    let mut look = Look { streams: Vec::new(), consumers: Vec::new(), monitoring, silent: None, hidden: Vec::new() };
    let listed = jetstream.streams(parameters.maximum_streams as usize).await;
    let (streams, more) = match unanswered(listed)? {
        Ok(listed) => listed,
        Err(error) => {
            look.silent = Some(error);
            return Ok(look);
        }
    };
    if more {
        look.hidden.push(format!("there are more than {} streams (maximum_streams)", parameters.maximum_streams));
    }
    let wanted = |name: &str| parameters.streams.as_ref().is_none_or(|names| names.iter().any(|one| one == name));
    look.streams = streams.into_iter().filter(|stream| wanted(&stream.name)).collect();
    let with_consumers = look.streams.iter().filter(|stream| stream.answered && stream.consumers > 0);
    let names: Vec<String> = with_consumers.map(|stream| stream.name.clone()).collect();
    let most = parameters.maximum_consumers as usize;
    let lists = rota_sdk::each(&names, AT_ONCE, |name| jetstream.consumers(name, most)).await;
    for (name, listed) in names.iter().zip(lists) {
        match unanswered(listed) {
            Ok(Ok((consumers, more))) => {
                if more {
                    look.hidden.push(format!("{name} has more than {most} consumers (maximum_consumers)"));
                }
                look.consumers.extend(consumers);
            }
            Ok(Err(error)) => look.hidden.push(format!("the consumers of {name}: {error}")),
            // It was removed meanwhile.
            Err(error) if matches!(error.cause(), Some(HostError::NotFound(_))) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(look)
}

/// That there is no answer is not an error of ours.
fn unanswered<T>(asked: Result<T>) -> Result<std::result::Result<T, Error>> {
    match asked {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) => match error.cause() {
            Some(HostError::Unavailable(_) | HostError::TimedOut(_)) => Ok(Err(error)),
            _ => Err(error),
        },
    }
}

/// Streams that were asked for and are not there.
fn missing(look: &Look, parameters: &Parameters, report: &mut Report) {
    if look.silent.is_some() {
        return;
    }
    let there: BTreeSet<&str> = look.streams.iter().map(|stream| stream.name.as_str()).collect();
    for name in parameters.streams.iter().flatten().filter(|name| !there.contains(name.as_str())) {
        report.critical(format!("{name}: there is no such stream in the account"));
    }
}

fn tables(servers: &[Monitor], streams: &[Stream], consumers: &[Consumer], report: &mut Report) {
    for stream in streams.iter().take(SHOWN) {
        let labels = [("stream", stream.name.as_str())];
        report.metric("stream_messages", &labels, stream.messages as f64);
        report.metric("stream_bytes", &labels, stream.bytes as f64);
    }
    for consumer in consumers.iter().take(SHOWN) {
        let labels = [("stream", consumer.stream.as_str()), ("consumer", consumer.name.as_str())];
        report.metric("consumer_pending_messages", &labels, consumer.pending as f64);
        report.metric("consumer_ack_pending_messages", &labels, consumer.ack_pending as f64);
        if let Some(seconds) = consumer.seconds_behind {
            report.metric("consumer_behind_seconds", &labels, seconds);
        }
    }
    if !servers.is_empty() {
        let columns = ["server", "version", "healthy", "leader", "storage", "of limit", "slow consumers"];
        let mut table = report.table("servers", "Servers", columns);
        for server in servers {
            table.row(cells![
                server.name.clone().unwrap_or_else(|| format!("number {}", server.number)),
                server.version.as_deref(),
                if server.healthy { "yes" } else { "no" },
                server.cluster_leader.as_deref(),
                server.storage.map(Bytes),
                server.storage_share.map(Ratio),
                server.slow_consumers
            ]);
        }
    }
    let columns = ["stream", "messages", "size", "of limit", "copies", "reachable", "leader"];
    let mut table = report.table("streams", "Streams", columns);
    for stream in streams.iter().take(SHOWN) {
        table.row(cells![
            &stream.name,
            stream.messages,
            Bytes(stream.bytes),
            stream.share.map(Ratio),
            u64::from(stream.replicas),
            stream.reachable.map(u64::from),
            stream.leader.as_deref()
        ]);
    }
    let columns = ["stream", "consumer", "waiting", "growth", "unacknowledged", "redelivered", "behind"];
    let mut table = report.table("consumers", "Consumers", columns);
    for consumer in consumers.iter().take(SHOWN) {
        table.row(cells![
            &consumer.stream,
            &consumer.name,
            consumer.pending,
            consumer.pending_growth,
            consumer.ack_pending,
            consumer.redelivered,
            consumer.seconds_behind.map(Seconds)
        ]);
    }
}

/// Consumers by their stream and name.
pub(crate) fn by_name(consumers: &[ConsumerFacts]) -> BTreeMap<(&str, &str), &ConsumerFacts> {
    consumers.iter().map(|consumer| ((consumer.stream.as_str(), consumer.name.as_str()), consumer)).collect()
}

/// The states among what was monitored.
pub(crate) fn states(monitoring: &[Monitored]) -> impl Iterator<Item = &ServerState> {
    monitoring.iter().filter_map(|one| match one {
        Monitored::State(state) => Some(state),
        Monitored::Unreachable(_) => None,
    })
}
