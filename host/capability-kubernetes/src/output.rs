//! What runs in a cluster for a guest, a command or a job: its output, whose end is only good when its own end was, and how it ended.

use bytes::{Buf as _, Bytes};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rota_capability::streams::{Offloaded, Reader, stream_error};
use rota_capability::{ChildEnded, ChildStatus, Process, RunContext, taken};
use rota_contract::{Error, Fault};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{Notify, mpsc, watch};

/// How many pieces of output wait for who reads it.
const AHEAD: usize = 8;

type Told = Option<Result<ChildEnded, Error>>;

/// A task that runs something, as a guest holds it. Dropped, the task ends.
pub(crate) struct Running {
    name: String,
    output: Option<mpsc::Receiver<Bytes>>,
    told: watch::Receiver<Told>,
    task: tokio::task::AbortHandle,
    /// Asks a task that can be asked to end by itself.
    stop: Option<Arc<Notify>>,
    /// Ends it when the run is told to stop.
    watcher: Option<Offloaded<()>>,
}

/// The task's end of it.
pub(crate) struct Reports {
    /// Where its output goes; one that nobody takes is an error, and thrown away.
    pub(crate) output: mpsc::Sender<Bytes>,
    tell: watch::Sender<Told>,
}

impl Reports {
    /// Say how it ended.
    pub(crate) fn end(self, ended: Result<ChildEnded, Error>) {
        // Before the output's end, which looks at it.
        let _ = self.tell.send(Some(ended));
    }
}

impl Running {
    /// Run a task.
    pub(crate) fn start<F: Future<Output = ()> + Send + 'static>(
        name: String,
        task: impl FnOnce(Reports) -> F,
    ) -> Self {
        let (output, receiver) = mpsc::channel(AHEAD);
        let (tell, told) = watch::channel(None);
        let task = tokio::spawn(task(Reports { output, tell })).abort_handle();
        Self { name, output: Some(receiver), told, task, stop: None, watcher: None }
    }

    /// Run a task that ends by itself when it is asked to.
    pub(crate) fn start_stoppable<F: Future<Output = ()> + Send + 'static>(
        name: String,
        task: impl FnOnce(Reports, Arc<Notify>) -> F,
    ) -> Self {
        let stop = Arc::new(Notify::new());
        let mut running = Self::start(name, |reports| task(reports, stop.clone()));
        running.stop = Some(stop);
        running
    }
}

impl Running {
    /// The same, ended when the run is told to stop, whether or not its guest looks.
    pub(crate) fn until_stopped(mut self, run: &RunContext) -> Self {
        let (stopped, stop, task) = (run.stopped(), self.stop.clone(), self.task.clone());
        self.watcher = Some(Offloaded::spawn(async move {
            stopped.await;
            match stop {
                Some(stop) => stop.notify_one(),
                None => task.abort(),
            }
            Ok(())
        }));
        self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Wait to be told; `cancelled` when the task ended without a word.
async fn outcome(mut told: watch::Receiver<Told>) -> Result<ChildEnded, Error> {
    match told.wait_for(Option::is_some).await {
        Ok(result) => result.clone().unwrap_or(Err(Error::Cancelled)),
        Err(_) => Err(Error::Cancelled),
    }
}

impl Process for Running {
    fn stdout(&mut self) -> Result<Reader, Error> {
        let output = self.output.take().ok_or_else(taken)?;
        let end = outcome(self.told.clone()).boxed();
        Ok(Box::pin(Output { output, current: Bytes::new(), name: self.name.clone(), end, ended: None }))
    }

    fn wait(&mut self) -> BoxFuture<'static, Result<ChildEnded, Error>> {
        // What nobody reads is thrown away from now on: it could not end else.
        self.output = None;
        outcome(self.told.clone()).boxed()
    }

    fn kill(&mut self) -> BoxFuture<'static, Result<(), Error>> {
        let Some(stop) = &self.stop else {
            self.task.abort();
            return async { Ok(()) }.boxed();
        };
        stop.notify_one();
        self.output = None;
        outcome(self.told.clone()).map(|_| Ok(())).boxed()
    }
}

/// Reads to the end, then waits for the end of what wrote it, and fails unless that was well.
struct Output {
    output: mpsc::Receiver<Bytes>,
    current: Bytes,
    name: String,
    end: BoxFuture<'static, Result<ChildEnded, Error>>,
    ended: Option<Result<(), Error>>,
}

impl AsyncRead for Output {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        if me.current.is_empty() && me.ended.is_none() {
            match ready!(me.output.poll_recv(cx)) {
                Some(piece) => me.current = piece,
                None => {
                    let ended = ready!(me.end.poll_unpin(cx));
                    me.ended = Some(ended.and_then(|ended| well(&me.name, &ended)));
                }
            }
        }
        if let Some(Err(error)) = &me.ended {
            return Poll::Ready(Err(stream_error(error.clone())));
        }
        let take = me.current.len().min(buffer.remaining());
        buffer.put_slice(&me.current[..take]);
        me.current.advance(take);
        Poll::Ready(Ok(()))
    }
}

fn well(name: &str, ended: &ChildEnded) -> Result<(), Error> {
    let (code, how) = match ended.status {
        ChildStatus::Code(0) | ChildStatus::Planned => return Ok(()),
        ChildStatus::Code(code) => (format!("exit-{code}"), format!("exited with {code}")),
        ChildStatus::Signal(signal) => (format!("signal-{signal}"), format!("was ended by signal {signal}")),
    };
    let last = ended.stderr.lines().rfind(|line| !line.trim().is_empty());
    let message = last.map_or_else(|| format!("{name} {how}"), |line| format!("{name} {how}: {line}"));
    Err(Error::Failed(Fault { code, message, detail: None, retryable: false }))
}

/// What an ended task is put on record with.
pub(crate) fn said(ended: &ChildEnded) -> String {
    match ended.status {
        ChildStatus::Code(code) => format!("exited with {code}"),
        ChildStatus::Signal(signal) => format!("ended by signal {signal}"),
        ChildStatus::Planned => "planned".to_owned(),
    }
}
