//! The file of a backup.

use crate::StoreError;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The longest line: a component is far shorter.
const LINE: u64 = 1 << 30;

/// A backup that is written: beside its place, and put there when it is whole.
pub(super) struct Output {
    beside: PathBuf,
    encoder: BufWriter<zstd::Encoder<'static, File>>,
}

impl Output {
    pub(super) fn create(to: &Path) -> Result<Self, StoreError> {
        if std::fs::symlink_metadata(to).is_ok() {
            return Err(StoreError::Backup {
                path: to.to_owned(),
                reason: "there is a file of this name already; name another".into(),
            });
        }
        let mut name = to.as_os_str().to_owned();
        name.push(".part");
        let beside = PathBuf::from(name);
        let failed = |error: std::io::Error| StoreError::from_io(&beside, &error);
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside).map_err(failed)?;
        let mut encoder = zstd::Encoder::new(file, 6).map_err(failed)?;
        encoder.include_checksum(true).map_err(failed)?;
        Ok(Self { encoder: BufWriter::with_capacity(1 << 16, encoder), beside })
    }

    pub(super) fn line(&mut self, line: &Value) -> Result<(), StoreError> {
        let written = serde_json::to_writer(&mut self.encoder, line).map_err(std::io::Error::from);
        written.and_then(|()| self.encoder.write_all(b"\n")).map_err(|error| StoreError::from_io(&self.beside, &error))
    }

    /// It is whole: put it on the disk and in its place. Answers its size.
    pub(super) fn finish(self, to: &Path) -> Result<u64, StoreError> {
        let Self { beside, encoder } = self;
        let failed = |error: std::io::Error| StoreError::from_io(&beside, &error);
        let encoder = encoder.into_inner().map_err(|error| failed(error.into_error()))?;
        let file = encoder.finish().map_err(failed)?;
        file.sync_all().map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        std::fs::rename(&beside, to).map_err(failed)?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(size)
    }
}

/// A backup that is read.
pub(super) struct Input {
    path: PathBuf,
    size: u64,
    decoder: BufReader<zstd::Decoder<'static, BufReader<File>>>,
}

impl Input {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: std::io::Error| StoreError::Backup { path: path.to_owned(), reason: error.to_string() };
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let decoder = zstd::Decoder::new(file).map_err(failed)?;
        Ok(Self { path: path.to_owned(), size, decoder: BufReader::with_capacity(1 << 16, decoder) })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn place(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn wrong(&self, reason: &str) -> StoreError {
        StoreError::Backup { path: self.path.clone(), reason: reason.into() }
    }

    /// The next line; none at the end.
    pub(super) fn line(&mut self) -> Result<Option<Value>, StoreError> {
        let mut line = Vec::new();
        let read = std::io::Read::take(&mut self.decoder, LINE).read_until(b'\n', &mut line);
        read.map_err(|error| self.wrong(&format!("it cannot be read ({error})")))?;
        if line.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&line).map(Some).map_err(|_| self.wrong("a line of it is broken"))
    }
}
