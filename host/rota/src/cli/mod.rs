//! The command line: names are fixed by docs and scripts of users; help texts are the manual.

mod author;
mod operate;
mod packages;
mod shell;
mod signature;

pub(crate) use author::{BuildArgs, DevArgs, Language, NewArgs, PluginCommand, TestArgs};
pub(crate) use operate::{
    ApprovalsCommand, HostsCommand, JobsCommand, RunsCommand, RunsList, ServeArgs, Settled, StoreCommand, TeamsCommand,
};

pub(crate) use packages::{PinArgs, PublishArgs, PushArgs, UpdateArgs};
pub(crate) use shell::ShellArgs;
pub(crate) use signature::{KeygenArgs, SignArgs};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// Sandboxed operations procedures: WebAssembly plugins that reach databases, caches and storage only through what a job grants them.
#[derive(Debug, Parser)]
#[command(
    name = "rota",
    version,
    about,
    max_term_width = 110,
    disable_help_subcommand = true,
    after_help = "\
Exit status: 0 succeeded, 1 failed, 2 usage or configuration, 3 denied, 4 needs approval, 5 outcome unknown, 124 timed out, 130 cancelled.

A first run, without any configuration:
  rota run postgres-health --bind database=postgres://user:password@host/db"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// The configuration: a file or a folder of *.toml [default: the first of ./rota.toml, ~/.config/rota/rota.toml and /etc/rota/rota.toml]
    #[arg(long, global = true, env = "ROTA_CONFIG", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) config: Option<PathBuf>,
    /// Where records, compiled plugins and artifacts are kept [default: $XDG_STATE_HOME/rota]
    #[arg(long, global = true, env = "ROTA_STATE_DIR", value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) state_dir: Option<PathBuf>,
    /// How to print: human on a terminal, json elsewhere
    #[arg(long, global = true, value_enum, value_name = "FORM")]
    pub(crate) output: Option<Output>,
    /// What to log to stderr (error, warn, info, debug, or a filter like rota=debug)
    #[arg(long, global = true, env = "ROTA_LOG", default_value = "warn", value_name = "FILTER")]
    pub(crate) log: String,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Tables, colour, a live line.
    Human,
    /// One JSON value on stdout; progress and logs on stderr.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a job, a plugin, or a component file
    Run(Box<RunArgs>),
    /// Run a script of yours, JavaScript or SQL, in the sandbox
    Exec(Box<ExecArgs>),
    /// A prompt that keeps one sandboxed session: SQL and JavaScript, planned before they change anything
    Shell(Box<ShellArgs>),
    /// Past and present runs
    #[command(subcommand)]
    Runs(RunsCommand),
    /// The configured jobs: when they run, run now, pause, backfill
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Fire schedules and carry out runs, until told to stop
    Serve(ServeArgs),
    /// Runs that wait for somebody's approval (jobs with `approval = true`)
    #[command(subcommand)]
    Approvals(ApprovalsCommand),
    /// The teams that have jobs here: what they may, and what they have used today
    #[command(subcommand)]
    Teams(TeamsCommand),
    /// The hosts that serve
    #[command(subcommand)]
    Hosts(HostsCommand),
    /// What the hosts remember: state, backup, restore
    #[command(subcommand)]
    Store(StoreCommand),
    /// The plugins that can be run
    #[command(subcommand)]
    Plugins(PluginsCommand),
    /// Make a plugin of your own: new, build, test, check, wit, dev, publish
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Reach every binding, say what is missing and how to mend it
    Doctor(DoctorArgs),
    /// Print a completion script: rota completions bash > /etc/bash_completion.d/rota
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What a run is given, and how it is watched: the same for `rota run` and `rota exec`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Means {
    /// Put a binding into a slot: a configured binding's name, a URL (postgres://, file://, s3://, oss:// ...) or a program's path
    #[arg(long, value_name = "SLOT=BINDING")]
    pub(crate) bind: Vec<String>,
    /// Grant accesses on a slot (database=read,maintain), or `declared` for all that the plugin declares
    #[arg(long, value_name = "SLOT=ACCESS,...|declared")]
    pub(crate) grant: Vec<String>,
    /// End the run after this long (90s, 5m, 2h)
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,
    /// Set a limit for this run (memory=512MiB, cpu=5m, ...)
    #[arg(long, value_name = "LIMIT=VALUE")]
    pub(crate) limit: Vec<String>,
    /// Record the run, so that `rota runs replay` can run it again without reaching anything: always (the default of the flag), on-failure or never [default: the job's `record`, never]
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "always", value_parser = recorded())]
    pub(crate) record: Option<rota_config::Record>,
    /// Do not ask on the terminal: what is not granted, or not agreed to, is denied
    #[arg(long)]
    pub(crate) no_input: bool,
    /// Say nothing while it runs
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The words for which runs are recorded.
fn recorded() -> impl clap::builder::TypedValueParser<Value = rota_config::Record> {
    use clap::builder::TypedValueParser as _;
    let words: Vec<_> = rota_config::Record::ALL.iter().map(|record| record.as_str()).collect();
    clap::builder::PossibleValuesParser::new(words).try_map(|word| word.parse::<rota_config::Record>())
}

/// `rota run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rota run postgres-health --bind database=postgres://me@localhost/shop
  rota run postgres-vacuum --bind database=kosmos --grant declared --plan
  rota run postgres-backup --bind database=kosmos --bind bucket=file:///backups --bind pg_dump=/usr/bin/pg_dump --grant declared
  rota run nightly-backup                      # a job of the configuration
  rota run ./mine.wasm -p limit=5 --bind database=kosmos
  rota run --remedy last/1 --grant declared --plan   # what would mend the first finding of the last run

Without --grant a run gets the declared accesses that only read. Anything more is asked for on a terminal, and denied elsewhere.")]
pub(crate) struct RunArgs {
    /// A job of the configuration, a plugin (name or name@version), or a path to a .wasm file
    #[arg(value_name = "JOB|PLUGIN|FILE.wasm", required_unless_present = "remedy")]
    pub(crate) what: Option<String>,
    /// Run what would mend a finding of a past run, on the bindings that it had: RUN/NUMBER as `rota runs show` lists them (last/1)
    #[arg(long, value_name = "RUN/NUMBER", conflicts_with = "what")]
    pub(crate) remedy: Option<String>,
    /// A parameter, or a JSON file of them (-p @file.json); may be given several times
    #[arg(short, long = "parameter", value_name = "KEY=VALUE|@FILE")]
    pub(crate) parameters: Vec<String>,
    /// Perform no effect: list those that would have been performed
    #[arg(long)]
    pub(crate) plan: bool,
    /// The word that the plugin asks for before it may execute (RESTORE, for example)
    #[arg(long, value_name = "WORD")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) means: Means,
    /// End with status 1 also when the run succeeded but its report is this bad (for scripts and cron)
    #[arg(long, value_enum, value_name = "SEVERITY")]
    pub(crate) fail_on: Option<FailOn>,
}

/// `rota exec`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rota exec -e 'print(1 + 1)'
  rota exec -e 'table(await db.query(\"select * from orders limit 5\"))' --bind database=kosmos
  rota exec clean.js --bind database=kosmos --bind cache=dragonfly --grant database=read,write --grant cache=delete
  rota exec mend.sql --arg customer=42 --bind database=kosmos --grant database=read,write --plan

A script finds db, standby, cache, bucket, cluster and stream (what is bound to the slots database, standby, cache, bucket, cluster and stream),
tool (programs), bytes (streams), print, table, report, step, compensate, args: docs/procedures/script.md. Without --grant it may read. With more it is planned first, its effects
are listed and asked for, and what it then does is held to them.")]
pub(crate) struct ExecArgs {
    /// Print what a script finds as TypeScript declarations, for an editor: rota exec --types > rota.d.ts
    #[arg(long, conflicts_with_all = ["file", "expression"])]
    pub(crate) types: bool,
    /// The script: a .js or .sql file, or - for stdin
    #[arg(value_name = "FILE", conflicts_with = "expression")]
    pub(crate) file: Option<PathBuf>,
    /// The script itself
    #[arg(short = 'e', long = "expression", value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) expression: Option<String>,
    /// What it is written in [default: by the file's name; js for -e and stdin]
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    pub(crate) language: Option<ScriptLanguage>,
    /// What the script finds in `args` (SQL: as :name); JSON where it is JSON, otherwise text
    #[arg(short, long = "arg", value_name = "NAME=VALUE")]
    pub(crate) arguments: Vec<String>,
    /// Another parameter of the plugin that runs it (script, sql-script): see rota plugins show
    #[arg(short, long = "parameter", value_name = "KEY=VALUE")]
    pub(crate) parameters: Vec<String>,
    /// Perform no effect: list those that would have been performed
    #[arg(long)]
    pub(crate) plan: bool,
    /// Agree beforehand to the effects that the plan shows
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Do not plan first: for a script whose later parts need what its earlier parts did. Its effects are then known only afterwards
    #[arg(long, conflicts_with = "plan")]
    pub(crate) unplanned: bool,
    #[command(flatten)]
    pub(crate) means: Means,
}

/// What a script is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScriptLanguage {
    /// JavaScript.
    Js,
    /// SQL.
    Sql,
}

/// How bad a report must be to count as a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// warning, unknown or critical.
    Warning,
    /// unknown or critical.
    Unknown,
    /// critical.
    Critical,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginsCommand {
    /// List the plugins
    List,
    /// Show what a plugin does, asks for and takes
    Show {
        /// Name, name@version or path
        plugin: String,
    },
    /// Check a component: imports, descriptor, digest, signature; without a name, all that is locked
    Verify {
        /// Name, name@version, package or path
        plugin: Option<String>,
        /// The SHA-256 that it must have
        #[arg(long, value_name = "HEX")]
        digest: Option<String>,
    },
    /// Fetch a package from its registry and lock it
    Pull {
        /// REGISTRY/NAME@1 (the highest 1.x), :1.2.3 (just this), @sha256:...
        reference: String,
    },
    /// Put a component into a registry as a package that other tools can read, too
    Push(PushArgs),
    /// Take newer versions of what is locked; says what differs, and takes what asks for more only if told so
    Update(UpdateArgs),
    /// What is locked, and what there would be
    Outdated,
    /// Forget a locked plugin, and what was kept of it
    Remove {
        /// The plugin's name, its package, or the whole reference
        name: String,
    },
    /// Have exactly this version of a locked plugin run, until it is updated by name
    Pin(PinArgs),
    /// Have what was locked before run again
    Rollback {
        /// The plugin's name, its package, or the whole reference
        name: String,
    },
    /// Sign a component or a package, so that cosign verifies it too
    Sign(SignArgs),
    /// Make a pair of keys for signing, without cosign
    Keygen(KeygenArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Read the configuration and say what is wrong with it, jobs included
    Check,
    /// Print the JSON Schema of the configuration
    Schema,
    /// Check it, say what it changes, and have the serving hosts of this machine and the schedules in the store take it on
    Apply {
        /// Only say what it would change
        #[arg(long)]
        plan: bool,
    },
}

/// `rota doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Mend what can be mended: runs whose process died, unfinished uploads, stale files
    #[arg(long)]
    pub(crate) fix: bool,
    /// Only this binding: the name of a configured one, or a URL or program path as `rota run --bind` takes them
    #[arg(long, value_name = "NAME|URL|PATH")]
    pub(crate) binding: Option<String>,
    /// Print what the targets must give, for what the jobs are granted: roles of PostgreSQL as SQL, of Kubernetes as YAML; reaches nothing
    #[arg(long, conflicts_with = "fix")]
    pub(crate) manifests: bool,
}
