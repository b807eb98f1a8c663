//! gzip.

use super::damage;
use crate::stage::{Input, Output};
use std::io::{self, BufRead as _, Read, Write as _};

/// One member, without a name or a time: the same input gives the same bytes.
pub(super) fn compress(input: &mut Input, output: &mut Output, level: u32) -> io::Result<Option<String>> {
    let mut encoder = flate2::write::GzEncoder::new(output, flate2::Compression::new(level));
    while let Some(chunk) = input.chunk()? {
        encoder.write_all(&chunk)?;
        input.used(chunk);
    }
    encoder.finish()?;
    Ok(None)
}

/// Members until the input ends, each with its checksum and length.
pub(super) fn decompress(input: &mut Input, output: &mut Output) -> io::Result<Option<String>> {
    if input.fill_buf()?.is_empty() {
        return Err(damage("gzip", &io::ErrorKind::UnexpectedEof.into()));
    }
    output.read_from(Checked(flate2::bufread::MultiGzDecoder::new(input)))?;
    Ok(None)
}

/// Says what an error of the decoder means; errors of the writing side are left alone.
struct Checked<R>(R);

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| damage("gzip", &error))
    }
}
