//! Masking of what comes in pieces: a program's standard error, a guest's output.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::mask::{MASK, Masker, joined};
use crate::{mask, sanitize_text};

/// Masks a stream. A secret that two pieces share is found all the same, because the end of a piece
/// is held back for as long as it could be the beginning of a secret.
#[derive(Debug)]
pub struct StreamMasker {
    /// None: the masker of the process, asked anew for each piece, so that a secret registered
    /// meanwhile counts.
    masker: Option<Arc<Masker>>,
    held: Vec<u8>,
    /// So many bytes at the beginning of `held` belong to a secret whose mask was given out already.
    hidden: usize,
    /// Whether the last thing given was a mask, which then also stands for a secret that follows.
    after_mask: bool,
}

impl StreamMasker {
    /// Masks the secrets of the process.
    pub fn new() -> Self {
        Self { masker: None, held: Vec::new(), hidden: 0, after_mask: false }
    }

    #[cfg(test)]
    pub(crate) fn with(masker: Arc<Masker>) -> Self {
        Self { masker: Some(masker), ..Self::new() }
    }

    /// Takes the next piece and gives what can be shown.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        self.give(true)
    }

    /// Gives what was held back.
    pub fn finish(mut self) -> Vec<u8> {
        self.give(false)
    }

    fn give(&mut self, goes_on: bool) -> Vec<u8> {
        let masker = self.masker.clone().unwrap_or_else(Masker::current);
        let mut found = masker.look(&self.held, goes_on);
        if self.hidden > 0 {
            found.ranges.push(0..self.hidden);
            found.ranges = joined(found.ranges);
        }
        let end = if goes_on { found.undecided } else { self.held.len() };
        let mut given = Vec::with_capacity(end);
        if end == 0 {
            return given;
        }
        let (mut from, mut hidden, mut after_mask) = (0, 0, false);
        for range in found.ranges.iter().take_while(|range| range.start < end) {
            given.extend_from_slice(self.held.get(from..range.start).unwrap_or_default());
            if range.start > 0 || !self.after_mask {
                given.extend_from_slice(MASK.as_bytes());
            }
            from = range.end.min(end);
            hidden = range.end.saturating_sub(end);
            after_mask = range.end >= end;
        }
        given.extend_from_slice(self.held.get(from..end).unwrap_or_default());
        self.held.drain(..end);
        (self.hidden, self.after_mask) = (hidden, after_mask);
        given
    }
}

impl Default for StreamMasker {
    fn default() -> Self {
        Self::new()
    }
}

/// Keeps the beginning and the end of a stream, masked, and counts what it left out between them.
///
/// Programs say at the beginning what they do and at the end why they failed; both are wanted, and
/// the memory for them must not depend on the program.
#[derive(Debug)]
pub struct BoundedCapture {
    masker: StreamMasker,
    /// The most bytes that the beginning takes, and again the end.
    half: usize,
    beginning: Vec<u8>,
    end: VecDeque<u8>,
    omitted: u64,
}

/// What a [`BoundedCapture`] kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// Masked, without control characters but line ends; where something was left out, a line says so.
    pub text: String,
    /// How many bytes were left out.
    pub omitted: u64,
}

impl BoundedCapture {
    /// Keeps at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            masker: StreamMasker::new(),
            half: limit.div_ceil(2),
            beginning: Vec::new(),
            end: VecDeque::new(),
            omitted: 0,
        }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        let masked = self.masker.push(piece);
        self.keep(&masked);
    }

    /// What was kept.
    pub fn finish(mut self) -> Captured {
        let masked = std::mem::take(&mut self.masker).finish();
        self.keep(&masked);
        let mut bytes = self.beginning;
        if self.omitted > 0 {
            bytes.extend_from_slice(format!("\n[{} bytes left out]\n", self.omitted).as_bytes());
        }
        bytes.extend(self.end);
        let shown = sanitize_text(&String::from_utf8_lossy(&bytes));
        Captured { text: mask(&shown).into_owned(), omitted: self.omitted }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.half.saturating_sub(self.beginning.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.beginning.extend_from_slice(first);
        self.end.extend(rest);
        let excess = self.end.len().saturating_sub(self.half);
        self.end.drain(..excess);
        self.omitted = self.omitted.saturating_add(u64::try_from(excess).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn streamed(masker: &Arc<Masker>, pieces: &[&str]) -> String {
        let mut stream = StreamMasker::with(Arc::clone(masker));
        let mut text: Vec<u8> = pieces.iter().flat_map(|piece| stream.push(piece.as_bytes())).collect();
        text.extend(stream.finish());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_secret_in_two_pieces_is_found() {
        let masker = Arc::new(Masker::new(["hunter2!", "2!more"]));
        assert_eq!(streamed(&masker, &["password hun", "ter", "2! refused"]), "password *** refused");
        assert_eq!(streamed(&masker, &["hunter", " gatherer"]), "hunter gatherer");
        assert_eq!(streamed(&masker, &["xhunter2!", "more y"]), "x*** y");
        assert_eq!(streamed(&masker, &["xhunter2!", "mope y"]), "x***mope y");
        assert_eq!(streamed(&masker, &["xhunter"]), "xhunter");
    }

    #[test]
    fn what_cannot_begin_a_secret_is_given_at_once() {
        let mut stream = StreamMasker::with(Arc::new(Masker::new(["hunter2!"])));
        assert_eq!(stream.push(b"pg_dump: dumping\n"), b"pg_dump: dumping\n");
        assert_eq!(stream.push(b"pg_dump: h"), b"pg_dump: ");
    }

    #[test]
    fn a_secret_registered_meanwhile_is_found() {
        let mut stream = StreamMasker::new();
        assert_eq!(stream.push(b"one "), b"one ");
        let _secret = Secret::new("c4nary-of-stream");
        assert_eq!(stream.push(b"c4nary-of-stream two"), b"*** two");
    }

    #[test]
    fn an_endless_run_of_secrets_is_not_held() {
        let mut stream = StreamMasker::with(Arc::new(Masker::new(["aaaa"])));
        let mut given = Vec::new();
        for _ in 0..1_000 {
            given.extend(stream.push(b"aaaaaaa"));
            assert!(stream.held.len() < 16);
        }
        given.extend(stream.finish());
        assert_eq!(given, b"***");
    }

    #[test]
    fn a_capture_keeps_both_ends_and_counts_the_middle() {
        let _secret = Secret::new("c4nary-of-capture");
        let mut capture = BoundedCapture::new(40);
        capture.push(b"pg_dump: start c4nary-of-");
        capture.push(b"capture\n");
        for _ in 0..100 {
            capture.push(b"0123456789");
        }
        capture.push(b"\x1b[31mfatal\x1b[0m: no space\n");
        let captured = capture.finish();
        assert_eq!(captured.omitted, 1004);
        assert_eq!(captured.text, "pg_dump: start ***\n0\n[1004 bytes left out]\nfatal: no space\n");
    }

    #[test]
    fn a_capture_within_its_limit_is_whole() {
        let mut capture = BoundedCapture::new(100);
        capture.push(b"one\ntwo\n");
        assert_eq!(capture.finish(), Captured { text: "one\ntwo\n".to_owned(), omitted: 0 });
    }
}
