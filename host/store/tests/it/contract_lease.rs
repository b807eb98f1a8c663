//! Contract: leases, their end, and the writes that are refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support;

use futures::future::join_all;
use rota_authority::Outcome;
use rota_protocol::{AttemptEnd, End, LeaseLost, RetryPolicy, Span};
use rota_store::{Beat, RunState, Store, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use support::{LONG, SHORT, Worker, World, contract, effect, idempotent, record, reported, run, wish};

fn lost(error: &StoreError) -> &LeaseLost {
    match error {
        StoreError::LeaseLost { lost, .. } => lost,
        other => panic!("{other}"),
    }
}

async fn beat(worker: &Worker, held: &support::Held) -> rota_store::BeatAnswer {
    let held = [(held.id.clone(), held.fence.number)];
    let beat = Beat { incarnation: &worker.incarnation, lease: worker.lease, held: &held, progress: &[] };
    worker.store.beat(beat).await.unwrap()
}

contract! {
    async fn a_lease_ends_unless_it_is_extended(world) {
        let worker = world.worker("host").await.lease(SHORT);
        let (kept, let_go) = (worker.begin(idempotent("kept")).await.unwrap(), worker.begin(idempotent("p")).await.unwrap());
        for _ in 0..3 {
            world.pass(Span::millis(200)).await;
            assert!(beat(&worker, &kept).await.lost.is_empty());
        }
        let reaped = world.store.reap().await.unwrap();
        assert_eq!(reaped, [(let_go.id.clone(), RunState::Queued)]);
        assert_eq!(world.state(&kept.id).await, RunState::Running);
        assert!(world.store.reap().await.unwrap().is_empty(), "once");
        // One that has ended is not revived.
        world.pass(Span::millis(600)).await;
        assert_eq!(beat(&worker, &kept).await.lost, std::slice::from_ref(&kept.id));
        assert!(beat(&worker, &let_go).await.lost.contains(&let_go.id));
    }

    async fn every_write_of_a_stale_worker_is_refused_and_counted(world) {
        let store = &world.store;
        let worker = world.worker("alpha").await.lease(SHORT);
        let stale = worker.begin(idempotent("p")).await.unwrap();
        assert_eq!(stale.effect("before").await.unwrap(), 1);
        let compensation = stale.compensation("undo").await;
        store.begin_step(&stale.id, &stale.fence, "step").await.unwrap();
        world.pass(Span::millis(500)).await;
        // Late, though nobody took it over yet.
        let late = store.complete_step(&stale.id, &stale.fence, "step", "1").await.unwrap_err();
        assert!(matches!(lost(&late), LeaseLost::Expired { by } if by.0 > 0), "{late}");
        assert!(stale.effect("late").await.is_err());
        assert_eq!(store.reap().await.unwrap().len(), 1);
        let gone = store.begin_step(&stale.id, &stale.fence, "x").await.unwrap_err();
        assert_eq!(lost(&gone), &LeaseLost::Released);
        let successor = world.worker("beta").await.claim_one().await;
        assert_eq!((successor.id.as_str(), successor.fence.number.0), (stale.id.as_str(), 2));
        let fence = &stale.fence;
        let ledger = store.ledger(&stale.id, fence);
        let refused = [
            store.begin_step(&stale.id, fence, "step").await.map(drop).unwrap_err(),
            store.complete_step(&stale.id, fence, "step", "1").await.unwrap_err(),
            store.register_compensation(&stale.id, fence, "more", "{}", "sha256:00").await.map(drop).unwrap_err(),
            store.dismiss_compensation(&stale.id, fence, compensation).await.unwrap_err(),
            store.next_compensation(&stale.id, fence).await.map(drop).unwrap_err(),
            store.end_compensation(&stale.id, fence, compensation, None).await.map(drop).unwrap_err(),
            store.end_undo(&stale.id, fence).await.map(drop).unwrap_err(),
            store.pause_undo(&stale.id, fence, Span(0)).await.unwrap_err(),
            stale.end(reported()).await.map(drop).unwrap_err(),
        ];
        for error in &refused {
            assert_eq!(lost(error), &LeaseLost::TakenOver, "{error}");
        }
        assert!(ledger.begin(effect("stale")).await.unwrap_err().to_string().contains("taken"));
        assert!(ledger.finish(1, Outcome::Done("stale".into())).await.is_err());
        assert_eq!(store.status().await.unwrap().refused_writes, 2 + 1 + 9 + 2);
        let effects = store.effects(&stale.id).await.unwrap();
        assert_eq!(effects.len(), 1);
        assert_eq!((effects[0].outcome.as_str(), effects[0].said.as_deref()), ("unknown", None));
        successor.succeed().await;
    }

    async fn a_run_whose_worker_vanished_follows_its_policy(world) {
        let worker = world.worker("host").await.lease(SHORT);
        let once = worker.begin(run("not idempotent")).await.unwrap();
        once.effect("open").await.unwrap();
        let again = worker.begin(idempotent("idempotent")).await.unwrap();
        let cancelled = worker.begin(idempotent("cancelled")).await.unwrap();
        world.store.cancel(&cancelled.id, wish(false)).await.unwrap();
        let undo = worker.begin(run("to undo")).await.unwrap();
        undo.compensation("undo").await;
        world.pass(Span::millis(500)).await;
        let reaped = world.another().await.reap().await.unwrap();
        let state = |id: &str| reaped.iter().find(|(run, _)| run == id).unwrap().1;
        assert_eq!(state(&once.id), RunState::Unknown);
        assert_eq!(state(&again.id), RunState::Queued);
        assert_eq!(state(&cancelled.id), RunState::Cancelled);
        assert_eq!(state(&undo.id), RunState::Compensating);
        let row = world.store.run(&once.id).await.unwrap();
        assert!(row.error.unwrap().contains("may or may not have happened"));
        assert_eq!(world.store.effects(&once.id).await.unwrap()[0].outcome, "unknown");
        assert_eq!(world.store.attempts(&once.id).await.unwrap()[0].outcome.as_deref(), Some("vanished"));
        assert_eq!(world.store.run(&undo.id).await.unwrap().pending_end, Some(End::Unknown));
        assert_eq!(world.worker("other").await.claim(10).await.len(), 2, "the one to do again, and the one to undo");
    }

    async fn what_makes_its_workers_vanish_is_given_up(world) {
        let given = idempotent("poison");
        world.store.enqueue(vec![given.clone()]).await.unwrap();
        let worker = world.worker("host").await.lease(SHORT);
        let limit = RetryPolicy::default().limit + rota_protocol::attempt::LOST_ATTEMPTS;
        for attempt in 1..=limit + 1 {
            assert_eq!(worker.claim_one().await.claimed.attempt, attempt);
            world.pass(Span::millis(500)).await;
            world.store.reap().await.unwrap();
        }
        assert_eq!(world.state(&given.id).await, RunState::Unknown);
    }

    async fn a_host_that_leaves_gives_its_runs_back_at_once(world) {
        let worker = world.worker("host").await;
        let held = worker.begin(idempotent("p")).await.unwrap();
        assert!(world.store.reap().await.unwrap().is_empty());
        world.store.leave(&worker.incarnation).await.unwrap();
        assert_eq!(world.store.reap().await.unwrap(), [(held.id.clone(), RunState::Queued)]);
        assert!(world.store.hosts().await.unwrap().is_empty());
    }

    async fn hosts_are_seen_drained_and_missed(world) {
        let worker = world.worker("alpha").await.lease(SHORT);
        let other = world.worker("beta").await.lease(SHORT);
        let held = worker.begin(run("p")).await.unwrap();
        assert!(!beat(&worker, &held).await.drain);
        assert_eq!(world.store.drain_host("alpha", true).await.unwrap(), 1);
        assert_eq!(world.store.drain_host("nobody", true).await.unwrap(), 0);
        let answer = beat(&worker, &held).await;
        assert!(answer.drain && answer.lost.is_empty());
        beat(&other, &held).await;
        let hosts = world.store.hosts().await.unwrap();
        let words: Vec<_> = hosts.iter().map(|h| (h.host.name.as_str(), h.draining, h.running, h.alive)).collect();
        assert_eq!(words, [("alpha", true, 1, true), ("beta", false, 0, true)]);
        assert_eq!(hosts[0].host.incarnation, worker.incarnation);
        world.pass(Span(SHORT.0 * 3 + 100_000)).await;
        assert!(world.store.hosts().await.unwrap().iter().all(|host| !host.alive));
        assert_eq!(world.store.drain_host(&worker.incarnation.0, false).await.unwrap(), 1);
    }

    async fn no_effect_of_a_stale_worker_follows_its_successors_first(world) {
        // Workers that write as fast as they can while others take their runs over.
        let given = {
            let mut run = idempotent("p");
            run.policy.retry.limit = 1_000;
            run
        };
        world.store.enqueue(vec![given.clone()]).await.unwrap();
        let taken = Arc::new(AtomicU32::new(0));
        let hosts: Vec<Arc<dyn Store>> = vec![world.another().await, world.another().await, world.store.clone()];
        let one = async |store: Arc<dyn Store>, taken: Arc<AtomicU32>| {
            let worker = Worker::on(store.clone(), "host").await.lease(Span::millis(15));
            while taken.load(Ordering::SeqCst) < 12 {
                store.reap().await.unwrap();
                let Some(held) = worker.claim(1).await.pop() else { continue };
                taken.fetch_add(1, Ordering::SeqCst);
                while held.effect("x").await.is_ok() {}
            }
        };
        join_all(hosts.into_iter().map(|store| one(store, taken.clone()))).await;
        let effects = world.store.effects(&given.id).await.unwrap();
        let leases: Vec<_> = effects.iter().map(|effect| effect.lease).collect();
        assert!(leases.is_sorted(), "{leases:?}");
        assert_eq!(effects.iter().map(|e| e.sequence).collect::<Vec<_>>(), (1..=effects.len() as u64).collect::<Vec<_>>());
        assert!(taken.load(Ordering::SeqCst) >= 12);
    }

    async fn a_takeover_waits_for_nobody_but_the_lease(world) {
        let held = world.worker("alpha").await.lease(LONG).begin(run("p")).await.unwrap();
        assert!(world.worker("beta").await.claim(1).await.is_empty());
        assert!(world.store.reap().await.unwrap().is_empty());
        held.end(record(AttemptEnd::Denied, End::Denied)).await.unwrap();
    }

    async fn ends_that_come_together_have_each_their_own_answer(world) {
        let (worker, other) = (world.worker("alpha").await, world.worker("beta").await);
        let mut held = Vec::new();
        for plugin in ["good", "failed", "effect", "undo", "again", "stale", "strange"] {
            held.push(worker.begin(idempotent(plugin)).await.unwrap());
        }
        held[2].effect("under way").await.unwrap();
        held[3].compensation("undo").await;
        held[5].fence.number.0 += 1;
        held[6].fence.holder = other.incarnation.clone();
        let mut records: Vec<_> = held.iter().map(|_| reported()).collect();
        let failed = record(AttemptEnd::Failed(rota_protocol::Fault::Lasting), End::Failed);
        (records[1], records[3]) = (failed.clone(), failed);
        records[4].after = rota_store::AfterRun::Retry { wait: Span(0) };
        // Twice in a row: what is on record is answered again.
        for _ in 0..2 {
            let said = join_all(held.iter().zip(&records).map(|(held, record)| held.end(record.clone()))).await;
            let ended: Vec<_> = said[..5].iter().map(|said| said.clone().unwrap()).collect();
            use rota_store::AttemptEnded::{Final, Requeued, ToUndo};
            assert_eq!(
                ended,
                [Final(RunState::Succeeded), Final(RunState::Failed), Final(RunState::Succeeded), ToUndo, Requeued]
            );
            assert!(said[5..].iter().all(|said| matches!(lost(said.as_ref().unwrap_err()), LeaseLost::TakenOver)));
        }
        let outcomes = world.store.effects(&held[2].id).await.unwrap();
        assert_eq!(outcomes[0].outcome, "interrupted");
        for (held, state) in held.iter().zip(["succeeded", "failed", "succeeded", "compensating", "queued", "running", "running"]) {
            assert_eq!(world.state(&held.id).await.as_str(), state, "{}", held.claimed.row.run.plugin);
            let attempt = &world.store.attempts(&held.id).await.unwrap()[0];
            assert_eq!(attempt.finished_at.is_none(), state == "running", "{}", held.claimed.row.run.plugin);
        }
        assert_eq!(world.store.run(&held[1].id).await.unwrap().error.as_deref(), Some(r#"{"kind":"failed"}"#));
    }
}
