//! What a lock says, and what is there now: looking, taking, pinning, going back. Nothing here happens by itself.

use crate::locked::facts;
use crate::{Catalog, CatalogError, Loaded, Origin, Reference};
use rota_packages::{Build, Change, Entry, Lock, PackageError, PackageRef, Packages, Wanted, changes, tag_of};
use semver::Version;
use std::sync::Arc;

/// What an update of an entry would do.
#[derive(Clone, Debug)]
pub struct Update {
    /// The entry as it is.
    pub entry: Entry,
    /// What there is to do.
    pub step: Step,
}

/// What there is to do for an entry.
#[derive(Clone, Debug)]
pub enum Step {
    /// Nothing: it is what its reference means now.
    Current,
    /// Something new is there.
    New {
        /// What it is.
        build: Box<Build>,
        /// What differs; what asks for more comes first.
        changes: Vec<Change>,
    },
}

impl Step {
    /// Whether it asks for more than what is locked.
    pub fn is_wider(&self) -> bool {
        matches!(self, Self::New { changes, .. } if changes.iter().any(|change| change.wider))
    }
}

/// Why the lock is not changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// What is there cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Nothing of the name is locked.
    #[error("nothing called `{name}` is locked{}; `rota plugins list` shows what is", .nearest.as_ref().map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default())]
    NotLocked {
        /// What was asked for.
        name: String,
        /// The nearest that is.
        nearest: Option<String>,
    },
    /// A version is two things.
    #[error(
        "the version {version} of {reference} was moved: its tag led to {locked} when it was locked, and leads to {found} now. A version that is published does not change: ask who moved it. The locked one goes on running; to take the other all the same, `rota plugins remove {reference}` and pull it again"
    )]
    Moved {
        /// The entry.
        reference: String,
        /// The version.
        version: String,
        /// The locked manifest.
        locked: String,
        /// What the tag leads to.
        found: String,
    },
    /// The highest version there is lower than the locked one.
    #[error(
        "{reference} would go back from {locked} to {found}, which an update does not do: older versions have the holes that newer ones mended. On purpose: rota plugins pin {reference}@{found}"
    )]
    Downgrade {
        /// The entry.
        reference: String,
        /// The locked version.
        locked: String,
        /// What is there.
        found: String,
    },
    /// A version that the reference does not take.
    #[error("`{reference}` does not take the version {version}: change what the job names, or pin another")]
    NotTaken {
        /// The entry.
        reference: String,
        /// The version.
        version: String,
    },
    /// Of the plugin folder only what was kept can be gone back to.
    #[error(
        "the version {version} of `{reference}` was never locked here, so it is not kept; put its file into the plugin folder and run `rota plugins update {reference}`"
    )]
    NotKept {
        /// The entry.
        reference: String,
        /// The version.
        version: String,
    },
    /// Nothing was locked before.
    #[error("`{0}` was never anything else: there is nothing to go back to")]
    NothingBefore(String),
    /// It asks for more.
    #[error("what there is for {reference} asks for more than {locked}: {}; nothing is changed. To take it: --accept-wider {name}. (What its jobs are granted stays what the configuration says.)", wider(.changes))]
    Wider {
        /// The entry.
        reference: String,
        /// The plugin.
        name: String,
        /// The locked version.
        locked: String,
        /// What differs.
        changes: Vec<Change>,
    },
}

fn wider(changes: &[Change]) -> String {
    let line = |change: &Change| {
        let none = || "none".to_owned();
        let (before, after) = (change.before.clone().unwrap_or_else(none), change.after.clone().unwrap_or_else(none));
        format!("{} ({before} -> {after})", change.what)
    };
    changes.iter().filter(|change| change.wider).map(line).collect::<Vec<_>>().join("; ")
}

impl From<PackageError> for Refusal {
    fn from(error: PackageError) -> Self {
        Self::Catalog(error.into())
    }
}

impl Catalog {
    fn with_lock(&self) -> Result<&Arc<Packages>, Refusal> {
        self.packages.as_ref().ok_or_else(|| Refusal::Catalog(CatalogError::NoPackages("the lock".into())))
    }

    /// What is locked.
    ///
    /// # Errors
    /// When the lock cannot be read.
    pub fn lock(&self) -> Result<Arc<Lock>, Refusal> {
        Ok(self.with_lock()?.lock().read().map_err(PackageError::from)?)
    }

    /// The entries that a person means; all without a name.
    ///
    /// # Errors
    /// When there is none of the name.
    pub fn entries(&self, name: Option<&str>) -> Result<Vec<Entry>, Refusal> {
        let lock = self.lock()?;
        let Some(name) = name else { return Ok(lock.entries().to_vec()) };
        let named = lock.named(name);
        if named.is_empty() {
            let names = lock.entries().iter().flat_map(|entry| [entry.name.as_str(), entry.reference.as_str()]);
            let likely =
                names.map(|one| (strsim::jaro_winkler(one, name), one)).filter(|(likeness, _)| *likeness > 0.75);
            let nearest = likely.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name.to_owned());
            return Err(Refusal::NotLocked { name: name.into(), nearest });
        }
        Ok(named.into_iter().cloned().collect())
    }

    /// What an update of an entry would do. Nothing is locked by that.
    ///
    /// # Errors
    /// When what is there cannot be used, was moved, or is older.
    pub async fn newest(&self, entry: &Entry) -> Result<Update, Refusal> {
        let packages = self.with_lock()?;
        let of = |step| Update { entry: entry.clone(), step };
        let build = if entry.is_package() {
            let package: PackageRef = entry.reference.parse().map_err(PackageError::from)?;
            let resolved = packages.resolve(&package).await?;
            if Some(&resolved.manifest.digest) == entry.build.manifest.as_ref() {
                return Ok(of(Step::Current));
            }
            let found = resolved.version.as_ref();
            let locked = Version::parse(&entry.build.version).ok();
            if let (Some(found), Some(locked)) = (found, &locked) {
                drift(entry, locked, found, resolved.manifest.digest.as_str())?;
            }
            let build = self.fetch(packages, &package).await?.1;
            // A tag such as `latest` tells no version; the plugin does.
            if let (Ok(found), Some(locked)) = (Version::parse(&build.version), &locked) {
                drift(entry, locked, &found, resolved.manifest.digest.as_str())?;
            }
            build
        } else {
            self.in_folder(entry).await?
        };
        if build.component == entry.build.component {
            return Ok(of(Step::Current));
        }
        let changes = changes(&entry.build, &build);
        Ok(of(Step::New { build: Box::new(build), changes }))
    }

    /// What lies in the plugin folder under an entry's name now.
    async fn in_folder(&self, entry: &Entry) -> Result<Build, CatalogError> {
        let Some(Reference::Name { name, version }) = Reference::parse(&entry.reference) else {
            return Err(CatalogError::Reference(entry.reference.clone()));
        };
        // Without its version, so that it is not held to the lock.
        let loaded = Box::pin(self.look(&name)).await?;
        if let Some(wanted) = version
            && !Version::parse(&loaded.descriptor.version).is_ok_and(|found| wanted.matches(&found))
        {
            let found = loaded.descriptor.version.clone();
            return Err(CatalogError::Version { name, wanted: wanted.to_string(), found });
        }
        self.keep(&loaded)
    }

    /// Keep a build of the plugin folder, to be able to go back to it.
    fn keep(&self, loaded: &Loaded) -> Result<Build, CatalogError> {
        match (&self.packages, &loaded.origin) {
            (Some(packages), Origin::File(path)) => self.facts_of_file(packages, path, loaded),
            _ => Ok(facts(loaded, None)),
        }
    }

    /// Take what [`Catalog::newest`] found. What asks for more is taken only if that was accepted.
    ///
    /// # Errors
    /// When it asks for more and that was not accepted; when the lock cannot be written.
    pub fn take(&self, update: &Update, accepted: bool) -> Result<Entry, Refusal> {
        let Step::New { build, changes } = &update.step else { return Ok(update.entry.clone()) };
        let entry = &update.entry;
        if update.step.is_wider() && !accepted {
            return Err(wider_than(entry, changes.clone()));
        }
        self.set(entry, (**build).clone(), |entry| (entry.pinned, entry.kept) = (false, false))
    }

    fn set(&self, entry: &Entry, build: Build, change: impl FnOnce(&mut Entry)) -> Result<Entry, Refusal> {
        let changed = self.with_lock()?.lock().change(|lock| {
            let entry = lock.set(&entry.reference, &entry.name, build);
            change(entry);
            entry.clone()
        });
        Ok(changed.map_err(PackageError::from)?)
    }

    /// Have an entry mean exactly a version, and stay so.
    ///
    /// # Errors
    /// When the version is not to be had, the entry does not take it, or it asks for more and that was not accepted.
    pub async fn pin(&self, entry: &Entry, version: &Version, accepted: bool) -> Result<Entry, Refusal> {
        let packages = self.with_lock()?;
        let not_taken = || Refusal::NotTaken { reference: entry.reference.clone(), version: version.to_string() };
        let known =
            std::iter::once(&entry.build).chain(&entry.previous).find(|build| build.version == version.to_string());
        let is_package = entry.is_package();
        let stay = |entry: &mut Entry| (entry.pinned, entry.kept) = (true, !is_package);
        if let Some(build) = known {
            // It was locked before: what it asks for was accepted then.
            self.load_build(packages, entry, build).await?;
            return self.set(entry, build.clone(), stay);
        }
        if !is_package {
            return Err(Refusal::NotKept { reference: entry.reference.clone(), version: version.to_string() });
        }
        let package: PackageRef = entry.reference.parse().map_err(PackageError::from)?;
        if !matches!(package.wanted(), Wanted::Matching(_)) || !package.takes(version) {
            return Err(not_taken());
        }
        let at = package.at_tag(&tag_of(version)).ok_or_else(not_taken)?;
        let (_, build) = self.fetch(packages, &at).await?;
        let changes = changes(&entry.build, &build);
        if changes.iter().any(|change| change.wider) && !accepted {
            return Err(wider_than(entry, changes));
        }
        self.set(entry, build, stay)
    }

    /// Have an entry mean what it meant before, and stay so.
    ///
    /// # Errors
    /// When it never meant anything else, or that is not to be had any more.
    pub async fn rollback(&self, entry: &Entry) -> Result<Entry, Refusal> {
        let packages = self.with_lock()?;
        let build = entry.previous.first().ok_or_else(|| Refusal::NothingBefore(entry.reference.clone()))?;
        self.load_build(packages, entry, build).await?;
        let is_package = entry.is_package();
        self.set(entry, build.clone(), |entry| (entry.pinned, entry.kept) = (true, !is_package))
    }

    /// Forget an entry, and what only it needed. Answers how many bytes that freed.
    ///
    /// # Errors
    /// When the lock cannot be written.
    pub fn forget(&self, entry: &Entry) -> Result<u64, Refusal> {
        let packages = self.with_lock()?;
        let needed = packages.lock().change(|lock| {
            lock.remove(&entry.reference);
            lock.needed()
        });
        let needed = needed.map_err(PackageError::from)?;
        let builds = std::iter::once(&entry.build).chain(&entry.previous);
        let digests = builds.flat_map(|build| {
            [Some(&build.component), build.manifest.as_ref()].into_iter().flatten().chain(&build.bundles)
        });
        let mut freed = 0;
        for digest in digests.filter(|digest| !needed.contains(digest)) {
            freed += std::fs::metadata(packages.blobs().path(digest)).map_or(0, |file| file.len());
            packages.blobs().remove(digest);
        }
        Ok(freed + packages.blobs().sweep(&needed))
    }
}

/// Whether a version was moved or is older: against what is locked, and what was before.
fn drift(entry: &Entry, locked: &Version, found: &Version, digest: &str) -> Result<(), Refusal> {
    let reference = entry.reference.clone();
    let builds = std::iter::once(&entry.build).chain(&entry.previous);
    let same = builds.filter(|build| build.version == found.to_string()).find_map(|build| build.manifest.as_ref());
    if let Some(before) = same.filter(|before| before.as_str() != digest) {
        return Err(Refusal::Moved {
            reference,
            version: found.to_string(),
            locked: before.to_string(),
            found: digest.into(),
        });
    }
    if found < locked {
        return Err(Refusal::Downgrade { reference, locked: locked.to_string(), found: found.to_string() });
    }
    Ok(())
}

fn wider_than(entry: &Entry, changes: Vec<Change>) -> Refusal {
    Refusal::Wider {
        reference: entry.reference.clone(),
        name: entry.name.clone(),
        locked: entry.build.version.clone(),
        changes,
    }
}
