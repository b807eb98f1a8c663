//! All sessions of a host: the connections that wait for the next run, and the work that outlives its caller.

use crate::cancel;
use crate::connect::{connect, reset, set_up};
use crate::connection::Connection;
use crate::forward::Forwards;
use crate::session::Session;
use crate::target::Target;
use rota_authority::{Authorized, Sql};
use rota_capability::Remotes;
use rota_contract::Error;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

/// How many idle connections are kept for one binding.
const MOST_IDLE: usize = 4;
/// For how long.
const IDLE: Duration = Duration::from_secs(60);

/// The door to PostgreSQL: cheap to clone, one for the host.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Inner>);

#[derive(Default)]
struct Inner {
    idle: Mutex<HashMap<Key, Vec<Idle>>>,
    /// Sessions open, by run and binding.
    open: Mutex<HashMap<(String, String), usize>>,
    /// How many sessions a binding has room for, by its name and limit.
    places: Mutex<HashMap<(String, usize), Arc<Semaphore>>>,
    tasks: TaskTracker,
    /// Where the work goes when a store is dropped outside of the runtime.
    runtime: OnceLock<Handle>,
    forwards: Forwards,
}

/// A binding as it is configured now: another password or address is another pool.
pub(crate) type Key = (String, [u8; 32]);

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    /// Open a session: on a connection that waits, or a new one, set to what the run may do.
    ///
    /// # Errors
    /// `unavailable` or `failed` where the server cannot be reached or refuses, with what to do; `quota` where the run has as
    /// many sessions as its binding allows.
    pub async fn open(&self, authorized: &Authorized<Sql>) -> Result<Session, Error> {
        self.open_target(authorized, Target::of(authorized, None)?).await
    }

    /// The same, for another database on the server of the binding.
    ///
    /// # Errors
    /// As for [`Self::open`]; `invalid-argument` for a name that no database can have.
    pub async fn open_database(&self, authorized: &Authorized<Sql>, database: &str) -> Result<Session, Error> {
        self.open_target(authorized, Target::of(authorized, Some(database))?).await
    }

    /// Reach servers that are only reached through their cluster by this way.
    pub fn through(&self, remotes: Remotes) {
        self.0.forwards.through(remotes);
    }

    async fn open_target(&self, authorized: &Authorized<Sql>, mut target: Target) -> Result<Session, Error> {
        self.0.runtime.get_or_init(Handle::current);
        if authorized.binding().through.is_some() {
            // By the binding's own database: all databases of a server share the way.
            let key = Target::of(authorized, None)?.fingerprint;
            target.lead(self.0.forwards.of(authorized, key).await?);
        }
        let target = Arc::new(target);
        let place = self.reserve(authorized, &target).await?;
        let connection = self.connection(&target).await?;
        Ok(Session::new(connection, authorized.clone(), target, self.clone(), place))
    }

    /// A connection that is ready for the run of `target`.
    pub(crate) async fn connection(&self, target: &Arc<Target>) -> Result<Box<Connection>, Error> {
        while let Some(mut waiting) = self.take_idle(target) {
            // One that broke while it waited is no reason to fail.
            if set_up_in_time(&mut waiting, target).await.is_ok() {
                return Ok(waiting);
            }
        }
        let mut connection = Box::new(connect(target).await?);
        set_up_in_time(&mut connection, target).await.map_err(|error| target.refused(&error))?;
        Ok(connection)
    }

    fn take_idle(&self, target: &Target) -> Option<Box<Connection>> {
        let mut idle = lock(&self.0.idle);
        let waiting = idle.get_mut(&(target.binding.clone(), target.fingerprint))?;
        waiting.retain(|idle| idle.since.elapsed() < IDLE);
        waiting.pop().map(|idle| idle.connection)
    }

    /// Take back a connection whose session has ended: reset for the next one, or closed.
    pub(crate) fn give_back(&self, mut connection: Box<Connection>) {
        let sessions = self.clone();
        self.spawn(async move {
            // One to another database than the binding's own is closed: a procedure that goes there means to drop or rename it, which it
            // could not while a session waits in it.
            let usable = !connection.tainted
                && connection.target.other_database.is_none()
                && matches!(tokio::time::timeout(cancel::BOUND, reset(&mut connection)).await, Ok(Ok(true)));
            let key = (connection.target.binding.clone(), connection.target.fingerprint);
            if usable {
                let mut idle = lock(&sessions.0.idle);
                let waiting = idle.entry(key).or_default();
                if waiting.len() < MOST_IDLE {
                    waiting.push(Idle { connection, since: Instant::now() });
                    drop(idle);
                    sessions.expire_later();
                    return;
                }
            }
            close(connection).await;
        });
    }

    /// Close what has waited too long, even when nobody asks any more. Not waited for by [`Sessions::quiesce`].
    fn expire_later(&self) {
        let inner = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            tokio::time::sleep(IDLE + Duration::from_millis(10)).await;
            let Some(inner) = inner.upgrade() else { return };
            let mut expired = Vec::new();
            lock(&inner.idle).retain(|_, waiting| {
                let (old, young) = std::mem::take(waiting).into_iter().partition(|idle| idle.since.elapsed() >= IDLE);
                expired.extend::<Vec<Idle>>(old);
                *waiting = young;
                !waiting.is_empty()
            });
            for idle in expired {
                close(idle.connection).await;
            }
        });
    }

    /// Do something that outlives its caller; [`Sessions::quiesce`] waits for it.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        // There is no connection without an `open`, which knows the runtime.
        if let Some(runtime) = self.0.runtime.get() {
            self.0.tasks.spawn_on(work, runtime);
        }
    }

    /// Wait until every cancel, rollback and reset that is under way has ended, and close the connections that wait. Call it before
    /// the process exits, so that no statement goes on without its run.
    pub async fn quiesce(&self) {
        self.settled().await;
        let idle: Vec<Idle> = lock(&self.0.idle).drain().flat_map(|(_, waiting)| waiting).collect();
        for idle in idle {
            close(idle.connection).await;
        }
    }

    /// Wait until every cancel, rollback and reset that is under way has ended; connections go on waiting for a next session.
    pub async fn settled(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.tasks.reopen();
    }

    /// How many connections wait for a next session.
    pub fn idle(&self) -> usize {
        lock(&self.0.idle).values().map(Vec::len).sum()
    }

    /// Count a session in, as far as its binding allows. Other runs are waited for; a run that holds all of them by itself would
    /// wait for itself.
    async fn reserve(&self, authorized: &Authorized<Sql>, target: &Target) -> Result<Place, Error> {
        let limit = target.max_connections;
        let mine = (authorized.gate().identity().run.clone(), target.binding.clone());
        let place = self.count_in(mine, target)?;
        let places = {
            let mut places = lock(&self.0.places);
            places.entry((target.binding.clone(), limit)).or_insert_with(|| Arc::new(Semaphore::new(limit))).clone()
        };
        match tokio::time::timeout(target.connect_timeout, places.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place { _permit: permit, _count: place }),
            _ => Err(Error::Unavailable(format!(
                "other runs hold the {limit} sessions that binding `{}` allows at a time (max_connections of the binding); try later, or raise it",
                target.binding
            ))),
        }
    }

    fn count_in(&self, key: (String, String), target: &Target) -> Result<Count, Error> {
        let mut open = lock(&self.0.open);
        let count = open.entry(key.clone()).or_default();
        if *count >= target.max_connections {
            return Err(Error::Quota(format!(
                "the run holds the {} sessions that binding `{}` allows (max_connections of the binding); close one first",
                target.max_connections, target.binding
            )));
        }
        *count += 1;
        Ok(Count { sessions: self.clone(), key })
    }
}

/// A session's place among those of its binding. Free again when dropped.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    _count: Count,
}

/// A session's place among those of its run.
struct Count {
    sessions: Sessions,
    key: (String, String),
}

impl Drop for Count {
    fn drop(&mut self) {
        let mut open = lock(&self.sessions.0.open);
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

async fn set_up_in_time(connection: &mut Connection, target: &Arc<Target>) -> Result<(), sqlx::Error> {
    let late = || sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    tokio::time::timeout(target.connect_timeout, set_up(connection, target)).await.unwrap_or_else(|_| Err(late()))
}

/// Say goodbye, so that the server's log has no complaint.
async fn close(connection: Box<Connection>) {
    let _ = tokio::time::timeout(Duration::from_secs(1), sqlx::Connection::close(connection.pg)).await;
}
