//! Writing a recording while the run goes on.
//!
//! Lines go into a buffer; a thread of the recording's own compresses it and writes it out: at the latest [`FLUSH`] after a line, so that what
//! was recorded until then can be read whatever becomes of the process. A run that is faster than the disk waits for it, so that memory is
//! bounded, too.

use crate::bounds::fits;
use crate::clocks;
use crate::format::{End, Header, error_shown};
use base64::Engine as _;
use rota_capability::tape::{Asked, Event, Record};
use serde::Serialize;
use sha2::Digest as _;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wasmtime_wasi::WasiCtxBuilder;

/// How long a line waits for others at the most.
pub const FLUSH: Duration = Duration::from_millis(50);
/// So many bytes of lines are compressed at once.
const PIECE: usize = 256 << 10;
/// So many bytes of lines wait for the disk at the most.
const WAITING: usize = 4 << 20;
/// How hard is compressed: a recording must not hold the run up.
const LEVEL: i32 = 1;

/// Why a recording could not be begun, or ended.
#[derive(Debug, thiserror::Error)]
#[error("the recording {} could not be written: {source}", place.display())]
pub struct WriteError {
    place: PathBuf,
    source: io::Error,
}

/// A recording that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256 in lower-case hex.
    pub sha256: String,
    /// How many calls it holds.
    pub calls: u64,
    /// Whether it ends before the run does, because it was as large as it may be.
    pub full: bool,
    /// Whether that is because the next line was larger than one may be.
    pub too_large: bool,
}

/// The thread that writes, and what it answers: the size, and the hash.
type WritingThread = JoinHandle<Result<(u64, String), WriteError>>;

/// Records a run.
pub struct Recorder {
    shared: Arc<Shared>,
    seed: [u8; 32],
    thread: Mutex<Option<WritingThread>>,
    path: PathBuf,
}

/// What the run and the writing thread share.
pub(crate) struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to be written, or no more comes.
    filled: Condvar,
    /// There is room again.
    emptied: Condvar,
    calls: AtomicU64,
    /// Nothing is taken any more: the recording is full, ended, or the disk failed.
    closed: AtomicBool,
    full: AtomicBool,
    began: Instant,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    no_more: bool,
    /// The next line was larger than one that is read: the recording ends before it.
    too_large: bool,
}

impl Recorder {
    /// Begin a recording in a file that is not there yet, of at most so many bytes. Only this user may read it.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn begin(path: &Path, header: &Header, seed: [u8; 32], most: u64) -> Result<Arc<Self>, WriteError> {
        let failed = |source| WriteError { place: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            calls: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            full: AtomicBool::new(false),
            began: Instant::now(),
        });
        shared.line(|line| put_value(line, header));
        let writing = Writing { shared: shared.clone(), place: path.to_owned(), most };
        let thread = std::thread::Builder::new()
            .name("rota-recording".into())
            .spawn(move || writing.write(file))
            .map_err(failed)?;
        Ok(Arc::new(Self { shared, seed, thread: Mutex::new(Some(thread)), path: path.to_owned() }))
    }

    /// Whether something is lost by now: the recording was full, or could not be written on.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Relaxed)
    }

    /// The run has ended: write down how, and make the recording whole. None when it was finished before.
    ///
    /// # Errors
    /// When the file could not be written.
    pub fn finish(&self, end: Option<&End>) -> Result<Option<Finished>, WriteError> {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(None) };
        if let Some(end) = end {
            self.shared.line(|line| put(line, "end", end, true));
        }
        self.shared.end();
        let broke = || WriteError { place: self.path.clone(), source: io::Error::other("its thread broke") };
        let (size, sha256) = thread.join().unwrap_or_else(|_| Err(broke()))?;
        Ok(Some(Finished {
            path: self.path.clone(),
            size,
            sha256,
            calls: self.shared.calls.load(Ordering::Relaxed),
            full: self.shared.full.load(Ordering::Relaxed),
            too_large: self.shared.lock().too_large,
        }))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Whoever did not finish it has lost the run: what there is stays readable.
        self.shared.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Add a line, made while nobody else adds one: the order of the lines is the order of what they say. False: it was not taken.
    pub(crate) fn line(&self, make: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.closed.load(Ordering::Relaxed) {
            return false;
        }
        let mut waiting = self.lock();
        while waiting.lines.len() > WAITING && !self.closed.load(Ordering::Relaxed) {
            waiting = self.emptied.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        // Who waited may find that no more is taken.
        if waiting.no_more {
            return false;
        }
        let before = waiting.lines.len();
        make(&mut waiting.lines);
        if !fits(&waiting.lines[before..]) {
            // No reader would take it, nor what comes after it.
            waiting.lines.truncate(before);
            waiting.lines.shrink_to(WAITING);
            (waiting.too_large, waiting.no_more) = (true, true);
            self.closed.store(true, Ordering::Relaxed);
            self.filled.notify_one();
            self.emptied.notify_all();
            return false;
        }
        waiting.lines.push(b'\n');
        if before < PIECE && waiting.lines.len() >= PIECE {
            self.filled.notify_one();
        }
        true
    }

    fn end(&self) {
        self.lock().no_more = true;
        self.filled.notify_one();
    }

    pub(crate) fn at(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// The value of a line's first and only field object.
fn put_value(line: &mut Vec<u8>, value: &impl Serialize) {
    let before = line.len();
    if serde_json::to_writer(&mut *line, value).is_err() {
        line.truncate(before);
        line.extend_from_slice(b"null");
    }
}

/// A field; the first one opens the line, and the last one closes it.
fn field(line: &mut Vec<u8>, name: &str, value: &impl Serialize) {
    line.push(if matches!(line.last(), None | Some(b'\n')) { b'{' } else { b',' });
    line.push(b'"');
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
    put_value(line, value);
}

fn put(line: &mut Vec<u8>, name: &str, value: &impl Serialize, last: bool) {
    field(line, name, value);
    if last {
        line.push(b'}');
    }
}

impl Record for Recorder {
    fn call(&self, asked: &Asked) -> u64 {
        let at = self.shared.at();
        let mut number = 0;
        let taken = self.shared.line(|line| {
            // Under the lock, so that calls stand in the order of their numbers.
            number = self.shared.calls.fetch_add(1, Ordering::Relaxed) + 1;
            put(line, "call", &number, false);
            put(line, "at", &at, false);
            put(line, "ask", &asked.operation, false);
            if let Some(on) = asked.handle {
                put(line, "on", &on, false);
            }
            if asked.now {
                put(line, "now", &true, false);
            }
            put(line, "arguments", &asked.arguments, true);
        });
        if taken {
            return number;
        }
        if number > 0 {
            // Nothing is taken any more: this number was the last.
            self.shared.calls.fetch_sub(1, Ordering::Relaxed);
        }
        0
    }

    fn note(&self, call: u64, event: Event<'_>) {
        // What begins when nothing is taken any more has no number, and neither has what becomes of it.
        if call == 0 || self.is_closed() {
            return;
        }
        let at = matches!(event, Event::Answered(_) | Event::Trapped(_)).then(|| self.shared.at());
        // Made before the lock where it is large.
        let base64 = match &event {
            Event::Bytes(bytes) => base64::engine::general_purpose::STANDARD.encode(bytes),
            _ => String::new(),
        };
        self.shared.line(|line| {
            put(line, "call", &call, false);
            if let Some(at) = at {
                put(line, "at", &at, false);
            }
            match event {
                Event::Answered(Ok(value)) => put(line, "answer", value, true),
                Event::Answered(Err(error)) => put(line, "error", &error_shown(error), true),
                Event::Trapped(said) => put(line, "trapped", &rota_telemetry::mask(said), true),
                Event::Dropped => put(line, "dropped", &true, true),
                Event::Items(items) => put(line, "items", &items, true),
                Event::Bytes(_) => put(line, "bytes", &base64, true),
                Event::Ended => put(line, "ended", &true, true),
                Event::Outcome(Ok(value)) => put(line, "outcome", value, true),
                Event::Outcome(Err(error)) => put(line, "failed", &error_shown(error), true),
                Event::HandedOn => put(line, "handed-on", &true, true),
                Event::Written { bytes, sha256, whole } => {
                    let written = crate::format::Written { bytes, sha256: sha256.to_owned(), whole };
                    put(line, "written", &written, true);
                }
                Event::Released => put(line, "released", &true, true),
            }
        });
    }

    fn keeps(&self) -> bool {
        !self.is_closed()
    }

    fn prepare(&self, wasi: &mut WasiCtxBuilder) {
        clocks::record(wasi, &self.shared, self.seed);
    }
}

/// The writing thread's side.
struct Writing {
    shared: Arc<Shared>,
    place: PathBuf,
    most: u64,
}

impl Writing {
    fn write(self, file: File) -> Result<(u64, String), WriteError> {
        let written = self.write_all(file);
        self.close();
        written.map_err(|source| {
            tracing::warn!(place = %self.place.display(), error = %source, "a recording could not be written on; the run goes on without");
            WriteError { place: self.place.clone(), source }
        })
    }

    /// Take no more, and hold nobody up.
    fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.shared.lock().lines = Vec::new();
        self.shared.emptied.notify_all();
    }

    fn write_all(&self, file: File) -> io::Result<(u64, String)> {
        let mut encoder =
            zstd::stream::write::Encoder::new(Counted { file, size: 0, hash: sha2::Sha256::new() }, LEVEL)?;
        let mut lines = Vec::new();
        loop {
            let no_more = self.take(&mut lines);
            let mut rest = &lines[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(whole_lines(rest));
                rest = after;
                encoder.write_all(piece)?;
                // What is in the file now can be read whatever happens next.
                encoder.flush()?;
                if encoder.get_ref().size >= self.most {
                    return self.end_full(encoder);
                }
            }
            lines.clear();
            if no_more {
                let too_large = self.shared.lock().too_large;
                return if too_large { self.end_full(encoder) } else { ended(encoder) };
            }
        }
    }

    /// The next lines, and whether they are the last.
    fn take(&self, lines: &mut Vec<u8>) -> bool {
        let mut waiting = self.shared.lock();
        if waiting.lines.len() < PIECE && !waiting.no_more {
            let late = self
                .shared
                .filled
                .wait_timeout_while(waiting, FLUSH, |waiting| waiting.lines.len() < PIECE && !waiting.no_more);
            waiting = late.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut waiting.lines, lines);
        self.shared.emptied.notify_all();
        waiting.no_more
    }

    fn end_full(&self, mut encoder: Encoder) -> io::Result<(u64, String)> {
        self.shared.full.store(true, Ordering::Relaxed);
        self.close();
        let mut line = Vec::new();
        put(&mut line, "full", &self.most, true);
        line.push(b'\n');
        encoder.write_all(&line)?;
        ended(encoder)
    }
}

/// So many bytes of lines are written at once: whole lines, so that nothing ends within one.
fn whole_lines(lines: &[u8]) -> usize {
    let from = lines.len().min(PIECE);
    let more = lines[from - 1..].iter().position(|byte| *byte == b'\n');
    more.map_or(lines.len(), |more| from + more)
}

type Encoder = zstd::stream::write::Encoder<'static, Counted>;

fn ended(encoder: Encoder) -> io::Result<(u64, String)> {
    let counted = encoder.finish()?;
    counted.file.sync_all()?;
    Ok((counted.size, hex::encode(counted.hash.finalize())))
}

/// A file whose size and hash are known when it is written.
struct Counted {
    file: File,
    size: u64,
    hash: sha2::Sha256,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
