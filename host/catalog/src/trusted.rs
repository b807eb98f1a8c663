//! Whether a component in a file may be loaded: held against the policy before anything of it is compiled or asked.

use crate::known::Stamp;
use crate::locked::facts;
use crate::{Catalog, CatalogError, Loaded, Origin};
use rota_packages::artifact::LARGEST_MANIFEST;
use rota_packages::trust::{LARGEST_BUNDLE, Policy, Signer, Subject, Verdict, bundle_of, bundles_beside};
use rota_packages::{Build, PackageError, PackageRef, Packages};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// As many as are known.
const KEPT: usize = 64;

/// A policy, and what it said last of which file.
#[derive(Default)]
pub(crate) struct Trusted {
    policy: RwLock<Arc<Policy>>,
    judged: Mutex<HashMap<PathBuf, Judged>>,
}

/// A file that was found good. It is so as long as nothing of this is another: the component, its bundle, its name, the policy.
struct Judged {
    name: String,
    component: Stamp,
    bundle: Option<Stamp>,
    policy: Arc<Policy>,
    signer: Option<Signer>,
}

impl Trusted {
    pub(crate) fn set(&self, policy: Arc<Policy>) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a component may be loaded; who signed it. Those of the binary are as good as the binary, and one that was kept with a
    /// run was found good when that run began.
    ///
    /// # Errors
    /// [`CatalogError::Untrusted`], [`CatalogError::Bundle`]
    pub(crate) fn check(
        &self,
        name: &str,
        origin: &Origin,
        stamp: Option<&Stamp>,
        component: &[u8],
    ) -> Result<Option<Signer>, CatalogError> {
        let Origin::File(path) = origin else { return Ok(None) };
        let policy = self.policy();
        if !policy.has_rule(name) {
            return Ok(None);
        }
        // Taken before the bundle is read, as the component's was.
        let bundle = Stamp::of(&Origin::File(bundle_of(path)));
        if let Some(signer) = self.judged(path, name, stamp, bundle.as_ref(), &policy) {
            return Ok(signer);
        }
        let bundles = read(path)?;
        let signer = policy.check(name, &Subject::file(component), &bundles).map_err(CatalogError::Untrusted)?;
        if let Some(stamp) = stamp {
            let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
            if judged.len() >= KEPT {
                judged.clear();
            }
            let one =
                Judged { name: name.to_owned(), component: stamp.clone(), bundle, policy, signer: signer.clone() };
            judged.insert(path.clone(), one);
        }
        Ok(signer)
    }

    fn judged(
        &self,
        path: &Path,
        name: &str,
        component: Option<&Stamp>,
        bundle: Option<&Stamp>,
        policy: &Arc<Policy>,
    ) -> Option<Option<Signer>> {
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let one = judged.get(path)?;
        let same = one.name == name
            && Some(&one.component) == component
            && one.bundle.as_ref() == bundle
            && Arc::ptr_eq(&one.policy, policy);
        same.then(|| one.signer.clone())
    }

    /// What the policy says of a file, with what it says it by; none of what is no file.
    ///
    /// # Errors
    /// [`CatalogError::Bundle`]
    pub(crate) fn verdict(
        &self,
        name: &str,
        origin: &Origin,
        component: &[u8],
    ) -> Result<Option<Verdict>, CatalogError> {
        let Origin::File(path) = origin else { return Ok(None) };
        Ok(Some(self.policy().judge(name, &Subject::file(component), &read(path)?)))
    }
}

impl Catalog {
    /// What the policy says of a package that is locked, as far as all of it is in the cache.
    pub(crate) async fn verdict_of_package(&self, text: &str) -> Result<Option<Verdict>, CatalogError> {
        let Some(packages) = self.packages.as_ref() else { return Ok(None) };
        let package: PackageRef = text.parse().map_err(PackageError::from)?;
        let lock = packages.lock().read().map_err(PackageError::from)?;
        let Some(build) = lock.get(&package.to_string()).map(|entry| &entry.build) else { return Ok(None) };
        let Some(manifest) = &build.manifest else { return Ok(None) };
        let manifest = packages.blobs().get(manifest, LARGEST_MANIFEST).map_err(PackageError::from)?;
        let (Some(manifest), Some(component)) = (manifest, packages.kept(&build.component).await?) else {
            return Ok(None);
        };
        let bundles = packages.bundles_of(build).await?;
        Ok(Some(self.trusted.policy().judge(&package.name(), &Subject::package(&manifest, &component), &bundles)))
    }

    /// What a lock says of a build of the plugin folder. The component is kept, to be able to go back to it, and so is its signature,
    /// by which it is judged again then.
    pub(crate) fn facts_of_file(
        &self,
        packages: &Packages,
        path: &Path,
        loaded: &Loaded,
    ) -> Result<Build, CatalogError> {
        packages.blobs().put(&loaded.component).map_err(PackageError::from)?;
        let mut build = facts(loaded, None);
        let bundles = read(path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        build.signer = packages.judge(&name, &Subject::file(&loaded.component), &bundles)?;
        for bundle in bundles.iter().filter(|bundle| bundle.len() <= LARGEST_BUNDLE) {
            build.bundles.push(packages.blobs().put(bundle).map_err(PackageError::from)?);
        }
        Ok(build)
    }
}

fn read(path: &Path) -> Result<Vec<Vec<u8>>, CatalogError> {
    bundles_beside(path).map_err(|error| CatalogError::Bundle { path: bundle_of(path), error })
}
