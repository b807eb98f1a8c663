//! Steps, compensations and sleep through the sandbox, and everything that is done to them that must not be.

use crate::COMPILED;
use rota_authority::{Mode, Outcome};
use rota_capability::Limits;
use rota_contract::Failure;
use rota_sandbox::{Cancel, Ended, Finished};
use rota_testbed::Postgres;
use rota_tests::{Attempts, InProcess, probe};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn attempts() -> Attempts {
    Attempts::of_probe(COMPILED).await.unwrap()
}

fn quota(answer: &Value, setting: &str, limit: &str) {
    assert_eq!(answer["error"], "quota", "{answer}");
    let text = answer["text"].as_str().unwrap();
    assert!(text.contains(limit) && text.contains(&format!("--limit {setting}=")), "{text}");
}

fn limit<R: std::fmt::Debug>(finished: &Finished<R>, setting: &str) {
    let Ended::Limit(limit) = &finished.ended else { panic!("no limit: {:?}", finished.ended) };
    assert_eq!(limit.setting, setting);
}

fn failed(finished: Finished<()>) -> Failure {
    match finished.ended {
        Ended::Failed(failure) => failure,
        other => panic!("it did not fail: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_step_answers_in_this_attempt_and_the_next() {
    let mut run = attempts().await;
    let step = json!({ "name": "one", "result": r#"{"rows":3}"# });
    assert_eq!(run.call("run.step.complete", step.clone()).await, json!({ "ok": "fresh" }));
    assert_eq!(run.call("run.step.begin", step.clone()).await, json!({ "ok": { "done": r#"{"rows":3}"# } }));
    run.again();
    assert_eq!(run.call("run.step.complete", step).await, json!({ "ok": { "done": r#"{"rows":3}"# } }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_busy_in_its_attempt_and_completed_once() {
    let run = attempts().await;
    let left = json!({ "name": "one", "leave": true });
    assert_eq!(run.call("run.step.complete", left.clone()).await, json!({ "ok": "fresh" }));
    let busy = run.call("run.step.begin", left).await;
    assert_eq!(busy["error"], "conflict", "{busy}");
    assert!(busy["text"].as_str().unwrap().contains("`one`"), "{busy}");
    let twice = run.call("run.step.complete", json!({ "name": "two", "twice": true })).await;
    assert_eq!((&twice["error"], &twice["text"]), (&json!("conflict"), &json!("the step `two` is completed already")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_in_doubt_shows_the_effects_on_record_since_it_was_begun() {
    let server = Postgres::shared().await.unwrap();
    let database = server.fresh_database("doubt").await.unwrap();
    database.execute("create table probe (n int)").await.unwrap();
    let mut run = attempts().await;
    run.database = Some(database.url());
    let before = json!({ "statement": "insert into probe values (1)" });
    assert_eq!(run.call("sql.session.execute", before).await, json!({ "ok": 1 }));
    let step = json!({ "name": "fill", "statement": "insert into probe values (2), (3)", "leave": true });
    assert_eq!(run.call("run.step.complete", step).await, json!({ "ok": "fresh" }));
    run.again();
    let doubt = run.call("run.step.complete", json!({ "name": "fill", "result": "2" })).await;
    let seen = &doubt["ok"]["in-doubt"];
    assert_eq!(seen.as_array().map(Vec::len), Some(1), "only what came after it was begun: {doubt}");
    assert_eq!((&seen[0]["operation"], &seen[0]["target"]), (&json!("sql.execute"), &json!("shop: probe")));
    assert!(seen[0]["detail"].as_str().unwrap().contains("values (2), (3)"), "{doubt}");
    assert!(seen[0]["outcome"].as_str().unwrap().starts_with("done: 2 rows"), "{doubt}");
    run.again();
    assert_eq!(run.call("run.step.begin", json!({ "name": "fill" })).await, json!({ "ok": { "done": "2" } }));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_json_are_checked() {
    let run = attempts().await;
    let names = [String::new(), "x".repeat(201), "a\nb".into(), "a\u{7f}b".into(), "a\u{1b}[31m".into()];
    for name in names {
        for import in ["run.step.begin", "run.compensation.register"] {
            let answer = run.call(import, json!({ "name": name })).await;
            assert_eq!(answer["error"], "invalid-argument", "{import} {name:?}: {answer}");
            assert!(!answer["text"].as_str().unwrap().chars().any(char::is_control), "{answer}");
        }
    }
    assert_eq!(run.call("run.step.begin", json!({ "name": "x".repeat(200) })).await, json!({ "ok": "fresh" }));
    for text in ["", "{", "nothing", "1 2", "{\"a\":}"] {
        let answer = run.call("run.step.complete", json!({ "name": format!("json {text}"), "result": text })).await;
        assert_eq!(answer["error"], "invalid-argument", "{text}: {answer}");
        let answer = run.call("run.compensation.register", json!({ "state": text })).await;
        assert_eq!(answer["error"], "invalid-argument", "{text}: {answer}");
    }
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(run.call("run.step.complete", json!({ "name": "deep", "result": deep })).await["ok"], "fresh");
    assert_eq!(run.kept.compensations(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_without_end_are_a_quota_that_the_guest_sees() {
    let run = attempts().await;
    let data = run.data("steps-without-end", json!({ "count": 1_000_000 })).await;
    assert_eq!((&data["done"], &data["refused"]), (&json!(10_000), &json!(990_000)), "{data}");
    let last = data["last"].as_str().unwrap();
    assert!(last.starts_with("quota: ") && last.contains("10000 steps") && last.contains("--limit steps="), "{last}");
    assert_eq!(run.kept.steps().len(), 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn compensations_without_end_are_a_quota_too() {
    let run = attempts().await;
    let data = run.data("compensations-without-end", json!({ "count": 2_000 })).await;
    assert_eq!((&data["done"], &data["refused"]), (&json!(1_000), &json!(1_000)), "{data}");
    assert!(data["last"].as_str().unwrap().contains("--limit compensations="), "{data}");
}

#[tokio::test(flavor = "multi_thread")]
async fn step_handles_are_handles() {
    let run = attempts().await;
    limit(&run.run("hold-steps", json!({ "count": 5_000 })).await, "handles");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_results_and_states_are_refused_and_leave_things_as_they_were() {
    let mut run = attempts().await;
    let data = run.data("large-result", json!({ "size": (1 << 20) + 1 })).await;
    quota(&data["large"], "step_result_bytes", "1048576 bytes");
    assert_eq!(data["small"], json!({ "ok": null }), "the step is still under way");
    quota(&run.data("large-state", json!({ "size": 1 << 20 })).await, "compensation_state_bytes", "1048576 bytes");
    assert_eq!(run.kept.compensations(), []);
    // One call carries so much and no more: the run is ended, as for any other call.
    limit(&run.run("large-state", json!({ "size": 20 << 20 })).await, "host_call_bytes");
    run.limits = Limits { durable: 4 << 20, ..Limits::default() };
    let data = run.data("large-results", json!({ "size": 1_000_000, "count": 10 })).await;
    assert_eq!(data["kept"], 4, "{data}");
    assert!(data["last"].as_str().unwrap().contains("--limit durable_bytes="), "{data}");
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_that_were_never_given_are_traps() {
    let run = attempts().await;
    for what in ["forged-step", "mistaken-step"] {
        let ended = run.run(what, json!({})).await.ended;
        assert!(matches!(ended, Ended::Trapped(_)), "{what}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_without_the_export_registers_nothing_and_undoes_nothing() {
    for mode in [Mode::Execute, Mode::Plan] {
        let mut run = Attempts::of(probe::BARE, COMPILED).await.unwrap();
        run.mode = mode;
        assert!(!run.plugin.undoable());
        let Ended::Reported(report) = run.run("register", json!({})).await.ended else { panic!("no report") };
        assert!(report.summary.contains("InvalidArgument") && report.summary.contains("compensate"), "{report:?}");
        assert_eq!((run.kept.compensations(), run.ledger.effects().len()), (vec![], 0));
        let ended = run.compensate("bare", json!({})).await.ended;
        assert!(matches!(&ended, Ended::Host(said) if said.contains("`compensate`")), "{ended:?}");
    }
    assert!(attempts().await.plugin.undoable());
}

#[tokio::test(flavor = "multi_thread")]
async fn compensations_are_kept_in_order_and_by_name() {
    let mut run = attempts().await;
    for (name, state) in [("a", "1"), ("b", "2")] {
        let answer = run.call("run.compensation.register", json!({ "name": name, "state": state })).await;
        assert_eq!(answer, json!({ "ok": null }));
    }
    assert_eq!(run.call("run.compensation.dismiss", json!({ "name": "a", "state": "3" })).await, json!({ "ok": null }));
    run.again();
    run.call("run.compensation.register", json!({ "name": "b", "state": "4" })).await;
    let kept: Vec<_> =
        run.kept.compensations().into_iter().map(|c| (c.sequence, c.name, c.state, c.dismissed)).collect();
    assert_eq!(kept, [(1, "a".into(), "3".into(), true), (2, "b".into(), "4".into(), false)]);
    assert_eq!(run.ledger.effects(), [], "a registration is no effect");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_lists_compensations_and_keeps_nothing() {
    let mut run = attempts().await;
    run.mode = Mode::Plan;
    let state = json!({ "object": "a.txt", "key": "\u{1b}[31m" }).to_string();
    run.call("run.compensation.dismiss", json!({ "name": "undo", "state": state })).await;
    let step = json!({ "name": "one" });
    assert_eq!(run.call("run.step.complete", step.clone()).await, json!({ "ok": "fresh" }));
    assert_eq!(run.call("run.step.complete", step).await, json!({ "ok": "fresh" }), "nothing is kept beyond the run");
    assert_eq!((run.kept.steps(), run.kept.compensations()), (vec![], vec![]));
    let [effect] = &run.ledger.effects()[..] else { panic!("one effect") };
    assert_eq!((effect.record.capability, effect.record.operation), ("run", "run.compensation"));
    assert_eq!((effect.record.target.as_str(), &effect.outcome), ("undo", &Some(Outcome::Planned)));
    assert!(effect.record.detail.contains("a.txt"), "{effect:?}");
    run.limits.effects = 0;
    let answer = run.call("run.compensation.register", json!({})).await;
    quota(&answer, "effects", "0 effects");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compensation_uses_what_it_may_and_registers_no_other() {
    let run = attempts().await;
    let undo = |import: &str, arguments: Value| {
        let call = probe::call(import, arguments);
        run.compensate("clear away", json!({ "do": "call", "call": call }))
    };
    assert!(matches!(run.compensate("nothing", json!({})).await.ended, Ended::Reported(())));
    assert!(matches!(undo("run.step.complete", json!({ "name": "one" })).await.ended, Ended::Reported(())));
    assert_eq!(run.kept.steps(), [("undo clear away\u{1f}one".to_owned(), Some("1".to_owned()))]);
    assert!(matches!(undo("run.sleep", json!({})).await.ended, Ended::Reported(())));
    let failure = failed(undo("run.compensation.register", json!({})).await);
    assert_eq!(failure.cause.map(|cause| cause.kind()), Some("conflict"));
    assert!(failure.message.contains("`clear away` is being compensated"), "{}", failure.message);
    let failure = failed(undo("sql.session.open", json!({})).await);
    assert_eq!(failure.cause.map(|cause| cause.kind()), Some("denied"), "its slots are those of the run");
    assert_eq!(failed(run.compensate("it", json!({ "do": "fail" })).await).message, "it could not be undone");
    assert_eq!(run.kept.compensations(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compensation_is_held_to_the_limits() {
    let mut run = attempts().await;
    for what in ["trap", "panic", "exit"] {
        let ended = run.compensate("it", json!({ "do": what })).await.ended;
        assert!(matches!(ended, Ended::Trapped(_)), "{what}: {ended:?}");
    }
    limit(&run.compensate("it", json!({ "do": "recurse" })).await, "stack");
    run.limits = Limits {
        cpu: Duration::from_millis(300),
        wall: Duration::from_secs(20),
        memory: 32 << 20,
        ..Limits::default()
    };
    limit(&run.compensate("it", json!({ "do": "spin" })).await, "cpu");
    limit(&run.compensate("it", json!({ "do": "allocate" })).await, "memory");
    run.limits.wall = Duration::from_millis(300);
    for what in ["sleep-async", "never"] {
        let ended = run.compensate("it", json!({ "do": what })).await.ended;
        assert!(matches!(ended, Ended::TimedOut(_)), "{what}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compensation_is_ended_by_cancel() {
    let run = attempts().await;
    let cancel = Cancel::default();
    let began = Instant::now();
    let soon = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.cancel();
    };
    let (finished, ()) = tokio::join!(run.compensate_until("it", json!({ "do": "never" }), &cancel), soon);
    assert!(matches!(finished.ended, Ended::Cancelled(Some(()))), "{:?}", finished.ended);
    assert!(began.elapsed() < Duration::from_secs(2));
}

/// Wait until a guest has begun, then do something about it.
async fn soon(then: impl FnOnce()) {
    tokio::time::sleep(Duration::from_millis(100)).await;
    then();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_procedure_hears_so_and_may_end_by_itself() {
    let run = attempts().await;
    let cancel = Cancel::default();
    let calls = json!({ "calls": [
        probe::call("run.step.begin", json!({ "name": "before" })),
        probe::call("run.sleep", json!({ "milliseconds": 3_600_000 })),
        probe::call("run.step.begin", json!({ "name": "one" })),
        probe::call("run.compensation.register", json!({ "name": "late" })),
        probe::call("run.sleep", json!({ "milliseconds": 1 })),
    ] });
    let began = Instant::now();
    let (finished, ()) = tokio::join!(run.run_until("calls", calls, &cancel), soon(|| cancel.cancel()));
    assert!(began.elapsed() < Duration::from_secs(2));
    let Ended::Cancelled(Some(report)) = finished.ended else { panic!("{:?}", finished.ended) };
    let data: Value = serde_json::from_str(&report.data).unwrap();
    // What was begun before may still be put on record, and nothing new begins.
    assert_eq!(data[0], json!({ "ok": "fresh" }));
    for after in 1..5 {
        assert_eq!(data[after]["error"], "cancelled", "{after} of {data}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_goes_on_is_ended_after_its_grace_or_at_once_when_terminated() {
    let mut run = attempts().await;
    run.limits.grace = Duration::from_millis(500);
    let cancel = Cancel::default();
    let began = Instant::now();
    let (finished, ()) = tokio::join!(run.run_until("spin", json!({}), &cancel), soon(|| cancel.cancel()));
    assert!(matches!(finished.ended, Ended::Cancelled(None)), "{:?}", finished.ended);
    assert!((600..3_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    run.limits.grace = Duration::from_secs(600);
    let (cancel, began) = (Cancel::default(), Instant::now());
    let both = || {
        cancel.cancel();
        cancel.terminate();
    };
    let (finished, ()) = tokio::join!(run.run_until("spin", json!({}), &cancel), soon(both));
    assert!(matches!(finished.ended, Ended::Cancelled(None)), "{:?}", finished.ended);
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn sleep_costs_no_cpu_and_lasts_as_long_as_it_says() {
    let mut run = attempts().await;
    run.limits.cpu = Duration::from_millis(300);
    let began = Instant::now();
    let finished = run.run("sleep-async", json!({ "count": 700 })).await;
    assert!(matches!(finished.ended, Ended::Reported(_)), "{:?}", finished.ended);
    assert!(began.elapsed() >= Duration::from_millis(700));
    assert!(finished.cpu < Duration::from_millis(100), "{:?}", finished.cpu);
    // Longer than any clock counts.
    run.limits.wall = Duration::from_millis(200);
    let ended = run.call_ended("run.sleep", json!({ "milliseconds": u64::MAX })).await;
    assert!(matches!(ended, Ended::TimedOut(_)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_takes_all_of_it_for_a_run_on_record() {
    let host = InProcess::open(COMPILED).await.unwrap();
    let calls = json!({ "calls": [
        probe::call("run.step.complete", json!({ "name": "one" })),
        probe::call("run.step.begin", json!({ "name": "one" })),
        probe::call("run.compensation.dismiss", json!({})),
        probe::call("run.sleep", json!({})),
    ] });
    let view = host.run("calls", &calls, &["steps=2"], &[]).await.unwrap();
    assert_eq!(view.status, "succeeded", "{:?}", view.error);
    let data: Value = serde_json::from_str(&view.report.unwrap().data).unwrap();
    assert_eq!(data[1], json!({ "ok": { "done": "1" } }));
    let view = host.run("steps-without-end", &json!({ "count": 5 }), &["steps=2"], &[]).await.unwrap();
    let data: Value = serde_json::from_str(&view.report.unwrap().data).unwrap();
    assert_eq!((&data["done"], &data["refused"]), (&json!(2), &json!(3)), "{data}");
}
