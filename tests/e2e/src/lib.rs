//! What the end-to-end tests share.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`Rota`] | the real binary, run as a user runs it, in an environment of its own |
//! | [`probe`] | the guest of tests/guests, which calls every import and misbehaves in every way |
//! | [`component`] | components that are none, or want what no host gives |
//! | [`Attempts`] | the attempts of one run, straight in the sandbox |
//! | [`InProcess`] | a host in this process, for what is measured within a run |
//! | [`Terminal`] | a terminal that a person sits at |
//! | [`processes`] | which processes a run has left |
//! | [`crash`] | a host killed before and after every single effect of a run |
//!
//! The suites are in `suites/`. They are a test target of the package `rota` (see host/rota/Cargo.toml), because only a package's
//! own integration tests are given its binary, built and up to date, by stable cargo.

mod attempts;
mod command;
pub mod component;
pub mod crash;
mod in_process;
pub mod probe;
pub mod processes;
mod terminal;

pub use attempts::Attempts;
pub use command::{Rota, Running, Said};
pub use in_process::InProcess;
pub use terminal::Terminal;

/// Ask a page for what it says: the status and the body.
///
/// # Errors
/// When nobody answers as HTTP does.
pub async fn get(address: &str, path: &str) -> anyhow::Result<(u16, String)> {
    use anyhow::Context as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream =
        tokio::net::TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of the head")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

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
