//! The sandbox: one wasmtime engine for a host, one store for a run, nothing shared between runs.
//!
//! [`Sandbox::load`] turns a component's bytes into a [`Plugin`]: its imports are checked before anything is compiled
//! ([`inspect`]), what was compiled before comes from the cache (`cache.rs`), and what is not ours is compiled in a bounded process
//! (`apart.rs`); what is ours may be begun ahead (`prepare.rs`). [`Sandbox::run`] instantiates it with the state of
//! one run, holds it to the run's limits (`meter.rs`, [`rota_capability::Limits`]) and says how it ended ([`Ended`]).

mod apart;
mod cache;
mod engine;
mod inspect;
mod load;
mod meter;
mod prepare;
mod run;
mod stdio;

pub use apart::{Compiler, compile_if_asked};
pub use engine::{Sandbox, SandboxError, SandboxOptions};
pub use inspect::{Import, Inspected, NotAPlugin, inspect};
pub use load::{Base, LoadError, Plugin};
pub use run::{Cancel, Ended, Finished};

/// SHA-256 of a component, in lower-case hex: a plugin's digest.
pub fn digest(component: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(component))
}
