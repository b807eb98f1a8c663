//! How large the parts of a multipart upload are.
//!
//! A store takes at most 10,000 parts of at most 5 GiB (Azure: 4,000 MiB a block), and the host holds a few parts in memory. So
//! parts begin as small as the estimate allows, stay so for the first half, and then double every 500 parts:
//!
//! | stream (no estimate, first part 8 MiB) | part | memory (5 parts) |
//! | --- | --- | --- |
//! | up to 39 GiB | 8 MiB | 40 MiB |
//! | up to 47 GiB | 16 MiB | 80 MiB |
//! | up to 93 GiB | 64 MiB | 320 MiB |
//! | up to 5.8 TiB | 4,000 MiB | 20 GiB |
//!
//! The binding's `part_size` (16 MiB where the operator says nothing) is the least first size: with it, twice of everything but the
//! last line. With a good estimate the parts do not grow at all: 1 TiB goes up in parts of 231 MiB.

const MIB: u64 = 1 << 20;

/// The smallest part, and the first without an estimate.
pub(crate) const SMALLEST: u64 = 8 * MIB;
/// The largest part.
pub(crate) const LARGEST: u64 = 4000 * MIB;
/// The most parts that a store takes.
pub(crate) const MOST: u64 = 10_000;
/// So many parts are of the first size.
const LEVEL: u64 = 5_000;
/// Then so many of each size, each twice the one before.
const STEP: u64 = 500;

/// The first part's size for a stream of about `estimate` bytes. A tenth more than estimated still fits into parts of it.
pub(crate) fn first(estimate: Option<u64>) -> u64 {
    let wanted = estimate.unwrap_or(0) / (LEVEL / 11 * 10);
    wanted.div_ceil(MIB).saturating_mul(MIB).clamp(SMALLEST, LARGEST)
}

/// The size of part `index` (from 0) where the first part has `first` bytes; none where a store takes no more parts.
pub(crate) fn size(first: u64, index: u64) -> Option<u64> {
    if index >= MOST {
        return None;
    }
    let doublings = if index < LEVEL { 0 } else { (index - LEVEL) / STEP + 1 };
    Some(first.saturating_mul(1 << doublings.min(20)).min(LARGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn capacity(first: u64) -> u64 {
        (0..MOST).filter_map(|index| size(first, index)).sum()
    }

    #[test]
    fn ten_thousand_parts_hold_five_tebibytes() {
        assert!(capacity(first(None)) >= 5 << 40);
        assert_eq!(size(first(None), 0), Some(SMALLEST));
        assert_eq!(size(SMALLEST, MOST), None);
    }

    #[test]
    fn an_estimated_stream_fits_into_parts_of_one_size() {
        for estimate in [1, 4 << 30, 40 << 30, 1 << 40, 5 << 40] {
            let part = first(Some(estimate));
            assert!(part * LEVEL >= estimate + estimate / 10, "{estimate}");
        }
        assert_eq!(first(Some(4 << 30)), SMALLEST);
        assert_eq!(first(Some(1 << 40)), 231 * MIB);
    }

    proptest! {
        #[test]
        fn parts_never_shrink_and_stay_within_the_stores_limits(estimate in any::<Option<u64>>()) {
            let first = first(estimate);
            prop_assert!(capacity(first) >= 5 << 40);
            let sizes: Vec<u64> = (0..MOST).filter_map(|index| size(first, index)).collect();
            prop_assert!(sizes.is_sorted());
            prop_assert!(sizes.iter().all(|size| (5 * MIB..=LARGEST).contains(size)));
        }
    }
}
