//! The options of what has to do with packages of registries.

use clap::{Args, ValueHint};
use std::path::PathBuf;

/// `rota plugins push`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rota plugins push expired-sessions.wasm registry.example/growth/expired-sessions
  rota plugins push ./expired-sessions registry.example/growth/expired-sessions:1.2.3

Without a tag, the version that the plugin says it is. A version is published once: under its tag nothing else is put afterwards.
Credentials are those of `docker login`.")]
pub(crate) struct PushArgs {
    /// A component, or a plugin's folder, which is built first where that is needed
    #[arg(value_name = "FILE.wasm|FOLDER", value_hint = ValueHint::AnyPath)]
    pub(crate) what: PathBuf,
    /// REGISTRY/NAME, or REGISTRY/NAME:VERSION
    #[arg(value_name = "REGISTRY/NAME")]
    pub(crate) reference: String,
}

/// `rota plugins update`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rota plugins update --plan
  rota plugins update expired-sessions
  rota plugins update expired-sessions --accept-wider expired-sessions

Exit status 4: something asks for more than what is locked and was not taken. What a job is granted is what its configuration says, before
and after.")]
pub(crate) struct UpdateArgs {
    /// The plugin's name, its package, or the whole reference [default: all that is not pinned]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Take what asks for more than what is locked: a new slot, wider access, a higher risk
    #[arg(long, value_name = "NAME")]
    pub(crate) accept_wider: Vec<String>,
    /// Only say what would change
    #[arg(long)]
    pub(crate) plan: bool,
}

/// `rota plugins pin`.
#[derive(Debug, Args)]
pub(crate) struct PinArgs {
    /// The plugin's name, its package, or the whole reference, and the version: expired-sessions@1.2.3
    #[arg(value_name = "NAME@VERSION")]
    pub(crate) plugin: String,
    /// Take it though it asks for more than what is locked
    #[arg(long, value_name = "NAME")]
    pub(crate) accept_wider: Vec<String>,
}

/// `rota plugin publish`.
#[derive(Debug, Args)]
#[command(
    override_usage = "rota plugin publish [FOLDER] REGISTRY/NAME [OPTIONS]",
    after_help = "\
Example:
  rota plugin publish registry.example/growth/expired-sessions --sign-key growth.key

What a check refuses, or a case that fails, is not published. The version is the plugin's own."
)]
pub(crate) struct PublishArgs {
    /// The plugin's folder [default: .], and where to
    #[arg(value_names = ["FOLDER", "REGISTRY/NAME"], num_args = 1..=2, required = true)]
    pub(crate) what: Vec<String>,
    /// Sign it with this key, as `rota plugins sign` does
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) sign_key: Option<PathBuf>,
}
