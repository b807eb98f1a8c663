//! Contract: which runs a worker gets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support;

use futures::future::join_all;
use rota_protocol::{Span, WaitReason};
use rota_store::{ConcurrencyKey, Hint, NewRun, RunState, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use support::{Worker, World, contract, of_job, run, with_key};

fn prioritised(plugin: &str, priority: i32) -> NewRun {
    let mut run = run(plugin);
    run.policy.priority = priority;
    run
}

contract! {
    async fn higher_priorities_come_first_then_the_older(world) {
        for (plugin, priority) in [("third", 0), ("first", 9), ("fourth", 0), ("second", 1), ("last", -1)] {
            world.store.enqueue(vec![prioritised(plugin, priority)]).await.unwrap();
        }
        let worker = world.worker("host").await;
        assert_eq!(worker.claims(2).await, ["first", "second"]);
        assert_eq!(worker.claims(10).await, ["third", "fourth", "last"]);
        assert!(worker.claims(0).await.is_empty());
    }

    async fn jobs_share_fairly(world) {
        // A backlog of one job, far more than is looked at for a claim, and one run of each of two others.
        world.store.enqueue((0..300).map(|_| of_job("backlog")).collect()).await.unwrap();
        world.store.enqueue(vec![of_job("aardvark"), of_job("zebra")]).await.unwrap();
        let worker = world.worker("host").await;
        let got: Vec<_> = worker.claims(3).await;
        assert_eq!(BTreeSet::from_iter(got), BTreeSet::from(["aardvark".into(), "backlog".into(), "zebra".into()]));
        world.store.enqueue(vec![of_job("aardvark"), of_job("yak")]).await.unwrap();
        assert_eq!(worker.claims(1).await, ["yak"], "the job with the fewest held");
    }

    async fn a_run_that_is_not_due_is_not_claimed(world) {
        let mut late = run("late");
        late.due = Some(rota_store::date(world.store.now().await.unwrap().after(Span::millis(300))));
        world.store.enqueue(vec![late]).await.unwrap();
        let worker = world.worker("host").await;
        assert!(worker.claims(1).await.is_empty());
        world.pass(Span::millis(400)).await;
        assert_eq!(worker.claims(1).await, ["late"]);
    }

    async fn a_run_goes_only_where_all_its_labels_are(world) {
        let mut labelled = run("labelled");
        labelled.policy.host_labels = BTreeMap::from([("zone".into(), "a".into()), ("tool".into(), "pg_dump".into())]);
        world.store.enqueue(vec![labelled]).await.unwrap();
        let worker = world.worker("host").await;
        assert!(worker.claims(1).await.is_empty());
        assert!(worker.clone().label("zone", "a").claims(1).await.is_empty());
        assert!(worker.clone().label("zone", "b").label("tool", "pg_dump").claims(1).await.is_empty());
        let right = worker.label("zone", "a").label("tool", "pg_dump").label("more", "x");
        assert_eq!(right.claims(1).await, ["labelled"]);
    }

    async fn what_a_host_cannot_begin_is_left_to_others_however_much_of_it_waits(world) {
        let of = |job: Option<&str>, plugin: &str| NewRun { job: job.map(str::to_owned), ..run(plugin) };
        // Older, and more than a claim for two looks at.
        world.store.enqueue((0..40).map(|n| of(Some("newer"), &format!("newer-{n}"))).collect()).await.unwrap();
        world.store.enqueue(vec![of(Some("known"), "known"), of(None, "free")]).await.unwrap();
        let older = world.worker("older").await;
        let got: BTreeSet<_> = older.claims_without(&["newer".into()], 2).await.into_iter().collect();
        assert_eq!(got, BTreeSet::from(["known".into(), "free".into()]));
        assert!(older.claims_without(&["newer".into()], 2).await.is_empty());
        // The empty name: runs of no job.
        world.store.enqueue(vec![of(None, "free")]).await.unwrap();
        assert!(older.claims_without(&["newer".into(), String::new()], 2).await.is_empty());
        assert_eq!(world.worker("newer").await.claims(50).await.len(), 41);
    }

    async fn a_key_lets_so_many_in_and_the_next_when_one_is_over(world) {
        let ids: Vec<_> = {
            let runs: Vec<_> = (0..5).map(|n| with_key(&format!("{n}"), "exclusive:kosmos", 2)).collect();
            let ids = runs.iter().map(|run| run.id.clone()).collect();
            world.store.enqueue(runs).await.unwrap();
            ids
        };
        world.store.enqueue(vec![of_job("free")]).await.unwrap();
        let worker = world.worker("host").await;
        let first = worker.claim(10).await;
        let names: BTreeSet<_> = first.iter().map(|held| held.claimed.row.run.plugin.clone()).collect();
        assert_eq!(names, BTreeSet::from(["0".into(), "1".into(), "free".into()]));
        let blocked = world.store.run(&ids[2]).await.unwrap();
        assert_eq!((blocked.state, blocked.wait), (RunState::Waiting, Some(WaitReason::Concurrency)));
        assert!(worker.claim(10).await.is_empty());
        first.iter().find(|held| held.claimed.row.run.plugin == "1").unwrap().succeed().await;
        assert_eq!(worker.claims(10).await, ["2"]);
        assert!(worker.claim(10).await.is_empty());
        // What waits can be cancelled, and what comes later has no advantage.
        world.store.cancel(&ids[3], support::wish(false)).await.unwrap();
        world.store.enqueue(vec![with_key("5", "exclusive:kosmos", 2)]).await.unwrap();
        first.iter().find(|held| held.claimed.row.run.plugin == "0").unwrap().succeed().await;
        assert_eq!(worker.claims(10).await, ["4"]);
    }

    async fn a_run_that_needs_two_keys_waits_for_both(world) {
        let keys = |names: &[&str]| names.iter().map(|key| ConcurrencyKey { key: (*key).into(), limit: 1 }).collect::<Vec<_>>();
        let needs = |plugin: &str, names: &[&str]| {
            let mut run = run(plugin);
            run.policy.keys = keys(names);
            run
        };
        let worker = world.worker("host").await;
        let a = worker.begin(needs("a", &["a"])).await.unwrap();
        let b = worker.begin(needs("b", &["b"])).await.unwrap();
        world.store.enqueue(vec![needs("both", &["a", "b"])]).await.unwrap();
        assert!(worker.claims(5).await.is_empty());
        a.succeed().await;
        assert!(worker.claims(5).await.is_empty(), "the other is still taken");
        world.store.enqueue(vec![needs("a again", &["a"])]).await.unwrap();
        let again = worker.claim_one().await;
        assert_eq!(again.claimed.row.run.plugin, "a again", "what waits for another key does not hold this one");
        b.succeed().await;
        assert!(worker.claims(5).await.is_empty());
        again.succeed().await;
        assert_eq!(worker.claims(5).await, ["both"]);
    }

    async fn a_one_shot_says_who_stands_in_its_way(world) {
        let worker = world.worker("host").await;
        let first = worker.begin(with_key("p", "job:nightly", 1)).await.unwrap();
        let Err(StoreError::Conflict { key, holder }) = worker.begin(with_key("p", "job:nightly", 1)).await.map(|held| held.id)
        else {
            panic!("the key is taken")
        };
        assert_eq!((key.as_str(), &holder), ("job:nightly", &first.id));
        first.succeed().await;
        worker.begin(with_key("p", "job:nightly", 1)).await.unwrap();
    }

    async fn a_buffered_run_waits_until_its_keys_are_free(world) {
        let worker = world.worker("host").await;
        let first = worker.begin(with_key("first", "job:nightly", 1)).await.unwrap();
        let buffered = NewRun { hold: Some(WaitReason::Concurrency), ..with_key("buffered", "job:nightly", 1) };
        world.store.enqueue(vec![buffered.clone()]).await.unwrap();
        let load = world.store.schedule_load("nightly").await.unwrap();
        assert_eq!((load.active, load.buffered), (vec![first.id.clone()], vec![buffered.id.clone()]));
        assert!(worker.claims(1).await.is_empty());
        first.succeed().await;
        assert_eq!(worker.claims(1).await, ["buffered"]);
    }

    async fn two_hosts_never_get_the_same_run(world) {
        let runs: Vec<_> = (0..200).map(|n| of_job(&format!("job {}", n % 7))).collect();
        let ids: BTreeSet<_> = runs.iter().map(|run| run.id.clone()).collect();
        world.store.enqueue(runs).await.unwrap();
        let mut workers = Vec::new();
        for n in 0..6 {
            workers.push(Worker::on(world.another().await, &format!("host {n}")).await);
        }
        let got = join_all(workers.iter().map(|worker| async move {
            let mut got = Vec::new();
            let mut empty = 0;
            // What others have locked for a moment is not seen, so once is not enough.
            while empty < 20 {
                let held = worker.claim(3).await;
                if held.is_empty() {
                    empty += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                got.extend(held.into_iter().map(|held| held.id));
            }
            got
        }))
        .await;
        let all: Vec<_> = got.into_iter().flatten().collect();
        assert_eq!(all.len(), 200, "each once");
        assert_eq!(BTreeSet::from_iter(all), ids);
    }

    async fn a_key_holds_also_when_many_hosts_claim_at_once(world) {
        world.store.enqueue((0..40).map(|n| with_key(&format!("{n}"), "exclusive:kosmos", 1)).collect()).await.unwrap();
        let mut workers = Vec::new();
        for n in 0..4 {
            workers.push(Worker::on(world.another().await, &format!("host {n}")).await);
        }
        let held_now = std::sync::atomic::AtomicU32::new(0);
        let done = std::sync::atomic::AtomicU32::new(0);
        join_all(workers.iter().map(|worker| async {
            use std::sync::atomic::Ordering::SeqCst;
            while done.load(SeqCst) < 40 {
                for held in worker.claim(2).await {
                    assert_eq!(held_now.fetch_add(1, SeqCst), 0, "nobody else holds the key");
                    tokio::task::yield_now().await;
                    held_now.fetch_sub(1, SeqCst);
                    held.succeed().await;
                    done.fetch_add(1, SeqCst);
                }
            }
        }))
        .await;
        assert_eq!(done.into_inner(), 40);
    }

    async fn whoever_waits_is_hinted(world) {
        let other = if world.is_postgres() { world.another().await } else { world.store.clone() };
        let mut hints = other.hints();
        // A listener of another host may need a moment to be there.
        let heard = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                world.store.enqueue(vec![run("p")]).await.unwrap();
                if let Ok(Ok(Hint::Queue)) = tokio::time::timeout(Duration::from_millis(300), hints.recv()).await {
                    break;
                }
            }
        });
        heard.await.expect("a hint of the queue");
    }
}
