//! Contract: schedules and decisions about their instants.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use rota_protocol::{FireOutcome, FireRefused, Span};
use rota_store::{
    Decision, DecisionOutcome, Filter, NewRun, Pause, RunState, ScheduleDefinition, Store, StoreError, shard_of,
};
use std::sync::Arc;
use support::{World, contract, of_job, with_key};

async fn now(store: &Arc<dyn Store>) -> DateTime<Utc> {
    rota_store::date(store.now().await.unwrap())
}

fn minutes(n: i64) -> TimeDelta {
    TimeDelta::minutes(n)
}

fn definition(job: &str, next: DateTime<Utc>) -> ScheduleDefinition {
    ScheduleDefinition {
        job: job.into(),
        definition: r#"{"cron":"* * * * *"}"#.into(),
        hash: "1".into(),
        next: Some(next),
        fire_at: None,
    }
}

fn scheduled(job: &str, nominal: DateTime<Utc>) -> Box<NewRun> {
    Box::new(NewRun { scheduled_for: Some(nominal), trigger: "schedule".into(), ..of_job(job) })
}

fn fire(job: &str, read: i64, nominal: DateTime<Utc>) -> Decision {
    Decision {
        job: job.into(),
        read,
        nominal,
        outcome: DecisionOutcome::Fire(scheduled(job, nominal)),
        next: Some(nominal + minutes(1)),
        fire_at: None,
        also: Vec::new(),
        missed_more: 0,
    }
}

contract! {
    async fn a_configuration_is_applied_by_its_differences(world) {
        let store = &world.store;
        let at = now(store).await + minutes(5);
        let all = vec![definition("b", at), definition("a", at), definition("c", at)];
        let changes = store.apply_schedules(all.clone(), "ada").await.unwrap();
        assert_eq!((changes.new, changes.unchanged), (vec!["a".into(), "b".into(), "c".into()], 0));
        let changes = store.apply_schedules(all.clone(), "ada").await.unwrap();
        assert_eq!((changes.new.len(), changes.changed.len(), changes.unchanged), (0, 0, 3));
        let changed = ScheduleDefinition { hash: "2".into(), next: Some(at + minutes(1)), ..definition("b", at) };
        let changes = store.apply_schedules(vec![changed, definition("a", at), definition("0", at)], "ada").await.unwrap();
        assert_eq!((changes.new, changes.changed, changes.disabled, changes.unchanged),
                   (vec!["0".into()], vec!["b".into()], vec!["c".into()], 1));
        let rows = store.schedules().await.unwrap();
        let words: Vec<_> = rows.iter().map(|row| (row.job.as_str(), row.enabled, row.cursor.version)).collect();
        assert_eq!(words, [("0", true, 1), ("a", true, 1), ("b", true, 2), ("c", false, 2)]);
        assert_eq!(rows[2].fire_at, Some(at + minutes(1)), "without jitter it is the instant");
        assert_eq!(rows[1].shard, shard_of("a"));
        let changes = store.apply_schedules(all, "ada").await.unwrap();
        assert_eq!((changes.new, changes.disabled), (vec!["c".into()], vec!["0".into()]), "configured again");
        let twice = vec![definition("a", at), definition("a", at)];
        assert!(matches!(store.apply_schedules(twice, "ada").await, Err(StoreError::Misfit(_))));
        assert!(matches!(store.schedule("nobody").await, Err(StoreError::NoSchedule(_))));
    }

    async fn what_is_due_comes_earliest_first(world) {
        let store = &world.store;
        let at = now(store).await;
        let jittered = ScheduleDefinition { fire_at: Some(at + minutes(3)), ..definition("jittered", at - minutes(9)) };
        let over = ScheduleDefinition { next: None, fire_at: Some(at), ..definition("over", at) };
        let all = vec![definition("late", at - minutes(2)), definition("later", at - minutes(5)), definition("soon", at + minutes(1)), jittered, over];
        store.apply_schedules(all, "ada").await.unwrap();
        let due = async |within, most| -> Vec<String> {
            store.due_schedules(within, most).await.unwrap().1.into_iter().map(|row| row.job).collect()
        };
        assert_eq!(due(Span(0), 10).await, ["later", "late"]);
        assert_eq!(due(Span::seconds(120), 10).await, ["later", "late", "soon"]);
        assert_eq!(due(Span::seconds(600), 1).await, ["later"]);
        assert_eq!(due(Span::seconds(600), 10).await, ["later", "late", "soon", "jittered"]);
        let pause = Pause { by: "ada".into(), note: "moving house".into(), at };
        store.pause("later", Some(pause.clone())).await.unwrap();
        // What falls due of a paused one is decided about too: it is skipped, and said so.
        assert_eq!(due(Span(0), 10).await, ["later", "late"]);
        assert_eq!(store.schedule("later").await.unwrap().paused, Some(pause));
        store.pause("later", None).await.unwrap();
        assert_eq!(due(Span(0), 10).await, ["later", "late"]);
        assert!(matches!(store.pause("nobody", None).await, Err(StoreError::NoSchedule(_))));
    }

    async fn what_no_decision_will_reach_is_found(world) {
        let store = &world.store;
        let at = now(store).await;
        let over = |job| ScheduleDefinition { next: None, ..definition(job, at) };
        let all = vec![definition("due", at - minutes(1)), definition("soon", at + minutes(1)), over("over"), over("also")];
        store.apply_schedules(all.clone(), "ada").await.unwrap();
        let astray = async |most| -> Vec<String> {
            store.astray_schedules(most).await.unwrap().into_iter().map(|row| row.job).collect()
        };
        assert_eq!(astray(10).await, ["also", "over"]);
        assert_eq!(astray(1).await, ["also"]);
        store.decide(vec![fire("due", 1, at - minutes(1))], "alpha").await.unwrap();
        store.apply_schedules(all[..3].to_vec(), "ada").await.unwrap();
        assert_eq!(astray(10).await, ["over"], "one that is disabled is nobody's to decide about");
    }

    async fn a_decision_makes_its_run_and_moves_on(world) {
        let store = &world.store;
        let at = now(store).await - minutes(3);
        store.apply_schedules(vec![definition("j", at)], "ada").await.unwrap();
        let first = fire("j", 1, at);
        assert_eq!(store.decide(vec![first.clone()], "alpha").await.unwrap(), [Ok(())]);
        assert_eq!(store.decide(vec![first], "alpha").await.unwrap(), [Err(FireRefused::Stale)], "twice");
        let row = store.schedule("j").await.unwrap();
        assert_eq!((row.cursor.version, row.cursor.next.map(rota_store::date)), (2, Some(at + minutes(1))));
        assert_eq!(row.fire_at, Some(at + minutes(1)));
        let refused = vec![fire("j", 2, at), fire("j", 2, at + minutes(2)), fire("nobody", 1, at)];
        let answers = store.decide(refused, "alpha").await.unwrap();
        assert_eq!(answers, [Err(FireRefused::NotNext), Err(FireRefused::NotNext), Err(FireRefused::Stale)]);
        let missed = Decision {
            outcome: DecisionOutcome::Skip("missed".into()),
            next: Some(at + minutes(60)),
            also: vec![(at + minutes(2), "missed".into()), (at + minutes(3), "window".into())],
            missed_more: 4,
            ..fire("j", 2, at + minutes(1))
        };
        assert_eq!(store.decide(vec![missed], "beta").await.unwrap(), [Ok(())]);
        let early = store.decide(vec![fire("j", 3, at + minutes(60))], "beta").await.unwrap();
        assert_eq!(early, [Err(FireRefused::Early)]);
        let fires = store.fires("j", None, 10).await.unwrap();
        let words: Vec<_> = fires.iter().map(|fire| (fire.nominal, fire.by.as_str(), fire.missed_more)).collect();
        assert_eq!(words, [(at + minutes(3), "beta", 0), (at + minutes(2), "beta", 0), (at + minutes(1), "beta", 4), (at, "alpha", 0)]);
        assert_eq!(fires[0].outcome, FireOutcome::Skipped { reason: "window".into() });
        assert!(fires[3].late >= Span::seconds(180));
        assert_eq!(store.fires("j", Some(at + minutes(2)), 1).await.unwrap()[0].nominal, at + minutes(1));
        let runs = store.runs(&Filter { scheduled_only: true, ..Filter::default() }).await.unwrap();
        assert_eq!(runs.len(), 1);
        assert_eq!((runs[0].run.scheduled_for, runs[0].state), (Some(at), RunState::Queued));
        assert_eq!(fires[3].outcome, FireOutcome::Fired { run: runs[0].run.id.clone() });
        assert_eq!(world.worker("host").await.claims(5).await, ["j"]);
    }

    async fn of_many_deciders_one_fires_each_instant(world) {
        let store = &world.store;
        let at = now(store).await - minutes(30);
        let jobs: Vec<String> = (0..10).map(|n| format!("job {n}")).collect();
        store.apply_schedules(jobs.iter().map(|job| definition(job, at)).collect(), "ada").await.unwrap();
        let mut deciders = Vec::new();
        for _ in 0..4 {
            deciders.push(world.another().await);
        }
        let written = join_all(deciders.iter().map(|decider| async move {
            let mut written = 0;
            loop {
                let (_, due) = decider.due_schedules(Span(0), 7).await.unwrap();
                if due.is_empty() {
                    return written;
                }
                let decisions: Vec<_> = due
                    .iter()
                    .map(|row| {
                        let nominal = rota_store::date(row.cursor.next.unwrap());
                        let next = (nominal < at + minutes(9)).then_some(nominal + minutes(1));
                        Decision { next, ..fire(&row.job, row.cursor.version, nominal) }
                    })
                    .collect();
                let answers = decider.decide(decisions, "host").await.unwrap();
                written += answers.iter().filter(|answer| answer.is_ok()).count();
            }
        }))
        .await;
        assert_eq!(written.iter().sum::<usize>(), 100, "{written:?}");
        let runs = store.runs(&Filter { limit: 1000, ..Filter::default() }).await.unwrap();
        assert_eq!(runs.len(), 100);
        let mut instants: Vec<_> = runs.iter().map(|row| (row.run.job.clone(), row.run.scheduled_for)).collect();
        instants.sort();
        instants.dedup();
        assert_eq!(instants.len(), 100, "none twice");
        for job in &jobs {
            assert_eq!(store.fires(job, None, 100).await.unwrap().len(), 10);
        }
    }

    async fn several_instants_of_a_job_are_decided_about_at_once(world) {
        let store = &world.store;
        let at = now(store).await - minutes(10);
        store.apply_schedules(vec![definition("a", at), definition("b", at)], "ada").await.unwrap();
        let read = store.schedule("a").await.unwrap().cursor.version;
        let mut all: Vec<_> = (0..5).map(|n| fire("a", read + n, at + minutes(i32::try_from(n).unwrap().into()))).collect();
        all.extend((0..3).map(|n| fire("b", read + n, at + minutes(i32::try_from(n).unwrap().into()))));
        assert_eq!(store.decide(all, "host").await.unwrap(), vec![Ok(()); 8]);
        for (job, count) in [("a", 5), ("b", 3)] {
            let row = store.schedule(job).await.unwrap();
            let cursor = &row.cursor;
            assert_eq!(cursor.version, read + count, "{job}: the last of them counts");
            assert_eq!(cursor.next.map(rota_store::date), Some(at + minutes(count)), "{job}");
            assert_eq!(row.fire_at, Some(at + minutes(count)), "{job}");
        }
        assert_eq!(store.decide(vec![fire("a", read + 5, at + minutes(5))], "host").await.unwrap(), vec![Ok(())]);
    }

    async fn a_cursor_is_not_put_back(world) {
        let store = &world.store;
        let at = now(store).await - minutes(10);
        store.apply_schedules(vec![definition("a", at)], "ada").await.unwrap();
        let read = store.schedule("a").await.unwrap().cursor.version;
        assert_eq!(store.decide(vec![fire("a", read, at)], "host").await.unwrap(), vec![Ok(())]);
        assert!(matches!(store.reschedule("a", read + 1, Some(at), Some(at)).await, Err(StoreError::Misfit(_))));
    }

    async fn a_run_may_take_the_place_of_those_before(world) {
        let store = &world.store;
        let at = now(store).await - minutes(1);
        store.apply_schedules(vec![definition("j", at)], "ada").await.unwrap();
        let worker = world.worker("host").await;
        let running = worker.begin(of_job("j")).await.unwrap();
        let queued = of_job("j");
        store.enqueue(vec![queued.clone()]).await.unwrap();
        let over = worker.begin(of_job("j")).await.unwrap();
        over.succeed().await;
        let decision = Decision {
            outcome: DecisionOutcome::FireAndCancel {
                run: scheduled("j", at),
                cancel: vec![running.id.clone(), queued.id.clone(), over.id.clone(), "nobody".into()],
                terminate: true,
            },
            ..fire("j", 1, at)
        };
        assert_eq!(store.decide(vec![decision], "alpha").await.unwrap(), [Ok(())]);
        assert!(store.run(&running.id).await.unwrap().cancel.unwrap().terminate);
        assert_eq!(world.state(&queued.id).await, RunState::Cancelled);
        assert_eq!(world.state(&over.id).await, RunState::Succeeded);
        assert_eq!(store.schedule_load("j").await.unwrap().active.len(), 2);
    }

    async fn a_buffered_decision_waits_for_the_one_before(world) {
        let store = &world.store;
        let at = now(store).await - minutes(1);
        store.apply_schedules(vec![definition("nightly", at)], "ada").await.unwrap();
        let worker = world.worker("host").await;
        let before = worker.begin(with_key("before", "job:nightly", 1)).await.unwrap();
        let buffered = NewRun { hold: Some(rota_protocol::WaitReason::Concurrency), ..with_key("buffered", "job:nightly", 1) };
        let decision = Decision { outcome: DecisionOutcome::Buffer(Box::new(buffered)), ..fire("nightly", 1, at) };
        assert_eq!(store.decide(vec![decision], "alpha").await.unwrap(), [Ok(())]);
        assert_eq!(store.schedule_load("nightly").await.unwrap().buffered.len(), 1);
        assert!(worker.claims(1).await.is_empty());
        before.succeed().await;
        assert_eq!(worker.claims(1).await, ["buffered"]);
    }

    async fn a_schedule_is_repaired_only_as_it_was_read(world) {
        let store = &world.store;
        let at = now(store).await - minutes(1);
        store.apply_schedules(vec![definition("j", at)], "ada").await.unwrap();
        store.reschedule("j", 1, Some(at + minutes(3)), Some(at + minutes(4))).await.unwrap();
        let row = store.schedule("j").await.unwrap();
        assert_eq!((row.cursor.version, row.fire_at), (2, Some(at + minutes(4))));
        assert!(matches!(store.reschedule("j", 1, None, None).await, Err(StoreError::Stale(_))));
        assert!(matches!(store.reschedule("nobody", 1, None, None).await, Err(StoreError::NoSchedule(_))));
        store.reschedule("j", 2, Some(at), None).await.unwrap();
        store.decide(vec![fire("j", 3, at)], "alpha").await.unwrap();
        let back = store.reschedule("j", 4, Some(at), None).await;
        assert!(matches!(back, Err(StoreError::Misfit(_))), "an instant is decided about once: {back:?}");
        // A configuration that names it again does not fire it again.
        let changed = ScheduleDefinition { hash: "2".into(), ..definition("j", at) };
        store.apply_schedules(vec![changed], "ada").await.unwrap();
        assert_eq!(store.decide(vec![fire("j", 5, at)], "alpha").await.unwrap(), [Err(FireRefused::NotNext)]);
    }

    async fn failures_in_a_row_are_counted(world) {
        let store = &world.store;
        store.apply_schedules(vec![definition("j", now(store).await)], "ada").await.unwrap();
        assert_eq!(store.count_failure("j", true).await.unwrap(), 1);
        assert_eq!(store.count_failure("j", true).await.unwrap(), 2);
        assert_eq!(store.schedule("j").await.unwrap().failures, 2);
        assert_eq!(store.count_failure("j", false).await.unwrap(), 0);
        assert!(store.count_failure("nobody", true).await.is_err());
    }
}
