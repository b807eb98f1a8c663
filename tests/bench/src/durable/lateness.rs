//! How late schedules fire: many, each once within an hour that is compressed to minutes. Once on a `rota serve` that leaves their runs in the
//! queue, so that it is the scheduler that is measured, and once, with fewer, on one that carries them out, too.
//!
//! Compressed means: the instants that would lie an hour apart from the first to the last lie as many seconds apart as are asked for, evenly. Each
//! schedule is hourly with an anchor of its own, so each fires exactly once meanwhile, and what the host has to do is that of the hour.

use super::jobs::hourly;
use super::latency::Latencies;
use super::place::{DATABASE, Place};
use super::serving::Serving;
use crate::figure::{Figure, Sides};
use anyhow::ensure;
use chrono::{TimeDelta, Utc};
use std::time::{Duration, Instant};

const GOAL: f64 = 0.05;

/// How long the last runs may take.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) async fn measure(
    name: &'static str,
    schedules: u32,
    length: Duration,
    carried_out: bool,
) -> anyhow::Result<Figure> {
    let place = Place::postgres(&[]).await?;
    // Begins when all of the configuration is surely read and applied.
    let begins = Utc::now() + TimeDelta::seconds(10) + TimeDelta::microseconds(350 * i64::from(schedules));
    let apart = TimeDelta::nanoseconds(i64::try_from(length.as_nanos() / u128::from(schedules))?);
    let configuration = place.configuration("").replace("[server]\n", &format!("[server]\nworker = {carried_out}\n"));
    let mut files = vec![configuration];
    files.extend(
        hourly(schedules, |job| begins + apart * i32::try_from(job).unwrap_or(0))
            .into_iter()
            .map(|text| text.replace("GUEST", &place.guest().display().to_string())),
    );
    let mut serving = Serving::start(&place, &files)?;
    serving.serves().await?;
    ensure!(Utc::now() < begins, "the host began to serve only after the first instants");
    tokio::time::sleep((begins - Utc::now()).to_std()? + length).await;
    let decided_in = Instant::now();
    let mut connection = place.server()?.connect(DATABASE).await?;
    let count = "select count(*) from rota.fires where run is not null";
    loop {
        let fired: i64 = sqlx::query_scalar(count).fetch_one(&mut connection).await?;
        if fired >= i64::from(schedules) {
            break;
        }
        ensure!(decided_in.elapsed() < PATIENCE, "{fired} of {schedules} schedules have fired");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let cpu = serving.cpu_seconds()?;
    let memory = serving.memory("VmHWM")? >> 20;
    let done = place.runs("succeeded").await?;
    let late: Vec<i64> =
        sqlx::query_scalar("select decided_at - nominal from rota.fires").fetch_all(&mut connection).await?;
    ensure!(late.len() == schedules as usize, "{} decisions were made about {schedules} instants", late.len());
    let late = Latencies::of(late.into_iter().map(|micros| micros as f64 / 1e6).collect());
    let waiting = place.runs("queued").await?;
    serving.stop().await?;
    ensure!(
        carried_out || (done, waiting) == (0, u64::from(schedules)),
        "{waiting} runs wait, {done} were carried out"
    );
    let runs = if carried_out { "whose runs the host carries out, too" } else { "whose runs stay in the queue" };
    Ok(Figure {
        name,
        what: format!(
            "lateness of {schedules} schedules {runs}: an hour's fires in {} s ({:.0}/s)",
            length.as_secs(),
            f64::from(schedules) / length.as_secs_f64()
        ),
        against: "-".into(),
        goal: "p99 <= 50 ms",
        value: late.spread(),
        unit: "ms",
        sides: Sides::Seconds,
        ours: late.spread(),
        theirs: None,
        shown: Some(late.said()),
        met: late.at(990) <= GOAL,
        notes: vec![
            late.said(),
            format!(
                "each made a run, of which {done} had succeeded when the last had fired; {cpu:.0} s of CPU since the start, {memory} MiB at most"
            ),
        ],
    })
}
