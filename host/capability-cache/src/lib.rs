//! The capability `cache`: Dragonfly, Redis, Valkey, through RESP.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `host` | the WIT side: authorise, record, then call the client |
//! | [`Client`] | the target's side; every function takes an `Authorized<Cache>` or a `Permit<Cache>` |
//! | [`Pattern`] | which keys: literal prefixes, globs, and how many bytes of them are certain |
//! | `scan`, [`Matching`], `unlink` | SCAN to the end, each key once; unlinking what it found, within bounds |
//! | `shape`, `wire` | commands of others: how long their arguments are, and never what is in them |
//!
//! Unlinking needs the permit of an effect that is on record:
//!
//! ```
//! use rota_authority::{Cache, Permit};
//! use rota_capability_cache::Client;
//! async fn granted(client: &Client, permit: &Permit<Cache>) {
//!     let _ = client.unlink(permit, vec![b"user:1".to_vec()]).await;
//! }
//! ```
//!
//! The token of a read does not do in its place:
//!
//! ```compile_fail,E0308
//! use rota_authority::{Authorized, Cache};
//! use rota_capability_cache::Client;
//! async fn forged(client: &Client, authorized: &Authorized<Cache>) {
//!     let _ = client.unlink(authorized, vec![b"user:1".to_vec()]).await;
//! }
//! ```

mod client;
mod connect;
mod error;
mod host;
mod info;
mod matching;
mod monitor;
mod pace;
mod pattern;
mod scan;
mod shape;
mod slow;
mod unlink;
mod values;
mod wire;

pub use client::{Client, MOST_KEYS};
pub use host::{CacheCapability, Session};
pub use matching::{Found, Matching};
pub use monitor::{Commands, MOST_COMMANDS, MOST_SECONDS};
pub use pattern::{LONGEST, Pattern, shown};
pub use scan::{Keys, Work};
pub use unlink::Progress;
pub use values::Entries;

/// The records of `wit/cache.wit`.
pub mod wit {
    pub use crate::host::cache::{
        ClientFacts, CommandShape, DatabaseFacts, KeyUsage, Lifetime, MemoryFacts, NodeInfo, Pattern, PersistenceFacts,
        Pong, Readiness, ReplicationFacts, SeenCommand, ServerFacts, SetCondition, SlowCommand, TrafficFacts,
        UnlinkOptions, UnlinkPhase, UnlinkProgress,
    };
}
