//! From options and variables to settings.

use crate::cli::{Common, Output};
use rota_config::{Config, Source};
use rota_packages::trust::Policy;
use rota_packages::{Docker, LockFile, Packages};
use rota_telemetry::LogFormat;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What was given cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

impl UsageError {
    /// With what to do instead.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Read the configuration: `--config` or ROTA_CONFIG, else the first of the usual places (see [`Source::from_process`]).
pub(crate) fn load(common: &Common) -> anyhow::Result<Config> {
    Ok(Config::load(&source(common))?)
}

/// Where the configuration is read from, options included.
pub(crate) fn source(common: &Common) -> Source {
    let mut source = Source::from_process(common.config.clone());
    if let Some(folder) = &common.state_dir {
        // An option goes over the variable of the same meaning.
        source = source.with_variable("ROTA_STATE_DIR", folder);
    }
    source
}

/// The folder of plugins beside the binary's own.
pub(crate) fn plugin_folder(config: &Config) -> Option<PathBuf> {
    Some(config.state_dir().join("plugins"))
}

/// Whose plugins are loaded. What of its files cannot be used is said, and nobody that it stands for is trusted.
pub(crate) fn policy(config: &Config) -> Policy {
    let policy = Policy::from_config(&config.trust);
    for unready in policy.unready() {
        tracing::warn!(problem = %unready, "a signer is not known, and nothing of theirs is loaded");
    }
    policy
}

/// The packages of registries: kept below the state directory; locked beside the configuration, with which the lock is deployed, or in the
/// state directory where there is none.
pub(crate) fn packages(config: &Config) -> Arc<Packages> {
    let folder = config.files().first().map(PathBuf::from).and_then(|file| std::path::absolute(file).ok());
    let folder = folder.and_then(|file| file.parent().map(Path::to_owned));
    // One that comes through a pipe lies nowhere.
    let folder = folder.filter(|folder| !folder.starts_with("/dev") && !folder.starts_with("/proc"));
    // In the state directory, `rota.lock` is what tells processes that share it.
    let state = config.state_dir();
    let lock = match folder {
        Some(folder) if folder != state => folder.join("rota.lock"),
        _ => state.join("plugins.lock"),
    };
    Arc::new(Packages::new(&config.state_dir().join("packages"), LockFile::new(lock), Docker::from_process()))
}

/// A length of time as options take it.
pub(crate) fn duration(text: &str) -> anyhow::Result<Duration> {
    let duration: rota_config::Duration =
        text.parse().map_err(|error| UsageError(format!("`{text}` is no length of time: {error}")))?;
    Ok(duration.into())
}

/// Start the log on stderr.
pub(crate) fn start_log(common: &Common) -> anyhow::Result<()> {
    let terminal = std::io::stderr().is_terminal();
    let format =
        if common.output == Some(Output::Json) { LogFormat::Json } else { LogFormat::Human { colour: terminal } };
    rota_telemetry::init(format, &common.log, rota_telemetry::stderr())
        .map_err(|error| UsageError(error.to_string()))?;
    Ok(())
}
