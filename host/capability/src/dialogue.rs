//! What is said with a guest while it runs: for the one kind of run that a person talks with (`rota shell`). Of every other run a guest's
//! stdin is empty, and its stdout is its log.

use crate::guest::RunContext;
use crate::observer::LogLevel;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, DuplexStream, ReadBuf, duplex};
use tokio_util::sync::WaitForCancellationFutureOwned;

/// How many bytes wait on either way before whoever writes has to.
const WAITING: usize = 64 << 10;

/// The guest's stdin and stdout, as two pipes whose other ends somebody on this host holds.
pub struct Dialogue {
    ends: Mutex<Option<(DuplexStream, DuplexStream)>>,
    run: OnceLock<Weak<RunContext>>,
    granted: Mutex<Vec<(String, Vec<String>)>>,
}

impl Dialogue {
    /// A dialogue with what is written to the guest, and what is read from it. The guest's stdin ends when the first is dropped; the second
    /// ends when the guest does.
    pub fn new() -> (Arc<Self>, DuplexStream, DuplexStream) {
        let (to, stdin) = duplex(WAITING);
        let (stdout, from) = duplex(WAITING);
        let dialogue =
            Self { ends: Mutex::new(Some((stdin, stdout))), run: OnceLock::new(), granted: Mutex::default() };
        (Arc::new(dialogue), to, from)
    }

    pub(crate) fn attach(&self, run: &Arc<RunContext>) {
        let _ = self.run.set(Arc::downgrade(run));
    }

    /// The run; none before it begins and after it has ended.
    pub fn run(&self) -> Option<Arc<RunContext>> {
        self.run.get().and_then(Weak::upgrade)
    }

    /// Grant the run more on a slot that is bound, and say so in its log. False: there is no run, or nothing is bound to the slot.
    pub fn grant(&self, slot: &str, accesses: &[String]) -> bool {
        let Some(run) = self.run().filter(|run| run.gate.widen(slot, accesses)) else { return false };
        self.granted.lock().unwrap_or_else(PoisonError::into_inner).push((slot.to_owned(), accesses.to_vec()));
        run.log(LogLevel::Info, "host", &format!("granted on {slot}: {}", accesses.join(" + ")), &[]);
        true
    }

    /// What was granted meanwhile: whatever undoes what was done needs it, too.
    pub fn granted(&self) -> Vec<(String, Vec<String>)> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The guest's ends. There is one guest: a second time there is nothing, and so in a later attempt of the run.
    pub fn take(&self) -> Option<Ends> {
        let taken = self.ends.lock().unwrap_or_else(PoisonError::into_inner).take();
        let run = self.run()?;
        taken.map(|(stdin, stdout)| Ends { stdin: UntilOver { stdin, over: Box::pin(run.over()) }, stdout })
    }
}

/// A guest's ends of a dialogue.
pub struct Ends {
    /// What it reads; at its end also when the run is told to stop.
    pub stdin: UntilOver,
    /// What it writes.
    pub stdout: DuplexStream,
}

/// A stdin that ends when its run is told to stop.
pub struct UntilOver {
    stdin: DuplexStream,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl AsyncRead for UntilOver {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stdin).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::Dialogue;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn nobody_has_a_dialogue_but_the_guest_of_its_run_and_that_one_once() {
        let (dialogue, _to, _from) = Dialogue::new();
        assert!(dialogue.run().is_none() && dialogue.take().is_none());
    }

    #[tokio::test]
    async fn an_interruption_ends_what_is_under_way_and_what_is_begun_until_it_is_over() {
        let run = crate::guest::tests::run();
        let (dialogue, mut to, _from) = Dialogue::new();
        run.converse(&dialogue);
        let mut ends = dialogue.take().unwrap();
        assert!(dialogue.take().is_none(), "there is one guest");
        to.write_all(b"1\n").await.unwrap();
        let mut read = [0; 2];
        ends.stdin.read_exact(&mut read).await.unwrap();
        let before = run.stopped();
        run.interrupt();
        before.await;
        run.stopped().await;
        assert!(run.is_interrupted() && !run.is_stopped());
        run.resume();
        let soon = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, run.stopped()).await.is_err() && !run.is_interrupted());
        let after = run.stopped();
        run.stop();
        after.await;
        assert_eq!(ends.stdin.read(&mut read).await.unwrap(), 0, "a run that is told to stop hears nothing more");
        // What was interrupted when the run was told to stop does not go on.
        run.interrupt();
        run.resume();
        run.stopped().await;
    }
}
