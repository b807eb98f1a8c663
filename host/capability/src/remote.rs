//! Programs and servers in a cluster, for capabilities other than `kubernetes`: what they need of it, which that capability provides.
//!
//! Where a program runs and which way leads to a server is the operator's to say, in the binding of the program or server itself; the
//! guest neither chooses nor sees it. So these calls take the token of the tool or sql slot, and reach only the cluster that its binding names.

use crate::{ChildEnded, Process, RunContext};
use futures::future::BoxFuture;
use rota_authority::{Authorized, Sql, Tool};
use rota_contract::Error;
use rota_telemetry::Secret;
use std::sync::Arc;

/// A program to be started in a cluster.
pub struct RemoteProgram {
    /// Its path there.
    pub path: String,
    /// Its arguments, checked.
    pub arguments: Vec<String>,
    /// What leads it to its server. Only what is in the place's own hands may hold a secret: a pod gets it through the connection, and a
    /// Job does not get one at all.
    pub environment: Vec<(&'static str, String)>,
    /// The password, where there is one.
    pub password: Option<Secret>,
    /// The most CPU time, seconds.
    pub cpu_seconds: u64,
    /// The most address space, bytes.
    pub memory: u64,
}

/// Puts on record how a program ended, and hands it on.
pub type Conclude = Box<dyn FnOnce(Result<ChildEnded, Error>) -> BoxFuture<'static, Result<ChildEnded, Error>> + Send>;

/// The way into clusters.
pub trait Remote: Send + Sync + 'static {
    /// Start a program in the place of its binding. How it ends is concluded, also when it could not be started. It is ended when the run
    /// is told to stop, and when what is answered is dropped.
    fn start(
        &self,
        run: Arc<RunContext>,
        tool: Authorized<Tool>,
        program: RemoteProgram,
        conclude: Conclude,
    ) -> BoxFuture<'static, Result<Box<dyn Process>, Error>>;

    /// Whether the binding's account may do there what the place of a tool needs; what was found, in words.
    fn look_at_place(&self, tool: Authorized<Tool>) -> BoxFuture<'static, Result<String, Error>>;

    /// A listener that leads to the server of a sql binding, through its cluster, for as long as it is held.
    fn forward(&self, sql: Authorized<Sql>, how: Local) -> BoxFuture<'static, Result<Forward, Error>>;
}

/// What a forward listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Local {
    /// The socket of PostgreSQL in a folder that only this user may enter.
    Socket,
    /// A port of the loopback interface, for programs whose libpq speaks no TLS on sockets.
    Loopback,
}

/// A listener that leads into a cluster. Dropped, it and its connections are closed.
pub struct Forward {
    /// The folder of the socket; none for a port.
    pub folder: Option<std::path::PathBuf>,
    /// The port; of a socket, the number in its name.
    pub port: u16,
    /// Why the last connection could not be led on, if so.
    pub trouble: Arc<std::sync::Mutex<Option<Error>>>,
    /// What keeps it.
    pub keep: Box<dyn std::any::Any + Send + Sync>,
}

/// The provided way, as a service.
#[derive(Clone)]
pub struct Remotes(pub Arc<dyn Remote>);
