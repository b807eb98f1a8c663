//! Reading a recording, line by line.

use crate::format::{FORMAT, Header, Line};
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

/// The longest line that is read: what one call may take out of a guest is smaller by far.
const LONGEST: u64 = 256 << 20;

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
    Line,
    /// No more.
    End,
}

/// The next line of a recording.
pub(crate) enum Said {
    Line(Box<Line>),
    /// No more: it ends, or breaks off, as it does when its host was killed.
    End,
}

impl Reading {
    /// Open a recording, and read its header.
    ///
    /// # Errors
    /// When it is none, or of a format that this host does not know.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let failed = |source| ReadError::File { place: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        Self::of(path, Box::new(file))
    }

    /// The same of a recording that is read from somewhere else; the place is for messages.
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
            Ok(Next::Line) => {}
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
            Next::Line => {
                let line = serde_json::from_slice(&self.lines.line).map_err(|error| ReadError::Damaged {
                    place: self.lines.place.clone(),
                    number: self.lines.number,
                    why: error.to_string(),
                })?;
                Said::Line(Box::new(line))
            }
        })
    }
}

impl Lines {
    fn next(&mut self) -> Result<Next, ReadError> {
        self.line.clear();
        self.number += 1;
        let read = (&mut self.input).take(LONGEST).read_until(b'\n', &mut self.line);
        match read {
            Ok(0) => Ok(Next::End),
            Ok(_) if self.line.last() == Some(&b'\n') => {
                self.line.pop();
                Ok(Next::Line)
            }
            Ok(read) if read as u64 == LONGEST => Err(self.damaged("it is longer than 256 MiB")),
            // Half a line: its other half was never written.
            Ok(_) => Ok(Next::End),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Next::End),
            Err(error) => Err(self.damaged(&error.to_string())),
        }
    }

    fn damaged(&self, why: &str) -> ReadError {
        ReadError::Damaged { place: self.place.clone(), number: self.number, why: why.to_owned() }
    }
}
