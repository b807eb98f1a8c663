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

/// What was set aside. A slice is of the day in which it was, by the database's clock: it counts there, also where it is used after midnight,
/// and what is not used of it is given back to that day and to no other.
#[derive(Default)]
struct Taken {
    /// A share for each day in which something was set aside, the oldest first: its CPU time, and those bytes that are not sent yet.
    shares: Vec<TeamShare>,
    /// The slice of bytes before.
    bytes: u64,
}

impl Taken {
    fn add(&mut self, share: TeamShare) {
        match self.shares.last_mut().filter(|last| last.day == share.day) {
            Some(last) => {
                last.cpu = Span(last.cpu.0.saturating_add(share.cpu.0));
                last.bytes_out = last.bytes_out.saturating_add(share.bytes_out);
            }
            None => self.shares.push(share),
        }
    }

    /// Bytes that are not sent yet.
    fn left(&self) -> u64 {
        self.shares.iter().fold(0, |left, share| left.saturating_add(share.bytes_out))
    }

    /// So many bytes are sent: those that were set aside first.
    fn send(&mut self, mut bytes: u64) {
        for share in &mut self.shares {
            let sent = share.bytes_out.min(bytes);
            share.bytes_out -= sent;
            bytes -= sent;
        }
    }

    /// What is not used of each day's where so much CPU time was used, and how much of that is beyond all that was set aside.
    fn rest(&self, used: Span) -> (Vec<TeamShare>, Span) {
        let mut beyond = used.0.max(0);
        let mut rest = Vec::new();
        for share in &self.shares {
            let of_it = share.cpu.0.min(beyond);
            beyond -= of_it;
            rest.push(TeamShare { cpu: Span(share.cpu.0 - of_it), ..*share });
        }
        rest.retain(|share| (share.cpu.0, share.bytes_out) != (0, 0));
        (rest, Span(beyond))
    }
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
            Ok(first) => Ok(Arc::new(Self::new(store, team, most, Some(first)))),
            Err(quota) => Err(used_up(&team, quota).into()),
        }
    }

    /// What a compensation uses is counted, and never refused: what was done is undone.
    pub(crate) fn of_undo(store: Arc<dyn Store>, team: TeamOf) -> Arc<Self> {
        Arc::new(Self::new(store, team, TeamQuotas::default(), None))
    }

    fn new(store: Arc<dyn Store>, team: TeamOf, most: TeamQuotas, first: Option<TeamShare>) -> Self {
        let taken = Taken { shares: first.into_iter().collect(), bytes: 0 };
        let covered = AtomicU64::new(first.map_or(0, |first| micros(first.cpu)));
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
        let (rest, beyond) = self.taken().rest(used.into());
        let mut told = Ok(());
        for share in rest {
            told = told.and(self.store.give_back_team_share(&self.team.name, share).await);
        }
        if beyond.0 > 0 {
            // It was used, whatever is left of the quota: all of it counts, now.
            let counted = self.store.take_team_share(&self.team.name, beyond, 0, &TeamQuotas::default()).await;
            told = told.and(counted.map(drop));
        }
        if let Err(error) = told {
            tracing::warn!(team = self.team.name, %error, "what a run of the team has used could not be settled: what was set aside for it counts as used, and nothing else");
        }
    }

    /// Have more bytes set aside: so many at least, or the quota is used up.
    async fn take_bytes(&self, bytes: u64) -> Result<(), AllowanceError> {
        let wanted = {
            let taken = self.taken();
            let slice = taken.bytes.saturating_mul(2).clamp(FEWEST, MOST);
            let slice = self.most.bytes_out.map_or(slice, |most| slice.min(most / u64::from(PARTS)));
            bytes.saturating_sub(taken.left()).max(slice)
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
        taken.add(share);
        taken.bytes = wanted;
        if taken.left() < bytes {
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
        if self.taken().left() < bytes {
            self.take_bytes(bytes).await?;
        }
        self.taken().send(bytes);
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
                self.taken().add(share);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn share(day: i64, cpu: i64, bytes_out: u64) -> TeamShare {
        TeamShare { day, cpu: Span(cpu), bytes_out }
    }

    #[test]
    fn what_is_left_is_given_back_to_the_day_in_which_it_was_set_aside() {
        let mut taken = Taken::default();
        for slice in [share(1, 10, 0), share(1, 0, 100), share(2, 10, 0), share(2, 0, 200)] {
            taken.add(slice);
        }
        assert_eq!((taken.shares.len(), taken.left()), (2, 300));
        // What was set aside before midnight is used first, and counts there.
        taken.send(30);
        assert_eq!(taken.rest(Span(4)), (vec![share(1, 6, 70), share(2, 10, 200)], Span(0)));
        taken.send(170);
        assert_eq!(taken.rest(Span(14)), (vec![share(2, 6, 100)], Span(0)));
        taken.send(100);
        assert_eq!(taken.rest(Span(20)), (Vec::new(), Span(0)));
        assert_eq!(taken.rest(Span(25)), (Vec::new(), Span(5)), "what was used beyond it is of no day yet");
        assert_eq!(Taken::default().rest(Span(7)), (Vec::new(), Span(7)), "an undo has nothing set aside");
    }
}
