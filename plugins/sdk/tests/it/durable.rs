//! A procedure with steps, sleep and undo, against the mock host.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rota_sdk::mock::*;
use rota_sdk::prelude::*;
use rota_sdk::storage::PutOptions;
use rota_sdk::{EffectOutcome, HostError, RecordedEffect};
use std::time::Duration;

procedure! {
    name: "archive-orders",
    summary: "Archives the orders.",
    description: "Archives the orders, once.",
    risk: change,
    idempotent: true,
    slots: {
        database: sql [read, write] "Moves the orders.",
        bucket: storage [read, write, delete] "Keeps a mark.",
    },
    parameters: Parameters,
    report: Data,
    undo: Mark => remove_mark,
    run
}

/// How.
#[parameters]
pub struct Parameters {
    /// Doing the step again is harmless.
    #[parameter(default)]
    repeatable: bool,
    /// Look first at what is in doubt.
    #[parameter(default)]
    look: bool,
    /// Keep the mark.
    #[parameter(default)]
    keep: bool,
}

/// What was done.
#[data]
pub struct Data {
    /// Rows archived.
    rows: u64,
}

/// What is removed when the run does not succeed.
#[data]
pub struct Mark {
    /// The object.
    object: String,
}

async fn run(cx: Context, parameters: Parameters) -> Outcome<Data> {
    let mut session = cx.database().open().await?;
    let bucket = cx.bucket().open().await?;
    let mark = cx.undo("mark", &Mark { object: "mark.txt".to_owned() }).await?;
    bucket.put("mark.txt", "under way".to_owned(), PutOptions::replace()).await?;
    cx.sleep(Duration::from_micros(1500)).await?;
    let rows = if parameters.look {
        match Step::begin("archive").await? {
            Step::Done(rows) => rows,
            Step::Fresh(step) => {
                let rows = session.execute("delete from orders", params![]).await?;
                step.complete(rows).await?
            }
            Step::InDoubt(doubt) if doubt.effects().is_empty() => doubt.redo().complete(0).await?,
            Step::InDoubt(doubt) => doubt.complete(7).await?,
        }
    } else {
        let step = cx.step("archive", async || session.execute("delete from orders", params![]).await);
        if parameters.repeatable { step.repeatable().await? } else { step.await? }
    };
    let note = cx.step("note", async || Ok(format!("{rows} rows"))).await?;
    if parameters.keep {
        mark.dismiss().await?;
    }
    let mut report = Report::new();
    report.summary(note);
    Ok(report.data(Data { rows }))
}

async fn remove_mark(cx: Context, undo: Undo<Mark>) -> Result<()> {
    assert_eq!(undo.name, "mark");
    let bucket = cx.bucket().open().await?;
    cx.step("remove", async || bucket.delete(&undo.state.object).await).repeatable().await
}

fn host() -> MockHost {
    let host = MockHost::new();
    host.sql("database").on_execute("delete from orders", 3);
    host.storage("bucket");
    host
}

fn statements(host: &MockHost) -> usize {
    host.sql("database").statements().len()
}

#[test]
fn a_step_is_done_once_and_its_result_is_kept() {
    let host = host();
    let report = host.run::<Plugin>(json!({})).unwrap();
    assert_eq!((report.data["rows"].as_u64(), report.summary.as_str()), (Some(3), "3 rows"));
    assert_eq!(host.steps(), [("archive".to_owned(), Some(json!(3))), ("note".to_owned(), Some(json!("3 rows")))]);
    host.sql("database").on_execute("delete from orders", 99);
    let again = host.retry::<Plugin>(json!({})).unwrap();
    assert_eq!((again.data["rows"].as_u64(), statements(&host)), (Some(3), 1), "the second attempt does nothing again");
    // Another run is another matter.
    assert_eq!(host.run::<Plugin>(json!({})).unwrap().data["rows"], 99);
}

#[test]
fn a_completed_step_of_an_earlier_attempt_answers() {
    let host = host();
    host.step_done("archive", json!(41));
    assert_eq!(host.run::<Plugin>(json!({})).unwrap().data["rows"], 41);
    assert_eq!(statements(&host), 0);
}

#[test]
fn a_result_that_is_not_readable_any_more_is_told() {
    let host = host();
    host.step_done("archive", json!("many"));
    let failed = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(failed.message.contains("`archive`") && failed.message.contains("cannot read"), "{}", failed.message);
}

fn seen(outcome: EffectOutcome) -> RecordedEffect {
    RecordedEffect {
        operation: "sql.execute".to_owned(),
        target: "kosmos: public.orders".to_owned(),
        detail: "delete from orders".to_owned(),
        outcome,
    }
}

#[test]
fn a_step_in_doubt_is_a_conflict_that_says_what_is_on_record_and_what_to_do() {
    let host = host();
    host.step_in_doubt("archive", vec![seen(EffectOutcome::Unknown)]);
    let failed = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(matches!(failed.cause, Some(HostError::Conflict(_))), "{:?}", failed.cause);
    assert!(failed.message.contains("sql.execute kosmos: public.orders (unknown)"), "{}", failed.message);
    assert!(failed.hint.as_ref().is_some_and(|hint| hint.contains(".repeatable()")), "{:?}", failed.hint);
    assert_eq!(statements(&host), 0);
}

#[test]
fn many_effects_are_counted() {
    let host = host();
    host.step_in_doubt("archive", vec![seen(EffectOutcome::Done("1".to_owned())); 8]);
    let failed = host.run::<Plugin>(json!({})).unwrap_err();
    assert!(failed.message.ends_with("(done), and 3 before"), "{}", failed.message);
}

#[test]
fn what_is_repeatable_is_done_again() {
    let host = host();
    host.step_in_doubt("archive", Vec::new());
    assert_eq!(host.run::<Plugin>(json!({ "repeatable": true })).unwrap().data["rows"], 3);
}

#[test]
fn whoever_looks_decides() {
    for (effects, rows) in [(vec![seen(EffectOutcome::Unknown)], 7), (Vec::new(), 0)] {
        let host = host();
        host.step_in_doubt("archive", effects);
        assert_eq!(host.run::<Plugin>(json!({ "look": true })).unwrap().data["rows"], rows);
        assert_eq!(statements(&host), 0);
    }
}

#[test]
fn a_step_that_fails_is_in_doubt_in_the_next_attempt() {
    let host = host();
    host.sql("database").fails_execute("delete from orders", failed("40P01", "deadlock detected"));
    host.run::<Plugin>(json!({})).unwrap_err();
    assert_eq!(host.steps(), [("archive".to_owned(), None)]);
    host.sql("database").on_execute("delete from orders", 5);
    let failed = host.retry::<Plugin>(json!({})).unwrap_err();
    assert!(failed.message.contains("sql.execute database (unknown)"), "{}", failed.message);
    assert_eq!(host.retry::<Plugin>(json!({ "repeatable": true })).unwrap().data["rows"], 5);
}

#[test]
fn undo_is_registered_before_the_effect_and_carried_out() {
    let host = host();
    host.sql("database").fails_execute("delete from orders", failed("40P01", "deadlock detected"));
    host.run::<Plugin>(json!({})).unwrap_err();
    let registered =
        MockCompensation { name: "mark".to_owned(), state: json!({ "object": "mark.txt" }), dismissed: false };
    assert_eq!(host.compensations(), [registered]);
    assert_eq!(host.storage("bucket").names(), ["mark.txt"]);
    host.undo::<Plugin>().unwrap();
    assert_eq!(host.storage("bucket").names(), Vec::<String>::new());
    assert!(host.steps().iter().any(|(name, _)| name == "undo mark: remove"), "its steps are its own");
    // It is harmless to repeat.
    host.undo::<Plugin>().unwrap();
}

#[test]
fn a_dismissed_compensation_is_not_carried_out() {
    let host = host();
    host.run::<Plugin>(json!({ "keep": true })).unwrap();
    assert!(host.compensations()[0].dismissed);
    host.undo::<Plugin>().unwrap();
    assert_eq!(host.storage("bucket").names(), ["mark.txt"]);
}

#[test]
fn a_state_of_another_version_is_told() {
    let failed = host().compensate::<Plugin>("mark", json!({ "objects": [] })).unwrap_err();
    assert!(failed.message.contains("the state of `mark`"), "{}", failed.message);
}

#[test]
fn a_plan_lists_the_compensation_and_registers_nothing() {
    let host = host().plan();
    host.run::<Plugin>(json!({})).unwrap();
    let listed: Vec<_> = host.effects().into_iter().map(|effect| (effect.operation, effect.planned)).collect();
    assert_eq!(listed, [("run.compensation", true), ("storage.put", true), ("sql.execute", true)]);
    assert_eq!(host.compensations(), []);
}

#[test]
fn sleeping_takes_time() {
    let host = host();
    host.run::<Plugin>(json!({})).unwrap();
    // 1.5 ms are two whole ones; nothing else lets the mock's time pass.
    host.set_now(Timestamp(0));
    host.run::<Plugin>(json!({})).unwrap();
    assert_eq!(host.now(), Timestamp(2_000));
}
