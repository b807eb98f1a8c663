//! Where plugins come from: the first-party ones in the binary, components in the plugin folder, packages of registries, and files by path.
//!
//! [`Catalog::load`] answers a checked, compiled plugin with its descriptor. Everything is lazy: nothing is read or compiled before
//! it is asked for. What `[trust]` of the configuration does not trust is neither compiled nor run ([`Catalog::trust`]).

mod descriptor;
mod first_party;
mod javascript;
mod known;
mod lint;
mod locked;
mod reference;
mod trusted;
mod update;

pub use descriptor::{
    DescriptorProblem, capabilities, changes_nothing, check as check_descriptor, only_reads,
    problems as descriptor_problems, words as access_words,
};
pub use javascript::{JavascriptError, LONGEST_JAVASCRIPT, is_javascript, javascript, load as load_component};
pub use lint::{Finding, Level, is_usable, lint};
pub use locked::facts;
pub use reference::Reference;
pub use update::{Refusal, Step, Update};

use first_party::FIRST_PARTY;
use known::{Known, Stamp};
use locked::Locking;
use rota_contract::Descriptor;
use rota_packages::trust::{Policy, Untrusted, Verdict};
use rota_packages::{PackageRef, Packages};
use rota_sandbox::{LoadError, Plugin, Sandbox};
use semver::{Version, VersionReq};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trusted::Trusted;

/// A plugin that is known, not yet loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a plugin comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The binary, under this name.
    FirstParty(&'static str),
    /// A file.
    File(PathBuf),
    /// A build that a lock names: of a registry, or kept of the plugin folder.
    Package {
        /// What names it.
        reference: String,
        /// The component's digest, hexadecimal.
        component: String,
    },
    /// The store, which kept it with a run.
    Kept,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::FirstParty(_) => f.write_str("built in"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Package { reference, .. } => f.write_str(reference),
            Self::Kept => f.write_str("kept with a run"),
        }
    }
}

/// A plugin that can be run.
#[derive(Clone)]
pub struct Loaded {
    /// The compiled component.
    pub plugin: Plugin,
    /// What it says of itself, checked.
    pub descriptor: Arc<Descriptor>,
    /// Where it came from.
    pub origin: Origin,
    /// The component's size, bytes.
    pub size: u64,
    /// The component itself, for whoever has to keep exactly this build.
    pub component: Arc<[u8]>,
}

/// Why a plugin could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// No plugin of the name.
    #[error("there is no plugin or job `{name}`{}; `rota plugins list` shows the plugins, and a path to a .wasm file runs that file", did_you_mean(.nearest))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The nearest name there is.
        nearest: Option<String>,
    },
    /// The version that is there is not the one asked for.
    #[error("plugin `{name}` is here in version {found}, which is not `{wanted}`")]
    Version {
        /// The plugin.
        name: String,
        /// What was asked for.
        wanted: String,
        /// What is here.
        found: String,
    },
    /// An entry of the lock is not whole.
    #[error(
        "the entry of the lock for {reference} names no manifest, which is what a package is signed and judged by; somebody has changed it: `rota plugins remove` and `rota plugins pull` make it anew"
    )]
    NoManifest {
        /// What was asked for.
        reference: String,
    },
    /// The reference cannot be read.
    #[error(
        "`{0}` is no plugin reference: write a name (`postgres-backup`), a name and version (`postgres-backup@1`), a package (`registry.example/growth/expired-sessions@1`) or a path to a .wasm file"
    )]
    Reference(String),
    /// The file cannot be read.
    #[error("the plugin file {} cannot be read: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Its signature is not enough, or it has none.
    #[error("plugin {0}")]
    Untrusted(Box<Untrusted>),
    /// Its bundle is there and cannot be read.
    #[error("the signature {} cannot be read: {error}", .path.display())]
    Bundle {
        /// The bundle.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A package cannot be had, or is not let in.
    #[error(transparent)]
    Package(#[from] rota_packages::PackageError),
    /// No packages here.
    #[error("`{0}` is a package of a registry, and this catalog has plugins of the binary and of files only")]
    NoPackages(String),
    /// A package says that it is another version than its tag.
    #[error(
        "{reference} was published as {tag}, and the plugin in it says that it is {says}: one of them is wrong, and it is not used"
    )]
    OtherVersion {
        /// What was asked for.
        reference: String,
        /// The version of the tag.
        tag: String,
        /// The version that it says.
        says: String,
    },
    /// The plugin folder holds another build than the locked one.
    #[error("the file {} is another build of `{name}` than {version}, which is locked for `{reference}`; `rota plugins update {reference}` takes it and shows what differs, `rota plugins pin {name}@{version}` goes on with the locked one", .path.display())]
    OtherBuild {
        /// The file.
        path: PathBuf,
        /// The plugin.
        name: String,
        /// What is locked.
        reference: String,
        /// The locked version.
        version: String,
    },
    /// What the lock says is not here any more.
    #[error(
        "the lock says {version} for `{reference}`, and that build (sha-256 {component}) is neither in the cache nor in a registry; `rota plugins update {reference}` takes what is there now"
    )]
    Gone {
        /// What is locked.
        reference: String,
        /// The locked version.
        version: String,
        /// Its digest.
        component: String,
    },
    /// The component cannot be run here.
    #[error("plugin `{name}`: {error}")]
    Load {
        /// The plugin.
        name: String,
        /// Why.
        error: LoadError,
    },
    /// It does not say what it is.
    #[error("plugin `{name}` does not describe itself: {said}")]
    Describe {
        /// The plugin.
        name: String,
        /// What it did instead.
        said: String,
    },
    /// What it says of itself is not sound.
    #[error("plugin `{name}`: {problem}")]
    Descriptor {
        /// The plugin.
        name: String,
        /// What is wrong.
        problem: DescriptorProblem,
    },
}

fn did_you_mean(name: &Option<String>) -> String {
    name.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default()
}

/// A plugin that was asked for.
struct Asked {
    /// For messages.
    name: String,
    /// The version, if one was.
    wanted: Option<semver::VersionReq>,
    origin: Origin,
    /// What rules of `[trust]` know it as.
    known_as: String,
}

/// The largest component that is read, bytes: a Python guest has about 20 MB.
const MAX_COMPONENT: u64 = 256 << 20;

/// The plugins of a host.
pub struct Catalog {
    sandbox: Arc<Sandbox>,
    folder: Option<PathBuf>,
    known: Known,
    trusted: Trusted,
    packages: Option<Arc<Packages>>,
}

impl Catalog {
    /// A catalog over the binary's own plugins and those of a folder (`NAME.wasm`).
    pub fn new(sandbox: Arc<Sandbox>, folder: Option<PathBuf>) -> Self {
        Self { sandbox, folder, known: Known::default(), packages: None, trusted: Trusted::default() }
    }

    /// With packages of registries, and the lock that says which.
    #[must_use]
    pub fn with_packages(self, packages: Arc<Packages>) -> Self {
        packages.trust(self.trusted.policy());
        Self { packages: Some(packages), ..self }
    }

    /// The packages.
    pub fn packages(&self) -> Option<&Arc<Packages>> {
        self.packages.as_ref()
    }

    /// From now on, load only what this policy trusts, from wherever. Without one, everything is: it is what `[trust]` of the
    /// configuration says.
    pub fn trust(&self, policy: Policy) {
        let policy = Arc::new(policy);
        if let Some(packages) = &self.packages {
            packages.trust(policy.clone());
        }
        self.trusted.set(policy);
    }

    /// What the policy says of a plugin in a file or of a locked package, and by what: whose signatures it takes, and whose the plugin
    /// has. None of a plugin of the binary, nor of a package that is not locked or not in the cache. Nothing of it is compiled or run.
    ///
    /// # Errors
    /// When there is no such plugin, or it or its signature cannot be read.
    pub async fn verdict(&self, reference: &str) -> Result<Option<Verdict>, CatalogError> {
        if PackageRef::is_meant(reference) {
            return self.verdict_of_package(reference).await;
        }
        let Asked { name, origin, known_as, .. } = self.asked(reference)?;
        match origin {
            Origin::File(_) => self.trusted.verdict(&known_as, &origin, &self.read(&name, &origin)?),
            _ => Ok(None),
        }
    }

    /// The sandbox that the plugins are compiled for.
    pub fn sandbox(&self) -> &Arc<Sandbox> {
        &self.sandbox
    }

    /// All plugins by name; one in the folder hides the binary's of the same name.
    pub fn list(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> =
            FIRST_PARTY.iter().map(|p| Entry { name: p.name.into(), origin: Origin::FirstParty(p.name) }).collect();
        for path in self.folder.iter().flat_map(std::fs::read_dir).flatten().flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|e| e == "wasm")
                && let Some(name) = path.file_stem().and_then(|s| s.to_str())
            {
                entries.retain(|e| e.name != name);
                entries.push(Entry { name: name.into(), origin: Origin::File(path.clone()) });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    /// The packages that are locked; none where the lock cannot be read, which each use of one says.
    pub fn packages_locked(&self) -> Vec<Entry> {
        let lock = self.packages.as_ref().and_then(|packages| packages.lock().read().ok());
        let entries = lock.iter().flat_map(|lock| lock.entries()).filter(|entry| entry.is_package() || entry.kept);
        let entry = |entry: &rota_packages::Entry| Entry {
            name: entry.reference.clone(),
            origin: Origin::Package {
                reference: entry.reference.clone(),
                component: entry.build.component.hex().to_owned(),
            },
        };
        entries.map(entry).collect()
    }

    /// Load a plugin to run it: by name, by name and version, as a package, or by path. What has a version is locked by that, if it is not.
    ///
    /// # Errors
    /// [`CatalogError`], which says what to do.
    pub async fn load(&self, reference: &str) -> Result<Loaded, CatalogError> {
        self.load_as(reference, Locking::Lock).await
    }

    /// The same to look at it: nothing is locked.
    ///
    /// # Errors
    /// As for [`Catalog::load`].
    pub async fn look(&self, reference: &str) -> Result<Loaded, CatalogError> {
        self.load_as(reference, Locking::Look).await
    }

    async fn load_as(&self, reference: &str, locking: Locking) -> Result<Loaded, CatalogError> {
        if PackageRef::is_meant(reference) {
            return self.load_package(reference, locking).await;
        }
        if let Some(kept) = self.load_kept(reference).await? {
            return Ok(kept);
        }
        let Asked { name, wanted, origin, known_as } = self.asked(reference)?;
        let loaded = self.load_from(&name, &known_as, &origin).await?;
        if let Some(wanted) = wanted {
            is_the_version(&name, &wanted, &loaded)?;
        }
        self.held_to_the_lock(reference, &loaded, locking)?;
        Ok(loaded)
    }

    /// Load the component in a file, whatever the file is called: as one that is run by its path.
    ///
    /// # Errors
    /// [`CatalogError`], which says what to do.
    pub async fn load_file(&self, path: &Path) -> Result<Loaded, CatalogError> {
        self.load_from(&path.display().to_string(), &known_as_file(path), &Origin::File(path.into())).await
    }

    /// Load what is known before, or read it: whatever it is, held against the policy first.
    async fn load_from(&self, name: &str, known_as: &str, origin: &Origin) -> Result<Loaded, CatalogError> {
        // Taken before the file is read: what changes meanwhile is read again next time.
        let stamp = Stamp::of(origin);
        if let Some(loaded) = stamp.as_ref().and_then(|stamp| self.known.get(origin, stamp)) {
            self.trusted.check_known(known_as, origin, stamp.as_ref(), &loaded.component)?;
            return Ok(loaded);
        }
        let component = self.read(name, origin)?;
        // Before it is compiled, or asked what it is.
        self.trusted.check(known_as, origin, stamp.as_ref(), &component)?;
        let loaded = self.load_component(name, component, origin.clone()).await?;
        if let Some(stamp) = stamp {
            self.known.put(stamp, loaded.clone());
        }
        Ok(loaded)
    }

    /// Load a component that this host kept with a run, under a name for messages. The policy is not asked: it was when that run began.
    ///
    /// # Errors
    /// [`CatalogError`], which says what to do.
    pub async fn load_bytes(&self, name: &str, component: Vec<u8>) -> Result<Loaded, CatalogError> {
        self.load_component(name, component, Origin::Kept).await
    }

    /// What a reference asks for.
    fn asked(&self, reference: &str) -> Result<Asked, CatalogError> {
        match Reference::parse(reference).ok_or_else(|| CatalogError::Reference(reference.into()))? {
            Reference::File(path) => Ok(Asked {
                name: path.display().to_string(),
                wanted: None,
                known_as: known_as_file(&path),
                origin: Origin::File(path),
            }),
            Reference::Name { name, version } => {
                let origin = self.find(&name)?;
                Ok(Asked { known_as: name.clone(), name, wanted: version, origin })
            }
        }
    }

    async fn load_component(&self, name: &str, component: Vec<u8>, origin: Origin) -> Result<Loaded, CatalogError> {
        let component: Arc<[u8]> = component.into();
        let loaded = match origin {
            Origin::FirstParty(_) => self.sandbox.load_own(component.clone()).await,
            _ => javascript::load(&self.sandbox, component.clone()).await,
        };
        let plugin = loaded.map_err(|error| CatalogError::Load { name: name.into(), error })?;
        let described = self.sandbox.describe(&plugin).await;
        let descriptor = described.map_err(|said| CatalogError::Describe { name: name.into(), said })?;
        check_descriptor(&descriptor, plugin.interfaces())
            .map_err(|problem| CatalogError::Descriptor { name: name.into(), problem })?;
        Ok(Loaded { plugin, descriptor: Arc::new(descriptor), origin, size: component.len() as u64, component })
    }

    fn find(&self, name: &str) -> Result<Origin, CatalogError> {
        // The folder may hold thousands: it is looked into, not through.
        let file = self.folder.as_ref().map(|folder| folder.join(format!("{name}.wasm")));
        if let Some(file) = file.filter(|file| file.symlink_metadata().is_ok()) {
            return Ok(Origin::File(file));
        }
        if let Some(ours) = FIRST_PARTY.iter().find(|plugin| plugin.name == name) {
            return Ok(Origin::FirstParty(ours.name));
        }
        let nearest = self
            .list()
            .into_iter()
            .map(|e| (strsim::jaro_winkler(&e.name, name), e.name))
            .filter(|(likeness, _)| *likeness > 0.8);
        let nearest = nearest.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name);
        Err(CatalogError::Unknown { name: name.into(), nearest })
    }

    fn read(&self, name: &str, origin: &Origin) -> Result<Vec<u8>, CatalogError> {
        match origin {
            Origin::FirstParty(_) => {
                first_party::component(name).ok_or_else(|| CatalogError::Unknown { name: name.into(), nearest: None })
            }
            Origin::File(path) => read_file(path).map_err(|error| CatalogError::File { path: path.clone(), error }),
            Origin::Kept | Origin::Package { .. } => Err(CatalogError::Unknown { name: name.into(), nearest: None }),
        }
    }
}

/// Whether a component is of the version that was asked for, or was locked.
pub(crate) fn is_the_version(name: &str, wanted: &VersionReq, loaded: &Loaded) -> Result<(), CatalogError> {
    let found = &loaded.descriptor.version;
    if Version::parse(found).is_ok_and(|found| wanted.matches(&found)) {
        return Ok(());
    }
    Err(CatalogError::Version { name: name.to_owned(), wanted: wanted.to_string(), found: found.clone() })
}

/// What rules of `[trust]` know a component as that is run by its path.
fn known_as_file(path: &Path) -> String {
    format!("file/{}", path.file_stem().unwrap_or_default().to_string_lossy())
}

/// A component's bytes, bounded.
///
/// # Errors
/// When it cannot be read, is no file or too large.
pub fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    rota_config::read_file(path, MAX_COMPONENT)
}
