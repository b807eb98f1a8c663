//! The capability `jetstream`: the state of NATS JetStream, and nothing else of it.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `host` | the WIT side: authorise, then ask the client |
//! | [`Client`] | the target's side; every function takes an `Authorized<Jetstream>` |
//! | `api` | requests to JetStream over the connection, page by page, and what their answers mean |
//! | `monitoring` | the servers' own HTTP pages, which answer when JetStream does not |
//!
//! There is no effect, and no function that returns what a message holds. A client without a token of the gate cannot be had:
//!
//! ```compile_fail,E0061
//! use rota_capability_jetstream::Client;
//! async fn forged(client: &Client) {
//!     let _ = client.server().await;
//! }
//! ```

mod api;
mod client;
mod connect;
mod error;
mod facts;
mod host;
mod monitoring;

pub use client::{Client, Listing};
pub use host::{JetstreamCapability, Session};

/// The records of `wit/jetstream.wit`.
pub mod wit {
    pub use crate::host::jetstream::{
        AccountFacts, ClusterFacts, ConsumerFacts, Monitored, ReplicaFacts, ServerFacts, ServerState, StreamFacts,
    };
}

/// Whether a server's monitoring did not answer.
pub fn unreached(one: &wit::Monitored) -> bool {
    matches!(one, wit::Monitored::Unreachable(_))
}
