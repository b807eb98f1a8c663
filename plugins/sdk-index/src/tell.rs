//! Sizes and times in words.

/// `1.5 GB`.
#[allow(clippy::cast_precision_loss, reason = "for people")]
pub fn bytes(bytes: i64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if size.abs() < 1024.0 {
            return if unit == "B" { format!("{size:.0} {unit}") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TB")
}

/// `40 s`, `12 min`, `3 h`.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        short if short < 120.0 => format!("{short:.0} s"),
        middle if middle < 7_200.0 => format!("{:.0} min", middle / 60.0),
        long if long < 172_800.0 => format!("{:.0} h", long / 3_600.0),
        days => format!("{:.0} days", days / 86_400.0),
    }
}

/// `1,234,567`.
pub fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    #[test]
    fn people_read_it() {
        assert_eq!(super::bytes(1_610_612_736), "1.5 GB");
        assert_eq!(super::bytes(12), "12 B");
        assert_eq!(super::seconds(61.0), "61 s");
        assert_eq!(super::seconds(7_300.0), "2 h");
        assert_eq!(super::count(-1_234_567), "-1,234,567");
        assert_eq!(super::count(12), "12");
    }
}
