//! Guests that do what a plugin must not: each is ended within its limit plus 100 ms, by an error that names the limit and its
//! setting, while other runs go on undisturbed.
//!
//! In one process, so that a run's time is measured without a process's start.

use crate::COMPILED;
use rota_runs::RunView;
use rota_tests::InProcess;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// What a run may take beyond its limit.
const BEYOND: Duration = Duration::from_millis(100);
/// The time limits of these tests.
const LIMIT: Duration = Duration::from_millis(300);
/// A limit of time is measured at most so often: on a busy machine, being late once is the machine's doing.
const ATTEMPTS: usize = 3;

fn took(view: &RunView) -> Duration {
    Duration::from_millis(u64::try_from(view.duration_ms.unwrap()).unwrap())
}

/// The run failed by a limit; its text names what is limited, how much that is, and the setting.
fn over(view: &RunView, setting: &str, amount: &str) {
    let error = view.error.as_ref().unwrap_or_else(|| panic!("{setting}: it did not fail: {view:?}"));
    assert_eq!((view.status.as_str(), error.kind.as_str()), ("failed", "limit"), "{error:?}");
    assert!(error.message.contains(amount), "the message does not say {amount}: {}", error.message);
    assert!(
        error.message.contains(&format!("--limit {setting}=")),
        "the message does not name {setting}: {}",
        error.message
    );
    assert!(error.message.contains(&format!("{setting} = ")), "no line of a configuration: {}", error.message);
    assert_eq!(view.exit_status(), 1);
}

/// The run is ended in time; which of its two limits of time ended it is the caller's to check.
async fn in_time(what: &str, limit: &str) -> RunView {
    let host = InProcess::open(COMPILED).await.unwrap();
    // The compiler's work is no part of a run.
    host.run("nothing", &json!({}), &[], &[]).await.unwrap();
    let mut late = Vec::new();
    for _ in 0..ATTEMPTS {
        let view = host.run(what, &json!({}), &[limit], &[]).await.unwrap();
        assert!(took(&view) >= LIMIT, "{what} was ended after {:?}, before its limit: {:?}", took(&view), view.error);
        if took(&view) <= LIMIT + BEYOND {
            return view;
        }
        late.push(took(&view));
    }
    panic!("{what}: a limit of {LIMIT:?} ended it after {late:?}");
}

async fn timed_out(what: &str) {
    let view = in_time(what, "wall=300ms").await;
    assert_eq!(view.status, "timed-out");
    assert_eq!(view.exit_status(), 124);
    let error = view.error.unwrap();
    assert_eq!(error.kind, "timed-out");
    assert!(error.message.contains("300ms") && error.message.contains("`timeout`"), "{}", error.message);
    assert!(error.hint.unwrap().contains("--timeout"));
}

/// One that may do what it does for a moment, until a limit that is none of time ends it.
async fn one(what: &str, parameters: Value, limits: &[&str]) -> RunView {
    let host = InProcess::open(COMPILED).await.unwrap();
    let view = host.run(what, &parameters, limits, &[]).await.unwrap();
    assert!(took(&view) < Duration::from_secs(5), "{what} went on for {:?}", took(&view));
    view
}

#[tokio::test(flavor = "multi_thread")]
async fn spinning_is_ended_by_the_cpu_limit() {
    over(&in_time("spin", "cpu=300ms").await, "cpu", "300ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn spinning_is_ended_by_the_timeout_too() {
    timed_out("spin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sleeping_for_ever_is_ended_by_the_timeout() {
    timed_out("sleep").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_never_read_is_ended_by_the_timeout() {
    timed_out("never-read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_never_ends_is_ended_by_the_timeout() {
    timed_out("never-finish").await;
}

/// A server that takes connections and never says a word.
async fn silent() -> (u16, JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let held = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.push(connection);
        }
    });
    (port, held)
}

/// A target that does not answer keeps a run no longer than one that does.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_target_keeps_no_run_beyond_its_timeout() {
    let (port, server) = silent().await;
    let bucket =
        format!("bucket=s3://AKIDEXAMPLE:wJalrXUtnFEMI@bucket/x?endpoint=http://127.0.0.1:{port}&region=us-east-1");
    for bind in [format!("database=postgres://someone:secret@127.0.0.1:{port}/db?sslmode=disable"), bucket] {
        let host = InProcess::open(COMPILED).await.unwrap();
        host.run("nothing", &json!({}), &[], &[]).await.unwrap();
        let mut late = Vec::new();
        for _ in 0..ATTEMPTS {
            let view = host.run("hold", &json!({}), &["wall=300ms"], std::slice::from_ref(&bind)).await.unwrap();
            assert_eq!(view.status, "timed-out", "{bind}: {:?}", view.error);
            if took(&view) <= LIMIT + BEYOND {
                late.clear();
                break;
            }
            late.push(took(&view));
        }
        assert!(late.is_empty(), "{bind}: a limit of {LIMIT:?} ended it after {late:?}");
    }
    server.abort();
}

/// What a procedure left behind unfinished is not known, whatever it reports.
#[tokio::test(flavor = "multi_thread")]
async fn returning_with_an_effect_under_way_is_no_success() {
    let host = InProcess::open(COMPILED).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bind = format!("bucket=file://{}", folder.path().display());
    let view = host.run("leave", &json!({}), &[], &[bind]).await.unwrap();
    assert_eq!((view.status.as_str(), view.exit_status()), ("unknown", 5), "{:?}", view.error);
    let error = view.error.unwrap();
    assert_eq!(error.kind, "unknown");
    assert!(error.message.contains("storage.put"), "{}", error.message);
    assert!(view.report.is_some(), "what it reported is kept");
    assert!(!folder.path().join("left.bin").exists(), "half an object");
}

#[tokio::test(flavor = "multi_thread")]
async fn allocating_is_ended_by_the_memory_limit() {
    over(&one("allocate", json!({}), &["memory=32MiB"]).await, "memory", "32 MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn recursing_is_ended_by_the_stack() {
    let view = one("recurse", json!({}), &[]).await;
    let error = view.error.unwrap();
    assert_eq!((view.status.as_str(), error.kind.as_str()), ("failed", "limit"), "{error:?}");
    // The stack is the host's, not the job's.
    assert!(error.message.contains("512 KiB of stack"), "{}", error.message);
    assert!(error.message.contains("[sandbox] stack = ") && !error.message.contains("--limit"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_in_linear_memory_that_overflows_is_a_trap() {
    let view = one("overflow", json!({}), &[]).await;
    assert_eq!((view.status.as_str(), view.error.unwrap().kind.as_str()), ("failed", "trap"));
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_without_end_are_ended_by_their_limit() {
    let host = InProcess::open(COMPILED).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bucket = format!("bucket=file://{}", folder.path().display());
    let view = host.run("open-without-end", &json!({}), &["handles=100"], &[bucket]).await.unwrap();
    over(&view, "handles", "100");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_without_end_are_ended_and_cost_the_host_little() {
    let host = InProcess::open(COMPILED).await.unwrap();
    let before = memory();
    let view = host.run("streams-without-end", &json!({}), &["handles=100", "cpu=2s"], &[]).await.unwrap();
    assert_eq!((view.status.as_str(), view.exit_status()), ("failed", 1));
    let grown = peak().saturating_sub(before);
    assert!(grown < 256 << 20, "the host grew by {} MiB: {:?}", grown >> 20, view.error);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_without_end_are_ended_by_a_limit() {
    let view = one("filters-without-end", json!({}), &["host_calls_in_flight=16"]).await;
    over(&view, "host_calls_in_flight", "16");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_end_are_ended_by_their_limit() {
    let view = one("many-calls", json!({ "count": 1000 }), &["host_calls_in_flight=16"]).await;
    over(&view, "host_calls_in_flight", "16");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_too_much_in_it_is_ended_by_its_limit() {
    over(&one("large-call", json!({}), &["host_call_bytes=1MiB"]).await, "host_call_bytes", "1048576 bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_is_too_large_is_refused_by_its_limit() {
    let view = one("large-report", json!({ "size": 2 << 20 }), &["report_bytes=1MiB"]).await;
    over(&view, "report_bytes", "1048576 bytes");
    assert!(view.report.is_none(), "what is over the limit is not kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_beyond_their_limit_are_a_quota_that_the_guest_sees() {
    let host = InProcess::open(COMPILED).await.unwrap();
    let call = json!({ "import": "run.artifact", "size": 3 << 20, "name": "large.bin" });
    let view = host.run("call", &json!({ "call": call }), &["artifact_bytes=1MiB"], &[]).await.unwrap();
    let data: Value = serde_json::from_str(&view.report.unwrap().data).unwrap();
    assert_eq!(data["error"], "quota", "{data}");
    assert!(data["text"].as_str().unwrap().contains("artifact_bytes"), "{data}");
    assert!(view.artifacts.is_empty());
    let left = rota_tests::files(&host.host.settings().state_dir.join("artifacts"));
    assert!(left.is_empty(), "a part of an artifact was left: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_lines_are_dropped_counted_and_end_nothing() {
    for (what, source) in [("flood-log", "procedure"), ("flood-stdout", "stdout"), ("flood-metric", "metric")] {
        let host = InProcess::open(COMPILED).await.unwrap();
        let began = Instant::now();
        let view = host.run(what, &json!({ "lines": 20_000 }), &["log_lines_per_second=50"], &[]).await.unwrap();
        let allowed = 50 * (began.elapsed().as_secs() + 1);
        assert_eq!(view.status, "succeeded", "{what}: {:?}", view.error);
        let kept = lines(&host, &view.id).await;
        let kept = u64::try_from(kept.iter().filter(|line| line.source == source).count()).unwrap();
        assert!((1..=allowed).contains(&kept), "{what}: {kept} lines kept, {allowed} allowed");
        assert_eq!(kept + view.dropped_log_lines, 20_000, "{what}: what was dropped is counted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_as_a_whole_is_bounded() {
    let host = InProcess::open(COMPILED).await.unwrap();
    let limits = ["log_lines_per_second=100000", "log_bytes=4KiB"];
    let view = host.run("flood-log", &json!({ "lines": 5_000 }), &limits, &[]).await.unwrap();
    let kept = lines(&host, &view.id).await;
    let bytes: usize = kept.iter().map(|line| line.message.len()).sum();
    assert!(bytes > 1000 && bytes <= 4096, "{bytes} bytes of log");
}

#[tokio::test(flavor = "multi_thread")]
async fn breaking_off_is_a_trap_that_says_how() {
    for (what, said) in [("trap", "unreachable"), ("panic", "unreachable"), ("exit", "exit")] {
        let host = InProcess::open(COMPILED).await.unwrap();
        let view = host.run(what, &json!({}), &[], &[]).await.unwrap();
        let error = view.error.unwrap();
        assert_eq!((view.status.as_str(), error.kind.as_str()), ("failed", "trap"), "{what}: {error:?}");
        assert!(error.message.contains(said), "{what}: {}", error.message);
        assert!(error.hint.unwrap().contains("rota runs logs"), "{what}");
        if what == "panic" {
            let lines = host.host.records().logs(&view.id, 0).await.unwrap();
            let panic = lines.iter().find(|line| line.message.contains("panics as it was told"));
            assert_eq!(panic.map(|line| line.source.as_str()), Some("stderr"), "the panic's text is in the log");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wasi_is_there_and_empty() {
    let view = one("environment", json!({}), &[]).await;
    let data: Value = serde_json::from_str(&view.report.unwrap().data).unwrap();
    let nothing =
        json!({ "variables": 0, "arguments": 0, "root": 0, "passwd": false, "connects": false, "clock": true });
    assert_eq!(data, nothing);
}

/// While each of the offenders goes on, others run: they succeed, and none takes long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_go_on_undisturbed() {
    let host = Arc::new(InProcess::open(COMPILED).await.unwrap());
    neighbour(host.clone()).await;
    for what in ["spin", "sleep", "never-read", "never-finish", "flood-log", "flood-stdout"] {
        let mut late = Vec::new();
        while late.len() < ATTEMPTS {
            let times = beside(&host, what).await;
            // Each step of theirs may wait for a turn of the offenders, 2 ms each.
            if times.len() >= 3 && times[times.len() / 2] < Duration::from_millis(250) {
                break;
            }
            late.push(times);
        }
        assert!(late.len() < ATTEMPTS, "{what}: others took {late:?}");
    }
}

/// How long others take while as many offenders as there are threads go on, the quickest first.
async fn beside(host: &Arc<InProcess>, what: &'static str) -> Vec<Duration> {
    let offenders = [(); 2].map(|()| tokio::spawn(offender(host.clone(), what)));
    let mut times = Vec::new();
    while !offenders.iter().all(JoinHandle::is_finished) {
        times.push(tokio::spawn(neighbour(host.clone())).await.unwrap());
    }
    for offender in offenders {
        let view = offender.await.unwrap();
        assert_ne!(view.status, "succeeded", "{what} was ended");
    }
    times.sort();
    times
}

async fn offender(host: Arc<InProcess>, what: &str) -> RunView {
    host.run(what, &json!({ "lines": 10_000_000 }), &["cpu=600ms", "wall=800ms"], &[]).await.unwrap()
}

/// A run of a good neighbour: it must succeed. Answers how long it took.
async fn neighbour(host: Arc<InProcess>) -> Duration {
    let began = Instant::now();
    let view = host.run("ticks", &json!({ "count": 5 }), &[], &[]).await.unwrap();
    assert_eq!(view.status, "succeeded", "{:?}", view.error);
    assert_eq!(view.report.unwrap().data, json!({ "bytes": 5_000 }).to_string());
    began.elapsed()
}

/// A run's whole log, which is read in pieces.
async fn lines(host: &InProcess, run: &str) -> Vec<rota_runs::LogLine> {
    let mut all: Vec<rota_runs::LogLine> = Vec::new();
    loop {
        let after = all.last().map_or(0, |line| line.sequence);
        let more = host.host.records().logs(run, after).await.unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// This process's memory now.
fn memory() -> u64 {
    of_status("VmRSS:")
}

/// The most that it was.
fn peak() -> u64 {
    of_status("VmHWM:")
}

fn of_status(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
