//! Private folders, one a program, and the sweep of those whose host died.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const PREFIX: &str = "rota-tool-";

/// A folder of 0700 that goes when this value goes. Its name tells the process it belongs to, so that a leftover is known.
#[derive(Debug)]
pub(crate) struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// Make one below `base`.
    pub(crate) fn new(base: &Path) -> io::Result<Self> {
        let pid = std::process::id();
        let started = start_of(pid).unwrap_or(0);
        let path = base.join(format!("{PREFIX}{pid}-{started}-{}", uuid::Uuid::new_v4().simple()));
        // Fails where the name is taken, by a link for example.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Write a file of 0600.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(content)?;
        Ok(path)
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %self.0.display(), %error, "a private folder could not be removed; `rota doctor --fix` removes it later");
        }
    }
}

/// Remove the private folders below `base` whose process is gone; answers what was removed. Only folders of this user are touched.
///
/// # Errors
/// When `base` cannot be read, or a folder in it cannot be removed.
pub fn sweep(base: &Path) -> io::Result<Vec<PathBuf>> {
    let mine = rustix::process::geteuid().as_raw();
    let mut removed = Vec::new();
    for entry in fs::read_dir(base)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some((pid, started)) = name.to_str().and_then(owner) else { continue };
        let facts = entry.path().symlink_metadata()?;
        if !facts.is_dir() || facts.uid() != mine || start_of(pid) == Some(started) {
            continue;
        }
        fs::remove_dir_all(entry.path())?;
        removed.push(entry.path());
    }
    Ok(removed)
}

/// The process that a folder belongs to: its number, and when it started.
fn owner(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// When a process started, in ticks since boot: the 22nd field of its `stat`.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_dead_processes_are_swept() {
        let base = tempfile::tempdir().unwrap();
        let living = PrivateFolder::new(base.path()).unwrap();
        let me = std::process::id();
        let recycled = base.path().join(format!("{PREFIX}{me}-1-aa"));
        let dead = base.path().join(format!("{PREFIX}4194999-77-bb"));
        let foreign = base.path().join("rota-tool-notes");
        for path in [&recycled, &dead, &foreign] {
            fs::create_dir(path).unwrap();
        }
        fs::write(dead.join("password"), "x").unwrap();
        std::os::unix::fs::symlink(&foreign, base.path().join(format!("{PREFIX}4194999-78-cc"))).unwrap();
        let mut removed = sweep(base.path()).unwrap();
        removed.sort();
        let mut expected = vec![recycled, dead];
        expected.sort();
        assert_eq!(removed, expected);
        assert!(living.path().exists() && foreign.exists());
    }
}
