//! Finds a secret in every spelling in which it could have got somewhere.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::path::Path;

/// A secret that must be nowhere.
pub(super) struct Canary {
    pub(super) name: &'static str,
    pub(super) secret: String,
}

impl Canary {
    pub(super) fn new(name: &'static str, secret: impl Into<String>) -> Self {
        Self { name, secret: secret.into() }
    }

    /// Each spelling with its name.
    pub(super) fn spellings(&self) -> Vec<(String, String)> {
        let secret = &self.secret;
        let mut found = vec![
            ("raw".to_owned(), secret.clone()),
            ("hexadecimal".to_owned(), hex::encode(secret)),
            ("capital hexadecimal".to_owned(), hex::encode_upper(secret)),
            ("URL-encoded".to_owned(), percent(secret, |byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))),
            ("URL-encoded throughout".to_owned(), percent(secret, |_| false)),
            ("base64".to_owned(), STANDARD.encode(secret)),
        ];
        for alignment in 0..3_usize {
            for (alphabet, engine) in [("base64", &STANDARD_NO_PAD), ("URL base64", &URL_SAFE_NO_PAD)] {
                // What stands before and behind it changes the characters at its ends alone.
                let whole = engine.encode([vec![0; alignment], secret.clone().into_bytes()].concat());
                let from = if alignment == 0 { 0 } else { alignment + 1 };
                let to = (alignment + secret.len()) * 8 / 6;
                found.push((format!("{alphabet} at {alignment}"), whole[from..to].to_owned()));
            }
        }
        found.sort();
        found.dedup_by(|one, other| one.1 == other.1);
        found
    }

    /// Where the secret is in a text: the spellings.
    pub(super) fn found_in(&self, bytes: &[u8]) -> Vec<String> {
        self.spellings()
            .into_iter()
            .filter(|(_, spelling)| contains(bytes, spelling.as_bytes()))
            .map(|(name, _)| name)
            .collect()
    }
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn percent(text: &str, plain: impl Fn(u8) -> bool) -> String {
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// No canary is in a text.
pub(super) fn clean(canaries: &[Canary], place: &str, bytes: &[u8]) {
    for canary in canaries {
        let found = canary.found_in(bytes);
        assert!(found.is_empty(), "the {} is in {place}: {found:?}\n{}", canary.name, String::from_utf8_lossy(bytes));
    }
}

/// No canary is in any file below a folder, nor in a file's name.
pub(super) fn clean_folder(canaries: &[Canary], folder: &Path) {
    let files = rota_tests::files(folder);
    assert!(!files.is_empty(), "nothing to look through in {}", folder.display());
    for file in files {
        let place = file.display().to_string();
        clean(canaries, "a file's name", place.as_bytes());
        clean(canaries, &place, &std::fs::read(&file).unwrap());
    }
}

#[test]
fn every_spelling_is_found_wherever_it_stands() {
    let canary = Canary::new("password", "K:n/0 b@el%ä+geheim");
    for before in ["", "a", "ab", "abc"] {
        let text = format!("{before}{}{before}", canary.secret);
        let haystacks = [
            text.clone(),
            hex::encode(&text),
            hex::encode_upper(&text),
            percent(&text, |byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)),
            STANDARD.encode(&text),
            URL_SAFE_NO_PAD.encode(&text),
        ];
        for haystack in haystacks {
            assert!(!canary.found_in(haystack.as_bytes()).is_empty(), "not found in {haystack}");
        }
    }
    assert_eq!(canary.found_in(b"nothing of it"), Vec::<String>::new());
}
