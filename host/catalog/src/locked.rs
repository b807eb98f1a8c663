//! Plugins as the lock has them: packages of registries, and versions of the plugin folder.

use crate::known::Stamp;
use crate::{Catalog, CatalogError, Loaded, Origin, Reference, is_the_version};
use rota_contract::Descriptor;
use rota_packages::{Build, Digest, Entry, LockedSlot, PackageError, PackageRef, Packages, Pulled, Subject};
use serde_json::Value;
use std::sync::Arc;

/// Whether a reference that is not locked is locked when it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locking {
    Lock,
    Look,
}

/// The longest list of parameters that a lock keeps.
const MOST_PARAMETERS: usize = 200;

/// What a lock says of a build: what it is, and what it asks for.
pub fn facts(loaded: &Loaded, pulled: Option<&Pulled>) -> Build {
    let Descriptor { version, risk, confirmation, slots, parameters, .. } = loaded.descriptor.as_ref();
    let mut imports = loaded.plugin.interfaces().to_vec();
    imports.sort_unstable();
    Build {
        version: version.clone(),
        component: Digest::of(&loaded.component),
        size: loaded.size,
        manifest: pulled.map(|pulled| pulled.manifest.clone()),
        locked: now(),
        signer: pulled.and_then(|pulled| pulled.signer.clone()),
        bundles: pulled.map(|pulled| pulled.bundles.clone()).unwrap_or_default(),
        risk: risk.as_str().into(),
        confirmation: confirmation.clone(),
        imports,
        parameters: parameters_of(parameters),
        slots: slots
            .iter()
            .map(|slot| LockedSlot {
                name: slot.name.clone(),
                capability: slot.capability.clone(),
                accesses: slot.accesses.clone(),
                optional: slot.optional,
            })
            .collect(),
    }
}

fn now() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    rota_packages::rfc3339(seconds)
}

/// Names and types, as a difference shows them.
fn parameters_of(schema: &str) -> Vec<String> {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let properties = schema["properties"].as_object().into_iter().flatten().take(MOST_PARAMETERS);
    let line = |(name, property): (&String, &Value)| {
        let kind = match &property["type"] {
            Value::String(kind) => kind.clone(),
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
            _ => "any".into(),
        };
        let needed = if required(name) { " (needed)" } else { "" };
        let text: String = format!("{name}: {kind}{needed}").chars().filter(|c| !c.is_control()).take(200).collect();
        text
    };
    properties.map(line).collect()
}

impl Catalog {
    pub(crate) async fn load_package(&self, text: &str, locking: Locking) -> Result<Loaded, CatalogError> {
        let packages = self.packages.as_ref().ok_or_else(|| CatalogError::NoPackages(text.into()))?;
        let package: PackageRef = text.parse().map_err(PackageError::from)?;
        let reference = package.to_string();
        if let Some(entry) = packages.lock().read().map_err(PackageError::from)?.get(&reference) {
            return self.load_build(packages, entry, &entry.build).await;
        }
        let (loaded, build) = self.fetch(packages, &package).await?;
        if locking == Locking::Look {
            return Ok(loaded);
        }
        // Another process may have been first: then its build counts.
        let locked = packages.lock().change(|lock| match lock.get(&reference) {
            Some(entry) => entry.clone(),
            None => lock.set(&reference, &loaded.descriptor.name, build.clone()).clone(),
        });
        let entry = locked.map_err(PackageError::from)?;
        if entry.build.component == build.component {
            return Ok(loaded);
        }
        self.load_build(packages, &entry, &entry.build).await
    }

    /// What a reference means in its registry now: pulled, let in, loaded; not locked.
    pub(crate) async fn fetch(
        &self,
        packages: &Packages,
        package: &PackageRef,
    ) -> Result<(Loaded, Build), CatalogError> {
        let resolved = packages.resolve(package).await?;
        let mut pulled = packages.pull(package, &resolved).await?;
        let loaded = self.load_pulled(&package.to_string(), &mut pulled).await?;
        let build = facts(&loaded, Some(&pulled));
        Ok((loaded, build))
    }

    async fn load_pulled(&self, reference: &str, pulled: &mut Pulled) -> Result<Loaded, CatalogError> {
        let origin = Origin::Package { reference: reference.into(), component: pulled.component.hex().into() };
        let loaded = self.load_component(reference, std::mem::take(&mut pulled.bytes), origin).await?;
        if let Some(tag) = &pulled.version
            && loaded.descriptor.version != tag.to_string()
        {
            return Err(CatalogError::OtherVersion {
                reference: reference.into(),
                tag: tag.to_string(),
                says: loaded.descriptor.version.clone(),
            });
        }
        Ok(loaded)
    }

    /// A build of an entry: the locked one, or one before it.
    pub(crate) async fn load_build(
        &self,
        packages: &Packages,
        entry: &Entry,
        build: &Build,
    ) -> Result<Loaded, CatalogError> {
        let origin = Origin::Package { reference: entry.reference.clone(), component: build.component.hex().into() };
        // Taken before it is judged: other rules judge it again.
        let stamp = Stamp::Rules(packages.rules());
        if let Some(loaded) = self.known.get(&origin, &stamp) {
            return Ok(loaded);
        }
        let loaded = match &build.manifest {
            Some(manifest) => {
                let package: PackageRef = entry.reference.parse().map_err(PackageError::from)?;
                let mut pulled = packages.open(&package, build, manifest).await?;
                if pulled.component != build.component {
                    return Err(gone(entry, build));
                }
                let loaded = self.load_pulled(&entry.reference, &mut pulled).await?;
                if pulled.bundles != build.bundles {
                    signed_since(packages, entry, build, &pulled);
                }
                loaded
            }
            // Of a package the manifest is what was signed: an entry without one was written by somebody else.
            None if PackageRef::is_meant(&entry.reference) => {
                return Err(CatalogError::NoManifest { reference: entry.reference.clone() });
            }
            None => {
                let bytes = packages.kept(&build.component).await?.ok_or_else(|| gone(entry, build))?;
                // As the file was called, which is what rules know it as.
                let name = entry.reference.split_once('@').map_or(entry.reference.as_str(), |(name, _)| name);
                packages.judge(
                    name,
                    &Subject { manifest: None, component: &bytes },
                    &packages.bundles_of(build).await?,
                )?;
                let loaded = self.load_component(&entry.reference, bytes, origin).await?;
                let wanted =
                    entry.reference.split_once('@').and_then(|(_, wanted)| semver::VersionReq::parse(wanted).ok());
                if let Some(wanted) = wanted {
                    is_the_version(name, &wanted, &loaded)?;
                }
                loaded
            }
        };
        self.known.put(stamp, loaded.clone());
        Ok(loaded)
    }

    /// A version of the plugin folder that runs as it was kept, whatever lies in the folder now; none where that is not so.
    pub(crate) async fn load_kept(&self, reference: &str) -> Result<Option<Loaded>, CatalogError> {
        let Some(packages) = self.packages.as_ref().filter(|_| is_versioned(reference)) else { return Ok(None) };
        let name = reference.split_once('@').map_or(reference, |(name, _)| name);
        // What is built in is locked by nobody, as long as no file stands in its place.
        if matches!(self.find(name), Ok(Origin::FirstParty(_))) {
            return Ok(None);
        }
        let lock = packages.lock().read().map_err(PackageError::from)?;
        match lock.get(reference).filter(|entry| entry.kept) {
            Some(entry) => self.load_build(packages, entry, &entry.build).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether a plugin of the folder that was asked for with a version is the build that is locked; where none is, it is locked now.
    pub(crate) fn held_to_the_lock(
        &self,
        reference: &str,
        loaded: &Loaded,
        locking: Locking,
    ) -> Result<(), CatalogError> {
        let (Some(packages), Origin::File(path)) = (&self.packages, &loaded.origin) else { return Ok(()) };
        if !is_versioned(reference) {
            return Ok(());
        }
        let lock = packages.lock().read().map_err(PackageError::from)?;
        let digest = Digest::of(&loaded.component);
        if let Some(entry) = lock.get(reference) {
            if entry.build.component == digest {
                return Ok(());
            }
            return Err(CatalogError::OtherBuild {
                path: path.clone(),
                name: loaded.descriptor.name.clone(),
                reference: reference.into(),
                version: entry.build.version.clone(),
            });
        }
        if locking == Locking::Lock {
            let build = self.facts_of_file(packages, path, loaded)?;
            let locked = packages.lock().change(|lock| {
                if lock.get(reference).is_none() {
                    lock.set(reference, &loaded.descriptor.name, build);
                }
            });
            locked.map_err(PackageError::from)?;
        }
        Ok(())
    }

    /// A build that a lock still knows, by the digest of its component: what an older run was made for.
    pub async fn build(&self, component: &str) -> Option<Loaded> {
        let packages: &Arc<Packages> = self.packages.as_ref()?;
        let lock = packages.lock().read().ok()?;
        let (entry, build) = lock.build_of(component)?;
        match self.load_build(packages, entry, build).await {
            Ok(loaded) => Some(loaded),
            Err(error) => {
                tracing::warn!(component, %error, "an older build of a package cannot be used");
                None
            }
        }
    }
}

/// Note the signatures that a locked build has got since, so that it runs without its registry. It is the same build.
fn signed_since(packages: &Packages, entry: &Entry, build: &Build, pulled: &Pulled) {
    let noted = packages.lock().change(|lock| {
        let locked = lock.get_mut(&entry.reference).map(|entry| &mut entry.build);
        if let Some(locked) = locked.filter(|locked| locked.manifest == build.manifest) {
            locked.bundles.clone_from(&pulled.bundles);
            locked.signer.clone_from(&pulled.signer);
        }
    });
    if let Err(error) = noted {
        tracing::warn!(package = entry.reference, %error, "new signatures of a package cannot be noted in the lock");
    }
}

/// `postgres-backup@1`: what a lock knows of the plugin folder.
pub(crate) fn is_versioned(reference: &str) -> bool {
    matches!(Reference::parse(reference), Some(Reference::Name { version: Some(_), .. }))
}

fn gone(entry: &Entry, build: &Build) -> CatalogError {
    CatalogError::Gone {
        reference: entry.reference.clone(),
        version: build.version.clone(),
        component: build.component.hex().into(),
    }
}
