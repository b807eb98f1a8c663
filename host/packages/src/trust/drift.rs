//! A package that is not what it was when it was locked, though nobody asked for another: a tag that was moved, a version that went back.

use semver::Version;

/// A version of a package, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its version.
    pub version: Version,
    /// The manifest's digest, `sha256:...`.
    pub digest: String,
}

/// Why what a registry has now is not taken for what was locked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Drift {
    /// The same version is something else now.
    #[error(
        "the tag {version} of {package} was moved: it was {locked} when it was locked, and is {found} now. A version that was published does not change: ask who moved it. \
         The locked one goes on running; to take the other, remove the plugin and pull it again"
    )]
    Moved {
        /// The package.
        package: String,
        /// The version.
        version: Version,
        /// The digest that was locked.
        locked: String,
        /// The digest that is there now.
        found: String,
    },
    /// An older version than the locked one.
    #[error(
        "{package} would go back from {locked} to {found}, which an update does not: older versions have the holes that newer ones mended. To go back on purpose: rota plugins pin {package}@{found}"
    )]
    Downgrade {
        /// The package.
        package: String,
        /// The version that was locked.
        locked: Version,
        /// The version that would be taken.
        found: Version,
    },
}

/// Whether what was found may take the place of what was locked. `pinned` is the version that somebody asked for by name, which may
/// be older. What was moved is refused all the same: a version is one thing.
///
/// # Errors
/// [`Drift`]
pub fn drift(package: &str, locked: &Release, found: &Release, pinned: Option<&Version>) -> Result<(), Drift> {
    let package = rota_telemetry::clean_line(package);
    if found.version == locked.version {
        if found.digest == locked.digest {
            return Ok(());
        }
        return Err(Drift::Moved {
            package,
            version: found.version.clone(),
            locked: locked.digest.clone(),
            found: found.digest.clone(),
        });
    }
    if found.version < locked.version && pinned != Some(&found.version) {
        return Err(Drift::Downgrade { package, locked: locked.version.clone(), found: found.version.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: &str, digest: &str) -> Release {
        Release { version: version.parse().unwrap(), digest: digest.to_owned() }
    }

    #[test]
    fn a_moved_tag_and_a_downgrade_are_refused_and_nothing_else() {
        let locked = release("1.4.2", "sha256:aa");
        let is = |found: &Release, pinned: Option<&str>| {
            drift("r.example/growth/report", &locked, found, pinned.map(|pinned| pinned.parse().unwrap()).as_ref())
        };
        for (version, digest) in [("1.4.2", "sha256:aa"), ("1.4.3", "sha256:bb"), ("2.0.0-rc.1", "sha256:bb")] {
            assert_eq!(is(&release(version, digest), None), Ok(()), "{version}");
        }
        let moved = is(&release("1.4.2", "sha256:bb"), None).unwrap_err();
        assert!(matches!(&moved, Drift::Moved { locked, found, .. } if locked == "sha256:aa" && found == "sha256:bb"));
        assert!(moved.to_string().starts_with("the tag 1.4.2 of r.example/growth/report was moved: it was sha256:aa"));
        assert!(
            is(&release("1.4.2", "sha256:bb"), Some("1.4.2")).is_err(),
            "to ask for it by name does not make it the same"
        );
        for older in ["1.4.1", "1.4.2-rc.1", "0.9.0"] {
            let older = release(older, "sha256:cc");
            assert!(matches!(is(&older, None), Err(Drift::Downgrade { .. })), "{older:?}");
            assert!(matches!(is(&older, Some("1.0.0")), Err(Drift::Downgrade { .. })), "another was asked for");
            assert_eq!(is(&older, Some(&older.version.to_string())), Ok(()));
        }
    }
}
