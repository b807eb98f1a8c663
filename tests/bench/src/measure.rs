//! Timing: two sides in turn, so that whatever else the machine does disturbs both; medians, and ratios of neighbours.

use serde::Serialize;
use std::time::Instant;

/// What one go took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Seconds on the clock.
    pub(crate) wall: f64,
    /// Seconds of CPU (user and system) of this process.
    pub(crate) cpu: f64,
}

impl Sample {
    /// The share of one of `times` goes.
    pub(crate) fn each(self, times: f64) -> Self {
        Self { wall: self.wall / times, cpu: self.cpu / times }
    }
}

/// A stopwatch for clock and CPU.
pub(crate) struct Watch {
    started: Instant,
    cpu: f64,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), cpu: cpu_seconds() }
    }

    pub(crate) fn stop(&self) -> Sample {
        Sample { wall: self.started.elapsed().as_secs_f64(), cpu: cpu_seconds() - self.cpu }
    }
}

/// User and system time of this process (all threads) so far.
fn cpu_seconds() -> f64 {
    told(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// The same of another process; NaN where there is none. As the scheduler counts it: what `/proc` says is sampled, and misses short wakes.
pub(crate) fn cpu_seconds_of(process: i32) -> f64 {
    let mut clock = 0;
    // SAFETY: the library writes one number to the place that is given.
    #[allow(unsafe_code)]
    let found = unsafe { libc::clock_getcpuclockid(process, &mut clock) };
    if found == 0 { told(clock) } else { f64::NAN }
}

/// What a clock of the kernel says, seconds.
fn told(clock: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to the place that is given.
    #[allow(unsafe_code)]
    let told = unsafe { libc::clock_gettime(clock, &mut time) };
    if told == 0 { time.tv_sec as f64 + time.tv_nsec as f64 / 1e9 } else { f64::NAN }
}

/// The middle and the ends of some numbers.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * values.len().saturating_sub(1) as f64;
            let (low, high) = (place.floor() as usize, place.ceil() as usize);
            match (values.get(low), values.get(high)) {
                (Some(low), Some(high)) => f64::midpoint(*low, *high),
                _ => f64::NAN,
            }
        };
        Self { median: at(0.5), min: at(0.0), max: at(1.0) }
    }
}

/// Both sides' goes, in turn.
#[derive(Default)]
pub(crate) struct Rounds {
    pub(crate) ours: Vec<Sample>,
    pub(crate) theirs: Vec<Sample>,
}

impl Rounds {
    pub(crate) fn push(&mut self, ours: Sample, theirs: Sample) {
        self.ours.push(ours);
        self.theirs.push(theirs);
    }

    /// Our time as a multiple of theirs, round by round.
    pub(crate) fn times(&self) -> Spread {
        Spread::of(self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours.wall / theirs.wall))
    }

    /// The same of CPU time.
    pub(crate) fn cpu_times(&self) -> Spread {
        Spread::of(self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours.cpu / theirs.cpu))
    }

    /// Our speed as a multiple of theirs, round by round.
    pub(crate) fn speeds(&self) -> Spread {
        Spread::of(self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| theirs.wall / ours.wall))
    }

    pub(crate) fn our_wall(&self) -> Spread {
        Spread::of(self.ours.iter().map(|sample| sample.wall))
    }

    pub(crate) fn their_wall(&self) -> Spread {
        Spread::of(self.theirs.iter().map(|sample| sample.wall))
    }
}
