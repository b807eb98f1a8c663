//! What listens while a guest is given something, and to what it writes.

use super::{Event, Record};
use crate::streams::Reader;
use rota_contract::Error;
use rota_telemetry::StreamMasker;
use serde::Serialize;
use sha2::Digest as _;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

thread_local! {
    /// The call whose body is polled on this thread, while calls are recorded: what it makes for the guest meanwhile is its own.
    static CURRENT: RefCell<Option<(Arc<dyn Record>, u64)>> = const { RefCell::new(None) };
}

/// A tap for the call that is being polled, if calls are recorded.
pub fn current() -> Option<Tap> {
    CURRENT.with_borrow(|current| {
        current.as_ref().map(|(record, call)| Tap { record: record.clone(), call: *call, masker: None })
    })
}

/// Puts a call in place for as long as it lives.
pub(super) struct Current(Option<(Arc<dyn Record>, u64)>);

impl Current {
    pub(super) fn enter(record: &Arc<dyn Record>, call: u64) -> Self {
        Self(CURRENT.with_borrow_mut(|current| current.replace((record.clone(), call))))
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| *current = self.0.take());
    }
}

/// Work that is a call's: what it makes while it is polled is known to be of that call.
pub(super) struct Within<'f, F> {
    pub(super) record: Arc<dyn Record>,
    pub(super) call: u64,
    pub(super) work: Pin<&'f mut F>,
}

impl<F: Future> Future for Within<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _current = Current::enter(&self.record, self.call);
        self.work.as_mut().poll(cx)
    }
}

/// Listens to what one call gives.
pub struct Tap {
    record: Arc<dyn Record>,
    pub(crate) call: u64,
    /// Of a stream of bytes: a secret may lie across two pieces.
    masker: Option<StreamMasker>,
}

impl Tap {
    /// The guest was offered these.
    pub fn items<I: Serialize>(&self, items: &[I]) {
        if !items.is_empty() && self.record.keeps() {
            self.record.note(self.call, Event::Items(items.iter().map(super::shown).collect()));
        }
    }

    /// The guest was offered these.
    pub fn bytes(&mut self, bytes: &[u8]) {
        if !self.record.keeps() {
            return;
        }
        let shown = self.masker.get_or_insert_default().push(bytes);
        // Noted also where all of it is held back: it was a piece.
        self.record.note(self.call, Event::Bytes(&shown));
    }

    /// The stream ended.
    pub fn ended(&mut self) {
        self.rest();
        self.record.note(self.call, Event::Ended);
    }

    /// The stream goes to another call.
    pub fn handed_on(&mut self) {
        self.rest();
        self.record.note(self.call, Event::HandedOn);
    }

    /// What was held back, because it could have become a secret: the guest has seen it.
    fn rest(&mut self) {
        if let Some(rest) = self.masker.take().map(StreamMasker::finish).filter(|rest| !rest.is_empty()) {
            self.record.note(self.call, Event::Bytes(&rest));
        }
    }

    /// The future resolved.
    pub fn outcome<V: Serialize>(&self, outcome: &Result<V, Error>) {
        match outcome {
            Ok(value) => self.record.note(self.call, Event::Outcome(Ok(&super::shown(value)))),
            Err(error) => self.record.note(self.call, Event::Outcome(Err(error))),
        }
    }
}

/// The guest dropped the stream before its end, or the run ended.
impl Drop for Tap {
    fn drop(&mut self) {
        self.rest();
    }
}

/// A stream that the guest writes, on its way into a call: how much of it was read, and its hash.
pub(crate) struct Hashed {
    reader: Reader,
    tap: Tap,
    hash: sha2::Sha256,
    bytes: u64,
    told: bool,
}

impl Hashed {
    pub(crate) fn new(reader: Reader, tap: Tap) -> Self {
        Self { reader, tap, hash: sha2::Sha256::default(), bytes: 0, told: false }
    }

    fn tell(&mut self, whole: bool) {
        if !std::mem::replace(&mut self.told, true) {
            let sha256 = hex::encode(std::mem::take(&mut self.hash).finalize());
            self.tap.record.note(self.tap.call, Event::Written { bytes: self.bytes, sha256: &sha256, whole });
        }
    }
}

impl AsyncRead for Hashed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let read = std::task::ready!(self.reader.as_mut().poll_read(cx, buffer));
        let new = &buffer.filled()[before..];
        self.hash.update(new);
        self.bytes += new.len() as u64;
        if read.is_err() || (new.is_empty() && room > 0) {
            self.tell(read.is_ok());
        }
        Poll::Ready(read)
    }
}

impl Drop for Hashed {
    fn drop(&mut self) {
        self.tell(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Asked;
    use rota_telemetry::Secret;
    use std::sync::Mutex;
    use wasmtime_wasi::WasiCtxBuilder;

    /// The texts of all pieces, and the names of what else happens.
    #[derive(Default)]
    struct Kept(Mutex<String>);

    impl Record for Kept {
        fn call(&self, _: &Asked) -> u64 {
            1
        }

        fn note(&self, _: u64, event: Event<'_>) {
            let said = match event {
                Event::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                other => format!("<{other:?}>"),
            };
            self.0.lock().unwrap().push_str(&said);
        }

        fn prepare(&self, _: &mut WasiCtxBuilder) {}
    }

    fn kept(pieces: &[&str], end: fn(Tap)) -> String {
        let record = Arc::new(Kept::default());
        let mut tap = Tap { record: record.clone(), call: 1, masker: None };
        for piece in pieces {
            tap.bytes(piece.as_bytes());
        }
        end(tap);
        let kept = record.0.lock().unwrap();
        kept.clone()
    }

    fn ended(mut tap: Tap) {
        tap.ended();
    }

    fn handed_on(mut tap: Tap) {
        tap.handed_on();
    }

    #[test]
    fn what_could_have_become_a_secret_is_kept_however_a_stream_ends_and_a_secret_never() {
        let _secret = Secret::new("c4nary-of-tape");
        let ends = [(ended as fn(Tap), "<Ended>"), (handed_on as fn(Tap), "<HandedOn>"), (drop::<Tap> as fn(Tap), "")];
        for (end, said) in ends {
            assert_eq!(kept(&["x c4nary-", "of-t"], end), format!("x c4nary-of-t{said}"));
            assert_eq!(kept(&["x c4nary-", "of-", "tape"], end), format!("x ***{said}"));
            assert_eq!(kept(&["x c4nary-of-tape c4n"], end), format!("x *** c4n{said}"));
            assert_eq!(kept(&[], end), said);
        }
    }
}
