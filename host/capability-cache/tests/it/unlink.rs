//! Unlinking what matches: exactly that, within bounds, or nothing.

use crate::common::{Bench, LONG, binding, glob, options, prefix, sets};
use rota_authority::{CacheAccess, Outcome};
use rota_capability_cache::Matching;
use rota_capability_cache::wit::UnlinkOptions;
use rota_config::CacheBinding;
use rota_contract::Error;
use rota_testbed::{RespClient, Valkey, eventually};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

async fn size(plain: &mut RespClient) -> i64 {
    plain.call(&["DBSIZE"]).await.unwrap().integer().unwrap()
}

#[tokio::test]
async fn keys_with_spaces_newlines_and_quotes_are_unlinked_and_no_others() {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    // What the runbook's `xargs ... del` makes of the first: it deletes `admin` and `user`.
    let keys: [&[u8]; 6] =
        [b"user:1 admin user", b"user:new\nadmin", b"user:\"quote", b"user:'", b"user:\xff\x00\\", b"user:plain"];
    for key in keys.iter().chain(&[&b"admin"[..], b"user", b"User:1", b"usera:1"]) {
        plain.call(&[b"SET", *key, b"x"]).await.unwrap();
    }
    let bench = Bench::at(&valkey.url()).await;
    let done = bench.unlink_matching(&options(glob(b"user:*"))).await.unwrap();
    assert_eq!((done.matched, done.unlinked, done.vanished, done.protected), (6, 6, 0, 0));
    assert_eq!(size(&mut plain).await, 4);
    let none = bench.unlink_matching(&options(glob(b"user:*"))).await.unwrap();
    assert_eq!((none.matched, none.unlinked), (0, 0), "no match is no bare DEL");
    assert!(bench.ledger.effects().iter().all(|effect| matches!(effect.outcome, Some(Outcome::Done(_)))));
}

#[tokio::test]
async fn a_bound_that_does_not_hold_leaves_every_key() {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    plain.many(sets("user:", 3_000)).await.unwrap();
    let bench = Bench::at(&valkey.url()).await;
    let base = || options(glob(b"user:*"));
    for (what, options, conflict) in [
        ("too many", UnlinkOptions { maximum_keys: 2_999, ..base() }, true),
        ("drifted up", UnlinkOptions { expected: Some(2_700), drift_percent: 10, ..base() }, true),
        ("drifted down", UnlinkOptions { expected: Some(3_400), drift_percent: 10, ..base() }, true),
        ("too wide", UnlinkOptions { minimum_literal: 6, ..base() }, false),
        ("everything", options(glob(b"*")), false),
    ] {
        let refused = bench.unlink_matching(&options).await.unwrap_err();
        let kind = if conflict { "conflict" } else { "invalid-argument" };
        assert_eq!(refused.kind(), kind, "{what}: {refused}");
    }
    let tight = CacheBinding { maximum_keys: 10, ..binding(&valkey.url()) };
    let refused = Bench::open(tight).await.unwrap().unlink_matching(&base()).await.unwrap_err();
    assert_eq!(refused.kind(), "conflict", "the operator's bound: {refused}");
    assert_eq!(size(&mut plain).await, 3_000);
    assert!(bench.ledger.effects().is_empty(), "nothing was decided");
    let exact = UnlinkOptions { maximum_keys: 3_000, expected: Some(3_000), ..base() };
    assert_eq!(bench.unlink_matching(&exact).await.unwrap().unlinked, 3_000);
}

#[tokio::test]
async fn protected_keys_are_left_and_counted() {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    for prefix in ["user:", "user:vip:", "user:admin:"] {
        plain.many(sets(prefix, 100)).await.unwrap();
    }
    let own = CacheBinding { protected: Some(vec!["user:admin:".into()]), ..binding(&valkey.url()) };
    let bench = Bench::open(own).await.unwrap();
    let asked = UnlinkOptions { protected: vec![b"user:vip:".to_vec()], ..options(prefix(b"user:")) };
    let done = bench.unlink_matching(&asked).await.unwrap();
    assert_eq!((done.matched, done.unlinked, done.protected), (100, 100, 200));
    assert_eq!(size(&mut plain).await, 200);
}

#[tokio::test]
async fn big_collections_are_emptied_first() {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    let add = |command: &'static str, key: &'static str| {
        (0..2_500_u32).map(move |n| {
            let n = format!("{n}").into_bytes();
            let mut words = vec![command.as_bytes().to_vec(), key.as_bytes().to_vec()];
            match command {
                "XADD" => words.extend([b"*".to_vec(), n.clone(), n]),
                "HSET" | "ZADD" => words.extend([n.clone(), n]),
                _ => words.push(n),
            }
            words
        })
    };
    for (command, key) in [
        ("SADD", "big:s"),
        ("HSET", "big:h"),
        ("ZADD", "big:z"),
        ("RPUSH", "big:l"),
        ("XADD", "big:x"),
        ("SADD", "kept"),
    ] {
        plain.many(add(command, key)).await.unwrap();
    }
    plain.call(&["SADD", "big:small", "1"]).await.unwrap();
    let bench = Bench::at(&valkey.url()).await;
    let drained = UnlinkOptions { drain_above: Some(2_000), ..options(prefix(b"big:")) };
    let done = bench.unlink_matching(&drained).await.unwrap();
    assert_eq!((done.matched, done.drained, done.drained_elements), (6, 5, 12_500));
    // A collection that is empty is gone by itself.
    assert_eq!(done.unlinked + done.vanished, 6);
    assert_eq!(size(&mut plain).await, 1);
    assert_eq!(plain.call(&["SCARD", "kept"]).await.unwrap().integer(), Some(2_500));
}

#[tokio::test]
async fn the_rate_holds() {
    let valkey = Valkey::start().await.unwrap();
    valkey.client().await.unwrap().many(sets("user:", 300)).await.unwrap();
    let bench = Bench::at(&valkey.url()).await;
    let begun = Instant::now();
    let slow = UnlinkOptions { keys_per_second: Some(200), batch: 50, ..options(prefix(b"user:")) };
    assert_eq!(bench.unlink_matching(&slow).await.unwrap().unlinked, 300);
    // The sixth batch is due when 250 keys have had their time.
    assert!(begun.elapsed() >= Duration::from_millis(1_200), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn dropped_it_ends_and_is_on_record_as_interrupted() {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    plain.many(sets("user:", 5_000)).await.unwrap();
    let bench = Bench::at(&valkey.url()).await;
    let matching = Matching::parse(
        &UnlinkOptions { keys_per_second: Some(100), batch: 10, ..options(prefix(b"user:")) },
        &bench.binding,
    )
    .unwrap();
    let (progress, _reports) = mpsc::channel(1);
    let found = bench.client.find(&bench.token(CacheAccess::Delete), &matching, progress.clone()).await.unwrap();
    let permit = bench.permit(CacheAccess::Delete).await;
    {
        let work = async {
            let permit = permit;
            bench.client.unlink_found(&permit, &matching, found, progress).await
        };
        tokio::pin!(work);
        let some = eventually(LONG, "some keys", async || Ok((size(&mut plain).await < 5_000).then_some(())));
        tokio::select! { result = &mut work => panic!("{result:?}"), some = some => some.unwrap() }
    }
    assert_eq!(bench.ledger.effects()[0].outcome, Some(Outcome::Interrupted));
    let left = size(&mut plain).await;
    assert!(left > 4_000, "{left}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(left - size(&mut plain).await <= 40, "what was on its way, and no more");
}

#[tokio::test]
async fn half_way_says_how_far() {
    let mut valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    plain.many(sets("user:", 2_000)).await.unwrap();
    let bench = Bench::at(&valkey.url()).await;
    let slow = UnlinkOptions { keys_per_second: Some(500), batch: 20, ..options(prefix(b"user:")) };
    let work = bench.unlink_matching(&slow);
    tokio::pin!(work);
    let some = eventually(LONG, "some keys", async || Ok((size(&mut plain).await < 1_900).then_some(())));
    tokio::select! { result = &mut work => panic!("{result:?}"), some = some => some.unwrap() }
    valkey.kill();
    let error = work.await.unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable(text) if text.contains("of 2000 keys were unlinked before")),
        "{error:?}"
    );
}

/// How often a command was called.
async fn calls(plain: &mut RespClient, command: &str) -> u64 {
    let stats = plain.call(&["INFO", "commandstats"]).await.unwrap().text();
    let line =
        stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls="))?.split(',').next());
    line.map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test]
async fn many_keys_are_many_small_commands_between_which_others_have_their_turns() {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    plain.many(sets("user:", 50_000)).await.unwrap();
    let bench = Bench::at(&valkey.url()).await;
    let all = UnlinkOptions { batch: 10_000, ..options(prefix(b"user:")) };
    assert_eq!(bench.unlink_matching(&all).await.unwrap().unlinked, 50_000);
    assert_eq!(size(&mut plain).await, 0);
    // A third of a microsecond for a key is the least that is believed, and a fifth of a millisecond the most that is taken.
    let unlinks = calls(&mut plain, "unlink").await;
    assert!(unlinks >= 50_000 / 667, "{unlinks}");
}

#[tokio::test]
async fn a_user_who_may_not_ping_unlinks_all_the_same() {
    let valkey = Valkey::start().await.unwrap();
    let mut plain = valkey.client().await.unwrap();
    plain.many(sets("user:", 3_000)).await.unwrap();
    plain.call(&["ACL", "SETUSER", "rota", "on", ">c4nary", "~user:*", "+info", "+scan", "+unlink"]).await.unwrap();
    let bench = Bench::at(&format!("redis://rota:c4nary@127.0.0.1:{}", valkey.port())).await;
    assert_eq!(bench.unlink_matching(&options(prefix(b"user:"))).await.unwrap().unlinked, 3_000);
}
