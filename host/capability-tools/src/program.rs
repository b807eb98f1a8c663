//! Declared programs: what must hold of their files before one is started.

use crate::libraries::search_path;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A program that is not started, and why.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Its path is relative.
    #[error("the program `{0}` is not declared by an absolute path; write the whole path in the binding")]
    Relative(PathBuf),
    /// It is not there.
    #[error("the program {0} does not exist; install it, or correct the path in the binding")]
    Missing(PathBuf),
    /// It cannot be looked at.
    #[error("the program {path} cannot be looked at: {error}")]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It is a folder, a device, a socket.
    #[error("{0} is not a program but something else than a regular file")]
    NotAFile(PathBuf),
    /// Nobody may execute it.
    #[error("{0} is not executable; set its mode with chmod +x, or correct the path in the binding")]
    NotExecutable(PathBuf),
    /// Anybody may change it.
    #[error(
        "{0} can be changed by every user of this machine, so it is not started; take the write permission of others away (chmod o-w)"
    )]
    WorldWritable(PathBuf),
}

/// A program whose file was found fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// As declared: a program may look at the name it was called by.
    pub(crate) path: PathBuf,
    /// The file itself, links resolved.
    pub(crate) file: PathBuf,
    /// What tells this file from one that replaces it.
    pub(crate) identity: Identity,
}

/// Device, inode, size and time of the last change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity(u64, u64, u64, i64, i64);

impl Program {
    /// Look at a declared program. Links are followed; what they lead to, and the folders in which both lie, must not be anybody's to change.
    pub(crate) fn look(path: &Path) -> Result<Self, Unusable> {
        if !path.is_absolute() {
            return Err(Unusable::Relative(path.to_owned()));
        }
        let file = path.canonicalize().map_err(|error| unreadable(path, error))?;
        let facts = file.metadata().map_err(|error| unreadable(&file, error))?;
        if !facts.is_file() {
            return Err(Unusable::NotAFile(path.to_owned()));
        }
        if anybody_writes(&facts) {
            return Err(Unusable::WorldWritable(file));
        }
        for folder in [path.parent(), file.parent()].into_iter().flatten() {
            let facts = folder.metadata().map_err(|error| unreadable(folder, error))?;
            // In a sticky folder (/tmp) nobody replaces the file of another.
            if anybody_writes(&facts) && facts.permissions().mode() & 0o1000 == 0 {
                return Err(Unusable::WorldWritable(folder.to_owned()));
            }
        }
        if facts.permissions().mode() & 0o111 == 0 {
            return Err(Unusable::NotExecutable(path.to_owned()));
        }
        let identity = Identity(facts.dev(), facts.ino(), facts.size(), facts.ctime(), facts.ctime_nsec());
        Ok(Self { path: path.to_owned(), file, identity })
    }

    /// The name that people call it by.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The folders that it may need besides the system's: its own, the libraries beside a `bin`, and those that its file names.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        for own in [self.path.parent(), self.file.parent()].into_iter().flatten() {
            folders.push(own.to_owned());
            let installation = own.parent().filter(|_| own.file_name().is_some_and(|name| name == "bin"));
            folders.extend(
                installation.into_iter().flat_map(|root| ["lib", "lib64", "share"].map(|name| root.join(name))),
            );
        }
        folders.extend(search_path(&self.file));
        folders.sort();
        folders.dedup();
        folders
    }
}

fn anybody_writes(facts: &Metadata) -> bool {
    facts.permissions().mode() & 0o002 != 0
}

fn unreadable(path: &Path, error: io::Error) -> Unusable {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Unusable::Missing(path.to_owned()),
        _ => Unusable::Unreadable { path: path.to_owned(), error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};

    fn file(folder: &Path, name: &str, mode: u32) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, "#!/bin/true\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn only_fit_programs_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let fit = file(folder.path(), "fit", 0o755);
        assert_eq!(Program::look(&fit).unwrap().name(), "fit");
        let refusal = |path: &Path| Program::look(path).unwrap_err().to_string();
        assert!(refusal(Path::new("bin/pg_dump")).contains("absolute path"));
        assert!(refusal(Path::new("pg_dump")).contains("absolute path"));
        assert!(refusal(&folder.path().join("nothing")).contains("does not exist"));
        assert!(refusal(&fit.join("below")).contains("does not exist"));
        assert!(refusal(folder.path()).contains("regular file"));
        assert!(refusal(Path::new("/dev/null")).contains("regular file"));
        assert!(refusal(&file(folder.path(), "plain", 0o644)).contains("not executable"));
        assert!(refusal(&file(folder.path(), "open", 0o757)).contains("chmod o-w"));
    }

    #[test]
    fn a_link_is_as_fit_as_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let (good, bad) = (folder.path().join("good"), folder.path().join("bad"));
        std::os::unix::fs::symlink(file(folder.path(), "fit", 0o755), &good).unwrap();
        std::os::unix::fs::symlink(file(folder.path(), "open", 0o757), &bad).unwrap();
        assert_eq!(Program::look(&good).unwrap().name(), "good");
        assert!(matches!(Program::look(&bad), Err(Unusable::WorldWritable(_))));
        let public = folder.path().join("public");
        fs::create_dir(&public).unwrap();
        let inside = file(&public, "fit", 0o755);
        fs::set_permissions(&public, Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Program::look(&inside), Err(Unusable::WorldWritable(_))));
    }

    #[test]
    fn a_replaced_program_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "fit", 0o755);
        let before = Program::look(&path).unwrap();
        assert_eq!(before, Program::look(&path).unwrap());
        fs::write(&path, "#!/bin/true\n#2\n").unwrap();
        assert_ne!(before.identity, Program::look(&path).unwrap().identity);
    }
}
