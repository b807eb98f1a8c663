//! Contract: the life of a run.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support;

use rota_protocol::{AttemptEnd, End, Fault, RetryPolicy, Span, WaitReason};
use rota_store::{
    AfterRun, AttemptEnded, AttemptRecord, ConcurrencyKey, Hint, NewRun, RunPolicy, RunState, StoreError,
};
use std::collections::BTreeMap;
use support::{World, contract, idempotent, record, reported, run, wish};

/// A run with everything in it.
fn everything() -> NewRun {
    NewRun {
        scheduled_for: chrono::DateTime::from_timestamp_micros(1_700_000_000_123_456),
        labels: BTreeMap::from([("team".to_owned(), "data \"base\"".to_owned())]),
        policy: RunPolicy {
            idempotent: true,
            retry: RetryPolicy { limit: 3, ..RetryPolicy::default() },
            run_timeout: Some(Span::seconds(90)),
            priority: -7,
            keys: vec![ConcurrencyKey { key: "job:nightly".into(), limit: 2 }],
            host_labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
            limits: serde_json::json!({ "memory": 64 << 20 }),
            ..RunPolicy::default()
        },
        due: chrono::DateTime::from_timestamp_micros(1_700_000_000_000_001),
        parent: Some("0190".into()),
        hold: Some(WaitReason::Approval),
        ..run("postgres-health")
    }
}

contract! {
    async fn a_run_is_kept_as_it_was_given(world) {
        let given = everything();
        world.store.enqueue(vec![given.clone()]).await.unwrap();
        let kept = world.store.run(&given.id).await.unwrap();
        assert_eq!(kept.run, given);
        assert_eq!((kept.state, kept.wait), (RunState::Waiting, Some(WaitReason::Approval)));
        assert_eq!((kept.attempt, kept.started_at, kept.lease, kept.report), (0, None, None, None));
        assert_eq!(Some(kept.due), given.due);
    }

    async fn it_is_claimed_and_ends_with_its_report(world) {
        let given = run("p");
        world.store.enqueue(vec![given.clone()]).await.unwrap();
        assert_eq!(world.state(&given.id).await, RunState::Queued);
        let held = world.worker("alpha").await.claim_one().await;
        assert_eq!((held.claimed.attempt, held.claimed.undo, held.claimed.lease.number.0), (1, false, 1));
        let kept = world.store.run(&given.id).await.unwrap();
        assert_eq!(held.claimed.row, kept, "what a worker gets is what is on record");
        assert_eq!((kept.state, kept.host.as_str()), (RunState::Running, "alpha"));
        let over = AttemptRecord {
            report: Some("{}".into()),
            error: Some(r#"{"kind":"failed"}"#.into()),
            dropped_log_lines: 7,
            ..record(AttemptEnd::Failed(Fault::Lasting), End::Failed)
        };
        assert_eq!(held.end(over).await.unwrap(), AttemptEnded::Final(RunState::Failed));
        let kept = world.store.run(&given.id).await.unwrap();
        assert_eq!((kept.state, kept.dropped_log_lines, kept.report.as_deref()), (RunState::Failed, 7, Some("{}")));
        assert_eq!((kept.error.as_deref(), kept.lease), (Some(r#"{"kind":"failed"}"#), None));
        assert!(kept.finished_at.unwrap() >= kept.started_at.unwrap());
        let attempts = world.store.attempts(&given.id).await.unwrap();
        assert_eq!(attempts.len(), 1);
        assert_eq!((attempts[0].number, attempts[0].host.as_str(), attempts[0].outcome.as_deref()), (1, "alpha", Some("failed")));
        assert!(world.worker("beta").await.claim(10).await.is_empty(), "it is over");
    }

    async fn a_run_ends_once(world) {
        let held = world.begun(run("p")).await;
        held.succeed().await;
        let again = held.end(record(AttemptEnd::Failed(Fault::Lasting), End::Failed)).await;
        assert!(again.unwrap_err().is_lease_lost());
        // The same word, said again because the answer got lost, is answered as before.
        assert_eq!(held.end(reported()).await.unwrap(), AttemptEnded::Final(RunState::Succeeded));
        assert_eq!(world.state(&held.id).await, RunState::Succeeded);
        let nobody = world.store.end_attempt("nobody", &held.fence, reported()).await;
        assert!(matches!(nobody, Err(StoreError::NotFound(_))));
    }

    async fn an_id_is_used_once_and_a_batch_is_all_or_nothing(world) {
        let first = run("p");
        world.store.enqueue(vec![first.clone()]).await.unwrap();
        let fresh = run("fresh");
        let again = NewRun { id: first.id.clone(), ..run("other") };
        let refused = world.store.enqueue(vec![fresh.clone(), again]).await;
        assert!(matches!(refused, Err(StoreError::Misfit(_))), "{refused:?}");
        assert!(matches!(world.store.run(&fresh.id).await, Err(StoreError::NotFound(_))));
        assert_eq!(world.store.run(&first.id).await.unwrap().run.plugin, "p");
        assert_eq!(world.worker("host").await.claim(10).await.len(), 1);
    }

    async fn another_attempt_follows_after_its_wait(world) {
        let given = idempotent("p");
        world.store.enqueue(vec![given.clone()]).await.unwrap();
        let worker = world.worker("host").await;
        let held = worker.claim_one().await;
        held.effect("of the first").await.unwrap();
        let again = AttemptRecord {
            after: AfterRun::Retry { wait: Span::millis(300) },
            ..record(AttemptEnd::Failed(Fault::Retryable), End::Failed)
        };
        assert_eq!(held.end(again.clone()).await.unwrap(), AttemptEnded::Requeued);
        assert_eq!(held.end(again).await.unwrap(), AttemptEnded::Requeued, "said twice");
        assert_eq!(world.state(&given.id).await, RunState::Queued);
        assert!(worker.claim(1).await.is_empty(), "not before its wait is over");
        world.pass(Span::millis(400)).await;
        let held = worker.claim_one().await;
        assert_eq!((held.claimed.attempt, held.claimed.lease.number.0), (2, 2));
        held.effect("of the second").await.unwrap();
        held.succeed().await;
        let outcomes: Vec<_> =
            world.store.attempts(&given.id).await.unwrap().into_iter().map(|attempt| attempt.outcome.unwrap()).collect();
        assert_eq!(outcomes, ["failed", "reported"]);
        let leases: Vec<_> =
            world.store.effects(&given.id).await.unwrap().into_iter().map(|e| (e.outcome, e.lease)).collect();
        assert_eq!(leases, [("interrupted".to_owned(), 1), ("interrupted".to_owned(), 2)]);
        let row = world.store.run(&given.id).await.unwrap();
        assert_eq!((row.error, row.attempt), (None, 2), "the error of an attempt that was tried again is the attempt's");
    }

    async fn waiting_for_an_approval_ends_by_release(world) {
        let given = NewRun { hold: Some(WaitReason::Approval), ..run("p") };
        world.store.enqueue(vec![given.clone()]).await.unwrap();
        let worker = world.worker("host").await;
        assert!(worker.claim(1).await.is_empty());
        assert!(matches!(world.store.release(&given.id, WaitReason::Window, "").await, Err(StoreError::Misfit(_))));
        world.store.release(&given.id, WaitReason::Approval, "by ada").await.unwrap();
        assert_eq!(world.store.run(&given.id).await.unwrap().note.as_deref(), Some("by ada"));
        assert!(matches!(world.store.release(&given.id, WaitReason::Approval, "").await, Err(StoreError::Transition { .. })));
        worker.claim_one().await.succeed().await;
    }

    async fn cancelling_ends_what_nobody_holds_and_is_noted_for_what_somebody_does(world) {
        let (queued, waiting) = (run("queued"), NewRun { hold: Some(WaitReason::Window), ..run("waiting") });
        world.store.enqueue(vec![queued.clone(), waiting.clone()]).await.unwrap();
        for run in [&queued, &waiting] {
            assert_eq!(world.store.cancel(&run.id, wish(false)).await.unwrap(), RunState::Cancelled);
            let row = world.store.run(&run.id).await.unwrap();
            assert_eq!(row.cancel.unwrap().by, "ada");
            assert!(row.finished_at.is_some());
        }
        let worker = world.worker("host").await;
        assert!(worker.claim(10).await.is_empty());
        let held = worker.begin(idempotent("held")).await.unwrap();
        let mut hints = world.store.hints();
        assert_eq!(world.store.cancel(&held.id, wish(false)).await.unwrap(), RunState::Running);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while hints.recv().await.unwrap() != Hint::Cancel(held.id.clone()) {
            assert!(std::time::Instant::now() < deadline);
        }
        let beat = rota_store::Beat {
            incarnation: &worker.incarnation,
            lease: support::LONG,
            held: &[(held.id.clone(), held.fence.number)],
            progress: &[(held.id.clone(), r#"{"done":3}"#.into())],
        };
        let answer = world.store.beat(beat).await.unwrap();
        assert_eq!(answer.cancels.len(), 1);
        assert!(!answer.cancels[0].1.terminate);
        assert_eq!(world.store.run(&held.id).await.unwrap().progress.as_deref(), Some(r#"{"done":3}"#));
        world.store.cancel(&held.id, wish(true)).await.unwrap();
        world.store.cancel(&held.id, wish(false)).await.unwrap();
        assert!(world.store.beat(beat).await.unwrap().cancels[0].1.terminate, "a later wish can only be sterner");
        // What somebody cancelled is not tried again.
        let retry = AttemptRecord { after: AfterRun::Retry { wait: Span(0) }, ..record(AttemptEnd::HandedBack, End::Unknown) };
        assert_eq!(held.end(retry).await.unwrap(), AttemptEnded::Final(RunState::Cancelled));
        let over = world.store.cancel(&held.id, wish(false)).await.unwrap_err();
        assert_eq!(over.state(), Some(RunState::Cancelled), "{over}");
        assert!(matches!(world.store.cancel("nobody", wish(false)).await, Err(StoreError::NotFound(_))));
    }

    async fn what_is_unknown_is_settled_by_hand(world) {
        let held = world.begun(run("p")).await;
        held.end(record(AttemptEnd::InDoubt, End::Unknown)).await.unwrap();
        world.store.settle(&held.id, End::Succeeded, "ada", "looked: it had happened").await.unwrap();
        let row = world.store.run(&held.id).await.unwrap();
        assert_eq!(row.state, RunState::Succeeded);
        assert!(row.note.unwrap().contains("ada: looked"));
        assert!(world.store.settle(&held.id, End::Failed, "ada", "").await.is_err(), "once");
    }

    async fn durations_are_those_of_the_last_successes(world) {
        let worker = world.worker("host").await;
        for _ in 0..3 {
            worker.begin(run("p")).await.unwrap().succeed().await;
        }
        worker.begin(run("p")).await.unwrap().end(record(AttemptEnd::Denied, End::Denied)).await.unwrap();
        let durations = world.store.durations("nightly", 2).await.unwrap();
        assert_eq!(durations.len(), 2);
        assert!(durations.iter().all(|took| took.0 >= 0));
        assert!(world.store.durations("other", 2).await.unwrap().is_empty());
    }
}
