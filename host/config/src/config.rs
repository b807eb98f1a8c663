//! The whole configuration: read, merged, overridden, checked.

use std::ops::Deref;
use std::path::PathBuf;

use crate::check::{here_and_now, together};
use crate::decode::{Decode, Reader};
use crate::environment;
use crate::places::Places;
use crate::problem::{ConfigError, Place, Problem, in_order};
use crate::settings::Settings;
use crate::source::{Source, Sources};
use crate::tree::{Node, Origin, Value};

/// What operators configured. Its sections are those of [`Settings`], which it derefs to.
#[derive(Debug, Clone)]
pub struct Config {
    settings: Settings,
    /// Where each key was written.
    places: Places,
    sources: Sources,
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
        let places = Places::of(&table);

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
                Ok(Self { settings, places, sources, warnings: in_order(problems) })
            }
            _ => Err(ConfigError::new(problems)),
        }
    }

    /// What is not right, though it can be used.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The files it was read from.
    pub fn files(&self) -> Vec<String> {
        self.sources.files().map(str::to_owned).collect()
    }

    /// Where a key was written, as `jobs.vacuum.slots.database.access`; none if it was not.
    pub fn place(&self, key: &str) -> Option<Place> {
        self.places.origin(key).map(|origin| self.sources.place(&origin))
    }

    /// Whether anything within a table has a place of its own.
    pub(crate) fn has_places_within(&self, table: &str) -> bool {
        self.places.holds(table)
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
