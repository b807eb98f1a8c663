//! An object on its way from the bucket through decryption and decompression, with each stage's end known.
//!
//! A stage that fails makes those after it fail with the same error, and those before it end as cancelled, because nobody reads
//! them to their end: the first that is not cancelled is the one to blame.

use crate::layout::Folder;
use crate::manifest::{Codec, Part};
use rota_sdk::prelude::*;
use rota_sdk::{ByteStream, Ending, KeySlot, Passed};

/// A stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading from the bucket.
    Read,
    /// Hashing what is stored.
    Stored,
    /// Decrypting.
    Decrypt,
    /// Decompressing.
    Decompress,
    /// Hashing what the program wrote.
    Plain,
}

/// The ends of the stages.
#[derive(Debug)]
pub struct Passage {
    read: Ending<u64>,
    stages: Vec<(Stage, Ending<Passed>)>,
}

/// How it went.
#[derive(Debug)]
pub struct Arrival {
    /// The stage to blame, and what it said.
    pub blame: Option<(Stage, Error)>,
    /// Whether every stage read to the end of the object.
    pub whole: bool,
    /// What was stored.
    pub stored: Option<Passed>,
    /// What the program wrote.
    pub plain: Option<Passed>,
}

impl Passage {
    /// Begin to read an object.
    ///
    /// # Errors
    /// `not-found` where it is not there; what the store said; a missing key.
    pub async fn open(
        bucket: &Bucket,
        folder: &Folder,
        part: &Part,
        key: Option<KeySlot>,
    ) -> Result<(ByteStream, Self)> {
        let reading = bucket.get(&folder.object(&part.object)).await?;
        let mut stages = Vec::new();
        let mut stream = reading.stream;
        let mut add = |stage: Stage, (stream, ending): (ByteStream, Ending<Passed>)| {
            stages.push((stage, ending));
            stream
        };
        stream = add(Stage::Stored, stream.tee_sha256());
        if part.is_encrypted() {
            let Some(key) = key else { return Err(Error::new("the slot `key` is not bound")) };
            stream = add(Stage::Decrypt, stream.decrypt(&key)?);
        }
        if part.codec == Codec::Zstd {
            stream = add(Stage::Decompress, stream.unzstd());
        }
        stream = add(Stage::Plain, stream.tee_sha256());
        Ok((stream, Self { read: reading.ending, stages }))
    }

    /// Wait for all ends, once the stream was read or dropped.
    pub async fn finish(self) -> Arrival {
        let mut passed = Arrival { blame: None, whole: true, stored: None, plain: None };
        if let Err(error) = self.read.wait().await {
            passed.failed(Stage::Read, error);
        }
        for (stage, ending) in self.stages {
            match ending.wait().await {
                Ok(figures) if stage == Stage::Stored => passed.stored = Some(figures),
                Ok(figures) if stage == Stage::Plain => passed.plain = Some(figures),
                Ok(_) => {}
                Err(error) => passed.failed(stage, error),
            }
        }
        passed
    }
}

impl Arrival {
    fn failed(&mut self, stage: Stage, error: Error) {
        self.whole = false;
        if self.blame.is_none() && !error.is_cancelled() {
            self.blame = Some((stage, error));
        }
    }
}
