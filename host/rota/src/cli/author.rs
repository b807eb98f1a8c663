//! The commands of an author: `rota plugin ...`.

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Make a folder with a procedure that builds, passes its tests and plans at once
    New(NewArgs),
    /// Build the component: NAME.wasm in the plugin's folder
    Build(BuildArgs),
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
