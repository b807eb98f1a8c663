//! What a case's run says: kept, to be held against what is expected, and shown where the case fails.

use async_trait::async_trait;
use rota_capability::{LogLevel, MetricKind, Observer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many lines are kept.
const LINES: usize = 10_000;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// `procedure`, `stdout`, `stderr` or `host`.
    pub source: String,
    /// The message, with its fields behind it.
    pub message: String,
}

/// Keeps what a run says.
pub(crate) struct Listener {
    lines: Mutex<Vec<Line>>,
    folder: Folder,
}

impl Listener {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { lines: Mutex::default(), folder: Folder::new()? })
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        lock(&self.lines).clone()
    }

    /// The artifacts by name; of what is no text, what can be read of it.
    pub(crate) fn artifacts(&self) -> BTreeMap<String, String> {
        let files = std::fs::read_dir(&self.folder.0).into_iter().flatten().flatten();
        files
            .filter_map(|file| {
                let name = file.file_name().to_string_lossy().into_owned();
                let bytes = std::fs::read(file.path()).ok()?;
                Some((name, String::from_utf8_lossy(&bytes).into_owned()))
            })
            .filter(|(name, _)| !name.starts_with('.'))
            .collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Observer for Listener {
    fn log(&self, level: LogLevel, source: &str, message: &str, fields: &[(String, String)]) {
        let mut lines = lock(&self.lines);
        if lines.len() < LINES {
            let fields: String = fields.iter().map(|(key, value)| format!(" {key}={value}")).collect();
            let message = format!("{message}{fields}");
            lines.push(Line { level: level.as_str(), source: source.to_owned(), message });
        }
    }

    fn dropped(&self, _: u64) {}

    fn progress(&self, _: u64, _: Option<u64>, _: &str, _: &str) {}

    fn metric(&self, _: &str, _: &[(String, String)], _: f64, _: MetricKind) {}

    fn artifact_path(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.0.join(name))
    }

    async fn artifact(&self, _: &str, _: &str, _: u64, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// A folder of its own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let since = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
        let name = format!("rota-case-{}-{since}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(&std::env::temp_dir()).join(name);
        // Made here and by nobody else: what is there already is a dead process's, or somebody's trap.
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
