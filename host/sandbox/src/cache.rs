//! Compiled components on disk.
//!
//! Deserialising a foreign file is executing foreign code, so a file is trusted only when all of this holds: the folder and the
//! file belong to this user and nobody else may write to them, and the file's keyed hash (HMAC-SHA-256 with a key that only this
//! user can read) matches its content and its name. Anything else counts as absent: the component is compiled again.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fs::{DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;

/// A folder of compiled components for one engine's settings.
pub(crate) struct CompileCache {
    folder: PathBuf,
    fingerprint: String,
}

impl CompileCache {
    pub(crate) fn new(folder: PathBuf, engine: &Engine) -> Self {
        // The hash is of the engine's version and settings: a file of another engine has another name. It guards against
        // mix-ups, the keyed hash against foreign files.
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self { folder, fingerprint: format!("{:016x}", hasher.finish()) }
    }

    fn name(&self, digest: &str) -> String {
        format!("{digest}-{}.cwasm", self.fingerprint)
    }

    /// The compiled component, where a trustworthy file has it.
    pub(crate) fn get(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let artifact = self.artifact(digest)?;
        // SAFETY: `artifact` returned bytes whose keyed hash was made by this user's key, from a file that only this
        // user can write: they are what `put` serialised.
        #[allow(unsafe_code)]
        let component = unsafe { Component::deserialize(engine, artifact) };
        let file = self.name(digest);
        component
            .inspect_err(
                |error| tracing::warn!(%error, file, "a compiled component is of another engine; compiling again"),
            )
            .ok()
    }

    /// The same as it was kept.
    pub(crate) fn artifact(&self, digest: &str) -> Option<Vec<u8>> {
        let file = self.name(digest);
        let read = self.read(&file);
        read.inspect_err(|error| tracing::warn!(%error, file, "a compiled component is not used; compiling again"))
            .ok()
            .flatten()
    }

    /// Keep a compiled component. A cache that cannot be written costs time, not the run: the caller logs the error.
    pub(crate) fn put(&self, digest: &str, artifact: &[u8]) -> io::Result<()> {
        self.make_folder()?;
        let key = self.key(true)?.ok_or_else(|| io::Error::other("the cache's key vanished"))?;
        let name = self.name(digest);
        let mac = mac(&key, &name, artifact).finalize().into_bytes();
        write_new(&self.folder, &name, &[&mac, artifact])
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(folder) = absent_is_none(std::fs::symlink_metadata(&self.folder))? else { return Ok(None) };
        trusted(&folder, true)?;
        let Some(mut content) = self.read_trusted(name)? else { return Ok(None) };
        let Some(key) = self.key(false)? else { return Ok(None) };
        if content.len() < MAC_BYTES {
            return Err(io::Error::other("it is cut off"));
        }
        let artifact = content.split_off(MAC_BYTES);
        mac(&key, name, &artifact).verify_slice(&content).map_err(|_| {
            io::Error::other("its keyed hash does not match: it was not written by this user's Rota, or was changed")
        })?;
        Ok(Some(artifact))
    }

    fn read_trusted(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(self.folder.join(name));
        let Some(mut file) = absent_is_none(opened)? else { return Ok(None) };
        trusted(&file.metadata()?, false)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        Ok(Some(content))
    }

    fn key(&self, make: bool) -> io::Result<Option<Vec<u8>>> {
        const NAME: &str = "cache.key";
        if let Some(key) = self.read_trusted(NAME)? {
            if key.len() == KEY_BYTES {
                return Ok(Some(key));
            }
            return Err(io::Error::other("the cache's key is damaged; delete the cache folder"));
        }
        if !make {
            return Ok(None);
        }
        let key: [u8; KEY_BYTES] = rand::random();
        // Another process may be first; then its key counts.
        let temporary = format!(".{NAME}.{}", std::process::id());
        write_file(&self.folder.join(&temporary), &[&key])?;
        let linked = std::fs::hard_link(self.folder.join(&temporary), self.folder.join(NAME));
        std::fs::remove_file(self.folder.join(&temporary))?;
        match linked {
            Ok(()) => Ok(Some(key.to_vec())),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.read_trusted(NAME),
            Err(error) => Err(error),
        }
    }

    fn make_folder(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        trusted(&std::fs::symlink_metadata(&self.folder)?, true)
    }
}

fn mac(key: &[u8], name: &str, artifact: &[u8]) -> Hmac<Sha256> {
    // HMAC takes a key of any length, so this cannot fail; an empty key is never stored.
    let mut mac = match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes a key of any length"),
    };
    mac.update(name.as_bytes());
    mac.update(&[0]);
    mac.update(artifact);
    mac
}

/// Refuse what another user owns or may write.
fn trusted(metadata: &std::fs::Metadata, folder: bool) -> io::Result<()> {
    let kind = metadata.file_type();
    if (folder && !kind.is_dir()) || (!folder && !kind.is_file()) {
        return Err(io::Error::other("it is not what it should be (a link, a folder or a device)"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("it belongs to user {}, not to the one that runs Rota", metadata.uid())));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other(format!("others may write to it (mode {:o})", metadata.mode() & 0o777)));
    }
    Ok(())
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write_file(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    Ok(())
}

/// Write beside, then rename: a reader sees a whole file or none.
fn write_new(folder: &Path, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let temporary = folder.join(format!(".{name}.{}.{:08x}", std::process::id(), rand::random::<u32>()));
    let written = write_file(&temporary, parts).and_then(|()| std::fs::rename(&temporary, folder.join(name)));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}
