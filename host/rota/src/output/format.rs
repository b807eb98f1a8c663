//! Numbers as people read them.

/// Bytes, in binary units: `1.4 GiB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Seconds: `840 ms`, `12.3 s`, `4m 07s`, `3h 12m`, `5d 4h`.
pub(crate) fn seconds(s: f64) -> String {
    if !s.is_finite() {
        return "-".into();
    }
    if s < 0.0 {
        return format!("-{}", seconds(-s));
    }
    if s < 1.0 {
        return format!("{:.0} ms", s * 1000.0);
    }
    if s < 60.0 {
        return format!("{s:.1} s");
    }
    let whole = s.round() as u64;
    match whole {
        0..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        3600..86400 => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d {}h", whole / 86400, whole % 86400 / 3600),
    }
}

/// A whole number with separators: `60,112`.
pub(crate) fn integer(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if n < 0 { format!("-{text}") } else { text }
}

/// Microseconds since 1970 in UTC: `2026-11-23 16:04:05Z`.
pub(crate) fn instant(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros)
        .map_or_else(|| "-".into(), |t| t.format("%Y-%m-%d %H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!((bytes(0), bytes(1023), bytes(1536)), ("0 B".into(), "1023 B".into(), "1.5 KiB".into()));
        assert_eq!(
            (seconds(0.84), seconds(12.34), seconds(247.0), seconds(90_061.0)),
            ("840 ms".into(), "12.3 s".into(), "4m 07s".into(), "1d 1h".into())
        );
        assert_eq!((integer(60_112), integer(-1_000), integer(7)), ("60,112".into(), "-1,000".into(), "7".into()));
        assert_eq!(instant(0), "1970-01-01 00:00:00Z");
    }
}
