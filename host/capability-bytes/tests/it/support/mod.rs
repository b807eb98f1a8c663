//! Sources that the tests of the filters read from.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

use rota_capability::streams::{Reader, stream_error};
use rota_capability_bytes::Passed;
use rota_capability_bytes::filter::Filtered;
use rota_contract::{Error, Fault};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::sync::oneshot;

/// A reader of bytes in memory.
pub fn bytes(data: impl Into<Vec<u8>>) -> Reader {
    Box::pin(io::Cursor::new(data.into()))
}

/// Gives its bytes, and then the error of a target that went away.
pub fn broken_after(data: impl Into<Vec<u8>>) -> Reader {
    Box::pin(bytes(data).chain(Broken))
}

/// What [`broken_after`] fails with.
pub fn gone() -> Error {
    Error::Failed(Fault { code: "08006".into(), message: "the server went away".into(), detail: None, retryable: true })
}

struct Broken;

impl AsyncRead for Broken {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(stream_error(gone())))
    }
}

/// Gives a line now, and never ends; tells when it is dropped.
pub fn endless(first: impl Into<Vec<u8>>) -> (Reader, oneshot::Receiver<()>) {
    let (alive, dropped) = oneshot::channel();
    (Box::pin(bytes(first).chain(Silent(alive))), dropped)
}

struct Silent(#[allow(dead_code)] oneshot::Sender<()>);

impl AsyncRead for Silent {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// So many zeros, in pieces as large as the reader wants.
pub struct Zeros(pub u64);

impl AsyncRead for Zeros {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let take = usize::try_from(self.0).unwrap_or(usize::MAX).min(buffer.remaining());
        // Written each time, as a source would: a buffer that is zero already would cost nothing.
        buffer.initialize_unfilled_to(take).fill(0);
        buffer.advance(take);
        self.0 -= take as u64;
        Poll::Ready(Ok(()))
    }
}

/// Bytes that no codec makes smaller, the same for the same seed.
pub fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let mut data = Vec::with_capacity(length + 8);
    while data.len() < length {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        data.extend_from_slice(&seed.to_le_bytes());
    }
    data.truncate(length);
    data
}

/// Read a filter to its end: what came out, and its outcome.
pub async fn all(filtered: Filtered) -> (io::Result<Vec<u8>>, Result<Passed, Error>) {
    let Filtered { mut reader, outcome } = filtered;
    let mut out = Vec::new();
    let read = reader.read_to_end(&mut out).await.map(|_| out);
    (read, outcome.await.unwrap_or(Err(Error::Cancelled)))
}

/// Read a filter that must not fail.
pub async fn whole(filtered: Filtered) -> (Vec<u8>, Passed) {
    let (read, outcome) = all(filtered).await;
    (read.expect("the stream is whole"), outcome.expect("the outcome is good"))
}

/// Read a filter that must fail, in the stream and in the outcome, and give the error's code.
pub async fn failure(filtered: Filtered) -> Error {
    let (read, outcome) = all(filtered).await;
    let told = rota_capability::streams::error_of(&read.expect_err("the stream must not end as if it were whole"));
    assert_eq!(outcome.expect_err("the outcome must not be good"), told, "stream and outcome say the same");
    told
}

pub fn code(error: &Error) -> &str {
    match error {
        Error::Failed(fault) => &fault.code,
        other => other.kind(),
    }
}
