//! A program's standard output, whose end is only good when the program's end was.

use super::pipe::Pipe;
use super::{Finished, Outcome, outcome};
use crate::limits::READ;
use rota_capability::streams::stream_error;
use rota_contract::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, BufReader, ReadBuf};

type End = Pin<Box<dyn Future<Output = Result<Finished, Error>> + Send>>;

/// Reads to the end, then waits for the program's own, and fails unless it exited with 0.
pub(crate) struct Stdout {
    /// Reads of `READ` bytes and more pass the buffer by.
    pipe: BufReader<Pipe>,
    name: String,
    end: End,
    at_end: bool,
    ended: Option<Result<(), Error>>,
}

impl Stdout {
    pub(super) fn new(pipe: Pipe, name: String, receiver: Outcome) -> Self {
        Self {
            pipe: BufReader::with_capacity(READ, pipe),
            name,
            end: Box::pin(outcome(receiver)),
            at_end: false,
            ended: None,
        }
    }

    /// The bytes alone.
    pub(crate) fn raw(&mut self) -> &mut BufReader<Pipe> {
        &mut self.pipe
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ended.is_none() {
            let finished = ready!(self.end.as_mut().poll(cx));
            self.ended = Some(
                finished
                    .and_then(|finished| finished.fault(&self.name).map_or(Ok(()), |fault| Err(Error::Failed(fault)))),
            );
        }
        Poll::Ready(match &self.ended {
            Some(Err(error)) => Err(stream_error(error.clone())),
            _ => Ok(()),
        })
    }
}

impl AsyncRead for Stdout {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.at_end {
            let before = buffer.filled().len();
            let room = buffer.remaining();
            ready!(Pin::new(&mut self.pipe).poll_read(cx, buffer))?;
            if buffer.filled().len() > before || room == 0 {
                return Poll::Ready(Ok(()));
            }
            self.at_end = true;
        }
        self.poll_end(cx)
    }
}
