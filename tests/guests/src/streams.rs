//! The imports of `jetstream`.

use crate::bindings::rota::runbook::jetstream::{Monitored, Session};
use crate::calls::{answer, said, slot};
use serde_json::{Value, json};

pub(crate) async fn call(import: &str, call: &Value) -> Value {
    let session = match Session::open(slot(call, "stream")).await {
        Ok(session) => session,
        Err(error) => return said(&error),
    };
    let stream = call["stream"].as_str().unwrap_or("PROBE").to_owned();
    match import {
        "jetstream.session.open" => json!({ "ok": null }),
        "jetstream.session.server" => answer(session.server().await, |server| json!(server.version)),
        "jetstream.session.account" => {
            answer(session.account().await, |tiers| json!(tiers.iter().map(|tier| tier.streams).sum::<u64>()))
        }
        "jetstream.session.streams" => match session.streams().await {
            Ok((mut streams, end)) => {
                let mut names = Vec::new();
                while let Some(stream) = streams.next().await {
                    names.push(json!({ "name": stream.name, "messages": stream.messages }));
                }
                answer(end.await, |count| json!({ "count": count, "streams": names }))
            }
            Err(error) => said(&error),
        },
        "jetstream.session.consumers" => match session.consumers(stream).await {
            Ok((mut consumers, end)) => {
                let mut all = Vec::new();
                while let Some(one) = consumers.next().await {
                    all.push(json!({ "name": one.name, "pending": one.pending, "ack-pending": one.ack_pending }));
                }
                answer(end.await, |count| json!({ "count": count, "consumers": all }))
            }
            Err(error) => said(&error),
        },
        "jetstream.session.stored-at" => {
            let sequence = call["sequence"].as_u64().unwrap_or(1);
            answer(session.stored_at(stream, sequence, call["subject"].as_str().unwrap_or(">").into()).await, |at| {
                json!(at)
            })
        }
        "jetstream.session.monitoring" => answer(session.monitoring().await, |servers| {
            let shown = |one: Monitored| match one {
                Monitored::State(state) => json!({ "name": state.name, "healthy": state.healthy }),
                Monitored::Unreachable((number, why)) => json!({ "number": number, "unreachable": why }),
            };
            json!(servers.into_iter().map(shown).collect::<Vec<_>>())
        }),
        _ => json!({ "error": "no such import", "text": import }),
    }
}
