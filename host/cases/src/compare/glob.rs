//! Patterns of texts: `*` stands for anything, everything else for itself. Runs of white space count as one blank, because statements and
//! messages are broken into lines as their authors like.

/// White space as one blank, none around.
pub(crate) fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a text fits a pattern. A pattern without `*` is the whole text.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (plain(pattern), plain(text));
    between(&pattern, &text)
}

/// The same, whatever the case of letters: for statements.
pub(crate) fn fits_statement(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (plain(pattern).to_lowercase(), plain(text).to_lowercase());
    // What ends a statement is no part of it.
    let text = text.trim_end_matches([';', ' ']);
    between(pattern.trim_end_matches([';', ' ']), text)
}

/// The parts between the stars stand in the text, in their order: the first at its start, the last at its end.
fn between(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').map_or(("", rest), |(middle, last)| (middle, last));
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_everything_else_for_itself() {
        for (pattern, text, wanted) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("*", "", true),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*c", "abc", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "ac", false),
            ("*b*b*", "ab", false),
            ("a?[c]", "a?[c]", true),
            ("select  1\n from t", "select 1 from t", true),
            ("*ab", "aab", true),
            ("**", "x", true),
        ] {
            assert_eq!(fits(pattern, text), wanted, "{pattern} on {text}");
        }
    }

    #[test]
    fn statements_are_compared_without_case_and_end() {
        assert!(fits_statement("SELECT * FROM t;", "select a,\n  b from T"));
        assert!(!fits("SELECT 1", "select 1"));
    }
}
