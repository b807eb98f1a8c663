//! When jobs run by themselves.

use rota_config::{Duration, Misfire, Moment, Outside, Overlap, Source, Weekday, Window, check};
use rota_schedule::ScheduleState;

use super::{config, lines, refused};

/// A job with this in its schedule; the first key begins at column 14.
fn scheduled(keys: &str) -> String {
    format!("[jobs.a]\nplugin = \"p\"\nschedule = {{ {keys} }}\n")
}

#[track_caller]
fn schedule(keys: &str) -> rota_config::Schedule {
    config(&scheduled(keys)).jobs["a"].schedule.clone().unwrap()
}

#[test]
fn a_schedule_has_defaults() {
    let schedule = schedule("cron = \"0 2 * * *\"");
    assert_eq!((schedule.misfire, schedule.overlap, schedule.outside), (Misfire::Once, Overlap::Skip, Outside::Skip));
    assert_eq!((schedule.misfire_limit, schedule.catch_up), (100, Duration::from_secs(86_400)));
    assert_eq!((schedule.timezone.as_str(), schedule.pause_after_failures), ("UTC", 0));
    assert!(schedule.jitter.is_zero() && schedule.windows.is_empty() && schedule.blackouts.is_empty());
}

#[test]
fn intervals_and_instants_are_read() {
    let every = schedule("every = \"15m\", anchor = \"2026-01-01T00:07:00Z\"");
    assert_eq!(every.every, Some(Duration::from_secs(900)));
    assert!(matches!(every.anchor, Some(Moment::Instant(_))));
    let once = schedule("at = 2026-12-24T18:00:00+08:00");
    assert_eq!(once.at.unwrap().as_slice()[0].to_string(), "2026-12-24T10:00:00Z");
    let several = schedule("at = [\"2026-12-24\", 2026-12-25T10:00:00], timezone = \"Asia/Shanghai\"");
    let shown: Vec<String> = several.at.unwrap().as_slice().iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["2026-12-24", "2026-12-25T10:00:00"]);
}

#[test]
fn windows_have_three_forms() {
    let schedule = schedule(
        "cron = \"0 2 * * *\", outside = \"defer\", windows = [{ from = \"2026-12-01\", until = 2027-01-01 }, { days = [\"sat\", \"sun\"], \
         from = \"22:00\", until = 06:00:00 }, { from = \"01:00\", until = \"05:00\" }, { days = [\"mon\"] }], \
         blackouts = [{ cron = \"0 22 * * 5\", duration = \"8h\" }]",
    );
    let [Window::Calendar(calendar), Window::Weekly(nights), Window::Weekly(daily), Window::Weekly(mondays)] =
        schedule.windows.as_slice()
    else {
        panic!("{:?}", schedule.windows)
    };
    assert_eq!((calendar.from.to_string().as_str(), calendar.until.to_string().as_str()), ("2026-12-01", "2027-01-01"));
    assert_eq!(nights.days, [Weekday::Saturday, Weekday::Sunday]);
    assert_eq!((nights.from.to_string().as_str(), nights.until.to_string().as_str()), ("22:00", "06:00"));
    assert_eq!((daily.days.len(), daily.from.seconds()), (7, 3_600));
    assert_eq!((mondays.from.seconds(), mondays.until.seconds()), (0, 86_400));
    let [Window::Cron(fridays)] = schedule.blackouts.as_slice() else { panic!("{:?}", schedule.blackouts) };
    assert_eq!((fridays.cron.as_str(), fridays.duration), ("0 22 * * 5", Duration::from_secs(8 * 3_600)));
}

#[test]
fn exactly_one_key_says_when() {
    refused(
        &scheduled("jitter = \"1m\""),
        "rota.toml:3:1: jobs.a.schedule needs one of the keys \"cron\", \"every\" and \"at\" (as in schedule = { cron = \"0 2 * * *\" })",
    );
    refused(
        &scheduled("cron = \"0 2 * * *\", every = \"1h\""),
        "rota.toml:3:34: jobs.a.schedule.cron and jobs.a.schedule.every are both set, and one of them says when it fires (keep one of \
         the two)",
    );
    refused(
        &scheduled("cron = \"0 2 * * *\", anchor = \"2026-01-01\""),
        "rota.toml:3:34: jobs.a.schedule.anchor is where intervals count from, and there is no jobs.a.schedule.every",
    );
}

#[test]
fn a_schedule_that_cannot_be_is_refused() {
    let with_cron = |keys: &str| scheduled(&format!("cron = \"0 2 * * *\", {keys}"));
    for (text, line) in [
        (scheduled("every = \"10ms\""), "rota.toml:3:22: jobs.a.schedule.every must be between 1s and 366d, not 10ms"),
        (
            scheduled("at = \"tomorrow\""),
            "rota.toml:3:19: jobs.a.schedule.at: \"tomorrow\" is neither an instant nor a date; write it as 2026-12-24T18:00:00+08:00, or \
             in the schedule's zone as 2026-12-24T18:00 or 2026-12-24",
        ),
        (scheduled("at = []"), "rota.toml:3:19: jobs.a.schedule.at must name at least one instant"),
        (
            scheduled("at = 5"),
            "rota.toml:3:19: jobs.a.schedule.at must be an instant such as \"2026-12-24T18:00:00+08:00\", or a date such as \
             \"2026-12-24\", not an integer",
        ),
        (
            scheduled("at = [\"2026-12-24\", \"1969-01-01\"]"),
            "rota.toml:3:34: jobs.a.schedule.at[1]: \"1969-01-01\" is not within the years 1970 to 2100",
        ),
        (
            with_cron("start = \"2026-02-01\", end = \"2026-01-01\""),
            "rota.toml:3:56: jobs.a.schedule.end (2026-01-01) is not after jobs.a.schedule.start (2026-02-01)",
        ),
        (
            scheduled("cron = \"0 25 * * *\""),
            "rota.toml:3:21: jobs.a.schedule.cron: the hour field \"25\": 25 is out of range; allowed are 0-23; the nearest is 23",
        ),
        (
            with_cron("timezone = \"Asia/Shangai\""),
            "rota.toml:3:45: jobs.a.schedule.timezone: \"Asia/Shangai\" is not a time zone of the IANA database; the nearest is \"Asia/Shanghai\"",
        ),
        (
            with_cron("blackouts = [{ cron = \"0 2 30 2 *\", duration = \"1h\" }]"),
            "rota.toml:3:56: jobs.a.schedule.blackouts[0].cron: \"0 2 30 2 *\" never comes: none of its months has such a day in its years; the nearest that does is \"0 2 28 2 *\"",
        ),
        (
            with_cron("misfire_limit = 0"),
            "rota.toml:3:50: jobs.a.schedule.misfire_limit must be between 1 and 10000, not 0",
        ),
        (
            with_cron("catch_up = \"2y\""),
            "rota.toml:3:45: jobs.a.schedule.catch_up: \"y\" in \"2y\" is not a unit of time; the units are d, h, m, s and ms",
        ),
        (
            with_cron("outside = \"wait\""),
            "rota.toml:3:44: jobs.a.schedule.outside: \"wait\" is not what happens outside of windows (the words for it are skip and defer)",
        ),
        (
            with_cron("windwos = []"),
            "rota.toml:3:34: jobs.a.schedule.windwos is not a key of [jobs.a.schedule] (did you mean \"windows\"?)",
        ),
    ] {
        refused(&text, line);
    }
}

#[test]
fn a_window_that_cannot_be_is_refused() {
    let with = |window: &str| scheduled(&format!("cron = \"0 2 * * *\", windows = [{window}]"));
    for (window, line) in [
        (
            "{ days = [\"saturday\"] }",
            "rota.toml:3:55: jobs.a.schedule.windows[0].days[0]: \"saturday\" is not a day of the week (the words for it are mon, tue, \
             wed, thu, fri, sat and sun)",
        ),
        ("{ days = [] }", "rota.toml:3:45: jobs.a.schedule.windows[0].days must name at least one day"),
        (
            "{ days = [\"sat\"], from = \"25:00\" }",
            "rota.toml:3:70: jobs.a.schedule.windows[0].from: \"25:00\" is not a time of the day, as \"22:00\" is",
        ),
        (
            "{ from = \"2026-01-01\" }",
            "rota.toml:3:45: jobs.a.schedule.windows[0] needs the key \"until\": an instant such as \"2026-12-24T18:00:00+08:00\", or a \
             date such as \"2026-12-24\"",
        ),
        (
            "{ from = \"2026-02-01\", until = \"2026-01-01\" }",
            "rota.toml:3:68: jobs.a.schedule.windows[0] ends (2026-01-01) before it begins (2026-02-01) (write the earlier one first)",
        ),
        (
            "{ cron = \"0 2 * * *\" }",
            "rota.toml:3:45: jobs.a.schedule.windows[0] needs the key \"duration\": a duration such as \"30s\" or \"2h30m\"",
        ),
        (
            "{ cron = \"0 2 * * *\", duration = \"0s\" }",
            "rota.toml:3:78: jobs.a.schedule.windows[0].duration must be between 1s and 366d, not 0s",
        ),
        (
            "{ cron = \"0 2 * * *\", duration = \"1h\", days = [\"mon\"] }",
            "rota.toml:3:84: jobs.a.schedule.windows[0].days is not a key of [jobs.a.schedule.windows[0]] (the keys there are cron and \
             duration)",
        ),
        (
            "{ days = [\"mon\"], from = \"24:00\" }",
            "rota.toml:3:45: jobs.a.schedule.windows[0].from must be before 24:00; write 00:00 for the day after",
        ),
        (
            "\"nights\"",
            "rota.toml:3:45: jobs.a.schedule.windows[0] must be a window such as { days = [\"sat\"], from = \"22:00\", until = \"06:00\" }, \
             not a string",
        ),
        (
            "{}",
            "rota.toml:3:45: jobs.a.schedule.windows[0] must be a window such as { days = [\"sat\"], from = \"22:00\", until = \"06:00\" }",
        ),
    ] {
        refused(&with(window), line);
    }
}

#[test]
fn what_does_nothing_is_a_warning() {
    let config =
        config(&scheduled("cron = \"0 2 * * *\", outside = \"defer\", misfire_limit = 5, overlap = \"allow\""));
    assert_eq!(
        lines(config.warnings()),
        [
            "rota.toml:3:34: jobs.a.schedule.outside does nothing without windows and blackouts",
            "rota.toml:3:53: jobs.a.schedule.misfire_limit does nothing without misfire = \"all\"",
            "rota.toml:3:72: jobs.a.schedule.overlap does nothing while the job's concurrency is 1: the new run waits for the last one",
        ]
    );
}

/// The next instants at which it fires after one, if nothing is missed.
fn fires(keys: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = schedule(keys).resolve(&"a".parse().unwrap()).unwrap();
    let mut state = ScheduleState::new(after.parse().unwrap());
    let mut fires = Vec::new();
    while fires.len() < count {
        let Some(fire) = schedule.next_fire(&state) else { break };
        fires.push(fire.due.format("%m-%d %H:%M").to_string());
        state.decided_until = fire.due;
    }
    fires
}

#[test]
fn the_scheduler_fires_what_was_written() {
    let shanghai = "timezone = \"Asia/Shanghai\"";
    assert_eq!(
        fires(&format!("cron = \"0 2 * * *\", {shanghai}"), "2026-12-01T00:00:00Z", 2),
        ["12-01 18:00", "12-02 18:00"]
    );
    let every = "every = \"6h\", anchor = \"2026-12-01T01:00\"";
    assert_eq!(fires(&format!("{every}, {shanghai}"), "2026-12-01T00:00:00Z", 2), ["12-01 05:00", "12-01 11:00"]);
    assert_eq!(fires("every = \"6h\"", "2026-12-01T00:00:00Z", 2), ["12-01 06:00", "12-01 12:00"]);
    let at = "at = [\"2026-12-25\", \"2026-12-24T18:00\"]";
    assert_eq!(fires(&format!("{at}, {shanghai}"), "2026-12-01T00:00:00Z", 9), ["12-24 10:00", "12-24 16:00"]);
    let dates = "cron = \"0 2 * * *\", start = \"2026-12-05\", end = \"2026-12-06\"";
    assert_eq!(fires(dates, "2026-12-01T00:00:00Z", 9), ["12-05 02:00", "12-06 02:00"]);
}

#[test]
fn windows_and_blackouts_mean_what_was_written() {
    // 2026-12-05 is a Saturday.
    for (keys, expected) in [
        (
            "windows = [{ days = [\"sat\"], from = \"22:00\", until = \"06:00\" }]",
            vec!["12-05 22:00", "12-06 02:00", "12-12 22:00"],
        ),
        ("windows = [{ days = [\"sat\"] }]", vec!["12-05 02:00", "12-05 06:00", "12-05 10:00"]),
        (
            "windows = [{ from = \"2026-12-05\", until = \"2026-12-05\" }]",
            vec!["12-05 02:00", "12-05 06:00", "12-05 10:00"],
        ),
        ("windows = [{ cron = \"0 21 * * 5\", duration = \"2h\" }]", vec!["12-04 22:00", "12-11 22:00", "12-18 22:00"]),
        (
            "blackouts = [{ from = \"2026-12-01T03:00\", until = \"2026-12-01\" }]",
            vec!["12-01 02:00", "12-02 02:00", "12-02 06:00"],
        ),
        (
            "windows = [{ days = [\"sun\"], from = \"03:00\" }], outside = \"defer\"",
            vec!["12-06 03:00", "12-06 06:00", "12-06 10:00"],
        ),
    ] {
        let fires =
            fires(&format!("cron = \"0 2/4 * * *\", {keys}").replace("2/4", "2-23/4"), "2026-12-01T00:00:00Z", 3);
        assert_eq!(fires, expected, "{keys}");
    }
}

#[test]
fn a_schedule_that_is_over_is_a_warning() {
    let source = Source::empty().with_text("rota.toml", scheduled("at = \"2020-01-01\""));
    assert_eq!(
        lines(&check(&source).problems),
        ["rota.toml:3:1: jobs.a.schedule never fires: what it names is past, or windows and blackouts leave nothing"]
    );
    let disabled = scheduled("at = \"2020-01-01\"").replace("schedule", "enabled = false\nschedule");
    assert!(check(&Source::empty().with_text("rota.toml", disabled)).problems.is_empty());
    assert!(check(&Source::empty().with_text("rota.toml", scheduled("every = \"1h\""))).problems.is_empty());
}
