//! The state directory: made for its owner alone, and refused when somebody else could write to it.

use crate::StoreError;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A state directory that was checked.
pub(crate) struct StateFolder(PathBuf);

impl StateFolder {
    /// Make it (mode 0700, with the folders above it) or check the one that is there.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let refuse = |reason: String| StoreError::Folder { path: path.to_owned(), reason };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| refuse(format!("it cannot be made: {error}")))?;
        let found = fs::metadata(path).map_err(|error| refuse(error.to_string()))?;
        let me = rustix::process::geteuid().as_raw();
        if found.uid() != me {
            return Err(refuse(format!("it belongs to user {}, and this is user {me}", found.uid())));
        }
        if found.mode() & 0o022 != 0 {
            return Err(refuse(format!(
                "others may write to it (mode {:04o}); take that away with: chmod go-w {}",
                found.mode() & 0o7777,
                path.display()
            )));
        }
        Ok(Self(path.to_owned()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Check the file of records: a plain file of this user that no other may write. What others may read is taken from them.
    pub(crate) fn check_file(&self, path: &Path) -> Result<(), StoreError> {
        let corrupt = |reason: String| StoreError::Corrupt { place: path.display().to_string(), reason };
        let found = fs::symlink_metadata(path).map_err(|error| StoreError::from_io(path, &error))?;
        if !found.is_file() {
            return Err(corrupt("it is no plain file".into()));
        }
        if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0 {
            return Err(corrupt(format!(
                "it belongs to user {} and has mode {:04o}: somebody else could have written it",
                found.uid(),
                found.mode() & 0o7777
            )));
        }
        if found.len() == 0 {
            return Err(corrupt("it is empty, which Rota never leaves it".into()));
        }
        if found.mode() & 0o077 != 0 {
            fs::set_permissions(path, Permissions::from_mode(0o600))
                .map_err(|error| StoreError::from_io(path, &error))?;
        }
        Ok(())
    }
}
