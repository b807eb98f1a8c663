//! Which plugin a job runs.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::decode::{Decode, Reader};
use crate::redact::quoted;
use crate::tree::Node;

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
    /// One of a registry: `registry.example/growth/expired-sessions@1`. What may stand there is known to whoever fetches it.
    Package(String),
    /// A component in a file.
    File(PathBuf),
}

impl PluginRef {
    /// Whether a text names a package of a registry rather than a file: its part before the first `/` is a host (it has a dot or a port, or
    /// is `localhost`), and it does not end in `.wasm`. A file of such a path is named `./registry.example/x`.
    pub fn is_package(text: &str) -> bool {
        let Some((host, rest)) = text.split_once('/') else { return false };
        let is_host = host == "localhost" || (host.contains(['.', ':']) && !host.starts_with('.'));
        is_host && !rest.is_empty() && !text.ends_with(".wasm")
    }
}

impl FromStr for PluginRef {
    type Err = JobError;

    fn from_str(text: &str) -> Result<Self, JobError> {
        if Self::is_package(text) {
            if text.len() > 600 || !text.chars().all(|c| c.is_ascii_graphic()) {
                let message =
                    "is not a package; write REGISTRY/NAME@VERSION, as registry.example/growth/expired-sessions@1";
                return Err(JobError(format!("{} {message}", quoted(text))));
            }
            return Ok(Self::Package(text.to_owned()));
        }
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
            Self::Package(text) => f.write_str(text),
            Self::File(path) => {
                let text = path.to_string_lossy();
                // Whoever reads it again must find a file, whatever the folder is called that it is in.
                if Self::is_package(&text) || !(text.contains('/') || text.ends_with(".wasm")) {
                    f.write_str("./")?;
                }
                f.write_str(&text)
            }
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
        json_schema!({ "type": "string", "minLength": 1, "examples": ["postgres-backup@1", "registry.example/growth/expired-sessions@1"] })
    }
}

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
            ("./registry.example/x", PluginRef::File("./registry.example/x".into())),
            ("/plugins.d/x", PluginRef::File("/plugins.d/x".into())),
            ("plugins.d/x.wasm", PluginRef::File("plugins.d/x.wasm".into())),
            ("plugins/x", PluginRef::File("plugins/x".into())),
            ("registry.example/x@1", PluginRef::Package("registry.example/x@1".to_owned())),
            ("localhost/x:1.2.3", PluginRef::Package("localhost/x:1.2.3".to_owned())),
            ("127.0.0.1:5000/team/x", PluginRef::Package("127.0.0.1:5000/team/x".to_owned())),
        ] {
            assert_eq!(text.parse::<PluginRef>(), Ok(expected));
        }
        for (path, shown) in [
            ("registry.example/growth/x", "./registry.example/growth/x"),
            ("mine", "./mine"),
            ("mine.wasm", "mine.wasm"),
            ("./mine", "./mine"),
            ("/plugins.d/x", "/plugins.d/x"),
        ] {
            let file = PluginRef::File(path.into());
            assert_eq!(file.to_string(), shown);
            assert!(matches!(shown.parse(), Ok(PluginRef::File(_))), "{shown} is a file again");
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
        for text in ["registry.example/a\u{202e}b@1", "registry.example/a b", "registry.example/a\u{1b}[31m"] {
            let refused = text.parse::<PluginRef>().unwrap_err().to_string();
            assert!(
                refused.ends_with(
                    "is not a package; write REGISTRY/NAME@VERSION, as registry.example/growth/expired-sessions@1"
                ),
                "{refused}"
            );
        }
    }
}
