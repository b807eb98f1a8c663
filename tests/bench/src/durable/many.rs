//! The start of a `rota serve` with very many schedules, a tenth of which are overdue.
//!
//! The schedules are put into the store by a first start; then those that are to be overdue are set back by an hour, as if no host had been up since.
//! Then a host is started, and the store is looked at until all of those have fired.

use super::jobs::hourly;
use super::place::{DATABASE, Place};
use super::serving::Serving;
use crate::figure::{Figure, Sides};
use crate::measure::Spread;
use anyhow::ensure;
use chrono::{TimeDelta, Utc};
use std::time::{Duration, Instant};

const GOAL_FIRST: f64 = 5.0;
const GOAL_ALL: f64 = 60.0;
const GOAL_MEMORY: u64 = 500;

/// Of so many schedules, one is overdue.
const OVERDUE: u32 = 10;

const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) async fn measure(schedules: u32) -> anyhow::Result<Figure> {
    let place = Place::postgres(&[]).await?;
    let overdue = schedules / OVERDUE;
    // The next instants are far enough away that none comes while it is measured, and the last five minutes ago.
    let anchor = Utc::now() - TimeDelta::minutes(5);
    let files = |server: &str| {
        let mut files = vec![place.configuration("").replace("[server]\n", &format!("[server]\n{server}"))];
        let guest = place.guest().display().to_string();
        files.extend(hourly(schedules, |_| anchor).into_iter().map(|text| text.replace("GUEST", &guest)));
        files
    };
    let applied = Instant::now();
    let putting = Serving::start(&place, &files("scheduler = false\nworker = false\n"))?;
    let mut connection = place.server()?.connect(DATABASE).await?;
    let there = "select count(*) from rota.schedules";
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        // The schema may not be there yet.
        let count: i64 = sqlx::query_scalar(there).fetch_one(&mut connection).await.unwrap_or(0);
        if count >= i64::from(schedules) {
            break;
        }
        ensure!(applied.elapsed() < PATIENCE, "{count} of {schedules} schedules are in the store");
    }
    let applied = applied.elapsed().as_secs_f64();
    putting.stop().await?;
    let set_back =
        "update rota.schedules set next = next - 3600000000, fire_at = next - 3600000000, decided = next - 7200000000
                    where job < $1";
    let changed = sqlx::query(set_back).bind(format!("j{overdue:07}")).execute(&mut connection).await?.rows_affected();
    ensure!(changed == u64::from(overdue), "{changed} schedules were set back");
    place.server()?.execute(DATABASE, "vacuum analyze rota.schedules").await?;

    let began = Instant::now();
    let serving = Serving::start(&place, &files(""))?;
    let mut first = None;
    let all = loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let fired: i64 = sqlx::query_scalar("select count(*) from rota.fires where run is not null")
            .fetch_one(&mut connection)
            .await?;
        if fired > 0 {
            first.get_or_insert_with(|| began.elapsed().as_secs_f64());
        }
        if fired >= i64::from(overdue) {
            break began.elapsed().as_secs_f64();
        }
        ensure!(began.elapsed() < PATIENCE, "{fired} of {overdue} overdue schedules have fired");
    };
    let first = first.unwrap_or(f64::NAN);
    let memory = serving.memory("VmHWM")? >> 20;
    let done = place.runs("succeeded").await?;
    serving.stop().await?;
    Ok(Figure {
        name: "many",
        what: format!(
            "start of `rota serve` with {schedules} schedules, {overdue} of them overdue: until all of those were decided about"
        ),
        against: "-".into(),
        goal: "first fire < 5 s, all decided < 60 s, memory < 500 MB (of 1,000,000 and 100,000)",
        value: Spread::of([first, all]),
        unit: "s",
        sides: Sides::Seconds,
        ours: Spread::of([all]),
        theirs: None,
        shown: Some(format!("first {first:.1} s, all {all:.1} s, {memory} MiB")),
        met: first < GOAL_FIRST && all < GOAL_ALL && memory < GOAL_MEMORY && schedules >= 1_000_000,
        notes: vec![
            format!(
                "from the start of the process: first fire {first:.1} s, all {overdue} after {all:.1} s, {memory} MiB at most"
            ),
            format!(
                "{done} runs had succeeded by then; the first start, which put all into the store, took {applied:.1} s"
            ),
        ],
    })
}
