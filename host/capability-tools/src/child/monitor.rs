//! Stays with a program until it ends, and tells how.

use super::control::Control;
use super::stderr::Stderr;
use super::{Finished, Warrant};
use crate::connection::PrivateFolder;
use crate::launch::{Reply, read_reply};
use rota_authority::Outcome;
use rota_capability::RunContext;
use rota_capability::streams::Offloaded;
use rota_contract::{Error, Fault};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::sync::watch;

/// How long standard error may stay open after the program and all its children are gone. Only a process that the
/// launcher did not know can hold it.
const STRAGGLERS: Duration = Duration::from_secs(5);

pub(super) struct Monitor {
    pub(super) name: String,
    pub(super) folder: PrivateFolder,
    pub(super) launcher: tokio::process::Child,
    pub(super) control: Control,
    pub(super) replies: BufReader<UnixStream>,
    pub(super) stderr: Stderr,
    pub(super) stdin: Option<Offloaded<()>>,
    pub(super) run: Arc<RunContext>,
    pub(super) warrant: Warrant,
    pub(super) keep: Option<rota_capability::Forward>,
}

impl Monitor {
    /// Watch to the end, put the effect's outcome on record, then tell who waits. Aborted before, the folder goes, and the
    /// effect is on record as interrupted.
    pub(super) async fn watch(self, tell: watch::Sender<Option<Result<Finished, Error>>>) {
        let Self { name, folder, mut launcher, control, mut replies, stderr, stdin, run, warrant, keep } = self;
        let said = stderr.said();
        let reading = Offloaded::spawn(async move {
            stderr.read().await;
            Ok(())
        });
        let (stopped, killing) = (run.stopped(), control.clone());
        let _killer = Offloaded::spawn(async move {
            stopped.await;
            killing.kill();
            Ok(())
        });
        let (status, fed) = ended(&mut replies, &control, stdin).await;
        let _ = tokio::time::timeout(STRAGGLERS, reading).await;
        let _ = tokio::time::timeout(STRAGGLERS, launcher.wait()).await;
        drop(folder);
        // A server that was not reached for want of a pod: the program only saw a connection that ended.
        let lost =
            keep.and_then(|forward| forward.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        let stderr = said.finish();
        let result = match (fed, status) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(Reply::Ended(status))) => Ok(Finished { status, stderr }),
            (Ok(()), _) => Err(Error::Failed(Fault {
                code: "lost".into(),
                message: format!(
                    "{name}: its launcher was killed, and the program with it; how it would have ended is not known"
                ),
                detail: None,
                retryable: true,
            })),
        };
        let result = result.map(|mut finished| {
            if let (Some(lost), true) = (lost, finished.status != crate::Ended::Code(0)) {
                finished.stderr.push_str(&format!("\nthe port-forward to its database: {lost}\n"));
            }
            finished
        });
        record(warrant, &name, &result).await;
        let _ = tell.send(Some(result));
    }
}

/// How long what remains of a stream may take to come after the program that it was fed to has ended.
const REST: Duration = Duration::from_secs(5);

/// Wait for the end; a standard input that fails has the program killed.
///
/// A program may end with the last byte, before it was told that it was the last (`pg_restore` does), so that its end can be known
/// before that of the stream. Whoever wrote the stream must not be told then that it was not read to its end: it is read on until it
/// ends, or brings what the program did not want.
async fn ended(
    replies: &mut BufReader<UnixStream>,
    control: &Control,
    stdin: Option<Offloaded<()>>,
) -> (Option<Reply>, Result<(), Error>) {
    let mut fed = Ok(());
    let mut still_feeding = stdin.is_some();
    let mut feeding = std::pin::pin!(async move {
        match stdin {
            Some(pump) => pump.await,
            None => Ok(()),
        }
    });
    let mut reply = std::pin::pin!(read_reply(replies));
    loop {
        tokio::select! {
            reply = &mut reply => {
                if still_feeding {
                    // Its failure is nothing to a program that ended by itself.
                    let _ = tokio::time::timeout(REST, feeding).await;
                }
                return (reply.ok().flatten(), fed);
            }
            end = &mut feeding, if still_feeding => {
                still_feeding = false;
                if end.is_err() {
                    control.kill();
                }
                fed = end;
            }
        }
    }
}

async fn record(warrant: Warrant, name: &str, result: &Result<Finished, Error>) {
    let Warrant::Effect(permit) = warrant else { return };
    let outcome = match result {
        Ok(finished) => match finished.fault(name) {
            None => Outcome::Done("exited with 0".into()),
            Some(fault) => Outcome::Failed(fault.message),
        },
        Err(error) => Outcome::Failed(error.to_string()),
    };
    if let Err(error) = permit.finish(outcome).await {
        tracing::error!(%error, "the outcome of a program could not be recorded");
    }
}
