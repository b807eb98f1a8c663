//! A server that has a folder to itself, and the means to break it: what most servers of the test bed are.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::server::{Folder, Server};
use crate::wait::eventually;

/// A folder and the one server that runs in it. Both are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct OneServer {
    /// None before the first start, and after `kill`.
    server: Option<Server>,
    folder: Folder,
}

impl OneServer {
    /// The folder, with no server in it yet.
    pub(crate) fn new(folder: Folder) -> Self {
        Self { server: None, folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it and waits until it `answers`; an error of that means "not yet". `what` is waited for, for the error's text.
    pub(crate) async fn run(
        &mut self,
        name: &'static str,
        command: &Command,
        within: Duration,
        what: &str,
        mut answers: impl AsyncFnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let mut server = Server::start(name, command, &self.folder, "KILL")?;
        eventually(within, what, async || {
            // An outer error means that there is nothing to wait for.
            if let Err(ended) = server.check_running() {
                return Ok(Some(Err(ended)));
            }
            Ok(answers().await?.then_some(Ok(())))
        })
        .await??;
        self.server = Some(server);
        Ok(())
    }

    /// Kills it, in the middle of what it does.
    pub(crate) fn kill(&mut self) {
        self.folder.kill();
        if let Some(mut server) = self.server.take() {
            server.collect();
        }
    }

    /// Stops it where it is (SIGSTOP): it accepts connections and answers nothing.
    pub(crate) fn pause(&self) {
        self.folder.signal(Signal::STOP);
    }

    /// Lets it go on after `pause`.
    pub(crate) fn resume(&self) {
        self.folder.signal(Signal::CONT);
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.server.as_mut().is_some_and(Server::is_running)
    }
}

impl Drop for OneServer {
    fn drop(&mut self) {
        self.kill();
    }
}
