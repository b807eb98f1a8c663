//! What differs from language to language: the files of a new plugin, how it is told from others, and how it is built. A language is added here.

use super::spec::Spec;
use super::{File, Made, Printing, cargo, javascript, python, rust};
use crate::cli::Language;
use crate::settings::UsageError;
use std::path::Path;

/// All of them, by what tells a plugin's folder, in the order in which it is looked for.
const MARKS: [(Language, &str); 4] = [
    (Language::Rust, "Cargo.toml"),
    (Language::Javascript, javascript::SOURCE),
    (Language::Python, "app.py"),
    (Language::C, "procedure.c"),
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

    /// Whether `.rota` holds an SDK beside the contract.
    pub(crate) fn has_sdk(self) -> bool {
        self == Self::Rust
    }

    /// The files of a new plugin.
    pub(crate) fn files(self, spec: &Spec) -> Result<Vec<File>, UsageError> {
        match self {
            Self::Rust => Ok(rust::files(spec)),
            Self::Python => Ok(python::files(spec)),
            Self::Javascript => Ok(javascript::files(spec)),
            Self::C => Err(self.missing()),
        }
    }

    /// What to do first, for people.
    pub(crate) fn next_steps(self, spec: &Spec) -> String {
        let test = if self == Self::Rust { "  cargo test\n" } else { "" };
        let (name, bind) = (&spec.name, rust::bindings(spec));
        format!("{test}  rota plugin build\n  rota run ./{name}.wasm {bind} --grant declared --plan")
    }

    /// Build it.
    pub(crate) async fn build(self, folder: &Path, locked: bool, printing: Printing) -> anyhow::Result<Made> {
        match self {
            Self::Rust => cargo::build(folder, locked, printing).await,
            // What it needs is in componentize-py: there is nothing to lock.
            Self::Python => python::build(folder, printing).await,
            // Nothing is compiled, so there is nothing to lock either.
            Self::Javascript => javascript::build(folder),
            Self::C => Err(self.missing().into()),
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

    /// What to do where this version cannot.
    fn missing(self) -> UsageError {
        UsageError(match self {
            Self::C => "`rota plugin` does not make plugins in C yet; any language that makes components can: write the contract with `rota plugin wit`, make bindings of it with wit-bindgen (cargo install wit-bindgen-cli@0.61.1), compile with the clang of wasi-sdk (https://github.com/WebAssembly/wasi-sdk), and look at the component with `rota plugin check FILE.wasm`".into(),
            Self::Rust | Self::Javascript | Self::Python => format!("`rota plugin` does not make plugins in {} here; use --language rust", self.word()),
        })
    }
}
