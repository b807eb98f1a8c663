//! Crates `croner` and `cron` compared with this one on random expressions, where they mean the same; and each place where
//! they do not, with the reason.
//!
//! | what | here | croner 4 | cron 0.17 |
//! |---|---|---|---|
//! | five fields | yes | yes | refused |
//! | Sunday | 0 and 7 | 0 and 7 | 1 |
//! | both days restricted | either (Vixie) | either | both |
//! | `*/2` in one of the days | both (Vixie) | either: only a lone `*` counts | both |
//! | `5/15` | refused | refused | 5-59/15 |
//! | a gap, one fixed time | first instant after | first instant after | skipped |
//! | a gap, several fixed times | first instant after, once | skipped: only a single time is fixed | skipped |
//! | a gap, some hours with `*` minutes | first instant after, once | skipped | skipped |
//! | a fold, one fixed time | first | first | both |
//! | a fold, several fixed times | first of each | both | both |
//! | a fold, interval-like | both, in order | both, in order | the order of the wall clock: goes back in time |
//! | last year | 2100 | 5000 | 2100 |

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::str::FromStr;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;
use rota_schedule::{CronExpression, Timing, Zone};

fn ours(text: &str, tz: Tz, after: DateTime<Utc>, count: usize) -> Vec<DateTime<Utc>> {
    let timing = Timing::Cron { expression: CronExpression::parse(text).unwrap(), zone: Zone::from(tz) };
    timing.between(after, DateTime::<Utc>::MAX_UTC).take(count).collect()
}

fn croner(text: &str, tz: Tz, after: DateTime<Utc>, count: usize) -> Vec<DateTime<Utc>> {
    let cron = croner::Cron::from_str(text).unwrap();
    cron.iter_after(after.with_timezone(&tz)).take(count).map(|at| at.with_timezone(&Utc)).collect()
}

fn cron(text: &str, tz: Tz, after: DateTime<Utc>, count: usize) -> Vec<DateTime<Utc>> {
    let schedule = cron::Schedule::from_str(text).unwrap();
    schedule.after(&after.with_timezone(&tz)).take(count).map(|at| at.with_timezone(&Utc)).collect()
}

/// A field: `*`, a step, a number, a range, a range with a step, or a list.
fn field(least: u32, greatest: u32) -> impl Strategy<Value = String> {
    let number = least..=greatest;
    let range = (number.clone(), number.clone()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        4 => Just("*".to_owned()),
        2 => (2..=(greatest - least)).prop_map(|step| format!("*/{step}")),
        4 => number.clone().prop_map(|n| n.to_string()),
        2 => range.clone().prop_map(|(a, b)| format!("{a}-{b}")),
        1 => (range, 1..5u32).prop_filter_map("a step within", |((a, b), step)| {
            (step <= b - a).then(|| format!("{a}-{b}/{step}"))
        }),
        2 => prop::collection::vec(number, 2..4).prop_map(|numbers| {
            numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
        }),
    ]
}

fn five() -> impl Strategy<Value = [String; 5]> {
    (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)).prop_map(|(a, b, c, d, e)| [a, b, c, d, e])
}

fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    (946_684_800i64..2_871_763_200).prop_map(|at| DateTime::from_timestamp(at, 0).unwrap())
}

/// Where neither side steps clocks, and no `*/n` stands in one of two restricted days.
fn alike(fields: &[String; 5]) -> bool {
    let step = |field: &str| field.starts_with("*/");
    !((step(&fields[2]) && fields[4] != "*") || (step(&fields[4]) && fields[2] != "*"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn croner_agrees_where_clocks_are_never_put(fields in five(), after in instant(), tz in prop::sample::select(vec![Tz::UTC, Tz::Asia__Tokyo, Tz::Asia__Kolkata])) {
        prop_assume!(alike(&fields));
        let text = fields.join(" ");
        prop_assume!(CronExpression::parse(&text).is_ok());
        let (ours, theirs) = (ours(&text, tz, after, 4), croner(&text, tz, after, 4));
        // Ours end with 2100.
        prop_assert_eq!(&ours[..], &theirs[..ours.len()], "{}", text);
    }

    #[test]
    fn croner_agrees_about_every_hour_and_about_one_fixed_time(minute in field(0, 59), second in 0..60u32, hour in prop::option::of(0..24u32), day in field(0, 6), after in instant(), tz in prop::sample::select(vec![Tz::Europe__Berlin, Tz::America__New_York, Tz::Australia__Lord_Howe, Tz::Africa__Cairo])) {
        let text = match hour {
            None => format!("{minute} * * * {day}"),
            // A single time, which both take for fixed.
            Some(hour) => format!("{second} {hour} * * {day}"),
        };
        prop_assert_eq!(ours(&text, tz, after, 40), croner(&text, tz, after, 40), "{}", text);
    }

    #[test]
    fn cron_agrees_where_clocks_are_never_put_and_one_day_is_free(fields in five(), after in instant(), free in any::<bool>()) {
        let mut fields = fields;
        fields[if free { 2 } else { 4 }] = "*".to_owned();
        let text = fields.join(" ");
        prop_assume!(CronExpression::parse(&text).is_ok());
        // Its Sunday is 1: by names both mean the same.
        let names = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
        let weekdays = match fields[4].as_str() {
            star if star.starts_with('*') => star.to_owned(),
            range if range.contains('/') => return Ok(()),
            other => other.split(',').map(|item| {
                item.split('-').map(|n| names[n.parse::<usize>().unwrap()]).collect::<Vec<_>>().join("-")
            }).collect::<Vec<_>>().join(","),
        };
        let theirs = format!("0 {} {} {} {} {weekdays}", fields[0], fields[1], fields[2], fields[3]);
        prop_assert_eq!(ours(&text, Tz::UTC, after, 4), cron(&theirs, Tz::UTC, after, 4), "{} {}", text, theirs);
    }
}

fn at(times: &[&str]) -> Vec<DateTime<Utc>> {
    times.iter().map(|time| time.parse().unwrap()).collect()
}

#[test]
fn each_difference_is_as_the_table_says() {
    let berlin = Tz::Europe__Berlin;
    let (gap, fold) = (at(&["2026-03-28T23:30:00Z"])[0], at(&["2026-10-24T23:30:00Z"])[0]);
    let june = at(&["2026-06-01T12:00:00Z"])[0];

    assert!(cron::Schedule::from_str("0 2 * * *").is_err());
    assert_eq!(ours("0 0 * * 1", Tz::UTC, june, 1), at(&["2026-06-08T00:00:00Z"]));
    assert_eq!(croner("0 0 * * 1", Tz::UTC, june, 1), at(&["2026-06-08T00:00:00Z"]));
    assert_eq!(cron("0 0 0 * * 1", Tz::UTC, june, 1), at(&["2026-06-07T00:00:00Z"]));

    assert_eq!(ours("0 0 13 * FRI", Tz::UTC, june, 1), at(&["2026-06-05T00:00:00Z"]));
    assert_eq!(croner("0 0 13 * FRI", Tz::UTC, june, 1), at(&["2026-06-05T00:00:00Z"]));
    assert_eq!(cron("0 0 0 13 * FRI", Tz::UTC, june, 1), at(&["2026-11-13T00:00:00Z"]));

    assert_eq!(ours("0 0 */2 * MON", Tz::UTC, june, 1), at(&["2026-06-15T00:00:00Z"]));
    assert_eq!(croner("0 0 */2 * MON", Tz::UTC, june, 1), at(&["2026-06-03T00:00:00Z"]));
    assert_eq!(cron("0 0 0 */2 * MON", Tz::UTC, june, 1), at(&["2026-06-15T00:00:00Z"]));

    assert!(CronExpression::parse("5/15 * * * *").is_err());
    assert!(croner::Cron::from_str("5/15 * * * *").is_err());
    assert_eq!(cron("0 5/15 * * * *", Tz::UTC, june, 1), at(&["2026-06-01T12:05:00Z"]));

    assert_eq!(ours("30 2 * * *", berlin, gap, 1), at(&["2026-03-29T01:00:00Z"]));
    assert_eq!(croner("30 2 * * *", berlin, gap, 1), at(&["2026-03-29T01:00:00Z"]));
    assert_eq!(cron("0 30 2 * * *", berlin, gap, 1), at(&["2026-03-30T00:30:00Z"]));
    for text in ["0,30 2 * * *", "*/30 2 * * *"] {
        assert_eq!(ours(text, berlin, gap, 1), at(&["2026-03-29T01:00:00Z"]));
        assert_eq!(croner(text, berlin, gap, 1), at(&["2026-03-30T00:00:00Z"]));
        assert_eq!(cron(&format!("0 {text}"), berlin, gap, 1), at(&["2026-03-30T00:00:00Z"]));
    }

    assert_eq!(ours("30 2 * * *", berlin, fold, 2), at(&["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]));
    assert_eq!(croner("30 2 * * *", berlin, fold, 2), at(&["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]));
    assert_eq!(cron("0 30 2 * * *", berlin, fold, 2), at(&["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]));
    let several = ["2026-10-25T00:10:00Z", "2026-10-25T00:40:00Z"];
    assert_eq!(ours("10,40 2 * * *", berlin, fold, 3)[..2], at(&several));
    assert_eq!(ours("10,40 2 * * *", berlin, fold, 3)[2], at(&["2026-10-26T01:10:00Z"])[0]);
    assert_eq!(croner("10,40 2 * * *", berlin, fold, 3)[2], at(&["2026-10-25T01:10:00Z"])[0]);

    let each = ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"];
    assert_eq!(ours("*/30 2 * * *", berlin, fold, 4), at(&each));
    assert_eq!(croner("*/30 2 * * *", berlin, fold, 4), at(&each));
    let pairs = ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"];
    assert_eq!(cron("0 */30 2 * * *", berlin, fold, 4), at(&pairs));

    let end = at(&["2100-12-31T23:59:00Z"])[0];
    assert_eq!(ours("* * * * *", Tz::UTC, end, 1), at(&[]));
    assert_eq!(croner("* * * * *", Tz::UTC, end, 1), at(&["2101-01-01T00:00:00Z"]));
    assert_eq!(cron("0 * * * * *", Tz::UTC, end, 1), at(&[]));
}
