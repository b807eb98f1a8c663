//! A folder of this machine as a store. Every path is resolved by the kernel below the folder's own descriptor (`openat2` with
//! `RESOLVE_BENEATH`), so that neither `..` nor a symbolic link, put there at whatever moment, leads out.

mod part;
mod put;
mod walk;

pub(crate) use put::put;
pub(crate) use walk::{Walk, leftovers};

use crate::error::Place;
use crate::name::{Name, Prefix};
use crate::wit::{Object, Range};
use rota_contract::Error;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

/// What a part of a file is read by at once, at most.
const READ_CHUNK: usize = 1 << 20;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// An opened folder.
pub(crate) struct Folder {
    root: OwnedFd,
    pub(crate) place: Place,
}

impl Folder {
    /// Open it. The folder itself may be a symbolic link: the operator named it.
    pub(crate) fn open(place: Place, path: &Path) -> Result<Arc<Self>, Error> {
        match rustix::fs::openat(CWD, path, FOLDER, Mode::empty()) {
            Ok(root) => Ok(Arc::new(Self { root, place })),
            Err(Errno::NOTDIR) => {
                Err(Error::InvalidArgument(format!("binding `{}`: {} is no folder", place.binding, place.address)))
            }
            Err(errno) => Err(place.folder(None, &errno.into())),
        }
    }

    /// Open something below the folder.
    fn resolve(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        // EAGAIN: something was renamed meanwhile, and the kernel cannot tell whether the way led out.
        for _ in 0..32 {
            match rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), beneath) {
                Err(Errno::AGAIN) => {}
                Err(Errno::NOSYS) => return self.resolve_by_steps(path, flags),
                result => return Ok(result?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// The same where the kernel has no `openat2`: no symbolic link at all is followed.
    fn resolve_by_steps(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let mut at = rustix::fs::openat(&self.root, ".", FOLDER, Mode::empty())?;
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let flags = if parts.peek().is_some() { FOLDER } else { flags | OFlags::CLOEXEC };
            at = rustix::fs::openat(&at, part, flags | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok(at)
    }

    /// Open the folder that an object lies in; with `make`, the missing ones are made. Also gives how many were made.
    fn parent(&self, folders: &[&str], make: bool) -> io::Result<(OwnedFd, usize)> {
        match self.resolve(&folders.join("/"), FOLDER) {
            Err(error) if make && Errno::from_io_error(&error) == Some(Errno::NOENT) => {}
            result => return result.map(|folder| (folder, 0)),
        }
        let mut made = 0;
        for depth in 0..folders.len() {
            let at = self.resolve(&folders[..depth].join("/"), FOLDER)?;
            match rustix::fs::mkdirat(&at, folders[depth], Mode::RWXU) {
                Ok(()) => made += 1,
                Err(Errno::EXIST) => {}
                Err(errno) => {
                    self.prune(&folders[..depth], made);
                    return Err(errno.into());
                }
            }
        }
        Ok((self.resolve(&folders.join("/"), FOLDER)?, made))
    }

    /// Remove the last `most` of these folders, from the deepest up, as far as they are empty.
    fn prune(&self, folders: &[&str], most: usize) {
        for depth in (0..folders.len()).rev().take(most) {
            let Ok(at) = self.resolve(&folders[..depth].join("/"), FOLDER) else { return };
            if rustix::fs::unlinkat(&at, folders[depth], AtFlags::REMOVEDIR).is_err() {
                return;
            }
        }
    }

    fn open_object(&self, name: &Name) -> Result<(File, Stat), Error> {
        // Not blocking, or a FIFO would hold the thread.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = self.resolve(name.as_str(), flags).and_then(|file| Ok((rustix::fs::fstat(&file)?, file)));
        match opened {
            Ok((stat, file)) if is_object(&stat) => Ok((file.into(), stat)),
            // A folder is no object, nor is what lies below an object.
            Ok(_) => Err(self.place.missing(name)),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOTDIR) => Err(self.place.missing(name)),
            Err(error) => Err(self.place.folder(Some(name), &error)),
        }
    }

    /// What is known of an object.
    pub(crate) fn stat(&self, name: &Name) -> Result<Object, Error> {
        self.open_object(name).map(|(_, stat)| object(name.as_str(), &stat))
    }

    /// Open an object to read a range of it; gives the file at its place and how many bytes there are to read.
    pub(crate) fn read(&self, name: &Name, range: Option<&Range>) -> Result<(Object, tokio::fs::File, u64), Error> {
        let (mut file, stat) = self.open_object(name)?;
        let object = object(name.as_str(), &stat);
        let (start, length) = crate::client::bounds(name, object.size, range)?;
        file.seek(SeekFrom::Start(start)).map_err(|error| self.place.folder(Some(name), &error))?;
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(READ_CHUNK);
        Ok((object, file, length))
    }

    /// Delete an object, and the folders that are empty without it. One that is not there is no error.
    pub(crate) fn delete(&self, name: &Name) -> Result<(), Error> {
        let (folders, last) = name.split();
        let removed = self.parent(&folders, false).and_then(|(at, _)| {
            if rustix::fs::statat(&at, last, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
            {
                return Err(Errno::ISDIR.into());
            }
            rustix::fs::unlinkat(&at, last, AtFlags::empty())?;
            rustix::fs::fsync(&at).map_err(io::Error::from)
        });
        match removed {
            Ok(()) => self.prune(&folders, folders.len()),
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::NOTDIR)) => {}
            Err(error) => return Err(self.place.folder(Some(name), &error)),
        }
        Ok(())
    }

    /// Begin to list what lies below a prefix.
    pub(crate) fn list(self: &Arc<Self>, prefix: &Prefix) -> Result<Walk, Error> {
        Walk::new(self.clone(), prefix).map_err(|error| self.place.folder(None, &error))
    }
}

fn is_object(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn object(name: &str, stat: &Stat) -> Object {
    let modified = i64::try_from(stat.st_mtime_nsec)
        .ok()
        .and_then(|nanos| stat.st_mtime.checked_mul(1_000_000)?.checked_add(nanos / 1000));
    Object { name: name.to_owned(), size: u64::try_from(stat.st_size).unwrap_or(0), modified, etag: None }
}

/// Do something with the file system where it may block.
pub(crate) async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, Error> + Send + 'static,
) -> Result<R, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Cancelled))
}
