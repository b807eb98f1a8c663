//! Byte streams. A filter runs in the host: bulk data passes from its source to its end without entering the plugin.

#[cfg(target_arch = "wasm32")]
use crate::HostError;
use crate::bindings::rota::runbook::bytes::{Codec, Coding};
use crate::host;
use crate::slots::KeySlot;
use crate::{Error, Result};

pub use crate::bindings::rota::runbook::bytes::Passed;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::mock::{Ending as RawEnding, Stream as RawStream};
#[cfg(target_arch = "wasm32")]
pub(crate) use wit_bindgen::StreamReader as RawStream;
/// The future beside a stream.
#[cfg(target_arch = "wasm32")]
pub(crate) type RawEnding<T> = wit_bindgen::FutureReader<Result<T, HostError>>;

/// How many bytes a plugin reads at a time.
const CHUNK: usize = 64 * 1024;

/// The age recipients (`age1...`) that can decrypt.
pub type Recipients = [String];

/// How a stream ended. Resolves when the stream has been read to its end, by whoever reads it.
#[must_use = "a stream is complete only when its ending says so"]
#[derive(Debug)]
pub struct Ending<T: 'static>(RawEnding<T>);

impl<T: 'static> Ending<T> {
    pub(crate) fn new(raw: RawEnding<T>) -> Self {
        Self(raw)
    }

    /// Wait for the end.
    ///
    /// # Errors
    /// What broke the stream.
    pub async fn wait(self) -> Result<T> {
        Ok(self.0.await?)
    }
}

/// Bytes on their way.
#[derive(Debug)]
pub struct ByteStream(RawStream<u8>);

impl ByteStream {
    pub(crate) fn new(raw: RawStream<u8>) -> Self {
        Self(raw)
    }

    pub(crate) fn into_raw(self) -> RawStream<u8> {
        self.0
    }

    /// The next bytes, at most 64 KiB; none at the end. An end is a good one only when the stream's [`Ending`] says so.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        read_some(&mut self.0, CHUNK).await
    }

    /// All the bytes, into the plugin's memory.
    ///
    /// # Errors
    /// When there are more than `limit`.
    pub async fn collect(mut self, limit: usize) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(chunk) = self.next().await {
            if all.len() + chunk.len() > limit {
                return Err(Error::new(format!("more than {limit} bytes where that is the limit")));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    /// Compute the SHA-256 of what passes, unchanged.
    pub fn tee_sha256(self) -> (Self, Ending<Passed>) {
        filtered(host::bytes::tee_sha256(self.0))
    }

    /// Count what passes, unchanged.
    pub fn count(self) -> (Self, Ending<Passed>) {
        filtered(host::bytes::count(self.0))
    }

    /// Compress with Zstandard, level 1 to 19.
    ///
    /// # Errors
    /// `invalid-argument` for another level.
    pub fn zstd(self, level: i32) -> Result<(Self, Ending<Passed>)> {
        Ok(filtered(host::bytes::compress(self.0, Codec::Zstd(level))?))
    }

    /// Compress with gzip, level 1 to 9.
    ///
    /// # Errors
    /// `invalid-argument` for another level.
    pub fn gzip(self, level: u32) -> Result<(Self, Ending<Passed>)> {
        Ok(filtered(host::bytes::compress(self.0, Codec::Gzip(level))?))
    }

    /// Undo Zstandard. Damage and a cut end make the ending fail.
    pub fn unzstd(self) -> (Self, Ending<Passed>) {
        filtered(host::bytes::decompress(self.0, Coding::Zstd))
    }

    /// Undo gzip. Damage and a cut end make the ending fail.
    pub fn gunzip(self) -> (Self, Ending<Passed>) {
        filtered(host::bytes::decompress(self.0, Coding::Gzip))
    }

    /// Encrypt to age recipients, at least one.
    ///
    /// # Errors
    /// `invalid-argument` when one is not a recipient.
    pub fn encrypt(self, recipients: &Recipients) -> Result<(Self, Ending<Passed>)> {
        Ok(filtered(host::bytes::encrypt(self.0, recipients)?))
    }

    /// Decrypt an age file with the identity in a slot. The identity never enters the plugin.
    ///
    /// # Errors
    /// `denied` without `decrypt` on the slot.
    pub fn decrypt(self, key: &KeySlot) -> Result<(Self, Ending<Passed>)> {
        Ok(filtered(host::bytes::decrypt(self.0, key.name())?))
    }

    /// Let through at most so many bytes a second.
    ///
    /// # Errors
    /// `invalid-argument` for 0.
    pub fn rate_limit(self, bytes_per_second: u64) -> Result<(Self, Ending<Passed>)> {
        Ok(filtered(host::bytes::rate_limit(self.0, bytes_per_second)?))
    }

    /// Read the stream to its end and throw it away, in the host.
    ///
    /// # Errors
    /// What broke the stream.
    pub async fn drain(self) -> Result<Passed> {
        Ok(host::bytes::drain(self.0).await?)
    }
}

fn filtered((stream, ending): (RawStream<u8>, RawEnding<Passed>)) -> (ByteStream, Ending<Passed>) {
    (ByteStream(stream), Ending(ending))
}

/// The next items, at most `limit`; none at the end.
#[cfg(target_arch = "wasm32")]
pub(crate) async fn read_some<T: 'static>(stream: &mut RawStream<T>, limit: usize) -> Option<Vec<T>> {
    loop {
        let (result, items) = stream.read(Vec::with_capacity(limit)).await;
        if !items.is_empty() {
            return Some(items);
        }
        if !matches!(result, wit_bindgen::StreamResult::Complete(_)) {
            return None;
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
#[allow(clippy::unused_async, reason = "as on wasm")]
pub(crate) async fn read_some<T: 'static>(stream: &mut RawStream<T>, limit: usize) -> Option<Vec<T>> {
    stream.read_some(limit)
}

/// The end of a stream that the plugin writes piece by piece.
#[cfg(target_arch = "wasm32")]
#[derive(Debug)]
pub struct ByteWriter(wit_bindgen::StreamWriter<u8>);

#[cfg(target_arch = "wasm32")]
impl ByteStream {
    /// A stream that the plugin writes while somebody else reads it. Only in a component: the mock host has none that grows.
    ///
    /// A writer that is dropped ends its stream well, whatever it still had to write: where half of it must not be taken for all of it, write in
    /// a form whose cut end is seen (a frame of Zstandard, and [`Self::unzstd`] after it).
    pub fn written() -> (ByteWriter, Self) {
        let (writer, reader) = crate::bindings::wit_stream::new::<u8>();
        (ByteWriter(writer), Self(reader))
    }
}

#[cfg(target_arch = "wasm32")]
impl ByteWriter {
    /// Write, at the speed of whoever reads. False: nobody reads any more.
    pub async fn write(&mut self, bytes: Vec<u8>) -> bool {
        self.0.write_all(bytes).await.is_empty()
    }
}

/// Bytes that the plugin made (a manifest, for example). They are written while the stream is read.
impl From<Vec<u8>> for ByteStream {
    fn from(bytes: Vec<u8>) -> Self {
        #[cfg(target_arch = "wasm32")]
        {
            let (mut writer, reader) = crate::bindings::wit_stream::new::<u8>();
            wit_bindgen::spawn_local(async move {
                // What is left over means that the reader wanted no more.
                let _ = writer.write_all(bytes).await;
            });
            Self(reader)
        }
        #[cfg(not(target_arch = "wasm32"))]
        Self(RawStream::whole(bytes))
    }
}

impl From<String> for ByteStream {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}
