//! How much is asked of a server at a time, so that its other clients get their turns: it answers one command after the other, and all that
//! has arrived from one client before it turns to the next. So commands are small by the server's own measure, and no more of them are on
//! their way than the way itself takes, and one that waits for the server: asked one at a time, both sides would sleep and wake for each, which costs
//! more than the work and gives others nothing.

use crate::client::{Client, Command};
use crate::connect::Connected;
use rota_contract::Error;
use std::time::{Duration, Instant};

/// How long the server may be kept by what has arrived.
const TARGET: Duration = Duration::from_micros(200);
/// No server is thought faster than this at one key or place: what is measured across a network may be less than its own unrest.
const FASTEST: Duration = Duration::from_nanos(300);
/// The best of so many answers counts: a slow one says more of what else the machines did.
const WINDOW: u32 = 8;
/// How many commands are on their way at a time, at least and at most.
const LEAST_AT_ONCE: usize = 2;
const MOST_AT_ONCE: usize = 8;

/// The measure, which follows what the server's answers take.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    /// What an answer takes that costs the server nothing.
    way: Duration,
    least: usize,
    most: usize,
    amount: usize,
    at_once: usize,
    /// The best of the answers to this amount, and how many there were.
    best: Option<Duration>,
    seen: u32,
}

impl Pace {
    /// Begin with a small amount; never more than `most`, and not less than `least` unless `most` is.
    pub(crate) fn new(way: Duration, least: usize, most: usize) -> Self {
        let least = least.min(most).max(1);
        Self { way, least, most: most.max(1), amount: least, at_once: LEAST_AT_ONCE, best: None, seen: 0 }
    }

    /// How much one command may ask.
    pub(crate) fn amount(&self) -> usize {
        self.amount
    }

    /// How many commands may be on their way.
    pub(crate) fn at_once(&self) -> usize {
        self.at_once
    }

    /// What the answer to a command took that asked for `amount`.
    pub(crate) fn saw(&mut self, amount: usize, took: Duration) {
        // One from before the last change, and the rest of the work, say nothing of the amount as it is.
        if amount != self.amount {
            return;
        }
        self.best = Some(self.best.map_or(took, |best| best.min(took)));
        self.seen += 1;
        if self.seen < WINDOW {
            return;
        }
        let fastest = FASTEST * u32::try_from(self.amount).unwrap_or(u32::MAX);
        let work = self.best.take().unwrap_or_default().saturating_sub(self.way).max(fastest);
        self.seen = 0;
        let trips = (self.way.as_secs_f64() / work.as_secs_f64()) as usize;
        self.at_once = trips.saturating_add(LEAST_AT_ONCE).min(MOST_AT_ONCE);
        // Towards it by steps: one measure is one measure.
        let fits = self.amount as f64 * (TARGET.as_secs_f64() / work.as_secs_f64()).clamp(0.5, 2.0);
        self.amount = (fits as usize).clamp(self.least, self.most);
    }
}

impl Client {
    /// What an answer takes that costs the server nothing: the best of a few. A user who may not PING is told so as fast.
    pub(crate) async fn way(&self, session: &Connected) -> Result<Duration, Error> {
        let node = session.nodes().into_iter().next().flatten();
        let mut best: Option<Duration> = None;
        for _ in 0..WINDOW {
            let begun = Instant::now();
            let answer = self.send(session, Command::new("PING").on(node.as_ref())).await;
            if let Err(error @ (Error::TimedOut(_) | Error::Unavailable(_))) = answer {
                return Err(error);
            }
            let took = begun.elapsed();
            best = Some(best.map_or(took, |best| best.min(took)));
        }
        Ok(best.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    /// Many answers of a server that takes so long for one key, at the end of a way.
    fn after(pace: &mut Pace, each: Duration, answers: usize) {
        for _ in 0..answers {
            let amount = pace.amount();
            pace.saw(amount, pace.way + each * u32::try_from(amount).unwrap());
        }
    }

    #[test]
    fn what_is_asked_takes_the_server_a_fifth_of_a_millisecond() {
        let mut pace = Pace::new(40 * MICROSECOND, 32, 10_000);
        assert_eq!((pace.amount(), pace.at_once()), (32, 2), "small until something is known");
        after(&mut pace, MICROSECOND, 100);
        assert_eq!((pace.amount(), pace.at_once()), (200, 2));
    }

    #[test]
    fn a_server_that_becomes_slow_is_asked_for_less_and_one_that_recovers_for_more() {
        let mut pace = Pace::new(400 * MICROSECOND, 10, 10_000);
        after(&mut pace, MICROSECOND, 100);
        assert_eq!((pace.amount(), pace.at_once()), (200, 4));
        after(&mut pace, 100 * MICROSECOND, 100);
        assert_eq!((pace.amount(), pace.at_once()), (10, 2), "the least");
        after(&mut pace, MICROSECOND, 200);
        assert_eq!((pace.amount(), pace.at_once()), (200, 4));
    }

    #[test]
    fn a_long_way_is_filled_within_bounds() {
        let mut pace = Pace::new(Duration::from_millis(80), 32, 10_000);
        after(&mut pace, MICROSECOND, 100);
        assert_eq!((pace.amount(), pace.at_once()), (200, MOST_AT_ONCE));
        // Answers that come before they can say nothing of the server.
        after(&mut pace, Duration::ZERO, 200);
        assert!(pace.amount() <= 667, "{}", pace.amount());
    }

    #[test]
    fn one_slow_answer_and_answers_to_other_amounts_change_nothing() {
        let mut pace = Pace::new(40 * MICROSECOND, 32, 10_000);
        after(&mut pace, MICROSECOND, 100);
        pace.saw(200, Duration::from_secs(1));
        pace.saw(7, Duration::from_secs(1));
        after(&mut pace, MICROSECOND, 50);
        assert_eq!(pace.amount(), 200);
    }

    #[test]
    fn the_operators_bound_holds() {
        let mut pace = Pace::new(Duration::ZERO, 32, 10);
        after(&mut pace, Duration::ZERO, 100);
        assert_eq!(pace.amount(), 10);
    }
}
