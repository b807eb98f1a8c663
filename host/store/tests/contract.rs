//! What every engine must do, over `dyn Store`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use futures::future::join_all;
use rota_authority::{EffectRecord, Outcome};
use rota_store::{ArtifactRow, Filter, NewRun, RunEnd, RunStatus, Store, StoreError};
use std::sync::Arc;
use support::{effect, end, line, run, state};
use tempfile::TempDir;

/// Each engine in turn. PostgreSQL joins here.
async fn engines() -> Vec<(TempDir, Arc<dyn Store>)> {
    let (outer, path) = state();
    vec![(outer, support::store(&path).await)]
}

/// A run that has begun.
async fn begun(store: &Arc<dyn Store>, plugin: &str) -> String {
    let run = run(plugin);
    let id = run.id.clone();
    store.begin_run(run).await.unwrap();
    id
}

#[tokio::test]
async fn a_run_is_kept_as_it_was_given() {
    for (_state, store) in engines().await {
        let given = NewRun {
            scheduled_for: chrono::DateTime::from_timestamp_micros(1_700_000_000_123_456),
            ..run("postgres-health")
        };
        let id = given.id.clone();
        store.begin_run(given.clone()).await.unwrap();
        let kept = store.run(&id).await.unwrap();
        assert_eq!((kept.status, kept.finished_at, kept.report.as_deref()), (RunStatus::Running, None, None));
        assert_eq!(format!("{:?}", kept.run), format!("{given:?}"));
        let over = RunEnd {
            status: RunStatus::Failed,
            report: Some("{}".into()),
            error: Some(r#"{"kind":"failed"}"#.into()),
            dropped_log_lines: 7,
        };
        store.end_run(&id, over).await.unwrap();
        let kept = store.run(&id).await.unwrap();
        assert_eq!((kept.status, kept.dropped_log_lines, kept.report.as_deref()), (RunStatus::Failed, 7, Some("{}")));
        assert_eq!(kept.error.as_deref(), Some(r#"{"kind":"failed"}"#));
        assert!(kept.finished_at.unwrap() >= kept.started_at);
    }
}

#[tokio::test]
async fn a_run_ends_once_and_only_when_it_began() {
    for (_state, store) in engines().await {
        let id = begun(&store, "p").await;
        store.end_run(&id, end(RunStatus::Succeeded)).await.unwrap();
        assert!(matches!(store.end_run(&id, end(RunStatus::Failed)).await, Err(StoreError::Transition(_))));
        assert_eq!(store.run(&id).await.unwrap().status, RunStatus::Succeeded);
        assert!(matches!(store.end_run("nobody", end(RunStatus::Failed)).await, Err(StoreError::NotFound(_))));
        let again = NewRun { id: id.clone(), ..run("other") };
        assert!(store.begin_run(again).await.is_err(), "an id is used once");
        assert_eq!(store.run(&id).await.unwrap().run.plugin, "p");
    }
}

#[tokio::test]
async fn effects_are_numbered_in_order_without_gaps() {
    for (_state, store) in engines().await {
        let id = begun(&store, "p").await;
        let ledger = store.ledger(&id);
        for number in 1..=3 {
            assert_eq!(ledger.begin(effect(&format!("statement {number}"))).await.unwrap(), number);
        }
        let many = join_all((0..60).map(|n| ledger.begin(effect(&format!("at once {n}"))))).await;
        let mut numbers: Vec<u64> = many.into_iter().map(Result::unwrap).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (4..=63).collect::<Vec<_>>());
        let kept = store.effects(&id).await.unwrap();
        assert_eq!(kept.iter().map(|e| e.sequence).collect::<Vec<_>>(), (1..=63).collect::<Vec<_>>());
        let first = &kept[0];
        assert_eq!(
            (first.capability.as_str(), first.operation.as_str(), first.access.as_str(), first.class.as_str()),
            ("sql", "sql.execute", "maintain", "write")
        );
        assert_eq!(
            (first.target.as_str(), first.detail.as_str(), first.planned, first.outcome.as_str()),
            ("kosmos: public.orders", "statement 1", false, "running")
        );
        assert_eq!(first.finished_at, None);
        let other = begun(&store, "p").await;
        assert_eq!(store.ledger(&other).begin(effect("x")).await.unwrap(), 1, "each run counts for itself");
    }
}

#[tokio::test]
async fn outcomes_are_kept_and_the_first_one_counts() {
    for (_state, store) in engines().await {
        let id = begun(&store, "p").await;
        let ledger = store.ledger(&id);
        for detail in ["done", "failed", "interrupted", "open"] {
            ledger.begin(effect(detail)).await.unwrap();
        }
        ledger.begin(EffectRecord { planned: true, ..effect("planned") }).await.unwrap();
        ledger.finish(1, Outcome::Done("3 rows".into())).await.unwrap();
        ledger.interrupted(1);
        ledger.finish(2, Outcome::Failed("55P03: locked".into())).await.unwrap();
        ledger.interrupted(3);
        store.flush().await.unwrap();
        ledger.finish(3, Outcome::Done("too late".into())).await.unwrap();
        assert!(ledger.finish(99, Outcome::Interrupted).await.is_err(), "no such effect");
        let words = |effects: Vec<rota_store::EffectRow>| {
            effects.into_iter().map(|e| (e.outcome, e.said, e.finished_at.is_some())).collect::<Vec<_>>()
        };
        let kept = words(store.effects(&id).await.unwrap());
        let word = |word: &str, said: Option<&str>, ended| (word.to_owned(), said.map(str::to_owned), ended);
        let mut expected = vec![
            word("done", Some("3 rows"), true),
            word("failed", Some("55P03: locked"), true),
            word("interrupted", None, true),
            word("running", None, false),
            word("planned", None, true),
        ];
        assert_eq!(kept, expected);
        // What is under way when the run ends was dropped with it.
        store.end_run(&id, end(RunStatus::TimedOut)).await.unwrap();
        expected[3] = word("interrupted", None, true);
        assert_eq!(words(store.effects(&id).await.unwrap()), expected);
    }
}

#[tokio::test]
async fn a_run_that_is_over_or_unknown_has_no_effects() {
    for (_state, store) in engines().await {
        let id = begun(&store, "p").await;
        let ledger = store.ledger(&id);
        store.end_run(&id, end(RunStatus::Cancelled)).await.unwrap();
        let refusal = ledger.begin(effect("after the end")).await.unwrap_err().to_string();
        assert!(refusal.contains("cancelled") && refusal.contains("not performed"), "{refusal}");
        assert!(store.ledger("nobody").begin(effect("x")).await.is_err());
        assert!(store.effects(&id).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_begin_that_is_dropped_leaves_nothing_open() {
    for (_state, store) in engines().await {
        let id = begun(&store, "p").await;
        let ledger = store.ledger(&id);
        for n in 0..50 {
            let began = ledger.begin(effect(&format!("{n}")));
            tokio::select! { biased; _ = began => {}, () = std::future::ready(()) => {} }
        }
        store.end_run(&id, end(RunStatus::Cancelled)).await.unwrap();
        let open: Vec<_> = store.effects(&id).await.unwrap().into_iter().filter(|e| e.outcome == "running").collect();
        assert!(open.is_empty(), "{open:?}");
    }
}

#[tokio::test]
async fn log_lines_are_kept_all_of_them_in_order() {
    for (_state, store) in engines().await {
        let (id, other) = (begun(&store, "p").await, begun(&store, "p").await);
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
}

#[tokio::test]
async fn lists_are_newest_first_filtered_and_paged() {
    for (_state, store) in engines().await {
        let mut ids = Vec::new();
        for n in 0..25 {
            let id = begun(&store, if n % 5 == 0 { "postgres-backup" } else { "postgres-health" }).await;
            if n % 2 == 0 {
                store.end_run(&id, end(RunStatus::Succeeded)).await.unwrap();
            }
            ids.push(id);
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
        assert_eq!(count(Filter { status: Some(RunStatus::Succeeded), ..Filter::default() }).await, 13);
        assert_eq!(
            count(Filter {
                status: Some(RunStatus::Running),
                plugin: Some("postgres-backup".into()),
                ..Filter::default()
            })
            .await,
            2
        );
        assert_eq!(count(Filter { job: Some("nightly".into()), ..Filter::default() }).await, 25);
        assert_eq!(count(Filter { job: Some("'; drop table runs; --".into()), ..Filter::default() }).await, 0);
        let since = store.run(&ids[4]).await.unwrap().started_at;
        assert_eq!(count(Filter { since: Some(since), ..Filter::default() }).await, 5);
    }
}

#[tokio::test]
async fn a_run_is_found_by_id_by_part_and_as_the_last() {
    for (_state, store) in engines().await {
        assert!(matches!(store.run("last").await, Err(StoreError::NotFound(_))));
        let (first, last) = (begun(&store, "p").await, begun(&store, "p").await);
        assert_eq!(store.run("last").await.unwrap().run.id, last);
        assert_eq!(store.run(&first).await.unwrap().run.id, first);
        assert_eq!(store.run(&first[first.len() - 10..].to_uppercase()).await.unwrap().run.id, first);
        let Err(StoreError::Ambiguous { candidates, .. }) = store.run(&first[..8]).await else {
            panic!("both began in the same minute")
        };
        assert_eq!(candidates.len(), 2);
        for nothing in ["", "0", "%", "____", "zzzz", "' or 1=1 --"] {
            assert!(matches!(store.run(nothing).await, Err(StoreError::NotFound(_))), "{nothing:?}");
        }
    }
}

#[tokio::test]
async fn artifacts_are_listed_and_replaced_by_name() {
    for (_state, store) in engines().await {
        let id = begun(&store, "p").await;
        let artifact = |name: &str, size| ArtifactRow {
            name: name.into(),
            media_type: "text/plain".into(),
            size,
            sha256: "00".into(),
        };
        for (name, size) in [("b.txt", 1), ("a.txt", 2), ("b.txt", 3)] {
            store.add_artifact(&id, artifact(name, size)).await.unwrap();
        }
        assert_eq!(store.artifacts(&id).await.unwrap(), [artifact("a.txt", 2), artifact("b.txt", 3)]);
        assert!(store.add_artifact("nobody", artifact("x", 1)).await.is_err(), "an artifact belongs to a run");
    }
}

#[tokio::test]
async fn one_bad_write_does_not_spoil_those_committed_with_it() {
    for (_state, store) in engines().await {
        let id = begun(&store, "p").await;
        let ledger = store.ledger(&id);
        let nobody = store.ledger("nobody");
        let (good, bad, again) =
            tokio::join!(ledger.begin(effect("good")), nobody.begin(effect("bad")), ledger.begin(effect("good")));
        assert!(bad.is_err());
        assert_eq!((good.unwrap(), again.unwrap()), (1, 2));
        let twice = NewRun { id: id.clone(), ..run("p") };
        let (good, bad, again) =
            tokio::join!(ledger.begin(effect("good")), store.begin_run(twice), ledger.begin(effect("good")));
        assert!(matches!(bad, Err(StoreError::Misfit(_))), "{bad:?}");
        assert_eq!((good.unwrap(), again.unwrap()), (3, 4));
        assert_eq!(store.effects(&id).await.unwrap().len(), 4);
    }
}
