//! Who has a connection: its session (idle), a call, a stream of rows, a transaction, or nobody any more.
//!
//! A connection is taken out of its cell for each piece of work, as a [`Lease`]. A lease that is dropped before its work
//! ended (the run was cancelled or timed out, the guest dropped the call) has the statement cancelled on the server. So
//! no path leads from a dropped future to a connection in the middle of something.

use crate::cancel;
use crate::connection::{Block, Connection};
use crate::pool::Sessions;
use rota_contract::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What a connection is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A call that ends by itself: the next one waits for it.
    Call,
    /// Rows or bytes that the guest reads: the next call is refused, as it might wait for itself.
    Stream,
    /// A transaction, until it ends.
    Transaction,
}

enum State {
    Idle(Box<Connection>),
    Busy(Work),
    /// The connection is gone; why.
    Lost(Error),
    /// The owner let go of the cell.
    Closed,
}

/// Where a connection goes when the owner of its cell lets go.
pub(crate) enum Home {
    /// The pool, reset.
    Pool,
    /// The session that the transaction was begun on, rolled back.
    Session(Arc<Cell>),
}

/// The place of one connection.
pub(crate) struct Cell {
    state: Mutex<State>,
    changed: Notify,
    home: Home,
    pub(crate) sessions: Sessions,
}

/// What [`Cell::take`] found.
pub(crate) enum Taken {
    Lease(Lease),
    /// The connection is gone; the cell is the caller's to fill.
    Vacant(Lease, Error),
}

impl Cell {
    pub(crate) fn new(connection: Box<Connection>, home: Home, sessions: Sessions) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Idle(connection)), changed: Notify::new(), home, sessions })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Take the connection, once the calls before have ended.
    pub(crate) async fn take(self: &Arc<Self>, work: Work) -> Result<Taken, Error> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Enlisted before the look, so that no change is missed.
            changed.as_mut().enable();
            if let Some(result) = self.try_take(work) {
                return result;
            }
            changed.await;
        }
    }

    fn try_take(self: &Arc<Self>, work: Work) -> Option<Result<Taken, Error>> {
        let mut state = self.lock();
        let busy = |what: &str| Some(Err(Error::Conflict(format!("the session is busy: {what}"))));
        match &*state {
            State::Busy(Work::Call) => return None,
            State::Busy(Work::Stream) => {
                return busy("an answer on it is still being read; read or drop it first, or open a second session");
            }
            State::Busy(Work::Transaction) => {
                return busy("a transaction is open on it; use that one, or end it first");
            }
            State::Closed => return Some(Err(Error::InvalidArgument("the transaction has ended".into()))),
            State::Idle(_) | State::Lost(_) => {}
        }
        let lease = |connection: Option<Box<Connection>>| Lease {
            vacant: connection.is_none(),
            connection,
            cell: self.clone(),
            drainable: true,
        };
        Some(Ok(match std::mem::replace(&mut *state, State::Busy(work)) {
            State::Idle(connection) => Taken::Lease(lease(Some(connection))),
            State::Lost(error) => Taken::Vacant(lease(None), error),
            // Neither is reachable: they returned above.
            State::Busy(_) | State::Closed => return Some(Err(Error::Cancelled)),
        }))
    }

    fn set(&self, next: State) {
        *self.lock() = next;
        self.changed.notify_waiters();
    }

    /// The work has ended: the connection waits for the next, or goes home where the owner has gone.
    pub(crate) fn put(self: &Arc<Self>, connection: Box<Connection>) {
        let mut state = self.lock();
        if matches!(*state, State::Closed) {
            drop(state);
            self.send_home(connection);
        } else {
            *state = State::Idle(connection);
            drop(state);
            self.changed.notify_waiters();
        }
    }

    /// The connection will not come back.
    pub(crate) fn lose(&self, why: Error) {
        let closed = matches!(*self.lock(), State::Closed);
        if !closed {
            self.set(State::Lost(why.clone()));
        }
        // A transaction's connection is missed at home too.
        if let Home::Session(cell) = &self.home {
            cell.lose(why);
        }
    }

    /// Nobody reads the answer any more: the next call waits until it is out of the way, instead of being refused.
    pub(crate) fn unread(&self) {
        let mut state = self.lock();
        if matches!(*state, State::Busy(Work::Stream)) {
            *state = State::Busy(Work::Call);
            drop(state);
            self.changed.notify_waiters();
        }
    }

    /// The owner lets go: the connection goes home now, or when the work on it has ended.
    pub(crate) fn close(self: &Arc<Self>) {
        let before = std::mem::replace(&mut *self.lock(), State::Closed);
        self.changed.notify_waiters();
        match before {
            State::Idle(connection) => self.send_home(connection),
            State::Busy(Work::Call) => self.home_soon(),
            _ => {}
        }
    }

    /// The connection is on its way home: there, calls wait for it from now on.
    fn home_soon(&self) {
        if let Home::Session(cell) = &self.home {
            let mut state = cell.lock();
            if matches!(*state, State::Busy(Work::Transaction)) {
                *state = State::Busy(Work::Call);
                drop(state);
                cell.changed.notify_waiters();
            }
        }
    }

    /// Whether the owner has let go.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.lock(), State::Closed)
    }

    fn send_home(&self, mut connection: Box<Connection>) {
        self.home_soon();
        match &self.home {
            Home::Pool => self.sessions.give_back(connection),
            Home::Session(cell) if connection.block == Block::None => cell.put(connection),
            Home::Session(cell) => {
                let cell = cell.clone();
                self.sessions.spawn(async move {
                    match connection.roll_back().await {
                        Ok(()) => cell.put(connection),
                        Err(error) => cell.lose(crate::error::of_statement(&connection.target.binding, &error)),
                    }
                });
            }
        }
    }
}

/// A connection at work. Dropped before [`Lease::settle`], its statement is cancelled on the server.
pub(crate) struct Lease {
    connection: Option<Box<Connection>>,
    cell: Arc<Cell>,
    /// Taken from a cell that had no connection, and not filled yet.
    vacant: bool,
    /// Whether the connection can be used again after a cancel (the rest of a COPY cannot be told from an answer).
    drainable: bool,
}

impl Lease {
    /// Fill a vacant one.
    pub(crate) fn fill(&mut self, connection: Box<Connection>) {
        self.connection = Some(connection);
        self.vacant = false;
    }

    /// A cancel from here on leaves the connection unusable.
    pub(crate) fn undrainable(&mut self) {
        self.drainable = false;
    }

    /// The connection.
    ///
    /// # Errors
    /// When the lease was never filled, which its maker does first.
    pub(crate) fn connection(&mut self) -> Result<&mut Connection, Error> {
        self.connection.as_deref_mut().ok_or(Error::Cancelled)
    }

    /// The work has ended in order.
    pub(crate) fn finish(mut self) {
        if let Some(connection) = self.connection.take() {
            self.cell.put(connection);
        }
    }

    /// The work has ended, and the connection with it.
    pub(crate) fn lose(mut self, why: Error) {
        self.connection = None;
        self.vacant = false;
        self.cell.lose(why);
    }

    /// The work has ended in one way or the other: keep the connection where the error leaves it in order. Gives the
    /// error as the guest sees it.
    pub(crate) fn settle<T>(self, result: Result<T, sqlx::Error>) -> Result<T, Error> {
        match result {
            Ok(value) => {
                self.finish();
                Ok(value)
            }
            Err(error) => {
                let binding = self.connection.as_ref().map_or("?", |c| c.target.binding.as_str());
                let seen = crate::error::of_statement(binding, &error);
                if crate::error::survives(&error) {
                    self.finish()
                } else {
                    self.lose(seen.clone())
                }
                Err(seen)
            }
        }
    }

    /// The work was the last of its owner's: the connection goes home now.
    pub(crate) fn end(mut self) {
        if let Some(connection) = self.connection.take() {
            self.cell.set(State::Closed);
            self.cell.send_home(connection);
        }
    }

    /// Take the connection out, to answer for it elsewhere: the cell stays busy until then.
    pub(crate) fn into_parts(mut self) -> (Option<Box<Connection>>, Arc<Cell>) {
        (self.connection.take(), self.cell.clone())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.connection.take() {
            Some(connection) => {
                self.cell.unread();
                cancel::interrupted(connection, self.cell.clone(), self.drainable);
            }
            // The next call may try again.
            None if self.vacant => self.cell.lose(Error::Cancelled),
            None => {}
        }
    }
}
