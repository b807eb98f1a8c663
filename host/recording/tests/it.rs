//! A recording that is written and read again, in every way in which it can end, and what it answers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests say what they expect by unwrapping")]

use futures::StreamExt as _;
use rota_authority::{Gate, MemoryLedger, Mode, Quotas, RunIdentity};
use rota_capability::tape::{Answers as _, Asked, Event, Given, Incoming, Record as _, Source};
use rota_capability::{Limits, Quiet, RunContext, RunFacts, Transient, Trigger};
use rota_contract::Error;
use rota_recording::{End, Ending, FORMAT, Header, KEPT, LONGEST_LINE, Player, ReadError, Reading, Recorder, Verdict};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

fn header() -> Header {
    Header {
        format: FORMAT,
        host: "0".into(),
        contract: "0".into(),
        plugin: "tested".into(),
        version: "0.1.0".into(),
        digest: "d".into(),
        run: "run".into(),
        attempt: 1,
        job: None,
        parameters: json!({}),
        mode: "execute".into(),
        slots: Vec::new(),
        limits: Limits::default(),
        seed: "07".repeat(32),
        started_at: 0,
    }
}

fn asked(operation: &'static str, on: Option<u64>, arguments: Value) -> Asked {
    Asked { operation, handle: on, arguments, incoming: None, now: false }
}

fn run() -> Arc<RunContext> {
    let identity = RunIdentity { run: "run".into(), job: "job".into() };
    let gate = Gate::new(identity, Mode::Execute, Quotas { effects: 0 }, Arc::new(MemoryLedger::default()), []);
    let facts = RunFacts {
        id: "run".into(),
        attempt: 1,
        job: None,
        trigger: Trigger::Manual,
        started_at: std::time::SystemTime::now(),
        slots: Vec::new(),
    };
    RunContext::new(gate, facts, Limits::default(), Arc::new(Quiet), Arc::new(Transient::default()))
}

fn end() -> End {
    End { ended: "reported".into(), report: Some(json!({ "summary": "done" })), said: None }
}

struct Made {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn made(most: u64, record: impl FnOnce(&Recorder), end: Option<&End>) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let recorder = Recorder::begin(&path, &header(), [7; 32], most).unwrap();
    record(&recorder);
    recorder.finish(end).unwrap().expect("finished once");
    assert_eq!(recorder.finish(end).unwrap(), None);
    Made { _folder: folder, path }
}

fn reading(path: &Path) -> Result<Reading, ReadError> {
    Reading::of(path, Box::new(std::fs::File::open(path).unwrap()))
}

fn player(path: &Path) -> Arc<Player> {
    Player::new(reading(path).unwrap(), None).unwrap()
}

/// `sql.session.open`, then a query of five rows in two batches.
fn session(recorder: &Recorder) {
    let open = recorder.call(&asked("sql.session.open", None, json!({ "slot": "database" })));
    recorder.note(open, Event::Answered(Ok(&Value::Null)));
    let query = recorder.call(&asked("sql.session.query", Some(open), json!({ "statement": "select" })));
    recorder.note(query, Event::Answered(Ok(&json!([]))));
    recorder.note(query, Event::Items(vec![json!(1), json!(2)]));
    recorder.note(query, Event::Items(vec![json!(3)]));
    recorder.note(query, Event::Ended);
    recorder.note(query, Event::Outcome(Ok(&json!(3))));
}

async fn answer(player: &Player, asked: Asked) -> Given {
    tokio::time::timeout(Duration::from_secs(10), player.answer(&run(), asked)).await.expect("an answer").unwrap()
}

#[tokio::test]
async fn what_was_recorded_is_answered() {
    let made = made(1 << 20, session, Some(&end()));
    let player = player(&made.path);
    let open = answer(&player, asked("sql.session.open", None, json!({ "slot": "database" }))).await;
    assert_eq!((open.call, open.answer), (1, Ok(Value::Null)));
    let query = answer(&player, asked("sql.session.query", Some(1), json!({ "statement": "select" }))).await;
    let Source::Items(mut items) = query.source else { panic!("a query gives items") };
    assert_eq!(items.next().await, Some(vec![json!(1), json!(2)]));
    assert_eq!(items.next().await, Some(vec![json!(3)]));
    assert_eq!(items.next().await, None);
    assert_eq!(query.outcome.unwrap().await, Ok(json!(3)));
    assert_eq!(player.rest(), Ok(Ending::Ended(end())));
    assert_eq!(player.made(), 2);
}

#[tokio::test]
async fn a_stream_that_nobody_reads_holds_nothing_up() {
    let record = |recorder: &Recorder| {
        session(recorder);
        let more = recorder.call(&asked("sql.session.server", Some(1), json!({})));
        recorder.note(more, Event::Answered(Ok(&json!({ "version": "16" }))));
    };
    let made = made(1 << 20, record, Some(&end()));
    let player = player(&made.path);
    answer(&player, asked("sql.session.open", None, json!({ "slot": "database" }))).await;
    drop(answer(&player, asked("sql.session.query", Some(1), json!({ "statement": "select" }))).await);
    let began = std::time::Instant::now();
    let more = answer(&player, asked("sql.session.server", Some(1), json!({}))).await;
    assert_eq!(more.answer, Ok(json!({ "version": "16" })));
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn answers_come_in_the_recorded_order() {
    let record = |recorder: &Recorder| {
        let slow = recorder.call(&asked("run.sleep", None, json!({ "milliseconds": 20 })));
        let fast = recorder.call(&asked("run.sleep", None, json!({ "milliseconds": 10 })));
        recorder.note(fast, Event::Answered(Ok(&Value::Null)));
        recorder.note(slow, Event::Answered(Ok(&Value::Null)));
    };
    let made = made(1 << 20, record, Some(&end()));
    let player = player(&made.path);
    let run = run();
    let slow = player.answer(&run, asked("run.sleep", None, json!({ "milliseconds": 20 })));
    let fast = player.answer(&run, asked("run.sleep", None, json!({ "milliseconds": 10 })));
    let order = std::sync::Mutex::new(Vec::new());
    tokio::join!(
        async {
            slow.await.unwrap();
            order.lock().unwrap().push("slow");
        },
        async {
            fast.await.unwrap();
            order.lock().unwrap().push("fast");
        }
    );
    assert_eq!(order.into_inner().unwrap(), ["fast", "slow"]);
}

#[tokio::test]
async fn a_call_that_is_not_made_any_more_does_not_hold_the_others_up_for_ever() {
    let record = |recorder: &Recorder| {
        for milliseconds in [1, 2, 3] {
            let call = recorder.call(&asked("run.sleep", None, json!({ "milliseconds": milliseconds })));
            recorder.note(call, Event::Answered(Ok(&Value::Null)));
        }
    };
    let made = made(1 << 20, record, Some(&end()));
    let player = player(&made.path);
    let last = answer(&player, asked("run.sleep", None, json!({ "milliseconds": 3 }))).await;
    assert_eq!(last.call, 3);
    let Err(Verdict::Differs(difference)) = player.rest() else { panic!("two calls are missing") };
    assert_eq!(difference.call, 1, "{difference:?}");
}

#[tokio::test]
async fn another_call_is_a_difference() {
    let made = made(1 << 20, session, Some(&end()));
    let player = player(&made.path);
    answer(&player, asked("sql.session.open", None, json!({ "slot": "database" }))).await;
    let waiting = player.answer(&run(), asked("sql.session.query", Some(1), json!({ "statement": "insert" })));
    let verdict = tokio::select! {
        verdict = player.verdict() => verdict,
        _ = waiting => panic!("there is no answer"),
    };
    let Verdict::Differs(difference) = verdict else { panic!("{verdict:?}") };
    assert_eq!(difference.call, 2);
    assert!(difference.recorded.contains("\"select\"") && difference.replayed.contains("\"insert\""), "{difference:?}");
    assert!(player.rest().is_err());
}

#[tokio::test]
async fn a_recording_that_broke_off_is_read_to_its_last_flush() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let recorder = Recorder::begin(&path, &header(), [7; 32], 1 << 20).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let head = std::fs::metadata(&path).unwrap().len() as usize;
    session(&recorder);
    tokio::time::sleep(Duration::from_millis(400)).await;
    // What a kill leaves: nothing is finished.
    let torn = folder.path().join("torn");
    std::fs::copy(&path, &torn).unwrap();
    let replayed = player(&torn);
    answer(&replayed, asked("sql.session.open", None, json!({ "slot": "database" }))).await;
    let query = answer(&replayed, asked("sql.session.query", Some(1), json!({ "statement": "select" }))).await;
    let Source::Items(items) = query.source else { panic!("a query gives items") };
    assert_eq!(items.collect::<Vec<_>>().await.len(), 2);
    drop(query.outcome);
    let waiting = replayed.answer(&run(), asked("run.sleep", None, json!({})));
    let verdict = tokio::select! {
        verdict = replayed.verdict() => verdict,
        _ = waiting => panic!("there is no answer"),
    };
    assert_eq!(verdict, Verdict::Ends(2, Ending::Torn));
    // At any byte: an end, and never an error.
    let bytes = std::fs::read(&torn).unwrap();
    for length in (0..bytes.len()).step_by(7) {
        std::fs::write(&torn, &bytes[..length]).unwrap();
        match reading(&torn) {
            Ok(reading) => {
                let player = Player::new(reading, None).unwrap();
                assert_eq!(player.ending(), Ending::Torn, "{length} bytes");
            }
            Err(ReadError::Foreign { .. } | ReadError::File { .. }) => assert!(length < head, "{length} bytes"),
            Err(error) => panic!("{length} bytes: {error}"),
        }
    }
}

#[tokio::test]
async fn a_full_recording_says_so_and_takes_no_more() {
    let record = |recorder: &Recorder| {
        let mut chance = 1_u64;
        for _ in 0..50_000 {
            // Nothing that compresses.
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let call = recorder.call(&asked("run.sleep", None, json!({ "milliseconds": chance })));
            recorder.note(call, Event::Answered(Ok(&Value::Null)));
        }
    };
    let most = 64 << 10;
    let made = made(most, record, Some(&end()));
    let size = std::fs::metadata(&made.path).unwrap().len();
    assert!((most..most + (300 << 10)).contains(&size), "{size}");
    assert_eq!(player(&made.path).ending(), Ending::Full(most));
}

#[tokio::test]
async fn what_the_guest_writes_is_held_against_what_it_wrote() {
    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"; // of `hello`
    let record = |recorder: &Recorder| {
        let arguments = json!({ "data": { "$stream": "guest" } });
        let call = recorder.call(&asked("run.artifact", None, arguments));
        recorder.note(call, Event::Written { bytes: 5, sha256, whole: true });
        recorder.note(call, Event::Answered(Ok(&json!(5))));
    };
    let made = made(1 << 20, record, Some(&end()));
    for (text, same) in [("hello", true), ("hallo", false)] {
        let player = player(&made.path);
        let reader = Box::pin(text.as_bytes());
        let mut asked = asked("run.artifact", None, json!({ "data": { "$stream": "guest" } }));
        asked.incoming = Some(Incoming { from: None, reader });
        let given = tokio::select! {
            biased;
            given = player.answer(&run(), asked) => Some(given.unwrap()),
            verdict = player.verdict() => {
                assert!(matches!(verdict, Verdict::Differs(_)), "{verdict:?}");
                None
            }
        };
        assert_eq!(given.map(|given| given.answer), same.then_some(Ok(json!(5))));
    }
}

#[tokio::test]
async fn bytes_errors_and_what_answers_at_once() {
    let failed = Error::Unavailable("cut".into());
    let record = |recorder: &Recorder| {
        let get = recorder.call(&asked("storage.bucket.get", Some(9), json!({ "name": "x" })));
        recorder.note(get, Event::Answered(Ok(&json!({ "name": "x" }))));
        recorder.note(get, Event::Bytes(b"abc"));
        recorder.note(get, Event::Bytes(b""));
        recorder.note(get, Event::Bytes(b"d"));
        recorder.note(get, Event::Ended);
        recorder.note(get, Event::Outcome(Err(&failed)));
        let mut mode = asked("run.mode", None, json!({}));
        mode.now = true;
        let mode = recorder.call(&mode);
        recorder.note(mode, Event::Answered(Ok(&json!("plan"))));
        let stat = recorder.call(&asked("storage.bucket.stat", Some(9), json!({ "name": "y" })));
        recorder.note(stat, Event::Answered(Err(&Error::Cancelled)));
    };
    let made = made(1 << 20, record, Some(&end()));
    let player = player(&made.path);
    let get = answer(&player, asked("storage.bucket.get", Some(9), json!({ "name": "x" }))).await;
    let Source::Bytes(mut reader) = get.source else { panic!("a get gives bytes") };
    let mut text = String::new();
    reader.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "abcd");
    assert_eq!(get.outcome.unwrap().await, Err(failed.clone()));
    let mode = player.answer_now(&run(), asked("run.mode", None, json!({}))).unwrap();
    assert_eq!(mode.answer, Ok(json!("plan")));
    let stat = answer(&player, asked("storage.bucket.stat", Some(9), json!({ "name": "y" }))).await;
    assert_eq!(stat.answer, Err(Error::Cancelled));
    assert!(player.answer_now(&run(), asked("run.mode", None, json!({}))).is_err(), "there is only one");
}

/// A recording that no host wrote: a header, and what follows it.
fn crafted(write: impl FnOnce(&mut dyn std::io::Write)) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let mut file = zstd::stream::write::Encoder::new(std::fs::File::create(&path).unwrap(), 1).unwrap();
    serde_json::to_writer(&mut file, &header()).unwrap();
    std::io::Write::write_all(&mut file, b"\n").unwrap();
    write(&mut file);
    file.finish().unwrap();
    Made { _folder: folder, path }
}

/// What a replay says that asks for a call first, and waits for its answer.
async fn verdict_of(path: &Path, first: Asked) -> Verdict {
    let player = player(path);
    let waiting = player.answer(&run(), first);
    tokio::select! {
        verdict = player.verdict() => verdict,
        _ = waiting => panic!("there is no answer"),
    }
}

#[tokio::test]
async fn a_line_that_no_host_writes_is_not_read() {
    let long = crafted(|file| {
        let piece = vec![b'x'; 1 << 20];
        file.write_all(b"{\"call\":1,\"ask\":\"run.log\",\"arguments\":{\"text\":\"").unwrap();
        for _ in 0..(LONGEST_LINE >> 20) + 1 {
            file.write_all(&piece).unwrap();
        }
        file.write_all(b"\"}}\n").unwrap();
    });
    // Nearly nothing as a text, and much in memory.
    let heavy = crafted(|file| {
        file.write_all(b"{\"call\":1,\"ask\":\"run.log\",\"arguments\":[").unwrap();
        file.write_all(&b"{},".repeat(2 << 20)).unwrap();
        file.write_all(b"{}]}\n").unwrap();
    });
    for (made, what) in [(&long, "is longer than 128 MiB"), (&heavy, "is more than 256 MiB in memory")] {
        let Verdict::Unreadable(why) = verdict_of(&made.path, asked("run.sleep", None, json!({}))).await else {
            panic!("it must not be read")
        };
        assert!(why.contains(&format!("its line 2 {what}")), "{why}");
        let whole = reading(&made.path).unwrap().whole(10).unwrap_err().to_string();
        assert_eq!(whole, why);
    }
    // The same for its first line.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    std::fs::write(&path, zstd::encode_all(&vec![b'x'; LONGEST_LINE + 1][..], 1).unwrap()).unwrap();
    let why = reading(&path).map(drop).unwrap_err().to_string();
    assert!(why.contains("its line 1 is longer than 128 MiB"), "{why}");
}

#[tokio::test]
async fn the_largest_call_of_an_ordinary_host_is_recorded_and_a_larger_one_ends_the_recording() {
    let largest = json!({ "text": "\u{1}".repeat(Limits::default().call_bytes) });
    let record = |recorder: &Recorder| {
        let call = recorder.call(&asked("run.log", None, largest.clone()));
        recorder.note(call, Event::Answered(Ok(&Value::Null)));
        let larger = json!({ "text": "x".repeat(LONGEST_LINE) });
        assert_eq!(recorder.call(&asked("run.log", None, larger)), 0);
        assert!(recorder.is_closed());
        assert_eq!(recorder.call(&asked("run.log", None, json!({}))), 0);
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    let recorder = Recorder::begin(&path, &header(), [7; 32], 1 << 30).unwrap();
    record(&recorder);
    let finished = recorder.finish(Some(&end())).unwrap().unwrap();
    assert!(finished.full && finished.too_large, "{finished:?}");
    assert_eq!(finished.calls, 1);
    let player = player(&path);
    assert_eq!(answer(&player, asked("run.log", None, largest)).await.answer, Ok(Value::Null));
    assert_eq!(player.rest(), Ok(Ending::Full(1 << 30)));
}

const MIB: usize = 1 << 20;

/// A call that is answered last, after so many others of 1 MiB each that are answered at once.
fn many(recorder: &Recorder, others: usize) {
    let first = recorder.call(&asked("run.sleep", None, json!({ "milliseconds": 1 })));
    for number in 0..others {
        let call = recorder.call(&asked("run.log", None, json!({ "number": number, "text": "x".repeat(MIB) })));
        recorder.note(call, Event::Answered(Ok(&Value::Null)));
    }
    recorder.note(first, Event::Answered(Ok(&Value::Null)));
}

#[tokio::test]
async fn what_nobody_asks_for_is_kept_to_a_bound() {
    let others = (KEPT >> 20) + 20;
    let made = made(1 << 30, |recorder| many(recorder, others), Some(&end()));
    let first = || asked("run.sleep", None, json!({ "milliseconds": 1 }));
    let Verdict::Unreadable(why) = verdict_of(&made.path, first()).await else { panic!("it is too much") };
    let said = ["cannot be replayed: up to line ", "at most 10000 and 256 MiB may be"];
    assert!(said.iter().all(|said| why.contains(said)), "{why}");
    // Whoever asks for them has room.
    let player = player(&made.path);
    let run = run();
    let slow = player.answer(&run, first());
    let rest = async {
        for number in 0..others {
            let log = asked("run.log", None, json!({ "number": number, "text": "x".repeat(MIB) }));
            assert_eq!(answer(&player, log).await.answer, Ok(Value::Null));
        }
    };
    let (slow, ()) = tokio::join!(slow, rest);
    assert_eq!(slow.unwrap().answer, Ok(Value::Null));
    assert_eq!(player.rest(), Ok(Ending::Ended(end())));
    // Another build is told that it does something else, and how far was looked.
    let other = asked("run.log", None, json!({ "text": "another" }));
    let Verdict::Differs(difference) = verdict_of(&made.path, other).await else { panic!("it differs") };
    assert_eq!(difference.call, 2);
    assert!(difference.what.contains("(looked for up to line "), "{}", difference.what);
    // What is made of all of it at once is bounded, too.
    let why = reading(&made.path).unwrap().whole(10_000).unwrap_err().to_string();
    assert!(why.contains("up to line ") && why.contains("more than 256 MiB in memory"), "{why}");
}

#[tokio::test]
async fn a_guest_that_copies_more_than_is_kept_replays() {
    let batches = (KEPT >> 20) + 20;
    let written = "0123456789".repeat(batches);
    let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&written));
    let query = || asked("sql.session.query", None, json!({ "statement": "select" }));
    let artifact = || asked("run.artifact", None, json!({ "data": { "$stream": "guest" } }));
    let record = |recorder: &Recorder| {
        let from = recorder.call(&query());
        recorder.note(from, Event::Answered(Ok(&json!([]))));
        let to = recorder.call(&artifact());
        for number in 0..batches {
            recorder.note(from, Event::Items(vec![json!([number, "x".repeat(MIB)])]));
        }
        recorder.note(from, Event::Ended);
        recorder.note(from, Event::Outcome(Ok(&json!(batches))));
        recorder.note(to, Event::Written { bytes: written.len() as u64, sha256: &sha256, whole: true });
        recorder.note(to, Event::Answered(Ok(&json!(written.len()))));
    };
    let made = made(1 << 30, record, Some(&end()));
    let player = player(&made.path);
    let Given { source, outcome, .. } = answer(&player, query()).await;
    let Source::Items(mut items) = source else { panic!("a query gives items") };
    let (mut writer, reader) = tokio::io::duplex(64);
    let mut to = artifact();
    to.incoming = Some(Incoming { from: None, reader: Box::pin(reader) });
    let run = run();
    let copied = player.answer(&run, to);
    let copies = async {
        while let Some(batch) = items.next().await {
            assert_eq!(batch.len(), 1);
            tokio::io::AsyncWriteExt::write_all(&mut writer, b"0123456789").await.unwrap();
        }
        drop(writer);
        assert_eq!(outcome.unwrap().await, Ok(json!(batches)));
    };
    let both = async { tokio::join!(copied, copies) };
    let (copied, ()) = tokio::time::timeout(Duration::from_secs(120), both).await.expect("it goes on");
    assert_eq!(copied.unwrap().answer, Ok(json!(written.len())));
    assert_eq!(player.rest(), Ok(Ending::Ended(end())));
}

#[tokio::test]
async fn a_build_that_makes_thousands_of_calls_no_more_is_told_the_first() {
    let record = |recorder: &Recorder| {
        let first = recorder.call(&asked("run.sleep", None, json!({ "milliseconds": 1 })));
        for number in 0..11_000 {
            let call = recorder.call(&asked("run.log", None, json!({ "number": number })));
            recorder.note(call, Event::Answered(Ok(&Value::Null)));
        }
        recorder.note(first, Event::Answered(Ok(&Value::Null)));
    };
    let made = made(1 << 30, record, Some(&end()));
    let first = asked("run.sleep", None, json!({ "milliseconds": 1 }));
    let Verdict::Differs(difference) = verdict_of(&made.path, first).await else { panic!("it differs") };
    assert_eq!(difference.call, 2, "{difference:?}");
    assert!(difference.what.starts_with("call 2 (run.log) is not made (up to line "), "{}", difference.what);
}
