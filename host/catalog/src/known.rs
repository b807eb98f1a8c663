//! Plugins that were loaded before: a host that runs many times a second reads, checks and describes each of them once.

use crate::{Loaded, Origin};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// More than a host runs at a time; beyond it one is forgotten, and read again when it is asked for.
const KEPT: usize = 64;

/// What tells one state of a plugin's source from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// It cannot change while the process lives; by name, since an origin in the binary has none.
    Binary,
    /// The file's identity, size and times, to the nanosecond.
    File { device: u64, inode: u64, size: u64, modified: (i64, i64), changed: (i64, i64) },
    /// A package, whose name is its digest: let in by these rules of trust, which are counted.
    Rules(u64),
}

impl Stamp {
    /// Of a source; none for one that cannot be looked at.
    pub(crate) fn of(origin: &Origin) -> Option<Self> {
        match origin {
            Origin::FirstParty(_) => Some(Self::Binary),
            Origin::File(path) => {
                let file = std::fs::metadata(path).ok()?;
                Some(Self::File {
                    device: file.dev(),
                    inode: file.ino(),
                    size: file.size(),
                    modified: (file.mtime(), file.mtime_nsec()),
                    changed: (file.ctime(), file.ctime_nsec()),
                })
            }
            Origin::Kept | Origin::Package { .. } => None,
        }
    }
}

/// The plugins that are known.
#[derive(Default)]
pub(crate) struct Known(Mutex<HashMap<Key, (Stamp, Loaded)>>);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Name(&'static str),
    Path(PathBuf),
    Package(String, String),
}

fn key(origin: &Origin) -> Option<Key> {
    match origin {
        Origin::FirstParty(name) => Some(Key::Name(name)),
        Origin::File(path) => Some(Key::Path(path.clone())),
        Origin::Package { reference, component } => Some(Key::Package(reference.clone(), component.clone())),
        Origin::Kept => None,
    }
}

impl Known {
    /// One that was loaded from the same source in the same state.
    pub(crate) fn get(&self, origin: &Origin, stamp: &Stamp) -> Option<Loaded> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key(origin)?).filter(|(before, _)| before == stamp).map(|(_, loaded)| loaded.clone())
    }

    /// Remember one.
    pub(crate) fn put(&self, stamp: Stamp, loaded: Loaded) {
        let Some(key) = key(&loaded.origin) else { return };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT
            && !known.contains_key(&key)
            && let Some(other) = known.keys().next().cloned()
        {
            known.remove(&other);
        }
        known.insert(key, (stamp, loaded));
    }
}
