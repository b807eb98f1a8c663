//! Who holds a run.
//!
//! A worker holds a run by its incarnation (new at each start of a process, never used again), a number that grows with each
//! claim of the run, and an end by database time. Whatever the worker writes carries the [`Fence`], and is refused in the *same*
//! transaction that would write it unless the lease is still its own and has not ended. Checking before writing would leave a gap.

use crate::time::{Instant, Span};
use serde::{Deserialize, Serialize};

/// One start of one process: a random UUID in its text form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub String);

/// Grows with each claim of a run; 0 is a run that was never claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseNumber(pub i64);

/// What a worker shows with each write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// Who it is.
    pub holder: Incarnation,
    /// Which claim of the run it speaks for.
    pub number: LeaseNumber,
}

/// What is on record of a run's lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Who holds it.
    pub holder: Incarnation,
    /// The number of the claim.
    pub number: LeaseNumber,
    /// When it ends unless it is extended.
    pub expires: Instant,
}

/// The lease is not the writer's any more: nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum LeaseLost {
    /// Another claim followed.
    #[error("another worker has taken the run over")]
    TakenOver,
    /// It was not extended in time.
    #[error("the lease on the run ended {} ms ago", .by.0 / 1000)]
    Expired {
        /// By how much it is late.
        by: Span,
    },
    /// The run is not under way any more.
    #[error("the run is not under way any more")]
    Released,
}

impl Lease {
    /// A claim: allowed where nobody holds the run, or whoever held it is late.
    ///
    /// `last` is the number of the last claim, also where its lease was given back. (A number is never given twice, even if `last`
    /// should lag behind the lease on record.)
    #[must_use]
    pub fn claim(
        current: Option<&Self>,
        last: LeaseNumber,
        by: Incarnation,
        now: Instant,
        length: Span,
    ) -> Option<Self> {
        if current.is_some_and(|lease| lease.expires > now) {
            return None;
        }
        let last = current.map_or(last, |lease| lease.number.max(last));
        Some(Self { holder: by, number: LeaseNumber(last.0 + 1), expires: now.after(length) })
    }

    /// What the holder shows.
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence { holder: self.holder.clone(), number: self.number }
    }

    /// Whether whoever shows this fence may write now.
    ///
    /// # Errors
    /// Why not.
    pub fn proves(&self, fence: &Fence, now: Instant) -> Result<(), LeaseLost> {
        if self.holder != fence.holder || self.number != fence.number {
            return Err(LeaseLost::TakenOver);
        }
        if self.expires <= now {
            return Err(LeaseLost::Expired { by: now.since(self.expires) });
        }
        Ok(())
    }

    /// The holder is alive: the lease lasts longer. One that has ended is not revived, since another worker may have counted on it.
    ///
    /// # Errors
    /// When it is lost.
    pub fn extend(&self, fence: &Fence, now: Instant, length: Span) -> Result<Self, LeaseLost> {
        self.proves(fence, now)?;
        Ok(Self { expires: now.after(length).max(self.expires), ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(name: &str) -> Incarnation {
        Incarnation(name.into())
    }

    #[test]
    fn a_lease_is_claimed_extended_and_lost() {
        let length = Span::seconds(10);
        let first = Lease::claim(None, LeaseNumber(0), who("a"), Instant(0), length).unwrap();
        assert_eq!(first.number, LeaseNumber(1));
        assert!(Lease::claim(Some(&first), first.number, who("b"), Instant(1), length).is_none());
        let fence = first.fence();
        let longer = first.extend(&fence, Instant(5_000_000), length).unwrap();
        assert_eq!(longer.expires, Instant(15_000_000));
        assert!(matches!(longer.proves(&fence, Instant(15_000_000)), Err(LeaseLost::Expired { .. })));
        assert!(longer.extend(&fence, Instant(15_000_000), length).is_err(), "a late holder does not revive it");
        let second = Lease::claim(Some(&longer), longer.number, who("a"), Instant(15_000_000), length).unwrap();
        assert_eq!(second.number, LeaseNumber(2));
        assert_eq!(second.proves(&fence, Instant(15_000_001)), Err(LeaseLost::TakenOver));
    }
}
