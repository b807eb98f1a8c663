//! How large a line of a recording may be when it is written and when it is read, and how much of one a replay keeps.
//!
//! A recorder ends its recording before a line that a reader would refuse, so whatever a host records can be replayed.

/// The longest line, bytes. The largest call of a host that is not told otherwise (`host_call_bytes`, 16 MiB) is shorter, with each byte
/// of it escaped.
pub const LONGEST_LINE: usize = 128 << 20;

/// The most that a line is in memory once it is read, bytes, as `weight` reckons it.
pub const HEAVIEST_LINE: usize = 256 << 20;

/// The most that is kept of what is read ahead, bytes, as `weight` reckons it: one line may go over it.
pub const KEPT: usize = 256 << 20;

/// A line of so few bytes is not too heavy, whatever stands in it.
const SURELY_LIGHT: usize = 512 << 10;

/// What the values of a line take in memory beside their texts.
const OBJECT: usize = 512;
const LIST: usize = 320;
const NEXT: usize = 160;

/// What a line is in memory once it is read, about: much of a line of small values is no text.
pub(crate) fn weight(line: &[u8]) -> usize {
    let (mut weight, mut in_text) = (line.len(), false);
    let mut bytes = line.iter();
    while let Some(byte) = bytes.next() {
        match (in_text, byte) {
            (true, b'\\') => {
                bytes.next();
            }
            (_, b'"') => in_text = !in_text,
            (false, b'{') => weight += OBJECT,
            (false, b'[') => weight += LIST,
            (false, b',') => weight += NEXT,
            _ => {}
        }
    }
    weight
}

/// Whether a line (without its end) is one that is written.
pub(crate) fn fits(line: &[u8]) -> bool {
    line.len() <= SURELY_LIGHT || (line.len() <= LONGEST_LINE && weight(line) <= HEAVIEST_LINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_many_small_values_is_heavier_than_its_text() {
        let texts = format!(r#"{{"a":"{}"}}"#, r#"[,{\"\\"#.repeat(1000));
        assert_eq!(weight(texts.as_bytes()), texts.len() + OBJECT);
        let lists = format!("[{}0]", "{\"a\":[1,2]},".repeat(1000));
        assert_eq!(weight(lists.as_bytes()), lists.len() + LIST + 1000 * (OBJECT + LIST + 2 * NEXT));
    }

    #[test]
    fn the_largest_call_of_an_ordinary_host_fits() {
        let escaped = vec![b'1'; 6 * (16 << 20) + 4096];
        assert!(fits(&escaped));
        assert!(!fits(&vec![b'1'; LONGEST_LINE + 1]));
        assert!(!fits("{},".repeat(512 << 10).as_bytes()));
        // What is not looked through cannot be too heavy.
        for values in ["{},", "[],", "{\"\":0},", "0,"] {
            assert!(weight(values.repeat(SURELY_LIGHT / values.len()).as_bytes()) <= HEAVIEST_LINE, "{values}");
        }
    }
}
