//! What the end-to-end tests share.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`Rota`] | the real binary, run as a user runs it, in an environment of its own |
//! | [`probe`] | the guest of tests/guests, which calls every import and misbehaves in every way |
//! | [`component`] | components that are none, or want what no host gives |
//! | [`Attempts`] | the attempts of one run, straight in the sandbox |
//! | [`InProcess`] | a host in this process, for what is measured within a run |
//! | [`processes`] | which processes a run has left |
//!
//! The suites are in `suites/`. They are a test target of the package `rota` (see host/rota/Cargo.toml), because only a package's
//! own integration tests are given its binary, built and up to date, by stable cargo.

mod attempts;
mod command;
pub mod component;
mod in_process;
pub mod probe;
pub mod processes;

pub use attempts::Attempts;
pub use command::{Rota, Running, Said};
pub use in_process::InProcess;

/// Every file below a folder, however deep; none where there is no folder.
#[must_use]
pub fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
