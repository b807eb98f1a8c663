//! Jobs: a plugin with its parameters, its slots bound and granted, and its policy.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::access::Access;
use crate::decode::{Decode, Reader};
use crate::redact::quoted;
use crate::section::{record, section, words};
use crate::tree::Node;
use crate::{BindingName, Duration, LimitOverrides, SlotName};

record! {
    /// A plugin with its parameters, its slots bound and granted, and its policy.
    pub struct Job {
        /// The plugin: its name, NAME@VERSION, or the path of a component.
        pub plugin: PluginRef;
        /// What the plugin is given; its own schema says what it takes.
        pub parameters: Map<String, Value> = Map::new();
        /// What stands in the plugin's slots, and what it may do there.
        pub slots: BTreeMap<SlotName, SlotBinding> = BTreeMap::new();
        /// When it runs by itself. Read and carried, but nothing runs by schedule yet: the scheduler comes with the next version.
        pub schedule: Option<Schedule> = None;
        /// The longest that a run may take; the same as limits.wall.
        pub timeout: Option<Duration> = None, within(Duration::from_millis(100), Duration::from_secs(30 * 86_400));
        /// What is tried again.
        pub retries: Retries = Retries::default();
        /// Limits of this job, over those for all.
        pub limits: LimitOverrides = LimitOverrides::default();
        /// The word that a plugin which can lose data asks for, given in advance by whoever writes this; without it, a person is asked.
        pub confirm: Option<String> = None;
    }
}

record! {
    /// What stands in a slot, and what the plugin may do there.
    pub struct SlotBinding {
        /// The name of a binding.
        pub binding: BindingName;
        /// What is granted; nothing is without it.
        pub access: Vec<Access> = Vec::new();
    }
}

record! {
    /// When a job runs by itself.
    pub struct Schedule {
        /// A cron expression: minute, hour, day of the month, month, day of the week; or six with seconds first.
        pub cron: Cron;
        /// The time zone that the expression is read in, as Asia/Shanghai.
        pub timezone: TimeZone = TimeZone("UTC".to_owned());
        /// What happens about instants at which no host was up.
        pub misfire: Misfire = Misfire::Once;
        /// What happens if the last run is not over.
        pub overlap: Overlap = Overlap::Skip;
        /// Each instant is put off by up to this, always by the same for the same instant.
        pub jitter: Duration = Duration::from_secs(0), within(Duration::from_secs(0), Duration::from_secs(86_400));
    }
}

words! {
    /// What happens about instants at which no host was up.
    pub enum Misfire ("what a misfire does") {
        /// One run makes up for all.
        Once = "once",
        /// One run for each.
        All = "all",
        /// They are past.
        None = "none",
    }
}

words! {
    /// What happens if the last run is not over.
    pub enum Overlap ("what an overlap does") {
        /// The new one is left out.
        Skip = "skip",
        /// One new one waits.
        BufferOne = "buffer-one",
        /// All new ones wait.
        BufferAll = "buffer-all",
        /// The last one is cancelled.
        CancelOther = "cancel-other",
        /// The last one is ended at once.
        TerminateOther = "terminate-other",
        /// Both run.
        Allow = "allow",
    }
}

section! {
    /// What is tried again: faults that may pass, of procedures that may be repeated.
    pub struct Retries {
        /// How often; 0 is never.
        pub limit: u32 = 0, within(0, 100);
        /// How long until the first of them; each further one waits twice as long.
        pub backoff: Duration = Duration::from_secs(60), within(Duration::from_millis(100), Duration::from_secs(86_400));
    }
}

/// Why a text is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JobError(String);

/// Which plugin a job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginRef {
    /// One of the catalog.
    Named {
        /// Its name.
        name: String,
        /// What was written after the `@`: a version or the beginning of one (`1`, `1.2`), or a digest (`sha256:...`).
        version: Option<String>,
    },
    /// A component in a file.
    File(PathBuf),
}

impl FromStr for PluginRef {
    type Err = JobError;

    fn from_str(text: &str) -> Result<Self, JobError> {
        if text.contains('/') || text.ends_with(".wasm") {
            return Ok(Self::File(PathBuf::from(text)));
        }
        let (name, version) = text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            let message = "is not a plugin; write its name, NAME@VERSION, or the path of a component";
            return Err(JobError(format!("{} {message}", quoted(text))));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | ':');
        if version.is_some_and(|version| version.is_empty() || !version.chars().all(allowed)) {
            return Err(JobError(format!(
                "{} names no version after the \"@\", as postgres-backup@1 does",
                quoted(text)
            )));
        }
        Ok(Self::Named { name: name.to_owned(), version: version.map(str::to_owned) })
    }
}

impl fmt::Display for PluginRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named { name, version: None } => f.write_str(name),
            Self::Named { name, version: Some(version) } => write!(f, "{name}@{version}"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Serialize for PluginRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for PluginRef {
    const WANTED: &'static str = "a plugin (NAME, NAME@VERSION or the path of a component)";

    fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
        let text = reader.text(at, &node, Self::WANTED)?;
        match reader.parsed(at, &node.origin, text.parse())? {
            Self::File(path) => Some(Self::File(reader.sources.path(&node.origin, &path.to_string_lossy()))),
            named => Some(named),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "examples": ["postgres-backup@1"] })
    }
}

/// Defines a text that is carried as it is, after a look at its form.
macro_rules! carried {
    ($(#[doc = $doc:literal])* $name:ident, $wanted:literal, $example:literal, $is_one:expr) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        pub struct $name(String);

        impl $name {
            /// As it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = JobError;

            fn from_str(text: &str) -> Result<Self, JobError> {
                let is_one: fn(&str) -> bool = $is_one;
                let one = Some(text.trim()).filter(|text| is_one(text)).map(|text| Self(text.to_owned()));
                one.ok_or_else(|| JobError(format!("{} is not {}, as {} is", quoted(text), $wanted, quoted($example))))
            }
        }

        impl Decode for $name {
            const WANTED: &'static str = $wanted;

            fn decode(reader: &Reader, at: &str, node: Node) -> Option<Self> {
                let text = reader.text(at, &node, Self::WANTED)?;
                reader.parsed(at, &node.origin, text.parse())
            }

            fn schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "minLength": 1, "examples": [$example] })
            }
        }
    };
}

carried!(
    /// A cron expression. Only its form is looked at; the scheduler reads it.
    Cron,
    "a cron expression of five fields (or six, with seconds)",
    "0 2 * * *",
    |text| {
        let field = |c: char| c.is_ascii_alphanumeric() || "*,-/?#".contains(c);
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        matches!(fields.len(), 5 | 6) && fields.iter().all(|part| part.chars().all(field))
    }
);
carried!(
    /// The name of a time zone. Only its form is looked at; the scheduler knows the zones.
    TimeZone,
    "the name of a time zone",
    "Asia/Shanghai",
    |text| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-/".contains(c);
        text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(allowed)
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_named_or_files() {
        for (text, expected) in [
            ("postgres-backup", PluginRef::Named { name: "postgres-backup".to_owned(), version: None }),
            (
                "postgres-backup@1",
                PluginRef::Named { name: "postgres-backup".to_owned(), version: Some("1".to_owned()) },
            ),
            ("./mine.wasm", PluginRef::File("./mine.wasm".into())),
            ("mine.wasm", PluginRef::File("mine.wasm".into())),
        ] {
            assert_eq!(text.parse::<PluginRef>(), Ok(expected));
        }
        for (text, message) in [
            ("", "\"\" is not a plugin; write its name, NAME@VERSION, or the path of a component"),
            (
                "Postgres Backup",
                "\"Postgres Backup\" is not a plugin; write its name, NAME@VERSION, or the path of a component",
            ),
            ("postgres-backup@", "\"postgres-backup@\" names no version after the \"@\", as postgres-backup@1 does"),
        ] {
            assert_eq!(text.parse::<PluginRef>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn schedules_have_a_form() {
        for cron in ["0 2 * * *", "*/5 0-6,22 * JAN-MAR MON#2", "0 0 2 * * ?"] {
            assert_eq!(cron.parse::<Cron>().unwrap().as_str(), cron);
        }
        assert_eq!(
            "0 2 * *".parse::<Cron>().unwrap_err().to_string(),
            "\"0 2 * *\" is not a cron expression of five fields (or six, with seconds), as \"0 2 * * *\" is"
        );
        assert!("UTC".parse::<TimeZone>().is_ok());
        assert_eq!(
            "+8".parse::<TimeZone>().unwrap_err().to_string(),
            "\"+8\" is not the name of a time zone, as \"Asia/Shanghai\" is"
        );
    }
}
