//! What a run of a team uses up of what the team has in a day: CPU time and bytes, set aside in the store a slice at a time.

use crate::teams::TeamOf;
use async_trait::async_trait;
use rota_authority::{Allowance, AllowanceError, UsedUp};
use rota_protocol::Span;
use rota_store::{Store, StoreError, TeamQuota, TeamQuotas, TeamShare};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// CPU time is set aside for so long at first, and for no longer at once: what a host that vanishes leaves uncounted for is no more a run.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);

/// Bytes are set aside for so many at first, and for no more at once.
const FEWEST: u64 = 1 << 20;
const MOST: u64 = 64 << 20;

/// No slice is a greater part of a quota: what one run has set aside and does not use must not keep the others from what is there.
const PARTS: u32 = 16;

/// The least CPU time that it is worth asking the store for.
const LEAST: Duration = Duration::from_millis(10);

/// How long a run goes on whose CPU time cannot be counted now, because the store is away. It is counted afterwards.
const UNCOUNTED: Duration = Duration::from_secs(1);

/// How long is waited before a store that is away is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// So often is a store asked that is away, before bytes are refused.
const TRIES: u32 = 25;

/// What one attempt, or one compensation, of a run has of its team's quotas.
pub(crate) struct Share {
    store: Arc<dyn Store>,
    team: TeamOf,
    most: TeamQuotas,
    /// Microseconds of CPU time that are covered.
    covered: AtomicU64,
    /// What was set aside, all of it.
    taken: Mutex<Taken>,
    /// Asked one after the other, so that two streams do not both set aside for the same need.
    asking: tokio::sync::Mutex<()>,
}

struct Taken {
    day: i64,
    cpu: Span,
    /// Bytes set aside that are not sent yet.
    left: u64,
    /// The slice before.
    bytes: u64,
}

/// Why a run of a team does not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAdmitted {
    /// Nothing is left of a quota.
    #[error(transparent)]
    UsedUp(#[from] UsedUp),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Share {
    /// Count a run in, once, with its first CPU time.
    pub(crate) async fn begin(store: Arc<dyn Store>, run: &str, team: TeamOf) -> Result<Arc<Self>, NotAdmitted> {
        let most = team.quotas();
        match store.begin_team_run(run, &team.name, slice(&most, FIRST).into(), &most).await? {
            Ok(first) => Ok(Arc::new(Self::new(store, team, most, &first))),
            Err(quota) => Err(used_up(&team, quota).into()),
        }
    }

    /// What a compensation uses is counted, and never refused: what was done is undone.
    pub(crate) fn of_undo(store: Arc<dyn Store>, team: TeamOf) -> Arc<Self> {
        let nothing = TeamShare { day: 0, cpu: Span(0), bytes_out: 0 };
        Arc::new(Self::new(store, team, TeamQuotas::default(), &nothing))
    }

    fn new(store: Arc<dyn Store>, team: TeamOf, most: TeamQuotas, first: &TeamShare) -> Self {
        let taken = Taken { day: first.day, cpu: first.cpu, left: first.bytes_out, bytes: 0 };
        let covered = AtomicU64::new(micros(first.cpu));
        Self { store, team, most, covered, taken: Mutex::new(taken), asking: tokio::sync::Mutex::default() }
    }

    /// The team's name.
    pub(crate) fn team(&self) -> &str {
        &self.team.name
    }

    /// How many effects a day may be.
    pub(crate) fn effects(&self) -> Option<u64> {
        self.most.effects
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run has used so much: what was set aside beyond it is given back, and what was used beyond what was set aside is counted.
    pub(crate) async fn settle(&self, used: Duration) {
        let share = {
            let taken = self.taken();
            let cpu = Span(taken.cpu.0.saturating_sub(Span::from(used).0));
            TeamShare { day: taken.day, cpu, bytes_out: taken.left }
        };
        if (share.cpu.0, share.bytes_out) == (0, 0) {
            return;
        }
        // A compensation has had nothing set aside, and no day with it.
        let told = if share.day == 0 {
            let used = Span(share.cpu.0.saturating_neg());
            self.store.take_team_share(&self.team.name, used, 0, &self.most).await.map(drop)
        } else {
            self.store.give_back_team_share(&self.team.name, share).await
        };
        if let Err(error) = told {
            tracing::warn!(team = self.team.name, %error, "what a run of the team did not use could not be given back, and counts as used");
        }
    }

    /// Have more bytes set aside: so many at least, or the quota is used up.
    async fn take_bytes(&self, bytes: u64) -> Result<(), AllowanceError> {
        let wanted = {
            let taken = self.taken();
            let slice = taken.bytes.saturating_mul(2).clamp(FEWEST, MOST);
            let slice = self.most.bytes_out.map_or(slice, |most| slice.min(most / u64::from(PARTS)));
            bytes.saturating_sub(taken.left).max(slice)
        };
        let mut tries = 0;
        let share = loop {
            match self.store.take_team_share(&self.team.name, Span(0), wanted, &self.most).await {
                Ok(share) => break share,
                Err(error) if error.is_passing() && tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(AllowanceError::Away(error.to_string())),
            }
        };
        let mut taken = self.taken();
        taken.day = share.day;
        taken.left = taken.left.saturating_add(share.bytes_out);
        taken.bytes = wanted;
        if taken.left < bytes {
            return Err(used_up(&self.team, TeamQuota::BytesOut).into());
        }
        Ok(())
    }
}

#[async_trait]
impl Allowance for Share {
    async fn send(&self, bytes: u64) -> Result<(), AllowanceError> {
        // Held until it is counted: nobody else uses meanwhile what was set aside for this.
        let _asking = self.asking.lock().await;
        if self.taken().left < bytes {
            self.take_bytes(bytes).await?;
        }
        self.taken().left -= bytes;
        Ok(())
    }

    fn covers(&self, used: Duration) -> bool {
        // Two ticks ahead, so that what is used until it is looked at again is covered, too.
        used.as_micros() + 4_000 <= u128::from(self.covered.load(Ordering::Acquire))
    }

    async fn cover(&self, used: Duration) -> Result<(), UsedUp> {
        let covered = Duration::from_micros(self.covered.load(Ordering::Acquire));
        let wanted = slice(&self.most, (used / 4).clamp(FIRST, LONGEST)) + used.saturating_sub(covered);
        let cpu = match self.store.take_team_share(&self.team.name, wanted.into(), 0, &self.most).await {
            Ok(share) if share.cpu.0 > 0 => {
                let mut taken = self.taken();
                taken.day = share.day;
                taken.cpu = Span(taken.cpu.0.saturating_add(share.cpu.0));
                micros(share.cpu)
            }
            Ok(_) => return Err(used_up(&self.team, TeamQuota::Cpu)),
            Err(error) => {
                tracing::warn!(team = self.team.name, %error, "the CPU time of a run of the team cannot be counted now, and is counted later");
                u64::try_from(UNCOUNTED.as_micros()).unwrap_or(0)
            }
        };
        self.covered.fetch_add(cpu, Ordering::AcqRel);
        Ok(())
    }
}

/// A slice of CPU time that is no great part of the quota.
fn slice(most: &TeamQuotas, wish: Duration) -> Duration {
    most.cpu.map_or(wish, |most| wish.min(Duration::from(most) / PARTS).max(LEAST))
}

fn micros(span: Span) -> u64 {
    u64::try_from(span.0).unwrap_or(0)
}

/// Nothing is left of a team's quota.
fn used_up(team: &TeamOf, quota: TeamQuota) -> UsedUp {
    let quotas = &team.team.quotas;
    let shown = |limit: Option<String>| limit.unwrap_or_else(|| "none".into());
    let (setting, limit, what) = match quota {
        TeamQuota::Runs => ("runs_per_day", shown(quotas.runs_per_day.map(|n| n.to_string())), "runs"),
        TeamQuota::Cpu => ("cpu_per_day", shown(quotas.cpu_per_day.map(|n| n.to_string())), "of CPU time"),
        TeamQuota::BytesOut => {
            ("bytes_out_per_day", shown(quotas.bytes_out_per_day.map(|n| n.to_string())), "sent out")
        }
        TeamQuota::Effects => ("effects_per_day", shown(quotas.effects_per_day.map(|n| n.to_string())), "effects"),
    };
    UsedUp { team: team.name.clone(), setting, limit, what }
}
