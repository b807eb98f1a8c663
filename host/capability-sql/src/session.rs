//! One connection in the hands of one run.

use crate::cell::{Cell, Home, Lease, Taken, Work};
use crate::connection::Connection;
use crate::pool::{Place, Sessions};
use crate::target::Target;
use crate::wit::Notice;
use rota_authority::{Authorized, Permit, Sql};
use rota_contract::Error;
use rota_telemetry::{NoticeReceiver, NoticeSender, capture_notices, notice_channel};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many notices a session keeps.
const NOTICES: usize = 1_000;

/// A session. When the last clone is dropped (the guest's handle, the calls under way), its connection goes back to the
/// pool once the work on it has ended.
#[derive(Clone)]
pub struct Session(pub(crate) Arc<Shared>, #[expect(dead_code, reason = "held for its drop")] Arc<Owner>);

/// Closes a cell when nobody is left who could use it.
pub(crate) struct Owner(pub(crate) Arc<Cell>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What the session shares with the calls, streams and transactions on it.
pub(crate) struct Shared {
    pub(crate) cell: Arc<Cell>,
    /// The token with which it was opened: its slot and gate.
    pub(crate) authorized: Authorized<Sql>,
    pub(crate) target: Arc<Target>,
    pid: AtomicI32,
    /// What the guest has configured, in order, for a connection that takes the place of a lost one.
    configured: Mutex<Vec<(String, String)>>,
    /// Something was done on the connection that another one would not have.
    stateful: AtomicBool,
    notices: Notices,
    _place: Place,
}

struct Notices {
    sender: NoticeSender,
    receiver: Mutex<NoticeReceiver>,
    kept: Mutex<VecDeque<Notice>>,
}

impl Session {
    pub(crate) fn new(
        connection: Box<Connection>,
        authorized: Authorized<Sql>,
        target: Arc<Target>,
        sessions: Sessions,
        place: Place,
    ) -> Self {
        let pid = AtomicI32::new(connection.identity.pid);
        // Room for a burst; what is kept is cut to the newest.
        let (sender, receiver) = notice_channel(NOTICES * 4);
        let cell = Cell::new(connection, Home::Pool, sessions);
        let owner = Arc::new(Owner(cell.clone()));
        let shared = Arc::new(Shared {
            cell,
            authorized,
            target,
            pid,
            configured: Mutex::default(),
            stateful: AtomicBool::new(false),
            notices: Notices { sender, receiver: Mutex::new(receiver), kept: Mutex::default() },
            _place: place,
        });
        Self(shared, owner)
    }

    /// The slot that it was opened on.
    pub fn slot(&self) -> &str {
        self.0.authorized.slot()
    }

    /// The database, where it is another one than the binding's.
    pub fn other_database(&self) -> Option<&str> {
        self.0.target.other_database.as_deref()
    }

    /// The process id of its backend.
    pub fn backend_pid(&self) -> u32 {
        self.0.pid.load(Ordering::Relaxed).unsigned_abs()
    }

    /// What the server said since the last call, oldest first, at most the newest 1,000.
    pub fn notices(&self) -> Vec<Notice> {
        self.0.collect_notices();
        lock(&self.0.notices.kept).drain(..).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Take the connection for a piece of work. One that was lost is replaced, unless the guest could miss what it held.
    pub(crate) async fn take(&self, work: Work) -> Result<Lease, Error> {
        match self.cell.take(work).await? {
            Taken::Lease(lease) => Ok(lease),
            Taken::Vacant(lease, why) if self.stateful.load(Ordering::Relaxed) => {
                lease.lose(why.clone());
                Err(why)
            }
            Taken::Vacant(mut lease, _) => match self.replacement().await {
                Ok(connection) => {
                    lease.fill(connection);
                    Ok(lease)
                }
                Err(error) => {
                    lease.lose(error.clone());
                    Err(error)
                }
            },
        }
    }

    async fn replacement(&self) -> Result<Box<Connection>, Error> {
        let mut connection = self.cell.sessions.connection(&self.target).await?;
        let configured = lock(&self.configured).clone();
        for (name, value) in configured {
            crate::settings::set(&mut connection, &name, &value)
                .await
                .map_err(|e| crate::error::of_statement(&self.target.binding, &e))?;
        }
        self.pid.store(connection.identity.pid, Ordering::Relaxed);
        Ok(connection)
    }

    /// Work whose effects may live on in the session has begun.
    pub(crate) fn mark_stateful(&self) {
        self.stateful.store(true, Ordering::Relaxed);
    }

    pub(crate) fn remember_setting(&self, name: &str, value: &str) {
        let mut configured = lock(&self.configured);
        configured.retain(|(known, _)| known != name);
        configured.push((name.to_owned(), value.to_owned()));
    }

    /// Run something on the connection; what the server says meanwhile becomes the session's notices.
    pub(crate) async fn listening<F: Future>(&self, work: F) -> F::Output {
        let output = capture_notices(&self.notices.sender, work).await;
        self.collect_notices();
        output
    }

    pub(crate) fn collect_notices(&self) {
        let mut receiver = lock(&self.notices.receiver);
        let mut kept = lock(&self.notices.kept);
        while let Some(notice) = receiver.try_recv() {
            if kept.len() == NOTICES {
                kept.pop_front();
            }
            kept.push_back(Notice { severity: notice.severity.as_str().to_owned(), message: notice.message });
        }
    }

    pub(crate) fn binding(&self) -> &str {
        &self.target.binding
    }

    /// A token serves only the slot that it was made for.
    pub(crate) fn check(&self, authorized: &Authorized<Sql>) -> Result<(), Error> {
        let same =
            authorized.slot() == self.authorized.slot() && Arc::ptr_eq(authorized.gate(), self.authorized.gate());
        if same {
            Ok(())
        } else {
            Err(Error::Denied("the call is authorised for another slot than the session's".into()))
        }
    }

    /// The same for a permit.
    pub(crate) fn check_permit(&self, permit: &Permit<Sql>) -> Result<(), Error> {
        self.check(permit.authorized())
    }
}
