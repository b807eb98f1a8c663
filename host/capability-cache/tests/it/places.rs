//! Clusters, sentinels, users of the ACL, and logins that are wrong.

use crate::common::{Bench, binding, options, prefix};
use rota_authority::CacheAccess;
use rota_capability_cache::wit::SetCondition;
use rota_contract::Error;
use rota_testbed::Valkey;

#[tokio::test]
async fn a_cluster_is_looked_at_on_every_primary() {
    let nodes = Valkey::cluster().await.unwrap();
    let bench = Bench::at(&format!("{}?mode=cluster", nodes[0].url())).await;
    let permit = bench.permit(CacheAccess::Write).await;
    for n in 0..300 {
        let key = format!("user:{n}").into_bytes();
        bench.client.set(&permit, &key, b"x".to_vec(), None, SetCondition::Always).await.unwrap();
    }
    for node in &nodes {
        let size = node.client().await.unwrap().call(&["DBSIZE"]).await.unwrap().integer().unwrap();
        assert!(size > 0, "the keys are on all nodes");
    }
    assert_eq!(bench.client.ping(&bench.reads()).await.unwrap().len(), 3);
    assert_eq!(bench.client.keyspace(&bench.reads()).await.unwrap()[0].keys, 300);
    assert_eq!(bench.scan(prefix(b"user:")).await.unwrap().len(), 300);
    let names: Vec<Vec<u8>> = (0..300).map(|n| format!("user:{n}").into_bytes()).collect();
    assert_eq!(bench.client.existing(&bench.reads(), &names).await.unwrap(), 300);
    let usage = bench.client.usage(&bench.reads(), &names).await.unwrap();
    assert!(usage.iter().all(|usage| usage.as_ref().is_some_and(|usage| usage.bytes.is_some())));
    let debug = bench.permit(CacheAccess::Debug).await;
    drop(bench.client.monitor(debug, 1, 10).await.unwrap());
    let done = bench.unlink_matching(&options(prefix(b"user:"))).await.unwrap();
    assert_eq!((done.matched, done.unlinked), (300, 300));
    assert_eq!(bench.client.keyspace(&bench.reads()).await.unwrap(), []);
}

#[tokio::test]
async fn a_sentinel_leads_to_the_primary() {
    let valkey = Valkey::start().await.unwrap();
    let sentinel = Valkey::sentinel(&valkey).await.unwrap();
    let bench = Bench::at(&format!("{}?mode=sentinel&service=primary", valkey.url_at(sentinel.port()))).await;
    let permit = bench.permit(CacheAccess::Write).await;
    bench.client.set(&permit, b"a", b"1".to_vec(), None, SetCondition::Always).await.unwrap();
    assert_eq!(valkey.client().await.unwrap().call(&["GET", "a"]).await.unwrap().bytes(), Some(&b"1"[..]));
    let debug = bench.permit(CacheAccess::Debug).await;
    drop(bench.client.monitor(debug, 1, 10).await.unwrap());
}

#[tokio::test]
async fn a_user_of_the_acl_can_do_what_it_may_and_the_rest_says_so() {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    plain
        .call(&["ACL", "SETUSER", "rota", "on", ">c4nary-acl", "~user:*", "+@read", "+ping", "-memory"])
        .await
        .unwrap();
    plain.call(&["SET", "user:1", "x"]).await.unwrap();
    let bench = Bench::at(&format!("redis://rota:c4nary-acl@127.0.0.1:{}", valkey.port())).await;
    assert_eq!(bench.client.get(&bench.reads(), b"user:1", 10).await.unwrap(), Some(b"x".to_vec()));
    let usage = bench.client.usage(&bench.reads(), &[b"user:1".to_vec()]).await.unwrap();
    assert_eq!(usage[0].as_ref().unwrap().bytes, None, "what it may not see is unknown");
    let permit = bench.permit(CacheAccess::Write).await;
    let refused = bench.client.set(&permit, b"user:1", b"y".to_vec(), None, SetCondition::Always).await.unwrap_err();
    assert!(matches!(&refused, Error::Failed(fault) if fault.code == "NOPERM"), "{refused:?}");
    assert!(refused.to_string().contains("ACL SETUSER"), "{refused}");
    assert_eq!(bench.client.get(&bench.reads(), b"other", 10).await.unwrap_err().kind(), "failed");
}

#[tokio::test]
async fn what_is_wrong_with_a_binding_is_told_and_no_secret() {
    let valkey = Valkey::start().await.unwrap();
    let port = valkey.port();
    for (what, url, expected) in [
        ("a wrong password", format!("redis://:c4nary-wrong@127.0.0.1:{port}"), "`username` and `password`"),
        ("no password", format!("redis://127.0.0.1:{port}"), "`username` and `password`"),
        ("nobody there", "redis://:c4nary-wrong@127.0.0.1:1".to_owned(), "cannot be reached"),
        ("no TLS there", format!("rediss://:c4nary-wrong@127.0.0.1:{port}"), "[bindings.dragonfly]"),
        ("no cluster", format!("{}?mode=cluster", valkey.url()), "dragonfly"),
        ("no such database", format!("{}/99", valkey.url()), "DB index"),
    ] {
        let refused = Bench::open(binding(&url)).await.err().expect(what);
        let text = format!("{refused:?}");
        assert!(text.contains(expected), "{what}: {text}");
        assert!(!text.contains("c4nary") && !text.contains(valkey.password()), "{what}: {text}");
    }
}
