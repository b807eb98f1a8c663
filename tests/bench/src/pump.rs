//! A stream that the guest holds and hands on, against `tokio::io::copy` from the same reader.

use crate::figure::{About, Figure};
use crate::host::Host;
use crate::measure::{Rounds, Watch};
use crate::source::{SIZE, Source};
use anyhow::ensure;

pub(crate) async fn measure(host: &Host, rounds: usize) -> anyhow::Result<Figure> {
    let mut measured = Rounds::default();
    for round in 0..=rounds {
        let watch = Watch::start();
        ensure!(host.run("pump", vec![]).await? == SIZE, "bytes are missing");
        let ours = watch.stop();
        let watch = Watch::start();
        // On the runtime's own threads, as ours.
        let copied = tokio::spawn(async { tokio::io::copy(&mut Source(SIZE), &mut tokio::io::sink()).await }).await??;
        ensure!(copied == SIZE, "bytes are missing");
        let theirs = watch.stop();
        if round > 0 {
            measured.push(ours, theirs);
        }
    }
    let speeds = measured.speeds();
    let rate = |seconds: f64| SIZE as f64 / seconds / f64::from(1 << 30);
    Ok(Figure::in_turn(
        About {
            name: "pump",
            what: "pump of a stream that the guest holds, 4 GiB (`bytes.drain`)".into(),
            against: "`tokio::io::copy` of the same reader to a sink".into(),
            goal: ">= 0.95x speed",
        },
        speeds,
        &measured,
        speeds.median >= 0.95,
        vec![format!(
            "{:.1} GiB/s against {:.1} GiB/s; by CPU time {:.2}x the time",
            rate(measured.our_wall().median),
            rate(measured.their_wall().median),
            measured.cpu_times().median
        )],
    ))
}
