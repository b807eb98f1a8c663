//! A delay that spreads schedules of the same instant. It is the same wherever and whenever it is computed: a function of
//! the schedule's name and the instant alone, of which no release may change a bit.

use chrono::{DateTime, TimeDelta, Utc};

/// A delay in whole milliseconds, evenly in [0, `span`); nothing if `span` is less than a millisecond.
pub fn jitter(name: &str, instant: DateTime<Utc>, span: TimeDelta) -> TimeDelta {
    let span = span.num_milliseconds();
    if span <= 1 {
        return TimeDelta::zero();
    }
    let part = u128::from(number(name, instant.timestamp_millis())) * u128::from(span.unsigned_abs());
    // The upper half of the product is below `span`, which is an i64.
    TimeDelta::milliseconds((part >> 64) as i64)
}

/// 64 well-mixed bits: each byte folded in as FNV-1a does, then spread as SplitMix64 does.
fn number(name: &str, milliseconds: i64) -> u64 {
    let mut bits: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in name.bytes().chain([0]).chain(milliseconds.to_be_bytes()) {
        bits = (bits ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_never_changes() {
        let at = DateTime::from_timestamp(1_780_000_000, 0).unwrap();
        let milliseconds = |name| jitter(name, at, TimeDelta::minutes(5)).num_milliseconds();
        assert_eq!((milliseconds("nightly-backup"), milliseconds("vacuum")), (18_633, 298_505));
    }

    #[test]
    fn it_is_even() {
        let mut tenths = [0u32; 10];
        for schedule in 0..100 {
            for day in 0..1_000 {
                let at = DateTime::from_timestamp(1_780_000_000 + day * 86_400, 0).unwrap();
                let delay = jitter(&format!("job-{schedule}"), at, TimeDelta::seconds(10));
                tenths[usize::try_from(delay.num_seconds()).unwrap()] += 1;
            }
        }
        // 10,000 are expected in each; five standard deviations are 474.
        assert!(tenths.iter().all(|n| n.abs_diff(10_000) < 474), "{tenths:?}");
    }

    proptest! {
        #[test]
        fn it_is_stable_and_below_its_span(name in ".{0,20}", at in -9_000_000_000i64..9_000_000_000, span in 0i64..1 << 50) {
            let at = DateTime::from_timestamp(at, 0).unwrap();
            let span = TimeDelta::milliseconds(span);
            let delay = jitter(&name, at, span);
            prop_assert!(delay >= TimeDelta::zero() && (delay < span || span.is_zero()), "{delay} of {span}");
            prop_assert_eq!(delay, jitter(&name, at, span));
        }
    }
}
