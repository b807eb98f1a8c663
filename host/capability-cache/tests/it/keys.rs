//! Reading and changing keys by name, and looking for them.

use crate::common::{Bench, binding, glob, prefix, sets};
use rota_authority::CacheAccess;
use rota_capability_cache::wit::{Lifetime, Readiness, SetCondition};
use rota_config::CacheBinding;
use rota_contract::Error;
use rota_testbed::Valkey;

#[tokio::test]
async fn strings_and_lifetimes() {
    let valkey = Valkey::start().await.unwrap();
    let bench = Bench::at(&valkey.url()).await;
    let (client, read) = (&bench.client, bench.reads());
    let key = b"a b\n\"\xff\x00";
    let value = vec![0, 255, b'\r', b'\n'];
    assert_eq!(client.get(&read, key, 100).await.unwrap(), None);
    assert!(matches!(client.ttl(&read, key).await.unwrap(), Lifetime::Missing));
    let permit = bench.permit(CacheAccess::Write).await;
    for (condition, set) in [
        (SetCondition::IfPresent, false),
        (SetCondition::IfAbsent, true),
        (SetCondition::IfAbsent, false),
        (SetCondition::IfPresent, true),
        (SetCondition::Always, true),
    ] {
        assert_eq!(client.set(&permit, key, value.clone(), None, condition).await.unwrap(), set, "{condition:?}");
    }
    assert_eq!(client.get(&read, key, 100).await.unwrap(), Some(value));
    assert!(matches!(client.get(&read, key, 3).await, Err(Error::Quota(_))));
    assert!(matches!(client.ttl(&read, key).await.unwrap(), Lifetime::Unlimited));
    assert!(client.expire(&permit, key, Some(60_000)).await.unwrap());
    assert!(matches!(client.ttl(&read, key).await.unwrap(), Lifetime::ExpiresIn(59_000..=60_000)));
    assert!(client.expire(&permit, key, None).await.unwrap());
    assert!(!client.expire(&permit, b"none", Some(1)).await.unwrap());
    let keys = vec![key.to_vec(), b"none".to_vec()];
    assert_eq!(client.existing(&read, &keys).await.unwrap(), 1);
    let usage = client.usage(&read, &keys).await.unwrap();
    let first = usage[0].as_ref().unwrap();
    assert_eq!((first.kind.as_str(), first.length, first.expires_in), ("string", Some(4), None));
    assert!(first.bytes.unwrap() > 4 && usage[1].is_none());
    let permit = bench.permit(CacheAccess::Delete).await;
    assert_eq!(client.unlink(&permit, keys).await.unwrap(), 1);
    assert_eq!(client.unlink(&permit, Vec::new()).await.unwrap(), 0, "no keys is no bare UNLINK");
}

#[tokio::test]
async fn hashes() {
    let valkey = Valkey::start().await.unwrap();
    let bench = Bench::at(&valkey.url()).await;
    let (client, read) = (&bench.client, bench.reads());
    let permit = bench.permit(CacheAccess::Write).await;
    let entries: Vec<_> = (0..1_000_u32).map(|n| (n.to_be_bytes().to_vec(), vec![0xff; 3])).collect();
    assert_eq!(client.hash_set(&permit, b"h", entries.clone()).await.unwrap(), 1_000);
    assert_eq!(client.hash_set(&permit, b"h", entries[..2].to_vec()).await.unwrap(), 0);
    assert_eq!(client.hash_entries(&read, b"h", 10_000).await.unwrap(), entries);
    assert!(matches!(client.hash_entries(&read, b"h", 1_000).await, Err(Error::Quota(_))));
    assert_eq!(client.hash_get(&read, b"h", entries[7].0.clone(), 3).await.unwrap(), Some(vec![0xff; 3]));
    assert_eq!(client.hash_get(&read, b"h", b"none".to_vec(), 3).await.unwrap(), None);
    assert!(matches!(client.hash_get(&read, b"h", entries[7].0.clone(), 2).await, Err(Error::Quota(_))));
    assert!(matches!(client.get(&read, b"h", 10).await, Err(Error::InvalidArgument(_))), "another kind of value");
    let permit = bench.permit(CacheAccess::Delete).await;
    let fields = vec![entries[0].0.clone(), b"none".to_vec()];
    assert_eq!(client.hash_delete(&permit, b"h", fields).await.unwrap(), 1);
}

#[tokio::test]
async fn a_scan_finds_each_key_once_and_takes_a_prefix_literally() {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    plain.many(sets("user:", 5_000)).await.unwrap();
    plain.many(sets("other:", 1_000)).await.unwrap();
    let odd: [&[u8]; 6] = [b"u*r:1", b"u*r: two words", b"u*r:new\nline", b"u*r:\"quote\"", b"u*r:\xff\x00", b"u*r:"];
    for key in odd {
        plain.call(&[b"SET", key, b"x"]).await.unwrap();
    }
    let bench = Bench::at(&valkey.url()).await;
    assert_eq!(bench.scan(glob(b"user:*")).await.unwrap().len(), 5_000);
    assert_eq!(bench.scan(glob(b"*")).await.unwrap().len(), 6_006);
    let mut wanted = odd.map(<[u8]>::to_vec);
    wanted.sort();
    assert_eq!(bench.scan(prefix(b"u*r:")).await.unwrap(), wanted);
    assert_eq!(bench.scan(prefix(b"none")).await.unwrap(), Vec::<Vec<u8>>::new());
}

#[tokio::test]
async fn info_keyspace_and_ping_are_typed() {
    let valkey = Valkey::with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]).await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    plain.call(&["SET", "a", "1", "EX", "100"]).await.unwrap();
    plain.call(&["SELECT", "3"]).await.unwrap();
    plain.many(sets("k", 3)).await.unwrap();
    let bench = Bench::at(&valkey.url()).await;
    let info = bench.client.info(&bench.reads()).await.unwrap();
    assert_eq!(info.len(), 1);
    let node = &info[0];
    assert_eq!((node.server.product.as_str(), node.server.version.as_str()), ("valkey", "9.1.2"));
    assert_eq!((node.memory.limit, node.memory.policy.as_deref()), (Some(100 << 20), Some("allkeys-lru")));
    assert_eq!((node.replication.is_replica, node.replication.replicas), (Some(false), Some(0)));
    assert!(node.memory.used.unwrap() > 0 && node.clients.rejected == Some(0));
    let keyspace = bench.client.keyspace(&bench.reads()).await.unwrap();
    let flat: Vec<_> = keyspace.iter().map(|f| (f.database, f.keys, f.expiring)).collect();
    assert_eq!(flat, [(0, 1, 1), (3, 3, 0)]);
    let pong = bench.client.ping(&bench.reads()).await.unwrap();
    assert!(pong.len() == 1 && pong[0].state == Readiness::Ready && pong[0].microseconds > 0);
}

#[tokio::test]
async fn the_database_of_the_binding_is_used() {
    let valkey = Valkey::start().await.unwrap();
    let bench = Bench::at(&format!("{}/5", valkey.url())).await;
    let permit = bench.permit(CacheAccess::Write).await;
    bench.client.set(&permit, b"a", b"1".to_vec(), None, SetCondition::Always).await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    assert_eq!(plain.call(&["DBSIZE"]).await.unwrap().integer(), Some(0));
    plain.call(&["SELECT", "5"]).await.unwrap();
    assert_eq!(plain.call(&["DBSIZE"]).await.unwrap().integer(), Some(1));
}

#[tokio::test]
async fn the_slow_log_is_read_without_arguments() {
    let valkey = Valkey::with(&["--slowlog-log-slower-than", "0"]).await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    plain.call(&["CLIENT", "SETNAME", "api"]).await.unwrap();
    plain.call(&["SET", "session:17", "c4nary-value"]).await.unwrap();
    let bench = Bench::at(&valkey.url()).await;
    let slow = bench.client.slowlog(&bench.reads(), 100).await.unwrap();
    let set = slow.iter().find(|slow| slow.command.name == "SET").unwrap();
    assert_eq!(
        (set.command.arguments.as_slice(), set.command.key_prefix.as_deref()),
        (&[10, 12][..], Some("session:"))
    );
    assert_eq!(set.client_name.as_deref(), Some("api"));
    assert!(!format!("{slow:?}").contains("c4nary") && !format!("{slow:?}").contains(valkey.password()));
    assert!(slow.windows(2).all(|two| two[0].id > two[1].id), "the newest first");
    let few = bench.client.slowlog(&bench.reads(), 1).await.unwrap();
    assert_eq!(few.len(), 1);
}

#[tokio::test]
async fn what_the_operator_protects_is_known() {
    let valkey = Valkey::start().await.unwrap();
    let protected = CacheBinding { protected: Some(vec!["session:".into()]), ..binding(&valkey.url()) };
    let bench = Bench::open(protected).await.unwrap();
    assert_eq!(bench.client.protection(b"session:1").as_deref(), Some("session:"));
    assert_eq!(bench.client.protection(b"user:1"), None);
}

#[tokio::test]
async fn a_dropped_session_closes_its_connections() {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    let bench = Bench::at(&valkey.url()).await;
    bench.client.ping(&bench.reads()).await.unwrap();
    let clients = async |plain: &mut rota_testbed::RespClient| {
        plain.call(&["CLIENT", "LIST"]).await.unwrap().text().lines().count()
    };
    assert!(clients(&mut plain).await >= 2);
    drop(bench);
    rota_testbed::eventually(crate::common::LONG, "the connection's end", async || {
        Ok((clients(&mut plain).await == 1).then_some(()))
    })
    .await
    .unwrap();
}
