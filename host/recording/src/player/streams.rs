//! What recorded streams gave, given again.

use super::state::{Answer, Piece};
use super::{Shared, Waits};
use base64::Engine as _;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use rota_capability::streams::Reader;
use rota_contract::Error;
use serde_json::Value;
use std::sync::Arc;

/// The pieces of a stream; dropped, nobody wants the rest.
pub(super) struct Pieces {
    shared: Arc<Shared>,
    call: u64,
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.shared.with(|state| state.unread(self.call));
    }
}

impl Pieces {
    pub(super) fn new(shared: Arc<Shared>, call: u64) -> Self {
        Self { shared, call }
    }

    async fn next(self) -> Option<(Piece, Self)> {
        match self.shared.when(|state| state.piece(self.call)).await {
            Piece::Ended => None,
            piece => Some((piece, self)),
        }
    }

    pub(super) fn items(self) -> BoxStream<'static, Vec<Value>> {
        stream::unfold(self, Self::next)
            .map(|piece| match piece {
                Piece::Items(items) => items,
                Piece::Bytes(_) | Piece::Ended => Vec::new(),
            })
            .boxed()
    }

    pub(super) fn bytes(self) -> Reader {
        let chunks = stream::unfold(self, Self::next).map(|piece| match piece {
            Piece::Bytes(text) => base64::engine::general_purpose::STANDARD
                .decode(text)
                .map(bytes::Bytes::from)
                .map_err(std::io::Error::other),
            Piece::Items(_) | Piece::Ended => Ok(bytes::Bytes::new()),
        });
        Box::pin(tokio_util::io::StreamReader::new(chunks.boxed()))
    }
}

/// Waits for how a stream ended; dropped, nobody wants to know.
struct Interested(Arc<Shared>, u64);

impl Drop for Interested {
    fn drop(&mut self) {
        self.0.with(|state| state.uninterested(self.1));
    }
}

pub(super) fn outcome(shared: Arc<Shared>, call: u64) -> BoxFuture<'static, Result<Value, Error>> {
    let interested = Interested(shared, call);
    Box::pin(async move {
        let Interested(shared, call) = &interested;
        match shared.when(|state| -> Result<Answer, Waits> { state.outcome(*call) }).await {
            Answer::Value(value) => Ok(value),
            Answer::Error(error) => Err(crate::format::error_of(error)),
        }
    })
}
