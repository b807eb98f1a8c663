//! The capability `bytes`: filters on byte streams that run in the host, so that bulk data never enters a guest.
//!
//! [`filter`] holds the filters themselves, on plain readers; `host.rs` is the WIT side. A filter that computes has a thread of
//! its own (`stage.rs`), joined to its neighbours by short queues, so that a pipeline uses every core and none of the guest's
//! poll time.
//!
//! | filter | runs on | what ends it with an error |
//! | --- | --- | --- |
//! | `count`, `rate-limit` | whoever reads | its source |
//! | `tee-sha256`, `compress`, `encrypt` | a thread | its source |
//! | `decompress`, `decrypt` | a thread | its source, damage, a cut end, bytes after the end |
//!
//! An error travels in the stream: whatever reads a failed filter gets an [`std::io::Error`], never an early end.

pub mod filter;
mod host;
mod key;
mod stage;

pub use filter::{Codec, Coding, Filtered, Passed};
pub use host::{Bytes, HostWithStore, link};

use rota_capability::{Capability, Guest, Services};
use wasmtime::component::Linker;

/// The capability, for the list of those that a host offers.
#[derive(Clone, Copy, Debug, Default)]
pub struct BytesCapability;

impl Capability for BytesCapability {
    fn name(&self) -> &'static str {
        "bytes"
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["bytes"]
    }

    fn link(&self, linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
        link(linker)
    }

    fn provide(&self, _services: &mut Services) {}
}
