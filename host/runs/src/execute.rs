//! A prepared run, done by this process at once: `rota run`.

use crate::attempt::Doing;
use crate::heart::Heart;
use crate::held::{Held, HeldRuns};
use crate::host::Host;
use crate::job::{Occasion, new_run};
use crate::observer::Watcher;
use crate::prepare::Prepared;
use crate::records::RecordsError;
use crate::view::RunView;
use crate::worker::WorkerOptions;
use rota_protocol::{Incarnation, Span};
use rota_sandbox::Cancel;
use rota_store::{AttemptEnded, Claim, NewHost, Process, StoreError};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// Why a run could not be executed, or is not on record.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// Its job asks for an approval, which is given to a queued run.
    #[error(
        "the job `{0}` asks for an approval: put the run into the queue with `rota jobs run {0}`, and have somebody approve it with `rota approvals approve RUN`; `rota run {0} --plan` shows what it would do"
    )]
    NeedsApproval(String),
    /// Another run holds what it needs alone.
    #[error("{0}")]
    Busy(StoreError),
    /// The beginning could not be recorded: nothing was run.
    #[error("the run was not begun: {0}")]
    NotBegun(StoreError),
    /// The record could not be read back.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl Host {
    /// Execute a prepared run, its attempts and what there is to undo.
    ///
    /// # Errors
    /// Only when it cannot be recorded: how the run itself ended is in the view.
    pub async fn execute(
        &self,
        prepared: Prepared,
        watcher: Arc<dyn Watcher>,
        cancel: &Cancel,
    ) -> Result<RunView, ExecuteError> {
        let occasion = Occasion { trigger: prepared.trigger.as_str().into(), ..Occasion::default() };
        self.execute_on(prepared, &occasion, watcher, cancel).await
    }

    /// The same, on another occasion than that somebody asked for it.
    ///
    /// # Errors
    /// Only when it cannot be recorded: how the run itself ended is in the view.
    pub async fn execute_on(
        &self,
        prepared: Prepared,
        occasion: &Occasion,
        watcher: Arc<dyn Watcher>,
        cancel: &Cancel,
    ) -> Result<RunView, ExecuteError> {
        if let Some(job) = self.asks_for_approval(&prepared) {
            return Err(ExecuteError::NeedsApproval(job));
        }
        let options = WorkerOptions { capacity: 0, ..WorkerOptions::default() };
        let incarnation = Incarnation(uuid::Uuid::new_v4().to_string());
        let new = NewHost {
            incarnation: incarnation.clone(),
            name: options.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            labels: options.labels.clone(),
            configuration: String::new(),
            capacity: 0,
            process: Process::this(),
        };
        let store = self.store().clone();
        store.register_host(new).await.map_err(ExecuteError::NotBegun)?;
        let mut run = new_run(&prepared, &self.settings(), occasion);
        // Nobody would go on with it.
        run.policy.alone |= !self.records().is_served().await.unwrap_or(false);
        let id = run.id.clone();
        let claim = Claim {
            by: &incarnation,
            host: &options.name,
            lease: Span::from(options.lease),
            labels: &options.labels,
            most: 1,
            only: None,
            unable: &[],
        };
        let asked = Instant::now();
        let claimed = store.begin_held(run, claim).await.map_err(|error| match error {
            error @ StoreError::Conflict { .. } => ExecuteError::Busy(error),
            error => ExecuteError::NotBegun(error),
        })?;
        let runs = Arc::new(HeldRuns::default());
        let heart = Heart {
            store: store.clone(),
            incarnation: incarnation.clone(),
            lease: options.lease,
            held: runs.clone(),
            drain: watch::channel(false).0,
            answered: watch::channel(None).0,
            beaten: std::sync::Mutex::new(Instant::now()),
        };
        let mut doing =
            Doing { held: Held::new(&claimed, asked, options.lease, cancel.clone()), claimed, prepared, watcher };
        let work = async {
            loop {
                let holding = runs.add(doing.held.clone());
                let ended = self.do_all(&doing).await;
                drop(holding);
                if ended != Some(AttemptEnded::Requeued) {
                    return;
                }
                // This process goes on with it, unless another takes it first.
                match self.claim_again(&id, claim, cancel).await {
                    Some((claimed, asked)) => {
                        doing.held = Held::new(&claimed, asked, options.lease, cancel.clone());
                        doing.claimed = claimed;
                    }
                    None => return,
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = heart.beat_for_ever() => {}
        }
        let _ = store.leave(&incarnation).await;
        Ok(self.records().find(&id).await?)
    }

    /// Wait until the run is due again, and claim it, with when it was asked for: the lease counts from there, and not from before the
    /// wait. None when somebody else has taken it, or it was cancelled.
    async fn claim_again(
        &self,
        run: &str,
        claim: Claim<'_>,
        cancel: &Cancel,
    ) -> Option<(rota_store::Claimed, Instant)> {
        loop {
            let row = self.store().run(run).await.ok()?;
            if row.state.is_final() || row.state.is_held() && row.lease.is_some() {
                return None;
            }
            let wait = (row.due - chrono::Utc::now()).to_std().unwrap_or_default();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = cancel.cancelled() => {
                    let wish = rota_store::CancelWish {
                        by: "the person who began it".into(), at: chrono::Utc::now(), terminate: false, note: None,
                    };
                    let state = self.store().cancel(run, wish).await.ok()?;
                    if state.is_final() {
                        return None;
                    }
                }
            }
            let asked = Instant::now();
            match self.store().claim(Claim { only: Some(run), ..claim }).await.map(|claimed| claimed.into_iter().next())
            {
                Ok(Some(claimed)) => return Some((claimed, asked)),
                Ok(None) => tokio::time::sleep(std::time::Duration::from_millis(200)).await,
                Err(error) => {
                    tracing::warn!(%error, "the run waits in the store for its next attempt");
                    return None;
                }
            }
        }
    }
}
