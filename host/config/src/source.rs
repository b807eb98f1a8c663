//! Where configuration comes from: a file or a folder of them, and the environment over it.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::problem::{Place, Problem, Shown};
use crate::redact::redact;
use crate::tree::{self, Origin, Table};

/// The most bytes of one file; a configuration is written by people.
const LARGEST_FILE: u64 = 8 * 1024 * 1024;

/// What a configuration is read from. [`Source::from_process`] is what a command uses; tests put
/// theirs together.
#[derive(Clone, Default)]
pub struct Source {
    chosen: Option<PathBuf>,
    /// Looked for in this order if none was chosen; the first that is there is used.
    usual: Vec<PathBuf>,
    texts: Vec<(String, String)>,
    variables: Vec<(OsString, OsString)>,
    /// What a relative path in a variable is relative to.
    folder: PathBuf,
}

impl Source {
    /// Nothing: every key has its default.
    pub fn empty() -> Self {
        Self::default()
    }

    /// What this process was given: the file or folder of `--config`, or else of `ROTA_CONFIG`, or
    /// else the first of `./rota.toml`, `~/.config/rota/rota.toml` and `/etc/rota/rota.toml`; and its
    /// environment.
    pub fn from_process(config: Option<PathBuf>) -> Self {
        let given = || std::env::var_os("ROTA_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        let mut usual = vec![PathBuf::from("rota.toml")];
        usual.extend(directories::BaseDirs::new().map(|folders| folders.config_dir().join("rota").join("rota.toml")));
        usual.push(PathBuf::from("/etc/rota/rota.toml"));
        Self {
            chosen: config.or_else(given),
            usual,
            texts: Vec::new(),
            variables: std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"ROTA_")).collect(),
            folder: std::env::current_dir().unwrap_or_default(),
        }
    }

    /// With this file or folder.
    #[must_use]
    pub fn with_path(self, path: impl Into<PathBuf>) -> Self {
        Self { chosen: Some(path.into()), ..self }
    }

    /// With this text, as if it were a file of that name.
    #[must_use]
    pub fn with_text(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.texts.push((name.into(), text.into()));
        self
    }

    /// With this environment variable.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    pub(crate) fn variables(&self) -> &[(OsString, OsString)] {
        &self.variables
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads and merges every file.
    pub(crate) fn read(&self, sources: &mut Sources, problems: &mut Vec<Problem>) -> Table {
        let mut texts = self.texts.clone();
        for path in self.files(problems) {
            if let Some(text) = read_file(&path, problems) {
                texts.push((path.display().to_string(), text));
            }
        }
        let mut merged = Table::default();
        for (name, text) in texts {
            let folder = Path::new(&name).parent().map(|folder| self.folder.join(folder)).unwrap_or_default();
            let id = sources.add(&name, &text, folder, true);
            let table = tree::parse(sources, id, &text, problems);
            tree::merge(sources, &mut merged, table, "", problems);
        }
        merged
    }

    fn files(&self, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
        let Some(chosen) = &self.chosen else {
            let there = self.usual.iter().find(|path| path.exists());
            return there.filter(|path| is_trusted(path, problems)).cloned().into_iter().collect();
        };
        if !chosen.is_dir() {
            return vec![chosen.clone()];
        }
        let mut files: Vec<PathBuf> = match fs::read_dir(chosen) {
            Ok(entries) => entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect(),
            Err(error) => {
                let message = format!("the configuration folder {} cannot be read: {error}", chosen.display());
                problems.push(Problem::error(None, message));
                return Vec::new();
            }
        };
        files.retain(|path| path.extension().is_some_and(|end| end == "toml") && path.is_file());
        files.retain(|path| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")));
        files.sort();
        if files.is_empty() {
            let message = format!("the configuration folder {} holds no *.toml file", chosen.display());
            problems.push(Problem::warning(None, message));
        }
        files
    }
}

impl fmt::Debug for Source {
    /// Without the values of variables, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&String> = self.texts.iter().map(|(name, _)| name).collect();
        let variables: Vec<&OsString> = self.variables.iter().map(|(name, _)| name).collect();
        let mut source = f.debug_struct("Source");
        source.field("chosen", &self.chosen).field("usual", &self.usual).field("texts", &texts);
        source.field("variables", &variables).field("folder", &self.folder).finish()
    }
}

/// A configuration names programs to run. One that nobody asked for, found in the current folder,
/// must not be another user's.
fn is_trusted(path: &Path, problems: &mut Vec<Problem>) -> bool {
    let Ok(file) = fs::metadata(path) else { return true };
    let own = file.uid() == 0 || file.uid() == rustix::process::geteuid().as_raw();
    if own && file.mode() & 0o002 == 0 {
        return true;
    }
    let whose = if own { "can be written by everyone" } else { "belongs to another user" };
    let message = format!("the configuration file {} {whose}, so it is not used unasked", path.display());
    let help = format!("to use it all the same, name it: --config {}", path.display());
    problems.push(Problem::error(None, message).help(help));
    false
}

fn read_file(path: &Path, problems: &mut Vec<Problem>) -> Option<String> {
    let about = |what: &str| format!("the configuration file {} {what}", path.display());
    match text_of(path) {
        Ok((text, mode)) => {
            if mode & 0o002 != 0 {
                let help = format!("run: chmod o-w {}", path.display());
                problems.push(Problem::warning(None, about("can be written by everyone")).help(help));
            }
            Some(text)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let help = "check --config and ROTA_CONFIG; without both, none is needed";
            problems.push(Problem::error(None, about("does not exist")).help(help));
            None
        }
        Err(error) => {
            problems.push(Problem::error(None, about(&format!("cannot be read: {error}"))));
            None
        }
    }
}

/// The text of a file, and its mode (0 if it is no ordinary file, such as the end of a pipe).
fn text_of(path: &Path) -> io::Result<(String, u32)> {
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    let mut bytes = Vec::new();
    io::Read::by_ref(&mut file).take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other("it is larger than 8 MiB"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = valid.filter(|byte| **byte == b'\n').count() + 1;
        io::Error::other(format!("line {line} is not UTF-8 text"))
    })?;
    Ok((text, if about.is_file() { about.mode() } else { 0 }))
}

/// Which of the [`Sources`].
pub(crate) type SourceId = usize;

/// The texts that were read, to show what is wrong in them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources(Vec<SourceText>);

#[derive(Debug, Clone)]
struct SourceText {
    /// Redacted.
    shown: Arc<Shown>,
    folder: PathBuf,
    in_a_file: bool,
}

impl Sources {
    pub(crate) fn add(&mut self, name: &str, text: &str, folder: PathBuf, in_a_file: bool) -> SourceId {
        let shown = Arc::new(Shown::new(name, redact(text)));
        self.0.push(SourceText { shown, folder, in_a_file });
        self.0.len() - 1
    }

    pub(crate) fn place(&self, origin: &Origin) -> Place {
        match self.0.get(origin.source) {
            Some(text) => Place::new(Arc::clone(&text.shown), origin.source, origin.span.clone(), text.in_a_file),
            None => Place::new(Arc::new(Shown::new("configuration", String::new())), 0, 0..0, false),
        }
    }

    /// A path as it was written there, made one that does not depend on the current folder.
    pub(crate) fn path(&self, origin: &Origin, path: &str) -> PathBuf {
        // Without what stands for itself in a path (`./`): a team's pattern is held against what it is.
        self.0
            .get(origin.source)
            .map_or_else(|| PathBuf::from(path), |text| text.folder.join(path).components().collect())
    }

    /// Whether it was written in a file, where others may read it.
    pub(crate) fn in_a_file(&self, origin: &Origin) -> bool {
        self.0.get(origin.source).is_some_and(|text| text.in_a_file)
    }

    /// The files that were read.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|text| text.in_a_file).map(|text| text.shown.name())
    }
}
