//! The filters, on plain readers. Each gives the reader that comes out and a channel that says how it ended.

mod age;
mod digest;
mod gzip;
mod pace;
mod zstd;

pub use self::age::{Identities, Recipients};
pub use crate::host::{Codec, Coding, Passed};

use crate::stage;
use rota_capability::streams::{Reader, stream_error, watched};
use rota_contract::{Error, Fault};
use std::io;
use tokio::io::AsyncReadExt as _;
use tokio::sync::oneshot;

/// What a filter gives.
pub struct Filtered {
    /// What comes out. A source that fails, or damage, is an error of this reader.
    pub reader: Reader,
    /// What passed, once the reader has been read to its end; the error, once it has given one. A reader dropped before
    /// drops the sender.
    pub outcome: oneshot::Receiver<Result<Passed, Error>>,
}

/// Compute the SHA-256 of what passes. `keep` is held as long as the filter works (as in all others).
///
/// # Errors
/// `unavailable`, when the host has no thread left (as in all others).
pub fn tee_sha256(source: Reader, keep: impl Send + 'static) -> Result<Filtered, Error> {
    stage::run("sha256", source, keep, digest::tee)
}

/// Count what passes.
pub fn count(source: Reader, keep: impl Send + 'static) -> Filtered {
    let (reader, outcome) = watched(pace::Kept::new(source, keep), unchanged);
    Filtered { reader: Box::pin(reader), outcome }
}

/// Compress.
///
/// # Errors
/// `invalid-argument` for a level that the codec lacks.
pub fn compress(source: Reader, codec: Codec, keep: impl Send + 'static) -> Result<Filtered, Error> {
    match codec {
        Codec::Zstd(level @ 1..=19) => {
            stage::run("zstd", source, keep, move |input, output| zstd::compress(input, output, level))
        }
        Codec::Gzip(level @ 1..=9) => {
            stage::run("gzip", source, keep, move |input, output| gzip::compress(input, output, level))
        }
        Codec::Zstd(level) => {
            Err(Error::InvalidArgument(format!("zstd has no level {level} here; give one from 1 (fast) to 19 (small)")))
        }
        Codec::Gzip(level) => {
            Err(Error::InvalidArgument(format!("gzip has no level {level}; give one from 1 (fast) to 9 (small)")))
        }
    }
}

/// Undo compression: any number of frames or members one after the other, and nothing after them.
///
/// # Errors
/// See [`tee_sha256`]; damage is an error of the reader.
pub fn decompress(source: Reader, coding: Coding, keep: impl Send + 'static) -> Result<Filtered, Error> {
    match coding {
        Coding::Zstd => stage::run("unzstd", source, keep, zstd::decompress),
        Coding::Gzip => stage::run("gunzip", source, keep, gzip::decompress),
    }
}

/// Encrypt to age recipients.
///
/// # Errors
/// See [`tee_sha256`].
pub fn encrypt(source: Reader, recipients: Recipients, keep: impl Send + 'static) -> Result<Filtered, Error> {
    stage::run("encrypt", source, keep, move |input, output| age::encrypt(input, output, &recipients))
}

/// Decrypt an age file with the first identity that fits.
///
/// # Errors
/// See [`tee_sha256`]; a file for other recipients, or damage, is an error of the reader.
pub fn decrypt(source: Reader, identities: Identities, keep: impl Send + 'static) -> Result<Filtered, Error> {
    stage::run("decrypt", source, keep, move |input, output| age::decrypt(input, output, &identities))
}

/// Let through at most so many bytes a second.
///
/// # Errors
/// `invalid-argument` for a rate of zero.
pub fn rate_limit(source: Reader, bytes_per_second: u64, keep: impl Send + 'static) -> Result<Filtered, Error> {
    if bytes_per_second == 0 {
        return Err(Error::InvalidArgument("a rate of 0 bytes a second would never end; give at least 1".into()));
    }
    let paced = pace::Paced::new(Box::pin(pace::Kept::new(source, keep)), bytes_per_second);
    let (reader, outcome) = watched(paced, unchanged);
    Ok(Filtered { reader: Box::pin(reader), outcome })
}

/// Read to the end and throw away.
///
/// # Errors
/// What the source failed with.
pub async fn drain(mut source: Reader) -> Result<Passed, Error> {
    // Small enough to stay in a core's own cache.
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes_in = 0;
    loop {
        match source.read(&mut buffer).await {
            Ok(0) => return Ok(Passed { bytes_in, bytes_out: 0, sha256: None }),
            Ok(read) => bytes_in += read as u64,
            Err(error) => return Err(rota_capability::streams::error_of(&error)),
        }
    }
}

fn unchanged(bytes: u64) -> Passed {
    Passed { bytes_in: bytes, bytes_out: bytes, sha256: None }
}

/// An error for a stream whose content is not what it should be.
pub(crate) fn damaged(code: &str, message: impl Into<String>) -> io::Error {
    stream_error(Error::Failed(Fault { code: code.into(), message: message.into(), detail: None, retryable: false }))
}

/// What a codec's error means: the end came too early, or the content is wrong.
fn damage(what: &str, error: &io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return damaged(
            "truncated",
            format!("the {what} data ends before its end mark: it was cut when it was written or stored"),
        );
    }
    damaged("damaged", format!("the {what} data is damaged or no {what} data at all ({error})"))
}
