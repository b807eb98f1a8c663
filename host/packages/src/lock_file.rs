//! The file `rota.lock`: read again whenever it changed, written whole or not at all, by one at a time.

use crate::Lock;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The largest lock that is read, bytes.
const LARGEST: u64 = 32 << 20;
/// How long another process may hold it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is wrong with the lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be read.
    #[error("the lock {} cannot be read: {reason}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It cannot be written.
    #[error(
        "the lock {} cannot be written: {reason}; where it is deployed with the configuration, run the command where that is written, and deploy both", .path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another process is at it.
    #[error("the lock {} is being written by another process for more than {} s", .path.display(), PATIENCE.as_secs())]
    Busy {
        /// The file.
        path: PathBuf,
    },
}

/// Where the lock is.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Arc<Lock>)>>,
}

/// What tells one state of the file from another; none where it is not there.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl LockFile {
    /// The lock at a path, there or not.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), read: Mutex::default() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says now. Where there is none, nothing is locked.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(&self) -> Result<Arc<Lock>, LockError> {
        let stamp = self.stamp()?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match &*read {
            Some((before, lock)) if *before == stamp => Ok(lock.clone()),
            _ => {
                let lock = Arc::new(self.parse()?);
                *read = Some((stamp, lock.clone()));
                Ok(lock)
            }
        }
    }

    /// Change it: read as it is now, and written whole. What `change` answers is answered; where it changed nothing, nothing is written.
    ///
    /// # Errors
    /// When it cannot be read or written, or another process holds it.
    pub fn change<T>(&self, change: impl FnOnce(&mut Lock) -> T) -> Result<T, LockError> {
        let failed = |error: io::Error| LockError::Write { path: self.path.clone(), reason: error.to_string() };
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed)?;
        // The folder is what is locked: the file itself is another one after each change.
        let held = File::open(folder).map_err(failed)?;
        let begun = Instant::now();
        while let Err(error) = flock(&held, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(failed(error.into()));
            }
            if begun.elapsed() > PATIENCE {
                return Err(LockError::Busy { path: self.path.clone() });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let before = self.parse()?;
        let mut lock = before.clone();
        let answer = change(&mut lock);
        if lock != before {
            let text = lock.to_toml().map_err(|error| failed(io::Error::other(error)))?;
            self.write(folder, &text).map_err(failed)?;
        }
        Ok(answer)
    }

    fn write(&self, folder: &Path, text: &str) -> io::Result<()> {
        let partial = folder.join(format!(".rota.lock.{}.{:08x}", std::process::id(), rand::random::<u32>()));
        let written = File::create_new(&partial).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&partial, &self.path)
        });
        if written.is_err() {
            let _ = std::fs::remove_file(&partial);
        }
        written
    }

    fn stamp(&self) -> Result<Stamp, LockError> {
        match std::fs::metadata(&self.path) {
            Ok(file) => Ok(Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unreadable(error.to_string())),
        }
    }

    fn parse(&self) -> Result<Lock, LockError> {
        let file = match rota_config::open_file(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lock::default()),
            Err(error) => return Err(self.unreadable(error.to_string())),
        };
        let mut text = String::new();
        file.take(LARGEST + 1).read_to_string(&mut text).map_err(|error| self.unreadable(error.to_string()))?;
        if text.len() as u64 > LARGEST {
            return Err(self.unreadable("it is larger than 32 MiB".into()));
        }
        Lock::from_toml(&text).map_err(|reason| self.unreadable(reason))
    }

    fn unreadable(&self, reason: String) -> LockError {
        LockError::Read { path: self.path.clone(), reason }
    }
}
