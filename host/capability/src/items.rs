//! Values that the host makes one after the other, on their way to a guest, and how they ended.

use crate::RunContext;
use crate::streams::Offloaded;
use crate::tape::{Tap, current};
use rota_contract::Error;
use serde::Serialize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::WaitForCancellationFutureOwned;
use wasmtime::component::{Destination, Lift, Lower, StreamProducer, StreamResult, VecBuffer};
use wasmtime::{AsContextMut as _, StoreContextMut};

/// How many values a guest is given at once.
const AT_ONCE: usize = 64;

/// Values from a channel as a `stream<T>`. Its outcome is how many there were, or the first error; dropped before its end it is `cancelled`.
/// What `work` is lives as long as the stream: dropped, it may end what fills the channel.
pub struct Items<T, W> {
    items: mpsc::Receiver<Result<T, Error>>,
    given: u64,
    tell: Option<oneshot::Sender<Result<u64, Error>>>,
    /// None once the run was told to stop, whether or not the guest reads on.
    _work: Arc<Mutex<Option<W>>>,
    _watcher: Offloaded<()>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    tap: Option<Tap>,
}

impl<T, W: Send + 'static> Items<T, W> {
    /// The stream's source, and what its outcome comes from.
    pub fn new(
        items: mpsc::Receiver<Result<T, Error>>,
        work: W,
        run: &RunContext,
    ) -> (Self, oneshot::Receiver<Result<u64, Error>>) {
        let (tell, told) = oneshot::channel();
        let work = Arc::new(Mutex::new(Some(work)));
        let (stopped, ending) = (run.stopped(), work.clone());
        let watcher = Offloaded::spawn(async move {
            stopped.await;
            drop(ending.lock().unwrap_or_else(PoisonError::into_inner).take());
            Ok(())
        });
        let stopped = Box::pin(run.stopped());
        (Self { items, given: 0, tell: Some(tell), _work: work, _watcher: watcher, stopped, tap: current() }, told)
    }

    fn end(&mut self, outcome: Result<u64, Error>) {
        if let Some(tell) = self.tell.take() {
            let _ = tell.send(outcome);
        }
    }
}

impl<T: Serialize, W> Items<T, W> {
    /// The guest is offered these, the last of them if it is told of the end.
    fn tapped(&mut self, batch: &[T]) {
        if let Some(tap) = &mut self.tap {
            tap.items(batch);
            if self.tell.is_none() {
                tap.ended();
            }
        }
    }
}

impl<D, T, W> StreamProducer<D> for Items<T, W>
where
    T: Lower + Lift + Serialize + Send + Sync + 'static,
    W: Send + Unpin + 'static,
{
    type Item = T;
    type Buffer = VecBuffer<T>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, T, VecBuffer<T>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if self.stopped.as_mut().poll(cx).is_ready() {
            self.end(Err(Error::Cancelled));
            self.tapped(&[]);
            return Poll::Ready(Ok(StreamResult::Dropped));
        }
        let room = destination.remaining(store.as_context_mut()).unwrap_or(AT_ONCE).min(AT_ONCE);
        if room == 0 {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let mut next = match self.items.poll_recv(cx) {
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            polled => ready!(polled),
        };
        let mut batch = Vec::new();
        loop {
            match next {
                Some(Ok(item)) => batch.push(item),
                Some(Err(error)) => {
                    self.end(Err(error));
                    break;
                }
                None => {
                    let given = self.given + batch.len() as u64;
                    self.end(Ok(given));
                    break;
                }
            }
            if batch.len() == room {
                break;
            }
            match self.items.try_recv() {
                Ok(item) => next = Some(item),
                Err(_) => break,
            }
        }
        self.given += batch.len() as u64;
        let ended = self.tell.is_none();
        self.tapped(&batch);
        destination.set_buffer(batch.into());
        Poll::Ready(Ok(if ended { StreamResult::Dropped } else { StreamResult::Completed }))
    }
}
