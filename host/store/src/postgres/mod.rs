//! The PostgreSQL engine (14 to 18): the schema `rota` of a database that several hosts share.
//!
//! | part | how |
//! | --- | --- |
//! | durability | `synchronous_commit = on` for whatever is answered |
//! | writing | a few lanes, each with a connection that is made again when it breaks |
//! | reading | a few connections in read-only mode |
//! | time | the server's `clock_timestamp()` |
//! | hints | LISTEN and NOTIFY, sent after the commit, so that commits do not wait for each other (`hints.rs`) |
//! | a host that freezes | the server ends its open transaction, so that its locks do not outlast the leases |

mod hints;
mod open;

use crate::read::Readers;
use crate::records::{Kept, Records};
use crate::session::{Link, Session, Shared};
use crate::writer::{Connector, Writer, connect};
use crate::{BackupSummary, StoreError, SystemClock, backup};
use hints::Hinting;
use sqlx::postgres::PgPoolOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// The records of several machines.
pub type PostgresStore = Records<Postgres>;

/// What only this engine has.
pub struct Postgres {
    hinting: Hinting,
}

impl Kept for Postgres {
    fn is_of_one_machine(&self) -> bool {
        false
    }

    fn close(&self) {
        self.hinting.close();
    }
}

/// How a server is used.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Connections that write; with more than one, the first is for claims.
    pub writers: u32,
    /// Connections that read, at most.
    pub readers: u32,
    /// The folder of this machine where records wait while the server is away; without one, a few wait in memory.
    pub spool: Option<PathBuf>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { writers: 4, readers: 4, spool: None }
    }
}

/// How long a connection for reading is waited for.
const ACQUIRE: Duration = Duration::from_secs(5);

impl Records<Postgres> {
    /// Open the records in a database, by its URL; the schema is made or brought up to date.
    ///
    /// # Errors
    /// When the server is away ([`StoreError::Unavailable`]: try again), lets us not in, or the schema is a newer version's.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, PostgresOptions::default()).await
    }

    /// The same, with options.
    ///
    /// # Errors
    /// See [`PostgresStore::open`].
    pub async fn open_with(url: &str, options: PostgresOptions) -> Result<Self, StoreError> {
        let target = open::target(url)?;
        let mut shared = shared(&target);
        shared.spool = options.spool;
        let first = open::migrated(&target, &shared).await?;
        let (hints, _) = broadcast::channel(crate::sqlite::HINTS);
        let hinting = Hinting::start(&target, &shared, hints.clone());
        let mut connectors = vec![Connector::Postgres(Box::new(target.writing()), Some(first))];
        connectors
            .resize_with(options.writers.max(1) as usize, || Connector::Postgres(Box::new(target.writing()), None));
        let sender = hinting.sender();
        let writer = Writer::spawn(connectors, &shared, move |hint| sender.send(hint));
        let readers = PgPoolOptions::new()
            .max_connections(options.readers.max(1))
            .min_connections(0)
            .acquire_timeout(ACQUIRE)
            .idle_timeout(Duration::from_secs(300))
            .connect_lazy_with(target.reading());
        Ok(Self { engine: Postgres { hinting }, shared, writer, readers: Readers::Postgres(readers), hints })
    }

    /// Bring back a backup of either engine, into a database whose schema `rota` holds nothing.
    ///
    /// # Errors
    /// When the backup is not whole or of a newer version, or there are records already; nothing has changed then.
    pub async fn restore(url: &str, from: &Path) -> Result<BackupSummary, StoreError> {
        let target = open::target(url)?;
        let shared = shared(&target);
        drop(open::migrated(&target, &shared).await?);
        let mut connection = connect(&target.restoring(), &shared).await?;
        backup::read(&mut Session::new(Link::Postgres(&mut connection), &shared), from).await
    }
}

fn shared(target: &open::Target) -> Shared {
    Shared {
        place: target.place().into(),
        clock: Arc::new(SystemClock),
        refused: Arc::default(),
        has_server: true,
        spool: None,
        spooled: Arc::default(),
    }
}
