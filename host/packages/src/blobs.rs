//! What was pulled, by its digest: `sha256/<hex>` in a folder of this user's. Written beside and renamed, verified at every read; what does not
//! match its name is as good as absent.

use crate::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What no entry of a lock names is kept this long: somebody may be about to name it.
const YOUNG: Duration = Duration::from_secs(3600);

/// What went wrong with the cache of packages.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It cannot be written.
    #[error("the cache of packages {} cannot be written: {error}{}", .path.display(), if .error.kind() == io::ErrorKind::StorageFull { "; make room, or take away what is not needed with `rota plugins remove`" } else { "" })]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It cannot be read.
    #[error("the cache of packages {} cannot be read: {error}", .path.display())]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// More came than was declared.
    #[error("more than the {0} bytes came that were declared, and nothing of it is kept")]
    TooMuch(u64),
    /// Less came than was declared.
    #[error("{got} of {wanted} bytes came, and nothing of it is kept")]
    TooLittle {
        /// What came, bytes.
        got: u64,
        /// What was declared.
        wanted: u64,
    },
    /// Other content.
    #[error("what came has the digest {got}, not {wanted}, and nothing of it is kept")]
    Digest {
        /// What came.
        got: Digest,
        /// What was declared.
        wanted: Digest,
    },
}

/// A folder of content by digest.
#[derive(Clone, Debug)]
pub struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    /// Those in a folder, which is made when something is written.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into().join("sha256") }
    }

    /// Where one is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// The content of a digest, verified; none where it is not here. What is damaged is removed and counts as absent.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn get(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, BlobError> {
        let path = self.path(digest);
        let failed = |error| BlobError::Read { path: path.clone(), error };
        let opened =
            OpenOptions::new().read(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let length = file.metadata().map_err(failed)?.len();
        let mut bytes = Vec::with_capacity(usize::try_from(length.min(limit)).unwrap_or(0));
        file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 <= limit && Digest::of(&bytes) == *digest {
            return Ok(Some(bytes));
        }
        tracing::warn!(%digest, "a package in the cache is damaged; it is removed, and fetched again by its digest where it is needed");
        let _ = std::fs::remove_file(&path);
        Ok(None)
    }

    /// Whether something is here under a digest, verified or not.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Keep some bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, BlobError> {
        let digest = Digest::of(bytes);
        if self.get(&digest, bytes.len() as u64)?.is_none() {
            let mut incoming = self.incoming(&digest, bytes.len() as u64)?;
            incoming.write(bytes)?;
            incoming.finish()?;
        }
        Ok(digest)
    }

    /// Begin to keep what is to come: of this digest and exactly so many bytes.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn incoming(&self, digest: &Digest, size: u64) -> Result<Incoming, BlobError> {
        let path = self.path(digest);
        let failed = |error| BlobError::Write { path: self.folder.clone(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed)?;
        let partial =
            self.folder.join(format!(".{}.{}.{:08x}", digest.hex(), std::process::id(), rand::random::<u32>()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial).map_err(failed)?;
        Ok(Incoming { file, partial: Some(partial), path, wanted: digest.clone(), size, got: 0, hasher: Sha256::new() })
    }

    /// Forget one.
    pub fn remove(&self, digest: &Digest) {
        let _ = std::fs::remove_file(self.path(digest));
    }

    /// Forget all that is not to be kept, and what an interrupted download left, but nothing younger than an hour. Answers how many bytes.
    pub fn sweep(&self, keep: &BTreeSet<Digest>) -> u64 {
        let old = |path: &Path| {
            let modified = path.metadata().and_then(|file| file.modified()).ok();
            modified.and_then(|time| SystemTime::now().duration_since(time).ok()).is_some_and(|age| age > YOUNG)
        };
        let mut freed = 0;
        for path in std::fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let kept = Digest::from_hex(name).is_some_and(|digest| keep.contains(&digest));
            let ours = name.starts_with('.') || Digest::from_hex(name).is_some();
            if ours && !kept && old(&path) {
                let size = path.metadata().map_or(0, |file| file.len());
                if std::fs::remove_file(&path).is_ok() {
                    freed += size;
                }
            }
        }
        freed
    }
}

/// Content on its way into the cache. Dropped before [`Incoming::finish`], nothing of it stays.
pub struct Incoming {
    file: File,
    partial: Option<PathBuf>,
    path: PathBuf,
    wanted: Digest,
    size: u64,
    got: u64,
    hasher: Sha256,
}

impl Incoming {
    /// What came of it, bytes.
    pub fn got(&self) -> u64 {
        self.got
    }

    /// Some more.
    ///
    /// # Errors
    /// When it is more than was declared, or cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.got += bytes.len() as u64;
        if self.got > self.size {
            return Err(BlobError::TooMuch(self.size));
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(|error| BlobError::Write { path: self.path.clone(), error })
    }

    /// All of it came: verify it and give it its name.
    ///
    /// # Errors
    /// When it is not what was declared, or cannot be named.
    pub fn finish(mut self) -> Result<(), BlobError> {
        if self.got < self.size {
            return Err(BlobError::TooLittle { got: self.got, wanted: self.size });
        }
        let got = Digest::finish(std::mem::take(&mut self.hasher));
        if got != self.wanted {
            return Err(BlobError::Digest { got, wanted: self.wanted.clone() });
        }
        let failed = |error| BlobError::Write { path: self.path.clone(), error };
        // A lock may name it a moment later, and outlive a power cut.
        self.file.sync_all().map_err(failed)?;
        if let Some(partial) = &self.partial {
            std::fs::rename(partial, &self.path).map_err(failed)?;
        }
        self.partial = None;
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            let _ = std::fs::remove_file(partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        std::env::temp_dir().join(format!("rota-blobs-{:016x}", rand::random::<u64>()))
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder.join("sha256")).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn what_comes_is_kept_only_whole_and_right() {
        let folder = folder();
        let blobs = Blobs::new(&folder);
        let digest = blobs.put(b"content").unwrap();
        assert_eq!(blobs.get(&digest, 100).unwrap().as_deref(), Some(&b"content"[..]));
        assert_eq!(names(&folder), [digest.hex()]);

        let other = Digest::of(b"other");
        let mut short = blobs.incoming(&other, 5).unwrap();
        short.write(b"oth").unwrap();
        assert!(matches!(short.finish(), Err(BlobError::TooLittle { got: 3, wanted: 5 })));
        let mut wrong = blobs.incoming(&other, 5).unwrap();
        wrong.write(b"ether").unwrap();
        assert!(matches!(wrong.finish(), Err(BlobError::Digest { .. })));
        let mut long = blobs.incoming(&other, 5).unwrap();
        assert!(matches!(long.write(b"others"), Err(BlobError::TooMuch(5))));
        drop(long);
        drop(blobs.incoming(&other, 5).unwrap());
        assert_eq!(names(&folder), [digest.hex()], "nothing of them stays");
        assert_eq!(blobs.get(&other, 100).unwrap(), None);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_damaged_counts_as_absent() {
        let folder = folder();
        let blobs = Blobs::new(&folder);
        for damage in ["changed", "content and more", ""] {
            let digest = blobs.put(b"content").unwrap();
            std::fs::write(blobs.path(&digest), damage).unwrap();
            assert_eq!(blobs.get(&digest, 100).unwrap(), None, "{damage}");
            assert!(!blobs.has(&digest));
        }
        let digest = blobs.put(b"content").unwrap();
        let elsewhere = folder.join("elsewhere");
        std::fs::rename(blobs.path(&digest), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, blobs.path(&digest)).unwrap();
        assert!(blobs.get(&digest, 100).is_err(), "a link is not followed");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_sweep_keeps_what_is_named_and_what_is_young() {
        let folder = folder();
        let blobs = Blobs::new(&folder);
        let (kept, old, young) =
            (blobs.put(b"kept").unwrap(), blobs.put(b"old!").unwrap(), blobs.put(b"young").unwrap());
        let partial = folder.join("sha256/.partial");
        std::fs::write(&partial, "x").unwrap();
        let long_ago = SystemTime::now() - 2 * YOUNG;
        for path in [blobs.path(&kept), blobs.path(&old), partial.clone()] {
            File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
        }
        assert_eq!(blobs.sweep(&BTreeSet::from([kept.clone()])), 5);
        assert!(blobs.has(&kept) && blobs.has(&young) && !blobs.has(&old) && !partial.exists());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
