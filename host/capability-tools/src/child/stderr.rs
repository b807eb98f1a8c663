//! A program's standard error: its end is kept, its lines go to the run's log, both masked and harmless to show.

use crate::limits::{LOG_LINE, STDERR};
use rota_capability::{LogLevel, RunContext};
use rota_telemetry::{StreamMasker, sanitize_line, sanitize_text};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

/// Reads it to its end.
pub(super) struct Stderr {
    pipe: pipe::Receiver,
    said: Arc<Mutex<Said>>,
}

/// What is known of it at any time.
struct Said {
    masker: Option<StreamMasker>,
    tail: VecDeque<u8>,
    lines: Lines,
}

impl Stderr {
    pub(super) fn new(pipe: pipe::Receiver, run: Arc<RunContext>, source: String) -> Self {
        let lines = Lines { run, source, line: Vec::new(), cut: false };
        Self {
            pipe,
            said: Arc::new(Mutex::new(Said { masker: Some(StreamMasker::new()), tail: VecDeque::new(), lines })),
        }
    }

    /// A handle for the end.
    pub(super) fn said(&self) -> Kept {
        Kept(self.said.clone())
    }

    /// Read until nothing holds it any more.
    pub(super) async fn read(mut self) {
        let mut buffer = vec![0; 16 << 10];
        loop {
            match self.pipe.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(read) => self.said.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..read]),
            }
        }
    }
}

/// What was said so far.
pub(super) struct Kept(Arc<Mutex<Said>>);

impl Kept {
    /// The end of it; the last line goes to the log.
    pub(super) fn finish(self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).finish()
    }
}

impl Said {
    fn push(&mut self, piece: &[u8]) {
        if let Some(masker) = &mut self.masker {
            let masked = masker.push(piece);
            self.keep(&masked);
        }
    }

    fn keep(&mut self, masked: &[u8]) {
        let new = &masked[masked.len().saturating_sub(STDERR)..];
        let excess = (self.tail.len() + new.len()).saturating_sub(STDERR);
        self.tail.drain(..excess);
        self.tail.extend(new);
        self.lines.push(masked);
    }

    fn finish(&mut self) -> String {
        if let Some(masker) = self.masker.take() {
            let rest = masker.finish();
            self.keep(&rest);
            self.lines.flush();
        }
        let bytes: Vec<u8> = std::mem::take(&mut self.tail).into();
        sanitize_text(&String::from_utf8_lossy(&bytes))
    }
}

/// Cuts lines, and hands them to the log.
struct Lines {
    run: Arc<RunContext>,
    source: String,
    line: Vec<u8>,
    /// The line is longer than is shown.
    cut: bool,
}

impl Lines {
    fn push(&mut self, text: &[u8]) {
        for part in text.split_inclusive(|byte| *byte == b'\n') {
            let (content, ends) = part.strip_suffix(b"\n").map_or((part, false), |content| (content, true));
            let room = LOG_LINE.saturating_sub(self.line.len());
            self.cut |= content.len() > room;
            self.line.extend_from_slice(&content[..content.len().min(room)]);
            if ends {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        let bytes = std::mem::take(&mut self.line);
        let cut = std::mem::take(&mut self.cut);
        let text = String::from_utf8_lossy(&bytes);
        let line = sanitize_line(&text);
        if line.trim().is_empty() {
            return;
        }
        let bad =
            ["error:", "fatal:", "warning:", "panic:"].iter().any(|word| line.to_ascii_lowercase().contains(word));
        let level = if bad { LogLevel::Warn } else { LogLevel::Info };
        let shown = if cut { format!("{line} ...") } else { line.into_owned() };
        self.run.log(level, &self.source, &shown, &[]);
    }
}
