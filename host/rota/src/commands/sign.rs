//! `rota plugins sign` and `rota plugins keygen`: signatures and keys, as cosign makes them.

use super::{Printing, print, print_json};
use crate::cli::{KeygenArgs, SignArgs};
use crate::output::safe;
use crate::settings::UsageError;
use anyhow::Context as _;
use rota_catalog::Catalog;
use rota_config::SecretRef;
use rota_packages::trust::{
    BUNDLE_MEDIA_TYPE, REFERRER_ANNOTATIONS, SigningKey, bundle_of, sign_component, sign_manifest,
};
use rota_packages::{PackageError, PackageRef};
use rota_telemetry::Secret;
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Where a password is, if nobody says: cosign's place.
const PASSWORD: &str = "COSIGN_PASSWORD";

pub(crate) async fn sign(catalog: &Catalog, args: &SignArgs, printing: Printing) -> anyhow::Result<u8> {
    let key = signing_key(&args.key, args.password.as_deref())?;
    let (digest, to) = if is_file(&args.what) {
        sign_file(Path::new(&args.what), &key)?
    } else {
        let package: PackageRef = args.what.parse().map_err(|error| {
            UsageError::new(format!("`{}` is neither a file nor a package: {error}", safe(&args.what)))
        })?;
        let signed = sign_package(catalog, &package, &key).await?;
        (signed.manifest, signed.bundle)
    };
    if printing.human() {
        let (what, key) = (safe(&args.what), key.public().fingerprint());
        print(&format!("signed {what} ({digest}) with key {key}\n  {}", safe(&to)))?;
    } else {
        let key = key.public().fingerprint();
        print_json(&json!({ "signed": args.what, "digest": digest, "key": key, "bundle": to }))?;
    }
    Ok(0)
}

/// Signs a component's bytes; answers their digest, and where the signature is.
fn sign_file(path: &Path, key: &SigningKey) -> anyhow::Result<(String, String)> {
    let component =
        rota_catalog::read_file(path).with_context(|| format!("the component {} cannot be read", path.display()))?;
    // Whoever names another file by mistake would sign what nothing loads.
    if !component.starts_with(b"\0asm") {
        return Err(UsageError::new(format!("{} is no WebAssembly component", path.display())).into());
    }
    let bundle = bundle_of(path);
    replace(&bundle, &sign_component(key, &component)?, 0o644)
        .with_context(|| format!("the signature {} cannot be written", bundle.display()))?;
    Ok((format!("sha256:{}", rota_sandbox::digest(&component)), bundle.display().to_string()))
}

/// A signature that was attached to a package.
pub(crate) struct Signed {
    /// The digest of the manifest that is signed.
    manifest: String,
    /// Where the signature is.
    bundle: String,
}

/// Signs the manifest that a reference leads to now, and attaches the signature to it.
pub(crate) async fn sign_package(catalog: &Catalog, package: &PackageRef, key: &SigningKey) -> anyhow::Result<Signed> {
    let Some(packages) = catalog.packages() else { anyhow::bail!("this host has no packages") };
    let manifest = packages.resolve(package).await?.manifest;
    // What no host would load is not signed either.
    rota_packages::artifact::judge(&manifest.bytes)
        .map_err(|error| UsageError::new(format!("{} is not signed: {error}", safe(&package.to_string()))))?;
    let bundle = sign_manifest(key, &manifest.bytes)?;
    let subject = (&manifest.digest, manifest.bytes.len() as u64);
    let registry = packages.registry(package.registry()).map_err(PackageError::from)?;
    let attached = registry
        .attach(package.repository(), subject, BUNDLE_MEDIA_TYPE, &REFERRER_ANNOTATIONS, &bundle)
        .await
        .map_err(PackageError::from)?;
    Ok(Signed { manifest: manifest.digest.to_string(), bundle: format!("{}@{attached}", package.name()) })
}

/// A path ends in .wasm, or is there. Everything else names a package.
fn is_file(what: &str) -> bool {
    what.ends_with(".wasm") || Path::new(what).exists()
}

/// The key that an option names, opened with the password that another may name.
pub(crate) fn signing_key(named: &str, by: Option<&str>) -> anyhow::Result<SigningKey> {
    let usage = |problem: String| UsageError::new(format!("--key {}: {problem}", safe(named)));
    let reference = match SecretRef::parse(named) {
        Ok(reference) => reference,
        Err(rota_config::SecretRefError::NotAReference) => SecretRef::File(PathBuf::from(named)),
        Err(error) => return Err(usage(error.to_string()).into()),
    };
    let text = reference.resolve().map_err(|error| usage(error.to_string()))?;
    let given = by.map(password).transpose()?;
    let key = SigningKey::from_pem(text.expose(), || given.or_else(by_default));
    Ok(key.map_err(|error| usage(error.to_string()))?)
}

fn password(reference: &str) -> anyhow::Result<Secret> {
    let usage = |problem: String| UsageError::new(format!("--password: {problem}"));
    let reference = SecretRef::parse(reference).map_err(|error| usage(error.to_string()))?;
    Ok(reference.resolve().map_err(|error| usage(error.to_string()))?)
}

fn by_default() -> Option<Secret> {
    std::env::var(PASSWORD).ok().filter(|password| !password.is_empty()).map(Secret::new)
}

pub(crate) fn keygen(args: &KeygenArgs, printing: Printing) -> anyhow::Result<u8> {
    let password = args.password.as_deref().map(password).transpose()?.or_else(by_default);
    let named = |ending: &str| {
        let mut name = args.name.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    let (private, public) = (named(".key"), named(".pub"));
    // A key that is lost cannot be made again: neither is written over.
    if let Some(there) = [&private, &public].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        let message = format!("{} is there already; name another, or move it away", there.display());
        return Err(UsageError::new(message).into());
    }
    let (key, text) = SigningKey::generate(password.as_ref())?;
    let write = |path: &Path, bytes: &[u8], mode| {
        create(path, bytes, mode).with_context(|| format!("{} cannot be written", path.display()))
    };
    write(&private, text.expose().as_bytes(), 0o600)?;
    if let Err(error) = write(&public, key.public().to_pem().as_bytes(), 0o644) {
        // Half a pair is of no use, and in the way of the next try.
        let _ = std::fs::remove_file(&private);
        return Err(error);
    }
    let encrypted = password.is_some();
    if printing.human() {
        let how = if encrypted {
            "encrypted with the password".to_owned()
        } else {
            format!("NOT encrypted: set {PASSWORD} when making one to have it so")
        };
        print(&format!(
            "key {}\n  {}  private, {how}; it goes nowhere but to who signs\n  {}  public, for signed-by of [trust] in rota.toml: {{ key = \"file:{}\" }}",
            key.public().fingerprint(),
            safe(&private.display().to_string()),
            safe(&public.display().to_string()),
            safe(&public.display().to_string()),
        ))?;
    } else {
        print_json(
            &json!({ "key": key.public().fingerprint(), "private": private, "public": public, "encrypted": encrypted }),
        )?;
    }
    Ok(0)
}

/// Writes a file that must not be there.
fn create(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written
}

/// Writes a file whole or not at all.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    create(&new, bytes, mode)?;
    std::fs::rename(&new, path).inspect_err(|_| drop(std::fs::remove_file(&new)))
}
