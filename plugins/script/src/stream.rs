//! `stream`: JetStream, read-only.

use crate::desk::Desk;
use crate::value::Js;
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
        _ => Err(Desk::unknown("stream", what)),
    }
}
