//! Files that runs keep: in the state directory of the host that ran them, or in a storage binding, where every host finds them.
//!
//! What is put into the binding passes the authority like the effects of a run: by a gate of its own, which grants nothing else.

use crate::settings::Settings;
use rota_authority::{
    Decision, Effect, EffectClass, Exact, Gate, Grant, MemoryLedger, Mode, Quotas, RunIdentity, Storage, StorageAccess,
};
use rota_capability::{denied, refused};
use rota_capability_storage::{Client, Connections, Name, Prefix, Put};
use rota_contract::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWrite, AsyncWriteExt as _};

/// The slot of the gate.
const SLOT: &str = "artifacts";

/// The largest file that is read back at once: a run's files together cannot be larger by far (limit `artifact_bytes`).
const LARGEST: u64 = 4 << 30;

/// Where files are.
pub struct Artifacts {
    folder: PathBuf,
    shared: Option<Shared>,
}

struct Shared {
    binding: String,
    gate: Arc<Gate>,
    connections: Connections,
}

/// A file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// It is not where it should be.
    #[error("the file is not at {place}: it is kept on the host that ran it")]
    Elsewhere {
        /// Where it would be on this machine.
        place: PathBuf,
    },
    /// It cannot be read.
    #[error("{place} could not be read: {reason}")]
    Unreadable {
        /// The file, or the binding.
        place: String,
        /// Why.
        reason: String,
    },
}

impl Artifacts {
    /// As it is configured.
    pub fn new(settings: &Settings) -> Self {
        let shared = settings.artifacts.as_ref().and_then(|name| {
            let binding = settings.bindings.get(name)?.clone();
            let accesses = [StorageAccess::Read, StorageAccess::Write, StorageAccess::Delete];
            let grant = Grant {
                slot: SLOT.into(),
                binding_name: name.clone(),
                binding,
                accesses: accesses.iter().map(|access| access.to_string()).collect(),
            };
            let identity = RunIdentity { run: SLOT.into(), job: SLOT.into() };
            let ledger = Arc::new(MemoryLedger::default());
            let gate = Gate::new(identity, Mode::Execute, Quotas { effects: u64::MAX }, ledger, [grant]);
            Some(Shared { binding: name.clone(), gate, connections: Connections::default() })
        });
        Self { folder: settings.state_dir.join("artifacts"), shared }
    }

    /// For a run: what a plan keeps stays in the state directory, for it writes nowhere else.
    pub(crate) fn of_run(settings: &Settings, mode: Mode) -> Self {
        let artifacts = Self::new(settings);
        if mode == Mode::Plan { Self { shared: None, ..artifacts } } else { artifacts }
    }

    /// The folder of a run's files on this machine.
    pub(crate) fn folder(&self, run: &str) -> PathBuf {
        self.folder.join(run)
    }

    /// Recordings of a run on this machine that are on no record, with their sizes: their host was killed before they were whole.
    pub fn unfinished_recordings(&self, run: &crate::RunView) -> Vec<(String, u64)> {
        let names = (1..=run.attempt.max(1)).map(rota_recording::file_name);
        let known = |name: &String| run.artifacts.iter().any(|artifact| artifact.name == *name);
        let size = |name: String| Some((self.folder(&run.id).join(&name).metadata().ok()?.len(), name));
        names.filter(|name| !known(name)).filter_map(size).map(|(size, name)| (name, size)).collect()
    }

    /// A file of a run is whole: into the binding with it, where there is one.
    ///
    /// # Errors
    /// When the binding does not take it; the file is gone then.
    pub(crate) async fn share(&self, run: &str, path: &Path, sha256: &str) -> Result<(), Error> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let shared = shared.put(run, path, sha256).await;
        // Its folder stays, as a sign that there is something to be forgotten with the run.
        let _ = tokio::fs::remove_file(path).await;
        shared
    }

    /// A file of a run.
    ///
    /// # Errors
    /// When it is not to be had from here.
    pub async fn read(&self, run: &str, name: &str) -> Result<Vec<u8>, ArtifactError> {
        let path = self.folder(run).join(name);
        match tokio::fs::read(&path).await {
            Ok(bytes) => return Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(ArtifactError::Unreadable { place: path.display().to_string(), reason: error.to_string() });
            }
        }
        let Some(shared) = &self.shared else { return Err(ArtifactError::Elsewhere { place: path }) };
        shared.get(run, name).await.map_err(|error| shared.unreadable(run, name, &error))
    }

    /// A file of a run, to be read from its beginning: it may be larger than what is to be in memory. What is in the binding is copied
    /// here for as long as it is open.
    ///
    /// # Errors
    /// When it is not to be had from here.
    pub(crate) async fn open(&self, run: &str, name: &str) -> Result<File, ArtifactError> {
        let path = self.folder(run).join(name);
        match rota_config::open_file(&path) {
            Ok(file) => return Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(ArtifactError::Unreadable { place: path.display().to_string(), reason: error.to_string() });
            }
        }
        let Some(shared) = &self.shared else { return Err(ArtifactError::Elsewhere { place: path }) };
        shared.copied(run, name, &self.folder).await.map_err(|error| shared.unreadable(run, name, &error))
    }

    /// Forget a run's files, here and in the binding.
    ///
    /// # Errors
    /// What could not be removed; the rest is gone.
    pub(crate) async fn forget(&self, run: &str) -> Result<(), String> {
        if let Some(shared) = &self.shared {
            shared.remove(run).await.map_err(|error| error.to_string())?;
        }
        tokio::fs::remove_dir_all(self.folder(run)).await.map_err(|error| error.to_string())
    }
}

/// A file without a name, gone once it is closed.
fn nameless(folder: &Path) -> io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!(".copy-{}", uuid::Uuid::now_v7()));
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

impl Shared {
    fn unreadable(&self, run: &str, name: &str, error: &Error) -> ArtifactError {
        ArtifactError::Unreadable {
            place: format!("artifacts/{run}/{name} in {}", self.binding),
            reason: error.to_string(),
        }
    }

    async fn put(&self, run: &str, path: &Path, sha256: &str) -> Result<(), Error> {
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = Name::parse(&format!("{SLOT}/{run}/{file}"))?;
        let authorized =
            self.gate.authorise::<Storage>("storage.put", SLOT, &[StorageAccess::Write]).map_err(denied)?;
        let detail = "keeps a file of a run".to_owned();
        let effect = Effect { object: name.as_str().into(), detail, class: EffectClass::Write, exact: Exact::shown() };
        let client = Client::connect(&self.connections, &authorized).await?;
        let Decision::Perform(permit) = authorized.effect(effect).await.map_err(refused)? else { return Ok(()) };
        let source = tokio::fs::File::open(path).await.map_err(|error| Error::Unavailable(error.to_string()))?;
        // What arrives is what the record says, or is not kept.
        let put = Put { if_absent: true, sha256: Some(sha256.to_owned()), ..Put::default() };
        let stored = client.put(&permit, &name, Box::pin(source), &put).await;
        permit.conclude(stored, |_| "kept".into()).await.map(drop)
    }

    async fn get(&self, run: &str, file: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.copy(run, file, &mut bytes).await?;
        Ok(bytes)
    }

    /// Write a file of a run to somewhere else.
    async fn copy<W: AsyncWrite + Unpin>(&self, run: &str, file: &str, to: &mut W) -> Result<(), Error> {
        let name = Name::parse(&format!("{SLOT}/{run}/{file}"))?;
        let authorized = self.gate.authorise::<Storage>("storage.get", SLOT, &[StorageAccess::Read]).map_err(denied)?;
        let client = Client::connect(&self.connections, &authorized).await?;
        let (_, reader) = client.get(&authorized, &name, None).await?;
        tokio::io::copy(&mut reader.take(LARGEST), to).await.map_err(|e| rota_capability::streams::error_of(&e))?;
        Ok(())
    }

    /// The same into a file without a name, which is at its beginning then.
    async fn copied(&self, run: &str, file: &str, folder: &Path) -> Result<File, Error> {
        let failed =
            |error: io::Error| Error::Unavailable(format!("it cannot be copied to {}: {error}", folder.display()));
        let mut copy = tokio::fs::File::from_std(nameless(folder).map_err(failed)?);
        self.copy(run, file, &mut copy).await?;
        copy.flush().await.map_err(failed)?;
        copy.rewind().await.map_err(failed)?;
        Ok(copy.into_std().await)
    }

    async fn remove(&self, run: &str) -> Result<(), Error> {
        let authorized =
            self.gate.authorise::<Storage>("storage.delete", SLOT, &[StorageAccess::Delete]).map_err(denied)?;
        let client = Client::connect(&self.connections, &authorized).await?;
        let mut listing = client.list(&authorized, &Prefix::parse(&format!("{SLOT}/{run}/"))?).await?;
        while let Some(object) = listing.objects.recv().await {
            let name = Name::parse(&object?.name)?;
            let detail = "forgets a file of a run".to_owned();
            let effect =
                Effect { object: name.as_str().into(), detail, class: EffectClass::Destructive, exact: Exact::shown() };
            let Decision::Perform(permit) = authorized.effect(effect).await.map_err(refused)? else { return Ok(()) };
            let removed = client.delete(&permit, &name).await;
            permit.conclude(removed, |()| "forgotten".into()).await?;
        }
        Ok(())
    }
}
