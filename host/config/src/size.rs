//! A number of bytes as people write it: `64MiB`, `1.5GiB`, `10MB`.

use std::fmt;
use std::str::FromStr;

/// A number of bytes. Written with a unit: `B`, `KiB`, `MiB`, `GiB`, `TiB` (powers of 1024), or
/// `kB`, `MB`, `GB`, `TB` (powers of 1000); the number may have a fraction (`1.5GiB`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize {
    bytes: u64,
}

/// The units that are shown, largest first.
const SHOWN: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// The units that are read besides.
const READ: [(&str, u64); 6] =
    [("B", 1), ("kB", 1_000), ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000)];

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ByteSizeError {
    /// Nothing there.
    #[error("a size is empty; write for example \"64MiB\" or \"1.5GiB\"")]
    Empty,
    /// A number without unit.
    #[error("\"{0}\" has no unit; write for example \"{0}B\" or \"{0}MiB\"")]
    NoUnit(String),
    /// Something that is no number where one should be.
    #[error("\"{0}\" is not a size; write for example \"64MiB\" or \"1.5GiB\"")]
    NoNumber(String),
    /// A unit that is none.
    #[error("\"{unit}\" in \"{text}\" is not a unit of size; write for example \"{nearest}\"")]
    UnknownUnit {
        /// What stands where the unit should.
        unit: String,
        /// All that was written.
        text: String,
        /// The same with the unit that was probably meant.
        nearest: String,
    },
    /// Part of a byte.
    #[error("\"{0}\" is not a whole number of bytes")]
    Fraction(String),
    /// More than fits.
    #[error("\"{0}\" is too large")]
    TooLarge(String),
}

impl ByteSize {
    /// So many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self { bytes }
    }

    /// So many times 1024 bytes.
    pub const fn kib(count: u64) -> Self {
        Self { bytes: count.saturating_mul(1 << 10) }
    }

    /// So many times 1024² bytes.
    pub const fn mib(count: u64) -> Self {
        Self { bytes: count.saturating_mul(1 << 20) }
    }

    /// So many times 1024³ bytes.
    pub const fn gib(count: u64) -> Self {
        Self { bytes: count.saturating_mul(1 << 30) }
    }

    /// How many bytes.
    pub const fn as_u64(self) -> u64 {
        self.bytes
    }

    /// How many bytes, or the most that this machine can address.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    /// The largest unit in which at most two decimals say it exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in SHOWN {
            let hundredths = u128::from(self.bytes) * 100;
            if self.bytes >= size && hundredths.is_multiple_of(u128::from(size)) {
                let hundredths = hundredths / u128::from(size);
                let (whole, fraction) = (hundredths / 100, hundredths % 100);
                let fraction = format!(".{fraction:02}");
                return f.pad(&format!("{whole}{}{unit}", fraction.trim_end_matches('0').trim_end_matches('.')));
            }
        }
        f.pad(&format!("{}B", self.bytes))
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let text = text.trim();
        let whole = || text.to_owned();
        if text.is_empty() {
            return Err(ByteSizeError::Empty);
        }
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
        let unit = unit.trim_start();
        if number.is_empty() {
            return Err(ByteSizeError::NoNumber(whole()));
        }
        if unit.is_empty() {
            return Err(ByteSizeError::NoUnit(whole()));
        }
        let Some((_, size)) = SHOWN.iter().chain(&READ).find(|(name, _)| *name == unit) else {
            return Err(ByteSizeError::UnknownUnit {
                unit: unit.to_owned(),
                text: whole(),
                nearest: format!("{number}{}", meant(unit)),
            });
        };
        multiple(number, *size).map(Self::bytes).map_err(|problem| match problem {
            NotWhole::NoNumber => ByteSizeError::NoNumber(whole()),
            NotWhole::Fraction => ByteSizeError::Fraction(whole()),
            NotWhole::TooLarge => ByteSizeError::TooLarge(whole()),
        })
    }
}

impl serde::Serialize for ByteSize {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The unit that a wrong one stands for: `64M`, `64Mi`, `64mib` and `64mb` all mean 64MiB here.
fn meant(unit: &str) -> &'static str {
    match unit.chars().next().map(|c| c.to_ascii_lowercase()) {
        Some('b') => "B",
        Some('k') => "KiB",
        Some('g') => "GiB",
        Some('t') => "TiB",
        _ => "MiB",
    }
}

/// Why [`multiple`] has no answer.
pub(crate) enum NotWhole {
    NoNumber,
    Fraction,
    TooLarge,
}

/// A decimal number times a unit, exactly.
pub(crate) fn multiple(number: &str, unit: u64) -> Result<u64, NotWhole> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() || fraction.contains('.') || (number.contains('.') && number.ends_with('.')) {
        return Err(NotWhole::NoNumber);
    }
    if fraction.len() > 18 {
        return Err(NotWhole::Fraction);
    }
    let whole: u128 = whole.parse().map_err(|_| NotWhole::TooLarge)?;
    let digits = u32::try_from(fraction.len()).map_err(|_| NotWhole::Fraction)?;
    let scale = 10u128.pow(digits);
    let parts: u128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| NotWhole::NoNumber)? };
    let parts = parts * u128::from(unit);
    if !parts.is_multiple_of(scale) {
        return Err(NotWhole::Fraction);
    }
    let total = whole.checked_mul(u128::from(unit)).and_then(|total| total.checked_add(parts / scale));
    total.and_then(|total| u64::try_from(total).ok()).ok_or(NotWhole::TooLarge)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes, shown) in [
            ("0B", 0, "0B"),
            ("512B", 512, "512B"),
            ("64MiB", 64 << 20, "64MiB"),
            ("64 MiB", 64 << 20, "64MiB"),
            ("1.5GiB", 1536 << 20, "1.5GiB"),
            ("1536MiB", 1536 << 20, "1.5GiB"),
            ("1.25KiB", 1280, "1.25KiB"),
            // More decimals than a reader wants.
            ("10MB", 10_000_000, "10000000B"),
            ("2TB", 2_000_000_000_000, "1953125000KiB"),
            ("1000TiB", 1000 << 40, "1000TiB"),
            ("1.50GiB", 1536 << 20, "1.5GiB"),
            ("1025B", 1025, "1025B"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.as_u64(), size.to_string().as_str()), (bytes, shown), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_a_reason() {
        for (text, message) in [
            ("", "a size is empty; write for example \"64MiB\" or \"1.5GiB\""),
            ("64", "\"64\" has no unit; write for example \"64B\" or \"64MiB\""),
            ("lots", "\"lots\" is not a size; write for example \"64MiB\" or \"1.5GiB\""),
            ("-1MiB", "\"-1MiB\" is not a size; write for example \"64MiB\" or \"1.5GiB\""),
            ("1.MiB", "\"1.MiB\" is not a size; write for example \"64MiB\" or \"1.5GiB\""),
            ("64M", "\"M\" in \"64M\" is not a unit of size; write for example \"64MiB\""),
            ("2gb", "\"gb\" in \"2gb\" is not a unit of size; write for example \"2GiB\""),
            ("0.1KiB", "\"0.1KiB\" is not a whole number of bytes"),
            ("99999999999TiB", "\"99999999999TiB\" is too large"),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(bytes in prop_oneof![
            any::<u64>(), 0u64..5_000, (1u64..9_999).prop_map(|n| n << 20), (1u64..9_999).prop_map(|n| n << 28),
        ]) {
            let size = ByteSize::bytes(bytes);
            prop_assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
        }

        #[test]
        fn reading_never_panics(text in "[0-9.KMGTiB -]{0,24}|\\PC{0,8}") {
            let _ = text.parse::<ByteSize>();
        }
    }
}
