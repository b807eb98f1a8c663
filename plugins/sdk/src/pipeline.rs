//! From a source through filters to where the bytes end, as one chain whose every part is checked.

use crate::bindings::rota::runbook::storage::{PutOptions, Stored};
use crate::bytes::{ByteStream, Ending, Passed, Recipients};
use crate::host;
use crate::slots::KeySlot;
use crate::storage::Bucket;
use crate::{Error, Mode, Result};

/// A stream with filters on it. Each can be given a name under which its figures are found afterwards:
///
/// ```no_run
/// # use rota_sdk::prelude::*; use rota_sdk::storage::PutOptions;
/// # async fn f(dump: rota_sdk::tools::Child, bucket: Bucket) -> Result<()> {
/// let piped = Pipeline::from(dump.stdout()?)
///     .sha256("plain")
///     .zstd(1)?
///     .put(&bucket, "kosmos/base.dump.zst", PutOptions::if_absent())
///     .await?;
/// let plain = piped.passed("plain"); // bytes and SHA-256 before compression
/// let stored = piped.stored;         // bytes and SHA-256 as stored
/// # Ok(()) }
/// ```
#[must_use = "nothing moves until the pipeline ends somewhere"]
#[derive(Debug)]
pub struct Pipeline {
    stream: ByteStream,
    watch: Watch,
}

/// The endings of a pipeline that ends in a program or another call.
#[must_use = "the bytes are complete only when the watch says so"]
#[derive(Debug, Default)]
pub struct Watch {
    sources: Vec<Ending<u64>>,
    filters: Vec<(&'static str, Ending<Passed>)>,
}

/// What went through a pipeline.
#[derive(Clone, Debug, Default)]
pub struct Piped {
    /// What was stored, where it ended in a bucket; in a plan the estimate.
    pub stored: Option<Stored>,
    passed: Vec<(&'static str, Passed)>,
}

impl From<ByteStream> for Pipeline {
    fn from(stream: ByteStream) -> Self {
        Self { stream, watch: Watch::default() }
    }
}

/// A stream with its ending, as `copy_out` and `get` answer.
impl From<(ByteStream, Ending<u64>)> for Pipeline {
    fn from((stream, ending): (ByteStream, Ending<u64>)) -> Self {
        Self { stream, watch: Watch { sources: vec![ending], filters: Vec::new() } }
    }
}

impl Pipeline {
    fn filter(mut self, name: &'static str, (stream, ending): (ByteStream, Ending<Passed>)) -> Self {
        self.watch.filters.push((name, ending));
        Self { stream, watch: self.watch }
    }

    fn split(self) -> (ByteStream, Self) {
        let Self { stream, watch } = self;
        // The stream of the rest is replaced by the filter's before anyone sees it.
        (stream, Self { stream: ByteStream::from(Vec::new()), watch })
    }

    /// Compute the SHA-256 of what passes here.
    pub fn sha256(self, name: &'static str) -> Self {
        let (stream, rest) = self.split();
        rest.filter(name, stream.tee_sha256())
    }

    /// Count what passes here.
    pub fn count(self, name: &'static str) -> Self {
        let (stream, rest) = self.split();
        rest.filter(name, stream.count())
    }

    /// Compress with Zstandard, level 1 to 19.
    ///
    /// # Errors
    /// `invalid-argument` for another level.
    pub fn zstd(self, level: i32) -> Result<Self> {
        let (stream, rest) = self.split();
        Ok(rest.filter("zstd", stream.zstd(level)?))
    }

    /// Compress with gzip, level 1 to 9.
    ///
    /// # Errors
    /// `invalid-argument` for another level.
    pub fn gzip(self, level: u32) -> Result<Self> {
        let (stream, rest) = self.split();
        Ok(rest.filter("gzip", stream.gzip(level)?))
    }

    /// Undo Zstandard.
    pub fn unzstd(self) -> Self {
        let (stream, rest) = self.split();
        rest.filter("unzstd", stream.unzstd())
    }

    /// Undo gzip.
    pub fn gunzip(self) -> Self {
        let (stream, rest) = self.split();
        rest.filter("gunzip", stream.gunzip())
    }

    /// Encrypt to age recipients.
    ///
    /// # Errors
    /// `invalid-argument` when one is not a recipient.
    pub fn encrypt(self, recipients: &Recipients) -> Result<Self> {
        let (stream, rest) = self.split();
        Ok(rest.filter("encrypt", stream.encrypt(recipients)?))
    }

    /// Decrypt with the identity in a slot.
    ///
    /// # Errors
    /// `denied` without `decrypt` on the slot.
    pub fn decrypt(self, key: &KeySlot) -> Result<Self> {
        let (stream, rest) = self.split();
        Ok(rest.filter("decrypt", stream.decrypt(key)?))
    }

    /// Let through at most so many bytes a second.
    ///
    /// # Errors
    /// `invalid-argument` for 0.
    pub fn rate_limit(self, bytes_per_second: u64) -> Result<Self> {
        let (stream, rest) = self.split();
        Ok(rest.filter("rate_limit", stream.rate_limit(bytes_per_second)?))
    }

    /// End in a bucket. The object appears whole or not at all; in a plan nothing is read and nothing stored.
    ///
    /// # Errors
    /// What the store, a filter or the source said; then nothing was kept.
    pub async fn put(self, bucket: &Bucket, name: &str, options: PutOptions) -> Result<Piped> {
        let Self { stream, watch } = self;
        let stored = bucket.put(name, stream, options).await?;
        if host::run::mode() == Mode::Plan {
            return Ok(Piped { stored: Some(stored), passed: Vec::new() });
        }
        let piped = watch.finish().await.map_err(|error| error.context(format!("storing {name}")))?;
        Ok(Piped { stored: Some(stored), ..piped })
    }

    /// Read to the end and throw away, in the host: proves that the bytes can be read and decoded.
    ///
    /// # Errors
    /// What broke the stream.
    pub async fn drain(self) -> Result<Piped> {
        let Self { stream, watch } = self;
        let drained = stream.drain().await;
        let piped = watch.finish().await;
        // A filter knows better than the drain what broke.
        let piped = piped?;
        drained?;
        Ok(piped)
    }

    /// The stream for something else that reads it (a program's input), and what to wait for afterwards.
    pub fn into_parts(self) -> (ByteStream, Watch) {
        (self.stream, self.watch)
    }
}

impl Watch {
    /// Wait until every part has ended. Call it once the stream has been read.
    ///
    /// # Errors
    /// The first failure, nearest the source.
    pub async fn finish(self) -> Result<Piped> {
        let mut first: Option<Error> = None;
        for source in self.sources {
            if let Err(error) = source.wait().await {
                first.get_or_insert(error);
            }
        }
        let mut passed = Vec::new();
        for (name, ending) in self.filters {
            match ending.wait().await {
                Ok(figures) => passed.push((name, figures)),
                Err(error) => {
                    first.get_or_insert_with(|| error.context(name));
                }
            }
        }
        match first {
            Some(error) => Err(error),
            None => Ok(Piped { stored: None, passed }),
        }
    }
}

impl Piped {
    /// The figures of a filter by its name (`zstd`, `encrypt` ..., or the one given); zeros where nothing passed (a plan).
    pub fn passed(&self, name: &str) -> Passed {
        let found = self.passed.iter().find(|(n, _)| *n == name).map(|(_, passed)| passed.clone());
        found.unwrap_or(Passed { bytes_in: 0, bytes_out: 0, sha256: None })
    }
}
