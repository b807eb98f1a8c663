//! What is decided about the instants up to now: which fire, which wait, which are missed and why.
//!
//! The work and the memory it takes depend on the misfire policy's limit and on the number of windows between, not on how
//! many instants there are: those are counted from the fields of their expression.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::misfire::Misfire;
use crate::reason::Reason;
use crate::schedule::{Deferred, Fire, Place, Schedule, ScheduleState, before};
use crate::windows::Outside;

/// How many instants fire on time at once; earlier ones are [`Reason::BeyondLimit`].
pub const MOST_ON_TIME: usize = 1_000;

/// How many openings and closings of windows are walked through at once; of a range with more, the latest part is taken.
const MOST_SEGMENTS: usize = 2_000;

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What fires now, in the order of the instants.
    pub fires: Vec<Fire>,
    /// What waits for a window from now on.
    pub deferred: Option<(Deferred, Reason)>,
    /// What is missed, one entry a reason.
    pub missed: Vec<Missed>,
    /// What is now on record. It is to be written in the same transaction as the runs.
    pub state: ScheduleState,
}

/// Instants that are missed for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Missed {
    /// Why.
    pub reason: Reason,
    /// The earliest of them.
    pub first: DateTime<Utc>,
    /// The latest of them.
    pub last: DateTime<Utc>,
    /// How many they are, exactly. Instants with other reasons may lie between the first and the last.
    pub count: u64,
}

/// Instants that may fire.
#[derive(Debug, Clone, Copy)]
enum Candidates {
    /// All of a range in which the schedule may fire.
    Run { after: DateTime<Utc>, until: DateTime<Utc>, count: u64 },
    /// One that waited.
    Waited(Deferred),
}

impl Schedule {
    /// Decides about every instant after those that are decided, up to `now`. An instant that is due for longer than the
    /// `tolerance` is overdue: the misfire policy says what becomes of it.
    ///
    /// When the clock is put back, nothing is decided until it has caught up with what is decided.
    pub fn decide(&self, state: &ScheduleState, now: DateTime<Utc>, tolerance: Duration) -> Decided {
        let mut round = Round {
            schedule: self,
            now,
            tolerance: delta(tolerance),
            decided: Decided { fires: Vec::new(), deferred: None, missed: Vec::new(), state: state.clone() },
            candidates: Vec::new(),
            tallies: Vec::new(),
        };
        round.take_waiting();
        if let Some((after, until)) = self.within_dates(state.decided_until, now)
            && self.timing.next_after(after).is_some_and(|next| next <= until)
        {
            round.take(after, until);
        }
        round.choose();
        round.end()
    }
}

struct Round<'a> {
    schedule: &'a Schedule,
    now: DateTime<Utc>,
    tolerance: TimeDelta,
    decided: Decided,
    candidates: Vec<Candidates>,
    tallies: Vec<Tally>,
}

impl Round<'_> {
    /// The instant that waits, if its window has opened. Windows may be others now than when it was deferred.
    fn take_waiting(&mut self) {
        let Some(mut deferred) = self.decided.state.deferred else { return };
        if self.decided.state.paused {
            self.decided.state.deferred = None;
            return self.miss_one(Reason::Paused, deferred.nominal);
        }
        if deferred.until <= self.now
            && let Place::Closed { reason, opens } = self.schedule.place(deferred.until)
        {
            let reason = match (self.schedule.windows.outside, opens) {
                (Outside::Defer, Some(opens)) => {
                    deferred.until = opens;
                    self.decided.state.deferred = Some(deferred);
                    self.decided.deferred = Some((deferred, reason));
                    reason
                }
                (Outside::Defer, None) => Reason::NeverOpens,
                (Outside::Skip, _) => reason,
            };
            if self.decided.deferred.is_none() {
                self.decided.state.deferred = None;
                return self.miss_one(reason, deferred.nominal);
            }
        }
        let due = self.schedule.deferred_fire(deferred).due;
        if due <= self.now {
            (self.decided.state.deferred, self.decided.deferred) = (None, None);
            match self.reach() {
                Some(reach) if self.now - due > reach => self.miss_one(Reason::BeyondCatchUp, deferred.nominal),
                _ => self.candidates.push(Candidates::Waited(deferred)),
            }
        }
    }

    /// The nominal instants of a range that holds at least one.
    fn take(&mut self, after: DateTime<Utc>, until: DateTime<Utc>) {
        // An instant whose jitter has not passed is not decided yet. It can only be the last.
        let mut until = until;
        let Some(mut last) = self.last(after, until) else { return };
        let waits = matches!(self.schedule.place(last), Place::Open) && self.schedule.fire(last).due > self.now;
        if waits && !self.decided.state.paused {
            until = before(last);
            match self.last(after, until) {
                Some(earlier) => last = earlier,
                None => return,
            }
        }
        self.decided.state.decided_until = last;
        if self.decided.state.paused {
            return self.miss_all(Reason::Paused, after, until);
        }
        let mut after = self.leave_behind(after, until);
        while let Err(reached) = self.walk(after, until) {
            // Too many windows: about as much as was walked through is caught up, at the end instead of the beginning.
            let later = (until - (reached - after) * 3 / 4).max(after + (until - after) / 2);
            self.miss_all(Reason::BeyondLimit, after, later);
            after = later;
        }
    }

    fn last(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.schedule.timing.previous(until).filter(|last| *last > after)
    }

    /// How long ago an instant may be that is caught up: never less than what is on time.
    fn reach(&self) -> Option<TimeDelta> {
        let on_time = self.tolerance.checked_add(&delta(self.schedule.jitter)).unwrap_or(TimeDelta::MAX);
        self.schedule.catch_up.map(|catch_up| delta(catch_up).max(on_time))
    }

    /// Leaves what is longer ago than the catch-up window, and says after what the rest begins.
    fn leave_behind(&mut self, after: DateTime<Utc>, until: DateTime<Utc>) -> DateTime<Utc> {
        let Some(reach) = self.reach() else { return after };
        let Some(cut) = self.now.checked_sub_signed(reach).map(|cut| (before(cut)).min(until)) else { return after };
        if cut <= after {
            return after;
        }
        let mut cut = cut;
        // An instant of before may have waited for a window that opened since.
        if self.schedule.windows.outside == Outside::Defer
            && let Some(last) = self.last(after, cut)
            && let Place::Closed { opens: Some(opens), .. } = self.schedule.place(last)
            && opens > cut
        {
            cut = before(last);
        }
        self.miss_all(Reason::BeyondCatchUp, after, cut);
        cut.max(after)
    }

    /// Sorts the instants of a range by windows. If there are too many of them, says how far it came.
    fn walk(&mut self, after: DateTime<Utc>, until: DateTime<Utc>) -> Result<(), DateTime<Utc>> {
        let timing = &self.schedule.timing;
        if self.schedule.windows.is_empty() {
            self.candidates.push(Candidates::Run { after, until, count: timing.count(after, until) });
            return Ok(());
        }
        let (undecided, tallies, candidates) = (self.decided.clone(), self.tallies.clone(), self.candidates.len());
        let mut at = after;
        for _ in 0..MOST_SEGMENTS {
            let Some(nominal) = timing.next_after(at).filter(|nominal| *nominal <= until) else { return Ok(()) };
            let end = match self.schedule.place(nominal) {
                Place::Open => {
                    let end = self.schedule.windows.closing(nominal).map_or(until, |closes| until.min(before(closes)));
                    let run = Candidates::Run { after: before(nominal), until: end, count: timing.count(at, end) };
                    self.candidates.push(run);
                    end
                }
                Place::Closed { reason, opens } => {
                    let end = opens.map_or(until, |opens| until.min(before(opens)));
                    self.close(nominal, end, reason, opens);
                    end
                }
            };
            at = end;
        }
        (self.decided, self.tallies) = (undecided, tallies);
        self.candidates.truncate(candidates);
        Err(at)
    }

    /// The instants of a time in which the schedule may not fire, from the first of them.
    fn close(&mut self, nominal: DateTime<Utc>, end: DateTime<Utc>, reason: Reason, opens: Option<DateTime<Utc>>) {
        let Some(opens) = opens else {
            let defers = self.schedule.windows.outside == Outside::Defer;
            return self.miss_all(if defers { Reason::NeverOpens } else { reason }, before(nominal), end);
        };
        if self.schedule.windows.outside == Outside::Skip {
            return self.miss_all(reason, before(nominal), end);
        }
        let taken = self.candidates.iter().rev().find_map(|candidates| match candidates {
            Candidates::Waited(deferred) => Some(*deferred),
            Candidates::Run { .. } => None,
        });
        let waiting = self.decided.state.deferred.or(taken);
        if !self.schedule.stands(opens, waiting) {
            return self.miss_all(Reason::Superseded, before(nominal), end);
        }
        let deferred = Deferred { nominal, until: opens };
        if self.schedule.deferred_fire(deferred).due <= self.now {
            self.candidates.push(Candidates::Waited(deferred));
        } else {
            self.decided.state.deferred = Some(deferred);
            self.decided.deferred = Some((deferred, reason));
        }
        self.miss_all(Reason::Superseded, nominal, end);
    }

    /// Chooses what fires of all candidates, by the misfire policy.
    fn choose(&mut self) {
        let candidates = std::mem::take(&mut self.candidates);
        let total: u64 = candidates.iter().map(Candidates::count).sum();
        if total == 0 {
            return;
        }
        let limit = self.schedule.misfire.limit();
        let latest = self.latest(&candidates, limit);
        let on_time = latest.iter().rev().take_while(|fire| self.is_on_time(fire)).count();
        let overdue = match self.schedule.misfire {
            Misfire::Once if on_time > 0 => 0,
            _ => limit,
        };
        let taken = on_time.min(MOST_ON_TIME);
        let overdue = if taken < on_time { 0 } else { overdue };
        let kept = latest.len().min(taken + overdue);
        let (left, kept) = latest.split_at(latest.len() - kept);
        if let Some(last) = left.last() {
            let reason = match self.schedule.misfire {
                _ if taken < on_time => Reason::BeyondLimit,
                Misfire::None => Reason::MisfireNone,
                Misfire::Once => Reason::Superseded,
                Misfire::All { .. } => Reason::BeyondLimit,
            };
            let first = candidates.first().and_then(|first| self.first(first)).unwrap_or(last.nominal);
            let last = (before(last.nominal), last.nominal);
            self.miss(Tally { reason, first, last, count: total - kept.len() as u64 });
        }
        let late = kept.len() - taken;
        let fires = kept.iter().enumerate().map(|(index, fire)| match index < late {
            true => Fire { reason: Reason::Late, ..*fire },
            false => *fire,
        });
        self.decided.fires.extend(fires);
    }

    /// The fires of the latest candidates, in order: those on time, `limit` that are overdue, and one more.
    fn latest(&self, candidates: &[Candidates], limit: usize) -> Vec<Fire> {
        let mut latest = Vec::new();
        let mut overdue = 0;
        let mut take = |fire: Fire| {
            overdue += usize::from(!self.is_on_time(&fire));
            latest.push(fire);
            overdue <= limit && latest.len() <= limit.saturating_add(MOST_ON_TIME)
        };
        for candidates in candidates.iter().rev() {
            let more = match candidates {
                Candidates::Waited(deferred) => take(self.schedule.deferred_fire(*deferred)),
                Candidates::Run { after, until, .. } => {
                    let mut backwards = self.schedule.timing.backwards(*after, *until);
                    backwards.all(|nominal| take(self.schedule.fire(nominal)))
                }
            };
            if !more {
                break;
            }
        }
        latest.reverse();
        latest
    }

    fn is_on_time(&self, fire: &Fire) -> bool {
        self.now - fire.due <= self.tolerance
    }

    fn first(&self, candidates: &Candidates) -> Option<DateTime<Utc>> {
        match candidates {
            Candidates::Run { after, .. } => self.schedule.timing.next_after(*after),
            Candidates::Waited(deferred) => Some(deferred.nominal),
        }
    }

    /// Misses all instants of a range, if there are any.
    fn miss_all(&mut self, reason: Reason, after: DateTime<Utc>, until: DateTime<Utc>) {
        let first = self.schedule.timing.next_after(after).filter(|first| *first <= until);
        if let Some(first) = first {
            let count = self.schedule.timing.count(after, until);
            self.miss(Tally { reason, first, last: (after, until), count });
        }
    }

    /// Misses one instant.
    fn miss_one(&mut self, reason: Reason, nominal: DateTime<Utc>) {
        self.miss(Tally { reason, first: nominal, last: (before(nominal), nominal), count: 1 });
    }

    fn miss(&mut self, one: Tally) {
        match self.tallies.iter_mut().find(|tally| tally.reason == one.reason) {
            Some(tally) => {
                tally.first = tally.first.min(one.first);
                tally.count += one.count;
                if one.last.1 > tally.last.1 {
                    tally.last = one.last;
                }
            }
            None => self.tallies.push(one),
        }
    }

    /// What was decided.
    fn end(mut self) -> Decided {
        let tallies = std::mem::take(&mut self.tallies);
        self.decided.missed = tallies
            .into_iter()
            .map(|Tally { reason, first, last: (after, until), count }| {
                let last = self.last(after, until).unwrap_or(until);
                Missed { reason, first, last, count }
            })
            .collect();
        self.decided
    }
}

/// Instants that are missed for one reason, as they are counted.
#[derive(Clone)]
struct Tally {
    reason: Reason,
    first: DateTime<Utc>,
    /// The range in which the last of them is the last instant.
    last: (DateTime<Utc>, DateTime<Utc>),
    count: u64,
}

impl Candidates {
    fn count(&self) -> u64 {
        match self {
            Self::Run { count, .. } => *count,
            Self::Waited(_) => 1,
        }
    }
}

/// A span that may be longer than time itself.
pub(crate) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
