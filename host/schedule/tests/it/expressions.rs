//! What expressions are read, as what they are normalised, and what the words are for what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use rota_schedule::{CronExpression, Every, Timing, Zone};

fn next(text: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let timing = Timing::Cron { expression: CronExpression::parse(text).unwrap(), zone: Zone::named(zone).unwrap() };
    let mut at: chrono::DateTime<chrono::Utc> = after.parse().unwrap();
    let mut found = Vec::new();
    while let Some(instant) = timing.next_after(at)
        && found.len() < count
    {
        found.push(instant.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
        at = instant;
    }
    found
}

#[test]
fn what_is_written_is_normalised() {
    for (text, normal) in [
        ("0 2 * * *", "0 2 * * *"),
        ("  0\t2  * * * ", "0 2 * * *"),
        ("00 02 01 01 *", "0 2 1 1 *"),
        ("0 2 * JAN,jul MON-FRI", "0 2 * 1,7 1-5"),
        ("0 2 * January sunday", "0 2 * 1 0"),
        ("0 2 * * 7", "0 2 * * 0"),
        ("0 2 * * 5-7", "0 2 * * 5-7"),
        ("0 2 * * FRI-SUN", "0 2 * * 5-7"),
        ("0 2 * * FRI-MON", "0 2 * * 5-7,1"),
        ("0 2 * * SAT-SUN", "0 2 * * 6-7"),
        ("0 2 * * SUN-TUE", "0 2 * * 0-2"),
        ("0 2 * * FRI-MON/2", "0 2 * * 5,0"),
        ("0 2 * NOV-FEB *", "0 2 * 11-12,1-2 *"),
        ("0 2 * DEC-JAN *", "0 2 * 12,1 *"),
        ("0 2 * NOV-FEB/2 *", "0 2 * 11,1 *"),
        ("*/15 */1 * * *", "*/15 * * * *"),
        ("0-59 0-23 1-31 1-12 0-6", "* * 1-31 * 0-6"),
        ("5-5 1-9/1 * * *", "5 1-9 * * *"),
        ("1,1,2-3 * * * *", "1,1,2-3 * * * *"),
        ("0 30 2 * * *", "30 2 * * *"),
        ("15 30 2 * * *", "15 30 2 * * *"),
        ("* * * * * *", "* * * * * *"),
        ("0 30 2 * * * *", "30 2 * * *"),
        ("10 30 2 * * * *", "10 30 2 * * *"),
        ("0 30 2 * * * 2026", "0 30 2 * * * 2026"),
        ("0 30 2 * * * 1970-2100", "30 2 * * *"),
        ("0 30 2 * * * 2026-2030/2,2040", "0 30 2 * * * 2026-2030/2,2040"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@Daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("0 0 31 2 1", "0 0 31 2 1"),
    ] {
        let expression = CronExpression::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
        assert_eq!(expression.to_string(), normal, "{text}");
        let again = CronExpression::parse(normal).unwrap();
        assert_eq!((again.to_string().as_str(), &again), (normal, &expression), "{text}");
    }
}

#[test]
fn what_is_refused_names_the_field_the_text_and_the_nearest_valid_thing() {
    for (text, message) in [
        ("", "a cron expression is empty; write for example \"0 2 * * *\" (daily at 02:00)"),
        (
            "0 2 * *",
            "\"0 2 * *\" has 4 fields; a cron expression has 5 (minute hour day-of-month month day-of-week), 6 (second first) or \
             7 (year last), for example \"0 2 * * *\"",
        ),
        (
            "0 0 2 * * * * *",
            "\"0 0 2 * * * * *\" has 8 fields; a cron expression has 5 (minute hour day-of-month month day-of-week), 6 (second \
             first) or 7 (year last), for example \"0 0 2 * * * *\"",
        ),
        (
            "@dayly",
            "\"@dayly\" is not known; there are @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly; the nearest \
             is @daily",
        ),
        ("@reboot", "\"@reboot\" is no time and is not supported; write when it should fire, for example @daily"),
        (
            "CRON_TZ=Asia/Shanghai 0 2 * * *",
            "\"CRON_TZ=Asia/Shanghai 0 2 * * *\" names a time zone within the expression; name it beside it: timezone = \
             \"Asia/Shanghai\"",
        ),
        ("60 2 * * *", "the minute field \"60\": 60 is out of range; allowed are 0-59; the nearest is 59"),
        ("0 24 * * *", "the hour field \"24\": 24 is out of range; allowed are 0-23; the nearest is 23"),
        ("0 0 0 * *", "the day-of-month field \"0\": 0 is out of range; allowed are 1-31; the nearest is 1"),
        ("0 0 * 13 *", "the month field \"13\": 13 is out of range; allowed are 1-12 and JAN-DEC; the nearest is 12"),
        (
            "0 0 * * 8",
            "the day-of-week field \"8\": 8 is out of range; allowed are 0-7 (0 and 7 are Sunday) and SUN-SAT; the nearest is 7",
        ),
        (
            "0 0 0 * * * 1969",
            "the year field \"1969\": 1969 is out of range; allowed are 1970-2100; the nearest is 1970",
        ),
        (
            "99999999999 2 * * *",
            "the minute field \"99999999999\": 99999999999 is out of range; allowed are 0-59; the nearest is 59",
        ),
        (
            "0 0 * * MON,TEU",
            "the day-of-week field \"MON,TEU\": \"TEU\" is not known; allowed are 0-7 (0 and 7 are Sunday) and SUN-SAT; the \
             nearest is TUE",
        ),
        (
            "0 0 * Juny *",
            "the month field \"Juny\": \"Juny\" is not known; allowed are 1-12 and JAN-DEC; the nearest is JUN",
        ),
        ("0 noon * * *", "the hour field \"noon\": \"noon\" is not known; allowed are 0-23"),
        (
            "0 0 L * *",
            "the day-of-month field \"L\": \"L\" uses L (the last day of the month), which is not supported; the nearest is 28 or, on \
             the day after the last, 1",
        ),
        (
            "0 0 15W * *",
            "the day-of-month field \"15W\": \"15W\" uses W (the working day nearest to a day), which is not supported; the nearest \
             is 15",
        ),
        (
            "0 0 * * 5#2",
            "the day-of-week field \"5#2\": \"5#2\" uses # (the n-th such weekday of the month), which is not supported; the nearest \
             is 5",
        ),
        (
            "0 0 * * FRIL",
            "the day-of-week field \"FRIL\": \"FRIL\" uses L (the last such weekday of the month), which is not supported; the nearest \
             is FRI",
        ),
        (
            "0 0 * * 5L",
            "the day-of-week field \"5L\": \"5L\" uses L (the last such weekday of the month), which is not supported; the nearest is 5",
        ),
        (
            "0 0 ? * MON",
            "the day-of-month field \"?\": \"?\" uses ? (no particular value), which is not supported; the nearest is *",
        ),
        ("0 22-6 * * *", "the hour field \"22-6\": \"22-6\" goes backwards; the same in order is 22-23,0-6"),
        ("0 0 * * 6-1", "the day-of-week field \"6-1\": \"6-1\" goes backwards; the same in order is 6-7,1"),
        ("0 0 * * 5-0", "the day-of-week field \"5-0\": \"5-0\" goes backwards; the same in order is 5-7"),
        ("0 0 * * 7-2", "the day-of-week field \"7-2\": \"7-2\" goes backwards; the same in order is 0-2"),
        (
            "0 0 0 * * * 2030-2026",
            "the year field \"2030-2026\": \"2030-2026\" goes backwards; the same in order is 2026-2030",
        ),
        ("5/15 * * * *", "the minute field \"5/15\": \"5/15\" has a step but no range; the nearest is 5-59/15"),
        (
            "*/0 * * * *",
            "the minute field \"*/0\": the step of \"*/0\" is out of range; allowed are 1-59; the nearest is */1",
        ),
        (
            "*/90 * * * *",
            "the minute field \"*/90\": the step of \"*/90\" is out of range; allowed are 1-59; the nearest is every = \"90m\"",
        ),
        (
            "0 1-5/9 * * *",
            "the hour field \"1-5/9\": the step of \"1-5/9\" is out of range; allowed are 1-4; the nearest is 1-5/4",
        ),
        (
            "0 1,,2 * * *",
            "the hour field \"1,,2\": \"\" is neither a number, a name, a range, * nor one of these with a step; allowed are 0-23",
        ),
        (
            "0 1-2-3 * * *",
            "the hour field \"1-2-3\": \"1-2-3\" is neither a number, a name, a range, * nor one of these with a step; allowed are 0-23",
        ),
        (
            "0 */x * * *",
            "the hour field \"*/x\": \"*/x\" is neither a number, a name, a range, * nor one of these with a step; allowed are 0-23",
        ),
        (
            "0 0 30 2 *",
            "\"0 0 30 2 *\" never comes: none of its months has such a day in its years; the nearest that does is \"0 0 28 2 *\"",
        ),
        (
            "0 0 31 4,6,9,11 *",
            "\"0 0 31 4,6,9,11 *\" never comes: none of its months has such a day in its years; the nearest that does is \
             \"0 0 30 4,6,9,11 *\"",
        ),
        (
            "0 0 0 29 2 * 2026",
            "\"0 0 0 29 2 * 2026\" never comes: none of its months has such a day in its years; the nearest that does is \
             \"0 0 0 28 2 *\"",
        ),
    ] {
        assert_eq!(CronExpression::parse(text).expect_err(text).to_string(), message);
    }
}

#[test]
fn zones_and_intervals_that_are_none_are_refused() {
    for (name, message) in [
        ("Asia/Shangai", "\"Asia/Shangai\" is not a time zone of the IANA database; the nearest is \"Asia/Shanghai\""),
        ("berlin", "\"berlin\" is not a time zone of the IANA database; the nearest is \"Europe/Berlin\""),
        ("", "\"\" is not a time zone of the IANA database"),
    ] {
        assert_eq!(Zone::named(name).unwrap_err().to_string(), message);
    }
    let short = Every::new(std::time::Duration::from_millis(10), chrono::DateTime::UNIX_EPOCH);
    assert_eq!(short.unwrap_err().to_string(), "an interval of 10 ms is too short; the shortest is 1 s");
}

#[test]
fn days_follow_the_rule_of_vixie() {
    // 2026-06-01 is a Monday.
    let from = "2026-06-01T12:00:00Z";
    // Both restricted: either matches.
    assert_eq!(
        next("0 0 13 * 5", "UTC", from, 3),
        ["2026-06-05T00:00:00Z", "2026-06-12T00:00:00Z", "2026-06-13T00:00:00Z"]
    );
    // One of them *: the other.
    assert_eq!(next("0 0 13 * *", "UTC", from, 2), ["2026-06-13T00:00:00Z", "2026-07-13T00:00:00Z"]);
    assert_eq!(next("0 0 * * 5", "UTC", from, 2), ["2026-06-05T00:00:00Z", "2026-06-12T00:00:00Z"]);
    // One of them */n: both must match (odd days that are Mondays).
    assert_eq!(next("0 0 */2 * 1", "UTC", from, 2), ["2026-06-15T00:00:00Z", "2026-06-29T00:00:00Z"]);
    // The whole range is a restriction all the same: every day.
    assert_eq!(next("0 0 1-31 * 5", "UTC", from, 2), ["2026-06-02T00:00:00Z", "2026-06-03T00:00:00Z"]);
}

#[test]
fn gaps_and_folds_of_berlin() {
    // 2026-03-29: 02:00 CET becomes 03:00 CEST, at 01:00 UTC.
    let gap = "2026-03-28T23:30:00Z";
    for (text, expected) in [
        ("30 2 * * *", ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        ("0,15,30 2 * * *", ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]),
        ("*/30 2 * * *", ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]),
        ("5 2-3 * * *", ["2026-03-29T01:00:00Z", "2026-03-29T01:05:00Z"]),
        ("7 * * * *", ["2026-03-29T00:07:00Z", "2026-03-29T01:07:00Z"]),
        ("*/45 * * * *", ["2026-03-28T23:45:00Z", "2026-03-29T00:00:00Z"]),
        ("0 */2 * * *", ["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]),
    ] {
        assert_eq!(next(text, "Europe/Berlin", gap, 2), expected, "{text}");
    }
    // 2026-10-25: 03:00 CEST becomes 02:00 CET, at 01:00 UTC.
    let fold = "2026-10-24T23:45:00Z";
    for (text, expected) in [
        ("30 2 * * *", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        ("0 2,3 * * *", ["2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"]),
        ("30 * * * *", ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]),
        ("*/30 2 * * *", ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z"]),
    ] {
        assert_eq!(next(text, "Europe/Berlin", fold, 2), expected, "{text}");
    }
    assert_eq!(next("*/30 2 * * *", "Europe/Berlin", fold, 4)[2..], ["2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"]);
}

#[test]
fn seconds_and_years_are_fields() {
    assert_eq!(
        next("*/20 59 23 31 12 * 2026", "UTC", "2026-06-01T00:00:00Z", 9),
        ["2026-12-31T23:59:00Z", "2026-12-31T23:59:20Z", "2026-12-31T23:59:40Z"]
    );
    assert_eq!(next("0 0 0 29 2 * 2024", "UTC", "2026-06-01T00:00:00Z", 9), Vec::<String>::new());
    assert_eq!(next("0 0 29 2 *", "UTC", "2096-01-01T00:00:00Z", 9), ["2096-02-29T00:00:00Z"]);
    assert_eq!(next("0 0 1 1 *", "Europe/Berlin", "1901-01-01T00:00:00Z", 1), ["1969-12-31T23:00:00Z"]);
    assert_eq!(next("59 59 23 31 12 * *", "UTC", "2100-12-31T23:59:58Z", 2), ["2100-12-31T23:59:59Z"]);
    assert_eq!(next("* * * * *", "UTC", "+12345-01-01T00:00:00Z", 2), Vec::<String>::new());
}

#[test]
fn the_last_times_of_all_are_repeated_by_a_fold() {
    let text = "0 */30 2 25 10 * 2026";
    let all = ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"];
    assert_eq!(next(text, "Europe/Berlin", "2020-01-01T00:00:00Z", 9), all);
    let zone = Zone::named("Europe/Berlin").unwrap();
    let timing = Timing::Cron { expression: CronExpression::parse(text).unwrap(), zone };
    let (after, until) = (chrono::DateTime::UNIX_EPOCH, "2100-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(timing.count(after, until), 4);
    assert_eq!(timing.latest(after, until, 9), all.map(|at| at.parse::<chrono::DateTime<chrono::Utc>>().unwrap()));
    assert_eq!(
        timing.previous(all[0].parse::<chrono::DateTime<chrono::Utc>>().unwrap() - chrono::TimeDelta::seconds(1)),
        None
    );
}

#[test]
fn forwards_and_backwards_and_counted_are_the_same() {
    for text in ["0 0 29 2 *", "0 0 1 1 *", "30 2 * * 0", "*/20 2 25-31 3,10 0", "0 0 1 */5 1"] {
        for zone in ["UTC", "Europe/Berlin", "Pacific/Apia", "America/Caracas", "Africa/Casablanca", "Asia/Pyongyang"] {
            let (expression, zone) = (CronExpression::parse(text).unwrap(), Zone::named(zone).unwrap());
            let timing = Timing::Cron { expression, zone };
            let (after, until) = ("1960-01-01T00:00:00Z".parse().unwrap(), "2110-01-01T00:00:00Z".parse().unwrap());
            let forwards: Vec<_> = timing.between(after, until).collect();
            assert_eq!(timing.latest(after, until, usize::MAX), forwards, "{text} {zone}");
            assert_eq!(timing.count(after, until), forwards.len() as u64, "{text} {zone}");
            let middle = forwards[forwards.len() / 2];
            assert_eq!(timing.count(after, middle) + timing.count(middle, until), forwards.len() as u64);
        }
    }
}

#[test]
fn strictly_after_holds_between_seconds() {
    assert_eq!(next("* * * * *", "UTC", "2026-06-01T00:00:59.999999999Z", 1), ["2026-06-01T00:01:00Z"]);
    assert_eq!(next("* * * * *", "UTC", "2026-06-01T00:01:00Z", 1), ["2026-06-01T00:02:00Z"]);
    assert_eq!(next("* * * * *", "UTC", "2026-06-01T00:01:00.000000001Z", 1), ["2026-06-01T00:02:00Z"]);
}

#[test]
fn intervals_are_anchored_on_both_sides() {
    let anchor = "2026-06-01T00:00:30.250Z".parse().unwrap();
    let timing = Timing::Every(Every::new(std::time::Duration::from_secs(900), anchor).unwrap());
    for (after, expected) in [
        ("2026-06-01T00:00:30.249Z", "2026-06-01T00:00:30.250+00:00"),
        ("2026-06-01T00:00:30.250Z", "2026-06-01T00:15:30.250+00:00"),
        ("2026-06-01T00:00:30.250000001Z", "2026-06-01T00:15:30.250+00:00"),
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:30.250+00:00"),
    ] {
        assert_eq!(timing.next_after(after.parse().unwrap()).unwrap().to_rfc3339(), expected, "{after}");
    }
    let day = ("2026-06-01T00:00:00Z".parse().unwrap(), "2026-06-02T00:00:00Z".parse().unwrap());
    assert_eq!(timing.count(day.0, day.1), 96);
    assert_eq!(timing.between(day.0, day.1).count(), 96);
    assert_eq!(timing.latest(day.0, day.1, 1)[0].to_rfc3339(), "2026-06-01T23:45:30.250+00:00");
    let once = Timing::At(anchor.into());
    assert_eq!(once.next_after(day.0), Some(anchor));
    assert_eq!(once.next_after(anchor), None);
    assert_eq!(once.count(day.0, day.1), 1);
}

proptest! {
    #[test]
    fn reading_never_panics(text in "[0-9*/,LW#?@a-zA-Z -]{0,24}|\\PC{0,12}") {
        let _ = CronExpression::parse(&text);
    }

    #[test]
    fn what_is_shown_is_read_again(fields in prop::collection::vec("[*]|[*]/[1-9]|[1-6]|[1-3]-[4-6](/[123])?|[0-4],[5-6]", 5..=6)) {
        let text = fields.join(" ");
        if let Ok(expression) = CronExpression::parse(&text) {
            let again = CronExpression::parse(expression.as_str()).unwrap();
            prop_assert_eq!(again.as_str(), expression.as_str());
            prop_assert_eq!(again, expression);
        }
    }
}
