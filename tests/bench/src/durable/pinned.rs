//! Runs at half of the rate that the store can do, while somebody's open transaction keeps every dead row from being vacuumed.

use super::place::{DATABASE, Place};
use super::runs::{AT_ONCE, BACKLOG};
use super::working::{NOOP, Working, another, open, run_of};
use crate::figure::{Figure, Sides};
use crate::measure::Spread;
use anyhow::ensure;
use rota_store::NewRun;
use sqlx::Executor as _;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long the full rate is measured.
const FULL: Duration = Duration::from_secs(5);

/// How often runs that are due are enqueued.
const TICK: Duration = Duration::from_millis(10);

/// The first and the last window are a minute, or a sixth of what is shorter than ten.
fn window(length: Duration) -> Duration {
    if length >= Duration::from_secs(600) { Duration::from_secs(60) } else { length / 6 }
}

/// Enqueue at a rate, each run in a commit of its own, and answer how many were done in each window. What cannot be kept up with is not enqueued later.
async fn pace(working: &Working, run: &NewRun, rate: f64, length: Duration) -> anyhow::Result<Vec<u64>> {
    let window = window(length);
    let before = working.ended();
    let (mut made, mut due) = (0_u64, 0.0);
    let mut tasks = JoinSet::new();
    let (mut windows, mut counted) = (Vec::new(), before);
    let began = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    let mut last = began;
    while began.elapsed() < length {
        ticks.tick().await;
        due += rate * last.elapsed().as_secs_f64();
        last = Instant::now();
        while due >= 1.0 {
            due -= 1.0;
            if made - (working_ended(working, before)) < BACKLOG as u64 {
                let (store, run) = (working.host.store().clone(), another(run));
                tasks.spawn(async move { store.enqueue(vec![run]).await });
                made += 1;
            }
        }
        while let Some(done) = tasks.try_join_next() {
            done??;
        }
        if began.elapsed() >= window * u32::try_from(windows.len() + 1)? {
            let now = working.ended();
            windows.push(now - counted);
            counted = now;
        }
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    working.until(before + made).await?;
    Ok(windows)
}

fn working_ended(working: &Working, before: u64) -> u64 {
    working.ended() - before
}

pub(crate) async fn measure(length: Duration) -> anyhow::Result<Figure> {
    let place = Place::postgres(&[]).await?;
    let host = open(&place, NOOP).await?;
    let run = run_of(&host, "noop").await?;
    let working = Working::start(host, u32::try_from(AT_ONCE)?).await?;
    // Warm, and how much it can do.
    working.feed(&run, AT_ONCE, BACKLOG, FULL).await?;
    let (done, seconds) = working.feed(&run, AT_ONCE, BACKLOG, FULL).await?;
    let full = done as f64 / seconds;
    let mut holder = place.server()?.connect(DATABASE).await?;
    holder.execute("begin isolation level repeatable read").await?;
    holder.execute("select count(*) from rota.hosts").await?;
    let windows = pace(&working, &run, full / 2.0, length).await?;
    let status = working.host.store().status().await?;
    let mut dead: Vec<(String, u64)> =
        status.tables.iter().filter_map(|table| Some((table.name.clone(), table.dead?))).collect();
    dead.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
    let rates: Vec<f64> = windows.iter().map(|runs| *runs as f64 / window(length).as_secs_f64()).collect();
    let (done, seconds) = working.feed(&run, AT_ONCE, BACKLOG, FULL).await?;
    let after = done as f64 / seconds;
    holder.execute("rollback").await?;
    let ended = working.ended();
    working.stop().await?;
    place.expect(0, ended).await?;
    ensure!(dead.iter().any(|(_, rows)| *rows > 0), "no dead rows: the transaction pinned nothing");
    let (first, last) = (rates.first().copied().unwrap_or(f64::NAN), rates.last().copied().unwrap_or(f64::NAN));
    let dead: Vec<String> =
        dead.iter().filter(|(_, rows)| *rows > 0).take(6).map(|(name, rows)| format!("{name} {rows}")).collect();
    Ok(Figure {
        name: "pinned",
        what: format!(
            "no-op runs at half rate for {} s while an open transaction pins xmin, the last window of {} s",
            length.as_secs(),
            window(length).as_secs()
        ),
        against: "its first window".into(),
        goal: ">= 0.8x",
        value: Spread::of(rates.iter().skip(1).map(|rate| rate / first)),
        unit: "x",
        sides: Sides::PerSecond,
        ours: Spread::of([last]),
        theirs: Some(Spread::of([first])),
        shown: None,
        met: last >= 0.8 * first,
        notes: vec![
            format!("full rate before {full:.0} runs/s, after it and still pinned {after:.0} runs/s"),
            format!("dead rows after it: {}", dead.join(", ")),
        ],
    })
}
