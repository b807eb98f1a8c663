//! Whether a component in a file may be loaded: held against the policy before anything of it is compiled or asked.

use crate::known::Stamp;
use crate::locked::facts;
use crate::{Catalog, CatalogError, Loaded, Origin, Reference, known_as_file};
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

    /// Whether a component may be loaded that was read just now; who signed it. Those of the binary are as good as the binary, and one
    /// that was kept with a run was found good when that run began. The bytes are what is judged, whatever was found of the file before:
    /// between its stamp and its bytes somebody may have put another in its place.
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
        let Some((path, policy)) = self.ruled(name, origin) else { return Ok(None) };
        // Taken before the bundle is read, as the component's was.
        let bundle = bundle_stamp(path);
        let bundles = read(path)?;
        let signer = policy.check(name, &Subject::file(component), &bundles).map_err(CatalogError::Untrusted)?;
        if let Some(stamp) = stamp {
            let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
            if judged.len() >= KEPT {
                judged.clear();
            }
            let one =
                Judged { name: name.to_owned(), component: stamp.clone(), bundle, policy, signer: signer.clone() };
            judged.insert(path.to_owned(), one);
        }
        Ok(signer)
    }

    /// The same of one that was let in under this stamp before, and is what was let in: it is judged anew only where something else is
    /// another by now.
    ///
    /// # Errors
    /// [`CatalogError::Untrusted`], [`CatalogError::Bundle`]
    pub(crate) fn check_known(
        &self,
        name: &str,
        origin: &Origin,
        stamp: Option<&Stamp>,
        component: &[u8],
    ) -> Result<Option<Signer>, CatalogError> {
        let Some((path, policy)) = self.ruled(name, origin) else { return Ok(None) };
        match self.judged(path, name, stamp, bundle_stamp(path).as_ref(), &policy) {
            Some(signer) => Ok(signer),
            None => self.check(name, origin, stamp, component),
        }
    }

    /// A file for whose name there is a rule, and the policy that has it.
    fn ruled<'o>(&self, name: &str, origin: &'o Origin) -> Option<(&'o Path, Arc<Policy>)> {
        let Origin::File(path) = origin else { return None };
        let policy = self.policy();
        policy.has_rule(name).then_some((path.as_path(), policy))
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
    /// Whether the policy lets in a component that was read from a file, as one that is run by its path. For who looks at one by the sandbox
    /// alone: nothing of it may be compiled or asked before.
    ///
    /// # Errors
    /// [`CatalogError::Untrusted`], [`CatalogError::Bundle`]
    pub fn lets_in(&self, path: &Path, component: &[u8]) -> Result<(), CatalogError> {
        self.trusted.check(&known_as_file(path), &Origin::File(path.into()), None, component).map(drop)
    }

    /// Whether the policy lets a component do a run that it was kept with, under the reference that names it now. No signature was kept
    /// with it: where a rule asks for one, the build that lies there now, or one that the lock knows, has to do it.
    pub fn may_go_on(&self, reference: &str, component: &[u8]) -> bool {
        let known_as = if PackageRef::is_meant(reference) {
            reference.parse::<PackageRef>().map(|package| package.name()).ok()
        } else {
            match Reference::parse(reference) {
                Some(Reference::Name { name, .. }) => Some(name),
                Some(Reference::File(path)) => Some(known_as_file(&path)),
                None => None,
            }
        };
        known_as.is_some_and(|name| self.trusted.policy().check(&name, &Subject::file(component), &[]).is_ok())
    }

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

fn bundle_stamp(path: &Path) -> Option<Stamp> {
    Stamp::of(&Origin::File(bundle_of(path)))
}

fn read(path: &Path) -> Result<Vec<Vec<u8>>, CatalogError> {
    bundles_beside(path).map_err(|error| CatalogError::Bundle { path: bundle_of(path), error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_config::{Config, Source};
    use rota_packages::trust::{SigningKey, sign_component};

    const SIGNED: &[u8] = b"\0asm, which is signed";
    const OTHER: &[u8] = b"\0asm, put in its place";

    #[test]
    fn bytes_that_came_after_the_stamp_are_judged_themselves() {
        let folder = tempfile::tempdir().unwrap();
        let (key, _) = SigningKey::generate(None).unwrap();
        std::fs::write(folder.path().join("growth.pub"), key.public().to_pem()).unwrap();
        let name = folder.path().join("rota.toml").display().to_string();
        let text = "[trust.\"*\"]\nsigned-by = [{ key = \"file:growth.pub\" }]\n";
        let Ok(config) = Config::load(&Source::empty().with_text(name, text)) else { panic!("it is sound") };
        let trusted = Trusted::default();
        trusted.set(Arc::new(Policy::from_config(&config.trust)));

        let file = folder.path().join("report.wasm");
        std::fs::write(&file, SIGNED).unwrap();
        std::fs::write(bundle_of(&file), sign_component(&key, SIGNED).unwrap()).unwrap();
        let origin = Origin::File(file);
        let stamp = Stamp::of(&origin);
        let read = |bytes| trusted.check("report", &origin, stamp.as_ref(), bytes);
        assert!(read(SIGNED).unwrap().is_some());
        // The file was another between its stamp and its bytes.
        assert!(matches!(read(OTHER), Err(CatalogError::Untrusted(_))));
        // What was let in and is held in memory is not judged anew.
        assert!(trusted.check_known("report", &origin, stamp.as_ref(), SIGNED).unwrap().is_some());
    }
}
