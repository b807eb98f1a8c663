//! What differs from language to language: the files of a new plugin, how it is told from others, and how it is built. A language is added here.

use super::sdk::Kit;
use super::spec::Spec;
use super::{File, Made, Printing, c, cargo, clang, javascript, python, rust};
use crate::cli::Language;
use crate::settings::UsageError;
use std::path::Path;

/// All of them, by what tells a plugin's folder, in the order in which it is looked for.
const MARKS: [(Language, &str); 4] = [
    (Language::Rust, "Cargo.toml"),
    (Language::Javascript, javascript::SOURCE),
    (Language::Python, "app.py"),
    (Language::C, c::SOURCE),
];

impl Language {
    /// The word for it on the command line and in objects.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Javascript => "javascript",
            Self::Python => "python",
            Self::C => "c",
        }
    }

    /// What the plugin in a folder is written in.
    pub(crate) fn of(folder: &Path) -> Result<Self, UsageError> {
        if !folder.is_dir() {
            return Err(UsageError(format!("there is no folder {}; `rota plugin new` makes one", folder.display())));
        }
        let found = MARKS.iter().find(|(_, mark)| folder.join(mark).is_file()).map(|(language, _)| *language);
        found.ok_or_else(|| {
            let marks: Vec<&str> = MARKS.iter().map(|(_, mark)| *mark).collect();
            UsageError(format!(
                "{} is no plugin's folder: it has none of {}; `rota plugin new` makes one",
                folder.display(),
                marks.join(", ")
            ))
        })
    }

    /// What `.rota` holds beside the contract.
    pub(crate) fn kit(self) -> Kit {
        match self {
            Self::Rust => Kit::Rust,
            Self::C => Kit::C,
            Self::Javascript | Self::Python => Kit::None,
        }
    }

    /// The files of a new plugin.
    pub(crate) fn files(self, spec: &Spec) -> Result<Vec<File>, UsageError> {
        match self {
            Self::Rust => Ok(rust::files(spec)),
            Self::Python => Ok(python::files(spec)),
            Self::Javascript => Ok(javascript::files(spec)),
            Self::C => Ok(c::files(spec)),
        }
    }

    /// What to do first, for people.
    pub(crate) fn next_steps(self, spec: &Spec) -> String {
        let test = if self == Self::Rust { "  cargo test\n" } else { "" };
        let (name, bind) = (&spec.name, rust::bindings(spec));
        format!(
            "{test}  rota plugin build\n  rota plugin test\n  rota run ./{name}.wasm {bind} --grant declared --plan"
        )
    }

    /// Build it.
    pub(crate) async fn build(self, folder: &Path, locked: bool, printing: Printing) -> anyhow::Result<Made> {
        match self {
            Self::Rust => cargo::build(folder, locked, printing).await,
            // What it needs is in componentize-py: there is nothing to lock.
            Self::Python => python::build(folder, printing).await,
            // Nothing is compiled, so there is nothing to lock either.
            Self::Javascript => javascript::build(folder),
            // It has no dependencies.
            Self::C => clang::build(folder, printing).await,
        }
    }

    /// Whether a change of a file may change the component; by its name alone.
    pub(crate) fn is_source(self, name: &str) -> bool {
        let endings: &[&str] = match self {
            Self::Rust => &[".rs", ".toml", ".lock", ".md", ".sql", ".json", ".txt"],
            Self::Javascript => &[".js", ".json", ".md", ".sql"],
            Self::Python => &[".py", ".wit", ".json", ".md", ".sql"],
            Self::C => &[".c", ".h", ".wit", ".md", ".sql"],
        };
        endings.iter().any(|ending| name.ends_with(ending))
    }
}
