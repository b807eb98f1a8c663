//! What is decided about instants: misfires, clocks that are stepped, hosts that sleep, pauses, jitter.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rota_schedule::{
    CronExpression, Decided, Every, MOST_ON_TIME, Misfire, Outside, Reason, Schedule, ScheduleState, Timing, Window,
    Zone,
};

const TOLERANCE: Duration = Duration::from_secs(10);

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn cron(text: &str) -> Schedule {
    let timing = Timing::Cron { expression: CronExpression::parse(text).unwrap(), zone: Zone::utc() };
    Schedule::new("nightly-backup", timing)
}

fn fires(decided: &Decided) -> Vec<(String, Reason)> {
    let short = |at: DateTime<Utc>| at.format("%dT%H:%M:%S").to_string();
    decided.fires.iter().map(|fire| (short(fire.nominal), fire.reason)).collect()
}

fn missed(decided: &Decided) -> Vec<(Reason, u64)> {
    decided.missed.iter().map(|missed| (missed.reason, missed.count)).collect()
}

fn fired(time: &str, reason: Reason) -> (String, Reason) {
    (time.to_owned(), reason)
}

#[test]
fn what_is_due_fires_once() {
    let schedule = cron("0 2 * * *");
    let state = ScheduleState::new(at("2026-06-01T12:00:00Z"));
    assert_eq!(schedule.next_decision(&state), Some(at("2026-06-02T02:00:00Z")));
    let early = schedule.decide(&state, at("2026-06-02T01:59:59.999Z"), TOLERANCE);
    assert_eq!((early.fires.len(), early.missed.len(), &early.state), (0, 0, &state));
    let due = schedule.decide(&state, at("2026-06-02T02:00:00.004Z"), TOLERANCE);
    assert_eq!(fires(&due), [fired("02T02:00:00", Reason::OnTime)]);
    assert_eq!(due.state.decided_until, at("2026-06-02T02:00:00Z"));
    let again = schedule.decide(&due.state, at("2026-06-02T02:00:09Z"), TOLERANCE);
    assert_eq!((again.fires.len(), again.missed.len()), (0, 0));
    assert_eq!(schedule.next_fire(&due.state).unwrap().nominal, at("2026-06-03T02:00:00Z"));
}

#[test]
fn a_host_asleep_for_a_week() {
    let state = ScheduleState::new(at("2026-06-01T12:00:00Z"));
    let now = at("2026-06-08T12:00:00Z");
    for (misfire, catch_up, expected_fires, expected_missed) in [
        (Misfire::None, None, vec![], vec![(Reason::MisfireNone, 7)]),
        (Misfire::Once, None, vec![fired("08T02:00:00", Reason::Late)], vec![(Reason::Superseded, 6)]),
        (
            Misfire::All { limit: 2 },
            None,
            vec![fired("07T02:00:00", Reason::Late), fired("08T02:00:00", Reason::Late)],
            vec![(Reason::BeyondLimit, 5)],
        ),
        (Misfire::Once, Some(9), vec![], vec![(Reason::BeyondCatchUp, 7)]),
        (Misfire::Once, Some(10), vec![fired("08T02:00:00", Reason::Late)], vec![(Reason::BeyondCatchUp, 6)]),
        (
            Misfire::All { limit: 9 },
            Some(48),
            vec![fired("07T02:00:00", Reason::Late), fired("08T02:00:00", Reason::Late)],
            vec![(Reason::BeyondCatchUp, 5)],
        ),
    ] {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let schedule = Schedule { misfire, catch_up: catch_up.map(hours), ..cron("0 2 * * *") };
        let decided = schedule.decide(&state, now, TOLERANCE);
        assert_eq!((fires(&decided), missed(&decided)), (expected_fires, expected_missed), "{misfire:?} {catch_up:?}");
        assert_eq!(decided.state.decided_until, at("2026-06-08T02:00:00Z"));
    }
}

#[test]
fn what_is_on_time_stands_for_what_is_overdue() {
    let state = ScheduleState::new(at("2026-06-01T12:00:00Z"));
    let now = at("2026-06-05T02:00:05Z");
    let once = cron("0 2 * * *").decide(&state, now, TOLERANCE);
    assert_eq!(fires(&once), [fired("05T02:00:00", Reason::OnTime)]);
    assert_eq!(missed(&once), [(Reason::Superseded, 3)]);
    assert_eq!((once.missed[0].first, once.missed[0].last), (at("2026-06-02T02:00:00Z"), at("2026-06-04T02:00:00Z")));
    let all = Schedule { misfire: Misfire::All { limit: 2 }, ..cron("0 2 * * *") }.decide(&state, now, TOLERANCE);
    assert_eq!(
        fires(&all),
        [fired("03T02:00:00", Reason::Late), fired("04T02:00:00", Reason::Late), fired("05T02:00:00", Reason::OnTime)]
    );
    assert_eq!(missed(&all), [(Reason::BeyondLimit, 1)]);
    let none = Schedule { misfire: Misfire::None, ..cron("0 2 * * *") }.decide(&state, now, TOLERANCE);
    assert_eq!(fires(&none), [fired("05T02:00:00", Reason::OnTime)]);
}

#[test]
fn a_clock_that_is_stepped_back_repeats_nothing() {
    let schedule = Schedule { misfire: Misfire::All { limit: 100 }, ..cron("*/10 * * * *") };
    let state = ScheduleState::new(at("2026-06-01T12:00:00Z"));
    let before = schedule.decide(&state, at("2026-06-01T12:30:00Z"), TOLERANCE);
    assert_eq!(before.fires.len(), 3);
    // An hour back: nothing until the clock has caught up.
    let mut state = before.state;
    for minute in 30..=90 {
        let now = at("2026-06-01T11:00:00Z") + TimeDelta::minutes(minute);
        let decided = schedule.decide(&state, now, TOLERANCE);
        assert_eq!((decided.fires.len(), decided.missed.len()), (0, 0), "{now}");
        state = decided.state;
    }
    let after = schedule.decide(&state, at("2026-06-01T12:40:00Z"), TOLERANCE);
    assert_eq!(fires(&after), [fired("01T12:40:00", Reason::OnTime)]);
}

#[test]
fn a_clock_that_is_stepped_forward_is_a_misfire_and_back_again_repeats_nothing() {
    let schedule = cron("*/10 * * * *");
    let state = ScheduleState::new(at("2026-06-01T12:00:00Z"));
    let forward = schedule.decide(&state, at("2026-06-01T13:05:00Z"), TOLERANCE);
    assert_eq!(fires(&forward), [fired("01T13:00:00", Reason::Late)]);
    assert_eq!(missed(&forward), [(Reason::Superseded, 5)]);
    let back = schedule.decide(&forward.state, at("2026-06-01T12:10:00Z"), TOLERANCE);
    assert_eq!((fires(&back), missed(&back)), (vec![], vec![]));
    assert_eq!(schedule.next_fire(&back.state).unwrap().nominal, at("2026-06-01T13:10:00Z"));
}

#[test]
fn a_schedule_of_each_second_asleep_for_ten_years_is_decided_at_once() {
    let state = ScheduleState::new(at("2016-06-01T00:00:00Z"));
    let now = at("2026-06-01T00:00:00.500Z");
    let seconds = u64::try_from((now - state.decided_until).num_seconds()).unwrap();
    let berlin = Zone::named("Europe/Berlin").unwrap();
    let mut each = cron("* * * * * *");
    each.timing = Timing::Cron { expression: CronExpression::parse("* * * * * *").unwrap(), zone: berlin };
    let mut nightly = each.clone();
    nightly.windows.maintenance = vec![Window::parse("22:00-23:00", berlin).unwrap()];
    let mut deferred = nightly.clone();
    deferred.windows.outside = Outside::Defer;
    for (what, schedule) in [("no window", each), ("skipped outside", nightly), ("deferred outside", deferred)] {
        for misfire in [Misfire::Once, Misfire::All { limit: 1_000 }, Misfire::None] {
            for catch_up in [None, Some(Duration::from_secs(30 * 86_400))] {
                let schedule = Schedule { misfire, catch_up, ..schedule.clone() };
                let decided = schedule.decide(&state, now, Duration::from_secs(5));
                // The machine may be busy with something else.
                let once = |_| {
                    let began = Instant::now();
                    assert_eq!(schedule.decide(&state, now, Duration::from_secs(5)), decided);
                    began.elapsed()
                };
                let took = (0..3).map(once).min().unwrap();
                println!("{what}, {misfire:?}, catch-up {catch_up:?}: {took:?}, {:?}", missed(&decided));
                let missed: u64 = decided.missed.iter().map(|missed| missed.count).sum();
                let waits = u64::from(decided.state.deferred.is_some());
                assert_eq!(missed + decided.fires.len() as u64 + waits, seconds, "{what} {misfire:?}");
                assert!(decided.missed.len() < 8 && decided.fires.len() <= 1_006);
                assert!(took < Duration::from_millis(50), "{what} {misfire:?} {catch_up:?}: {took:?}");
            }
        }
    }
}

#[test]
fn what_is_on_time_at_once_is_bounded() {
    let state = ScheduleState::new(at("2026-06-01T00:00:00Z"));
    let decided = cron("* * * * * *").decide(&state, at("2026-06-02T00:00:00Z"), Duration::from_secs(86_400));
    assert_eq!(decided.fires.len(), MOST_ON_TIME);
    assert_eq!(missed(&decided), [(Reason::BeyondLimit, 86_400 - MOST_ON_TIME as u64)]);
}

#[test]
fn a_pause_misses_and_a_resume_goes_on() {
    let schedule = cron("0 * * * *");
    let mut state = ScheduleState::new(at("2026-06-01T00:00:00Z"));
    state.paused = true;
    let paused = schedule.decide(&state, at("2026-06-01T05:30:00Z"), TOLERANCE);
    assert_eq!((fires(&paused), missed(&paused)), (vec![], vec![(Reason::Paused, 5)]));
    let state = ScheduleState { paused: false, ..paused.state };
    let resumed = schedule.decide(&state, at("2026-06-01T06:00:00Z"), TOLERANCE);
    assert_eq!((fires(&resumed), missed(&resumed)), (vec![fired("01T06:00:00", Reason::OnTime)], vec![]));
}

#[test]
fn dates_bound_the_instants() {
    let mut schedule = cron("0 2 * * *");
    schedule.starts = Some(at("2026-06-03T02:00:00Z"));
    schedule.ends = Some(at("2026-06-05T02:00:00Z"));
    let state = ScheduleState::new(at("2026-06-01T00:00:00Z"));
    assert_eq!(schedule.next_decision(&state), Some(at("2026-06-03T02:00:00Z")));
    schedule.misfire = Misfire::All { limit: 10 };
    let decided = schedule.decide(&state, at("2026-07-01T00:00:00Z"), TOLERANCE);
    assert_eq!(fires(&decided), [fired("03T02:00:00", Reason::Late), fired("04T02:00:00", Reason::Late)]);
    assert_eq!(schedule.next_fire(&decided.state), None);
    assert_eq!(schedule.next_decision(&decided.state), None);
    let once = Schedule::new("once", Timing::At(at("2026-06-03T12:00:00Z").into()));
    let decided = once.decide(&state, at("2026-06-03T12:00:01Z"), TOLERANCE);
    assert_eq!(fires(&decided), [fired("03T12:00:00", Reason::OnTime)]);
    assert_eq!(once.next_decision(&decided.state), None);
}

#[test]
fn an_instant_is_not_decided_before_its_jitter_has_passed() {
    let schedule = Schedule { jitter: Duration::from_secs(300), ..cron("0 2 * * *") };
    let state = ScheduleState::new(at("2026-06-01T12:00:00Z"));
    let fire = schedule.next_fire(&state).unwrap();
    assert!(fire.due > fire.nominal && fire.due < fire.nominal + TimeDelta::minutes(5), "{fire:?}");
    assert_eq!(schedule.next_decision(&state), Some(fire.due));
    let early = schedule.decide(&state, fire.due - TimeDelta::milliseconds(1), TOLERANCE);
    assert_eq!((early.fires.len(), &early.state), (0, &state));
    let due = schedule.decide(&state, fire.due, TOLERANCE);
    assert_eq!(due.fires, [fire]);
    // The tolerance is counted from when it is due.
    assert_eq!(schedule.decide(&state, fire.due + TOLERANCE, TOLERANCE).fires, [fire]);
    let late = schedule.decide(&state, fire.due + TOLERANCE + Duration::from_millis(1), TOLERANCE);
    assert_eq!(late.fires[0].reason, Reason::Late);
}

#[test]
fn a_backfill_is_bounded() {
    let schedule = cron("0 2 * * *");
    let list = schedule.backfill(at("2026-06-01T02:00:00Z"), at("2026-06-03T02:00:00Z"), 10).unwrap();
    assert_eq!(list, [at("2026-06-01T02:00:00Z"), at("2026-06-02T02:00:00Z")]);
    let many = cron("* * * * * *").backfill(at("2016-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"), 1_000);
    assert_eq!(
        many.unwrap_err().to_string(),
        "the range holds 315619200 instants, more than the 1000 allowed; take a shorter range or a larger limit"
    );
    let reversed = schedule.backfill(at("2026-06-03T00:00:00Z"), at("2026-06-01T00:00:00Z"), 10);
    assert_eq!(
        reversed.unwrap_err().to_string(),
        "the range from 2026-06-03T00:00:00+00:00 to 2026-06-01T00:00:00+00:00 is empty; write the earlier instant first"
    );
}

#[test]
fn the_ends_of_time_are_no_trouble() {
    let (first, last) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    let window = |text| Window::parse(text, Zone::named("Pacific/Apia").unwrap()).unwrap();
    let recurring = CronExpression::parse("0 0 * * *").unwrap();
    let timings = [
        cron("* * * * * *").timing,
        cron("0 0 29 2 *").timing,
        Timing::Every(Every::new(Duration::from_secs(1), first).unwrap()),
        Timing::Every(Every::new(Duration::MAX, last).unwrap()),
        Timing::At(first.into()),
        Timing::At(last.into()),
    ];
    for timing in timings {
        let mut schedule = Schedule { misfire: Misfire::All { limit: 3 }, ..Schedule::new("job", timing) };
        for (jitter, catch_up, bounded) in [
            (Duration::ZERO, None, false),
            (Duration::MAX, Some(Duration::MAX), true),
            (Duration::MAX, Some(Duration::ZERO), true),
        ] {
            (schedule.jitter, schedule.catch_up) = (jitter, catch_up);
            if bounded {
                (schedule.starts, schedule.ends) = (Some(first), Some(last));
                schedule.windows.maintenance = vec![
                    window("MON 22:00-21:00"),
                    Window::range(first, last).unwrap(),
                    Window::recurring(recurring.clone(), Zone::utc(), Duration::MAX).unwrap(),
                ];
                schedule.windows.outside = Outside::Defer;
            }
            for from in [first, at("2026-06-01T00:00:00Z"), last] {
                for until in [first, at("2026-06-01T00:00:00Z"), last] {
                    schedule.timing.count(from, until);
                    schedule.timing.latest(from, until, 2);
                    let state = ScheduleState::new(from);
                    for tolerance in [Duration::ZERO, TOLERANCE] {
                        schedule.decide(&state, until, tolerance);
                    }
                    let _ = schedule.backfill(from, until, 5);
                }
                let state = ScheduleState::new(from);
                schedule.next_fire(&state);
                schedule.next_decision(&state);
                schedule.forecast(from, 2, None, Some(Duration::MAX));
            }
        }
    }
    let each = cron("* * * * *");
    each.decide(&ScheduleState::new(at("2026-06-01T00:00:00Z")), at("2026-06-01T01:00:00Z"), Duration::MAX);
}
