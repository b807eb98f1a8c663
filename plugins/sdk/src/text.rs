//! Amounts as people say them, in summaries, findings and notes. (Cells of tables take the amount itself.)

/// A size: `1.4 GiB`. One that has shrunk is negative.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "it is rounded anyway")]
pub fn size(bytes: impl Into<i128>) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let bytes = bytes.into();
    if bytes.abs() < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64;
    let mut unit = "";
    for next in UNITS {
        if value.abs() < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// A length of time: `4.2 s`, `90 s`, `26 h`.
#[must_use]
pub fn spoken(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::{size, spoken};

    #[test]
    fn amounts_read_well() {
        let sizes = [
            (0_i128, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1_503_238_554, "1.4 GiB"),
            (-2048, "-2.0 KiB"),
            (u64::MAX.into(), "16384.0 PiB"),
        ];
        for (bytes, said) in sizes {
            assert_eq!(size(bytes), said);
        }
        let times = [
            (0.0, "0.0 s"),
            (9.94, "9.9 s"),
            (90.0, "90 s"),
            (3_600.0, "60 min"),
            (93_600.0, "26 h"),
            (864_000.0, "10 days"),
        ];
        for (seconds, said) in times {
            assert_eq!(spoken(seconds), said);
        }
    }
}
