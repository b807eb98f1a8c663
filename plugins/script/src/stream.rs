//! `stream`: JetStream, read-only.

use crate::desk::Desk;
use crate::value::Js;
use rota_sdk::jetstream::{Monitored, ServerState};
use rota_sdk::prelude::*;

/// How many streams or consumers are read.
const MOST: usize = 10_000;

/// Calls of `stream`.
pub(crate) async fn call(desk: &Desk, what: &str, args: &[Js]) -> Result<Js> {
    let [slot, args @ ..] = args else { return Err(Desk::unknown("stream", what)) };
    let session = desk.stream_slot(slot)?.open().await?;
    match (what, args) {
        ("streams", []) => {
            let (streams, _) = session.streams(MOST).await?;
            let shown = streams.into_iter().map(|stream| {
                Js::object([
                    ("name", Js::Text(stream.name)),
                    ("messages", Js::count(stream.messages)),
                    ("bytes", Js::count(stream.bytes)),
                ])
            });
            Ok(Js::List(shown.collect()))
        }
        ("consumers", [Js::Text(of)]) => {
            let (consumers, _) = session.consumers(of, MOST).await?;
            let shown = consumers.into_iter().map(|consumer| {
                Js::object([
                    ("name", Js::Text(consumer.name)),
                    ("pending", Js::count(consumer.pending)),
                    ("unacknowledged", Js::count(consumer.ack_pending)),
                ])
            });
            Ok(Js::List(shown.collect()))
        }
        ("server", []) => {
            let server = session.server().await?;
            Ok(Js::object([
                ("name", Js::Text(server.name)),
                ("version", Js::Text(server.version)),
                ("cluster", server.cluster.map_or(Js::Null, Js::Text)),
                ("domain", server.domain.map_or(Js::Null, Js::Text)),
                ("leaving", Js::Flag(server.leaving)),
                ("microseconds", Js::count(server.microseconds)),
            ]))
        }
        ("account", []) => {
            let limit = |most: Option<u64>| most.map_or(Js::Null, Js::count);
            let shown = session.account().await?.into_iter().map(|facts| {
                Js::object([
                    ("tier", facts.tier.map_or(Js::Null, Js::Text)),
                    ("memory", Js::count(facts.memory)),
                    ("memoryLimit", limit(facts.memory_limit)),
                    ("storage", Js::count(facts.storage)),
                    ("storageLimit", limit(facts.storage_limit)),
                    ("streams", Js::count(facts.streams)),
                    ("streamsLimit", limit(facts.streams_limit)),
                    ("consumers", Js::count(facts.consumers)),
                    ("consumersLimit", limit(facts.consumers_limit)),
                    ("apiRequests", Js::count(facts.api_requests)),
                    ("apiErrors", Js::count(facts.api_errors)),
                ])
            });
            Ok(Js::List(shown.collect()))
        }
        ("stored-at", [Js::Text(of), sequence, Js::Text(subject)]) => {
            let sequence = match sequence {
                Js::Number(number) if *number >= 0.0 && number.fract() == 0.0 => *number as u64,
                Js::Big(number) if *number >= 0 => number.unsigned_abs(),
                _ => return Err(Error::new("the sequence of a message is a whole number")),
            };
            Ok(session.stored_at(of, sequence, subject).await?.map_or(Js::Null, Js::Instant))
        }
        ("monitoring", []) => Ok(Js::List(session.monitoring().await?.into_iter().map(monitored).collect())),
        _ => Err(Desk::unknown("stream", what)),
    }
}

/// `trouble` is what went wrong where it did not answer.
fn monitored(one: Monitored) -> Js {
    match one {
        Monitored::State(state) => self::state(state),
        Monitored::Unreachable((number, trouble)) => Js::object([
            ("number", Js::Number(number.into())),
            ("answered", Js::Flag(false)),
            ("trouble", Js::Text(trouble)),
        ]),
    }
}

fn state(state: ServerState) -> Js {
    let count = |number: Option<u64>| number.map_or(Js::Null, Js::count);
    let texts = |texts: Vec<String>| Js::List(texts.into_iter().map(Js::Text).collect());
    Js::object([
        ("number", Js::Number(state.number.into())),
        ("answered", Js::Flag(true)),
        ("trouble", state.trouble.map_or(Js::Null, Js::Text)),
        ("name", Js::Text(state.name)),
        ("version", Js::Text(state.version)),
        ("healthy", Js::Flag(state.healthy)),
        ("startedAt", state.started_at.map_or(Js::Null, Js::Instant)),
        ("connections", Js::count(state.connections)),
        ("connectionsLimit", count(state.connections_limit)),
        ("slowConsumers", Js::count(state.slow_consumers)),
        ("jetstream", Js::Flag(state.jetstream)),
        ("memory", Js::count(state.memory)),
        ("memoryLimit", count(state.memory_limit)),
        ("storage", Js::count(state.storage)),
        ("storageLimit", count(state.storage_limit)),
        ("apiRequests", Js::count(state.api_requests)),
        ("apiErrors", Js::count(state.api_errors)),
        ("clusterSize", count(state.cluster_size.map(u64::from))),
        ("clusterLeader", state.cluster_leader.map_or(Js::Null, Js::Text)),
        ("offline", texts(state.offline)),
        ("leaderless", texts(state.leaderless)),
        ("leaderlessCount", Js::count(state.leaderless_count)),
    ])
}
