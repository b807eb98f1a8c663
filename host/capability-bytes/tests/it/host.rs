//! The interface as a guest reaches it: streams that pass through the store, denial, limits, and a run that ends half-way.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::{rig, support};

use rig::{GuestLike, access, store, taken};
use rota_authority::Grant;
use rota_capability::Limits;
use rota_capability::streams::{HostBytes, Interrupted};
use rota_capability_bytes::filter::{self, Recipients};
use rota_capability_bytes::{Bytes, Codec, Coding, HostWithStore};
use rota_config::{Binding, KeyBinding, SecretRef};
use rota_contract::Error;
use std::time::Duration;
use support::{broken_after, bytes, gone, noise, whole};
use tokio::io::AsyncReadExt as _;
use wasmtime::component::StreamReader;
use wasmtime::{AsContextMut as _, StoreContextMut};

fn key_grant(identity: &age::x25519::Identity, accesses: &[&str]) -> Grant {
    let text = age::secrecy::ExposeSecret::expose_secret(&identity.to_string()).to_owned();
    Grant {
        slot: "key".into(),
        binding_name: "backup-key".into(),
        binding: Binding::Key(KeyBinding {
            identity: SecretRef::Given(rota_telemetry::Secret::new(text)),
            concurrency: None,
        }),
        accesses: accesses.iter().map(ToString::to_string).collect(),
    }
}

fn host_stream(
    store: &mut StoreContextMut<'_, rota_capability::Guest>,
    reader: rota_capability::streams::Reader,
) -> StreamReader<u8> {
    StreamReader::new(store.as_context_mut(), HostBytes::new(reader)).unwrap()
}

#[tokio::test]
async fn a_host_stream_passes_through_filters_and_both_outcomes_arrive() {
    let mut store = store(Vec::new(), Limits::default());
    let data = noise(2_000_000, 3);
    let expected = data.clone();
    store
        .run_concurrent(async move |accessor| {
            let (mut reader, small, large) = accessor.with(|mut a| {
                let mut store = a.as_context_mut();
                let source = host_stream(&mut store, bytes(data));
                let (stream, outcome) = Bytes::compress(access(&mut store), source, Codec::Zstd(1)).unwrap().unwrap();
                let (again, outcome2) = Bytes::decompress(access(&mut store), stream, Coding::Zstd).unwrap();
                // The first outcome is taken with a stream of its own, because its stream went on.
                let nothing = host_stream(&mut store, bytes([]));
                let (_, small) = taken(&mut store, (nothing, outcome));
                let (reader, large) = taken(&mut store, (again, outcome2));
                (reader, small, large)
            });
            let mut out = Vec::new();
            reader.read_to_end(&mut out).await.unwrap();
            assert!(out == expected);
            assert_eq!(small.await.unwrap().unwrap().bytes_in, 2_000_000);
            assert_eq!(large.await.unwrap().unwrap().bytes_out, 2_000_000);
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_guests_own_stream_ends_well_while_the_run_lives() {
    let mut store = store(Vec::new(), Limits::default());
    store
        .run_concurrent(async |accessor| {
            let (mut reader, outcome) = accessor.with(|mut a| {
                let mut store = a.as_context_mut();
                let source = StreamReader::new(
                    store.as_context_mut(),
                    GuestLike { data: b"from the guest".to_vec(), ends: true },
                )
                .unwrap();
                let answer = Bytes::tee_sha256(access(&mut store), source).unwrap();
                taken(&mut store, answer)
            });
            let mut out = Vec::new();
            reader.read_to_end(&mut out).await.unwrap();
            assert_eq!(out, b"from the guest");
            assert_eq!(outcome.await.unwrap().unwrap().bytes_in, 14);
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_run_that_ends_half_way_is_an_error_for_whoever_stores_the_stream() {
    // The guest's end stays open, or is closed by the trap that ended the run: neither is an end of the data.
    for ends in [false, true] {
        let mut store = store(Vec::new(), Limits::default());
        let (mut reader, outcome) = {
            let mut context = store.as_context_mut();
            let source =
                StreamReader::new(context.as_context_mut(), GuestLike { data: b"half of it".to_vec(), ends }).unwrap();
            let (stream, _) = Bytes::compress(access(&mut context), source, Codec::Zstd(1)).unwrap().unwrap();
            let (teed, outcome2) = Bytes::tee_sha256(access(&mut context), stream).unwrap();
            taken(&mut context, (teed, outcome2))
        };
        drop(store);
        let mut out = Vec::new();
        let error = tokio::time::timeout(Duration::from_secs(10), reader.read_to_end(&mut out))
            .await
            .expect("the reader learns of it")
            .expect_err("half a stream is no stream");
        assert!(error.get_ref().is_some_and(|e| e.is::<Interrupted>()), "{error:?}");
        assert!(outcome.await.is_err(), "the guest is gone: nobody is told");
    }
}

#[tokio::test]
async fn a_run_that_ends_after_some_bytes_have_passed_is_an_error_too() {
    let mut store = store(Vec::new(), Limits::default());
    let mut reader = store
        .run_concurrent(async |accessor| {
            let mut reader = accessor.with(|mut a| {
                let mut store = a.as_context_mut();
                let source = GuestLike { data: b"half of it".to_vec(), ends: false };
                let source = StreamReader::new(store.as_context_mut(), source).unwrap();
                let answer = Bytes::tee_sha256(access(&mut store), source).unwrap();
                taken(&mut store, answer).0
            });
            let mut half = [0; 10];
            reader.read_exact(&mut half).await.unwrap();
            assert_eq!(&half, b"half of it");
            reader
        })
        .await
        .unwrap();
    drop(store);
    let read = tokio::time::timeout(Duration::from_secs(10), reader.read_to_end(&mut Vec::new())).await;
    assert!(read.expect("the reader learns of it").is_err());
}

#[tokio::test]
async fn decrypt_needs_its_access_and_never_shows_the_identity() {
    let identity = age::x25519::Identity::generate();
    let recipients = Recipients::parse(&[identity.to_public().to_string()]).unwrap();
    let stored = whole(filter::encrypt(bytes("the secret data"), recipients, ()).unwrap()).await.0;
    for (grants, allowed) in [
        (Vec::new(), false),
        (vec![key_grant(&identity, &[])], false),
        (vec![key_grant(&identity, &["decrypt"])], true),
    ] {
        let mut store = store(grants, Limits::default());
        let stored = stored.clone();
        let denials = store
            .run_concurrent(async move |accessor| {
                let answer = accessor.with(|mut a| {
                    let mut store = a.as_context_mut();
                    let source = host_stream(&mut store, bytes(stored));
                    let answer = Bytes::decrypt(access(&mut store), source, "key".into()).unwrap();
                    answer.map(|answer| taken(&mut store, answer))
                });
                match answer {
                    Ok((mut reader, _)) => {
                        let mut out = Vec::new();
                        reader.read_to_end(&mut out).await.unwrap();
                        assert!(allowed && out == b"the secret data");
                    }
                    Err(Error::Denied(text)) => assert!(
                        !allowed && text.contains("--grant key=decrypt") && !text.contains("AGE-SECRET"),
                        "{text}"
                    ),
                    Err(other) => panic!("{other:?}"),
                }
                accessor.with(|mut a| a.get().run.gate.denials().1)
            })
            .await
            .unwrap();
        assert_eq!(denials, u64::from(!allowed));
    }
}

#[tokio::test]
async fn a_broken_source_fails_drain_and_bad_arguments_are_values() {
    let mut store = store(Vec::new(), Limits::default());
    store
        .run_concurrent(async |accessor| {
            let stream = accessor.with(|mut a| host_stream(&mut a.as_context_mut(), broken_after(noise(500_000, 2))));
            let accessor = accessor.with_getter::<Bytes>(rig::data);
            assert_eq!(Bytes::drain(&accessor, stream).await.unwrap().unwrap_err(), gone());
            accessor.with(|mut a| {
                let mut store = a.as_context_mut();
                let source = host_stream(&mut store, bytes("x"));
                assert!(matches!(
                    Bytes::rate_limit(access(&mut store), source, 0).unwrap(),
                    Err(Error::InvalidArgument(_))
                ));
                let source = host_stream(&mut store, bytes("x"));
                assert!(matches!(
                    Bytes::compress(access(&mut store), source, Codec::Gzip(0)).unwrap(),
                    Err(Error::InvalidArgument(_))
                ));
                let source = host_stream(&mut store, bytes("x"));
                assert!(matches!(
                    Bytes::encrypt(access(&mut store), source, Vec::new()).unwrap(),
                    Err(Error::InvalidArgument(_))
                ));
            });
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn filters_that_nobody_reads_are_bounded() {
    let mut store = store(Vec::new(), Limits { calls_in_flight: 8, ..Limits::default() });
    let mut context = store.as_context_mut();
    let mut made = 0;
    let trap = loop {
        let source = host_stream(&mut context, support::endless("x").0);
        match Bytes::tee_sha256(access(&mut context), source) {
            Ok(_) => made += 1,
            Err(trap) => break trap,
        }
        assert!(made < 100, "a guest may not make threads without end");
    };
    assert_eq!(made, 8);
    assert!(trap.to_string().contains("host_calls_in_flight"), "{trap}");
}
