//! Writing: takes what is to be written, commits what has gathered, and then answers.
//!
//! What somebody waits for is committed at once, with all that has gathered meanwhile, so that many waiters share one sync of the
//! disk. What nobody waits for (log lines) is gathered for a tenth of a second. SQLite has one lane (one connection, one task),
//! PostgreSQL a few; what concerns a run goes through the lane of its id, in order.

mod connection;
mod lane;
mod spool;

pub(crate) use connection::{Connector, connect};
pub(crate) use spool::Late;

use crate::rows::Hint;
use crate::session::{Session, Shared};
use crate::{NewLogLine, StoreError};
use futures::future::BoxFuture;
use lane::Lane;
use std::any::{Any, TypeId};
use std::future::Future;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// At most so many log lines wait; more are refused. A run's own limits let through far fewer.
const LINES_WAITING: usize = 100_000;

/// How long a transaction may take on a server, before the connection is taken for broken: shorter than a lease.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Something to write. Applied in a transaction, maybe more than once until one commits. One that answers an error has written nothing,
/// unless a statement failed, which ends the transaction.
pub(crate) trait Op: Send + Sync + Sized + 'static {
    /// What it answers.
    type Answer: Send + 'static;

    /// Of what is committed together, lower ones come first: whoever does not wait for one must find it done by the next.
    const ORDER: u8 = 1;

    /// Do it.
    fn apply(&self, session: &mut Session<'_>) -> impl Future<Output = Result<Self::Answer, StoreError>> + Send;

    /// Do several that are committed together; one answer for each. Worth writing where many happen at once.
    fn apply_all(
        ops: &[&Self],
        session: &mut Session<'_>,
    ) -> impl Future<Output = Vec<Result<Self::Answer, StoreError>>> + Send {
        async move {
            let mut answers = Vec::with_capacity(ops.len());
            for op in ops {
                answers.push(op.apply(session).await);
                if session.failed.is_some() {
                    break;
                }
            }
            answers
        }
    }

    /// How long it may take.
    fn patience(&self) -> Duration {
        PATIENCE
    }

    /// Whether it writes by one statement, which is a transaction of its own; done twice, it must do no harm.
    fn is_one_statement(&self) -> bool {
        false
    }

    /// Whether several (or one) write by one statement, which is then a transaction of its own. It is not said again where its answer is lost.
    fn are_one_statement(_: &[&Self]) -> bool {
        false
    }

    /// The team whose row it locks, if it does. Hosts share these rows: those of all that is committed together are locked first, in one order.
    fn team(&self) -> Option<&str> {
        None
    }

    /// What is delivered later where the place is away now, and what is answered for that; none where the answer is needed to go on.
    fn late(&self) -> Option<(Late, Self::Answer)> {
        None
    }
}

/// An operation and whoever waits for it.
trait Write: Any + Send {
    /// Apply it with others of its kind.
    fn apply<'a>(&'a mut self, others: Vec<&'a mut Box<dyn Write>>, session: &'a mut Session<'_>) -> BoxFuture<'a, ()>;
    /// What it answered, where that is an error.
    fn error(&self) -> Option<StoreError>;
    fn order(&self) -> (u8, TypeId);
    fn team(&self) -> Option<&str>;
    fn patience(&self) -> Duration;
    fn is_one_statement(&self) -> bool;
    /// Whether it and the others are all of a kind that writes by one statement.
    fn are_one_statement(&self, others: &[Box<dyn Write>]) -> bool;
    /// Whether whoever waited is gone.
    fn is_forsaken(&self) -> bool;
    fn is_awaited(&self) -> bool;
    /// It is committed: hand over the answer.
    fn answer(self: Box<Self>);
    /// What can be delivered later.
    fn late(&self) -> Option<Late>;
    /// It is going to be delivered later: answer as if it were committed.
    fn put_off(self: Box<Self>);
    /// It is not.
    fn fail(self: Box<Self>, error: &StoreError);
}

struct Waiting<O: Op> {
    op: O,
    answer: Option<Result<O::Answer, StoreError>>,
    reply: Option<oneshot::Sender<Result<O::Answer, StoreError>>>,
}

impl<O: Op> Write for Waiting<O> {
    fn apply<'a>(&'a mut self, others: Vec<&'a mut Box<dyn Write>>, session: &'a mut Session<'_>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut all = vec![self];
            // Those of another kind are not given; were they, they would get no answer.
            all.extend(others.into_iter().filter_map(|other| (other.as_mut() as &mut dyn Any).downcast_mut::<Self>()));
            let ops: Vec<&O> = all.iter().map(|waiting| &waiting.op).collect();
            let answers = O::apply_all(&ops, session).await;
            for (waiting, answer) in all.into_iter().zip(answers) {
                waiting.answer = Some(answer);
            }
        })
    }

    fn error(&self) -> Option<StoreError> {
        self.answer.as_ref().and_then(|answer| answer.as_ref().err().cloned())
    }

    fn order(&self) -> (u8, TypeId) {
        (O::ORDER, TypeId::of::<O>())
    }

    fn team(&self) -> Option<&str> {
        self.op.team()
    }

    fn patience(&self) -> Duration {
        self.op.patience()
    }

    fn is_one_statement(&self) -> bool {
        self.op.is_one_statement()
    }

    fn are_one_statement(&self, others: &[Box<dyn Write>]) -> bool {
        let mut ops = vec![&self.op];
        for other in others {
            let Some(other) = (other.as_ref() as &dyn Any).downcast_ref::<Self>() else { return false };
            ops.push(&other.op);
        }
        O::are_one_statement(&ops)
    }

    fn is_forsaken(&self) -> bool {
        self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    fn is_awaited(&self) -> bool {
        self.reply.is_some()
    }

    fn answer(self: Box<Self>) {
        match (self.reply, self.answer) {
            // Whoever waited may be gone.
            (Some(reply), Some(answer)) => drop(reply.send(answer)),
            (None, Some(Err(error))) => tracing::warn!(%error, "something could not be recorded"),
            _ => {}
        }
    }

    fn late(&self) -> Option<Late> {
        self.op.late().map(|(late, _)| late)
    }

    fn put_off(self: Box<Self>) {
        if let (Some(reply), Some((_, answer))) = (self.reply, self.op.late()) {
            drop(reply.send(Ok(answer)));
        }
    }

    fn fail(self: Box<Self>, error: &StoreError) {
        if let Some(reply) = self.reply {
            drop(reply.send(Err(error.clone())));
        } else {
            tracing::warn!(%error, "something could not be recorded");
        }
    }
}

enum Message {
    Write(Box<dyn Write>),
    Line(Arc<str>, Box<NewLogLine>),
    Close(oneshot::Sender<()>),
}

/// The way to the lanes.
#[derive(Clone)]
pub(crate) struct Writer {
    lanes: Arc<[mpsc::UnboundedSender<Message>]>,
    lines_waiting: Arc<AtomicUsize>,
    next: Arc<AtomicUsize>,
}

impl Writer {
    /// A lane for each connector. Hints go to `hinted` once they are committed.
    pub(crate) fn spawn(
        connectors: Vec<Connector>,
        shared: &Shared,
        hinted: impl Fn(Hint) + Send + Sync + Clone + 'static,
    ) -> Self {
        let lines_waiting = Arc::new(AtomicUsize::new(0));
        let lanes = connectors
            .into_iter()
            .map(|connector| {
                // Without a bound: every waiter has one write in it, and the log lines are counted.
                let (sender, receiver) = mpsc::unbounded_channel();
                let lane =
                    Lane::new(receiver, connector, shared.clone(), lines_waiting.clone(), Box::new(hinted.clone()));
                tokio::spawn(lane.run());
                sender
            })
            .collect();
        Self { lanes, lines_waiting, next: Arc::default() }
    }

    /// The lanes of all but claims: where there are several, the first is for claims alone. Claims of one process do not compete for the
    /// same rows then, and those that wait become one choice.
    fn ordinary(&self) -> &[mpsc::UnboundedSender<Message>] {
        self.lanes.get(usize::from(self.lanes.len() > 1)..).unwrap_or_default()
    }

    fn lane_of(&self, run: &str) -> Option<&mpsc::UnboundedSender<Message>> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(run);
        let lanes = self.ordinary();
        // Below the number of lanes, which fits.
        #[expect(clippy::cast_possible_truncation, reason = "a remainder")]
        lanes.get((hash % lanes.len().max(1) as u64) as usize)
    }

    /// Write a claim, and wait for the disk.
    pub(crate) async fn ask_for<O: Op>(&self, op: O) -> Result<O::Answer, StoreError> {
        Self::send(self.lanes.first(), op).await
    }

    /// Write what concerns a run, and wait for the disk.
    pub(crate) async fn ask_of<O: Op>(&self, run: &str, op: O) -> Result<O::Answer, StoreError> {
        Self::send(self.lane_of(run), op).await
    }

    /// Write what concerns no run in particular, and wait for the disk.
    pub(crate) async fn ask<O: Op>(&self, op: O) -> Result<O::Answer, StoreError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let lanes = self.ordinary();
        Self::send(lanes.get(turn % lanes.len().max(1)), op).await
    }

    async fn send<O: Op>(lane: Option<&mpsc::UnboundedSender<Message>>, op: O) -> Result<O::Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        let write = Box::new(Waiting { op, answer: None, reply: Some(reply) });
        let lane = lane.ok_or(StoreError::Closed)?;
        lane.send(Message::Write(write)).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Write what concerns a run, soon.
    pub(crate) fn tell_of<O: Op>(&self, run: &str, op: O) {
        let write = Box::new(Waiting { op, answer: None, reply: None });
        if self.lane_of(run).is_none_or(|lane| lane.send(Message::Write(write)).is_err()) {
            tracing::warn!("something was to be recorded after the records were closed");
        }
    }

    /// Write a line soon; false when too many wait, or the writer is gone.
    pub(crate) fn log(&self, run: &str, line: NewLogLine) -> bool {
        if self.lines_waiting.fetch_add(1, Ordering::Relaxed) >= LINES_WAITING {
            self.lines_waiting.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.lane_of(run).is_some_and(|lane| lane.send(Message::Line(run.into(), Box::new(line))).is_ok())
    }

    /// Everything that was handed over is durable.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        let all = self.lanes.iter().map(|lane| Self::send(Some(lane), Nothing));
        futures::future::try_join_all(all).await.map(drop)
    }

    /// Write what waits, and end.
    pub(crate) async fn close(&self) {
        for lane in self.lanes.iter() {
            let (reply, closed) = oneshot::channel();
            if lane.send(Message::Close(reply)).is_ok() {
                // A task that is gone has nothing left to write.
                let _ = closed.await;
            }
        }
    }
}

/// To wait for what was written before.
struct Nothing;

impl Op for Nothing {
    type Answer = ();

    async fn apply(&self, _: &mut Session<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}
