//! Zstandard.

use super::damage;
use crate::stage::{Input, Output};
use std::io::{self, Write as _};

/// The largest window that is undone, as a power of two: 128 MiB, what `zstd` itself allows without being asked.
const WINDOW: u32 = 27;

/// One frame with a checksum.
pub(super) fn compress(input: &mut Input, output: &mut Output, level: i32) -> io::Result<Option<String>> {
    let mut encoder = ::zstd::stream::write::Encoder::new(output, level)?;
    encoder.include_checksum(true)?;
    while let Some(chunk) = input.chunk()? {
        encoder.write_all(&chunk)?;
        input.used(chunk);
    }
    encoder.finish()?;
    Ok(None)
}

/// Frames until the input ends, skippable ones included; the decoder refuses an incomplete one.
pub(super) fn decompress(input: &mut Input, output: &mut Output) -> io::Result<Option<String>> {
    let mut decoder = ::zstd::stream::read::Decoder::with_buffer(input)?;
    decoder.window_log_max(WINDOW)?;
    output.read_from(Checked(decoder))?;
    Ok(None)
}

/// Says what an error of the decoder means; errors of the writing side are left alone.
struct Checked<R>(R);

impl<R: io::Read> io::Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| damage("zstd", &error))
    }
}
