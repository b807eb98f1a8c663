//! Latencies: shares of many, where a middle does not say enough.

use crate::measure::Spread;

/// Sorted times, seconds.
pub(crate) struct Latencies(Vec<f64>);

impl Latencies {
    pub(crate) fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        Self(seconds)
    }

    /// The time that so many of a thousand do not exceed.
    pub(crate) fn at(&self, of_thousand: usize) -> f64 {
        let place = (self.0.len() * of_thousand).div_ceil(1000).max(1) - 1;
        self.0.get(place).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn most(&self) -> f64 {
        self.at(1000)
    }

    pub(crate) fn spread(&self) -> Spread {
        Spread::of(self.0.iter().copied())
    }

    /// For the notes.
    pub(crate) fn said(&self) -> String {
        let [half, most_of, all] = [self.at(500), self.at(990), self.most()].map(|seconds| seconds * 1e3);
        format!("p50 {half:.2} ms, p99 {most_of:.2} ms, most {all:.2} ms")
    }
}
