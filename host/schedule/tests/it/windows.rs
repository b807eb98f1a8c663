//! Maintenance windows and blackouts: how they are written, when they are open, and what becomes of instants outside.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc, Weekday};
use rota_schedule::{
    ClockMark, CronExpression, Missed, Outside, Overlap, OverlapDecision, Reason, Schedule, ScheduleState, Timing,
    Window, Zone,
};

const TOLERANCE: Duration = Duration::from_secs(10);

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn berlin() -> Zone {
    Zone::named("Europe/Berlin").unwrap()
}

fn schedule(text: &str, zone: Zone, maintenance: &[&str], blackouts: &[&str], outside: Outside) -> Schedule {
    let timing = Timing::Cron { expression: CronExpression::parse(text).unwrap(), zone };
    let mut schedule = Schedule::new("vacuum", timing);
    schedule.windows.maintenance = maintenance.iter().map(|text| Window::parse(text, zone).unwrap()).collect();
    schedule.windows.blackouts = blackouts.iter().map(|text| Window::parse(text, zone).unwrap()).collect();
    schedule.windows.outside = outside;
    schedule
}

/// Opening and closing of a window after an instant.
fn next(window: &Window, after: &str) -> (String, String) {
    let opens = window.opening(at(after)).unwrap();
    (opens.to_rfc3339(), window.closing(opens).unwrap().to_rfc3339())
}

fn range(opens: &str, closes: &str) -> (String, String) {
    (format!("{opens}+00:00"), format!("{closes}+00:00"))
}

#[test]
fn windows_are_written_as_people_write_them() {
    let zone = berlin();
    for (text, opens, closes) in [
        // 2026-06-01 is a Monday; Berlin is two hours ahead.
        ("22:00-06:00", "2026-06-01T20:00:00", "2026-06-02T04:00:00"),
        ("MON-FRI 22:00-06:00", "2026-06-01T20:00:00", "2026-06-02T04:00:00"),
        ("SAT,SUN 00:00-24:00", "2026-06-05T22:00:00", "2026-06-07T22:00:00"),
        ("FRI-MON 20:00-22:00", "2026-06-01T18:00:00", "2026-06-01T20:00:00"),
        ("TUE 08:00-08:00", "2026-06-02T06:00:00", "2026-06-03T06:00:00"),
        ("2026-12-24..2027-01-01", "2026-12-23T23:00:00", "2027-01-01T23:00:00"),
        ("2026-12-24..2026-12-24", "2026-12-23T23:00:00", "2026-12-24T23:00:00"),
        ("2026-12-24T18:00:00Z..2026-12-27T06:00:00+01:00", "2026-12-24T18:00:00", "2026-12-27T05:00:00"),
    ] {
        let window = Window::parse(text, zone).unwrap_or_else(|problem| panic!("{text}: {problem}"));
        assert_eq!(next(&window, "2026-06-01T12:00:00Z"), range(opens, closes), "{text}");
        assert!(!window.is_open(at("2026-06-01T12:00:00Z")), "{text}");
    }
    let weekly = Window::weekly(
        &[Weekday::Sat, Weekday::Sun],
        NaiveTime::from_hms_opt(1, 0, 0).unwrap(),
        NaiveTime::from_hms_opt(5, 30, 0).unwrap(),
        zone,
    );
    assert_eq!(weekly.to_string(), "SAT,SUN 01:00-05:30 Europe/Berlin");
    assert_eq!(next(&weekly, "2026-06-01T12:00:00Z"), range("2026-06-05T23:00:00", "2026-06-06T03:30:00"));
    let recurring = CronExpression::parse("0 22 1 * *").unwrap();
    let recurring = Window::recurring(recurring, zone, Duration::from_secs(36 * 3_600)).unwrap();
    assert_eq!(next(&recurring, "2026-06-03T12:00:00Z"), range("2026-07-01T20:00:00", "2026-07-03T08:00:00"));
    assert!(recurring.is_open(at("2026-06-01T20:00:00Z")) && recurring.is_open(at("2026-06-03T07:59:59.999Z")));
    assert!(!recurring.is_open(at("2026-06-03T08:00:00Z")) && !recurring.is_open(at("2026-06-01T19:59:59Z")));
}

#[test]
fn what_is_no_window_is_refused() {
    for (text, message) in [
        (
            "2027-01-01..2026-12-24",
            "the window \"2027-01-01..2026-12-24 Europe/Berlin\" ends before it opens; write the earlier one first",
        ),
        (
            "2026-12-24..soon",
            "\"2026-12-24..soon\" is not a window: both ends must be dates, or instants with an offset; write for example \
             \"2026-12-24..2027-01-01\"",
        ),
        (
            "MON-FRO 22:00-06:00",
            "\"MON-FRO 22:00-06:00\" is not a window: the day-of-week field \"MON-FRO\": \"FRO\" is not known; allowed are 0-7 \
             (0 and 7 are Sunday) and SUN-SAT; the nearest is FRI; write for example \"MON-FRI 22:00-06:00\"",
        ),
        (
            "MON 22:00",
            "\"MON 22:00\" is not a window: \"22:00\" is no range of hours; write for example \"MON-FRI 22:00-06:00\"",
        ),
        (
            "25:00-26:00",
            "\"25:00-26:00\" is not a window: \"25:00\" is no time of the day; write for example \"MON-FRI 22:00-06:00\"",
        ),
    ] {
        assert_eq!(Window::parse(text, berlin()).unwrap_err().to_string(), message);
    }
}

#[test]
fn windows_go_by_the_wall_clock_and_through_its_changes() {
    let night = Window::parse("01:30-02:30", berlin()).unwrap();
    // The gap swallows its end, the fold shows its middle twice.
    assert_eq!(next(&night, "2026-03-28T12:00:00Z"), range("2026-03-29T00:30:00", "2026-03-29T01:00:00"));
    assert_eq!(next(&night, "2026-10-24T12:00:00Z"), range("2026-10-24T23:30:00", "2026-10-25T00:30:00"));
    // A window that lies within the gap does not open on that day.
    let gap = Window::parse("02:10-02:50", berlin()).unwrap();
    assert_eq!(next(&gap, "2026-03-28T12:00:00Z"), range("2026-03-30T00:10:00", "2026-03-30T00:50:00"));
    let always = Window::parse("00:00-24:00", berlin()).unwrap();
    assert_eq!(always.closing(at("2026-06-01T00:00:00Z")), None);
}

#[test]
fn every_minute_is_open_or_closed_as_the_wall_clock_says() {
    let zone = Zone::utc();
    let windows =
        schedule("* * * * *", zone, &["MON-FRI 22:00-06:00", "SUN 10:00-12:00"], &["WED 23:00-23:30"], Outside::Skip)
            .windows;
    let mut now = at("2026-06-01T00:00:00Z");
    let mut changes = Vec::new();
    let mut open = windows.closed(now).is_none();
    while now < at("2026-06-08T00:00:00Z") {
        let then = now;
        now += TimeDelta::minutes(1);
        let is_open = windows.closed(now).is_none();
        if is_open != open {
            changes.push((now.format("%a %H:%M").to_string(), is_open));
            let found = if is_open { windows.opening(then) } else { windows.closing(then) };
            assert_eq!(found, Some(now));
            open = is_open;
        }
    }
    let expected = [
        ("Mon 22:00", true),
        ("Tue 06:00", false),
        ("Tue 22:00", true),
        ("Wed 06:00", false),
        ("Wed 22:00", true),
        ("Wed 23:00", false),
        ("Wed 23:30", true),
        ("Thu 06:00", false),
        ("Thu 22:00", true),
        ("Fri 06:00", false),
        ("Fri 22:00", true),
        ("Sat 06:00", false),
        ("Sun 10:00", true),
        ("Sun 12:00", false),
    ];
    assert_eq!(changes, expected.map(|(at, open)| (at.to_owned(), open)));
}

#[test]
fn instants_outside_are_skipped_with_the_reason() {
    let schedule = schedule("0 */6 * * *", Zone::utc(), &["00:00-07:00"], &["TUE 06:00-06:30"], Outside::Skip);
    let mut state = ScheduleState::new(at("2026-06-01T01:00:00Z"));
    let mut decided = Vec::new();
    while let Some(next) = schedule.next_decision(&state).filter(|next| *next < at("2026-06-02T12:00:00Z")) {
        let one = schedule.decide(&state, next, TOLERANCE);
        let hour = |at: DateTime<Utc>| at.format("%H").to_string();
        decided.extend(one.fires.iter().map(|fire| (hour(fire.nominal), fire.reason)));
        decided.extend(one.missed.iter().map(|missed| (hour(missed.first), missed.reason)));
        state = one.state;
    }
    let expected = [
        ("06", Reason::OnTime),
        ("12", Reason::OutsideWindow),
        ("18", Reason::OutsideWindow),
        ("00", Reason::OnTime),
        ("06", Reason::Blackout),
    ];
    assert_eq!(decided, expected.map(|(hour, reason)| (hour.to_owned(), reason)));
}

#[test]
fn instants_outside_are_deferred_together() {
    let schedule = schedule("30 * * * *", Zone::utc(), &["22:00-23:00"], &[], Outside::Defer);
    let state = ScheduleState::new(at("2026-06-01T12:00:00Z"));
    let next = schedule.next_fire(&state).unwrap();
    assert_eq!(
        (next.nominal, next.due, next.reason),
        (at("2026-06-01T12:30:00Z"), at("2026-06-01T22:00:00Z"), Reason::Deferred)
    );
    let first = schedule.decide(&state, at("2026-06-01T12:30:00Z"), TOLERANCE);
    let (deferred, reason) = first.deferred.unwrap();
    assert_eq!(
        (deferred.nominal, deferred.until, reason),
        (at("2026-06-01T12:30:00Z"), at("2026-06-01T22:00:00Z"), Reason::OutsideWindow)
    );
    let second = schedule.decide(&first.state, at("2026-06-01T13:30:00Z"), TOLERANCE);
    let (h13, h14) = (at("2026-06-01T13:30:00Z"), at("2026-06-01T14:30:00Z"));
    assert_eq!(second.missed, [Missed { reason: Reason::Superseded, first: h13, last: h13, count: 1 }]);
    let opened = schedule.decide(&second.state, at("2026-06-01T22:00:00Z"), TOLERANCE);
    assert_eq!(opened.fires.len(), 1);
    assert_eq!((opened.fires[0].nominal, opened.fires[0].reason), (at("2026-06-01T12:30:00Z"), Reason::Deferred));
    let h21 = at("2026-06-01T21:30:00Z");
    assert_eq!(opened.missed, [Missed { reason: Reason::Superseded, first: h14, last: h21, count: 8 }]);
    // Asleep from noon to half past ten: the one that waited is late, the one of now is on time and stands for it.
    let woken = schedule.decide(&state, at("2026-06-01T22:30:00Z"), TOLERANCE);
    assert_eq!((woken.fires.len(), woken.fires[0].nominal), (1, at("2026-06-01T22:30:00Z")));
    assert_eq!(woken.missed.iter().map(|missed| missed.count).sum::<u64>(), 10);
    // Awake again within the catch-up window of the opening, though the instant itself was long before.
    let short = Schedule { catch_up: Some(Duration::from_secs(600)), ..schedule };
    let woken = short.decide(&state, at("2026-06-01T22:05:00Z"), TOLERANCE);
    assert_eq!((woken.fires.len(), woken.fires[0].reason), (1, Reason::Late));
    assert_eq!((woken.missed[0].reason, woken.missed[0].count), (Reason::BeyondCatchUp, 9));
}

#[test]
fn an_instant_at_the_opening_stands_for_those_that_waited() {
    let schedule = schedule("0 * * * *", Zone::utc(), &["22:00-23:00"], &[], Outside::Defer);
    let state = ScheduleState::new(at("2026-06-01T12:00:00Z"));
    let decided = schedule.decide(&state, at("2026-06-01T22:00:00Z"), TOLERANCE);
    assert_eq!(
        (decided.fires.len(), decided.fires[0].nominal, decided.fires[0].reason),
        (1, at("2026-06-01T22:00:00Z"), Reason::OnTime)
    );
    assert_eq!((decided.missed[0].reason, decided.missed[0].count), (Reason::Superseded, 9));
}

#[test]
fn an_instant_that_waits_follows_windows_that_are_changed() {
    let mut schedule = schedule("30 12 * * *", Zone::utc(), &["22:00-23:00"], &[], Outside::Defer);
    let state = ScheduleState::new(at("2026-06-01T12:00:00Z"));
    let state = schedule.decide(&state, at("2026-06-01T13:00:00Z"), TOLERANCE).state;
    schedule.windows.blackouts = vec![Window::parse("22:00-22:30", Zone::utc()).unwrap()];
    let moved = schedule.decide(&state, at("2026-06-01T22:00:00Z"), TOLERANCE);
    assert_eq!((moved.fires.len(), moved.deferred.unwrap().0.until), (0, at("2026-06-01T22:30:00Z")));
    assert_eq!(schedule.decide(&moved.state, at("2026-06-01T22:30:00Z"), TOLERANCE).fires.len(), 1);
    schedule.windows.outside = Outside::Skip;
    let skipped = schedule.decide(&state, at("2026-06-01T22:00:00Z"), TOLERANCE);
    assert_eq!((skipped.missed[0].reason, skipped.state.deferred), (Reason::Blackout, None));
    schedule.windows.outside = Outside::Defer;
    schedule.windows.blackouts = vec![Window::parse("00:00-24:00", Zone::utc()).unwrap()];
    let never = schedule.decide(&state, at("2026-06-01T22:00:00Z"), TOLERANCE);
    assert_eq!((never.missed[0].reason, never.state.deferred), (Reason::NeverOpens, None));
}

#[test]
fn what_can_never_fire_says_so() {
    let over = schedule("0 * * * *", Zone::utc(), &["2020-01-01..2020-12-31"], &[], Outside::Defer);
    let state = ScheduleState::new(at("2026-06-01T12:00:00Z"));
    assert_eq!(over.next_fire(&state), None);
    let decided = over.decide(&state, at("2026-06-01T14:00:00Z"), TOLERANCE);
    assert_eq!((decided.missed[0].reason, decided.missed[0].count), (Reason::NeverOpens, 2));
    let always = schedule("0 * * * *", Zone::utc(), &[], &["00:00-24:00"], Outside::Skip);
    assert_eq!(always.next_fire(&state), None);
    assert_eq!(always.forecast(state.decided_until, 3, None, None), []);
}

#[test]
fn jitter_stays_within_the_window() {
    let mut schedule = schedule("0 22 * * *", Zone::utc(), &["22:00-22:01"], &[], Outside::Skip);
    schedule.jitter = Duration::from_secs(3_600);
    for expected in schedule.forecast(at("2026-06-01T12:00:00Z"), 200, None, None) {
        assert!(expected.fire.due - expected.fire.nominal < TimeDelta::minutes(1), "{expected:?}");
    }
}

#[test]
fn a_forecast_names_zone_clock_changes_windows_and_overlaps() {
    let gap = schedule("30 2 * * *", berlin(), &[], &[], Outside::Skip);
    let expected = gap.forecast(at("2026-03-28T00:00:00Z"), 3, None, None);
    let shown: Vec<String> = expected.iter().map(|expected| expected.local.to_string()).collect();
    assert_eq!(
        shown,
        ["2026-03-28 02:30:00 CET (+01:00)", "2026-03-29 03:00:00 CEST (+02:00)", "2026-03-30 02:30:00 CEST (+02:00)"]
    );
    assert_eq!((expected[0].mark, expected[2].mark), (None, None));
    assert_eq!(expected[1].mark.unwrap().to_string(), "for 02:30:00, which the clock skips");

    let fold = schedule("*/30 * * * *", berlin(), &[], &[], Outside::Skip);
    let marks: Vec<_> =
        fold.forecast(at("2026-10-24T23:10:00Z"), 6, None, None).iter().map(|expected| expected.mark).collect();
    let (first, second) = (Some(ClockMark::FoldFirst), Some(ClockMark::FoldSecond));
    assert_eq!(marks, [None, first, first, second, second, None]);

    let windowed = schedule("0 */8 * * *", Zone::utc(), &[], &["2026-06-02..2026-06-02"], Outside::Defer);
    let expected = windowed.forecast(at("2026-06-01T12:00:00Z"), 3, Some(berlin()), None);
    assert_eq!(expected[1].fire.nominal, at("2026-06-03T00:00:00Z"));
    assert_eq!(expected[1].missed[0].reason, Reason::Superseded);
    assert_eq!((expected[1].missed[0].count, expected[1].local.abbreviation.as_str()), (3, "CEST"));

    let long = Some(Duration::from_secs(9 * 3_600));
    let mut overlapping = schedule("0 */8 * * *", Zone::utc(), &[], &[], Outside::Skip);
    let mut guess = |overlap| {
        overlapping.overlap = overlap;
        let expected = overlapping.forecast(at("2026-06-01T12:00:00Z"), 4, None, long);
        expected.into_iter().map(|expected| expected.overlap.unwrap()).collect::<Vec<_>>()
    };
    use OverlapDecision::{Buffer, CancelOtherThenStart, Skip, Start};
    let running = Skip(Reason::StillRunning);
    assert_eq!(guess(Overlap::Skip), [Start, running, Start, running]);
    assert_eq!(guess(Overlap::CancelOther), [Start, CancelOtherThenStart, CancelOtherThenStart, CancelOtherThenStart]);
    assert_eq!(guess(Overlap::BufferOne), [Start, Buffer, Buffer, Buffer]);
    assert_eq!(guess(Overlap::Allow), [Start; 4]);
}
