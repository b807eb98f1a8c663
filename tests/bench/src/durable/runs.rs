//! Durable no-op runs a second, against the store's own rate of transactions: the worker of `rota serve` with 16 places in this process, and a
//! bare loop that inserts and finishes one row in two commits, 16 at once.

use super::place::{DATABASE, Place};
use super::working::{NOOP, Working, open, run_of};
use crate::figure::{Figure, Sides};
use crate::measure::Spread;
use rota_testbed::bare;
use std::time::Duration;

/// Runs at once, rows at once, tasks that enqueue.
pub(crate) const AT_ONCE: usize = 16;

/// So many runs wait or run at most.
pub(crate) const BACKLOG: usize = 8 * AT_ONCE;

/// Of a side in a round.
const LENGTH: Duration = Duration::from_secs(4);

/// The goal, as a share of the bare loop's rate.
const GOAL: f64 = 0.6;

async fn bare_rate(place: &Place) -> anyhow::Result<f64> {
    match place.server() {
        Ok(server) => bare::postgres(server, DATABASE, AT_ONCE, LENGTH).await,
        Err(_) => bare::sqlite(place.folder(), LENGTH).await,
    }
}

pub(crate) async fn measure(name: &'static str, place: &Place, rounds: usize) -> anyhow::Result<Figure> {
    let host = open(place, NOOP).await?;
    let run = run_of(&host, "noop").await?;
    let working = Working::start(host, u32::try_from(AT_ONCE)?).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut expected = 0;
    for round in 0..=rounds {
        let bare = bare_rate(place).await?;
        let (done, seconds) = working.feed(&run, AT_ONCE, BACKLOG, LENGTH).await?;
        expected += done;
        eprintln!("{name}: {:.0} runs/s against {bare:.0} rows/s", done as f64 / seconds);
        // The first round warms both up.
        if round == 0 {
            place.settle().await?;
        } else {
            ours.push(done as f64 / seconds);
            theirs.push(bare);
        }
    }
    working.stop().await?;
    place.expect(0, expected).await?;
    let shares = Spread::of(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs));
    Ok(Figure {
        name,
        what: format!("durable no-op runs a second on {}: enqueued, claimed, run, ended", place.engine()),
        against: "a bare loop that inserts and finishes one row in two commits, 16 at once".into(),
        goal: ">= 60 %",
        value: shares,
        unit: "%",
        sides: Sides::PerSecond,
        ours: Spread::of(ours),
        theirs: Some(Spread::of(theirs)),
        shown: None,
        met: shares.median >= GOAL,
        notes: vec![format!(
            "{rounds} rounds of {} s a side; {expected} runs, each enqueued in a commit of its own by one of {AT_ONCE} tasks, all of them succeeded on record",
            LENGTH.as_secs()
        )],
    })
}
