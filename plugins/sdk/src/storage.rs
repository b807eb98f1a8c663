//! Object storage.

use crate::bindings::rota::runbook::storage::Range;
use crate::bytes::{ByteStream, Ending, RawEnding, RawStream, read_some};
use crate::host;
use crate::{Error, ErrorContext, Result};

pub use crate::bindings::rota::runbook::storage::{Object, PutOptions, Stored};

/// How many objects come at a time.
const BATCH: usize = 256;

impl PutOptions {
    /// Replace what has the name.
    pub fn replace() -> Self {
        Self { if_absent: false, size_estimate: None, media_type: None, sha256: None }
    }

    /// Fail with `conflict` where the name is taken.
    pub fn if_absent() -> Self {
        Self { if_absent: true, ..Self::replace() }
    }

    /// Say roughly how large it will be: shown in a plan.
    #[must_use]
    pub fn size_estimate(mut self, bytes: u64) -> Self {
        self.size_estimate = Some(bytes);
        self
    }

    /// Say what it is.
    #[must_use]
    pub fn media_type(mut self, media_type: impl Into<String>) -> Self {
        self.media_type = Some(media_type.into());
        self
    }

    /// Keep nothing unless the bytes have this SHA-256 (lower-case hex).
    #[must_use]
    pub fn sha256(mut self, sha256: impl Into<String>) -> Self {
        self.sha256 = Some(sha256.into());
        self
    }
}

/// A bucket, below the binding's prefix.
#[derive(Debug)]
pub struct Bucket(host::storage::Bucket);

impl Bucket {
    pub(crate) fn new(bucket: host::storage::Bucket) -> Self {
        Self(bucket)
    }

    /// Store a stream or bytes. The object appears whole or not at all. In a plan it is listed, and nothing is read.
    ///
    /// # Errors
    /// `conflict` when the name is taken and must not be; `denied` without `write`; what the source or the store said.
    pub async fn put(&self, name: &str, data: impl Into<ByteStream>, options: PutOptions) -> Result<Stored> {
        self.0.put(name.to_owned(), data.into().into_raw(), options).await.with_context(|| format!("storing {name}"))
    }

    /// Read an object.
    ///
    /// # Errors
    /// `not-found` when it is not there; `denied` without `read`.
    pub async fn get(&self, name: &str) -> Result<Reading> {
        self.read(name, None).await
    }

    /// Read part of an object: `length` bytes from `offset`, or all from there.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn get_range(&self, name: &str, offset: u64, length: Option<u64>) -> Result<Reading> {
        self.read(name, Some(Range { offset, length })).await
    }

    async fn read(&self, name: &str, range: Option<Range>) -> Result<Reading> {
        let (object, stream, ending) =
            self.0.get(name.to_owned(), range).await.with_context(|| format!("reading {name}"))?;
        Ok(Reading { object, stream: ByteStream::new(stream), ending: Ending::new(ending) })
    }

    /// A whole object of at most `limit` bytes, into the plugin's memory.
    ///
    /// # Errors
    /// As for [`Self::get`]; when the object is larger; when the reading broke off.
    pub async fn get_bytes(&self, name: &str, limit: usize) -> Result<Vec<u8>> {
        let Reading { stream, ending, .. } = self.get(name).await?;
        let bytes = stream.collect(limit).await.with_context(|| format!("reading {name}"))?;
        ending.wait().await.with_context(|| format!("reading {name}"))?;
        Ok(bytes)
    }

    /// An object that holds JSON, of at most `limit` bytes.
    ///
    /// # Errors
    /// As for [`Self::get_bytes`]; when it is not JSON of that shape.
    pub async fn get_json<T: serde::de::DeserializeOwned>(&self, name: &str, limit: usize) -> Result<T> {
        let bytes = self.get_bytes(name, limit).await?;
        serde_json::from_slice(&bytes).map_err(Error::from).with_context(|| format!("reading {name}"))
    }

    /// What is known of an object; none where it is not there.
    ///
    /// # Errors
    /// `denied` without `read`; what the store said.
    pub async fn stat(&self, name: &str) -> Result<Option<Object>> {
        self.0.stat(name.to_owned()).await.optional().with_context(|| format!("looking up {name}"))
    }

    /// The objects below a prefix (a name ending in `/`, or empty for all), one after the other.
    ///
    /// # Errors
    /// `denied` without `read`; what the store said.
    pub async fn list(&self, prefix: &str) -> Result<Listing> {
        let (stream, ending) = self.0.list(prefix.to_owned()).await.with_context(|| format!("listing {prefix:?}"))?;
        Ok(Listing { stream, ending: Some(ending), buffer: Vec::new().into_iter() })
    }

    /// Delete an object. One that is not there is no error. An effect.
    ///
    /// # Errors
    /// `denied` without `delete`; what the store said.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.0.delete(name.to_owned()).await.with_context(|| format!("deleting {name}"))
    }
}

/// An object being read. [`Pipeline`](crate::Pipeline) takes it as a source.
#[derive(Debug)]
pub struct Reading {
    /// The object.
    pub object: Object,
    /// Its bytes.
    pub stream: ByteStream,
    /// Whether they came whole, and how many.
    pub ending: Ending<u64>,
}

impl From<Reading> for crate::Pipeline {
    fn from(reading: Reading) -> Self {
        (reading.stream, reading.ending).into()
    }
}

/// Objects as they arrive.
#[derive(Debug)]
pub struct Listing {
    stream: RawStream<Object>,
    ending: Option<RawEnding<u64>>,
    buffer: std::vec::IntoIter<Object>,
}

impl Listing {
    /// The next object; none at the end.
    ///
    /// # Errors
    /// When the listing broke off.
    pub async fn next(&mut self) -> Result<Option<Object>> {
        if let Some(object) = self.buffer.next() {
            return Ok(Some(object));
        }
        if let Some(batch) = read_some(&mut self.stream, BATCH).await {
            self.buffer = batch.into_iter();
            return Ok(self.buffer.next());
        }
        if let Some(ending) = self.ending.take() {
            ending.await.map_err(|error| Error::from(error).context("listing objects"))?;
        }
        Ok(None)
    }

    /// All of them.
    ///
    /// # Errors
    /// When there are more than `limit`, or the listing broke off.
    pub async fn collect(mut self, limit: usize) -> Result<Vec<Object>> {
        let mut all = Vec::new();
        while let Some(object) = self.next().await? {
            if all.len() == limit {
                return Err(Error::new(format!("more than {limit} objects where that is the limit")));
            }
            all.push(object);
        }
        Ok(all)
    }
}
