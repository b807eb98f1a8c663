//! Contract: effects, logs, artifacts, lists.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support;

use futures::future::join_all;
use rota_authority::{EffectRecord, Outcome};
use rota_protocol::{AttemptEnd, End};
use rota_store::{ArtifactRow, EffectRow, Filter, NewRun, RunState, StoreError};
use std::collections::BTreeMap;
use support::{Held, World, contract, effect, line, record, run};

fn words(effects: Vec<EffectRow>) -> Vec<(String, Option<String>, bool)> {
    effects.into_iter().map(|e| (e.outcome, e.said, e.finished_at.is_some())).collect()
}

fn word(word: &str, said: Option<&str>, ended: bool) -> (String, Option<String>, bool) {
    (word.to_owned(), said.map(str::to_owned), ended)
}

contract! {
    async fn effects_are_numbered_in_order_without_gaps(world) {
        let held = world.begun(run("p")).await;
        let ledger = world.store.ledger(&held.id, &held.fence);
        for number in 1..=3 {
            assert_eq!(ledger.begin(effect(&format!("statement {number}"))).await.unwrap(), number);
        }
        let many = join_all((0..60).map(|n| ledger.begin(effect(&format!("at once {n}"))))).await;
        let mut numbers: Vec<u64> = many.into_iter().map(Result::unwrap).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (4..=63).collect::<Vec<_>>());
        let kept = world.store.effects(&held.id).await.unwrap();
        assert_eq!(kept.iter().map(|e| e.sequence).collect::<Vec<_>>(), (1..=63).collect::<Vec<_>>());
        let first = &kept[0];
        assert_eq!(
            (first.capability.as_str(), first.operation.as_str(), first.access.as_str(), first.class.as_str()),
            ("sql", "sql.execute", "maintain", "write")
        );
        assert_eq!(
            (first.target.as_str(), first.detail.as_str(), first.planned, first.outcome.as_str(), first.lease),
            ("kosmos: public.orders", "statement 1", false, "running", 1)
        );
        assert_eq!(first.finished_at, None);
        let other = world.begun(run("p")).await;
        assert_eq!(other.effect("x").await.unwrap(), 1, "each run counts for itself");
    }

    async fn outcomes_are_kept_and_the_first_one_counts(world) {
        let held = world.begun(run("p")).await;
        let ledger = world.store.ledger(&held.id, &held.fence);
        for detail in ["done", "failed", "interrupted", "open"] {
            ledger.begin(effect(detail)).await.unwrap();
        }
        ledger.begin(EffectRecord { planned: true, ..effect("planned") }).await.unwrap();
        ledger.finish(1, Outcome::Done("3 rows".into())).await.unwrap();
        ledger.interrupted(1);
        ledger.finish(2, Outcome::Failed("55P03: locked".into())).await.unwrap();
        ledger.interrupted(3);
        world.store.flush().await.unwrap();
        ledger.finish(3, Outcome::Done("too late".into())).await.unwrap();
        assert!(ledger.finish(99, Outcome::Interrupted).await.is_err(), "no such effect");
        let mut expected = vec![
            word("done", Some("3 rows"), true),
            word("failed", Some("55P03: locked"), true),
            word("interrupted", None, true),
            word("running", None, false),
            word("planned", None, true),
        ];
        assert_eq!(words(world.store.effects(&held.id).await.unwrap()), expected);
        // What is under way when the attempt ends was dropped with it.
        held.end(record(AttemptEnd::TimedOut, End::TimedOut)).await.unwrap();
        expected[3] = word("interrupted", None, true);
        assert_eq!(words(world.store.effects(&held.id).await.unwrap()), expected);
    }

    async fn a_run_that_is_over_or_unknown_has_no_effects(world) {
        let held = world.begun(run("p")).await;
        held.end(record(AttemptEnd::Cancelled, End::Cancelled)).await.unwrap();
        let refusal = held.effect("after the end").await.unwrap_err().to_string();
        assert!(refusal.contains("not under way") && refusal.contains("not performed"), "{refusal}");
        assert!(world.store.ledger("nobody", &held.fence).begin(effect("x")).await.is_err());
        assert!(world.store.effects(&held.id).await.unwrap().is_empty());
        assert_eq!(world.store.status().await.unwrap().refused_writes, 1);
    }

    async fn a_begin_that_is_dropped_leaves_nothing_open(world) {
        let held = world.begun(run("p")).await;
        let ledger = world.store.ledger(&held.id, &held.fence);
        for n in 0..50 {
            let began = ledger.begin(effect(&format!("{n}")));
            tokio::select! { biased; _ = began => {}, () = std::future::ready(()) => {} }
        }
        held.end(record(AttemptEnd::Cancelled, End::Cancelled)).await.unwrap();
        let open: Vec<_> =
            world.store.effects(&held.id).await.unwrap().into_iter().filter(|e| e.outcome == "running").collect();
        assert!(open.is_empty(), "{open:?}");
    }

    async fn log_lines_are_kept_all_of_them_in_order(world) {
        let store = &world.store;
        let (id, other) = (world.begun(run("p")).await.id, world.begun(run("p")).await.id);
        for n in 0..3_000 {
            assert!(store.log(&id, line(&format!("line {n}"))));
            if n % 3 == 0 {
                assert!(store.log(&other, line("of another run")));
            }
        }
        store.log("nobody", line("of no run"));
        let all = store.logs(&id, 0, 10_000).await.unwrap();
        assert_eq!(all.len(), 3_000);
        assert!(
            all.iter()
                .enumerate()
                .all(|(n, row)| row.sequence == n as u64 + 1 && row.line.message == format!("line {n}"))
        );
        assert_eq!(all[0].line.fields, [("rows".to_owned(), "3".to_owned())]);
        let part = store.logs(&id, 2_990, 4).await.unwrap();
        assert_eq!(part.iter().map(|row| row.sequence).collect::<Vec<_>>(), [2_991, 2_992, 2_993, 2_994]);
        assert_eq!(store.logs(&other, 0, 10_000).await.unwrap().len(), 1_000);
    }

    async fn texts_of_every_kind_are_kept(world) {
        let held = world.begun(run("p")).await;
        let text = "tab\t newline\n \u{1f980} \\u0000 \"quoted\" 'single' \u{1} %s $1 @now";
        held.effect(text).await.unwrap();
        world.store.log(&held.id, line(text));
        world.store.log(&held.id, line("nul \0 nul"));
        assert_eq!(world.store.effects(&held.id).await.unwrap()[0].detail, text);
        let lines = world.store.logs(&held.id, 0, 10).await.unwrap();
        assert_eq!(lines[0].line.message, text);
        assert_eq!(lines[1].line.message, "nul \u{fffd} nul", "no engine keeps NUL");
        held.effect("a \0 b").await.unwrap();
        assert_eq!(world.store.effects(&held.id).await.unwrap()[1].detail, "a \u{fffd} b");
    }

    async fn lists_are_newest_first_filtered_and_paged(world) {
        let store = &world.store;
        let worker = world.worker("host").await;
        let mut ids = Vec::new();
        for n in 0..25 {
            let plugin = if n % 5 == 0 { "postgres-backup" } else { "postgres-health" };
            let labels = BTreeMap::from([("n".to_owned(), n.to_string()), ("even".to_owned(), (n % 2 == 0).to_string())]);
            let held = worker.begin(NewRun { labels, ..run(plugin) }).await.unwrap();
            if n % 2 == 0 {
                held.succeed().await;
            }
            ids.push(held.id);
        }
        ids.reverse();
        let mut paged = Vec::new();
        loop {
            let page =
                store.runs(&Filter { limit: 10, before: paged.last().cloned(), ..Filter::default() }).await.unwrap();
            if page.is_empty() {
                break;
            }
            assert!(page.len() <= 10);
            paged.extend(page.into_iter().map(|row| row.run.id));
        }
        assert_eq!(paged, ids, "every run once, the newest first");
        let count = async |filter: Filter| store.runs(&Filter { limit: 100, ..filter }).await.unwrap().len();
        assert_eq!(count(Filter { plugin: Some("postgres-backup".into()), ..Filter::default() }).await, 5);
        assert_eq!(count(Filter { states: vec![RunState::Succeeded], ..Filter::default() }).await, 13);
        assert_eq!(count(Filter { states: vec![RunState::Queued, RunState::Running], ..Filter::default() }).await, 12);
        assert_eq!(count(Filter { states: vec![RunState::Running, RunState::Succeeded], ..Filter::default() }).await, 25);
        let running_backups =
            Filter { states: vec![RunState::Running], plugin: Some("postgres-backup".into()), ..Filter::default() };
        assert_eq!(count(running_backups).await, 2);
        assert_eq!(count(Filter { job: Some("nightly".into()), ..Filter::default() }).await, 25);
        assert_eq!(count(Filter { job: Some("'; drop table runs; --".into()), ..Filter::default() }).await, 0);
        let label = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        assert_eq!(count(Filter { labels: label("even", "true"), ..Filter::default() }).await, 13);
        assert_eq!(count(Filter { labels: label("n", "7"), ..Filter::default() }).await, 1);
        assert_eq!(count(Filter { labels: label("N", "7"), ..Filter::default() }).await, 0);
        assert_eq!(count(Filter { trigger: Some("schedule".into()), ..Filter::default() }).await, 0);
        assert_eq!(count(Filter { scheduled_only: true, ..Filter::default() }).await, 0);
        let since = store.run(&ids[4]).await.unwrap().created_at;
        assert_eq!(count(Filter { since: Some(since), ..Filter::default() }).await, 5);
        let parent = Filter { parent: Some(ids[3].clone()), ..Filter::default() };
        assert_eq!(count(parent.clone()).await, 0);
        store.enqueue(vec![NewRun { parent: Some(ids[3].clone()), ..run("retried") }]).await.unwrap();
        assert_eq!(count(parent).await, 1);
    }

    async fn a_run_is_found_by_id_by_part_and_as_the_last(world) {
        let store = &world.store;
        assert!(matches!(store.run("last").await, Err(StoreError::NotFound(_))));
        let (first, last) = (world.begun(run("p")).await.id, world.begun(run("p")).await.id);
        assert_eq!(store.run("last").await.unwrap().run.id, last);
        assert_eq!(store.run(&first).await.unwrap().run.id, first);
        assert_eq!(store.run(&first[first.len() - 10..].to_uppercase()).await.unwrap().run.id, first);
        let Err(StoreError::Ambiguous { candidates, .. }) = store.run(&first[..8]).await else {
            panic!("both began in the same minute")
        };
        assert_eq!(candidates.len(), 2);
        for nothing in ["", "0", "%", "____", "zzzz", "' or 1=1 --", "a\0bcde"] {
            assert!(matches!(store.run(nothing).await, Err(StoreError::NotFound(_))), "{nothing:?}");
        }
    }

    async fn artifacts_are_listed_and_replaced_by_name(world) {
        let id = world.begun(run("p")).await.id;
        let artifact = |name: &str, size| ArtifactRow {
            name: name.into(),
            media_type: "text/plain".into(),
            size,
            sha256: "00".into(),
        };
        for (name, size) in [("b.txt", 1), ("a.txt", 2), ("b.txt", 3)] {
            world.store.add_artifact(&id, artifact(name, size)).await.unwrap();
        }
        assert_eq!(world.store.artifacts(&id).await.unwrap(), [artifact("a.txt", 2), artifact("b.txt", 3)]);
        assert!(world.store.add_artifact("nobody", artifact("x", 1)).await.is_err(), "an artifact belongs to a run");
    }

    async fn one_bad_write_does_not_spoil_those_committed_with_it(world) {
        let worker = world.worker("host").await;
        let held = worker.begin(run("p")).await.unwrap();
        let nobody = Held { id: "nobody".into(), store: held.store.clone(), fence: held.fence.clone(), claimed: held.claimed.clone() };
        let (good, bad, again) = tokio::join!(held.effect("good"), nobody.effect("bad"), held.effect("good"));
        assert!(bad.is_err());
        let mut numbers = [good.unwrap(), again.unwrap()];
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2]);
        let twice = NewRun { id: held.id.clone(), ..run("p") };
        let (good, bad, again) = tokio::join!(held.effect("good"), worker.begin(twice), held.effect("good"));
        assert!(matches!(bad.map(|held| held.id), Err(StoreError::Misfit(_))));
        let mut numbers = [good.unwrap(), again.unwrap()];
        numbers.sort_unstable();
        assert_eq!(numbers, [3, 4]);
        assert_eq!(world.store.effects(&held.id).await.unwrap().len(), 4);
    }
}
