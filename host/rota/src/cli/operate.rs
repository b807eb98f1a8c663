//! The commands about runs, jobs, hosts and the store.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs, the newest first
    List(RunsList),
    /// Show one run: report, attempts, steps, effects, compensations, artifacts
    Show {
        /// The run's id, or four characters or more of its beginning or end, or `last`
        run: String,
    },
    /// Show a run's log
    Logs {
        /// The run's id, or four characters or more of its beginning or end, or `last`
        run: String,
        /// Go on until the run has ended
        #[arg(short, long)]
        follow: bool,
    },
    /// Follow a run until it is over: progress, log, then its report; ends with the run's exit status
    Watch {
        /// The run's id, or four characters or more of its beginning or end, or `last`
        run: String,
    },
    /// Cancel a run, wherever it is under way: its statements, programs and uploads are ended, and what it registered is undone
    Cancel {
        /// The run's id, or four characters or more of its beginning or end, or `last`
        run: String,
        /// End it at once: without it, the procedure has its limit `grace` (5 s) to end by itself; its calls are ended at once either way
        #[arg(long)]
        terminate: bool,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Run it again with the same inputs, as a new run; or try its failed undo again
    Retry {
        /// The run's id, or four characters or more of its beginning or end, or `last`
        run: String,
        /// Not the run, but the undo of a run that is compensation-failed or unknown
        #[arg(long)]
        undo: bool,
        /// Put it into the queue for a serving host, instead of running it here
        #[arg(long)]
        queue: bool,
    },
    /// Run a recorded run again on its recorded answers: nothing is reached, and nothing written. Says whether it ends the same, or shows the first call that differs
    #[command(after_help = "\
Examples:
  rota runs replay last                          # the recorded build: the same report?
  rota runs replay 3f2a --with target/mine.wasm  # would my fix have worked?
  rota runs replay last --until 17               # the calls before number 17, with their answers

Ends with status 0 where nothing differs, 1 where something does. A run is recorded with --record, or by `record` in its job.")]
    Replay {
        /// The run's id, or four characters or more of its beginning or end, or `last`; or a recording's file
        run: String,
        /// Not the build that was recorded, but this component
        #[arg(long, value_name = "FILE.wasm")]
        with: Option<std::path::PathBuf>,
        /// Stop before this call, and show the calls so far
        #[arg(long, value_name = "CALL", value_parser = clap::value_parser!(u64).range(1..))]
        until: Option<u64>,
        /// The attempt of the run whose recording is replayed; a file is of one [default: the last that was recorded]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        attempt: Option<u32>,
    },
    /// Put on record that a person has settled what a run left (unknown, compensation-failed)
    Settle {
        /// The run's id, or four characters or more of its beginning or end, or `last`
        run: String,
        /// How it counts from now on
        #[arg(long = "as", value_enum, value_name = "STATE")]
        settled: Settled,
        /// What was found and done, for whoever reads it later
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
    /// List the files that a run kept, or write one of them
    Artifacts {
        /// The run's id, or four characters or more of its beginning or end, or `last`
        run: String,
        /// The one to write
        name: Option<String>,
        /// Where to [default: stdout]
        #[arg(long, value_name = "FILE", requires = "name")]
        to: Option<PathBuf>,
    },
}

/// How a settled run counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Settled {
    /// It did what it should.
    Succeeded,
    /// It did not.
    Failed,
    /// It was undone by hand.
    Cancelled,
}

/// `rota runs list`.
#[derive(Debug, Args)]
pub(crate) struct RunsList {
    /// Only runs of this job
    #[arg(long)]
    pub(crate) job: Option<String>,
    /// Only runs of this plugin
    #[arg(long)]
    pub(crate) plugin: Option<String>,
    /// Only runs in this state (queued, waiting, running, compensating, succeeded, failed, denied, timed-out, cancelled, unknown,
    /// compensation-failed, skipped); several separated by commas
    #[arg(long, value_delimiter = ',')]
    pub(crate) status: Vec<String>,
    /// Only runs that this set off (manual, schedule, api, job, retry, backfill)
    #[arg(long)]
    pub(crate) trigger: Option<String>,
    /// Only runs with this label; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// Only runs that were made within this time (2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only runs before this one, for the next page
    #[arg(long, value_name = "RUN")]
    pub(crate) before: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List the configured jobs, when they run next and how they last did
    List,
    /// Show one job: what it runs, with what, when, and what became of its last instants
    Show {
        /// The job
        job: String,
    },
    /// When schedules fire next: zone, clock changes, windows
    Next {
        /// The job; all that have a schedule without it
        job: Option<String>,
        /// How many instants
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
        count: u32,
    },
    /// Pause a job's schedule; what falls due meanwhile is recorded as skipped
    Pause {
        /// The job
        job: String,
        /// Why, for whoever wonders; it is not paused without
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Let a paused schedule go on
    Resume {
        /// The job
        job: String,
    },
    /// Put a run of the job into the queue for a serving host (`rota run JOB` runs it here)
    Run {
        /// The job
        job: String,
        /// A parameter over the job's own
        #[arg(short, long = "parameter", value_name = "KEY=VALUE|@FILE")]
        parameters: Vec<String>,
        /// Perform no effect: list those that would have been performed
        #[arg(long)]
        plan: bool,
        /// Follow it until it is over
        #[arg(long)]
        watch: bool,
    },
    /// Run a job for each instant of a past range that its schedule names
    Backfill {
        /// The job
        job: String,
        /// The beginning, RFC 3339
        #[arg(long, value_name = "INSTANT")]
        from: String,
        /// The end, RFC 3339
        #[arg(long, value_name = "INSTANT")]
        to: String,
        /// At most so many runs
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Only say which instants there are
        #[arg(long)]
        plan: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostsCommand {
    /// List the hosts that serve this store
    List,
    /// Let a host take nothing more; what it runs goes on
    Drain {
        /// Its name or incarnation
        host: String,
        /// Let it take runs again
        #[arg(long)]
        undo: bool,
    },
}

/// `rota teams`.
#[derive(Debug, Subcommand)]
pub(crate) enum TeamsCommand {
    /// List the teams, with what each has used today of its quotas
    List,
    /// Show what a team may (plugins, jobs, bindings, limits), and what it has used today
    Show {
        /// The team; all of them without it
        team: Option<String>,
    },
}

/// `rota approvals`.
#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// The runs that wait for one, the oldest first
    List,
    /// Let a run begin; who did is on its record. It is done by the build of the plugin that it was made for, and by no other
    Approve {
        /// The run's id, or four characters or more of its beginning or end, or `last`
        run: String,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Refuse a run: it is cancelled
    Reject {
        /// The run's id, or four characters or more of its beginning or end, or `last`
        run: String,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// What the store is, how large, how healthy
    Status,
    /// Bring the schema up to this version (serving does so by itself)
    Migrate,
    /// Write everything to one file that either engine can restore
    Backup {
        /// The file
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Make the store from such a file; what is there is moved aside (SQLite) or must be empty (PostgreSQL)
    Restore {
        /// The file
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
}

/// `rota serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Carry out no runs here
    #[arg(long)]
    pub(crate) no_worker: bool,
    /// Fire no schedules here
    #[arg(long)]
    pub(crate) no_scheduler: bool,
    /// Runs at once [default: server.workers]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) workers: Option<u32>,
    /// Where /livez, /readyz and /metrics are served, or `none` [default: server.listen, 127.0.0.1:7682]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
}
