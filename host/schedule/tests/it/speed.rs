//! How long the next instants of a million schedules take, and to decide about them when all are due at once. It prints what it measures, and fails only if it is off by far.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::str::FromStr;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rota_schedule::{CronExpression, Every, Schedule, ScheduleState, Timing, Zone};

const EXPRESSIONS: [&str; 12] = [
    "0 2 * * *",
    "*/15 * * * *",
    "* * * * *",
    "30 3 * * 1-5",
    "0 0 1 * *",
    "15,45 8-18 * * 1-5",
    "0 */6 * * *",
    "0 4 * * 0",
    "*/10 * * * * *",
    "0 0 1 1 *",
    "0 3 1-7 * 6",
    "0 0 29 2 *",
];
const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "America/Sao_Paulo"];

#[test]
fn the_next_instants_of_a_million_schedules() {
    let zones = ZONES.map(|name| Zone::named(name).unwrap());
    let began = Instant::now();
    let mut timings = Vec::new();
    for number in 0..10_000usize {
        let expression = CronExpression::parse(EXPRESSIONS[number % EXPRESSIONS.len()]).unwrap();
        let zone = zones[number / 12 % ZONES.len()];
        timings.push(Timing::Cron { expression, zone });
    }
    println!("reading: {:.2} us each", began.elapsed().as_secs_f64() * 1e6 / timings.len() as f64);
    let began = Instant::now();
    for number in 0..10_000usize {
        let seven = format!("0 {}", EXPRESSIONS[number % 7]);
        assert!(cron::Schedule::from_str(&seven).is_ok());
    }
    println!("  of that, crate cron: about {:.2} us", began.elapsed().as_secs_f64() * 100.0);
    let from: DateTime<Utc> = "2026-06-01T00:00:00Z".parse().unwrap();
    let after = |number: usize| from + Duration::from_secs(number as u64 * 31);
    let mut sum = 0i64;
    let began = Instant::now();
    for number in 0..1_000_000usize {
        let next = timings[number % timings.len()].next_after(after(number)).unwrap();
        sum = sum.wrapping_add(next.timestamp());
    }
    let all = began.elapsed();
    println!("next instant, mixed: {:.3} us each ({sum})", all.as_secs_f64());
    for (index, text) in EXPRESSIONS.iter().enumerate() {
        let timing = &timings[index + 12];
        let began = Instant::now();
        for number in 0..100_000 {
            sum = sum.wrapping_add(timing.next_after(after(number * 10)).unwrap().timestamp());
        }
        println!("  {text:20} {:.3} us", began.elapsed().as_secs_f64() * 10.0);
    }
    let every = Timing::Every(Every::new(Duration::from_secs(900), from).unwrap());
    let began = Instant::now();
    for number in 0..1_000_000 {
        sum = sum.wrapping_add(every.next_after(after(number)).unwrap().timestamp());
    }
    println!("  every 15m            {:.3} us ({sum})", began.elapsed().as_secs_f64());
    assert!(all < Duration::from_secs(10), "{all:?} for a million");
}

#[test]
fn a_million_schedules_that_are_due_at_once() {
    let made: DateTime<Utc> = "2026-06-01T00:00:00Z".parse().unwrap();
    let schedule = |number: usize| {
        let expression = CronExpression::parse(EXPRESSIONS[number % EXPRESSIONS.len()]).unwrap();
        let zone = Zone::named(ZONES[number / 12 % ZONES.len()]).unwrap();
        let timing = Timing::Cron { expression, zone };
        Schedule {
            jitter: Duration::from_secs(number as u64 % 2 * 30),
            ..Schedule::new(format!("job-{number}"), timing)
        }
    };
    let schedules: Vec<Schedule> = (0..1_000).map(schedule).collect();
    println!("{} bytes a schedule", size_of::<Schedule>());
    for (what, later) in [("due now", 86_400), ("asleep for a week", 7 * 86_400)] {
        let now = made + Duration::from_secs(later);
        let (mut fires, mut missed) = (0, 0);
        let began = Instant::now();
        for _ in 0..100 {
            for schedule in &schedules {
                let state = ScheduleState::new(made);
                let decided = schedule.decide(&state, now, Duration::from_secs(60));
                fires += decided.fires.len();
                missed += decided.missed.iter().map(|missed| missed.count).sum::<u64>();
            }
        }
        let each = began.elapsed().as_secs_f64() * 10.0;
        println!("decide, {what}: {each:.2} us each, {fires} fires, {missed} missed");
        assert!(each < 600.0, "{each} us each");
    }
    let state = ScheduleState::new(made);
    let began = Instant::now();
    let mut due = 0;
    for _ in 0..100 {
        due += schedules.iter().filter(|schedule| schedule.next_fire(&state).is_some()).count();
    }
    println!("next fire: {:.2} us each, {due}", began.elapsed().as_secs_f64() * 10.0);
}
