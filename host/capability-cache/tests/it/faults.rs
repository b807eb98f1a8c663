//! Every call with the server gone, slow, or cut off in the middle of its answer: an error that says so, in time, and afterwards it serves again.

use crate::common::{Bench, LONG, binding, collect, options, prefix, sets};
use rota_authority::CacheAccess::{Debug, Delete, Read, Write};
use rota_capability_cache::wit::SetCondition;
use rota_capability_cache::{Matching, Pattern};
use rota_contract::Error;
use rota_testbed::{TcpProxy, Valkey, eventually};
use std::time::Duration;
use tokio::sync::mpsc;

const CALLS: [&str; 19] = [
    "open",
    "ping",
    "info",
    "keyspace",
    "slowlog",
    "memory-usage",
    "scan",
    "find",
    "unlink-found",
    "unlink",
    "monitor",
    "get",
    "set",
    "ttl",
    "expire",
    "hash-get",
    "hash-entries",
    "hash-set",
    "hash-delete",
];

/// Make a call on a session that is open already.
async fn call(bench: &Bench, name: &str) -> Result<(), Error> {
    let client = &bench.client;
    let token = |access| bench.token(access);
    let key = b"user:1";
    match name {
        "open" => Bench::open(bench.binding.clone()).await.map(drop),
        "ping" => client.ping(&token(Read)).await.map(drop),
        "info" => client.info(&token(Read)).await.map(drop),
        "keyspace" => client.keyspace(&token(Read)).await.map(drop),
        "slowlog" => client.slowlog(&token(Read), 100).await.map(drop),
        "memory-usage" => client.usage(&token(Read), &[key.to_vec()]).await.map(drop),
        "scan" => {
            let pattern = Pattern::parse(&prefix(b"user:"))?;
            collect(client.scan(&token(Read), pattern).await?).await.map(drop)
        }
        "find" | "unlink-found" => {
            let matching = Matching::parse(&options(prefix(b"user:")), &bench.binding)?;
            let (progress, _reports) = mpsc::channel(1);
            let found = client.find(&token(Delete), &matching, progress.clone()).await?;
            if name == "find" {
                return Ok(());
            }
            client.unlink_found(&bench.permit(Delete).await, &matching, found, progress).await.map(drop)
        }
        "unlink" => client.unlink(&bench.permit(Delete).await, vec![b"none".to_vec()]).await.map(drop),
        "monitor" => {
            let mut commands = client.monitor(bench.permit(Debug).await, 1, 10).await?;
            while let Some(command) = commands.commands.recv().await {
                command?;
            }
            Ok(())
        }
        "get" => client.get(&token(Read), key, 100).await.map(drop),
        "set" => {
            client.set(&bench.permit(Write).await, b"x", b"y".to_vec(), None, SetCondition::Always).await.map(drop)
        }
        "ttl" => client.ttl(&token(Read), key).await.map(drop),
        "expire" => client.expire(&bench.permit(Write).await, key, None).await.map(drop),
        "hash-get" => client.hash_get(&token(Read), b"hash", b"f".to_vec(), 100).await.map(drop),
        "hash-entries" => client.hash_entries(&token(Read), b"hash", 100_000).await.map(drop),
        "hash-set" => {
            client.hash_set(&bench.permit(Write).await, b"hash", vec![(b"f".to_vec(), b"v".to_vec())]).await.map(drop)
        }
        "hash-delete" => {
            client.hash_delete(&bench.permit(Delete).await, b"hash", vec![b"none".to_vec()]).await.map(drop)
        }
        other => panic!("no call {other}"),
    }
}

async fn prepared() -> (Valkey, TcpProxy, Bench) {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    plain.many(sets("user:", 2_000)).await.unwrap();
    plain.call(&["HSET", "hash", "f", "v"]).await.unwrap();
    let proxy = TcpProxy::to_port(valkey.port()).await.unwrap();
    let bench = Bench::open(binding(&valkey.url_at(proxy.port()))).await.unwrap();
    (valkey, proxy, bench)
}

#[tokio::test]
async fn a_server_that_is_gone() {
    let (mut valkey, _proxy, bench) = prepared().await;
    valkey.kill();
    for name in CALLS {
        let error = call(&bench, name).await.expect_err(name);
        assert!(matches!(&error, Error::Unavailable(_)), "{name}: {error:?}");
    }
    valkey.restart().await.unwrap();
    call(&bench, "ping").await.expect("the session connects anew");
}

#[tokio::test]
async fn a_server_that_does_not_answer() {
    for name in CALLS {
        let (_valkey, proxy, bench) = prepared().await;
        proxy.stall();
        let ended = tokio::time::timeout(Duration::from_secs(8), call(&bench, name)).await;
        let error = ended.unwrap_or_else(|_| panic!("{name} hangs")).expect_err(name);
        assert!(matches!(&error, Error::TimedOut(_)), "{name}: {error:?}");
        assert!(error.to_string().contains("1.5 s"), "{name}: {error}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut() {
    for name in CALLS {
        let (_valkey, proxy, bench) = prepared().await;
        proxy.cut_after(3);
        let ended = tokio::time::timeout(Duration::from_secs(8), call(&bench, name)).await;
        let error = ended.unwrap_or_else(|_| panic!("{name} hangs")).expect_err(name);
        assert!(matches!(&error, Error::Unavailable(_) | Error::TimedOut(_)), "{name}: {error:?}");
        // A call that meets a connection of which nobody knows yet that it broke is the last to fail.
        let again = eventually(LONG, "an answer", async || Ok(call(&bench, "ping").await.ok())).await;
        again.unwrap_or_else(|error| panic!("after {name}: {error}"));
    }
}

#[tokio::test]
async fn every_call_works_when_nothing_is_wrong() {
    let (_valkey, _proxy, bench) = prepared().await;
    for name in CALLS {
        call(&bench, name).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
}
