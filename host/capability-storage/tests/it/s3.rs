//! The capability on S3 (SeaweedFS), with a proxy in between to break the connection.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::common;

use common::*;
use rota_authority::StorageAccess;
use rota_capability_storage::{Name, Put, settled};
use rota_config::StorageBinding;
use rota_contract::Error;
use rota_testbed::{S3, S3Access, S3Keys, TcpProxy, eventually};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

const MIB: usize = 1 << 20;
const LONG: Duration = Duration::from_secs(30);

fn at(port: u16, bucket: &str, keys: &S3Keys) -> StorageBinding {
    let mut binding = binding(&format!("s3://{bucket}/pre/fix?endpoint=http://127.0.0.1:{port}"));
    binding.access_key = Some(literal(&keys.access_key));
    binding.secret_key = Some(literal(&keys.secret_key));
    binding
}

async fn bucket(hint: &str) -> (S3Access, String, Bench) {
    let s3 = S3::shared().await.unwrap();
    let bucket = s3.fresh_bucket(hint).await.unwrap();
    let bench = Bench::open(at(s3.port(), &bucket, s3.keys())).await.unwrap();
    (s3, bucket, bench)
}

async fn unfinished(bench: &Bench) -> Vec<String> {
    let found = bench.client.leftovers(&bench.reads(), Duration::ZERO).await.unwrap();
    found.into_iter().map(|leftover| leftover.name).collect()
}

#[tokio::test]
async fn what_is_put_can_be_got_listed_and_deleted() {
    let (s3, bucket, bench) = bucket("round").await;
    let data = bytes(30 * MIB + 17);
    let put = Put { media_type: Some("application/zstd".into()), sha256: Some(sha256(&data)), ..Put::default() };
    let stored = bench.put("daily/1/data.dump", std::io::Cursor::new(data.clone()), put).await.unwrap();
    assert_eq!((stored.size, stored.sha256), (data.len() as u64, sha256(&data)));
    bench.put_bytes("daily/1.txt", b"one").await.unwrap();
    bench.put_bytes("empty", b"").await.unwrap();
    bench.put_bytes("odd/ä b+c%41&?#.txt", b"odd").await.unwrap();
    assert_eq!(bench.get("daily/1/data.dump", None).await.unwrap(), data);
    assert_eq!(bench.get("empty", None).await.unwrap(), b"");
    assert_eq!(bench.get("odd/ä b+c%41&?#.txt", None).await.unwrap(), b"odd");
    let object = bench.client.stat(&bench.reads(), &Name::parse("daily/1/data.dump").unwrap()).await.unwrap();
    assert_eq!((object.size, object.etag.is_some()), (data.len() as u64, true));
    assert!(object.modified.unwrap() > 1_600_000_000_000_000);
    for (offset, length) in [
        (0, Some(10)),
        (9_000_000, Some(5_000_000)),
        (data.len() as u64 - 5, None),
        (data.len() as u64, None),
        (7, Some(0)),
    ] {
        let end = length.map_or(data.len(), |length| (offset + length).min(data.len() as u64) as usize);
        assert!(
            bench.get("daily/1/data.dump", Some((offset, length))).await.unwrap() == data[offset as usize..end],
            "{offset} {length:?}"
        );
    }
    let mut names = bench.names("").await.unwrap();
    names.sort();
    assert_eq!(names, ["daily/1.txt", "daily/1/data.dump", "empty", "odd/ä b+c%41&?#.txt"]);
    assert_eq!(bench.names("daily/1/").await.unwrap(), ["daily/1/data.dump"]);
    assert_eq!(bench.names("weekly/").await.unwrap(), Vec::<String>::new());
    // Another prefix of the same bucket sees none of it.
    let mut other = binding(&format!("s3://{bucket}/other?endpoint=http://127.0.0.1:{}", s3.port()));
    other.access_key = Some(literal(&s3.keys().access_key));
    other.secret_key = Some(literal(&s3.keys().secret_key));
    assert_eq!(Bench::open(other).await.unwrap().names("").await.unwrap(), Vec::<String>::new());
    bench.delete("daily/1/data.dump").await.unwrap();
    bench.delete("daily/1/data.dump").await.unwrap();
    let missing = bench.get("daily/1/data.dump", None).await.unwrap_err();
    assert!(matches!(&missing, Error::NotFound(text) if text.contains("no object `daily/1/data.dump`")), "{missing:?}");
}

#[tokio::test]
async fn a_put_if_absent_replaces_nothing() {
    let (_s3, _bucket, bench) = bucket("absent").await;
    for size in [5, 20 * MIB] {
        let name = format!("a{size}");
        bench.put(&name, std::io::Cursor::new(bytes(size)), if_absent()).await.unwrap();
        let refused = bench.put(&name, &b"second"[..], if_absent()).await.unwrap_err();
        assert!(matches!(&refused, Error::Conflict(text) if text.contains("already an object")), "{refused:?}");
        assert!(bench.get(&name, None).await.unwrap() == bytes(size));
    }
    let puts = (0..4_u8).map(|n| bench.put("race", std::io::Cursor::new(vec![n; 100_000]), if_absent()));
    let results = futures::future::join_all(puts).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
}

#[tokio::test]
async fn a_failing_source_leaves_nothing_and_tells_its_error() {
    let (_s3, _bucket, bench) = bucket("failing").await;
    for size in [3, 40 * MIB] {
        let error = Error::Unavailable("pg_dump exited with 1".into());
        let failed = bench.put("a", failing(bytes(size), error), Put::default()).await.unwrap_err();
        assert!(text(&failed).contains("pg_dump exited with 1"), "{failed:?}");
    }
    let wrong = Put { sha256: Some(sha256(b"other")), ..Put::default() };
    let refused = bench.put("a", std::io::Cursor::new(bytes(40 * MIB)), wrong).await.unwrap_err();
    assert!(text(&refused).contains("checksum-mismatch"), "{refused:?}");
    assert_eq!(bench.names("").await.unwrap(), Vec::<String>::new());
    assert_eq!(unfinished(&bench).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_dropped_put_is_aborted() {
    let (_s3, _bucket, bench) = bucket("dropped").await;
    {
        let put = bench.put("a", endless(bytes(40 * MIB)), Put::default());
        tokio::pin!(put);
        // The upload is seen at the store while it goes on: so its absence afterwards means something.
        let begun = eventually(LONG, "the upload", async || Ok((unfinished(&bench).await == ["a"]).then_some(())));
        tokio::select! { result = &mut put => panic!("{result:?}"), begun = begun => begun.unwrap() }
    }
    assert!(settled(LONG).await);
    assert_eq!(unfinished(&bench).await, Vec::<String>::new());
    assert_eq!(bench.names("").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_could_not_be_aborted_is_swept() {
    let (s3, bucket, direct) = bucket("swept").await;
    let proxy = TcpProxy::to_port(s3.port()).await.unwrap();
    let bench = Bench::open(at(proxy.port(), &bucket, s3.keys())).await.unwrap();
    {
        let put = bench.put("left/over", endless(bytes(40 * MIB)), Put::default());
        tokio::pin!(put);
        let begun =
            eventually(LONG, "the upload", async || Ok((unfinished(&direct).await == ["left/over"]).then_some(())));
        tokio::select! { result = &mut put => panic!("{result:?}"), begun = begun => begun.unwrap() }
        // As for a host that is killed: the store hears nothing more.
        proxy.refuse();
    }
    assert!(settled(LONG).await);
    assert_eq!(unfinished(&direct).await, ["left/over"]);
    let young = direct.client.leftovers(&direct.reads(), Duration::from_secs(3600)).await.unwrap();
    assert!(young.is_empty(), "{young:?}");
    let permit = direct.permit(StorageAccess::Delete).await;
    assert_eq!(direct.client.sweep(&permit, Duration::ZERO).await.unwrap().len(), 1);
    assert_eq!(unfinished(&direct).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_connection_that_is_cut_is_made_anew() {
    let (s3, bucket, direct) = bucket("cut").await;
    let proxy = TcpProxy::to_port(s3.port()).await.unwrap();
    let bench = Bench::open(at(proxy.port(), &bucket, s3.keys())).await.unwrap();
    let data = bytes(40 * MIB);
    direct.put_bytes("a", &data).await.unwrap();
    // While it is read.
    let (_, mut reader) = bench.client.get(&bench.reads(), &Name::parse("a").unwrap(), None).await.unwrap();
    let mut got = vec![0; 3 * MIB];
    reader.read_exact(&mut got).await.unwrap();
    proxy.cut();
    reader.read_to_end(&mut got).await.unwrap();
    assert!(got == data);
    // While it is written.
    proxy.throttle(20 * MIB as u64);
    let put = bench.put_bytes("b", &data);
    tokio::pin!(put);
    let begun = async {
        eventually(LONG, "the upload", async || Ok((unfinished(&direct).await == ["b"]).then_some(()))).await.unwrap();
        // What is cut is a part of it. Cut before the answer that begins an upload, nobody would know that one by its number: another is
        // begun, and the first stays until it is swept (docs/decisions/0014-what-is-left.md).
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    tokio::select! { result = &mut put => panic!("{result:?}"), () = begun => {} }
    proxy.cut();
    put.await.unwrap();
    assert!(direct.get("b", None).await.unwrap() == data);
    assert!(settled(LONG).await);
    assert_eq!(unfinished(&direct).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_object_that_changed_is_not_read_on() {
    let (s3, bucket, direct) = bucket("changed").await;
    let proxy = TcpProxy::to_port(s3.port()).await.unwrap();
    let bench = Bench::open(at(proxy.port(), &bucket, s3.keys())).await.unwrap();
    direct.put_bytes("a", &bytes(40 * MIB)).await.unwrap();
    let (_, mut reader) = bench.client.get(&bench.reads(), &Name::parse("a").unwrap(), None).await.unwrap();
    let mut got = vec![0; MIB];
    reader.read_exact(&mut got).await.unwrap();
    direct.put_bytes("a", &vec![7; 40 * MIB]).await.unwrap();
    proxy.cut();
    reader.read_to_end(&mut got).await.unwrap_err();
    assert!(got.len() < 40 * MIB);
}

#[tokio::test]
async fn a_store_that_goes_away_in_a_put_is_an_error_and_no_object() {
    let (s3, bucket, direct) = bucket("gone").await;
    let proxy = TcpProxy::to_port(s3.port()).await.unwrap();
    let bench = Bench::open(at(proxy.port(), &bucket, s3.keys())).await.unwrap();
    proxy.throttle(20 * MIB as u64);
    let data = bytes(40 * MIB);
    let put = bench.put_bytes("b", &data);
    tokio::pin!(put);
    let begun = eventually(LONG, "the upload", async || Ok((unfinished(&direct).await == ["b"]).then_some(())));
    tokio::select! { result = &mut put => panic!("{result:?}"), begun = begun => begun.unwrap() }
    proxy.refuse();
    let refused = put.await.unwrap_err();
    assert!(matches!(&refused, Error::Unavailable(_)), "{refused:?}");
    assert_eq!(direct.names("").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_wrong_with_a_binding_is_told_and_no_secret() {
    let s3 = S3::shared().await.unwrap();
    let bucket = s3.fresh_bucket("wrong").await.unwrap();
    let canary = "c4nary+of/the=storage";
    let wrong_secret = S3Keys { access_key: s3.keys().access_key.clone(), secret_key: canary.into() };
    let unknown = S3Keys { access_key: "C4NARYACCESSKEY".into(), secret_key: canary.into() };
    let mut no_keys = at(s3.port(), &bucket, s3.keys());
    (no_keys.access_key, no_keys.secret_key) = (None, None);
    let mut nowhere = at(s3.port(), &bucket, s3.keys());
    nowhere.endpoint = Some("https://no-such-host.invalid".into());
    let mut texts = Vec::new();
    for (what, binding, expected) in [
        (
            "a wrong secret",
            at(s3.port(), &bucket, &wrong_secret),
            "check `access_key` and `secret_key` of [bindings.backups]",
        ),
        (
            "an unknown key",
            at(s3.port(), &bucket, &unknown),
            "check `access_key` and `secret_key` of [bindings.backups]",
        ),
        ("no bucket", at(s3.port(), "no-such-bucket", s3.keys()), "does not exist; create it"),
        ("a closed port", at(1, &bucket, s3.keys()), "cannot be reached"),
        ("no keys", no_keys, "access_key"),
        ("a host that is none", nowhere, "cannot be reached"),
    ] {
        let bench = Bench::open(binding).await.unwrap();
        for (call, result) in [
            ("put", bench.put_bytes("a", b"x").await.map(drop)),
            ("large put", bench.put_bytes("a", &bytes(20 * MIB)).await.map(drop)),
            ("put if absent", bench.put("a", &b"x"[..], if_absent()).await.map(drop)),
            ("get", bench.get("a", None).await.map(drop)),
            ("list", bench.names("").await.map(drop)),
            ("leftovers", bench.client.leftovers(&bench.reads(), Duration::ZERO).await.map(drop)),
        ] {
            let said = text(&result.expect_err(what));
            assert!(said.contains(expected), "{what}, {call}: {said}");
            texts.push(said);
        }
    }
    let encoded = ["c4nary", "C4NARY", "Signature=", "Credential=", "X-Amz", &s3.keys().secret_key];
    for said in texts {
        assert!(encoded.iter().all(|secret| !said.contains(secret)), "{said}");
    }
}

#[tokio::test]
async fn a_bucket_that_may_only_be_read_says_so() {
    let (s3, bucket, writer) = bucket("reader").await;
    writer.put_bytes("a", b"x").await.unwrap();
    let bench = Bench::open(at(s3.port(), &bucket, s3.reader())).await.unwrap();
    assert_eq!(bench.get("a", None).await.unwrap(), b"x");
    for result in [
        bench.put_bytes("b", b"x").await.map(drop),
        bench.put_bytes("b", &bytes(20 * MIB)).await.map(drop),
        bench.delete("a").await,
    ] {
        let said = text(&result.unwrap_err());
        assert!(
            said.contains("refuses access") && said.contains("give the keys of [bindings.backups] the right"),
            "{said}"
        );
    }
    assert_eq!(writer.names("").await.unwrap(), ["a"]);
}
