//! Contract: durable steps and compensations.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support;

use rota_protocol::{
    AfterCompensation, AttemptEnd, CompensationState, End, Fault, Span, StepBegin, StepState, UndoPolicy,
};
use rota_store::{AfterRun, AttemptEnded, AttemptRecord, NewRun, NextUndo, RunState, StoreError};
use support::{Held, SHORT, World, contract, idempotent, record, run, wish};

fn failed() -> AttemptRecord {
    record(AttemptEnd::Failed(Fault::Lasting), End::Failed)
}

fn retry() -> AttemptRecord {
    AttemptRecord { after: AfterRun::Retry { wait: Span(0) }, ..failed() }
}

async fn next(held: &Held) -> NextUndo {
    held.store.next_compensation(&held.id, &held.fence).await.unwrap()
}

/// The next one's name and how often it was begun.
async fn undo(held: &Held) -> (u32, String, u32) {
    let NextUndo::Now(row) = next(held).await else { panic!("there is something to undo now") };
    (row.sequence, row.name, row.attempts)
}

async fn states(world: &World, run: &str) -> Vec<CompensationState> {
    world.store.compensations(run).await.unwrap().into_iter().map(|row| row.status).collect()
}

fn impatient(attempts: u32) -> NewRun {
    let mut run = run("p");
    run.policy.undo = UndoPolicy { attempts, backoff: Span::millis(200), ..UndoPolicy::default() };
    run
}

contract! {
    async fn a_completed_step_answers_its_result_ever_after(world) {
        let given = idempotent("p");
        world.store.enqueue(vec![given.clone()]).await.unwrap();
        let worker = world.worker("host").await;
        let held = worker.claim_one().await;
        let begin = async |held: &Held, name: &str| world.store.begin_step(&held.id, &held.fence, name).await.unwrap();
        assert_eq!(begin(&held, "dump").await, (StepBegin::Fresh, vec![]));
        assert_eq!(begin(&held, "dump").await.0, StepBegin::Busy);
        held.effect("a").await.unwrap();
        held.effect("b").await.unwrap();
        world.store.complete_step(&held.id, &held.fence, "dump", r#"{"key":"k"}"#).await.unwrap();
        world.store.complete_step(&held.id, &held.fence, "dump", r#"{"key":"k"}"#).await.expect("said twice");
        let other = world.store.complete_step(&held.id, &held.fence, "dump", "2").await;
        assert!(matches!(other, Err(StoreError::Misfit(_))), "a result is final");
        let nothing = world.store.complete_step(&held.id, &held.fence, "nothing", "2").await;
        assert!(matches!(nothing, Err(StoreError::Misfit(_))));
        assert_eq!(begin(&held, "upload").await.0, StepBegin::Fresh);
        held.effect("c").await.unwrap();
        held.end(retry()).await.unwrap();
        let held = worker.claim_one().await;
        assert_eq!(begin(&held, "dump").await.0, StepBegin::Done(r#"{"key":"k"}"#.into()));
        let (doubt, effects) = begin(&held, "upload").await;
        assert_eq!(doubt, StepBegin::InDoubt);
        let effects: Vec<_> = effects.iter().map(|e| (e.sequence, e.detail.as_str(), e.outcome.as_str())).collect();
        assert_eq!(effects, [(3, "c", "interrupted")], "what was recorded of its effects, and nothing else's");
        assert_eq!(begin(&held, "upload").await.0, StepBegin::Busy, "it is this attempt's now");
        world.store.complete_step(&held.id, &held.fence, "upload", "null").await.unwrap();
        held.succeed().await;
        let steps = world.store.steps(&given.id).await.unwrap();
        let words: Vec<_> = steps.iter().map(|s| (s.name.as_str(), s.attempt, s.first_effect, s.last_effect)).collect();
        assert_eq!(words, [("dump", 1, 1, Some(2)), ("upload", 2, 3, Some(3))]);
        assert_eq!(steps[1].state, StepState::Completed { result: "null".into() });
        assert!(steps[0].finished_at.unwrap() >= steps[0].started_at);
    }

    async fn a_step_of_a_vanished_worker_is_in_doubt(world) {
        let worker = world.worker("host").await.lease(SHORT);
        let held = worker.begin(idempotent("p")).await.unwrap();
        world.store.begin_step(&held.id, &held.fence, "s").await.unwrap();
        held.effect("x").await.unwrap();
        world.pass(Span::millis(500)).await;
        world.store.reap().await.unwrap();
        let held = worker.claim_one().await;
        let (doubt, effects) = world.store.begin_step(&held.id, &held.fence, "s").await.unwrap();
        assert_eq!((doubt, effects[0].outcome.as_str()), (StepBegin::InDoubt, "unknown"));
    }

    async fn a_run_that_succeeds_undoes_nothing(world) {
        let held = world.begun(run("p")).await;
        assert_eq!((held.compensation("a").await, held.compensation("b").await), (1, 2));
        world.store.dismiss_compensation(&held.id, &held.fence, 1).await.unwrap();
        assert!(world.store.dismiss_compensation(&held.id, &held.fence, 9).await.is_err());
        held.succeed().await;
        assert_eq!(states(world, &held.id).await, [CompensationState::Dismissed; 2]);
    }

    async fn a_run_that_does_not_finish_is_undone_last_in_first_out(world) {
        let held = world.begun(run("p")).await;
        for name in ["a", "b", "c"] {
            held.compensation(name).await;
        }
        assert_eq!(held.compensation("b").await, 2, "registered again it is the same");
        world.store.dismiss_compensation(&held.id, &held.fence, 3).await.unwrap();
        assert!(world.store.next_compensation(&held.id, &held.fence).await.is_err(), "it is not to be undone yet");
        assert_eq!(held.end(failed()).await.unwrap(), AttemptEnded::ToUndo);
        assert_eq!(held.end(failed()).await.unwrap(), AttemptEnded::ToUndo, "said twice");
        let row = world.store.run(&held.id).await.unwrap();
        assert_eq!((row.state, row.pending_end), (RunState::Compensating, Some(End::Failed)));
        assert!(row.finished_at.is_none() && row.lease.is_some());
        assert!(world.store.register_compensation(&held.id, &held.fence, "late", "{}", "d").await.is_err());
        assert!(world.store.end_undo(&held.id, &held.fence).await.is_err(), "not before all is undone");
        assert_eq!(undo(&held).await, (2, "b".into(), 1));
        held.store.ledger(&held.id, &held.fence).begin(support::effect("abort the upload")).await.expect("an undo has effects");
        let ended = world.store.end_compensation(&held.id, &held.fence, 2, None).await.unwrap();
        assert_eq!(ended, AfterCompensation::Next);
        assert!(world.store.end_compensation(&held.id, &held.fence, 2, None).await.is_err(), "it is over");
        assert_eq!(undo(&held).await, (1, "a".into(), 1));
        world.store.end_compensation(&held.id, &held.fence, 1, None).await.unwrap();
        assert_eq!(next(&held).await, NextUndo::Nothing);
        assert_eq!(world.store.end_undo(&held.id, &held.fence).await.unwrap(), RunState::Failed);
        let row = world.store.run(&held.id).await.unwrap();
        assert_eq!((row.state, row.pending_end, row.lease), (RunState::Failed, None, None));
        assert!(row.finished_at.is_some() && row.error.is_some());
        use CompensationState::{Dismissed, Done};
        assert_eq!(states(world, &held.id).await, [Done, Done, Dismissed]);
        assert!(world.worker("other").await.claim(5).await.is_empty());
    }

    async fn whoever_next_holds_the_run_goes_on_undoing(world) {
        let worker = world.worker("alpha").await.lease(SHORT);
        let held = worker.begin(support::with_key("p", "exclusive:x", 1)).await.unwrap();
        held.compensation("a").await;
        held.compensation("b").await;
        held.end(failed()).await.unwrap();
        undo(&held).await;
        world.pass(Span::millis(500)).await;
        assert_eq!(world.store.reap().await.unwrap(), [(held.id.clone(), RunState::Compensating)]);
        // What it left half done still stands in the way of others.
        world.store.enqueue(vec![support::with_key("other", "exclusive:x", 1)]).await.unwrap();
        let successor = world.worker("beta").await.claim(5).await;
        assert_eq!(successor.len(), 1);
        let successor = &successor[0];
        assert_eq!((successor.claimed.undo, successor.claimed.attempt, successor.fence.number.0), (true, 1, 2));
        assert_eq!(undo(successor).await, (2, "b".into(), 2), "the one that was begun is carried out again");
        world.store.end_compensation(&held.id, &successor.fence, 2, None).await.unwrap();
        // It hands the rest back.
        world.store.pause_undo(&held.id, &successor.fence, Span::millis(200)).await.unwrap();
        let worker = world.worker("gamma").await;
        assert!(worker.claim(5).await.is_empty());
        world.pass(Span::millis(300)).await;
        let last = worker.claim_one().await;
        assert!(last.claimed.undo);
        assert_eq!(undo(&last).await, (1, "a".into(), 1));
        world.store.end_compensation(&held.id, &last.fence, 1, None).await.unwrap();
        assert_eq!(world.store.end_undo(&held.id, &last.fence).await.unwrap(), RunState::Failed);
        assert_eq!(worker.claims(5).await, ["other"]);
        assert_eq!(world.store.attempts(&held.id).await.unwrap().len(), 1, "to undo is no attempt");
    }

    async fn an_undo_that_only_its_process_could_go_on_with_needs_a_person_when_that_is_gone(world) {
        let mut alone = run("p");
        alone.policy.alone = true;
        let worker = world.worker("alpha").await.lease(SHORT);
        let held = worker.begin(alone).await.unwrap();
        held.compensation("a").await;
        held.end(failed()).await.unwrap();
        undo(&held).await;
        let before = world.store.run(&held.id).await.unwrap();
        assert_eq!(before.state, RunState::Compensating);
        world.pass(Span::millis(500)).await;
        assert_eq!(world.store.reap().await.unwrap(), [(held.id.clone(), RunState::CompensationFailed)]);
        let row = world.store.run(&held.id).await.unwrap();
        assert_eq!((row.error, row.lease), (before.error, None), "why it did not finish is still said");
        assert!(row.note.as_deref().unwrap().contains("is gone"), "{:?}", row.note);
        assert!(world.worker("beta").await.claim(5).await.is_empty());
        // Both ways out are open to a person.
        world.store.retry_undo(&held.id, "ada").await.unwrap();
        let again = world.worker("beta").await.claim_one().await;
        assert_eq!(undo(&again).await.1, "a");
        world.store.end_compensation(&again.id, &again.fence, 1, None).await.unwrap();
        assert_eq!(world.store.end_undo(&again.id, &again.fence).await.unwrap(), RunState::Failed);
    }

    async fn a_compensation_that_keeps_failing_needs_a_person(world) {
        let held = world.begun(impatient(2)).await;
        held.compensation("a").await;
        held.compensation("b").await;
        held.end(failed()).await.unwrap();
        let (sequence, ..) = undo(&held).await;
        let after = world.store.end_compensation(&held.id, &held.fence, sequence, Some("no route")).await.unwrap();
        assert!(matches!(after, AfterCompensation::Again { wait } if wait == Span::millis(200)), "{after:?}");
        assert!(matches!(next(&held).await, NextUndo::Later(wait) if wait.0 > 0 && wait.0 <= 200_000));
        world.pass(Span::millis(300)).await;
        assert_eq!(undo(&held).await, (2, "b".into(), 2));
        let after = world.store.end_compensation(&held.id, &held.fence, 2, Some("no route")).await.unwrap();
        assert_eq!(after, AfterCompensation::GiveUp);
        let row = world.store.run(&held.id).await.unwrap();
        assert_eq!((row.state, row.lease), (RunState::CompensationFailed, None));
        use CompensationState::{Done, Failed, Registered, Settled};
        assert_eq!(states(world, &held.id).await, [Registered, Failed]);
        // A person has it tried again.
        world.store.retry_undo(&held.id, "ada").await.unwrap();
        let held = world.worker("other").await.claim_one().await;
        assert!(held.claimed.undo);
        assert_eq!(undo(&held).await, (2, "b".into(), 1));
        world.store.end_compensation(&held.id, &held.fence, 2, None).await.unwrap();
        let (sequence, ..) = undo(&held).await;
        world.store.end_compensation(&held.id, &held.fence, sequence, Some("x")).await.unwrap();
        world.pass(Span::millis(300)).await;
        undo(&held).await;
        world.store.end_compensation(&held.id, &held.fence, sequence, Some("x")).await.unwrap();
        assert_eq!(world.state(&held.id).await, RunState::CompensationFailed);
        // Then settles it by hand.
        world.store.settle(&held.id, End::Failed, "ada", "aborted it in the console").await.unwrap();
        assert_eq!(world.state(&held.id).await, RunState::Failed);
        let rows = world.store.compensations(&held.id).await.unwrap();
        assert_eq!(states(world, &held.id).await, [Settled, Done]);
        assert!(rows[0].note.as_deref().unwrap().contains("in the console"));
        assert!(world.store.retry_undo(&held.id, "ada").await.is_err());
    }

    async fn a_run_between_two_attempts_is_undone_when_it_is_cancelled(world) {
        let held = world.begun(idempotent("p")).await;
        held.compensation("a").await;
        let again = AttemptRecord { after: AfterRun::Retry { wait: Span::seconds(60) }, ..failed() };
        assert_eq!(held.end(again).await.unwrap(), AttemptEnded::Requeued);
        assert_eq!(states(world, &held.id).await, [CompensationState::Registered], "a retry keeps what is registered");
        assert_eq!(world.store.cancel(&held.id, wish(false)).await.unwrap(), RunState::Compensating);
        assert_eq!(world.store.cancel(&held.id, wish(false)).await.unwrap(), RunState::Compensating, "it is on its way");
        let held = world.worker("other").await.claim_one().await;
        undo(&held).await;
        world.store.end_compensation(&held.id, &held.fence, 1, None).await.unwrap();
        assert_eq!(world.store.end_undo(&held.id, &held.fence).await.unwrap(), RunState::Cancelled);
    }

    async fn a_dismissed_compensation_is_open_again_when_it_is_registered_again(world) {
        let held = world.begun(idempotent("p")).await;
        let sequence = held.compensation("upload").await;
        world.store.dismiss_compensation(&held.id, &held.fence, sequence).await.unwrap();
        held.end(retry()).await.unwrap();
        let held = world.worker("other").await.claim_one().await;
        assert_eq!(held.compensation("upload").await, sequence);
        assert_eq!(held.end(failed()).await.unwrap(), AttemptEnded::ToUndo);
    }

    async fn components_are_kept_as_long_as_an_undo_needs_them(world) {
        let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        world.store.keep_component("sha256:00", &bytes).await.unwrap();
        world.store.keep_component("sha256:00", &bytes).await.unwrap();
        assert_eq!(world.store.component("sha256:00").await.unwrap(), Some(bytes));
        assert_eq!(world.store.component("sha256:11").await.unwrap(), None);
    }
}
