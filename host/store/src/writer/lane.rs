//! One lane: a task with a connection.

use super::spool::{self, Late, Spool};
use super::{Connector, Message, PATIENCE, Waiting, Write};
use crate::rows::Hint;
use crate::session::{Engine, Session, Shared};
use crate::write::{late, logs, team};
use crate::{NewLogLine, StoreError};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

/// How long what nobody waits for is gathered.
const GATHER: Duration = Duration::from_millis(100);

/// At most so many writes in one commit, and so many lines.
const BATCH: usize = 200;
const LINES: usize = 5_000;

/// How often it is tried to deliver what waits, and how much of it in one commit.
const DELIVER_EVERY: Duration = Duration::from_secs(1);
const DELIVERED: usize = 500;

/// How often a transaction is done again that a concurrent one made fail.
const AGAIN: u32 = 8;

type Lines = Vec<(Arc<str>, Box<NewLogLine>)>;

pub(super) struct Lane {
    receiver: mpsc::UnboundedReceiver<Message>,
    connector: Connector,
    shared: Shared,
    lines_waiting: Arc<AtomicUsize>,
    hinted: Box<dyn Fn(Hint) + Send + Sync>,
    /// Lines that a failed commit lost, to be counted by the next that does not fail.
    lost_lines: HashMap<Arc<str>, u64>,
    /// What waits for the place to be back.
    spool: Spool,
}

/// What was gathered for one commit.
#[derive(Default)]
struct Batch {
    writes: Vec<Box<dyn Write>>,
    lines: Lines,
    awaited: bool,
    close: Option<oneshot::Sender<()>>,
}

impl Batch {
    fn add(&mut self, message: Message) {
        match message {
            Message::Write(write) => {
                self.awaited |= write.is_awaited();
                self.writes.push(write);
            }
            Message::Line(run, line) => self.lines.push((run, line)),
            Message::Close(reply) => self.close = Some(reply),
        }
    }

    fn is_full(&self) -> bool {
        self.writes.len() >= BATCH || self.lines.len() >= LINES
    }

    fn is_due(&self) -> bool {
        self.awaited || self.close.is_some() || self.is_full()
    }
}

/// Why a transaction did not commit.
enum Failure {
    /// A concurrent one made it fail: once more.
    Again(StoreError),
    /// One of its writes cannot be done; the others may.
    OfOne(StoreError),
    /// The database is unwell.
    OfAll(StoreError),
}

impl Lane {
    pub(super) fn new(
        receiver: mpsc::UnboundedReceiver<Message>,
        connector: Connector,
        shared: Shared,
        lines_waiting: Arc<AtomicUsize>,
        hinted: Box<dyn Fn(Hint) + Send + Sync>,
    ) -> Self {
        let spool = Spool::new(shared.spool.clone(), spool::LIMIT, shared.spooled.clone());
        Self { receiver, connector, shared, lines_waiting, hinted, lost_lines: HashMap::new(), spool }
    }

    pub(super) async fn run(mut self) {
        // Long before the first outcome, and by whichever lane is first.
        self.spool.find();
        loop {
            let first = if self.spool.is_empty() {
                self.receiver.recv().await
            } else if let Ok(first) = timeout(DELIVER_EVERY, self.receiver.recv()).await {
                first
            } else {
                // What it says is said by whoever writes next.
                let _ = self.deliver().await;
                continue;
            };
            let Some(first) = first else { break };
            let batch = self.gather(first).await;
            self.write(batch.writes, batch.lines).await;
            if let Some(closed) = batch.close {
                self.receiver.close();
                let mut rest = Batch::default();
                while let Ok(message) = self.receiver.try_recv() {
                    rest.add(message);
                }
                self.write(rest.writes, rest.lines).await;
                self.connector.close().await;
                let _ = closed.send(());
                return;
            }
        }
        // All handles are gone; what they sent is written.
        self.connector.close().await;
    }

    async fn gather(&mut self, first: Message) -> Batch {
        let mut batch = Batch::default();
        batch.add(first);
        let deadline = Instant::now() + GATHER;
        loop {
            while !batch.is_full() && batch.close.is_none() {
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

    /// Write all of it together; where one of the writes spoils that, each by itself.
    async fn write(&mut self, writes: Vec<Box<dyn Write>>, lines: Lines) {
        // A waiter that is gone wants nothing written: its effect does not happen.
        let writes: Vec<_> = writes.into_iter().filter(|write| !write.is_forsaken()).collect();
        self.lines_waiting.fetch_sub(lines.len(), Ordering::Relaxed);
        if writes.is_empty() && lines.is_empty() {
            return;
        }
        // What was said before is written before.
        if let Err(error) = self.deliver().await {
            return self.failed(writes, lines, &error);
        }
        let alone = writes.len() + usize::from(!lines.is_empty()) == 1;
        let Some((writes, lines)) = self.commit(writes, lines, alone).await else { return };
        if !lines.is_empty() {
            self.commit(Vec::new(), lines, true).await;
        }
        for write in writes {
            self.commit(vec![write], Vec::new(), true).await;
        }
    }

    /// Commit and answer. Gives back what has to be written each by itself.
    async fn commit(
        &mut self,
        mut writes: Vec<Box<dyn Write>>,
        lines: Lines,
        alone: bool,
    ) -> Option<(Vec<Box<dyn Write>>, Lines)> {
        let mut tries = 0;
        loop {
            let failure = match self.attempt(&mut writes, &lines).await {
                Ok(()) => {
                    writes.into_iter().for_each(|write| write.answer());
                    return None;
                }
                Err(failure) => failure,
            };
            tries += 1;
            let error = match failure {
                Failure::Again(_) if tries < AGAIN => {
                    // Spread a little, so that the same two do not meet again.
                    tokio::time::sleep(Duration::from_millis(u64::from(tries) * 3)).await;
                    continue;
                }
                Failure::OfOne(_) | Failure::Again(_) if !alone => return Some((writes, lines)),
                Failure::OfOne(error) | Failure::Again(error) | Failure::OfAll(error) => error,
            };
            self.failed(writes, lines, &error);
            return None;
        }
    }

    /// One transaction, on a new connection where the old one turns out to be gone before anything was done.
    async fn attempt(&mut self, writes: &mut [Box<dyn Write>], lines: &Lines) -> Result<(), Failure> {
        let patience = writes.iter().map(|write| write.patience()).max().unwrap_or_default().max(PATIENCE);
        let mut renewed = false;
        loop {
            let (mut session, fresh) = self.connector.session(&self.shared).await.map_err(Failure::OfAll)?;
            let mut committing = false;
            let transaction = transaction(&mut session, writes, lines, &self.lost_lines, &mut committing);
            let done = if self.shared.has_server {
                timeout(patience, transaction).await.unwrap_or_else(|_| {
                    Err(Failure::OfAll(StoreError::Unavailable {
                        place: self.shared.place.to_string(),
                        reason: format!("it did not answer within {} s", patience.as_secs()),
                    }))
                })
            } else {
                transaction.await
            };
            let hints = std::mem::take(&mut session.hints);
            match done {
                Ok(()) => {
                    self.lost_lines.clear();
                    hints.into_iter().for_each(|hint| (self.hinted)(hint));
                    return Ok(());
                }
                Err(Failure::OfAll(error)) => {
                    let broken = matches!(error, StoreError::Unavailable { .. });
                    if broken {
                        self.connector.drop_connection();
                    }
                    // What breaks off before the commit is not on record.
                    if broken && !committing && !fresh && !renewed && self.connector.can_reconnect() {
                        renewed = true;
                        continue;
                    }
                    return Err(Failure::OfAll(error));
                }
                Err(other) => return Err(other),
            }
        }
    }

    /// Nothing of it is on disk.
    fn failed(&mut self, writes: Vec<Box<dyn Write>>, lines: Lines, error: &StoreError) {
        if error.is_of_the_place() {
            tracing::error!(%error, "nothing can be recorded");
        }
        let may_pass = error.is_passing();
        let mut late: Vec<_> =
            lines.into_iter().map(|(run, line)| Late::Line { run: run.as_ref().to_owned(), line: *line }).collect();
        if may_pass {
            late = self.spool.keep(late);
        }
        for refused in late {
            if let Late::Line { run, .. } = refused {
                *self.lost_lines.entry(run.into()).or_default() += 1;
            }
        }
        for write in writes {
            let kept = may_pass && write.late().is_some_and(|late| self.spool.keep(vec![late]).is_empty());
            if kept { write.put_off() } else { write.fail(error) }
        }
    }

    /// Write what waits, as far as there is a place for it.
    async fn deliver(&mut self) -> Result<(), StoreError> {
        let mut delivered = 0;
        while !self.spool.is_empty() {
            let records = self.spool.first(DELIVERED);
            let count = records.len();
            match self.deliver_some(records.clone()).await {
                Ok(()) => {}
                Err(error) if error.is_passing() || error.is_of_the_place() => return Err(error),
                Err(_) => {
                    // One of them cannot be written; the others can.
                    for record in records {
                        match self.deliver_some(vec![record]).await {
                            Ok(()) => {}
                            Err(error) if error.is_passing() || error.is_of_the_place() => return Err(error),
                            Err(error) => tracing::error!(%error, "a record that came late could not be written"),
                        }
                    }
                }
            }
            self.spool.delivered(count);
            delivered += count;
        }
        if delivered > 0 {
            tracing::info!(records = delivered, "the store is back, and has what was kept for it");
        }
        Ok(())
    }

    async fn deliver_some(&mut self, records: Vec<Late>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let write: Box<dyn Write> = Box::new(Waiting { op: late::Deliver { records }, answer: None, reply: None });
        let mut writes = [write];
        let mut tries = 0;
        loop {
            match self.attempt(&mut writes, &Vec::new()).await {
                Ok(()) => return Ok(()),
                Err(Failure::Again(_)) if tries < AGAIN => tries += 1,
                Err(Failure::Again(error) | Failure::OfOne(error) | Failure::OfAll(error)) => return Err(error),
            }
        }
    }
}

/// All writes in one transaction, each with its own answer.
async fn transaction(
    session: &mut Session<'_>,
    writes: &mut [Box<dyn Write>],
    lines: &Lines,
    lost_lines: &HashMap<Arc<str>, u64>,
    committing: &mut bool,
) -> Result<(), Failure> {
    if let Some((first, others)) = writes.split_first_mut()
        && session.engine() == Engine::Postgres
        && lines.is_empty()
        && lost_lines.is_empty()
    {
        let once = first.are_one_statement(others);
        if once || others.is_empty() && first.is_one_statement() {
            // One round trip.
            *committing = once;
            first.apply(others.iter_mut().collect(), session).await;
            return check(session, first.error());
        }
    }
    session.begin().await.map_err(Failure::OfAll)?;
    let done = apply(session, writes, lines, lost_lines).await;
    if let Err(failure) = done {
        session.hints.clear();
        // Where even this fails, the connection is gone, and the transaction with it.
        if session.end("rollback").await.is_err() {
            return Err(match failure {
                Failure::OfAll(error) | Failure::OfOne(error) | Failure::Again(error) => Failure::OfAll(error),
            });
        }
        return Err(failure);
    }
    *committing = true;
    session.end("commit").await.map_err(|error| match session.failed.take() {
        Some((error, true)) => Failure::Again(error),
        _ => Failure::OfAll(error),
    })
}

async fn apply(
    session: &mut Session<'_>,
    writes: &mut [Box<dyn Write>],
    lines: &Lines,
    lost_lines: &HashMap<Arc<str>, u64>,
) -> Result<(), Failure> {
    // One by itself locks no second team. (SQLite has one writer.)
    if session.engine() == Engine::Postgres && writes.len() > 1 {
        let teams: BTreeSet<String> = writes.iter().filter_map(|write| write.team()).map(str::to_owned).collect();
        for name in &teams {
            let locked = team::lock(session, name).await;
            check(session, locked.err())?;
        }
    }
    // Lines are written first: whoever waits for a flush waits for those that came before.
    if !lines.is_empty() {
        let written = logs::lines(session, lines).await;
        check(session, written.err())?;
    }
    // What is of one kind is written together.
    let mut writes: Vec<&mut Box<dyn Write>> = writes.iter_mut().collect();
    writes.sort_by_key(|write| write.order());
    for kind in writes.chunk_by_mut(|a, b| a.order() == b.order()) {
        let Some((first, others)) = kind.split_first_mut() else { continue };
        first.apply(others.iter_mut().map(|other| &mut **other).collect(), session).await;
        check(session, first.error())?;
    }
    for (run, lines) in lost_lines {
        let written = logs::dropped(session, run, *lines).await;
        check(session, written.err())?;
    }
    Ok(())
}

/// An answer that is an error is an answer, unless a statement failed: then nothing of the transaction stands.
fn check(session: &mut Session<'_>, answer: Option<StoreError>) -> Result<(), Failure> {
    let Some((error, again)) = session.failed.take() else { return Ok(()) };
    if again {
        return Err(Failure::Again(error));
    }
    // What it says of one statement (a lock that was waited for too long) need not concern the others.
    if error.is_of_the_place() && !matches!(error, StoreError::Database(_) | StoreError::Busy { .. }) {
        return Err(Failure::OfAll(error));
    }
    Err(Failure::OfOne(answer.unwrap_or(error)))
}
