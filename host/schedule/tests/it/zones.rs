//! Every zone of the IANA database, every change of its clocks from 2000 to 2060, against a brute-force oracle that goes
//! minute by minute through the hours around it and shares no code with the crate.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Offset, TimeZone, Timelike, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use rota_schedule::{CronExpression, Timing, Zone};

const EXPRESSIONS: [&str; 20] = [
    // Fixed times: within usual gaps and folds, at midnight, lists and ranges of them, by weekday, by date, either.
    "30 2 * * *",
    "0 0 * * *",
    "0,30 1-3 * * *",
    "15 0,1,2,3 * * *",
    "59 23 * * 6",
    "0 3 * * 0",
    "30 1 1-7 * 0",
    "0 2 */2 3,10 *",
    "5 4 */2 * 1",
    "0 12 * * *",
    "7-59/15 0-5 * * *",
    "45 2 31 3,10 *",
    // Interval-like: every minute, by steps, every hour, with hours restricted.
    "* * * * *",
    "*/15 * * * *",
    "7 * * * *",
    "20 0-23 * * *",
    "0 */2 * * *",
    "*/30 2 * * *",
    "*/20 0 * * *",
    "* 1-3 * * 0",
];

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const FROM: i64 = 946_684_800; // 2000-01-01
const TO: i64 = 2_871_763_200; // 2061-01-01

/// The oracle's own reading of an expression: a set of numbers a field.
struct Oracle {
    minutes: [bool; 60],
    hours: [bool; 24],
    days: [bool; 32],
    months: [bool; 13],
    weekdays: [bool; 7],
    either: bool,
    wildcard: bool,
    every_hour: bool,
}

fn numbers<const N: usize>(text: &str, least: usize) -> [bool; N] {
    let mut set = [false; N];
    for item in text.split(',') {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (least, N - 1),
            Some((first, last)) => (first.parse().unwrap(), last.parse().unwrap()),
            None => (range.parse().unwrap(), range.parse().unwrap()),
        };
        for number in (first..=last).step_by(step.parse().unwrap()) {
            set[number] = true;
        }
    }
    set
}

impl Oracle {
    fn new(text: &str) -> Self {
        let f: Vec<&str> = text.split(' ').collect();
        let hours: [bool; 24] = numbers(f[1], 0);
        let every_hour = hours == [true; 24];
        Self {
            minutes: numbers(f[0], 0),
            hours,
            days: numbers(f[2], 1),
            months: numbers(f[3], 1),
            weekdays: numbers(f[4], 0),
            either: !f[2].starts_with('*') && !f[4].starts_with('*'),
            wildcard: f[0].starts_with('*') || f[1].starts_with('*') || every_hour,
            every_hour,
        }
    }

    fn matches(&self, wall: &Wall) -> bool {
        if !self.minutes[wall.minute] || !self.hours[wall.hour] {
            return false;
        }
        let (day, weekday) = (self.days[wall.day], self.weekdays[wall.weekday]);
        self.months[wall.month] && if self.either { day || weekday } else { day && weekday }
    }
}

/// What a clock shows.
struct Wall {
    at: i64,
    minute: usize,
    hour: usize,
    day: usize,
    month: usize,
    weekday: usize,
}

impl Wall {
    fn new(at: i64) -> Self {
        let time = utc(at).naive_utc();
        Self {
            at,
            minute: time.minute() as usize,
            hour: time.hour() as usize,
            day: time.day() as usize,
            month: time.month() as usize,
            weekday: time.weekday().num_days_from_sunday() as usize,
        }
    }
}

/// A minute as it passes.
struct Passed {
    at: i64,
    wall: Wall,
    /// What the clock shows has been shown before.
    again: bool,
    /// What the clock skipped just before.
    skipped: Vec<Wall>,
}

fn offset(tz: Tz, at: i64) -> i64 {
    i64::from(tz.offset_from_utc_datetime(&utc(at).naive_utc()).fix().local_minus_utc())
}

fn utc(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// The minutes from some hours before a change to some hours after it.
fn minutes_around(tz: Tz, change: i64, step: i64) -> Vec<Passed> {
    let margin = step.abs() + 3 * HOUR;
    let mut passed: Vec<Passed> = Vec::new();
    let mut furthest = i64::MIN;
    for at in (change - margin..change + margin).step_by(60) {
        let wall = at + offset(tz, at);
        let again = wall <= furthest;
        let skipped = match passed.last() {
            Some(last) => (last.wall.at + MINUTE..wall).step_by(60).map(Wall::new).collect(),
            None => Vec::new(),
        };
        furthest = furthest.max(wall);
        passed.push(Passed { at, wall: Wall::new(wall), again, skipped });
    }
    passed
}

/// The changes of a zone's offset, found by a finer search than the crate's.
fn changes(tz: Tz) -> Vec<(i64, i64)> {
    let mut changes = Vec::new();
    let (mut at, mut current) = (FROM, offset(tz, FROM));
    while at < TO {
        let next = at + 6 * HOUR;
        let there = offset(tz, next);
        if there != current {
            let change = (at + 1..=next).find(|at| offset(tz, *at) != current).unwrap();
            changes.push((change, there - current));
            current = there;
        }
        at = next;
    }
    changes
}

#[test]
fn every_change_of_every_zone_is_as_the_oracle_says() {
    let expressions: Vec<(Oracle, CronExpression)> =
        EXPRESSIONS.iter().map(|text| (Oracle::new(text), CronExpression::parse(text).unwrap())).collect();
    let began = std::time::Instant::now();
    let expressions = &expressions;
    let sum = |zones: &[Tz]| {
        zones.iter().map(|tz| check_zone(*tz, expressions)).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    };
    let (first, second) = TZ_VARIANTS.split_at(TZ_VARIANTS.len() / 2);
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(move || sum(second));
        (sum(first), other.join().unwrap())
    });
    let (checked, fired) = (first.0 + second.0, first.1 + second.1);
    println!("{} zones, {checked} changes, {fired} instants, {:?}", TZ_VARIANTS.len(), began.elapsed());
    assert!(checked > 15_000, "{checked}");
}

/// How many changes and instants were checked.
fn check_zone(tz: Tz, expressions: &[(Oracle, CronExpression)]) -> (usize, usize) {
    let changes = changes(tz);
    let known: BTreeSet<i64> = Zone::from(tz).changes().map(|at| at.timestamp()).collect();
    let found: BTreeSet<i64> = changes.iter().map(|(at, _)| *at).collect();
    assert_eq!(known.range(FROM..TO).copied().collect::<BTreeSet<_>>(), found, "{tz}");
    let mut fired = 0;
    for (change, step) in &changes {
        let passed = minutes_around(tz, *change, *step);
        for (text, (oracle, expression)) in EXPRESSIONS.iter().zip(expressions) {
            fired += check(tz, text, oracle, expression, &passed);
        }
    }
    (changes.len(), fired)
}

fn check(tz: Tz, text: &str, oracle: &Oracle, expression: &CronExpression, passed: &[Passed]) -> usize {
    let expected: Vec<i64> = passed
        .iter()
        .filter(|minute| {
            let regular = oracle.matches(&minute.wall) && (oracle.wildcard || !minute.again);
            regular || (!oracle.every_hour && minute.skipped.iter().any(|wall| oracle.matches(wall)))
        })
        .map(|minute| minute.at)
        .collect();
    let timing = Timing::Cron { expression: expression.clone(), zone: Zone::from(tz) };
    let (after, until) = (utc(passed[0].at - 1), utc(passed[passed.len() - 1].at));
    let actual: Vec<i64> = timing.between(after, until).map(|instant| instant.timestamp()).collect();
    assert_eq!(actual, expected, "{text} in {tz} around {}", utc(passed[passed.len() / 2].at));
    assert_eq!(timing.count(after, until), expected.len() as u64, "{text} in {tz} around {after}");
    let last = timing.latest(after, until, 40);
    let last: Vec<i64> = last.iter().map(|instant| instant.timestamp()).collect();
    assert_eq!(last, expected[expected.len().saturating_sub(40)..], "{text} in {tz} around {after}");
    actual.len()
}

#[test]
fn a_wall_clock_time_is_resolved_as_fixed_times_are() {
    let berlin = Zone::named("Europe/Berlin").unwrap();
    let at = |text: &str| berlin.resolve(text.parse().unwrap()).to_rfc3339();
    assert_eq!(at("2026-03-29T01:59:59"), "2026-03-29T00:59:59+00:00");
    assert_eq!(at("2026-03-29T02:30:00"), "2026-03-29T01:00:00+00:00");
    assert_eq!(at("2026-03-29T03:00:00"), "2026-03-29T01:00:00+00:00");
    assert_eq!(at("2026-10-25T02:30:00"), "2026-10-25T00:30:00+00:00");
    assert_eq!(at("2026-10-25T03:00:00"), "2026-10-25T02:00:00+00:00");
    let apia = Zone::named("Pacific/Apia").unwrap();
    assert_eq!(apia.resolve("2011-12-30T12:00:00".parse().unwrap()).to_rfc3339(), "2011-12-30T10:00:00+00:00");
    assert_eq!(Zone::utc().resolve("2026-03-29T02:30:00".parse().unwrap()).to_rfc3339(), "2026-03-29T02:30:00+00:00");
}

#[test]
fn every_zone_has_its_own_table() {
    for tz in TZ_VARIANTS {
        let zone = Zone::from(tz);
        assert_eq!(Zone::named(tz.name()).unwrap(), zone);
        for at in [0, 951_782_400, 1_772_323_200, 1_785_542_400, 4_000_000_000] {
            assert_eq!(i64::from(zone.local(utc(at)).offset_seconds), offset(tz, at), "{tz}");
        }
    }
}
