//! What a person does to runs that are on record: cancel, retry, settle; and what becomes of it.

use crate::host::Host;
use crate::job::{Occasion, ReviveError, new_run};
use crate::prepare::Prepared;
use crate::records::{RecordsError, RunRecords};
use chrono::Utc;
use rota_authority::Mode;
use rota_protocol::{End, RunState, WaitReason};
use rota_store::{CancelWish, HostRow, StoreError};

/// Who acts, for the record: the user of this process, at its machine.
#[must_use]
pub fn acting() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "somebody".into());
    format!("{}@{}", rota_telemetry::sanitize_line(&user), crate::host_name())
}

impl RunRecords {
    /// Wish a run cancelled; answers its state after it. One that is held ends where it is held, soon.
    ///
    /// # Errors
    /// When there is no such run, or it is over.
    pub async fn cancel(&self, run: &str, terminate: bool, note: Option<String>) -> Result<RunState, RecordsError> {
        let run = self.store.run(run).await?.run.id;
        let wish = CancelWish { by: acting(), at: Utc::now(), terminate, note };
        Ok(self.store.cancel(&run, wish).await?)
    }

    /// Put on record what a person did about what a run left.
    ///
    /// # Errors
    /// When there is no such run, or nothing of it is to be settled.
    pub async fn settle(&self, run: &str, end: End, note: &str) -> Result<(), RecordsError> {
        let run = self.store.run(run).await?.run.id;
        Ok(self.store.settle(&run, end, &acting(), note).await?)
    }

    /// Have the failed undo of a run tried again, by whoever serves.
    ///
    /// # Errors
    /// When there is no such run, or its undo has not failed.
    pub async fn retry_undo(&self, run: &str) -> Result<(), RecordsError> {
        let run = self.store.run(run).await?.run.id;
        Ok(self.store.retry_undo(&run, &acting()).await?)
    }

    /// Approve a run that waits for it: it is queued from here on, and says by whom it was approved.
    ///
    /// # Errors
    /// When there is no such run, or it does not wait for an approval.
    pub async fn approve(&self, run: &str, note: Option<&str>) -> Result<(), RecordsError> {
        let run = self.store.run(run).await?.run.id;
        let said = note.map(|note| format!(": {note}")).unwrap_or_default();
        Ok(self.store.release(&run, WaitReason::Approval, &format!("approved by {}{said}", acting())).await?)
    }

    /// Refuse a run that waits for an approval: it is cancelled.
    ///
    /// # Errors
    /// When there is no such run, or it does not wait for an approval.
    pub async fn reject(&self, run: &str, note: &str) -> Result<(), RecordsError> {
        let row = self.store.run(run).await?;
        if row.wait != Some(WaitReason::Approval) {
            return Err(StoreError::Misfit(format!("the run `{}` does not wait for approval", row.run.id)).into());
        }
        self.cancel(&row.run.id, false, Some(note.into())).await.map(drop)
    }

    /// The hosts that serve.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn hosts(&self) -> Result<Vec<HostRow>, StoreError> {
        let all = self.store.hosts().await?;
        // A process that only runs one thing for a person takes nothing from the queue.
        Ok(all.into_iter().filter(|host| host.host.capacity > 0).collect())
    }

    /// Whether somebody takes runs from the queue.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn is_served(&self) -> Result<bool, StoreError> {
        Ok(self.hosts().await?.iter().any(|host| host.alive && !host.draining))
    }

    /// Let a host take nothing more, or take runs again; answers how many hosts it concerns.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn drain(&self, host: &str, drain: bool) -> Result<u64, StoreError> {
        self.store.drain_host(host, drain).await
    }
}

impl Host {
    /// A past run once more, with the same inputs, as it would be done now.
    ///
    /// # Errors
    /// When there is no such run, or it cannot be done here.
    pub async fn prepare_again(&self, run: &str) -> Result<(Prepared, Occasion), AgainError> {
        let row = self.store().run(run).await?;
        let prepared = self.revive(&row.run, false).await?;
        // What a script does is agreed to each time: it was planned then, for what there was then.
        let changes = prepared.grants.iter().any(|grant| grant.accesses.iter().any(|access| access != "read"));
        if prepared.job.is_none()
            && prepared.mode == Mode::Execute
            && changes
            && SCRIPTS.contains(&&*prepared.loaded.descriptor.name)
        {
            return Err(AgainError::Script);
        }
        let occasion = Occasion {
            trigger: "retry".into(),
            scheduled_for: row.run.scheduled_for,
            parent: Some(row.run.id),
            ..Occasion::default()
        };
        Ok((prepared, occasion))
    }

    /// Put a prepared run into the queue; answers its id.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub async fn enqueue(&self, prepared: &Prepared, occasion: &Occasion) -> Result<String, StoreError> {
        let run = new_run(prepared, &self.settings(), occasion);
        let id = run.id.clone();
        self.store().enqueue(vec![run]).await?;
        Ok(id)
    }
}

/// The plugins that run what `rota exec` is given.
const SCRIPTS: [&str; 2] = ["script", "sql-script"];

/// Why a run is not done again.
#[derive(Debug, thiserror::Error)]
pub enum AgainError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was a script that may change something.
    #[error("a script that may change something is run again by `rota exec`, which plans it first and asks")]
    Script,
    /// It cannot be done here.
    #[error("the run cannot be done again here: {0}")]
    Revive(#[from] ReviveError),
}
