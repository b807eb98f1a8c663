//! What a command said on its standard error, and whether what arrived of its output is what it wrote.

use crate::error::fault;
use rota_capability::{ChildEnded, ChildStatus};
use rota_contract::Error;
use rota_telemetry::{StreamMasker, sanitize_text};
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;

/// How much of the end of standard error is kept.
const KEPT: usize = 64 << 10;

/// Has the container hash what the command writes, and tell the hash and the length at the end of standard error, after a word that no command
/// knows. The second pipe is the shell's own, so that whoever the command runs as may open it.
const SCRIPT: &str = r#"word=$1; shift; exec 3>&1 4>&2
end=$({ { "$@" 2>&4 3>&- 4>&- 5>&-; echo "$?" >&5; } | { tee /dev/fd/6 >&3; } 6>&1 | { sha256sum; }; } 5>&1) || exit 125
set -- $end
printf '\n%s %s %s\n' "$word" "$1" "$2" >&2
exit "$1""#;

/// What is looked for at the end.
pub(crate) struct Verification {
    word: String,
    hash: Sha256,
    length: u64,
}

impl Verification {
    /// What is looked for, after a word of its own.
    pub(crate) fn new() -> (String, Self) {
        let word = format!("rota-{}", uuid::Uuid::new_v4().simple());
        (word.clone(), Self { word, hash: Sha256::new(), length: 0 })
    }

    /// The words that are run for a guest's, and what is looked for then.
    pub(crate) fn of(words: &[String], verified: bool) -> (Vec<String>, Option<Self>) {
        if !verified {
            return (words.to_vec(), None);
        }
        let (word, verification) = Self::new();
        let mut all: Vec<String> = ["sh", "-c", SCRIPT, "rota", &word].map(str::to_owned).into();
        all.extend_from_slice(words);
        (all, Some(verification))
    }
}

/// Collects standard error, and looks at the output as it passes.
pub(crate) struct Stderr {
    tail: VecDeque<u8>,
    verification: Option<Verification>,
}

impl Stderr {
    pub(crate) fn new(verification: Option<Verification>) -> Self {
        Self { tail: VecDeque::new(), verification }
    }

    pub(crate) fn output(&mut self, piece: &[u8]) {
        if let Some(verification) = &mut self.verification {
            verification.hash.update(piece);
            verification.length += piece.len() as u64;
        }
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        let new = &piece[piece.len().saturating_sub(KEPT)..];
        let excess = (self.tail.len() + new.len()).saturating_sub(KEPT);
        self.tail.drain(..excess.min(self.tail.len()));
        self.tail.extend(new);
    }

    /// How it ended; an error when what arrived is not what was written.
    pub(crate) fn finish(self, what: &str, code: i32) -> Result<ChildEnded, Error> {
        let mut bytes: Vec<u8> = self.tail.into();
        if let Some(verification) = self.verification {
            let Verification { word, hash, length } = verification;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let Some((before, trailer)) = text.rsplit_once(&format!("\n{word} ")) else {
                let text = "the container did not hash what the command wrote; it needs sh, tee and sha256sum";
                return Err(fault("unverified", format!("{what}: {text}"), false));
            };
            let told = trailer.trim_end().split(' ').nth(1).unwrap_or_default();
            let found = hex::encode(hash.finalize());
            if told != found {
                let message = format!(
                    "{what}: the {length} bytes that arrived have the SHA-256 {found}, and what was written {told}"
                );
                return Err(fault("checksum-mismatch", message, true));
            }
            bytes = before.as_bytes().to_vec();
        }
        let mut masker = StreamMasker::new();
        let mut masked = masker.push(&bytes).to_vec();
        masked.extend_from_slice(&masker.finish());
        let stderr = sanitize_text(&String::from_utf8_lossy(&masked));
        Ok(ChildEnded { status: ChildStatus::Code(code), stderr })
    }
}
