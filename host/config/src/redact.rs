//! Blots secrets out of a configuration's text before any line of it is shown in an error message.
//!
//! A secret should not stand there at all; that is why the line is shown. The text keeps its length
//! and its lines, so that places in it stay right. It is not parsed, as it may be what cannot be.

use std::ops::Range;

/// Words in a key whose value is blotted out unless it is a reference.
const SENSITIVE: [&str; 9] =
    ["password", "passwd", "secret", "token", "credential", "access_key", "accesskey", "private_key", "signature"];

/// Ways to begin a value that only says where the secret is.
const REFERENCES: [&str; 3] = ["env:", "file:", "kubernetes:"];

/// The same text with `*` for each byte of a secret.
pub(crate) fn redact(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for range in url_secrets(text).into_iter().chain(values_of_sensitive_keys(text)) {
        for byte in bytes.get_mut(range).unwrap_or_default() {
            if *byte != b'\n' && *byte != b'\r' {
                *byte = b'*';
            }
        }
    }
    // Ranges begin and end beside ASCII, so nothing is left of a character that was cut.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The most characters of a value that a message shows.
const LONGEST: usize = 60;

/// A value for a message: redacted, of one line, not too long.
pub(crate) fn quoted(value: &str) -> String {
    let value = rota_telemetry::clean_line(&redact(value));
    let mut shown: String = value.chars().take(LONGEST).collect();
    if value.chars().count() > LONGEST {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

/// The same of a path, whose end tells it from others.
pub(crate) fn quoted_path(value: &str) -> String {
    let value = rota_telemetry::clean_line(&redact(value));
    let beyond = value.chars().count().saturating_sub(LONGEST);
    let cut = if beyond > 0 { "…" } else { "" };
    format!("\"{cut}{}\"", value.chars().skip(beyond).collect::<String>())
}

/// What stands between `:` and `@` of each URL, and the values of its sensitive parameters.
fn url_secrets(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (mark, _) in text.match_indices("://") {
        let start = mark + "://".len();
        let rest = &text[start..];
        let url = &rest[..rest.find(|c: char| c.is_whitespace() || c == '"' || c == '\'').unwrap_or(rest.len())];
        // The last `@`: a password may hold one that should have been encoded.
        if let Some(at) = url.rfind('@')
            && let Some(colon) = url[..at].find(':')
        {
            found.push(start + colon + 1..start + at);
        }
        let query = url.find('?').map_or(url.len(), |mark| mark + 1);
        let mut position = start + query;
        for parameter in url[query..].split('&') {
            if let Some((key, value)) = parameter.split_once('=')
                && is_sensitive(key)
            {
                let end = position + parameter.len();
                found.push(end - value.len()..end);
            }
            position += parameter.len() + 1;
        }
    }
    found
}

/// The values of `password = "..."`, `"secret_key"='...'`, `ROTA_..._TOKEN=...` and the like.
fn values_of_sensitive_keys(text: &str) -> Vec<Range<usize>> {
    let lower = text.to_ascii_lowercase();
    let mut found = Vec::new();
    for (mark, word) in SENSITIVE.iter().flat_map(|word| lower.match_indices(word)) {
        let key = text[..mark].trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        // A URL's parameter, which `url_secrets` looks at.
        if key.ends_with(['?', '&']) {
            continue;
        }
        let after = &text[mark + word.len()..];
        let rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_-\"'".contains(c));
        let Some(rest) = rest.trim_start_matches([' ', '\t']).strip_prefix('=') else { continue };
        let rest = rest.trim_start_matches([' ', '\t']);
        let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| rest.starts_with(quote));
        let value = rest.strip_prefix(quote.unwrap_or_default()).unwrap_or(rest);
        let end = match quote {
            Some(quote) if quote.len() > 1 => value.find(quote),
            Some("\"") => end_of_basic_string(value),
            Some(quote) => value.find([quote.chars().next().unwrap_or('\n'), '\n']),
            None => value.find('\n'),
        };
        let value = &value[..end.unwrap_or(value.len())];
        if !REFERENCES.iter().any(|reference| value.starts_with(reference)) {
            let start = value.as_ptr().addr() - text.as_ptr().addr();
            found.push(start..start + value.len());
        }
    }
    found
}

/// Where a TOML string in `"` ends, which may hold `\"`.
fn end_of_basic_string(value: &str) -> Option<usize> {
    let mut escaped = false;
    value.char_indices().find_map(|(at, c)| {
        let ends = c == '\n' || (c == '"' && !escaped);
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })
}

pub(crate) fn is_sensitive(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SENSITIVE.iter().any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_blotted_out_and_the_rest_stays() {
        for (text, redacted) in [
            ("url = \"postgres://u:hunter2@h:1/d\"", "url = \"postgres://u:*******@h:1/d\""),
            ("url = 'postgres://u:p@ss@h/d' # a:b@c", "url = 'postgres://u:****@h/d' # a:b@c"),
            ("url = \"postgres://u@h/d\"", "url = \"postgres://u@h/d\""),
            ("a = \"s3://b/p?secret_key=abc&region=x\"", "a = \"s3://b/p?secret_key=***&region=x\""),
            ("password = \"hunter2\" # mine", "password = \"*******\" # mine"),
            ("password = \"hunter2\nnext = 1", "password = \"*******\nnext = 1"),
            ("x = { password = 'a\\b', role = \"r\" }", "x = { password = '***', role = \"r\" }"),
            ("\"secret_key\"=\"a\\\"b\" # c", "\"secret_key\"=\"****\" # c"),
            ("access_key = \"\"\"a\nbc\"\"\"\nx = 1", "access_key = \"\"\"*\n**\"\"\"\nx = 1"),
            ("password = \"env:PGPASSWORD\"", "password = \"env:PGPASSWORD\""),
            ("secret_key = \"file:/run/secrets/k\"", "secret_key = \"file:/run/secrets/k\""),
            ("ROTA_BINDINGS__KOSMOS__PASSWORD=a b", "ROTA_BINDINGS__KOSMOS__PASSWORD=***"),
            ("password = \"größe\"", "password = \"*******\""),
            ("# the password is in the vault", "# the password is in the vault"),
        ] {
            assert_eq!(redact(text), redacted);
        }
    }

    #[test]
    fn a_quoted_value_is_short_and_clean() {
        assert_eq!(quoted("a\u{1b}[31mb\nc"), "\"ab c\"");
        assert_eq!(quoted(&"x".repeat(100)), format!("\"{}…\"", "x".repeat(60)));
        assert_eq!(quoted("postgres://u:hunter2@h"), "\"postgres://u:*******@h\"");
    }

    proptest! {
        #[test]
        fn the_text_keeps_its_length_and_lines(text in "(password|token|://|[=\"'@:?&\n é\\\\a]){0,30}") {
            let redacted = redact(&text);
            prop_assert_eq!(redacted.len(), text.len());
            prop_assert_eq!(redacted.matches('\n').count(), text.matches('\n').count());
        }
    }
}
