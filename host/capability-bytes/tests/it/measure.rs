//! Figures, not tests: `cargo test --release -p rota-capability-bytes --test measure -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::{rig, support};

use rig::{access, store, taken};
use rota_capability::Limits;
use rota_capability::streams::{HostBytes, Reader};
use rota_capability_bytes::filter::{self, Recipients};
use rota_capability_bytes::{Bytes, Codec, HostWithStore};
use std::time::Instant;
use support::{Zeros, bytes};
use wasmtime::AsContextMut as _;
use wasmtime::component::StreamReader;

const GIB: f64 = (1_u64 << 30) as f64;

/// What `pg_dump` gives of vectors: numbers as text.
fn vectors(length: usize) -> Vec<u8> {
    let mut text = String::with_capacity(length + 64);
    let mut state = 88_172_645_463_325_252_u64;
    while text.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let value = (state % 2_000_000) as f64 / 1e6 - 1.0;
        text.push_str(&format!("{value:.6},"));
        if state.is_multiple_of(768) {
            text.push_str("]\n4711\tsome text of a row that comes again\t[");
        }
    }
    text.truncate(length);
    text.into_bytes()
}

async fn seconds(reader: Reader) -> f64 {
    let started = Instant::now();
    filter::drain(reader).await.unwrap();
    started.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measure"]
async fn pump() {
    const SIZE: u64 = 4 << 30;
    for round in 0..3 {
        let started = Instant::now();
        tokio::io::copy(&mut Zeros(SIZE), &mut tokio::io::sink()).await.unwrap();
        let copy = started.elapsed().as_secs_f64();
        let mut store = store(Vec::new(), Limits::default());
        let started = Instant::now();
        store
            .run_concurrent(async |accessor| {
                let stream =
                    accessor.with(|mut a| StreamReader::new(a.as_context_mut(), HostBytes::new(Zeros(SIZE))).unwrap());
                let accessor = accessor.with_getter::<Bytes>(rig::data);
                Bytes::drain(&accessor, stream).await.unwrap().unwrap();
            })
            .await
            .unwrap();
        let drain = started.elapsed().as_secs_f64();
        let mut copied = rig_stream(&mut store);
        let started = Instant::now();
        tokio::io::copy(&mut copied, &mut tokio::io::sink()).await.unwrap();
        let taken = started.elapsed().as_secs_f64();
        println!(
            "pump {round}: tokio::io::copy {:.1} GiB/s, taken from the guest and copied {:.1} ({:.2}x), drain {:.1} ({:.2}x)",
            4.0 / copy,
            4.0 / taken,
            copy / taken,
            4.0 / drain,
            copy / drain
        );
    }
}

fn rig_stream(store: &mut wasmtime::Store<rota_capability::Guest>) -> Reader {
    let mut context = store.as_context_mut();
    let stream = StreamReader::new(context.as_context_mut(), HostBytes::new(Zeros(4 << 30))).unwrap();
    rota_capability::streams::take_bytes(&mut access(&mut context), stream).unwrap().split().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measure"]
async fn stages() {
    let data = vectors(512 << 20);
    let size = data.len() as f64 / GIB;
    let mib = |seconds: f64| size * 1024.0 / seconds;
    for round in 0..2 {
        let started = Instant::now();
        let mut encoder = zstd::stream::write::Encoder::new(std::io::sink(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        std::io::copy(&mut &data[..], &mut encoder).unwrap();
        encoder.finish().unwrap();
        let bare = started.elapsed().as_secs_f64();
        let zstd = seconds(filter::compress(bytes(data.clone()), Codec::Zstd(1), ()).unwrap().reader).await;
        let sha = seconds(filter::tee_sha256(bytes(data.clone()), ()).unwrap().reader).await;
        let age = seconds(
            filter::encrypt(
                bytes(data.clone()),
                Recipients::parse(&[age::x25519::Identity::generate().to_public().to_string()]).unwrap(),
                (),
            )
            .unwrap()
            .reader,
        )
        .await;
        let one = filter::tee_sha256(bytes(data.clone()), ()).unwrap();
        let two = filter::compress(one.reader, Codec::Zstd(1), ()).unwrap();
        let pipeline = seconds(filter::tee_sha256(two.reader, ()).unwrap().reader).await;
        let gzip =
            seconds(filter::compress(bytes(data[..64 << 20].to_vec()), Codec::Gzip(6), ()).unwrap().reader).await;
        println!(
            "stages {round} (MiB/s of vectors as text): zstd:1 bare {:.0}, as a filter {:.0} ({:.2}x); sha256 {:.0}; age {:.0}; sha256 | zstd | sha256 {:.0} ({:.2}x of bare zstd); gzip:6 {:.0}",
            mib(bare),
            mib(zstd),
            bare / zstd,
            mib(sha),
            mib(age),
            mib(pipeline),
            bare / pipeline,
            64.0 / gzip
        );
    }
    let mut store = store(Vec::new(), Limits::default());
    let mut context = store.as_context_mut();
    let stream = StreamReader::new(context.as_context_mut(), HostBytes::new(Zeros(1))).unwrap();
    let answer = Bytes::count(access(&mut context), stream).unwrap();
    drop(taken(&mut context, answer));
}
