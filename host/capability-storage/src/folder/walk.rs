//! What lies in a folder, in the order of an object store: by whole names, not folder by folder. A few thousand names are held at
//! a time; in a folder of more than [`SORTED`] entries the order holds within each so many.

use super::{FOLDER, Folder, is_object, object};
use crate::client::Leftover;
use crate::name::{LONGEST_NAME, Name, PART_FILE, Prefix};
use crate::wit::Object;
use rota_contract::Error;
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::vec::IntoIter;

/// How many names of one folder are sorted together.
const SORTED: usize = 65_536;

/// A walk through all folders below a prefix.
pub(crate) struct Walk {
    folder: Arc<Folder>,
    open: Vec<Level>,
    /// Whether part files are what is looked for.
    parts: bool,
}

struct Level {
    /// Empty, or with a `/` at the end.
    prefix: String,
    at: OwnedFd,
    rest: Option<Dir>,
    names: IntoIter<(String, FileType)>,
}

/// A file that nobody finished.
struct Part {
    name: String,
    at: OwnedFd,
    file: String,
}

enum Step {
    Object(Object),
    Part(Part),
}

impl Walk {
    pub(super) fn new(folder: Arc<Folder>, prefix: &Prefix) -> io::Result<Self> {
        let opened = folder.resolve(&prefix.parts().join("/"), FOLDER);
        let open = match opened {
            Ok(at) => vec![Level::new(prefix.as_str().to_owned(), at)?],
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::NOTDIR)) => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { folder, open, parts: false })
    }

    /// The next objects, at most so many; none at the end.
    pub(crate) fn batch(&mut self, most: usize) -> Result<Vec<Object>, Error> {
        let mut batch = Vec::new();
        while batch.len() < most {
            match self.step().map_err(|error| self.folder.place.folder(None, &error))? {
                Some(Step::Object(object)) => batch.push(object),
                Some(Step::Part(_)) => {}
                None => break,
            }
        }
        Ok(batch)
    }

    fn step(&mut self) -> io::Result<Option<Step>> {
        while let Some(level) = self.open.last_mut() {
            let Some((file, kind)) = level.next()? else {
                self.open.pop();
                continue;
            };
            let name = format!("{}{file}", level.prefix);
            if file.starts_with(PART_FILE) {
                if self.parts && kind == FileType::RegularFile {
                    let at = rustix::fs::openat(&level.at, ".", FOLDER, Mode::empty())?;
                    return Ok(Some(Step::Part(Part { name, at, file })));
                }
                continue;
            }
            // What no guest can name is no object.
            if name.len() > LONGEST_NAME || Name::parse(&name).is_err() {
                continue;
            }
            match kind {
                FileType::Directory => {
                    match rustix::fs::openat(&level.at, &*file, FOLDER | OFlags::NOFOLLOW, Mode::empty()) {
                        Ok(at) => self.open.push(Level::new(format!("{name}/"), at)?),
                        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
                FileType::RegularFile => match rustix::fs::statat(&level.at, &*file, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) if is_object(&stat) => return Ok(Some(Step::Object(object(&name, &stat)))),
                    Ok(_) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno.into()),
                },
                // Listed where `get` would read it: a link to a file below the folder.
                FileType::Symlink => {
                    let target = self.folder.resolve(&name, OFlags::PATH).and_then(|file| Ok(rustix::fs::fstat(file)?));
                    if let Ok(stat) = target
                        && is_object(&stat)
                    {
                        return Ok(Some(Step::Object(object(&name, &stat))));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

impl Level {
    fn new(prefix: String, at: OwnedFd) -> io::Result<Self> {
        let rest = Some(Dir::read_from(&at)?);
        Ok(Self { prefix, at, rest, names: Vec::new().into_iter() })
    }

    fn next(&mut self) -> io::Result<Option<(String, FileType)>> {
        if let Some(next) = self.names.next() {
            return Ok(Some(next));
        }
        let mut names = Vec::new();
        while let Some(rest) = &mut self.rest
            && names.len() < SORTED
        {
            let Some(entry) = rest.read() else {
                self.rest = None;
                break;
            };
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => rustix::fs::statat(&self.at, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
                kind => kind,
            };
            names.push((name.to_owned(), kind));
        }
        // A folder `a` stands for names that begin with `a/`.
        let key = |(name, kind): &(String, FileType)| {
            if *kind == FileType::Directory { format!("{name}/") } else { name.clone() }
        };
        names.sort_by_cached_key(key);
        self.names = names.into_iter();
        Ok(self.names.next())
    }
}

/// The files that nobody finished and nobody is writing any more: with those removed where `remove` says so.
pub(crate) fn leftovers(folder: &Arc<Folder>, remove: bool) -> Result<Vec<Leftover>, Error> {
    let failed = |error: io::Error| folder.place.folder(None, &error);
    let mut walk = Walk::new(folder.clone(), &Prefix::default()).map_err(failed)?;
    walk.parts = true;
    let mut found = Vec::new();
    while let Some(step) = walk.step().map_err(failed)? {
        let Step::Part(part) = step else { continue };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(&part.at, &*part.file, flags, Mode::empty()) else { continue };
        // Whoever writes it holds its lock, and loses it with its process.
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        if remove {
            rustix::fs::unlinkat(&part.at, &*part.file, AtFlags::empty()).map_err(|errno| failed(errno.into()))?;
        }
        let begun = rustix::fs::fstat(&file).ok().and_then(|stat| {
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(stat.st_mtime).ok()?))
        });
        found.push(Leftover { name: part.name, begun });
    }
    Ok(found)
}
