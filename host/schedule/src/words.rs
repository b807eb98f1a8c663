//! Reads a word of a policy, and names the nearest one if it is none.

use crate::error::ScheduleError;

/// The value of a word.
pub(crate) fn word<T: Copy, const N: usize>(
    text: &str,
    what: &'static str,
    allowed: &'static str,
    words: [(&'static str, T); N],
) -> Result<T, ScheduleError> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let likeness = |word: &str| strsim::jaro_winkler(text, word);
    let nearest = words.iter().map(|(word, _)| *word).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    Err(ScheduleError::Word { word: text.to_owned(), what, allowed, nearest: nearest.unwrap_or_default() })
}
