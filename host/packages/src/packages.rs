//! Packages together: resolved, pulled, kept, locked, and held against the rules of trust before anything of them is used.

use crate::artifact::{self, LARGEST_MANIFEST};
use crate::error::{PackageError, RegistryError};
use crate::referrers::BUNDLE;
use crate::registry::{Manifest, Registry};
use crate::trust::Subject;
use crate::{Blobs, Build, Digest, Docker, LARGEST_COMPONENT, LockFile, PackageRef, Wanted, tag_of, version_of};
use semver::Version;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The largest signature that is read, bytes.
const LARGEST_BUNDLE: u64 = 1 << 20;

/// The rules of trust.
pub trait Judge: Send + Sync {
    /// Whether what is called so (`registry/repository`, or a plugin's own name) may be used, and who signed it.
    ///
    /// # Errors
    /// Why not, in words for people.
    fn judge(&self, name: &str, subject: &Subject<'_>, bundles: &[Vec<u8>]) -> Result<Option<String>, String>;
}

/// No rules: everybody is let in.
struct Everybody;

impl Judge for Everybody {
    fn judge(&self, _: &str, _: &Subject<'_>, _: &[Vec<u8>]) -> Result<Option<String>, String> {
        Ok(None)
    }
}

/// What a reference means in its registry now.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The tag that led there; none where a digest did.
    pub tag: Option<String>,
    /// The version that the tag stands for.
    pub version: Option<Version>,
    /// The manifest.
    pub manifest: Manifest,
}

/// A package that may be used.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// Its name: `registry/repository`.
    pub name: String,
    /// The version that its tag stands for.
    pub version: Option<Version>,
    /// Its manifest.
    pub manifest: Digest,
    /// Its component.
    pub component: Digest,
    /// The component itself.
    pub bytes: Vec<u8>,
    /// What was attached to it as a signature.
    pub bundles: Vec<Digest>,
    /// Who signed it, as far as the rules of trust ask.
    pub signer: Option<String>,
}

/// The packages of a host.
pub struct Packages {
    blobs: Blobs,
    lock: LockFile,
    docker: Docker,
    policy: RwLock<Arc<dyn Judge>>,
    /// Counts the policies, so that what was judged by another is judged again.
    policies: AtomicU64,
    registries: Mutex<HashMap<String, Arc<Registry>>>,
}

impl Packages {
    /// With a cache in a folder and the lock at a path.
    pub fn new(cache: &Path, lock: LockFile, docker: Docker) -> Self {
        Self {
            blobs: Blobs::new(cache),
            lock,
            docker,
            policy: RwLock::new(Arc::new(Everybody)),
            policies: AtomicU64::new(0),
            registries: Mutex::default(),
        }
    }

    /// Held to these rules of trust from now on.
    pub fn trust(&self, policy: Arc<dyn Judge>) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
        self.policies.fetch_add(1, Ordering::SeqCst);
    }

    /// Which rules of trust they are: another number after each change.
    pub fn rules(&self) -> u64 {
        self.policies.load(Ordering::SeqCst)
    }

    /// The lock.
    pub fn lock(&self) -> &LockFile {
        &self.lock
    }

    /// The cache.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// The registry of a package.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn registry(&self, name: &str) -> Result<Arc<Registry>, RegistryError> {
        let mut registries = self.registries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(registry) = registries.get(name) {
            return Ok(registry.clone());
        }
        let registry = Arc::new(Registry::new(name, self.docker.clone())?);
        registries.insert(name.into(), registry.clone());
        Ok(registry)
    }

    /// The versions of a package, the highest first. Tags that stand for none (`latest`) are left out.
    ///
    /// # Errors
    /// When the registry does not tell.
    pub async fn versions(&self, package: &PackageRef) -> Result<Vec<Version>, PackageError> {
        let tags = self.registry(package.registry())?.tags(package.repository()).await?;
        let mut versions: Vec<Version> = tags.iter().filter_map(|tag| version_of(tag)).collect();
        versions.sort_unstable_by(|a, b| b.cmp(a));
        versions.dedup();
        Ok(versions)
    }

    /// What a reference means in its registry now.
    ///
    /// # Errors
    /// When nothing there is what it says.
    pub async fn resolve(&self, package: &PackageRef) -> Result<Resolved, PackageError> {
        let registry = self.registry(package.registry())?;
        let tag = match package.wanted() {
            Wanted::Digest(digest) => {
                let manifest = registry.manifest(package.repository(), digest.as_str()).await?;
                return Ok(Resolved { tag: None, version: None, manifest });
            }
            Wanted::Tag(tag) => tag.clone(),
            Wanted::Matching(requirement) => {
                let versions = self.versions(package).await?;
                let Some(highest) = versions.iter().find(|version| package.takes(version)) else {
                    return Err(PackageError::NoVersion {
                        name: package.name(),
                        wanted: requirement.to_string(),
                        there: versions.iter().take(6).map(ToString::to_string).collect(),
                    });
                };
                tag_of(highest)
            }
        };
        let manifest = registry.manifest(package.repository(), &tag).await?;
        Ok(Resolved { version: version_of(&tag), tag: Some(tag), manifest })
    }

    /// Fetch what a reference was resolved to, and hold it against the rules of trust. It is not locked by that.
    ///
    /// # Errors
    /// When it is no package, cannot be had, or is not let in.
    pub async fn pull(&self, package: &PackageRef, resolved: &Resolved) -> Result<Pulled, PackageError> {
        let at = package.at_digest(resolved.manifest.digest.clone());
        let (component, bytes) = self.component(&at, &resolved.manifest.bytes).await?;
        let bundles = self.signatures(&at, &resolved.manifest.digest).await?;
        let signer = self.judge_package(package, &resolved.manifest, &bytes, &bundles)?;
        self.let_in(package, resolved.version.clone(), &resolved.manifest, (component, bytes), &bundles, signer)
    }

    /// A build that was locked: out of the cache, or by its digests from the registry; held against the rules of trust as they are now.
    ///
    /// # Errors
    /// As for [`Packages::pull`].
    pub async fn open(&self, package: &PackageRef, build: &Build, manifest: &Digest) -> Result<Pulled, PackageError> {
        let bytes = match self.cached(manifest, LARGEST_MANIFEST).await? {
            Some(bytes) => bytes,
            None => {
                tracing::info!(package = package.name(), %manifest, "a locked package is not in the cache, and is fetched by its digest");
                self.registry(package.registry())?.manifest(package.repository(), manifest.as_str()).await?.bytes
            }
        };
        let manifest = Manifest { bytes, digest: manifest.clone() };
        let (component, bytes) = self.component(package, &manifest.bytes).await?;
        let mut bundles = self.bundles_of(build).await?;
        if bundles.len() < build.bundles.len() {
            bundles = self.signatures(package, &manifest.digest).await?;
        }
        let version = Version::parse(&build.version).ok();
        let signer = match self.judge_package(package, &manifest, &bytes, &bundles) {
            // It may have been signed since: the registry knows.
            Err(refused @ PackageError::Untrusted { .. }) => match self.signatures(package, &manifest.digest).await {
                Ok(there) if there != bundles => {
                    bundles = there;
                    self.judge_package(package, &manifest, &bytes, &bundles)?
                }
                Ok(_) => return Err(refused),
                Err(error) => {
                    tracing::info!(package = package.name(), %error, "whether a package was signed since it was pulled cannot be asked");
                    return Err(refused);
                }
            },
            judged => judged?,
        };
        self.let_in(package, version, &manifest, (component, bytes), &bundles, signer)
    }

    /// A component of the cache alone: one of the plugin folder that was kept when it was locked.
    ///
    /// # Errors
    /// When the cache cannot be read.
    pub async fn kept(&self, component: &Digest) -> Result<Option<Vec<u8>>, PackageError> {
        self.cached(component, LARGEST_COMPONENT).await
    }

    /// The signatures that were kept with a build, as far as they are in the cache.
    ///
    /// # Errors
    /// When the cache cannot be read.
    pub async fn bundles_of(&self, build: &Build) -> Result<Vec<Vec<u8>>, PackageError> {
        let mut bundles = Vec::new();
        for digest in &build.bundles {
            bundles.extend(self.cached(digest, LARGEST_BUNDLE).await?);
        }
        Ok(bundles)
    }

    /// Hold something against the rules of trust.
    ///
    /// # Errors
    /// When it is not let in.
    pub fn judge(
        &self,
        name: &str,
        subject: &Subject<'_>,
        bundles: &[Vec<u8>],
    ) -> Result<Option<String>, PackageError> {
        let policy = self.policy.read().unwrap_or_else(PoisonError::into_inner).clone();
        policy.judge(name, subject, bundles).map_err(|reason| PackageError::Untrusted { name: name.into(), reason })
    }

    /// What is attached to a manifest as a signature.
    ///
    /// # Errors
    /// When the registry does not tell.
    pub async fn signatures(&self, package: &PackageRef, manifest: &Digest) -> Result<Vec<Vec<u8>>, PackageError> {
        let registry = self.registry(package.registry())?;
        let found = registry.referrers(package.repository(), manifest, BUNDLE, &self.blobs).await?;
        Ok(found.into_iter().map(|referrer| referrer.content).collect())
    }

    fn judge_package(
        &self,
        package: &PackageRef,
        manifest: &Manifest,
        component: &[u8],
        bundles: &[Vec<u8>],
    ) -> Result<Option<String>, PackageError> {
        self.judge(&package.name(), &Subject { manifest: Some(&manifest.bytes), component }, bundles)
    }

    /// What was found good, kept as far as it is not.
    fn let_in(
        &self,
        package: &PackageRef,
        version: Option<Version>,
        manifest: &Manifest,
        component: (Digest, Vec<u8>),
        bundles: &[Vec<u8>],
        signer: Option<String>,
    ) -> Result<Pulled, PackageError> {
        let (component, bytes) = component;
        let name = package.name();
        self.blobs.put(&manifest.bytes)?;
        let bundles = bundles.iter().map(|bundle| self.blobs.put(bundle)).collect::<Result<_, _>>()?;
        Ok(Pulled { name, version, manifest: manifest.digest.clone(), component, bytes, bundles, signer })
    }

    /// The component that a manifest leads to.
    async fn component(&self, package: &PackageRef, manifest: &[u8]) -> Result<(Digest, Vec<u8>), PackageError> {
        let wrong = |error| PackageError::NotAPackage { name: package.to_string(), error };
        let artifact::Package { component, size } = artifact::judge(manifest).map_err(wrong)?;
        if let Some(bytes) = self.cached(&component, size).await? {
            return Ok((component, bytes));
        }
        self.registry(package.registry())?.blob(package.repository(), &component, size, &self.blobs).await?;
        let bytes = self.cached(&component, size).await?.ok_or_else(|| RegistryError::NotFound {
            what: format!("the content {component}, just fetched,"),
            said: String::new(),
        })?;
        Ok((component, bytes))
    }

    /// Content of the cache, read and verified beside the threads that runs are driven by.
    async fn cached(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, PackageError> {
        let (blobs, wanted) = (self.blobs.clone(), digest.clone());
        let read = tokio::task::spawn_blocking(move || blobs.get(&wanted, limit)).await;
        let broken =
            |error| crate::BlobError::Read { path: self.blobs.path(digest), error: std::io::Error::other(error) };
        Ok(read.map_err(broken)??)
    }
}
