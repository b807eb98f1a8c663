//! `rota-bench`: measures the table of docs/performance.md. Each figure is a ratio of two things that were measured in turn within
//! one run, so that it means the same on another machine. A goal that is missed is marked; it is no failure.

mod backup;
mod caches;
mod cluster;
mod data;
mod denied;
mod durable;
mod figure;
mod health;
mod host;
mod measure;
mod noop;
mod pump;
mod replay;
mod restore;
mod rows;
mod scripts;
mod source;
mod store;

use anyhow::Context as _;
use clap::Parser;
use figure::{Machine, Results, load};
use rota_testbed::{Postgres, PostgresOptions};
use std::path::PathBuf;

/// The figures' names.
const NAMES: [&str; 20] = [
    "noop",
    "backup",
    "restore",
    "pump",
    "rows",
    "health",
    "health-50",
    "denied",
    "store",
    "invalidate",
    "invalidate-runbook",
    "invalidate-kubectl",
    "pods",
    "exec",
    "replay",
    "exec-start",
    "script-start",
    "script-rows",
    "author-javascript",
    "author-rust",
];

fn names() -> clap::builder::PossibleValuesParser {
    NAMES.into_iter().chain(durable::NAMES).collect::<Vec<_>>().into()
}

/// Measures what docs/performance.md tells.
#[derive(Debug, Parser)]
struct Cli {
    /// Only these figures, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = names())]
    only: Vec<String>,
    /// Rounds of each, two sides in turn
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Where the figures are written as JSON
    #[arg(long, default_value = "target/bench.json", overrides_with = "json")]
    json: PathBuf,
    /// A Markdown file whose table, between `<!-- bench -->` and `<!-- /bench -->`, is written anew when all figures are measured
    #[arg(long, overrides_with = "document")]
    document: Option<PathBuf>,
    /// How much is backed up, GiB; the memory is compared between half and twice as much
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    size: u32,
    /// A pg_dump with Zstandard of its own (version 16 or later): the backup is measured against it writing a compressed file by itself,
    /// and made with it on both sides. Without it: against pg_dump piped into a process that compresses
    #[arg(long, value_name = "PATH")]
    pg_dump: Option<PathBuf>,
    /// A redis-cli, for `invalidate-runbook`; without it the one in PATH
    #[arg(long, value_name = "PATH")]
    redis_cli: Option<PathBuf>,
    /// How many jobs restore, on both sides
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    jobs: u32,
    #[command(flatten)]
    lengths: durable::Lengths,
    /// Compress standard input to this file and do nothing else: the other side of the backup
    #[arg(long, hide = true)]
    compress_to: Option<PathBuf>,
    /// Decompress this file to standard output and do nothing else: the other side of the restore
    #[arg(long, hide = true)]
    decompress: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if let Some(path) = &cli.compress_to {
        return backup::compress_to(path);
    }
    if let Some(path) = &cli.decompress {
        return restore::decompress(path);
    }
    // As the host's own runtime.
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(&cli))
}

async fn measure(cli: &Cli) -> anyhow::Result<()> {
    let wanted = |name: &str| cli.only.is_empty() || cli.only.iter().any(|only| only == name);
    // What needs a tool that nobody installs for it, or minutes for one go: only where it is asked for.
    let named = |name: &str| cli.only.iter().any(|only| only == name);
    let rounds = usize::from(cli.rounds);
    let mut results = Results { machine: Machine::here(), figures: Vec::new(), store: Vec::new() };
    let mut take = |figure: figure::Figure| {
        eprintln!("{}", figure.line());
        results.figures.push(figure);
    };
    let host = host::Host::new().await.context("the sandbox")?;
    if wanted("noop") {
        take(noop::measure(&host, rounds).await.context("noop")?);
    }
    if wanted("pump") {
        take(pump::measure(&host, rounds).await.context("pump")?);
    }
    if named("replay") {
        take(replay::measure(&host, rounds.min(3)).await.context("replay")?);
    }
    // Against node, which nobody installs for it; or with cargo.
    if named("exec-start") {
        take(scripts::exec(rounds.max(10)).context("exec-start")?);
    }
    if wanted("script-start") {
        take(scripts::start(rounds).await.context("script-start")?);
    }
    for (name, language) in [("author-javascript", "javascript"), ("author-rust", "rust")] {
        if named(name) {
            take(scripts::author(language, rounds.min(3)).context(name)?);
        }
    }
    if named("script-rows") {
        let server = Postgres::start(PostgresOptions::default()).await.context("PostgreSQL")?;
        take(scripts::rows(&server, rounds.min(5)).await.context("script-rows")?);
    }
    if wanted("denied") {
        take(denied::measure(&host, rounds).await.context("denied")?);
    }
    if wanted("rows") || wanted("health") || wanted("health-50") {
        let options = PostgresOptions { config: vec!["shared_buffers = 512MB".into()], ..PostgresOptions::default() };
        let server = Postgres::start(options).await.context("PostgreSQL")?;
        if wanted("rows") {
            take(rows::measure(&host, &server, rounds).await.context("rows")?);
        }
        if wanted("health") {
            take(health::measure(&server, rounds).await.context("health")?);
        }
        if wanted("health-50") {
            take(health::measure_many(&server, rounds).await.context("health-50")?);
        }
    }
    if wanted("backup") {
        let server = Postgres::start(server_for_backup()).await.context("PostgreSQL")?;
        take(backup::measure(&server, cli.size, rounds.min(5), cli.pg_dump.as_deref()).await.context("backup")?);
    }
    if wanted("invalidate") {
        caches::measure(rounds).await.context("invalidate")?.into_iter().for_each(&mut take);
    }
    if named("invalidate-runbook") {
        take(caches::against_the_runbook(rounds, cli.redis_cli.as_deref(), None).await.context("invalidate-runbook")?);
    }
    if wanted("pods") || wanted("exec") || named("invalidate-kubectl") {
        let cluster = rota_testbed::Cluster::start().await.context("Kubernetes")?;
        if wanted("pods") {
            cluster::pods(&cluster, rounds).await.context("pods")?.into_iter().for_each(&mut take);
        }
        if wanted("exec") {
            take(cluster::exec(&cluster, rounds).await.context("exec")?);
        }
        if named("invalidate-kubectl") {
            let pod = cluster::pod(&cluster).await?;
            let figure = caches::against_the_runbook(1, cli.redis_cli.as_deref(), Some(&pod)).await;
            take(figure.context("invalidate-kubectl")?);
        }
    }
    if wanted("restore") {
        let server = Postgres::start(server_for_backup()).await.context("PostgreSQL")?;
        take(restore::measure(&server, cli.size, rounds.min(5), cli.jobs).await.context("restore")?);
    }
    for name in durable::NAMES {
        if wanted(name) {
            take(durable::measure(name, &cli.lengths, rounds).await?);
        }
    }
    if wanted("store") {
        results.store = store::measure().await.context("store")?;
    }
    results.machine.load_after = load();
    write(cli, &results)
}

/// Tables are made without WAL, and nothing is vacuumed beside what is measured.
fn server_for_backup() -> PostgresOptions {
    let config = [
        "wal_level = minimal",
        "max_wal_senders = 0",
        "autovacuum = off",
        "max_wal_size = 4GB",
        "shared_buffers = 512MB",
    ];
    PostgresOptions { config: config.map(str::to_owned).to_vec(), ..PostgresOptions::default() }
}

fn write(cli: &Cli, results: &Results) -> anyhow::Result<()> {
    let table = results.table();
    println!("{table}");
    if let Some(folder) = cli.json.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&cli.json, serde_json::to_string_pretty(results)? + "\n")
        .with_context(|| format!("writing {}", cli.json.display()))?;
    if let Some(document) = cli.document.as_ref().filter(|_| cli.only.is_empty()) {
        let text = std::fs::read_to_string(document).with_context(|| format!("reading {}", document.display()))?;
        let replaced =
            replaced(&text, &table).with_context(|| format!("{} has no `{BEGIN}` and `{END}`", document.display()))?;
        std::fs::write(document, replaced).with_context(|| format!("writing {}", document.display()))?;
    }
    Ok(())
}

const BEGIN: &str = "<!-- bench -->";
const END: &str = "<!-- /bench -->";

fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}{END}{after}"))
}
