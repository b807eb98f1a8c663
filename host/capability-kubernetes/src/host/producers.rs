//! Streams of objects and events to a guest.

use super::kubernetes::{Listed, Watched};
use crate::read::Listing;
use crate::watch::Watching;
use rota_capability::RunContext;
use rota_capability::tape::{Tap, current};
use rota_contract::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::WaitForCancellationFutureOwned;
use wasmtime::component::{Destination, Lift, Lower, StreamProducer, StreamResult, VecBuffer};
use wasmtime::{AsContextMut as _, StoreContextMut};

/// How many items a guest is given at once.
const AT_ONCE: usize = 64;

/// Where items come from, and what is to be told when there are no more.
pub(super) trait Items: Send + 'static {
    /// What a guest gets.
    type Item: Lower + Lift + serde::Serialize + Send + Sync + 'static;
    /// The next one.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>>;
    /// No more came: tell how it ended.
    fn end(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// Items on their way to a guest.
pub(super) struct Producer<I> {
    /// None once the run was told to stop: what they come from ends with it, and the outcome is `cancelled`.
    items: Option<I>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    tap: Option<Tap>,
}

impl<I> Producer<I> {
    pub(super) fn new(items: I, run: &RunContext) -> Self {
        Self { items: Some(items), stopped: Box::pin(run.stopped()), tap: current() }
    }
}

impl<I: Items + Unpin, D> StreamProducer<D> for Producer<I> {
    type Item = I::Item;
    type Buffer = VecBuffer<I::Item>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, I::Item, VecBuffer<I::Item>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let room = destination.remaining(store.as_context_mut()).unwrap_or(AT_ONCE).min(AT_ONCE);
        if room == 0 {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        if self.stopped.as_mut().poll(cx).is_ready() {
            self.items = None;
        }
        let me = &mut *self;
        let mut ended = || {
            if let Some(mut tap) = me.tap.take() {
                tap.ended();
            }
            Poll::Ready(Ok(StreamResult::Dropped))
        };
        let Some(items) = &mut me.items else { return ended() };
        let mut batch = Vec::new();
        while batch.len() < room {
            match items.poll_next(cx) {
                Poll::Ready(Some(item)) => batch.push(item),
                Poll::Ready(None) if batch.is_empty() => {
                    ready!(items.end(cx));
                    return ended();
                }
                Poll::Pending if batch.is_empty() && finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
                Poll::Pending if batch.is_empty() => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        if let Some(tap) = &me.tap {
            tap.items(&batch);
        }
        destination.set_buffer(batch.into());
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

/// A list.
pub(super) struct Objects {
    listing: Listing,
    count: u64,
    failed: Option<Error>,
    tell: Option<oneshot::Sender<Result<Listed, Error>>>,
}

impl Objects {
    pub(super) fn new(listing: Listing) -> (Self, oneshot::Receiver<Result<Listed, Error>>) {
        let (tell, told) = oneshot::channel();
        (Self { listing, count: 0, failed: None, tell: Some(tell) }, told)
    }
}

impl Items for Objects {
    type Item = String;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<String>> {
        if self.failed.is_some() {
            return Poll::Ready(None);
        }
        match ready!(self.listing.items.poll_recv(cx)) {
            Some(Ok(object)) => {
                self.count += 1;
                Poll::Ready(Some(object))
            }
            Some(Err(error)) => {
                self.failed = Some(error);
                Poll::Ready(None)
            }
            None => Poll::Ready(None),
        }
    }

    fn end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let outcome = match self.failed.take() {
            Some(error) => Err(error),
            None => match ready!(Pin::new(&mut self.listing.version).poll(cx)) {
                Ok(resource_version) => Ok(Listed { count: self.count, resource_version }),
                Err(_) => Err(Error::Cancelled),
            },
        };
        if let Some(tell) = self.tell.take() {
            let _ = tell.send(outcome);
        }
        Poll::Ready(())
    }
}

/// A watch.
pub(super) struct Changes {
    seen: mpsc::Receiver<Watched>,
    end: oneshot::Receiver<Result<String, Error>>,
    _work: crate::read::Work,
    tell: Option<oneshot::Sender<Result<String, Error>>>,
}

impl Changes {
    pub(super) fn new(watching: Watching) -> (Self, oneshot::Receiver<Result<String, Error>>) {
        let (tell, told) = oneshot::channel();
        let Watching { seen, end, _work } = watching;
        (Self { seen, end, _work, tell: Some(tell) }, told)
    }
}

impl Items for Changes {
    type Item = Watched;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Watched>> {
        self.seen.poll_recv(cx)
    }

    fn end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let outcome = ready!(Pin::new(&mut self.end).poll(cx)).unwrap_or(Err(Error::Cancelled));
        if let Some(tell) = self.tell.take() {
            let _ = tell.send(outcome);
        }
        Poll::Ready(())
    }
}
