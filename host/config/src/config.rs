//! The whole configuration: read, merged, overridden, checked.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;

use crate::check::{here_and_now, together};
use crate::decode::{Decode, Reader};
use crate::environment;
use crate::problem::{ConfigError, Place, Problem, in_order};
use crate::settings::Settings;
use crate::source::{Source, Sources};
use crate::tree::{Node, Origin, Table, Value, join};

/// What operators configured. Its sections are those of [`Settings`], which it derefs to.
#[derive(Debug, Clone)]
pub struct Config {
    settings: Settings,
    /// Where each key was written.
    places: BTreeMap<String, Place>,
    files: Vec<String>,
    warnings: Vec<Problem>,
}

/// What [`check`](crate::check()) found.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The configuration, if it can be used.
    pub config: Option<Config>,
    /// All that is wrong, errors and warnings.
    pub problems: Vec<Problem>,
}

/// Reads a configuration and says all that is wrong with it, warnings included.
pub fn check(source: &Source) -> Checked {
    match Config::load(source) {
        Ok(mut config) => {
            let here = here_and_now(&config, chrono::Utc::now());
            config.warnings = in_order([config.warnings, here].concat());
            Checked { problems: config.warnings.clone(), config: Some(config) }
        }
        Err(error) => Checked { config: None, problems: error.problems().to_vec() },
    }
}

impl Config {
    /// Reads a configuration. Secrets are not read, nothing is contacted.
    ///
    /// # Errors
    /// With every error that is in it.
    pub fn load(source: &Source) -> Result<Self, ConfigError> {
        let mut sources = Sources::default();
        let mut problems = Vec::new();
        let mut table = source.read(&mut sources, &mut problems);
        // What is missing because a file could not be read would be reported as missing.
        if problems.iter().any(|problem| !problem.is_warning()) {
            return Err(ConfigError::new(problems));
        }
        environment::apply(source, &mut sources, &mut table, &mut problems);
        let mut places = BTreeMap::new();
        remember(&sources, &table, "", &mut places);

        let reader = Reader::new(sources, problems);
        let whole = Node { value: Value::Table(table), origin: Origin { source: 0, span: 0..0 } };
        let mut settings = Settings::decode(&reader, "", whole);
        if let Some(settings) = &mut settings {
            let wrong = crate::binding::settle(settings);
            together(&reader, settings, &places, wrong);
        }
        let (sources, problems) = reader.into_parts();
        match settings {
            Some(settings) if problems.iter().all(Problem::is_warning) => {
                let files = sources.files().map(str::to_owned).collect();
                Ok(Self { settings, places, files, warnings: in_order(problems) })
            }
            _ => Err(ConfigError::new(problems)),
        }
    }

    /// What is not right, though it can be used.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The files it was read from.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// Where a key was written, as `jobs.vacuum.slots.database.access`; none if it was not.
    pub fn place(&self, key: &str) -> Option<&Place> {
        self.places.get(key)
    }

    /// Whether anything within a table has a place of its own.
    pub(crate) fn has_places_within(&self, table: &str) -> bool {
        let begin = format!("{table}.");
        self.places.range(begin.clone()..).next().is_some_and(|(key, _)| key.starts_with(&begin))
    }

    /// The folder for what the host keeps.
    pub fn state_dir(&self) -> PathBuf {
        self.settings.state_dir.clone().unwrap_or_else(|| {
            let folders = directories::BaseDirs::new();
            let state = folders.as_ref().and_then(|folders| folders.state_dir().map(|folder| folder.join("rota")));
            // A service without a home.
            state.unwrap_or_else(|| PathBuf::from("/var/lib/rota"))
        })
    }

    /// The folder for compiled plugins.
    pub fn cache_dir(&self) -> PathBuf {
        self.settings.sandbox.cache_dir.clone().unwrap_or_else(|| self.state_dir().join("compiled"))
    }
}

impl Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

/// Collects where each key and each element of a list was written.
fn remember(sources: &Sources, table: &Table, path: &str, places: &mut BTreeMap<String, Place>) {
    for (key, entry) in &table.0 {
        let at = join(path, key);
        within(sources, &entry.node, &at, places);
        places.insert(at, sources.place(&entry.key));
    }
}

fn within(sources: &Sources, node: &Node, at: &str, places: &mut BTreeMap<String, Place>) {
    match &node.value {
        Value::Table(table) => remember(sources, table, at, places),
        Value::Array(nodes) => {
            for (i, node) in nodes.iter().enumerate() {
                let at = format!("{at}[{i}]");
                within(sources, node, &at, places);
                places.insert(at, sources.place(&node.origin));
            }
        }
        _ => {}
    }
}
