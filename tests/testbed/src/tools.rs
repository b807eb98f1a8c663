//! Where `scripts/setup` put the real servers.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// The tools folder: `ROTA_TOOLS_DIR`, or the default that `scripts/lib.sh` also has.
#[must_use]
pub fn tools_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("ROTA_TOOLS_DIR").filter(|dir| !dir.is_empty()) {
        return dir.into();
    }
    // Not below root's home, which `nobody`, whom PostgreSQL then runs as, may not enter.
    if is_root() {
        return "/var/cache/rota/tools".into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"), PathBuf::from);
    cache.join("rota/tools")
}

/// A program or folder of the tools folder, by its path in it.
///
/// # Errors
/// When it is not there: `scripts/setup` has not run.
pub fn tool(path: impl AsRef<Path>) -> anyhow::Result<PathBuf> {
    let found = tools_dir().join(path);
    ensure!(found.exists(), "{} is missing: run scripts/setup", found.display());
    found.canonicalize().with_context(|| format!("{} cannot be read", found.display()))
}

/// Rota as it was at the commit in `tests/previous`; none where `scripts/setup previous` could not build it. `ROTA_PREVIOUS` names
/// another, or none if it is empty.
#[must_use]
pub fn previous() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("ROTA_PREVIOUS") {
        return Some(PathBuf::from(named)).filter(|path| path.is_file());
    }
    let commit = include_str!("../../previous").get(..12)?;
    Some(tools_dir().join(format!("previous-{commit}/rota"))).filter(|path| path.is_file())
}

/// Whether this process is root, whose servers run as `nobody`.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A random secret of 32 hexadecimal digits.
///
/// # Errors
/// When the system's random numbers cannot be read.
pub fn random_secret() -> anyhow::Result<String> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A port of 127.0.0.1 that nothing listens on.
///
/// It is below the range from which the kernel takes ports for outgoing connections, so that it stays
/// free between a server's stop and its next start.
///
/// # Errors
/// When no free port is found in many tries.
pub fn free_port() -> anyhow::Result<u16> {
    for _ in 0..200 {
        let random = u16::from_str_radix(&random_secret()?[..4], 16)?;
        let port = 12_000 + random % 20_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no free port on 127.0.0.1")
}
