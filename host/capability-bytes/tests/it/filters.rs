//! The filters on plain readers: round trips, cut and damaged data, errors of the source, pace, and what is left behind.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support;

use proptest::prelude::*;
use rota_capability_bytes::filter::{self, Filtered, Identities, Recipients};
use rota_capability_bytes::{Codec, Coding};
use rota_contract::Error;
use sha2::{Digest as _, Sha256};
use std::time::{Duration, Instant};
use support::{all, broken_after, bytes, code, endless, failure, gone, noise, whole};
use tokio::io::AsyncReadExt as _;

/// Made for these tests only.
fn key_pair() -> (Recipients, String) {
    let identity = age::x25519::Identity::generate();
    let recipients = Recipients::parse(&[identity.to_public().to_string()]).unwrap();
    (recipients, age::secrecy::ExposeSecret::expose_secret(&identity.to_string()).to_owned())
}

fn identities(text: &str) -> Identities {
    Identities::parse(text).unwrap()
}

/// Every filter that writes a format, with its opposite.
async fn packed(format: &str, data: Vec<u8>, keys: &(Recipients, String)) -> Vec<u8> {
    let source = bytes(data);
    let filtered = match format {
        "zstd" => filter::compress(source, Codec::Zstd(1), ()),
        "gzip" => filter::compress(source, Codec::Gzip(6), ()),
        _ => filter::encrypt(source, keys.0.clone(), ()),
    };
    whole(filtered.unwrap()).await.0
}

fn unpack(format: &str, data: Vec<u8>, keys: &(Recipients, String)) -> Filtered {
    let source = bytes(data);
    match format {
        "zstd" => filter::decompress(source, Coding::Zstd, ()),
        "gzip" => filter::decompress(source, Coding::Gzip, ()),
        _ => filter::decrypt(source, identities(&keys.1), ()),
    }
    .unwrap()
}

const FORMATS: [&str; 3] = ["zstd", "gzip", "age"];

#[tokio::test]
async fn sha256_is_that_of_the_bytes_which_pass_unchanged() {
    let data = noise(3_000_001, 7);
    let (out, passed) = whole(filter::tee_sha256(bytes(data.clone()), ()).unwrap()).await;
    assert!(out == data);
    assert_eq!(passed.sha256.unwrap(), hex::encode(Sha256::digest(&data)));
    assert_eq!((passed.bytes_in, passed.bytes_out), (3_000_001, 3_000_001));
    let (_, empty) = whole(filter::tee_sha256(bytes([]), ()).unwrap()).await;
    assert_eq!(empty.sha256.unwrap(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[tokio::test]
async fn count_counts_and_drain_throws_away() {
    let (out, passed) = whole(filter::count(bytes(noise(1000, 1)), ())).await;
    assert_eq!((out.len(), passed.bytes_in, passed.bytes_out, passed.sha256), (1000, 1000, 1000, None));
    let drained = filter::drain(bytes(noise(1_000_000, 1))).await.unwrap();
    assert_eq!((drained.bytes_in, drained.bytes_out), (1_000_000, 0));
    assert_eq!(filter::drain(broken_after("x")).await.unwrap_err(), gone());
}

#[tokio::test]
async fn a_pipeline_of_64_mib_comes_back_whole() {
    // Half of it text-like, half of it noise, so that chunks grow and shrink.
    let mut data = noise(32 << 20, 3);
    data.extend(b"2026-01-01 00:00:00+00\tsome row\t0.25\n".iter().cycle().take(32 << 20));
    let keys = key_pair();
    let plain = filter::tee_sha256(bytes(data.clone()), ()).unwrap();
    let small = filter::compress(plain.reader, Codec::Zstd(1), ()).unwrap();
    let secret = filter::encrypt(small.reader, keys.0.clone(), ()).unwrap();
    let (stored, stored_passed) = whole(filter::tee_sha256(secret.reader, ()).unwrap()).await;
    let plain_passed = plain.outcome.await.unwrap().unwrap();
    let small_passed = small.outcome.await.unwrap().unwrap();
    assert_eq!(plain_passed.sha256.as_deref(), Some(hex::encode(Sha256::digest(&data)).as_str()));
    assert_eq!(stored_passed.sha256.as_deref(), Some(hex::encode(Sha256::digest(&stored)).as_str()));
    assert_eq!(small_passed.bytes_in, data.len() as u64);
    assert!(stored.len() < data.len() * 6 / 10, "{} bytes stored", stored.len());
    let open = filter::decrypt(bytes(stored), identities(&keys.1), ()).unwrap();
    let (back, passed) = whole(filter::decompress(open.reader, Coding::Zstd, ()).unwrap()).await;
    assert!(back == data);
    assert_eq!(passed.bytes_in, small_passed.bytes_out);
}

#[tokio::test]
async fn what_is_written_carries_a_checksum_and_is_the_same_every_time() {
    let keys = key_pair();
    let data = noise(100_000, 5);
    let frame = packed("zstd", data.clone(), &keys).await;
    assert_eq!(frame[4] & 0b100, 0b100, "the frame's descriptor says that a checksum follows");
    for format in ["zstd", "gzip"] {
        assert!(packed(format, data.clone(), &keys).await == packed(format, data.clone(), &keys).await, "{format}");
    }
}

#[tokio::test]
async fn frames_and_members_one_after_the_other_are_one_stream() {
    let keys = key_pair();
    for format in ["zstd", "gzip"] {
        let mut both = packed(format, b"first ".to_vec(), &keys).await;
        both.extend(packed(format, b"second".to_vec(), &keys).await);
        assert_eq!(whole(unpack(format, both, &keys)).await.0, b"first second", "{format}");
    }
}

#[tokio::test]
async fn data_cut_anywhere_is_an_error() {
    let keys = key_pair();
    // Age's parts are 64 KiB: two whole ones and a rest, so that cuts between parts are among the points.
    for (format, data) in FORMATS.iter().flat_map(|f| [(f, noise(150_000, 9)), (f, b"short".to_vec()), (f, Vec::new())])
    {
        let whole_file = packed(format, data, &keys).await;
        let length = whole_file.len();
        let ends = (0..32.min(length)).chain(length.saturating_sub(40)..length);
        let parts = (1..length).step_by(length / 40 + 1);
        // An age header with one recipient is followed by 16 bytes and parts of 64 KiB + 16.
        let body = length.saturating_sub(2 * 65_552 + 18_944);
        let boundaries = [body, body + 65_552, body + 2 * 65_552].into_iter().filter(|cut| *cut < length);
        for cut in ends.chain(parts).chain(boundaries) {
            let error = failure(unpack(format, whole_file[..cut].to_vec(), &keys)).await;
            assert!(matches!(code(&error), "truncated" | "damaged"), "{format} cut to {cut} of {length}: {error:?}");
        }
    }
}

#[tokio::test]
async fn bytes_after_the_end_are_an_error() {
    let keys = key_pair();
    for format in FORMATS {
        for garbage in [&b"x"[..], &[0; 3], &[0; 512], &noise(300_000, 2)] {
            let mut file = packed(format, b"the data".to_vec(), &keys).await;
            file.extend_from_slice(garbage);
            let error = failure(unpack(format, file, &keys)).await;
            assert!(matches!(code(&error), "trailing-data" | "damaged" | "truncated"), "{format}: {error:?}");
        }
    }
}

#[tokio::test]
async fn one_changed_bit_is_an_error_or_changes_nothing() {
    let keys = key_pair();
    let data = b"rows and rows and rows of data, 0123456789".repeat(50);
    for format in FORMATS {
        let file = packed(format, data.clone(), &keys).await;
        for position in (0..file.len()).step_by(file.len() / 60 + 1) {
            let mut damaged = file.clone();
            damaged[position] ^= 0x10;
            // A bit of gzip's head that means nothing (the time) may change; the data must not.
            if let (Ok(out), outcome) = all(unpack(format, damaged, &keys)).await {
                assert!(out == data && outcome.is_ok(), "{format}: bit at {position} changed the data unnoticed");
            }
        }
    }
}

#[tokio::test]
async fn a_window_beyond_128_mib_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.set_parameter(zstd::stream::raw::CParameter::WindowLog(28)).unwrap();
    std::io::Write::write_all(&mut encoder, b"small, but it asks for 256 MiB").unwrap();
    let error = failure(filter::decompress(bytes(encoder.finish().unwrap()), Coding::Zstd, ()).unwrap()).await;
    assert_eq!(code(&error), "damaged", "{error:?}");
}

#[tokio::test]
async fn an_error_of_the_source_passes_through_every_filter() {
    let keys = key_pair();
    let data = noise(600_000, 4);
    for length in [0, 10, 600_000] {
        let part = data[..length].to_vec();
        let filters: Vec<(&str, Filtered)> = vec![
            ("tee", filter::tee_sha256(broken_after(part.clone()), ()).unwrap()),
            ("count", filter::count(broken_after(part.clone()), ())),
            ("zstd", filter::compress(broken_after(part.clone()), Codec::Zstd(3), ()).unwrap()),
            ("gzip", filter::compress(broken_after(part.clone()), Codec::Gzip(1), ()).unwrap()),
            ("encrypt", filter::encrypt(broken_after(part.clone()), keys.0.clone(), ()).unwrap()),
            ("rate", filter::rate_limit(broken_after(part.clone()), 1 << 30, ()).unwrap()),
        ];
        for (name, filtered) in filters {
            assert_eq!(failure(filtered).await, gone(), "{name} after {length} bytes");
        }
    }
    // The readers too, whole file or half: a source that fails at its very end has failed.
    for format in FORMATS {
        let file = packed(format, data.clone(), &keys).await;
        for length in [0, 3, file.len() / 2, file.len()] {
            let source = broken_after(file[..length].to_vec());
            let filtered = match format {
                "zstd" => filter::decompress(source, Coding::Zstd, ()),
                "gzip" => filter::decompress(source, Coding::Gzip, ()),
                _ => filter::decrypt(source, identities(&keys.1), ()),
            };
            assert_eq!(failure(filtered.unwrap()).await, gone(), "{format} after {length} bytes");
        }
    }
}

#[tokio::test]
async fn an_error_passes_through_a_whole_pipeline() {
    let keys = key_pair();
    let one = filter::tee_sha256(broken_after(noise(900_000, 6)), ()).unwrap();
    let two = filter::compress(one.reader, Codec::Zstd(1), ()).unwrap();
    let three = filter::encrypt(two.reader, keys.0, ()).unwrap();
    assert_eq!(failure(filter::count(three.reader, ())).await, gone());
    for outcome in [one.outcome, two.outcome, three.outcome] {
        assert_eq!(outcome.await.unwrap().unwrap_err(), gone());
    }
}

#[tokio::test]
async fn a_reader_that_failed_never_ends_well() {
    let mut reader = filter::tee_sha256(broken_after("x"), ()).unwrap().reader;
    let mut out = Vec::new();
    assert!(reader.read_to_end(&mut out).await.is_err());
    assert!(reader.read_to_end(&mut out).await.is_err(), "a second read does not find an end");
}

#[tokio::test]
async fn dropping_the_reader_ends_the_filter_and_its_source() {
    let keys = key_pair();
    for data in [Vec::new(), noise(5_000_000, 8)] {
        let (source, dropped) = endless(data);
        let (held, released) = tokio::sync::oneshot::channel::<()>();
        let one = filter::tee_sha256(source, held).unwrap();
        let two = filter::compress(one.reader, Codec::Zstd(1), ()).unwrap();
        let three = filter::encrypt(two.reader, keys.0.clone(), ()).unwrap();
        drop(three.reader);
        let deadline = Duration::from_secs(10);
        assert!(tokio::time::timeout(deadline, dropped).await.expect("the source is dropped").is_err());
        assert!(tokio::time::timeout(deadline, released).await.expect("the thread ends").is_err());
        assert!(three.outcome.await.is_err(), "nothing is told of a stream that nobody read");
        assert!(matches!(one.outcome.await, Err(_) | Ok(Err(Error::Cancelled))));
    }
}

#[tokio::test]
async fn a_rate_is_kept() {
    let started = Instant::now();
    let (out, passed) = whole(filter::rate_limit(bytes(noise(300_000, 1)), 1_000_000, ()).unwrap()).await;
    let took = started.elapsed().as_secs_f64();
    assert_eq!((out.len(), passed.bytes_out), (300_000, 300_000));
    // The first 50 ms worth pass at once, and a pause may be made up for by as much.
    assert!(took >= 0.2, "300 kB at 1 MB/s took {took} s");
    assert!(took < 3.0, "300 kB at 1 MB/s took {took} s");
    let started = Instant::now();
    whole(filter::rate_limit(bytes(noise(3_000_000, 1)), u64::MAX, ()).unwrap()).await;
    assert!(started.elapsed().as_secs_f64() < 2.0, "a rate beyond the machine's does not slow it down");
    assert!(matches!(filter::rate_limit(bytes("x"), 0, ()), Err(Error::InvalidArgument(_))));
}

#[test]
fn levels_outside_the_range_are_refused() {
    for codec in [Codec::Zstd(0), Codec::Zstd(20), Codec::Zstd(-5), Codec::Gzip(0), Codec::Gzip(10)] {
        assert!(matches!(filter::compress(bytes("x"), codec, ()), Err(Error::InvalidArgument(_))), "{codec:?}");
    }
}

#[test]
fn recipients_are_read_strictly_and_secret_keys_not_repeated() {
    let (_, secret) = key_pair();
    let refused = |texts: &[&str]| match Recipients::parse(&texts.iter().map(ToString::to_string).collect::<Vec<_>>()) {
        Err(Error::InvalidArgument(text)) => text,
        other => panic!("{other:?}"),
    };
    assert!(refused(&[]).contains("at least one"));
    assert!(refused(&["age1nonsense"]).contains("recipient 1"));
    assert!(refused(&["ssh-ed25519 AAAA"]).contains("recipient 1"));
    let told = refused(&[&secret]);
    assert!(told.contains("is a secret key") && !told.contains(&secret[20..]), "{told}");
}

#[tokio::test]
async fn identities_are_read_as_age_keygen_writes_them_and_never_repeated() {
    let keys = key_pair();
    let (_, other) = key_pair();
    let file = format!("# created: 2026-01-01\n# public key: age1...\n{other}\n\n{}\n", keys.1);
    let stored = packed("age", b"the data".to_vec(), &keys).await;
    let (out, _) = whole(filter::decrypt(bytes(stored.clone()), identities(&file), ()).unwrap()).await;
    assert_eq!(out, b"the data");
    let error = failure(filter::decrypt(bytes(stored), identities(&other), ()).unwrap()).await;
    assert_eq!(code(&error), "no-matching-key");
    for bad in ["", "# nothing", "age1public", &keys.1[..40]] {
        let Err(error) = Identities::parse(bad) else { panic!("{bad:?} was taken") };
        let text = format!("{error:?}");
        assert!(bad.len() < 30 || !text.contains(&bad[20..]), "{text}");
    }
}

#[tokio::test]
async fn a_stream_for_two_recipients_opens_with_either() {
    let (a, b) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
    let recipients = Recipients::parse(&[a.to_public().to_string(), b.to_public().to_string()]).unwrap();
    let stored = whole(filter::encrypt(bytes("both"), recipients, ()).unwrap()).await.0;
    for identity in [a, b] {
        let text = age::secrecy::ExposeSecret::expose_secret(&identity.to_string()).to_owned();
        assert_eq!(whole(filter::decrypt(bytes(stored.clone()), identities(&text), ()).unwrap()).await.0, b"both");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn whatever_goes_in_comes_back(data in proptest::collection::vec(any::<u8>(), 0..70_000), repeat in 1_usize..6, level in 1_i32..8) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let data = data.repeat(repeat);
            let keys = key_pair();
            let small = filter::compress(bytes(data.clone()), Codec::Zstd(level), ()).unwrap();
            let smaller = filter::compress(small.reader, Codec::Gzip(level.unsigned_abs()), ()).unwrap();
            let stored = whole(filter::encrypt(smaller.reader, keys.0, ()).unwrap()).await.0;
            let open = filter::decrypt(bytes(stored), identities(&keys.1), ()).unwrap();
            let larger = filter::decompress(open.reader, Coding::Gzip, ()).unwrap();
            let (back, passed) = whole(filter::decompress(larger.reader, Coding::Zstd, ()).unwrap()).await;
            prop_assert_eq!(passed.bytes_out, data.len() as u64);
            prop_assert!(back == data);
            Ok(())
        })?;
    }
}
