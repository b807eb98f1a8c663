//! The one writer: takes what is to be written, commits what has gathered, and then answers.
//!
//! What somebody waits for is committed at once, with all that has gathered meanwhile, so that many waiters share one sync of the
//! disk. What nobody waits for (log lines) is gathered for a tenth of a second.

use super::apply::{self, Answer, Op};
use crate::{NewLogLine, StoreError};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// How long what nobody waits for is gathered.
const GATHER: Duration = Duration::from_millis(100);

/// At most so many writes in one commit.
const BATCH: usize = 200;

/// At most so many log lines wait; more are refused. A run's own limits let through far fewer.
const LINES_WAITING: usize = 100_000;

struct Write {
    op: Op,
    reply: Option<oneshot::Sender<Result<Answer, StoreError>>>,
}

enum Message {
    Write(Write),
    Close(oneshot::Sender<()>),
}

/// The way to the writer.
#[derive(Clone)]
pub(crate) struct Writer {
    sender: mpsc::UnboundedSender<Message>,
    lines_waiting: Arc<AtomicUsize>,
}

impl Writer {
    pub(crate) fn spawn(connection: SqliteConnection, path: PathBuf) -> Self {
        // Without a bound: every waiter has one write in it, and the log lines are counted.
        let (sender, receiver) = mpsc::unbounded_channel();
        let lines_waiting = Arc::new(AtomicUsize::new(0));
        let task =
            Task { receiver, connection, path, lines_waiting: lines_waiting.clone(), lost_lines: HashMap::new() };
        tokio::spawn(task.run());
        Self { sender, lines_waiting }
    }

    /// Write, and wait for the disk.
    pub(crate) async fn ask(&self, op: Op) -> Result<Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Message::Write(Write { op, reply: Some(reply) })).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Write soon.
    pub(crate) fn tell(&self, op: Op) {
        if self.sender.send(Message::Write(Write { op, reply: None })).is_err() {
            tracing::warn!("something was to be recorded after the records were closed");
        }
    }

    /// Write a line soon; false when too many wait, or the writer is gone.
    pub(crate) fn log(&self, run: &str, line: NewLogLine) -> bool {
        if self.lines_waiting.fetch_add(1, Ordering::Relaxed) >= LINES_WAITING {
            self.lines_waiting.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let op = Op::Log { run: run.into(), line: Box::new(line) };
        self.sender.send(Message::Write(Write { op, reply: None })).is_ok()
    }

    /// Write what waits, and end.
    pub(crate) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.sender.send(Message::Close(reply)).is_ok() {
            // A task that is gone has nothing left to write.
            let _ = closed.await;
        }
    }
}

struct Task {
    receiver: mpsc::UnboundedReceiver<Message>,
    connection: SqliteConnection,
    path: PathBuf,
    lines_waiting: Arc<AtomicUsize>,
    /// Lines that a failed commit lost, to be counted by the next that does not fail.
    lost_lines: HashMap<String, u64>,
}

/// What was gathered for one commit.
#[derive(Default)]
struct Batch {
    writes: Vec<Write>,
    awaited: bool,
    close: Option<oneshot::Sender<()>>,
}

impl Batch {
    fn add(&mut self, message: Message) {
        match message {
            Message::Write(write) => {
                self.awaited |= write.reply.is_some();
                self.writes.push(write);
            }
            Message::Close(reply) => self.close = Some(reply),
        }
    }

    fn is_due(&self) -> bool {
        self.awaited || self.close.is_some() || self.writes.len() >= BATCH
    }
}

impl Task {
    async fn run(mut self) {
        while let Some(first) = self.receiver.recv().await {
            let mut batch = self.gather(first).await;
            let writes = std::mem::take(&mut batch.writes);
            self.commit(writes).await;
            if let Some(closed) = batch.close {
                self.receiver.close();
                self.write_the_rest().await;
                let Self { connection, .. } = self;
                if let Err(error) = connection.close().await {
                    tracing::warn!(%error, "the record file was not closed cleanly; nothing is lost");
                }
                let _ = closed.send(());
                return;
            }
        }
        // All handles are gone; what they sent is written.
    }

    async fn gather(&mut self, first: Message) -> Batch {
        let mut batch = Batch::default();
        batch.add(first);
        let deadline = Instant::now() + GATHER;
        loop {
            while batch.writes.len() < BATCH && batch.close.is_none() {
                let Ok(message) = self.receiver.try_recv() else { break };
                batch.add(message);
            }
            if batch.is_due() {
                return batch;
            }
            match timeout_at(deadline, self.receiver.recv()).await {
                Ok(Some(message)) => batch.add(message),
                Ok(None) | Err(_) => return batch,
            }
        }
    }

    async fn write_the_rest(&mut self) {
        let mut writes = Vec::new();
        while let Ok(message) = self.receiver.try_recv() {
            if let Message::Write(write) = message {
                writes.push(write);
            }
        }
        self.commit(writes).await;
    }

    async fn commit(&mut self, writes: Vec<Write>) {
        // A waiter that is gone wants nothing written: its effect does not happen.
        let writes: Vec<Write> =
            writes.into_iter().filter(|write| write.reply.as_ref().is_none_or(|reply| !reply.is_closed())).collect();
        let lines = writes.iter().filter(|write| matches!(write.op, Op::Log { .. })).count();
        self.lines_waiting.fetch_sub(lines, Ordering::Relaxed);
        if writes.is_empty() {
            return;
        }
        match self.transaction(&writes).await {
            Ok(answers) => {
                self.lost_lines.clear();
                for (write, answer) in writes.into_iter().zip(answers) {
                    match (write.reply, answer) {
                        (Some(reply), answer) => drop(reply.send(answer)),
                        (None, Err(error)) => tracing::warn!(%error, "something could not be recorded"),
                        (None, Ok(_)) => {}
                    }
                }
            }
            Err(error) => self.failed(writes, &error),
        }
    }

    /// Nothing of the batch is on disk.
    fn failed(&mut self, writes: Vec<Write>, error: &StoreError) {
        tracing::error!(%error, "nothing can be recorded");
        for write in writes {
            if let Op::Log { run, .. } = write.op {
                *self.lost_lines.entry(run).or_default() += 1;
            }
            if let Some(reply) = write.reply {
                // Whoever waited may be gone.
                let _ = reply.send(Err(error.clone()));
            }
        }
    }

    /// All writes in one transaction, each with its own answer; an error here is one of the file and concerns all of them.
    async fn transaction(&mut self, writes: &[Write]) -> Result<Vec<Result<Answer, StoreError>>, StoreError> {
        let Self { connection, path, lost_lines, .. } = self;
        let wrong = |error: sqlx::Error| StoreError::from_sqlx(path, &error);
        if writes.iter().all(|write| matches!(write.op, Op::Nothing)) && lost_lines.is_empty() {
            return Ok(writes.iter().map(|_| Ok(Answer::Done)).collect());
        }
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(wrong)?;
        let mut answers = Vec::with_capacity(writes.len());
        for write in writes {
            let answer = apply::apply(&mut transaction, path, &write.op).await;
            if let Err(error) = &answer
                && error.is_of_the_file()
            {
                // The transaction is rolled back as it is dropped.
                return Err(error.clone());
            }
            answers.push(answer);
        }
        for (run, lines) in lost_lines.iter() {
            apply::dropped(&mut transaction, path, run, *lines).await?;
        }
        transaction.commit().await.map_err(wrong)?;
        Ok(answers)
    }
}
