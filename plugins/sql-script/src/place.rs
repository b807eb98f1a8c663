//! Where something stands in a script, for a person.

use std::ops::Range;

/// How much of a line is shown, in characters.
const SHOWN: usize = 160;

/// The script, by which name it is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'s> {
    pub(crate) name: &'s str,
    pub(crate) text: &'s str,
}

/// A place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) line: u64,
    /// In characters, from 1.
    pub(crate) column: u64,
    /// The line itself.
    pub(crate) text: String,
}

impl Source<'_> {
    pub(crate) fn place(&self, at: usize) -> Place {
        let at = self.text.floor_char_boundary(at);
        let before = &self.text[..at];
        let begin = before.rfind('\n').map_or(0, |end| end + 1);
        let end = self.text[at..].find('\n').map_or(self.text.len(), |length| at + length);
        let line = before.matches('\n').count() as u64 + 1;
        let column = self.text[begin..at].trim_start_matches('\u{feff}').chars().count() as u64 + 1;
        Place { line, column, text: one_line(&self.text[begin..end]) }
    }

    /// `fix.sql:3:8`
    pub(crate) fn told(&self, at: usize) -> String {
        let Place { line, column, .. } = self.place(at);
        format!("{}:{line}:{column}", self.name)
    }

    /// A part of it on one line.
    pub(crate) fn shown(&self, at: &Range<usize>) -> String {
        one_line(&self.text[at.clone()])
    }
}

/// On one line, cut before a word: a secret cut in two would be none that the host knows and masks.
pub(crate) fn one_line(text: &str) -> String {
    let flat = text.trim_matches('\u{feff}').split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((end, _)) = flat.char_indices().nth(SHOWN) else { return flat };
    let kept = flat[..end].rfind(' ').unwrap_or(0);
    format!("{} ...", &flat[..kept])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let source = Source { name: "a.sql", text: "\u{feff}select 1;\r\n  sélect x" };
        assert_eq!(source.told(3), "a.sql:1:1");
        let at = source.text.find('x').unwrap();
        assert_eq!(source.place(at), Place { line: 2, column: 10, text: "sélect x".to_owned() });
        assert_eq!(source.told(source.text.len()), "a.sql:2:11");
    }

    #[test]
    fn a_long_line_is_cut_before_a_word() {
        let shown = one_line(&"word ".repeat(100));
        assert!(shown.ends_with("word ...") && shown.chars().count() <= SHOWN + 4, "{shown}");
        assert_eq!(one_line(&"x".repeat(500)), " ...");
    }
}
