//! How fast a put is, beside `tokio::io::copy` to a file. Run with `--ignored --nocapture`; prints ratios.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::common;

use common::*;
use rota_capability_storage::Put;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

const SIZE: u64 = 4 << 30;

/// Bytes without end, as fast as memory.
struct Source(Vec<u8>, usize);

impl AsyncRead for Source {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let at = self.1;
        let take = buffer.remaining().min(64 * 1024).min(self.0.len() - at);
        buffer.put_slice(&self.0[at..at + take]);
        self.1 = (at + take) % self.0.len();
        Poll::Ready(Ok(()))
    }
}

fn source() -> tokio::io::Take<Source> {
    Source(bytes(8 << 20), 0).take(SIZE)
}

async fn copied(path: std::path::PathBuf, sync: bool) -> Duration {
    let start = Instant::now();
    let mut file = tokio::fs::File::create(&path).await.unwrap();
    tokio::io::copy(&mut source(), &mut file).await.unwrap();
    if sync {
        file.sync_all().await.unwrap();
    }
    let took = start.elapsed();
    std::fs::remove_file(path).unwrap();
    took
}

fn rate(took: Duration) -> f64 {
    SIZE as f64 / took.as_secs_f64() / 1e6
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn a_put_is_as_fast_as_a_copy() {
    let folder = tempfile::TempDir::new_in(std::env::var("ROTA_BENCH_DIR").unwrap_or_else(|_| "/tmp".into())).unwrap();
    let bench = Bench::open(binding(&format!("file://{}", folder.path().display()))).await.unwrap();
    for round in 0..3 {
        let plain = copied(folder.path().join("copy"), false).await;
        let synced = copied(folder.path().join("copy"), true).await;
        let start = Instant::now();
        bench.put("put", source(), Put::default()).await.unwrap();
        let put = start.elapsed();
        bench.delete("put").await.unwrap();
        println!(
            "{round}: put {:.0} MB/s, copy {:.0} MB/s ({:.2}x), copy and fsync {:.0} MB/s ({:.2}x)",
            rate(put),
            rate(plain),
            plain.as_secs_f64() / put.as_secs_f64(),
            rate(synced),
            synced.as_secs_f64() / put.as_secs_f64()
        );
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn an_upload_takes_constant_memory() {
    let s3 = rota_testbed::S3::shared().await.unwrap();
    let mut binding = binding(&format!("s3://{}/x?endpoint={}", s3.bucket(), s3.endpoint()));
    binding.access_key = Some(literal(&s3.keys().access_key));
    binding.secret_key = Some(literal(&s3.keys().secret_key));
    let bench = Bench::open(binding).await.unwrap();
    for size in [256 << 20, 1 << 30] {
        let start = Instant::now();
        bench.put("put", source().into_inner().take(size), Put::default()).await.unwrap();
        let took = start.elapsed();
        bench.delete("put").await.unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        println!("{} MB: {:.0} MB/s, {peak}", size / 1_000_000, size as f64 / took.as_secs_f64() / 1e6);
    }
}
