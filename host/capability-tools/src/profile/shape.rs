//! What the value of an option may look like.

/// The longest value, bytes.
const LONGEST: usize = 4096;

/// What the value of an option may look like.
pub(super) enum Shape {
    /// A name or a pattern of names: anything, since it is given as one argument and the program quotes it.
    Name,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A whole number in a range.
    Number(i64, i64),
    /// Letters, digits, `-` and `_`.
    Word,
    /// A time span: a number, with a unit or without (milliseconds).
    Span,
    /// What `--compress` takes: a level, or `method` or `method:detail`.
    Compression,
    /// The one word that stands for standard output.
    Output,
}

impl Shape {
    /// Whether a value has the shape.
    ///
    /// # Errors
    /// What it should look like.
    pub(super) fn check(&self, value: &str) -> Result<(), String> {
        if value.len() > LONGEST {
            return Err(format!("the value is longer than {LONGEST} bytes"));
        }
        let word = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let digits = |s: &str| !s.is_empty() && s.len() <= 9 && s.bytes().all(|b| b.is_ascii_digit());
        let fits = match self {
            Self::Name => !value.is_empty(),
            Self::OneOf(words) => words.contains(&value),
            // Not `parse` alone: it would take `+4`, which another reader may take for something else.
            Self::Number(low, high) => {
                digits(value.strip_prefix('-').unwrap_or(value))
                    && value.parse::<i64>().is_ok_and(|n| (*low..=*high).contains(&n))
            }
            Self::Word => word(value),
            Self::Span => {
                let number = value.trim_end_matches(|c: char| c.is_ascii_lowercase());
                digits(number) && matches!(&value[number.len()..], "" | "ms" | "s" | "min" | "h")
            }
            Self::Compression => {
                let (method, detail) = value.split_once(':').unwrap_or((value, "level"));
                let level = value.len() == 1 && digits(value);
                let detail_fits = !detail.is_empty()
                    && detail.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"=,-".contains(&b));
                level || (matches!(method, "none" | "gzip" | "lz4" | "zstd") && detail_fits)
            }
            Self::Output => value == "-",
        };
        if fits { Ok(()) } else { Err(self.expected()) }
    }

    fn expected(&self) -> String {
        match self {
            Self::Name => "the value is empty".into(),
            Self::OneOf(words) => format!("the value must be one of {}", words.join(", ")),
            Self::Number(low, high) => format!("the value must be a whole number from {low} to {high}"),
            Self::Word => "the value must be letters, digits, `-` and `_`".into(),
            Self::Span => "the value must be a time such as 500ms, 30s or 5min".into(),
            Self::Compression => "the value must be a level from 0 to 9, or none, gzip, lz4 or zstd with an optional detail such as zstd:level=3".into(),
            Self::Output => "a plugin names no files; only `-` (standard output) is taken".into(),
        }
    }
}
