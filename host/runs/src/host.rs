//! A host's parts put together.

use crate::artifacts::Artifacts;
use crate::metrics::Metrics;
use crate::prepare::{PrepareError, Prepared, Request, prepare};
use crate::records::RunRecords;
use crate::settings::{Settings, StoreChoice};
use rota_capability::{Capability, Remotes};
use rota_capability_bytes::BytesCapability;
use rota_capability_cache::CacheCapability;
use rota_capability_jetstream::JetstreamCapability;
use rota_capability_kubernetes::{KubernetesCapability, Places};
use rota_capability_sql::{Sessions, SqlCapability};
use rota_capability_storage::StorageCapability;
use rota_capability_tools::Tools;
use rota_catalog::Catalog;
use rota_sandbox::{Sandbox, SandboxError, SandboxOptions};
use rota_store::{Store, StoreError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Why a host could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder for programs' private files.
    #[error("the folder {} cannot be made: {error}", .path.display())]
    Private {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// How long a run that has ended waits until its targets know (statements cancelled, uploads aborted): well below the 100 ms that
/// an end may take beyond its limit, and enough for targets that answer. What takes longer goes on until the host closes.
const SETTLE: Duration = Duration::from_millis(60);
/// How long a host that closes waits for uploads that are being aborted; what is left then, `rota doctor --fix` sweeps.
const SETTLE_AT_CLOSE: Duration = Duration::from_secs(5);

/// Runs that are forgotten in one transaction.
const PRUNED: u32 = 200;
/// How often is looked for runs to be forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(300);

fn private_folder(state_dir: &Path) -> Result<PathBuf, HostError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let path = state_dir.join("private");
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path) {
        Ok(()) => Ok(path),
        Err(error) => Err(HostError::Private { path, error }),
    }
}

/// The store that the configuration names.
///
/// # Errors
/// When it cannot be opened; see [`StoreError::is_passing`].
pub async fn open_store(settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    match &settings.store {
        StoreChoice::Sqlite { folder } => Ok(Arc::new(rota_store::SqliteStore::open(folder).await?)),
        StoreChoice::Postgres { url } => {
            let options = rota_store::PostgresOptions {
                spool: Some(settings.state_dir.join("spool")),
                ..rota_store::PostgresOptions::default()
            };
            Ok(Arc::new(rota_store::PostgresStore::open_with(url.expose(), options).await?))
        }
    }
}

/// A host.
pub struct Host {
    settings: RwLock<Arc<Settings>>,
    /// Stays what it was at the start, whatever a new configuration says.
    state_dir: PathBuf,
    catalog: Catalog,
    store: Arc<dyn Store>,
    records: RunRecords,
    capabilities: Capabilities,
    metrics: Arc<Metrics>,
    unable: crate::unable::Unable,
}

/// The capabilities of this version.
#[derive(Clone)]
pub struct Capabilities {
    sql: SqlCapability,
    tools: rota_capability_tools::Settings,
}

impl Default for Capabilities {
    fn default() -> Self {
        let sql = SqlCapability::default();
        sql.sessions().through(Remotes(Arc::new(Places)));
        Self { sql, tools: rota_capability_tools::Settings::default() }
    }
}

impl Capabilities {
    /// As a sandbox takes them.
    pub fn all(&self) -> Vec<Arc<dyn Capability>> {
        vec![
            Arc::new(crate::run_interface::Run),
            Arc::new(self.sql.clone()),
            Arc::new(StorageCapability),
            Arc::new(CacheCapability),
            Arc::new(Tools::new(self.tools.clone())),
            Arc::new(BytesCapability),
            Arc::new(KubernetesCapability),
            Arc::new(JetstreamCapability),
        ]
    }

    /// With the private folders of programs below a folder of this user's.
    #[must_use]
    pub fn with_private_folder(mut self, folder: PathBuf) -> Self {
        self.tools.folder = folder;
        self
    }
}

impl Host {
    /// Put a host together over its state directory.
    ///
    /// # Errors
    /// When the sandbox or the store cannot be set up.
    pub async fn open(
        settings: Settings,
        sandbox: SandboxOptions,
        plugins: Option<PathBuf>,
    ) -> Result<Self, HostError> {
        let store = open_store(&settings).await?;
        // Runs whose worker is gone are taken from it before anything is shown or begun.
        store.reap().await?;
        let private = private_folder(&settings.state_dir)?;
        let capabilities = Capabilities::default().with_private_folder(private);
        let catalog = Catalog::new(Arc::new(Sandbox::new(sandbox, &capabilities.all())?), plugins);
        let state_dir = settings.state_dir.clone();
        let records = RunRecords::new(store.clone());
        let settings = RwLock::new(Arc::new(settings));
        Ok(Self {
            settings,
            state_dir,
            catalog,
            store,
            records,
            capabilities,
            metrics: Arc::default(),
            unable: crate::unable::Unable::default(),
        })
    }

    /// The catalog alone, for what needs no records.
    ///
    /// # Errors
    /// When the sandbox cannot be set up.
    pub fn catalog(sandbox: SandboxOptions, plugins: Option<PathBuf>) -> Result<Catalog, SandboxError> {
        Ok(Catalog::new(Arc::new(Sandbox::new(sandbox, &Capabilities::default().all())?), plugins))
    }

    /// With packages of registries, and the lock that says which.
    #[must_use]
    pub fn with_packages(self, packages: Arc<rota_packages::Packages>) -> Self {
        Self { catalog: self.catalog.with_packages(packages), ..self }
    }

    /// What the configuration says.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Take on another configuration, whole; runs under way keep what they were begun with.
    pub fn reconfigure(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.unable.forget();
    }

    /// What it cannot begin.
    pub(crate) fn unable(&self) -> &crate::unable::Unable {
        &self.unable
    }

    /// What the host remembers.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What it counts.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The state directory.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The plugins.
    pub fn plugins(&self) -> &Catalog {
        &self.catalog
    }

    /// The records.
    pub fn records(&self) -> &RunRecords {
        &self.records
    }

    /// Find everything that is wrong with a request, before anything is contacted.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub async fn prepare(&self, request: &Request) -> Result<Prepared, PrepareError> {
        prepare(&self.settings(), &self.catalog, request).await
    }

    /// Check a job as if it were to be run. Answers what its plugin declares and it is not granted.
    ///
    /// # Errors
    /// What a run of it would be refused for.
    pub async fn check_job(&self, job: &str) -> Result<Vec<crate::Wanted>, PrepareError> {
        self.check_job_of(&self.settings(), job).await
    }

    /// Check a job of a configuration that is not in force, so that nothing is taken on that would be refused.
    ///
    /// # Errors
    /// As [`Host::check_job`].
    pub async fn check_job_of(&self, settings: &Settings, job: &str) -> Result<Vec<crate::Wanted>, PrepareError> {
        crate::prepare::check_job(settings, &self.catalog, job).await
    }

    /// The sessions that runs of this host hold.
    pub(crate) fn sessions(&self) -> &Sessions {
        self.capabilities.sql.sessions()
    }

    /// Where programs get their private folders.
    pub(crate) fn private_folder(&self) -> PathBuf {
        self.state_dir.join("private")
    }

    /// Forget old runs, a few at a time, until told to stop.
    pub async fn prune_for_ever(self: Arc<Self>, keep: rota_config::Keep, stopped: tokio::sync::watch::Receiver<bool>) {
        let keep =
            rota_store::Keep { age: rota_protocol::Span::from(Duration::from(keep.age)), per_job: keep.runs_per_job };
        loop {
            self.forget_files().await;
            let wait = match self.store.prune(&keep, PRUNED).await {
                // There may be more.
                Ok(pruned) if pruned > 0 => Duration::from_secs(1),
                Ok(_) => PRUNE_EVERY,
                Err(error) => {
                    tracing::warn!(%error, "old runs could not be forgotten");
                    PRUNE_EVERY
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = crate::told(stopped.clone()) => return,
            }
        }
    }

    /// Files of runs that are on record no more.
    async fn forget_files(&self) {
        let artifacts = Artifacts::new(&self.settings());
        let folders = std::fs::read_dir(self.state_dir.join("artifacts")).into_iter().flatten().flatten();
        for folder in folders {
            let name = folder.file_name().to_string_lossy().into_owned();
            if uuid::Uuid::parse_str(&name).is_ok()
                && let Err(StoreError::NotFound(_)) = self.store.run(&name).await
                && let Err(error) = artifacts.forget(&name).await
            {
                tracing::warn!(run = name, %error, "the files of a forgotten run could not be removed");
            }
        }
    }

    /// Wait until what was cancelled has reached its targets (jobs and locks of clusters, too) and what was said is on record. Before the process ends.
    pub async fn close(self) {
        let uploads = rota_capability_storage::settled(SETTLE_AT_CLOSE);
        let jobs = rota_capability_kubernetes::settled(SETTLE_AT_CLOSE);
        futures::future::join3(self.sessions().quiesce(), uploads, jobs).await;
        self.store.close().await;
    }

    /// Wait a moment for what was cancelled to reach its targets; a target that does not answer keeps no run from its end.
    pub(crate) async fn settle(&self) {
        let targets = futures::future::join(self.sessions().settled(), rota_capability_storage::settled(SETTLE));
        // What is under way goes on by itself.
        let _ = tokio::time::timeout(SETTLE, targets).await;
    }
}
