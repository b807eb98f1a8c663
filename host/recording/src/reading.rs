//! Reading a recording, line by line.

use crate::bounds::{HEAVIEST_LINE, KEPT, LONGEST_LINE, weight};
use crate::format::{FORMAT, Header, Line};
use serde_json::Value;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

/// So much of the room for a line stays for the next one.
const ROOM: usize = 1 << 20;

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file.
    #[error("the recording {} cannot be read: {source}", place.display())]
    File {
        /// Where it is.
        place: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has no first line that says what it is.
    #[error("{} is no recording of a run, or broke off before its first line: {why}", place.display())]
    Foreign {
        /// Where it is.
        place: PathBuf,
        /// What is wrong with the first line.
        why: String,
    },
    /// A format that this host does not know.
    #[error("the recording {} has format {format}, and this host reads up to {FORMAT}; use the host that wrote it, or a newer one", place.display())]
    Newer {
        /// Where it is.
        place: PathBuf,
        /// Its format.
        format: u64,
    },
    /// A line that is none.
    #[error("the recording {} is damaged in line {number}: {why}", place.display())]
    Damaged {
        /// Where it is.
        place: PathBuf,
        /// Counted from 1.
        number: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A line that no host writes.
    #[error(
        "the recording {} is not read: its line {number} {what}, and a host records none that is; it was not written by a host, or by one that knew of no such limit",
        place.display()
    )]
    TooLarge {
        /// Where it is.
        place: PathBuf,
        /// Counted from 1.
        number: u64,
        /// What is too large.
        what: String,
    },
    /// There is more of it than is kept at once.
    #[error(
        "the recording {} holds more than can be made into one thing: up to line {number} it is more than {} MiB in memory; take one of a run on less data",
        place.display(),
        KEPT >> 20
    )]
    TooMuch {
        /// Where it is.
        place: PathBuf,
        /// Counted from 1.
        number: u64,
    },
}

/// A recording that is being read.
pub struct Reading {
    /// What was run.
    pub header: Header,
    lines: Lines,
}

struct Lines {
    place: PathBuf,
    input: BufReader<zstd::stream::read::Decoder<'static, BufReader<Box<dyn Read + Send>>>>,
    number: u64,
    line: Vec<u8>,
}

/// The next line of the text.
enum Next {
    /// What it is in memory, about.
    Line(usize),
    /// No more.
    End,
}

/// The next line of a recording.
pub(crate) enum Said {
    /// The line, and what it is in memory, about.
    Line(Box<Line>, usize),
    /// No more: it ends, or breaks off, as it does when its host was killed.
    End,
}

impl Reading {
    /// Read a recording's header. The place is for messages.
    ///
    /// # Errors
    /// When it is none, or of a format that this host does not know.
    pub fn of(path: &Path, input: Box<dyn Read + Send>) -> Result<Self, ReadError> {
        let failed = |source| ReadError::File { place: path.to_owned(), source };
        let input = zstd::stream::read::Decoder::new(input).map_err(failed)?;
        let input = BufReader::with_capacity(256 << 10, input);
        let mut lines = Lines { place: path.to_owned(), input, number: 0, line: Vec::new() };
        let foreign = |why: String| ReadError::Foreign { place: path.to_owned(), why };
        match lines.next() {
            Ok(Next::Line(_)) => {}
            Ok(Next::End) => return Err(foreign("it is empty".into())),
            Err(ReadError::Damaged { why, .. }) => return Err(foreign(why)),
            Err(error) => return Err(error),
        }
        let first: Value = serde_json::from_slice(&lines.line).map_err(|error| foreign(error.to_string()))?;
        match first["rota-recording"].as_u64() {
            Some(format) if format > u64::from(FORMAT) => {
                return Err(ReadError::Newer { place: path.to_owned(), format });
            }
            Some(_) => {}
            None => return Err(foreign("its first line has no field `rota-recording`".into())),
        }
        let header = serde_json::from_value(first).map_err(|error| foreign(error.to_string()))?;
        Ok(Self { header, lines })
    }

    /// The next line.
    pub(crate) fn next(&mut self) -> Result<Said, ReadError> {
        Ok(match self.lines.next()? {
            Next::End => Said::End,
            Next::Line(weight) => {
                let line = serde_json::from_slice(&self.lines.line).map_err(|error| ReadError::Damaged {
                    place: self.lines.place.clone(),
                    number: self.lines.number,
                    why: error.to_string(),
                })?;
                Said::Line(Box::new(line), weight)
            }
        })
    }

    /// Where it is, and the number of the line that was read last.
    pub(crate) fn at(&self) -> (&Path, u64) {
        (&self.lines.place, self.lines.number)
    }
}

impl Lines {
    fn next(&mut self) -> Result<Next, ReadError> {
        self.line.clear();
        self.line.shrink_to(ROOM);
        self.number += 1;
        let read = (&mut self.input).take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut self.line);
        match read {
            Ok(0) => Ok(Next::End),
            Ok(_) if self.line.last() == Some(&b'\n') => {
                self.line.pop();
                match weight(&self.line) {
                    heavy if heavy > HEAVIEST_LINE => {
                        Err(self.too_large(format!("is more than {} MiB in memory", HEAVIEST_LINE >> 20)))
                    }
                    weight => Ok(Next::Line(weight)),
                }
            }
            Ok(read) if read > LONGEST_LINE => {
                Err(self.too_large(format!("is longer than {} MiB", LONGEST_LINE >> 20)))
            }
            // Half a line: its other half was never written.
            Ok(_) => Ok(Next::End),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Next::End),
            Err(error) => Err(self.damaged(&error.to_string())),
        }
    }

    fn too_large(&self, what: String) -> ReadError {
        ReadError::TooLarge { place: self.place.clone(), number: self.number, what }
    }

    fn damaged(&self, why: &str) -> ReadError {
        ReadError::Damaged { place: self.place.clone(), number: self.number, why: why.to_owned() }
    }
}
