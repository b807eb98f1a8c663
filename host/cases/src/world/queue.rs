//! `jetstream`: it only reads. The case says what there is; what it leaves out is ordinary.

use super::ask::{Ask, Refused};
use super::cache::lay_over;
use super::reply::Reply;
use super::{Held, World};
use rota_authority::{Jetstream, JetstreamAccess};
use rota_capability::RunContext;
use serde_json::{Value, json};
use std::sync::Arc;

impl World {
    pub(super) async fn jetstream(&self, run: &Arc<RunContext>, ask: &Ask) -> Result<Reply, Refused> {
        let slot = ask.slot();
        let operation: &'static str = match ask.verb() {
            "open" => {
                self.authorise::<Jetstream>(&run.gate, "jetstream.open", &slot, &[])?;
                self.told(run, ask).await?;
                self.hold(ask.number, Held::Queue { slot });
                return Ok(Reply::nothing());
            }
            "server" => "jetstream.server",
            "account" => "jetstream.account",
            "streams" => "jetstream.streams",
            "consumers" => "jetstream.consumers",
            "stored-at" => "jetstream.stored-at",
            "monitoring" => "jetstream.monitoring",
            _ => return Err(Refused::Stop(format!("cases do not know the call `{}`", ask.operation))),
        };
        self.authorise::<Jetstream>(&run.gate, operation, &slot, &[JetstreamAccess::Read])?;
        let answer = self.take(ask);
        if let Some(answer) = &answer {
            self.waited(run, answer).await?;
        }
        let streams = matches!(operation, "jetstream.streams" | "jetstream.consumers");
        let stands_alone = answer.as_ref().is_some_and(|answer| answer.items.is_none() && answer.cut_after.is_none());
        if let Some(error) = answer.as_ref().and_then(|answer| answer.error.as_ref()).filter(|_| stands_alone) {
            return Err(error.get_ref().error().into());
        }
        if streams {
            let Some(answer) = answer else { return Err(self.no_answer(ask)) };
            let ordinary = if operation == "jetstream.streams" { stream() } else { consumer(&ask.text("stream")) };
            let items = answer.items.iter().flatten().map(|said| over(&ordinary, said)).collect();
            return Ok(Reply::items(Value::Null, items, &answer));
        }
        let said = answer.and_then(|answer| answer.value);
        let list = |ordinary: Value, said: Option<Value>| match said {
            Some(Value::Array(all)) => Value::Array(all.iter().map(|said| over(&ordinary, said)).collect()),
            Some(one) => json!([over(&ordinary, &one)]),
            None => json!([ordinary]),
        };
        Ok(Reply::Value(match operation {
            "jetstream.server" => over(&server(), &said.unwrap_or_else(|| json!({}))),
            "jetstream.account" => list(account(), said),
            "jetstream.monitoring" => said.unwrap_or_else(|| json!([])),
            _ => said.unwrap_or(Value::Null),
        }))
    }
}

fn over(ordinary: &Value, said: &Value) -> Value {
    let mut whole = ordinary.clone();
    lay_over(&mut whole, said);
    whole
}

fn server() -> Value {
    json!({ "name": "nats-0", "version": "2.12.0", "cluster": null, "domain": null, "leaving": false, "microseconds": 200 })
}

fn account() -> Value {
    json!({
        "tier": null, "memory": 0, "memory-limit": null, "storage": 1_000_000, "storage-limit": null, "streams": 1,
        "streams-limit": null, "consumers": 1, "consumers-limit": null, "api-requests": 10, "api-errors": 0,
    })
}

fn stream() -> Value {
    json!({
        "name": "stream", "answered": true, "retention": "limits", "storage": "file", "discard": "old", "replicas": 1,
        "messages": 0, "messages-limit": null, "bytes": 0, "bytes-limit": null, "age-limit": null, "first-sequence": 1,
        "last-sequence": 0, "first-at": null, "last-at": null, "consumers": 0, "cluster": null, "sealed": false,
    })
}

fn consumer(stream: &str) -> Value {
    json!({
        "stream": stream, "name": "consumer", "answered": true, "durable": true, "push": false, "ack-policy": "explicit",
        "subjects": [], "delivered": 0, "acknowledged": 0, "delivered-at": null, "acknowledged-at": null, "pending": 0,
        "ack-pending": 0, "ack-pending-limit": null, "redelivered": 0, "deliver-limit": null, "waiting": 0,
        "push-bound": null, "paused": false, "cluster": null,
    })
}
