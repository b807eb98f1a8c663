//! The slots of a procedure, one type a capability.

use crate::bindings::rota::runbook::run::SlotInfo;
use crate::bytes::ByteStream;
use crate::cache::Cache;
use crate::cluster::Cluster;
use crate::host;
use crate::jetstream::JetStream;
use crate::sql::Session;
use crate::storage::Bucket;
use crate::tools::{Child, Connection, ToolInfo};
use crate::{Error, Result};

/// What the run says of a slot; none for a name that was not declared.
fn slot(name: &str) -> Option<SlotInfo> {
    host::run::slots().into_iter().find(|slot| slot.name == name)
}

macro_rules! slot {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name(&'static str);

        impl $name {
            /// For [`procedure!`](crate::procedure).
            #[doc(hidden)]
            pub fn declared(name: &'static str) -> Self {
                Self(name)
            }

            /// For [`procedure!`](crate::procedure): none when the job leaves the slot unbound.
            #[doc(hidden)]
            pub fn if_bound(name: &'static str) -> Option<Self> {
                slot(name)?.binding.map(|_| Self(name))
            }

            /// The slot's name.
            pub fn name(&self) -> &'static str {
                self.0
            }

            /// The name of the binding in it. Never an address.
            pub fn binding(&self) -> Option<String> {
                slot(self.0)?.binding
            }

            /// Whether the job grants an access (`write`, `maintain` ...) on it.
            pub fn grants(&self, access: &str) -> bool {
                slot(self.0).is_some_and(|slot| slot.accesses.iter().any(|granted| granted == access))
            }
        }
    };
}

slot!(
    /// A slot for a PostgreSQL database.
    SqlSlot
);
slot!(
    /// A slot for a bucket.
    StorageSlot
);
slot!(
    /// A slot for a declared program.
    ToolSlot
);
slot!(
    /// A slot for an age identity that decrypts.
    KeySlot
);
slot!(
    /// A slot for a cache.
    CacheSlot
);

impl CacheSlot {
    /// Connect.
    ///
    /// # Errors
    /// `denied` when nothing is granted on the slot, `unavailable` when no server can be reached.
    pub async fn open(&self) -> Result<Cache> {
        match host::cache::Session::open(self.0.to_owned()).await {
            Ok(session) => Ok(Cache::new(session)),
            Err(error) => Err(Error::from(error).context(format!("connecting to the cache in slot `{}`", self.0))),
        }
    }
}

slot!(
    /// A slot for a Kubernetes cluster.
    ClusterSlot
);

impl ClusterSlot {
    /// Open the cluster.
    ///
    /// # Errors
    /// `denied` when nothing is granted on the slot, `unavailable` when it cannot be reached, `failed` when its account may not do what the
    /// binding lets through.
    pub async fn open(&self) -> Result<Cluster> {
        match host::kubernetes::Cluster::open(self.0.to_owned()).await {
            Ok(cluster) => Ok(Cluster::new(cluster)),
            Err(error) => Err(Error::from(error).context(format!("opening the cluster in slot `{}`", self.0))),
        }
    }
}

slot!(
    /// A slot for NATS JetStream.
    JetstreamSlot
);

impl JetstreamSlot {
    /// Connect.
    ///
    /// # Errors
    /// `denied` when nothing is granted on the slot, `unavailable` when no server can be reached.
    pub async fn open(&self) -> Result<JetStream> {
        match host::jetstream::Session::open(self.0.to_owned()).await {
            Ok(session) => Ok(JetStream::new(session)),
            Err(error) => Err(Error::from(error).context(format!("connecting to JetStream in slot `{}`", self.0))),
        }
    }
}

impl SqlSlot {
    /// Connect, under the binding's role.
    ///
    /// # Errors
    /// `denied` when nothing is granted on the slot, `unavailable` when the server cannot be reached, `failed` with the
    /// server's SQLSTATE when it refuses.
    pub async fn open(&self) -> Result<Session> {
        match host::sql::Session::open(self.0.to_owned()).await {
            Ok(session) => Ok(Session::new(session)),
            Err(error) => Err(Error::from(error).context(format!("connecting to the database in slot `{}`", self.0))),
        }
    }

    /// Connect to another database on the same server (a scratch database, for example), under the same role and grants.
    ///
    /// # Errors
    /// As for [`SqlSlot::open`]; `failed` with 3D000 when there is no such database.
    pub async fn open_database(&self, database: impl Into<String>) -> Result<Session> {
        let database = database.into();
        let doing = format!("connecting to the database {database:?} on the server in slot `{}`", self.0);
        match host::sql::Session::open_database(self.0.to_owned(), database).await {
            Ok(session) => Ok(Session::new(session)),
            Err(error) => Err(Error::from(error).context(doing)),
        }
    }

    /// Where a program should connect: this slot's database.
    pub fn connection(&self) -> Connection {
        Connection { slot: self.0.to_owned(), database: None }
    }

    /// Where a program should connect: another database on the same server.
    pub fn connection_to(&self, database: impl Into<String>) -> Connection {
        Connection { slot: self.0.to_owned(), database: Some(database.into()) }
    }
}

impl StorageSlot {
    /// Open the bucket.
    ///
    /// # Errors
    /// `denied` when nothing is granted on the slot, `unavailable` when the store cannot be reached.
    pub async fn open(&self) -> Result<Bucket> {
        match host::storage::Bucket::open(self.0.to_owned()).await {
            Ok(bucket) => Ok(Bucket::new(bucket)),
            Err(error) => Err(Error::from(error).context(format!("opening the bucket in slot `{}`", self.0))),
        }
    }
}

impl ToolSlot {
    /// The program's version, as it says itself.
    ///
    /// # Errors
    /// `denied` without `run` on the slot; `failed` when it cannot be started.
    pub async fn info(&self) -> Result<ToolInfo> {
        match host::tools::info(self.0.to_owned()).await {
            Ok(info) => Ok(info),
            Err(error) => Err(Error::from(error).context(format!("asking `{}` for its version", self.0))),
        }
    }

    /// Start the program. In a plan it is not started unless its profile says that these arguments only read: then its
    /// output is empty and it ends as `planned`.
    ///
    /// # Errors
    /// `denied` without `run` on the slot, `invalid-argument` when the profile refuses an argument.
    pub async fn spawn(
        &self,
        arguments: &[&str],
        connection: Option<Connection>,
        stdin: Option<ByteStream>,
    ) -> Result<Child> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let stdin = stdin.map(ByteStream::into_raw);
        match host::tools::spawn(self.0.to_owned(), arguments, connection, stdin).await {
            Ok(child) => Ok(Child::new(child, self.0)),
            Err(error) => Err(Error::from(error).context(format!("starting `{}`", self.0))),
        }
    }
}
