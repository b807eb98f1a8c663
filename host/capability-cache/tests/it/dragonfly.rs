//! What Dragonfly 1.15 does otherwise than Valkey, by a proxy that answers as it does.

use crate::common::{Bench, options, prefix};
use rota_capability_cache::wit::Readiness;
use rota_contract::Error;
use rota_testbed::{Dragonfly, Valkey};

#[tokio::test]
async fn what_it_does_not_count_is_unknown() {
    let valkey = Valkey::start().await.unwrap();
    let dragonfly = Dragonfly::start(valkey.port()).await.unwrap();
    let bench = Bench::at(&valkey.url_at(dragonfly.port())).await;
    let info = bench.client.info(&bench.reads()).await.unwrap();
    assert_eq!((info[0].server.product.as_str(), info[0].server.version.as_str()), ("dragonfly", "1.15.0"));
    assert_eq!((info[0].clients.rejected, info[0].persistence.snapshot_ok), (None, None));
}

#[tokio::test]
async fn loading_is_a_state_and_nothing_else_is_answered() {
    let valkey = Valkey::start().await.unwrap();
    let dragonfly = Dragonfly::start(valkey.port()).await.unwrap();
    dragonfly.loading(true);
    // With a password and without, the connection is made in another way.
    for url in [valkey.url_at(dragonfly.port()), format!("redis://127.0.0.1:{}", dragonfly.port())] {
        let bench = Bench::at(&url).await;
        let pong = bench.client.ping(&bench.reads()).await.unwrap();
        assert_eq!(pong[0].state, Readiness::Loading, "{url}");
        let refused = bench.client.keyspace(&bench.reads()).await.unwrap_err();
        assert!(matches!(&refused, Error::Unavailable(text) if text.contains("is loading its data")), "{refused:?}");
    }
    let bench = Bench::at(&valkey.url_at(dragonfly.port())).await;
    dragonfly.loading(false);
    assert_eq!(bench.client.ping(&bench.reads()).await.unwrap()[0].state, Readiness::Ready);
}

#[tokio::test]
async fn its_unlink_never_meets_a_big_collection() {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    let add = |n: u32| vec![b"SADD".to_vec(), b"big:set".to_vec(), format!("{n}").into_bytes()];
    plain.many((0..12_000).map(add)).await.unwrap();
    plain.call(&["SADD", "big:small", "1", "2"]).await.unwrap();
    let dragonfly = Dragonfly::start(valkey.port()).await.unwrap();
    let bench = Bench::at(&valkey.url_at(dragonfly.port())).await;
    let done = bench.unlink_matching(&options(prefix(b"big:"))).await.unwrap();
    assert_eq!((done.drained, done.drained_elements), (1, 12_000));
    assert!(dragonfly.largest_unlinked() <= 2, "{}", dragonfly.largest_unlinked());
    assert_eq!(plain.call(&["DBSIZE"]).await.unwrap().integer(), Some(0));
    assert!(!dragonfly.commands().iter().any(|command| command == "KEYS"), "{:?}", dragonfly.commands());
}
