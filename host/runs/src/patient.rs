//! Waiting for a store that is away: what a run needs on record before it goes on is asked for again, for as long as its lease certainly
//! lasts. Once the lease cannot be proven, nothing new begins.

use crate::held::{Held, Stop};
use async_trait::async_trait;
use rota_authority::{EffectRecord, Ledger, LedgerError, Outcome};
use rota_store::StoreError;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long is waited before a store that is away is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// Ask a store that may be away, for as long as the lease certainly lasts.
pub(crate) async fn patiently<T, F>(held: &Held, ask: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    loop {
        match ask().await {
            Err(error) if error.is_passing() && may_wait(held) => tokio::time::sleep(AGAIN).await,
            answer => return answer,
        }
    }
}

fn may_wait(held: &Held) -> bool {
    Instant::now() < held.proven_until() && held.stopped() != Some(Stop::LeaseLost)
}

/// A run's ledger that waits for the store with each effect that is to begin. How effects ended is spooled by the store itself.
pub(crate) struct PatientLedger {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) held: Arc<Held>,
}

#[async_trait]
impl Ledger for PatientLedger {
    async fn begin(&self, effect: EffectRecord) -> Result<u64, LedgerError> {
        self.held.has_effect();
        loop {
            match self.ledger.begin(effect.clone()).await {
                Err(LedgerError::Away(error)) if may_wait(&self.held) => {
                    tracing::debug!(run = self.held.run, error, "an effect waits for the store");
                    tokio::time::sleep(AGAIN).await;
                }
                answer => return answer,
            }
        }
    }

    async fn finish(&self, sequence: u64, outcome: Outcome) -> Result<(), LedgerError> {
        self.ledger.finish(sequence, outcome).await
    }

    fn interrupted(&self, sequence: u64) {
        self.ledger.interrupted(sequence);
    }
}
