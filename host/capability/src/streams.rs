//! Byte streams that stay in the host.
//!
//! Every `stream<u8>` that the host makes carries a [`HostBytes`]: a boxed reader. When the guest hands such a stream
//! to another import, [`take_bytes`] takes the reader back out, and the bytes never enter the guest. A stream that the guest
//! writes itself is piped into a bounded channel; its end counts only when the store confirms that the run still goes on, so
//! that the half stream of a trapped guest is never taken for a whole one.
//!
//! A reader that fails ends the guest's view of the stream, and makes whatever the bytes are handed to fail with it. How it
//! ended is told by the outcome future that comes with each stream ([`watched`]).

use crate::tape::{Hashed, Tap, current};
use crate::written::Written;
use bytes::{Buf, Bytes};
use rota_contract::{Error, Fault};
use serde::Serialize;
use std::any::{Any, TypeId};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::{
    Access, Destination, FutureReader, HasData, Lift, Lower, Source, StreamConsumer, StreamProducer, StreamReader,
    StreamResult, VecBuffer,
};
use wasmtime::{AsContextMut as _, StoreContextMut};

/// A reader that moves between host functions.
pub type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// How much of a host stream is read ahead for a guest at once.
const GUEST_CHUNK: usize = 64 * 1024;

/// A `stream<u8>` that the host made.
pub struct HostBytes {
    reader: Reader,
    /// The call that gave it, where calls are kept or answered.
    call: Option<u64>,
    tap: Option<Tap>,
    /// What the guest wrote, where the bytes come of that.
    written: Option<Written>,
}

impl HostBytes {
    /// From a reader.
    pub fn new(reader: impl AsyncRead + Send + 'static) -> Self {
        let tap = current();
        Self { reader: Box::pin(reader), call: tap.as_ref().map(|tap| tap.call), tap, written: None }
    }

    /// From a reader, for a call that is answered.
    pub(crate) fn of_call(reader: Reader, call: u64) -> Self {
        Self { reader, call: Some(call), tap: None, written: None }
    }

    /// The same, of something that a guest wrote.
    fn of_written(self, written: Option<Written>) -> Self {
        Self { written, ..self }
    }

    /// The call that gave it.
    pub(crate) fn call(&self) -> Option<u64> {
        self.call
    }

    /// From here on the guest sees nothing of it.
    pub(crate) fn hand_on(&mut self) {
        if let Some(mut tap) = self.tap.take() {
            tap.handed_on();
        }
    }

    /// Its bytes.
    pub(crate) fn into_reader(mut self) -> Reader {
        self.hand_on();
        self.reader
    }
}

impl<D> StreamProducer<D> for HostBytes {
    type Item = u8;
    type Buffer = VecBuffer<u8>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        destination: Destination<'a, u8, VecBuffer<u8>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        // A zero-length read asks whether there is something; a reader cannot say, so the answer is "try".
        if destination.remaining(store.as_context_mut()) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let mut direct = destination.as_direct(store, GUEST_CHUNK);
        let mut buffer = ReadBuf::new(direct.remaining());
        let me = &mut *self;
        let polled = me.reader.as_mut().poll_read(cx, &mut buffer);
        if let (Some(tap), Poll::Ready(result)) = (&mut me.tap, &polled) {
            match (result, buffer.filled()) {
                (Ok(()), bytes @ [_, ..]) => tap.bytes(bytes),
                _ => tap.ended(),
            }
        }
        match polled {
            Poll::Ready(Ok(())) => {
                let read = buffer.filled().len();
                direct.mark_written(read);
                Poll::Ready(Ok(if read == 0 { StreamResult::Dropped } else { StreamResult::Completed }))
            }
            // The outcome future that came with the stream says why (see `watched`).
            Poll::Ready(Err(_)) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn try_into(me: Pin<Box<Self>>, wanted: TypeId) -> Result<Box<dyn Any>, Pin<Box<Self>>> {
        if wanted == TypeId::of::<Self>() { Ok(Box::new(*Pin::into_inner(me))) } else { Err(me) }
    }
}

/// Give a reader to the guest.
///
/// # Errors
/// When the store cannot hold another stream.
pub fn give_bytes<T: 'static, D>(
    access: &mut Access<'_, T, D>,
    reader: impl AsyncRead + Send + 'static,
) -> wasmtime::Result<StreamReader<u8>>
where
    D: HasData + ?Sized,
{
    StreamReader::new(access.as_context_mut(), HostBytes::new(reader))
}

/// Give a reader to the guest that a filter made, of something that the guest wrote itself where `written` is there.
///
/// # Errors
/// When the store cannot hold another stream.
pub fn give_filtered<T: 'static, D>(
    access: &mut Access<'_, T, D>,
    reader: impl AsyncRead + Send + 'static,
    written: Option<Written>,
) -> wasmtime::Result<StreamReader<u8>>
where
    D: HasData + ?Sized,
{
    StreamReader::new(access.as_context_mut(), HostBytes::new(reader).of_written(written))
}

/// Give the guest a future that resolves to what a channel delivers; a sender that goes away without a word is `cancelled`.
///
/// # Errors
/// When the store cannot hold another future.
pub fn give_outcome<T: 'static, D, V>(
    access: &mut Access<'_, T, D>,
    receiver: oneshot::Receiver<Result<V, Error>>,
) -> wasmtime::Result<FutureReader<Result<V, Error>>>
where
    D: HasData + ?Sized,
    V: Lower + Lift + Serialize + Send + Sync + 'static,
{
    give_future(access, async move { receiver.await.unwrap_or(Err(Error::Cancelled)) })
}

/// Give the guest a future that resolves to what work answers.
///
/// # Errors
/// When the store cannot hold another future.
pub fn give_future<T: 'static, D, V>(
    access: &mut Access<'_, T, D>,
    work: impl Future<Output = Result<V, Error>> + Send + 'static,
) -> wasmtime::Result<FutureReader<Result<V, Error>>>
where
    D: HasData + ?Sized,
    V: Lower + Lift + Serialize + Send + Sync + 'static,
{
    let tap = current();
    FutureReader::new(access.as_context_mut(), async move {
        let outcome = work.await;
        if let Some(tap) = tap {
            tap.outcome(&outcome);
        }
        wasmtime::error::Ok(outcome)
    })
}

/// What a host function needs to read a stream of the guest's: the reader, and the part that must be polled by the store meanwhile.
pub struct Taken {
    /// The bytes. Sendable anywhere.
    pub reader: Reader,
    /// Answers, from within the store, whether the run goes on. `None` for a stream that the host made.
    confirm: Option<mpsc::Receiver<oneshot::Sender<()>>>,
    /// What the guest wrote, where the bytes come of that.
    pub written: Option<Written>,
}

impl Taken {
    /// Bytes that are there already.
    pub(crate) fn whole(bytes: Vec<u8>) -> Self {
        Self { reader: Box::pin(io::Cursor::new(bytes)), confirm: None, written: None }
    }

    /// Run `work` (which owns the reader) on the runtime, so that its time is not the guest's, while the store stays
    /// responsible for it: dropped with the run, it is aborted.
    ///
    /// # Errors
    /// `cancelled` when the work was aborted from elsewhere, or panicked.
    pub async fn offload<R, F>(self, work: impl FnOnce(Reader) -> F) -> Result<R, Error>
    where
        F: Future<Output = Result<R, Error>> + Send + 'static,
        R: Send + 'static,
    {
        let mut task = Offloaded::spawn(work(self.reader));
        let Some(mut confirm) = self.confirm else { return task.await };
        loop {
            tokio::select! {
                result = &mut task => return result,
                Some(reply) = confirm.recv() => { let _ = reply.send(()); }
            }
        }
    }

    /// Split into the reader and a future that must be polled by the store until the reader has ended. For streams
    /// that go on into another stream.
    pub fn split(self) -> (Reader, Option<impl Future<Output = ()> + Send + 'static>) {
        let confirmations = self.confirm.map(|mut confirm| async move {
            while let Some(reply) = confirm.recv().await {
                let _ = reply.send(());
            }
        });
        (self.reader, confirmations)
    }
}

/// Work on the runtime that ends with its owner.
pub struct Offloaded<R>(tokio::task::JoinHandle<Result<R, Error>>);

impl<R: Send + 'static> Offloaded<R> {
    /// Spawn it.
    pub fn spawn(work: impl Future<Output = Result<R, Error>> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl<R> Future for Offloaded<R> {
    type Output = Result<R, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll(cx)) {
            Ok(result) => result,
            Err(error) if error.is_cancelled() => Err(Error::Cancelled),
            Err(_) => Err(Error::Failed(Fault {
                code: "host-panic".into(),
                message: "the host broke while it worked on this call; please report it with the run's log".into(),
                detail: None,
                retryable: false,
            })),
        })
    }
}

impl<R> Drop for Offloaded<R> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Take the bytes of a stream that the guest handed over: the host's own reader where the host made the stream, else a pipe.
///
/// # Errors
/// When the stream cannot be piped.
pub fn take_bytes<T: 'static, D>(access: &mut Access<'_, T, D>, stream: StreamReader<u8>) -> wasmtime::Result<Taken>
where
    D: HasData + ?Sized,
{
    match stream.try_into::<HostBytes>(access.as_context_mut()) {
        Ok(bytes) => {
            let written = bytes.written.clone();
            Ok(Taken { reader: bytes.into_reader(), confirm: None, written })
        }
        Err(stream) => {
            let (sender, receiver) = mpsc::channel(4);
            let (ask, confirm) = mpsc::channel(1);
            stream.pipe(access.as_context_mut(), GuestBytes { sender: tokio_util::sync::PollSender::new(sender) })?;
            let reader = Piped { receiver, current: Bytes::new(), ask: Some(ask), answer: None };
            let reader: Reader = match current() {
                Some(tap) => Box::pin(Hashed::new(Box::pin(reader), tap)),
                None => Box::pin(reader),
            };
            let written = Written::default();
            Ok(Taken { reader: written.reading(reader), confirm: Some(confirm), written: Some(written) })
        }
    }
}

/// The store's end of a pipe from the guest.
struct GuestBytes {
    sender: tokio_util::sync::PollSender<Bytes>,
}

impl<D> StreamConsumer<D> for GuestBytes {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut direct = source.as_direct(store);
        if direct.remaining().is_empty() {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        match self.sender.poll_reserve(cx) {
            Poll::Ready(Ok(())) => {
                let chunk = direct.remaining();
                let chunk = Bytes::copy_from_slice(&chunk[..chunk.len().min(1 << 20)]);
                let length = chunk.len();
                let sent = self.sender.send_item(chunk);
                direct.mark_read(length);
                Poll::Ready(Ok(if sent.is_ok() { StreamResult::Completed } else { StreamResult::Dropped }))
            }
            // Nobody reads any more.
            Poll::Ready(Err(_)) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The host's end of a pipe from the guest.
struct Piped {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
    ask: Option<mpsc::Sender<oneshot::Sender<()>>>,
    answer: Option<oneshot::Receiver<()>>,
}

impl AsyncRead for Piped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.current.is_empty() && self.answer.is_none() && self.ask.is_some() {
            match ready!(self.receiver.poll_recv(cx)) {
                Some(chunk) => self.current = chunk,
                // The guest's end is closed: by the guest, or because the run is over. Only a store that lives answers.
                None => {
                    let (reply, answer) = oneshot::channel();
                    let asked = self.ask.take().is_some_and(|ask| ask.try_send(reply).is_ok());
                    if !asked {
                        return Poll::Ready(Err(run_over()));
                    }
                    self.answer = Some(answer);
                }
            }
        }
        if let Some(answer) = &mut self.answer {
            let lives = ready!(Pin::new(answer).poll(cx)).is_ok();
            self.answer = None;
            return Poll::Ready(if lives { Ok(()) } else { Err(run_over()) });
        }
        let take = self.current.len().min(buffer.remaining());
        buffer.put_slice(&self.current[..take]);
        self.current.advance(take);
        Poll::Ready(Ok(()))
    }
}

pub(crate) fn run_over() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, Interrupted)
}

/// The run ended while one of its streams was still being read.
#[derive(Debug, thiserror::Error)]
#[error("the run ended before its stream did")]
pub struct Interrupted;

/// An [`io::Error`] that carries what the guest is to be told.
#[derive(Debug, thiserror::Error)]
#[error("{}", said(.0))]
pub struct StreamFailed(pub Error);

/// The text of an error.
fn said(error: &Error) -> &str {
    match error {
        Error::Denied(text)
        | Error::InvalidArgument(text)
        | Error::NotFound(text)
        | Error::Conflict(text)
        | Error::TimedOut(text)
        | Error::Unavailable(text)
        | Error::Quota(text) => text,
        Error::Cancelled => "cancelled",
        Error::Failed(fault) => &fault.message,
    }
}

/// Wrap an error for a reader.
pub fn stream_error(error: Error) -> io::Error {
    io::Error::other(StreamFailed(error))
}

/// What a guest is told when a stream fails: the error that its source put in, or what the system said.
pub fn error_of(error: &io::Error) -> Error {
    let inner = error.get_ref();
    if let Some(StreamFailed(error)) = inner.and_then(|e| e.downcast_ref()) {
        return error.clone();
    }
    if inner.is_some_and(|e| e.is::<Interrupted>()) {
        return Error::Cancelled;
    }
    Error::Failed(Fault {
        code: format!("{:?}", error.kind()),
        message: error.to_string(),
        detail: None,
        retryable: false,
    })
}

/// A reader that tells once how it ended: the bytes that passed, or the error. Dropped before its end it says `cancelled`.
pub struct Watched<V> {
    inner: Reader,
    passed: u64,
    tell: Option<oneshot::Sender<Result<V, Error>>>,
    value: fn(u64) -> V,
}

/// Watch a reader; the receiver goes to [`give_outcome`].
pub fn watched<V>(
    inner: impl AsyncRead + Send + 'static,
    value: fn(u64) -> V,
) -> (Watched<V>, oneshot::Receiver<Result<V, Error>>) {
    let (tell, told) = oneshot::channel();
    (Watched { inner: Box::pin(inner), passed: 0, tell: Some(tell), value }, told)
}

impl<V> AsyncRead for Watched<V> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let room = buffer.remaining();
        let result = ready!(self.inner.as_mut().poll_read(cx, buffer));
        let end = match &result {
            Ok(()) => {
                let read = buffer.filled().len() - before;
                self.passed += read as u64;
                (read == 0 && room > 0).then(|| Ok((self.value)(self.passed)))
            }
            Err(error) => Some(Err(error_of(error))),
        };
        if let Some(end) = end
            && let Some(tell) = self.tell.take()
        {
            let _ = tell.send(end);
        }
        Poll::Ready(result)
    }
}
