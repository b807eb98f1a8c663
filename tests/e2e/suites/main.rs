//! The end-to-end suites: each test runs what a user runs and asserts what a user sees.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `authors` | plugins made, built, checked and planned by `rota plugin` |
//! | `cache` | the procedures for caches, against a real server |
//! | `chaos` | the host killed in the middle of a backup |
//! | `cli` | the command line: statuses, objects, bad input, bad targets, interrupts |
//! | `contract` | every import of the contract: denied without its grant, planned in plan mode |
//! | `durable` | steps, compensations and sleep, and what is done to them that must not be |
//! | `hostile` | guests that do what a plugin must not |
//! | `kubernetes` | the cluster: what a plugin can do there, and what it cannot |
//! | `packages` | registries, the lock, updates, and what is made to cost |
//! | `refused` | files that are no plugin |
//! | `serve` | hosts that serve: schedules, runs that survive, what people do meanwhile |
//! | `signatures` | plugins signed, and refused where they are not |
//! | `secrets` | canaries, searched for everywhere |

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests say what they expect by unwrapping")]

mod authors;
mod cache;
mod chaos;
mod cli;
mod contract;
mod durable;
mod hostile;
mod kubernetes;
mod packages;
mod refused;
mod secrets;
mod serve;
mod signatures;

/// The binary under test.
fn rota() -> rota_tests::Rota {
    rota_of(env!("CARGO_BIN_EXE_rota"))
}

/// Another build of the binary, in a folder of its own.
fn rota_of(program: &str) -> rota_tests::Rota {
    rota_tests::Rota::new(program, COMPILED).unwrap()
}

/// Where compiled plugins are kept for all tests of this target folder.
const COMPILED: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/compiled");

/// Writes a file that only its owner can read, as secrets must be.
fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

/// An age identity as text, for the file that a key binding names.
fn exposed(identity: &age::x25519::Identity) -> String {
    use age::secrecy::ExposeSecret as _;
    identity.to_string().expose_secret().to_owned()
}
