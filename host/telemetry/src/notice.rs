//! Notices of a PostgreSQL server, brought to the run that caused them.
//!
//! sqlx 0.9 reads a `NoticeResponse` while it polls a connection and hands it to nobody but
//! `tracing` (target [`NOTICE_TARGET`]), with its message and a level made of its severity; SQLSTATE,
//! detail and hint are lost there. As it does so within `poll`, whose future is being polled tells
//! whose notice it is: [`capture_notices`] keeps that on a stack of the thread, and
//! [`notice_layer`], which must be part of the subscriber ([`init`](crate::init) puts it there), looks it up.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

/// The target of sqlx's events for notices.
pub const NOTICE_TARGET: &str = "sqlx::postgres::notice";

/// The most bytes of a message that are kept; `VACUUM VERBOSE` says about 2 kB at a time.
const LONGEST_MESSAGE: usize = 64 * 1024;

/// A message that a server sent beside its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub severity: NoticeSeverity,
    /// Its text, masked.
    pub message: String,
}

/// A notice's severity, as far as sqlx tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeSeverity {
    /// ERROR, FATAL or PANIC, outside an answer.
    Error,
    /// WARNING.
    Warning,
    /// NOTICE.
    Notice,
    /// INFO (what `VERBOSE` asks for) or LOG.
    Info,
    /// DEBUG.
    Debug,
}

impl NoticeSeverity {
    /// The word that PostgreSQL uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }

    /// Undoes what sqlx-postgres 0.9 does in `connection/stream.rs`.
    fn of(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warning,
            Level::INFO => Self::Notice,
            Level::DEBUG => Self::Debug,
            Level::TRACE => Self::Info,
        }
    }
}

impl fmt::Display for NoticeSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A channel for notices that keeps at most `capacity` unread ones (at least one); what finds no
/// room is counted.
pub fn notice_channel(capacity: usize) -> (NoticeSender, NoticeReceiver) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let dropped = Arc::new(AtomicU64::new(0));
    (NoticeSender { sender, dropped: Arc::clone(&dropped) }, NoticeReceiver { receiver, dropped })
}

/// Where a run's notices go.
#[derive(Debug, Clone)]
pub struct NoticeSender {
    sender: mpsc::Sender<Notice>,
    dropped: Arc<AtomicU64>,
}

impl NoticeSender {
    /// Delivers a notice, or counts it as dropped. Never waits.
    pub fn send(&self, notice: Notice) {
        if self.sender.try_send(notice).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Where a run's notices come from.
#[derive(Debug)]
pub struct NoticeReceiver {
    receiver: mpsc::Receiver<Notice>,
    dropped: Arc<AtomicU64>,
}

impl NoticeReceiver {
    /// The next notice; none once every sender is gone.
    pub async fn recv(&mut self) -> Option<Notice> {
        self.receiver.recv().await
    }

    /// The next notice, if one is there.
    pub fn try_recv(&mut self) -> Option<Notice> {
        self.receiver.try_recv().ok()
    }

    /// [`NoticeReceiver::recv`] for a hand-written future or stream.
    pub fn poll_recv(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Notice>> {
        self.receiver.poll_recv(cx)
    }

    /// How many notices found no room.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

thread_local! {
    /// Who wants the notices of what this thread does right now; the last one gets them.
    static CAPTURES: RefCell<Vec<NoticeSender>> = const { RefCell::new(Vec::new()) };
}

/// Runs `future`, and sends the notices that come in while it is polled to `sender`. One within
/// another takes the notices for itself.
pub async fn capture_notices<F: Future>(sender: &NoticeSender, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| with_notices(sender, || future.as_mut().poll(cx))).await
}

/// [`capture_notices`] for what a function does, such as one poll of a stream.
pub fn with_notices<T>(sender: &NoticeSender, act: impl FnOnce() -> T) -> T {
    /// Ends the capture even if `act` panics.
    struct Capture;
    impl Drop for Capture {
        fn drop(&mut self) {
            CAPTURES.with_borrow_mut(|captures| captures.pop());
        }
    }
    CAPTURES.with_borrow_mut(|captures| captures.push(sender.clone()));
    let _capture = Capture;
    act()
}

/// The layer that delivers notices to [`capture_notices`]. It brings its own filter: it sees nothing
/// but notices, whatever the log's filter says, and those only while somebody wants them.
pub fn notice_layer<S>() -> impl Layer<S> + Send + Sync + 'static
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    NoticeLayer.with_filter(WantedNotices)
}

struct NoticeLayer;

impl<S: Subscriber> Layer<S> for NoticeLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let sender = CAPTURES.with_borrow(|captures| captures.last().cloned());
        let Some(sender) = sender else { return };
        let mut message = Message(String::new());
        event.record(&mut message);
        let end = message.0.floor_char_boundary(LONGEST_MESSAGE);
        message.0.truncate(end);
        sender.send(Notice {
            severity: NoticeSeverity::of(*event.metadata().level()),
            message: crate::mask(&message.0).into_owned(),
        });
    }
}

struct WantedNotices;

impl<S> Filter<S> for WantedNotices {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        metadata.target() == NOTICE_TARGET && CAPTURES.with_borrow(|captures| !captures.is_empty())
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.target() == NOTICE_TARGET { Interest::sometimes() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // INFO messages of the server (VACUUM VERBOSE) come as TRACE.
        Some(LevelFilter::TRACE)
    }
}

struct Message(String);

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests;
