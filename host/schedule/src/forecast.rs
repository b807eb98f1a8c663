//! What a schedule will do next, for `rota jobs next`: instants with jitter, local time, marks where clocks are put forward
//! or back, windows, and a guess at overlaps.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::decide::{Missed, delta};
use crate::overlap::{Overlap, OverlapDecision};
use crate::reason::Reason;
use crate::schedule::{Deferred, Fire, Place, Schedule, before};
use crate::timing::Timing;
use crate::zone::{LocalTime, Zone, instant};

/// How many closed times are passed over for one forecast.
const MOST_CLOSED: usize = 10_000;

/// An instant as it is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The instant, and when it is due.
    pub fire: Fire,
    /// The nominal instant by the zone's clock.
    pub local: LocalTime,
    /// Whether a clock that is put forward or back plays a part.
    pub mark: Option<ClockMark>,
    /// What is skipped, or fired with this one, since the one before.
    pub missed: Vec<Missed>,
    /// The blackout it was deferred for, if it was one.
    pub blackout: Option<String>,
    /// What it is likely to do, if runs take as long as they typically do. Without that, nothing.
    pub overlap: Option<OverlapDecision>,
}

/// Where a clock that is put forward or back plays a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClockMark {
    /// It stands for a time that the clock skips.
    Gap {
        /// The first such time.
        skipped: NaiveDateTime,
    },
    /// The clock shows its time for the first of two times.
    FoldFirst,
    /// The clock shows its time for the second time.
    FoldSecond,
}

impl fmt::Display for ClockMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { skipped } => write!(f, "for {}, which the clock skips", skipped.format("%H:%M:%S")),
            Self::FoldFirst => f.pad("first of two, the clock is put back"),
            Self::FoldSecond => f.pad("second of two, the clock is put back"),
        }
    }
}

impl Schedule {
    /// The next `count` instants after one that will fire, with what is skipped between. `zone` is the one for local time;
    /// without it, the timing's. `typical` is how long runs typically take, for a guess at overlaps.
    pub fn forecast(
        &self,
        from: DateTime<Utc>,
        count: usize,
        zone: Option<Zone>,
        typical: Option<Duration>,
    ) -> Vec<Expected> {
        let zone = zone.unwrap_or_else(|| self.timing.zone());
        let mut guess = typical.map(|typical| Guess { overlap: self.overlap, typical, ends: Vec::new() });
        let (mut expected, mut missed): (Vec<Expected>, Vec<Missed>) = (Vec::new(), Vec::new());
        let mut after = from;
        let mut closed = 0;
        while expected.len() < count
            && let Some(nominal) = self.next_nominal(after)
        {
            let mut blackout = None;
            let fire = match self.place(nominal) {
                Place::Open => {
                    after = nominal;
                    self.fire(nominal)
                }
                Place::Closed { reason, opens } => {
                    closed += 1;
                    let Some(opens) = opens.filter(|_| closed < MOST_CLOSED) else { break };
                    after = before(opens);
                    if !self.stands(opens, None) {
                        let reason = if self.defers() { Reason::Superseded } else { reason };
                        missed.extend(self.missed(reason, before(nominal), after));
                        continue;
                    }
                    missed.extend(self.missed(Reason::Superseded, nominal, after));
                    blackout = self.windows.closed(nominal).and_then(|(_, window)| window).map(ToString::to_string);
                    self.deferred_fire(Deferred { nominal, until: opens })
                }
            };
            expected.push(Expected {
                fire,
                local: zone.local(nominal),
                mark: self.mark(nominal),
                missed: std::mem::take(&mut missed),
                blackout,
                overlap: guess.as_mut().map(|guess| guess.next(fire.due)),
            });
        }
        expected
    }

    fn defers(&self) -> bool {
        self.windows.outside == crate::windows::Outside::Defer
    }

    fn missed(&self, reason: Reason, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<Missed> {
        let first = self.timing.next_after(after).filter(|first| *first <= until)?;
        let last = self.timing.previous(until)?;
        Some(Missed { reason, first, last, count: self.timing.count(after, until) })
    }

    /// Whether a clock that is put forward or back plays a part in a nominal instant.
    pub fn mark(&self, nominal: DateTime<Utc>) -> Option<ClockMark> {
        let Timing::Cron { expression, zone } = &self.timing else { return None };
        let at = nominal.timestamp();
        let index = zone.index_at(at);
        let span = zone.span(index)?;
        if at == span.start
            && let Some(wall) = expression.fields.swallowed(zone, index)
        {
            return Some(ClockMark::Gap { skipped: instant(wall).naive_utc() });
        }
        if at.saturating_sub(span.start) < -zone.step_into(index).min(0) {
            return Some(ClockMark::FoldSecond);
        }
        let end = zone.end_of(index);
        let back = -zone.step_into(index + 1).min(0);
        (back > 0 && end - at <= back).then_some(ClockMark::FoldFirst)
    }
}

/// Runs as they would go if each took its typical time.
struct Guess {
    overlap: Overlap,
    typical: Duration,
    /// When each run ends that has started or waits, in order.
    ends: Vec<DateTime<Utc>>,
}

impl Guess {
    fn next(&mut self, due: DateTime<Utc>) -> OverlapDecision {
        self.ends.retain(|end| *end > due);
        let waits = matches!(self.overlap, Overlap::BufferOne | Overlap::BufferAll);
        let all = self.ends.len() as u64;
        let (active, buffered) = if waits { (all.min(1), all.saturating_sub(1)) } else { (all, 0) };
        let decision = self.overlap.decide(active, buffered);
        let takes = delta(self.typical);
        let ends = |start: DateTime<Utc>| start.checked_add_signed(takes).unwrap_or(DateTime::<Utc>::MAX_UTC);
        match decision {
            OverlapDecision::Start => self.ends.push(ends(due)),
            OverlapDecision::Buffer => {
                let start = self.ends.last().copied().unwrap_or(due);
                self.ends.push(ends(start));
            }
            OverlapDecision::CancelOtherThenStart | OverlapDecision::TerminateOtherThenStart => {
                self.ends = vec![ends(due)];
            }
            OverlapDecision::Skip(_) => {}
        }
        decision
    }
}
