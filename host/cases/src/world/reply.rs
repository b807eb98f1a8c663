//! What a call is answered with: a value, or a stream and how it ends.

use crate::format::Answer;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use rota_capability::streams::{Reader, stream_error, watched};
use rota_capability::tape::{Given, Source};
use rota_contract::Error;
use serde_json::Value;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::sync::oneshot;

/// How many items a guest is offered at once.
const BATCH: usize = 256;

/// What a call is answered with.
pub(crate) enum Reply {
    /// A value; `null` for a resource.
    Value(Value),
    /// A stream of items.
    Items {
        /// What comes before it.
        head: Value,
        /// The items.
        items: Vec<Value>,
        /// How it ended; none: with the number of items.
        end: Result<Option<Value>, Error>,
    },
    /// A stream of bytes.
    Bytes {
        /// What comes before it.
        head: Value,
        /// The bytes.
        reader: Reader,
    },
    /// Work that goes on whether or not anybody reads how far it is, and how it ended.
    Apart(Result<Value, Error>),
    /// What a filter makes of bytes: its future says how many passed.
    Filtered(Reader),
}

impl Reply {
    /// Nothing, or a resource.
    pub(crate) fn nothing() -> Self {
        Self::Value(Value::Null)
    }

    /// Items of an answer, cut where it says so.
    pub(crate) fn items(head: Value, mut items: Vec<Value>, answer: &Answer) -> Self {
        let cut = answer.cut_after.and_then(|after| usize::try_from(after).ok());
        if let Some(after) = cut {
            items.truncate(after);
        }
        let end = match (&answer.error, cut) {
            (Some(error), _) => Err(error.get_ref().error()),
            (None, Some(_)) => Err(broken()),
            (None, None) => Ok(None),
        };
        Self::Items { head, items, end }
    }

    /// Bytes of an answer, cut where it says so.
    pub(crate) fn bytes(head: Value, bytes: Vec<u8>, answer: &Answer) -> Self {
        Self::Bytes { head, reader: cut(bytes, answer) }
    }

    /// As the tape gives it.
    pub(crate) fn given(self, call: u64) -> Given {
        match self {
            Self::Value(value) => Given::answer(call, Ok(value)),
            Self::Items { head, items, end } => {
                let (tell, told) = oneshot::channel();
                let count = items.len();
                let end = end.map(|value| value.unwrap_or_else(|| Value::from(count)));
                let batches: Vec<Vec<Value>> = items.chunks(BATCH).map(<[Value]>::to_vec).collect();
                Given {
                    call,
                    answer: Ok(head),
                    source: Source::Items(telling(batches, end, tell)),
                    outcome: Some(Box::pin(async move { told.await.unwrap_or(Err(Error::Cancelled)) })),
                }
            }
            Self::Apart(end) => Given {
                call,
                answer: Ok(Value::Null),
                source: Source::Empty,
                outcome: Some(Box::pin(std::future::ready(end))),
            },
            Self::Filtered(reader) => {
                let passed = |bytes: u64| serde_json::json!({ "bytes-in": bytes, "bytes-out": bytes, "sha256": null });
                let (reader, told) = watched(reader, passed);
                Given {
                    call,
                    answer: Ok(Value::Null),
                    source: Source::Bytes(Box::pin(reader)),
                    outcome: Some(Box::pin(async move { told.await.unwrap_or(Err(Error::Cancelled)) })),
                }
            }
            Self::Bytes { head, reader } => {
                let (reader, told) = watched(reader, Value::from);
                Given {
                    call,
                    answer: Ok(head),
                    source: Source::Bytes(Box::pin(reader)),
                    outcome: Some(Box::pin(async move { told.await.unwrap_or(Err(Error::Cancelled)) })),
                }
            }
        }
    }
}

/// Bytes that end as an answer says.
pub(crate) fn cut(mut bytes: Vec<u8>, answer: &Answer) -> Reader {
    let cut = answer.cut_after.and_then(|after| usize::try_from(after).ok());
    if let Some(after) = cut {
        bytes.truncate(after);
    }
    let error = answer.error.as_ref().map(|error| error.get_ref().error()).or_else(|| cut.map(|_| broken()));
    match error {
        Some(error) => Box::pin(io::Cursor::new(bytes).chain(Failing(Some(error)))),
        None => Box::pin(io::Cursor::new(bytes)),
    }
}

/// What a stream is cut with.
fn broken() -> Error {
    Error::Unavailable("the connection broke while the answer was being read (says the case)".into())
}

/// The batches; how it ended is told once they are through.
fn telling(
    batches: Vec<Vec<Value>>,
    end: Result<Value, Error>,
    tell: oneshot::Sender<Result<Value, Error>>,
) -> BoxStream<'static, Vec<Value>> {
    let mut ending = Some((tell, end));
    let last = stream::poll_fn(move |_| {
        if let Some((tell, end)) = ending.take() {
            let _ = tell.send(end);
        }
        Poll::Ready(None)
    });
    stream::iter(batches).chain(last).boxed()
}

/// Fails at once.
struct Failing(Option<Error>);

impl AsyncRead for Failing {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.0.take() {
            Some(error) => Err(stream_error(error)),
            None => Ok(()),
        })
    }
}
