//! Whether a component in a file may be loaded: held against the policy before anything of it is compiled or asked.

use crate::known::Stamp;
use crate::{CatalogError, Origin};
use rota_packages::trust::{Policy, Signer, Subject, Verdict, bundle_of, bundles_beside};
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
    pub(crate) fn set(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    fn policy(&self) -> Arc<Policy> {
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

fn read(path: &Path) -> Result<Vec<Vec<u8>>, CatalogError> {
    bundles_beside(path).map_err(|error| CatalogError::Bundle { path: bundle_of(path), error })
}
