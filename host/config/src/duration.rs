//! A span of time as people write it: `90s`, `2h30m`, `1.5h`.

use std::fmt;
use std::str::FromStr;

/// A span of time, in whole milliseconds. Written as numbers with units, the largest first:
/// `2h30m`, `45s`, `250ms`, `1d12h`; a number may have a fraction (`1.5h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration {
    milliseconds: u64,
}

/// The units, largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing there.
    #[error("a duration is empty; write for example \"30s\" or \"2h30m\"")]
    Empty,
    /// A number without unit.
    #[error("\"{0}\" has no unit; write for example \"{0}s\" or \"{0}m\"")]
    NoUnit(String),
    /// Something that is no number where one should be.
    #[error("\"{0}\" is not a duration; write for example \"30s\" or \"2h30m\"")]
    NoNumber(String),
    /// A unit that is none.
    #[error("\"{unit}\" in \"{text}\" is not a unit of time; the units are d, h, m, s and ms")]
    UnknownUnit {
        /// What stands where the unit should.
        unit: String,
        /// All that was written.
        text: String,
    },
    /// Units out of order, or one twice.
    #[error("\"{0}\" does not name its units once each from large to small, as \"1d2h30m\" does")]
    Order(String),
    /// A fraction of a millisecond.
    #[error("\"{0}\" is not a whole number of milliseconds")]
    Fraction(String),
    /// More than fits.
    #[error("\"{0}\" is too long")]
    TooLong(String),
}

impl Duration {
    /// So many milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self { milliseconds }
    }

    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self { milliseconds: seconds.saturating_mul(1_000) }
    }

    /// Its length in milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.milliseconds
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.milliseconds == 0
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        Self::from_millis(duration.milliseconds)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.pad("0s");
        }
        let mut text = String::new();
        let mut rest = self.milliseconds;
        for (unit, size) in UNITS {
            if rest >= size {
                text.push_str(&format!("{}{unit}", rest / size));
                rest %= size;
            }
        }
        f.pad(&text)
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let whole = || text.trim().to_owned();
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(DurationError::Empty);
        }
        let mut total: u64 = 0;
        let mut smaller_than = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, after) = rest.split_at(digits);
            let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_end);
            if number.is_empty() {
                return Err(DurationError::NoNumber(whole()));
            }
            if unit.is_empty() {
                return Err(DurationError::NoUnit(whole()));
            }
            let Some((_, size)) = UNITS.iter().find(|(name, _)| *name == unit) else {
                return Err(DurationError::UnknownUnit { unit: unit.to_owned(), text: whole() });
            };
            if *size >= smaller_than {
                return Err(DurationError::Order(whole()));
            }
            smaller_than = *size;
            let part = crate::size::multiple(number, *size).map_err(|problem| match problem {
                crate::size::NotWhole::NoNumber => DurationError::NoNumber(whole()),
                crate::size::NotWhole::Fraction => DurationError::Fraction(whole()),
                crate::size::NotWhole::TooLarge => DurationError::TooLong(whole()),
            })?;
            total = total.checked_add(part).ok_or_else(|| DurationError::TooLong(whole()))?;
            rest = after;
        }
        Ok(Self { milliseconds: total })
    }
}

impl serde::Serialize for Duration {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, milliseconds, shown) in [
            ("0s", 0, "0s"),
            ("250ms", 250, "250ms"),
            ("90s", 90_000, "1m30s"),
            ("2h30m", 9_000_000, "2h30m"),
            ("1.5h", 5_400_000, "1h30m"),
            ("0.25s", 250, "250ms"),
            (" 1d2h3m4s5ms ", 93_784_005, "1d2h3m4s5ms"),
            ("30d", 2_592_000_000, "30d"),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!((duration.as_millis(), duration.to_string().as_str()), (milliseconds, shown), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_a_reason() {
        for (text, message) in [
            ("", "a duration is empty; write for example \"30s\" or \"2h30m\""),
            ("30", "\"30\" has no unit; write for example \"30s\" or \"30m\""),
            ("1h30", "\"1h30\" has no unit; write for example \"1h30s\" or \"1h30m\""),
            ("soon", "\"soon\" is not a duration; write for example \"30s\" or \"2h30m\""),
            ("-5s", "\"-5s\" is not a duration; write for example \"30s\" or \"2h30m\""),
            ("1.2.3s", "\"1.2.3s\" is not a duration; write for example \"30s\" or \"2h30m\""),
            (".s", "\".s\" is not a duration; write for example \"30s\" or \"2h30m\""),
            ("5 s", "\" s\" in \"5 s\" is not a unit of time; the units are d, h, m, s and ms"),
            ("5min", "\"min\" in \"5min\" is not a unit of time; the units are d, h, m, s and ms"),
            ("5m2h", "\"5m2h\" does not name its units once each from large to small, as \"1d2h30m\" does"),
            ("1h1h", "\"1h1h\" does not name its units once each from large to small, as \"1d2h30m\" does"),
            ("0.5ms", "\"0.5ms\" is not a whole number of milliseconds"),
            ("99999999999999999999s", "\"99999999999999999999s\" is too long"),
            ("999999999999999d", "\"999999999999999d\" is too long"),
        ] {
            assert_eq!(text.parse::<Duration>().unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(milliseconds in prop_oneof![any::<u64>(), 0u64..10_000_000]) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
        }

        #[test]
        fn reading_never_panics(text in "[0-9.dhms -]{0,12}|\\PC{0,8}") {
            let _ = text.parse::<Duration>();
        }
    }
}
