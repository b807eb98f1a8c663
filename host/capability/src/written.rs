//! What a guest writes into streams itself. Where a run is held to a plan, its content is part of what was agreed to.

use crate::streams::{Reader, Taken, error_of};
use rota_authority::Gate;
use rota_contract::Error;
use sha2::{Digest as _, Sha256};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

/// How much a guest may write into a stream of a run that is held to a plan, in bytes: it is read before the effect begins.
const MOST: u64 = 16 << 20;

/// The SHA-256 of what a guest wrote.
pub type Digest = [u8; 32];

/// What a guest writes into a stream; the streams that filters make of it know it as well.
#[derive(Clone, Debug, Default)]
pub struct Written(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    /// Nobody asked.
    #[default]
    Passes,
    Hashed(Box<Sha256>),
    Whole(Digest),
}

impl Written {
    fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Have it hashed, where the run is held to a plan or is one: before anybody reads it, as a filter does from when it is made.
    pub fn note(&self, gate: &Gate) {
        if gate.is_agreed_to() {
            self.with(|state| {
                if let State::Passes = state {
                    *state = State::Hashed(Box::default());
                }
            });
        }
    }

    fn came(&self, bytes: &[u8]) {
        self.with(|state| {
            if let State::Hashed(hash) = state {
                hash.update(bytes);
            }
        });
    }

    fn ended(&self) {
        self.with(|state| {
            if let State::Hashed(hash) = state {
                *state = State::Whole(std::mem::take(hash).finalize().into());
            }
        });
    }

    fn digest(&self) -> Option<Digest> {
        self.with(|state| match state {
            State::Whole(digest) => Some(*digest),
            _ => None,
        })
    }

    /// Read through it.
    pub(crate) fn reading(&self, inner: Reader) -> Reader {
        Box::pin(Reading { inner, written: self.clone() })
    }
}

/// The reader of what a guest writes.
struct Reading {
    inner: Reader,
    written: Written,
}

impl AsyncRead for Reading {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let room = buffer.remaining();
        ready!(self.inner.as_mut().poll_read(cx, buffer))?;
        match &buffer.filled()[before..] {
            [] if room > 0 => self.written.ended(),
            bytes => self.written.came(bytes),
        }
        Poll::Ready(Ok(()))
    }
}

impl Taken {
    /// Of a run that is held to a plan, and of the plan: read what the guest wrote into the stream to its end, so that its content can be compared.
    /// Any other stream stays as it is.
    ///
    /// # Errors
    /// `quota` where that is too much; what broke the stream.
    pub async fn held(self, gate: &Gate) -> Result<(Self, Option<Digest>), Error> {
        let Some(written) = self.written.clone().filter(|_| gate.is_agreed_to()) else { return Ok((self, None)) };
        written.note(gate);
        let all = self.offload(|reader| async move {
            let mut all = Vec::new();
            reader.take(MOST + 1).read_to_end(&mut all).await.map_err(|error| error_of(&error))?;
            Ok(all)
        });
        let all = all.await?;
        if all.len() as u64 > MOST {
            return Err(Error::Quota(format!(
                "what a script writes into a stream itself is held to the plan by its content, and has more than {} MiB; without a plan (--unplanned) it may have any length",
                MOST >> 20
            )));
        }
        let digest = written.digest().ok_or_else(|| {
            Error::InvalidArgument(
                "the stream ended before what the script writes into it: it cannot be held to a plan".into(),
            )
        })?;
        Ok((Self::whole(all), Some(digest)))
    }
}
