//! The resource `child` of the interface `process`: whatever runs for a guest, wherever it runs.

use crate::streams::Reader;
use futures::future::BoxFuture;
use rota_contract::Error;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildStatus {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// It was never started: the run is a plan.
    Planned,
}

/// How it ended, with the last it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildEnded {
    /// How.
    pub status: ChildStatus,
    /// The end of its standard error, masked.
    pub stderr: String,
}

/// What runs. Dropped, it is ended.
pub trait Process: Send + 'static {
    /// Its standard output, once. The reader fails at its end unless all went well.
    ///
    /// # Errors
    /// `conflict` when it was taken before.
    fn stdout(&mut self) -> Result<Reader, Error>;

    /// What waits for its end. An output that nobody took is discarded from then on.
    fn wait(&mut self) -> BoxFuture<'static, Result<ChildEnded, Error>>;

    /// What ends it. One that has ended is no error.
    fn kill(&mut self) -> BoxFuture<'static, Result<(), Error>>;
}

/// As a guest holds it.
pub struct Child(Box<dyn Process>);

impl Child {
    /// Of what runs.
    pub fn new(process: impl Process) -> Self {
        Self(Box::new(process))
    }

    /// Of what a plan did not start.
    pub fn planned() -> Self {
        Self::new(Planned(false))
    }

    /// See [`Process::stdout`].
    ///
    /// # Errors
    /// `conflict` when it was taken before.
    pub fn stdout(&mut self) -> Result<Reader, Error> {
        self.0.stdout()
    }

    /// See [`Process::wait`].
    pub fn wait(&mut self) -> BoxFuture<'static, Result<ChildEnded, Error>> {
        self.0.wait()
    }

    /// See [`Process::kill`].
    pub fn kill(&mut self) -> BoxFuture<'static, Result<(), Error>> {
        self.0.kill()
    }
}

/// Never started. Whether its empty output was taken.
struct Planned(bool);

impl Process for Planned {
    fn stdout(&mut self) -> Result<Reader, Error> {
        if std::mem::replace(&mut self.0, true) {
            return Err(taken());
        }
        Ok(Box::pin(tokio::io::empty()))
    }

    fn wait(&mut self) -> BoxFuture<'static, Result<ChildEnded, Error>> {
        Box::pin(async { Ok(ChildEnded { status: ChildStatus::Planned, stderr: String::new() }) })
    }

    fn kill(&mut self) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }
}

/// What a second call for the output answers.
pub fn taken() -> Error {
    Error::Conflict("the child's standard output was taken before, or discarded by `wait`".into())
}
