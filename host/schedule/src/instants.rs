//! The instants at which a cron expression fires in a zone: wall-clock times laid upon the zone's spans of one offset,
//! with the rules for gaps and folds. All in seconds since 1970.

use crate::expression::Fields;
use crate::zone::Zone;

/// More than any two clocks of one place have ever differed.
const MARGIN: i64 = 172_800;

impl Fields {
    /// The first instant at or after `from` at which the expression fires.
    pub(crate) fn next_instant(&self, zone: &Zone, from: i64) -> Option<i64> {
        let mut at = from;
        let mut index = zone.index_at(at);
        while let Some(span) = zone.span(index) {
            if at == span.start && self.catches_up(zone, index) {
                return Some(at);
            }
            let wall = (at + span.offset).max(self.first_wall(zone, index));
            let next = self.next_wall(wall);
            let end = zone.end_of(index);
            // Near the end of a span a fold may go back to times that this walk has not seen.
            let near = wall - span.offset + MARGIN >= end;
            (at, index) = match next {
                Some(next) if next - span.offset < end => return Some(next - span.offset),
                None if !near => return None,
                // Far away: nothing matches on the way there, so the spans between need no look.
                Some(next) if !near && next - MARGIN > end => (next - MARGIN, zone.index_at(next - MARGIN)),
                _ => (end, index + 1),
            };
        }
        None
    }

    /// The last instant at or before `to` at which the expression fires.
    pub(crate) fn previous_instant(&self, zone: &Zone, to: i64) -> Option<i64> {
        let mut at = to;
        let mut index = zone.index_at(at);
        while let Some(span) = zone.span(index) {
            let wall = at + span.offset;
            let first = span.start.saturating_add(span.offset).max(self.first_wall(zone, index));
            let previous = self.previous_wall(wall);
            if let Some(previous) = previous.filter(|previous| *previous >= first && wall >= first) {
                return Some(previous - span.offset);
            }
            if self.catches_up(zone, index) {
                return Some(span.start);
            }
            // Near the beginning of a span a fold may have shown later times before.
            let near = wall - MARGIN <= first;
            (at, index) = match previous {
                Some(previous) if !near && previous + MARGIN < first => {
                    let at = previous + MARGIN - span.offset;
                    (at, zone.index_at(at))
                }
                _ => (span.start.checked_sub(1)?, index.checked_sub(1)?),
            };
        }
        None
    }

    /// How often the expression fires from `from` on and before `to`.
    pub(crate) fn count_instants(&self, zone: &Zone, from: i64, to: i64) -> u64 {
        let mut count = 0;
        let mut index = zone.index_at(from);
        while let Some(span) = zone.span(index)
            && (span.start < to || index == 0)
        {
            let (start, end) = (from.max(span.start), to.min(zone.end_of(index)));
            let wall = (start.saturating_add(span.offset)).max(self.first_wall(zone, index));
            count += self.count_wall(wall, end.saturating_add(span.offset));
            if start == span.start && start < end && self.catches_up(zone, index) {
                let own = span.start + span.offset;
                count += u64::from(self.next_wall(own) != Some(own));
            }
            index += 1;
        }
        count
    }

    /// The first wall-clock time of a span that counts: what a fold shows for the second time counts for interval-like
    /// expressions only.
    fn first_wall(&self, zone: &Zone, index: usize) -> i64 {
        let step = zone.step_into(index);
        match zone.span(index) {
            Some(span) if step < 0 && !self.interval_like => span.start + span.offset - step,
            _ => i64::MIN,
        }
    }

    /// Whether the expression fires at a span's start for what the gap before it has swallowed.
    fn catches_up(&self, zone: &Zone, index: usize) -> bool {
        let step = zone.step_into(index);
        let Some(span) = zone.span(index) else { return false };
        let after = span.start.saturating_add(span.offset);
        step > 0 && !self.every_hour() && self.next_wall(after - step).is_some_and(|wall| wall < after)
    }

    /// The first time within the gap before a span that would have matched, if it is made up for at the span's start.
    pub(crate) fn swallowed(&self, zone: &Zone, index: usize) -> Option<i64> {
        let span = zone.span(index)?;
        let own = span.start.checked_add(span.offset)?;
        (self.catches_up(zone, index) && self.next_wall(own) != Some(own))
            .then(|| self.next_wall(own - zone.step_into(index)))
            .flatten()
    }
}
