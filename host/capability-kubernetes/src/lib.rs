//! The capability `kubernetes`: objects of any kind, logs, commands in pods, jobs and locks of a cluster.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `host` | the WIT side: authorise, hold against the binding's rules, record, then call the client |
//! | [`Client`], [`Clusters`] | the target's side; every function takes an `Authorized<Kubernetes>` or a `Permit<Kubernetes>` |
//! | `connect`, `request`, `error` | from a binding to a connection, one request on it, what goes wrong |
//! | `kind`, `reach` | discovery; what the binding lets through |
//! | `read`, `watch`, `rollout`, `logs`, `review` | what only looks |
//! | `write`, `difference`, `secrets` | what changes something, how a plan shows it, and what no guest sees |
//! | `reference` | values of Secrets that the configuration refers to, for the host itself |
//! | `exec`, `verify`, `job`, `output`, `lock` | what runs in the cluster for a guest, and what it holds there |
//! | `place` | tools that run in a cluster, and servers that are reached through one, for other capabilities |
//!
//! A change needs the permit of an effect that is on record, and only the authority can make one:
//!
//! ```compile_fail,E0451
//! use rota_authority::{Authorized, Kubernetes, Permit};
//! fn forged(authorized: Authorized<Kubernetes>) -> Permit<Kubernetes> {
//!     Permit { authorized, sequence: 1, ledger: None }
//! }
//! ```

mod client;
mod connect;
mod difference;
mod error;
mod exec;
mod host;
mod job;
mod kind;
mod lock;
mod logs;
mod output;
mod pending;
mod place;
mod reach;
mod read;
mod reference;
mod request;
mod review;
mod rollout;
mod secrets;
mod verify;
mod watch;
mod write;

pub use client::{Client, Clusters};
pub use host::{Cluster, HeldLock, KubernetesCapability};
pub use pending::settled;
pub use place::Places;
pub use review::rbac_of;

/// What is known of objects without a cluster.
pub mod objects {
    pub use crate::difference::difference;
    pub use crate::host::kubernetes::{Condition, Rollout};
    pub use crate::rollout::rollout;
    pub use crate::secrets::{are_used_by, hide};
}
