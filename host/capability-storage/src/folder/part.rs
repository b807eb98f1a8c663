//! An object that is being written: a hidden file beside its place, locked while somebody writes it, that takes its place when it
//! is whole and is removed when it does not come to that.

use super::{FOLDER, Folder};
use crate::name::{Name, PART_FILE};
use rota_contract::Error;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The file, until it has its place. Dropped before, it is removed.
pub(super) struct PartFile {
    folder: Arc<Folder>,
    name: Name,
    parent: OwnedFd,
    /// The hidden name.
    hidden: String,
    /// How many folders were made for it.
    made: usize,
    placed: bool,
    /// Nothing is settled while this exists, whoever drops it, and in whatever thread.
    _token: TaskTrackerToken,
}

impl PartFile {
    /// Make the file, and what folders are missing on the way.
    pub(super) fn begin(
        folder: Arc<Folder>,
        name: &Name,
        if_absent: bool,
        token: TaskTrackerToken,
    ) -> Result<(Self, File), Error> {
        let (folders, last) = name.split();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // A delete beside this may remove a folder between its opening and the file's making.
        for _ in 0..32 {
            let (parent, made) = folder.parent(&folders, true).map_err(|error| {
                // What is missing then is the binding's folder, not the object.
                let missing = Errno::from_io_error(&error) == Some(Errno::NOENT);
                folder.place.folder((!missing).then_some(name), &error)
            })?;
            match rustix::fs::statat(&parent, last, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    return Err(folder.place.folder(Some(name), &Errno::ISDIR.into()));
                }
                Ok(_) if if_absent => return Err(folder.place.taken(name)),
                _ => {}
            }
            let hidden = format!("{PART_FILE}{}", uuid::Uuid::new_v4());
            match rustix::fs::openat(&parent, &*hidden, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => {
                    if !lock(&file) {
                        // A sweep came between: it thinks that nobody writes this.
                        let _ = rustix::fs::unlinkat(&parent, &*hidden, AtFlags::empty());
                        continue;
                    }
                    let part = Self { folder, name: name.clone(), parent, hidden, made, placed: false, _token: token };
                    return Ok((part, file.into()));
                }
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    folder.prune(&folders, made);
                    return Err(folder.place.folder(Some(name), &errno.into()));
                }
            }
        }
        Err(folder.place.folder(None, &Errno::NOENT.into()))
    }

    /// Make it last, and give it its place.
    pub(super) fn place(mut self, file: &File, if_absent: bool, cancelled: &CancellationToken) -> Result<(), Error> {
        let place = self.folder.place.clone();
        let name = self.name.clone();
        let failed = |error: io::Error| place.folder(Some(&name), &error);
        file.sync_all().map_err(failed)?;
        if cancelled.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let (folders, last) = self.name.split();
        if if_absent {
            self.place_if_absent(last).map_err(io::Error::from).map_err(failed)?;
        } else {
            rustix::fs::renameat(&self.parent, &*self.hidden, &self.parent, last)
                .map_err(io::Error::from)
                .map_err(failed)?;
        }
        self.placed = true;
        rustix::fs::fsync(&self.parent).map_err(io::Error::from).map_err(failed)?;
        for depth in folders.len().saturating_sub(self.made)..folders.len() {
            let above = self.folder.resolve(&folders[..depth].join("/"), FOLDER).map_err(failed)?;
            rustix::fs::fsync(&above).map_err(io::Error::from).map_err(failed)?;
        }
        Ok(())
    }

    fn place_if_absent(&self, last: &str) -> rustix::io::Result<()> {
        match rustix::fs::renameat_with(&self.parent, &*self.hidden, &self.parent, last, RenameFlags::NOREPLACE) {
            // Not every file system can; a link is as good, and takes two steps.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                rustix::fs::linkat(&self.parent, &*self.hidden, &self.parent, last, AtFlags::empty())?;
                rustix::fs::unlinkat(&self.parent, &*self.hidden, AtFlags::empty())
            }
            result => result,
        }
    }

    fn remove(&self) {
        // Removing a large file takes its time, and there may be nobody to tell: what fails here is swept later.
        let _ = rustix::fs::unlinkat(&self.parent, &*self.hidden, AtFlags::empty());
        let (folders, _) = self.name.split();
        self.folder.prune(&folders, self.made);
    }
}

/// Lock a file that was just made; false where somebody else has, or has removed it. (Some network file systems have no locks.)
fn lock(file: &OwnedFd) -> bool {
    let locked = rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive);
    locked != Err(Errno::WOULDBLOCK) && rustix::fs::fstat(file).is_ok_and(|stat| stat.st_nlink > 0)
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.placed {
            self.remove();
        }
    }
}
