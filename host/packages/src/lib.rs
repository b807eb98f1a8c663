//! Plugins as packages: pulled from and pushed to OCI registries, kept by digest, locked, and verified.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`PackageRef`], [`Digest`] | how a package is named: `registry.example/growth/expired-sessions@1` |
//! | [`Docker`] | the credentials of registries, from docker's configuration and its helpers |
//! | [`Registry`] | a registry of the OCI distribution protocol: bounded, TLS, no credentials to anybody else |
//! | [`artifact`] | what a package looks like there, and what is refused |
//! | [`Blobs`] | what was pulled, by digest, verified at every read |
//! | [`Lock`], [`LockFile`] | which build of a plugin a reference means until somebody updates it |
//! | [`trust`] | who signed a plugin, and whether that is enough |
//! | [`Packages`] | all of it together |
//!
//! Nothing here runs or compiles a component: that is the catalog's part.

mod answer;
pub mod artifact;
mod blobs;
mod changes;
mod credentials;
mod digest;
mod error;
mod http;
mod lock;
mod lock_file;
mod packages;
mod push;
mod reference;
mod referrers;
mod registry;
mod token;
pub mod trust;

pub use blobs::{BlobError, Blobs, Incoming};
pub use changes::{Change, changes};
pub use credentials::{Credentials, CredentialsError, Docker};
pub use digest::Digest;
pub use error::{PackageError, RegistryError};
pub use lock::{Build, Entry, Lock, LockedSlot, PREVIOUS};
pub use lock_file::{LockError, LockFile};
pub use packages::{Judge, Packages, Pulled, Resolved};
pub use push::Pushed;
pub use reference::{PackageRef, ReferenceError, Wanted, tag_of, version_of};
pub use referrers::{BUNDLE, Referrer};
pub use registry::Registry;
pub use trust::Subject;

/// The largest component that is pulled or pushed, bytes: a Python guest has about 20 MB.
pub const LARGEST_COMPONENT: u64 = 256 << 20;

/// An instant as the lock has it: seconds since 1970 in UTC, RFC 3339.
pub fn rfc3339(seconds: u64) -> String {
    let instant = i64::try_from(seconds).ok().and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
    instant.unwrap_or_default().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
