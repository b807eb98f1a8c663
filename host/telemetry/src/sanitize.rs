//! Lines that others wrote (guests, servers, programs), made safe to show on a terminal.

use std::borrow::Cow;

use crate::mask;

/// A line without anything that could steer a terminal, hide text or look like another line: ANSI
/// escape sequences, control characters (C0 and C1), overrides of the writing direction, invisible
/// tags. Line ends and tabs become spaces; line ends at the end go.
pub fn sanitize_line(line: &str) -> Cow<'_, str> {
    let line = line.trim_end_matches(['\n', '\r']);
    if line.chars().all(is_shown) {
        return Cow::Borrowed(line);
    }
    let mut shown = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_escape(&mut rest),
            // The same as ESC [, ESC ], and ESC P, X, ^, _ in one character.
            '\u{9b}' => skip_control_sequence(&mut rest),
            '\u{9d}' | '\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}' => skip_control_string(&mut rest),
            '\t' | '\n' | '\u{2028}' | '\u{2029}' => shown.push(' '),
            c if is_shown(c) => shown.push(c),
            _ => {}
        }
    }
    Cow::Owned(shown)
}

/// A line that may be shown and kept: masked, and sanitized. Masked again, too: control characters
/// within a secret hide it from the masker until they are gone.
pub fn clean_line(line: &str) -> String {
    let masked = mask(line);
    let shown = sanitize_line(&masked);
    mask(&shown).into_owned()
}

/// [`sanitize_line`] for each line of a text, whose line ends stay.
pub fn sanitize_text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        shown.push_str(&sanitize_line(line));
        if line.ends_with('\n') {
            shown.push('\n');
        }
    }
    shown
}

fn is_shown(c: char) -> bool {
    !matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Marks, embeddings, overrides and isolates of the writing direction.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Line and paragraph separators, byte order mark, interlinear annotations, tags.
        | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// After ESC: a control sequence, a control string, or a short escape (intermediates and a final).
fn skip_escape(rest: &mut std::str::Chars<'_>) {
    let mut ahead = rest.clone();
    match ahead.next() {
        Some('[') => {
            *rest = ahead;
            skip_control_sequence(rest);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            *rest = ahead;
            skip_control_string(rest);
        }
        Some('\u{20}'..='\u{2f}') => {
            *rest = ahead;
            skip_while(rest, |c| ('\u{20}'..='\u{2f}').contains(&c));
            skip_if(rest, |c| ('\u{30}'..='\u{7e}').contains(&c));
        }
        Some('\u{30}'..='\u{7e}') => *rest = ahead,
        _ => {}
    }
}

/// Parameters, intermediates, and the final character. A sequence that is none ends where it stops
/// being one, so that it cannot swallow the text after it.
fn skip_control_sequence(rest: &mut std::str::Chars<'_>) {
    skip_while(rest, |c| ('\u{20}'..='\u{3f}').contains(&c));
    skip_if(rest, |c| ('\u{40}'..='\u{7e}').contains(&c));
}

/// Up to its terminator (BEL, ST or ESC \). Without one the rest of the line is its content, as it
/// would be for a terminal.
fn skip_control_string(rest: &mut std::str::Chars<'_>) {
    while let Some(c) = rest.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                skip_if(rest, |c| c == '\\');
                return;
            }
            _ => {}
        }
    }
}

fn skip_while(rest: &mut std::str::Chars<'_>, skipped: impl Fn(char) -> bool) {
    while skip_if(rest, &skipped) {}
}

fn skip_if(rest: &mut std::str::Chars<'_>, skipped: impl Fn(char) -> bool) -> bool {
    let mut ahead = rest.clone();
    let skips = ahead.next().is_some_and(skipped);
    if skips {
        *rest = ahead;
    }
    skips
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_lines_are_not_copied() {
        for line in ["", "vacuumed 3 tables", "größe 日本 👩‍💻 50%"] {
            assert!(matches!(sanitize_line(line), Cow::Borrowed(shown) if shown == line));
        }
        assert_eq!(sanitize_line("line\r\n"), "line");
    }

    #[test]
    fn nothing_that_steers_a_terminal_stays() {
        for (line, shown) in [
            ("\u{1b}[31;1mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;https://evil.example\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}Pq#0\u{1b}\\text", "text"),
            ("\u{1b}(0text\u{1b}c!", "text!"),
            ("\u{9b}2Jtext\u{9d}0;x\u{9c}!", "text!"),
            ("a\u{1b}", "a"),
            ("a\u{1b}[31", "a"),
            ("a\u{1b}[31é", "aé"),
            ("progress 1%\rprogress 2%", "progress 1%progress 2%"),
            ("a\u{8}\u{8}b\u{0}c\u{7f}d\u{85}e", "abcde"),
            ("a\tb", "a b"),
            ("ok\n2026-11-23 ERROR forged", "ok 2026-11-23 ERROR forged"),
            ("ok\u{2028}forged", "ok forged"),
            ("\u{202e}gpj.exe\u{2069}\u{200f}", "gpj.exe"),
            ("hid\u{e0041}den\u{feff}", "hidden"),
        ] {
            assert_eq!(sanitize_line(line), shown, "{line:?}");
        }
    }

    #[test]
    fn a_secret_cannot_hide_behind_control_characters() {
        let _secret = crate::Secret::new("c4nary\nof lines");
        assert_eq!(clean_line("a c4nary\nof lines b"), "a *** b");
        let _secret = crate::Secret::new("c4nary-of-cleaning");
        assert_eq!(clean_line("a c4nary-\u{1b}[1mof-cleaning b"), "a *** b");
    }

    #[test]
    fn a_text_keeps_its_lines() {
        assert_eq!(sanitize_text("a\u{1b}[1m\r\n\nb\tc"), "a\n\nb c");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_clean_and_stays_so(line in "\\PC*|[\u{1b}\u{9b}\\[\\]0-9;A-z\u{7}\n\t ]{0,40}") {
            let shown = sanitize_line(&line).into_owned();
            prop_assert!(shown.chars().all(is_shown));
            prop_assert_eq!(sanitize_line(&shown), shown.as_str());
        }
    }
}
