//! The records, whichever engine keeps them.

mod seam;

use crate::read::{self, Readers};
use crate::rows::{Claim, Hint, RunRow};
use crate::session::Shared;
use crate::write::claim::ClaimRuns;
use crate::write::reap;
use crate::writer::Writer;
use crate::{Process, RunState, StoreError};
use rota_protocol::Incarnation;
use tokio::sync::broadcast;

/// The records, kept by an engine: [`crate::SqliteStore`] or [`crate::PostgresStore`].
pub struct Records<E> {
    pub(crate) engine: E,
    pub(crate) shared: Shared,
    pub(crate) writer: Writer,
    pub(crate) readers: Readers,
    pub(crate) hints: broadcast::Sender<Hint>,
}

/// What only one engine has.
pub trait Kept: Send + Sync + 'static {
    /// Whether all that work on the records are processes of this machine, so that one can see which of them are gone.
    fn is_of_one_machine(&self) -> bool;
    /// End what is more than connections.
    fn close(&self);
}

/// A session for reading, as `$session`, in an expression.
macro_rules! reading {
    ($self:ident, |$session:ident| $query:expr) => {{
        let mut reader = $self.readers.reader(&$self.shared).await?;
        let mut opened = reader.session(&$self.shared);
        let $session = &mut opened;
        $query.await
    }};
}
use reading;

impl<E: Kept> Records<E> {
    /// The whole id of a run.
    pub(super) async fn resolve(&self, given: &str) -> Result<String, StoreError> {
        let mut candidates = reading!(self, |session| read::run::ids(session, given))?;
        match candidates.len() {
            0 => Err(StoreError::NotFound(given.chars().filter(|c| !c.is_control()).take(64).collect())),
            1 => Ok(candidates.remove(0)),
            _ => Err(StoreError::Ambiguous { given: given.into(), candidates }),
        }
    }

    /// Who holds runs and is certainly gone. This process is not, whatever it called itself.
    async fn gone(&self) -> Result<Vec<Incarnation>, StoreError> {
        if !self.engine.is_of_one_machine() {
            return Ok(Vec::new());
        }
        let holders = reading!(self, |session| read::schedule::holders(session))?;
        if holders.is_empty() {
            return Ok(Vec::new());
        }
        let this = Process::this();
        Ok(holders
            .into_iter()
            .filter(|(_, process)| *process != this && process.is_gone())
            .map(|(incarnation, _)| incarnation)
            .collect())
    }

    async fn reap_all(&self, gone: Vec<Incarnation>) -> Result<Vec<(String, RunState)>, StoreError> {
        let mut all = Vec::new();
        loop {
            let some = self.writer.ask(reap::Reap { gone: gone.clone() }).await?;
            let last = some.len() < reap::BATCH as usize;
            all.extend(some);
            if last {
                return Ok(all);
            }
        }
    }

    /// Runs whose process is gone are seen as what they are, at once. What cannot be written now (a full disk) can still be read: those that are
    /// answered are to be shown as unknown all the same.
    async fn sweep_before_reading(&self) -> Result<Vec<Incarnation>, StoreError> {
        let gone = self.gone().await?;
        if gone.is_empty() {
            return Ok(gone);
        }
        match self.reap_all(gone.clone()).await {
            Ok(_) => Ok(Vec::new()),
            Err(error) => {
                tracing::warn!(%error, "runs whose process is gone could not be recorded as unknown");
                Ok(gone)
            }
        }
    }

    fn claim_of(claim: Claim<'_>) -> ClaimRuns {
        ClaimRuns {
            by: claim.by.clone(),
            host: claim.host.to_owned(),
            lease: claim.lease,
            labels: claim.labels.clone(),
            most: claim.most,
            only: claim.only.map(str::to_owned),
            unable: claim.unable.to_vec(),
        }
    }
}

/// What a run looks like whose process is gone, where that could not be written.
fn shown(mut row: RunRow, gone: &[Incarnation]) -> RunRow {
    let lost = row.lease.as_ref().is_some_and(|lease| gone.contains(&lease.holder));
    if lost && row.state == RunState::Running {
        row.state = RunState::Unknown;
    }
    row
}
