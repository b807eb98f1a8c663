//! One serving process a SQLite store: a lock file with the pid of whoever holds it. (Hosts with one PostgreSQL store are many.)

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Another process serves the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// It does.
    #[error("the process {pid} serves the store in {} already; stop it first, or give this one a state directory of its own (ROTA_STATE_DIR)", .folder.display())]
    Taken { folder: PathBuf, pid: String },
    /// The file.
    #[error("the lock file {} cannot be used: {error}", .path.display())]
    File { path: PathBuf, error: std::io::Error },
}

/// Held until dropped, and by nobody once the process is gone.
pub(crate) struct ServeLock(#[expect(dead_code, reason = "held for its lock")] File);

fn path(folder: &Path) -> PathBuf {
    folder.join("serve.lock")
}

impl ServeLock {
    /// Take it, or say who has it.
    pub(crate) fn take(folder: &Path) -> Result<Self, LockError> {
        let path = path(folder);
        let failed = |error| LockError::File { path: path.clone(), error };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(LockError::Taken { folder: folder.to_owned(), pid: holder(&mut file) });
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self(file))
    }

    /// The pid of the process that serves the store of a folder, if one does.
    pub(crate) fn served_by(folder: &Path) -> Option<u32> {
        let mut file = OpenOptions::new().read(true).write(true).open(path(folder)).ok()?;
        match file.try_lock() {
            // Nobody holds it.
            Ok(()) => None,
            Err(_) => holder(&mut file).parse().ok(),
        }
    }
}

fn holder(file: &mut File) -> String {
    let mut pid = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut pid));
    let known = read.is_ok() && !pid.is_empty() && pid.chars().all(|c| c.is_ascii_digit());
    if known { pid } else { "(unknown)".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_told_who_serves() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ServeLock::served_by(folder.path()), None);
        let lock = ServeLock::take(folder.path()).unwrap();
        let Err(error) = ServeLock::take(folder.path()) else { panic!("taken twice") };
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        assert_eq!(ServeLock::served_by(folder.path()), Some(std::process::id()));
        drop(lock);
        assert_eq!(ServeLock::served_by(folder.path()), None);
        ServeLock::take(folder.path()).unwrap();
    }
}
