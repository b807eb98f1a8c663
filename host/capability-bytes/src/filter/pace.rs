//! Readers that need no thread: one that holds something as long as it lives, and one that lets bytes through at a rate.

use rota_capability::streams::Reader;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A reader that holds something (a host call's guard) until it is dropped.
pub(super) struct Kept<K> {
    source: Reader,
    _keep: K,
}

impl<K> Kept<K> {
    pub(super) fn new(source: Reader, keep: K) -> Self {
        Self { source, _keep: keep }
    }
}

// Nothing in it is pinned but what the box pins.
impl<K> Unpin for Kept<K> {}

impl<K> AsyncRead for Kept<K> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.source.as_mut().poll_read(cx, buffer)
    }
}

/// How much of the rate is let through at once, and how much of a pause is made up for afterwards.
const BURST: Duration = Duration::from_millis(50);

/// A reader that lets through at most so many bytes a second, on average over any time longer than the burst.
pub(super) struct Paced {
    source: Reader,
    /// Bytes a second.
    rate: f64,
    /// At most so many bytes a read.
    burst: usize,
    /// When what passed so far is paid for.
    paid: Instant,
    pause: Pin<Box<Sleep>>,
}

impl Paced {
    pub(super) fn new(source: Reader, bytes_per_second: u64) -> Self {
        let rate = bytes_per_second as f64;
        let now = Instant::now();
        // A float beyond usize saturates, which is what is meant.
        let burst = ((rate * BURST.as_secs_f64()) as usize).max(1);
        Self { source, rate, burst, paid: now, pause: Box::pin(sleep_until(now)) }
    }
}

impl AsyncRead for Paced {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.paid > Instant::now() {
            ready!(self.pause.as_mut().poll(cx));
        }
        let limit = buffer.remaining().min(self.burst);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(limit));
        ready!(self.source.as_mut().poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        // Time in which nothing was there to read is not saved up beyond a burst.
        let from = Instant::now().checked_sub(BURST).map_or(self.paid, |earliest| self.paid.max(earliest));
        self.paid = from + Duration::from_secs_f64(read as f64 / self.rate);
        let paid = self.paid;
        self.pause.as_mut().reset(paid);
        Poll::Ready(Ok(()))
    }
}

use std::future::Future as _;
