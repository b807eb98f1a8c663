//! What a schedule decided about its instants, as the store takes it: one decision after the other, each about the cursor's next.

use chrono::{DateTime, TimeDelta, Utc};
use rota_schedule::{Decided, Fire, Schedule, ScheduleState};
use std::collections::BTreeMap;

/// Instants that are listed one by one with a decision; more are only counted.
const LISTED: usize = 20;

/// The last moment before an instant.
pub(crate) fn before(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant - TimeDelta::milliseconds(1)
}

/// Decisions in the order of their instants, the first about the cursor's own.
pub(crate) struct Steps {
    pub(crate) each: Vec<Step>,
    /// The next nominal instant, and when it is to be decided about.
    pub(crate) then: (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
}

pub(crate) struct Step {
    pub(crate) nominal: DateTime<Utc>,
    pub(crate) fire: Option<Fire>,
    /// Why it does not fire.
    pub(crate) reason: &'static str,
    pub(crate) also: Vec<(DateTime<Utc>, String)>,
    pub(crate) missed_more: u64,
}

impl Steps {
    /// What the schedule decided, as the store takes it: one decision an instant that fires, the missed ones with the first of all.
    pub(crate) fn of(schedule: &Schedule, next: DateTime<Utc>, decided: Decided) -> Self {
        // One that waits for a window stays the next: what is missed with it is told when it fires.
        let waiting = decided.deferred.map(|(deferred, _)| deferred);
        let missed: Vec<_> = decided
            .missed
            .iter()
            .filter(|missed| waiting.is_none_or(|waiting| missed.first < waiting.nominal))
            .collect();
        let mut each: Vec<Step> = Vec::new();
        let first_fires = decided.fires.first().is_some_and(|fire| fire.nominal == next);
        if !missed.is_empty() && !first_fires {
            let reason =
                missed.iter().find(|missed| missed.first <= next).map_or("missed", |missed| missed.reason.as_str());
            each.push(Step { nominal: next, fire: None, reason, also: Vec::new(), missed_more: 0 });
        }
        for fire in &decided.fires {
            each.push(Step { nominal: fire.nominal, fire: Some(*fire), reason: "", also: Vec::new(), missed_more: 0 });
        }
        if let Some(first) = each.first_mut() {
            tell(schedule, first, &missed, &decided.fires);
        }
        let state = decided.state;
        let then = match waiting {
            Some(waiting) => {
                let fires = schedule.next_decision(&ScheduleState { deferred: Some(waiting), ..state });
                (Some(waiting.nominal), fires.map(|at| at.max(waiting.until)))
            }
            None => (schedule.next_nominal(state.decided_until), schedule.next_decision(&state)),
        };
        Self { each, then }
    }
}

/// List the missed instants with the first decision, as far as they are few.
fn tell(schedule: &Schedule, step: &mut Step, missed: &[&rota_schedule::Missed], fires: &[Fire]) {
    let mut listed: BTreeMap<DateTime<Utc>, String> = BTreeMap::new();
    let mut count = 0;
    for missed in missed {
        count += missed.count;
        let mut at = Some(missed.first);
        while let Some(instant) = at.filter(|instant| *instant <= missed.last && listed.len() < LISTED) {
            if instant != step.nominal && !fires.iter().any(|fire| fire.nominal == instant) {
                listed.entry(instant).or_insert_with(|| missed.reason.as_str().to_owned());
            }
            at = schedule.next_nominal(instant);
        }
    }
    let own = u64::from(step.fire.is_none());
    step.missed_more = count.saturating_sub(own).saturating_sub(listed.len() as u64);
    step.also = listed.into_iter().collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_protocol::{Cursor, Instant};
    use rota_schedule::{CronExpression, Every, Misfire, Outside, Timing, Window, Windows, Zone};
    use std::time::Duration;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn micros(at: DateTime<Utc>) -> Instant {
        Instant(at.timestamp_micros())
    }

    /// Decide as the scheduler does, with the store's own rule for what it takes; what fired, and how many instants made no run.
    fn decide(schedule: &Schedule, cursor: &mut Cursor, now: DateTime<Utc>) -> (Vec<DateTime<Utc>>, u64) {
        let next = DateTime::from_timestamp_micros(cursor.next.unwrap().0).unwrap();
        let decided_until =
            cursor.decided.map_or_else(|| before(next), |at| DateTime::from_timestamp_micros(at.0).unwrap());
        let state = ScheduleState { decided_until, deferred: None, paused: false };
        let steps = Steps::of(schedule, next, schedule.decide(&state, now, Duration::from_secs(30)));
        let (mut fired, mut missed) = (Vec::new(), 0);
        for (index, step) in steps.each.iter().enumerate() {
            let next = steps
                .each
                .get(index + 1)
                .map(|step| step.nominal)
                .or(steps.then.0.filter(|_| index + 1 == steps.each.len()));
            *cursor = cursor.decide(cursor.version, micros(step.nominal), next.map(micros), micros(now)).unwrap();
            match &step.fire {
                Some(fire) => fired.push(fire.nominal),
                None => missed += 1,
            }
            missed += step.also.len() as u64 + step.missed_more;
        }
        (fired, missed)
    }

    fn cursor(schedule: &Schedule, from: DateTime<Utc>) -> Cursor {
        Cursor { version: 1, decided: None, next: schedule.next_nominal(from).map(micros) }
    }

    #[test]
    fn after_a_week_asleep_every_instant_is_accounted_for_by_decisions_that_the_store_takes() {
        let hourly = Timing::Every(Every::new(Duration::from_secs(3600), at("2026-01-01T00:00:00Z")).unwrap());
        let (from, now) = (at("2026-11-01T00:30:00Z"), at("2026-11-08T00:30:10Z"));
        for (misfire, fires) in [(Misfire::Once, 1), (Misfire::All { limit: 5 }, 5), (Misfire::None, 0)] {
            let schedule = Schedule { misfire, ..Schedule::new("j", hourly.clone()) };
            let mut cursor = cursor(&schedule, from);
            let (fired, missed) = decide(&schedule, &mut cursor, now);
            assert_eq!(fired.len(), fires, "{misfire:?}");
            assert_eq!(fired.len() as u64 + missed, 168, "{misfire:?}");
            assert_eq!(cursor.next, Some(micros(at("2026-11-08T01:00:00Z"))));
            // Nothing is decided twice, not even when the clock is put back.
            let steps = Steps::of(
                &schedule,
                at("2026-11-08T01:00:00Z"),
                schedule.decide(
                    &ScheduleState { decided_until: at("2026-11-08T00:00:00Z"), deferred: None, paused: false },
                    at("2026-11-07T20:00:00Z"),
                    Duration::from_secs(30),
                ),
            );
            assert!(steps.each.is_empty());
        }
    }

    #[test]
    fn what_waits_for_a_window_stays_the_next_and_fires_at_its_opening() {
        let zone = Zone::utc();
        let timing = Timing::Cron { expression: CronExpression::parse("0 * * * *").unwrap(), zone };
        let windows = Windows {
            maintenance: vec![Window::parse("MON-SUN 22:30-23:30", zone).unwrap()],
            blackouts: Vec::new(),
            outside: Outside::Defer,
        };
        let schedule = Schedule { windows, ..Schedule::new("j", timing) };
        let mut cursor = cursor(&schedule, at("2026-11-01T00:30:00Z"));
        assert_eq!(decide(&schedule, &mut cursor, at("2026-11-01T05:00:01Z")), (vec![], 0), "the window is closed");
        let (fired, missed) = decide(&schedule, &mut cursor, at("2026-11-01T22:30:01Z"));
        assert_eq!(fired, [at("2026-11-01T01:00:00Z")], "the first of the closed time stands for all");
        assert_eq!(missed, 21, "02:00 to 22:00");
        assert_eq!(cursor.next, Some(micros(at("2026-11-01T23:00:00Z"))));
        let (fired, _) = decide(&schedule, &mut cursor, at("2026-11-01T23:00:01Z"));
        assert_eq!(fired, [at("2026-11-01T23:00:00Z")]);
    }
}
