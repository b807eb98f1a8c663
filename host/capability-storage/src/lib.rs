//! The capability `storage`: objects in OSS, S3, GCS, Azure Blob, or a folder.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `host` | the WIT side: authorise, record, then call the client |
//! | [`Client`] | the target's side; every function takes an `Authorized<Storage>` or a `Permit<Storage>` |
//! | [`Name`], [`Prefix`] | a guest's string, once it is sure that it stays below the binding's prefix |
//! | `folder` | a folder of this machine, resolved by the kernel below its own descriptor |
//! | `remote` | everything else, by OpenDAL |
//!
//! A put needs the permit of an effect that is on record, and only the authority can make one:
//!
//! ```compile_fail,E0451
//! use rota_authority::{Permit, Storage};
//! fn forged(authorized: rota_authority::Authorized<Storage>) -> Permit<Storage> {
//!     Permit { authorized, sequence: 1, ledger: None }
//! }
//! ```
//!
//! With a permit an object can be deleted:
//!
//! ```
//! use rota_authority::{Permit, Storage};
//! use rota_capability_storage::{Client, Name};
//! async fn granted(client: &Client, permit: &Permit<Storage>, name: &Name) {
//!     let _ = client.delete(permit, name).await;
//! }
//! ```
//!
//! The token of a read does not do in its place:
//!
//! ```compile_fail,E0308
//! use rota_authority::{Authorized, Storage};
//! use rota_capability_storage::{Client, Name};
//! async fn forged(client: &Client, authorized: &Authorized<Storage>, name: &Name) {
//!     let _ = client.delete(authorized, name).await;
//! }
//! ```

mod client;
mod error;
mod folder;
mod host;
mod lane;
mod name;
mod parts;
mod pending;
mod put;
mod remote;
mod target;

pub use client::{Client, Connections, Leftover, Listing};
pub use host::{Bucket, StorageCapability};
pub use name::{BadName, LONGEST_NAME, Name, Prefix};
pub use pending::settled;
pub use put::Put;

/// The records of `wit/storage.wit`.
pub mod wit {
    pub use crate::host::storage::{Object, PutOptions, Range, Stored};
}
