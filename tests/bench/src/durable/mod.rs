//! What durable runs and schedules cost: figures of stores that wait for their disk, of the worker and of `rota serve`.

mod graphile;
mod idle;
mod jobs;
mod latency;
mod lateness;
mod many;
mod pickup;
mod pinned;
mod place;
mod runs;
mod serving;
mod working;

use crate::figure::Figure;
use anyhow::Context as _;
use clap::Args;
use place::Place;
use std::time::Duration;

/// The figures' names.
pub(crate) const NAMES: [&str; 9] =
    ["runs-sqlite", "runs-postgres", "graphile", "pickup", "idle", "pinned", "lateness", "lateness-runs", "many"];

const MINUTE: Duration = Duration::from_secs(60);

/// How long and how much.
#[derive(Debug, Args)]
pub(crate) struct Lengths {
    /// How long an idle host is watched, seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=3600))]
    idle: u64,
    /// How long runs go on beside a pinned xmin, seconds; 600 for the whole figure
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(12..=7200))]
    pinned: u64,
    /// How many runs and jobs are in the queue that is emptied
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    queue: u64,
    /// Schedules whose lateness is measured; 100000, with `--hour 120`, for the whole figure at the same rate
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    schedules: u32,
    /// Into how many seconds their hour is compressed
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(10..=3600))]
    hour: u64,
    /// Schedules whose lateness is measured while their runs are carried out, in a minute
    #[arg(long, default_value_t = 6_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    busy: u32,
    /// Schedules that a host is started with, a tenth of them overdue; 1000000 for the whole figure
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    many: u32,
}

/// One of them, by its name.
pub(crate) async fn measure(name: &str, lengths: &Lengths, rounds: usize) -> anyhow::Result<Figure> {
    let rounds = rounds.min(5);
    let figure = match name {
        "runs-sqlite" => runs::measure("runs-sqlite", &Place::sqlite()?, rounds).await,
        "runs-postgres" => runs::measure("runs-postgres", &Place::postgres(&[]).await?, rounds).await,
        "graphile" => graphile::measure(&Place::postgres(&[]).await?, lengths.queue, rounds.min(3)).await,
        "pickup" => pickup::measure().await,
        "idle" => idle::measure(Duration::from_secs(lengths.idle)).await,
        "pinned" => pinned::measure(Duration::from_secs(lengths.pinned)).await,
        "lateness" => lateness::measure("lateness", lengths.schedules, Duration::from_secs(lengths.hour), false).await,
        "lateness-runs" => lateness::measure("lateness-runs", lengths.busy, MINUTE, true).await,
        "many" => many::measure(lengths.many).await,
        other => anyhow::bail!("there is no figure {other}"),
    };
    figure.with_context(|| name.to_owned())
}
