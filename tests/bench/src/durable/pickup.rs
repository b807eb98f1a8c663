//! From before a run is enqueued, by this process, until the first instruction of its guest in a `rota serve` that has nothing else to do.
//!
//! The guest reports what the machine's clock says when it begins. So the time holds all there is between: the commit of the enqueue, the hint, the
//! claim and its commit, the instance. Without hints, it is enqueued as a role that may not notify.

use super::latency::Latencies;
use super::place::{DATABASE, Place};
use super::serving::Serving;
use super::working::{another, open, run_of};
use crate::figure::{Figure, Sides};
use anyhow::{Context as _, ensure};
use rota_store::{NewRun, PostgresStore, RunState, Store};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The job asks its guest for the time.
const JOB: &str = "[jobs.clock]\nplugin = \"GUEST\"\nparameters = { do = \"clock\" }\n";

/// Runs with hints, and without.
const HINTED: usize = 400;
const SILENT: usize = 20;

/// Between two runs, so that the host is idle: with hints, and at different places between two polls without.
const PAUSE: Duration = Duration::from_millis(40);
const UNEVEN: Duration = Duration::from_millis(137);

/// The default `server.poll`.
const POLL: f64 = 1.0;

const GOAL_HALF: f64 = 0.003;
const GOAL_MOST: f64 = 0.015;

/// Who enqueues without a hint: it may do all with the records, and not notify.
const SILENCED: &str = "
    create role silent login password 'silent';
    grant usage, create on schema rota to silent;
    grant all on all tables in schema rota to silent;
    revoke execute on function pg_catalog.pg_notify(text, text) from public";

/// Seconds from before the enqueue to the guest; and from after it.
async fn pick_up(store: &dyn Store, run: &NewRun, look: Duration) -> anyhow::Result<(f64, f64)> {
    let run = another(run);
    let id = run.id.clone();
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs_f64());
    let before = clock()?;
    store.enqueue(vec![run]).await?;
    let after = clock()?;
    let began = std::time::Instant::now();
    let row = loop {
        // Rarely, so that looking disturbs nothing.
        tokio::time::sleep(look).await;
        let row = store.run(&id).await?;
        if row.state.is_final() {
            break row;
        }
        ensure!(began.elapsed() < Duration::from_secs(10), "the run is {} after ten seconds", row.state.as_str());
    };
    ensure!(row.state == RunState::Succeeded, "the run {id} ended as {}: {:?}", row.state.as_str(), row.error);
    let report: Value = serde_json::from_str(row.report.as_deref().unwrap_or_default())?;
    let data = report.get("data").context("the guest reported nothing")?;
    let micros: f64 = data.as_str().map_or_else(|| data.to_string(), str::to_owned).parse()?;
    Ok((micros / 1e6 - before, micros / 1e6 - after))
}

pub(crate) async fn measure() -> anyhow::Result<Figure> {
    let place = Place::postgres(&[]).await?;
    let server = place.server()?;
    let mut serving = Serving::start(&place, &[place.configuration(JOB)])?;
    serving.serves().await?;
    // Not a worker: it only makes the run as `rota jobs run` would, and hands it to the store.
    let client = open(&place, JOB).await?;
    let run = run_of(&client, "clock").await?;
    for _ in 0..20 {
        pick_up(client.store().as_ref(), &run, PAUSE).await?;
    }
    let (mut all, mut claimed) = (Vec::new(), Vec::new());
    for _ in 0..HINTED {
        let (from_before, from_after) = pick_up(client.store().as_ref(), &run, PAUSE).await?;
        all.push(from_before);
        claimed.push(from_after);
    }
    client.store().close().await;
    server.execute(DATABASE, SILENCED).await?;
    let silent = PostgresStore::open(&server.url_as("silent", "silent", DATABASE)).await?;
    let mut unhinted = Vec::new();
    for _ in 0..SILENT {
        unhinted.push(pick_up(&silent, &run, UNEVEN).await?.0);
    }
    silent.close().await;
    serving.stop().await?;
    let (all, claimed, unhinted) = (Latencies::of(all), Latencies::of(claimed), Latencies::of(unhinted));
    // Were they hinted after all, nothing would have been measured.
    ensure!(unhinted.at(500) > GOAL_MOST, "runs without hints were picked up at once: {}", unhinted.said());
    let met = all.at(500) <= GOAL_HALF && all.at(990) <= GOAL_MOST && unhinted.most() <= POLL + GOAL_MOST;
    Ok(Figure {
        name: "pickup",
        what: "pickup on an idle system, from before the enqueue by another process to the guest's first instruction, PostgreSQL".into(),
        against: "-".into(),
        goal: "p50 <= 3 ms, p99 <= 15 ms; <= one poll when hints are lost",
        value: all.spread(),
        unit: "ms",
        sides: Sides::Seconds,
        ours: all.spread(),
        theirs: None,
        shown: Some(all.said()),
        met,
        notes: vec![
            format!("{HINTED} runs: {}", all.said()),
            format!("counted from the answer to the enqueue: {}", claimed.said()),
            format!(
                "{SILENT} runs whose hint was lost, poll 1 s: {} (goal: one poll, and the 15 ms that a pickup may take)",
                unhinted.said()
            ),
        ],
    })
}
