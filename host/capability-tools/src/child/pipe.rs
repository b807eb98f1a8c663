//! The reading end of a program's standard output.
//!
//! Programs write a few kilobytes at a time (pg_dump: four). Whoever waits for each piece is woken for each, and all stages
//! behind it too, which costs more than the bytes do: over two million changes of threads for a dump of 1.6 GB. So an empty pipe is
//! looked at again after a moment, in which the program goes on writing into the pipe's room; one that stays empty is waited for.

use std::future::Future as _;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Sleep, sleep};

/// A moment: the runtime's shortest.
const MOMENT: Duration = Duration::from_millis(1);

/// Empty after so many moments in a row, a pipe is waited for.
const MOMENTS: u32 = 20;

/// The most that one read asks for.
const READ: usize = 256 << 10;

/// A pipe that is read in gulps.
pub(crate) struct Pipe(State);

enum State {
    /// Looked at from time to time.
    Watched { pipe: OwnedFd, moments: u32, pause: Option<Pin<Box<Sleep>>> },
    /// Waited for.
    Awaited(Receiver),
    /// Between the two; stays only when the system refuses to wait.
    Broken,
}

impl Pipe {
    /// From the reading end of a pipe.
    pub(super) fn new(pipe: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        // The first piece is waited for: a program that only says its version ends no later for it.
        Ok(Self(State::Watched { pipe, moments: MOMENTS, pause: None }))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.0 {
                State::Watched { pipe, moments, pause } => {
                    if let Some(sleep) = pause {
                        ready!(sleep.as_mut().poll(cx));
                        *pause = None;
                    }
                    let most = buffer.remaining().min(READ);
                    match rustix::io::read(&*pipe, buffer.initialize_unfilled_to(most)) {
                        Ok(read) => {
                            buffer.advance(read);
                            *moments = 0;
                            return Poll::Ready(Ok(()));
                        }
                        Err(rustix::io::Errno::INTR) => {}
                        Err(rustix::io::Errno::AGAIN) if *moments < MOMENTS => {
                            *moments += 1;
                            *pause = Some(Box::pin(sleep(MOMENT)));
                        }
                        Err(rustix::io::Errno::AGAIN) => self.wait()?,
                        Err(errno) => return Poll::Ready(Err(errno.into())),
                    }
                }
                State::Awaited(pipe) => {
                    ready!(Pin::new(pipe).poll_read(cx, buffer))?;
                    self.watch()?;
                    return Poll::Ready(Ok(()));
                }
                State::Broken => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            }
        }
    }
}

impl Pipe {
    fn wait(&mut self) -> io::Result<()> {
        if let State::Watched { pipe, .. } = std::mem::replace(&mut self.0, State::Broken) {
            // What was written since the look counts: the system tells of it when it begins to watch.
            self.0 = State::Awaited(Receiver::from_owned_fd_unchecked(pipe)?);
        }
        Ok(())
    }

    fn watch(&mut self) -> io::Result<()> {
        if let State::Awaited(pipe) = std::mem::replace(&mut self.0, State::Broken) {
            self.0 = State::Watched { pipe: pipe.into_nonblocking_fd()?, moments: 0, pause: None };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::time::Instant;
    use tokio::io::AsyncReadExt as _;

    fn pair() -> (Pipe, std::fs::File) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        (Pipe::new(read).unwrap(), write.into())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn everything_arrives_in_order_however_it_is_written() {
        let (mut pipe, mut end) = pair();
        let written: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let expected = written.clone();
        let writer = std::thread::spawn(move || {
            for (n, piece) in written.chunks(4096).enumerate() {
                if n == 100 {
                    // Longer than an empty pipe is only looked at.
                    std::thread::sleep(MOMENT * MOMENTS * 3);
                }
                end.write_all(piece).unwrap();
            }
        });
        let mut read = Vec::new();
        pipe.read_to_end(&mut read).await.unwrap();
        writer.join().unwrap();
        assert!(read == expected, "{} bytes of {}", read.len(), expected.len());
    }

    /// Whoever waits is not woken for each piece: what was written within a moment is one read.
    #[tokio::test]
    async fn small_pieces_come_together() {
        let (mut pipe, mut end) = pair();
        let mut buffer = vec![0; 1 << 20];
        end.write_all(&[7; 64]).unwrap();
        assert_eq!(pipe.read(&mut buffer).await.unwrap(), 64);
        {
            let mut reading = Box::pin(pipe.read(&mut buffer));
            assert!(futures::poll!(&mut reading).is_pending(), "nothing is there yet");
            for _ in 0..500 {
                end.write_all(&[7; 64]).unwrap();
            }
            assert_eq!(reading.await.unwrap(), 32_000);
        }
        drop(end);
        assert_eq!(pipe.read(&mut buffer).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_end_without_a_byte_is_an_end() {
        let (mut pipe, end) = pair();
        let started = Instant::now();
        drop(end);
        assert_eq!(pipe.read(&mut [0; 10]).await.unwrap(), 0);
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn one_who_waits_is_woken_by_the_end() {
        let (mut pipe, end) = pair();
        let reading = tokio::spawn(async move { pipe.read(&mut [0; 10]).await.unwrap() });
        tokio::task::yield_now().await;
        drop(end);
        assert_eq!(tokio::time::timeout(Duration::from_secs(5), reading).await.unwrap().unwrap(), 0);
    }
}
