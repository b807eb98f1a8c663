//! Calls that are denied, in a loop in the guest: what each takes, and that no target hears of them.

use crate::figure::{Figure, Sides};
use crate::host::{Host, grant};
use crate::measure::{Spread, Watch};
use anyhow::ensure;
use std::net::TcpListener;

/// Calls a go.
const CALLS: u32 = 20_000;

/// What is denied: the call, the slot, and a word for the notes.
const CASES: [(&str, &str, &str); 3] = [
    ("denied-sql", "nowhere", "`sql.session.open`, slot unbound"),
    ("denied-sql", "database", "`sql.session.open`, nothing granted"),
    ("denied-storage", "bucket", "`storage.bucket.open`, nothing granted"),
];

pub(crate) async fn measure(host: &Host, rounds: usize) -> anyhow::Result<Figure> {
    // The target that must not hear anything.
    let target = TcpListener::bind("127.0.0.1:0")?;
    target.set_nonblocking(true)?;
    let port = target.local_addr()?.port();
    let mut seconds = vec![Vec::new(); CASES.len()];
    for round in 0..=rounds {
        for ((call, slot, _), seconds) in CASES.iter().zip(&mut seconds) {
            let grants = vec![
                grant("database", &format!("postgres://bench@127.0.0.1:{port}/bench"), &[])?,
                grant("bucket", "file:///nonexistent", &[])?,
            ];
            let watch = Watch::start();
            let denied = host.run(&format!("{call} {CALLS} {slot}"), grants).await?;
            let took = watch.stop().each(CALLS.into());
            ensure!(denied == u64::from(CALLS), "{call} on {slot}: {denied} of {CALLS} calls were denied");
            if round > 0 {
                seconds.push(took);
            }
        }
    }
    let heard = (0..).map_while(|_| target.accept().ok()).count();
    let spreads: Vec<Spread> = seconds.iter().map(|samples| Spread::of(samples.iter().map(|s| s.wall))).collect();
    let cpu = seconds.iter().map(|samples| Spread::of(samples.iter().map(|s| s.cpu)).median * 1e6);
    let worst = spreads.iter().copied().max_by(|a, b| a.median.total_cmp(&b.median)).unwrap_or(Spread::of([]));
    let mut notes: Vec<String> = CASES
        .iter()
        .zip(&spreads)
        .zip(cpu)
        .map(|(((_, _, what), spread), cpu)| {
            format!("{what}: {:.2} us a call, {cpu:.2} us of CPU", spread.median * 1e6)
        })
        .collect();
    notes.push(format!("connections that the target saw: {heard}"));
    Ok(Figure {
        name: "denied",
        what: "denied call, the slowest of three".into(),
        against: "-".into(),
        goal: "< 5 us, nothing on the target",
        value: worst,
        unit: "us",
        sides: Sides::Seconds,
        ours: worst,
        theirs: None,
        shown: None,
        met: worst.median < 5e-6 && heard == 0,
        notes,
    })
}
