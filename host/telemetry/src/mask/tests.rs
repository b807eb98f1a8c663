use std::thread;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

use super::*;
use crate::{Secret, StreamMasker};

const CANARY: &str = "c4nary/+ \"pä\\ss'\n@🔑";

fn masked(secrets: &[&str], text: &str) -> String {
    Masker::new(secrets.iter().copied()).mask(text).into_owned()
}

#[test]
fn a_text_without_secrets_is_not_copied() {
    let masker = Masker::new(["hunter2!"]);
    assert!(matches!(masker.mask("nothing to hide, 100% \\o/"), Cow::Borrowed(_)));
    assert!(matches!(Masker::default().mask("hunter2!"), Cow::Borrowed(_)));
}

#[test]
fn every_spelling_is_masked() {
    let percent: String = CANARY.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let json = serde_json::to_string(CANARY).unwrap();
    let ascii_json: String = CANARY.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
    for spelling in [
        CANARY.to_owned(),
        STANDARD.encode(CANARY),
        URL_SAFE.encode(CANARY),
        STANDARD.encode(format!("user:{CANARY}")),
        STANDARD.encode(format!("admin:{CANARY}tail")),
        hex::encode(CANARY),
        hex::encode_upper(CANARY),
        percent.clone(),
        percent.to_uppercase(),
        percent.replace('%', "%25"),
        "c4nary%2F+%20\"p%C3%A4\\ss'%0A@%F0%9F%94%91".to_owned(),
        CANARY.replace(' ', "+"),
        CANARY.replace('\'', "''"),
        json.clone(),
        serde_json::to_string(&json).unwrap(),
        ascii_json,
        format!("{CANARY:?}"),
        CANARY.escape_unicode().to_string(),
        percent.replace('%', "\\u0025"),
    ] {
        let text = masked(&[CANARY], &format!("<<{spelling}>>"));
        assert!(text.starts_with("<<") && text.ends_with(">>") && text.contains(MASK), "{spelling} became {text}");
        let left = text.replace(MASK, "").len();
        // The first and last characters of base64 carry bits of the neighbours and may remain.
        assert!(left <= 4 + "user:tail".len() * 2, "{spelling} became {text}");
        for part in ["c4nary", "4nary", "ss'"] {
            assert!(!text.contains(part), "{spelling} became {text}");
        }
    }
}

#[test]
fn masking_keeps_json_readable() {
    let json = serde_json::json!({"message": format!("cannot log in with {CANARY}"), "next": [1]}).to_string();
    let read: serde_json::Value = serde_json::from_str(&masked(&[CANARY], &json)).unwrap();
    assert_eq!(read, serde_json::json!({"message": "cannot log in with ***", "next": [1]}));
}

#[test]
fn overlapping_secrets_hide_each_other_whole() {
    assert_eq!(masked(&["abcdef", "defghi"], "x abcdefghi y"), "x *** y");
    assert_eq!(masked(&["abcdef", "abcdefghi"], "abcdefghi abcdefgh"), "*** ***gh");
    assert_eq!(masked(&["cdef", "abcdefgh"], "abcdefgh abcdef"), "*** ab***");
    assert_eq!(masked(&["aaaa"], "aaaaaaaaaa"), "***");
}

#[test]
fn many_secrets_take_one_pass() {
    let secrets: Vec<String> = (0..2_000).map(|i| format!("secret-number-{i:04}-end")).collect();
    let masker = Masker::new(secrets.iter().map(String::as_str));
    let text = "the quick brown fox secret-number-1999-end ".repeat(1_000);
    assert_eq!(masker.mask(&text), "the quick brown fox *** ".repeat(1_000));
}

#[test]
fn bytes_that_are_no_text_are_masked_too() {
    let masker = Masker::new(["hunter2!"]);
    assert_eq!(masker.mask_bytes(b"\xff\x00hunter2!\xfe").as_ref(), b"\xff\x00***\xfe");
}

#[test]
fn secrets_are_masked_while_others_are_registered() {
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            thread::spawn(move || {
                for i in 0..50 {
                    let secret = Secret::new(format!("concurrent-{thread}-{i}-canary"));
                    let text = format!("[{}]", secret.expose());
                    assert_eq!(crate::mask(&text), "[***]");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_text_cut_within_an_escape_is_undecided() {
    let masker = Masker::new(["sécret-key"]);
    for (text, undecided) in [
        ("ab!", 3),
        ("ab! s", 4),
        ("ab! s%C3%A9cret", 4),
        ("ab! s%", 4),
        ("ab! s%C", 4),
        ("ab! s\\", 4),
        ("ab! s\\u00", 4),
        ("ab! \\ud83d", 4),
        ("ab! \\ud83d\\", 4),
        ("ab! \\u{1f6", 4),
        ("ab! s-", 6),
    ] {
        assert_eq!(masker.look(text.as_bytes(), true).undecided, undecided, "{text}");
    }
}

proptest! {
    /// Whatever the secrets, the text and where it is cut: the stream hides what the whole hides.
    #[test]
    fn a_stream_hides_what_the_whole_text_hides(
        parts in prop::collection::vec(prop_oneof![
            Just("abab".to_owned()), Just("babba".to_owned()), Just("%61bab".to_owned()), Just("\\u0061bab".to_owned()),
            "[ab%\\\\u016{}]{0,6}",
        ], 0..20),
        cuts in prop::collection::vec(1usize..7, 1..60),
    ) {
        let masker = Arc::new(Masker::new(["abab", "babba", "ababab"]));
        let text = parts.concat();
        let mut stream = StreamMasker::with(Arc::clone(&masker));
        let (mut rest, mut streamed) = (text.as_bytes(), Vec::new());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            streamed.extend(stream.push(chunk));
            rest = after;
        }
        streamed.extend(stream.finish());
        prop_assert_eq!(String::from_utf8_lossy(&streamed), masker.mask(&text));
    }

    #[test]
    fn no_secret_survives(secret in "[ -~]{4,24}", before in "[ -~]{0,12}", after in "[ -~]{0,12}") {
        prop_assume!(is_maskable(&secret) && !secret.chars().all(|c| c == '*'));
        let text = masked(&[&secret], &format!("{before}{secret}{after}"));
        let shows = text.replace(MASK, "\0").contains(&secret);
        prop_assert!(!shows, "{text}");
    }
}
