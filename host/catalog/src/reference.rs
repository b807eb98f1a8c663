//! How people name a plugin.

use semver::VersionReq;
use std::path::PathBuf;

/// A plugin as named on a command line or in a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `postgres-backup`, `postgres-backup@1`, `postgres-backup@1.2.3`.
    Name {
        /// The name.
        name: String,
        /// The version, as a caret requirement (`@1` takes every 1.x).
        version: Option<VersionReq>,
    },
    /// A path: anything with a `/`, or ending in `.wasm`.
    File(PathBuf),
}

impl Reference {
    /// Read one.
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains('/') || text.ends_with(".wasm") {
            return Some(Self::File(PathBuf::from(text)));
        }
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(VersionReq::parse(version).ok()?)),
            None => (text, None),
        };
        is_name(name).then(|| Self::Name { name: name.into(), version })
    }
}

/// Lower-case words joined by hyphens, at most 63 characters.
pub(crate) fn is_name(name: &str) -> bool {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.len() <= 63 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_versions_and_paths() {
        assert_eq!(
            Reference::parse("postgres-backup"),
            Some(Reference::Name { name: "postgres-backup".into(), version: None })
        );
        assert!(matches!(Reference::parse("postgres-backup@1"), Some(Reference::Name { version: Some(_), .. })));
        assert_eq!(Reference::parse("./x.wasm"), Some(Reference::File("./x.wasm".into())));
        for wrong in ["", "Postgres", "a@b", "-x", "a b", "a@"] {
            assert_eq!(Reference::parse(wrong), None, "{wrong}");
        }
    }
}
