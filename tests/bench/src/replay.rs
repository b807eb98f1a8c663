//! A million calls replayed, against the run that was recorded.

use crate::figure::{About, Figure};
use crate::host::{Host, grant};
use crate::measure::{Rounds, Watch};
use anyhow::{Context as _, ensure};
use rota_capability::Limits;
use rota_capability::tape::Tape;
use rota_recording::{Ending, FORMAT, Header, Player, Reading, Recorder};
use serde_json::Value;
use std::path::Path;

const CALLS: u64 = 1_000_000;

fn header(host: &Host) -> Header {
    Header {
        format: FORMAT,
        host: env!("CARGO_PKG_VERSION").into(),
        contract: "bench".into(),
        plugin: "bench".into(),
        version: "0.1.0".into(),
        digest: host.plugin.digest().to_owned(),
        run: "bench".into(),
        attempt: 1,
        job: None,
        parameters: Value::Null,
        mode: "execute".into(),
        slots: Vec::new(),
        limits: Limits::default(),
        seed: "00".repeat(32),
        started_at: 0,
    }
}

async fn recorded(host: &Host, folder: &Path, file: &Path) -> anyhow::Result<u64> {
    let grants = vec![grant("bucket", &format!("file://{}", folder.display()), &["read"])?];
    let recorder = Recorder::begin(file, &header(host), [0; 32], u64::MAX)?;
    host.run_on(&format!("stat {CALLS} there.txt"), grants, Tape::Recording(recorder.clone())).await?;
    let finished = recorder.finish(None)?.context("it was finished before")?;
    ensure!(finished.calls == CALLS + 1, "{} calls were recorded", finished.calls);
    Ok(finished.size)
}

async fn replayed(host: &Host, file: &Path) -> anyhow::Result<()> {
    let player =
        Player::new(Reading::of(file, Box::new(std::fs::File::open(file)?))?, None).map_err(anyhow::Error::msg)?;
    host.run_on(&format!("stat {CALLS} there.txt"), Vec::new(), Tape::Answering(player.clone())).await?;
    ensure!(player.made() == CALLS + 1, "{} calls were made", player.made());
    ensure!(player.rest() == Ok(Ending::Torn), "the recording has more");
    Ok(())
}

pub(crate) async fn measure(host: &Host, rounds: usize) -> anyhow::Result<Figure> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("there.txt"), "there")?;
    let mut measured = Rounds::default();
    let (mut size, mut live) = (0, Vec::new());
    for round in 0..rounds {
        let file = folder.path().join(format!("recording-{round}"));
        let watch = Watch::start();
        size = recorded(host, folder.path(), &file).await?;
        let recording = watch.stop();
        let watch = Watch::start();
        replayed(host, &file).await?;
        measured.push(watch.stop(), recording);
        std::fs::remove_file(&file)?;
        let grants = vec![grant("bucket", &format!("file://{}", folder.path().display()), &["read"])?];
        let began = std::time::Instant::now();
        host.run(&format!("stat {CALLS} there.txt"), grants).await?;
        live.push(began.elapsed().as_secs_f64());
    }
    live.sort_by(f64::total_cmp);
    let times = measured.times();
    Ok(Figure::in_turn(
        About {
            name: "replay",
            what: "1M calls (storage.stat of a file) replayed".into(),
            against: "the recorded run".into(),
            goal: "<= 0.5x time",
        },
        times,
        &measured,
        times.median <= 0.5,
        vec![format!(
            "{rounds} rounds, in turn; {:.1} MiB of recording; without recording the run takes {:.1} s",
            size as f64 / f64::from(1 << 20),
            live[live.len() / 2]
        )],
    ))
}
