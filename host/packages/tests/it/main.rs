//! Registries: a real one, and one that does all that a registry should not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests say what they expect by unwrapping")]

mod credentials;
mod hostile;
mod real;
mod server;

use rota_packages::{Docker, LockFile, Packages};
use std::path::Path;

/// Packages with a cache and a lock of their own, and no credentials.
fn packages(folder: &Path) -> Packages {
    with_docker(folder, Docker::default())
}

fn with_docker(folder: &Path, docker: Docker) -> Packages {
    Packages::new(&folder.join("cache"), LockFile::new(folder.join("rota.lock")), docker)
}

/// The files of a cache, whole ones and partial ones.
fn cached(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("cache/sha256")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
