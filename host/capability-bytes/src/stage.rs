//! A stage of a pipeline: a thread that turns one stream of chunks into another.
//!
//! ```text
//! source reader -> feeder (a task) -> queue -> the stage's thread -> queue -> `Drawn`, the reader that comes out
//! ```
//!
//! Both queues are short, so a pipeline holds a few chunks a stage whatever passes through it. Neither queue's closing ever means
//! the end of the data: the end is a message of its own, and so is an error. Dropping the reader that comes out ends the
//! feeder and the thread, and with them the source.

use crate::filter::{Filtered, Passed};
use rota_capability::streams::{Interrupted, Reader, error_of};
use rota_contract::{Error, Fault};
use std::future::poll_fn;
use std::io::{self, BufRead, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::io::poll_read_buf;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How much is handed over at once, bytes.
pub(crate) const CHUNK: usize = 256 * 1024;

/// How many chunks wait in a queue.
const DEPTH: usize = 3;

/// Stack of a stage's thread, bytes. The codecs keep their state on the heap.
const STACK: usize = 512 * 1024;

/// What passes through a queue.
enum Message<E> {
    Data(Vec<u8>),
    End(E),
    Failed(io::Error),
}

/// Chunks that were used and can be used again.
#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    fn take(&self) -> Vec<u8> {
        let used = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        used.unwrap_or_else(|| Vec::with_capacity(CHUNK))
    }

    fn give(&self, mut chunk: Vec<u8>) {
        if chunk.capacity() != CHUNK {
            return;
        }
        chunk.clear();
        let mut kept = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if kept.len() < 2 * DEPTH {
            kept.push(chunk);
        }
    }
}

/// Run `work` on a thread between `source` and the reader that is given back. `work` reads its input to the end and says what
/// SHA-256 it computed, if any; `keep` is dropped when it ends.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn run<W, K>(name: &str, source: Reader, keep: K, work: W) -> Result<Filtered, Error>
where
    W: FnOnce(&mut Input, &mut Output) -> io::Result<Option<String>> + Send + 'static,
    K: Send + 'static,
{
    let pool = Pool::default();
    let (feed, fed) = mpsc::channel(DEPTH);
    let (sender, receiver) = mpsc::channel(DEPTH);
    let (tell, outcome) = oneshot::channel();
    let mut input = Input {
        receiver: fed,
        current: Vec::new(),
        position: 0,
        bytes: 0,
        ended: false,
        failure: None,
        pool: pool.clone(),
    };
    let mut output = Output { sender, current: pool.take(), bytes: 0, pool: pool.clone() };
    std::thread::Builder::new()
        .name(format!("rota-{name}"))
        .stack_size(STACK)
        .spawn(move || {
            let last = conclude(work(&mut input, &mut output), &mut input, &mut output);
            drop(keep);
            // Nobody to tell is nobody to harm.
            let _ = output.sender.blocking_send(last);
        })
        .map_err(no_thread)?;
    let stop = CancellationToken::new();
    tokio::spawn(feeder(source, feed, pool.clone(), stop.clone()));
    let drawn = Drawn {
        receiver,
        current: Vec::new(),
        position: 0,
        pool,
        tell: Some(tell),
        over: None,
        stop: Some(stop.drop_guard()),
    };
    Ok(Filtered { reader: Box::pin(drawn), outcome })
}

fn no_thread(error: io::Error) -> Error {
    Error::Unavailable(format!(
        "the host has no thread left for a filter ({error}); let fewer runs go on at once, or raise the limit of tasks of the host's process"
    ))
}

/// The last message of a stage. What the source said counts more than what a codec made of it.
fn conclude(result: io::Result<Option<String>>, input: &mut Input, output: &mut Output) -> Message<Passed> {
    let result = result.and_then(|sha256| {
        if !input.fill_buf()?.is_empty() {
            return Err(crate::filter::damaged(
                "trailing-data",
                "there are bytes after the end of the data; what is stored is not what was written, or not one file",
            ));
        }
        output.send()?;
        Ok(Passed { bytes_in: input.bytes, bytes_out: output.bytes, sha256 })
    });
    match (input.failure.take(), result) {
        (Some(failure), _) | (None, Err(failure)) => Message::Failed(failure),
        (None, Ok(passed)) => Message::End(passed),
    }
}

/// Reads the source for the thread, until its end or until nobody wants more.
async fn feeder(mut source: Reader, feed: mpsc::Sender<Message<()>>, pool: Pool, stop: CancellationToken) {
    let work = async {
        loop {
            let mut chunk = pool.take();
            let message = match fill(&mut source, &mut chunk).await {
                Ok(More::Maybe) => Message::Data(chunk),
                Ok(More::No) if chunk.is_empty() => Message::End(()),
                Ok(More::No) => {
                    if feed.send(Message::Data(chunk)).await.is_err() {
                        return;
                    }
                    Message::End(())
                }
                Err(error) => Message::Failed(error),
            };
            let last = !matches!(message, Message::Data(_));
            if feed.send(message).await.is_err() || last {
                return;
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

enum More {
    Maybe,
    No,
}

/// Fill a chunk with what can be had without waiting, and wait only for the first byte.
async fn fill(source: &mut Reader, chunk: &mut Vec<u8>) -> io::Result<More> {
    poll_fn(|cx| {
        while chunk.len() < chunk.capacity() {
            match poll_read_buf(source.as_mut(), cx, chunk) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(More::No)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if chunk.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(More::Maybe))
    })
    .await
}

/// What a stage's thread reads.
pub(crate) struct Input {
    receiver: mpsc::Receiver<Message<()>>,
    current: Vec<u8>,
    position: usize,
    bytes: u64,
    ended: bool,
    /// Why the source failed, kept from the codec, which would only wrap it.
    failure: Option<io::Error>,
    pool: Pool,
}

impl Input {
    /// The next chunk as it stands, for a stage that passes it on; none at the end.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.ended {
            return Ok(None);
        }
        if self.failure.is_some() {
            return Err(source_failed());
        }
        match self.receiver.blocking_recv() {
            Some(Message::Data(chunk)) => {
                self.bytes += chunk.len() as u64;
                Ok(Some(chunk))
            }
            Some(Message::End(())) => {
                self.ended = true;
                Ok(None)
            }
            Some(Message::Failed(error)) => {
                self.failure = Some(error);
                Err(source_failed())
            }
            // The feeder is gone: nobody reads this stage any more, or the runtime ends.
            None => {
                self.failure = Some(io::Error::new(io::ErrorKind::ConnectionAborted, Interrupted));
                Err(source_failed())
            }
        }
    }

    /// Give a chunk back that was read to its end.
    pub(crate) fn used(&self, chunk: Vec<u8>) {
        self.pool.give(chunk);
    }
}

fn source_failed() -> io::Error {
    io::Error::other("the source of the stream failed")
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.current.len() {
            let used = std::mem::take(&mut self.current);
            self.position = 0;
            self.pool.give(used);
            self.current = self.chunk()?.unwrap_or_default();
        }
        Ok(&self.current[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position = (self.position + amount).min(self.current.len());
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let take = available.len().min(buffer.len());
        buffer[..take].copy_from_slice(&available[..take]);
        self.consume(take);
        Ok(take)
    }
}

/// What a stage's thread writes.
pub(crate) struct Output {
    sender: mpsc::Sender<Message<Passed>>,
    current: Vec<u8>,
    bytes: u64,
    pool: Pool,
}

impl Output {
    /// Pass a whole chunk on.
    pub(crate) fn chunk(&mut self, chunk: Vec<u8>) -> io::Result<()> {
        self.bytes += chunk.len() as u64;
        self.sender.blocking_send(Message::Data(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Fill chunks straight from a reader, to its end.
    pub(crate) fn read_from(&mut self, mut reader: impl Read) -> io::Result<()> {
        // One zeroed buffer, because a reader may look at what it fills.
        let mut buffer = vec![0; CHUNK / 4];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => self.write_all(&buffer[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        if self.current.is_empty() {
            return Ok(());
        }
        let next = self.pool.take();
        let full = std::mem::replace(&mut self.current, next);
        self.chunk(full)
    }
}

impl Write for Output {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.current.len() == self.current.capacity() {
            self.send()?;
        }
        let take = data.len().min(self.current.capacity() - self.current.len());
        self.current.extend_from_slice(&data[..take]);
        Ok(take)
    }

    /// Chunks are sent when they are full: a codec's flush is no reason to hand over less.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a stage's stream is over.
enum Over {
    Ended,
    Failed,
}

/// The reader that comes out of a stage. It tells the outcome when its reader has seen the end, not before.
struct Drawn {
    receiver: mpsc::Receiver<Message<Passed>>,
    current: Vec<u8>,
    position: usize,
    pool: Pool,
    tell: Option<oneshot::Sender<Result<Passed, Error>>>,
    over: Option<Over>,
    stop: Option<DropGuard>,
}

impl Drawn {
    fn end(&mut self, over: Over, outcome: Result<Passed, Error>) {
        self.over = Some(over);
        self.stop = None;
        if let Some(tell) = self.tell.take() {
            // The guest need not want to know.
            let _ = tell.send(outcome);
        }
    }

    fn fail(&mut self, error: io::Error) -> Poll<io::Result<()>> {
        self.end(Over::Failed, Err(error_of(&error)));
        Poll::Ready(Err(error))
    }
}

impl AsyncRead for Drawn {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        while self.position == self.current.len() {
            let used = std::mem::take(&mut self.current);
            self.position = 0;
            self.pool.give(used);
            match self.over {
                Some(Over::Ended) => return Poll::Ready(Ok(())),
                Some(Over::Failed) => return Poll::Ready(Err(io::Error::other("the stream failed before"))),
                None => {}
            }
            match ready!(self.receiver.poll_recv(cx)) {
                Some(Message::Data(chunk)) => self.current = chunk,
                Some(Message::End(passed)) => self.end(Over::Ended, Ok(passed)),
                Some(Message::Failed(error)) => return self.fail(error),
                None => return self.fail(rota_capability::streams::stream_error(broke())),
            }
        }
        let take = (self.current.len() - self.position).min(buffer.remaining());
        let position = self.position;
        buffer.put_slice(&self.current[position..position + take]);
        self.position += take;
        Poll::Ready(Ok(()))
    }
}

/// A stage's thread ended without a word: it panicked.
fn broke() -> Error {
    Error::Failed(Fault {
        code: "host-panic".into(),
        message: "the host broke while it filtered a stream; please report it with the run's log".into(),
        detail: None,
        retryable: false,
    })
}
