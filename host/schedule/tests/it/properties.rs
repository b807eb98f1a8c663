//! Whatever clocks, hosts and windows do: nothing vanishes, nothing is decided twice, and a forecast comes true.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use rota_schedule::{CronExpression, Every, Misfire, Outside, Reason, Schedule, ScheduleState, Timing, Window, Zone};

const TOLERANCE: Duration = Duration::from_secs(10);

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let zone = prop::sample::select(vec!["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca"]);
    let text = prop::sample::select(vec![
        "*/7 * * * *",
        "0 * * * *",
        "30 2 * * *",
        "0,20 1-3 * * *",
        "0 22 * * 1-5",
        "*/40 * * * * *",
    ]);
    let timing = prop_oneof![
        6 => (text, zone.clone()).prop_map(|(text, zone)| Timing::Cron {
            expression: CronExpression::parse(text).unwrap(),
            zone: Zone::named(zone).unwrap(),
        }),
        1 => (60u64..5_000).prop_map(|seconds| Timing::Every(
            Every::new(Duration::from_secs(seconds), at("2026-01-01T00:00:17Z")).unwrap()
        )),
        1 => (0i64..864_000).prop_map(|seconds| Timing::At((at("2026-03-25T00:00:00Z") + TimeDelta::seconds(seconds)).into())),
    ];
    let misfire =
        prop_oneof![Just(Misfire::None), Just(Misfire::Once), (1u32..5).prop_map(|limit| Misfire::All { limit })];
    let windows = prop::collection::vec(
        prop::sample::select(vec![
            "22:00-06:00",
            "MON-FRI 01:30-02:30",
            "SAT,SUN 00:00-24:00",
            "2026-03-28..2026-03-30",
        ]),
        0..3,
    );
    let blackouts = prop::collection::vec(
        prop::sample::select(vec!["03:00-03:30", "SUN 00:00-12:00", "2026-03-26T10:00:00Z..2026-03-27T20:00:00Z"]),
        0..3,
    );
    let catch_up = prop::option::of((1u64..200_000).prop_map(Duration::from_secs));
    let jitter = prop_oneof![Just(0u64), 1..4_000u64].prop_map(Duration::from_secs);
    let dates = (any::<bool>(), any::<bool>());
    (timing, misfire, windows, blackouts, any::<bool>(), zone, catch_up, jitter, dates).prop_map(
        |(timing, misfire, maintenance, blackouts, defer, zone, catch_up, jitter, (starts, ends))| {
            let zone = Zone::named(zone).unwrap();
            let windows = |texts: Vec<&str>| texts.iter().map(|text| Window::parse(text, zone).unwrap()).collect();
            let mut schedule = Schedule { misfire, catch_up, jitter, ..Schedule::new("job", timing) };
            schedule.windows.maintenance = windows(maintenance);
            schedule.windows.blackouts = windows(blackouts);
            schedule.windows.outside = if defer { Outside::Defer } else { Outside::Skip };
            schedule.starts = starts.then(|| at("2026-03-26T00:00:00Z"));
            schedule.ends = ends.then(|| at("2026-03-31T02:00:00Z"));
            schedule
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a clock does, each instant is decided exactly once, and what fires does so where windows allow it.
    #[test]
    fn nothing_vanishes_and_nothing_is_decided_twice(
        schedule in schedules(),
        steps in prop::collection::vec(prop_oneof![5 => 1i64..900, 2 => 1_000i64..50_000, 1 => 100_000i64..300_000, 1 => -7_200i64..0], 1..60),
        pause in prop::option::of(0usize..60),
    ) {
        let made = at("2026-03-25T00:00:00Z");
        let mut state = ScheduleState::new(made);
        let mut now = made;
        let mut fired = BTreeSet::new();
        let mut accounted = 0u64;
        for (index, step) in steps.into_iter().enumerate() {
            now += TimeDelta::seconds(step);
            state.paused = pause.is_some_and(|pause| (pause..pause + 5).contains(&index));
            let expected = schedule.next_decision(&state);
            let decided = schedule.decide(&state, now, TOLERANCE);
            let nothing = decided.fires.is_empty() && decided.missed.is_empty() && decided.deferred.is_none();
            if !state.paused {
                prop_assert_eq!(nothing, expected.is_none_or(|expected| expected > now), "{:?} at {}: {:?}", expected, now, decided);
            }
            prop_assert!(decided.state.decided_until >= state.decided_until);
            for fire in &decided.fires {
                prop_assert!(fired.insert(fire.nominal), "{fire:?} again");
                prop_assert!(fire.due <= now && fire.due >= fire.nominal, "{fire:?} at {now}");
                prop_assert!(schedule.windows.closed(fire.due).is_none(), "{fire:?} where windows are closed");
                prop_assert!(schedule.timing.next_after(fire.nominal).is_none_or(|next| fire.due < next || fire.reason != Reason::OnTime));
                prop_assert_eq!(fire.reason == Reason::Late, now - fire.due > TimeDelta::seconds(10));
            }
            let waited = u64::from(state.deferred.is_some());
            let waits = u64::from(decided.state.deferred.is_some());
            let missed: u64 = decided.missed.iter().map(|missed| missed.count).sum();
            accounted += decided.fires.len() as u64 + missed + waits;
            accounted -= waited;
            state = decided.state;
            let first = schedule.starts.map_or(made, |starts| made.max(starts - TimeDelta::milliseconds(1)));
            prop_assert_eq!(accounted, schedule.timing.count(first, state.decided_until), "at {}", now);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Looked at often enough, a schedule does what its forecast says, however often that is.
    #[test]
    fn a_forecast_comes_true(schedule in schedules()) {
        let made = at("2026-03-25T00:00:00Z");
        let expected = schedule.forecast(made, 12, None, None);
        let mut state = ScheduleState::new(made);
        let mut fired = Vec::new();
        while let Some(next) = schedule.next_decision(&state) {
            let before = schedule.next_fire(&state);
            let decided = schedule.decide(&state, next, TOLERANCE);
            if let Some(fire) = decided.fires.first() {
                prop_assert_eq!(Some(*fire), before);
            }
            fired.extend(decided.fires);
            state = decided.state;
            if fired.len() >= 12 || next > at("2026-04-01T00:00:00Z") {
                break;
            }
        }
        let expected: Vec<_> = expected.into_iter().map(|expected| expected.fire).filter(|fire| fire.due <= at("2026-04-01T00:00:00Z")).collect();
        fired.truncate(12);
        fired.retain(|fire| fire.due <= at("2026-04-01T00:00:00Z"));
        prop_assert_eq!(fired, expected);
    }
}
