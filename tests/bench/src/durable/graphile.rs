//! Runs a second with batched claims, against graphile-worker on the same PostgreSQL: both find their queue full and empty it, 16 at once.

use super::place::Place;
use super::working::{NOOP, Working, another, open, run_of};
use crate::figure::{Figure, Sides};
use crate::measure::Spread;
use anyhow::{Context as _, ensure};
use rota_testbed::tools_dir;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;
use tokio::process::Command;

/// The last that runs on Node 20.
const VERSION: &str = "0.17.3";

/// Places on each side.
const AT_ONCE: u32 = 16;

/// Runs that are enqueued in one commit, before anything is measured.
const ENQUEUED: u64 = 500;

const SCRIPT: &str = include_str!("graphile.cjs");

/// The folder with the package, installed where it is missing.
async fn installed() -> anyhow::Result<PathBuf> {
    let folder = tools_dir().join(format!("graphile-worker-{VERSION}"));
    if folder.exists() {
        return Ok(folder);
    }
    eprintln!("graphile: installing graphile-worker {VERSION}");
    // Renamed into place when it is complete.
    let new = tempfile::Builder::new().prefix(".new.").tempdir_in(tools_dir())?.keep();
    let status = Command::new("npm")
        .args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
        .arg(&new)
        .arg(format!("graphile-worker@{VERSION}"))
        .status()
        .await
        .context("npm")?;
    ensure!(status.success(), "npm could not install graphile-worker");
    tokio::fs::rename(&new, &folder).await?;
    Ok(folder)
}

/// What the script says.
#[derive(Deserialize)]
struct Said {
    called: u64,
    left: u64,
    seconds: f64,
}

async fn theirs(script: &Path, folder: &Path, url: &str, jobs: u64, how: &str) -> anyhow::Result<f64> {
    let output = Command::new("node")
        .arg(script)
        .arg(folder)
        .arg(url)
        .args([jobs.to_string(), AT_ONCE.to_string(), how.to_owned()])
        .env("NODE_ENV", "production")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("node")?;
    ensure!(output.status.success(), "graphile-worker: {}", String::from_utf8_lossy(&output.stderr));
    let said: Said = serde_json::from_slice(&output.stdout).context("graphile-worker's figures")?;
    ensure!(said.called == jobs && said.left == 0, "graphile-worker did {} jobs and left {}", said.called, said.left);
    Ok(jobs as f64 / said.seconds)
}

async fn ours(place: &Place, jobs: u64, before: u64) -> anyhow::Result<f64> {
    let host = open(place, NOOP).await?;
    let run = run_of(&host, "noop").await?;
    let mut left = jobs;
    for _ in 0..jobs.div_ceil(ENQUEUED) {
        host.store().enqueue((0..ENQUEUED.min(left)).map(|_| another(&run)).collect()).await?;
        left = left.saturating_sub(ENQUEUED);
    }
    place.settle().await?;
    let began = Instant::now();
    let working = Working::start(host, AT_ONCE).await?;
    working.until(jobs).await?;
    let rate = jobs as f64 / began.elapsed().as_secs_f64();
    working.stop().await?;
    place.expect(before, jobs).await?;
    Ok(rate)
}

pub(crate) async fn measure(place: &Place, jobs: u64, rounds: usize) -> anyhow::Result<Figure> {
    let folder = installed().await?;
    let script = place.folder().join("graphile.cjs");
    std::fs::write(&script, SCRIPT)?;
    let server = place.server()?;
    server.create_database("graphile").await?;
    let url = server.url("graphile");
    let (mut mine, mut single, mut batched) = (Vec::new(), Vec::new(), Vec::new());
    let mut before = 0;
    for round in 0..=rounds {
        let rate = ours(place, jobs, before).await?;
        before += jobs;
        let once = theirs(&script, &folder, &url, jobs, "once").await?;
        let together = theirs(&script, &folder, &url, jobs, "batched").await?;
        eprintln!("graphile: {rate:.0} runs/s against {once:.0} jobs/s, {together:.0} batched");
        if round > 0 {
            mine.push(rate);
            single.push(once);
            batched.push(together);
        }
    }
    let times = Spread::of(mine.iter().zip(&single).map(|(ours, theirs)| ours / theirs));
    let batched_times = Spread::of(mine.iter().zip(&batched).map(|(ours, theirs)| ours / theirs));
    Ok(Figure {
        name: "graphile",
        what: format!("{jobs} durable no-op runs from a full queue on PostgreSQL, batched claims, {AT_ONCE} places"),
        against: format!("graphile-worker {VERSION}, the same server, {AT_ONCE} at once, no batches"),
        goal: ">= 1x",
        value: times,
        unit: "x",
        sides: Sides::PerSecond,
        ours: Spread::of(mine),
        theirs: Some(Spread::of(single)),
        shown: None,
        met: times.median >= 1.0,
        notes: vec![format!(
            "{rounds} rounds; against graphile-worker with a local queue and batched ends ({:.0} jobs/s): {:.2}x",
            Spread::of(batched).median,
            batched_times.median
        )],
    })
}
