//! What every capability stands on: the [`Capability`] trait, the state of one guest ([`Guest`]), byte streams that stay in the
//! host ([`streams`]), where calls are kept or answered ([`tape`]), and the errors and limits that all of them share.
//!
//! A capability crate has the same inside as any other: `lib.rs` (the door), `host.rs` (the WIT side: authorise, then call
//! the client), `client.rs` or `client/` (the target's side: every function takes an `Authorized` token or a `Permit`).

mod child;
mod dialogue;
mod durable;
mod guest;
mod items;
mod limits;
mod observer;
mod remote;
mod sending;
mod services;
pub mod streams;
pub mod tape;
mod tls;
mod written;

pub use child::{Child, ChildEnded, ChildStatus, Process, taken};
pub use dialogue::{Dialogue, Ends};
pub use durable::{Begun, Durable, DurableError, EffectSeen, SeenOutcome, Transient, TransientCompensation};
pub use guest::{
    CallGuard, Guest, RunContext, RunFacts, Trigger, Undoing, begin, deadline, denied, guest, refused, unless_stopped,
};
pub use items::Items;
pub use limits::{LimitExceeded, Limiter, Limits};
pub use observer::{LogLevel, MetricKind, Observer, Quiet};
pub use remote::{Conclude, Forward, Local, Remote, RemoteProgram, Remotes};
pub use services::Services;
pub use tls::TlsFiles;
pub use written::{Digest, Written};

use wasmtime::component::Linker;

/// A capability: a set of interfaces of `rota:runbook` and the code behind them.
///
/// Linked once into the one linker of a host; everything that belongs to a run is found through [`Guest`].
pub trait Capability: Send + Sync + 'static {
    /// Its name, as in descriptors: `sql`, `storage` ...
    fn name(&self) -> &'static str;

    /// The interfaces it provides, without package and version: `["tools", "process"]`.
    fn interfaces(&self) -> &'static [&'static str];

    /// Add the interfaces to the linker.
    ///
    /// # Errors
    /// When another capability has added one of them already.
    fn link(&self, linker: &mut Linker<Guest>) -> wasmtime::Result<()>;

    /// Put what all runs share (connection pools, for example) where the host functions find it.
    fn provide(&self, services: &mut Services);
}
