//! The command line of `rota shell`.

use super::Means;
use clap::Args;

/// `rota shell`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rota shell --bind database=kosmos
  rota shell --bind database=kosmos --bind cache=dragonfly --grant database=read,write --grant cache=read,delete
  echo 'select count(*) from orders;' | rota shell --bind database=kosmos

A line that begins with a word of SQL and ends with a semicolon is run on the slot `database`; everything else is JavaScript, as for `rota exec`,
whose variables stay. What would change something is planned first, its effects are listed and asked for, and what is then done is held to them.
\\help lists what begins with a backslash; Ctrl-C stops a statement and keeps the session; Ctrl-D leaves. See docs/shell.md.")]
pub(crate) struct ShellArgs {
    /// What statements find in `args`; JSON where it is JSON, otherwise text
    #[arg(short, long = "arg", value_name = "NAME=VALUE")]
    pub(crate) arguments: Vec<String>,
    /// Only plan: list what each statement would do, and do nothing (as \plan on)
    #[arg(long)]
    pub(crate) plan: bool,
    /// Agree beforehand to the effects that each statement's plan shows (statements from a pipe have nobody to ask)
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Do not plan first: what is granted happens, and is known only afterwards
    #[arg(long, conflicts_with_all = ["plan", "yes"])]
    pub(crate) unplanned: bool,
    /// Statements from a pipe: go on behind one that failed or was refused
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Stop a statement after this long, and keep the session
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub(crate) statement_timeout: String,
    /// End the session when nothing was typed for this long; an open transaction is rolled back
    #[arg(long, value_name = "TIME", default_value = "30m")]
    pub(crate) idle_timeout: String,
    #[command(flatten)]
    pub(crate) means: Means,
}
