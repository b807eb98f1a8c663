//! The commands of an author: `rota plugin ...`.

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Make a folder with a procedure that builds, passes its tests and plans at once
    New(NewArgs),
    /// Build the component: NAME.wasm in the plugin's folder
    Build(BuildArgs),
    /// Run the plugin's cases: files that say what its slots answer and what must come out
    Test(TestArgs),
    /// Say what is wrong with a plugin, and what to do about it
    Check {
        /// A plugin's folder, which is built first where that is needed, or a component
        #[arg(default_value = ".", value_name = "FOLDER|FILE.wasm", value_hint = ValueHint::AnyPath)]
        what: PathBuf,
    },
    /// Write the contract's files; in a plugin's folder, bring its .rota to this version, the SDK included
    Wit {
        /// A plugin's folder, or where to write [default: the plugin's folder that you are in, else ./wit]
        #[arg(value_hint = ValueHint::DirPath)]
        folder: Option<PathBuf>,
    },
    /// Build and plan at each save, until interrupted
    Dev(DevArgs),
    /// Check it, run its cases, put it into a registry and sign it
    Publish(super::PublishArgs),
}

/// `rota plugin new`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rota plugin new stale-statistics --language rust --slot database:sql:read,maintain
  rota plugin new old-exports --language rust --slot database:sql:read --slot bucket:storage:read,delete")]
pub(crate) struct NewArgs {
    /// Lower-case words joined by hyphens; also the folder, which must not be there yet
    pub(crate) name: String,
    /// What it is written in
    #[arg(long, short, value_enum)]
    pub(crate) language: Language,
    /// What it needs; may be given several times [default: database:sql:read]
    #[arg(long = "slot", value_name = "NAME:CAPABILITY:ACCESS,...")]
    pub(crate) slots: Vec<String>,
    /// Where to make it [default: ./NAME]
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub(crate) folder: Option<PathBuf>,
}

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// With the SDK, by cargo.
    Rust,
    /// With nothing but rota.
    #[value(alias = "js")]
    Javascript,
    /// By componentize-py.
    Python,
    /// By clang, with nothing else.
    C,
}

/// `rota plugin build`.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The plugin's folder
    #[arg(default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// Refuse to change the lock file of the dependencies (for CI)
    #[arg(long)]
    pub(crate) locked: bool,
}

/// `rota plugin test`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rota plugin test                          # all cases in tests/*.toml, built first; no server is needed
  rota plugin test stale                    # those whose name or file holds `stale`
  rota plugin test ./mine.wasm --cases a.toml --junit results.xml
  rota plugin test --real --bind database=postgres://me@localhost/shop --grant declared
  rota plugin test --from-run last > tests/that-night.toml")]
pub(crate) struct TestArgs {
    /// A plugin's folder or a component [default: .], and a part of the names of the cases that are meant
    #[arg(value_name = "FOLDER|FILE.wasm] [FILTER", num_args = 0..=2, value_hint = ValueHint::AnyPath)]
    pub(crate) what: Vec<String>,
    /// A file of cases, instead of those in tests/; may be given several times
    #[arg(long, value_name = "FILE.toml", value_hint = ValueHint::FilePath)]
    pub(crate) cases: Vec<PathBuf>,
    /// On real bindings: each case's parameters and mode, and what must come out there
    #[arg(long)]
    pub(crate) real: bool,
    /// Put a binding into a slot, as for `rota run`
    #[arg(long, value_name = "SLOT=BINDING", requires = "real")]
    pub(crate) bind: Vec<String>,
    /// Grant accesses on a slot, as for `rota run`
    #[arg(long, value_name = "SLOT=ACCESS,...|declared", requires = "real")]
    pub(crate) grant: Vec<String>,
    /// Write a case of a recorded run to stdout, instead of running any
    #[arg(long, value_name = "RUN", conflicts_with_all = ["real", "cases", "junit"])]
    pub(crate) from_run: Option<String>,
    /// Also write the results as JUnit's XML
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) junit: Option<PathBuf>,
    /// Take the component that is there
    #[arg(long)]
    pub(crate) no_build: bool,
}

impl TestArgs {
    /// What is tested, and which of its cases: a lone word that is no place is a part of names, as with cargo test.
    pub(crate) fn what_and_filter(&self) -> (PathBuf, Option<String>) {
        match self.what.as_slice() {
            [] => (PathBuf::from("."), None),
            [what] if PathBuf::from(what).exists() || what.ends_with(".wasm") || !self.cases.is_empty() => {
                (PathBuf::from(what), None)
            }
            [filter] if !filter.contains('/') => (PathBuf::from("."), Some(filter.clone())),
            [what, rest @ ..] => (PathBuf::from(what), rest.first().cloned()),
        }
    }
}

/// `rota plugin dev`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  rota plugin dev --bind database=postgres://me@localhost/shop --grant declared")]
pub(crate) struct DevArgs {
    /// The plugin's folder
    #[arg(default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// Put a binding into a slot, as for `rota run`
    #[arg(long, value_name = "SLOT=BINDING")]
    pub(crate) bind: Vec<String>,
    /// Grant accesses on a slot, as for `rota run`; it stays a plan
    #[arg(long, value_name = "SLOT=ACCESS,...|declared")]
    pub(crate) grant: Vec<String>,
    /// A parameter, as for `rota run`
    #[arg(short, long = "parameter", value_name = "KEY=VALUE|@FILE")]
    pub(crate) parameters: Vec<String>,
    /// Build and plan once, and end with the plan's status
    #[arg(long)]
    pub(crate) once: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_help_of_plugin_names_each_of_its_commands() {
        let cli = crate::cli::Cli::command();
        let plugin = cli.find_subcommand("plugin").unwrap();
        let about = plugin.get_about().unwrap().to_string();
        let words: Vec<&str> = about.split([' ', ',', ':']).collect();
        for command in plugin.get_subcommands() {
            assert!(words.contains(&command.get_name()), "{} is not in: {about}", command.get_name());
        }
    }
}
