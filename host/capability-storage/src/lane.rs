//! Work on chunks of a stream, in order, on the runtime's blocking threads, beside whatever else is done with the stream: the
//! hash in one lane, the file in another. A thread is held only while there is something to do.

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::Notify;

/// How much of a stream is handled at once.
pub(crate) const CHUNK: usize = 1 << 20;
/// How much may wait in a lane before the stream waits.
const WAITING: usize = 4 * CHUNK;

/// What a lane does with its chunks.
pub(crate) trait Work: Send + 'static {
    /// Do it with the next one.
    fn take(&mut self, chunk: &[u8]) -> io::Result<()>;
}

impl Work for Sha256 {
    fn take(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.update(chunk);
        Ok(())
    }
}

/// Chunks on their way to a worker.
pub(crate) struct Lane<W: Work> {
    shared: Arc<Shared<W>>,
}

struct Shared<W> {
    state: Mutex<State<W>>,
    changed: Notify,
}

struct State<W> {
    /// Here while nothing is being done.
    worker: Option<W>,
    queue: VecDeque<Bytes>,
    waiting: usize,
    failed: Option<io::Error>,
    abandoned: bool,
}

impl<W> Shared<W> {
    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Work> Lane<W> {
    pub(crate) fn new(worker: W) -> Self {
        let state = State { worker: Some(worker), queue: VecDeque::new(), waiting: 0, failed: None, abandoned: false };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }) }
    }

    /// Hand over the next chunk, when there is room.
    ///
    /// # Errors
    /// What the worker failed with, on this chunk or an earlier one.
    pub(crate) async fn push(&mut self, chunk: Bytes) -> io::Result<()> {
        self.until(|state| state.waiting < WAITING).await?;
        let mut state = self.shared.lock();
        state.waiting += chunk.len();
        state.queue.push_back(chunk);
        if let Some(worker) = state.worker.take() {
            let shared = self.shared.clone();
            tokio::task::spawn_blocking(move || work(&shared, worker));
        }
        Ok(())
    }

    /// Wait until all is done, and take the worker back.
    ///
    /// # Errors
    /// What the worker failed with.
    pub(crate) async fn finish(self) -> io::Result<W> {
        self.until(|state| state.worker.is_some() && state.queue.is_empty()).await?;
        self.shared.lock().worker.take().ok_or_else(|| io::Error::other("the worker of a lane is gone"))
    }

    async fn until(&self, ready: impl Fn(&State<W>) -> bool) -> io::Result<()> {
        loop {
            let changed = self.shared.changed.notified();
            {
                let mut state = self.shared.lock();
                if let Some(error) = state.failed.take() {
                    return Err(error);
                }
                if ready(&state) {
                    return Ok(());
                }
            }
            changed.await;
        }
    }
}

impl<W: Work> Drop for Lane<W> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.abandoned = true;
        state.queue.clear();
    }
}

/// Work off the queue, and put the worker back.
fn work<W: Work>(shared: &Arc<Shared<W>>, worker: W) {
    let mut back = Back { shared, worker: Some(worker) };
    loop {
        let chunk = {
            let mut state = shared.lock();
            let Some(chunk) = state.queue.pop_front() else {
                // Under the same lock, so that a chunk pushed now starts the worker again.
                state.worker = back.worker.take();
                break;
            };
            chunk
        };
        let result = back.worker.as_mut().map_or(Ok(()), |worker| worker.take(&chunk));
        let mut state = shared.lock();
        state.waiting = state.waiting.saturating_sub(chunk.len());
        if let Err(error) = result {
            state.queue.clear();
            state.failed = Some(error);
        }
        drop(state);
        shared.changed.notify_waiters();
    }
}

/// Tells those who wait that something changed, however the work ended.
struct Back<'a, W> {
    shared: &'a Arc<Shared<W>>,
    worker: Option<W>,
}

impl<W> Drop for Back<'_, W> {
    fn drop(&mut self) {
        if self.worker.is_some() {
            self.shared.lock().failed = Some(io::Error::other("the worker of a lane broke"));
        }
        self.shared.changed.notify_waiters();
    }
}

/// The next chunk of a stream: full, unless the stream ends with it; empty at its end.
pub(crate) async fn next_chunk(reader: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Bytes> {
    let most = most.min(CHUNK);
    let mut chunk = BytesMut::with_capacity(most);
    while chunk.len() < most {
        let room = most - chunk.len();
        if (&mut *reader).take(room as u64).read_buf(&mut chunk).await? == 0 {
            break;
        }
    }
    Ok(chunk.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn chunks_are_worked_off_in_order() {
        let mut lane = Lane::new(Sha256::new());
        let mut whole = Sha256::new();
        for n in 0..200_u32 {
            let chunk = Bytes::from(n.to_le_bytes().repeat(5000));
            whole.update(&chunk);
            lane.push(chunk).await.unwrap();
        }
        assert_eq!(lane.finish().await.unwrap().finalize(), whole.finalize());
    }

    struct Third(u32);

    impl Work for Third {
        fn take(&mut self, _: &[u8]) -> io::Result<()> {
            self.0 += 1;
            if self.0 == 3 { Err(io::Error::other("third")) } else { Ok(()) }
        }
    }

    #[tokio::test]
    async fn a_failure_comes_out_of_push_or_finish() {
        let mut lane = Lane::new(Third(0));
        for _ in 0..3 {
            lane.push(Bytes::from_static(b"x")).await.unwrap();
        }
        assert_eq!(lane.finish().await.err().unwrap().to_string(), "third");
        let mut lane = Lane::new(Third(0));
        let failure = loop {
            if let Err(error) = lane.push(Bytes::from_static(&[0; CHUNK])).await {
                break error;
            }
        };
        assert_eq!(failure.to_string(), "third");
    }

    #[tokio::test]
    async fn chunks_are_full_until_the_end() {
        let data = vec![7_u8; CHUNK + 10];
        let mut reader = &data[..];
        assert_eq!(next_chunk(&mut reader, 5).await.unwrap().len(), 5);
        assert_eq!(next_chunk(&mut reader, usize::MAX).await.unwrap().len(), CHUNK);
        assert_eq!(next_chunk(&mut reader, usize::MAX).await.unwrap().len(), 5);
        assert_eq!(next_chunk(&mut reader, usize::MAX).await.unwrap().len(), 0);
    }
}
