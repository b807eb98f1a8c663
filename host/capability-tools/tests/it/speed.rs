//! How fast bytes come out of a program. Ignored: figures belong to benches; run it with --ignored --nocapture.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::common;

use common::scripted;
use std::time::Instant;
use tokio::io::AsyncReadExt as _;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn four_gibibytes_out_of_a_program() {
    const SIZE: u64 = 4 << 30;
    for size in [64 << 10, 256 << 10, 1 << 20] {
        let (run, _script) = scripted(&format!("exec head -c {SIZE} /dev/zero"));
        let mut child = run.client.spawn("tool", &[], None, None).await.unwrap();
        let mut stdout = child.stdout().unwrap();
        let mut buffer = vec![0; size];
        let (mut total, start) = (0, Instant::now());
        loop {
            match stdout.read(&mut buffer).await.unwrap() {
                0 => break,
                read => total += read as u64,
            }
        }
        assert_eq!(total, SIZE);
        println!("reads of {} KiB: {:.2} GiB/s", size >> 10, 4.0 / start.elapsed().as_secs_f64());
    }
    let (run, _script) = scripted("exit 0");
    let start = Instant::now();
    for _ in 0..50 {
        run.client.spawn("tool", &[], None, None).await.unwrap().wait().await.unwrap();
    }
    println!("start to end: {:.1} ms", start.elapsed().as_secs_f64() * 1000.0 / 50.0);
}
