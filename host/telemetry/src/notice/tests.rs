use std::sync::Mutex;
use std::task::{Context as TaskContext, Poll, Waker};

use tracing::Dispatch;
use tracing::dispatcher::with_default;

use super::*;
use crate::{LogFormat, Secret, subscriber};

/// What sqlx 0.9 does with a notice, its checks included (`private_tracing_dynamic_*`).
fn sqlx_reads(level: Level, message: &str) {
    macro_rules! at {
        ($level:expr) => {
            if tracing::enabled!(target: "sqlx::postgres::notice", $level) {
                tracing::event!(target: "sqlx::postgres::notice", $level, message = message);
            }
        };
    }
    match level {
        Level::ERROR => at!(Level::ERROR),
        Level::WARN => at!(Level::WARN),
        Level::INFO => at!(Level::INFO),
        Level::DEBUG => at!(Level::DEBUG),
        Level::TRACE => at!(Level::TRACE),
    }
}

/// Runs `act` under the subscriber of the process with this filter, and gives what was logged.
fn logged(filter: &str, act: impl FnOnce()) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let lines = Arc::clone(&lines);
        move |line: &str| lines.lock().unwrap().push(line.to_owned())
    };
    with_default(&Dispatch::new(subscriber(LogFormat::Json, filter, sink).unwrap()), act);
    let lines = lines.lock().unwrap();
    lines.clone()
}

fn all(receiver: &mut NoticeReceiver) -> Vec<(NoticeSeverity, String)> {
    std::iter::from_fn(|| receiver.try_recv()).map(|notice| (notice.severity, notice.message)).collect()
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut TaskContext::from_waker(Waker::noop()))
}

#[test]
fn every_severity_arrives_whatever_the_log_shows() {
    for filter in ["", "off", "error", "warn", "trace", "sqlx=trace", "sqlx::postgres::notice=trace"] {
        let (sender, mut receiver) = notice_channel(16);
        let lines = logged(filter, || {
            with_notices(&sender, || {
                sqlx_reads(Level::WARN, "a warning");
                sqlx_reads(Level::INFO, "a notice");
                sqlx_reads(Level::TRACE, "vacuuming");
                sqlx_reads(Level::DEBUG, "detail");
                sqlx_reads(Level::ERROR, "shutting down");
                tracing::info!(target: "sqlx::query", message = "select 1");
                tracing::error!("unrelated");
            });
        });
        let expected = [
            (NoticeSeverity::Warning, "a warning"),
            (NoticeSeverity::Notice, "a notice"),
            (NoticeSeverity::Info, "vacuuming"),
            (NoticeSeverity::Debug, "detail"),
            (NoticeSeverity::Error, "shutting down"),
        ];
        assert_eq!(
            all(&mut receiver),
            expected.map(|(severity, text)| (severity, text.to_owned())),
            "filter {filter:?}"
        );
        assert!(!lines.concat().contains("vacuuming") && !lines.concat().contains("a warning"), "{filter}: {lines:?}");
    }
}

#[test]
fn a_notice_that_nobody_wants_goes_nowhere() {
    let (sender, mut receiver) = notice_channel(16);
    let lines = logged("trace", || {
        sqlx_reads(Level::WARN, "before");
        with_notices(&sender, || sqlx_reads(Level::WARN, "meanwhile"));
        sqlx_reads(Level::WARN, "after");
    });
    assert_eq!(all(&mut receiver), [(NoticeSeverity::Warning, "meanwhile".to_owned())]);
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
fn interleaved_futures_keep_their_notices_apart() {
    let (first, mut of_first) = notice_channel(16);
    let (second, mut of_second) = notice_channel(16);
    let work = |name: &'static str| async move {
        for round in 0..3 {
            sqlx_reads(Level::INFO, &format!("{name} {round}"));
            let mut yielded = false;
            poll_fn(|_| if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }).await;
        }
    };
    logged("", || {
        let mut a = pin!(capture_notices(&first, work("a")));
        let mut b = pin!(capture_notices(&second, work("b")));
        for _ in 0..3 {
            assert!(poll_once(a.as_mut()).is_pending());
            sqlx_reads(Level::INFO, "nobody's");
            assert!(poll_once(b.as_mut()).is_pending());
        }
        assert!(poll_once(a).is_ready() && poll_once(b).is_ready());
    });
    let texts = |receiver: &mut NoticeReceiver| all(receiver).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
    assert_eq!(texts(&mut of_first), ["a 0", "a 1", "a 2"]);
    assert_eq!(texts(&mut of_second), ["b 0", "b 1", "b 2"]);
}

#[test]
fn the_innermost_capture_gets_the_notice() {
    let (outer, mut of_outer) = notice_channel(16);
    let (inner, mut of_inner) = notice_channel(16);
    logged("", || {
        with_notices(&outer, || {
            with_notices(&inner, || sqlx_reads(Level::INFO, "inner"));
            sqlx_reads(Level::INFO, "outer");
        });
    });
    assert_eq!(all(&mut of_inner), [(NoticeSeverity::Notice, "inner".to_owned())]);
    assert_eq!(all(&mut of_outer), [(NoticeSeverity::Notice, "outer".to_owned())]);
}

#[test]
fn a_panic_ends_the_capture() {
    let (sender, _receiver) = notice_channel(1);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        with_notices(&sender, || std::panic::resume_unwind(Box::new(())));
    }));
    assert!(panicked.is_err());
    assert!(CAPTURES.with_borrow(Vec::is_empty));
}

#[test]
fn a_full_channel_counts_what_it_drops() {
    let (sender, mut receiver) = notice_channel(2);
    logged("", || with_notices(&sender, || (0..5).for_each(|i| sqlx_reads(Level::INFO, &i.to_string()))));
    assert_eq!(all(&mut receiver).len(), 2);
    assert_eq!(receiver.dropped(), 3);
}

#[test]
fn a_notice_is_masked_and_bounded() {
    let _secret = Secret::new("c4nary-of-notice");
    let (sender, mut receiver) = notice_channel(2);
    logged("", || {
        with_notices(&sender, || {
            sqlx_reads(Level::INFO, "connecting with password=c4nary-of-notice");
            sqlx_reads(Level::INFO, &"é".repeat(LONGEST_MESSAGE));
        });
    });
    let notices = all(&mut receiver);
    assert_eq!(notices[0].1, "connecting with password=***");
    assert_eq!(notices[1].1.len(), LONGEST_MESSAGE);
}
